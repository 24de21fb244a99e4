// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/director.h -- the two keys of the controller: the director's, which signs what
 * hosts are told, and that of the status, which signs the catalogue. The only owner of words.
 *
 * A word, as a host gets it:
 * {"name","rollout","word":generation,"action":"apply"|"withdraw"|"end_trial"|"rollback",
 *   "from":serial,"to":serial,"retry":bool,"trial_ms","min_calls",
 *   "directive":envelope text (apply, rollback),"bundle":{"sha256","bytes"} (apply)}
 *
 * withdraw and end_trial only stall: they need no signature.
 *
 * Context    loop thread; a signature is some 50 us.
 * Errors     FAIL_NO_TRUST no root, or one without a fleet; FAIL_POLICY the root names other keys
 *            than ours; those of key.h.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/controller/rollout.h"

struct controller;
struct director;
struct trust;

int director_new(struct controller *c, struct director **ret_director,
		 struct fail *reterr_fail);
struct director *director_free(struct director *d);
void director_on_wake(struct director *d, const char *topic);
int director_reload(struct director *d, struct fail *reterr_fail);

/* What the words of a rollout have in common. */
struct director_rollout {
	const char *id, *name;
	const char *reason; /* plain text of at most 200 bytes, or NULL */
	uint64_t trial_ms, min_calls;
	bool has_bundle; /* of the serial that it brings; an apply needs it */
	uint8_t manifest_sha256[32], bundle_sha256[32];
	uint64_t bundle_bytes;
};

/* Can words be signed that hosts under this root (NULL: none) will obey? */
int director_ready(const struct director *d, const struct trust *trust,
		   struct fail *reterr_fail);
/* *ret_body is JSON text, to be freed. */
int director_word(const struct director *d, const struct trust *trust,
		  const struct director_rollout *r, const struct rollout_word *w,
		  uint64_t now_ms, char **ret_body, struct fail *reterr_fail);

struct catalog;
/* Signs it; its fleet, version, created and expires are the caller's. */
int director_catalog(const struct director *d, const struct catalog *c, char **ret_envelope,
		     struct fail *reterr_fail);

DEFINE_AUTO(struct director, director_free)
