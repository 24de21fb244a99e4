// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "lib/plain.h"
#include "lib/plural.h"

/* ---- states ------------------------------------------------------------------------ */

#define TO(name) (1U << ROLLOUT_##name)
#define OUT	 (TO(PAUSED) | TO(ABORTING) | TO(SUPERSEDED))
#define END	 (TO(SUCCEEDED) | TO(FAILED))

/*
 *	DRAFT -> PENDING_APPROVAL -> SCHEDULED -> STARTING -> ATTACHING -> BAKING -> JUDGING
 *	                                 |         ^  |                                |  |
 *	                                 v         |  +---(nobody is left)---+---------+  |
 *	                              FAILED       |                         v            |
 *	                                           |                SUCCEEDED | FAILED    |
 *	                                           +-------------- next wave -------------+
 *	any of the four <-> PAUSED;  they and PAUSED -> ABORTING -> ROLLING_BACK | ABORTED
 *	SUCCEEDED -> ROLLING_BACK (undo); ROLLED_BACK too, when one that was out of reach has it
 *	ROLLING_BACK -> ROLLED_BACK | ROLLBACK_INCOMPLETE;  the latter -> ROLLING_BACK | ABORTED
 *	all that are no end, but ABORTING and ROLLING_BACK -> SUPERSEDED
 */
static const struct {
	uint32_t next;
	bool clock; /* runs */
	bool alarm; /* whoever enters it */
} states[ROLLOUT_STATES_] = {
	[ROLLOUT_DRAFT] = {TO(PENDING_APPROVAL) | TO(ABORTED) | TO(SUPERSEDED), false, false},
	[ROLLOUT_PENDING_APPROVAL] = {TO(SCHEDULED) | TO(ABORTED) | TO(SUPERSEDED), false,
				      false},
	[ROLLOUT_SCHEDULED] = {TO(WAVE_STARTING) | TO(FAILED) | TO(ABORTED) | TO(SUPERSEDED),
			       false, false},
	[ROLLOUT_WAVE_STARTING] = {TO(WAVE_ATTACHING) | OUT | END, true, false},
	[ROLLOUT_WAVE_ATTACHING] = {TO(WAVE_BAKING) | OUT, true, false},
	[ROLLOUT_WAVE_BAKING] = {TO(WAVE_JUDGING) | OUT, true, false},
	[ROLLOUT_WAVE_JUDGING] = {TO(WAVE_STARTING) | OUT | END, true, false},
	[ROLLOUT_PAUSED] = {TO(WAVE_STARTING) | TO(WAVE_ATTACHING) | TO(WAVE_BAKING) |
				    TO(WAVE_JUDGING) | TO(ABORTING) | TO(SUPERSEDED),
			    false, false}, /* the cause has its own */
	[ROLLOUT_ABORTING] = {TO(ROLLING_BACK) | TO(ABORTED), true, true},
	[ROLLOUT_ROLLING_BACK] = {TO(ROLLED_BACK) | TO(ROLLBACK_INCOMPLETE), true, true},
	[ROLLOUT_ROLLBACK_INCOMPLETE] = {TO(ROLLING_BACK) | TO(ABORTED) | TO(SUPERSEDED), false,
					 true},
	[ROLLOUT_SUCCEEDED] = {TO(ROLLING_BACK), false, false},
	[ROLLOUT_ROLLED_BACK] = {TO(ROLLING_BACK), false, false},
	[ROLLOUT_FAILED] = {0, false, true},
};

bool rollout_may(enum rollout_state from, enum rollout_state to)
{
	return states[from].next & (1U << to);
}

bool rollout_runs(enum rollout_state state)
{
	return state >= ROLLOUT_WAVE_STARTING && state <= ROLLOUT_WAVE_JUDGING;
}

bool rollout_is_over(enum rollout_state state)
{
	return state >= ROLLOUT_SUCCEEDED;
}

bool rollout_is_live(const struct rollout *r)
{
	return rollout_runs(r->state) || r->state == ROLLOUT_PAUSED;
}

const char *rollout_state_name(enum rollout_state state)
{
	static const char *const names[] = {
#define X(name, text) [ROLLOUT_##name] = text,
		ROLLOUT_STATES(X)
#undef X
	};

	return names[state];
}

