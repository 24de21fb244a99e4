// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/db_places.h -- where a PostgreSQL server may be: the hosts of its connection string, and the
 * addresses that a host's name has now, one after the other and round again. libpq would try a list
 * by itself, but gives up at a host that takes a connection and closes it, waits without end for
 * one that says nothing, and stands still while a name is looked up.
 *
 * Context    loop thread; never blocks: libc's own threads look names up.
 * Errors     of the functions below.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define DB_PLACES_POLL_MS    20 /* while a name is looked up */
#define DB_PLACES_WORDS_MAX  160
#define DB_PLACES_PARAMS_MAX 64

struct db_places;

/* -EINVAL: where is no connection string; the words have no password. */
int db_places_new(const char *where, struct db_places **ret_places, struct fail *reterr_fail);
struct db_places *db_places_free(struct db_places *p);
const char *db_places_name(
	const struct db_places *p); /* for people: all hosts, and the database */

/* As PQconnectStartParams() wants it, for one address; what stands here before wins. */
struct db_params {
	const char *key[DB_PLACES_PARAMS_MAX], *value[DB_PLACES_PARAMS_MAX];
	size_t n;
};

void db_params_add(struct db_params *params, const char *key, const char *value);
/*
 * The place whose turn it is. -EAGAIN: its name is being looked up, ask again soon; -ENOENT: it has
 * no address, with why; -ENOMEM.
 */
int db_places_here(struct db_places *p, struct db_params *ret_params,
		   const char **reterr_words);
/* It is no good, for this reason; then it is the next one's turn. false: all have had theirs. */
bool db_places_next(struct db_places *p, const char *words);
/* It is good: from now on it is the first. */
void db_places_stay(struct db_places *p);
/* What is wrong with each, in one line. */
void db_places_why(const struct db_places *p, char *ret_words, size_t room);

DEFINE_AUTO(struct db_places, db_places_free)
