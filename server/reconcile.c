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

/* One hot-fix, as the store, the open change and the kernel have it. */
struct sides {
	struct hotfix *h;
	const json_t *survey; /* NULL: the kernel has nothing of it */
	struct store_hotfix row;
	bool has_row;
	struct open_change open;
	bool lease_lives;
	uint32_t trial;		  /* index; 0 none */
	struct gate_version runs; /* what is committed in the kernel; serial 0 none */
	uint32_t committed;	  /* its index; 0 none */
	bool known;		  /* runs is in the store */
};

static void look_at_gate(struct sides *s)
{
	struct gate *g = s->h->gate;

	s->committed = g ? gate_committed(g) : 0;
	s->trial = g ? gate_trial(g) : 0;
	s->lease_lives = s->trial && gate_live(g, clock_mono_ns()) == s->trial;
	s->runs = g ? gate_version(g, s->committed) : (struct gate_version){0};
}

static void look_at_sides(struct hotfixes *all, struct sides *s)
{
	s->open.name = s->h->name;
	s->has_row = store_get_hotfix(all->store, s->h->name, &s->row) == 0;
	store_each_change(all->store, s->h->name, true, UINT32_MAX, take_open, &s->open);
	if (s->open.found && strcmp(s->open.change.boot_id, clock_boot_id()) != 0) {
		settle_crashed(all, &s->open.change);
		s->open.found = false;
	}
	if (s->survey) {
		note_problems(s->h, s->survey);
		hotfix_attach_gate(s->h);
	}
	look_at_gate(s);
}

/* True: its change goes on, or is on its way back; that is all there is to do. */
static bool settle_trial(struct sides *s)
{
	uint64_t serial = gate_version(s->h->gate, s->trial).serial;
	bool is_change = s->open.found && s->open.change.serial == serial;

	if (s->has_row && serial == s->row.committed_serial &&
	    (!s->open.found || s->open.change.serial != s->row.committed_serial)) {
		gate_commit(s->h->gate, s->trial); /* its commit was durable already */
	} else if (s->lease_lives && is_change) {
		change_resume(s->h, &s->open.change, s->trial);
		return true;
	} else if (is_change) {
		change_revert(
			s->h, &s->open.change, s->trial, "LEASE_EXPIRED",
			"hotfixd was gone when the lease of the trial ended; the kernel went back by itself");
		return true;
	} else {
		gate_commit(s->h->gate, s->committed);
	}
	look_at_gate(s);
	return false;
}

/* True: the open change took it out of the kernel, and does so again. */
static bool take_out_again(struct hotfixes *all, struct sides *s)
{
	static const char again[] = "taken up again at start";
	const struct store_change *c = &s->open.change;
	struct fail fail;
	uint64_t id;

	if (!s->open.found ||
	    (!is_verb(c, "disable") && !is_verb(c, "remove") && !is_verb(c, "take_off")))
		return false;
	end_open(all, c, "failed", "INTERRUPTED", again);
	if (is_verb(c, "take_off"))
		verb_take_off(s->h, again, c->actor_uid, &id);
	else if (is_verb(c, "disable"))
		verb_disable(all, s->h->name, again, c->actor_uid, &id, &fail);
	else if (s->h->gate || !s->has_row || s->row.disabled)
		verb_remove(all, s->h->name, c->serial, c->actor_uid, &id, &fail);
	return true;
}

/* True: it is disabled and runs nevertheless, which is put right. */
static bool disable_again(struct hotfixes *all, struct sides *s)
{
	struct fail fail;
	uint64_t id;

	if (!s->has_row || !s->row.disabled || !s->h->gate)
		return false;
	if (s->open.found)
		end_open(all, &s->open.change, "failed", "INTERRUPTED", before_the_kernel);
	verb_disable(all, s->h->name, "disabled, but found in the kernel at start", 0, &id,
		     &fail);
	return true;
}

/* The kernel is right about what is committed. */
static void correct_store(struct hotfixes *all, struct sides *s)
{
	if (!s->committed)
		return;
	s->known = is_known(all, s->h->name, s->runs);
	if (!s->known) {
		snprintf(
			s->h->problem, sizeof(s->h->problem),
			"serial %" PRIu64
			" runs in the kernel but is not the one in this store: import its bundle, or disable it",
			(uint64_t)s->runs.serial);
		return;
	}
	if (s->has_row && s->row.committed_serial == s->runs.serial)
		return;
	log_event(
		LOG_WARNING,
		"the kernel runs another version than the store says: corrected hotfix=%s serial=%" PRIu64
		" stored=%" PRIu64,
		s->h->name, (uint64_t)s->runs.serial, s->row.committed_serial);
	snprintf(s->row.name, sizeof(s->row.name), "%s", s->h->name);
	snprintf(s->row.boot_id, sizeof(s->row.boot_id), "%s", clock_boot_id());
	s->row.committed_serial = s->runs.serial;
	if (s->row.high_water < s->runs.serial)
		s->row.high_water = s->runs.serial;
	store_put_hotfix(all->store, &s->row);
}

/* True: what it left is being undone. */
static bool end_interrupted(struct hotfixes *all, struct sides *s)
{
	if (!s->open.found)
		return false;
	if (s->runs.serial && s->runs.serial == s->open.change.serial) {
		end_open(all, &s->open.change, "done", "RECOVERED",
			 "finished at the next start");
		return false;
	}
	if (s->committed || !s->has_row || !s->row.committed_serial || s->row.disabled) {
		change_undo(s->h, &s->open.change, before_the_kernel);
		return true;
	}
	end_open(all, &s->open.change, "failed", "INTERRUPTED", before_the_kernel);
	return false;
}

/* What is missing or half made. */
static void mend(struct sides *s)
{
	const json_t *half_made = json_object_get(s->survey, "half_made");
	/* The gate is the pinned one: it was opened just now. */
	struct drift_facts found = {
		.survey = s->survey,
		.committed_serial = s->runs.serial,
		.gate_serial = s->runs.serial,
		.gate_index =
			(uint32_t)json_integer_value(json_object_get(s->survey, "committed")),
	};
	char what[DRIFT_BYTES];

	if (s->has_row && s->row.committed_serial && !s->row.disabled && !s->committed)
		restore_mark(s->h, "committed before, not in the kernel at start");
	else if (s->survey && s->known && !s->row.disabled && drift_find(&found, what))
		restore_mark(s->h, what);
	else if (s->survey && !s->committed)
		change_sweep(s->h, 0);
	else if (json_is_integer(half_made))
		change_sweep(s->h, (uint32_t)json_integer_value(half_made));
}

static void reconcile_one(struct reconcile *rc, struct hotfix *h, const json_t *survey)
{
	struct sides s = {.h = h, .survey = survey};
	bool done;

	look_at_sides(rc->all, &s);
	if (s.committed || s.lease_lives) {
		h->adopted = true;
		rc->adopted++;
	}
	done = (s.trial && settle_trial(&s)) || take_out_again(rc->all, &s) ||
	       disable_again(rc->all, &s);
	if (!done) {
		correct_store(rc->all, &s);
		if (!end_interrupted(rc->all, &s))
			mend(&s);
	}
	store_change_clear(&s.open.change);
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
