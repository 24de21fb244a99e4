// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/owner_private.h"

#include <errno.h>
#include <string.h>

#include "lib/json.h"
#include "lib/log.h"

static const struct {
	const char *verb;
	enum rollout_event_type type;
} verbs[] = {
	{"submit", ROLLOUT_SUBMIT},	{"approve", ROLLOUT_APPROVE},
	{"override", ROLLOUT_OVERRIDE}, {"pause", ROLLOUT_PAUSE},
	{"resume", ROLLOUT_RESUME},	{"promote", ROLLOUT_PROMOTE},
	{"abort", ROLLOUT_ABORT},	{"retry", ROLLOUT_RETRY},
	{"undo", ROLLOUT_UNDO},		{"supersede", ROLLOUT_SUPERSEDE},
};

static enum rollout_scope scope_of(const char *text)
{
	return strcmp(text, "wave") == 0  ? ROLLOUT_WAVE
	       : strcmp(text, "all") == 0 ? ROLLOUT_ALL
					  : ROLLOUT_NOTHING;
}

/* Its texts are borrowed from doc. */
static int parse(const json_t *doc, struct rollout_event *ret_event, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("request", doc, reterr_fail);
	const char *verb = json_str(&f, "verb", 16);
	struct rollout_event ev = {
		.type = ROLLOUT_EVENTS_,
		.actor = json_str(&f, "actor", ROLLOUT_ID_BYTES - 1),
		.reason = json_str_or(&f, "reason", 4096, ""),
		.scope = scope_of(json_str_or(&f, "scope", 16, "nothing")),
		.host = json_str_or(&f, "host", ROLLOUT_ID_BYTES - 1, NULL),
		.by = json_str_or(&f, "by", ROLLOUT_ID_BYTES - 1, NULL),
	};

	for (size_t i = 0; f.r == 0 && i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verb, verbs[i].verb) == 0)
			ev.type = verbs[i].type;
	if (f.r == 0 && ev.type == ROLLOUT_EVENTS_)
		json_bad(&f, "verb", "is none that a rollout knows");
	if (json_fields_end(&f) < 0)
		return f.r;
	*ret_event = ev;
	return 0;
}

/* ---- how many came after it ------------------------------------------------------------- */

/* Ids grow with time. */
static void on_newer(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;
	struct fleet_rollout row;

	if (!charge_answered(ch, a))
		return;
	ch->newer = 0;
	ch->newer_asked = false;
	ch->newer_known = a->r == 0;
	while (a->r == 0 && fleet_next_rollout(a, &row))
		ch->newer += strcmp(row.name, ch->name) == 0;
	fleet_answer_free(a);
	owner_ask_requests(ch->o);
}

/* False: the request has to wait for it. */
static bool know_newer(struct charge *ch)
{
	if (ch->newer_known)
		return true;
	if (!ch->newer_asked) {
		ch->newer_asked = true;
		charge_wait(ch, fleet_rollouts(ch->o->c->fleet, false, ch->id, OWNER_LIST,
					       on_newer, ch));
	}
	return false;
}

/* ---- one request ------------------------------------------------------------------------ */

static void refused(struct charge *ch, const char *actor, const char *text)
{
	struct rollout_audit note = {.code = "REFUSED"};

	log_event(LOG_INFO, "a request was refused rollout=%s actor=%s reason=\"%s\"", ch->id,
		  actor, text);
	snprintf(note.actor, sizeof(note.actor), "%.64s", actor);
	snprintf(note.text, sizeof(note.text), "%.199s", text);
	note.from = note.to = rollout_state(ch->r);
	note.generation = rollout_generation(ch->r);
	if (pending_note(ch, &note) < 0)
		charge_again(ch, OWNER_RETRY_MS);
}

void request_heed(struct charge *ch, const struct fleet_request *q)
{
	AUTO_JSON json_t *doc = NULL;
	struct rollout_event ev = {.type = ROLLOUT_EVENTS_, .actor = ROLLOUT_ENGINE};
	struct fail fail;
	int r = json_parse("request", q->text, strlen(q->text), &doc, &fail);

	if (r == 0)
		r = parse(doc, &ev, &fail);
	if (r == 0 && ev.type == ROLLOUT_UNDO) {
		if (!know_newer(ch))
			return;
		ev.newer = ch->newer;
	}
	if (r == 0 && ev.type == ROLLOUT_UNDO && ch->blocked)
		r = fail_set(&fail, FAIL_CONFLICT, "another rollout has its hosts by now");
	if (r == 0)
		r = charge_step(ch, &ev, &fail);
	if (ch->phase != CHARGE_RUNS)
		return;
	ch->request = ch->pending.requests_done = q->seq;
	ch->pending.touched = true;
	if (r < 0)
		refused(ch, ev.actor, fail.message);
}
