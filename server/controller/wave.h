// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/wave.h -- the order in which hosts get their turn: by a hash of rollout and
 * host, so that nobody chooses who goes first, and evenly over failure domains, so that every
 * beginning of the order holds of each domain what is its share.
 *
 * Context    any; wave_order() costs O(n log n).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct wave_candidate {
	uint64_t order;	    /* wave_hash() */
	const void *domain; /* any address that stands for it */
	uint64_t share;	    /* what wave_order() makes of it */
	void *host;
};

uint64_t wave_hash(const char *rollout, const char *host);
void wave_order(struct wave_candidate *c, size_t n);
