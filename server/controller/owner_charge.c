// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/owner_private.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/catalogue.h"
#include "server/controller/facts.h"
#include "server/controller/roots.h"
#include "store/catalog.h"
#include "store/trust.h"

#define START_MS  10000 /* roots and catalogue have been read by then, if there are any */
#define BROKEN_MS 60000

/* ---- life ---------------------------------------------------------------------------- */

static void reset(struct charge *ch)
{
	fleet_answer_free(ch->rows);
	fleet_answer_free(ch->page);
	ch->rows = ch->page = NULL;
	pending_clear(&ch->pending);
	ch->write = write_free(ch->write);
	rollout_effects_clear(&ch->fx);
	ch->r = rollout_free(ch->r);
	ch->windows = calendar_free(ch->windows);
	ch->reading = ch->rewind = ch->caught_up = ch->told = ch->told_window = ch->asked =
		false;
	ch->newer_known = ch->newer_asked = false;
	ch->request = 0;
}

void charge_free(struct charge *ch)
{
	reset(ch);
	free(ch);
}

struct charge *charge_find(struct owner *o, const char *id)
{
	struct charge *ch;

	LIST_FOREACH(ch, &o->charges, next)
	{
		if (strcmp(ch->id, id) == 0)
			return ch;
	}
	return NULL;
}

void charge_drop(struct charge *ch, const char *why)
{
	log_event(LOG_INFO, "rollout let go rollout=%s reason=\"%s\"", ch->id, why);
	LIST_REMOVE(ch, next);
	ch->dropped = true;
	if (ch->questions)
		reset(ch);
	else
		charge_free(ch);
}

void charge_again(struct charge *ch, uint64_t wait_ms)
{
	reset(ch);
	ch->phase = CHARGE_WAITS;
	ch->retry_up_ms = clock_up_ms() + wait_ms;
	owner_go(ch->o);
}

void charge_wait(struct charge *ch, int r)
{
	if (r == 0)
		ch->questions++;
	else
		charge_again(ch, OWNER_RETRY_MS);
}

bool charge_answered(struct charge *ch, struct fleet_answer *a)
{
	ch->questions--;
	if (!ch->dropped && a->r != -ECANCELED)
		return true;
	fleet_answer_free(a);
	if (ch->dropped && !ch->questions)
		charge_free(ch);
	return false;
}

/* ---- reading it ------------------------------------------------------------------------ */

/* As long as not all hosts were looked at it is as late as it was when it was last stepped. */
static uint64_t frozen(const struct charge *ch, const json_t *header)
{
	enum rollout_state state = rollout_state(ch->r);
	json_int_t anchor_ms = json_integer_value(json_object_get(header, "anchor_ms"));

	return owner_is_started(state) && state != ROLLOUT_PAUSED &&
			       state != ROLLOUT_ROLLBACK_INCOMPLETE && anchor_ms > 0
		       ? (uint64_t)anchor_ms
		       : ch->o->c->real_ms();
}

/* They were good where it was started; this system may not know a time zone of theirs. */
static void read_windows(struct charge *ch)
{
	struct fail fail;

	if (calendar_new(rollout_spec(ch->r)->windows, &ch->windows, &fail) == 0)
		return;
	snprintf(ch->windows_why, sizeof(ch->windows_why), "its windows cannot be told: %.170s",
		 fail.message);
	ch->windows_up_ms = clock_up_ms() + OWNER_WINDOWS_MS;
}

static int take_header(struct charge *ch, const struct fleet_rollout *row,
		       struct fail *reterr_fail)
{
	AUTO_JSON json_t *header = NULL;
	int r = json_parse("stored rollout", row->state, strlen(row->state), &header,
			   reterr_fail);

