// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/operators.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/plain.h"
#include "lib/route.h"
#include "server/controller/database.h"
#include "server/controller/operators_private.h"
#include "server/controller/owner.h"
#include "server/controller/park.h"
#include "server/controller/serve.h"
#include "store/bundle.h" /* BUNDLE_BYTES_MAX */
#include "store/bytes.h"

#define TICK_MS		   1000
#define STRANGER_BYTES_MAX 65536
#define DENIALS_PER_MINUTE 30

/* ---- routes ---------------------------------------------------------------------------------- */

#define VIEWER	 ROLE_VIEWER
#define OPERATOR ROLE_OPERATOR
#define APPROVER ROLE_APPROVER
#define ADMIN	 ROLE_ADMIN
enum body { NO_BODY, JSON, BYTES };

/* Who may do what. "*" matches one segment. */
static const struct route {
	enum evhttp_cmd_type method;
	const char *path;
	enum role role; /* at least */
	enum body body;
	oper_handler *fn;
} routes[] = {
	{EVHTTP_REQ_GET, "status", VIEWER, NO_BODY, operators_status},
	{EVHTTP_REQ_GET, "openapi.yaml", VIEWER, NO_BODY, operators_openapi},
	{EVHTTP_REQ_GET, "hosts", VIEWER, NO_BODY, operators_hosts},
	{EVHTTP_REQ_GET, "hosts/*", VIEWER, NO_BODY, operators_host},
	{EVHTTP_REQ_PATCH, "hosts/*", OPERATOR, JSON, operators_change_host},
	{EVHTTP_REQ_DELETE, "hosts/*", ADMIN, NO_BODY, operators_forget_host},
	{EVHTTP_REQ_GET, "tokens", ADMIN, NO_BODY, operators_tokens},
	{EVHTTP_REQ_POST, "tokens", ADMIN, JSON, operators_new_token},
	{EVHTTP_REQ_DELETE, "tokens/*", ADMIN, NO_BODY, operators_drop_token},
	{EVHTTP_REQ_GET, "bundles", VIEWER, NO_BODY, operators_bundles},
	{EVHTTP_REQ_POST, "bundles", OPERATOR, BYTES, operators_put_bundle},
	{EVHTTP_REQ_DELETE, "bundles/*", ADMIN, NO_BODY, operators_drop_bundle},
	{EVHTTP_REQ_GET, "trust", VIEWER, NO_BODY, operators_trust},
	{EVHTTP_REQ_POST, "documents", ADMIN, BYTES, operators_put_document},
	{EVHTTP_REQ_POST, "plans", OPERATOR, JSON, operators_plan},
	{EVHTTP_REQ_GET, "rollouts", VIEWER, NO_BODY, operators_rollouts},
	{EVHTTP_REQ_POST, "rollouts", OPERATOR, JSON, operators_start},
	{EVHTTP_REQ_GET, "rollouts/*", VIEWER, NO_BODY, operators_rollout},
	{EVHTTP_REQ_POST, "rollouts/*/submit", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/pause", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/resume", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/promote", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/abort", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/retry", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/undo", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/supersede", OPERATOR, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/approve", APPROVER, JSON, operators_verb},
	{EVHTTP_REQ_POST, "rollouts/*/override", APPROVER, JSON, operators_verb},
	{EVHTTP_REQ_GET, "freezes", VIEWER, NO_BODY, operators_freezes},
	{EVHTTP_REQ_PUT, "freezes/*", OPERATOR, JSON, operators_put_freeze}, /* a new one */
	{EVHTTP_REQ_DELETE, "freezes/*", APPROVER, NO_BODY, operators_drop_freeze},
	{EVHTTP_REQ_PUT, "line", OPERATOR, JSON, operators_stop_line},
	{EVHTTP_REQ_DELETE, "line", APPROVER, NO_BODY, operators_clear_line},
	{EVHTTP_REQ_GET, "operators", ADMIN, NO_BODY, operators_list},
	{EVHTTP_REQ_POST, "operators", ADMIN, JSON, operators_add},
	{EVHTTP_REQ_DELETE, "operators/*", ADMIN, NO_BODY, operators_revoke},
	{EVHTTP_REQ_GET, "audit", VIEWER, NO_BODY, operators_audit},
	{EVHTTP_REQ_GET, "audit/verify", VIEWER, NO_BODY, operators_audit_verify},
};

