// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/setting.h -- the settings of a program: one table serves the command line, the
 * configuration file (INI) and their documentation. The only owner of libinih.
 *
 * What holds: the default of the table, over it the file, over that the flags. A file that
 * nobody named need not exist.
 *
 * Context    at start, before the loop.
 * Errors     FAIL_USAGE names file and line, or the flag, and what is allowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fail.h"

#define SETTING_FILE_BYTES 256

enum setting_kind {
	SETTING_DURATION, /* uint64_t, milliseconds; from min to max */
	SETTING_NUMBER,	  /* uint64_t, from min to max */
	SETTING_LEVEL,	  /* text: of setting_log_priority() */
	SETTING_OWN,	  /* text; this and all above it are kinds of the program */
};

struct setting {
	const char *section, *key;
	const char *flag; /* NULL: in the file only */
	int kind;
	size_t offset, size; /* of its member in the program's structure */
	const char *otherwise;
	uint64_t min, max;
	const char *help;
};

struct setting_table {
	const char *program, *file; /* the one that is read when none is named */
	const struct setting *setting;
	size_t n;
	/* Of the program's own kinds: NULL, value may be taken; else why not, until the next call. */
	const char *(*refuse)(const struct setting *s, const char *value);
};

/* What only the command line says. */
struct setting_command {
	char file[SETTING_FILE_BYTES];
	bool file_given;
	bool check_only; /* -n */
};

/* argv[0] is skipped. On failure values may hold some of it. */
int setting_load(const struct setting_table *t, int argc, char **argv, void *values,
		 struct setting_command *ret_command, struct fail *reterr_fail);
/* head: what the program is, and how it is called. */
void setting_usage(const struct setting_table *t, const char *head);
/* Every setting with its value as in force, one "section.key = value" a line. */
void setting_print(const struct setting_table *t, const void *values);
/* Of syslog; -EINVAL: it is none of error, warning, notice, info and debug. */
int setting_log_priority(const char *level);
