// SPDX-License-Identifier: BSD-2-Clause
#include "store/bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/cleanup.h"

int bytes_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

/* libsodium 1.0.18 takes every byte above 0x7f for a digit. */
static bool is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] > 0x7f)
			return false;
	return true;
}

int bytes_from_base64(const char *text, size_t text_len, uint8_t **ret_buf, size_t *ret_len)
{
	size_t room = text_len / 4 * 3, len;
	AUTO_FREE uint8_t *buf = malloc(room + 1);

	if (!buf)
		return -ENOMEM;
	/* libsodium refuses missing padding, stray bytes and non-zero spare bits. */
	if (!is_ascii(text, text_len) ||
	    sodium_base642bin(buf, room, text, text_len, NULL, &len, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		return -EBADMSG;
	buf[len] = 0;
	*ret_buf = take_ptr(buf);
	*ret_len = len;
	return 0;
}

int bytes_from_base64_exact(const char *text, uint8_t *ret_buf, size_t len)
{
	size_t n = strlen(text), got;

	if (n + 1 != BYTES_BASE64(len) || !is_ascii(text, n) ||
	    sodium_base642bin(ret_buf, len, text, n, NULL, &got, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    got != len)
		return -EBADMSG;
	return 0;
}

char *bytes_to_base64(const void *buf, size_t len)
{
	size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(room);

	if (text)
		sodium_bin2base64(text, room, buf, len, sodium_base64_VARIANT_ORIGINAL);
	return text;
}

int bytes_from_hex(const char *text, uint8_t *ret_buf, size_t len)
{
	size_t n = strlen(text), got;

	if (n != 2 * len || strspn(text, "0123456789abcdef") != n ||
	    sodium_hex2bin(ret_buf, len, text, n, NULL, &got, NULL) != 0 || got != len)
		return -EBADMSG;
	return 0;
}

const char *bytes_to_hex(const void *buf, size_t len, char *out)
{
	return sodium_bin2hex(out, 2 * len + 1, buf, len);
}

void bytes_sha256(const void *buf, size_t len, uint8_t ret_digest[BYTES_SHA256])
{
	crypto_hash_sha256(ret_digest, buf, len);
}
