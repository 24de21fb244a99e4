// SPDX-License-Identifier: BSD-2-Clause
#include "server/change.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/plural.h"
#include "server/drift.h"
#include "server/outcome.h"
#include "server/require.h"
#include "server/trial.h"
#include "store/bundle.h"

#define TICK_MS 1000
/* A renewal closer than this to the end of a lease might come after it. */
#define LEASE_MARGIN_NS 100000000ULL

#define TO(phase)	(1U << HOTFIX_##phase)

static const struct {
	const char *name;
	unsigned int next;
} phases[HOTFIX_PHASES_] = {
	/* clang-format off */
	[HOTFIX_IDLE]	 = { "idle",	TO(STAGE) | TO(SETTLE) | TO(TRIAL) | TO(REVERT) | TO(UNSTAGE) | TO(REMOVE) },
	[HOTFIX_STAGE]	 = { "stage",	TO(SETTLE) | TO(TRIAL) | TO(UNSTAGE) | TO(REMOVE) | TO(IDLE) },
	[HOTFIX_SETTLE]	 = { "settle",	TO(TRIAL) | TO(REVERT) | TO(IDLE) },
	[HOTFIX_TRIAL]	 = { "trial",	TO(REVERT) | TO(UNSTAGE) | TO(REMOVE) | TO(IDLE) },
	[HOTFIX_REVERT]	 = { "revert",	TO(UNSTAGE) | TO(REMOVE) | TO(IDLE) },
	[HOTFIX_UNSTAGE] = { "unstage",	TO(IDLE) },
	[HOTFIX_REMOVE]	 = { "remove",	TO(IDLE) },
	/* clang-format on */
};

/* The only writer of the phase. */
static void enter(struct hotfix *h, enum hotfix_phase next)
{
	if (!(phases[h->phase].next & (1U << next)))
		log_event(LOG_CRIT, "impossible transition hotfix=%s from=%s to=%s", h->name,
			  phases[h->phase].name, phases[next].name);
	log_event(LOG_DEBUG, "phase hotfix=%s from=%s to=%s", h->name, phases[h->phase].name,
		  phases[next].name);
	h->phase = next;
	/* A worker waits until a link is gone: nobody else may hold it meanwhile. */
	if (next == HOTFIX_IDLE)
		drift_watch(h);
	else
		drift_unwatch(h);
	if (h->all->changed)
		h->all->changed(h->all->changed_cookie);
}

/* ---- begin and end -------------------------------------------------------------- */

void change_clear(struct hotfix_change *c)
{
	watch_free(c->watch);
	free(c->log);
	json_decref(c->reports);
	memset(c, 0, sizeof(*c));
	TAILQ_INIT(&c->waiters);
}

static void wake(struct hotfix_change *c, bool ended)
{
	const struct fail *fail = c->fail.code == FAIL_NONE ? NULL : &c->fail;
	struct hotfix_waiter *w, *next;

	for (w = TAILQ_FIRST(&c->waiters); w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!ended && w->until != HOTFIX_WAIT_LIVE)
			continue;
		TAILQ_REMOVE(&c->waiters, w, link);
		w->fn(c->id, fail, w->cookie);
		free(w);
	}
}

/* The hot-fix goes, whoever requires it. */
static void warn_of_going(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	char left[sizeof(c->warning)];

	if (!require_left_behind(h, left, sizeof(left))[0])
		return;
	memcpy(c->warning, left, sizeof(left));
	log_event(LOG_WARNING, "left behind hotfix=%s why=\"%s\"", h->name, left);
}

