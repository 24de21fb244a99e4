// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/command.h -- the one table of hotfixctl's commands. Dispatch, usage, help, shell
 * completion and the check of the manual page (tests/unit/test_cli_manual.c) read it.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "cli/cli.h"

enum command_group {
	COMMAND_AUTHOR, /* no daemon needed */
	COMMAND_TRUST,
	COMMAND_CHANGE,
	COMMAND_LOOK,
	COMMAND_CONTEXT, /* which fleet */
	COMMAND_ROLLOUT, /* in a context: asks a fleet's controller */
	COMMAND_FLEET,	 /* the same */
	COMMAND_SELF,
	COMMAND_GROUPS_
};

enum command_complete { COMPLETE_NOTHING, COMPLETE_FILES, COMPLETE_NAMES, COMPLETE_BOTH };

struct command {
	const char *words; /* "key new" */
	cli_handler run;
	enum command_group group;
	const char *args; /* "NAME[@SERIAL]", "" none */
	size_t min_args, max_args;
	enum command_complete complete;
	const struct opt *opts; /* or NULL */
	const char *brief;	/* one line, no full stop */
	const char *text;	/* more, lines of at most 80 columns; or NULL */
	const char *examples;	/* one a line; or NULL */
};

extern const struct command command_table[];
extern const size_t command_count;

/* A fleet's, always; this host's, or with --context a fleet's; this host's only. */
enum command_place { COMMAND_OF_FLEET, COMMAND_OF_EITHER, COMMAND_OF_HOST };
enum command_place command_place(const struct command *c);

/* The command of the first words of argv and how many they are. NULL: there is none. */
const struct command *command_find(int argc, char *const *argv, int *ret_words);
/* Fills f: no such command; the nearest; or what follows a first word such as "key". */
int command_unknown(int argc, char *const *argv, struct fail *f);

void command_usage(FILE *out);			       /* all commands */
void command_help(const struct command *c, FILE *out); /* one */
void command_completion_bash(FILE *out);
void command_completion_zsh(FILE *out);

int command_run_help(struct cli *c, const struct args *a, struct fail *reterr_fail);
int command_run_completion(struct cli *c, const struct args *a, struct fail *reterr_fail);
