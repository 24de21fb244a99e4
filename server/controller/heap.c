// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/heap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static bool before(const struct heap_node *a, const struct heap_node *b)
{
	return a->major != b->major ? a->major < b->major : a->minor < b->minor;
}

static void put(struct heap *h, struct heap_node *node, size_t at)
{
	h->node[at] = node;
	node->at = at;
}

/* Finds node its place, from the hole at `at` on: up, then down. */
static void settle(struct heap *h, struct heap_node *node, size_t at)
{
	size_t child;

	for (; at > 1 && before(node, h->node[at / 2]); at /= 2)
		put(h, h->node[at / 2], at);
	for (; (child = 2 * at) <= h->n; at = child) {
		child += child < h->n && before(h->node[child + 1], h->node[child]);
		if (!before(h->node[child], node))
			break;
		put(h, h->node[child], at);
	}
	put(h, node, at);
}

int heap_reserve(struct heap *h, size_t n)
{
	size_t room = h->room ? h->room : 16;
	struct heap_node **grown;

	if (n < h->room)
		return 0;
	while (room <= n)
		room *= 2;
	grown = realloc(h->node, room * sizeof(struct heap_node *));
	if (!grown)
		return -ENOMEM;
	h->node = grown;
	h->room = room;
	return 0;
}

void heap_add(struct heap *h, struct heap_node *node, uint64_t major, uint64_t minor)
{
	node->major = major;
	node->minor = minor;
	h->n++;
	settle(h, node, h->n);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	struct heap_node *last;

	if (!node->at)
		return;
	last = h->node[h->n--];
	if (last != node)
		settle(h, last, node->at);
	node->at = 0;
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->n ? h->node[1] : NULL;
}

void heap_clear(struct heap *h)
{
	free(h->node);
	*h = (struct heap){0};
}
