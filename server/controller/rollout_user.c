// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"
#include "lib/plural.h"

#include <inttypes.h>
#include <string.h>

static int refuse(const struct rollout *r, const char *what, struct fail *reterr_fail)
{
	return fail_set(reterr_fail, FAIL_CONFLICT, "rollout %s is %s%s: it cannot be %s",
			r->id, rollout_state_name(r->state),
			r->superseded_by[0] ? ", superseded" : "", what);
}

int rollout_on_submit(struct rollout *r, const struct rollout_event *ev,
		      struct fail *reterr_fail)
{
	(void)ev;
	if (r->state != ROLLOUT_DRAFT)
		return refuse(r, "submitted", reterr_fail);
	rollout_enter(r, ROLLOUT_PENDING_APPROVAL, "SUBMITTED", "%" PRIu64 " approval%s needed",
		      r->spec.approvals, plural(r->spec.approvals));
	return 0;
}

int rollout_on_approve(struct rollout *r, const struct rollout_event *ev,
		       struct fail *reterr_fail)
{
	if (r->state != ROLLOUT_PENDING_APPROVAL)
		return refuse(r, "approved", reterr_fail);
	if (!rollout_id_is_good(ev->actor) || strcmp(ev->actor, r->author) == 0)
		return fail_set(reterr_fail, FAIL_PERMISSION,
				"who wrote a rollout cannot approve it");
	for (size_t i = 0; i < r->n_approvals; i++)
		if (strcmp(r->approval[i], ev->actor) == 0)
			return 0;
	snprintf(r->approval[r->n_approvals++], ROLLOUT_ID_BYTES, "%s", ev->actor);
	rollout_note(r, NULL, "APPROVAL", false, "%s", ev->reason);
	return 0;
}

int rollout_on_override(struct rollout *r, const struct rollout_event *ev,
			struct fail *reterr_fail)
{
	if (rollout_is_over(r->state) || r->overridden)
		return refuse(r, "taken out of its windows", reterr_fail);
	if (r->spec.severity != SPEC_CRITICAL || !ev->reason[0])
		return fail_set(
			reterr_fail, FAIL_USAGE,
			"only a critical rollout ignores windows, and only for a reason");
	if (!rollout_id_is_good(ev->actor) || strcmp(ev->actor, r->author) == 0)
		return fail_set(reterr_fail, FAIL_PERMISSION,
				"another user than its author must say so");
	r->overridden = true;
	rollout_note(r, NULL, "OVERRIDE", true, "%s", ev->reason);
	return 0;
}

int rollout_on_pause(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	if (!rollout_is_live(r) && r->state != ROLLOUT_SCHEDULED)
		return refuse(r, "paused", reterr_fail);
	rollout_pause_for(r, ROLLOUT_PAUSE_MANUAL, "PAUSE", ev->reason);
	return 0;
}

int rollout_on_resume(struct rollout *r, const struct rollout_event *ev,
		      struct fail *reterr_fail)
{
	if ((!rollout_is_live(r) && r->state != ROLLOUT_SCHEDULED) || !r->pauses)
		return refuse(r, "resumed", reterr_fail);
	r->pauses = 0;
	rollout_forgive(r);
	rollout_note(r, NULL, "RESUME", false, "%s", ev->reason);
	return 0;
}

int rollout_on_promote(struct rollout *r, const struct rollout_event *ev,
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
		rollout_forgive(r);
		while ((s = rollout_next_baked(r)))
			rollout_prove(r, s);
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

int rollout_on_abort(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	if (rollout_is_over(r->state) || r->state == ROLLOUT_ROLLING_BACK)
		return refuse(r, "aborted", reterr_fail);
	if (rollout_is_live(r) || r->state == ROLLOUT_ABORTING)
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
	rollout_make_idle(r, h);
}

int rollout_on_retry(struct rollout *r, const struct rollout_event *ev,
		     struct fail *reterr_fail)
{
	bool back = r->state == ROLLOUT_ROLLBACK_INCOMPLETE;
	size_t n = 0;

	if ((!rollout_is_live(r) && !back) || r->superseded_by[0])
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
	rollout_note(r, NULL, "RETRY", false, "%zu host%s: %s", n, plural(n), ev->reason);
	return 0;
}

int rollout_on_undo(struct rollout *r, const struct rollout_event *ev, struct fail *reterr_fail)
{
	if (r->state != ROLLOUT_SUCCEEDED)
		return refuse(r, "undone", reterr_fail);
	if (ev->newer >= r->spec.rollback_window)
		return fail_set(reterr_fail, FAIL_CONFLICT,
				"rollout %s is %" PRIu64
				" rollout%s back, its window is %" PRIu64,
				r->id, ev->newer, plural(ev->newer), r->spec.rollback_window);
	rollout_back_begin(r, ROLLOUT_ALL, "UNDO", ev->reason);
	return 0;
}

int rollout_on_supersede(struct rollout *r, const struct rollout_event *ev,
			 struct fail *reterr_fail)
{
	if (r->spec.on_newer == SPEC_REFUSE || r->superseded_by[0] ||
	    !rollout_id_is_good(ev->by) ||
	    (!rollout_is_live(r) && !rollout_may(r->state, ROLLOUT_SUPERSEDED)))
		return refuse(r, "superseded", reterr_fail);
	snprintf(r->superseded_by, sizeof(r->superseded_by), "%s", ev->by);
	if (rollout_is_live(r)) {
		rollout_note(r, NULL, "SUPERSEDE", false, "by %s: %s", ev->by, ev->reason);
		rollout_recall_all(r);
	} else {
		rollout_enter(r, ROLLOUT_SUPERSEDED, "SUPERSEDED", "by %s", ev->by);
	}
	return 0;
}
