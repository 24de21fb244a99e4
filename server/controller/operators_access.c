// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "lib/version.h"
#include "server/controller/database.h"
#include "server/controller/operators_private.h"
#include "server/controller/roots.h"
#include "server/controller/serve.h"
#include "server/controller/spec.h"
#include "store/bytes.h"
#include "store/trust.h"

#define ROWS_MAX      1000
#define VALID_S_MAX   (10ULL * 365 * 86400)
#define CERTIFICATE_S (90ULL * 86400)

/* server/controller/openapi.yaml, as it was when this was compiled. */
__asm__(".pushsection .rodata\n"
	".global operators_openapi_begin, operators_openapi_end\n"
	"operators_openapi_begin: .incbin \"server/controller/openapi.yaml\"\n"
	"operators_openapi_end: .byte 0\n"
	".popsection");
extern const char operators_openapi_begin[], operators_openapi_end[];

int operators_openapi(struct call *call)
{
	serve_answer_bytes(call->req, 200, "application/yaml", operators_openapi_begin,
			   (size_t)(operators_openapi_end - operators_openapi_begin));
	call->req = NULL;
	return 0;
}

/* ---- status ------------------------------------------------------------------------------ */

static json_t *guard_json(const struct fleet_guard *g)
{
	json_t *scope = g->scope[0] ? json_loads(g->scope, 0, NULL) : NULL;

	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:o}", "name", g->name, "from",
			 oper_time(g->from_ms), "until", oper_time(g->until_ms), "scope",
			 scope ? scope : json_object(), "reason", g->reason, "by", g->actor,
			 "at", oper_time(g->at_ms));
}

static json_t *guards_json(struct fleet_answer *a, json_t **ret_stop)
{
	json_t *freezes = json_array();
	struct fleet_guard g;

	*ret_stop = json_null();
	while (fleet_next_guard(a, &g)) {
		if (strcmp(g.kind, "stop") == 0)
			*ret_stop = guard_json(&g);
		else if (strcmp(g.kind, "freeze") == 0)
			json_array_append_new(freezes, guard_json(&g));
	}
	return freezes;
}

/* It answers, as it knows who asks; that it stores anything is another matter. */
static json_t *database_json(const struct call *call)
{
	const struct controller *c = call->o->c;
	struct database_writes writes;
	json_t *doc;

	database_writes(c->database, &writes);
	doc = json_pack("{s:s, s:s}", "engine",
			db_is_file(fleet_db(c->fleet)) ? "sqlite" : "postgresql", "state",
			writes.failing_ms ? "failing" : "ok");
	if (!doc || !writes.failing_ms)
		return doc;
	json_object_set_new(doc, "since", oper_time(call->now_ms - writes.failing_ms));
	json_object_set_new(doc, "why", json_string(writes.why.message));
	json_object_set_new(doc, "hint", json_string(writes.why.hint));
	return doc;
}

static json_t *status_json(struct call *call)
{
	const struct controller *c = call->o->c;
	const struct trust *trust = roots_trust(c->roots);

	return json_pack("{s:i, s:{s:s, s:s}, s:{s:s, s:s, s:o}, s:o, s:o}", "schema_version",
			 1, "you", "name", call->user, "role", role_name(call->role),
			 "controller", "name", c->settings->name, "version", HOTFIX_VERSION,
			 "started", oper_time(c->started_ms), "database", database_json(call),
			 "root",
			 trust ? json_integer((json_int_t)trust->version) : json_null());
}

static int on_status_guards(struct call *call, struct fleet_answer *a)
{
	json_t *doc = status_json(call), *stop, *freezes = guards_json(a, &stop);

	json_object_set_new(doc, "stop_the_line", stop);
	json_object_set_new(doc, "freezes", freezes);
	return oper_answer(call, 200, doc);
}

/* Whether it could be stored is known by now (database.h). */
static int on_probed(struct call *call, struct fleet_answer *a)
{
	(void)a;
	return oper_wait(call, fleet_guards(call->o->c->fleet, oper_done, call),
			 on_status_guards);
}

int operators_status(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_try(call, fleet_probe(call->o->c->fleet, oper_done, call), on_probed);
}

/* ---- freezes and the line ---------------------------------------------------------------- */

static int on_freezes(struct call *call, struct fleet_answer *a)
{
	json_t *stop, *freezes = guards_json(a, &stop);

	return oper_answer(call, 200,
			   json_pack("{s:i, s:o, s:o}", "schema_version", 1, "stop_the_line",
				     stop, "freezes", freezes));
}

