// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/park.h -- requests that wait for a word: the long-polls of agents and of
 * those who watch a rollout. Each waits on a topic (a host id, a rollout id) until it is woken,
 * its time is over, or its peer is gone, which is noticed while it waits.
 *
 * Waking costs what is woken and nothing else. The answers are made some at a time, so that a
 * wave for 10,000 hosts does not keep others waiting.
 *
 * Context    loop thread.
 * Ownership  park_wait() consumes the request: it comes back in the callback, exactly once, which
 *            then answers it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/http.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define PARK_TOPIC_BYTES 80
#define PARK_BATCH	 32 /* answers made in one turn of the loop */

enum park_end {
	PARK_WOKEN,
	PARK_TIMED_OUT,
	PARK_STOPPED, /* by park_free() */
	PARK_GONE,    /* nobody is left to answer: req is NULL */
};

typedef void (*park_fn)(struct evhttp_request *req_or_null, enum park_end why, void *cookie);

struct park;

int park_new(struct event_base *base, size_t max, struct park **ret_park);
/* Ends all with PARK_STOPPED; before serve_free(). */
struct park *park_free(struct park *p);
/* -EAGAIN: max wait already, FAIL_UNREACHABLE for serve_refuse(); -ENOMEM. The request is then
 * still the caller's. */
int park_wait(struct park *p, struct evhttp_request *req, const char *topic,
	      uint64_t timeout_ms, park_fn fn, void *cookie, struct fail *reterr_fail);
/* How many were woken. Their callbacks come from the loop. */
size_t park_wake(struct park *p, const char *topic);
size_t park_wake_all(struct park *p);
size_t park_count(const struct park *p);

DEFINE_AUTO(struct park, park_free)
