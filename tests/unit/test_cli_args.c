// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "cli/command.h"

/* argv of a test: PARSE("build", "DIR", "--key", "a") */
#define WORDS(...)          \
	(char *const[])     \
	{                   \
		__VA_ARGS__ \
	}
#define COUNT(...) ((int)(sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *)))
#define PARSE(...) parse(COUNT(__VA_ARGS__), WORDS(__VA_ARGS__))

static struct fail fail;

static struct args *parse(int argc, char *const *argv)
{
	struct args *a = NULL;

	memset(&fail, 0, sizeof(fail));
	if (args_parse(argc, argv, &a, &fail) < 0)
		assert_int_equal(fail.code, FAIL_USAGE);
	return a;
}

static const char *words_of(const struct args *a)
{
	return args_command(a)->words;
}

static void a_command_is_one_word_or_two(void **state)
{
	AUTO(args_freep) struct args *one = PARSE("status");
	AUTO(args_freep) struct args *two = PARSE("key", "new", "--out", "k");

	(void)state;
	assert_string_equal(words_of(one), "status");
	assert_string_equal(words_of(two), "key new");
	assert_string_equal(args_value(two, "--out"), "k");
}

static void options_stand_before_or_behind_arguments(void **state)
{
	AUTO(args_freep) struct args *before = PARSE("apply", "--commit", "--trial=5m", "x@2");
	AUTO(args_freep)
	struct args *behind = PARSE("apply", "x@2", "--trial", "5m", "--commit");

	(void)state;
	assert_string_equal(args_at(before, 0), "x@2");
	assert_string_equal(args_at(behind, 0), "x@2");
	assert_string_equal(args_value(before, "--trial"), "5m");
	assert_string_equal(args_value(behind, "--trial"), "5m");
	assert_true(args_given(before, "--commit") && args_given(behind, "--commit"));
	assert_false(args_given(before, "--observe"));
}

static void global_options_stand_anywhere(void **state)
{
	AUTO(args_freep) struct args *first = PARSE("--socket", "/s", "-j", "status");
	AUTO(args_freep) struct args *last = PARSE("status", "-j", "--socket=/s");

	(void)state;
	assert_string_equal(args_value(first, "--socket"), "/s");
	assert_string_equal(args_value(last, "--socket"), "/s");
	assert_true(args_given(first, "--json") && args_given(last, "--json"));
}

static void a_list_is_repeated_or_long_or_has_commas(void **state)
{
	AUTO(args_freep)
	struct args *a =
		PARSE("trust", "init", "--key", "a", "b", "--key", "c,d", "--out", "r");
	const char *keys[ARGS_MAX];

	(void)state;
	assert_non_null(a);
	assert_int_equal(args_list(a, "--key", keys), 4);
	assert_string_equal(keys[0], "a");
	assert_string_equal(keys[1], "b");
	assert_string_equal(keys[2], "c");
	assert_string_equal(keys[3], "d");
}

static void a_list_gives_back_the_word_that_is_needed_as_an_argument(void **state)
{
	AUTO(args_freep)
	struct args *a = PARSE("build", "--key", "k1", "k2", "DIR", "--out", "f");
	AUTO(args_freep)
	struct args *b = PARSE("build", "DIR", "--key", "k1", "k2", "--out", "f");
	const char *keys[ARGS_MAX];

	(void)state;
	assert_string_equal(args_at(a, 0), "DIR");
	assert_int_equal(args_list(a, "--key", keys), 2);
	assert_string_equal(args_at(b, 0), "DIR");
	assert_int_equal(args_list(b, "--key", keys), 2);
}

static void all_that_is_missing_is_said_at_once(void **state)
{
	char *argv[] = {"trust", "revoke", "x@1", "--out", "f"};
	struct args *a = NULL;
	struct fail f;

	(void)state;
	assert_int_equal(args_parse(5, argv, &a, &f), -EINVAL);
	assert_null(a);
	assert_string_equal(f.message, "trust revoke needs --reason TEXT, --key SEC...");
	assert_non_null(strstr(f.hint, "trust revoke --help"));
}

static void a_value_that_may_be_absent_is_never_taken_from_the_next_word(void **state)
{
	AUTO(args_freep) struct args *a = PARSE("apply", "--wait", "x");
	AUTO(args_freep) struct args *b = PARSE("apply", "--wait=90s", "x");

	(void)state;
	assert_true(args_given(a, "--wait"));
	assert_null(args_value(a, "--wait"));
	assert_string_equal(args_at(a, 0), "x");
	assert_string_equal(args_value(b, "--wait"), "90s");
}

