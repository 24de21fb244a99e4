// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "lib/json.h"
#include "lib/label.h"
#include "lib/plain.h"
#include "server/controller/ca.h"
#include "server/controller/enrol.h"
#include "server/controller/facts.h"
#include "server/controller/operators_private.h"
#include "server/controller/spec.h"
#include "store/bytes.h"

#define HOSTS_MAX	1000 /* in one answer */
#define TTL_S_MAX	(30 * 86400)
#define TTL_S_OTHERWISE 3600

/* ---- selectors and labels ---------------------------------------------------------------- */

static int bad_selector(struct fail *f, const char *text)
{
	fail_set(f, FAIL_USAGE, "\"%.80s\" is not a selector", text);
	return fail_hint(f,
			 "it is label=value, with commas between several and | between values "
			 "that are as good: kernel_release=6.1.0-50-amd64,zone=a|b");
}

static bool is_label_text(const char *s)
{
	return s[0] && strlen(s) < SPEC_WORD_BYTES && plain_is(s, false);
}

int selector_parse(const char *text, json_t **ret_doc, struct fail *reterr_fail)
{
	AUTO_FREE char *copy = strdup(text ? text : "");
	AUTO_JSON json_t *doc = NULL;
	char *save = NULL, *inner, *value, *one;

	*ret_doc = NULL;
	if (!text || !*text)
		return 0;
	doc = json_object();
	if (!copy || !doc)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		json_t *values = json_array();

		value = strchr(word, '=');
		if (value)
			*value++ = 0;
		if (!value || !is_label_text(word) || json_object_get(doc, word) ||
		    json_object_size(doc) == SPEC_LABELS_MAX) {
			json_decref(values);
			return bad_selector(reterr_fail, text);
		}
		json_object_set_new(doc, word, values);
		for (one = strtok_r(value, "|", &inner); one; one = strtok_r(NULL, "|", &inner))
			if (!is_label_text(one) ||
			    json_array_append_new(values, json_string(one)))
				return bad_selector(reterr_fail, text);
		if (!json_array_size(values))
			return bad_selector(reterr_fail, text);
	}
	*ret_doc = take_ptr(doc);
	return 0;
}

int labels_check(const json_t *labels, bool may_drop, struct fail *reterr_fail)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)labels, key, v) {
		if (may_drop && json_is_null(v))
			continue;
		if (!json_is_string(v))
			return fail_set(reterr_fail, FAIL_USAGE,
					"\"labels\" must be an object of texts");
		if (label_check(key, json_string_value(v), reterr_fail) < 0)
			return -EINVAL;
	}
	if (json_object_size(labels) > OPER_SELECTORS_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "at most %d labels are set on a host",
				OPER_SELECTORS_MAX);
	return 0;
}

/* ---- hosts ------------------------------------------------------------------------------- */

static json_t *parsed(const char *text)
{
	json_t *doc = text[0] ? json_loads(text, 0, NULL) : NULL;

	return doc ? doc : json_object();
}

/* NULL: nobody holds it. */
static json_t *hold_json(const struct fleet_host *h)
{
	return h->held ? json_pack("{s:s, s:s, s:o}", "by", h->held_by, "reason", h->held_for,
				   "since", oper_time(h->held_ms))
		       : json_null();
}

static json_t *host_json(const struct fleet_host *h, const struct facts *facts)
{
	char head[BYTES_SHA256_HEX] = "";

	if (h->audit_head)
		bytes_to_hex(h->audit_head, BYTES_SHA256, head);
	return json_pack(
		"{s:s, s:s, s:o, s:O, s:b, s:o, s:I, s:o, s:o, s:I, s:I, s:s, s:s, s:s, "
		"s:s, s:o, s:o, s:{s:I, s:s}}",
		"id", h->id, "name", h->name, "set_labels", parsed(h->labels), "labels",
		facts->labels, "held", h->held, "hold", hold_json(h), "max_serial",
		(json_int_t)h->max_serial, "enrolled", oper_time(h->enrolled_ms), "seen",
		oper_time(h->seen_ms), "silent_ms", (json_int_t)h->silent_ms, "report",
		(json_int_t)h->seq, "kernel", h->kernel, "arch", h->arch, "zone", h->zone,
		"boot_id", h->boot_id, "hotfixes", parsed(h->hotfixes), "health",
		parsed(h->health), "audit", "seq", (json_int_t)h->audit_seq, "head", head);
}

