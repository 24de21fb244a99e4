// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/text.h -- what people read: strangers' text made harmless, numbers, times, users,
 * tables. The only user of libsmartcols.
 *
 * Context    any; one thread. text_* that return const char * without a buffer argument use
 *            one of 64 static buffers in turn: good until the line is printed.
 * Ownership  a table copies what is put into it; text_table_print frees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

const char *text_safe(const char *s); /* a copy made plain (lib/plain.h); "" for NULL */

const char *text_of(const json_t *o, const char *key); /* text_safe() of a member, "" if none */
const char *text_u64(uint64_t n);
/* "1 host", "12 hosts"; of a field: 0 when it is not there. */
const char *text_n(uint64_t n, const char *one);
const char *text_n_of(const json_t *o, const char *key, const char *one);
const char *text_count(uint64_t n);		      /* 1234567 -> "1 234 567" */
const char *text_bytes(uint64_t n);		      /* "12.3 KiB" */
const char *text_seconds(uint64_t ms);		      /* "12 s", "3 min", "2 h 5 min" */
const char *text_time(const char *rfc3339);	      /* without the fraction of a second */
const char *text_user(const json_t *uid);	      /* "root", or the number */
const char *text_short(const char *hex);	      /* the first 12 digits */
const char *text_hook(const json_t *hook);	      /* "lsm/socket_bind" */
const char *text_number_or_dash(const json_t *value); /* "-" for null */

/* "green", "red", "yellow", "bold", "" as escape sequences, or "" without colour. */
const char *text_color(bool color, const char *name);
/* The colour that a state, status or outcome is shown in. */
const char *text_state_color(const char *state);

/* TEXT_WRAP: the last column may, between words. */
enum { TEXT_LEFT = 0, TEXT_RIGHT = 1, TEXT_WRAP = 2, TEXT_COLORED = 4 };

struct text_column {
	const char *heading;
	int flags;
};

struct text_table;

struct text_table *text_table_new(const struct text_column *columns, size_t n, bool color);
/* One line: as many strings as there are columns. */
void text_table_line(struct text_table *t, ...);
size_t text_table_lines(const struct text_table *t);
/* Prints to stdout and frees. */
void text_table_print(struct text_table *t);
void text_table_drop(struct text_table *t);
