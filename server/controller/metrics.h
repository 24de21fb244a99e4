// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/metrics.h -- figures of this controller for Prometheus: GET /metrics on a listener
 * of its own, over TLS with the certificate of operators; nothing in them is a secret of a host.
 * hotfix-controller(8) lists them.
 *
 * Rollouts and hosts are those that this controller drives: sum over controllers.
 *
 * Context    loop thread; asks nothing of the database.
 */
#pragma once

#include <stdio.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct controller;
struct metrics;

int metrics_new(struct controller *c, struct metrics **ret_metrics, struct fail *reterr_fail);
struct metrics *metrics_free(struct metrics *m);
void metrics_on_wake(struct metrics *m, const char *topic);
int metrics_reload(struct metrics *m, struct fail *reterr_fail);

/* The text; parts that are not there yet have no figures. */
void metrics_write(struct controller *c, FILE *out);

DEFINE_AUTO(struct metrics, metrics_free)
