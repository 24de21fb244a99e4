// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a member of a fleet decides without looking at anything: all facts are arguments.
 */
#include "server/member.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

static const char *const states[] = {
#define X(name, text) [MEMBER_##name] = text,
	MEMBER_STATES(X)
#undef X
};

#define LOOK_AGAIN_MS 5000

const char *member_state_name(enum member_state state)
{
	return states[state];
}

enum member_state member_state_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i], name) == 0)
			return (enum member_state)i;
	return MEMBER_PENDING;
}

bool member_waits(enum member_state state)
{
	return state == MEMBER_PENDING || state == MEMBER_STAGED;
}

bool member_holds(const char *hold, const char *name)
{
	for (hold += strspn(hold, " "); *hold; hold += strspn(hold, " ")) {
		size_t n = strcspn(hold, " ");

		if (n == 3 && strncmp(hold, "all", 3) == 0)
			return true;
		if (name && strlen(name) == n && strncmp(hold, name, n) == 0)
			return true;
		hold += n;
	}
	return false;
}

const char *member_guard(const struct member_guard_facts *f, const char *name, bool applies,
			 uint64_t *ret_wait_ms)
{
	uint64_t since = f->now_ms > f->begun_ms ? f->now_ms - f->begun_ms : 0;

	*ret_wait_ms = 0;
	if (member_holds(f->hold, name))
		return "HOLD"; /* until the configuration changes */
	if (f->frozen) {
		*ret_wait_ms = LOOK_AGAIN_MS;
		return "FREEZE";
	}
	/* A clock that was set back makes nobody wait for longer than once. */
	if (applies && f->begun_ms && f->now_ms >= f->begun_ms && since < f->min_interval_ms) {
		*ret_wait_ms = f->min_interval_ms - since;
		return "INTERVAL";
	}
	return "";
}

int member_check(const struct agent_word *w, const struct directive *d, const char *host,
		 struct fail *reterr_fail)
{
	enum directive_action action =
		w->action == AGENT_ROLLBACK ? DIRECTIVE_ROLLBACK : DIRECTIVE_APPLY;
	const char *what = NULL;

	if (!d->host[0] || strcmp(d->host, host) != 0)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: for the host %.16s, this one is %.16s",
				d->host[0] ? d->host : "of anybody", host[0] ? host : "nobody");
	if (strcmp(d->name, w->name) != 0)
		what = "hot-fix";
	else if (d->action != action)
		what = "action";
	else if (d->from != w->from || d->to != w->to)
		what = "serial";
	else if (strcmp(d->rollout, w->rollout) != 0)
		what = "rollout";
	if (what)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: it is about another %s than the word", what);
	return 0;
}

static void upper(const char *name, char ret_code[32])
{
	snprintf(ret_code, 32, "%s", name);
	for (char *c = ret_code; *c; c++)
		*c = (char)toupper((unsigned char)*c);
}

enum member_state member_refusal(const struct fail *why, char ret_code[32], bool *ret_transient)
{
	*ret_transient = why->code == FAIL_CONFLICT || why->code == FAIL_STORAGE ||
			 why->code == FAIL_INTERNAL || why->code == FAIL_TIMEOUT ||
			 why->code == FAIL_UNREACHABLE || why->code == FAIL_NO_TRUST;
	upper(fail_name(why->code), ret_code);
	return why->code == FAIL_LOAD	  ? MEMBER_LOAD_FAILED
	       : why->code == FAIL_ATTACH ? MEMBER_ATTACH_FAILED
					  : MEMBER_REJECTED;
}

enum member_state member_ended(const char *outcome, const char *code, char ret_code[32],
			       bool *ret_transient)
{
	struct fail why;

	*ret_transient = false;
	snprintf(ret_code, 32, "%.31s", code);
	if (strcmp(outcome, "done") == 0) {
		ret_code[0] = 0;
		return MEMBER_COMMITTED;
	}
	if (strcmp(code, "CRASHED") == 0)
		return MEMBER_CRASHED;
	if (strcmp(outcome, "rolled_back") == 0)
		return strcmp(code, "MANUAL") == 0 || strcmp(code, "STORAGE") == 0
			       ? MEMBER_ROLLED_BACK
			       : MEMBER_UNHEALTHY;
	/* It never came to run: the code is that of a failure, or of what came over it. */
	if (strcmp(code, "INTERRUPTED") == 0) {
		*ret_transient = true;
		return MEMBER_REJECTED;
	}
	if (isupper((unsigned char)code[0]))
		return MEMBER_UNHEALTHY;
	why.code = fail_by_name(code);
	if (why.code == FAIL_PERMISSION) {
		upper(code, ret_code);
		return MEMBER_DENIED_BY_LSM;
	}
	/* A verifier that does not come to an end, and a worker that died, are the object's. */
	if (why.code == FAIL_TIMEOUT || why.code == FAIL_INTERNAL) {
		upper(code, ret_code);
		return MEMBER_LOAD_FAILED;
	}
	return member_refusal(&why, ret_code, ret_transient);
}
