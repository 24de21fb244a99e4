// SPDX-License-Identifier: BSD-2-Clause
#include "server/resource.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "bpf/audit.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/authority.h"
#include "server/intake.h"
#include "server/member.h"
#include "server/policy.h"
#include "server/revoke.h"
#include "server/outcome.h"
#include "server/verb.h"
#include "store/bundle.h"
#include "store/bytes.h"

#define WAIT_SECONDS_MAX 3600

/* ---- handlers: reads -------------------------------------------------------------- */

int resource_status(struct call *call, struct fail *reterr_fail)
{
	(void)reterr_fail;
	call_answer_or_fail(call->req,
			    report_status(call->api->c.hotfixes, &call->api->c.report));
	return 0;
}

static int add_version(const struct store_version *v, void *cookie)
{
	return json_array_append_new(cookie, report_version(v));
}

int resource_list(struct call *call, struct fail *reterr_fail)
{
	json_t *versions = json_array();
	int r = store_each_version(call->api->c.store, NULL, add_version, versions);

	if (r < 0) {
		json_decref(versions);
		return store_error(call->api->c.store, r, reterr_fail);
	}
	call_answer_or_fail(call->req,
			    json_pack("{s:i, s:o}", "schema_version", 1, "versions", versions));
	return 0;
}

static int unknown(const char *name, struct fail *reterr_fail)
{
	fail_set(reterr_fail, FAIL_NOT_FOUND, "no hot-fix %.64s is stored on this host", name);
	return fail_hint(reterr_fail, "hotfixctl list shows what is");
}

/* Stored here, or in the kernel. A hot-fix that was only asked for is neither. */
static bool is_known(struct call *call, const char *name)
{
	const struct hotfix *h = hotfix_find(call->api->c.hotfixes, name);
	uint64_t serial;

	return (h && h->gate) || store_newest_serial(call->api->c.store, name, &serial) == 0;
}

int resource_show(struct call *call, struct fail *reterr_fail)
{
	json_t *doc = report_hotfix(call->api->c.hotfixes, call->segment[1]);

	if (!doc)
		return unknown(call->segment[1], reterr_fail);
	json_object_set_new(doc, "schema_version", json_integer(1));
	call_answer(call->req, 200, doc);
	return 0;
}

struct change_list {
	const struct hotfixes *all;
	json_t *changes;
};

static int add_change(const struct store_change *c, void *cookie)
{
	struct change_list *l = cookie;
	struct store_change row = *c;

	outcome_recall(l->all, &row);
	return json_array_append_new(l->changes, report_change(&row, false));
}

int resource_history(struct call *call, struct fail *reterr_fail)
{
	struct change_list l = {.all = call->api->c.hotfixes};
	uint64_t limit;
	int r;

	r = call_query_u64(call, "limit", 10000, 100, &limit, reterr_fail);
	if (r < 0)
		return r;
	l.changes = json_array();
	r = store_each_change(call->api->c.store, call_query(call, "name"), false,
			      (unsigned int)limit, add_change, &l);
	if (r == 0 && call_query(call, "name") && json_array_size(l.changes) == 0 &&
	    !is_known(call, call_query(call, "name"))) {
		json_decref(l.changes);
		return unknown(call_query(call, "name"), reterr_fail);
	}
	if (r < 0) {
		json_decref(l.changes);
		return store_error(call->api->c.store, r, reterr_fail);
	}
	call_answer_or_fail(call->req,
			    json_pack("{s:i, s:o}", "schema_version", 1, "changes", l.changes));
	return 0;
}

