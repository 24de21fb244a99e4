// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/revocation.h -- signed words of the release keys that take versions back.
 *
 * Payload (DSSE_TYPE_REVOCATION):
 * {"format":1,"created":ts,"name":name,"from":serial,"to":serial,
 *   "action":"no-new-apply"|"force-rollback","reason":text of 200 bytes}
 *
 * no-new-apply: not attached for the first time; where it runs it stays, and comes back after a
 * boot. force-rollback: where it runs it is rolled back, and it is not applied again at all.
 * Signed by the release threshold, by keys whose scopes fit the name; it holds as long as the
 * root in force names enough of them.
 *
 * Errors     FAIL_BAD_FORMAT, FAIL_BAD_SIGNATURE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/trust.h"

struct revocation {
	char name[HOOK_NAME_MAX + 1];
	uint64_t from, to; /* serials, both included */
	bool rollback;
	char reason[201];
	uint64_t created_ms;
	uint8_t sha256[32]; /* of the payload */
};

int revocation_sign(const struct revocation *v, struct key *const *keys, size_t n_keys,
		    char **ret_text, struct fail *reterr_fail);
int revocation_open(const void *envelope, size_t len, const struct trust *trust,
		    struct revocation *ret_revocation, struct fail *reterr_fail);
/* For showing, and for signing by those who have not yet: no signature is checked. */
int revocation_open_unverified(const struct dsse *d, struct revocation *ret_revocation,
			       struct fail *reterr_fail);
bool revocation_covers(const struct revocation *v, const char *name, uint64_t serial);
/* {"name","from","to","action","reason","created","sha256"} */
json_t *revocation_to_json(const struct revocation *v);
