// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/host.h -- the states of a host in a rollout: one table with what each means
 * for the budgets, and which may follow.
 *
 *	EXCLUDED <-> DEFERRED <-> PENDING -> OFFERED -> STAGED -> PREFLIGHT -> APPLYING -> TRIAL -> COMMITTED
 *	    ^            ^           ^        |  not begun: recalled  |           |         |         |
 *	    +------------+-----------+-- RECALLED <-------------------+           v         v         v
 *	                                                                ATTACH_FAILED UNHEALTHY CRASHED
 *	                             REJECTED LOAD_FAILED DENIED_BY_LSM          LOST DRIFTED
 *
 *	begun, COMMITTED, LOST, DRIFTED -> ROLLING_BACK -> ROLLED_BACK | ROLLBACK_FAILED | QUARANTINED
 *
 * Reports get lost: a host may skip any state on its way to the right, never go back by itself.
 *
 * Context    any
 */
#pragma once

#include <stdbool.h>

#define HOST_STATES(X)                                                                       \
	X(EXCLUDED, "excluded")	  /* not meant, held, pinned, quarantined, ... (host_why) */ \
	X(DEFERRED, "deferred")	  /* offline, rebooting, waiting for its retry */            \
	X(PENDING, "pending")	  /* may be offered; in a report: nothing is under way */    \
	X(OFFERED, "offered")	  /* a word is out */                                        \
	X(RECALLED, "recalled")	  /* the word was withdrawn, which is not acknowledged */    \
	X(STAGED, "staged")	  /* fetched and verified */                                 \
	X(PREFLIGHT, "preflight") /* loaded, not attached */                                 \
	X(APPLYING, "applying")                                                              \
	X(TRIAL, "trial")                                                                    \
	X(COMMITTED, "committed")                                                            \
	X(REJECTED, "rejected")	      /* signature, policy, incompatible */                  \
	X(LOAD_FAILED, "load_failed") /* verifier */                                         \
	X(DENIED_BY_LSM, "denied_by_lsm")                                                    \
	X(ATTACH_FAILED, "attach_failed")                                                    \
	X(UNHEALTHY, "unhealthy")                                                            \
	X(LOST, "lost")	      /* silent after it had begun */                                \
	X(CRASHED, "crashed") /* another boot_id after it had begun */                       \
	X(DRIFTED, "drifted")                                                                \
	X(ROLLING_BACK, "rolling_back")                                                      \
	X(ROLLED_BACK, "rolled_back")                                                        \
	X(ROLLBACK_FAILED, "rollback_failed")                                                \
	X(QUARANTINED, "quarantined")

enum host_state {
#define X(name, text) HOST_##name,
	HOST_STATES(X)
#undef X
		HOST_STATES_
};

enum host_trait {
	HOST_FLIES = 1 << 0, /* takes up a place in flight */
	HOST_BEGUN =
		1 << 1, /* something of the new version ran, or may have: counts for budgets */
	HOST_FAILED = 1 << 2,
	HOST_IDLE = 1 << 3, /* decided by facts alone: see host_why */
	HOST_OURS = 1 << 4, /* decided here: no host says so of itself */
};

/* Why a host is excluded or deferred. */
#define HOST_WHYS(X)                                                              \
	X(NONE, "")                                                               \
	X(LABEL, "label") /* the target's selector */                             \
	X(HELD, "hold")	  /* nothing is sent, not even a rollback */              \
	X(INCOMPATIBLE, "incompatible")                                           \
	X(PINNED, "pinned")	    /* max_serial below that of the rollout */    \
	X(AHEAD, "ahead")	    /* a later serial is committed there */       \
	X(ALREADY, "already")	    /* this serial is, and not by this rollout */ \
	X(QUARANTINE, "quarantine") /* it did harm there before */                \
	X(LATE, "late")		    /* came after the start; not dynamic */       \
	X(LEFT, "left")		    /* the fleet */                               \
	X(OFFLINE, "offline")                                                     \
	X(REBOOT, "reboot") /* pending */                                         \
	X(BACKOFF, "backoff")

enum host_why {
#define X(name, text) HOST_WHY_##name,
	HOST_WHYS(X)
#undef X
		HOST_WHYS_
};

const char *host_state_name(enum host_state state);
int host_state_parse(const char *name, enum host_state *ret_state); /* -EINVAL */
const char *host_why_name(enum host_why why);
bool host_is(enum host_state state, int traits); /* has one of them */
bool host_may(enum host_state from, enum host_state to);
