// SPDX-License-Identifier: BSD-2-Clause
#include "server/drift.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/change.h"
#include "server/outcome.h"
#include "server/restore.h"

struct drift {
	struct hotfixes *all;
	struct event *timer;
	struct worker *worker;
};

static bool has_index(const json_t *slot, uint64_t index)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(slot, "indexes"), i, v)
		if ((uint64_t)json_integer_value(v) == index)
			return true;
	return false;
}

bool drift_find(const struct drift_facts *f, char ret_what[DRIFT_BYTES])
{
	const json_t *problems = json_object_get(f->survey, "problems"), *slot;
	uint64_t committed =
		(uint64_t)json_integer_value(json_object_get(f->survey, "committed"));
	size_t i;

	ret_what[0] = 0;
	if (!f->survey && f->committed_serial) {
		snprintf(ret_what, DRIFT_BYTES, "nothing of it is in the kernel any more");
		return true;
	}
	if (!f->survey)
		return false;
	if (json_array_size(problems)) {
		snprintf(ret_what, DRIFT_BYTES, "%s",
			 json_string_value(json_array_get(problems, 0)));
		return true;
	}
	if (f->gate_serial != f->committed_serial) {
		snprintf(ret_what, DRIFT_BYTES,
			 "the gate was changed: it shows serial %" PRIu64
			 " instead of %" PRIu64,
			 f->gate_serial, f->committed_serial);
		return true;
	}
	if (f->gate_serial && committed != f->gate_index) {
		snprintf(ret_what, DRIFT_BYTES,
			 "another gate is pinned in the place of its own");
		return true;
	}
	json_array_foreach(json_object_get(f->survey, "slots"), i, slot) {
		if (json_is_true(json_object_get(slot, "attached")) ||
		    !has_index(slot, committed))
			continue;
		snprintf(ret_what, DRIFT_BYTES, "%s is not attached",
			 json_string_value(json_object_get(slot, "slot")));
		return true;
	}
	if (json_is_false(json_object_get(f->survey, "settled"))) {
		snprintf(
			ret_what, DRIFT_BYTES,
			"what the gate does not control is not as the committed version needs it");
		return true;
	}
	return false;
}

bool drift_is_due(unsigned int repairs, unsigned int surveys)
{
	return repairs == 0 || surveys >= 1U << (repairs < 8 ? repairs - 1 : 6);
}

/* ---- what to do about it ------------------------------------------------------------ */

static void report(struct hotfix *h, const char *what, bool repair)
{
	log_event(LOG_WARNING, "drift hotfix=%s what=\"%s\" repair=%s", h->name, what,
		  repair ? "yes" : "no");
	events_emit(h->all->events, json_pack("{s:s, s:s, s:s, s:b}", "kind", "drift", "hotfix",
					      h->name, "what", what, "repair", (int)repair));
	if (store_audit(h->all->store, clock_real_ms(), 0, "drift", h->name, what, NULL) < 0)
		log_event(LOG_ERR, "not recorded hotfix=%s verb=drift", h->name);
	snprintf(h->problem, sizeof(h->problem), "changed by others: %.230s", what);
}

static void look_at(struct hotfix *h, const json_t *survey)
{
	struct drift_facts f = {.survey = survey};
	struct store_hotfix row = {0};
	char what[DRIFT_BYTES];
	bool known, repair;

	/* What was seen may be half of a change: next time. */
	if (h->phase != HOTFIX_IDLE || h->changes != h->changes_at_survey || outcome_is_owed(h))
		return;
	if (!h->gate && !survey)
		return; /* never came to run; status says why */
	if (h->gate) {
		f.gate_index = gate_committed(h->gate);
		f.gate_serial = gate_version(h->gate, f.gate_index).serial;
	}
	known = store_get_hotfix(h->all->store, h->name, &row) == 0;
	if (!known) /* of a store that was lost: nothing to compare the gate with */
		f.committed_serial = f.gate_serial;
	else if (!row.disabled)
		f.committed_serial = row.committed_serial;
	if (!drift_find(&f, what)) {
		if (h->drift[0])
			h->problem[0] = 0;
		h->drift[0] = 0;
		return;
	}
	repair = strcmp(h->all->config->drift_policy, "repair") == 0 && known &&
		 f.committed_serial && h->all->boot == POLICY_BOOT_NORMAL;
	if (strcmp(h->drift, what) != 0)
		h->repairs = h->surveys = 0;
	else if (!repair || !drift_is_due(h->repairs, ++h->surveys))
		return;
	h->repairs += repair;
	h->surveys = 0;
	snprintf(h->drift, sizeof(h->drift), "%s", what);
	report(h, what, repair);
	if (!repair)
		return;
	if (f.gate_serial != f.committed_serial && h->gate) {
		uint32_t index = gate_index_of(h->gate, f.committed_serial);

		if (index)
			gate_commit(h->gate, index);
	}
	hotfix_close_gate(h); /* the pinned one may be another by now */
	restore_mark(h, what);
}

