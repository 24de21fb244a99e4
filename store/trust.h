// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/trust.h -- the root document: who may sign hot-fixes for this host.
 *
 * Payload (DSSE_TYPE_ROOT):
 * {"format":1,"version":N,"created":ts,"expires":ts|absent,"fleet":id|absent,
 *   "roles":{"root":{"threshold":M,"keys":[base64...]},"release":{"threshold":M,"keys":[base64...]}},
 *   "floors":{name:serial,...}|absent}
 * The first root is trusted because an administrator imports it; what follows is signed by it.
 *
 * Errors     FAIL_BAD_FORMAT (threshold < 1, above the number of distinct keys, small-order key
 * ...)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "store/dsse.h"
#include "store/key.h"

#define TRUST_KEYS_MAX 32

struct trust_role {
	struct key_public keys[TRUST_KEYS_MAX];
	size_t n_keys;
	unsigned int threshold;
};

struct trust {
	uint64_t version;
	uint64_t expires_ms; /* 0: never */
	struct trust_role root, release;
	json_t *floors; /* object name -> serial, maybe empty */
};

/* Text of a root envelope (signatures by sign_keys, may be none for a first root). */
int trust_init(const struct trust_role *root, const struct trust_role *release,
	       uint64_t version, uint64_t now_ms, struct key *const *sign_keys, size_t n_sign,
	       char **ret_text, struct fail *reterr_fail);
/* Parses an envelope that an administrator hands in or that the store kept. previous: NULL or
 * the root in force; then only the same document again is accepted (rotation is not built yet
 * and says so). */
int trust_open(const void *envelope, size_t len, struct trust **ret_trust,
	       struct fail *reterr_fail);
struct trust *trust_free(struct trust *t);
uint64_t trust_floor(const struct trust *t, const char *name);
json_t *trust_to_json(
	const struct trust *t); /* for trust show: version, expiry, roles with key ids */

DEFINE_AUTO(struct trust, trust_free)
