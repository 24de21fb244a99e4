// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "lib/plain.h"

/* ---- states ------------------------------------------------------------------------- */

#define TO(name) (1U << ROLLOUT_##name)
#define OUT	 (TO(PAUSED) | TO(ABORTING) | TO(SUPERSEDED))
#define END	 (TO(SUCCEEDED) | TO(FAILED))

/* Of a wave: it passed or was promoted, and its gate is behind it. */
enum { VERDICT_NONE, VERDICT_ACCEPTED, VERDICT_GATE };

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
} states[ROLLOUT_STATES_] = {
	[ROLLOUT_DRAFT] = {TO(PENDING_APPROVAL) | TO(ABORTED) | TO(SUPERSEDED), false},
	[ROLLOUT_PENDING_APPROVAL] = {TO(SCHEDULED) | TO(ABORTED) | TO(SUPERSEDED), false},
	[ROLLOUT_SCHEDULED] = {TO(WAVE_STARTING) | TO(FAILED) | TO(ABORTED) | TO(SUPERSEDED),
			       false},
	[ROLLOUT_WAVE_STARTING] = {TO(WAVE_ATTACHING) | OUT | END, true},
	[ROLLOUT_WAVE_ATTACHING] = {TO(WAVE_BAKING) | OUT, true},
	[ROLLOUT_WAVE_BAKING] = {TO(WAVE_JUDGING) | OUT, true},
	[ROLLOUT_WAVE_JUDGING] = {TO(WAVE_STARTING) | OUT | END, true},
	[ROLLOUT_PAUSED] = {TO(WAVE_STARTING) | TO(WAVE_ATTACHING) | TO(WAVE_BAKING) |
				    TO(WAVE_JUDGING) | TO(ABORTING) | TO(SUPERSEDED),
			    false},
	[ROLLOUT_ABORTING] = {TO(ROLLING_BACK) | TO(ABORTED), true},
	[ROLLOUT_ROLLING_BACK] = {TO(ROLLED_BACK) | TO(ROLLBACK_INCOMPLETE), true},
	[ROLLOUT_ROLLBACK_INCOMPLETE] = {TO(ROLLING_BACK) | TO(ABORTED) | TO(SUPERSEDED),
					 false},
	[ROLLOUT_SUCCEEDED] = {TO(ROLLING_BACK), false},
	[ROLLOUT_ROLLED_BACK] = {TO(ROLLING_BACK), false},
};

bool rollout_runs(enum rollout_state state)
{
	return state >= ROLLOUT_WAVE_STARTING && state <= ROLLOUT_WAVE_JUDGING;
}

bool rollout_is_over(enum rollout_state state)
{
	return state >= ROLLOUT_SUCCEEDED;
}

static bool is_live(const struct rollout *r)
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

/* ---- effects ------------------------------------------------------------------------- */

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

	assert(states[r->state].next & (1U << next));
	va_start(args, fmt);
	a = audit(r, NULL, code, false, fmt, args);
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

/* ---- pauses, stops ------------------------------------------------------------------------ */

uint32_t rollout_pauses(const struct rollout *r)
{
	return r->pauses |
	       (r->window_closed && !r->overridden ? 1U << ROLLOUT_PAUSE_WINDOW : 0) |
	       (r->line_stopped ? 1U << ROLLOUT_PAUSE_STOP_THE_LINE : 0) |
	       (r->engine_lost ? 1U << ROLLOUT_PAUSE_ENGINE_LOST : 0);
}

bool rollout_paused_for(const struct rollout *r, enum rollout_pause pause)
{
	return r->state == ROLLOUT_PAUSED && (rollout_pauses(r) & (1U << pause));
}

static void pause_for(struct rollout *r, enum rollout_pause pause, const char *code,
		      const char *text)
{
	if (r->pauses & (1U << pause))
		return;
	r->pauses |= 1U << pause;
	rollout_note(r, NULL, code,
		     pause != ROLLOUT_PAUSE_MANUAL && pause != ROLLOUT_PAUSE_GATE, "%s", text);
}

static void stop(struct rollout *r, uint64_t on_failure, const char *code, const char *text)
{
	switch ((enum spec_on_failure)on_failure) {
	case SPEC_PAUSE:
		pause_for(r, ROLLOUT_PAUSE_BUDGET, code, text);
		break;
	case SPEC_ROLLBACK_WAVE:
		rollout_back_begin(r, ROLLOUT_WAVE, code, text);
		break;
	case SPEC_ROLLBACK_ALL:
		rollout_back_begin(r, ROLLOUT_ALL, code, text);
		break;
	}
}

/* More than the budget of the canaries, of the wave, or too many in a row. */
static bool over_budget(const struct rollout *r)
{
	uint64_t limit = spec_at_most(r->spec.wave[r->wave].threshold, r->members);
	uint64_t canaries = spec_at_most(r->spec.wave[0].threshold, r->n_strata);

	return r->failed > r->forgiven + limit ||
	       r->failed_canaries > r->forgiven_canaries + canaries ||
	       (r->spec.consecutive && r->row >= r->spec.consecutive);
}

