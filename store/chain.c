// SPDX-License-Identifier: BSD-2-Clause
#include "store/chain.h"

#include <stdarg.h>
#include <string.h>

#include <sodium.h>

static void add_number(crypto_hash_sha256_state *h, uint64_t v, size_t bytes)
{
	uint8_t buf[8];

	for (size_t i = 0; i < bytes; i++)
		buf[i] = (uint8_t)(v >> (8 * i));
	crypto_hash_sha256_update(h, buf, bytes);
}

static void add_text(crypto_hash_sha256_state *h, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	add_number(h, text ? len : UINT32_MAX, 4);
	crypto_hash_sha256_update(h, (const uint8_t *)(text ? text : ""), len);
}

void chain_hash(const uint8_t previous[BYTES_SHA256], uint8_t ret_hash[BYTES_SHA256],
		const char *domain, const char *fmt, ...)
{
	crypto_hash_sha256_state h;
	va_list ap;

	crypto_hash_sha256_init(&h);
	crypto_hash_sha256_update(&h, previous, BYTES_SHA256);
	crypto_hash_sha256_update(&h, (const uint8_t *)domain, strlen(domain));
	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt == 'u')
			add_number(&h, va_arg(ap, uint64_t), 8);
		else if (*fmt == 'd')
			add_number(&h, va_arg(ap, uint32_t), 4);
		else
			add_text(&h, va_arg(ap, const char *));
	}
	va_end(ap);
	crypto_hash_sha256_final(&h, ret_hash);
}
