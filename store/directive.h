// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/directive.h -- signed words of a fleet's director: which version a host shall run.
 *
 * Payload (DSSE_TYPE_DIRECTIVE):
 * {"format":1,"fleet":id,"host":key id|absent,"group":name|absent,"name":name,
 *   "action":"apply"|"rollback","from":serial,"to":serial,"manifest":sha256|absent,
 *   "nonce":hex of 16 bytes,"created":ts,"expires":ts,"rollout":id|absent,
 *   "reason":text of 200 bytes|absent}
 *
 * For one host (the id of its host key), those of one group, or with neither all of the fleet.
 * from is the serial that must be committed there now (0: none); to is what comes. apply
 * names the manifest as well. A director chooses among what release keys signed. A rollback to 0,
 * for one host and in a rollout, undoes a first version: a host obeys only the rollout that brought
 * it, and not for long (server/member.h). No other word takes a hot-fix off.
 *
 * Errors     FAIL_BAD_FORMAT, FAIL_BAD_SIGNATURE; FAIL_POLICY another fleet, or a root that
 *            names no director.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/trust.h"

#define DIRECTIVE_NONCE_BYTES 16
#define DIRECTIVE_DAYS_MAX    31 /* from created to expires */

enum directive_action { DIRECTIVE_APPLY, DIRECTIVE_ROLLBACK };

struct directive {
	char fleet[65];
	char host[KEY_ID_BYTES];       /* "" any */
	char group[HOOK_NAME_MAX + 1]; /* "" any */
	char name[HOOK_NAME_MAX + 1];
	enum directive_action action;
	uint64_t from, to;
	bool has_manifest;
	uint8_t manifest_sha256[32];
	uint8_t nonce[DIRECTIVE_NONCE_BYTES];
	uint64_t created_ms, expires_ms;
	char rollout[HOOK_NAME_MAX + 1]; /* "" none */
	char reason[201];
};

/* n_keys may be 0: others sign then. An all-zero nonce is filled in first. */
int directive_sign(struct directive *d, struct key *const *keys, size_t n_keys, char **ret_text,
		   struct fail *reterr_fail);
int directive_open(const void *envelope, size_t len, const struct trust *trust,
		   struct directive *ret_directive, struct fail *reterr_fail);
/* For showing, and for signing by those who have not yet: no signature is checked. */
int directive_open_unverified(const struct dsse *d, struct directive *ret_directive,
			      struct fail *reterr_fail);
/* The fields of the payload. NULL: out of memory. */
json_t *directive_to_json(const struct directive *d);