/* What failed until now is accepted. */
static void forgive(struct rollout *r)
{
	r->forgiven = r->failed;
	r->forgiven_canaries = r->failed_canaries;
	r->row = 0;
}

/* ---- a host's state -------------------------------------------------------------------------- */

static void refuse_stratum(struct rollout *r, struct rollout_host *h, const char *text)
{
	struct stratum *s = h->stratum;

	if (r->spec.on_load_failure == SPEC_STOP_STRATUM) {
		rollout_stratum_enter(r, s, STRATUM_STOPPED, "");
		rollout_note(r, h, "STRATUM_STOPPED", true, "%s: %s", s->key, text);
	} else {
		pause_for(r, ROLLOUT_PAUSE_BUDGET, "LOAD_FAILURES", text);
	}
}

static void on_failed(struct rollout *r, struct rollout_host *h, enum host_state before)
{
	bool harmless = !host_is(h->state, HOST_BEGUN), canary = rollout_is_canary(h);
	struct stratum *s = h->stratum;
	char text[ROLLOUT_TEXT_BYTES];

	snprintf(text, sizeof(text), "%.16s: %s%s%s, of %.100s", h->id,
		 host_state_name(h->state), h->code[0] ? " " : "", h->code, s->key);
	rollout_note(r, h, h->code[0] ? h->code : host_state_name(h->state), !harmless, "%s",
		     text);
	if (canary && s->state < STRATUM_PROVEN)
		rollout_stratum_enter(r, s, STRATUM_NEW, "");
	if (!is_live(r))
		return;
	if (harmless) {
		s->refused++;
		if (s->state < STRATUM_STOPPED &&
		    (canary || (r->spec.consecutive && s->refused >= r->spec.consecutive)))
			refuse_stratum(r, h, text);
		return;
	}
	if (!host_is(before, HOST_FAILED))
		r->row++;
	if (strcmp(h->code, "OOPS") == 0)
		stop(r, r->spec.on_oops, "OOPS", text);
	else if (over_budget(r))
		stop(r, r->spec.on_failure, "BUDGET", text);
}

static void on_committed(struct rollout *r, struct rollout_host *h)
{
	struct stratum *s = h->stratum;

	r->row = 0;
	s->refused = 0;
	if (rollout_is_canary(h) && s->state == STRATUM_CANARY) {
		s->bake_end_ms = r->clock_ms + r->spec.wave[0].bake_ms;
		rollout_stratum_enter(r, s, STRATUM_BAKING, s->canary);
	}
}

void rollout_host_enter(struct rollout *r, struct rollout_host *h, enum host_state next,
			const char *code)
{
	enum host_state before = h->state;

	if (next == before)
		return;
	assert(host_may(before, next));
	rollout_lift(r, h);
	h->state = next;
	snprintf(h->code, sizeof(h->code), "%s", code);
	plain_make(h->code, false);
	if (!host_is(next, HOST_IDLE))
		h->why = HOST_WHY_NONE;
	if (host_is(next, HOST_FAILED) && !host_is(before, HOST_FAILED))
		h->failed_in = r->wave;
	/* It began while others were on their way back. */
	if (r->scope != ROLLOUT_NOTHING && host_is(before, HOST_FLIES | HOST_IDLE) &&
	    rollout_has_it(r, h))
		h->back = true;
	rollout_lay(r, h);
	rollout_touch(r, h);
	r->progress_ms = r->clock_ms;

	if (host_is(next, HOST_FAILED))
		on_failed(r, h, before);
	else if (next == HOST_COMMITTED)
		on_committed(r, h);
	else if (rollout_is_canary(h) && h->stratum->state < STRATUM_PROVEN &&
		 next != HOST_PENDING && !host_is(next, HOST_FLIES))
		rollout_stratum_enter(r, h->stratum, STRATUM_NEW, "");
}

void rollout_recall(struct rollout *r, struct rollout_host *h)
{
	if (!host_is(h->state, HOST_FLIES) || host_is(h->state, HOST_BEGUN) ||
	    h->state == HOST_RECALLED)
		return;
	rollout_send(r, h, ROLLOUT_WITHDRAW, 0, 0);
	rollout_host_enter(r, h, HOST_RECALLED, "");
}

static void recall_all(struct rollout *r)
{
	for (size_t i = 0; i < r->n_hosts; i++)
		rollout_recall(r, r->host[i]);
}

static bool in_last_wave(const struct rollout *r)
{
	enum rollout_state state = r->state == ROLLOUT_PAUSED ? r->resume : r->state;

	return state > ROLLOUT_WAVE_STARTING && rollout_runs(state) &&
	       r->wave + 1U == r->spec.n_waves;
}

/* What the facts say of a host that nothing is under way on. */
static void settle(struct rollout *r, struct rollout_host *h)
{
	enum host_why why;
	enum host_state next;

	if (!host_is(h->state, HOST_IDLE))
		return;
	next = rollout_idle(r, h, &why);
	if (why != h->why) {
		h->why = why;
		rollout_touch(r, h);
	}
	if (next != HOST_EXCLUDED && h->wave == ROLLOUT_NO_WAVE && in_last_wave(r)) {
		rollout_lift(r, h);
		h->wave = r->wave;
		rollout_lay(r, h);
		rollout_touch(r, h);
	}
	rollout_host_enter(r, h, next, "");
}