int change_begin(struct hotfix *h, const char *verb, uint64_t serial, uint32_t actor_uid,
		 bool anyway, struct fail *reterr_fail)
{
	struct hotfix_change *c = &h->change;
	struct store_change row = {.serial = serial,
				   .from_serial = hotfix_live_serial(h),
				   .actor_uid = actor_uid,
				   .started_ms = clock_real_ms()};
	char subject[HOOK_NAME_MAX + 24];
	AUTO_JSON json_t *plan = NULL;
	int r;

	outcome_settle(h->all);
	h->changes++;
	h->restore[0] = 0; /* whatever was to come by itself: this comes instead */
	snprintf(c->verb, sizeof(c->verb), "%s", verb);
	c->serial = serial;
	c->from_serial = row.from_serial;
	c->started_mono_ms = clock_mono_ns() / 1000000;
	if (c->disable || c->take_off || c->forget)
		warn_of_going(h);
	plan = outcome_plan(c);
	row.evidence = plan;
	snprintf(row.name, sizeof(row.name), "%s", h->name);
	snprintf(row.verb, sizeof(row.verb), "%s", verb);
	snprintf(row.boot_id, sizeof(row.boot_id), "%s", clock_boot_id());
	snprintf(subject, sizeof(subject), "%s@%" PRIu64, h->name, serial);

	r = store_begin(h->all->store);
	if (r == 0) {
		r = store_begin_change(h->all->store, &row, &c->id);
		if (r == 0)
			r = store_audit(h->all->store, row.started_ms, actor_uid, verb, subject,
					"begun", plan);
		if (r == 0)
			r = store_commit(h->all->store);
		if (r < 0)
			store_rollback(h->all->store);
	}
	if (r == 0) {
		log_event(LOG_NOTICE,
			  "change begun id=%" PRIu64 " verb=%s hotfix=%s serial=%" PRIu64
			  " from=%" PRIu64 " uid=%u",
			  c->id, verb, h->name, serial, c->from_serial, actor_uid);
		return 0;
	}
	c->id = 0;
	r = store_error(h->all->store, r, reterr_fail);
	if (!anyway) {
		change_clear(c);
		return r;
	}
	log_event(LOG_ERR,
		  "change without a row: the store cannot be written verb=%s hotfix=%s "
		  "serial=%" PRIu64 " uid=%u",
		  verb, h->name, serial, actor_uid);
	return 0;
}

static void add_evidence(struct hotfix *h)
{
	AUTO_JSON json_t *evidence = outcome_evidence(&h->change);
	int r = store_set_evidence(h->all->store, h->change.id, evidence);

	if (r < 0)
		log_event(LOG_ERR,
			  "evidence not written hotfix=%s change=%" PRIu64 " error=\"%s\"",
			  h->name, h->change.id, strerror(-r));
}

static void tell(struct hotfix *h, uint64_t id, const char *verb, uint64_t serial,
		 const char *outcome, const char *code, const char *detail)
{
	log_event(strcmp(outcome, "done") == 0 ? LOG_NOTICE : LOG_WARNING,
		  "change ended id=%" PRIu64 " verb=%s hotfix=%s serial=%" PRIu64
		  " outcome=%s code=%s detail=\"%s\"",
		  id, verb, h->name, serial, outcome, code, detail);
	events_emit(h->all->events,
		    json_pack("{s:s, s:s, s:o, s:s, s:I, s:s, s:s, s:s}", "kind", "change",
			      "hotfix", h->name, "serial",
			      serial ? json_integer((json_int_t)serial) : json_null(), "verb",
			      verb, "change", (json_int_t)id, "outcome", outcome, "code", code,
			      "detail", detail));
}

static void announce(struct hotfix *h, const char *outcome, const char *code,
		     const char *detail)
{
	struct hotfix_change *c = &h->change;

	tell(h, c->id, c->verb, c->serial, outcome, code, detail);
}

uint64_t change_record(struct hotfix *h, const char *verb, uint64_t serial, uint32_t actor_uid,
		       const char *code, const char *detail)
{
	struct store *s = h->all->store;
	struct store_change row = {.serial = serial,
				   .from_serial = hotfix_live_serial(h),
				   .actor_uid = actor_uid,
				   .started_ms = clock_real_ms()};
	AUTO_JSON json_t *evidence =
		h->change.warning[0] ? json_pack("{s:s}", "warning", h->change.warning) : NULL;
	char subject[HOOK_NAME_MAX + 24];
	uint64_t id = 0;
	int r;

	snprintf(row.name, sizeof(row.name), "%s", h->name);
	snprintf(row.verb, sizeof(row.verb), "%s", verb);
	snprintf(row.boot_id, sizeof(row.boot_id), "%s", clock_boot_id());
	snprintf(subject, sizeof(subject), "%s@%" PRIu64, h->name, serial);
	r = store_begin(s);
	if (r == 0) {
		r = store_begin_change(s, &row, &id);
		if (r == 0)
			r = store_end_change(s, id, row.started_ms, "done", code, detail, NULL,
					     evidence);
		if (r == 0)
			r = store_audit(s, row.started_ms, actor_uid, verb, subject, "done",
					evidence);
		if (r == 0)
			r = store_commit(s);
		if (r < 0)
			store_rollback(s);
	}
	if (r < 0) {
		log_event(LOG_ERR, "not recorded verb=%s hotfix=%s uid=%u error=\"%s\"", verb,
			  h->name, actor_uid, strerror(-r));
		id = 0;
	}
	tell(h, id, verb, serial, "done", code, detail);
	return id;
}

