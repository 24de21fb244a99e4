// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "lib/json.h"
#include "lib/plain.h"

static void every_code_has_a_name_an_exit_status_and_an_http_status(void **state)
{
	(void)state;
	for (enum fail_code c = FAIL_NONE; c < FAIL_CODES_; c++) {
		assert_non_null(fail_name(c));
		assert_int_equal(fail_by_name(fail_name(c)), c);
		assert_in_range(fail_exit(c), 0, 11);
		assert_in_range(fail_http(c), 200, 599);
		assert_true((c == FAIL_NONE) == (fail_exit(c) == 0));
		assert_true((c == FAIL_NONE) == (fail_http(c) < 400));
		assert_true((c == FAIL_NONE) == (fail_errno(c) == 0));
	}
	assert_int_equal(fail_by_name("no such code"), FAIL_INTERNAL);
	assert_int_equal(fail_by_name(NULL), FAIL_INTERNAL);
}

/* What scripts rely on: the table of exit statuses that the README prints. */
static void exit_statuses_are_those_of_the_contract(void **state)
{
	(void)state;
	assert_int_equal(fail_exit(FAIL_USAGE), 2);
	assert_int_equal(fail_exit(FAIL_NOT_FOUND), 3);
	assert_int_equal(fail_exit(FAIL_BAD_SIGNATURE), 4);
	assert_int_equal(fail_exit(FAIL_DOWNGRADE), 4);
	assert_int_equal(fail_exit(FAIL_POLICY), 4);
	assert_int_equal(fail_exit(FAIL_INCOMPATIBLE), 5);
	assert_int_equal(fail_exit(FAIL_LOAD), 6);
	assert_int_equal(fail_exit(FAIL_ATTACH), 6);
	assert_int_equal(fail_exit(FAIL_UNHEALTHY), 7);
	assert_int_equal(fail_exit(FAIL_TIMEOUT), 8);
	assert_int_equal(fail_exit(FAIL_CONFLICT), 9);
	assert_int_equal(fail_exit(FAIL_UNREACHABLE), 10);
	assert_int_equal(fail_exit(FAIL_PERMISSION), 11);
}

static void setting_a_failure_returns_its_errno(void **state)
{
	struct fail f = {0};

	(void)state;
	assert_int_equal(fail_set(&f, FAIL_NOT_FOUND, "%s is not there", "x"), -ENOENT);
	assert_int_equal(fail_hint(&f, "look %d times", 2), -ENOENT);
	assert_string_equal(f.message, "x is not there");
	assert_string_equal(f.hint, "look 2 times");
	assert_int_equal(fail_set(&f, FAIL_CONFLICT, "y"), -EBUSY);
	assert_string_equal(f.hint, ""); /* that of another failure */
}

static void whoever_wants_no_words_gets_the_errno(void **state)
{
	(void)state;
	assert_int_equal(fail_set(NULL, FAIL_NOT_FOUND, "x"), -ENOENT);
	assert_int_equal(fail_hint(NULL, "y"), -ENOENT);
}

static void a_failure_survives_json(void **state)
{
	struct fail f = {0}, back = {0};
	AUTO_JSON json_t *doc = NULL;

	(void)state;
	fail_set(&f, FAIL_EQUIVOCATION, "two \"different\" \xc3\xa4");
	fail_hint(&f, "ask");
	doc = fail_to_json(&f);
	fail_from_json(doc, &back);
	assert_int_equal(back.code, f.code);
	assert_string_equal(back.message, f.message);
	assert_string_equal(back.hint, f.hint);
}

static void an_answer_that_is_no_failure_becomes_one(void **state)
{
	AUTO_JSON json_t *odd = json_pack("{s:{s:i, s:n}}", "error", "code", 7, "message");
	struct fail f = {0};

	(void)state;
	fail_from_json(NULL, &f);
	assert_int_equal(f.code, FAIL_INTERNAL);
	assert_true(f.message[0]);
	fail_from_json(odd, &f);
	assert_int_equal(f.code, FAIL_INTERNAL);
}

