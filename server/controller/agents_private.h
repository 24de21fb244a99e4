// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/agents_private.h -- what the files behind server/controller/agents.h share: hosts in
 * memory, and requests that wait for something.
 *
 *	request --> hold() --> (database, reports) --> ready() --> then(call): answers, and ends the call
 *	              |                                   ^
 *	              '---- the peer goes, or is revoked: what comes back ends the call alone
 *
 * Context    loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <event2/http.h>

#include "server/controller/agents.h"
#include "server/controller/controller.h"
#include "server/controller/serve.h"
#include "store/fleet.h"

#define AGENTS_ID_BYTES	  65
#define AGENTS_TOPIC_ROOM 80

struct call;
STAILQ_HEAD(calls, call);

/* What is known of a host, whether it is connected here or elsewhere. */
struct guest {
	char id[AGENTS_ID_BYTES];
	bool known;		 /* enrolled, under this certificate: */
	uint8_t fingerprint[32]; /* the one that was looked up last */
	uint64_t generation;	 /* of its words */
	uint64_t seq, audit_seq; /* of its last report */
	uint8_t audit_head[32];
	bool has_audit;
	uint64_t heard_ms, renewed_ms; /* on this controller, clock_up_ms() */
	STAILQ_ENTRY(guest) link;      /* among those that are to be looked up */
	bool queued;
	struct calls calls; /* that wait for that */
};

struct agents {
	struct controller *c;
	struct serve *serve;
	struct event *timer, *ask_soon;
	void *guests; /* tsearch(3) */
	size_t n_guests;
	struct agents_stats stats;
	uint64_t next_topic;

	STAILQ_HEAD(, guest) queue, asked; /* asked: in the statement that is under way */
	bool asking;

	/* What is followed: desired generations, and revoked certificates. */
	struct {
		uint64_t change;
		char host[AGENTS_ID_BYTES];
		bool busy, again, done; /* done: it was read to its end once */
	} words;
	struct {
		uint8_t (*fingerprint)[32]; /* in order */
		size_t n;
		uint64_t asked_ms;
		bool busy, again, done;
	} revoked;

	/* Arrivals. */
	unsigned int per_s, burst;
	uint64_t next_us; /* when the one after those that were let in would be due */
	uint64_t refused_us;
	unsigned int refused_n; /* in this while */

	unsigned int streams;
	struct calls streams_waiting;

	uint64_t said_ms; /* of a refusal */
	unsigned int unsaid;
};

struct call {
	STAILQ_ENTRY(call) link;
	struct agents *a;
	struct guest *g;
	struct evhttp_request *req; /* NULL: parked, or gone */
	bool parked, pending;	    /* pending: somebody has it and will bring it back */
	char topic[32];
	uint8_t fingerprint[32];
	void (*looked_up)(struct call *call); /* the host is good; still parked */
	void (*then)(struct call *call);
	struct fail fail;
	char *text; /* a body */

	/* desired */
	uint64_t generation, until_ms;
	bool must_answer;
	/* report */
	struct fleet_report report;
	void *report_texts;
	/* bundles */
	uint8_t digest[32];
	uint64_t offset, size;
	uint8_t *piece;
	size_t piece_len;
	bool ranged, streaming, holds_stream;
};

/* ---- calls ---- */

/* Parks the request until agents_ready(); a refusal has been answered, and the call is gone. */
bool agents_hold(struct call *call);
/* What it waited for is there. then() has the request, and ends the call. */
void agents_ready(struct call *call, void (*then)(struct call *call));
void agents_then_fail(struct call *call); /* answers call->fail */
void agents_then_text(struct call *call); /* 200 with call->text */
struct call *agents_end(struct call *call);
void agents_refuse(struct agents *a, struct evhttp_request *req, const struct fail *fail);
/* -1: not there or no number. */
int agents_query_u64(struct evhttp_request *req, const char *key, uint64_t *ret_value);

/* ---- agents_report.c ---- */

/*
 * Strict: fields that nobody knows, states that no host has, texts that are not plain are refused.
 * ret_report points into *ret_texts. The version of hotfixd goes into health.
 */
int agents_report_parse(const char *host, const void *buf, size_t len,
			struct fleet_report *ret_report, void **ret_texts,
			struct fail *reterr_fail);
void agents_report_free(void *texts);

/* ---- agents_bundle.c ---- */

void agents_bundle(struct call *call); /* call->digest, offset and ranged are set */
void agents_bundle_end(struct call *call);
