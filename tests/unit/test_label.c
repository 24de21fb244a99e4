// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "lib/label.h"

#define SIXTY "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"

static void names_and_values_are_short_words_of_letters_and_digits(void **state)
{
	static const char *const good[] = {"a",		"7",	    "role",    "Tier_2.x-y",
					   SIXTY "xyz", "6.1.0-50", "berlin-2"};
	static const char *const bad[] = {
		"",	 " ",	"a b", "-a",  "a-",	   ".a",    "a_",  "a\tb",
		"a\x1b", "a=b", "a,b", "a|b", "a\xc3\xa4", "a\x7f", "a+b", SIXTY "wxyz"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!label_name_valid(good[i]) || !label_value_valid(good[i]))
			fail_msg("\"%s\" is good", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (label_name_valid(bad[i]) || label_value_valid(bad[i]))
			fail_msg("\"%s\" is bad", bad[i]);
}

static void a_domain_may_come_before_a_name_and_before_no_value(void **state)
{
	static const char *const bad[] = {"/a",	    "a/",   "a/b/c",	 "A.example/x",
					  "a..b/x", "-a/x", "a-/x",	 "a_b/x",
					  ".a/x",   "a./x", SIXTY "/abc"};

	(void)state;
	assert_true(label_name_valid("topology.kubernetes.io/zone"));
	assert_true(label_name_valid("a/b"));
	assert_false(label_value_valid("a/b"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (label_name_valid(bad[i]))
			fail_msg("\"%s\" is bad", bad[i]);
}

static void what_is_wrong_is_said_with_the_rule_and_without_control_characters(void **state)
{
	struct fail fail;

	(void)state;
	assert_int_equal(label_check("role", "web", &fail), 0);
	assert_true(label_check("ro le", "web", &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
	assert_non_null(strstr(fail.message, "\"ro le\" cannot be the name of a label"));
	assert_non_null(strstr(fail.hint, "1 to 63 letters"));
	assert_true(label_check("role", "w\x1b" SIXTY SIXTY, &fail) < 0);
	assert_non_null(strstr(fail.message, "label role: \"w?aaaa"));
	assert_true(strlen(fail.message) < 120);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_values_are_short_words_of_letters_and_digits),
		cmocka_unit_test(a_domain_may_come_before_a_name_and_before_no_value),
		cmocka_unit_test(
			what_is_wrong_is_said_with_the_rule_and_without_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
