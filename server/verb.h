// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/verb.h -- what an operator may ask for: decides whether it can be done, then
 * begins the change that does it (server/change.h).
 *
 * Context    loop thread; reads the store, verifies the bundle, one fsync for the intent.
 * Errors     0 or -errno with reterr_fail and nothing begun; what comes later is in the
 *            change's outcome, which hotfix_wait() delivers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/hotfix.h"

struct verb_apply {
	uint64_t serial;   /* 0: newest stored */
	uint64_t trial_ms; /* 0: the manifest's */
	bool commit, observe;
	bool goes_on;  /* what ran until now: what it requires does not bind */
	bool directed; /* below the high-water mark because a director says so */
	/* Of a fleet: the directive, spent once all is well; a trial within the manifest's bounds,
	 * and at least so many calls; what history shows as the reason. */
	const struct directive *directive;
	uint64_t fit_trial_ms, min_calls;
	const char *reason;
	uint32_t actor_uid;
};

struct directive; /* store/directive.h */

int verb_apply(struct hotfixes *all, const char *name, const struct verb_apply *apply,
	       uint64_t *ret_change, struct fail *reterr_fail);
int verb_commit(struct hotfixes *all, const char *name, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail);
/*
 * to 0: the one before. Inside a trial it ends the trial. directive NULL: an operator's; with one
 * also to what never ran here, which is then tried first; and with one that says 0 the version that its
 * rollout brought, and that was the first, is taken off.
 */
int verb_rollback(struct hotfixes *all, const char *name, uint64_t to, const char *reason,
		  const struct directive *directive, uint32_t actor_uid, uint64_t *ret_change,
		  struct fail *reterr_fail);
int verb_disable(struct hotfixes *all, const char *name, const char *reason, uint32_t actor_uid,
		 uint64_t *ret_change, struct fail *reterr_fail);
int verb_enable(struct hotfixes *all, const char *name, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail);
/* serial 0: all of it. *ret_change may be 0 (a version that was only stored). */
int verb_remove(struct hotfixes *all, const char *name, uint64_t serial, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail);
/*
 * Denies what it only counted, or the other way round, from now on and with one store (objects
 * that use HOTFIX_CONTROL). In a trial its length begins anew: what it does now was not tried.
 */
int verb_enforce(struct hotfixes *all, const char *name, bool enforce, uint32_t actor_uid,
		 uint64_t *ret_change, struct fail *reterr_fail);
/* Lifts a quarantine. */
int verb_retry(struct hotfixes *all, const char *name, uint64_t serial, const char *reason,
	       uint32_t actor_uid, uint64_t *ret_change, struct fail *reterr_fail);
/* Ends what two crashes began: all that was committed is applied again. */
int verb_resume(struct hotfixes *all, uint32_t actor_uid, struct fail *reterr_fail);
/* Out of the kernel, and nothing is committed; h is idle. Who may say so has been asked. */
void verb_take_off(struct hotfix *h, const char *reason, uint32_t actor_uid,
		   uint64_t *ret_change);
/* What was committed before, as it was, without a trial. */
int verb_restore(struct hotfix *h, const struct store_hotfix *row, const char *reason,
		 struct fail *reterr_fail);
