// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/change.h -- carries out one change of a hot-fix, from the intent to the outcome.
 * The only writer of gates, of intents and of outcomes.
 *
 * A change is an intent row, then steps, then an outcome row:
 *
 *	          .------------------ fails ------------------.
 *	          |         .-- fails --.                     v
 *	IDLE -> STAGE -> (gate) -> SETTLE -> TRIAL ------> REVERT -> UNSTAGE -> IDLE
 *	                             |         | commits                        ^
 *	                             |         '--------------------------------|
 *	                             '-- rollback to a warm version, --commit --'
 *	IDLE -> (gate 0) -> REMOVE -> IDLE         disable, remove
 *
 * STAGE, SETTLE, REVERT, UNSTAGE and REMOVE are workers (server/worker.h); (gate) is one
 * store by the loop. REVERT settles back to the old version after its gate store.
 *
 * Context    loop thread; one fsync for an intent and one for an outcome, else nothing blocks.
 * Errors     what goes wrong after change_begin() is the outcome of the change.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/hotfix.h"

void change_clear(struct hotfix_change *c);
/*
 * What is done at once and has no steps: a row and an audit row, outcome "done". Returns its id;
 * 0: it could not be written.
 */
uint64_t change_record(struct hotfix *h, const char *verb, uint64_t serial, uint32_t actor_uid,
		       const char *code, const char *detail);
/* Callback of h->tick: renews the lease, judges the trial. */
void change_on_tick(evutil_socket_t fd, short what, void *cookie);

/*
 * Makes the intent durable; the caller has filled in what h->change asks for. The way back
 * (rollback, disable) must not depend on a writable disk: with anyway, the change goes on
 * without its row (id 0), and the log keeps the record. On failure the change is cleared.
 */
int change_begin(struct hotfix *h, const char *verb, uint64_t serial, uint32_t actor_uid,
		 bool anyway, struct fail *reterr_fail);

/* After change_begin, one of: */
int change_stage(struct hotfix *h, const uint8_t *bundle, size_t bundle_len,
		 struct fail *reterr_fail);
/* To the warm version c->index, the store first; -errno: done, but it could not be written. */
int change_switch(struct hotfix *h, struct fail *reterr_fail);
void change_take_off(struct hotfix *h); /* off with one store, then out of the kernel */
void change_forget_version(
	struct hotfix *h); /* one that does not run: out of kernel and store */

/*
 * An operator's word that ends a trial: a change of its own, done at once. -ETIME: too late to
 * commit, the lease has ended.
 */
void change_try_anew(struct hotfix *h); /* the length of the trial begins again */
int change_commit_by_hand(struct hotfix *h, uint32_t actor_uid);
void change_back_by_hand(struct hotfix *h, uint32_t actor_uid, const char *reason);
void change_off_by_hand(struct hotfix *h); /* before a disable */

/* For reconcile, on what a dead daemon left. */
void change_resume(struct hotfix *h, const struct store_change *open, uint32_t index);
void change_revert(struct hotfix *h, const struct store_change *open, uint32_t index,
		   const char *code, const char *why);
/* Takes out what the change may have made before it reached a gate, then ends it as failed. */
void change_undo(struct hotfix *h, const struct store_change *open, const char *why);
/* Takes out what an ended change may have left as index; without a committed version, all. */
void change_sweep(struct hotfix *h, uint32_t index);