/* The change is over; its outcome is written. Last act on the change. */
static void end_change(struct hotfix *h)
{
	struct hotfix_change over;

	event_del(h->tick);
	hotfix_follow_live(h);
	enter(h, HOTFIX_IDLE);
	/* A waiter may begin the next change of this hot-fix. */
	over = h->change;
	TAILQ_INIT(&over.waiters);
	TAILQ_CONCAT(&over.waiters, &h->change.waiters, link);
	memset(&h->change, 0, sizeof(h->change));
	TAILQ_INIT(&h->change.waiters);
	wake(&over, true);
	change_clear(&over);
}

/* It went back, or never came to run: outcome "failed" or "rolled_back". */
static void end_failed(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	const char *outcome = c->live ? "rolled_back" : "failed";

	if (c->sweep) {
		log_event(LOG_NOTICE, "leftovers taken out hotfix=%s index=%u", h->name,
			  c->index);
		end_change(h);
		return;
	}
	if (outcome_write(h, outcome, c->code, c->fail.message, NULL) < 0)
		outcome_owe(h, outcome, c->code, c->fail.message, NULL);
	announce(h, outcome, c->code, c->fail.message);
	end_change(h);
}

/* The way back is done, its record is not: who asked for it must know. */
static void note_unwritten(struct hotfix *h, const char *done, int r)
{
	struct hotfix_change *c = &h->change;
	struct fail fail = {0};

	store_error(h->all->store, r, &fail);
	fail_set(&c->fail, FAIL_STORAGE,
		 "%s %s, but a restart would undo it: it could not be written: %.400s", h->name,
		 done, fail.message);
	fail_hint(&c->fail, "see to the state directory; it is tried again every few seconds");
}

static int set_committed(struct hotfix *h, uint64_t serial, struct store_hotfix *ret_row)
{
	struct store_hotfix row = {0};
	int r = store_get_hotfix(h->all->store, h->name, &row);
	bool enforce;

	if (r < 0 && r != -ENOENT)
		return r;
	snprintf(row.name, sizeof(row.name), "%s", h->name);
	row.committed_serial = serial;
	if (row.high_water < serial)
		row.high_water = serial;
	row.disabled = false;
	row.observe =
		live_get_enforce(h->all->bpffs, h->name, h->change.index, &enforce) == 0 &&
		!enforce;
	snprintf(row.boot_id, sizeof(row.boot_id), "%s", clock_boot_id());
	*ret_row = row;
	return 0;
}

/* The decision is durable first; the store into the gate cannot fail. */
static int commit_change(struct hotfix *h, const char *code)
{
	struct hotfix_change *c = &h->change;
	struct store_hotfix row;
	int r;

	r = set_committed(h, c->serial, &row);
	if (r == 0)
		r = outcome_write(h, "done", code, "", &row);
	if (r < 0)
		return r;
	gate_commit(h->gate, c->index);
	h->adopted = false;
	h->retired = false;
	h->problem[0] = 0;
	announce(h, "done", code, "");
	end_change(h);
	return 0;
}

/* ---- workers ---------------------------------------------------------------- */

static void on_worker_done(const struct worker_result *result, void *cookie);

static int run_worker(struct hotfix *h, const char *op, uint32_t index, const uint8_t *bundle,
		      size_t bundle_len)
{
	struct worker_job job = {.op = op,
				 .name = h->name,
				 .index = index,
				 .bundle = bundle,
				 .bundle_len = bundle_len};

	return worker_run(h->all->workers, &job, on_worker_done, h, &h->worker);
}