const char *rollout_pause_name(enum rollout_pause pause)
{
	static const char *const names[] = {
#define X(name, text) [ROLLOUT_PAUSE_##name] = text,
		ROLLOUT_PAUSES(X)
#undef X
	};

	return names[pause];
}

const char *rollout_action_name(enum rollout_action action)
{
	static const char *const names[] = {[ROLLOUT_APPLY] = "apply",
					    [ROLLOUT_WITHDRAW] = "withdraw",
					    [ROLLOUT_END_TRIAL] = "end_trial",
					    [ROLLOUT_ROLLBACK] = "rollback"};

	return names[action];
}

/* ---- effects ----------------------------------------------------------------------- */

/* Room for one more; NULL: the step fails in the end. */
static void *grow(struct rollout *r, void **array, size_t *n, size_t *room, size_t size)
{
	void *grown;

	if (*n == *room) {
		grown = realloc(*array, (*room ? 2 * *room : 16) * size);
		if (!grown) {
			r->no_memory = true;
			return NULL;
		}
		*array = grown;
		*room = *room ? 2 * *room : 16;
	}
	return memset((char *)*array + (*n)++ * size, 0, size);
}

void rollout_effects_clear(struct rollout_effects *fx)
{
	free(fx->word);
	free(fx->audit);
	free(fx->host);
	*fx = (struct rollout_effects){0};
}

void rollout_touch(struct rollout *r, struct rollout_host *h)
{
	const struct rollout_host **slot;

	r->changed = true;
	if (h->dirty || !r->fx)
		return;
	slot = grow(r, (void **)&r->fx->host, &r->fx->n_hosts, &r->fx->room_hosts,
		    sizeof(*slot));
	if (slot)
		*slot = h;
	h->dirty = true;
}

__attribute__((format(printf, 5, 0))) static struct rollout_audit *audit(
	struct rollout *r, const struct rollout_host *h, const char *code, bool alarm,
	const char *fmt, va_list args)
{
	struct rollout_audit *a;

	r->changed = true;
	if (!r->fx)
		return NULL;
	a = grow(r, (void **)&r->fx->audit, &r->fx->n_audits, &r->fx->room_audits, sizeof(*a));
	if (!a)
		return NULL;
	snprintf(a->actor, sizeof(a->actor), "%s", r->actor);
	if (r->asked_by && r->actor != r->asked_by)
		snprintf(a->asked_by, sizeof(a->asked_by), "%s", r->asked_by);
	r->actor = ROLLOUT_ENGINE; /* a user does one thing, and the rest follows from it */
	snprintf(a->host, sizeof(a->host), "%s", h ? h->id : "");
	snprintf(a->code, sizeof(a->code), "%s", code);
	vsnprintf(a->text, sizeof(a->text), fmt, args);
	plain_make(a->text, false);
	a->from = a->to = r->state;
	a->generation = r->generation + 1;
	a->alarm = alarm;
	return a;
}

void rollout_note(struct rollout *r, const struct rollout_host *h, const char *code, bool alarm,
		  const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	audit(r, h, code, alarm, fmt, args);
	va_end(args);
}

void rollout_enter(struct rollout *r, enum rollout_state next, const char *code,
		   const char *fmt, ...)
{
	struct rollout_audit *a;
	va_list args;

	assert(rollout_may(r->state, next));
	va_start(args, fmt);
	a = audit(r, NULL, code, states[next].alarm, fmt, args);
	va_end(args);
	if (a)
		a->to = next;
	if (next == ROLLOUT_PAUSED)
		r->resume = r->state;
	if (states[next].clock && !states[r->state].clock)
		r->anchor_ms = r->now_ms;
	r->progress_ms = r->clock_ms;
	r->state = next;
}

void rollout_send(struct rollout *r, struct rollout_host *h, enum rollout_action action,
		  uint64_t from, uint64_t to)
{
	struct rollout_word *w;

	h->word = r->generation + 1;
	h->action = action;
	rollout_touch(r, h);
	w = grow(r, (void **)&r->fx->word, &r->fx->n_words, &r->fx->room_words, sizeof(*w));
	if (!w)
		return;
	*w = (struct rollout_word){.action = action,
				   .generation = h->word,
				   .from = from,
				   .to = to,
				   .retry = action == ROLLOUT_APPLY && h->retry};
	memcpy(w->host, h->id, sizeof(w->host));
}

