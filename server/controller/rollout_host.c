// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "lib/plain.h"

static void refuse_stratum(struct rollout *r, struct rollout_host *h, const char *text)
{
	struct stratum *s = h->stratum;

	if (r->spec.on_load_failure == SPEC_STOP_STRATUM) {
		rollout_stratum_enter(r, s, STRATUM_STOPPED, "");
		rollout_note(r, h, "STRATUM_STOPPED", true, "%s: %s", s->key, text);
	} else {
		rollout_pause_for(r, ROLLOUT_PAUSE_BUDGET, "LOAD_FAILURES", text);
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
	if (!rollout_is_live(r))
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
		rollout_stop(r, r->spec.on_oops, "OOPS", text);
	else if (rollout_over_budget(r))
		rollout_stop(r, r->spec.on_failure, "BUDGET", text);
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
	h->waits[0] = 0;
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
	rollout_trim_forgiven(r);
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

void rollout_recall_all(struct rollout *r)
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
void rollout_settle(struct rollout *r, struct rollout_host *h)
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

void rollout_make_idle(struct rollout *r, struct rollout_host *h)
{
	enum host_state next = rollout_idle(r, h, &h->why);

	rollout_host_enter(r, h, next, "");
}

/* ---- facts and reports ------------------------------------------------------------- */

/* Its failures say something about the wave that is watched just now. */
static bool is_watched(const struct rollout *r, const struct rollout_host *h)
{
	return rollout_is_live(r) &&
	       (h->wave == r->wave ||
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
		rollout_settle(r, h);
		return;
	}
	if (host_is(h->state, HOST_FLIES) && !host_is(h->state, HOST_BEGUN)) {
		if (h->state != HOST_RECALLED)
			rollout_send(r, h, ROLLOUT_WITHDRAW, 0, 0);
		rollout_make_idle(r, h);
	} else if (host_is(h->state, HOST_FLIES) || h->state == HOST_ROLLING_BACK ||
		   (h->state == HOST_COMMITTED && is_watched(r, h))) {
		rollout_host_enter(r, h, HOST_LOST, "LOST");
	}
}

bool rollout_id_is_good(const char *id)
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

int rollout_on_host(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;
	const struct rollout_facts *f = ev->facts;
	char stratum[ROLLOUT_KEY_BYTES], domain[ROLLOUT_KEY_BYTES];
	bool offline = f->missed >= r->spec.lost_after, joins = !h, moved;
	bool incompatible = f->incompatible || f->unfit;
	char held_by[ROLLOUT_CODE_BYTES], unfit[ROLLOUT_CODE_BYTES];
	uint32_t waves = selected(&r->spec, f->labels);

	if (f->committed > INT64_MAX || f->max_serial > INT64_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "serials are below 2^63");
	if (!rollout_id_is_good(ev->host))
		return fail_set(reterr_fail, FAIL_USAGE, "a host's id has 1 to %d plain bytes",
				ROLLOUT_ID_BYTES - 1);
	snprintf(held_by, sizeof(held_by), "%s", f->held_by ? f->held_by : "");
	plain_make(held_by, false);
	snprintf(unfit, sizeof(unfit), "%s", f->unfit ? f->unfit : "");
	plain_make(unfit, false);
	rollout_group_key(&r->spec.stratify_by, f->labels, stratum);
	rollout_group_key(&r->spec.spread_by, f->labels, domain);
	if (!joins && strcmp(h->stratum->key, stratum) == 0 &&
	    strcmp(h->domain->key, domain) == 0 && h->waves == waves &&
	    h->committed == f->committed && h->max_serial == f->max_serial &&
	    h->held == (f->held_by != NULL) && strcmp(h->held_by, held_by) == 0 &&
	    h->incompatible == incompatible && strcmp(h->unfit, unfit) == 0 &&
	    h->quarantined == f->quarantined && h->rebooting == f->rebooting && !h->left) {
		set_offline(r, h, offline);
		return 0;
	}
	if (joins && rollout_add_host(r, ev->host, &h) < 0)
		return -ENOMEM;
	moved = !joins && strcmp(h->stratum->key, stratum) != 0;
	if (moved && rollout_is_canary(h) && h->stratum->state < STRATUM_PROVEN)
		rollout_stratum_enter(r, h->stratum, STRATUM_NEW, "");
	if (!joins)
		rollout_lift(r, h);
	if (rollout_set_groups(r, h, stratum, domain) < 0)
		return -ENOMEM;
	h->late = joins ? r->state > ROLLOUT_SCHEDULED : h->late;
	h->offline = joins ? offline : h->offline;
	h->waves = waves;
	h->committed = f->committed;
	h->max_serial = f->max_serial;
	h->held = f->held_by;
	memcpy(h->held_by, held_by, sizeof(held_by));
	h->incompatible = incompatible;
	memcpy(h->unfit, unfit, sizeof(unfit));
	h->quarantined = f->quarantined;
	h->rebooting = f->rebooting;
	h->left = false;
	rollout_lay(r, h);
	rollout_touch(r, h);
	set_offline(r, h, offline);
	rollout_settle(r, h);
	/* Held, not fit any more, or another kernel, whose canary comes first. */
	if (moved || h->held || h->incompatible)
		rollout_recall(r, h);
	return 0;
}

int rollout_on_host_left(struct rollout *r, const struct rollout_event *ev,
			 struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;

	(void)reterr_fail;
	if (!h || h->left)
		return 0;
	rollout_lift(r, h);
	h->left = true;
	rollout_lay(r, h);
	rollout_touch(r, h);
	rollout_make_idle(r, h);
	return 0;
}

/* What it committed it has said, and has no reason to say it again. */
static bool is_still_there(const struct rollout *r, const struct rollout_host *h)
{
	return h->state == HOST_LOST && h->committed == r->serial && !h->back;
}

bool rollout_misses(const struct rollout *r, const struct rollout_host *h)
{
	return h->offline || is_still_there(r, h);
}

int rollout_on_heartbeat(struct rollout *r, const struct rollout_event *ev,
			 struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;

	(void)reterr_fail;
	if (!h)
		return 0;
	set_offline(r, h, ev->missed >= r->spec.lost_after);
	if (!ev->missed && is_still_there(r, h)) {
		uint64_t row = r->row, refused = h->stratum->refused;

		rollout_host_enter(r, h, HOST_COMMITTED, "");
		r->row = row; /* it succeeded then, not now */
		h->stratum->refused = refused;
	}
	return 0;
}

/* What is no number is one and the same thing, as it is in JSON. */
static struct judge_sample sample_of(const struct rollout_metric *m)
{
	struct judge_sample s = {true, m->value, m->base};

	if (!isfinite(s.value))
		s.value = NAN;
	if (!isfinite(s.base))
		s.base = NAN;
	return s;
}

static void take_metrics(struct rollout *r, struct rollout_host *h,
			 const struct rollout_report *rep)
{
	for (size_t i = 0; i < r->spec.n_metrics; i++)
		for (size_t k = 0; k < rep->n_metrics; k++) {
			struct judge_sample now = sample_of(&rep->metrics[k]),
					    *s = &h->sample[i];

			if (strcmp(rep->metrics[k].name, r->spec.metric[i].name) != 0 ||
			    (s->known &&
			     memcmp(&s->value, &now.value, sizeof(now.value)) == 0 &&
			     memcmp(&s->base, &now.base, sizeof(now.base)) == 0))
				continue;
			*s = now;
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
	/* It came too late to be obeyed, say: once more, with another signature. */
	if (rep->state == HOST_REJECTED && h->action == ROLLOUT_ROLLBACK &&
	    rep->committed == r->serial)
		return rep->transient && h->tries < r->spec.retries ? HOST_COMMITTED
								    : HOST_ROLLBACK_FAILED;
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
	/* Heard of before it said what it has: less than was thought. */
	if (h->state == HOST_COMMITTED && !has && rep->committed < r->serial &&
	    !host_is(rep->state, HOST_FAILED) && strcmp(h->boot_id, rep->boot_id) != 0)
		return HOST_DRIFTED;
	if (!current)
		return h->state;
	if (!host_is(rep->state, HOST_IDLE))
		return rep->state;
	if (!begun || !flies)
		return h->state;
	return has ? HOST_COMMITTED : HOST_DRIFTED; /* it ended, and that report was lost */
}

/* One host's word: whatever it says, the others' rows and the header can be written and read. */
static int check_report(const struct rollout_report *rep, struct fail *reterr_fail)
{
	if (rep->seq > INT64_MAX || rep->committed > INT64_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "a report's numbers are below 2^63");
	if (strlen(rep->boot_id) >= ROLLOUT_BOOT_BYTES || !plain_is(rep->boot_id, false))
		return fail_set(reterr_fail, FAIL_USAGE,
				"a boot id has less than %d plain bytes", ROLLOUT_BOOT_BYTES);
	if (host_is(rep->state, HOST_OURS))
		return fail_set(reterr_fail, FAIL_USAGE, "no host reports that it is %s",
				host_state_name(rep->state));
	return 0;
}

/*
 * Why it has not begun yet, or its trial goes on, in a word of its own. Of the text the first one is
 * kept: figures in it change with every report.
 */
static void take_wait(struct rollout *r, struct rollout_host *h,
		      const struct rollout_report *rep)
{
	char code[ROLLOUT_CODE_BYTES];

	if (rep->state != h->state || rep->word != h->word || !host_is(h->state, HOST_FLIES) ||
	    (host_is(h->state, HOST_BEGUN) && h->state != HOST_TRIAL))
		return;
	snprintf(code, sizeof(code), "%s", rep->code ? rep->code : "");
	plain_make(code, false);
	if (strcmp(code, h->code) == 0)
		return;
	memcpy(h->code, code, sizeof(code));
	snprintf(h->waits, sizeof(h->waits), "%s", rep->text && code[0] ? rep->text : "");
	plain_make(h->waits, false);
	rollout_touch(r, h);
}

int rollout_on_report(struct rollout *r, const struct rollout_event *ev,
		      struct fail *reterr_fail)
{
	struct rollout_host *h = ev->host ? rollout_seek_host(r, ev->host) : NULL;
	const struct rollout_report *rep = ev->report;
	bool changed = r->changed;
	enum host_state next;
	int res = check_report(rep, reterr_fail);

	if (res < 0)
		return res;
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
		rollout_make_idle(r, h);
	} else if (host_is(next, HOST_IDLE) && !host_is(h->state, HOST_IDLE)) {
		rollout_make_idle(r, h);
	} else if (next != h->state && host_may(h->state, next)) {
		if (rep->state == HOST_REJECTED && next == HOST_COMMITTED)
			h->tries++;
		rollout_host_enter(r, h, next, rep->code ? rep->code : "");
	}
	take_wait(r, h, rep);
	rollout_settle(r, h);
	if (r->changed)
		h->seq = rep->seq;
	r->changed |= changed;
	return 0;
}
