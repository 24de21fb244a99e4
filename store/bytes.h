// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/bytes.h -- bytes as text, each in exactly one spelling (base64 of RFC 4648 with
 * padding, lower-case hex), and SHA-256.
 *
 * Context    any
 * Errors     -EBADMSG not such a text, or of another length; -EIO no randomness or CPU
 *            support (libsodium refuses to start).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BYTES_SHA256	  32
#define BYTES_SHA256_HEX  65 /* with NUL */
#define BYTES_BASE64(len) (((len) + 2) / 3 * 4 + 1)

/* libsodium's own start; cheap when repeated. */
int bytes_init(void);

/* *ret_buf has one NUL past *ret_len. */
int bytes_from_base64(const char *text, size_t text_len, uint8_t **ret_buf, size_t *ret_len);
/* Exactly len bytes or -EBADMSG. */
int bytes_from_base64_exact(const char *text, uint8_t *ret_buf, size_t len);
char *bytes_to_base64(const void *buf, size_t len); /* NULL: out of memory */

int bytes_from_hex(const char *text, uint8_t *ret_buf, size_t len); /* exactly len bytes */
const char *bytes_to_hex(const void *buf, size_t len, char *out);   /* 2 * len + 1 bytes */

void bytes_sha256(const void *buf, size_t len, uint8_t ret_digest[BYTES_SHA256]);
