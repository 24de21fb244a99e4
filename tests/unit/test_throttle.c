// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/test_throttle.c -- how many rows a user can cause.
 */
#include "server/throttle.h"
#include "tests/unit/unit.h"

static void once_a_minute_and_the_next_row_says_how_many_were_left_out(void **state)
{
	struct throttle t = {0};
	struct throttle_left_out left;

	(void)state;
	assert_true(throttle_pass(&t, 1000, "read", 5000, &left));
	assert_int_equal(left.same, 0);
	for (int i = 0; i < 500; i++)
		assert_false(throttle_pass(&t, 1000, "read", 5001 + i, &left));
	assert_true(throttle_pass(&t, 1000, "read", 5000 + THROTTLE_MS, &left));
	assert_int_equal(left.same, 500);
	assert_true(throttle_pass(&t, 1000, "read", 5000 + 2 * THROTTLE_MS, &left));
	assert_int_equal(left.same, 0);
}

static void users_and_actions_are_counted_apart(void **state)
{
	struct throttle t = {0};
	struct throttle_left_out left;

	(void)state;
	assert_true(throttle_pass(&t, 1000, "read", 1, &left));
	assert_true(throttle_pass(&t, 1000, "change", 1, &left));
	assert_true(throttle_pass(&t, 1001, "read", 1, &left));
	assert_false(throttle_pass(&t, 1000, "read", 2, &left));
	assert_false(throttle_pass(&t, 1000, "change", 2, &left));
}

static void many_users_together_leave_no_more_rows_and_none_is_forgotten(void **state)
{
	struct throttle t = {0};
	struct throttle_left_out left;
	uint64_t rows = 0, told = 0;

	(void)state;
	for (uint32_t uid = 100000; uid < 110000; uid++)
		rows += throttle_pass(&t, uid, "read", 1, &left);
	assert_int_equal(rows, THROTTLE_ENTRIES_MAX);
	/* Somebody else's row, a minute later, tells of them. */
	assert_true(throttle_pass(&t, 0, "apply", 1 + THROTTLE_MS, &left));
	told = left.others;
	assert_int_equal(rows + told, 10000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_a_minute_and_the_next_row_says_how_many_were_left_out),
		cmocka_unit_test(users_and_actions_are_counted_apart),
		cmocka_unit_test(many_users_together_leave_no_more_rows_and_none_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