static const char *const role_names[ROLES_] = {[ROLE_VIEWER] = "viewer",
					       [ROLE_OPERATOR] = "operator",
					       [ROLE_APPROVER] = "approver",
					       [ROLE_ADMIN] = "admin"};

const char *role_name(enum role role)
{
	return role_names[role];
}

int role_parse(const char *name, enum role *ret_role)
{
	for (int i = 0; i < ROLES_; i++)
		if (strcmp(role_names[i], name) == 0) {
			*ret_role = (enum role)i;
			return 0;
		}
	return -EINVAL;
}

static const char *method_name(enum evhttp_cmd_type method)
{
	return method == EVHTTP_REQ_GET	    ? "GET"
	       : method == EVHTTP_REQ_POST  ? "POST"
	       : method == EVHTTP_REQ_PUT   ? "PUT"
	       : method == EVHTTP_REQ_PATCH ? "PATCH"
					    : "DELETE";
}

/* ---- a call's life --------------------------------------------------------------------------- */

static void oper_free(struct call *call)
{
	if (call->state_free && call->state)
		call->state_free(call->state);
	fleet_answer_free(call->answer);
	json_decref(call->body);
	evhttp_clear_headers(&call->query);
	LIST_REMOVE(call, link);
	free(call->path);
	free(call);
}

static void oper_refuse(struct call *call)
{
	if (call->req)
		serve_refuse(call->req, &call->fail);
	call->req = NULL;
}

/* What a handler came to; frees the call unless it waits. */
static void oper_went(struct call *call, int r)
{
	if (r < 0) {
		call->waits = false;
		if (call->fail.code == FAIL_NONE)
			fail_set(&call->fail, FAIL_INTERNAL, "%s", strerror(-r));
		oper_refuse(call);
	}
	if (!call->waits)
		oper_free(call);
}

int oper_answer(struct call *call, int status, json_t *doc)
{
	serve_answer(call->req, status, doc);
	call->req = NULL;
	return 0;
}

