// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a rollout would do: the engine's own plan, of the hosts as they are now. A start is the same, and
 * then the row; so nothing is started that could not begin.
 *
 *	bundles -> active rollouts -> guards -> hosts, page by page -> plan
 *	                                                                \-> row -> submit -> supersede those before
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "lib/json.h"
#include "server/controller/calendar.h"
#include "server/controller/director.h"
#include "server/controller/facts.h"
#include "server/controller/guards.h"
#include "server/controller/operators_private.h"
#include "server/controller/rollout.h"
#include "server/controller/roots.h"
#include "store/trust.h"

#define OTHERS_MAX 16 /* active rollouts of the same hot-fix */

struct planning {
	char id[ROLLOUT_ID_BYTES], name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	bool starts, stores; /* stores: no plan alone */
	json_t *spec, *hosts, *plan, *window;
	struct guards *guards;
	struct rollout *rollout; /* with the hosts, to plan on */
	struct rollout_effects fx;
	char after[CA_NAME_BYTES];
	size_t unreported;
	char other[OTHERS_MAX][ROLLOUT_ID_BYTES];
	size_t n_others, next_other;
	struct fail blocked; /* by a rollout that does not give way */
};

static void planning_free(void *state)
{
	struct planning *p = state;

	json_decref(p->spec);
	json_decref(p->hosts);
	json_decref(p->plan);
	json_decref(p->window);
	guards_free(p->guards);
	rollout_free(p->rollout);
	rollout_effects_clear(&p->fx);
	free(p);
}

/* Sorts by time; the rest keeps two of one second apart. */
static void make_id(uint64_t now_ms, char ret_id[ROLLOUT_ID_BYTES])
{
	time_t now_s = (time_t)(now_ms / 1000);
	struct tm tm;
	char stamp[32];

	gmtime_r(&now_s, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	snprintf(ret_id, ROLLOUT_ID_BYTES, "r%s-%04x", stamp, arc4random() & 0xffff);
}

static int new_rollout(struct call *call, struct rollout **ret_rollout)
{
	const struct planning *p = call->state;
	const struct trust *trust = roots_trust(call->o->c->roots);
	struct rollout_opts opts = {.id = p->id,
				    .name = p->name,
				    .author = call->user,
				    .serial = p->serial,
				    .floor = trust ? trust_floor(trust, p->name) : 0,
				    .takes_off = true,
				    .spec = p->spec};
	int r = rollout_new(&opts, ret_rollout, &call->fail);

	if (r == -ENOMEM)
		return oper_no_memory(call);
	if (r < 0 && call->fail.code == FAIL_BAD_FORMAT)
		call->fail.code = FAIL_USAGE; /* the request's, not a document's */
	return r;
}

static int take_request(struct call *call)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);
	struct planning *p = call->state;
	const json_t *spec;

	snprintf(p->name, sizeof(p->name), "%s", json_str(&f, "name", HOOK_NAME_MAX));
	p->serial = json_u64_or(&f, "serial", 1, INT64_MAX, 0);
	spec = json_obj_or_null(&f, "spec");
	p->starts = json_bool_or(&f, "start", true);
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	if (!hook_name_valid(p->name))
		return oper_fail(call, FAIL_USAGE, "\"%s\" cannot be the name of a hot-fix",
				 p->name);
	p->spec = spec ? json_incref((json_t *)(uintptr_t)spec) : json_object();
	p->hosts = json_object();
	make_id(call->now_ms, p->id);
	return p->spec && p->hosts ? 0 : oper_no_memory(call);
}

