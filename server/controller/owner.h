// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/owner.h -- drives rollouts: claims those that nobody has, tells the engine
 * (rollout.h) what happens in the fleet, and writes what follows, several steps as one
 * transaction. The only writer of rollouts, their hosts and the words for hosts.
 *
 *	claim -> read header and rows -> read all hosts, a page at a time -> follow their changes
 *	  ^                                  |
 *	  +-- any write that failed ---------+	  all is read again: nothing lives here only
 *
 * Lease    10 s, renewed every 3 s, by a name that no other process has. Who lost it finds
 *          another epoch at his next write, and drops the rollout.
 * Silence  a host is silent as long as nobody heard of it, but not longer than this process has
 *          watched, and what it heard could be stored. After a time without, a host has as long as
 *          one that was told to come again, or found nobody, may wait before it does.
 * Waiting  a rollout that cannot be served (no bundle, a freeze, its windows or that they cannot be
 *          told here, hosts that another one holds) is told that its window is closed, and why.
 * Signing  when the director cannot sign (no root, one that names another key), rollouts pause
 *          (director_lost). A step whose words could not be signed is dropped as a whole and read again;
 *          what operators asked for is still there, and is heeded without such words.
 * Lost     when the database was away, or stored nothing, for 10 s rollouts pause (engine_lost) until
 *          it has been back for a heartbeat.
 *
 * Context    loop thread, in slices: a page of 256 hosts, 64 signatures.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/controller/rollout.h"

#define OWNER_LOST_MS 10000

struct controller;
struct owner;

int owner_new(struct controller *c, struct owner **ret_owner, struct fail *reterr_fail);
struct owner *owner_free(struct owner *o);
void owner_on_wake(struct owner *o, const char *topic);
int owner_reload(struct owner *o, struct fail *reterr_fail);
/* Others may have all that is ours; done comes once, at the latest when the database does not
 * answer. Nothing is claimed any more. */
void owner_release(struct owner *o, void (*done)(void *cookie), void *cookie);

struct owner_stats {
	size_t rollouts; /* ours */
	size_t by_state[ROLLOUT_STATES_];
	size_t hosts[HOST_STATES_]; /* of all of them */
	size_t silent;
	size_t reading, writing, waiting; /* rollouts that do so now */
	uint64_t steps, writes, failed_writes, words, claims, lost;
	uint64_t last_write_ms; /* 0: none yet */
	bool engine_lost, line_stopped;
};

void owner_stats(const struct owner *o, struct owner_stats *ret_stats);

DEFINE_AUTO(struct owner, owner_free)
