// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/agents.h -- the listener for agents, each known by its certificate:
 *
 *	GET  /v1/agent/desired?generation=G&wait=MS	parks until there is news, or MS are over
 *	POST /v1/agent/report				answered when it is stored
 *	POST /v1/agent/renew				{"request"} -> {"certificate", "ca"}
 *	GET  /v1/agent/documents?root=V&catalog=V&revocation=V
 *	GET  /v1/agent/bundles/SHA256			with "Range: bytes=N-"
 *
 * Whose row a request is about is said by the certificate alone. A host is looked up when it
 * comes with a certificate that was not seen before: whether it is enrolled, and whether the
 * certificate is written down (one of an outside authority is, then). What hosts shall run
 * and which certificates are revoked is followed in memory; who is revoked while he waits is
 * told at once.
 *
 * Arrivals (hosts that have not been heard of for two heartbeats) are let in at a pace; the rest are
 * told when to come again (503), spread over the time that it takes.
 *
 * Context    loop thread.
 * Errors     of serve.h. Answers of the database's failures are 503: nothing is lost, the agent
 *            says it again.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define AGENTS_ARRIVALS_PER_S 1000
#define AGENTS_ARRIVALS_BURST 1000
#define AGENTS_VISITS_MAX     256 /* hosts that are looked up in one statement */
#define AGENTS_STREAMS_MAX \
	64 /* bundles on their way at once, with one piece of each in memory */
#define AGENTS_PIECE_BYTES 262144
#define AGENTS_RENEW_MS	   10000 /* between two renewals of a host */

struct agents;
struct controller;

struct agents_stats {
	uint64_t desired, reports, renewals, documents,
		bundles;  /* answered with what was asked for */
	uint64_t refused; /* 4xx */
	uint64_t put_off; /* 503 */
	uint64_t connections, handshakes_refused;
	unsigned int open;
	size_t hosts; /* known in memory */
	uint64_t visits, visit_batches;
};

int agents_new(struct controller *c, struct agents **ret_agents, struct fail *reterr_fail);
struct agents *agents_free(struct agents *a);
void agents_on_wake(struct agents *a, const char *topic);
int agents_reload(struct agents *a, struct fail *reterr_fail);
struct agents_stats agents_stats(const struct agents *a);
/* For tests. */
void agents_set_arrivals(struct agents *a, unsigned int per_s, unsigned int burst);

DEFINE_AUTO(struct agents, agents_free)
