// SPDX-License-Identifier: BSD-2-Clause
#include "server/require.h"

#include "lib/json.h"
#include "tests/unit/unit.h"

static void names(size_t n, const char *want)
{
	AUTO_JSON json_t *all = json_array();
	char out[128];

	for (size_t i = 0; i < n; i++)
		json_array_append_new(all, json_sprintf("fix-%zu", i + 1));
	assert_string_equal(require_names(all, out, sizeof(out)), want);
}

static void names_are_told_as_people_do_and_many_are_counted(void **state)
{
	(void)state;
	names(0, "");
	names(1, "fix-1");
	names(2, "fix-1 and fix-2");
	names(4, "fix-1, fix-2, fix-3 and fix-4");
	names(5, "fix-1, fix-2, fix-3 and 2 more");
	names(64, "fix-1, fix-2, fix-3 and 61 more");
}

static void names_that_find_no_room_are_cut(void **state)
{
	AUTO_JSON json_t *all = json_pack("[s, s]", "first", "second");
	char out[9];

	(void)state;
	assert_string_equal(require_names(all, out, sizeof(out)), "first an");
	assert_string_equal(require_names(all, out, 4), "fir");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_told_as_people_do_and_many_are_counted),
		cmocka_unit_test(names_that_find_no_room_are_cut),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
