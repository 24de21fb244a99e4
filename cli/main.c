// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/command.h"
#include "cli/context.h"
#include "lib/version.h"

static bool env_set(const char *name)
{
	const char *v = getenv(name);

	return v && v[0];
}

/* Before the command line is understood, so that its errors come in the form asked for. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "-j") == 0 || strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

/* A fleet's controller for what belongs to a fleet, or where somebody says so. */
static int choose_place(const struct args *a, struct context **ret_context, struct fail *f)
{
	enum command_place place = command_place(args_command(a));
	const char *context = args_value(a, "--context");

	if (context && place == COMMAND_OF_HOST) {
		fail_set(f, FAIL_USAGE, "%s does not speak to a fleet: --context is not for it",
			 args_command(a)->words);
		return fail_hint(f, "hotfixctl rollout start brings a version to a fleet, "
				    "hotfixctl help has the rest");
	}
	if (context && args_given(a, "--socket"))
		return fail_set(f, FAIL_USAGE, "--context and --socket are two places");
	if (!context && place != COMMAND_OF_FLEET)
		return 0;
	if (args_given(a, "--socket"))
		return fail_set(f, FAIL_USAGE, "%s speaks to a fleet: --socket is not for it",
				args_command(a)->words);
	return context_load(context, ret_context, f);
}

int main(int argc, char **argv)
{
	struct cli c = {.json = wants_json(argc, argv), .tty = isatty(STDOUT_FILENO)};
	AUTO(context_freep) struct context *context = NULL;
	AUTO(args_freep) struct args *a = NULL;
	const struct command *command;
	struct fail f = {0};
	int r;

	/* Only for the width of characters; numbers stay as programs expect them. */
	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	c.color = c.tty && !c.json && !env_set("NO_COLOR");
	r = args_parse(argc - 1, argv + 1, &a, &f);
	if (r < 0) {
		cli_print_fail(&c, &f);
		return fail_exit(f.code);
	}
	c.socket = args_value(a, "--socket");
	if (!c.socket)
		c.socket = env_set("HOTFIXD_SOCKET") ? getenv("HOTFIXD_SOCKET")
						     : CLI_SOCKET_DEFAULT;
	command = args_command(a);
	if (!command && !args_given(a, "--version") && !args_given(a, "--help")) {
		command_usage(stderr);
		return fail_exit(FAIL_USAGE);
	}
	if (args_given(a, "--version"))
		printf("hotfixctl %s\n", HOTFIX_VERSION);
	else if (!command)
		command_usage(stdout);
	else if (args_given(a, "--help"))
		command_help(command, stdout);
	else
		r = choose_place(a, &context, &f);
	if (r >= 0 && command && !args_given(a, "--version") && !args_given(a, "--help")) {
		c.context = context;
		r = command->run(&c, a, &f);
	}
	if (r >= 0 && cli_flush(&f) < 0)
		r = -1;
	if (r < 0) {
		cli_print_fail(&c, &f);
		return cli_interrupted() ? CLI_EXIT_INTERRUPTED : fail_exit(f.code);
	}
	return r;
}
