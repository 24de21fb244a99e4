// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/inspect.h -- looks into bundles and roots without a daemon: `verify` and `inspect`.
 */
#pragma once

#include <stdint.h>

#include "cli/cli.h"
#include "store/bundle.h"

int inspect_run_verify(struct cli *c, const struct args *a, struct fail *reterr_fail);
int inspect_run(struct cli *c, const struct args *a, struct fail *reterr_fail);

/* The bytes of a bundle or document; refuses early what is larger than any, and secret keys. */
int inspect_read_bundle(const char *path, uint8_t **ret_buf, size_t *ret_len,
			struct fail *reterr_fail);

/* No secret key leaves this machine because its name was typed: refused, and buf wiped. */
int inspect_refuse_secret(const char *path, void *buf, size_t len, struct fail *reterr_fail);

/* What trust_to_json() says, for people. */
void inspect_print_root(const json_t *root);

/* What a root, a revocation, a status or a directive says, unverified; anything else is called a
 * bad root. */
int inspect_document_json(const struct dsse *d, json_t **ret_doc, struct fail *reterr_fail);
