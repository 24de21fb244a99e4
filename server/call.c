// SPDX-License-Identifier: BSD-2-Clause
#include "server/call.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "lib/json.h"
#include "lib/log.h"
#include "server/outcome.h"

/* ---- answers ------------------------------------------------------------------ */

/* Consumes doc. */
void call_answer(struct evhttp_request *req, int status, json_t *doc)
{
	struct evbuffer *b = evbuffer_new();
	char *text = doc ? json_text(doc) : NULL;

	json_decref(doc);
	if (!b || !text) {
		free(text);
		if (b)
			evbuffer_free(b);
		evhttp_send_error(req, 500, "out of memory");
		return;
	}
	evbuffer_add_printf(b, "%s\n", text);
	free(text);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
			  "application/json");
	evhttp_add_header(evhttp_request_get_output_headers(req), "X-Content-Type-Options",
			  "nosniff");
	evhttp_send_reply(req, status, NULL, b);
	evbuffer_free(b);
}

void call_refuse(struct evhttp_request *req, const struct fail *fail)
{
	call_answer(req, fail_http(fail->code), fail_to_json(fail));
}

void call_answer_or_fail(struct evhttp_request *req, json_t *doc)
{
	struct fail fail;

	if (doc) {
		call_answer(req, 200, doc);
		return;
	}
	fail_set(&fail, FAIL_INTERNAL, "out of memory");
	call_refuse(req, &fail);
}

#define CALL_AHEAD_BYTES_MAX 65536 /* of requests that a peer sends while one waits */

/* ---- parked requests ------------------------------------------------------------ */

static void parked_free(struct parked *p)
{
	TAILQ_REMOVE(&p->api->parked, p, link);
	hotfix_wait_cancel(p->api->c.hotfixes, p->waiter);
	worker_cancel(p->worker);
	if (p->timeout)
		event_free(p->timeout);
	free(p);
}

/* Gives the request back for its answer; p is gone after that. */
struct evhttp_request *call_unpark(struct parked *p)
{
	struct evhttp_request *req = p->req;
	struct evhttp_connection *conn = evhttp_request_get_connection(req);

	evhttp_connection_set_closecb(conn, NULL, NULL);
	bufferevent_setwatermark(evhttp_connection_get_bufferevent(conn), EV_READ, 0, 0);
	parked_free(p);
	return req;
}

/*
 * The peer went away; what it asked for goes on. The request has lost its connection by now,
 * and then nobody but us frees it; else evhttp does.
 */
static void on_peer_closed(struct evhttp_connection *conn, void *cookie)
{
	struct parked *p = cookie;
	struct evhttp_request *req = p->req;

	(void)conn;
	parked_free(p);
	if (!evhttp_request_get_connection(req))
		evhttp_request_free(req);
}

/*
 * evhttp does not read while a request waits for its answer, and so would not see its peer go.
 * What arrives meanwhile stays where it is, for evhttp to read when the answer is sent.
 */
static void watch_peer(struct evhttp_connection *conn)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
	bufferevent_event_cb on_event;
	bufferevent_data_cb on_write;
	void *cookie;

	bufferevent_getcb(bev, NULL, &on_write, &on_event, &cookie);
	bufferevent_setcb(bev, NULL, on_write, on_event, cookie);
	bufferevent_setwatermark(bev, EV_READ, 0, CALL_AHEAD_BYTES_MAX);
	bufferevent_enable(bev, EV_READ);
}

struct parked *call_park(struct call *call)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(call->req);
	struct parked *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->api = call->api;
	p->req = call->req;
	TAILQ_INSERT_TAIL(&call->api->parked, p, link);
	evhttp_connection_set_closecb(conn, on_peer_closed, p);
	watch_peer(conn);
	return p;
}

json_t *call_change_json(struct api *a, uint64_t id)
{
	struct store_change row;
	json_t *doc;

	if (!id || store_get_change(a->c.store, id, &row) < 0)
		return json_pack("{s:I}", "change", (json_int_t)id);
	outcome_recall(a->c.hotfixes, &row);
	doc = report_change(&row, true);
	store_change_clear(&row);
	if (doc)
		json_object_set_new(doc, "change", json_integer((json_int_t)id));
	return doc;
}

/* Consumes and returns doc. */
static json_t *with_warning(json_t *doc, const char *warning)
{
	if (doc && warning[0] && !json_is_string(json_object_get(doc, "warning")))
		json_object_set_new(doc, "warning", json_string(warning));
	return doc;
}

void call_on_change(uint64_t id, const struct fail *fail, void *cookie)
{
	struct parked *p = cookie;
	struct api *a = p->api;
	bool row_only = p->row_only;
	bool asked_for = p->asks_back && fail && fail->code == FAIL_UNHEALTHY;
	char warning[sizeof(p->warning)];
	struct evhttp_request *req;
	json_t *doc;

	memcpy(warning, p->warning, sizeof(warning));

	p->waiter = NULL; /* it has come */
	req = call_unpark(p);
	if (row_only || !fail || asked_for) {
		call_answer_or_fail(req, with_warning(call_change_json(a, id), warning));
		return;
	}
	doc = with_warning(fail_to_json(fail), warning);
	json_object_set_new(doc, "change", json_integer((json_int_t)id));
	call_answer(req, fail_http(fail->code), doc);
}