int resource_get_change(struct call *call, struct fail *reterr_fail)
{
	const char *wait_for = call_query(call, "wait_for");
	enum hotfix_wait until = HOTFIX_WAIT_END;
	struct store_change row;
	struct timeval tv = {0};
	uint64_t id, wait_s;
	struct parked *p;
	int r;

	r = call_path_serial(call->segment[1], &id, reterr_fail);
	if (r == 0)
		r = call_query_u64(call, "wait", WAIT_SECONDS_MAX, 0, &wait_s, reterr_fail);
	if (r < 0)
		return r;
	if (wait_for && strcmp(wait_for, "trial") == 0)
		until = HOTFIX_WAIT_LIVE;
	else if (wait_for && strcmp(wait_for, "end") != 0)
		return fail_set(reterr_fail, FAIL_USAGE, "?wait_for= must be trial or end");
	r = store_get_change(call->api->c.store, id, &row);
	if (r == -ENOENT)
		return fail_set(reterr_fail, FAIL_NOT_FOUND, "no change %" PRIu64, id);
	if (r < 0)
		return store_error(call->api->c.store, r, reterr_fail);
	store_change_clear(&row);
	p = wait_s ? call_park(call) : NULL;
	if (p) {
		p->change = id;
		p->row_only = true;
		p->waiter = hotfix_wait(call->api->c.hotfixes, id, until, call_on_change, p);
		p->timeout = evtimer_new(call->api->c.base, call_on_wait_over, p);
		if (p->waiter && p->timeout) {
			tv.tv_sec = (time_t)wait_s;
			event_add(p->timeout, &tv);
			return 0;
		}
		call_unpark(p);
	}
	call_answer_or_fail(call->req, call_change_json(call->api, id));
	return 0;
}

int resource_audit(struct call *call, struct fail *reterr_fail)
{
	uint64_t after, limit;
	json_t *rows;
	int r;

	r = call_query_u64(call, "after", INT64_MAX, 0, &after, reterr_fail);
	if (r == 0)
		r = call_query_u64(call, "limit", 10000, 1000, &limit, reterr_fail);
	if (r < 0)
		return r;
	r = store_audit_list(call->api->c.store, after, (unsigned int)limit, &rows);
	if (r < 0)
		return store_error(call->api->c.store, r, reterr_fail);
	call_answer_or_fail(call->req,
			    json_pack("{s:i, s:o}", "schema_version", 1, "rows", rows));
	return 0;
}

static json_t *host_json(struct call *call)
{
	const struct key *host = record_host(call->api->c.record);
	char public[64];

	return host ? json_pack("{s:s, s:s}", "id", record_host_id(call->api->c.record),
				"public", key_public_format(key_public(host), public))
		    : json_null();
}

int resource_audit_head(struct call *call, struct fail *reterr_fail)
{
	AUTO_FREE char *checkpoint = record_head(call->api->c.record);

	if (!checkpoint) {
		fail_set(reterr_fail, FAIL_STORAGE, "there is no host key to sign with");
		return fail_hint(reterr_fail, "the log of hotfixd says why");
	}
	call_answer_or_fail(call->req, json_pack("{s:s, s:o}", "checkpoint", checkpoint, "host",
						 host_json(call)));
	return 0;
}

int resource_audit_verify(struct call *call, struct fail *reterr_fail)
{
	const struct key *host = record_host(call->api->c.record);
	uint64_t rows = 0, bad = 0, checkpoints = 0;
	const char *what = "bad_seq";
	char head[65] = "";
	int r = store_audit_verify(call->api->c.store, &rows, head, &bad);

	if (r == 0 && host) {
		what = "bad_checkpoint";
		r = store_checkpoint_verify(call->api->c.store, key_public(host), &checkpoints,
					    &bad);
	}
	if (r < 0 && r != -EUCLEAN)
		return store_error(call->api->c.store, r, reterr_fail);
	call_answer_or_fail(call->req,
			    r == 0 ? json_pack("{s:b, s:I, s:s, s:I, s:o}", "ok", 1, "rows",
					       (json_int_t)rows, "head", head, "checkpoints",
					       (json_int_t)checkpoints, "host", host_json(call))
				   : json_pack("{s:b, s:I}", "ok", 0, what, (json_int_t)bad));
	return 0;
}

int resource_events(struct call *call, struct fail *reterr_fail)
{
	const char *follow = call_query(call, "follow");

	(void)reterr_fail;
	events_serve(call->api->c.events, call->req, call_query(call, "name"),
		     follow && strcmp(follow, "1") == 0);
	return 0;
}

/* ---- handlers: workers that only look ----------------------------------------------- */

