// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/wave.h"

#include <stdlib.h>

/* FNV-1a (Fowler, Noll, Vo), then the finalizer of splitmix64: the first alone mixes the upper
 * bits of short texts badly. */
static uint64_t add_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
	while (*text++);
	return hash;
}

uint64_t wave_hash(const char *rollout, const char *host)
{
	uint64_t x = add_text(add_text(0xcbf29ce484222325ULL, rollout), host);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_domain(const void *a, const void *b)
{
	const struct wave_candidate *x = a, *y = b;

	return x->domain == y->domain ? compare(x->order, y->order)
				      : compare((uintptr_t)x->domain, (uintptr_t)y->domain);
}

static int by_share(const void *a, const void *b)
{
	const struct wave_candidate *x = a, *y = b;

	return x->share == y->share ? compare(x->order, y->order) : compare(x->share, y->share);
}

void wave_order(struct wave_candidate *c, size_t n)
{
	size_t from, to;

	qsort(c, n, sizeof(*c), by_domain);
	for (from = 0; from < n; from = to) {
		for (to = from; to < n && c[to].domain == c[from].domain;)
			to++;
		/* the middle of the i-th of (to - from) equal parts */
		for (size_t i = from; i < to; i++)
			c[i].share = ((2 * (i - from) + 1) << 31) / (to - from);
	}
	qsort(c, n, sizeof(*c), by_share);
}
