// SPDX-License-Identifier: BSD-2-Clause
/*
 * YAML of people as JSON: what it means, and what is refused with its place.
 */
#include "cli/yaml.h"
#include "lib/json.h"
#include "tests/unit/unit.h"

static struct fail fail;

static json_t *parse(const char *text)
{
	json_t *doc = NULL;

	fail = (struct fail){0};
	if (yaml_parse("spec", text, strlen(text), &doc, &fail) < 0)
		assert_int_equal(fail.code, FAIL_BAD_FORMAT);
	return doc;
}

static void means(const char *yaml, const char *json)
{
	AUTO_JSON json_t *got = parse(yaml);
	AUTO_JSON json_t *want = json_loads(json, JSON_DECODE_ANY, NULL);
	AUTO_FREE char *text = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL;

	assert_non_null(want);
	if (!got || !json_equal(got, want))
		fail_msg("%s\nis %s (%s)\nand not %s", yaml, text, fail.message, json);
}

static void refused(const char *yaml, const char *words)
{
	AUTO_JSON json_t *got = parse(yaml);

	if (got || !strstr(fail.message, words))
		fail_msg("%s\nis not refused for \"%s\" but \"%s\"", yaml, words, fail.message);
}

static void a_spec_means_what_it_says(void **state)
{
	(void)state;
	means("target: {role: [web, db]}\n"
	      "canary: {bake: 15m}\n"
	      "waves:\n"
	      "  - {percent: 10, bake: 1h}   # ten of a hundred\n"
	      "  - percent: 100\n"
	      "max_in_flight: 5%\n"
	      "auto_promote: false\n"
	      "metrics:\n"
	      "- name: oops\n"
	      "  ratio: 1.5\n",
	      "{\"target\":{\"role\":[\"web\",\"db\"]},\"canary\":{\"bake\":\"15m\"},"
	      "\"waves\":[{\"percent\":10,\"bake\":\"1h\"},{\"percent\":100}],"
	      "\"max_in_flight\":\"5%\",\"auto_promote\":false,"
	      "\"metrics\":[{\"name\":\"oops\",\"ratio\":1.5}]}");
}

static void json_is_yaml_too(void **state)
{
	static const char json[] = "{\"a\": [1, \"2\", null, true], \"b\": {\"c\": -3.5}}";

	(void)state;
	means(json, json);
	means("[]", "[]");
}

static void words_that_some_yaml_takes_for_numbers_or_truths_are_words(void **state)
{
	(void)state;
	means("[no, yes, on, off, 12:30, 0x10, 010, 1e3, 1_000, .5, Null, TRUE, +1]",
	      "[\"no\",\"yes\",\"on\",\"off\",\"12:30\",\"0x10\",\"010\",\"1e3\",\"1_000\",\".5\","
	      "\"Null\",\"TRUE\",\"+1\"]");
	means("[0, -7, '8', \"9\", ~, null, '', 99999999999999999999]",
	      "[0, -7, \"8\", \"9\", null, null, \"\", \"99999999999999999999\"]");
}

static void what_json_cannot_say_is_refused(void **state)
{
	(void)state;
	refused("a: &x 1\nb: 2\n", "anchors");
	refused("a: [1]\nb: *a\n", "alias");
	refused("a: &x [1]\n", "anchors");
	refused("a: !!int 1\n", "tags");
	refused("? [1, 2]\n: 3\n", "a key must be a text");
	refused("a: 1\na: 2\n", "line 2, column 1: this key is there already");
	refused("a: 1\n---\nb: 2\n", "more than one document");
	refused("%YAML 1.1\n---\na: 1\n", "directives");
	refused("", "nothing in it");
	refused("a: [1\n", "line");
	refused("\t- a\n", "line");
	refused("a: \"\\0\"\n", "no text");
}

static void a_bomb_does_not_go_off(void **state)
{
	char deep[200], *wide = malloc(YAML_BYTES_MAX + 2), *p = wide;

	(void)state;
	refused("a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "anchors");
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	refused(deep, "nested too deeply");
	for (int i = 0; i < YAML_NODES_MAX; i++)
		p += sprintf(p, "- 1\n");
	refused(wide, "too much");
	memset(wide, ' ', YAML_BYTES_MAX + 1);
	wide[YAML_BYTES_MAX + 1] = 0;
	refused(wide, "longer than");
	free(wide);
}

static void what_is_no_utf_8_is_refused(void **state)
{
	AUTO_JSON json_t *doc = NULL;

	(void)state;
	refused("a: \xff\xfe\n", "");
	assert_true(yaml_parse("spec", "a: b\0c", 6, &doc, &fail) < 0);
	assert_non_null(strstr(fail.message, "NUL"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spec_means_what_it_says),
		cmocka_unit_test(json_is_yaml_too),
		cmocka_unit_test(words_that_some_yaml_takes_for_numbers_or_truths_are_words),
		cmocka_unit_test(what_json_cannot_say_is_refused),
		cmocka_unit_test(a_bomb_does_not_go_off),
		cmocka_unit_test(what_is_no_utf_8_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
