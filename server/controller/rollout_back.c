// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"
#include "lib/plural.h"

/* The version runs there, or may: it is in doubt until the host says otherwise. */
bool rollout_has_it(const struct rollout *r, const struct rollout_host *h)
{
	if (host_is(h->state, HOST_FLIES))
		return host_is(h->state, HOST_BEGUN);
	if (h->state == HOST_COMMITTED || h->state == HOST_LOST)
		return true;
	return h->state == HOST_DRIFTED && h->committed == r->serial;
}

static bool in_scope(const struct rollout *r, const struct rollout_host *h)
{
	return r->scope == ROLLOUT_ALL || host_is(h->state, HOST_FLIES) || h->wave == r->wave;
}

void rollout_back_begin(struct rollout *r, enum rollout_scope scope, const char *code,
			const char *text)
{
	r->scope = scope;
	if (rollout_is_live(r))
		rollout_enter(r, ROLLOUT_ABORTING, code, "%s", text);
	else
		rollout_note(r, NULL, code, true, "%s", text);
	for (size_t i = 0; i < r->n_hosts; i++) {
		struct rollout_host *h = r->host[i];

		rollout_recall(r, h);
		if (scope == ROLLOUT_NOTHING || h->back || !rollout_has_it(r, h) ||
		    !in_scope(r, h))
			continue;
		rollout_lift(r, h);
		h->back = true;
		h->tries = 0;
		rollout_lay(r, h);
		rollout_touch(r, h);
	}
	if (scope != ROLLOUT_NOTHING)
		rollout_enter(r, ROLLOUT_ROLLING_BACK, code, "%zu host%s", r->back,
			      plural(r->back));
}

/* NULL: what was there before may come back. */
static const char *hindrance(const struct rollout *r, const struct rollout_host *h)
{
	if (h->committed != r->serial)
		return NULL; /* its trial ends; nothing needs a signature */
	if (!h->from)
		return r->takes_off ? NULL : "NOTHING_BEFORE";
	return h->from < r->floor ? "FLOOR" : NULL;
}

static void send_back(struct rollout *r)
{
	size_t limit = rollout_max_in_flight(r) * r->spec.rollback_factor;
	const struct heap_node *node;

	while (r->back_in_flight < limit && (node = heap_first(&r->back_ready))) {
		struct rollout_host *h = heap_owner(node, struct rollout_host, queue);
		const char *why = hindrance(r, h);

		if (why) {
			rollout_note(r, h, why, true, "serial %llu cannot come back",
				     (unsigned long long)h->from);
			rollout_host_enter(r, h, HOST_ROLLBACK_FAILED, why);
			continue;
		}
		if (h->committed == r->serial)
			rollout_send(r, h, ROLLOUT_ROLLBACK, r->serial, h->from);
		else
			rollout_send(r, h, ROLLOUT_END_TRIAL, 0, 0);
		rollout_host_enter(r, h, HOST_ROLLING_BACK, "");
	}
}

void rollout_back_go(struct rollout *r)
{
	bool overdue = r->clock_ms - r->progress_ms >= r->spec.progress_deadline_ms;

	if (r->state == ROLLOUT_ABORTING) { /* those that have begun come to their end */
		if (!r->in_flight || overdue)
			rollout_enter(r, ROLLOUT_ABORTED, overdue ? "PROGRESS" : "ENDED",
				      "%zu host%s it", r->count[HOST_COMMITTED],
				      r->count[HOST_COMMITTED] == 1 ? " has" : "s have");
		return;
	}
	if (r->state != ROLLOUT_ROLLING_BACK) {
		if (r->back_ready.n || (!r->back && r->state == ROLLOUT_ROLLBACK_INCOMPLETE))
			rollout_enter(r, ROLLOUT_ROLLING_BACK, "GOES_ON", "%zu host%s left",
				      r->back, r->back == 1 ? " is" : "s are");
		return;
	}
	send_back(r);
	if (!r->back && !r->in_flight)
		rollout_enter(r, ROLLOUT_ROLLED_BACK, "DONE", "%zu host%s went back",
			      r->count[HOST_ROLLED_BACK], plural(r->count[HOST_ROLLED_BACK]));
	else if (overdue || (!r->back_ready.n && !r->back_in_flight && !r->in_flight))
		rollout_enter(r, ROLLOUT_ROLLBACK_INCOMPLETE,
			      overdue ? "PROGRESS" : "HOSTS_LEFT",
			      "%zu host%s could not go back yet", r->back, plural(r->back));
}
