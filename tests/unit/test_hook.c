// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "lib/hook.h"

static void hook_types_are_read_back(void **state)
{
	(void)state;
	for (enum hook_type t = HOOK_FENTRY; t <= HOOK_STRUCT_OPS; t++) {
		enum hook_type back;

		assert_ok(hook_type_parse(hook_type_name(t), &back));
		assert_int_equal(back, t);
	}
}

static void other_words_are_no_hook_type(void **state)
{
	static const char *const bad[] = {"",	   "kprobe", "LSM",	"lsm ",
					  "lsm.s", "fentr",  "fentryx", "lsm/socket_bind"};
	enum hook_type t = HOOK_LSM;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hook_type_parse(bad[i], &t), -EINVAL);
	assert_int_equal(t, HOOK_LSM);
}

static void hooks_are_equal_in_every_part_or_not_at_all(void **state)
{
	const struct hook a = {HOOK_LSM, false, "socket_bind", "deny", ""};
	struct hook b = a;

	(void)state;
	assert_true(hook_equal(&a, &b));
	b.type = HOOK_FMOD_RET;
	assert_false(hook_equal(&a, &b));
	b = a;
	b.sleepable = true;
	assert_false(hook_equal(&a, &b));
	b = a;
	strcpy(b.target, "socket_connect");
	assert_false(hook_equal(&a, &b));
	b = a;
	strcpy(b.program, "deny2");
	assert_false(hook_equal(&a, &b));
	b = a;
	strcpy(b.cc_name, "x");
	assert_false(hook_equal(&a, &b));
}

/* Attack 31: a name becomes a folder in bpffs, a row, a part of a path of the API. */
static void names_are_safe_as_file_names(void **state)
{
	static const char *const bad[] = {"",	 "-",	 "-a",	 "A",	    "a.b", ".",
					  "..",	 "../a", "a/b",	 "a b",	    "a_b", "a\n",
					  "a'b", "a\"",	 "a%2f", "\xc3\xa4"};
	char long_name[HOOK_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(hook_name_valid(bad[i]));
	assert_true(hook_name_valid("a"));
	assert_true(hook_name_valid("0"));
	assert_true(hook_name_valid("cve-2026-31431-copyfail"));
	memset(long_name, 'a', sizeof(long_name));
	long_name[HOOK_NAME_MAX + 1] = 0;
	assert_false(hook_name_valid(long_name));
	long_name[HOOK_NAME_MAX] = 0;
	assert_true(hook_name_valid(long_name));
}

static void symbols_are_c_identifiers_of_bounded_length(void **state)
{
	static const char *const bad[] = {"",	 "1a",	"a-b",	    "a.b",
					  "a b", "a/b", "\xc3\xa4", "a\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(hook_symbol_valid(bad[i], 10));
	assert_true(hook_symbol_valid("_", 1));
	assert_true(hook_symbol_valid("__x64_sys_bind", 14));
	assert_false(hook_symbol_valid("__x64_sys_bind", 13));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hook_types_are_read_back),
		cmocka_unit_test(other_words_are_no_hook_type),
		cmocka_unit_test(hooks_are_equal_in_every_part_or_not_at_all),
		cmocka_unit_test(names_are_safe_as_file_names),
		cmocka_unit_test(symbols_are_c_identifiers_of_bounded_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
