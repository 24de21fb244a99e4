// SPDX-License-Identifier: BSD-2-Clause
#include "server/reconcile.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/change.h"
#include "server/drift.h"
#include "server/restore.h"
#include "server/verb.h"

struct reconcile {
	struct hotfixes *all; /* NULL: not started */
	reconcile_done_fn done;
	void *cookie;
	size_t adopted;
	bool is_surveyed;
	struct fail fail; /* code FAIL_NONE: the survey is good */
	json_t *survey;
};

static int take_hotfix(const struct store_hotfix *row, void *cookie)
{
	struct hotfixes *all = cookie;
	struct hotfix *h;

	return hotfix_get(all, row->name, &h);
}

/* One open change per hot-fix at most: the newest, older ones were overtaken. */
struct open_change {
	const char *name;
	struct store_change change;
	bool found;
};

static int take_open(const struct store_change *c, void *cookie)
{
	struct open_change *open = cookie;

	store_change_clear(&open->change);
	open->change = *c;
	open->change.log = NULL;
	open->change.evidence = json_incref(c->evidence);
	open->found = true;
	return 0;
}

static void end_open(struct hotfixes *all, const struct store_change *c, const char *outcome,
		     const char *code, const char *detail)
{
	if (store_end_change(all->store, c->id, clock_real_ms(), outcome, code, detail, NULL,
			     c->evidence) < 0)
		log_event(LOG_ERR, "outcome not written change=%" PRIu64, c->id);
	log_event(LOG_NOTICE,
		  "open change settled id=%" PRIu64 " verb=%s hotfix=%s serial=%" PRIu64
		  " outcome=%s code=%s",
		  c->id, c->verb, c->name, c->serial, outcome, code);
}

static bool is_verb(const struct store_change *c, const char *verb)
{
	return strcmp(c->verb, verb) == 0;
}

/* The identity of a live version: its serial and its object, not the name of a pin. */
static bool is_known(struct hotfixes *all, const char *name, struct gate_version v)
{
	struct store_version stored;

	return store_get_version(all->store, name, v.serial, &stored) == 0 &&
	       memcmp(stored.object_sha256, v.digest, sizeof(v.digest)) == 0;
}

static void note_problems(struct hotfix *h, const json_t *survey)
{
	const json_t *problems = json_object_get(survey, "problems");
	const char *first = json_string_value(json_array_get(problems, 0));

	if (first)
		snprintf(h->problem, sizeof(h->problem), "%.255s", first);
}

/*
 * Another boot: the host went down in the middle of this change. A version that was never
 * committed here is not tried again by itself; one that has served before may have been there
 * by chance, and when it was not, the second crash holds everything back (server/boot.h).
 */
static void settle_crashed(struct hotfixes *all, const struct store_change *c)
{
	bool brings_in = is_verb(c, "apply") || is_verb(c, "enable") ||
			 is_verb(c, "rollback") || is_verb(c, "restore");
	bool was_committed = false;
	char why[512];

	snprintf(why, sizeof(why),
		 "the host went down while change %" PRIu64 " (%s) was under way%s%s", c->id,
		 c->verb, all->crash_cause[0] ? ": " : "", all->crash_cause);
	if (c->serial && brings_in) {
		store_was_committed(all->store, c->name, c->serial, &was_committed);
		if (!was_committed)
			store_quarantine(all->store, c->name, c->serial, true, why);
	}
	end_open(all, c, "failed", brings_in ? "CRASHED" : "INTERRUPTED", why);
}

static const char before_the_kernel[] =
	"hotfixd ended before this reached the kernel; nothing that ran has changed";

