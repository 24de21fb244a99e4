// SPDX-License-Identifier: BSD-2-Clause
#include "lib/clock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"

#define YEAR_9999_END_MS 253402300799999ULL

static uint64_t read_clock(clockid_t id, uint64_t per_second)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * per_second +
	       (uint64_t)ts.tv_nsec / (1000000000ULL / per_second);
}

uint64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC, 1000000000ULL);
}

uint64_t clock_real_ms(void)
{
	return read_clock(CLOCK_REALTIME, 1000);
}

uint64_t clock_up_ms(void)
{
	return read_clock(CLOCK_BOOTTIME, 1000);
}

int clock_parse_duration(const char *s, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1},	     {"", 1000},     {"s", 1000},    {"m", 60000},
		     {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno)
		return -ERANGE;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (n > UINT64_MAX / 1000000 / units[i].ms)
			return -ERANGE; /* must fit as nanoseconds too */
		*ret_ms = n * units[i].ms;
		return 0;
	}
	return -EINVAL;
}

const char *clock_format_duration(uint64_t ms, char out[CLOCK_DURATION_BYTES])
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
	size_t len = 0;

	snprintf(out, CLOCK_DURATION_BYTES, "0 s");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (ms >= units[i].ms)
			len += snprintf(out + len, CLOCK_DURATION_BYTES - len,
					"%s%" PRIu64 " %s", len ? " " : "", ms / units[i].ms,
					units[i].name);
		ms %= units[i].ms;
	}
	return out;
}

int clock_parse_timestamp(const char *s, uint64_t *ret_ms)
{
	char round_trip[CLOCK_TIMESTAMP_BYTES];
	unsigned int ms = 0;
	struct tm tm = {0};
	const char *rest;
	time_t t;

	if (strlen(s) < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T')
		return -EINVAL;
	rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || rest != s + 19)
		return -EINVAL;
	if (rest[0] == '.') {
		for (int i = 1; i <= 3; i++) {
			if (!isdigit((unsigned char)rest[i]))
				return -EINVAL;
			ms = ms * 10 + (unsigned int)(rest[i] - '0');
		}
		rest += 4;
	}
	if (strcmp(rest, "Z") != 0)
		return -EINVAL;
	t = timegm(&tm);
	if (t < 0)
		return -ERANGE;
	*ret_ms = (uint64_t)t * 1000 + ms;
	/* strptime() takes February 30th; the calendar does not. */
	clock_format_timestamp(*ret_ms, round_trip);
	return strncmp(round_trip, s, 19) == 0 ? 0 : -EINVAL;
}

const char *clock_format_timestamp(uint64_t real_ms, char out[CLOCK_TIMESTAMP_BYTES])
{
	char whole[20];
	struct tm tm;
	time_t t;

	if (real_ms > YEAR_9999_END_MS)
		real_ms = YEAR_9999_END_MS;
	t = (time_t)(real_ms / 1000);
	gmtime_r(&t, &tm);
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, CLOCK_TIMESTAMP_BYTES, "%s.%03uZ", whole, (unsigned int)(real_ms % 1000));
	return out;
}

const char *clock_boot_id(void)
{
	static char id[CLOCK_BOOT_ID_BYTES];

	if (!id[0]) {
		AUTO(file_closep) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

		if (!f || !fgets(id, sizeof(id), f))
			snprintf(id, sizeof(id), "unknown");
	}
	return id;
}
