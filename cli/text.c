// SPDX-License-Identifier: BSD-2-Clause
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

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

const char *text_n(uint64_t n, const char *one)
{
	const char *more = one[0] && one[strlen(one) - 1] == 'x' ? "es" : "s";
	char *b = buffer();

	snprintf(b, BUFFER_BYTES, "%" PRIu64 " %s%s", n, one, n == 1 ? "" : more);
	return b;
}

const char *text_n_of(const json_t *o, const char *key, const char *one)
{
	return text_n((uint64_t)json_integer_value(json_object_get(o, key)), one);
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

	if (s < 120) {
		snprintf(b, BUFFER_BYTES, "%" PRIu64 " s", s);
		return b;
	}
	s = s < 172800 ? (s + 30) / 60 * 60 : s / 3600 * 3600;
	return clock_format_duration(s * 1000, b);
}

const char *text_time(const char *rfc3339)
{
	char *b = safe_copy(rfc3339), *dot = strchr(b, '.');

	if (dot && strlen(dot) == 5)
		memmove(dot, dot + 4, 2); /* ".123Z" becomes "Z" */
	plain_make(b, false);		  /* no digits: maybe half a character is left */
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
	plain_make(b, false); /* no digits: maybe half a character is left */
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
		{"live", "green"},
		{"ok", "green"},
		{"done", "green"},
		{"yes", "green"},
		{"trial", "yellow"},
		{"warn", "yellow"},
		{"unknown", "yellow"},
		{"disabled", "yellow"},
		{"retired", "yellow"},
		{"failed", "red"},
		{"fail", "red"},
		{"quarantined", "red"},
		{"barred", "red"},
		{"rolled_back", "yellow"},
		{"no", "red"},
		{"good", "green"},
		{"inconclusive", "yellow"},
		{"bad", "red"},
		{"succeeded", "green"},
		{"committed", "green"},
		{"proven", "green"},
		{"wave_baking", "green"},
		{"wave_attaching", "green"},
		{"paused", "yellow"},
		{"pending_approval", "yellow"},
		{"aborting", "yellow"},
		{"rolling_back", "red"},
		{"rollback_incomplete", "red"},
		{"aborted", "red"},
		{"stopped", "red"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i][0], state) == 0)
			return states[i][1];
	return NULL;
}

/* --- tables --------------------------------------------------------------------------- */

#define WRAP_WIDTH_MIN 24

struct text_table {
	const struct text_column *columns;
	size_t n, n_lines, room;
	char **cells; /* n for each line */
	bool color;
};

static void *or_abort(void *p)
{
	if (!p)
		abort();
	return p;
}

struct text_table *text_table_new(const struct text_column *columns, size_t n, bool color)
{
	struct text_table *t = or_abort(calloc(1, sizeof(*t)));

	*t = (struct text_table){.columns = columns, .n = n, .color = color};
	return t;
}

/* Tables are pasted into spreadsheets: there a leading quote says that it is text. */
static char *cell_of(const char *s)
{
	char *cell = or_abort(malloc(strlen(s) + 2));

	strcpy(cell + 1, s);
	plain_make(cell + 1, false);
	if (plain_is_formula(cell + 1))
		cell[0] = '\'';
	else
		memmove(cell, cell + 1, strlen(cell + 1) + 1);
	return cell;
}

void text_table_line(struct text_table *t, ...)
{
	va_list ap;

	if (t->n_lines == t->room) {
		t->room = t->room ? t->room * 2 : 16;
		t->cells =
			or_abort(reallocarray(t->cells, t->room * t->n, sizeof(t->cells[0])));
	}
	va_start(ap, t);
	for (size_t i = 0; i < t->n; i++) {
		const char *s = va_arg(ap, const char *);

		t->cells[t->n_lines * t->n + i] = cell_of(s ? s : "");
	}
	va_end(ap);
	t->n_lines++;
}

size_t text_table_lines(const struct text_table *t)
{
	return t->n_lines;
}

/* Columns of the terminal that plain text takes. */
static size_t width_of(const char *s)
{
	size_t n = mbstowcs(NULL, s, 0);
	AUTO_FREE wchar_t *wide = n == (size_t)-1 ? NULL : calloc(n + 1, sizeof(*wide));
	int width;

	if (!wide)
		return strlen(s);
	mbstowcs(wide, s, n + 1);
	width = wcswidth(wide, n);
	return width < 0 ? n : (size_t)width;
}

static size_t column_width(const struct text_table *t, size_t column)
{
	size_t width = width_of(t->columns[column].heading);

	for (size_t i = 0; i < t->n_lines; i++) {
		size_t w = width_of(t->cells[i * t->n + column]);

		width = w > width ? w : width;
	}
	return width;
}

/* Blanks become line breaks so that no line is wider; libsmartcols breaks inside words. */
static void break_words(char *s, size_t width)
{
	char *line = s, *blank = NULL;

	for (char *p = s; *p; p++) {
		char after = p[1];

		if (*p == ' ')
			blank = p;
		p[1] = 0;
		if (blank && width_of(line) > width) {
			*blank = '\n';
			line = blank + 1;
			blank = NULL;
		}
		p[1] = after;
	}
}

/* The last column takes what the others leave of the terminal. */
static void fit_last(struct text_table *t)
{
	size_t used = 0, last = t->n - 1, width;
	struct winsize size;

	if (!(t->columns[last].flags & TEXT_WRAP) ||
	    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return;
	for (size_t i = 0; i < last; i++)
		used += column_width(t, i) + 1;
	width = size.ws_col > used + WRAP_WIDTH_MIN ? size.ws_col - used : WRAP_WIDTH_MIN;
	for (size_t i = 0; i < t->n_lines; i++)
		break_words(t->cells[i * t->n + last], width);
}

static struct libscols_table *to_scols(const struct text_table *t)
{
	struct libscols_table *s = or_abort(scols_new_table());

	scols_table_enable_colors(s, t->color);
	scols_table_enable_noencoding(s, true); /* plain text already */
	for (size_t i = 0; i < t->n; i++) {
		struct libscols_column *c = or_abort(scols_table_new_column(
			s, t->columns[i].heading, 0,
			(t->columns[i].flags & TEXT_RIGHT ? SCOLS_FL_RIGHT : 0) |
				(t->columns[i].flags & TEXT_WRAP ? SCOLS_FL_WRAP : 0)));

		if (t->columns[i].flags & TEXT_WRAP)
			scols_column_set_wrapfunc(c, scols_wrapnl_chunksize,
						  scols_wrapnl_nextchunk, NULL);
	}
	for (size_t l = 0; l < t->n_lines; l++) {
		struct libscols_line *line = or_abort(scols_table_new_line(s, NULL));

		for (size_t i = 0; i < t->n; i++) {
			const char *cell = t->cells[l * t->n + i];

			scols_line_set_data(line, i, cell);
			if (t->columns[i].flags & TEXT_COLORED && text_state_color(cell))
				scols_cell_set_color(scols_line_get_cell(line, i),
						     text_state_color(cell));
		}
	}
	return s;
}

void text_table_drop(struct text_table *t)
{
	for (size_t i = 0; i < t->n_lines * t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void text_table_print(struct text_table *t)
{
	struct libscols_table *s;

	fit_last(t);
	s = to_scols(t);
	scols_print_table(s);
	scols_unref_table(s);
	text_table_drop(t);
}