/* *ret_doc NULL: it is not meant. A row that is no report is shown with what is wrong with it. */
static int read_host(struct call *call, const struct fleet_host *h, const json_t *selector,
		     json_t **ret_doc)
{
	struct facts_query query = {.hotfix = "",
				    .rollout = "",
				    .heartbeat_ms = call->o->c->settings->heartbeat_ms};
	struct facts facts = {0};
	char why[ROOTS_WHY_BYTES];
	struct fail bad = {0};
	const char *unfit;

	*ret_doc = NULL;
	if (facts_read(h, &query, &facts, &bad) < 0) {
		facts_clear(&facts);
		facts.labels = parsed(h->labels);
	}
	if (!selector || spec_selects(selector, facts.labels)) {
		unfit = roots_unfit(call->o->c->roots, &facts.root, why);
		*ret_doc = host_json(h, &facts);
		json_object_set_new(*ret_doc, "problem", json_string(bad.message));
		json_object_set_new(*ret_doc, "unfit", json_string(unfit ? unfit : ""));
	}
	facts_clear(&facts);
	return 0;
}

struct listing {
	json_t *selector, *hosts;
	uint64_t limit;
	char after[CA_NAME_BYTES];
};

static void listing_free(void *state)
{
	struct listing *l = state;

	json_decref(l->selector);
	json_decref(l->hosts);
	free(l);
}

static int on_hosts(struct call *call, struct fleet_answer *a)
{
	struct listing *l = call->state;
	struct fleet_host h;
	json_t *doc, *next;
	size_t rows = 0;
	int r;

	while (json_array_size(l->hosts) < l->limit && fleet_next_host(a, &h)) {
		rows++;
		snprintf(l->after, sizeof(l->after), "%s", h.id);
		r = read_host(call, &h, l->selector, &doc);
		if (r < 0)
			return r;
		if (doc)
			json_array_append_new(l->hosts, doc);
	}
	if (rows == OPER_PAGE && json_array_size(l->hosts) < l->limit)
		return oper_wait(
			call,
			fleet_hosts(call->o->c->fleet, l->after, OPER_PAGE, oper_done, call),
			on_hosts);
	next = json_array_size(l->hosts) == l->limit ? json_string(l->after) : json_null();
	return oper_answer(call, 200,
			   json_pack("{s:i, s:O, s:o}", "schema_version", 1, "hosts", l->hosts,
				     "after", next));
}

int operators_hosts(struct call *call)
{
	struct listing *l = calloc(1, sizeof(*l));
	const char *after = oper_query(call, "after");

	if (!l)
		return oper_no_memory(call);
	call->state = l;
	call->state_free = listing_free;
	l->hosts = json_array();
	if (oper_knows(call, "after", "limit", "selector", NULL) < 0 ||
	    oper_query_u64(call, "limit", HOSTS_MAX, 100, &l->limit) < 0 ||
	    selector_parse(oper_query(call, "selector"), &l->selector, &call->fail) < 0)
		return -EINVAL;
	if (!l->limit)
		return oper_fail(call, FAIL_USAGE, "limit must be at least 1");
	snprintf(l->after, sizeof(l->after), "%s", after ? after : "");
	return oper_wait(call,
			 fleet_hosts(call->o->c->fleet, l->after, OPER_PAGE, oper_done, call),
			 on_hosts);
}

static int check_id(struct call *call)
{
	return ca_name_valid(CA_HOST, call->segment[1])
		       ? 0
		       : oper_fail(call, FAIL_USAGE,
				   "\"%.80s\" is not a host id of 64 hex digits",
				   call->segment[1]);
}

