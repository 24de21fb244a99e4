// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/call.h -- one request of the API: its input, its answer, and parking it until
 * a change or a worker has something to say.
 *
 * Context    loop thread.
 * Errors     0 or -errno with reterr_fail (FAIL_USAGE for malformed input).
 * Ownership  call_answer() consumes the document. A parked request is freed by unparking,
 *            or by the peer going away; what it asked for goes on.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#include "server/access.h"
#include "server/api.h"
#include "server/deadline.h"
#include "server/throttle.h"

#define CALL_SEGMENTS_MAX 6

struct api {
	struct api_context c;
	struct evhttp *http;
	struct evconnlistener *listener;
	TAILQ_HEAD(, parked) parked;
	struct deadlines *deadlines;
	struct throttle refusals;
};

/* One request while it is handled. */
struct call {
	struct api *api;
	struct evhttp_request *req;
	const char *segment[CALL_SEGMENTS_MAX]; /* "hotfixes", "NAME", "apply" */
	size_t n_segments;
	struct evkeyvalq query;
	const char *path;
	struct access_peer peer;
	uint32_t uid; /* the peer's */
	json_t *body; /* of requests that carry JSON */
};

/* A request that waits for a change or a worker. */
struct parked {
	TAILQ_ENTRY(parked) link;
	struct api *api;
	struct evhttp_request *req;
	struct hotfix_waiter *waiter;
	struct worker *worker;
	struct event *timeout;
	uint64_t change;
	uint32_t uid;
	bool asks_back;	   /* rollback: a trial that ended by hand is what was asked for */
	bool row_only;	   /* GET: the row, whatever the outcome */
	char warning[512]; /* of the change, also when it has no row */
};

void call_answer(struct evhttp_request *req, int status, json_t *doc);
void call_answer_or_fail(struct evhttp_request *req, json_t *doc); /* NULL: out of memory */
void call_refuse(struct evhttp_request *req, const struct fail *fail);
/* A refusal leaves nothing but a row that says who tried what: server/throttle.h bounds them. */
void call_audit_refusal(struct call *call, const char *action, const char *subject,
			const struct fail *fail);

/* The peer must have this role; who has not leaves a row as well. */
int call_need(struct call *call, enum config_role role, struct fail *reterr_fail);

/* NULL: out of memory. */
struct parked *call_park(struct call *call);
/* Gives the request back for its answer; p is gone after that. */
struct evhttp_request *call_unpark(struct parked *p);
/* Answers once the change is live (until) or over; at once when it is already. */
void call_answer_when(struct call *call, uint64_t id, enum hotfix_wait until, bool asks_back);
/* Callbacks for a parked request that waits for p->change: it came; or the wait is over. */
void call_on_change(uint64_t id, const struct fail *fail, void *cookie);
void call_on_wait_over(evutil_socket_t fd, short what, void *cookie);
json_t *call_change_json(struct api *a, uint64_t id);

const char *call_query(struct call *call, const char *key);
int call_query_u64(struct call *call, const char *key, uint64_t max, uint64_t otherwise,
		   uint64_t *ret_value, struct fail *reterr_fail);
int call_path_serial(const char *text, uint64_t *ret_serial, struct fail *reterr_fail);
/* The whole body, contiguous; borrowed from the request. */
const uint8_t *call_bytes(struct call *call, size_t *ret_len);
/* Into call->body; an absent body is an empty object. */
int call_take_json(struct call *call, struct fail *reterr_fail);
/* A malformed request is the caller's usage, not a bad bundle. */
int call_as_usage(int r, struct fail *fail);
