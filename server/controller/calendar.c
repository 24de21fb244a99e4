// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/calendar.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <libical/ical.h>

#include "lib/clock.h"
#include "lib/json.h"

#define RRULE_BYTES  256
#define ZONE_BYTES   64
#define COUNT_MAX    1000
#define STEPS_MAX    10000 /* recurrences of one rule that one look follows */
#define TOUCHING_MAX 400   /* that begin before the one before ends: then we look again */
#define CHANGES_MAX  8	   /* windows that begin or end while it stays open, or closed */
#define SEEN_MAX     200   /* the same, for whether it opens at all, */
#define SEEN_S	     (20LL * 366 * DAY_S) /* and how far */
#define DAY_S	     86400
#define DAY_MS	     86400000ULL
#define DURATION_MAX (366 * DAY_MS)
#define NEVER_S	     INT64_MAX

struct window {
	icaltimezone *zone;
	struct icaltimetype start; /* by the clocks of zone */
	struct icalrecurrencetype rule;
	bool recurs;
	int64_t days, seconds; /* how long, the days by the calendar */
	char name[24];	       /* "allow[0]" */
};

struct calendar {
	struct window window[2 * CALENDAR_WINDOWS_MAX];
	size_t n_allow, n; /* those of deny come behind */
	uint64_t looked_ms;
	struct calendar_answer answer; /* from looked_ms until its next_ms */
	bool has_looked;
};

/* ---- local time ------------------------------------------------------------------------ */

static struct icaltimetype of_seconds(int64_t s)
{
	return icaltime_from_timet_with_zone((time_t)s, 0, icaltimezone_get_utc_timezone());
}

static int64_t offset_at(icaltimezone *zone, int64_t s)
{
	struct icaltimetype tt = of_seconds(s);

	return icaltimezone_get_utc_offset_of_utc_time(zone, &tt, NULL);
}

/* As if the clocks of its zone were those of UTC. */
static int64_t face_of(struct icaltimetype local)
{
	return icaltime_as_timet_with_zone(local, icaltimezone_get_utc_timezone());
}

static struct icaltimetype local_of(icaltimezone *zone, int64_t s)
{
	struct icaltimetype tt = of_seconds(s + offset_at(zone, s));

	tt.zone = NULL;
	return tt;
}

/*
 * RFC 5545, 3.3.5: by the offset before the clocks were changed, also when they never showed
 * that time. (libical's own takes the offset after.)
 */
static int64_t seconds_of(icaltimezone *zone, struct icaltimetype local)
{
	int64_t face = face_of(local), before = offset_at(zone, face - DAY_S - DAY_S / 2);
	int64_t after = offset_at(zone, face + DAY_S + DAY_S / 2);

	if (offset_at(zone, face - before) != before && offset_at(zone, face - after) == after)
		return face - after;
	return face - before;
}

static int64_t end_of(const struct window *w, struct icaltimetype local, int64_t begins)
{
	if (!w->days)
		return begins + w->seconds;
	icaltime_adjust(&local, (int)w->days, 0, 0, 0);
	return seconds_of(w->zone, local) + w->seconds;
}

/* ---- one window ------------------------------------------------------------------------- */

static struct icalrecur_iterator_impl *iterate(const struct window *w, int64_t from)
{
	struct icalrecur_iterator_impl *it = icalrecur_iterator_new(w->rule, w->start);
	struct icaltimetype local = local_of(w->zone, from - w->seconds - DAY_S);

	icaltime_adjust(&local, -(int)w->days, 0, 0, 0);
	/* Libical counts from the beginning where there is a count. */
	if (it && !w->rule.count && icaltime_compare(local, w->start) > 0)
		icalrecur_iterator_set_start(it, local);
	return it;
}

/* Is it open at s, and until when, or when next; -E2BIG: it recurs too often to be followed. */
static int look_at(const struct window *w, int64_t s, bool *ret_open, int64_t *ret_until)
{
	struct icalrecur_iterator_impl *it = w->recurs ? iterate(w, s) : NULL;
	struct icaltimetype local = w->start;
	int64_t until = NEVER_S;
	bool open = false;
	int steps = 0, touching = 0;

	if (w->recurs && !it)
		return -ENOMEM;
	for (;;) {
		int64_t begins, ends;

		if (w->recurs)
			local = icalrecur_iterator_next(it);
		else if (steps)
			break;
		if (icaltime_is_null_time(local) || ++steps > STEPS_MAX)
			break;
		begins = seconds_of(w->zone, local);
		ends = end_of(w, local, begins);
		if (ends <= s)
			continue;
		if (begins > s && !open) {
			until = begins;
			break;
		}
		if (open && (begins > until || ++touching > TOUCHING_MAX))
			break;
		if (!open || ends > until)
			until = ends;
		open = true;
	}
	if (it)
		icalrecur_iterator_free(it);
	*ret_open = open;
	*ret_until = until;
	return steps > STEPS_MAX ? -E2BIG : 0;
}

