// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/words.h"

#include <stdarg.h>
#include <stdio.h>

#include <bpf/libbpf.h>

static __thread struct words *listening;

__attribute__((format(printf, 2, 0))) static int on_words(enum libbpf_print_level level,
							  const char *fmt, va_list ap)
{
	struct words *w = listening;
	int n;

	/* Debug text is long and says what libbpf does, not why it failed. */
	if (!w || level == LIBBPF_DEBUG || w->len + 1 >= w->size)
		return 0;
	n = vsnprintf(w->text + w->len, w->size - w->len, fmt, ap);
	if (n > 0)
		w->len = w->len + n < w->size ? w->len + n : w->size - 1;
	return n;
}

void words_quiet(void)
{
	libbpf_set_print(on_words);
}

void words_begin(struct words *w, char *buf, size_t size)
{
	*w = (struct words){.text = buf, .size = size};
	buf[0] = 0;
	listening = w;
	words_quiet();
}

void words_end(struct words *w)
{
	if (listening == w)
		listening = NULL;
}