int operators_freezes(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_wait(call, fleet_guards(call->o->c->fleet, oper_done, call), on_freezes);
}

/* {"hotfix":NAME or absent, "target":selector or absent}: what a freeze holds; {} holds all. */
static int check_scope(struct call *call, const json_t *scope)
{
	struct json_fields f = json_fields("freeze: scope", scope, &call->fail);
	const char *hotfix = json_str_or(&f, "hotfix", HOOK_NAME_MAX, "");
	const json_t *target = json_obj_or_null(&f, "target");
	struct spec spec;
	int r;

	if (hotfix[0] && !hook_name_valid(hotfix))
		json_bad(&f, "hotfix", "must be the name of a hot-fix");
	r = json_fields_end(&f);
	if (r == 0 && target) { /* a selector as specs have it */
		AUTO_JSON json_t *doc = json_pack("{s:O}", "target", target);

		r = doc ? spec_parse(doc, &spec, &call->fail) : oper_no_memory(call);
		if (r == 0)
			spec_clear(&spec);
	}
	if (r < 0 && call->fail.code == FAIL_BAD_FORMAT)
		call->fail.code = FAIL_USAGE;
	return r;
}

static int on_guard_put(struct call *call, struct fleet_answer *a)
{
	(void)a;
	return operators_freezes(call);
}

static int put_guard(struct call *call, const struct fleet_guard *g, const char *action)
{
	AUTO_JSON json_t *detail = guard_json(g);
	AUTO_FREE char *text = detail ? json_text(detail) : NULL;
	struct fleet_entry entry =
		oper_entry(call, action, g->name[0] ? g->name : "line", text);

	if (!text)
		return oper_no_memory(call);
	return oper_wait(call, fleet_put_guard(call->o->c->fleet, g, &entry, oper_done, call),
			 on_guard_put);
}

/* One that is there already is changed by those who may lift it. */
static int on_freezes_to_put(struct call *call, struct fleet_answer *a)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);
	const json_t *scope = json_obj_or_null(&f, "scope");
	uint64_t from_ms = json_time_or_zero(&f, "from");
	uint64_t until_ms = json_time_or_zero(&f, "until");
	const char *reason = json_str(&f, "reason", OPER_REASON_BYTES);
	AUTO_FREE char *text = NULL;
	struct fleet_guard g;

	if (f.r == 0 && !reason[0])
		json_bad(&f, "reason", "is needed");
	if (f.r == 0 && until_ms && until_ms <= (from_ms ? from_ms : call->now_ms))
		json_bad(&f, "until", "must be later than its beginning, and than now");
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	if (scope && check_scope(call, scope) < 0)
		return -EINVAL;
	while (fleet_next_guard(a, &g))
		if (strcmp(g.kind, "freeze") == 0 && strcmp(g.name, call->segment[1]) == 0 &&
		    call->role < ROLE_APPROVER) {
			oper_fail(call, FAIL_CONFLICT, "there is a freeze %s already", g.name);
			return oper_hint(call, "an approver may change it");
		}
	text = scope ? json_dumps(scope, JSON_COMPACT | JSON_SORT_KEYS) : strdup("{}");
	if (!text)
		return oper_no_memory(call);
	g = (struct fleet_guard){.kind = "freeze",
				 .name = call->segment[1],
				 .from_ms = from_ms,
				 .until_ms = until_ms,
				 .scope = text,
				 .reason = reason,
				 .actor = call->user,
				 .at_ms = call->now_ms};
	return put_guard(call, &g, "FREEZE");
}

int operators_put_freeze(struct call *call)
{
	if (oper_knows(call, NULL) < 0 || oper_name(call, 1, "a freeze") < 0)
		return -EINVAL;
	return oper_wait(call, fleet_guards(call->o->c->fleet, oper_done, call),
			 on_freezes_to_put);
}

static int on_guard_gone(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0)
		return oper_failed(call, a,
				   strcmp(call->segment[0], "line") == 0
					   ? "the line is not stopped"
					   : "there is no such freeze");
	return operators_freezes(call);
}

int operators_drop_freeze(struct call *call)
{
	struct fleet_entry entry = oper_entry(call, "FREEZE_LIFTED", call->segment[1], NULL);

	if (oper_knows(call, NULL) < 0 || oper_name(call, 1, "a freeze") < 0)
		return -EINVAL;
	return oper_try(call,
			fleet_drop_guard(call->o->c->fleet, "freeze", call->segment[1], &entry,
					 oper_done, call),
			on_guard_gone);
}