	if (r == 0)
		r = rollout_load(header, &ch->r, reterr_fail);
	if (r == 0 && rollout_generation(ch->r) != row->generation)
		r = fail_set(reterr_fail, FAIL_BAD_FORMAT,
			     "stored rollout: its generation is not that of its row");
	if (r < 0)
		return r;
	read_windows(ch);
	snprintf(ch->name, sizeof(ch->name), "%s", row->name);
	ch->serial = (uint64_t)json_integer_value(json_object_get(header, "serial"));
	ch->stored = row->generation;
	ch->frozen_ms = frozen(ch, header);
	ch->wake_ms = 0;
	ch->words = (struct director_rollout){.id = ch->id,
					      .name = ch->name,
					      .trial_ms = rollout_spec(ch->r)->trial_ms,
					      .min_calls = rollout_spec(ch->r)->trial_calls};
	return 0;
}

static void broken(struct charge *ch, const struct fail *fail)
{
	log_event(LOG_ERR, "a rollout cannot be read rollout=%s reason=\"%s\"", ch->id,
		  fail->message);
	charge_again(ch, BROKEN_MS);
}

static void on_rows(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;
	struct fleet_rollout row;
	struct fail fail;

	if (!charge_answered(ch, a))
		return;
	if (a->r == 0 && fleet_next_rollout(a, &row) && row.active && row.epoch == ch->epoch &&
	    strcmp(row.owner, ch->o->lease) == 0) {
		if (take_header(ch, &row, &fail) < 0) {
			broken(ch, &fail);
		} else {
			ch->phase = CHARGE_FILLS;
			ch->rows = take_ptr(a);
			owner_go(ch->o);
		}
	} else if (a->r == 0 || a->r == -ENOENT) {
		charge_drop(ch, "it is somebody else's, or over");
	} else {
		charge_again(ch, OWNER_RETRY_MS);
	}
	fleet_answer_free(a);
}

static void ask_rows(struct charge *ch)
{
	ch->phase = CHARGE_ASKED;
	charge_wait(ch, fleet_rollout(ch->o->c->fleet, ch->id, on_rows, ch));
}

int charge_new(struct owner *o, const char *id, uint64_t epoch)
{
	struct charge *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return -ENOMEM;
	ch->o = o;
	snprintf(ch->id, sizeof(ch->id), "%s", id);
	ch->epoch = epoch;
	ch->claimed_up_ms = clock_up_ms();
	LIST_INSERT_HEAD(&o->charges, ch, next);
	ask_rows(ch);
	return 0;
}

static void from_the_first(struct charge *ch)
{
	fleet_answer_free(take_ptr(ch->page));
	ch->change = 0;
	ch->change_host[0] = '\0';
	ch->more = true;
	ch->rewind = false;
}

/* Each host is looked at again, before anything starts. */
static void look_again(struct charge *ch)
{
	if (ch->caught_up)
		ch->frozen_ms = ch->stepped_ms;
	ch->caught_up = false;
	if (ch->reading)
		ch->rewind = true;
	else
		from_the_first(ch);
}

static bool fill(struct charge *ch)
{
	struct fleet_rollout_host row;
	struct fail fail;

	for (size_t i = 0; i < OWNER_ROWS; i++) {
		AUTO_JSON json_t *host = NULL;
		int r;

		if (!fleet_next_rollout_host(ch->rows, &row)) {
			ch->rows = fleet_answer_free(ch->rows);
			ch->phase = CHARGE_RUNS;
			from_the_first(ch);
			return true;
		}
		r = json_parse("stored host", row.state, strlen(row.state), &host, &fail);
		if (r == 0)
			r = rollout_load_host(ch->r, host, &fail);
		if (r == -ENOMEM)
			charge_again(ch, OWNER_RETRY_MS);
		else if (r < 0)
			broken(ch, &fail);
		if (r < 0)
			return false;
	}
	return true;
}

/* ---- a step -------------------------------------------------------------------------------- */

int charge_step(struct charge *ch, const struct rollout_event *ev, struct fail *reterr_fail)
{
	bool started = owner_is_started(rollout_state(ch->r));
	uint64_t now_ms = ch->caught_up ? ch->o->c->real_ms() : ch->frozen_ms;
	int r = rollout_step(ch->r, ev, now_ms, &ch->fx, reterr_fail);

	if (r == 0 && ch->fx.changed) {
		ch->o->stats.steps++;
		r = pending_take(ch, &ch->fx);
		/* From now on its hosts are held. */
		if (r == 0 && !started && owner_is_started(rollout_state(ch->r)))
			r = pending_all_hosts(ch);
	}
	if (r == -ENOMEM) {
		log_event(LOG_ERR, "out of memory in a rollout rollout=%s", ch->id);
		charge_again(ch, OWNER_RETRY_MS);
		return r;
	}
	ch->wake_ms = ch->fx.wake_ms;
	ch->stepped_ms = now_ms;
	return r;
}

