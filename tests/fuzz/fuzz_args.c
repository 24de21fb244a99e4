// SPDX-License-Identifier: BSD-2-Clause
/* hotfixctl's command line, one argument a line, and the numbers and versions among them. */
#include "tests/fuzz/fuzz.h"

#include "cli/command.h"
#include "lib/clock.h"
#include "lib/hook.h"
#include "lib/plain.h"

#define ARGS (ARGS_MAX + 8)

static void ask_all(const struct args *a)
{
	const struct opt *tables[] = {args_global,
				      args_command(a) ? args_command(a)->opts : NULL};
	const char *values[ARGS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct opt *o = tables[i]; o && o->name; o++) {
			size_t n = args_list(a, o->name, values);

			fuzz_must((n > 0) == args_given(a, o->name));
			fuzz_must(o->kind != OPT_VALUE || n <= 1);
			fuzz_must(n == 0 || o->kind != OPT_VALUE || args_value(a, o->name));
		}
	fuzz_must(!args_at(a, args_count(a)));
	for (size_t i = 0; i < args_count(a); i++)
		fuzz_must(args_at(a, i));
}

static void read_value(const char *s)
{
	char name[65], text[CLOCK_TIMESTAMP_BYTES], duration[CLOCK_DURATION_BYTES];
	struct fail f = {0};
	uint64_t n, ms;

	if (cli_parse_version(s, name, &n, &f) == 0)
		fuzz_must(hook_name_valid(name));
	else
		fuzz_must(f.code != FAIL_NONE && plain_is(f.message, false));
	if (cli_parse_u64("fuzz", s, 3, 1000, &n, &f) == 0)
		fuzz_must(n >= 3 && n <= 1000);
	if (clock_parse_duration(s, &ms) == 0)
		fuzz_must(clock_format_duration(ms, duration)[0] && ms <= UINT64_MAX / 1000000);
	if (clock_parse_timestamp(s, &ms) == 0)
		fuzz_must(strncmp(clock_format_timestamp(ms, text), s, 19) == 0);
}

FUZZ_TARGET(args)
{
	char *argv[ARGS + 1] = {0};
	AUTO(args_freep) struct args *a = NULL;
	struct fail f = {0};
	int argc = 0;

	while (argc < ARGS && (argv[argc] = fuzz_part(&data, &size, '\n', NULL)))
		read_value(argv[argc++]);
	if (args_parse(argc, argv, &a, &f) == 0)
		ask_all(a);
	else
		fuzz_must(f.code != FAIL_NONE && f.message[0] && plain_is(f.message, false) &&
			  plain_is(f.hint, false));
	a = args_free(a);
	while (argc > 0)
		free(argv[--argc]);
	return 0;
}
