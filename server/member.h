// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/member.h -- this host as a member of a fleet: what the words of its controllers
 * (server/agent.h) lead to, what of that outlasts a restart, and what it says of itself.
 *
 * A controller is obeyed where a directive that the director of the root in force signed covers
 * it, and what it leads to is judged like anything an operator asks for (server/verb.h): release
 * signatures, policy, trial. Words that only stall (withdraw, end_trial) need no signature.
 *
 *	          documents, bundle                      attached     trial, judged here
 *	PENDING -------------------> STAGED --> PREFLIGHT --> APPLYING --> TRIAL --> COMMITTED
 *	   ^  hold, freeze,             |            |            |          |
 *	   '--interval: it waits        v            v            v          v
 *	                             REJECTED   LOAD_FAILED  ATTACH_FAILED UNHEALTHY, ROLLED_BACK, CRASHED
 *
 * From APPLYING on something of the version may have run: a controller counts that.
 *
 * This host wins: [fleet] hold, a file "freeze" in the state directory, min_interval between two
 * applies, what was disabled by hand. None of them needs a controller, and neither does a trial:
 * it ends as it would have.
 *
 * A state is found anew from the store and the kernel whenever something changes, never
 * remembered from what was to come: so a restart goes on by itself.
 *
 * Context    loop thread; a commit for each word and each step of it.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "server/agent.h"
#include "server/hotfix.h"
#include "store/directive.h"
#include "store/key.h"

#define MEMBER_FREEZE_FILE "freeze"

struct member;

/*
 * *ret_member is NULL where [fleet] names no controller. host: the key of this host, which enrolment
 * certifies. A failure is this host's to mend: it is no member until the next start.
 */
int member_new(struct hotfixes *all, const struct key *host_or_null, struct member **ret_member,
	       struct fail *reterr_fail);
struct member *member_free(struct member *m);
/* For status; null where no fleet is configured. */
json_t *member_json(const struct hotfixes *all);
/* What the doctor is to say of it; false: nothing. */
bool member_complaint(const struct hotfixes *all, char *ret_text, size_t room);

/* ---- rules, pure ---------------------------------------------------------------------------- */

/* Those of server/controller/host.h that a host says of itself. */
#define MEMBER_STATES(X)                  \
	X(PENDING, "pending")             \
	X(STAGED, "staged")               \
	X(PREFLIGHT, "preflight")         \
	X(APPLYING, "applying")           \
	X(TRIAL, "trial")                 \
	X(COMMITTED, "committed")         \
	X(REJECTED, "rejected")           \
	X(LOAD_FAILED, "load_failed")     \
	X(DENIED_BY_LSM, "denied_by_lsm") \
	X(ATTACH_FAILED, "attach_failed") \
	X(UNHEALTHY, "unhealthy")         \
	X(CRASHED, "crashed")             \
	X(ROLLED_BACK, "rolled_back")     \
	X(ROLLBACK_FAILED, "rollback_failed")

enum member_state {
#define X(name, text) MEMBER_##name,
	MEMBER_STATES(X)
#undef X
		MEMBER_STATES_
};

const char *member_state_name(enum member_state state);
enum member_state member_state_of(const char *name); /* PENDING when unknown */
bool member_waits(enum member_state state);	     /* it has not begun, and may */

struct member_guard_facts {
	bool frozen;
	const char *hold; /* as configured */
	uint64_t now_ms, begun_ms, min_interval_ms;
};

/* May the fleet begin something now? "": yes; else a code, and when to look again (0: no idea). */
const char *member_guard(const struct member_guard_facts *f, const char *name, bool applies,
			 uint64_t *ret_wait_ms);
bool member_holds(const char *hold, const char *name); /* name NULL: all of them */

/* The directive says what the word says, for this host. */
int member_check(const struct agent_word *w, const struct directive *d, const char *host,
		 struct fail *reterr_fail);
/* What a failure before anything began is to a controller. */
enum member_state member_refusal(const struct fail *why, char ret_code[32],
				 bool *ret_transient);
/* The end of a change: its outcome and code, as server/change.h has them. */
enum member_state member_ended(const char *outcome, const char *code, char ret_code[32],
			       bool *ret_transient);

DEFINE_AUTO(struct member, member_free)
