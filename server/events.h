// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/events.h -- what just happened, for people and programs that watch:
 * events of hot-fixes (hotfix.bpf.h) and changes of state, newest kept in memory, followers
 * fed as they come, one JSON document a line.
 *
 * Context    loop thread. Keeps the newest EVENTS_KEPT lines; a follower that does not
 *            read is dropped once EVENTS_BACKLOG_BYTES wait for it.
 */
#pragma once

#include <event2/http.h>
#include <jansson.h>

#include "lib/cleanup.h"

#define EVENTS_KEPT	     256
#define EVENTS_BACKLOG_BYTES (1U << 20)

struct events;

int events_new(struct events **ret_events);
struct events *events_free(struct events *ev);
/* Consumes doc; adds "time" when it has none. NULL (out of memory) is dropped. */
void events_emit(struct events *ev, json_t *doc);
/* Answers req: the kept lines (of one hot-fix, or name NULL), then, when follow, each new one.
 */
void events_serve(struct events *ev, struct evhttp_request *req, const char *name, int follow);

DEFINE_AUTO(struct events, events_free)
