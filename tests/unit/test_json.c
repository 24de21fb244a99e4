// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/json.h"

static void refuse(const char *bytes, size_t len, const char *word)
{
	/* In its exact size on the heap, so that a sanitizer sees a read past the end. */
	AUTO_FREE char *copy = malloc(len ? len : 1);
	json_t *doc = NULL;
	struct fail f = {0};

	memcpy(copy, bytes, len);
	if (json_parse("test", copy, len, &doc, &f) >= 0)
		fail_msg("accepted: %.*s", (int)len, bytes);
	assert_null(doc);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	assert_true(strncmp(f.message, "test: ", 6) == 0);
	if (!strstr(f.message, word))
		fail_msg("\"%s\" is not in: %s", word, f.message);
}

#define REFUSE(text, word) refuse(text, sizeof(text) - 1, word)

/* Attack 6, each of its forms. */
static void only_one_whole_document_is_accepted(void **state)
{
	(void)state;
	REFUSE("", "not valid");
	REFUSE(" ", "not valid");
	REFUSE("{", "not valid");
	REFUSE("{}{}", "end of file expected");
	REFUSE("{} x", "end of file expected");
	REFUSE("{}\0", "not valid");
	REFUSE("7", "not valid");
	REFUSE("\"a\"", "not valid");
	REFUSE("{\"a\":1,}", "not valid");
	REFUSE("{'a':1}", "not valid");
	REFUSE("{a:1}", "not valid");
	REFUSE("{\"a\":01}", "not valid");
	REFUSE("{\"a\":+1}", "not valid");
	REFUSE("{\"a\":.5}", "not valid");
	REFUSE("{\"a\":0x10}", "not valid");
	REFUSE("{\"a\":NaN}", "not valid");
	REFUSE("{\"a\":Infinity}", "not valid");
	REFUSE("{\"a\":1}//x", "not valid");
	REFUSE("{\"a\":/* x */1}", "not valid");
}

static void a_key_given_twice_is_refused_however_it_is_spelt(void **state)
{
	(void)state;
	REFUSE("{\"a\":1,\"a\":1}", "duplicate");
	REFUSE("{\"a\":1,\"\\u0061\":2}", "duplicate");
	REFUSE("{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "duplicate");
}

static void numbers_beyond_their_range_are_refused(void **state)
{
	AUTO_FREE char *digits = malloc(1 << 20);

	(void)state;
	REFUSE("{\"a\":1e400}", "overflow");
	REFUSE("{\"a\":-1e400}", "overflow");
	REFUSE("{\"a\":9223372036854775808}", "too big");
	REFUSE("{\"a\":-9223372036854775809}", "too big");
	memset(digits, '9', 1 << 20);
	digits[0] = '[';
	digits[(1 << 20) - 1] = ']';
	refuse(digits, 1 << 20, "too big");
}

static void nul_bom_and_broken_utf8_are_refused(void **state)
{
	(void)state;
	REFUSE("{\"a\":\"\\u0000\"}", "NUL");
	REFUSE("{\"a\\u0000b\":1}", "not valid");
	REFUSE("{\"a\":\"\0\"}", "not valid");
	REFUSE("\xef\xbb\xbf{}", "not valid");
	REFUSE("{\"a\":\"\xff\"}", "not valid");
	REFUSE("{\"a\":\"\xc0\x80\"}", "not valid");
	REFUSE("{\"a\":\"\xed\xa0\x80\"}", "not valid");
	REFUSE("{\"a\":\"\xf4\x90\x80\x80\"}", "not valid");
	REFUSE("{\"a\":\"\\ud800\"}", "not valid");
	REFUSE("{\"a\":\"\xe2\x82", "not valid");
	REFUSE("{\"a\":\"\n\"}", "not valid");
	REFUSE("{\0\"\0a\0\"\0:\0001\0}\0", "not valid"); /* UTF-16 */
}

static void deep_nesting_is_refused_before_it_is_parsed(void **state)
{
	AUTO_FREE char *deep = malloc(1 << 20);
	AUTO_JSON json_t *doc = NULL;
	char text[2 * JSON_DEPTH_MAX + 1];

	(void)state;
	memset(deep, '[', 1 << 20);
	refuse(deep, 1 << 20, "nested deeper");
	refuse(deep, JSON_DEPTH_MAX + 1, "nested deeper");
	for (size_t i = 0; i < 1 << 20; i += 5)
		memcpy(deep + i, "{\"a\":", (1 << 20) - i < 5 ? (1 << 20) - i : 5);
	refuse(deep, 1 << 20, "nested deeper");
	/* Brackets in strings are letters. */
	REFUSE("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[\"", "not valid");
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_ok(json_parse("test", text, 2 * JSON_DEPTH_MAX, &doc, NULL));
}

static void a_sound_document_is_accepted(void **state)
{
	static const char text[] =
		" {\"a\": [1, -2.5e3, true, null, \"\\u00e4\xc3\xa4[\\\"\"]}\n";
	AUTO_JSON json_t *doc = NULL;

	(void)state;
	assert_ok(json_parse("test", text, strlen(text), &doc, NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "a")), 5);
}

/* ---- fields ----------------------------------------------------------------- */

