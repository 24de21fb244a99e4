// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/breaker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/controller.h"
#include "server/controller/losses.h"
#include "server/controller/reports.h"
#include "server/controller/rollout.h"
#include "store/fleet.h"

#define PAGE	   1000
#define EVERY_MS   1000
#define VERDICT_MS 5000
#define BLIND_MS   10000 /* without an answer for so long, nobody saw who was there */
#define LOST_BEATS 3

/*
 * One question at a time, around and around; each answer asks the next one:
 *
 *	changed hosts, page by page -> guards -> silent hosts -> verdict -> active rollouts -> guard
 */
struct breaker {
	struct controller *c;
	struct event *timer;
	struct losses *losses;
	uint64_t change; /* read up to here */
	char after[ROLLOUT_ID_BYTES];
	bool is_read; /* all hosts that there were at the start */
	bool busy, stopped;
	uint64_t answered_ms, judged_ms; /* of clock_up_ms() */
	uint64_t unstored;		 /* batches of heartbeats that could not be kept */
	char why[LOSSES_WHY_BYTES];
};

static void go_on(struct breaker *b, int r)
{
	b->busy = r == 0;
}

/* NULL: there is none. */
static struct breaker *take(struct fleet_answer *a, void *cookie)
{
	struct breaker *b = cookie;
	uint64_t now_ms = clock_up_ms();

	b->busy = false;
	if (a->r < 0)
		return NULL;
	if (now_ms - b->answered_ms > BLIND_MS)
		losses_forgive(b->losses, now_ms);
	b->answered_ms = now_ms;
	return b;
}

/* ---- the guard ------------------------------------------------------------------------- */

static void on_put(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct breaker *b = take(a, cookie);

	if (!b) {
		if (a->r != -ECANCELED)
			log_event(LOG_ALERT, "the line could not be stopped: %s",
				  a->fail.message);
		return;
	}
	b->stopped = true;
	log_event(LOG_ALERT, "the line is stopped: %s", b->why);
}

static void on_active(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct breaker *b = take(a, cookie);
	uint64_t now_ms = clock_real_ms();
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *detail = NULL;
	struct fleet_rollout row;

	if (!b || !fleet_next_rollout(a, &row))
		return;
	detail = json_pack("{s:s}", "reason", b->why);
	text = detail ? json_text(detail) : NULL;
	go_on(b, fleet_put_guard(b->c->fleet,
				 &(struct fleet_guard){.kind = "stop",
						       .name = "",
						       .scope = "{}",
						       .reason = b->why,
						       .actor = "breaker",
						       .at_ms = now_ms},
				 &(struct fleet_entry){.at_ms = now_ms,
						       .actor = b->c->actor,
						       .action = "STOP_THE_LINE",
						       .subject = "line",
						       .result = "alarm",
						       .detail = text},
				 on_put, b));
}

/* ---- the verdict --------------------------------------------------------------------------- */

static void on_silent(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct breaker *b = take(a, cookie);
	uint64_t now_ms = clock_up_ms(), unstored;
	struct fleet_host h;

	if (!b)
		return;
	/* Silent are also those whose heartbeats find a full disk. */
	unstored = b->c->reports ? reports_stats(b->c->reports).failed : 0;
	if (unstored != b->unstored)
		losses_forgive(b->losses, now_ms);
	b->unstored = unstored;
	while (fleet_next_host(a, &h))
		losses_silent(b->losses, h.id, h.silent_ms, now_ms);
	b->judged_ms = now_ms;
	if (losses_judge(b->losses, now_ms, b->why) && !b->stopped)
		go_on(b, fleet_rollouts(b->c->fleet, true, "", 1, on_active, b));
}