/* ---- all of them ------------------------------------------------------------------------- */

/*
 * NULL: it is open; or whose fault it is, "" that of all in allow. As it is, it stays until
 * *ret_until at least: then one has to look again.
 */
static const char *closed_by(const struct calendar *c, int64_t s, int64_t *ret_until)
{
	int64_t allowed_until = 0, allow_next = NEVER_S, denied_until = 0, deny_next = NEVER_S;
	const char *denied = NULL;
	int64_t until;
	bool open;

	for (size_t i = 0; i < c->n; i++) {
		if (look_at(&c->window[i], s, &open, &until) < 0) {
			/* calendar_new() has tried: now it recurs more often. Closed is safe. */
			*ret_until = s + DAY_S;
			return c->window[i].name;
		}
		if (i < c->n_allow && open && until > allowed_until)
			allowed_until = until;
		else if (i < c->n_allow && !open && until < allow_next)
			allow_next = until;
		else if (i >= c->n_allow && open && until > denied_until)
			denied_until = until;
		else if (i >= c->n_allow && !open && until < deny_next)
			deny_next = until;
		if (i >= c->n_allow && open && !denied)
			denied = c->window[i].name;
	}
	if (!c->n_allow)
		allowed_until = NEVER_S;
	*ret_until = denied			 ? denied_until
		     : !allowed_until		 ? allow_next
		     : allowed_until < deny_next ? allowed_until
						 : deny_next;
	return denied ? denied : allowed_until ? NULL : "";
}

static int64_t floor_s(uint64_t ms)
{
	return (int64_t)(ms / 1000);
}

void calendar_look(struct calendar *c, uint64_t now_ms, struct calendar_answer *ret_answer)
{
	struct calendar_answer *a = &c->answer;
	char stamp[CLOCK_TIMESTAMP_BYTES];
	int64_t until = 0, next;
	const char *by, *then;

	if (c->has_looked && now_ms >= c->looked_ms && (!a->next_ms || now_ms < a->next_ms)) {
		*ret_answer = *a;
		return;
	}
	by = then = closed_by(c, floor_s(now_ms), &until);
	for (int i = 0; i < CHANGES_MAX && until != NEVER_S && !then == !by; i++) {
		then = closed_by(c, until, &next);
		if (!then == !by)
			until = next;
	}
	*a = (struct calendar_answer){.open = !by,
				      .next_ms = until == NEVER_S ? 0 : (uint64_t)until * 1000};
	if (by)
		snprintf(a->why, sizeof(a->why), "%s%s %s %s",
			 by[0] ? by : "none of its windows",
			 by[0] ? " of its windows denies it" : " is open",
			 a->next_ms ? "before" : "any more",
			 a->next_ms ? clock_format_timestamp(a->next_ms, stamp) : "");
	c->looked_ms = now_ms;
	c->has_looked = true;
	*ret_answer = *a;
}

int calendar_opens(const struct calendar *c, uint64_t now_ms, uint64_t *ret_ms)
{
	int64_t s = floor_s(now_ms), until;

	for (int i = 0; i < SEEN_MAX; i++) {
		if (!closed_by(c, s, &until)) {
			*ret_ms = i ? (uint64_t)s * 1000 : now_ms;
			return 0;
		}
		if (until == NEVER_S || until - floor_s(now_ms) > SEEN_S)
			break;
		s = until;
	}
	return -ENOENT;
}

/* ---- reading them ------------------------------------------------------------------------ */

/* "2026-11-23T22:00:00" or "20261123T220000"; a date that there is. */
static bool parse_local(const char *text, struct icaltimetype *ret_local)
{
	struct icaltimetype tt = {0}, normal;
	int end = 0, n = 0;

	if (strspn(text, "0123456789-:T") != strlen(text))
		return false;
	if (strlen(text) == 19)
		n = sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tt.year, &tt.month, &tt.day,
			   &tt.hour, &tt.minute, &tt.second, &end);
	else if (strlen(text) == 15)
		n = sscanf(text, "%4d%2d%2dT%2d%2d%2d%n", &tt.year, &tt.month, &tt.day,
			   &tt.hour, &tt.minute, &tt.second, &end);
	if (n != 6 || text[end] || tt.year < 1970 || tt.year > 2200)
		return false;
	normal = icaltime_normalize(tt);
	if (normal.month != tt.month || normal.day != tt.day || normal.hour != tt.hour ||
	    normal.minute != tt.minute || normal.second != tt.second)
		return false;
	*ret_local = tt;
	return true;
}

