// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/worker.h -- one kernel change in a process of its own, which the parent starts
 * (server/crew.h): "hotfixd worker" (server/work.h), one request, one answer, a deadline.
 *
 *	answer   {"report":...} or {"error":{...},"log":text}
 *
 * index is that of stage and unstage; settle asks the gate, and on trial starts the guard.
 *
 * A worker that was killed or died left pins at most. One that somebody else killed is
 * started once more; else whoever asked for it runs the op that takes them back.
 *
 * Context    loop thread; spawning blocks for about a millisecond. At most
 *            WORKER_RUNNING_MAX run at once, the rest wait in order, changes before looks:
 *            who may only look cannot hold up a rollback.
 * Errors     -EBUSY too many looks wait already; in the answer: FAIL_TIMEOUT past the deadline,
 *            FAIL_INTERNAL died, FAIL_CONFLICT another daemon pins in our folder.
 * Ownership  worker_run copies the bundle, and keeps the peer open by itself; done is called exactly once,
 *            from the loop, never from inside worker_run, unless worker_cancel came first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define WORKER_RUNNING_MAX	 2
#define WORKER_LOOKING_MAX	 1 /* of these */
#define WORKER_LOOKS_WAITING_MAX 4

struct crew;	/* server/crew.h */
struct workers; /* the pool of one daemon */
struct worker;

struct worker_result {
	bool ok;
	const json_t *report; /* borrowed; NULL when there is none */
	struct fail fail;     /* when !ok */
	const char *log;      /* borrowed; verifier's words or "" */
	const int *fds;	      /* that came with the answer, borrowed */
	size_t n_fds;
	double elapsed_ms;
};

typedef void (*worker_done_fn)(const struct worker_result *result, void *cookie);

struct worker_job {
	const char *op;
	const char *name; /* hot-fix, or NULL */
	uint32_t index;
	bool look;	       /* it changes nothing: others go first */
	const uint8_t *bundle; /* op "trust": a root */
	size_t bundle_len;
	int peer_fd; /* op "trust": who hands it in; 0 none */
};

int workers_new(struct event_base *base, struct crew *crew, uint64_t deadline_ms,
		struct workers **ret_pool);
/* Kills what runs; no done function is called any more. */
struct workers *workers_free(struct workers *pool);
int worker_run(struct workers *pool, const struct worker_job *job, worker_done_fn done,
	       void *cookie, struct worker **ret_worker);
/* Now, before the loop runs. done may be called from within, if there is none to be started. */
void workers_start(struct workers *pool);
/* Kills it; done will not be called. NULL is fine. */
void worker_cancel(struct worker *w);

DEFINE_AUTO(struct workers, workers_free)
