// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/host.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "lib/cleanup.h"

#define TO(name) (1U << HOST_##name)

#define IDLE	 (TO(EXCLUDED) | TO(DEFERRED) | TO(PENDING))
#define HARMLESS (TO(REJECTED) | TO(LOAD_FAILED) | TO(DENIED_BY_LSM))
#define HARM	 (TO(UNHEALTHY) | TO(LOST) | TO(CRASHED) | TO(DRIFTED))
#define BEGUN	 (TO(APPLYING) | TO(TRIAL) | TO(COMMITTED) | TO(ATTACH_FAILED) | HARM)
#define OFF	 (TO(ROLLING_BACK) | TO(ROLLED_BACK) | TO(ROLLBACK_FAILED) | TO(QUARANTINED))

static const struct {
	int traits;
	uint32_t next;
} states[HOST_STATES_] = {
	/* What a word had set going before it was withdrawn is taken for what it is. */
	[HOST_EXCLUDED] = {HOST_IDLE | HOST_OURS, IDLE | BEGUN | HARMLESS},
	[HOST_DEFERRED] = {HOST_IDLE | HOST_OURS, IDLE | BEGUN | HARMLESS},
	[HOST_PENDING] = {HOST_IDLE, IDLE | TO(OFFERED) | BEGUN | HARMLESS},
	[HOST_RECALLED] = {HOST_FLIES | HOST_OURS, IDLE | BEGUN | HARMLESS},
	[HOST_OFFERED] = {HOST_FLIES,
			  IDLE | TO(RECALLED) | TO(STAGED) | TO(PREFLIGHT) | BEGUN | HARMLESS},
	[HOST_STAGED] = {HOST_FLIES, IDLE | TO(RECALLED) | TO(PREFLIGHT) | BEGUN | HARMLESS},
	[HOST_PREFLIGHT] = {HOST_FLIES, IDLE | TO(RECALLED) | BEGUN | HARMLESS},
	[HOST_APPLYING] = {HOST_FLIES | HOST_BEGUN,
			   (BEGUN & ~TO(APPLYING)) | TO(EXCLUDED) | OFF},
	[HOST_TRIAL] = {HOST_FLIES | HOST_BEGUN,
			TO(COMMITTED) | TO(ATTACH_FAILED) | HARM | TO(EXCLUDED) | OFF},
	[HOST_COMMITTED] = {HOST_BEGUN, HARM | TO(EXCLUDED) | OFF},
	/* Only retry leads back from a failure, except from silence. */
	[HOST_REJECTED] = {HOST_FAILED, IDLE},
	[HOST_LOAD_FAILED] = {HOST_FAILED, IDLE},
	[HOST_DENIED_BY_LSM] = {HOST_FAILED, IDLE},
	[HOST_ATTACH_FAILED] = {HOST_FAILED | HOST_BEGUN, IDLE},
	[HOST_UNHEALTHY] = {HOST_FAILED | HOST_BEGUN, IDLE | OFF},
	[HOST_LOST] = {HOST_FAILED | HOST_BEGUN | HOST_OURS, IDLE | (BEGUN & ~TO(LOST)) | OFF},
	[HOST_CRASHED] = {HOST_FAILED | HOST_BEGUN, IDLE | OFF},
	[HOST_DRIFTED] = {HOST_FAILED | HOST_BEGUN, IDLE | OFF | TO(COMMITTED)},
	[HOST_ROLLING_BACK] = {0, TO(EXCLUDED) | TO(LOST) | TO(COMMITTED) | OFF},
	[HOST_ROLLED_BACK] = {0, IDLE},
	[HOST_ROLLBACK_FAILED] = {0, TO(EXCLUDED) | TO(COMMITTED) | OFF},
	[HOST_QUARANTINED] = {0, IDLE},
};

static const char *const state_names[] = {
#define X(name, text) [HOST_##name] = text,
	HOST_STATES(X)
#undef X
};

static const char *const why_names[] = {
#define X(name, text) [HOST_WHY_##name] = text,
	HOST_WHYS(X)
#undef X
};

const char *host_state_name(enum host_state state)
{
	return state_names[state];
}

int host_state_parse(const char *name, enum host_state *ret_state)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++)
		if (strcmp(state_names[i], name) == 0) {
			*ret_state = (enum host_state)i;
			return 0;
		}
	return -EINVAL;
}

const char *host_why_name(enum host_why why)
{
	return why_names[why];
}

bool host_is(enum host_state state, int traits)
{
	return states[state].traits & traits;
}

bool host_may(enum host_state from, enum host_state to)
{
	return states[from].next & (1U << to);
}