static bool parse_duration(const char *text, struct window *w)
{
	struct icaldurationtype d;
	uint64_t ms;

	if (text[0] == 'P') {
		d = icaldurationtype_from_string(text);
		if (icaldurationtype_is_bad_duration(d) || d.is_neg || d.weeks > 60 ||
		    d.days > 400 || d.hours > 10000 || d.minutes > 600000 ||
		    d.seconds > 36000000)
			return false;
		w->days = 7 * (int64_t)d.weeks + d.days;
		w->seconds = 3600 * (int64_t)d.hours + 60 * (int64_t)d.minutes + d.seconds;
	} else {
		if (clock_parse_duration(text, &ms) < 0 || ms > DURATION_MAX)
			return false;
		w->seconds = (int64_t)(ms / 1000);
	}
	ms = (uint64_t)(w->days * DAY_S + w->seconds) * 1000;
	return ms >= 60000 && ms <= DURATION_MAX;
}

/* Its UNTIL by the clocks of the zone, as the rest of the rule. */
static void localize_until(struct window *w)
{
	struct icaltimetype *until = &w->rule.until;

	if (icaltime_is_null_time(*until))
		return;
	if (until->is_date) {
		until->is_date = 0;
		until->hour = 23;
		until->minute = until->second = 59;
	} else if (until->zone) {
		*until = local_of(w->zone, icaltime_as_timet_with_zone(*until, until->zone));
	}
	until->zone = NULL;
}

/* Of a list in a rule: its end is marked, unless it is full. */
#define EACH(p, list)                 \
	for (const short *p = (list); \
	     p < (list) + ARRAY_SIZE(list) && *p != ICAL_RECURRENCE_ARRAY_MAX; p++)

static bool has(const short *list)
{
	return list[0] != ICAL_RECURRENCE_ARRAY_MAX;
}

/*
 * What people write. Of the rest too much never comes (the fifth of four), and libical looks for
 * it day by day, through centuries.
 */
static const char *too_much(const struct icalrecurrencetype *r)
{
	bool yearly = r->freq == ICAL_YEARLY_RECURRENCE;
	bool monthly = r->freq == ICAL_MONTHLY_RECURRENCE;
	int years = yearly ? 1 : monthly ? 12 : r->freq == ICAL_WEEKLY_RECURRENCE ? 53 : 366;
	bool counted = false; /* the second Tuesday */

	EACH(d, r->by_day)
	{
		counted = counted || icalrecurrencetype_day_position(*d);
	}
	if (counted && ((!yearly && !monthly) || has(r->by_month_day)))
		return "must count days of the week (\"2TU\") with FREQ=MONTHLY or YEARLY, and "
		       "without BYMONTHDAY";
	if (has(r->by_month_day) && !yearly && !monthly) /* libical overlooks some of them */
		return "must have BYMONTHDAY with FREQ=MONTHLY or YEARLY";
	EACH(p, r->by_set_pos)
	{
		if (!monthly || !has(r->by_day) || counted || has(r->by_month_day) ||
		    abs(*p) > 4)
			return "must have BYSETPOS with FREQ=MONTHLY and BYDAY, from -4 to 4";
	}
	if (r->interval > 10 * years)
		return "must have an INTERVAL of 10 years at most";
	return r->count > COUNT_MAX ? "must recur 1000 times at most; or leave COUNT out"
				    : NULL;
}

/* Libical would look for February 30 for centuries. */
static bool has_days(const struct icalrecurrencetype *r)
{
	static const short days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (!has(r->by_month) || !has(r->by_month_day))
		return true;
	EACH(m, r->by_month)
	{
		EACH(d, r->by_month_day)
		{
			if (*m >= 1 && *m <= 12 && abs(*d) <= days[*m - 1])
				return true;
		}
	}
	return false;
}