static void on_guards(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct breaker *b = take(a, cookie);
	uint64_t now_ms = clock_up_ms();
	struct fleet_guard g;
	bool stopped = false;

	if (!b)
		return;
	while (fleet_next_guard(a, &g))
		stopped |= strcmp(g.kind, "stop") == 0;
	if (b->stopped && !stopped)
		losses_forgive(b->losses, now_ms);
	b->stopped = stopped;
	if (now_ms - b->judged_ms >= VERDICT_MS)
		go_on(b, fleet_silent(b->c->fleet, LOST_BEATS * b->c->settings->heartbeat_ms,
				      on_silent, b));
}

/* ---- hosts ------------------------------------------------------------------------------------- */

static void take_host(struct breaker *b, const struct fleet_host *h)
{
	const char *label = b->c->settings->breaker_domain, *domain;
	AUTO_JSON json_t *labels = json_loads(h->labels, 0, NULL);
	AUTO_JSON json_t *facts = json_loads(h->facts, 0, NULL);
	AUTO_JSON json_t *health = json_loads(h->health, 0, NULL);
	struct losses_host report = {.id = h->id, .boot_id = h->boot_id};

	if (h->gone) {
		losses_forget(b->losses, h->id);
		return;
	}
	if (!h->seq)
		return;
	/* As facts.h has it: operators know better than the host. */
	domain = json_string_value(json_object_get(labels, label));
	if (!domain && strcmp(label, "zone") == 0 && h->zone[0])
		domain = h->zone;
	if (!domain)
		domain = json_string_value(json_object_get(facts, label));
	report.domain = domain ? domain : "";
	report.oopses = (uint64_t)json_integer_value(json_object_get(health, "oops"));
	report.crashed = strstr(h->hotfixes, "\"crashed\"");
	if (losses_report(b->losses, &report, clock_up_ms()) < 0)
		log_event(LOG_WARNING, "the breaker does not see host=%s: out of memory",
			  h->id);
}

static void on_changed(struct fleet_answer *a, void *cookie);

static void read_on(struct breaker *b)
{
	go_on(b, fleet_hosts_changed(b->c->fleet, b->change, b->after, PAGE, on_changed, b));
}

static void on_changed(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct breaker *b = take(a, cookie);
	struct fleet_host h;
	size_t n = 0;

	if (!b)
		return;
	for (; fleet_next_host(a, &h); n++) {
		take_host(b, &h);
		b->change = h.change;
		snprintf(b->after, sizeof(b->after), "%s", h.id);
	}
	if (n == PAGE) {
		read_on(b);
		return;
	}
	if (!b->is_read) /* from now on it knows what is new */
		losses_forgive(b->losses, clock_up_ms());
	b->is_read = true;
	go_on(b, fleet_guards(b->c->fleet, on_guards, b));
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct breaker *b = cookie;

	(void)fd, (void)what;
	if (!b->busy && b->c->fleet)
		read_on(b);
}

int breaker_new(struct controller *c, struct breaker **ret_breaker, struct fail *reterr_fail)
{
	static const struct timeval every = {EVERY_MS / 1000, EVERY_MS % 1000 * 1000};
	const struct losses_opts opts = {.oopses = c->settings->breaker_oopses,
					 .percent = c->settings->breaker_percent,
					 .hosts = c->settings->breaker_hosts};
	AUTO(breaker_freep) struct breaker *b = calloc(1, sizeof(*b));

	if (!b || losses_new(&opts, &b->losses) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	b->c = c;
	b->answered_ms = clock_up_ms();
	losses_forgive(b->losses, b->answered_ms);
	if (opts.oopses || opts.percent) {
		b->timer = event_new(c->base, -1, EV_PERSIST, on_timer, b);
		if (!b->timer || event_add(b->timer, &every) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	*ret_breaker = take_ptr(b);
	return 0;
}

void breaker_on_wake(struct breaker *b, const char *topic)
{
	(void)b, (void)topic;
}

int breaker_reload(struct breaker *b, struct fail *reterr_fail)
{
	(void)b, (void)reterr_fail;
	return 0;
}

struct breaker *breaker_free(struct breaker *b)
{
	if (!b)
		return NULL;
	if (b->timer)
		event_free(b->timer);
	losses_free(b->losses);
	free(b);
	return NULL;
}
