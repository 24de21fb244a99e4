// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/words.h -- what libbpf has to say, kept instead of printed. libbpf tells
 * the reason of many failures (a missing kfunc, a CO-RE field, no BTF) only to its
 * print callback; hotfixd's stderr stays ours.
 *
 * Context    any thread; a capture belongs to the thread that began it. Without one,
 *            libbpf's words are dropped.
 * Ownership  the caller's struct words and its buffer must outlive the capture.
 */
#pragma once

#include <stddef.h>

struct words {
	char *text; /* always NUL-terminated; later words that do not fit are dropped */
	size_t size, len;
};

/* Captures do not nest: the last one begun is the one that listens. */
void words_begin(struct words *w, char *buf, size_t size);
void words_end(struct words *w);

/* Makes libbpf quiet; words_begin() implies it. */
void words_quiet(void);

static inline void words_endp(struct words *w)
{
	words_end(w);
}
#define AUTO_WORDS AUTO(words_endp)