static const char *parse_rule(const char *text, struct window *w)
{
	static const char *const without[] = {"BYWEEKNO", "BYYEARDAY", "BYSECOND", "RSCALE",
					      "SKIP"};

	if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=;,+-") != strlen(text))
		return "must be a rule of RFC 5545";
	/* With BYWEEKNO=-1 libical 3.0.16 reads memory that is not its own. */
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		if (strstr(text, without[i]))
			return "must do without BYWEEKNO, BYYEARDAY, BYSECOND, RSCALE and SKIP";
	w->rule = icalrecurrencetype_from_string(text);
	switch ((int)w->rule.freq) {
	case ICAL_DAILY_RECURRENCE:
	case ICAL_WEEKLY_RECURRENCE:
	case ICAL_MONTHLY_RECURRENCE:
	case ICAL_YEARLY_RECURRENCE:
		break;
	case ICAL_NO_RECURRENCE:
		return "must be a rule of RFC 5545";
	default:
		return "must recur daily, weekly, monthly or yearly (BYHOUR says more)";
	}
	w->recurs = true;
	localize_until(w);
	return has_days(&w->rule) ? too_much(&w->rule) : "never recurs";
}

static int parse_window(const json_t *doc, struct window *w, struct fail *f)
{
	struct json_fields fields = json_fields(w->name, doc, f);
	const char *start = json_str(&fields, "start", RRULE_BYTES);
	const char *duration = json_str(&fields, "duration", RRULE_BYTES);
	const char *zone = json_str_or(&fields, "tz", ZONE_BYTES, "UTC");
	const char *rule = json_str_or(&fields, "rrule", RRULE_BYTES, ""), *bad = NULL;
	int64_t until, begins;
	bool open;

	if (fields.r < 0)
		return fields.r;
	w->zone = strcmp(zone, "UTC") == 0 ? icaltimezone_get_utc_timezone()
					   : icaltimezone_get_builtin_timezone(zone);
	if (!w->zone || !icaltimezone_get_component(w->zone))
		if (strcmp(zone, "UTC") != 0)
			json_bad(&fields, "tz",
				 "must be a time zone that this system knows "
				 "(\"Europe/Berlin\")");
	if (!parse_local(start, &w->start))
		json_bad(&fields, "start",
			 "must be a local time (\"2026-11-23T22:00:00\"), from 1970 on");
	if (!parse_duration(duration, w))
		json_bad(&fields, "duration", "must be 1 minute to 366 days (\"4h\", \"P1D\")");
	if (fields.r == 0 && rule[0])
		bad = parse_rule(rule, w);
	if (fields.r == 0 && rule[0] && !bad) {
		/* Where it is followed the longest, and where it begins. */
		begins = seconds_of(w->zone, w->start);
		if (look_at(w, begins + (int64_t)(2 * DURATION_MAX / 1000), &open, &until) <
			    0 ||
		    look_at(w, begins - 1, &open, &until) < 0)
			bad = "recurs more often than can be followed";
		else if (until == NEVER_S)
			bad = "never recurs";
	}
	if (bad)
		json_bad(&fields, "rrule", bad);
	return json_fields_end(&fields);
}

static int parse_list(struct calendar *c, struct json_fields *f, const char *key,
		      struct fail *fail)
{
	const json_t *list = json_arr_or_null(f, key, CALENDAR_WINDOWS_MAX), *one;
	size_t i;
	int r = f->r;

	json_array_foreach(list, i, one) {
		struct window *w = &c->window[c->n];

		if (r < 0)
			break;
		snprintf(w->name, sizeof(w->name), "%s[%zu]", key, i);
		r = parse_window(one, w, fail);
		c->n++;
	}
	return r;
}

int calendar_new(const json_t *windows, struct calendar **ret_calendar,
		 struct fail *reterr_fail)
{
	AUTO(calendar_freep) struct calendar *c = calloc(1, sizeof(*c));
	struct json_fields f;
	int r;

	if (!c)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (windows) {
		icalerror_set_errors_are_fatal(false);
		f = json_fields("windows", windows, reterr_fail);
		r = parse_list(c, &f, "allow", reterr_fail);
		c->n_allow = c->n;
		if (r == 0)
			r = parse_list(c, &f, "deny", reterr_fail);
		if (r == 0)
			r = json_fields_end(&f);
		if (r < 0)
			return r;
	}
	*ret_calendar = take_ptr(c);
	return 0;
}

struct calendar *calendar_free(struct calendar *c)
{
	free(c);
	return NULL;
}

int calendar_check(const json_t *windows, uint64_t now_ms, struct fail *reterr_fail)
{
	AUTO(calendar_freep) struct calendar *c = NULL;
	uint64_t ms;
	int r = calendar_new(windows, &c, reterr_fail);

	if (r < 0 || calendar_opens(c, now_ms, &ms) == 0)
		return r;
	fail_set(reterr_fail, FAIL_USAGE, "its windows never open");
	return fail_hint(reterr_fail, "\"deny\" wins over \"allow\", and a window without "
				      "\"rrule\" opens once");
}