int operators_stop_line(struct call *call)
{
	struct fleet_guard g = {.kind = "stop",
				.name = "",
				.scope = "{}",
				.actor = call->user,
				.at_ms = call->now_ms};

	if (oper_knows(call, NULL) < 0 || oper_take_reason(call, true, &g.reason) < 0)
		return -EINVAL;
	return put_guard(call, &g, "STOP_THE_LINE");
}

int operators_clear_line(struct call *call)
{
	struct fleet_entry entry = oper_entry(call, "LINE_CLEARED", "line", NULL);

	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_try(
		call, fleet_drop_guard(call->o->c->fleet, "stop", "", &entry, oper_done, call),
		on_guard_gone);
}

/* ---- operators --------------------------------------------------------------------------- */

static bool is_good(const struct fleet_operator *o, uint64_t now_ms)
{
	return !o->revoked_ms && (!o->expires_ms || o->expires_ms > now_ms);
}

static int on_operators(struct call *call, struct fleet_answer *a)
{
	json_t *operators = json_array();
	struct fleet_operator o;
	char credential[BYTES_SHA256_HEX];

	while (fleet_next_operator(a, &o)) {
		bytes_to_hex(o.credential, BYTES_SHA256, credential);
		json_array_append_new(operators,
				      json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "name",
						o.name, "role", o.role, "credential",
						credential, "created", oper_time(o.created_ms),
						"expires", oper_time(o.expires_ms), "revoked",
						oper_time(o.revoked_ms), "good",
						is_good(&o, call->now_ms)));
	}
	return oper_answer(
		call, 200,
		json_pack("{s:i, s:o}", "schema_version", 1, "operators", operators));
}

int operators_list(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_wait(call, fleet_operators(call->o->c->fleet, oper_done, call),
			 on_operators);
}

static void json_state_free(void *state)
{
	json_decref(state);
}

static int on_added(struct call *call, struct fleet_answer *a)
{
	json_t *doc = call->state;

	if (a->r == -EEXIST)
		return oper_fail(call, FAIL_CONFLICT, "this certificate was added before");
	if (a->r < 0)
		return oper_failed(call, a, NULL);
	call->state = NULL;
	return oper_answer(call, 201, doc);
}

static int store_operator(struct call *call, struct fleet_operator *o)
{
	char credential[BYTES_SHA256_HEX], expires[CLOCK_TIMESTAMP_BYTES] = "";
	AUTO_JSON json_t *detail = NULL;
	AUTO_FREE char *text = NULL;
	struct fleet_entry entry;

	if (o->expires_ms)
		clock_format_timestamp(o->expires_ms, expires);
	bytes_to_hex(o->credential, BYTES_SHA256, credential);
	detail = json_pack("{s:s, s:s, s:s}", "role", o->role, "credential", credential,
			   "expires", expires);
	text = detail ? json_text(detail) : NULL;
	if (!text || !call->state)
		return oper_no_memory(call);
	json_object_set_new(call->state, "name", json_string(o->name));
	json_object_set_new(call->state, "role", json_string(o->role));
	json_object_set_new(call->state, "credential", json_string(credential));
	json_object_set_new(call->state, "expires", oper_time(o->expires_ms));
	entry = oper_entry(call, "OPERATOR", o->name, text);
	return oper_try(call, fleet_add_operator(call->o->c->fleet, o, &entry, oper_done, call),
			on_added);
}

/* A token; only its hash is kept. */
static int add_token(struct call *call, struct fleet_operator *o)
{
	uint8_t secret[32], hash[BYTES_SHA256];
	char token[sizeof(OPER_TOKEN_PREFIX) + 64];

	arc4random_buf(secret, sizeof(secret));
	strcpy(token, OPER_TOKEN_PREFIX);
	bytes_to_hex(secret, sizeof(secret), token + strlen(token));
	bytes_sha256(token, strlen(token), hash);
	call->state = json_pack("{s:s}", "token", token);
	o->credential = hash;
	return store_operator(call, o);
}

