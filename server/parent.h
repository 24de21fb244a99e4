// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/parent.h -- what stays root of hotfixd: it starts workers and probes, and does nothing
 * else. It reads no bytes of strangers: a request is a fixed record, what comes with it goes on
 * to the worker unread.
 *
 * The loop is started by the service manager as its own user and connects, which starts a
 * parent for it (parent_answer); or the parent was started by hand, and starts it (parent_run).
 * From there on there is no difference.
 *
 * What a worker is, what it may, which bundle folder and which root of trust it has, follows
 * from the operation alone, never from what the loop says. A compromised loop can ask for an
 * operation; it cannot have anything loaded that the root of trust does not sign.
 *
 * Context    a process of its own, one thread; blocks in poll(2) only. Starting a process
 *            takes about a millisecond.
 * Errors     as an operator reads them, for the exit status.
 */
#pragma once

#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/config.h"

#define PARENT_CHILDREN_MAX 32

struct parent;

/*
 * State directory, lock, folder in bpffs, socket: made, taken, and handed to the user, who has
 * to be at the other end of channel (-1: nobody yet).
 */
int parent_open(const struct config *c, int channel, struct parent **ret_parent,
		struct fail *reterr_fail);
/*
 * Starts the loop ("hotfixd loop" with these arguments), opens all of it and serves it. Returns
 * the exit status of it all; < 0: it could not be started.
 */
int parent_run(const struct config *c, int argc, char **argv, struct fail *reterr_fail);
/* Opens the same for the loop at the other end of channel, and serves it. */
int parent_answer(const struct config *c, int channel);
/* Serves whoever has the other end of channel, until that is closed. For tests, too. */
void parent_serve(struct parent *p, int channel);
struct parent *parent_free(struct parent *p);

DEFINE_AUTO(struct parent, parent_free)
