// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/api.h -- the HTTP API on the Unix socket; one table maps method and path to
 * a handler and to who may call it (peer credentials).
 *
 * Context    loop thread; a request that waits for a change is parked, not blocked on.
 * Ownership  the API borrows everything in struct api_context, which outlives it.
 */
#pragma once

#include "lib/cleanup.h"
#include "server/config.h"
#include "server/events.h"
#include "server/hotfix.h"
#include "server/record.h"
#include "server/report.h"
#include "server/worker.h"
#include "store/store.h"

struct api_context {
	struct event_base *base;
	const struct config *config;
	int listen_fd; /* bound by the parent; taken over */
	struct store *store;
	struct workers *workers;
	struct hotfixes *hotfixes;
	struct events *events;
	struct record *record;
	struct report_daemon report;
};

struct api;

int api_new(const struct api_context *context, struct api **ret_api, struct fail *reterr_fail);
/* Parked requests are answered with 503. */
struct api *api_free(struct api *a);

DEFINE_AUTO(struct api, api_free)