static void make_idle(struct rollout *r, struct rollout_host *h)
{
	enum host_state next = rollout_idle(r, h, &h->why);

	rollout_host_enter(r, h, next, "");
}

/* ---- facts and reports ----------------------------------------------------------------------- */

/* Its failures say something about the wave that is watched just now. */
static bool is_watched(const struct rollout *r, const struct rollout_host *h)
{
	return is_live(r) && (h->wave == r->wave ||
			      (rollout_is_canary(h) && h->stratum->state == STRATUM_BAKING));
}

static void set_offline(struct rollout *r, struct rollout_host *h, bool offline)
{
	if (h->offline == offline)
		return;
	rollout_lift(r, h);
	h->offline = offline;
	rollout_lay(r, h);
	rollout_touch(r, h);
	if (!offline || host_is(h->state, HOST_IDLE)) {
		settle(r, h);
		return;
	}
	if (host_is(h->state, HOST_FLIES) && !host_is(h->state, HOST_BEGUN)) {
		if (h->state != HOST_RECALLED)
			rollout_send(r, h, ROLLOUT_WITHDRAW, 0, 0);
		make_idle(r, h);
	} else if (host_is(h->state, HOST_FLIES) || h->state == HOST_ROLLING_BACK ||
		   (h->state == HOST_COMMITTED && is_watched(r, h))) {
		rollout_host_enter(r, h, HOST_LOST, "LOST");
	}
}

static bool id_is_good(const char *id)
{
	return id && id[0] && strlen(id) < ROLLOUT_ID_BYTES && plain_is(id, false);
}

static uint32_t selected(const struct spec *s, const json_t *labels)
{
	uint32_t waves = spec_selects(s->target, labels);

	for (size_t i = 1; i < s->n_waves; i++)
		waves |= (uint32_t)spec_selects(s->wave[i].selector, labels) << i;
	return waves;
}

static int on_host(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;
	const struct rollout_facts *f = ev->facts;
	char stratum[ROLLOUT_KEY_BYTES], domain[ROLLOUT_KEY_BYTES];
	bool offline = f->missed >= r->spec.lost_after, new = !h, moved;
	uint32_t waves = selected(&r->spec, f->labels);

	if (!id_is_good(ev->host))
		return fail_set(reterr_fail, FAIL_USAGE, "a host's id has 1 to %d plain bytes",
				ROLLOUT_ID_BYTES - 1);
	rollout_group_key(&r->spec.stratify_by, f->labels, stratum);
	rollout_group_key(&r->spec.spread_by, f->labels, domain);
	if (!new &&strcmp(h->stratum->key, stratum) == 0 &&
	    strcmp(h->domain->key, domain) == 0 && h->waves == waves &&
	    h->committed == f->committed && h->max_serial == f->max_serial &&
	    h->held == f->held && h->incompatible == f->incompatible &&
	    h->quarantined == f->quarantined && h->rebooting == f->rebooting && !h->left) {
		set_offline(r, h, offline);
		return 0;
	}
	if (new &&rollout_add_host(r, ev->host, &h) < 0)
		return -ENOMEM;
	moved = !new &&strcmp(h->stratum->key, stratum) != 0;
	if (moved && rollout_is_canary(h) && h->stratum->state < STRATUM_PROVEN)
		rollout_stratum_enter(r, h->stratum, STRATUM_NEW, "");
	if (!new)
		rollout_lift(r, h);
	if (rollout_set_groups(r, h, stratum, domain) < 0)
		return -ENOMEM;
	h->late = new ? r->state > ROLLOUT_SCHEDULED : h->late;
	h->offline = new ? offline : h->offline;
	h->waves = waves;
	h->committed = f->committed;
	h->max_serial = f->max_serial;
	h->held = f->held;
	h->incompatible = f->incompatible;
	h->quarantined = f->quarantined;
	h->rebooting = f->rebooting;
	h->left = false;
	rollout_lay(r, h);
	rollout_touch(r, h);
	set_offline(r, h, offline);
	settle(r, h);
	/* Held, or another kernel, whose canary comes first. */
	if (moved || h->held)
		rollout_recall(r, h);
	return 0;
}

static int on_host_left(struct rollout *r, const struct rollout_event *ev,
			struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;

	(void)reterr_fail;
	if (!h || h->left)
		return 0;
	rollout_lift(r, h);
	h->left = true;
	h->back = false;
	rollout_lay(r, h);
	rollout_touch(r, h);
	h->why = HOST_WHY_LEFT;
	rollout_host_enter(r, h, HOST_EXCLUDED, "");
	h->why = HOST_WHY_LEFT;
	return 0;
}

static int on_heartbeat(struct rollout *r, const struct rollout_event *ev,
			struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;

	(void)reterr_fail;
	if (h)
		set_offline(r, h, ev->missed >= r->spec.lost_after);
	return 0;
}