/* One that can never go on is not stored. */
static int look_at_windows(struct call *call)
{
	struct planning *p = call->state;
	const json_t *windows = json_object_get(p->spec, "windows");
	AUTO(calendar_freep) struct calendar *c = NULL;
	struct calendar_answer a;
	int r = calendar_check(windows, call->now_ms, &call->fail);

	if (r == 0)
		r = calendar_new(windows, &c, &call->fail);
	if (r < 0) {
		if (call->fail.code == FAIL_BAD_FORMAT)
			call->fail.code = FAIL_USAGE;
		return r;
	}
	calendar_look(c, call->now_ms, &a);
	p->window = json_pack("{s:b, s:o, s:s}", "open", a.open, "next", oper_time(a.next_ms),
			      "why", a.why);
	return p->window ? 0 : oper_no_memory(call);
}

/* ---- the row ----------------------------------------------------------------------------- */

static int on_superseded(struct call *call, struct fleet_answer *a);

static int answer_started(struct call *call)
{
	struct planning *p = call->state;
	json_t *superseded = json_array();

	for (size_t i = 0; i < p->n_others && p->starts; i++)
		json_array_append_new(superseded, json_string(p->other[i]));
	return oper_answer(call, 201,
			   json_pack("{s:i, s:s, s:s, s:I, s:b, s:o, s:O}", "schema_version", 1,
				     "id", p->id, "name", p->name, "serial",
				     (json_int_t)p->serial, "started", p->starts, "supersedes",
				     superseded, "plan", p->plan));
}

static int ask(struct call *call, const char *id, const char *verb, const char *by,
	       const char *action, int (*next)(struct call *, struct fleet_answer *))
{
	AUTO_JSON json_t *doc =
		json_pack("{s:s, s:s, s:s}", "verb", verb, "actor", call->user, "reason", "");
	AUTO_FREE char *text = NULL;
	struct fleet_entry entry = oper_entry(call, action, id, NULL);

	if (by)
		json_object_set_new(doc, "by", json_string(by));
	text = doc ? json_text(doc) : NULL;
	if (!text)
		return oper_no_memory(call);
	entry.detail = text;
	return oper_try(call, fleet_ask(call->o->c->fleet, id, text, &entry, oper_done, call),
			next);
}

/* Who was first there lets go of what it has not begun; what has ended meanwhile holds nothing. */
static int supersede_next(struct call *call)
{
	struct planning *p = call->state;

	if (p->next_other == p->n_others)
		return answer_started(call);
	return ask(call, p->other[p->next_other++], "supersede", p->id, "ASK_SUPERSEDE",
		   on_superseded);
}

static int on_superseded(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0 && a->r != -ENOENT)
		return oper_failed(call, a, NULL);
	return supersede_next(call);
}

static int on_submitted(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0) {
		const struct planning *p = call->state;

		oper_failed(call, a, NULL);
		oper_hint(call, "it is stored as a draft: hotfixctl rollout submit %s", p->id);
		return -EAGAIN;
	}
	return supersede_next(call);
}

static int on_stored(struct call *call, struct fleet_answer *a)
{
	const struct planning *p = call->state;

	(void)a;
	return p->starts ? ask(call, p->id, "submit", NULL, "ASK_SUBMIT", on_submitted)
			 : answer_started(call);
}

static int store(struct call *call)
{
	struct planning *p = call->state;
	AUTO(rollout_freep) struct rollout *fresh = NULL;
	AUTO_JSON json_t *header = NULL, *detail = NULL;
	AUTO_FREE char *text = NULL, *detail_text = NULL;
	struct fleet_rollout row;
	struct fleet_entry entry;
	int r = new_rollout(call, &fresh);

	if (r < 0)
		return r;
	header = rollout_to_json(fresh);
	text = header ? json_dumps(header, JSON_COMPACT) : NULL;
	detail = json_pack("{s:s, s:I, s:O}", "name", p->name, "serial", (json_int_t)p->serial,
			   "spec", p->spec);
	detail_text = detail ? json_text(detail) : NULL;
	if (!text || !detail_text)
		return oper_no_memory(call);
	row = (struct fleet_rollout){.id = p->id,
				     .name = p->name,
				     .state = text,
				     .generation = rollout_generation(fresh),
				     .created_ms = call->now_ms};
	entry = oper_entry(call, "CREATED", p->id, detail_text);
	return oper_wait(call,
			 fleet_new_rollout(call->o->c->fleet, &row, &entry, oper_done, call),
			 on_stored);
}

