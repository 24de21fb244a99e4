// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/key.h -- Ed25519 keys in files.
 *
 * PREFIX.pub: one line "hotfix-ed25519 <base64 of 32 bytes> <comment>\n".
 * PREFIX.sec: 0600, a JSON document (format, kdf, salt, secret). With a passphrase the seed
 * is sealed by XSalsa20-Poly1305 under argon2id (libsodium); without, it is plain base64 and
 * says so.
 *
 * Context    CLI; argon2id takes about a second and 256 MiB by intent.
 * Errors     -EBADMSG malformed (FAIL_BAD_FORMAT); FAIL_PERMISSION file mode wider than 0600;
 *            FAIL_BAD_SIGNATURE wrong passphrase; FAIL_CONFLICT file exists (never
 * overwritten). Ownership  secret keys live in sodium_malloc'ed memory, wiped by key_free.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define KEY_PUBLIC_BYTES 32
#define KEY_ID_BYTES	 65 /* hex SHA-256 of the raw key, and NUL: a hint, no identity */

struct key_public {
	uint8_t raw[KEY_PUBLIC_BYTES];
};

struct key; /* a secret key */

/* Answers with the passphrase, or NULL to give up. The caller keeps and wipes it. */
typedef const char *(*key_ask_fn)(const char *prompt, void *cookie);

int key_new(const char *prefix, const char *passphrase_or_null, struct key_public *ret_public,
	    struct fail *reterr_fail);
int key_load(const char *path, key_ask_fn ask, void *cookie, struct key **ret_key,
	     struct fail *reterr_fail);
/* What a secret key's file says to everybody; nothing of it was proven, and nothing is secret. */
struct key_about {
	struct key_public public;
	bool sealed; /* under a passphrase */
};
bool key_is_secret_file(const void *buf, size_t len); /* also when it is damaged */
bool key_is_public_file(const void *buf, size_t len);
int key_about(const char *path, const void *buf, size_t len, struct key_about *ret_about,
	      struct fail *reterr_fail);
struct key *key_free(struct key *k);
const struct key_public *key_public(const struct key *k);
/* As an unencrypted PKCS #8 PEM, for TLS; NULL: out of memory. Freed by key_pem_free(), which wipes. */
char *key_pem(const struct key *k);
char *key_pem_free(char *pem);
int key_sign(const struct key *k, const void *msg, size_t len, uint8_t ret_sig[64]);

/* Refuses small-order and all-zero points. */
int key_public_load(const char *path, struct key_public *ret_public, struct fail *reterr_fail);
int key_public_parse(const char *base64, struct key_public *ret_public,
		     struct fail *reterr_fail);
const char *key_public_format(const struct key_public *p, char out[64]);
const char *key_id(const struct key_public *p, char out[KEY_ID_BYTES]);

DEFINE_AUTO(struct key, key_free)
DEFINE_AUTO(char, key_pem_free)
