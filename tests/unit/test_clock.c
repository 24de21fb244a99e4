// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <time.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

static void durations_have_units_and_a_bare_number_means_seconds(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"0", 0},	      {"90", 90000},	{"90s", 90000},
		    {"1500ms", 1500}, {"5m", 300000},	{"5min", 300000},
		    {"2h", 7200000},  {"1d", 86400000}, {"007s", 7000}};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_ok(clock_parse_duration(good[i].text, &ms));
		assert_int_equal(ms, good[i].ms);
	}
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const bad[] = {"",	  "s",	 "-5",	"+5", " 5",   "5 ",  "5 s",
					  "1.5s", "1e3", "0x5", "5S", "5sec", "5mm", "five"};
	uint64_t ms = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(clock_parse_duration(bad[i], &ms), -EINVAL);
	assert_int_equal(clock_parse_duration("99999999999999999999", &ms), -ERANGE);
	assert_int_equal(clock_parse_duration("18446744073709551615ms", &ms), -ERANGE);
	assert_int_equal(clock_parse_duration("1000000000000d", &ms), -ERANGE);
	assert_int_equal(ms, 77);
}

static void timestamps_are_read_to_the_millisecond(void **state)
{
	uint64_t ms;

	(void)state;
	assert_ok(clock_parse_timestamp("1970-01-01T00:00:00Z", &ms));
	assert_int_equal(ms, 0);
	assert_ok(clock_parse_timestamp("2026-05-04T10:11:12Z", &ms));
	assert_int_equal(ms, 1777889472000ULL);
	assert_ok(clock_parse_timestamp("2026-05-04T10:11:12.345Z", &ms));
	assert_int_equal(ms, 1777889472345ULL);
	assert_ok(clock_parse_timestamp("2028-02-29T23:59:59.999Z", &ms));
	assert_int_equal(ms, 1835481599999ULL);
}

static void what_is_no_timestamp_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"2026-05-04",
		"2026-05-04T10:11:12",
		"2026-05-04 10:11:12Z",
		"2026-05-04T10:11:12z",
		"2026-05-04T10:11:12+00:00",
		"2026-05-04T10:11:12ZZ",
		"2026-05-04T10:11:12.1Z",
		"2026-05-04T10:11:12.1234Z",
		"2026-05-04T10:11:12.Z",
		"2026-05-04T10:11:12.-12Z",
		"2026-13-04T10:11:12Z",
		"2026-02-30T10:11:12Z",
		"2027-02-29T10:11:12Z",
		"2026-05-04T24:11:12Z",
		"2026-05-04T10:60:12Z",
		"2026-05-04T10:11:61Z",
		"2026-05-04T10:11:60Z",
		"2026-5-04T10:11:123Z",
		" 026-05-04T10:11:12Z",
		"2026- 5-04T10:11:12Z",
		"+026-05-04T10:11:12Z",
		"1969-12-31T23:59:59Z0",
	};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (clock_parse_timestamp(bad[i], &ms) >= 0)
			fail_msg("accepted %s", bad[i]);
	assert_int_equal(clock_parse_timestamp("1969-12-31T23:59:59Z", &ms), -ERANGE);
}

static void what_is_formatted_is_read_back(void **state)
{
	static const uint64_t times[] = {
		0, 1, 999, 1000, 951782400000, 1777889472345, 4102444799999, 253402300799999};
	char text[CLOCK_TIMESTAMP_BYTES];
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		assert_ok(clock_parse_timestamp(clock_format_timestamp(times[i], text), &ms));
		assert_int_equal(ms, times[i]);
	}
}

static void a_time_past_the_year_9999_is_shown_as_its_end(void **state)
{
	char text[CLOCK_TIMESTAMP_BYTES];

	(void)state;
	assert_string_equal(clock_format_timestamp(253402300800000, text),
			    "9999-12-31T23:59:59.999Z");
	assert_string_equal(clock_format_timestamp(UINT64_MAX, text),
			    "9999-12-31T23:59:59.999Z");
}

static void clocks_run_forwards_and_agree_with_the_system(void **state)
{
	uint64_t before = clock_mono_ns(), real = clock_real_ms();

	(void)state;
	assert_true(clock_mono_ns() >= before);
	assert_in_range(real / 1000, (uint64_t)time(NULL) - 2, (uint64_t)time(NULL) + 2);
}

static void the_boot_id_is_the_kernels(void **state)
{
	char line[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	assert_string_equal(clock_boot_id(), line);
	assert_int_equal(strlen(line), CLOCK_BOOT_ID_BYTES - 1);
}

static void durations_are_told_exactly_in_words(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} told[] = {{0, "0 s"},	       {500, "500 ms"},	 {90000, "1 min 30 s"},
		    {86400000, "1 d"}, {3600000, "1 h"}, {7500000, "2 h 5 min"},
		    {1001, "1 s 1 ms"}};
	char out[CLOCK_DURATION_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		assert_string_equal(clock_format_duration(told[i].ms, out), told[i].text);
	clock_format_duration(UINT64_MAX, out);
	assert_true(strlen(out) < sizeof(out) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_told_exactly_in_words),
		cmocka_unit_test(durations_have_units_and_a_bare_number_means_seconds),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(timestamps_are_read_to_the_millisecond),
		cmocka_unit_test(what_is_no_timestamp_is_refused),
		cmocka_unit_test(what_is_formatted_is_read_back),
		cmocka_unit_test(a_time_past_the_year_9999_is_shown_as_its_end),
		cmocka_unit_test(clocks_run_forwards_and_agree_with_the_system),
		cmocka_unit_test(the_boot_id_is_the_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