/* ---- pauses, stops ----------------------------------------------------------------- */

uint32_t rollout_pauses(const struct rollout *r)
{
	return r->pauses |
	       (r->window_closed && !r->overridden ? 1U << ROLLOUT_PAUSE_WINDOW : 0) |
	       (r->line_stopped ? 1U << ROLLOUT_PAUSE_STOP_THE_LINE : 0) |
	       (r->engine_lost ? 1U << ROLLOUT_PAUSE_ENGINE_LOST : 0) |
	       (r->director_lost ? 1U << ROLLOUT_PAUSE_DIRECTOR_LOST : 0);
}

bool rollout_paused_for(const struct rollout *r, enum rollout_pause pause)
{
	return r->state == ROLLOUT_PAUSED && (rollout_pauses(r) & (1U << pause));
}

void rollout_pause_for(struct rollout *r, enum rollout_pause pause, const char *code,
		       const char *text)
{
	if (r->pauses & (1U << pause))
		return;
	r->pauses |= 1U << pause;
	rollout_note(r, NULL, code,
		     pause != ROLLOUT_PAUSE_MANUAL && pause != ROLLOUT_PAUSE_GATE, "%s", text);
}

void rollout_stop(struct rollout *r, uint64_t on_failure, const char *code, const char *text)
{
	switch ((enum spec_on_failure)on_failure) {
	case SPEC_PAUSE:
		rollout_pause_for(r, ROLLOUT_PAUSE_BUDGET, code, text);
		break;
	case SPEC_ROLLBACK_WAVE:
		rollout_back_begin(r, ROLLOUT_WAVE, code, text);
		break;
	case SPEC_ROLLBACK_ALL:
		rollout_back_begin(r, ROLLOUT_ALL, code, text);
		break;
	}
}

bool rollout_over_budget(const struct rollout *r)
{
	uint64_t limit = spec_at_most(r->spec.wave[r->wave].threshold, r->members);
	uint64_t canaries = spec_at_most(r->spec.wave[0].threshold, r->n_strata);

	return r->failed > r->forgiven + limit ||
	       r->failed_canaries > r->forgiven_canaries + canaries ||
	       (r->spec.consecutive && r->row >= r->spec.consecutive);
}

void rollout_forgive(struct rollout *r)
{
	r->forgiven = r->failed;
	r->forgiven_canaries = r->failed_canaries;
	r->row = 0;
}

void rollout_trim_forgiven(struct rollout *r)
{
	if (r->forgiven > r->failed)
		r->forgiven = r->failed;
	if (r->forgiven_canaries > r->failed_canaries)
		r->forgiven_canaries = r->failed_canaries;
}

/* ---- what follows by itself -------------------------------------------------------- */

static void go_approval(struct rollout *r)
{
	if (r->n_approvals >= r->spec.approvals)
		rollout_enter(r, ROLLOUT_SCHEDULED, "APPROVED", "by %zu user%s", r->n_approvals,
			      plural(r->n_approvals));
}

static void go_start(struct rollout *r)
{
	if (rollout_pauses(r))
		return;
	if (r->serial < r->floor) {
		rollout_enter(r, ROLLOUT_FAILED, "FLOOR",
			      "serial %" PRIu64 " is below %" PRIu64, r->serial, r->floor);
	} else if (!r->eligible) {
		rollout_enter(r, ROLLOUT_FAILED, "NO_HOSTS", "no host is eligible");
	} else {
		rollout_enter(r, ROLLOUT_WAVE_STARTING, "STARTED", "%zu host%s %s eligible",
			      r->eligible, plural(r->eligible),
			      r->eligible == 1 ? "is" : "are");
		rollout_new_wave(r, 0);
	}
}

static void go_running(struct rollout *r)
{
	if (!rollout_pauses(r)) {
		rollout_go_wave(r);
		return;
	}
	rollout_enter(r, ROLLOUT_PAUSED, "PAUSED", "in %s", r->spec.wave[r->wave].name);
	rollout_recall_all(r);
}

static void go_paused(struct rollout *r)
{
	if (r->superseded_by[0] && !r->in_flight)
		rollout_enter(r, ROLLOUT_SUPERSEDED, "SUPERSEDED", "by %s", r->superseded_by);
	else if (!rollout_pauses(r))
		rollout_enter(r, r->resume, "RESUMED", "in %s", r->spec.wave[r->wave].name);
}

