// SPDX-License-Identifier: BSD-2-Clause
/*
 * Rollouts as they are stored, for those who look and those who watch; and verbs, tried on a copy and
 * then asked of the owner.
 *
 * Views    What a rollout of 10,000 hosts looks like costs a tenth of a second to find out. So it is
 *          found out once for each generation, however many watch, and with a pause between that grows
 *          with the number of its hosts.
 * Waking   A step wakes nobody but agents: whoever watches is woken when the header's generation is
 *          seen to have grown, which is looked for once a second and at every word about rollouts.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "server/controller/facts.h"
#include "server/controller/operators.h"
#include "server/controller/operators_private.h"
#include "server/controller/park.h"
#include "server/controller/rollout.h"
#include "store/bytes.h"

#define VIEWS_MAX	16
#define HOSTS_SHOWN_MAX 50
#define HOSTS_PER_MS	10 /* of pause between two views of one rollout */
#define PAUSE_MS_MAX	2000
#define ROLLOUTS_MAX	1000 /* in one answer */
#define PAGE_OF_HEADERS 200

/* ---- views ------------------------------------------------------------------------------- */

struct view {
	char id[ROLLOUT_ID_BYTES];
	uint64_t generation, built_ms, used_ms; /* since boot */
	size_t hosts;
	json_t *doc;
};

struct views {
	struct view view[VIEWS_MAX];
	/* Who watches; looked after together. */
	char watched[VIEWS_MAX][ROLLOUT_ID_BYTES];
	uint64_t generation[VIEWS_MAX];
	size_t n_watched;
	bool looking;
};

struct views *views_free(struct views *v)
{
	for (size_t i = 0; v && i < VIEWS_MAX; i++)
		json_decref(v->view[i].doc);
	free(v);
	return NULL;
}

static struct view *find_view(struct operators *o, const char *id)
{
	for (size_t i = 0; o->views && i < VIEWS_MAX; i++)
		if (o->views->view[i].doc && strcmp(o->views->view[i].id, id) == 0)
			return &o->views->view[i];
	return NULL;
}

/* That of this rollout, or the one that was not used for longest. */
static struct view *make_view(struct operators *o, const char *id)
{
	struct view *v = find_view(o, id);

	if (!o->views)
		o->views = calloc(1, sizeof(*o->views));
	if (v || !o->views)
		return v;
	v = &o->views->view[0];
	for (size_t i = 1; i < VIEWS_MAX; i++)
		if (o->views->view[i].used_ms < v->used_ms)
			v = &o->views->view[i];
	json_decref(v->doc);
	*v = (struct view){0};
	snprintf(v->id, sizeof(v->id), "%s", id);
	return v;
}

/* ---- one rollout, loaded ----------------------------------------------------------------- */

static int damaged(struct call *call, const char *id)
{
	char why[FAIL_MESSAGE_BYTES];

	snprintf(why, sizeof(why), "%s", call->fail.message);
	return oper_fail(call, FAIL_STORAGE, "rollout %s is stored, but cannot be read: %s", id,
			 why);
}

/* The header alone, or with the hosts of the answer. */
static int load(struct call *call, const struct fleet_rollout *row, struct fleet_answer *hosts,
		struct rollout **ret_rollout)
{
	AUTO(rollout_freep) struct rollout *r = NULL;
	AUTO_JSON json_t *header = NULL;
	struct fleet_rollout_host host;
	int res = json_parse("rollout", row->state, strlen(row->state), &header, &call->fail);

	if (res == 0)
		res = rollout_load(header, &r, &call->fail);
	while (res == 0 && hosts && fleet_next_rollout_host(hosts, &host)) {
		AUTO_JSON json_t *doc = NULL;

		res = json_parse("host", host.state, strlen(host.state), &doc, &call->fail);
		if (res == 0)
			res = rollout_load_host(r, doc, &call->fail);
	}
	if (res == -ENOMEM)
		return oper_no_memory(call);
	if (res < 0)
		return damaged(call, row->id);
	*ret_rollout = take_ptr(r);
	return 0;
}