static void fields_are_read_with_type_and_bounds(void **state)
{
	AUTO_JSON json_t *doc = json_pack("{s:i, s:s, s:b, s:[i,i], s:{s:i}}", "n", 7, "s",
					  "text", "b", 1, "a", 1, 2, "o", "x", 1);
	struct fail fail = {0};
	struct json_fields f = json_fields("test", doc, &fail);

	(void)state;
	assert_int_equal(json_u64(&f, "n", 1, 7), 7);
	assert_string_equal(json_str(&f, "s", 4), "text");
	assert_true(json_bool_or(&f, "b", false));
	assert_int_equal(json_array_size(json_arr_or_null(&f, "a", 2)), 2);
	assert_non_null(json_obj_or_null(&f, "o"));
	assert_true(json_has(&f, "n"));
	assert_false(json_has(&f, "m"));
	assert_int_equal(json_u64_or(&f, "m", 1, 9, 5), 5);
	assert_string_equal(json_str_or(&f, "t", 9, "else"), "else");
	assert_null(json_arr_or_null(&f, "u", 1));
	assert_null(json_obj_or_null(&f, "v"));
	assert_ok(json_fields_end(&f));
	assert_int_equal(fail.code, FAIL_NONE);
}

static struct json_fields fields_of(json_t *doc, struct fail *fail)
{
	memset(fail, 0, sizeof(*fail));
	return json_fields("test", doc, fail);
}

static void ends_badly(struct json_fields *f, const char *word)
{
	assert_int_equal(json_fields_end(f), -EBADMSG);
	assert_int_equal(f->fail->code, FAIL_BAD_FORMAT);
	if (!strstr(f->fail->message, word))
		fail_msg("\"%s\" is not in: %s", word, f->fail->message);
}

static void what_is_wrong_with_a_field_is_said(void **state)
{
	AUTO_JSON json_t *doc = json_pack("{s:i, s:s, s:f, s:[i,i]}", "n", -7, "s", "text", "r",
					  1.0, "a", 1, 2);
	struct json_fields f;
	struct fail fail;

	(void)state;
	f = fields_of(doc, &fail);
	json_u64(&f, "n", 0, 9);
	ends_badly(&f, "\"n\" must be an integer from 0 to 9");
	f = fields_of(doc, &fail);
	json_u64(&f, "r", 0, 9);
	ends_badly(&f, "\"r\" must be an integer");
	f = fields_of(doc, &fail);
	json_str(&f, "s", 3);
	ends_badly(&f, "at most 3 bytes");
	f = fields_of(doc, &fail);
	json_str(&f, "n", 3);
	ends_badly(&f, "must be a string");
	f = fields_of(doc, &fail);
	json_bool_or(&f, "n", false);
	ends_badly(&f, "true or false");
	f = fields_of(doc, &fail);
	json_arr_or_null(&f, "a", 1);
	ends_badly(&f, "at most 1 items");
	f = fields_of(doc, &fail);
	json_obj_or_null(&f, "a");
	ends_badly(&f, "must be an object");
	f = fields_of(doc, &fail);
	json_str(&f, "missing", 3);
	ends_badly(&f, "\"missing\" is missing");
}

static void a_key_nobody_asked_for_is_refused(void **state)
{
	AUTO_JSON json_t *doc = json_pack("{s:i, s:i}", "known", 1, "\x1b[2J", 2);
	struct json_fields f;
	struct fail fail;

	(void)state;
	f = fields_of(doc, &fail);
	json_u64(&f, "known", 0, 9);
	ends_badly(&f, "\"?[2J\" is not a known field"); /* attack 30 */
}

static void the_first_error_is_the_one_that_is_told(void **state)
{
	AUTO_JSON json_t *doc = json_object();
	struct json_fields f;
	struct fail fail;

	(void)state;
	f = fields_of(doc, &fail);
	assert_string_equal(json_str(&f, "first", 9), "");
	assert_int_equal(json_u64(&f, "second", 3, 9), 3);
	json_bad(&f, "third", "is bad");
	ends_badly(&f, "\"first\"");
}

static void fields_of_something_else_are_an_error(void **state)
{
	AUTO_JSON json_t *list = json_array();
	struct json_fields f;
	struct fail fail;

	(void)state;
	f = fields_of(list, &fail);
	assert_int_equal(json_u64_or(&f, "a", 0, 9, 4), 4);
	ends_badly(&f, "not a JSON object");
	f = fields_of(NULL, &fail);
	ends_badly(&f, "not a JSON object");
}

static void text_of_strangers_is_nothing_that_a_terminal_or_browser_obeys(void **state)
{
	static const char evil[] = "</script><b>&'\x7f\x1b[31m\xc2\x9b\xe2\x80\xae";
	AUTO_JSON json_t *doc = json_pack("{s:s}", "title", evil), *again = NULL;
	AUTO_FREE char *text = json_text(doc);

	(void)state;
	assert_non_null(text);
	for (const char *p = text; *p; p++)
		assert_true(*p >= 0x20 && *p < 0x7f && !strchr("<>&'", *p));
	again = json_loads(text, 0, NULL);
	assert_true(json_equal(doc, again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_whole_document_is_accepted),
		cmocka_unit_test(a_key_given_twice_is_refused_however_it_is_spelt),
		cmocka_unit_test(numbers_beyond_their_range_are_refused),
		cmocka_unit_test(nul_bom_and_broken_utf8_are_refused),
		cmocka_unit_test(deep_nesting_is_refused_before_it_is_parsed),
		cmocka_unit_test(a_sound_document_is_accepted),
		cmocka_unit_test(fields_are_read_with_type_and_bounds),
		cmocka_unit_test(what_is_wrong_with_a_field_is_said),
		cmocka_unit_test(a_key_nobody_asked_for_is_refused),
		cmocka_unit_test(the_first_error_is_the_one_that_is_told),
		cmocka_unit_test(fields_of_something_else_are_an_error),
		cmocka_unit_test(text_of_strangers_is_nothing_that_a_terminal_or_browser_obeys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