void charge_tell(struct charge *ch, const struct rollout_event *ev)
{
	struct fail fail;

	if (ch->phase == CHARGE_RUNS && charge_step(ch, ev, &fail) < 0 &&
	    ch->phase == CHARGE_RUNS)
		log_event(LOG_WARNING, "the engine refused a fact rollout=%s reason=\"%s\"",
			  ch->id, fail.message);
}

/* ---- what is so ------------------------------------------------------------------------------ */

static bool find_bundle(struct charge *ch)
{
	const struct catalog_entry *e;

	if (ch->words.has_bundle)
		return true;
	e = catalogue_find(ch->o->c->catalogue, ch->name, ch->serial);
	if (!e)
		return false;
	memcpy(ch->words.manifest_sha256, e->manifest_sha256, sizeof(e->manifest_sha256));
	memcpy(ch->words.bundle_sha256, e->bundle_sha256, sizeof(e->bundle_sha256));
	ch->words.bundle_bytes = e->bundle_bytes;
	ch->words.has_bundle = true;
	return true;
}

/* NULL: it may go on; else why not. */
static const char *closed_for(struct charge *ch, uint64_t now_ms, uint64_t *ret_next_ms,
			      struct fail *fail)
{
	const struct guards_one *freeze;
	struct calendar_answer look;

	*ret_next_ms = 0;
	if (!find_bundle(ch))
		return "its bundle is not in the catalogue";
	if (ch->blocked)
		return "another rollout holds some of its hosts";
	if (!ch->windows && clock_up_ms() >= ch->windows_up_ms)
		read_windows(ch);
	if (!ch->windows)
		return ch->windows_why;
	calendar_look(ch->windows, now_ms, &look);
	*ret_next_ms = look.next_ms;
	freeze = guards_frozen(ch->o->guards, ch->name, now_ms);
	if (freeze) {
		if (look.open || freeze->until_ms > look.next_ms)
			*ret_next_ms = freeze->until_ms;
		guards_describe(freeze, fail->message);
		return fail->message;
	}
	if (look.open)
		return NULL;
	snprintf(fail->message, sizeof(fail->message), "%s", look.why);
	return fail->message;
}

/* Kept until it is another; true: it is. why NULL: nothing is waited for. */
static bool learn(char known[ROLLOUT_WHY_BYTES], const char *why)
{
	char text[ROLLOUT_WHY_BYTES];

	snprintf(text, sizeof(text), "%.*s", ROLLOUT_WHY_BYTES - 1, why ? why : "");
	if (strcmp(text, known) == 0)
		return false;
	memcpy(known, text, sizeof(text));
	return true;
}

static void tell_window(struct charge *ch, uint64_t now_ms)
{
	uint64_t next_ms;
	struct fail fail;
	const char *why = closed_for(ch, now_ms, &next_ms, &fail);
	bool open = !why, is_new;

	if (open && !ch->caught_up) /* it might start without those that were not read yet */
		return;
	is_new = learn(ch->closed_for, why);
	if (ch->told_window && !is_new && open == ch->told_open && next_ms == ch->told_next_ms)
		return;
	if (is_new && !open)
		log_event(LOG_NOTICE, "a rollout waits rollout=%s reason=\"%s\"", ch->id, why);
	ch->told_window = true;
	ch->told_open = open;
	ch->told_next_ms = next_ms;
	charge_tell(ch, &(struct rollout_event){.type = ROLLOUT_WINDOW,
						.on = open,
						.reason = ch->closed_for,
						.next_ms = next_ms});
}

/* NULL: hosts will obey what is signed now; else why not. */
static const char *not_signing_for(struct charge *ch, struct fail *fail)
{
	struct controller *c = ch->o->c;

	if (director_ready(c->director, roots_trust(c->roots), fail) < 0)
		return fail->message;
	return clock_up_ms() < ch->sign_up_ms ? ch->sign_why : NULL;
}

