// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/args.h -- the command line: finds the command in the table (cli/command.h) and
 * sorts its options from its arguments, which may come in any order.
 *
 *	-x VALUE  --option VALUE  --option=VALUE   --  ends the options
 *	OPT_LIST  --key a --key b,  --key a,b  and  --key a b  are the same. Words behind the
 *		  first value of a list go to the arguments when those would be missing.
 *
 * Errors     -EINVAL with FAIL_USAGE, naming the nearest known word when there is one.
 * Ownership  values point into argv and into the args.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define ARGS_MAX 1024

enum opt_kind {
	OPT_FLAG,  /* --commit */
	OPT_VALUE, /* --out FILE */
	OPT_MAYBE, /* --wait[=DURATION] */
	OPT_LIST,  /* --key SEC... */
	/* the same, and nothing goes without it */
	OPT_NEEDED,
	OPT_NEEDED_LIST,
};

struct opt {
	const char *name; /* "--out"; NULL ends a table */
	char letter;	  /* 'j' for -j, or 0 */
	enum opt_kind kind;
	const char *value; /* "FILE" */
	const char *help;
};

bool args_opt_is_list(const struct opt *o);
bool args_opt_is_needed(const struct opt *o);

struct command;
struct args;

/* Options that every command takes. */
extern const struct opt args_global[];

/* argv without the program's name. A command line without any command: *ret_args has no
 * command (args_command is NULL), but maybe --help or --version. */
int args_parse(int argc, char *const *argv, struct args **ret_args, struct fail *reterr_fail);
struct args *args_free(struct args *a);

const struct command *args_command(const struct args *a);
size_t args_count(const struct args *a);
const char *args_at(const struct args *a, size_t i); /* NULL past the end */

/* name must be an option of the command or a global one. */
bool args_given(const struct args *a, const char *name);
const char *args_value(const struct args *a, const char *name); /* NULL: not given, or bare */
size_t args_list(const struct args *a, const char *name, const char *ret_values[ARGS_MAX]);

/* The nearest of the candidates by edit distance, or NULL when none is obvious. */
const char *args_nearest(const char *word, const char *const *candidates, size_t n);

DEFINE_AUTO(struct args, args_free)
