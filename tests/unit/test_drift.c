// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/json.h"
#include "server/drift.h"

/* One hot-fix as a survey has it: index 2 is committed, in two slots. */
static json_t *survey(void)
{
	return json_pack("{s:i, s:b, s:[], s:[{s:s, s:b, s:[i, i]}, {s:s, s:b, s:[i]}]}",
			 "committed", 2, "settled", 1, "problems", "slots", "slot", "lsm:a",
			 "attached", 1, "indexes", 1, 2, "slot", "lsm:b", "attached", 1,
			 "indexes", 2);
}

static json_t *slot(json_t *s, size_t i)
{
	return json_array_get(json_object_get(s, "slots"), i);
}

static void expect(const json_t *s, uint64_t committed, uint64_t gate, const char *want)
{
	struct drift_facts f = {.survey = s,
				.committed_serial = committed,
				.gate_serial = gate,
				.gate_index = 2};
	char what[DRIFT_BYTES];

	assert_int_equal(drift_find(&f, what), want != NULL);
	assert_string_equal(what, want ? want : "");
}

static void what_is_as_it_should_be_is_no_drift(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	expect(s, 7, 7, NULL);
	expect(NULL, 0, 0, NULL);
}

static void a_hot_fix_that_is_gone_is_drift(void **state)
{
	(void)state;
	expect(NULL, 7, 0, "nothing of it is in the kernel any more");
}

static void a_slot_of_the_committed_version_that_is_not_attached_is_drift(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	json_object_set_new(slot(s, 1), "attached", json_false());
	expect(s, 7, 7, "lsm:b is not attached");
}

static void a_slot_that_only_older_versions_used_may_be_detached(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	json_object_set_new(slot(s, 1), "attached", json_false());
	json_object_set_new(slot(s, 1), "indexes", json_pack("[i]", 1));
	expect(s, 7, 7, NULL);
}

static void a_gate_that_shows_another_version_is_drift(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	expect(s, 7, 6, "the gate was changed: it shows serial 6 instead of 7");
	expect(s, 7, 0, "the gate was changed: it shows serial 0 instead of 7");
}

/* Who removes the pins while a version is brought in leaves the daemon with the gate of before. */
static void a_gate_that_is_not_the_pinned_one_is_drift(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	json_object_set_new(s, "committed", json_integer(0));
	expect(s, 7, 7, "another gate is pinned in the place of its own");
}

static void what_the_survey_itself_complains_of_is_drift(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	json_array_append_new(json_object_get(s, "problems"), json_string("lsm:a: odd"));
	expect(s, 7, 7, "lsm:a: odd");
}

static void what_no_gate_controls_is_looked_at_too(void **state)
{
	AUTO_JSON json_t *s = survey();

	(void)state;
	json_object_set_new(s, "settled", json_false());
	expect(s, 7, 7,
	       "what the gate does not control is not as the committed version needs it");
}

static void what_does_not_last_is_put_right_after_ever_more_surveys(void **state)
{
	unsigned int repairs = 0, surveys = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		if (drift_is_due(repairs, surveys++)) {
			repairs++;
			surveys = 1;
		}
	/* after 0, 1, 3, 7, 15, 31, 63 and then each 64th */
	assert_int_equal(repairs, 7 + (1000 - 63) / 64);
	assert_true(drift_is_due(UINT32_MAX, 64));
	assert_false(drift_is_due(UINT32_MAX, 63));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_as_it_should_be_is_no_drift),
		cmocka_unit_test(a_hot_fix_that_is_gone_is_drift),
		cmocka_unit_test(a_slot_of_the_committed_version_that_is_not_attached_is_drift),
		cmocka_unit_test(a_slot_that_only_older_versions_used_may_be_detached),
		cmocka_unit_test(a_gate_that_shows_another_version_is_drift),
		cmocka_unit_test(a_gate_that_is_not_the_pinned_one_is_drift),
		cmocka_unit_test(what_the_survey_itself_complains_of_is_drift),
		cmocka_unit_test(what_no_gate_controls_is_looked_at_too),
		cmocka_unit_test(what_does_not_last_is_put_right_after_ever_more_surveys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
