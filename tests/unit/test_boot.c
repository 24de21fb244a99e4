// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <utime.h>

#include "lib/json.h"
#include "server/boot.h"

#define MINUTE_MS 60000ULL
#define HOUR_MS	  (60 * MINUTE_MS)

static const uint64_t now_ms = 1000 * HOUR_MS;

static struct store_boot boot_of_age(uint64_t age_ms)
{
	return (struct store_boot){.boot_id = "x", .started_ms = now_ms - age_ms};
}

static void a_host_whose_daemon_was_stopped_has_not_crashed(void **state)
{
	struct store_boot last = boot_of_age(MINUTE_MS);

	(void)state;
	last.stopped = true;
	assert_false(boot_has_crashed(&last, false, now_ms));
	assert_false(boot_has_crashed(&last, true, now_ms));
}

static void going_down_unasked_soon_after_the_boot_is_a_crash(void **state)
{
	struct store_boot last = boot_of_age(MINUTE_MS);

	(void)state;
	assert_true(boot_has_crashed(&last, false, now_ms));
}

static void losing_power_after_long_service_is_no_crash_unless_a_change_was_under_way(
	void **state)
{
	struct store_boot last = boot_of_age(100 * HOUR_MS);

	(void)state;
	assert_false(boot_has_crashed(&last, false, now_ms));
	assert_true(boot_has_crashed(&last, true, now_ms));
}

static void a_clock_that_went_back_does_not_hide_a_crash(void **state)
{
	struct store_boot last = {.boot_id = "x", .started_ms = now_ms + HOUR_MS};

	(void)state;
	assert_true(boot_has_crashed(&last, false, now_ms));
	assert_true(boot_is_held(true, now_ms + HOUR_MS, now_ms));
}

static void only_the_second_crash_within_an_hour_holds_everything_back(void **state)
{
	(void)state;
	assert_false(boot_is_held(true, 0, now_ms));
	assert_true(boot_is_held(true, now_ms - 59 * MINUTE_MS, now_ms));
	assert_false(boot_is_held(true, now_ms - 61 * MINUTE_MS, now_ms));
	assert_false(boot_is_held(false, now_ms - MINUTE_MS, now_ms));
}

/* ---- with a database: this boot is one of them ------------------------------------ */

static struct store *open_store(const char *name)
{
	struct store *s;
	struct fail fail;

	assert_ok(store_open(unit_path(name), &s, &fail));
	return s;
}

static void put(struct store *s, const char *id, uint64_t started_ms, uint64_t crash_seen_ms)
{
	struct store_boot b = {.started_ms = started_ms, .crash_seen_ms = crash_seen_ms};

	snprintf(b.boot_id, sizeof(b.boot_id), "%s", id);
	assert_ok(store_put_boot(s, &b));
}

static void two_crashes_hold_this_boot_back_over_restarts_until_an_operator_resumes(
	void **state)
{
	AUTO(store_freep) struct store *s = open_store("held");
	struct boot b;

	(void)state;
	put(s, "first", now_ms - 20 * MINUTE_MS, now_ms - 10 * MINUTE_MS);
	put(s, "second", now_ms - 10 * MINUTE_MS, 0);
	assert_ok(boot_begin(s, unit_folder, now_ms, &b));
	assert_true(b.crashed);
	assert_int_equal(b.state, POLICY_BOOT_HELD);
	assert_ok(boot_stop(s));
	assert_ok(boot_begin(s, unit_folder, now_ms + MINUTE_MS, &b));
	assert_false(b.crashed);
	assert_int_equal(b.state, POLICY_BOOT_HELD);
	assert_ok(boot_resume(s));
	assert_ok(boot_begin(s, unit_folder, now_ms + MINUTE_MS, &b));
	assert_int_equal(b.state, POLICY_BOOT_NORMAL);
}

static void one_crash_holds_nothing_back(void **state)
{
	AUTO(store_freep) struct store *s = open_store("one");
	struct boot b;

	(void)state;
	put(s, "last", now_ms - MINUTE_MS, 0);
	assert_ok(boot_begin(s, unit_folder, now_ms, &b));
	assert_true(b.crashed);
	assert_int_equal(b.state, POLICY_BOOT_NORMAL);
}

static void the_file_no_apply_in_the_state_directory_is_a_kill_switch(void **state)
{
	AUTO(store_freep) struct store *s = open_store("switch");
	struct boot b;

	(void)state;
	assert_ok(boot_begin(s, unit_folder, now_ms, &b));
	assert_int_equal(b.state, POLICY_BOOT_NORMAL);
	fclose(fopen(unit_path("no-apply"), "w"));
	assert_ok(boot_begin(s, unit_folder, now_ms, &b));
	assert_int_equal(b.state, POLICY_BOOT_NO_APPLY);
	assert_ok(unlink(unit_path("no-apply")));
}

/* ---- what the kernel left behind ------------------------------------------------------ */

static void leave(const char *path, const char *text, time_t at)
{
	char full[256], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", unit_folder, path);
	for (slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_ok(utime(full, &(struct utimbuf){at, at}));
}

static bool find_cause(uint64_t since_ms, char cause[BOOT_CAUSE_BYTES])
{
	AUTO_JSON json_t *records = boot_records(unit_folder);

	assert_non_null(records);
	return boot_cause(records, since_ms, cause);
}

static void the_cause_of_a_crash_is_read_from_pstore(void **state)
{
	char cause[BOOT_CAUSE_BYTES];

	(void)state;
	assert_false(find_cause(0, cause));
	leave("/sys/fs/pstore/dmesg-efi-1",
	      "Panic#1 Part1\n<6>[    1.0] usb 1-1: new\n"
	      "<0>[   12.345678] Kernel panic - not syncing: \033[31mboom\n<4>[ 12.4] CPU: 0\n",
	      1000);
	assert_true(find_cause(0, cause));
	assert_string_equal(cause, "Kernel panic - not syncing: ?[31mboom");
}

static void records_of_older_crashes_are_not_the_cause_of_this_one(void **state)
{
	char cause[BOOT_CAUSE_BYTES];

	(void)state;
	assert_false(find_cause(2000000, cause));
	assert_string_equal(cause, "");
	leave("/var/lib/systemd/pstore/17/001/dmesg.txt",
	      "[   20.0] BUG: kernel NULL pointer dereference, address: 0\n", 3000);
	assert_true(find_cause(2000000, cause));
	assert_string_equal(cause, "BUG: kernel NULL pointer dereference, address: 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_whose_daemon_was_stopped_has_not_crashed),
		cmocka_unit_test(going_down_unasked_soon_after_the_boot_is_a_crash),
		cmocka_unit_test(
			losing_power_after_long_service_is_no_crash_unless_a_change_was_under_way),
		cmocka_unit_test(a_clock_that_went_back_does_not_hide_a_crash),
		cmocka_unit_test(only_the_second_crash_within_an_hour_holds_everything_back),
		cmocka_unit_test(
			two_crashes_hold_this_boot_back_over_restarts_until_an_operator_resumes),
		cmocka_unit_test(one_crash_holds_nothing_back),
		cmocka_unit_test(the_file_no_apply_in_the_state_directory_is_a_kill_switch),
		cmocka_unit_test(the_cause_of_a_crash_is_read_from_pstore),
		cmocka_unit_test(records_of_older_crashes_are_not_the_cause_of_this_one),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
