// SPDX-License-Identifier: BSD-2-Clause
#include "server/outcome.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/log.h"

#define RETRY_S 5

struct owed {
	TAILQ_ENTRY(owed) link;
	uint64_t change_id, serial, ended_ms;
	char name[HOOK_NAME_MAX + 1], verb[16], outcome[16], code[32];
	char *detail, *log;
	json_t *evidence;
	bool quarantine, forget, has_row;
	struct store_hotfix row;
};

struct outcomes {
	struct hotfixes *all;
	struct event *timer;
	TAILQ_HEAD(, owed) list;
};

static struct owed *owed_free(struct owed *o)
{
	if (o) {
		free(o->detail);
		free(o->log);
		json_decref(o->evidence);
		free(o);
	}
	return NULL;
}
DEFINE_AUTO(struct owed, owed_free)

json_t *outcome_plan(const struct hotfix_change *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s*, s:s*, s:o*}", "index",
			 (json_int_t)c->index, "old_index", (json_int_t)c->old_index,
			 "trial_ms", (json_int_t)c->trial_ms, "trial_max_ms",
			 (json_int_t)c->trial_max_ms, "min_calls", (json_int_t)c->min_calls,
			 "started_mono_ms", (json_int_t)c->started_mono_ms, "commit",
			 c->commit_now, "reason", c->reason[0] ? c->reason : NULL, "warning",
			 c->warning[0] ? c->warning : NULL, "began",
			 c->watch ? watch_began(c->watch) : NULL);
}

json_t *outcome_evidence(const struct hotfix_change *c)
{
	json_t *evidence = outcome_plan(c);

	json_object_update(evidence, c->reports);
	if (c->watch && c->live) {
		json_object_set_new(evidence, "calls", json_integer((json_int_t)c->calls));
		json_object_set_new(evidence, "health", watch_findings(c->watch));
	}
	return evidence;
}

static struct owed *owed_new(const struct hotfix *h, const char *outcome, const char *code,
			     const char *detail, const struct store_hotfix *row_or_null)
{
	const struct hotfix_change *c = &h->change;
	AUTO(owed_freep) struct owed *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->change_id = c->id;
	o->serial = c->serial;
	o->ended_ms = clock_real_ms();
	snprintf(o->name, sizeof(o->name), "%s", h->name);
	snprintf(o->verb, sizeof(o->verb), "%s", c->verb);
	snprintf(o->outcome, sizeof(o->outcome), "%s", outcome);
	snprintf(o->code, sizeof(o->code), "%s", code);
	o->detail = strdup(detail);
	o->log = c->log ? strdup(c->log) : NULL;
	o->evidence = outcome_evidence(c);
	o->quarantine = c->harmful;
	o->forget = c->forget;
	o->has_row = row_or_null;
	if (row_or_null)
		o->row = *row_or_null;
	return o->detail && (o->log || !c->log) ? take_ptr(o) : NULL;
}

int outcome_quarantine(struct store *s, const char *name, uint64_t serial, const char *code,
		       const char *detail)
{
	char why[256], subject[HOOK_NAME_MAX + 24];
	int r;

	snprintf(why, sizeof(why), "%s: %.200s", code, detail);
	snprintf(subject, sizeof(subject), "%s@%" PRIu64, name, serial);
	r = store_quarantine(s, name, serial, true, why);
	return r < 0 ? r
		     : store_audit(s, clock_real_ms(), 0, "quarantine", subject, code, NULL);
}

static int write_steps(struct store *s, const struct owed *o)
{
	char text[HOOK_NAME_MAX + 24];
	int r = 0;

	snprintf(text, sizeof(text), "%s@%" PRIu64, o->name, o->serial);
	if (o->has_row)
		r = store_put_hotfix(s, &o->row);
	if (r == 0 && o->change_id)
		r = store_end_change(s, o->change_id, o->ended_ms, o->outcome, o->code,
				     o->detail, o->log, o->evidence);
	if (r == 0)
		r = store_audit(s, clock_real_ms(), 0, o->verb, text, o->outcome, NULL);
	if (r == 0 && o->quarantine) {
		r = outcome_quarantine(s, o->name, o->serial, o->code, o->detail);
		r = r == -ENOENT ? 0 : r; /* removed meanwhile */
	}
	if (r == 0 && o->forget)
		r = store_delete_hotfix(s, o->name);
	return r;
}