/* What a worker cannot know of the host: how long its root lasts, and as whom the loop runs. */
static void add_checks(struct api *a, const json_t *report)
{
	json_t *checks = json_object_get(json_object_get(report, "host"), "checks");
	struct store *s = a->c.store;
	char warning[256];

	if (checks && a->c.report.uid == 0)
		json_array_append_new(
			checks,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", "user", "status",
				  "warn", "value", "root", "how", "as whom the loop runs",
				  "why",
				  "there is no user for it: whoever takes it over is root",
				  "hint",
				  "systemd-sysusers, or useradd --system hotfix, and restart"));
	if (checks && authority_warning(s, warning, sizeof(warning))[0])
		json_array_append_new(checks,
				      json_pack("{s:s, s:s, s:s, s:s, s:n, s:s}", "name",
						"root", "status", "warn", "value", warning,
						"how", "the root in force", "why", "hint",
						"hotfixctl trust rotate makes the next one"));
	if (checks && member_complaint(a->c.hotfixes, warning, sizeof(warning)))
		json_array_append_new(
			checks,
			json_pack(
				"{s:s, s:s, s:s, s:s, s:n, s:s}", "name", "fleet", "status",
				"warn", "value", warning, "how", "the fleet of this host",
				"why", "hint",
				"hotfixctl status shows the controller; what runs goes on, and "
				"trials end, without it"));
}

static void on_looked(const struct worker_result *result, void *cookie)
{
	struct parked *p = cookie;
	struct api *a = p->api;
	struct evhttp_request *req;
	json_t *doc;

	p->worker = NULL;
	req = call_unpark(p);
	if (result->ok) {
		add_checks(a, result->report);
		call_answer_or_fail(req, json_incref((json_t *)(uintptr_t)result->report));
		return;
	}
	doc = fail_to_json(&result->fail);
	if (doc && result->log[0])
		json_object_set_new(doc, "log", json_string(result->log));
	call_answer(req, fail_http(result->fail.code), doc);
}

static int look(struct call *call, const char *op, const uint8_t *bundle, size_t bundle_len,
		struct fail *reterr_fail)
{
	struct worker_job job = {
		.op = op, .look = true, .bundle = bundle, .bundle_len = bundle_len};
	struct parked *p;
	int r;

	p = call_park(call);
	if (!p)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = worker_run(call->api->c.workers, &job, on_looked, p, &p->worker);
	if (r < 0)
		call_unpark(p);
	if (r == -EBUSY) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "busy: others wait for the doctor or a dry run already");
		return fail_hint(reterr_fail, "try again");
	}
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "no worker could be started: %s",
				strerror(-r));
	return 0;
}

static int look_at_stored(struct call *call, const char *op, const char *name, uint64_t serial,
			  struct fail *reterr_fail)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r;

	if (!serial && store_newest_serial(call->api->c.store, name, &serial) < 0)
		return unknown(name, reterr_fail);
	r = hotfix_open_bundle(call->api->c.hotfixes, name, serial, &buf, &len, &bundle,
			       reterr_fail);
	return r < 0 ? r : look(call, op, buf, len, reterr_fail);
}

int resource_doctor(struct call *call, struct fail *reterr_fail)
{
	if (call_query(call, "name"))
		return look_at_stored(call, "doctor", call_query(call, "name"), 0, reterr_fail);
	return look(call, "doctor", NULL, 0, reterr_fail);
}

static int open_body(struct call *call, struct authority **ret_authority,
		     struct bundle **ret_bundle, struct fail *reterr_fail)
{
	const uint8_t *bytes;
	size_t len;
	int r;

	r = authority_open(call->api->c.store, ret_authority, reterr_fail);
	if (r < 0)
		return r;
	bytes = call_bytes(call, &len);
	return bundle_open(bytes, len, (*ret_authority)->trust, ret_bundle, reterr_fail);
}

int resource_doctor_bundle(struct call *call, struct fail *reterr_fail)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO(authority_freep) struct authority *authority = NULL;
	const uint8_t *bytes;
	size_t len;
	int r = open_body(call, &authority, &bundle, reterr_fail);

	if (r < 0)
		return r;
	bytes = call_bytes(call, &len);
	return look(call, "doctor", bytes, len, reterr_fail);
}

/*
 * Who was told no by signature, policy or what this host can: a decision, so it leaves a row.
 * Returns r.
 */