static void tell_director(struct charge *ch)
{
	struct fail fail;
	const char *why = not_signing_for(ch, &fail);
	bool is_new = learn(ch->unsigned_for, why);

	if (ch->told && !is_new)
		return;
	if (is_new && why)
		log_event(LOG_ERR, "nothing can be signed rollout=%s reason=\"%s\"", ch->id,
			  why);
	charge_tell(ch, &(struct rollout_event){.type = ROLLOUT_DIRECTOR_LOST,
						.on = why != NULL,
						.reason = ch->unsigned_for});
}

static void tell_facts(struct charge *ch)
{
	struct owner *o = ch->o;
	const struct trust *trust = roots_trust(o->c->roots);
	uint64_t floor = trust ? trust_floor(trust, ch->name) : 0;
	const struct guards_one *line = guards_line(o->guards);
	char line_why[GUARDS_WHY_BYTES] = "";
	uint64_t root = trust ? trust->version : 0;
	bool quarantine;

	find_bundle(ch);
	quarantine = ch->words.has_bundle &&
		     (guards_quarantined(o->guards, ch->words.bundle_sha256) ||
		      guards_quarantined(o->guards, ch->words.manifest_sha256));
	if (ch->told && (quarantine != ch->told_quarantine || o->targets != ch->told_targets ||
			 root != ch->told_root))
		look_again(ch);
	ch->told_root = root;
	ch->told_quarantine = quarantine;
	ch->told_targets = o->targets;
	if (!ch->told || ch->told_lost != o->lost)
		charge_tell(ch, &(struct rollout_event){.type = ROLLOUT_ENGINE_LOST,
							.on = o->lost});
	if (line)
		guards_describe(line, line_why);
	if (!ch->told || strcmp(ch->told_line, line_why) != 0)
		charge_tell(ch, &(struct rollout_event){.type = ROLLOUT_STOP_THE_LINE,
							.on = line != NULL,
							.reason = line_why});
	tell_director(ch);
	if (floor > ch->told_floor)
		charge_tell(ch,
			    &(struct rollout_event){.type = ROLLOUT_FLOOR, .serial = floor});
	tell_window(ch, o->c->real_ms());
	if (ch->phase != CHARGE_RUNS)
		return;
	ch->told = true;
	ch->told_lost = o->lost;
	memcpy(ch->told_line, line_why, sizeof(line_why));
	ch->told_floor = floor;
}

/* ---- hosts ------------------------------------------------------------------------------------- */

static void feed_facts(struct charge *ch, const struct fleet_host *h, struct facts *f)
{
	struct owner *o = ch->o;
	const struct rollout_event report = {
		.type = ROLLOUT_REPORT, .host = h->id, .report = &f->report};
	bool known = rollout_find(ch->r, h->id);
	const struct guards_one *freeze;
	char name[GUARDS_NAME_BYTES], unfit[ROOTS_WHY_BYTES];

	f->facts.unfit = roots_unfit(o->c->roots, &f->root, unfit);
	f->facts.missed = owner_missed(o, h->silent_ms);
	f->facts.quarantined = f->facts.quarantined || ch->told_quarantine;
	freeze = guards_hold(o->guards, ch->name, f->labels, o->c->real_ms());
	if (freeze && !f->facts.held_by)
		f->facts.held_by = guards_name(freeze, name);
	/* What it did comes before what it therefore is. */
	if (known)
		charge_tell(ch, &report);
	charge_tell(ch, &(struct rollout_event){
				.type = ROLLOUT_HOST, .host = h->id, .facts = &f->facts});
	if (!known)
		charge_tell(ch, &report);
}