/* For the steps of a way back: a worker that cannot even start counts as one that failed. */
static void run_step(struct hotfix *h, enum hotfix_phase phase, const char *op, uint32_t index)
{
	struct worker_result none = {.ok = false, .log = ""};
	int r;

	enter(h, phase);
	r = run_worker(h, op, index, NULL, 0);
	if (r < 0) {
		fail_set(&none.fail, FAIL_INTERNAL, "no worker could be started: %s",
			 strerror(-r));
		on_worker_done(&none, h);
	}
}

/* Takes the version that is not wanted out of the kernel; without another, all of it. */
static void take_out(struct hotfix *h)
{
	uint32_t index = h->change.index;

	if (h->change.old_index) {
		run_step(h, HOTFIX_UNSTAGE, "unstage", index);
	} else {
		hotfix_close_gate(h);
		run_step(h, HOTFIX_REMOVE, "remove", 0);
	}
}

static void note_failure(struct hotfix_change *c, const struct fail *fail, const char *code)
{
	c->fail = *fail;
	snprintf(c->code, sizeof(c->code), "%s", code ? code : fail_name(fail->code));
}

/* Written at once and not with the outcome: until that, a worker may take its time. */
static void quarantine(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;

	if (outcome_quarantine(h->all->store, h->name, c->serial, c->code, c->fail.message) ==
	    0)
		c->harmful = false; /* else it comes with the outcome */
	else
		log_event(LOG_ERR, "quarantine not written hotfix=%s serial=%" PRIu64, h->name,
			  c->serial);
}

/* The old version is live with the store; what follows only tidies up. */
static void go_back(struct hotfix *h)
{
	event_del(h->tick);
	if (h->gate)
		gate_commit(h->gate, h->change.old_index);
	if (h->change.watch)
		watch_stop(h->change.watch);
	if (!h->change.old_index && !h->change.warning[0])
		warn_of_going(h);
	if (h->change.harmful)
		quarantine(h);
	hotfix_follow_live(h);
	if (hotfix_needs_settle(h))
		run_step(h, HOTFIX_REVERT, "settle", 0);
	else
		take_out(h);
}

/* Why a trial ends that did not end well. */
static void explain(const struct hotfix_change *c, const struct trial_facts *f,
		    struct fail *fail)
{
	char missing[FAIL_MESSAGE_BYTES / 2];

	if (f->lease_ended) {
		fail_set(
			fail, FAIL_UNHEALTHY,
			"the lease of the trial ended inside the kernel before hotfixd renewed it");
		return;
	}
	if (f->calls < f->min_calls) {
		fail_set(fail, FAIL_UNHEALTHY,
			 "the version was called %" PRIu64 " time%s, too rarely to be judged"
			 " within the longest trial: %" PRIu64 " %s demanded",
			 f->calls, plural(f->calls), f->min_calls,
			 f->min_calls == 1 ? "is" : "are");
		return;
	}
	watch_explain_missing(c->watch, missing, sizeof(missing));
	fail_set(fail, FAIL_UNHEALTHY, "no evidence of its health within the longest trial: %s",
		 missing);
	fail_hint(fail, "[trial] health_off in the configuration turns off what this host "
			"cannot tell; limits and checks stand in the manifest");
}

/* false: the lease has ended; the kernel has gone back, and the guard goes too. */
static bool renew(struct hotfix *h)
{
	uint64_t now_ns = clock_mono_ns();

	return gate_renew(h->gate, now_ns, LEASE_MARGIN_NS,
			  now_ns + h->all->config->lease_ms * 1000000) == 0;
}

static void judge(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	struct trial_facts facts = {
		.now_ms = clock_mono_ns() / 1000000,
		.started_ms = c->started_mono_ms,
		.length_ms = c->trial_ms,
		.max_ms = c->trial_max_ms,
		.min_calls = c->min_calls,
	};
	struct watch_verdict verdict;
	struct fail fail;
	const char *code;
	int r;

	facts.lease_ended = !renew(h);
	watch_judge(c->watch, false, facts.lease_ended, &verdict);
	facts.calls = c->calls = verdict.calls;
	facts.health = verdict.health;
	facts.health_code = verdict.code;
	switch (trial_judge(&facts, &code)) {
	case TRIAL_CONTINUE:
		return;
	case TRIAL_COMMIT:
		r = commit_change(h, code);
		if (r == 0)
			return;
		store_error(h->all->store, r, &fail);
		code = "STORAGE";
		break;
	case TRIAL_ROLLBACK:
		c->harmful = true;
		if (facts.lease_ended || verdict.health != HEALTH_BAD)
			explain(c, &facts, &fail);
		else
			fail = verdict.fail;
		break;
	}
	note_failure(c, &fail, code);
	go_back(h);
}