/* A certificate that the authority of operators signs for a request, or one that somebody brings. */
static int add_certificate(struct call *call, struct fleet_operator *o, const char *request,
			   const char *certificate)
{
	const struct settings *s = call->o->c->settings;
	AUTO(ca_bundle_freep) struct ca_bundle *trust = NULL;
	AUTO(ca_freep) struct ca *ca = NULL;
	AUTO_FREE char *pem = NULL;
	uint64_t now_s = call->now_ms / 1000;
	uint8_t hash[BYTES_SHA256];
	struct ca_peer peer;
	int r = 0;

	if (request[0] && !s->ca_operators_prefix[0])
		return oper_fail(call, FAIL_POLICY,
				 "this controller has no authority for operators: bring a "
				 "certificate of yours");
	if (request[0])
		r = ca_load(s->ca_operators_prefix, &ca, &call->fail);
	if (r == 0 && request[0])
		r = ca_sign(ca, CA_USER, o->name, request, strlen(request), now_s,
			    o->expires_ms ? o->expires_ms / 1000 - now_s : CERTIFICATE_S, &pem,
			    &call->fail);
	if (r == 0 && !pem) {
		pem = strdup(certificate);
		r = pem ? 0 : oper_no_memory(call);
	}
	if (r == 0)
		r = ca_bundle_load(s->operators_trust, &trust, &call->fail);
	if (r == 0)
		r = ca_verify(trust, CA_USER, pem, strlen(pem), now_s, &peer, &call->fail);
	if (r < 0)
		return r;
	if (strcmp(peer.name, o->name) != 0)
		return oper_fail(call, FAIL_USAGE, "the certificate names %s, not %s",
				 peer.name, o->name);
	if (bytes_from_hex(peer.fingerprint, hash, sizeof(hash)) < 0)
		return oper_fail(call, FAIL_INTERNAL, "no fingerprint");
	call->state = json_pack("{s:s}", "certificate", pem);
	o->credential = hash;
	if (!o->expires_ms)
		o->expires_ms = peer.not_after_s * 1000;
	return store_operator(call, o);
}

/* {"name","role","valid_s":N|absent, "request": PEM | "certificate": PEM | neither: a token} */
int operators_add(struct call *call)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);
	const char *name = json_str(&f, "name", CA_NAME_BYTES - 1);
	const char *role_text = json_str(&f, "role", 16);
	uint64_t valid_s = json_u64_or(&f, "valid_s", 60, VALID_S_MAX, 0);
	const char *request = json_str_or(&f, "request", CA_REQUEST_BYTES_MAX, "");
	const char *certificate = json_str_or(&f, "certificate", CA_REQUEST_BYTES_MAX, "");
	struct fleet_operator o = {.name = name, .created_ms = call->now_ms};
	enum role role;

	call->state_free = json_state_free;
	if (f.r == 0 && !ca_name_valid(CA_USER, name))
		json_bad(&f, "name", "cannot be that of an operator");
	if (f.r == 0 && ca_name_reserved(name))
		json_bad(&f, "name",
			 "is reserved: a history would read as if the controller had done it");
	if (f.r == 0 && role_parse(role_text, &role) < 0)
		json_bad(&f, "role", "must be viewer, operator, approver or admin");
	if (f.r == 0 && request[0] && certificate[0])
		json_bad(&f, "request", "and \"certificate\" cannot both be there");
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	o.role = role_text;
	o.expires_ms = valid_s ? call->now_ms + valid_s * 1000 : 0;
	return request[0] || certificate[0] ? add_certificate(call, &o, request, certificate)
					    : add_token(call, &o);
}

static int on_revoked(struct call *call, struct fleet_answer *a)
{
	(void)a;
	return oper_answer(call, 200, json_pack("{s:s}", "revoked", call->segment[1]));
}

static int on_operators_to_revoke(struct call *call, struct fleet_answer *a)
{
	struct fleet_entry entry = oper_entry(call, "OPERATOR_REVOKED", call->segment[1], NULL);
	bool known = false, others = false;
	struct fleet_operator o;

	while (fleet_next_operator(a, &o)) {
		bool meant = strcmp(o.name, call->segment[1]) == 0;

		known = known || (meant && !o.revoked_ms);
		others = others || (!meant && is_good(&o, call->now_ms) &&
				    strcmp(o.role, role_name(ROLE_ADMIN)) == 0);
	}
	if (!known)
		return oper_fail(call, FAIL_NOT_FOUND, "there is no operator %.64s",
				 call->segment[1]);
	if (!others) {
		oper_fail(call, FAIL_CONFLICT, "%.64s is the last admin", call->segment[1]);
		return oper_hint(call, "add another one first: hotfixctl operator add");
	}
	return oper_wait(call,
			 fleet_revoke_operator(call->o->c->fleet, call->segment[1], &entry,
					       oper_done, call),
			 on_revoked);
}

