// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/sign.h -- keys, roots and signatures: `key new`, `trust init`, `trust rotate`, `sign`, and
 * the secret keys with which build and pack sign.
 */
#pragma once

#include "cli/cli.h"
#include "cli/pass.h"
#include "store/trust.h"

int sign_key_new(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_trust_init(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_trust_rotate(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_trust_revoke(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_trust_direct(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_trust_status(struct cli *c, const struct args *a, struct fail *reterr_fail);
int sign_run(struct cli *c, const struct args *a, struct fail *reterr_fail);

struct sign_keys {
	struct key *key[TRUST_KEYS_MAX];
	size_t n;
};

/* Loads the secret keys that option names; asks for passphrases. */
int sign_load_keys(const struct args *a, const char *option, struct sign_keys *ret_keys,
		   struct fail *reterr_fail);
void sign_keys_clear(struct sign_keys *k);

/*
 * Writes an output file atomically. A file that is there is replaced only when it begins
 * with magic: what this program made itself, never a key that was named by mistake.
 * sign_check_output() says so before there is anything to write.
 */
int sign_check_output(const char *path, const char *magic, struct fail *reterr_fail);
int sign_write_output(const char *path, const char *magic, const void *buf, size_t len,
		      struct fail *reterr_fail);
