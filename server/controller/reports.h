// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/reports.h -- what hosts say, on its way into the database: heartbeats and reports of
 * all hosts, one transaction at a time; what comes meanwhile goes with the next. The more
 * hosts, the larger the batches.
 *
 * Context    loop thread.
 * Errors     -EAGAIN (FAIL_UNREACHABLE, for serve_refuse()) too many wait already.
 * Ownership  reports are copied. done comes once, when it is stored or could not be.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define REPORTS_WAITING_MAX 20000
#define REPORTS_BYTES_MAX   (64U << 20) /* of all that wait */
#define REPORTS_BATCH_MAX   1000
#define REPORTS_BATCH_BYTES (4U << 20)
#define REPORTS_BEAT_MS	    500 /* heartbeats alone wait so long for others */

struct controller;
struct fleet_report;
struct reports;

typedef void (*reports_fn)(int r, const struct fail *why, void *cookie);

struct reports_stats {
	uint64_t batches, failed, reports, heartbeats, refused;
	size_t waiting;
};

int reports_new(struct controller *c, struct reports **ret_reports, struct fail *reterr_fail);
struct reports *reports_free(struct reports *q);
void reports_on_wake(struct reports *q, const char *topic);
int reports_reload(struct reports *q, struct fail *reterr_fail);

/* A heartbeat that finds no room is lost: another one comes. */
void reports_heartbeat(struct reports *q, const char *host);
int reports_put(struct reports *q, const struct fleet_report *report, reports_fn done,
		void *cookie, struct fail *reterr_fail);
struct reports_stats reports_stats(const struct reports *q);

DEFINE_AUTO(struct reports, reports_free)
