// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/drift.h -- finds what others did to the kernel behind hotfixd's back: a pin that was
 * removed, an entry, gate or registration that was changed; and puts it right, or only says so
 * ([drift] policy).
 *
 * What was done but is not written yet (server/outcome.h) is no drift: the store is what is wrong.
 *
 * Every [drift] check a worker surveys the kernel while something runs; a congestion control's
 * link says by itself that it was taken off (Linux 6.11 and newer), which is looked into at once.
 *
 * Context    loop thread; drift_find() is pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "server/hotfix.h"

#define DRIFT_BYTES 256

struct drift_facts {
	const json_t *survey;	   /* of this hot-fix (bpf/engine.h); NULL: nothing is pinned */
	uint64_t committed_serial; /* that should run; 0: none */
	uint64_t gate_serial;	   /* that the gate says is committed; 0: none */
	uint32_t gate_index; /* of it in the gate that the daemon holds, not the pinned one */
};

/* false: all is as it should be. */
bool drift_find(const struct drift_facts *f, char ret_what[DRIFT_BYTES]);

/*
 * What was put right repairs times, and has been found again in surveys surveys since: is it
 * time once more? After the 1st, 2nd, 4th, ... 64th: somebody who keeps changing it is not
 * fought with, and what failed for want of memory comes back by itself.
 */
bool drift_is_due(unsigned int repairs, unsigned int surveys);

int drift_start(struct hotfixes *all);
struct drift *drift_free(struct drift *d);
/* (Re)opens what tells of itself when it goes; after each change of h. */
void drift_watch(struct hotfix *h);
void drift_unwatch(struct hotfix *h);
