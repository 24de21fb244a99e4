// SPDX-License-Identifier: BSD-2-Clause
#include "lib/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/plain.h"

static int max_priority = LOG_INFO;
static bool journal;

void log_open(int priority)
{
	max_priority = priority;
	journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_event(int priority, const char *fmt, ...)
{
	char line[2048], stamp[CLOCK_TIMESTAMP_BYTES];
	size_t n;
	va_list ap;
	int r;

	if (priority > max_priority)
		return;
	if (journal)
		r = snprintf(line, sizeof(line), "<%d>", priority);
	else
		r = snprintf(line, sizeof(line), "%s ",
			     clock_format_timestamp(clock_real_ms(), stamp));
	n = (size_t)r;
	va_start(ap, fmt);
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (r < 0)
		return;
	plain_make(line, false);
	n = strlen(line);
	line[n++] = '\n';
	/* One write, so that lines of daemon and workers do not mix. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