static void feed_host(struct charge *ch, const struct fleet_host *h)
{
	const struct facts_query q = {.hotfix = ch->name,
				      .rollout = ch->id,
				      .serial = ch->serial,
				      .heartbeat_ms = ch->o->c->settings->heartbeat_ms};
	struct facts f;
	struct fail fail;

	if (h->gone) {
		charge_tell(ch,
			    &(struct rollout_event){.type = ROLLOUT_HOST_LEFT, .host = h->id});
		return;
	}
	if (facts_read(h, &q, &f, &fail) < 0) {
		log_event(LOG_WARNING,
			  "a host's report is not to be read host=%s reason=\"%s\"", h->id,
			  fail.message);
		return;
	}
	if (f.has_report)
		feed_facts(ch, h, &f);
	facts_clear(&f);
}

static void feed_page(struct charge *ch)
{
	AUTO(fleet_answer_freep) struct fleet_answer *page = take_ptr(ch->page);
	struct fleet_host h;
	size_t n = 0;

	while (ch->phase == CHARGE_RUNS && fleet_next_host(page, &h)) {
		feed_host(ch, &h);
		ch->change = h.change;
		snprintf(ch->change_host, sizeof(ch->change_host), "%s", h.id);
		n++;
	}
	if (ch->phase != CHARGE_RUNS)
		return;
	if (n == OWNER_PAGE) {
		ch->more = true;
		return;
	}
	if (!ch->caught_up) {
		ch->caught_up = true;
		owner_ask_requests(ch->o);
	}
}

static void on_page(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;

	if (!charge_answered(ch, a))
		return;
	if (ch->phase != CHARGE_RUNS || !ch->reading) { /* of before it was read anew */
		fleet_answer_free(a);
		return;
	}
	ch->reading = false;
	if (a->r < 0) {
		ch->more = true; /* with the next tick */
		fleet_answer_free(a);
		return;
	}
	if (ch->rewind)
		fleet_answer_free(a);
	else
		ch->page = a;
	if (ch->rewind)
		from_the_first(ch);
	owner_go(ch->o);
}

static void read_on(struct charge *ch)
{
	if (!ch->more || ch->reading || ch->page)
		return;
	ch->more = false;
	ch->reading = true;
	charge_wait(ch, fleet_hosts_changed(ch->o->c->fleet, ch->change, ch->change_host,
					    OWNER_PAGE, on_page, ch));
}

/* ---- its turn ------------------------------------------------------------------------------------ */

/* Roots and catalogue are read by others, at the start: what they do not know yet is no news. */
static bool is_early(const struct owner *o)
{
	return clock_up_ms() - o->started_up_ms < START_MS &&
	       (!roots_trust(o->c->roots) || !catalogue_version(o->c->catalogue));
}

static void tick(struct charge *ch)
{
	uint64_t now_ms = ch->o->c->real_ms();

	if (!ch->caught_up)
		return;
	if (ch->blocked && clock_up_ms() >= ch->blocked_up_ms)
		ch->blocked = false;
	if (now_ms >= ch->wake_ms || now_ms + OWNER_RETRY_MS < ch->stepped_ms)
		charge_tell(ch, &(struct rollout_event){.type = ROLLOUT_TICK});
	/* It was opened again, and what was asked of it then is done. */
	if (ch->phase == CHARGE_RUNS && rollout_is_over(rollout_state(ch->r)) && ch->asked)
		ch->pending.touched = true;
}

static bool run(struct charge *ch)
{
	if (is_early(ch->o) || ch->o->away)
		return false;
	if (ch->write)
		return write_go(ch);
	tell_facts(ch);
	if (ch->phase == CHARGE_RUNS && ch->page)
		feed_page(ch);
	if (ch->phase == CHARGE_RUNS)
		tick(ch);
	if (ch->phase == CHARGE_RUNS)
		read_on(ch);
	if (ch->phase == CHARGE_RUNS)
		write_begin(ch);
	return ch->phase == CHARGE_RUNS && ch->write;
}

bool charge_go(struct charge *ch)
{
	switch (ch->phase) {
	case CHARGE_ASKED:
	case CHARGE_BLOCKED:
		return false;
	case CHARGE_WAITS:
		if (clock_up_ms() >= ch->retry_up_ms && !ch->o->away)
			ask_rows(ch);
		return false;
	case CHARGE_FILLS:
		return fill(ch);
	case CHARGE_RUNS:
		return ch->o->guards && run(ch);
	}
	return false;
}