void call_on_wait_over(evutil_socket_t fd, short what, void *cookie)
{
	struct parked *p = cookie;
	struct api *a = p->api;
	uint64_t id = p->change;

	(void)fd;
	(void)what;
	call_answer_or_fail(call_unpark(p), call_change_json(a, id));
}

/* Answers once the change is live (until) or over; at once when it is already. */
void call_answer_when(struct call *call, uint64_t id, enum hotfix_wait until, bool asks_back)
{
	const struct hotfix *h = hotfix_find(call->api->c.hotfixes, call->segment[1]);
	struct parked *p = call_park(call);
	struct store_change row;
	struct fail fail;

	if (!p) {
		fail_set(&fail, FAIL_INTERNAL, "out of memory");
		call_refuse(call->req, &fail);
		return;
	}
	p->change = id;
	p->asks_back = asks_back;
	if (h)
		snprintf(p->warning, sizeof(p->warning), "%s", h->change.warning);
	p->waiter = hotfix_wait(call->api->c.hotfixes, id, until, call_on_change, p);
	if (p->waiter)
		return;
	fail.code = FAIL_NONE;
	if (id && store_get_change(call->api->c.store, id, &row) == 0) {
		outcome_recall(call->api->c.hotfixes, &row);
		if (strcmp(row.outcome, "failed") == 0 ||
		    (strcmp(row.outcome, "rolled_back") == 0 && !asks_back))
			fail_set(&fail, fail_by_name(row.code), "%s", row.detail);
		store_change_clear(&row);
	}
	call_on_change(id, fail.code == FAIL_NONE ? NULL : &fail, p);
}

/* ---- input ---------------------------------------------------------------------- */

const char *call_query(struct call *call, const char *key)
{
	return evhttp_find_header(&call->query, key);
}

int call_query_u64(struct call *call, const char *key, uint64_t max, uint64_t otherwise,
		   uint64_t *ret_value, struct fail *reterr_fail)
{
	const char *text = call_query(call, key);
	char *end;

	*ret_value = otherwise;
	if (!text)
		return 0;
	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || *ret_value > max)
		return fail_set(reterr_fail, FAIL_USAGE, "?%s= must be a number up to %" PRIu64,
				key, max);
	return 0;
}

int call_path_serial(const char *text, uint64_t *ret_serial, struct fail *reterr_fail)
{
	char *end;

	errno = 0;
	*ret_serial = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '1' || text[0] > '9' || *ret_serial > INT64_MAX)
		return fail_set(reterr_fail, FAIL_USAGE,
				"\"%.40s\" is not a number from 1 to %" PRId64, text,
				INT64_MAX);
	return 0;
}

/* The whole body, contiguous; borrowed from the request. */
const uint8_t *call_bytes(struct call *call, size_t *ret_len)
{
	struct evbuffer *b = evhttp_request_get_input_buffer(call->req);

	*ret_len = evbuffer_get_length(b);
	return *ret_len ? evbuffer_pullup(b, -1) : (const uint8_t *)"";
}

/* An absent body is an empty object. */
int call_take_json(struct call *call, struct fail *reterr_fail)
{
	const uint8_t *text;
	size_t len;

	text = call_bytes(call, &len);
	if (len)
		return json_parse("request", text, len, &call->body, reterr_fail);
	call->body = json_object();
	return call->body ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

/* A malformed request is the caller's usage, not a bad bundle. */
int call_as_usage(int r, struct fail *fail)
{
	if (r < 0 && fail->code == FAIL_BAD_FORMAT)
		fail->code = FAIL_USAGE;
	return r;
}

void call_audit_refusal(struct call *call, const char *action, const char *subject,
			const struct fail *fail)
{
	AUTO_JSON json_t *detail = NULL;
	struct throttle_left_out left;
	char what[THROTTLE_WHAT_BYTES];

	snprintf(what, sizeof(what), "%s: %s", action, fail_name(fail->code));
	if (!throttle_pass(&call->api->refusals, call->uid, what, clock_mono_ns() / 1000000,
			   &left))
		return;
	detail = json_pack("{s:s, s:I, s:I}", "message", fail->message, "left_out",
			   (json_int_t)left.same, "left_out_others", (json_int_t)left.others);
	if (store_audit(call->api->c.store, clock_real_ms(), call->uid, action, subject,
			fail_name(fail->code), detail) < 0)
		log_event(LOG_ERR, "not audited action=%s uid=%u", action, call->uid);
	log_event(
		LOG_WARNING,
		"refused action=\"%s\" subject=%s uid=%u code=%s why=\"%s\" left_out=%" PRIu64,
		action, subject, call->uid, fail_name(fail->code), fail->message, left.same);
}

int call_need(struct call *call, enum config_role role, struct fail *reterr_fail)
{
	const struct config *c = call->api->c.config;
	char action[THROTTLE_WHAT_BYTES / 2];
	int r;

	if (access_allowed(c, &call->peer, role))
		return 0;
	r = access_refuse(c, &call->peer, role, reterr_fail);
	snprintf(action, sizeof(action), "denied %s", config_role_name(role));
	call_audit_refusal(call, action, call->path, reterr_fail);
	return r;
}