static void reconcile_one(struct reconcile *rc, struct hotfix *h, const json_t *survey)
{
	struct hotfixes *all = rc->all;
	struct open_change open = {.name = h->name};
	struct store_hotfix row = {0};
	bool has_row = store_get_hotfix(all->store, h->name, &row) == 0;
	uint32_t committed = 0, trial = 0;
	uint64_t now_ns = clock_mono_ns(), id;
	bool lease_lives = false, known;
	struct gate_version v;
	struct drift_facts found;
	char what[DRIFT_BYTES];
	struct fail fail;

	store_each_change(all->store, h->name, true, UINT32_MAX, take_open, &open);
	if (open.found && strcmp(open.change.boot_id, clock_boot_id()) != 0) {
		settle_crashed(all, &open.change);
		open.found = false;
	}
	if (survey) {
		note_problems(h, survey);
		hotfix_attach_gate(h);
	}
	if (h->gate) {
		committed = gate_committed(h->gate);
		trial = gate_trial(h->gate);
		lease_lives = trial && gate_live(h->gate, now_ns) == trial;
	}
	if (h->gate && (committed || lease_lives)) {
		h->adopted = true;
		rc->adopted++;
	}

	if (trial && has_row && gate_version(h->gate, trial).serial == row.committed_serial &&
	    (!open.found || open.change.serial != row.committed_serial)) {
		gate_commit(h->gate, trial); /* its commit was durable already */
	} else if (trial && lease_lives && open.found &&
		   open.change.serial == gate_version(h->gate, trial).serial) {
		change_resume(h, &open.change, trial);
		goto out;
	} else if (trial && open.found &&
		   open.change.serial == gate_version(h->gate, trial).serial) {
		change_revert(
			h, &open.change, trial, "LEASE_EXPIRED",
			"hotfixd was gone when the lease of the trial ended; the kernel went back by itself");
		goto out;
	} else if (trial) {
		gate_commit(h->gate, committed);
	}
	committed = h->gate ? gate_committed(h->gate) : 0;
	v = h->gate ? gate_version(h->gate, committed) : (struct gate_version){0};

	if (open.found &&
	    (is_verb(&open.change, "disable") || is_verb(&open.change, "remove") ||
	     is_verb(&open.change, "take_off"))) {
		end_open(all, &open.change, "failed", "INTERRUPTED", "taken up again at start");
		if (is_verb(&open.change, "take_off"))
			verb_take_off(h, "taken up again at start", open.change.actor_uid, &id);
		if (is_verb(&open.change, "disable"))
			verb_disable(all, h->name, "taken up again at start",
				     open.change.actor_uid, &id, &fail);
		else if (is_verb(&open.change, "remove") &&
			 (h->gate || !has_row || row.disabled))
			verb_remove(all, h->name, open.change.serial, open.change.actor_uid,
				    &id, &fail);
		goto out;
	}
	if (has_row && row.disabled && h->gate) {
		if (open.found)
			end_open(all, &open.change, "failed", "INTERRUPTED", before_the_kernel);
		verb_disable(all, h->name, "disabled, but found in the kernel at start", 0, &id,
			     &fail);
		goto out;
	}
	/* The gate is the pinned one: it was opened just now. */
	found = (struct drift_facts){
		.survey = survey,
		.committed_serial = v.serial,
		.gate_serial = v.serial,
		.gate_index =
			(uint32_t)json_integer_value(json_object_get(survey, "committed")),
	};
	known = committed && is_known(all, h->name, v);
	if (committed && !known) {
		snprintf(
			h->problem, sizeof(h->problem),
			"serial %" PRIu64
			" runs in the kernel but is not the one in this store: import its bundle, or disable it",
			(uint64_t)v.serial);
	} else if (committed && (!has_row || row.committed_serial != v.serial)) {
		log_event(
			LOG_WARNING,
			"the kernel runs another version than the store says: corrected hotfix=%s serial=%" PRIu64
			" stored=%" PRIu64,
			h->name, (uint64_t)v.serial, row.committed_serial);
		snprintf(row.name, sizeof(row.name), "%s", h->name);
		snprintf(row.boot_id, sizeof(row.boot_id), "%s", clock_boot_id());
		row.committed_serial = v.serial;
		if (row.high_water < v.serial)
			row.high_water = v.serial;
		store_put_hotfix(all->store, &row);
	}
	if (open.found && v.serial == open.change.serial && v.serial) {
		end_open(all, &open.change, "done", "RECOVERED", "finished at the next start");
		open.found = false;
	}
	if (open.found && (committed || !has_row || !row.committed_serial || row.disabled)) {
		change_undo(h, &open.change, before_the_kernel);
		goto out;
	}
	if (open.found)
		end_open(all, &open.change, "failed", "INTERRUPTED", before_the_kernel);
	if (has_row && row.committed_serial && !row.disabled && !committed)
		restore_mark(h, "committed before, not in the kernel at start");
	else if (survey && known && !row.disabled && drift_find(&found, what))
		restore_mark(h, what);
	else if (survey && !committed)
		change_sweep(h, 0);
	else if (json_is_integer(json_object_get(survey, "half_made")))
		change_sweep(
			h, (uint32_t)json_integer_value(json_object_get(survey, "half_made")));
out:
	store_change_clear(&open.change);
}