static void take_metrics(struct rollout *r, struct rollout_host *h,
			 const struct rollout_report *rep)
{
	for (size_t i = 0; i < r->spec.n_metrics; i++)
		for (size_t k = 0; k < rep->n_metrics; k++) {
			const struct rollout_metric *m = &rep->metrics[k];
			struct judge_sample *s = &h->sample[i];

			if (strcmp(m->name, r->spec.metric[i].name) != 0 ||
			    (s->known && memcmp(&s->value, &m->value, sizeof(m->value)) == 0 &&
			     memcmp(&s->base, &m->base, sizeof(m->base)) == 0))
				continue;
			*s = (struct judge_sample){true, m->value, m->base};
			rollout_touch(r, h);
		}
}

/* What a report makes of a host that shall go back. */
static enum host_state reported_back(const struct rollout *r, const struct rollout_host *h,
				     const struct rollout_report *rep)
{
	if (rep->word != h->word)
		return h->state;
	if (rep->state == HOST_QUARANTINED && rep->committed != r->serial)
		return rep->state;
	if (rep->state == HOST_ROLLBACK_FAILED || rep->state == HOST_QUARANTINED)
		return HOST_ROLLBACK_FAILED;
	if (rep->committed == r->serial) /* the end of its trial came too late: it goes on */
		return h->action == ROLLOUT_END_TRIAL ? HOST_COMMITTED : h->state;
	return host_is(rep->state, HOST_FLIES) ? h->state : HOST_ROLLED_BACK;
}

/* What a report makes of a host. Of reports about an older word only counts that it had begun. */
static enum host_state reported(const struct rollout *r, const struct rollout_host *h,
				const struct rollout_report *rep)
{
	bool current = h->offer && rep->word >= h->offer;
	bool says = host_is(rep->state, HOST_BEGUN | HOST_FAILED);
	bool has = rep->committed == r->serial, begun = host_is(h->state, HOST_BEGUN);
	bool flies = host_is(h->state, HOST_FLIES);
	enum host_why why;

	if (rep->state == HOST_COMMITTED && !has)
		return h->state;
	if (h->state == HOST_ROLLING_BACK || h->state == HOST_ROLLBACK_FAILED ||
	    (h->state == HOST_LOST && h->back))
		return reported_back(r, h, rep);
	if (host_is(h->state, HOST_IDLE))
		return current && says ? rep->state : h->state;
	if (h->state == HOST_RECALLED && !(current && says))
		return rep->word == h->word ? rollout_idle(r, h, &why) : h->state;
	if (begun && (flies || h->state == HOST_LOST) && !host_is(rep->state, HOST_FAILED) &&
	    !has && strcmp(h->boot_id, rep->boot_id) != 0)
		return HOST_CRASHED;
	if (!current)
		return h->state;
	if (!host_is(rep->state, HOST_IDLE))
		return rep->state;
	if (!begun || !flies)
		return h->state;
	return has ? HOST_COMMITTED : HOST_DRIFTED; /* it ended, and that report was lost */
}

static int on_report(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;
	const struct rollout_report *rep = ev->report;
	bool changed = r->changed;
	enum host_state next;

	(void)reterr_fail;
	if (!h || h->left || rep->seq <= h->seq)
		return 0;
	r->changed = false;
	set_offline(r, h, false);
	next = reported(r, h, rep);
	if (h->committed != rep->committed) {
		rollout_lift(r, h);
		h->committed = rep->committed;
		rollout_lay(r, h);
		rollout_touch(r, h);
	}
	take_metrics(r, h, rep);
	if (!h->boot_id[0] && (host_is(next, HOST_FLIES) || next == HOST_COMMITTED) &&
	    host_is(next, HOST_BEGUN)) {
		snprintf(h->boot_id, sizeof(h->boot_id), "%s", rep->boot_id);
		rollout_touch(r, h);
	}
	if (next == HOST_REJECTED && rep->transient && h->tries < r->spec.retries &&
	    host_is(h->state, HOST_FLIES)) {
		uint64_t wait_ms = r->spec.backoff_ms << (h->tries < 20 ? h->tries : 20);

		rollout_send(r, h, ROLLOUT_WITHDRAW, 0, 0);
		rollout_lift(r, h);
		h->tries++;
		h->due_ms =
			r->clock_ms +
			(wait_ms < r->spec.backoff_max_ms ? wait_ms : r->spec.backoff_max_ms);
		rollout_lay(r, h);
		make_idle(r, h);
	} else if (host_is(next, HOST_IDLE) && !host_is(h->state, HOST_IDLE)) {
		make_idle(r, h);
	} else if (next != h->state && host_may(h->state, next)) {
		rollout_host_enter(r, h, next, rep->code ? rep->code : "");
	}
	settle(r, h);
	if (r->changed)
		h->seq = rep->seq;
	r->changed |= changed;
	return 0;
}

/* ---- judgement -------------------------------------------------------------------------------- */

/* Of one stratum: its canary, or what this wave brought it, against those that wait. */
static enum judge_verdict judge_stratum(struct rollout *r, const struct stratum *s, bool canary)
{
	struct judge_sum treated[SPEC_METRICS_MAX] = {0}, control[SPEC_METRICS_MAX] = {0};
	enum judge_verdict worst = JUDGE_PASS;
	size_t n_treated = 0, n_control = 0;

