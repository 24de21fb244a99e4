// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/checkpoint.h -- what a host says about its audit log: how many rows it has, and the hash
 * of the last one. Signed by the host key, which is made at the first start and
 * stays on the host; its id is the name of the host in a fleet.
 *
 * Payload (DSSE_TYPE_CHECKPOINT):
 * {"format":1,"host":key id,"seq":N,"head":sha256,"at":ts}
 *
 * Errors     FAIL_BAD_FORMAT, FAIL_BAD_SIGNATURE.
 */
#pragma once

#include <stdint.h>

#include "store/dsse.h"

struct checkpoint {
	uint64_t seq;
	uint8_t head[32];
	uint64_t at_ms;
};

int checkpoint_sign(const struct checkpoint *c, struct key *host, char **ret_text,
		    struct fail *reterr_fail);
int checkpoint_open(const void *envelope, size_t len, const struct key_public *host,
		    struct checkpoint *ret_checkpoint, struct fail *reterr_fail);