static int refusal_of(struct call *call, const char *action, const char *subject, int r,
		      const struct fail *fail)
{
	if (r < 0 && fail->code == FAIL_EQUIVOCATION)
		intake_alarm(call->api->c.hotfixes, subject, fail->code, fail->message,
			     call->uid);
	if (r < 0 && (fail_exit(fail->code) == fail_exit(FAIL_POLICY) ||
		      fail_exit(fail->code) == fail_exit(FAIL_INCOMPATIBLE)))
		call_audit_refusal(call, action, subject, fail);
	return r;
}

/* ---- handlers: trust and bundles ------------------------------------------------------ */

int resource_get_trust(struct call *call, struct fail *reterr_fail)
{
	json_t *doc;
	int r = authority_report(call->api->c.store, &doc, reterr_fail);

	if (r == 0)
		call_answer_or_fail(call->req, doc);
	return r;
}

static int import_revocation(struct call *call, const uint8_t *bytes, size_t len,
			     struct fail *reterr_fail)
{
	struct revocation v;
	int r = intake_revocation(call->api->c.hotfixes, bytes, len, call->uid, &v,
				  reterr_fail);

	if (r < 0)
		return r;
	call_answer_or_fail(call->req,
			    json_pack("{s:o}", "revocation", revocation_to_json(&v)));
	return 0;
}

/* It is kept where only root writes: from here on it counts, whatever the database says. */
static void on_root_kept(const struct worker_result *result, void *cookie)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	struct parked *p = cookie;
	struct call call = {.api = p->api, .uid = p->uid};
	struct fail fail = result->fail;
	const uint8_t *bytes;
	size_t len;
	int r = 0;

	p->worker = NULL;
	call.req = call_unpark(p);
	if (result->ok) {
		bytes = call_bytes(&call, &len);
		r = intake_root_kept(call.api->c.hotfixes, bytes, len, call.uid, &trust, &fail);
	}
	if (result->ok && r == 0) {
		call_answer_or_fail(call.req, json_pack("{s:o}", "root", trust_to_json(trust)));
		return;
	}
	refusal_of(&call, "trust import", "root", -1, &fail);
	call_refuse(call.req, &fail);
}

static int import_root(struct call *call, const uint8_t *bytes, size_t len,
		       struct fail *reterr_fail)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(call->req);
	int peer_fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));
	struct parked *p = call_park(call);
	int r;

	if (!p)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	p->uid = call->uid;
	r = intake_root(call->api->c.hotfixes, bytes, len, peer_fd, on_root_kept, p, &p->worker,
			reterr_fail);
	if (r < 0)
		call_unpark(p);
	return r;
}

static int import_catalog(struct call *call, const uint8_t *bytes, size_t len,
			  struct fail *reterr_fail)
{
	AUTO(catalog_freep) struct catalog *c = NULL;
	int r = intake_catalog(call->api->c.hotfixes, bytes, len, call->uid, &c, reterr_fail);

	if (r < 0)
		return r;
	call_answer_or_fail(call->req, json_pack("{s:o}", "status", catalog_to_json(c)));
	return 0;
}

static const struct {
	const char *type, *name;
	int (*import)(struct call *call, const uint8_t *bytes, size_t len,
		      struct fail *reterr_fail);
} documents[] = {
	{DSSE_TYPE_REVOCATION, "revocation", import_revocation},
	{DSSE_TYPE_STATUS, "status", import_catalog},
	{NULL, "root", import_root}, /* whatever else: it says what is wrong with it */
};

/* A root, what the release keys of the one in force revoke, or the status of the fleet. */
int resource_import_trust(struct call *call, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *document = NULL;
	const uint8_t *bytes;
	size_t len, payload_len, i = 0;
	int r;

	bytes = call_bytes(call, &len);
	r = dsse_parse("document", bytes, len, &document, reterr_fail);
	while (documents[i].type &&
	       (r < 0 || !dsse_unverified_payload(document, documents[i].type, &payload_len)))
		i++;
	if (r == 0)
		r = documents[i].import(call, bytes, len, reterr_fail);
	return refusal_of(call, "trust import", documents[i].name, r, reterr_fail);
}

