// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/report.h -- the JSON that the API shows: status, versions, changes, events.
 * Times are RFC 3339 UTC. Names are stable: added, never renamed.
 *
 * Context    loop thread; reads pins and the store, does not block.
 * Ownership  results are new references, NULL when out of memory.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#include "bpf/hotfix.bpf.h"
#include "server/hotfix.h"
#include "store/store.h"

struct report_daemon {
	const char *state_dir, *bpffs, *socket;
	pid_t pid, loop_pid; /* of the parent, which others know; of this process */
	uid_t uid;
	const char *lsm; /* as root finds it */
	uint64_t started_ms;
	size_t adopted; /* hot-fixes found live at start */
};

/*
 * Why its trial goes on after its length, for people, with a code: EVIDENCE (health that is not known
 * yet) or CALLS; NULL: it does not.
 */
const char *report_trial_waits(struct hotfixes *all, const struct hotfix *h, char *ret_text,
			       size_t room);
json_t *report_event(const char *name, uint64_t serial, const struct hotfix_event *e);
json_t *report_change(const struct store_change *c, bool with_log);
json_t *report_version(const struct store_version *v);
json_t *report_status(struct hotfixes *all, const struct report_daemon *d);
/* One hot-fix as in status, with its versions, manifest and counters; NULL: not known here. */
json_t *report_hotfix(struct hotfixes *all, const char *name);
