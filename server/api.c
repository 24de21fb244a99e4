// SPDX-License-Identifier: BSD-2-Clause
#include "server/api.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>

#include "lib/json.h"
#include "lib/log.h"
#include "lib/route.h"
#include "server/call.h"
#include "server/resource.h"
#include "store/bundle.h" /* BUNDLE_BYTES_MAX */

#define HEADERS_BYTES_MAX 16384

/* ---- routing ------------------------------------------------------------------------------
 */

#define READ   CONFIG_READ
#define APPLY  CONFIG_APPLY
#define COMMIT CONFIG_COMMIT
#define TRUST  CONFIG_TRUST
enum body { NO_BODY, JSON, BYTES };

/* "*" matches one segment: a hot-fix name, a serial or an id. */
static const struct route {
	enum evhttp_cmd_type method;
	const char *path;
	enum config_role role; /* at least; apply and rollback may take more */
	enum body body;
	int (*fn)(struct call *call, struct fail *reterr_fail);
} routes[] = {
	{EVHTTP_REQ_GET, "status", READ, NO_BODY, resource_status},
	{EVHTTP_REQ_GET, "hotfixes", READ, NO_BODY, resource_list},
	{EVHTTP_REQ_GET, "hotfixes/*", READ, NO_BODY, resource_show},
	{EVHTTP_REQ_GET, "history", READ, NO_BODY, resource_history},
	{EVHTTP_REQ_GET, "changes/*", READ, NO_BODY, resource_get_change},
	{EVHTTP_REQ_GET, "audit", READ, NO_BODY, resource_audit},
	{EVHTTP_REQ_GET, "audit/head", READ, NO_BODY, resource_audit_head},
	{EVHTTP_REQ_GET, "audit/verify", READ, NO_BODY, resource_audit_verify},
	{EVHTTP_REQ_GET, "events", READ, NO_BODY, resource_events},
	{EVHTTP_REQ_GET, "doctor", READ, NO_BODY, resource_doctor},
	{EVHTTP_REQ_POST, "doctor", APPLY, BYTES, resource_doctor_bundle},
	{EVHTTP_REQ_GET, "trust", READ, NO_BODY, resource_get_trust},
	{EVHTTP_REQ_POST, "trust", TRUST, BYTES, resource_import_trust},
	{EVHTTP_REQ_POST, "bundles", APPLY, BYTES, resource_import},
	{EVHTTP_REQ_POST, "hotfixes/*/apply", APPLY, JSON, resource_apply},
	{EVHTTP_REQ_POST, "hotfixes/*/commit", COMMIT, JSON, resource_commit},
	{EVHTTP_REQ_POST, "hotfixes/*/rollback", APPLY, JSON, resource_rollback},
	{EVHTTP_REQ_POST, "hotfixes/*/disable", COMMIT, JSON, resource_disable},
	{EVHTTP_REQ_POST, "hotfixes/*/enable", COMMIT, JSON, resource_enable},
	{EVHTTP_REQ_POST, "hotfixes/*/enforce", COMMIT, JSON, resource_enforce},
	{EVHTTP_REQ_POST, "hotfixes/*/observe", COMMIT, JSON, resource_observe},
	{EVHTTP_REQ_POST, "hotfixes/*/*/retry", APPLY, JSON, resource_retry},
	{EVHTTP_REQ_POST, "resume", COMMIT, JSON, resource_resume},
	{EVHTTP_REQ_DELETE, "hotfixes/*", COMMIT, NO_BODY, resource_remove},
	{EVHTTP_REQ_DELETE, "hotfixes/*/*", COMMIT, NO_BODY, resource_remove},
};

static int take_peer(struct call *call, struct fail *reterr_fail)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(call->req);
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));

	if (access_peer_of(fd, &call->peer) < 0)
		return fail_set(reterr_fail, FAIL_PERMISSION, "the peer has no credentials");
	call->uid = call->peer.uid;
	return 0;
}

static void refuse_method(struct call *call, const char *uri)
{
	char allow[32] = "";
	struct fail fail;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (route_matches(routes[i].path, call->segment, call->n_segments))
			snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s",
				 allow[0] ? ", " : "",
				 routes[i].method == EVHTTP_REQ_GET    ? "GET"
				 : routes[i].method == EVHTTP_REQ_POST ? "POST"
								       : "DELETE");
	fail_set(&fail, FAIL_USAGE, "%.100s does not take this method", uri);
	fail_hint(&fail, "it takes %s", allow);
	evhttp_add_header(evhttp_request_get_output_headers(call->req), "Allow", allow);
	call_answer(call->req, 405, fail_to_json(&fail));
}

