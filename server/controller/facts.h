// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/facts.h -- what a host's row says about one version of one hot-fix, in the
 * engine's words: labels, facts, and the report on its newest word. The only reader of reports.
 *
 * Labels   the host's own, then those of operators, which win; kernel_release, arch and zone are
 *          what the host reported (zone: unless an operator says otherwise), host its id,
 *          name its name. Only texts count.
 * Numbers  reports are numbered anew when a host enrols again: seq grows with the time of that.
 *
 * Context    any; no clock, no I/O.
 * Errors     FAIL_BAD_FORMAT the row is no report; nothing of it is to be believed then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/fail.h"
#include "server/controller/rollout.h"
#include "server/controller/roots.h"

#define FACTS_HOLDER_BYTES 80

struct fleet_host; /* store/fleet.h */

/* What is asked about. */
struct facts_query {
	const char *hotfix;  /* its name */
	const char *rollout; /* "": none yet */
	uint64_t serial;
	uint64_t heartbeat_ms;
};

struct facts {
	json_t *labels;
	struct rollout_facts facts;   /* its labels are those above */
	bool has_report;	      /* else the host has not reported yet: no facts either */
	struct rollout_report report; /* texts are borrowed from doc */
	/* the rest of what the row says about the hot-fix */
	uint64_t live, trial, high_water;
	json_t *doc;
	char holder[FACTS_HOLDER_BYTES]; /* facts.held_by may be this */
	struct roots_of_host root;	 /* whoever knows roots makes facts.unfit of it */
	struct rollout_metric metrics[SPEC_METRICS_MAX];
};

int facts_read(const struct fleet_host *h, const struct facts_query *q, struct facts *ret_facts,
	       struct fail *reterr_fail);
void facts_clear(struct facts *f); /* zeroed, or read: fine */