/* ---- the plan ---------------------------------------------------------------------------- */

static int none_eligible(struct call *call)
{
	const struct planning *p = call->state;
	AUTO_JSON json_t *counts = json_object();
	const char *host, *why, *most = NULL;
	json_int_t n, max = 0;
	json_t *v;

	json_object_foreach(json_object_get(p->plan, "excluded"), host, v) {
		why = json_string_value(v);
		n = json_integer_value(json_object_get(counts, why)) + 1;
		json_object_set_new(counts, why, json_integer(n));
		if (n > max) {
			max = n;
			most = why;
		}
	}
	oper_fail(call, FAIL_POLICY, "no host is eligible: %zu %s known%s%s%s",
		  json_object_size(p->hosts), json_object_size(p->hosts) == 1 ? "is" : "are",
		  most ? ", most are excluded for: " : "", most ? most : "",
		  p->unreported ? " (some have not reported yet)" : "");
	return oper_hint(call, "hotfixctl rollout plan tells why for each");
}

static void add_wait(json_t *waits, const struct guards_one *one)
{
	char text[GUARDS_WHY_BYTES];

	guards_describe(one, text);
	json_array_append_new(waits, json_string(text));
}

/* What would hold all of it, and freezes that will, or that hold some of its hosts. */
static void add_guards(json_t *plan, const struct planning *p, uint64_t now_ms)
{
	const struct guards_one *line = guards_line(p->guards), *f;
	json_t *waits = json_array(), *freezes = json_array();
	const char *window = json_string_value(json_object_get(p->window, "why"));
	size_t at = 0;

	if (window && window[0])
		json_array_append_new(waits, json_string(window));
	if (line)
		add_wait(waits, line);
	while ((f = guards_next(p->guards, p->name, now_ms, &at))) {
		json_array_append_new(
			freezes,
			json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "name", f->name, "by",
				  f->actor, "reason", f->reason, "from", oper_time(f->from_ms),
				  "until", oper_time(f->until_ms), "target",
				  json_incref(json_object_get(f->scope, "target")
						      ? json_object_get(f->scope, "target")
						      : json_null())));
		if (!json_object_get(f->scope, "target"))
			add_wait(waits, f);
	}
	json_object_set_new(plan, "waits", waits);
	json_object_set_new(plan, "freezes", freezes);
}

static int finish(struct call *call)
{
	struct planning *p = call->state;
	json_t *others = json_array(), *problems = json_array();
	struct fail fail = {0};
	int r = rollout_plan(p->rollout, &p->plan, &call->fail);

	if (r < 0) {
		json_decref(others);
		json_decref(problems);
		return r == -ENOMEM ? oper_no_memory(call) : r;
	}
	for (size_t i = 0; i < p->n_others; i++)
		json_array_append_new(others, json_string(p->other[i]));
	if (call->o->c->director &&
	    director_ready(call->o->c->director, roots_trust(call->o->c->roots), &fail) < 0)
		json_array_append_new(problems, json_string(fail.message));
	if (p->blocked.code != FAIL_NONE)
		json_array_append_new(problems, json_string(p->blocked.message));
	json_object_set_new(p->plan, "schema_version", json_integer(1));
	json_object_set_new(p->plan, "name", json_string(p->name));
	json_object_set_new(p->plan, "serial", json_integer((json_int_t)p->serial));
	json_object_set(p->plan, "hosts", p->hosts);
	json_object_set_new(p->plan, "unreported", json_integer((json_int_t)p->unreported));
	json_object_set_new(p->plan, "supersedes", others);
	json_object_set_new(p->plan, "problems", problems);
	json_object_set(p->plan, "window", p->window);
	add_guards(p->plan, p, call->now_ms);
	if (!p->stores) /* it is a plan that was asked for */
		return oper_answer(call, 200, json_incref(p->plan));
	if (p->starts && json_integer_value(json_object_get(p->plan, "eligible")) == 0)
		return none_eligible(call);
	if (p->starts && fail.code != FAIL_NONE) {
		call->fail = fail;
		return -fail_errno(fail.code);
	}
	return store(call);
}

