// SPDX-License-Identifier: BSD-2-Clause
#include <sqlite3.h>

#include "store/store.h"
#include "tests/unit/unit.h"

#define DAY 86400000ULL

static struct store *s;

static int setup(void **state)
{
	if (unit_setup(state) < 0)
		return -1;
	return store_open(unit_path("state.db"), &s, NULL);
}

static int teardown(void **state)
{
	s = store_free(s);
	return unit_teardown(state);
}

static void again(void)
{
	store_free(s);
	assert_ok(store_open(unit_path("state.db"), &s, NULL));
}

static uint64_t trusted(const char *boot, uint64_t up_ms, uint64_t real_ms)
{
	uint64_t ms = 0;

	assert_ok(store_trusted_ms(
		s, &(struct store_clock){.real_ms = real_ms, .up_ms = up_ms, .boot_id = boot},
		true, &ms));
	return ms;
}

static void trusted_time_never_runs_backwards(void **state)
{
	(void)state;
	assert_int_equal(trusted("a", 1000, 100 * DAY), 100 * DAY);
	/* Set back: it goes on by what has passed of this boot, over a restart too. */
	assert_int_equal(trusted("a", 1000 + DAY, 5 * DAY), 101 * DAY);
	again();
	assert_int_equal(trusted("a", 1000 + 2 * DAY, 5 * DAY), 102 * DAY);
	/* In another boot nothing is known of what has passed, but of what had. */
	assert_int_equal(trusted("b", 5, 5 * DAY), 102 * DAY);
	/* Forward it goes with the clock, and stays there. */
	assert_int_equal(trusted("b", 6, 200 * DAY), 200 * DAY);
	again();
	assert_int_equal(trusted("c", 1, 103 * DAY), 200 * DAY);
	assert_ok(store_set_trusted_ms(s, &(struct store_clock){.up_ms = 2, .boot_id = "c"},
				       103 * DAY));
	assert_int_equal(trusted("c", 3, 103 * DAY), 103 * DAY + 1);
}

static void a_nonce_counts_once_also_after_a_restart(void **state)
{
	uint8_t nonce[16] = {7}, other[16] = {8};
	bool used = true;

	(void)state;
	assert_ok(store_nonce_used(s, nonce, &used));
	assert_false(used);
	assert_ok(store_use_nonce(s, nonce, "fix", 1000, 500));
	again();
	assert_ok(store_nonce_used(s, nonce, &used));
	assert_true(used);
	assert_int_equal(store_use_nonce(s, nonce, "fix", 1000, 500), -EEXIST);
	/* It is forgotten only when its directive is refused for its age. */
	assert_ok(store_use_nonce(s, other, "fix", 9000, 1000));
	assert_ok(store_nonce_used(s, nonce, &used));
	assert_true(used);
	other[0]++;
	assert_ok(store_use_nonce(s, other, "fix", 9000, 1001));
	assert_ok(store_nonce_used(s, nonce, &used));
	assert_false(used);
}

static void commit(const char *name, uint64_t serial)
{
	struct store_hotfix h = {.committed_serial = serial};
	char subject[80];

	snprintf(h.name, sizeof(h.name), "%s", name);
	snprintf(subject, sizeof(subject), "%s@%llu", name, (unsigned long long)serial);
	assert_ok(store_put_hotfix(s, &h));
	assert_ok(store_audit(s, 1, 0, "apply", subject, "done", NULL));
}

static uint64_t mark(const char *name)
{
	uint64_t serial = 0;

	assert_ok(store_high_water(s, name, &serial));
	return serial;
}

/* Attack 17: what a root resets is forgotten, and only up to then. */
static void a_reset_mark_grows_anew(void **state)
{
	(void)state;
	commit("other", 50);
	commit("driven", 1ULL << 52);
	assert_int_equal(mark("driven"), 1ULL << 52);
	assert_ok(store_reset_high_water(s, "driven", 10, 2));
	assert_int_equal(mark("driven"), 10);
	assert_int_equal(mark("other"), 50);
	commit("driven", 12);
	assert_int_equal(mark("driven"), 12);
	commit("driven", 11);
	again();
	assert_int_equal(mark("driven"), 12);
}

static void run_sql(const char *statement)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(unit_path("state.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static char mended[256];

static void on_mended(const char *name, uint64_t was, uint64_t is, void *cookie)
{
	size_t n = strlen(mended);

	(void)cookie;
	snprintf(mended + n, sizeof(mended) - n, "%s %llu %llu;", name, (unsigned long long)was,
		 (unsigned long long)is);
}

/* Attack 9: the audit log knows better. */
static void a_mark_lowered_by_hand_is_raised_again(void **state)
{
	(void)state;
	commit("gone", 4);
	commit("low", 3);
	commit("low", 9);
	commit("sound", 2);
	mended[0] = 0;
	assert_ok(store_mend_high_water(s, on_mended, NULL));
	assert_string_equal(mended, "");
	run_sql("DROP TRIGGER hotfix_high_water;"
		"UPDATE hotfix SET committed_serial = 3, high_water = 3 WHERE name = 'low';"
		"DELETE FROM hotfix WHERE name = 'gone'");
	assert_ok(store_mend_high_water(s, on_mended, NULL));
	assert_string_equal(mended, "gone 0 4;low 3 9;");
	assert_int_equal(mark("low"), 9);
	assert_int_equal(mark("gone"), 4);
	mended[0] = 0;
	assert_ok(store_mend_high_water(s, on_mended, NULL));
	assert_string_equal(mended, "");
}

static void the_status_of_the_fleet_is_one(void **state)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_int_equal(store_get_catalog(s, &buf, &len), -ENOENT);
	assert_ok(store_put_catalog(s, "old", 3, 1, 0));
	assert_ok(store_put_catalog(s, "newer", 5, 2, 0));
	assert_ok(store_get_catalog(s, &buf, &len));
	assert_int_equal(len, 5);
	assert_string_equal((char *)buf, "newer");
}

static void what_came_of_a_bundle_is_there_after_a_restart(void **state)
{
	static const uint8_t one[32] = {1}, two[32] = {2};
	AUTO_FREE uint8_t *buf = NULL, *first = NULL;
	size_t len;

	(void)state;
	assert_int_equal(store_get_parts(s, one, &buf, &len), -ENOENT);
	assert_ok(store_put_part(s, one, 0, "abc", 3));
	assert_ok(store_put_part(s, one, 3, "defg", 4));
	again();
	assert_int_equal(store_get_parts(s, two, &buf, &len), -ENOENT);
	assert_ok(store_get_parts(s, one, &buf, &len));
	assert_int_equal(len, 7);
	assert_memory_equal(buf, "abcdefg", 7);
	/* Begun anew, and what comes behind a gap is not there. */
	assert_ok(store_put_part(s, one, 0, "A", 1));
	assert_ok(store_put_part(s, one, 2, "C", 1));
	assert_ok(store_get_parts(s, one, &first, &len));
	assert_int_equal(len, 1);
	/* There is one at most. */
	assert_ok(store_put_part(s, two, 0, "x", 1));
	assert_int_equal(store_get_parts(s, one, &first, &len), -ENOENT);
	assert_ok(store_drop_parts(s));
	assert_int_equal(store_get_parts(s, two, &first, &len), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trusted_time_never_runs_backwards),
		TEST(what_came_of_a_bundle_is_there_after_a_restart),
		TEST(a_nonce_counts_once_also_after_a_restart),
		TEST(a_reset_mark_grows_anew),
		TEST(a_mark_lowered_by_hand_is_raised_again),
		TEST(the_status_of_the_fleet_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