static void add_row(json_t *doc, const struct fleet_rollout *row)
{
	json_object_set_new(doc, "schema_version", json_integer(1));
	json_object_set_new(doc, "active", json_boolean(row->active));
	json_object_set_new(doc, "owner", json_string(row->owner));
	json_object_set_new(doc, "owner_lease_ms", json_integer((json_int_t)row->lease_ms));
	json_object_set_new(doc, "created", oper_time(row->created_ms));
	json_object_set_new(doc, "ended", oper_time(row->ended_ms));
	json_object_set_new(doc, "now_ms", json_integer((json_int_t)clock_real_ms()));
}

static bool is_trouble(const struct rollout_host *h)
{
	enum host_state state = rollout_host_state(h);

	return host_is(state, HOST_FAILED) || state == HOST_ROLLED_BACK ||
	       state == HOST_ROLLBACK_FAILED || state == HOST_QUARANTINED;
}

/* Its word is there, and it says why it does not begin, or goes on with its trial. */
static bool is_waiting(const struct rollout_host *h)
{
	enum host_state state = rollout_host_state(h);

	return (host_is(state, HOST_FLIES) && !host_is(state, HOST_BEGUN)) ||
	       state == HOST_TRIAL;
}

/* The first of those hosts that have a code, or any of them. */
static json_t *some_of(const struct rollout *r, struct fleet_answer *a,
		       bool (*wanted)(const struct rollout_host *h), bool with_code)
{
	static const char *const keys[] = {"state", "code", "waits", "stratum", "wave"};
	json_t *some = json_array();
	struct fleet_rollout_host row;

	a->next[1] = 0; /* once more from the first */
	while (json_array_size(some) < HOSTS_SHOWN_MAX && fleet_next_rollout_host(a, &row)) {
		const struct rollout_host *h = rollout_find(r, row.host);
		AUTO_JSON json_t *doc = h && wanted(h) ? rollout_host_to_json(h) : NULL;
		json_t *one;

		if (!doc || (with_code && !json_string_length(json_object_get(doc, "code"))))
			continue;
		one = json_pack("{s:s}", "host", row.host);
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			json_object_set(one, keys[i], json_object_get(doc, keys[i]));
		json_array_append_new(some, one);
	}
	return some;
}

/* With every host of it: who asks for that pays for it. */
static json_t *hosts_of(const struct rollout *r, struct fleet_answer *a)
{
	json_t *hosts = json_array();
	struct fleet_rollout_host row;

	a->next[1] = 0;
	while (fleet_next_rollout_host(a, &row)) {
		const struct rollout_host *h = rollout_find(r, row.host);

		if (h)
			json_array_append_new(hosts, rollout_host_to_json(h));
	}
	return hosts;
}

/* ---- looking at one ---------------------------------------------------------------------- */

static int no_rollout(struct call *call, const struct fleet_answer *a)
{
	char missing[160];

	snprintf(missing, sizeof(missing), "there is no rollout %s", call->segment[1]);
	return oper_failed(call, a, missing);
}

static json_t *current(const struct view *v)
{
	json_t *doc = json_copy(v->doc);

	if (doc)
		json_object_set_new(doc, "now_ms", json_integer((json_int_t)clock_real_ms()));
	return doc;
}

static int on_whole(struct call *call, struct fleet_answer *a)
{
	AUTO(rollout_freep) struct rollout *r = NULL;
	uint64_t now_ms = clock_up_ms();
	struct fleet_rollout row;
	size_t hosts;
	struct view *v;
	json_t *doc;
	int res;

	if (a->r < 0 || !fleet_next_rollout(a, &row))
		return no_rollout(call, a);
	res = load(call, &row, a, &r);
	if (res < 0)
		return res;
	hosts = a->next[1];
	doc = rollout_show(r);
	if (!doc)
		return oper_no_memory(call);
	add_row(doc, &row);
	json_object_set_new(doc, "troubles", some_of(r, a, is_trouble, false));
	json_object_set_new(doc, "waiting", some_of(r, a, is_waiting, true));
	v = make_view(call->o, row.id);
	if (v) {
		json_decref(v->doc);
		v->doc = json_incref(doc);
		v->generation = row.generation;
		v->built_ms = v->used_ms = now_ms;
		v->hosts = hosts;
	}
	if (oper_query(call, "hosts")) {
		json_t *with = json_copy(doc);

		json_decref(doc);
		if (with)
			json_object_set_new(with, "members", hosts_of(r, a));
		doc = with;
	}
	return oper_answer(call, 200, doc);
}