int resource_import(struct call *call, struct fail *reterr_fail)
{
	struct intake_bundle b;
	const uint8_t *bytes;
	char subject[HOOK_NAME_MAX + 24], digest[BYTES_SHA256_HEX];
	size_t len;
	int r;

	bytes = call_bytes(call, &len);
	r = intake_bundle(call->api->c.hotfixes, bytes, len, call->uid, &b, reterr_fail);
	if (r < 0) {
		if (b.serial)
			snprintf(subject, sizeof(subject), "%s@%" PRIu64, b.name, b.serial);
		else
			snprintf(subject, sizeof(subject), "%s", b.name[0] ? b.name : "?");
		return refusal_of(call, "import", subject, r, reterr_fail);
	}
	call_answer_or_fail(call->req,
			    json_pack("{s:s, s:I, s:s, s:b}", "name", b.name, "serial",
				      (json_int_t)b.serial, "digest",
				      bytes_to_hex(b.digest, sizeof(b.digest), digest),
				      "already", (int)b.already));
	return 0;
}

/* ---- handlers: changes ------------------------------------------------------------------ */

int resource_apply(struct call *call, struct fail *reterr_fail)
{
	struct verb_apply a = {.actor_uid = call->uid};
	struct json_fields f = json_fields("request", call->body, reterr_fail);
	bool dry_run;
	uint64_t id;
	int r;

	a.serial = json_u64_or(&f, "serial", 1, INT64_MAX, 0);
	a.trial_ms = json_u64_or(&f, "trial_ms", 1, INT64_MAX / 1000000, 0);
	a.commit = json_bool_or(&f, "commit", false);
	a.observe = json_bool_or(&f, "observe", false);
	dry_run = json_bool_or(&f, "dry_run", false);
	r = call_as_usage(json_fields_end(&f), reterr_fail);
	if (r < 0)
		return r;
	if (a.commit && !dry_run)
		r = call_need(call, CONFIG_COMMIT, reterr_fail);
	if (r < 0)
		return r;
	if (dry_run)
		return look_at_stored(call, "check", call->segment[1], a.serial, reterr_fail);
	r = verb_apply(call->api->c.hotfixes, call->segment[1], &a, &id, reterr_fail);
	if (r < 0)
		return refusal_of(call, "apply", call->segment[1], r, reterr_fail);
	call_answer_when(call, id, HOTFIX_WAIT_LIVE, false);
	return 0;
}

/* {"reason":text,"to":serial} of the verbs that take them. */
static int take_reason(struct call *call, bool takes_to, const char **ret_reason,
		       uint64_t *ret_to, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("request", call->body, reterr_fail);

	*ret_reason = json_str_or(&f, "reason", 200, "");
	if (takes_to)
		*ret_to = json_u64_or(&f, "to", 1, INT64_MAX, 0);
	return call_as_usage(json_fields_end(&f), reterr_fail);
}

int resource_commit(struct call *call, struct fail *reterr_fail)
{
	const char *reason;
	uint64_t id;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = verb_commit(call->api->c.hotfixes, call->segment[1], call->uid, &id,
				reterr_fail);
	if (r < 0)
		return r;
	call_answer_when(call, id, HOTFIX_WAIT_END, false);
	return 0;
}

static bool is_on_trial(struct call *call, const char *name)
{
	const struct hotfix *h = hotfix_find(call->api->c.hotfixes, name);

	return h && h->phase == HOTFIX_TRIAL;
}

/* What a director says: {"directive":{envelope}} and nothing else. */
static int roll_back_as_directed(struct call *call, const json_t *envelope,
				 struct fail *reterr_fail)
{
	AUTO_FREE char *bytes = json_dumps(envelope, JSON_COMPACT);
	AUTO(trust_freep) struct trust *trust = NULL;
	struct directive d;
	char reason[sizeof(d.reason) + sizeof(d.rollout) + 16];
	uint64_t id;
	int r = authority_trust(call->api->c.store, &trust, reterr_fail);

	if (!bytes)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (r == 0)
		r = directive_open(bytes, strlen(bytes), trust, &d, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp(d.name, call->segment[1]) != 0)
		return fail_set(reterr_fail, FAIL_POLICY, "directive: about %s, not %s", d.name,
				call->segment[1]);
	if (d.action != DIRECTIVE_ROLLBACK)
		return fail_set(reterr_fail, FAIL_POLICY, "directive: it is no rollback");
	snprintf(reason, sizeof(reason), "directive%s%s%s%s", d.rollout[0] ? " " : "",
		 d.rollout, d.reason[0] ? ": " : "", d.reason);
	r = verb_rollback(call->api->c.hotfixes, d.name, d.to, reason, &d, call->uid, &id,
			  reterr_fail);
	if (r == 0)
		call_answer_when(call, id, HOTFIX_WAIT_LIVE, false);
	return r;
}