	for (size_t i = 0; i < r->n_hosts; i++) {
		const struct rollout_host *h = r->host[i];
		bool has = canary ? rollout_is_canary(h)
				  : h->state == HOST_COMMITTED && h->wave == r->wave;
		bool waits = h->state == HOST_PENDING;

		if (h->stratum != s || (!has && !waits))
			continue;
		*(has ? &n_treated : &n_control) += 1;
		for (size_t k = 0; k < r->spec.n_metrics; k++)
			judge_add(has ? &treated[k] : &control[k], &h->sample[k]);
	}
	if (!canary && (!n_treated || !n_control))
		return JUDGE_PASS; /* nobody waits any more: the budgets have judged */
	for (size_t k = 0; k < r->spec.n_metrics; k++) {
		struct judge_finding f =
			judge_metric(&r->spec.metric[k], &treated[k], &control[k]);

		if (f.verdict >= worst) {
			r->finding = f;
			snprintf(r->finding_of, sizeof(r->finding_of), "%s", s->key);
			r->changed = true;
		}
		if (f.verdict > worst)
			worst = f.verdict;
	}
	return worst;
}

/* true: it may go on. */
static bool accept(struct rollout *r, enum judge_verdict verdict)
{
	const struct judge_finding *f = &r->finding;
	char text[ROLLOUT_TEXT_BYTES];

	switch (verdict) {
	case JUDGE_PASS:
		return true;
	case JUDGE_INCONCLUSIVE:
		if (r->spec.on_no_data == SPEC_NO_DATA_PASS)
			return true;
		snprintf(text, sizeof(text), "%s of %.60s: %s", f->metric, r->finding_of,
			 f->note);
		pause_for(r, ROLLOUT_PAUSE_INCONCLUSIVE, "INCONCLUSIVE", text);
		return false;
	case JUDGE_FAIL:
		break;
	}
	snprintf(text, sizeof(text), "%s of %.60s is %.6g, its limit is %.6g", f->metric,
		 r->finding_of, f->value, f->limit);
	stop(r, r->spec.on_failure, "VERDICT", text);
	return false;
}

static void prove(struct rollout *r, struct stratum *s)
{
	rollout_note(r, NULL, "CANARY_PASSED", false, "%.16s of %s", s->canary, s->key);
	rollout_stratum_enter(r, s, STRATUM_PROVEN, s->canary);
}

/* The stratum whose bake is over first, or NULL. */
static struct stratum *next_baked(const struct rollout *r)
{
	const struct heap_node *first = heap_first(&r->bakes);
	struct stratum *s = first ? heap_owner(first, struct stratum, bake) : NULL;

	return s && s->bake_end_ms <= r->clock_ms ? s : NULL;
}

/* ---- a wave --------------------------------------------------------------------------------------- */

void rollout_pick_canaries(struct rollout *r)
{
	const struct heap_node *node;

	while ((node = heap_first(&r->fresh))) {
		struct stratum *s = heap_owner(node, struct stratum, fresh);
		struct rollout_host *h =
			heap_owner(heap_first(&s->candidates), struct rollout_host, queue);

		rollout_stratum_enter(r, s, STRATUM_CANARY, h->id);
		rollout_lift(r, h);
		h->canary = true;
		if (h->wave == ROLLOUT_NO_WAVE)
			h->wave = r->wave;
		rollout_lay(r, h);
		rollout_touch(r, h);
		rollout_note(r, h, "CANARY", false, "of %s", s->key);
	}
}

static void offer(struct rollout *r)
{
	const struct heap_node *node;

	while (r->in_flight < rollout_max_in_flight(r) && (node = heap_first(&r->ready))) {
		const struct domain *d = heap_owner(node, struct domain, place);
		struct rollout_host *h =
			heap_owner(heap_first(&d->ready), struct rollout_host, queue);

		h->from = h->committed;
		h->boot_id[0] = 0;
		memset(h->sample, 0, sizeof(h->sample));
		rollout_send(r, h, ROLLOUT_APPLY, h->from, r->serial);
		h->offer = h->word;
		rollout_host_enter(r, h, HOST_OFFERED, "");
	}
}

static void finish(struct rollout *r)
{
	size_t stopped = 0;

	for (size_t i = 0; i < r->n_strata; i++)
		stopped += r->stratum[i]->state == STRATUM_STOPPED && r->stratum[i]->hosts;
	if (!r->count[HOST_COMMITTED])
		rollout_enter(r, ROLLOUT_FAILED, "NOTHING_COMMITTED", "no host has it");
	else
		rollout_enter(r, ROLLOUT_SUCCEEDED, stopped ? "STRATA_STOPPED" : "DONE",
			      "%zu committed, %zu deferred, %zu strata stopped",
			      r->count[HOST_COMMITTED], r->count[HOST_DEFERRED], stopped);
}

static bool is_idle(const struct rollout *r)
{
	return !r->due && !r->in_flight && !r->bakes.n;
}

