// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/dsse.h -- signed documents: DSSE envelopes (secure-systems-lab/dsse,
 * protocol 1.0.2) with Ed25519 over the pre-authentication encoding of the exact payload bytes.
 *
 *	{"payload":base64,"payloadType":type,"signatures":[{"keyid":hex,"sig":base64},...]}
 *
 * Only the envelope itself is parsed before a signature holds.
 *
 * Errors     FAIL_BAD_FORMAT; FAIL_BAD_SIGNATURE fewer than threshold distinct raw keys signed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "store/key.h"

#define DSSE_BYTES_MAX	     (1U << 20)
#define DSSE_SIGNATURES_MAX  32

#define DSSE_TYPE_MANIFEST   "application/vnd.hotfixd.manifest+json"
#define DSSE_TYPE_ROOT	     "application/vnd.hotfixd.root+json"
#define DSSE_TYPE_REVOCATION "application/vnd.hotfixd.revocation+json"
#define DSSE_TYPE_STATUS     "application/vnd.hotfixd.status+json"
#define DSSE_TYPE_DIRECTIVE  "application/vnd.hotfixd.directive+json"
#define DSSE_TYPE_CHECKPOINT "application/vnd.hotfixd.checkpoint+json"

struct dsse;

int dsse_parse(const char *what, const void *buf, size_t len, struct dsse **ret_env,
	       struct fail *reterr_fail);
struct dsse *dsse_free(struct dsse *d);

/* The payload, once at least threshold (>= 1) distinct keys signed it as this type. */
int dsse_verify(const struct dsse *d, const char *type, const struct key_public *keys,
		size_t n_keys, unsigned int threshold, const uint8_t **ret_payload,
		size_t *ret_len, struct fail *reterr_fail);
/* For showing to a person only, marked as unverified. */
const uint8_t *dsse_unverified_payload(const struct dsse *d, const char *type, size_t *ret_len);
size_t dsse_n_signatures(const struct dsse *d);
const char *dsse_keyid(const struct dsse *d, size_t i);

/*
 * Writing. Signatures come one after the other, by whoever has a key: dsse_to_sign() gives
 * the exact bytes that Ed25519 signs, dsse_attach() takes what was made of them elsewhere.
 * A key signs once: again is fine and changes nothing.
 */
int dsse_new(const char *what, const char *type, const void *payload, size_t len,
	     struct dsse **ret_dsse, struct fail *reterr_fail);
int dsse_to_sign(const struct dsse *d, uint8_t **ret_bytes, size_t *ret_len);
int dsse_attach(struct dsse *d, const struct key_public *by, const uint8_t sig[64],
		struct fail *reterr_fail);
int dsse_add(struct dsse *d, const struct key *k, struct fail *reterr_fail);
int dsse_format(const struct dsse *d, char **ret_text, struct fail *reterr_fail);

/*
 * The payload of a document in the words in which it is shown: "format" comes in and "sha256",
 * which is its own, goes out. NULL: no memory, which is what a doc of NULL means, too.
 */
char *dsse_payload(json_t *shown);
/* All of it: a new envelope as text. n_keys may be 0, others sign then; a manifest needs one. */
int dsse_sign(const char *type, const void *payload, size_t len, struct key *const *keys,
	      size_t n_keys, char **ret_text, struct fail *reterr_fail);

DEFINE_AUTO(struct dsse, dsse_free)