static uint64_t pause_of(const struct view *v, uint64_t now_ms)
{
	uint64_t pause = v->hosts / HOSTS_PER_MS;
	uint64_t since = now_ms - v->built_ms;

	pause = pause > PAUSE_MS_MAX ? PAUSE_MS_MAX : pause;
	return since < pause ? pause - since : 0;
}

static void watch(struct operators *o, const char *id, uint64_t generation)
{
	struct views *v;
	size_t i;

	if (!o->views)
		o->views = calloc(1, sizeof(*o->views));
	v = o->views;
	if (!v)
		return;
	for (i = 0; i < v->n_watched && strcmp(v->watched[i], id) != 0; i++)
		;
	if (i == v->n_watched && i == VIEWS_MAX)
		return; /* its time will be over */
	if (i == v->n_watched) {
		snprintf(v->watched[v->n_watched++], ROLLOUT_ID_BYTES, "%s", id);
		v->generation[i] = generation;
	} else if (generation < v->generation[i]) {
		v->generation[i] = generation; /* of several the one that has seen least */
	}
}

static int on_header(struct call *call, struct fleet_answer *a)
{
	uint64_t generation, wait_ms, now_ms = clock_up_ms(), pause;
	char topic[PARK_TOPIC_BYTES];
	struct fleet_rollout row;
	struct view *v;

	if (a->r < 0 || !fleet_next_rollout(a, &row))
		return no_rollout(call, a);
	if (oper_query_u64(call, "generation", INT64_MAX, 0, &generation) < 0 ||
	    oper_query_u64(call, "wait", OPER_WAIT_MS_MAX, 0, &wait_ms) < 0)
		return -EINVAL;
	if (wait_ms && !call->woken && row.generation <= generation) {
		watch(call->o, row.id, row.generation);
		snprintf(topic, sizeof(topic), "rollout:%s", row.id);
		return oper_park(call, topic, wait_ms);
	}
	v = oper_query(call, "hosts") ? NULL : find_view(call->o, row.id);
	if (v)
		v->used_ms = now_ms;
	if (v && v->generation == row.generation)
		return oper_answer(call, 200, current(v));
	pause = v && wait_ms ? pause_of(v, now_ms) : 0;
	if (pause)
		return oper_park(call, "-", pause);
	return oper_try(call, fleet_rollout(call->o->c->fleet, row.id, oper_done, call),
			on_whole);
}

int operators_rollout(struct call *call)
{
	if (oper_knows(call, "generation", "wait", "hosts", NULL) < 0 ||
	    oper_name(call, 1, "a rollout") < 0)
		return -EINVAL;
	return oper_try(
		call,
		fleet_rollout_header(call->o->c->fleet, call->segment[1], oper_done, call),
		on_header);
}

/* ---- those who watch --------------------------------------------------------------------- */

struct look {
	struct operators *o;
	char id[ROLLOUT_ID_BYTES];
};

static void look_next(struct operators *o, const char *after);

static void on_look(struct fleet_answer *a, void *cookie)
{
	struct look *l = cookie;
	char topic[PARK_TOPIC_BYTES];
	struct fleet_rollout row;
	struct views *v = l->o->views;

	if (a->r == -ECANCELED) { /* nothing of the program is there to be asked */
		fleet_answer_free(a);
		free(l);
		return;
	}
	for (size_t i = 0; i < v->n_watched; i++) {
		if (strcmp(v->watched[i], l->id) != 0)
			continue;
		if (a->r == 0 && fleet_next_rollout(a, &row) &&
		    row.generation == v->generation[i])
			break;
		if (a->r < 0 && a->r != -ENOENT)
			break; /* out of reach: they wait on */
		snprintf(topic, sizeof(topic), "rollout:%s", l->id);
		park_wake(l->o->c->park, topic);
		v->n_watched--;
		memmove(v->watched[i], v->watched[i + 1],
			(v->n_watched - i) * sizeof(v->watched[0]));
		memmove(&v->generation[i], &v->generation[i + 1],
			(v->n_watched - i) * sizeof(v->generation[0]));
		break;
	}
	v->looking = false;
	look_next(l->o, l->id);
	fleet_answer_free(a);
	free(l);
}