static int no_host(struct call *call, const struct fleet_answer *a)
{
	char missing[160];

	snprintf(missing, sizeof(missing), "there is no host %s", call->segment[1]);
	return oper_failed(call, a, missing);
}

static int on_host(struct call *call, struct fleet_answer *a)
{
	struct fleet_host h;
	json_t *doc;
	int r;

	if (a->r < 0 || !fleet_next_host(a, &h) || h.gone) {
		a->r = a->r < 0 ? a->r : -ENOENT;
		return no_host(call, a);
	}
	r = read_host(call, &h, NULL, &doc);
	return r < 0 ? r : oper_answer(call, 200, doc);
}

int operators_host(struct call *call)
{
	if (oper_knows(call, NULL) < 0 || check_id(call) < 0)
		return -EINVAL;
	return oper_try(call, fleet_host(call->o->c->fleet, call->segment[1], oper_done, call),
			on_host);
}

static int on_changed_host(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0)
		return no_host(call, a);
	return operators_host(call);
}

/* Labels of null go, others are set, the rest stays: of what operators said, not the host. */
static json_t *merged(const char *stored, const json_t *change)
{
	json_t *labels = parsed(stored), *v;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)change, key, v) {
		if (json_is_null(v))
			json_object_del(labels, key);
		else
			json_object_set(labels, key, v);
	}
	return labels;
}

static int on_host_to_change(struct call *call, struct fleet_answer *a)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);
	AUTO_JSON json_t *labels = NULL, *detail = NULL;
	AUTO_FREE char *text = NULL, *detail_text = NULL;
	const json_t *change;
	struct fleet_entry entry;
	struct fleet_host h;
	const char *reason, *held_for;
	uint64_t max_serial;
	bool held, holds;

	if (a->r < 0 || !fleet_next_host(a, &h) || h.gone) {
		a->r = a->r < 0 ? a->r : -ENOENT;
		return no_host(call, a);
	}
	change = json_obj_or_null(&f, "labels");
	held = json_bool_or(&f, "held", h.held);
	max_serial = json_u64_or(&f, "max_serial", 0, INT64_MAX, h.max_serial);
	reason = json_str_or(&f, "reason", OPER_REASON_BYTES, "");
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	/* What was said of another change is none of a hold, and silence takes no reason away. */
	holds = held && json_object_get(call->body, "held") && (reason[0] || !h.held);
	held_for = holds ? reason : NULL;
	labels = merged(h.labels, change);
	if (labels_check(change, true, &call->fail) < 0)
		return -EINVAL;
	if (json_object_size(change) && json_object_size(labels) > OPER_SELECTORS_MAX)
		return oper_fail(call, FAIL_USAGE, "at most %d labels are set on a host",
				 OPER_SELECTORS_MAX);
	text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
	detail = json_pack("{s:O, s:b, s:I, s:s}", "labels", labels, "held", held, "max_serial",
			   (json_int_t)max_serial, "reason", reason);
	detail_text = detail ? json_text(detail) : NULL;
	if (!text || !detail_text)
		return oper_no_memory(call);
	entry = oper_entry(call, "HOST", h.id, detail_text);
	return oper_try(call,
			fleet_set_host(call->o->c->fleet, h.id, text, held, held_for,
				       max_serial, &entry, oper_done, call),
			on_changed_host);
}

int operators_change_host(struct call *call)
{
	if (oper_knows(call, NULL) < 0 || check_id(call) < 0)
		return -EINVAL;
	return oper_try(call, fleet_host(call->o->c->fleet, call->segment[1], oper_done, call),
			on_host_to_change);
}

static int on_forgotten(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0)
		return no_host(call, a);
	return oper_answer(call, 200, json_pack("{s:s}", "forgotten", call->segment[1]));
}

int operators_forget_host(struct call *call)
{
	struct fleet_entry entry = oper_entry(call, "FORGET", call->segment[1], NULL);

	if (oper_knows(call, NULL) < 0 || check_id(call) < 0)
		return -EINVAL;
	return oper_try(
		call,
		fleet_forget_host(call->o->c->fleet, call->segment[1], &entry, oper_done, call),
		on_forgotten);
}