static int add_host(struct call *call, const struct fleet_host *h)
{
	struct planning *p = call->state;
	const struct facts_query query = {.hotfix = p->name,
					  .rollout = "",
					  .serial = p->serial,
					  .heartbeat_ms = call->o->c->settings->heartbeat_ms};
	struct rollout_event ev = {.type = ROLLOUT_HOST, .host = h->id, .reason = ""};
	const struct guards_one *freeze;
	char name[GUARDS_NAME_BYTES], unfit[ROOTS_WHY_BYTES];
	struct facts facts = {0};
	struct fail bad;
	int r = facts_read(h, &query, &facts, &bad);

	if (r == 0 && facts.has_report) {
		freeze = guards_hold(p->guards, p->name, facts.labels, call->now_ms);
		if (freeze && !facts.facts.held_by)
			facts.facts.held_by = guards_name(freeze, name);
		facts.facts.unfit = roots_unfit(call->o->c->roots, &facts.root, unfit);
		ev.facts = &facts.facts;
		r = rollout_step(p->rollout, &ev, call->now_ms, &p->fx, &call->fail);
		json_object_set_new(
			p->hosts, h->id,
			json_pack("{s:s, s:s, s:s, s:s}", "name", h->name, "kernel", h->kernel,
				  "arch", h->arch, "zone",
				  json_string_value(json_object_get(facts.labels, "zone"))
					  ? json_string_value(
						    json_object_get(facts.labels, "zone"))
					  : ""));
	} else {
		p->unreported++;
		r = 0;
	}
	facts_clear(&facts);
	return r == -ENOMEM ? oper_no_memory(call) : r;
}

static int on_plan_hosts(struct call *call, struct fleet_answer *a)
{
	struct planning *p = call->state;
	struct fleet_host h;
	size_t rows = 0;
	int r;

	while (fleet_next_host(a, &h)) {
		rows++;
		snprintf(p->after, sizeof(p->after), "%s", h.id);
		r = add_host(call, &h);
		if (r < 0)
			return r;
	}
	if (rows < OPER_PAGE)
		return finish(call);
	return oper_wait(call,
			 fleet_hosts(call->o->c->fleet, p->after, OPER_PAGE, oper_done, call),
			 on_plan_hosts);
}

static int on_plan_guards(struct call *call, struct fleet_answer *a)
{
	struct planning *p = call->state;

	p->guards = guards_new(a);
	if (!p->guards)
		return oper_no_memory(call);
	return oper_wait(call, fleet_hosts(call->o->c->fleet, "", OPER_PAGE, oper_done, call),
			 on_plan_hosts);
}

/* It brings something to hosts, or will. */
static bool is_under_way(const char *state)
{
	static const enum rollout_state idle[] = {ROLLOUT_DRAFT, ROLLOUT_ABORTING,
						  ROLLOUT_ROLLING_BACK,
						  ROLLOUT_ROLLBACK_INCOMPLETE};

	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		if (strcmp(state, rollout_state_name(idle[i])) == 0)
			return false;
	return true;
}