void change_on_tick(evutil_socket_t fd, short what, void *cookie)
{
	struct hotfix *h = cookie;
	uint64_t now_ns = clock_mono_ns(), passed_ms = (now_ns - h->ticked_ns) / 1000000;

	(void)fd;
	(void)what;
	h->ticked_ns = now_ns;
	if (h->change.watch && passed_ms > TICK_MS)
		watch_stall(h->change.watch, passed_ms - TICK_MS);
	if (h->phase == HOTFIX_TRIAL)
		judge(h);
	else if (h->phase == HOTFIX_SETTLE && h->gate && gate_trial(h->gate))
		renew(h);
}

static void start_ticking(struct hotfix *h)
{
	static const struct timeval every = {TICK_MS / 1000, 0};

	h->ticked_ns = clock_mono_ns();
	event_add(h->tick, &every);
}

/* No time has passed: what the kernel says of this very moment has to do. */
static bool harms_at_once(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	char missing[FAIL_MESSAGE_BYTES / 2];
	struct watch_verdict verdict;

	if (!c->watch)
		return false;
	watch_judge(c->watch, true, false, &verdict);
	if (verdict.health == HEALTH_GOOD)
		return false;
	if (verdict.health != HEALTH_BAD) {
		watch_explain_missing(c->watch, missing, sizeof(missing));
		snprintf(verdict.code, sizeof(verdict.code), "NO_EVIDENCE");
		fail_set(&verdict.fail, FAIL_UNHEALTHY, "no evidence of its health: %s",
			 missing);
	}
	c->harmful = true;
	note_failure(c, &verdict.fail, verdict.code);
	return true;
}

/* The version runs and everything beside the gate is in place. */
static void reach_live(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	struct fail fail;
	int r;

	c->live = true;
	if (c->watch)
		watch_live(c->watch, c->index);
	if (c->commit_now && harms_at_once(h)) {
		go_back(h);
		return;
	}
	if (c->commit_now) {
		r = commit_change(h, "COMMITTED");
		if (r == 0)
			return;
		store_error(h->all->store, r, &fail);
		note_failure(c, &fail, "STORAGE");
		go_back(h);
		return;
	}
	enter(h, HOTFIX_TRIAL);
	wake(c, false);
}

static void on_staged(struct hotfix *h, const struct worker_result *result)
{
	struct hotfix_change *c = &h->change;
	struct fail fail;

	if (!result->ok) {
		note_failure(c, &result->fail, NULL);
		c->log = strdup(result->log);
		/* A worker that answered has cleaned up after itself; one that died has not. */
		if (result->fail.code == FAIL_TIMEOUT || result->fail.code == FAIL_INTERNAL)
			take_out(h);
		else
			end_failed(h);
		return;
	}
	hotfix_attach_gate(h);
	if (!h->gate) {
		fail_set(&fail, FAIL_INTERNAL, "the worker staged %s but left no gate",
			 h->name);
		note_failure(c, &fail, NULL);
		take_out(h);
		return;
	}
	if (c->observe && live_set_enforce(h->all->bpffs, h->name, c->index, false) < 0) {
		fail_set(
			&fail, FAIL_POLICY,
			"%s@%" PRIu64
			" cannot be observed: its object does not use HOTFIX_CONTROL of hotfix.bpf.h",
			h->name, c->serial);
		fail_hint(&fail, "apply it without --observe");
		note_failure(c, &fail, NULL);
		take_out(h);
		return;
	}
	/* Before the store: from it on, the kernel alone decides how long this lasts. */
	start_ticking(h);
	gate_begin_trial(h->gate, c->index,
			 clock_mono_ns() + h->all->config->lease_ms * 1000000);
	hotfix_follow_live(h);
	if (hotfix_needs_settle(h))
		run_step(h, HOTFIX_SETTLE, "settle", 0);
	else
		reach_live(h);
}

