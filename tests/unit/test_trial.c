// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "server/trial.h"

static const struct trial_facts fresh = {
	.now_ms = 5000, .started_ms = 5000, .length_ms = 60000, .max_ms = 300000};

static void a_trial_goes_on_until_its_length_is_over(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	assert_string_equal(code, "");
	f.now_ms = f.started_ms + f.length_ms - 1;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	f.now_ms++;
	assert_int_equal(trial_judge(&f, &code), TRIAL_COMMIT);
	assert_string_equal(code, "TRIAL_PASSED");
}

static void an_ended_lease_rolls_back_even_when_the_length_is_over(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	f.lease_ended = true;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	f.now_ms += f.max_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	assert_string_equal(code, "LEASE_EXPIRED");
}

static void too_few_calls_prolong_a_trial_and_then_end_it(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	f.min_calls = 10;
	f.calls = 9;
	f.now_ms = f.started_ms + f.length_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	f.now_ms = f.started_ms + f.max_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	assert_string_equal(code, "NO_EVIDENCE");
	f.calls = 10;
	assert_int_equal(trial_judge(&f, &code), TRIAL_COMMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trial_goes_on_until_its_length_is_over),
		cmocka_unit_test(an_ended_lease_rolls_back_even_when_the_length_is_over),
		cmocka_unit_test(too_few_calls_prolong_a_trial_and_then_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
