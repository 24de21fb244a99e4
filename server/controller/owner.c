// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/owner.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "server/controller/database.h"
#include "server/controller/owner_private.h"
#include "server/controller/reports.h"

/* ---- the loop's turn --------------------------------------------------------------------- */

void owner_go(struct owner *o)
{
	const struct timeval now = {0, 0};

	if (!evtimer_pending(o->work, NULL))
		event_add(o->work, &now);
}

static void on_work(evutil_socket_t fd, short what, void *cookie)
{
	struct owner *o = cookie;
	struct charge *ch, *next;
	bool more = false;

	(void)fd;
	(void)what;
	for (ch = LIST_FIRST(&o->charges); ch; ch = next) {
		next = LIST_NEXT(ch, next);
		more |= charge_go(ch);
	}
	if (more)
		owner_go(o);
}

/* An answer came: false, it is gone, and there will be no other. */
static bool is_answer(struct fleet_answer *a, bool *asked)
{
	*asked = false;
	if (a->r >= 0 || a->r == -ENOENT)
		return true;
	if (a->r != -ECANCELED)
		log_event(LOG_DEBUG, "the database did not answer the owner reason=\"%s\"",
			  a->fail.message);
	fleet_answer_free(a);
	return false;
}

/* ---- claims and leases --------------------------------------------------------------------- */

static void claim(struct owner *o);

static void on_claimed(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	struct fleet_rollout row;
	struct charge *ch;

	if (!is_answer(a, &o->claiming))
		return;
	if (a->r == 0 && fleet_next_rollout(a, &row) && !o->releasing) {
		ch = charge_find(o, row.id);
		if (ch)
			charge_drop(ch, "its lease had ended");
		log_event(LOG_INFO, "rollout claimed rollout=%s epoch=%llu", row.id,
			  (unsigned long long)row.epoch);
		o->stats.claims++;
		if (charge_new(o, row.id, row.epoch) == 0)
			claim(o);
	}
	fleet_answer_free(a);
}

static void claim(struct owner *o)
{
	if (o->claiming || o->releasing || o->away)
		return;
	o->claiming = fleet_claim(o->c->fleet, o->lease, OWNER_LEASE_MS, on_claimed, o) == 0;
}

/* Claimed, and the answer was lost: as long as it is renewed nobody else can have it. */
static void take_unknown(struct owner *o, struct fleet_answer *renewed)
{
	struct fleet_rollout row;

	for (renewed->next[0] = 0; fleet_next_rollout(renewed, &row);)
		if (!charge_find(o, row.id)) {
			log_event(LOG_INFO, "rollout claimed before rollout=%s epoch=%llu",
				  row.id, (unsigned long long)row.epoch);
			charge_new(o, row.id, row.epoch);
		}
}

/* Those that were claimed after the question are not in its answer. */
static void on_renewed(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	struct charge *ch, *next;
	struct fleet_rollout row;

	if (!is_answer(a, &o->renewing))
		return;
	o->renewed_up_ms = clock_up_ms();
	for (ch = LIST_FIRST(&o->charges); ch; ch = next) {
		size_t next_row = a->next[0];
		bool ours = ch->claimed_up_ms >= o->renewal_up_ms;

		next = LIST_NEXT(ch, next);
		for (a->next[0] = 0; !ours && fleet_next_rollout(a, &row);)
			ours = strcmp(row.id, ch->id) == 0 && row.epoch == ch->epoch;
		a->next[0] = next_row;
		if (!ours) {
			o->stats.lost++;
			charge_drop(ch, "somebody else has claimed it");
		}
	}
	if (!o->releasing)
		take_unknown(o, a);
	fleet_answer_free(a);
}