static void two_dashes_end_the_options(void **state)
{
	AUTO(args_freep) struct args *a = PARSE("import", "--", "-j", "--file");

	(void)state;
	assert_int_equal(args_count(a), 2);
	assert_string_equal(args_at(a, 1), "--file");
	assert_false(args_given(a, "--json"));
}

static void bad_usage_is_refused(void **state)
{
	(void)state;
	assert_null(PARSE("apply"));		     /* no name */
	assert_null(PARSE("apply", "a", "b"));	     /* one too many */
	assert_null(PARSE("status", "--out", "x"));  /* of another command */
	assert_null(PARSE("apply", "x", "--trial")); /* value missing */
	assert_null(PARSE("apply", "x", "--trial", "--commit"));
	assert_null(PARSE("apply", "x", "--commit=yes")); /* a flag has no value */
	assert_null(PARSE("apply", "x", "--trial", "1m", "--trial", "2m"));
	assert_null(PARSE("--commit", "apply", "x")); /* before its command */
	assert_null(PARSE("pack", "--key", ""));      /* empty */
	assert_null(PARSE("key new"));		      /* one word with a blank */
	assert_null(PARSE("stat"));		      /* no prefixes */
}

static void the_nearest_word_is_named_when_there_is_an_obvious_one(void **state)
{
	(void)state;
	assert_null(PARSE("statsu"));
	assert_non_null(strstr(fail.hint, "status"));
	assert_null(PARSE("stat"));
	assert_non_null(strstr(fail.hint, "status"));
	assert_null(PARSE("rolback", "x"));
	assert_non_null(strstr(fail.hint, "rollback"));
	assert_null(PARSE("trust", "shwo"));
	assert_non_null(strstr(fail.hint, "trust show"));
	assert_null(PARSE("trust"));
	assert_non_null(strstr(fail.hint, "import"));
	assert_null(PARSE("apply", "x", "--dryrun"));
	assert_non_null(strstr(fail.hint, "--dry-run"));
	assert_null(PARSE("xyzzy"));
	assert_null(strstr(fail.hint, "did you mean"));
}

static void help_is_given_even_where_arguments_are_missing(void **state)
{
	AUTO(args_freep) struct args *a = PARSE("apply", "--help");
	AUTO(args_freep) struct args *none = PARSE("--help");

	(void)state;
	assert_non_null(a);
	assert_true(args_given(a, "--help"));
	assert_non_null(none);
	assert_null(args_command(none));
}

static void a_version_is_a_name_and_maybe_a_serial(void **state)
{
	char name[65];
	uint64_t serial;

	(void)state;
	assert_int_equal(cli_parse_version("cve-2026-1", name, &serial, &fail), 0);
	assert_string_equal(name, "cve-2026-1");
	assert_int_equal(serial, 0);
	assert_int_equal(cli_parse_version("x@18", name, &serial, &fail), 0);
	assert_int_equal(serial, 18);
	assert_true(cli_parse_version("x@", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("x@0", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("x@-1", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("x@99999999999999999999", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("../etc", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("a?name=b", name, &serial, &fail) < 0);
	assert_true(cli_parse_version("", name, &serial, &fail) < 0);
	assert_true(
		cli_parse_version("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				  "aaaaaaaaaaa",
				  name, &serial, &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
}

static void every_command_of_the_contract_is_in_the_table(void **state)
{
	static const char *const contract[] = {
		"key new", "trust init", "trust import", "trust show", "build",	    "pack",
		"verify",  "inspect",	 "import",	 "apply",      "commit",    "rollback",
		"disable", "enable",	 "remove",	 "status",     "list",	    "show",
		"history", "events",	 "audit",	 "doctor",     "completion"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(contract); i++) {
		size_t j = 0;

		while (j < command_count && strcmp(command_table[j].words, contract[i]) != 0)
			j++;
		assert_true(j < command_count);
		assert_non_null(command_table[j].brief);
		assert_non_null(command_table[j].examples);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_one_word_or_two),
		cmocka_unit_test(options_stand_before_or_behind_arguments),
		cmocka_unit_test(global_options_stand_anywhere),
		cmocka_unit_test(a_list_is_repeated_or_long_or_has_commas),
		cmocka_unit_test(all_that_is_missing_is_said_at_once),
		cmocka_unit_test(a_list_gives_back_the_word_that_is_needed_as_an_argument),
		cmocka_unit_test(a_value_that_may_be_absent_is_never_taken_from_the_next_word),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(bad_usage_is_refused),
		cmocka_unit_test(the_nearest_word_is_named_when_there_is_an_obvious_one),
		cmocka_unit_test(help_is_given_even_where_arguments_are_missing),
		cmocka_unit_test(a_version_is_a_name_and_maybe_a_serial),
		cmocka_unit_test(every_command_of_the_contract_is_in_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
