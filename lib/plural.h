// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/plural.h -- counts as people say them: "1 host", "2 hosts".
 *
 *	printf("%zu host%s", n, plural(n));
 *
 * Context    any
 */
#pragma once

#include <stdint.h>

static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