static void renew(struct owner *o)
{
	uint64_t up_ms = clock_up_ms();

	if (o->renewing || o->releasing || LIST_EMPTY(&o->charges) ||
	    up_ms - o->renewal_up_ms < OWNER_RENEW_MS)
		return;
	o->renewal_up_ms = up_ms;
	o->renewing = fleet_renew(o->c->fleet, o->lease, OWNER_LEASE_MS, on_renewed, o) == 0;
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void on_requests(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	struct fleet_request q;
	struct charge *ch;

	if (!is_answer(a, &o->asking))
		return;
	while (fleet_next_request(a, &q)) {
		ch = charge_find(o, q.rollout);
		if (ch && ch->phase == CHARGE_RUNS && ch->caught_up && !ch->newer_asked &&
		    q.seq > ch->request)
			request_heed(ch, &q);
	}
	fleet_answer_free(a);
	LIST_FOREACH(ch, &o->charges, next)
	{
		ch->asked = ch->phase == CHARGE_RUNS && ch->caught_up && !ch->newer_asked;
	}
	owner_go(o);
	if (o->ask_again)
		owner_ask_requests(o);
}

void owner_ask_requests(struct owner *o)
{
	o->ask_again = o->asking;
	if (o->asking || o->away || LIST_EMPTY(&o->charges))
		return;
	o->asking = fleet_requests(o->c->fleet, 0, OWNER_REQUESTS, on_requests, o) == 0;
}

/* ---- guards -------------------------------------------------------------------------------------- */

static void ask_guards(struct owner *o);

static void on_guards(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	struct guards *g;

	if (!is_answer(a, &o->guarding))
		return;
	g = guards_new(a);
	if (g) {
		guards_free(o->guards);
		o->guards = g;
		o->guarded_up_ms = clock_up_ms();
		o->targets = guards_targets(g, o->c->real_ms());
		owner_go(o);
	}
	fleet_answer_free(a);
	if (o->guard_again)
		ask_guards(o);
}

static void ask_guards(struct owner *o)
{
	o->guard_again = o->guarding;
	if (o->guarding || o->away)
		return;
	o->guarding = fleet_guards(o->c->fleet, on_guards, o) == 0;
}

/* ---- who is silent --------------------------------------------------------------------------------- */

/*
 * What could not be kept until now is no silence. Hosts that were refused, or found nobody, wait
 * before they come again, and are not there for as long.
 */
static void was_deaf(struct owner *o, uint64_t again_ms)
{
	uint64_t from_ms = clock_up_ms() + again_ms;

	if (o->watching_up_ms < from_ms)
		o->watching_up_ms = from_ms;
}

/* Hosts ask less often the longer nobody answers. */
static uint64_t absent_ms(uint64_t ms)
{
	return ms < OWNER_ABSENT_MS / 4 ? 4 * ms : OWNER_ABSENT_MS;
}

static uint64_t put_off(const struct owner *o)
{
	struct reports_stats stats;

	if (!o->c->reports)
		return 0;
	stats = reports_stats(o->c->reports);
	return stats.failed + stats.refused;
}

/* The disk is full, somebody has the database locked, more came than could be taken. */
static void watch_writes(struct owner *o)
{
	struct database_writes writes;

	database_writes(o->c->database, &writes);
	if (writes.failed_up_ms != o->failed_up_ms) {
		o->failed_up_ms = writes.failed_up_ms;
		o->back_up_ms = clock_up_ms();
		was_deaf(o, 0);
	}
	if (put_off(o) != o->put_off) {
		o->put_off = put_off(o);
		was_deaf(o, OWNER_AGAIN_MS);
	}
}

uint64_t owner_missed(struct owner *o, uint64_t ms)
{
	uint64_t up_ms = clock_up_ms(), watched_ms;

	watch_writes(o);
	watched_ms =
		o->heard_known && up_ms > o->watching_up_ms ? up_ms - o->watching_up_ms : 0;
	return (ms < watched_ms ? ms : watched_ms) / o->c->settings->heartbeat_ms;
}

static void on_heard(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	uint64_t ms;

	if (!is_answer(a, &o->listening))
		return;
	ms = fleet_heard_ms(a);
	if (ms > 2 * o->c->settings->heartbeat_ms) /* no controller was there */
		was_deaf(o, absent_ms(ms));
	o->heard_known = true;
	fleet_answer_free(a);
}

static void ask_heard(struct owner *o)
{
	if (!o->heard_known && !o->listening)
		o->listening = fleet_heard(o->c->fleet, on_heard, o) == 0;
}

/* How long a host has not been heard of. */
struct silence {
	char host[ROLLOUT_ID_BYTES];
	uint64_t ms;
};

struct silences {
	struct silence *one; /* by host */
	size_t n;
};

static bool take_silent(struct fleet_answer *a, struct silences *ret)
{
	struct silences s = {NULL, 0};
	struct fleet_host h;
	size_t room = 0;

	while (fleet_next_host(a, &h)) {
		if (s.n == room) {
			struct silence *grown;

			room = room ? 2 * room : 64;
			grown = realloc(s.one, room * sizeof(*grown));
			if (!grown) {
				free(s.one);
				return false;
			}
			s.one = grown;
		}
		snprintf(s.one[s.n].host, sizeof(s.one[s.n].host), "%s", h.id);
		s.one[s.n++].ms = h.silent_ms;
	}
	*ret = s;
	return true;
}

/*
 * The rollout's hosts and the list are in one order. Who is missed and not silent is heard of
 * again, whoever found him missing, and when. Of those that nobody could have heard there is
 * nothing to tell.
 */
static void tell_silent(struct charge *ch, const struct silences *silent)
{
	size_t n = 0;

	for (size_t i = 0; ch->phase == CHARGE_RUNS && i < rollout_n_hosts(ch->r); i++) {
		const struct rollout_host *h = rollout_host_at(ch->r, i);
		struct rollout_event ev = {.type = ROLLOUT_HEARTBEAT,
					   .host = rollout_host_id(h)};
		bool tells = rollout_misses(ch->r, h);

		while (n < silent->n && strcmp(silent->one[n].host, ev.host) < 0)
			n++;
		if (n < silent->n && strcmp(silent->one[n].host, ev.host) == 0) {
			ev.missed = owner_missed(ch->o, silent->one[n].ms);
			tells = ev.missed > 0;
		}
		if (tells)
			charge_tell(ch, &ev);
	}
}

static void on_silent(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;
	struct silences now;
	struct charge *ch, *next;
	bool taken;

	if (!is_answer(a, &o->looking))
		return;
	taken = take_silent(a, &now);
	fleet_answer_free(a);
	if (!taken)
		return;
	for (ch = LIST_FIRST(&o->charges); ch; ch = next) {
		next = LIST_NEXT(ch, next);
		if (ch->caught_up)
			tell_silent(ch, &now);
	}
	o->n_silent = now.n;
	free(now.one);
	owner_go(o);
}

static void look_for_silent(struct owner *o)
{
	uint64_t up_ms = clock_up_ms(), every_ms = o->c->settings->heartbeat_ms / 3;
	uint64_t lost_after = UINT64_MAX;
	struct charge *ch;

	every_ms = every_ms < OWNER_TICK_MS ? OWNER_TICK_MS
		   : every_ms > 10000	    ? 10000
					    : every_ms;
	LIST_FOREACH(ch, &o->charges, next)
	{
		if (ch->phase == CHARGE_RUNS && rollout_spec(ch->r)->lost_after < lost_after)
			lost_after = rollout_spec(ch->r)->lost_after;
	}
	if (lost_after == UINT64_MAX || o->looking || up_ms - o->looked_up_ms < every_ms)
		return;
	o->looked_up_ms = up_ms;
	o->looking = fleet_silent(o->c->fleet, lost_after * o->c->settings->heartbeat_ms,
				  on_silent, o) == 0;
}

/* ---- is anything to be written at all --------------------------------------------------------------- */

static void lose(struct owner *o)
{
	if (!o->lost)
		log_event(LOG_WARNING, "what happens cannot be written: rollouts pause");
	o->lost = true;
}

static void watch_database(struct owner *o)
{
	uint64_t up_ms = clock_up_ms();
	struct database_writes writes;
	struct fail why;
	uint64_t away_ms = database_away_ms(o->c->database, &why);

	/* Who did not run was away as well. */
	if (o->ticked_up_ms && up_ms - o->ticked_up_ms > OWNER_LOST_MS) {
		lose(o);
		o->back_up_ms = up_ms;
		was_deaf(o, absent_ms(up_ms - o->ticked_up_ms));
	}
	o->ticked_up_ms = up_ms;
	watch_writes(o);
	database_writes(o->c->database, &writes);
	if (away_ms > OWNER_LOST_MS || writes.failing_ms > OWNER_LOST_MS)
		lose(o);
	if (o->away && !away_ms) {
		o->back_up_ms = up_ms;
		o->renewal_up_ms = 0; /* others may have claimed what was ours */
		was_deaf(o, OWNER_AGAIN_MS);
	}
	o->away = away_ms > 0;
	if (o->lost && !o->away && !writes.failing_ms &&
	    up_ms - o->back_up_ms >= o->c->settings->heartbeat_ms) {
		log_event(LOG_NOTICE, "what happens can be written again");
		o->lost = false;
	}
}

/* ---- the timer ---------------------------------------------------------------------------------------- */

static void released(struct owner *o)
{
	void (*done)(void *cookie) = o->released;

	o->released = NULL;
	if (done)
		done(o->released_cookie);
}

static void on_tick(evutil_socket_t fd, short what, void *cookie)
{
	struct owner *o = cookie;
	struct charge *ch;

	(void)fd;
	(void)what;
	watch_database(o);
	if (o->releasing && clock_up_ms() - o->release_up_ms > OWNER_RELEASE_MS)
		released(o);
	if (o->away || o->releasing)
		return;
	renew(o);
	claim(o);
	ask_heard(o);
	owner_ask_requests(o);
	if (clock_up_ms() - o->guarded_up_ms >= OWNER_GUARDS_MS || !o->guards)
		ask_guards(o);
	else
		o->targets = guards_targets(o->guards, o->c->real_ms());
	look_for_silent(o);
	LIST_FOREACH(ch, &o->charges, next)
	{
		ch->more = true;
	}
	owner_go(o);
}

void owner_on_wake(struct owner *o, const char *topic)
{
	bool any = !topic[0];
	struct charge *ch;

	if (o->releasing)
		return;
	if (any || strcmp(topic, FLEET_TOPIC_HOSTS) == 0) {
		LIST_FOREACH(ch, &o->charges, next)
		{
			ch->more = true;
		}
		owner_go(o);
	}
	if (any || strcmp(topic, FLEET_TOPIC_ROLLOUTS) == 0) {
		claim(o);
		owner_ask_requests(o);
	}
	if (any || strcmp(topic, FLEET_TOPIC_GUARDS) == 0)
		ask_guards(o);
	if (any || strcmp(topic, FLEET_TOPIC_STOCK) == 0)
		owner_go(o);
}

/* ---- life ----------------------------------------------------------------------------------------------- */

static void on_released(struct fleet_answer *a, void *cookie)
{
	struct owner *o = cookie;

	if (a->r != -ECANCELED)
		released(o);
	fleet_answer_free(a);
}

void owner_release(struct owner *o, void (*done)(void *cookie), void *cookie)
{
	struct charge *ch, *next;

	o->releasing = true;
	o->release_up_ms = clock_up_ms();
	o->released = done;
	o->released_cookie = cookie;
	for (ch = LIST_FIRST(&o->charges); ch; ch = next) {
		next = LIST_NEXT(ch, next);
		charge_drop(ch, "this controller ends");
	}
	if (fleet_release(o->c->fleet, o->lease, on_released, o) < 0)
		released(o);
}

int owner_new(struct controller *c, struct owner **ret_owner, struct fail *reterr_fail)
{
	static const struct timeval every = {.tv_usec = OWNER_TICK_MS * 1000};
	AUTO(owner_freep) struct owner *o = calloc(1, sizeof(*o));
	uint32_t mark;

	if (!o)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	o->c = c;
	LIST_INIT(&o->charges);
	if (getrandom(&mark, sizeof(mark), 0) != (ssize_t)sizeof(mark))
		return fail_set(reterr_fail, FAIL_INTERNAL, "no random numbers");
	snprintf(o->lease, sizeof(o->lease), "%s/%08x", c->settings->name, mark);
	o->started_up_ms = o->watching_up_ms = clock_up_ms();
	o->work = evtimer_new(c->base, on_work, o);
	o->timer = event_new(c->base, -1, EV_PERSIST, on_tick, o);
	if (!o->work || !o->timer || event_add(o->timer, &every) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	claim(o);
	ask_heard(o);
	ask_guards(o);
	*ret_owner = take_ptr(o);
	return 0;
}

struct owner *owner_free(struct owner *o)
{
	struct charge *ch;

	if (!o)
		return NULL;
	while ((ch = LIST_FIRST(&o->charges))) {
		LIST_REMOVE(ch, next);
		charge_free(ch);
	}
	if (o->work)
		event_free(o->work);
	if (o->timer)
		event_free(o->timer);
	guards_free(o->guards);
	free(o);
	return NULL;
}

int owner_reload(struct owner *o, struct fail *reterr_fail)
{
	(void)reterr_fail;
	owner_go(o);
	return 0;
}

void owner_stats(const struct owner *o, struct owner_stats *ret_stats)
{
	const struct charge *ch;

	*ret_stats = o->stats;
	ret_stats->silent = o->n_silent;
	ret_stats->engine_lost = o->lost;
	ret_stats->line_stopped = o->guards && guards_line(o->guards);
	LIST_FOREACH(ch, &o->charges, next)
	{
		ret_stats->rollouts++;
		ret_stats->reading += ch->phase == CHARGE_ASKED || ch->phase == CHARGE_FILLS ||
				      (ch->phase == CHARGE_RUNS && !ch->caught_up);
		ret_stats->waiting += ch->phase == CHARGE_WAITS || ch->phase == CHARGE_BLOCKED;
		ret_stats->writing += ch->write != NULL;
		if (ch->phase != CHARGE_RUNS)
			continue;
		ret_stats->by_state[rollout_state(ch->r)]++;
		for (int i = 0; i < HOST_STATES_; i++)
			ret_stats->hosts[i] += rollout_count(ch->r, (enum host_state)i);
	}
}