/* Small fleets are through before all waves are: those that nobody is left for are passed over. */
static void start_wave(struct rollout *r)
{
	while (r->wave && !rollout_fill(r) && is_idle(r)) {
		if (r->wave + 1U == r->spec.n_waves) {
			finish(r);
			return;
		}
		rollout_new_wave(r, r->wave + 1);
	}
	rollout_enter(r, ROLLOUT_WAVE_ATTACHING, "WAVE", "%s: %zu hosts",
		      r->spec.wave[r->wave].name, r->members);
}

/* Of the canaries at least one must have come that far, unless nobody is left to wait for. */
static bool all_attached(const struct rollout *r)
{
	bool any = r->wave || !r->count[HOST_DEFERRED];

	for (size_t i = 0; i < r->n_strata && !any; i++)
		any = r->stratum[i]->state != STRATUM_NEW;
	return any && !r->due && !r->in_flight;
}

static bool is_overdue(const struct rollout *r)
{
	return r->clock_ms - r->progress_ms >= r->spec.progress_deadline_ms;
}

static void attach_wave(struct rollout *r)
{
	if (all_attached(r)) {
		r->bake_end_ms = r->clock_ms + (r->wave ? r->spec.wave[r->wave].bake_ms : 0);
		rollout_enter(r, ROLLOUT_WAVE_BAKING, "ATTACHED", "%s: all that could",
			      r->spec.wave[r->wave].name);
	} else if (is_overdue(r) && !r->bakes.n) {
		pause_for(r, ROLLOUT_PAUSE_PROGRESS, "PROGRESS",
			  "no host has gone on within the deadline");
	}
}

/* The canaries' own bakes are that of wave 0. */
static void bake_wave(struct rollout *r)
{
	if (r->bake_end_ms <= r->clock_ms && is_idle(r))
		rollout_enter(r, ROLLOUT_WAVE_JUDGING, "BAKED", "%s",
			      r->spec.wave[r->wave].name);
}

static void judge_wave(struct rollout *r)
{
	const struct spec_wave *w = &r->spec.wave[r->wave];
	bool last = r->wave + 1U == r->spec.n_waves;

	for (size_t i = 0; r->wave && !r->verdict && r->spec.n_metrics && i < r->n_strata; i++)
		if (!accept(r, judge_stratum(r, r->stratum[i], false)))
			return;
	if (r->verdict < VERDICT_GATE) {
		r->verdict = VERDICT_GATE;
		r->changed = true;
		if (!last &&
		    (!r->spec.auto_promote || spec_has_word(&r->spec.pause_after, w->name))) {
			pause_for(r, ROLLOUT_PAUSE_GATE, "GATE", w->name);
			return;
		}
	}
	if (!is_idle(r))
		return; /* some came while it was paused */
	if (last) {
		finish(r);
		return;
	}
	rollout_enter(r, ROLLOUT_WAVE_STARTING, "NEXT_WAVE", "%s is done", w->name);
	rollout_new_wave(r, r->wave + 1);
}

static void go_wave(struct rollout *r)
{
	static void (*const waves[])(struct rollout * r) = {
		[ROLLOUT_WAVE_STARTING] = start_wave,
		[ROLLOUT_WAVE_ATTACHING] = attach_wave,
		[ROLLOUT_WAVE_BAKING] = bake_wave,
		[ROLLOUT_WAVE_JUDGING] = judge_wave,
	};
	const struct heap_node *node;
	struct stratum *s;

	while ((node = heap_first(&r->timers)) && node->major <= r->clock_ms) {
		struct rollout_host *h = heap_owner(node, struct rollout_host, timer);

		rollout_lift(r, h);
		h->due_ms = 0;
		rollout_lay(r, h);
		rollout_touch(r, h);
		settle(r, h);
	}
	if (r->superseded_by[0]) {
		if (!r->in_flight)
			rollout_enter(r, ROLLOUT_SUPERSEDED, "SUPERSEDED", "by %s",
				      r->superseded_by);
		return;
	}
	while ((s = next_baked(r))) {
		if (!accept(r, judge_stratum(r, s, true)))
			return;
		prove(r, s);
	}
	rollout_pick_canaries(r);
	offer(r);
	waves[r->state](r);
}

/* ---- what follows by itself --------------------------------------------------------------------- */

static void go_approval(struct rollout *r)
{
	if (r->n_approvals >= r->spec.approvals)
		rollout_enter(r, ROLLOUT_SCHEDULED, "APPROVED", "by %zu users", r->n_approvals);
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
		rollout_enter(r, ROLLOUT_WAVE_STARTING, "STARTED", "%zu hosts are eligible",
			      r->eligible);
		rollout_new_wave(r, 0);
	}
}

