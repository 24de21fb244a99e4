// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/crew.h -- the loop's side of server/wire.h: has the parent start processes, hears of
 * their ends, has them killed.
 *
 * Context    loop thread; crew_start() waits for the parent's answer, about a millisecond.
 *            Ends are told from the loop, never from inside another function of this file.
 *            When the parent is gone, so is this process.
 * Ownership  a member is gone after its exited function was called, or by crew_forget().
 */
#pragma once

#include <stdint.h>

#include <event2/event.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/wire.h"

struct crew;
struct crew_member;

typedef void (*crew_exited_fn)(int status, void *cookie);
typedef void (*crew_stop_fn)(void *cookie);

struct crew_job {
	const char *op;
	const char *name; /* hot-fix, or NULL */
	uint32_t index;
	int bundle_fd, peer_fd; /* borrowed; -1 none */
};

/*
 * The first that the parent says: who to become, and what it opened for us: the caller's, -1
 * where there is none. Blocks.
 */
int crew_hello(int channel, struct wire_event *ret_hello, int ret_given[WIRE_GIVEN],
	       struct fail *reterr_fail);
/* Takes over channel. */
int crew_new(struct event_base *base, int channel, struct crew **ret_crew);
/* stop is called when the parent was asked to end. */
void crew_on_stop(struct crew *c, crew_stop_fn stop, void *cookie);
struct crew *crew_free(struct crew *c);
/* ret_answer_fd, where it answers, is the caller's and does not block. */
int crew_start(struct crew *c, const struct crew_job *job, crew_exited_fn exited, void *cookie,
	       struct crew_member **ret_member, int *ret_answer_fd, struct fail *reterr_fail);
void crew_kill(struct crew_member *m); /* it will exit */
/* Kills it; its exited function is not called. NULL is fine. */
void crew_forget(struct crew_member *m);

DEFINE_AUTO(struct crew, crew_free)