/* A rollback to a warm version has stored its gate already; everything else is on trial. */
static void on_settled(struct hotfix *h, const struct worker_result *result)
{
	struct hotfix_change *c = &h->change;
	struct fail fail;

	if (result->ok && gate_trial(h->gate) &&
	    !renew(h)) { /* then it settled on the old one */
		fail_set(&fail, FAIL_UNHEALTHY,
			 "the lease of the trial ended before everything was in place");
		note_failure(c, &fail, "LEASE_EXPIRED");
		c->harmful = c->watch;
		go_back(h);
		return;
	}
	if (result->ok && gate_trial(h->gate)) {
		reach_live(h);
		return;
	}
	if (!result->ok && gate_trial(h->gate)) {
		note_failure(c, &result->fail, NULL);
		free(c->log);
		c->log = strdup(result->log);
		go_back(h);
		return;
	}
	if (!result->ok) {
		snprintf(h->problem, sizeof(h->problem), "%.200s", result->fail.message);
		c->fail = result->fail;
	}
	if (c->reports && c->id)
		add_evidence(h); /* its outcome was written with the store into the gate */
	announce(h, result->ok ? "done" : "failed", c->code, result->ok ? "" : c->fail.message);
	end_change(h);
}

static void on_removed(struct hotfix *h, const struct worker_result *result)
{
	const char *outcome = result->ok ? "done" : "failed";
	struct hotfix_change *c = &h->change;
	struct store_hotfix row = {0};
	bool known;
	int r;

	if (!result->ok) {
		snprintf(h->problem, sizeof(h->problem),
			 "taking it out of the kernel failed: %.180s", result->fail.message);
		hotfix_attach_gate(h);
	}
	/* The end of a way back without an old version. */
	if (!c->disable && !c->forget && !c->take_off) {
		end_failed(h);
		return;
	}
	if (!result->ok) {
		note_failure(c, &result->fail, NULL);
		c->forget = false;
	}
	h->adopted = false;
	if (result->ok)
		h->problem[0] = 0;
	r = store_get_hotfix(h->all->store, h->name, &row);
	row.disabled = c->disable;
	if (c->take_off)
		row.committed_serial = 0;
	known = r == 0 && (c->disable || c->take_off);
	if (r == 0 || r == -ENOENT)
		r = outcome_write(h, outcome, result->ok ? "" : c->code, c->fail.message,
				  known ? &row : NULL);
	if (r < 0)
		outcome_owe(h, outcome, result->ok ? "" : c->code, c->fail.message,
			    known ? &row : NULL);
	if (r < 0 && result->ok)
		note_unwritten(h, "was taken out of the kernel", r);
	announce(h, outcome, "", c->fail.message);
	end_change(h);
}

/* remove NAME@SERIAL: out of the kernel, now out of the store. */
static void on_version_gone(struct hotfix *h)
{
	struct hotfix_change *c = &h->change;
	struct fail fail = {0};
	int r = store_delete_version(h->all->store, h->name, c->serial);

	c->forget = false;
	if (r < 0) {
		store_error(h->all->store, r, &fail);
		note_failure(c, &fail, NULL);
		end_failed(h);
		return;
	}
	if (outcome_write(h, "done", "", "", NULL) < 0)
		outcome_owe(h, "done", "", "", NULL);
	announce(h, "done", "", "");
	end_change(h);
}

static void keep_report(struct hotfix *h, const json_t *report)
{
	struct hotfix_change *c = &h->change;
	const char *key = h->phase == HOTFIX_STAGE ? "report" : phases[h->phase].name;

	if (!c->reports)
		c->reports = json_object();
	json_object_set(c->reports, key, (json_t *)(uintptr_t)report);
}