int oper_fail(struct call *call, enum fail_code code, const char *fmt, ...)
{
	char text[FAIL_MESSAGE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail_set(&call->fail, code, "%s", text);
}

int oper_hint(struct call *call, const char *fmt, ...)
{
	char text[FAIL_HINT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail_hint(&call->fail, "%s", text);
}

int oper_no_memory(struct call *call)
{
	return oper_fail(call, FAIL_INTERNAL, "out of memory");
}

int oper_failed(struct call *call, const struct fleet_answer *a, const char *missing)
{
	int r = a->r;

	if (r == -ENOENT && missing)
		return oper_fail(call, FAIL_NOT_FOUND, "%s", missing);
	call->fail = a->fail;
	if (r == -ECANCELED)
		oper_fail(call, FAIL_UNREACHABLE, "the controller is stopping");
	if (r == -ECONNABORTED)
		oper_hint(call, "it may have been done all the same: look before asking again");
	return r;
}

void oper_done(struct fleet_answer *a, void *cookie)
{
	struct call *call = cookie;
	int r;

	call->waits = false;
	fleet_answer_free(call->answer);
	call->answer = a;
	if (!call->req)
		r = 0; /* nobody listens any more */
	else if (a->r < 0 && (!call->sees_errors || a->r == -ECANCELED))
		r = oper_failed(call, a, NULL);
	else
		r = call->next(call, a);
	oper_went(call, r);
}

static int await(struct call *call, int r, int (*next)(struct call *, struct fleet_answer *),
		 bool sees_errors)
{
	if (r < 0)
		return oper_no_memory(call);
	call->next = next;
	call->sees_errors = sees_errors;
	call->waits = true;
	return 0;
}

int oper_wait(struct call *call, int r, int (*next)(struct call *, struct fleet_answer *))
{
	return await(call, r, next, false);
}

int oper_try(struct call *call, int r, int (*next)(struct call *, struct fleet_answer *))
{
	return await(call, r, next, true);
}

/* ---- waiting for a word ---------------------------------------------------------------------- */

static int identify(struct call *call);

static void on_unparked(struct evhttp_request *req_or_null, enum park_end why, void *cookie)
{
	struct call *call = cookie;
	int r = 0;

	call->waits = false;
	call->topic[0] = '\0';
	call->req = req_or_null;
	if (why == PARK_STOPPED)
		r = oper_fail(call, FAIL_UNREACHABLE, "the controller is stopping");
	else if (call->req)
		r = identify(call); /* who may have been revoked meanwhile */
	oper_went(call, r);
}

int oper_park(struct call *call, const char *topic, uint64_t ms)
{
	int r = park_wait(call->o->c->park, call->req, topic, ms, on_unparked, call,
			  &call->fail);

	call->waits = r == 0;
	call->woken = true;
	snprintf(call->topic, sizeof(call->topic), "%s", r == 0 ? topic : "");
	return r;
}

/* Somebody's certificate or token may be worth nothing any more: all who wait are asked again. */
static void ask_all_again(struct operators *o)
{
	struct call *call;

	LIST_FOREACH(call, &o->calls, link)
	{
		if (call->topic[0])
			park_wake(o->c->park, call->topic);
	}
}

/* ---- what is asked --------------------------------------------------------------------------- */

const char *oper_query(const struct call *call, const char *key)
{
	return evhttp_find_header(&call->query, key);
}

int oper_query_u64(struct call *call, const char *key, uint64_t max, uint64_t otherwise,
		   uint64_t *ret_value)
{
	const char *text = oper_query(call, key);

	*ret_value = otherwise;
	if (!text)
		return 0;
	if (!*text || strlen(text) > 19 || strspn(text, "0123456789") != strlen(text) ||
	    strtoull(text, NULL, 10) > max)
		return oper_fail(call, FAIL_USAGE, "%s must be a number of at most %llu", key,
				 (unsigned long long)max);
	*ret_value = strtoull(text, NULL, 10);
	return 0;
}

int oper_knows(struct call *call, ...)
{
	const struct evkeyval *q;
	const char *key;
	va_list ap;

	TAILQ_FOREACH(q, &call->query, next) {
		va_start(ap, call);
		while ((key = va_arg(ap, const char *)) && strcmp(key, q->key) != 0)
			;
		va_end(ap);
		if (!key)
			return oper_fail(call, FAIL_USAGE, "there is no query \"%.40s\" here",
					 q->key);
	}
	return 0;
}

int oper_take_reason(struct call *call, bool needed, const char **ret_reason)
{
	struct json_fields f = json_fields("request", call->body, &call->fail);

	*ret_reason = json_str_or(&f, "reason", OPER_REASON_BYTES, "");
	if (json_fields_end(&f) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	if (needed && !**ret_reason)
		return oper_fail(call, FAIL_USAGE, "a \"reason\" is needed");
	return 0;
}

struct fleet_entry oper_entry(const struct call *call, const char *action, const char *subject,
			      const char *detail_or_null)
{
	return (struct fleet_entry){.at_ms = call->now_ms,
				    .actor = call->user,
				    .action = action,
				    .subject = subject,
				    .result = "ok",
				    .detail = detail_or_null};
}

json_t *oper_time(uint64_t ms)
{
	char text[CLOCK_TIMESTAMP_BYTES];

	return ms ? json_string(clock_format_timestamp(ms, text)) : json_null();
}

int oper_name(struct call *call, size_t segment, const char *what)
{
	if (hook_name_valid(call->segment[segment]))
		return 0;
	oper_fail(call, FAIL_USAGE, "\"%.80s\" cannot be the name of %s",
		  call->segment[segment], what);
	return oper_hint(call, "names are 1 to 64 lower case letters, digits and '-'");
}

int oper_hash(struct call *call, size_t segment, uint8_t ret_hash[32])
{
	if (bytes_from_hex(call->segment[segment], ret_hash, BYTES_SHA256) < 0)
		return oper_fail(call, FAIL_USAGE,
				 "\"%.80s\" is not a SHA-256 of 64 hex digits",
				 call->segment[segment]);
	return 0;
}

/* ---- denials --------------------------------------------------------------------------------- */

static void on_written(struct fleet_answer *a, void *cookie)
{
	(void)cookie;
	if (a->r < 0 && a->r != -ECANCELED)
		log_event(LOG_WARNING, "a denial was not written down why=\"%s\"",
			  a->fail.message);
	fleet_answer_free(a);
}

/* A row for each, up to a pace; the next row says how many had none. */
static void write_denial(struct call *call)
{
	struct operators *o = call->o;
	char what[320];
	struct fleet_entry entry = {.at_ms = call->now_ms,
				    .actor = call->user[0] ? call->user : "?",
				    .action = "DENIED",
				    .subject = call->route->path,
				    .result = fail_name(FAIL_PERMISSION)};
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *detail = NULL;

	if (call->now_ms - o->denials_from_ms >= 60000) {
		o->denials_from_ms = call->now_ms;
		o->denials = 0;
	}
	snprintf(what, sizeof(what), "%s /v1/%.200s",
		 method_name(evhttp_request_get_command(call->req)), call->route->path);
	log_event(LOG_NOTICE, "denied user=%s request=\"%s\"", entry.actor, what);
	if (++o->denials > DENIALS_PER_MINUTE) {
		o->denials_left_out++;
		return;
	}
	doc = json_pack("{s:s, s:s, s:I}", "request", what, "why", call->fail.message,
			"left_out", (json_int_t)o->denials_left_out);
	detail = doc ? json_text(doc) : NULL;
	entry.detail = detail;
	o->denials_left_out = 0;
	if (fleet_audit(o->c->fleet, &entry, on_written, NULL) < 0)
		log_event(LOG_WARNING, "a denial was not written down why=\"out of memory\"");
}

static int deny(struct call *call)
{
	write_denial(call);
	return -EACCES;
}

/* 401: something to be known by is asked for. */
static int nobody(struct call *call, const char *why)
{
	evhttp_add_header(evhttp_request_get_output_headers(call->req), "WWW-Authenticate",
			  "Bearer realm=\"hotfix-controller\"");
	oper_fail(call, FAIL_PERMISSION, "%s", why);
	oper_hint(call, "a client certificate or a token of an operator is needed "
			"(hotfixctl operator add)");
	return oper_answer(call, 401, fail_to_json(&call->fail));
}

/* ---- who asks -------------------------------------------------------------------------------- */

/* An HTML form of another site can send these to us in a browser's name, with its certificate. */
static bool is_simple(const struct call *call)
{
	const char *type =
		evhttp_find_header(evhttp_request_get_input_headers(call->req), "Content-Type");
	const char *want =
		call->route->body == JSON ? "application/json" : "application/octet-stream";
	size_t n = strlen(want);

	return !type || strncasecmp(type, want, n) != 0 || (type[n] && !strchr("; ", type[n]));
}

static int take_body(struct call *call)
{
	const uint8_t *bytes;
	size_t len;

	if (call->body)
		return 0;
	bytes = serve_body(call->req, &len);
	if (call->route->body == NO_BODY)
		return len ? oper_fail(call, FAIL_USAGE, "this request takes no body") : 0;
	if (len && is_simple(call))
		return oper_fail(call, FAIL_USAGE, "Content-Type must be %s",
				 call->route->body == JSON ? "application/json"
							   : "application/octet-stream");
	if (call->route->body != JSON)
		return 0;
	if (!len) {
		call->body = json_object();
		return call->body ? 0 : oper_no_memory(call);
	}
	if (json_parse("request", bytes, len, &call->body, &call->fail) < 0) {
		call->fail.code = FAIL_USAGE;
		return -EINVAL;
	}
	return json_is_object(call->body)
		       ? 0
		       : oper_fail(call, FAIL_USAGE, "the request must be a JSON object");
}

static int on_known(struct call *call, struct fleet_answer *a)
{
	struct fleet_operator op;
	int r;

	if (a->r == -ENOENT) {
		if (call->has_certificate)
			oper_fail(call, FAIL_PERMISSION,
				  "this certificate of %s is no operator's, or not any more",
				  call->user);
		else
			oper_fail(call, FAIL_PERMISSION,
				  "nobody has this token, or not any more");
		oper_hint(call, "an admin adds operators: hotfixctl operator add");
		return deny(call);
	}
	if (a->r < 0)
		return oper_failed(call, a, NULL);
	fleet_next_operator(a, &op);
	if (call->has_certificate && strcmp(op.name, call->user) != 0) {
		oper_fail(call, FAIL_PERMISSION,
			  "the certificate names %s, but it was added for %s", call->user,
			  op.name);
		return deny(call);
	}
	snprintf(call->user, sizeof(call->user), "%s", op.name);
	if (role_parse(op.role, &call->role) < 0)
		return oper_fail(call, FAIL_STORAGE, "the role of %s is none", op.name);
	serve_acquainted(call->req);
	if (call->role < call->route->role) {
		oper_fail(call, FAIL_PERMISSION, "%s is %s %s; for this one must be %s",
			  call->user, strchr("aeiou", role_name(call->role)[0]) ? "an" : "a",
			  role_name(call->role), role_name(call->route->role));
		return deny(call);
	}
	r = take_body(call);
	return r < 0 ? r : call->route->fn(call);
}

/* By then rollouts pause, and nobody is kept waiting to hear why. */
static int need_database(struct call *call)
{
	struct fail why;
	uint64_t away_ms = database_away_ms(call->o->c->database, &why);

	if (away_ms <= OWNER_LOST_MS)
		return 0;
	oper_fail(call, FAIL_UNREACHABLE, "%s", why.message);
	return oper_hint(call,
			 "Away for %llu s: rollouts pause (engine_lost), hosts go on as they "
			 "are. It is tried again without end; look at the server, its log and "
			 "the network.",
			 (unsigned long long)away_ms / 1000);
}

static int identify(struct call *call)
{
	int r = need_database(call);

	if (r < 0)
		return r;
	return oper_try(call,
			fleet_operator(call->o->c->fleet, call->credential, oper_done, call),
			on_known);
}

/* "Bearer hfo1.<64 hex>": the database has the hash of all of it. */
static bool take_token(struct call *call, const char *header)
{
	uint8_t secret[32];
	const char *token;

	if (strncasecmp(header, "Bearer ", 7) != 0)
		return false;
	token = header + 7;
	if (strncmp(token, OPER_TOKEN_PREFIX, strlen(OPER_TOKEN_PREFIX)) != 0 ||
	    bytes_from_hex(token + strlen(OPER_TOKEN_PREFIX), secret, sizeof(secret)) < 0)
		return false;
	bytes_sha256(token, strlen(token), call->credential);
	return true;
}

static int begin(struct call *call, const struct ca_peer *peer_or_null)
{
	const char *header = evhttp_find_header(evhttp_request_get_input_headers(call->req),
						"Authorization");

	if (header) {
		if (!take_token(call, header))
			return nobody(call, "that is no token of an operator");
	} else if (peer_or_null) {
		call->has_certificate = true;
		snprintf(call->user, sizeof(call->user), "%s", peer_or_null->name);
		if (bytes_from_hex(peer_or_null->fingerprint, call->credential,
				   sizeof(call->credential)) < 0)
			return oper_fail(call, FAIL_INTERNAL,
					 "the certificate has no fingerprint");
	} else {
		return nobody(call, "who are you?");
	}
	return identify(call);
}

/* ---- requests -------------------------------------------------------------------------------- */

static int refuse_method(struct call *call)
{
	char allow[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (route_matches(routes[i].path, call->segment, call->n_segments))
			snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
				 allow[0] ? ", " : "", method_name(routes[i].method));
	oper_fail(call, FAIL_USAGE, "this resource does not take this method");
	oper_hint(call, "it takes %s", allow);
	evhttp_add_header(evhttp_request_get_output_headers(call->req), "Allow", allow);
	return oper_answer(call, 405, fail_to_json(&call->fail));
}

static int find_route(struct call *call)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(call->req);
	bool path_known = false;

	for (size_t i = 0; i < ARRAY_SIZE(routes) && !call->route; i++) {
		if (!route_matches(routes[i].path, call->segment, call->n_segments))
			continue;
		path_known = true;
		if (routes[i].method == method)
			call->route = &routes[i];
	}
	return call->route ? 1 : path_known ? 0 : -ENOENT;
}

static void on_request(struct evhttp_request *req, const struct ca_peer *peer_or_null,
		       void *cookie)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
	struct call *call = calloc(1, sizeof(*call));
	struct fail fail;
	int r;

	if (!call) {
		fail_set(&fail, FAIL_INTERNAL, "out of memory");
		serve_refuse(req, &fail);
		return;
	}
	call->o = cookie;
	call->req = req;
	call->now_ms = clock_real_ms();
	call->path = strdup(path ? path : "");
	TAILQ_INIT(&call->query);
	LIST_INSERT_HEAD(&call->o->calls, call, link);
	if (query && evhttp_parse_query_str(query, &call->query) < 0)
		r = oper_fail(call, FAIL_USAGE, "the query cannot be read");
	else if (!call->path)
		r = oper_no_memory(call);
	else if (route_split(call->path, call->segment, OPER_SEGMENTS_MAX, &call->n_segments) <
			 0 ||
		 (r = find_route(call)) < 0)
		r = oper_fail(call, FAIL_NOT_FOUND, "no such resource: %.100s", path);
	else
		r = r ? begin(call, peer_or_null) : refuse_method(call);
	oper_went(call, r);
}

static void on_refused(const char *address, const struct fail *why, void *cookie)
{
	(void)cookie;
	log_event(LOG_INFO, "an operator's connection was refused address=%s why=\"%s\"",
		  address, why->message);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* What a lost wake-up would have told those who wait: each asks what it waits for again. */
static void on_tick(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	views_look(cookie);
}

void operators_on_wake(struct operators *o, const char *topic)
{
	bool any = !topic[0];

	if (any || strcmp(topic, FLEET_TOPIC_ACCESS) == 0)
		ask_all_again(o);
	if (any || strcmp(topic, FLEET_TOPIC_ROLLOUTS) == 0 ||
	    strcmp(topic, FLEET_TOPIC_WORDS) == 0 || strcmp(topic, FLEET_TOPIC_GUARDS) == 0)
		views_look(o);
}

static int listen_for(struct operators *o, struct fail *reterr_fail)
{
	const struct settings *s = o->c->settings;
	struct serve_limits limits = SERVE_LIMITS_FEW;
	struct serve_opts opts = {.name = "operators",
				  .address = s->operators.address,
				  .port = s->operators.port,
				  .tls = {.certificate = s->operators_certificate,
					  .key = s->operators_key,
					  .trust = s->operators_trust,
					  .client = TLS_CLIENT_OPTIONAL,
					  .kind = CA_USER},
				  .request = on_request,
				  .refused = on_refused,
				  .cookie = o};
	int r;

	limits.body_max = BUNDLE_BYTES_MAX;
	limits.stranger_body_max = STRANGER_BYTES_MAX;
	opts.limits = limits;
	r = serve_new(o->c->base, &opts, &o->serve, reterr_fail);
	if (r == 0)
		o->c->port.operators = serve_port(o->serve);
	return r;
}

int operators_new(struct controller *c, struct operators **ret_operators,
		  struct fail *reterr_fail)
{
	static const struct timeval tick = {.tv_sec = TICK_MS / 1000};
	AUTO(operators_freep) struct operators *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	o->c = c;
	LIST_INIT(&o->calls);
	o->tick = event_new(c->base, -1, EV_PERSIST, on_tick, o);
	if (!o->tick || event_add(o->tick, &tick) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (c->settings->operators.address[0]) {
		r = listen_for(o, reterr_fail);
		if (r < 0)
			return r;
	}
	*ret_operators = take_ptr(o);
	return 0;
}

/* The database and what was parked are gone: no call waits any more, except where a test ends so. */
struct operators *operators_free(struct operators *o)
{
	struct call *call, *after;

	if (!o)
		return NULL;
	for (call = LIST_FIRST(&o->calls); call; call = after) {
		after = LIST_NEXT(call, link);
		call->req = NULL;
		oper_free(call);
	}
	if (o->tick)
		event_free(o->tick);
	serve_free(o->serve);
	views_free(o->views);
	free(o);
	return NULL;
}

int operators_reload(struct operators *o, struct fail *reterr_fail)
{
	return o->serve ? serve_reload(o->serve, reterr_fail) : 0;
}
