// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/trust.h -- the root document: who may sign hot-fixes for this host.
 *
 * Payload (DSSE_TYPE_ROOT):
 * {"format":1,"version":N,"created":ts,"expires":ts|absent,"fleet":id|absent,
 *   "roles":{"root":{"threshold":M,"keys":[base64...]},"release":{"threshold":M,"keys":[base64...]}},
 *   "floors":{name:serial,...}|absent}
 * The first root is trusted because an administrator imports it (its sha256 is what two people
 * compare by telephone); what follows is signed by it.
 *
 * Errors     FAIL_BAD_FORMAT (threshold < 1, above the number of distinct keys, small-order key
 *            ...); FAIL_BAD_SIGNATURE a signed root that its own root keys do not support.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "store/dsse.h"
#include "store/key.h"

#define TRUST_KEYS_MAX	  32
#define TRUST_VERSION_MAX 9007199254740991ULL /* 2^53 - 1, as every number of a document */
#define TRUST_FLOORS_MAX  4096

struct trust_role {
	struct key_public keys[TRUST_KEYS_MAX]; /* distinct */
	size_t n_keys;
	unsigned int threshold;
};

struct trust {
	uint64_t version;
	uint64_t created_ms;
	uint64_t expires_ms; /* 0: never */
	char fleet[65];	     /* "" none */
	uint8_t sha256[32];  /* of the payload: two envelopes of one root have the same */
	struct trust_role root, release;
	json_t *floors; /* object name -> serial, maybe empty */
};

/* Text of a root envelope (signatures by sign_keys, may be none for a first root). */
int trust_init(const struct trust_role *root, const struct trust_role *release,
	       uint64_t version, uint64_t now_ms, struct key *const *sign_keys, size_t n_sign,
	       char **ret_text, struct fail *reterr_fail);
/*
 * Parses an envelope that an administrator hands in or that the store kept. Without any
 * signature it is a first root; with signatures they must reach its own root threshold.
 */
int trust_open(const void *envelope, size_t len, struct trust **ret_trust,
	       struct fail *reterr_fail);
/*
 * The same for a root that is to replace current: version current + 1, signed by the root
 * thresholds of both. -EEXIST (FAIL_CONFLICT): it is the one in force.
 */
int trust_open_next(const void *envelope, size_t len, const struct trust *current,
		    struct trust **ret_trust, struct fail *reterr_fail);
struct trust *trust_free(struct trust *t);
uint64_t trust_floor(const struct trust *t, const char *name); /* 0: none */
/* For trust show: version, expiry, sha256, roles with key ids, floors. NULL: out of memory. */
json_t *trust_to_json(const struct trust *t);

DEFINE_AUTO(struct trust, trust_free)