static void on_worker_done(const struct worker_result *result, void *cookie)
{
	struct hotfix *h = cookie;
	struct hotfix_change *c = &h->change;

	h->worker = NULL;
	if (json_object_size(result->report))
		keep_report(h, result->report);
	if (c->watch && result->n_fds)
		watch_take_fds(c->watch, result->fds, result->n_fds);
	switch (h->phase) {
	case HOTFIX_STAGE:
		on_staged(h, result);
		return;
	case HOTFIX_SETTLE:
		on_settled(h, result);
		return;
	case HOTFIX_REVERT:
		if (!result->ok) {
			log_event(LOG_ERR, "way back incomplete hotfix=%s error=\"%s\"",
				  h->name, result->fail.message);
			snprintf(h->problem, sizeof(h->problem), "%.200s",
				 result->fail.message);
		}
		take_out(h);
		return;
	case HOTFIX_UNSTAGE:
		if (!result->ok)
			log_event(LOG_ERR,
				  "a version stays loaded hotfix=%s index=%u error=\"%s\"",
				  h->name, c->index, result->fail.message);
		if (c->forget) { /* remove NAME@SERIAL */
			on_version_gone(h);
			return;
		}
		end_failed(h);
		return;
	case HOTFIX_REMOVE:
		on_removed(h, result);
		return;
	case HOTFIX_IDLE:
	case HOTFIX_TRIAL:
	case HOTFIX_PHASES_:
		break;
	}
	log_event(LOG_CRIT, "a worker ended in phase %s hotfix=%s", phases[h->phase].name,
		  h->name);
}

/* ---- the ways a change goes ------------------------------------------------------- */

int change_stage(struct hotfix *h, const uint8_t *bundle, size_t bundle_len,
		 struct fail *reterr_fail)
{
	int r;

	enter(h, HOTFIX_STAGE);
	r = run_worker(h, "stage", h->change.index, bundle, bundle_len);
	if (r < 0) {
		fail_set(reterr_fail, FAIL_INTERNAL, "no worker could be started: %s",
			 strerror(-r));
		note_failure(&h->change, reterr_fail, NULL);
		end_failed(h);
	}
	return r;
}

int change_switch(struct hotfix *h, struct fail *reterr_fail)
{
	struct hotfix_change *c = &h->change;
	struct store_hotfix row = {0};
	struct fail fail;
	int r;

	snprintf(c->code, sizeof(c->code), "MANUAL");
	c->live = true;
	gate_commit(h->gate, c->index);
	hotfix_follow_live(h);
	r = set_committed(h, c->serial, &row);
	if (r == 0)
		r = outcome_write(h, "done", c->code, c->reason, &row);
	if (r < 0) {
		outcome_owe(h, "done", c->code, c->reason, row.name[0] ? &row : NULL);
		note_unwritten(h, "was rolled back", r);
	}
	if (hotfix_needs_settle(h)) {
		run_step(h, HOTFIX_SETTLE, "settle", 0);
		return 0;
	}
	fail = c->fail;
	announce(h, "done", c->code, c->reason);
	enter(h, HOTFIX_SETTLE); /* through the same door as those who settle */
	end_change(h);
	if (r < 0)
		*reterr_fail = fail;
	return r;
}

void change_take_off(struct hotfix *h)
{
	if (h->gate)
		gate_commit(h->gate, 0);
	hotfix_close_gate(h);
	run_step(h, HOTFIX_REMOVE, "remove", 0);
}

void change_forget_version(struct hotfix *h)
{
	h->change.forget = true;
	if (h->change.index) {
		run_step(h, HOTFIX_UNSTAGE, "unstage", h->change.index);
		return;
	}
	enter(h, HOTFIX_UNSTAGE); /* not loaded: only the rows go */
	on_worker_done(&(struct worker_result){.ok = true, .log = ""}, h);
}

void change_try_anew(struct hotfix *h)
{
	h->change.started_mono_ms = clock_mono_ns() / 1000000;
	add_evidence(h); /* for a daemon that goes on with the trial */
}

int change_commit_by_hand(struct hotfix *h, uint32_t actor_uid)
{
	uint64_t serial = h->change.serial;
	int r = renew(h) ? commit_change(h, "MANUAL") : -ETIME;

	/* Only what was done may be on record as done, whatever happens in between. */
	if (r == 0)
		change_record(h, "commit", serial, actor_uid, "MANUAL", "");
	return r;
}

void change_back_by_hand(struct hotfix *h, uint32_t actor_uid, const char *reason)
{
	struct fail fail;

	if (h->gate)
		gate_commit(h->gate, h->change.old_index);
	if (!h->change.old_index)
		warn_of_going(h);
	change_record(h, "rollback", h->change.serial, actor_uid, "MANUAL", reason);
	fail_set(&fail, FAIL_UNHEALTHY, "rolled back by hand%s%s", reason[0] ? ": " : "",
		 reason);
	note_failure(&h->change, &fail, "MANUAL");
	go_back(h);
}