/* The watched ones in the order of their ids, one question at a time. */
static void look_next(struct operators *o, const char *after)
{
	const char *next = NULL;
	struct look *l;

	for (size_t i = 0; i < o->views->n_watched; i++)
		if (strcmp(o->views->watched[i], after) > 0 &&
		    (!next || strcmp(o->views->watched[i], next) < 0))
			next = o->views->watched[i];
	if (!next)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	l->o = o;
	snprintf(l->id, sizeof(l->id), "%s", next);
	if (fleet_rollout_header(o->c->fleet, l->id, on_look, l) < 0) {
		free(l);
		return;
	}
	o->views->looking = true;
}

void views_look(struct operators *o)
{
	if (o->c->fleet && o->views && !o->views->looking)
		look_next(o, "");
}

/* ---- all of them ------------------------------------------------------------------------- */

struct listing {
	json_t *rollouts;
	uint64_t limit;
	bool all;
	char name[HOOK_NAME_MAX + 1], after[ROLLOUT_ID_BYTES];
};

static void listing_free(void *state)
{
	struct listing *l = state;

	json_decref(l->rollouts);
	free(l);
}

/* What stands in the header alone. */
static int add_header(struct call *call, const struct fleet_rollout *row)
{
	static const char *const keys[] = {"id",	 "name",      "serial",
					   "author",	 "state",     "pauses",
					   "generation", "takes_off", "approvals"};
	struct listing *l = call->state;
	AUTO(rollout_freep) struct rollout *r = NULL;
	AUTO_JSON json_t *shown = NULL;
	const struct spec *spec;
	json_t *doc;
	int res = load(call, row, NULL, &r);

	if (res < 0)
		return res;
	shown = rollout_show(r);
	doc = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_set(doc, keys[i], json_object_get(shown, keys[i]));
	spec = rollout_spec(r);
	json_object_set_new(
		doc, "wave",
		json_string(
			spec->wave[json_integer_value(json_object_get(shown, "wave"))].name));
	add_row(doc, row);
	json_object_del(doc, "schema_version");
	json_object_del(doc, "now_ms");
	return json_array_append_new(l->rollouts, doc) < 0 ? oper_no_memory(call) : 0;
}

static int on_rollouts(struct call *call, struct fleet_answer *a)
{
	struct listing *l = call->state;
	struct fleet_rollout row;
	size_t rows = 0;
	int r;

	while (json_array_size(l->rollouts) < l->limit && fleet_next_rollout(a, &row)) {
		rows++;
		snprintf(l->after, sizeof(l->after), "%s", row.id);
		r = l->name[0] && strcmp(l->name, row.name) != 0 ? 0 : add_header(call, &row);
		if (r < 0)
			return r;
	}
	if (rows == PAGE_OF_HEADERS && json_array_size(l->rollouts) < l->limit)
		return oper_wait(call,
				 fleet_rollouts(call->o->c->fleet, !l->all, l->after,
						PAGE_OF_HEADERS, oper_done, call),
				 on_rollouts);
	return oper_answer(call, 200,
			   json_pack("{s:i, s:O, s:o}", "schema_version", 1, "rollouts",
				     l->rollouts, "after",
				     json_array_size(l->rollouts) == l->limit
					     ? json_string(l->after)
					     : json_null()));
}

int operators_rollouts(struct call *call)
{
	struct listing *l = calloc(1, sizeof(*l));
	const char *after = oper_query(call, "after"), *name = oper_query(call, "name");

	if (!l)
		return oper_no_memory(call);
	call->state = l;
	call->state_free = listing_free;
	l->rollouts = json_array();
	if (oper_knows(call, "after", "limit", "name", "active", NULL) < 0 ||
	    oper_query_u64(call, "limit", ROLLOUTS_MAX, 100, &l->limit) < 0)
		return -EINVAL;
	l->all = !oper_query(call, "active");
	snprintf(l->after, sizeof(l->after), "%s", after ? after : "");
	snprintf(l->name, sizeof(l->name), "%s", name ? name : "");
	if (!l->limit)
		return oper_fail(call, FAIL_USAGE, "limit must be at least 1");
	return oper_wait(call,
			 fleet_rollouts(call->o->c->fleet, !l->all, l->after, PAGE_OF_HEADERS,
					oper_done, call),
			 on_rollouts);
}

