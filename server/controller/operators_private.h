// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/operators_private.h -- what the files of the operators' API share, and nobody
 * else.
 *
 *	operators.c		who asks, the table of routes, calls from request to answer
 *	operators_host.c	hosts, and tokens with which others become hosts
 *	operators_plan.c	what a rollout would do, and its start
 *	operators_rollout.c	rollouts as they are, and what is asked of them
 *	operators_stock.c	bundles, documents, trust
 *	operators_access.c	status, freezes, the line, operators, the audit log
 *
 * A handler answers, or begins one question to the database (oper_wait) and says who goes on with
 * its answer, or waits for a word (oper_park). It returns 0, or -errno with call->fail set, which is
 * then the answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>

#include "lib/fail.h"
#include "server/controller/ca.h"
#include "server/controller/controller.h"
#include "server/controller/park.h"
#include "store/fleet.h"

#define OPER_SEGMENTS_MAX  6
#define OPER_REASON_BYTES  200
#define OPER_PAGE	   500 /* rows asked for at once */
#define OPER_WAIT_MS_MAX   60000
#define OPER_TOKEN_PREFIX  "hfo1." /* of an operator; and 64 hex digits */
#define OPER_SELECTORS_MAX 16

enum role { ROLE_VIEWER, ROLE_OPERATOR, ROLE_APPROVER, ROLE_ADMIN, ROLES_ };

struct operators {
	struct controller *c;
	struct serve *serve;
	struct event *tick;
	LIST_HEAD(, call) calls;
	/* Denials that go into the audit log, so that nobody fills it. */
	uint64_t denials_from_ms, denials, denials_left_out;
	struct views *views; /* operators_rollout.c */
};

struct call {
	LIST_ENTRY(call) link;
	struct operators *o;
	struct evhttp_request *req; /* NULL: answered, or nobody is there any more */
	const struct route *route;
	char *path;
	const char *segment[OPER_SEGMENTS_MAX];
	size_t n_segments;
	struct evkeyvalq query;
	json_t *body; /* of a route that takes JSON */
	char user[CA_NAME_BYTES];
	enum role role;
	uint8_t credential[32];
	bool has_certificate;
	uint64_t now_ms; /* when it came, by the calendar */

	int (*next)(struct call *call, struct fleet_answer *a);
	bool waits;		      /* for next or a word */
	bool woken;		      /* it has waited for a word already */
	char topic[PARK_TOPIC_BYTES]; /* on which it waits for one; or "" */
	bool sees_errors;	      /* next is called with answers of r < 0, too */
	struct fleet_answer *answer;  /* what next was given; goes with the next one */
	void *state;		      /* of the handler, from answer to answer */
	void (*state_free)(void *state);
	struct fail fail;
};

/* ---- of operators.c ------------------------------------------------------------------ */

/* Consumes doc; NULL: out of memory. */
int oper_answer(struct call *call, int status, json_t *doc);
/* r of an operation of store/fleet.h whose done is oper_done and whose cookie is the call. */
int oper_wait(struct call *call, int r, int (*next)(struct call *, struct fleet_answer *));
/* The same, and next sees what failed. */
int oper_try(struct call *call, int r, int (*next)(struct call *, struct fleet_answer *));
void oper_done(struct fleet_answer *a, void *cookie);
/* The route's handler is called again, with woken, when there is a word or the time is over. */
int oper_park(struct call *call, const char *topic, uint64_t ms);
int oper_fail(struct call *call, enum fail_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int oper_hint(struct call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int oper_no_memory(struct call *call);
/* What failed in an answer, in its words; or in ours where nothing like it is there. */
int oper_failed(struct call *call, const struct fleet_answer *a, const char *missing);

const char *oper_query(const struct call *call, const char *key); /* NULL: not there */
int oper_query_u64(struct call *call, const char *key, uint64_t max, uint64_t otherwise,
		   uint64_t *ret_value);
/* The queries that the route knows, NULL ends them; -EINVAL: another one is there. */
int oper_knows(struct call *call, ...) __attribute__((sentinel));
/* Of a body: "reason", which ends it if alone. */
int oper_take_reason(struct call *call, bool needed, const char **ret_reason);
struct fleet_entry oper_entry(const struct call *call, const char *action, const char *subject,
			      const char *detail_or_null);
json_t *oper_time(uint64_t ms); /* RFC 3339, or null for 0 */
const char *role_name(enum role role);
int role_parse(const char *name, enum role *ret_role);
/* A hot-fix, rollout or guard name of the path. */
int oper_name(struct call *call, size_t segment, const char *what);
int oper_hash(struct call *call, size_t segment, uint8_t ret_hash[32]);

/* ---- handlers ------------------------------------------------------------------------- */

typedef int oper_handler(struct call *call);

oper_handler operators_hosts, operators_host, operators_change_host, operators_forget_host,
	operators_tokens, operators_new_token, operators_drop_token; /* operators_host.c */
oper_handler operators_plan, operators_start;			     /* operators_plan.c */
oper_handler operators_rollouts, operators_rollout, operators_verb;
oper_handler operators_bundles, operators_put_bundle, operators_drop_bundle, operators_trust,
	operators_put_document; /* operators_stock.c */
oper_handler operators_status, operators_openapi, operators_freezes, operators_put_freeze,
	operators_drop_freeze, operators_stop_line, operators_clear_line, operators_list,
	operators_add, operators_revoke, operators_audit,
	operators_audit_verify; /* operators_access.c */

/* ---- of operators_host.c --------------------------------------------------------------- */

/* "label=value,label=a|b" as rollout specs have it; NULL doc: none was given. */
int selector_parse(const char *text, json_t **ret_doc, struct fail *reterr_fail);
/* {"label":"text",...}: at most 16, by lib/label.h; null, where one may drop them, is one that goes. */
int labels_check(const json_t *labels, bool may_drop, struct fail *reterr_fail);

/* ---- of operators_rollout.c ------------------------------------------------------------ */

struct views *views_free(struct views *v);
/* Rollouts that somebody watches may have gone on. */
void views_look(struct operators *o);
/* A verb's event; FAIL_USAGE: there is none of that name. */
struct rollout_event;