static void reconcile_all(struct reconcile *rc)
{
	const json_t *found = json_object_get(rc->survey, "hotfixes"), *one;
	bool ok = rc->fail.code == FAIL_NONE;
	struct hotfix *h;
	size_t i;

	if (!ok)
		log_event(LOG_ERR, "the kernel could not be surveyed: %s", rc->fail.message);
	json_array_foreach(found, i, one)
		hotfix_get(rc->all, json_string_value(json_object_get(one, "name")), &h);
	TAILQ_FOREACH(h, &rc->all->list, link) {
		const json_t *survey = NULL;

		json_array_foreach(found, i, one)
			if (strcmp(json_string_value(json_object_get(one, "name")), h->name) ==
			    0)
				survey = one;
		if (!ok)
			snprintf(h->problem, sizeof(h->problem),
				 "the kernel could not be surveyed: %.180s", rc->fail.message);
		reconcile_one(rc, h, survey);
	}
	json_decref(rc->survey);
	rc->survey = NULL;
	rc->done(rc->adopted, rc->cookie);
}

static void on_surveyed(const struct worker_result *result, void *cookie)
{
	struct reconcile *rc = cookie;

	rc->is_surveyed = true;
	rc->fail = result->fail;
	rc->survey = json_deep_copy(result->report);
	if (rc->all)
		reconcile_all(rc);
}

static int take_open_name(const struct store_change *c, void *cookie)
{
	struct hotfix *h;

	return c->name[0] ? hotfix_get(cookie, c->name, &h) : 0;
}

int reconcile_look(struct workers *workers, struct reconcile **ret_reconcile)
{
	struct worker_job job = {.op = "survey"};
	AUTO(reconcile_freep) struct reconcile *rc = calloc(1, sizeof(*rc));
	int r;

	if (!rc)
		return -ENOMEM;
	r = worker_run(workers, &job, on_surveyed, rc, NULL);
	if (r < 0)
		return r;
	*ret_reconcile = take_ptr(rc);
	workers_start(workers);
	return 0;
}

int reconcile_start(struct reconcile *rc, struct hotfixes *all, reconcile_done_fn done,
		    void *cookie)
{
	int r = store_each_hotfix(all->store, take_hotfix, all);

	if (r == 0)
		r = store_each_change(all->store, NULL, true, UINT32_MAX, take_open_name, all);
	if (r < 0)
		return r;
	rc->all = all;
	rc->done = done;
	rc->cookie = cookie;
	if (rc->is_surveyed)
		reconcile_all(rc);
	return 0;
}

struct reconcile *reconcile_free(struct reconcile *rc)
{
	if (rc)
		json_decref(rc->survey);
	free(rc);
	return NULL;
}
