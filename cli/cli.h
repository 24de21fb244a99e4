// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/cli.h -- what every command of hotfixctl is given, and how it ends.
 *
 * A handler returns 0, or -errno with reterr_fail filled (main() prints it and exits with
 * fail_exit()), or a positive exit status when it has said everything itself.
 *
 * Output     The result goes to stdout: for people, or with -j one JSON document. Failures
 *            go to stderr: "hotfixctl: message" and a hint, or with -j one line
 *            {"error":{...}}; stdout is then empty, except that a change which ended badly
 *            is still shown there. The exit status is the same in both modes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "cli/args.h"
#include "lib/fail.h"

#define CLI_SOCKET_DEFAULT   "/run/hotfixd.sock"
#define CLI_EXIT_INTERRUPTED 130 /* Ctrl-C while waiting: what was started goes on */

struct context; /* cli/context.h */

struct cli {
	const char *socket;
	const struct context
		*context; /* a fleet's controller; NULL: the daemon behind socket */
	bool json;
	bool tty;   /* stdout is a terminal */
	bool color; /* and NO_COLOR is not set */
};

typedef int (*cli_handler)(struct cli *c, const struct args *a, struct fail *reterr_fail);

/* stdout as one JSON document, "schema_version":1 added when it has none. */
int cli_print_json(const json_t *doc, struct fail *reterr_fail);
/* stderr: "hotfixctl: " and the text. Silent with -j. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_print_fail(const struct cli *c, const struct fail *f);
/* -EPIPE and the like of stdout, FAIL_INTERNAL. */
int cli_flush(struct fail *reterr_fail);

/* SIGINT and SIGTERM only set a flag from here on; cli_interrupted() tells. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);

/* "NAME" or "NAME@SERIAL"; *ret_serial is 0 without one. */
int cli_parse_version(const char *arg, char ret_name[65], uint64_t *ret_serial,
		      struct fail *reterr_fail);
/* A decimal number from min on; what names the option or argument. */
int cli_parse_u64(const char *what, const char *s, uint64_t min, uint64_t max,
		  uint64_t *ret_value, struct fail *reterr_fail);