static int write_one(struct store *s, const struct owed *o)
{
	int r = store_begin(s);

	if (r < 0)
		return r;
	r = write_steps(s, o);
	if (r == 0)
		r = store_commit(s);
	if (r < 0)
		store_rollback(s);
	return r;
}

/* What is written now says it better than what is owed. */
static void overtake(struct hotfix *h)
{
	struct owed *o;

	if (h->all->outcomes)
		TAILQ_FOREACH(o, &h->all->outcomes->list, link)
			if (strcmp(o->name, h->name) == 0)
				o->has_row = o->forget = false;
}

int outcome_write(struct hotfix *h, const char *outcome, const char *code, const char *detail,
		  const struct store_hotfix *row_or_null)
{
	AUTO(owed_freep) struct owed *o = owed_new(h, outcome, code, detail, row_or_null);
	int r = o ? write_one(h->all->store, o) : -ENOMEM;

	if (r == 0 && (o->has_row || o->forget))
		overtake(h);
	return r;
}

/* ---- later ------------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct outcomes *os = cookie;

	(void)fd;
	(void)what;
	outcome_settle(os->all);
}

static struct outcomes *outcomes_of(struct hotfixes *all)
{
	struct outcomes *os = all->outcomes;

	if (os)
		return os;
	os = calloc(1, sizeof(*os));
	if (!os)
		return NULL;
	os->all = all;
	TAILQ_INIT(&os->list);
	os->timer = evtimer_new(all->base, on_timer, os);
	if (!os->timer) {
		free(os);
		return NULL;
	}
	all->outcomes = os;
	return os;
}

static void try_again_later(struct outcomes *os)
{
	static const struct timeval later = {RETRY_S, 0};

	if (!TAILQ_EMPTY(&os->list))
		event_add(os->timer, &later);
}

void outcome_owe(struct hotfix *h, const char *outcome, const char *code, const char *detail,
		 const struct store_hotfix *row_or_null)
{
	struct outcomes *os = outcomes_of(h->all);
	struct owed *o = os ? owed_new(h, outcome, code, detail, row_or_null) : NULL;

	log_event(LOG_ERR,
		  "outcome not written id=%" PRIu64 " hotfix=%s verb=%s serial=%" PRIu64
		  " outcome=%s retry=%s",
		  h->change.id, h->name, h->change.verb, h->change.serial, outcome,
		  o ? "soon" : "at the next start");
	if (!o)
		return;
	if (o->has_row || o->forget)
		overtake(h);
	TAILQ_INSERT_TAIL(&os->list, o, link);
	try_again_later(os);
}

bool outcome_is_owed(const struct hotfix *h)
{
	const struct owed *o;

	if (h->all->outcomes)
		TAILQ_FOREACH(o, &h->all->outcomes->list, link)
			if (strcmp(o->name, h->name) == 0 && (o->has_row || o->forget))
				return true;
	return false;
}

void outcome_recall(const struct hotfixes *all, struct store_change *c)
{
	const struct owed *o;

	if (!c->id || c->outcome[0] || !all->outcomes)
		return;
	TAILQ_FOREACH(o, &all->outcomes->list, link) {
		if (o->change_id != c->id)
			continue;
		snprintf(c->outcome, sizeof(c->outcome), "%s", o->outcome);
		snprintf(c->code, sizeof(c->code), "%s", o->code);
		snprintf(c->detail, sizeof(c->detail), "%s", o->detail);
		c->finished_ms = o->ended_ms;
	}
}

void outcome_settle(struct hotfixes *all)
{
	struct outcomes *os = all->outcomes;
	struct owed *o;
	int r;

	while (os && (o = TAILQ_FIRST(&os->list))) {
		r = write_one(all->store, o);
		/* A commit that failed may have been written after all: its outcome is there. */
		if (r < 0 && r != -EEXIST) {
			try_again_later(os);
			return;
		}
		log_event(LOG_NOTICE,
			  "outcome written at last id=%" PRIu64 " hotfix=%s verb=%s outcome=%s",
			  o->change_id, o->name, o->verb, o->outcome);
		TAILQ_REMOVE(&os->list, o, link);
		owed_free(o);
	}
}

struct outcomes *outcomes_free(struct outcomes *os)
{
	struct owed *o;

	if (!os)
		return NULL;
	while ((o = TAILQ_FIRST(&os->list))) {
		TAILQ_REMOVE(&os->list, o, link);
		owed_free(o);
	}
	event_free(os->timer);
	free(os);
	return NULL;
}