static int dispatch(struct call *call, const char *uri, struct fail *reterr_fail)
{
	enum evhttp_cmd_type method = evhttp_request_get_command(call->req);
	bool path_known = false;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!route_matches(routes[i].path, call->segment, call->n_segments))
			continue;
		path_known = true;
		if (routes[i].method != method)
			continue;
		r = take_peer(call, reterr_fail);
		if (r == 0)
			r = call_need(call, routes[i].role, reterr_fail);
		if (r < 0)
			return r;
		if (strncmp(routes[i].path, "hotfixes/", 9) == 0 &&
		    !hook_name_valid(call->segment[1])) {
			fail_set(reterr_fail, FAIL_USAGE, "\"%.80s\" is not a hot-fix name",
				 call->segment[1]);
			return fail_hint(reterr_fail,
					 "names are lower case letters, digits and '-'");
		}
		if (routes[i].body == JSON) {
			r = call_as_usage(call_take_json(call, reterr_fail), reterr_fail);
			if (r < 0)
				return r;
		}
		return routes[i].fn(call, reterr_fail);
	}
	if (path_known) {
		refuse_method(call, uri);
		return 0;
	}
	return fail_set(reterr_fail, FAIL_NOT_FOUND, "no such resource: %.100s", uri);
}

static void on_request(struct evhttp_request *req, void *cookie)
{
	struct call call = {.api = cookie, .req = req};
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = evhttp_uri_get_path(uri);
	AUTO_FREE char *copy = strdup(path ? path : "");
	struct fail fail;
	int r;

	deadlines_met(call.api->deadlines, req);
	TAILQ_INIT(&call.query);
	call.path = path ? path : "";
	if (evhttp_uri_get_query(uri))
		evhttp_parse_query_str(evhttp_uri_get_query(uri), &call.query);
	if (!copy)
		r = fail_set(&fail, FAIL_INTERNAL, "out of memory");
	else if (route_split(copy, call.segment, CALL_SEGMENTS_MAX, &call.n_segments) < 0)
		r = fail_set(&fail, FAIL_NOT_FOUND, "no such resource: %.100s", path);
	else
		r = dispatch(&call, path, &fail);
	if (r < 0)
		call_refuse(req, &fail);
	json_decref(call.body);
	evhttp_clear_headers(&call.query);
}

/* ---- socket --------------------------------------------------------------------------------
 */

int api_new(const struct api_context *context, struct api **ret_api, struct fail *reterr_fail)
{
	AUTO(api_freep) struct api *a = calloc(1, sizeof(*a));
	AUTO_CLOSE int fd = context->listen_fd;

	if (!a)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	a->c = *context;
	TAILQ_INIT(&a->parked);
	if (listen(fd, 128) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "cannot listen on %s: %s",
				context->config->socket, strerror(errno));
	a->http = evhttp_new(context->base);
	if (a->http)
		a->listener = evconnlistener_new(context->base, NULL, NULL,
						 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
						 0, fd);
	if (!a->listener)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	take_fd(&fd);
	evhttp_set_max_headers_size(a->http, HEADERS_BYTES_MAX);
	evhttp_set_max_body_size(a->http, BUNDLE_BYTES_MAX);
	/* All but a tunnel: of what is not routed, dispatch() says so in our words. */
	evhttp_set_allowed_methods(a->http, UINT16_MAX & ~EVHTTP_REQ_CONNECT);
	evhttp_set_gencb(a->http, on_request, a);
	if (deadlines_new(a->http, context->config->request_ms, &a->deadlines) < 0 ||
	    !evhttp_bind_listener(a->http, a->listener))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	*ret_api = take_ptr(a);
	return 0;
}

struct api *api_free(struct api *a)
{
	struct parked *p;
	struct fail fail;

	if (!a)
		return NULL;
	while ((p = TAILQ_FIRST(&a->parked))) {
		fail_set(
			&fail, FAIL_UNREACHABLE,
			"hotfixd is stopping; a change under way is settled at its next start");
		call_refuse(call_unpark(p), &fail);
	}
	if (a->http)
		evhttp_free(a->http); /* with its listener */
	else if (a->listener)
		evconnlistener_free(a->listener);
	deadlines_free(a->deadlines);
	free(a);
	return NULL;
}
