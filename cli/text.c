// SPDX-License-Identifier: BSD-2-Clause
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/plain.h"

#define BUFFERS	     64
#define BUFFER_BYTES 1200

static char *buffer(void)
{
	static char buffers[BUFFERS][BUFFER_BYTES];
	static unsigned int next;

	return buffers[next++ % BUFFERS];
}

static char *safe_copy(const char *s)
{
	char *b = buffer();

	snprintf(b, BUFFER_BYTES, "%s", s ? s : "");
	plain_make(b, false);
	return b;
}

const char *text_safe(const char *s)
{
	return safe_copy(s);
}

const char *text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_integer(v)) {
		char *b = buffer();

		snprintf(b, BUFFER_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return b;
	}
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	return text_safe(json_string_value(v));
}

const char *text_u64(uint64_t n)
{
	char *b = buffer();

	snprintf(b, BUFFER_BYTES, "%" PRIu64, n);
	return b;
}

const char *text_count(uint64_t n)
{
	char *b = buffer(), digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;

	for (size_t i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			b[out++] = ' ';
		b[out++] = digits[i];
	}
	b[out] = 0;
	return b;
}

const char *text_bytes(uint64_t n)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
	double value = (double)n;
	char *b = buffer();
	size_t u = 0;

	while (value >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		u++;
	}
	snprintf(b, BUFFER_BYTES, u ? "%.1f %s" : "%.0f %s", value, units[u]);
	return b;
}

const char *text_seconds(uint64_t ms)
{
	uint64_t s = (ms + 999) / 1000;
	char *b = buffer();

	if (s < 120)
		snprintf(b, BUFFER_BYTES, "%" PRIu64 " s", s);
	else if (s < 7200)
		snprintf(b, BUFFER_BYTES, "%" PRIu64 " min", (s + 30) / 60);
	else if (s < 172800)
		snprintf(b, BUFFER_BYTES, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s % 3600 / 60);
	else
		snprintf(b, BUFFER_BYTES, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			 s % 86400 / 3600);
	return b;
}

const char *text_time(const char *rfc3339)
{
	char *b = safe_copy(rfc3339), *dot = strchr(b, '.');

	if (dot && strlen(dot) == 5)
		memmove(dot, dot + 4, 2); /* ".123Z" becomes "Z" */
	return b;
}

const char *text_user(const json_t *uid)
{
	const struct passwd *pw;

	if (!json_is_integer(uid))
		return "";
	pw = getpwuid((uid_t)json_integer_value(uid));
	return pw ? text_safe(pw->pw_name) : text_u64((uint64_t)json_integer_value(uid));
}

const char *text_short(const char *hex)
{
	char *b = safe_copy(hex);

	if (strlen(b) > 12)
		b[12] = 0;
	return b;
}

const char *text_hook(const json_t *hook)
{
	char *b = buffer();

	snprintf(b, BUFFER_BYTES, "%s/%s", text_of(hook, "type"), text_of(hook, "target"));
	return b;
}

const char *text_number_or_dash(const json_t *value)
{
	return json_is_integer(value) ? text_count((uint64_t)json_integer_value(value)) : "-";
}

const char *text_color(bool color, const char *name)
{
	static const char *const codes[][2] = {{"red", "\033[31m"},
					       {"green", "\033[32m"},
					       {"yellow", "\033[33m"},
					       {"bold", "\033[1m"},
					       {"reset", "\033[0m"}};

	for (size_t i = 0; color && i < ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i][0], name) == 0)
			return codes[i][1];
	return "";
}

const char *text_state_color(const char *state)
{
	static const char *const states[][2] = {
		{"live", "green"},	   {"ok", "green"},	   {"done", "green"},
		{"yes", "green"},	   {"trial", "yellow"},	   {"warn", "yellow"},
		{"unknown", "yellow"},	   {"disabled", "yellow"}, {"retired", "yellow"},
		{"failed", "red"},	   {"fail", "red"},	   {"quarantined", "red"},
		{"rolled_back", "yellow"}, {"no", "red"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i][0], state) == 0)
			return states[i][1];
	return NULL;
}

/* --- tables --------------------------------------------------------------------------- */

struct text_table {
	struct libscols_table *scols;
	const struct text_column *columns;
	size_t n;
	bool color;
};

struct text_table *text_table_new(const struct text_column *columns, size_t n, bool color)
{
	struct text_table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	scols_init_debug(0);
	*t = (struct text_table){scols_new_table(), columns, n, color};
	if (!t->scols)
		abort();
	scols_table_enable_colors(t->scols, color);
	for (size_t i = 0; i < n; i++)
		if (!scols_table_new_column(
			    t->scols, columns[i].heading, 0,
			    (columns[i].flags & TEXT_RIGHT ? SCOLS_FL_RIGHT : 0) |
				    (columns[i].flags & TEXT_WRAP ? SCOLS_FL_WRAP : 0)))
			abort();
	return t;
}

void text_table_line(struct text_table *t, ...)
{
	struct libscols_line *line = scols_table_new_line(t->scols, NULL);
	va_list ap;

	if (!line)
		abort();
	va_start(ap, t);
	for (size_t i = 0; i < t->n; i++) {
		const char *s = text_safe(va_arg(ap, const char *));

		scols_line_set_data(line, i, s);
		if (t->columns[i].flags & TEXT_COLORED && text_state_color(s))
			scols_cell_set_color(scols_line_get_cell(line, i), text_state_color(s));
	}
	va_end(ap);
}

size_t text_table_lines(const struct text_table *t)
{
	return scols_table_get_nlines(t->scols);
}

void text_table_print(struct text_table *t)
{
	scols_print_table(t->scols);
	scols_unref_table(t->scols);
	free(t);
}
