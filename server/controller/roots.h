// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/roots.h -- what was signed offline, as the controller has checked it: the chain of
 * roots, and revocations for agents that lack them. The only one who reads them from the database.
 *
 * The database is not trusted with them. Each root is signed by the thresholds of the one before and
 * its own; the newest that was seen is kept in STATE_DIR/root.json as well, so that whoever
 * writes the database can neither go back nor put another one in its place. The first of all
 * is taken as it stands, and its SHA-256 logged.
 *
 * Context    loop thread; a new root writes one file.
 * Errors     of trust.h.
 * Ownership  trust and texts are borrowed, until the loop runs again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct controller;
struct roots;
struct trust;

/* Which root a host trusts, as it says. */
struct roots_of_host {
	bool known;	    /* else it says nothing of that */
	uint64_t version;   /* 0: none */
	uint8_t sha256[32]; /* of its payload */
};

#define ROOTS_WHY_BYTES	   80
#define ROOTS_ANSWER_BYTES (4U << 20) /* of documents in one answer; more come with the next */

int roots_new(struct controller *c, struct roots **ret_roots, struct fail *reterr_fail);
struct roots *roots_free(struct roots *r);
void roots_on_wake(struct roots *r, const char *topic);
int roots_reload(struct roots *r, struct fail *reterr_fail);

const struct trust *roots_trust(const struct roots *r); /* NULL: none imported yet */
/* May these bytes be the next root (the first, if there is none)? */
int roots_check(const struct roots *r, const void *envelope, size_t len,
		struct trust **ret_trust, struct fail *reterr_fail);
/*
 * Why a host with this root will not take what the root in force allows, for people; NULL: it may.
 * Hosts that are behind take the roots that follow theirs, as long as these are in stock.
 */
const char *roots_unfit(const struct roots *r, const struct roots_of_host *h,
			char ret_why[ROOTS_WHY_BYTES]);
uint64_t roots_revocation(const struct roots *r); /* the newest version */
/* Arrays of texts: those after a version, the oldest first. NULL: no memory. */
json_t *roots_after(const struct roots *r, uint64_t version);
json_t *roots_revocations_after(const struct roots *r, uint64_t version);

DEFINE_AUTO(struct roots, roots_free)