int resource_rollback(struct call *call, struct fail *reterr_fail)
{
	const json_t *directive = json_object_get(call->body, "directive");
	const char *reason;
	uint64_t id, to;
	int r;

	if (directive && json_object_size(call->body) == 1) {
		r = call_need(call, CONFIG_COMMIT, reterr_fail);
		if (r == 0)
			r = roll_back_as_directed(call, directive, reterr_fail);
		return refusal_of(call, "directive", call->segment[1], r, reterr_fail);
	}
	r = take_reason(call, true, &reason, &to, reterr_fail);

	/* Who may put on trial may end it. */
	if (r == 0 && !is_on_trial(call, call->segment[1]))
		r = call_need(call, CONFIG_COMMIT, reterr_fail);
	if (r < 0)
		return r;
	r = verb_rollback(call->api->c.hotfixes, call->segment[1], to, reason, NULL, call->uid,
			  &id, reterr_fail);
	if (r < 0)
		return refusal_of(call, "rollback", call->segment[1], r, reterr_fail);
	call_answer_when(call, id, HOTFIX_WAIT_END, true);
	return 0;
}

int resource_disable(struct call *call, struct fail *reterr_fail)
{
	const char *reason;
	uint64_t id;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = verb_disable(call->api->c.hotfixes, call->segment[1], reason, call->uid,
				 &id, reterr_fail);
	if (r < 0)
		return r;
	call_answer_when(call, id, HOTFIX_WAIT_END, false);
	return 0;
}

int resource_enable(struct call *call, struct fail *reterr_fail)
{
	const char *reason;
	uint64_t id;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = verb_enable(call->api->c.hotfixes, call->segment[1], call->uid, &id,
				reterr_fail);
	if (r < 0)
		return refusal_of(call, "enable", call->segment[1], r, reterr_fail);
	call_answer_when(call, id, HOTFIX_WAIT_END, false);
	return 0;
}

static int switch_mode(struct call *call, bool enforce, struct fail *reterr_fail)
{
	const char *reason;
	uint64_t id;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = verb_enforce(call->api->c.hotfixes, call->segment[1], enforce, call->uid,
				 &id, reterr_fail);
	if (r == 0)
		call_answer_or_fail(call->req, call_change_json(call->api, id));
	return r;
}

int resource_enforce(struct call *call, struct fail *reterr_fail)
{
	return switch_mode(call, true, reterr_fail);
}

int resource_observe(struct call *call, struct fail *reterr_fail)
{
	return switch_mode(call, false, reterr_fail);
}

int resource_retry(struct call *call, struct fail *reterr_fail)
{
	const char *reason;
	uint64_t id, serial = 0;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = call_path_serial(call->segment[2], &serial, reterr_fail);
	if (r == 0)
		r = verb_retry(call->api->c.hotfixes, call->segment[1], serial, reason,
			       call->uid, &id, reterr_fail);
	if (r == 0)
		call_answer_or_fail(call->req, call_change_json(call->api, id));
	return r;
}

int resource_resume(struct call *call, struct fail *reterr_fail)
{
	const char *reason;
	int r = take_reason(call, false, &reason, NULL, reterr_fail);

	if (r == 0)
		r = verb_resume(call->api->c.hotfixes, call->uid, reterr_fail);
	if (r == 0)
		call_answer_or_fail(call->req, json_pack("{s:b}", "resumed", 1));
	return r;
}

int resource_remove(struct call *call, struct fail *reterr_fail)
{
	uint64_t id, serial = 0;
	int r = 0;

	if (call->n_segments == 3)
		r = call_path_serial(call->segment[2], &serial, reterr_fail);
	if (r == 0)
		r = verb_remove(call->api->c.hotfixes, call->segment[1], serial, call->uid, &id,
				reterr_fail);
	if (r < 0)
		return r;
	call_answer_when(call, id, HOTFIX_WAIT_END, false);
	return 0;
}