/* Attack 30. */
static void messages_never_command_a_terminal(void **state)
{
	AUTO_JSON json_t *doc = NULL;
	struct fail f = {0};

	(void)state;
	fail_set(&f, FAIL_USAGE, "%s",
		 "a\x1b[31m\nb\tc\x7f\xc2\x9b"
		 "d\xff\xe2\x80\xae");
	assert_string_equal(f.message, "a?[31m b c??d??");
	fail_hint(&f, "%s", "\x07");
	assert_string_equal(f.hint, "?");
	doc = fail_to_json(&f);
	assert_non_null(doc);
}

static void a_message_cut_in_a_character_is_still_json(void **state)
{
	char text[FAIL_MESSAGE_BYTES + 10];
	AUTO_JSON json_t *doc = NULL;
	struct fail f = {0};

	(void)state;
	for (size_t offset = 0; offset < 3; offset++) {
		memset(text, 'x', sizeof(text));
		for (size_t i = offset; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		text[sizeof(text) - 1] = 0;
		fail_set(&f, FAIL_USAGE, "%s", text);
		json_decref(doc);
		doc = fail_to_json(&f);
		assert_non_null(doc);
		assert_non_null(json_string_value(
			json_object_get(json_object_get(doc, "error"), "message")));
	}
}

/* ---- lib/plain -------------------------------------------------------------- */

static void made_plain(const char *from, bool lines, const char *wanted)
{
	char text[64];

	snprintf(text, sizeof(text), "%s", from);
	assert_int_equal(plain_is(text, lines), strcmp(from, wanted) == 0);
	plain_make(text, lines);
	assert_string_equal(text, wanted);
	assert_true(plain_is(text, lines));
}

static void plain_text_stays_as_it_is(void **state)
{
	(void)state;
	made_plain("", false, "");
	made_plain("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xa7 \xf4\x8f\xbf\xbf", false,
		   "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xa7 \xf4\x8f\xbf\xbf");
	made_plain("a\nb\tc", true, "a\nb\tc");
}

static void what_is_not_plain_is_replaced(void **state)
{
	(void)state;
	made_plain("a\nb\tc\rd", false, "a b c?d");
	made_plain("a\rb", true, "a?b");
	made_plain("\x01\x1f\x7f", false, "???");
	made_plain("\xc2\x80\xc2\x9f\xc2\xad", false, "???");
	made_plain("\xe2\x80\x8b\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6\xef\xbb\xbf\xd8\x9c",
		   false, "??????");
}

static void bytes_that_are_no_utf8_are_replaced_one_by_one(void **state)
{
	(void)state;
	made_plain("\x80"
		   "a",
		   false, "?a");
	made_plain("\xff\xfe", false, "??");
	made_plain("\xc0\xaf", false, "??"); /* an overlong '/' */
	made_plain("\xe0\x80\xaf", false, "???");
	made_plain("\xed\xa0\x80", false, "???");      /* half of a surrogate pair */
	made_plain("\xf4\x90\x80\x80", false, "????"); /* past the last one */
	made_plain("\xe2\x82", false, "??");	       /* cut by the end */
	made_plain("\xe2(\xa1", false, "?(?");
	made_plain("\xf8\x88\x80\x80\x80", false, "?????");
}

static void what_a_spreadsheet_would_calculate_is_known(void **state)
{
	static const char *const formulas[] = {"=1+1",	   "+x",  "-2+3",
					       "@SUM(A1)", " =1", "-dash"};
	static const char *const texts[] = {"", "-", "-12", "+1.5", "1=1", "a@b", "plain"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formulas); i++)
		assert_true(plain_is_formula(formulas[i]));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_false(plain_is_formula(texts[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_name_an_exit_status_and_an_http_status),
		cmocka_unit_test(exit_statuses_are_those_of_the_contract),
		cmocka_unit_test(setting_a_failure_returns_its_errno),
		cmocka_unit_test(whoever_wants_no_words_gets_the_errno),
		cmocka_unit_test(a_failure_survives_json),
		cmocka_unit_test(an_answer_that_is_no_failure_becomes_one),
		cmocka_unit_test(messages_never_command_a_terminal),
		cmocka_unit_test(a_message_cut_in_a_character_is_still_json),
		cmocka_unit_test(plain_text_stays_as_it_is),
		cmocka_unit_test(what_is_not_plain_is_replaced),
		cmocka_unit_test(bytes_that_are_no_utf8_are_replaced_one_by_one),
		cmocka_unit_test(what_a_spreadsheet_would_calculate_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
