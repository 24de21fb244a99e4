// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/intake.h -- takes in what is signed: bundles, roots, revocations, the status of the
 * fleet. The same for what comes over the socket and for what comes from a controller: who hands
 * something in is not what makes it good.
 *
 * Context    loop thread; one commit. intake_root() asks a worker.
 * Errors     of what verifies (store/bundle.h, server/authority.h); FAIL_EQUIVOCATION is also an
 *            alarm (log, event).
 */
#pragma once

#include "server/authority.h"
#include "server/hotfix.h"
#include "server/worker.h"

struct intake_bundle {
	char name[HOOK_NAME_MAX + 1]; /* "" not known; also on failure */
	uint64_t serial;
	uint8_t digest[32];
	bool already; /* it was stored */
};

int intake_bundle(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		  struct intake_bundle *ret_bundle, struct fail *reterr_fail);
/* What it takes back is on its way. */
int intake_revocation(struct hotfixes *all, const uint8_t *bytes, size_t len,
		      uint32_t actor_uid, struct revocation *ret_revocation,
		      struct fail *reterr_fail);
int intake_catalog(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		   struct catalog **ret_catalog, struct fail *reterr_fail);
/*
 * The worker verifies, and keeps it where only root writes; the first one only for a peer that
 * is root (peer_fd; 0: nobody). When done says that it is ok, intake_root_kept() follows.
 */
int intake_root(struct hotfixes *all, const uint8_t *bytes, size_t len, int peer_fd,
		worker_done_fn done, void *cookie, struct worker **ret_worker,
		struct fail *reterr_fail);
int intake_root_kept(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		     struct trust **ret_trust, struct fail *reterr_fail);
/* Two of what there can be only one: somebody has a key who should not. */
void intake_alarm(struct hotfixes *all, const char *subject, enum fail_code code,
		  const char *message, uint32_t actor_uid);
