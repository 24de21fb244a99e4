// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/chain.h -- rows that each carry the hash of the row before: hash(n) =
 * SHA-256(hash(n-1) || row(n)), hash(0) = 32 zero bytes. The only place that says how a row becomes
 * bytes, so that no two rows have the same.
 *
 * Context    any
 */
#pragma once

#include <stdint.h>

#include "store/bytes.h"

/*
 * domain, then the fields that fmt names, numbers little-endian: 'u' uint64_t in 8 bytes, 'd' uint32_t
 * in 4, 's' const char * as its length in 4 bytes and its bytes; NULL is the length 0xffffffff.
 * ret_hash may be previous.
 */
void chain_hash(const uint8_t previous[BYTES_SHA256], uint8_t ret_hash[BYTES_SHA256],
		const char *domain, const char *fmt, ...);