/* ---- tokens ------------------------------------------------------------------------------ */

static int on_tokens(struct call *call, struct fleet_answer *a)
{
	json_t *tokens = json_array();
	struct fleet_token t;
	char hash[BYTES_SHA256_HEX];

	while (fleet_next_token(a, &t)) {
		bytes_to_hex(t.hash, BYTES_SHA256, hash);
		json_array_append_new(
			tokens,
			json_pack("{s:s, s:o, s:s, s:o, s:o, s:b, s:o, s:s}", "hash", hash,
				  "labels", parsed(t.labels), "by", t.actor, "created",
				  oper_time(t.created_ms), "expires", oper_time(t.expires_ms),
				  "expired", !t.used_ms && t.expires_ms <= call->now_ms, "used",
				  oper_time(t.used_ms), "used_by", t.used_by));
	}
	return oper_answer(call, 200,
			   json_pack("{s:i, s:o}", "schema_version", 1, "tokens", tokens));
}

int operators_tokens(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_wait(call, fleet_tokens(call->o->c->fleet, oper_done, call), on_tokens);
}

static int on_new_token(struct call *call, struct fleet_answer *a)
{
	(void)a;
	oper_answer(call, 201, call->state);
	call->state = NULL; /* consumed */
	return 0;
}

static void json_state_free(void *state)
{
	json_decref(state);
}

/* With an authority from outside, hosts bring certificates and need no token. */
int operators_new_token(struct call *call)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);
	uint64_t ttl_s = json_u64_or(&f, "ttl_s", 60, TTL_S_MAX, TTL_S_OTHERWISE);
	const json_t *labels = json_obj_or_null(&f, "labels");
	AUTO_FREE char *labels_text = NULL, *detail = NULL;
	char text[ENROL_TOKEN_BYTES], hex[BYTES_SHA256_HEX];
	uint8_t hash[BYTES_SHA256];
	struct fleet_entry entry;
	struct fleet_token t;

	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	if (oper_knows(call, NULL) < 0 ||
	    (labels && labels_check(labels, false, &call->fail) < 0))
		return -EINVAL;
	if (!call->o->c->settings->ca_prefix[0]) {
		oper_fail(call, FAIL_POLICY, "this controller has no authority of its own");
		return oper_hint(call,
				 "hosts get their certificates from the authority that you "
				 "named in [agents] trust; they need no token");
	}
	if (enrol_token(call->o->c->enrol, text, hash, &call->fail) < 0)
		return -EIO;
	bytes_to_hex(hash, sizeof(hash), hex);
	labels_text = labels ? json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS) : strdup("{}");
	call->state = json_pack("{s:s, s:s, s:o}", "token", text, "hash", hex, "expires",
				oper_time(call->now_ms + ttl_s * 1000));
	call->state_free = json_state_free;
	detail = labels_text ? strdup(labels_text) : NULL;
	if (!detail || !call->state)
		return oper_no_memory(call);
	t = (struct fleet_token){.hash = hash,
				 .labels = labels_text,
				 .actor = call->user,
				 .created_ms = call->now_ms,
				 .expires_ms = call->now_ms + ttl_s * 1000};
	entry = oper_entry(call, "TOKEN", hex, detail);
	return oper_wait(call, fleet_add_token(call->o->c->fleet, &t, &entry, oper_done, call),
			 on_new_token);
}

static int on_dropped_token(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0)
		return oper_failed(call, a, "there is no such token, or it was used already");
	return oper_answer(call, 200, json_pack("{s:s}", "dropped", call->segment[1]));
}

int operators_drop_token(struct call *call)
{
	struct fleet_entry entry = oper_entry(call, "TOKEN_DROPPED", call->segment[1], NULL);
	uint8_t hash[BYTES_SHA256];

	if (oper_knows(call, NULL) < 0 || oper_hash(call, 1, hash) < 0)
		return -EINVAL;
	return oper_try(call,
			fleet_drop_token(call->o->c->fleet, hash, &entry, oper_done, call),
			on_dropped_token);
}