static void go(struct rollout *r)
{
	static void (*const by_state[ROLLOUT_STATES_])(struct rollout * r) = {
		[ROLLOUT_PENDING_APPROVAL] = go_approval,
		[ROLLOUT_SCHEDULED] = go_start,
		[ROLLOUT_WAVE_STARTING] = go_running,
		[ROLLOUT_WAVE_ATTACHING] = go_running,
		[ROLLOUT_WAVE_BAKING] = go_running,
		[ROLLOUT_WAVE_JUDGING] = go_running,
		[ROLLOUT_PAUSED] = go_paused,
		[ROLLOUT_ABORTING] = rollout_back_go,
		[ROLLOUT_ROLLING_BACK] = rollout_back_go,
		[ROLLOUT_ROLLBACK_INCOMPLETE] = rollout_back_go,
		[ROLLOUT_ROLLED_BACK] = rollout_back_go,
	};
	enum rollout_state before;

	do {
		before = r->state;
		if (by_state[before])
			by_state[before](r);
	} while (r->state != before || (rollout_runs(r->state) && rollout_pauses(r)));
}

/* ---- the controller ---------------------------------------------------------------- */

static void set_fact(struct rollout *r, bool *fact, bool on, const char *code)
{
	if (*fact == on)
		return;
	*fact = on;
	if (rollout_is_over(r->state))
		r->changed = true;
	else
		rollout_note(r, NULL, code, false, "%s", on ? "begins" : "ends");
}

/* What it waits for, as long as it does. */
static void set_why(struct rollout *r, char why[ROLLOUT_WHY_BYTES], bool waits,
		    const char *reason)
{
	char text[ROLLOUT_WHY_BYTES];

	snprintf(text, sizeof(text), "%s", waits ? reason : "");
	plain_make(text, false);
	if (strcmp(text, why) == 0)
		return;
	strcpy(why, text);
	r->changed = true;
	if (text[0] && !rollout_is_over(r->state))
		rollout_note(r, NULL, "WAITS", false, "%s", text);
}

static int on_window(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	(void)reterr_fail;
	set_fact(r, &r->window_closed, !ev->on, "WINDOW_CLOSED");
	set_why(r, r->window_why, !ev->on, ev->reason);
	if (r->window_next_ms != ev->next_ms) {
		r->window_next_ms = ev->next_ms;
		r->changed = true;
	}
	return 0;
}

static int on_stop_the_line(struct rollout *r, const struct rollout_event *ev,
			    struct fail *reterr_fail)
{
	(void)reterr_fail;
	set_fact(r, &r->line_stopped, ev->on, "STOP_THE_LINE");
	set_why(r, r->line_why, ev->on, ev->reason);
	return 0;
}

static int on_engine_lost(struct rollout *r, const struct rollout_event *ev,
			  struct fail *reterr_fail)
{
	(void)reterr_fail;
	set_fact(r, &r->engine_lost, ev->on, "ENGINE_LOST");
	return 0;
}

static int on_director_lost(struct rollout *r, const struct rollout_event *ev,
			    struct fail *reterr_fail)
{
	bool lost = r->director_lost;

	(void)reterr_fail;
	set_fact(r, &lost, ev->on, "DIRECTOR_LOST");
	if (lost != r->director_lost)
		rollout_set_director_lost(r, lost);
	set_why(r, r->director_why, ev->on, ev->reason);
	return 0;
}

static int on_floor(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	(void)reterr_fail;
	if (ev->serial <= r->floor)
		return 0;
	r->floor = ev->serial;
	r->changed = true;
	if (rollout_is_live(r) && r->serial < r->floor)
		rollout_back_begin(r, ROLLOUT_NOTHING, "FLOOR",
				   "its serial is below the floor");
	return 0;
}

static int on_tick(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	(void)r, (void)ev, (void)reterr_fail;
	return 0;
}

/* ---- a step ------------------------------------------------------------------------ */