/* ---- verbs ------------------------------------------------------------------------------- */

/* What is asked, and the event that it will be. */
static const struct verb {
	const char *name;
	enum rollout_event_type type;
	bool needs_reason, needs_hosts, of_ended;
	const char *action; /* in the audit log */
} verbs[] = {
	{"submit", ROLLOUT_SUBMIT, false, false, false, "ASK_SUBMIT"},
	{"approve", ROLLOUT_APPROVE, false, false, false, "ASK_APPROVE"},
	{"override", ROLLOUT_OVERRIDE, true, false, false, "ASK_OVERRIDE"},
	{"pause", ROLLOUT_PAUSE, false, false, false, "ASK_PAUSE"},
	{"resume", ROLLOUT_RESUME, false, false, false, "ASK_RESUME"},
	{"promote", ROLLOUT_PROMOTE, false, false, false, "ASK_PROMOTE"},
	{"abort", ROLLOUT_ABORT, false, false, false, "ASK_ABORT"},
	{"retry", ROLLOUT_RETRY, false, true, false, "ASK_RETRY"},
	{"undo", ROLLOUT_UNDO, false, false, true, "ASK_UNDO"},
	{"supersede", ROLLOUT_SUPERSEDE, false, false, false, "ASK_SUPERSEDE"},
};

struct asking {
	const struct verb *verb;
	char reason[OPER_REASON_BYTES + 1], scope[16], host[ROLLOUT_ID_BYTES],
		by[ROLLOUT_ID_BYTES];
	struct rollout *copy;
	struct rollout_effects fx;
	uint64_t generation, newer;
	bool active;
	char name[HOOK_NAME_MAX + 1], after[ROLLOUT_ID_BYTES];
};

static void asking_free(void *state)
{
	struct asking *k = state;

	rollout_free(k->copy);
	rollout_effects_clear(&k->fx);
	free(k);
}

static int on_asked(struct call *call, struct fleet_answer *a)
{
	const struct asking *k = call->state;

	if (a->r == -ENOENT) /* it ended just now; or somebody began it anew */
		return oper_fail(call, FAIL_CONFLICT, "rollout %s has ended", call->segment[1]);
	if (a->r < 0)
		return oper_failed(call, a, NULL);
	return oper_answer(call, 202,
			   json_pack("{s:i, s:s, s:s, s:I}", "schema_version", 1, "asked",
				     k->verb->name, "id", call->segment[1], "generation",
				     (json_int_t)k->generation));
}

static enum rollout_scope scope_of(const char *text)
{
	return strcmp(text, "wave") == 0  ? ROLLOUT_WAVE
	       : strcmp(text, "all") == 0 ? ROLLOUT_ALL
					  : ROLLOUT_NOTHING;
}

static int ask_owner(struct call *call)
{
	struct asking *k = call->state;
	struct fleet *fleet = call->o->c->fleet;
	const struct rollout_event ev = {.type = k->verb->type,
					 .actor = call->user,
					 .reason = k->reason,
					 .host = k->host[0] ? k->host : NULL,
					 .by = k->by[0] ? k->by : NULL,
					 .scope = scope_of(k->scope),
					 .newer = k->newer};
	int r = rollout_step(k->copy, &ev, call->now_ms, &k->fx, &call->fail);
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *text = NULL;
	struct fleet_entry entry;

	if (r < 0)
		return r == -ENOMEM ? oper_no_memory(call) : r;
	doc = json_pack("{s:s, s:s, s:s}", "verb", k->verb->name, "actor", call->user, "reason",
			k->reason);
	if (k->scope[0])
		json_object_set_new(doc, "scope", json_string(k->scope));
	if (k->host[0])
		json_object_set_new(doc, "host", json_string(k->host));
	if (k->by[0])
		json_object_set_new(doc, "by", json_string(k->by));
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!text)
		return oper_no_memory(call);
	entry = oper_entry(call, k->verb->action, call->segment[1], text);
	return oper_try(
		call,
		k->active
			? fleet_ask(fleet, call->segment[1], text, &entry, oper_done, call)
			: fleet_reopen(fleet, call->segment[1], text, &entry, oper_done, call),
		on_asked);
}

