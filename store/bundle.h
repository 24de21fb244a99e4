// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/bundle.h -- one signed version in one file: envelope and object.
 *
 *	offset 0   8 bytes  "HOTFIX1\n"
 *	8	   u32 LE   bytes of the envelope (1 to DSSE_BYTES_MAX)
 *	12	   u32 LE   bytes of the object (1 to BUNDLE_OBJECT_BYTES_MAX)
 *	16	   envelope (DSSE, JSON), then the object; nothing after it
 *
 * bundle_open is the only way to a usable bundle: length, envelope, signatures by
 * the release threshold, manifest, scopes of the signers (store/trust.h), size and SHA-256 of
 * the object, in that order.
 *
 * Context    any; hashes the object (about 1 ms per MiB), does not block.
 * Errors     FAIL_BAD_FORMAT, FAIL_BAD_SIGNATURE, FAIL_BAD_DIGEST.
 * Ownership  a bundle borrows buf: the caller keeps the bytes alive and unchanged.
 */
#pragma once

#include <stdint.h>

#include "lib/fail.h"
#include "store/manifest.h"
#include "store/trust.h"

#define BUNDLE_MAGIC		"HOTFIX1\n"
#define BUNDLE_OBJECT_BYTES_MAX (16U << 20)
#define BUNDLE_BYTES_MAX	(16U + DSSE_BYTES_MAX + BUNDLE_OBJECT_BYTES_MAX)

struct bundle {
	struct dsse *envelope;
	struct manifest *manifest;
	const uint8_t *object; /* into the caller's buffer */
	size_t object_len;
	uint8_t digest[32]; /* SHA-256 of the whole bundle, as sha256sum prints it */
	/* Of the signed manifest, which pins the object: the same for every set of signatures.
	 */
	uint8_t manifest_sha256[32];
};

int bundle_open(const void *buf, size_t len, const struct trust *trust,
		struct bundle **ret_bundle, struct fail *reterr_fail);
/* For `inspect` only: no signature is checked, but structure, manifest and digest are. */
int bundle_open_unverified(const void *buf, size_t len, struct bundle **ret_bundle,
			   struct fail *reterr_fail);
struct bundle *bundle_free(struct bundle *b);
bool bundle_signed_by(const struct bundle *b, const struct key_public *key);
/* The bytes of b with what its envelope says now: after more signatures. */
int bundle_format(const struct bundle *b, uint8_t **ret_buf, size_t *ret_len,
		  struct fail *reterr_fail);

/* Signs manifest_text (must parse, and match object in size and digest): the bundle's bytes. */
int bundle_build(const void *manifest_text, size_t manifest_len, const void *object,
		 size_t object_len, struct key *const *keys, size_t n_keys, uint8_t **ret_buf,
		 size_t *ret_len, struct fail *reterr_fail);

DEFINE_AUTO(struct bundle, bundle_free)