static void go_running(struct rollout *r)
{
	if (!rollout_pauses(r)) {
		go_wave(r);
		return;
	}
	rollout_enter(r, ROLLOUT_PAUSED, "PAUSED", "in %s", r->spec.wave[r->wave].name);
	recall_all(r);
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

/* ---- users --------------------------------------------------------------------------------------- */

static int refuse(const struct rollout *r, const char *what, struct fail *reterr_fail)
{
	return fail_set(reterr_fail, FAIL_CONFLICT, "rollout %s is %s%s: it cannot be %s",
			r->id, rollout_state_name(r->state),
			r->superseded_by[0] ? ", superseded" : "", what);
}

static int on_submit(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	(void)ev;
	if (r->state != ROLLOUT_DRAFT)
		return refuse(r, "submitted", reterr_fail);
	rollout_enter(r, ROLLOUT_PENDING_APPROVAL, "SUBMITTED", "%" PRIu64 " approvals needed",
		      r->spec.approvals);
	return 0;
}

static int on_approve(struct rollout *r, const struct rollout_event *ev,
		      struct fail *reterr_fail)
{
	if (r->state != ROLLOUT_PENDING_APPROVAL)
		return refuse(r, "approved", reterr_fail);
	if (!id_is_good(ev->actor) || strcmp(ev->actor, r->author) == 0)
		return fail_set(reterr_fail, FAIL_PERMISSION,
				"who wrote a rollout cannot approve it");
	for (size_t i = 0; i < r->n_approvals; i++)
		if (strcmp(r->approval[i], ev->actor) == 0)
			return 0;
	snprintf(r->approval[r->n_approvals++], ROLLOUT_ID_BYTES, "%s", ev->actor);
	rollout_note(r, NULL, "APPROVAL", false, "%s", ev->reason);
	return 0;
}

static int on_override(struct rollout *r, const struct rollout_event *ev,
		       struct fail *reterr_fail)
{
	if (rollout_is_over(r->state) || r->overridden)
		return refuse(r, "taken out of its windows", reterr_fail);
	if (r->spec.severity != SPEC_CRITICAL || !ev->reason[0])
		return fail_set(
			reterr_fail, FAIL_USAGE,
			"only a critical rollout ignores windows, and only for a reason");
	if (!id_is_good(ev->actor) || strcmp(ev->actor, r->author) == 0)
		return fail_set(reterr_fail, FAIL_PERMISSION,
				"another user than its author must say so");
	r->overridden = true;
	rollout_note(r, NULL, "OVERRIDE", true, "%s", ev->reason);
	return 0;
}

static int on_pause(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	if (!is_live(r) && r->state != ROLLOUT_SCHEDULED)
		return refuse(r, "paused", reterr_fail);
	pause_for(r, ROLLOUT_PAUSE_MANUAL, "PAUSE", ev->reason);
	return 0;
}

static int on_resume(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	if ((!is_live(r) && r->state != ROLLOUT_SCHEDULED) || !r->pauses)
		return refuse(r, "resumed", reterr_fail);
	r->pauses = 0;
	forgive(r);
	rollout_note(r, NULL, "RESUME", false, "%s", ev->reason);
	return 0;
}

static int on_promote(struct rollout *r, const struct rollout_event *ev,
		      struct fail *reterr_fail)
{
	const uint32_t verdicts = 1U << ROLLOUT_PAUSE_GATE | 1U << ROLLOUT_PAUSE_INCONCLUSIVE |
				  1U << ROLLOUT_PAUSE_BUDGET;
	bool accepts = r->state == ROLLOUT_PAUSED && (r->pauses & verdicts);
	struct stratum *s;

	if (!accepts &&
	    (!rollout_runs(r->state) || (r->state != ROLLOUT_WAVE_BAKING && !r->bakes.n)))
		return refuse(r, "promoted", reterr_fail);
	rollout_note(r, NULL, "PROMOTE", false, "%s", ev->reason);
	if (accepts) {
		r->pauses &= ~verdicts;
		forgive(r);
		while ((s = next_baked(r)))
			prove(r, s);
		if (r->resume == ROLLOUT_WAVE_JUDGING && !r->verdict)
			r->verdict = VERDICT_ACCEPTED;
		return 0;
	}
	r->bake_end_ms = r->clock_ms;
	for (size_t i = 0; i < r->n_strata; i++)
		if (r->stratum[i]->state == STRATUM_BAKING) {
			r->stratum[i]->bake_end_ms = r->clock_ms;
			rollout_stratum_enter(r, r->stratum[i], STRATUM_BAKING,
					      r->stratum[i]->canary);
		}
	return 0;
}

static int on_abort(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	if (rollout_is_over(r->state) || r->state == ROLLOUT_ROLLING_BACK)
		return refuse(r, "aborted", reterr_fail);
	if (is_live(r) || r->state == ROLLOUT_ABORTING)
		rollout_back_begin(r, ev->scope, "ABORT", ev->reason);
	else
		rollout_enter(r, ROLLOUT_ABORTED, "ABORT", "%s", ev->reason);
	return 0;
}

/* Failed, and nothing is under way there any more. */
static bool may_retry(const struct rollout_host *h)
{
	return (host_is(h->state, HOST_FAILED) && h->state != HOST_LOST) ||
	       h->state == HOST_ROLLED_BACK || h->state == HOST_QUARANTINED ||
	       h->why == HOST_WHY_QUARANTINE;
}

static void retry(struct rollout *r, struct rollout_host *h)
{
	if (h->state == HOST_ROLLBACK_FAILED) {
		rollout_host_enter(r, h, HOST_COMMITTED, ""); /* and in line again */
		return;
	}
	rollout_lift(r, h);
	h->retry = true;
	h->tries = h->due_ms = 0;
	rollout_lay(r, h);
	rollout_touch(r, h);
	if (h->stratum->state == STRATUM_STOPPED) {
		h->stratum->refused = 0;
		rollout_stratum_enter(r, h->stratum, STRATUM_NEW, "");
	}
	make_idle(r, h);
}

static int on_retry(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	bool back = r->state == ROLLOUT_ROLLBACK_INCOMPLETE;
	size_t n = 0;

	if ((!is_live(r) && !back) || r->superseded_by[0])
		return refuse(r, "tried again", reterr_fail);
	for (size_t i = 0; i < r->n_hosts; i++) {
		struct rollout_host *h = r->host[i];

		if ((ev->host && strcmp(ev->host, h->id) != 0) ||
		    !(back ? h->state == HOST_ROLLBACK_FAILED : may_retry(h)))
			continue;
		retry(r, h);
		n++;
	}
	if (!n)
		return fail_set(reterr_fail, FAIL_NOT_FOUND, "no such host has failed");
	rollout_note(r, NULL, "RETRY", false, "%zu hosts: %s", n, ev->reason);
	return 0;
}

static int on_undo(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	if (r->state != ROLLOUT_SUCCEEDED)
		return refuse(r, "undone", reterr_fail);
	if (ev->newer >= r->spec.rollback_window)
		return fail_set(reterr_fail, FAIL_CONFLICT,
				"rollout %s is %" PRIu64
				" rollouts back, its window is %" PRIu64,
				r->id, ev->newer, r->spec.rollback_window);
	rollout_back_begin(r, ROLLOUT_ALL, "UNDO", ev->reason);
	return 0;
}

static int on_supersede(struct rollout *r, const struct rollout_event *ev,
			struct fail *reterr_fail)
{
	if (r->spec.on_newer == SPEC_REFUSE || r->superseded_by[0] || !id_is_good(ev->by) ||
	    (!is_live(r) && !(states[r->state].next & TO(SUPERSEDED))))
		return refuse(r, "superseded", reterr_fail);
	snprintf(r->superseded_by, sizeof(r->superseded_by), "%s", ev->by);
	if (is_live(r)) {
		rollout_note(r, NULL, "SUPERSEDE", false, "by %s: %s", ev->by, ev->reason);
		recall_all(r);
	} else {
		rollout_enter(r, ROLLOUT_SUPERSEDED, "SUPERSEDED", "by %s", ev->by);
	}
	return 0;
}

/* ---- the controller ---------------------------------------------------------------------------------- */

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

static int on_window(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	(void)reterr_fail;
	set_fact(r, &r->window_closed, !ev->on, "WINDOW_CLOSED");
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
	return 0;
}

static int on_engine_lost(struct rollout *r, const struct rollout_event *ev,
			  struct fail *reterr_fail)
{
	(void)reterr_fail;
	set_fact(r, &r->engine_lost, ev->on, "ENGINE_LOST");
	return 0;
}

static int on_floor(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	(void)reterr_fail;
	if (ev->serial <= r->floor)
		return 0;
	r->floor = ev->serial;
	r->changed = true;
	if (is_live(r) && r->serial < r->floor)
		rollout_back_begin(r, ROLLOUT_NOTHING, "FLOOR",
				   "its serial is below the floor");
	return 0;
}

static int on_tick(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	(void)r, (void)ev, (void)reterr_fail;
	return 0;
}

/* ---- a step -------------------------------------------------------------------------------------------- */

static int (*const handlers[ROLLOUT_EVENTS_])(struct rollout *r, const struct rollout_event *ev,
					      struct fail *reterr_fail) = {
	[ROLLOUT_SUBMIT] = on_submit,
	[ROLLOUT_APPROVE] = on_approve,
	[ROLLOUT_OVERRIDE] = on_override,
	[ROLLOUT_PAUSE] = on_pause,
	[ROLLOUT_RESUME] = on_resume,
	[ROLLOUT_PROMOTE] = on_promote,
	[ROLLOUT_ABORT] = on_abort,
	[ROLLOUT_RETRY] = on_retry,
	[ROLLOUT_UNDO] = on_undo,
	[ROLLOUT_SUPERSEDE] = on_supersede,
	[ROLLOUT_HOST] = on_host,
	[ROLLOUT_HOST_LEFT] = on_host_left,
	[ROLLOUT_HEARTBEAT] = on_heartbeat,
	[ROLLOUT_REPORT] = on_report,
	[ROLLOUT_WINDOW] = on_window,
	[ROLLOUT_STOP_THE_LINE] = on_stop_the_line,
	[ROLLOUT_ENGINE_LOST] = on_engine_lost,
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
	r->actor = ev->actor ? ev->actor : "engine";
	r->now_ms = now_ms;
	r->changed = r->no_memory = false;
	pass_time(r);
	res = handlers[ev->type](r, &event, reterr_fail);
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