/* How many rollouts of the hot-fix began after this one. */
static int on_newer(struct call *call, struct fleet_answer *a)
{
	struct asking *k = call->state;
	struct fleet_rollout row;
	size_t rows = 0;

	while (fleet_next_rollout(a, &row)) {
		rows++;
		snprintf(k->after, sizeof(k->after), "%s", row.id);
		k->newer += strcmp(row.name, k->name) == 0;
	}
	if (rows < PAGE_OF_HEADERS)
		return ask_owner(call);
	return oper_wait(call,
			 fleet_rollouts(call->o->c->fleet, false, k->after, PAGE_OF_HEADERS,
					oper_done, call),
			 on_newer);
}

static int on_rollout_to_ask(struct call *call, struct fleet_answer *a)
{
	struct asking *k = call->state;
	struct fleet_rollout row;
	int r;

	if (a->r < 0 || !fleet_next_rollout(a, &row))
		return no_rollout(call, a);
	r = load(call, &row, k->verb->needs_hosts ? a : NULL, &k->copy);
	if (r < 0)
		return r;
	k->generation = row.generation;
	k->active = row.active;
	snprintf(k->name, sizeof(k->name), "%s", row.name);
	snprintf(k->after, sizeof(k->after), "%s", row.id);
	if (!row.active && !k->verb->of_ended)
		return oper_fail(call, FAIL_CONFLICT, "rollout %s has ended: %s", row.id,
				 rollout_state_name(rollout_state(k->copy)));
	if (k->verb->type != ROLLOUT_UNDO)
		return ask_owner(call);
	return oper_wait(call,
			 fleet_rollouts(call->o->c->fleet, false, k->after, PAGE_OF_HEADERS,
					oper_done, call),
			 on_newer);
}

static int take_asking(struct call *call, struct asking *k)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);

	snprintf(k->reason, sizeof(k->reason), "%s",
		 json_str_or(&f, "reason", OPER_REASON_BYTES, ""));
	if (k->verb->type == ROLLOUT_ABORT)
		snprintf(k->scope, sizeof(k->scope), "%s",
			 json_str_or(&f, "scope", sizeof(k->scope) - 1, "nothing"));
	if (k->verb->type == ROLLOUT_RETRY)
		snprintf(k->host, sizeof(k->host), "%s",
			 json_str_or(&f, "host", ROLLOUT_ID_BYTES - 1, ""));
	if (k->verb->type == ROLLOUT_SUPERSEDE)
		snprintf(k->by, sizeof(k->by), "%s", json_str(&f, "by", ROLLOUT_ID_BYTES - 1));
	if (f.r == 0 && k->scope[0] && strcmp(k->scope, "nothing") != 0 &&
	    scope_of(k->scope) == ROLLOUT_NOTHING)
		json_bad(&f, "scope", "must be nothing, wave or all");
	if (f.r == 0 && k->verb->needs_reason && !k->reason[0])
		json_bad(&f, "reason", "is needed");
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	return 0;
}

int operators_verb(struct call *call)
{
	struct asking *k = calloc(1, sizeof(*k));
	struct fleet *fleet = call->o->c->fleet;

	if (!k)
		return oper_no_memory(call);
	call->state = k;
	call->state_free = asking_free;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, call->segment[2]) == 0)
			k->verb = &verbs[i];
	if (!k->verb)
		return oper_fail(call, FAIL_USAGE, "there is no verb %.40s", call->segment[2]);
	if (oper_knows(call, NULL) < 0 || oper_name(call, 1, "a rollout") < 0 ||
	    take_asking(call, k) < 0)
		return -EINVAL;
	return oper_try(
		call,
		k->verb->needs_hosts
			? fleet_rollout(fleet, call->segment[1], oper_done, call)
			: fleet_rollout_header(fleet, call->segment[1], oper_done, call),
		on_rollout_to_ask);
}