static rollout_handler *const handlers[ROLLOUT_EVENTS_] = {
	[ROLLOUT_SUBMIT] = rollout_on_submit,
	[ROLLOUT_APPROVE] = rollout_on_approve,
	[ROLLOUT_OVERRIDE] = rollout_on_override,
	[ROLLOUT_PAUSE] = rollout_on_pause,
	[ROLLOUT_RESUME] = rollout_on_resume,
	[ROLLOUT_PROMOTE] = rollout_on_promote,
	[ROLLOUT_ABORT] = rollout_on_abort,
	[ROLLOUT_RETRY] = rollout_on_retry,
	[ROLLOUT_UNDO] = rollout_on_undo,
	[ROLLOUT_SUPERSEDE] = rollout_on_supersede,
	[ROLLOUT_HOST] = rollout_on_host,
	[ROLLOUT_HOST_LEFT] = rollout_on_host_left,
	[ROLLOUT_HEARTBEAT] = rollout_on_heartbeat,
	[ROLLOUT_REPORT] = rollout_on_report,
	[ROLLOUT_WINDOW] = on_window,
	[ROLLOUT_STOP_THE_LINE] = on_stop_the_line,
	[ROLLOUT_ENGINE_LOST] = on_engine_lost,
	[ROLLOUT_DIRECTOR_LOST] = on_director_lost,
	[ROLLOUT_FLOOR] = on_floor,
	[ROLLOUT_TICK] = on_tick,
};

/* What passed since the last step, as far as somebody watched. Setting the clock back costs up to
 * a step, setting it forward gains no more than two. */
static void pass_time(struct rollout *r)
{
	uint64_t passed_ms = r->now_ms > r->anchor_ms ? r->now_ms - r->anchor_ms : 0;

	if (!states[r->state].clock)
		return;
	if (r->now_ms + ROLLOUT_STEP_MS <= r->anchor_ms || passed_ms >= ROLLOUT_STEP_MS)
		r->changed = true;
	if (!passed_ms && !r->changed)
		return;
	r->clock_ms += passed_ms < ROLLOUT_STEP_MAX_MS ? passed_ms : ROLLOUT_STEP_MAX_MS;
	r->anchor_ms = r->now_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_wake_ms(const struct rollout *r)
{
	const struct heap_node *bake = heap_first(&r->bakes), *timer = heap_first(&r->timers);
	uint64_t at = r->clock_ms + ROLLOUT_STEP_MS;

	if (!states[r->state].clock)
		return r->window_closed && !rollout_is_over(r->state) && r->window_next_ms
			       ? r->window_next_ms
			       : UINT64_MAX;
	if (r->state == ROLLOUT_WAVE_BAKING && r->bake_end_ms > r->clock_ms)
		at = earlier(at, r->bake_end_ms);
	if (bake && bake->major > r->clock_ms)
		at = earlier(at, bake->major);
	if (timer && timer->major > r->clock_ms)
		at = earlier(at, timer->major);
	if (r->progress_ms + r->spec.progress_deadline_ms > r->clock_ms)
		at = earlier(at, r->progress_ms + r->spec.progress_deadline_ms);
	return r->anchor_ms + (at - r->clock_ms);
}

int rollout_step(struct rollout *r, const struct rollout_event *ev, uint64_t now_ms,
		 struct rollout_effects *ret_fx, struct fail *reterr_fail)
{
	struct rollout_event event = *ev;
	uint64_t clock_ms = r->clock_ms, anchor_ms = r->anchor_ms;
	int res;

	ret_fx->n_words = ret_fx->n_audits = ret_fx->n_hosts = 0;
	event.reason = ev->reason ? ev->reason : "";
	r->fx = ret_fx;
	r->actor = ev->actor ? ev->actor : ROLLOUT_ENGINE;
	r->asked_by = strcmp(r->actor, ROLLOUT_ENGINE) == 0 ? NULL : r->actor;
	r->now_ms = now_ms;
	r->changed = r->no_memory = false;
	pass_time(r);
	res = handlers[ev->type](r, &event, reterr_fail);
	r->actor = ROLLOUT_ENGINE;
	if (res == 0)
		go(r);
	if (r->no_memory)
		res = -ENOMEM;
	for (size_t i = 0; i < ret_fx->n_hosts; i++)
		((struct rollout_host *)(uintptr_t)ret_fx->host[i])->dirty = false;
	if (res == 0 && r->changed) {
		r->generation++;
	} else {
		r->clock_ms = clock_ms;
		r->anchor_ms = anchor_ms;
	}
	ret_fx->changed = res == 0 && r->changed;
	ret_fx->wake_ms = next_wake_ms(r);
	r->fx = NULL;
	return res;
}
