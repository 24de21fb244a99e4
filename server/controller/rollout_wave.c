// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"
#include "lib/plural.h"

#include <inttypes.h>
#include <string.h>

/* ---- judgement --------------------------------------------------------------------- */

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
		rollout_pause_for(r, ROLLOUT_PAUSE_INCONCLUSIVE, "INCONCLUSIVE", text);
		return false;
	case JUDGE_FAIL:
		break;
	}
	snprintf(text, sizeof(text), "%s of %.60s is %.6g, its limit is %.6g", f->metric,
		 r->finding_of, f->value, f->limit);
	rollout_stop(r, r->spec.on_failure, "VERDICT", text);
	return false;
}

void rollout_prove(struct rollout *r, struct stratum *s)
{
	rollout_note(r, NULL, "CANARY_PASSED", false, "%.16s of %s", s->canary, s->key);
	rollout_stratum_enter(r, s, STRATUM_PROVEN, s->canary);
}

/* The stratum whose bake is over first, or NULL. */
struct stratum *rollout_next_baked(const struct rollout *r)
{
	const struct heap_node *first = heap_first(&r->bakes);
	struct stratum *s = first ? heap_owner(first, struct stratum, bake) : NULL;

	return s && s->bake_end_ms <= r->clock_ms ? s : NULL;
}

/* ---- a wave ------------------------------------------------------------------------ */

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
	rollout_enter(r, ROLLOUT_WAVE_ATTACHING, "WAVE", "%s: %zu host%s",
		      r->spec.wave[r->wave].name, r->members, plural(r->members));
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
		rollout_pause_for(r, ROLLOUT_PAUSE_PROGRESS, "PROGRESS",
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
			rollout_pause_for(r, ROLLOUT_PAUSE_GATE, "GATE", w->name);
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

void rollout_go_wave(struct rollout *r)
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
		rollout_settle(r, h);
	}
	if (r->superseded_by[0]) {
		if (!r->in_flight)
			rollout_enter(r, ROLLOUT_SUPERSEDED, "SUPERSEDED", "by %s",
				      r->superseded_by);
		return;
	}
	while ((s = rollout_next_baked(r))) {
		if (!accept(r, judge_stratum(r, s, true)))
			return;
		rollout_prove(r, s);
	}
	rollout_pick_canaries(r);
	offer(r);
	waves[r->state](r);
}