/* May a rollout of the same hot-fix take the place of this one, which has not ended? */
static int may_follow(struct call *call, const struct fleet_rollout *row)
{
	AUTO_JSON json_t *doc = json_loads(row->state, 0, NULL);
	const char *state = json_string_value(json_object_get(doc, "state"));
	const char *on_newer =
		json_string_value(json_object_get(json_object_get(doc, "spec"), "on_newer"));
	const struct planning *p = call->state;

	if (on_newer && strcmp(on_newer, "refuse") == 0) {
		oper_fail(call, FAIL_CONFLICT,
			  "rollout %s of %s is under way, and gives way to none", row->id,
			  row->name);
		return oper_hint(call, "wait for its end, or abort it");
	}
	/* Asked for twice: the second would be without the knobs of the first, as often as not. */
	if (state && is_under_way(state) &&
	    (uint64_t)json_integer_value(json_object_get(doc, "serial")) == p->serial) {
		oper_fail(call, FAIL_CONFLICT, "rollout %s brings %s@%" PRIu64 " already: %s",
			  row->id, row->name, p->serial, state);
		return oper_hint(call,
				 "hotfixctl rollout watch %s; rollout abort %s makes room for "
				 "another",
				 row->id, row->id);
	}
	return 0;
}

static int on_plan_rollouts(struct call *call, struct fleet_answer *a)
{
	struct planning *p = call->state;
	struct fleet_rollout row;

	while (fleet_next_rollout(a, &row)) {
		if (strcmp(row.name, p->name) != 0)
			continue;
		if (p->starts && may_follow(call, &row) < 0) {
			if (p->stores)
				return -fail_errno(call->fail.code);
			p->blocked = call->fail;
			continue;
		}
		if (p->n_others == OTHERS_MAX)
			return oper_fail(call, FAIL_CONFLICT,
					 "too many rollouts of %s are active", p->name);
		snprintf(p->other[p->n_others++], ROLLOUT_ID_BYTES, "%s", row.id);
	}
	return oper_wait(call, fleet_guards(call->o->c->fleet, oper_done, call),
			 on_plan_guards);
}

static int on_plan_bundles(struct call *call, struct fleet_answer *a)
{
	struct planning *p = call->state;
	uint64_t newest = 0;
	bool there = false;
	struct fleet_bundle b;
	int r;

	while (fleet_next_bundle(a, &b)) {
		if (strcmp(b.name, p->name) != 0)
			continue;
		newest = b.serial > newest ? b.serial : newest;
		there = there || b.serial == p->serial;
	}
	if (!p->serial && newest) {
		p->serial = newest;
		there = true;
	}
	if (!there) {
		if (p->serial)
			oper_fail(call, FAIL_NOT_FOUND,
				  "no bundle of %s with serial %" PRIu64 " is in stock",
				  p->name, p->serial);
		else
			oper_fail(call, FAIL_NOT_FOUND, "no bundle of %s is in stock", p->name);
		return oper_hint(call, "hotfixctl stock list shows what is; hotfixctl stock "
				       "add brings more");
	}
	r = new_rollout(call, &p->rollout);
	if (r == 0)
		r = look_at_windows(call);
	if (r < 0)
		return r;
	return oper_wait(call,
			 fleet_rollouts(call->o->c->fleet, true, "", 10000, oper_done, call),
			 on_plan_rollouts);
}

static int begin(struct call *call, bool stores)
{
	struct planning *p = calloc(1, sizeof(*p));

	if (!p)
		return oper_no_memory(call);
	call->state = p;
	call->state_free = planning_free;
	if (oper_knows(call, NULL) < 0 || take_request(call) < 0)
		return -EINVAL;
	p->stores = stores;
	if (!roots_trust(call->o->c->roots)) {
		oper_fail(call, FAIL_NO_TRUST, "this controller trusts nobody yet");
		return oper_hint(call, "import the root of the release keys first: "
				       "hotfixctl --context NAME trust import ROOT");
	}
	return oper_wait(call, fleet_bundles(call->o->c->fleet, oper_done, call),
			 on_plan_bundles);
}

int operators_plan(struct call *call)
{
	return begin(call, false);
}

int operators_start(struct call *call)
{
	return begin(call, true);
}
