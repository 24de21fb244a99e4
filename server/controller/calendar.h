// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/calendar.h -- when a rollout may go on, as "windows" of its spec has it: rules of
 * RFC 5545 in the time zones of this system. A pure function of windows and time. The only user of
 * libical.
 *
 *	"windows":{"allow":[WINDOW, ...], "deny":[WINDOW, ...]}
 *	WINDOW = {"start":"2026-11-23T22:00:00", "duration":"4h",
 *		  "tz":"Europe/Berlin", "rrule":"FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"}
 *
 * start      DTSTART, by the clocks of tz (otherwise UTC); RFC 5545's spelling is taken too
 * duration   "4h", or as RFC 5545 has it: "PT4H", "P1D" (to the same hour of the next day)
 * rrule      without it the window opens once. FREQ from DAILY to YEARLY, INTERVAL, COUNT (to 1000),
 *            UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, WKST; BYSETPOS of the days of a
 *            month
 *
 * It is open when one of "allow" is, or there are none, and none of "deny" is. A start in the hour
 * that a clock leaves out is as much later, one in the hour that it has twice is in the first.
 *
 * Context    any; no clock. A look takes less than a millisecond, with windows that overlap for months
 *            some tens; it is remembered until what it found ends.
 * Errors     FAIL_BAD_FORMAT with the field and what is allowed; FAIL_USAGE never open.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define CALENDAR_WINDOWS_MAX 16 /* in each of both lists */
#define CALENDAR_WHY_BYTES   200

struct calendar_answer {
	bool open;
	uint64_t next_ms;	      /* when that may change; 0: never again */
	char why[CALENDAR_WHY_BYTES]; /* closed, for people */
};

struct calendar;

/* windows NULL: always open. */
int calendar_new(const json_t *windows, struct calendar **ret_calendar,
		 struct fail *reterr_fail);
struct calendar *calendar_free(struct calendar *c);
void calendar_look(struct calendar *c, uint64_t now_ms, struct calendar_answer *ret_answer);
/* *ret_ms: now_ms, or the next time when it is open. -ENOENT: not as far as can be seen. */
int calendar_opens(const struct calendar *c, uint64_t now_ms, uint64_t *ret_ms);
/* Before a rollout starts: that they are windows, and that one opens some time. */
int calendar_check(const json_t *windows, uint64_t now_ms, struct fail *reterr_fail);

DEFINE_AUTO(struct calendar, calendar_free)
