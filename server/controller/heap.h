// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/heap.h -- what comes first: a binary heap of nodes that live in their owners.
 * The same set of nodes has the same first one, in whatever order they were added.
 *
 * Context    any; add and remove cost O(log n), first O(1). Room is made beforehand, so that adding
 *            cannot fail.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t major, minor; /* the smallest comes first */
	size_t at;	       /* place in its heap, 0: in none */
};

struct heap {
	struct heap_node **node; /* from 1 on */
	size_t n, room;
};

int heap_reserve(struct heap *h, size_t n); /* -ENOMEM */
void heap_add(struct heap *h, struct heap_node *node, uint64_t major, uint64_t minor);
void heap_remove(struct heap *h, struct heap_node *node); /* in none: fine */
struct heap_node *heap_first(const struct heap *h);	  /* NULL: empty */
void heap_clear(struct heap *h);

#define heap_owner(node, type, member) ((type *)((uintptr_t)(node)-offsetof(type, member)))