static void on_surveyed(const struct worker_result *result, void *cookie)
{
	struct drift *d = cookie;
	const json_t *found = json_object_get(result->report, "hotfixes"), *one;
	struct hotfix *h;
	size_t i;

	d->worker = NULL;
	if (!result->ok) {
		log_event(LOG_ERR, "the kernel could not be surveyed: %s",
			  result->fail.message);
		return;
	}
	TAILQ_FOREACH(h, &d->all->list, link) {
		const json_t *survey = NULL;

		json_array_foreach(found, i, one)
			if (strcmp(json_string_value(json_object_get(one, "name")), h->name) ==
			    0)
				survey = one;
		look_at(h, survey);
	}
	restore_run(d->all);
}

static bool something_runs(struct hotfixes *all)
{
	struct hotfix *h;

	TAILQ_FOREACH(h, &all->list, link)
		if (h->gate && h->phase == HOTFIX_IDLE)
			return true;
	return false;
}

static void look(struct drift *d)
{
	struct worker_job job = {.op = "survey"};
	struct hotfix *h;

	if (!d || d->worker || !something_runs(d->all))
		return;
	TAILQ_FOREACH(h, &d->all->list, link)
		h->changes_at_survey = h->phase == HOTFIX_IDLE ? h->changes : 0;
	if (worker_run(d->all->workers, &job, on_surveyed, d, &d->worker) < 0)
		log_event(LOG_ERR, "no worker could be started to survey the kernel");
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	look(cookie);
}

/* ---- what tells of itself ---------------------------------------------------------------- */

static void on_link_gone(evutil_socket_t fd, short what, void *cookie)
{
	struct hotfix *h = cookie;

	(void)fd;
	(void)what;
	look(h->all->drift);
}

/* Before Linux 6.11 such a link cannot be waited for, and says that it is always ready. */
static bool can_wait(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

void drift_unwatch(struct hotfix *h)
{
	if (h->link_gone)
		event_free(h->link_gone);
	h->link_gone = NULL;
	if (h->link_fd >= 0)
		close(take_fd(&h->link_fd));
}

void drift_watch(struct hotfix *h)
{
	drift_unwatch(h);
	if (!h->gate || live_cc_link(h->all->bpffs, h->name, &h->link_fd) < 0 ||
	    !can_wait(h->link_fd))
		return;
	h->link_gone = event_new(h->all->base, h->link_fd, EV_READ, on_link_gone, h);
	if (h->link_gone)
		event_add(h->link_gone, NULL);
}

/* ---- life ------------------------------------------------------------------------------- */

int drift_start(struct hotfixes *all)
{
	uint64_t every_ms = all->config->drift_check_ms;
	struct timeval tv = {every_ms / 1000, every_ms % 1000 * 1000};
	struct drift *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->all = all;
	all->drift = d;
	if (!every_ms)
		return 0;
	d->timer = event_new(all->base, -1, EV_PERSIST, on_timer, d);
	return d->timer && event_add(d->timer, &tv) == 0 ? 0 : -ENOMEM;
}

struct drift *drift_free(struct drift *d)
{
	if (d && d->timer)
		event_free(d->timer);
	if (d)
		worker_cancel(d->worker);
	free(d);
	return NULL;
}