int operators_revoke(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	if (!ca_name_valid(CA_USER, call->segment[1]))
		return oper_fail(call, FAIL_USAGE, "\"%.80s\" cannot be an operator",
				 call->segment[1]);
	return oper_wait(call, fleet_operators(call->o->c->fleet, oper_done, call),
			 on_operators_to_revoke);
}

/* ---- the audit log ----------------------------------------------------------------------- */

static json_t *audit_json(const struct fleet_audit *row)
{
	const struct fleet_entry *e = &row->entry;
	char hash[BYTES_SHA256_HEX] = "";
	json_t *detail = e->detail ? json_loads(e->detail, JSON_DECODE_ANY, NULL) : NULL;

	if (row->hash)
		bytes_to_hex(row->hash, BYTES_SHA256, hash);
	return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:o, s:s}", "seq",
			 (json_int_t)row->seq, "at", oper_time(e->at_ms), "actor", e->actor,
			 "action", e->action, "subject", e->subject, "result", e->result,
			 "detail", detail ? detail : json_null(), "hash", hash);
}

static int on_audits(struct call *call, struct fleet_answer *a)
{
	json_t *rows = json_array();
	struct fleet_audit row;

	while (fleet_next_audit(a, &row))
		json_array_append_new(rows, audit_json(&row));
	return oper_answer(call, 200,
			   json_pack("{s:i, s:o}", "schema_version", 1, "rows", rows));
}

int operators_audit(struct call *call)
{
	uint64_t after, limit;

	if (oper_knows(call, "after", "limit", "subject", NULL) < 0 ||
	    oper_query_u64(call, "after", INT64_MAX, 0, &after) < 0 ||
	    oper_query_u64(call, "limit", ROWS_MAX, ROWS_MAX, &limit) < 0)
		return -EINVAL;
	return oper_wait(call,
			 fleet_audits(call->o->c->fleet, oper_query(call, "subject"), after,
				      (uint32_t)limit, oper_done, call),
			 on_audits);
}

static int broken(struct call *call, const struct fleet_chain *chain)
{
	return oper_answer(call, 200,
			   json_pack("{s:i, s:b, s:I}", "schema_version", 1, "ok", 0, "bad_seq",
				     (json_int_t)chain->seq + 1));
}

struct verifying {
	struct fleet_chain chain;
	int ends; /* looked for, in vain: rows may come faster than they are read */
};

#define ENDS_MAX 8

static int on_chain_end(struct call *call, struct fleet_answer *a);

/* Page by page, so that the loop has others to serve between. */
static int on_chain(struct call *call, struct fleet_answer *a)
{
	struct verifying *v = call->state;
	struct fleet *fleet = call->o->c->fleet;
	uint64_t rows;

	if (fleet_chain_follow(&v->chain, a, &rows) < 0)
		return broken(call, &v->chain);
	if (rows)
		return oper_wait(
			call,
			fleet_audits(fleet, NULL, v->chain.seq, OPER_PAGE, oper_done, call),
			on_chain);
	return oper_try(call, fleet_chain_end(fleet, &v->chain, oper_done, call), on_chain_end);
}

static int on_chain_end(struct call *call, struct fleet_answer *a)
{
	struct verifying *v = call->state;
	char head[BYTES_SHA256_HEX];

	if (a->r == -EUCLEAN && ++v->ends < ENDS_MAX)
		return oper_wait(call,
				 fleet_audits(call->o->c->fleet, NULL, v->chain.seq, OPER_PAGE,
					      oper_done, call),
				 on_chain);
	if (a->r == -EUCLEAN)
		return broken(call, &v->chain);
	if (a->r < 0)
		return oper_failed(call, a, NULL);
	bytes_to_hex(v->chain.hash, sizeof(v->chain.hash), head);
	return oper_answer(call, 200,
			   json_pack("{s:i, s:b, s:I, s:s}", "schema_version", 1, "ok", 1,
				     "rows", (json_int_t)v->chain.seq, "head", head));
}

int operators_audit_verify(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	call->state = calloc(1, sizeof(struct verifying));
	call->state_free = free;
	if (!call->state)
		return oper_no_memory(call);
	return oper_wait(call,
			 fleet_audits(call->o->c->fleet, NULL, 0, OPER_PAGE, oper_done, call),
			 on_chain);
}