void change_off_by_hand(struct hotfix *h)
{
	struct fail fail;

	fail_set(&fail, FAIL_UNHEALTHY, "disabled by hand while on trial");
	note_failure(&h->change, &fail, "MANUAL");
	gate_commit(h->gate, 0);
	end_failed(h);
}

/* ---- after a restart ------------------------------------------------------------ */

static uint64_t plan_u64(const struct store_change *open, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(open->evidence, key));
}

static void adopt_change(struct hotfix *h, const struct store_change *open, uint32_t index)
{
	const char *warning = json_string_value(json_object_get(open->evidence, "warning"));
	struct hotfix_change *c = &h->change;

	c->id = open->id;
	snprintf(c->verb, sizeof(c->verb), "%s", open->verb);
	c->serial = open->serial;
	c->from_serial = open->from_serial;
	c->index = index;
	c->old_index = h->gate ? gate_committed(h->gate) : 0;
	c->trial_ms = plan_u64(open, "trial_ms");
	c->trial_max_ms = plan_u64(open, "trial_max_ms");
	c->min_calls = plan_u64(open, "min_calls");
	c->started_mono_ms = plan_u64(open, "started_mono_ms");
	c->commit_now = json_is_true(json_object_get(open->evidence, "commit"));
	snprintf(c->warning, sizeof(c->warning), "%s", warning ? warning : "");
	c->live = true;
}

/* What ran here before comes back without being judged again. */
static bool is_unproven(const struct store_change *open)
{
	return strcmp(open->verb, "apply") == 0;
}

/* The eyes of the daemon before: what it saw when the trial began is in the record. */
static int watch_again(struct hotfix *h, const struct store_change *open)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail fail;
	size_t len;
	int r;

	if (!is_unproven(open))
		return 0;
	r = hotfix_open_bundle(h->all, h->name, open->serial, &buf, &len, &bundle, &fail);
	return r < 0 ? r
		     : watch_new(h->all->watches, bundle, buf, len,
				 json_object_get(open->evidence, "began"), &h->change.watch);
}

void change_resume(struct hotfix *h, const struct store_change *open, uint32_t index)
{
	/* A trial whose length is not known must not pass for one that is over. */
	if (!plan_u64(open, "trial_ms") || watch_again(h, open) < 0) {
		change_revert(h, open, index, "NO_PLAN",
			      "the record of the trial does not say how to go on with it");
		return;
	}
	adopt_change(h, open, index);
	start_ticking(h);
	hotfix_follow_live(h);
	/*
	 * What a dead daemon left unsettled is settled now; asked twice, it does nothing. It is
	 * also who opens what the watch needs.
	 */
	if (hotfix_needs_settle(h) || h->change.watch) {
		run_step(h, HOTFIX_SETTLE, "settle", 0);
		return;
	}
	enter(h, HOTFIX_SETTLE);
	reach_live(h);
}

void change_revert(struct hotfix *h, const struct store_change *open, uint32_t index,
		   const char *code, const char *why)
{
	struct fail fail;

	adopt_change(h, open, index);
	fail_set(&fail, FAIL_UNHEALTHY, "%s", why);
	note_failure(&h->change, &fail, code);
	h->change.harmful = is_unproven(open);
	enter(h, HOTFIX_SETTLE);
	go_back(h);
}

void change_undo(struct hotfix *h, const struct store_change *open, const char *why)
{
	uint32_t committed = h->gate ? gate_committed(h->gate) : 0;
	uint64_t index = plan_u64(open, "index");
	struct fail fail;

	adopt_change(h, open, (uint32_t)index);
	fail_set(&fail, FAIL_INTERNAL, "%s", why);
	note_failure(&h->change, &fail, "INTERRUPTED");
	h->change.live = false;
	if (committed && (!index || index == committed || index >= GATE_VERSIONS)) {
		enter(h, HOTFIX_UNSTAGE);
		end_failed(h);
		return;
	}
	take_out(h);
}

void change_sweep(struct hotfix *h, uint32_t index)
{
	struct hotfix_change *c = &h->change;
	uint32_t committed = h->gate ? gate_committed(h->gate) : 0;

	if (committed && (!index || index == committed || index >= GATE_VERSIONS))
		return;
	c->sweep = true;
	c->index = index;
	c->old_index = committed;
	take_out(h);
}
