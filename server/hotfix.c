// SPDX-License-Identifier: BSD-2-Clause
#include "server/hotfix.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "server/authority.h"
#include "server/change.h"
#include "server/drift.h"
#include "server/outcome.h"
#include "server/report.h"
#include "server/restore.h"
#include "store/bundle.h"

/* ---- life ------------------------------------------------------------------ */

int hotfixes_new(const struct hotfixes_opts *opts, struct hotfixes **ret_all)
{
	const struct watches_opts watches = {.base = opts->base,
					     .crew = opts->crew,
					     .root = "",
					     .bpffs = opts->bpffs,
					     .health_off = opts->config->health_off,
					     .log_fd = opts->log_fd};
	struct hotfixes *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	*all = (struct hotfixes){.base = opts->base,
				 .store = opts->store,
				 .workers = opts->workers,
				 .events = opts->events,
				 .config = opts->config,
				 .bpffs = opts->bpffs,
				 .host_id = "",
				 .boot = opts->boot->state};
	snprintf(all->crash_cause, sizeof(all->crash_cause), "%s", opts->boot->cause);
	TAILQ_INIT(&all->list);
	if (watches_new(&watches, &all->watches) < 0) {
		free(all);
		return -ENOMEM;
	}
	*ret_all = all;
	return 0;
}

struct hotfix *hotfix_find(struct hotfixes *all, const char *name)
{
	struct hotfix *h;

	TAILQ_FOREACH(h, &all->list, link)
		if (strcmp(h->name, name) == 0)
			return h;
	return NULL;
}

int hotfix_get(struct hotfixes *all, const char *name, struct hotfix **ret_hotfix)
{
	struct hotfix *h = hotfix_find(all, name);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		snprintf(h->name, sizeof(h->name), "%s", name);
		h->all = all;
		h->changes = 1;
		h->link_fd = -1;
		TAILQ_INIT(&h->change.waiters);
		h->tick = event_new(all->base, -1, EV_PERSIST, change_on_tick, h);
		if (!h->tick) {
			free(h);
			return -ENOMEM;
		}
		TAILQ_INSERT_TAIL(&all->list, h, link);
	}
	*ret_hotfix = h;
	return 0;
}

static void close_events(struct hotfix *h)
{
	if (h->events_readable)
		event_free(h->events_readable);
	h->events_readable = NULL;
	h->events = live_events_free(h->events);
	h->events_index = 0;
}

void hotfix_close_gate(struct hotfix *h)
{
	close_events(h);
	drift_unwatch(h);
	h->gate = gate_free(h->gate);
}

static void hotfix_free(struct hotfix *h)
{
	struct hotfix_waiter *w;

	TAILQ_REMOVE(&h->all->list, h, link);
	worker_cancel(h->worker);
	while ((w = TAILQ_FIRST(&h->change.waiters))) {
		TAILQ_REMOVE(&h->change.waiters, w, link);
		free(w);
	}
	change_clear(&h->change);
	hotfix_close_gate(h);
	json_decref(h->needs);
	event_free(h->tick);
	free(h);
}

struct hotfixes *hotfixes_free(struct hotfixes *all)
{
	struct hotfix *h;

	if (!all)
		return NULL;
	while ((h = TAILQ_FIRST(&all->list)))
		hotfix_free(h);
	restore_free(all->restore);
	drift_free(all->drift);
	outcomes_free(all->outcomes);
	watches_free(all->watches);
	free(all);
	return NULL;
}

/* ---- events of what runs --------------------------------------------------- */

static void on_hotfix_event(const struct hotfix_event *e, void *cookie)
{
	struct hotfix *h = cookie;

	events_emit(h->all->events,
		    report_event(h->name, gate_version(h->gate, h->events_index).serial, e));
}

static void on_events_readable(evutil_socket_t fd, short what, void *cookie)
{
	struct hotfix *h = cookie;

	(void)fd;
	(void)what;
	live_events_read(h->events);
}

void hotfix_follow_live(struct hotfix *h)
{
	uint32_t live = h->gate ? gate_live(h->gate, clock_mono_ns()) : 0;

	if (live == h->events_index)
		return;
	if (h->events)
		live_events_read(h->events); /* the last words of the version that goes */
	close_events(h);
	if (!live ||
	    live_events_open(h->all->bpffs, h->name, live, on_hotfix_event, h, &h->events) < 0)
		return; /* most objects have no events */
	h->events_index = live;
	h->events_readable = event_new(h->all->base, live_events_fd(h->events),
				       EV_READ | EV_PERSIST, on_events_readable, h);
	if (h->events_readable)
		event_add(h->events_readable, NULL);
}

void hotfix_attach_gate(struct hotfix *h)
{
	int r = 0;

	if (!h->gate)
		r = gate_open(h->all->bpffs, h->name, &h->gate);
	if (r < 0 && r != -ENOENT)
		snprintf(h->problem, sizeof(h->problem), "its gate cannot be opened: %s",
			 strerror(-r));
	hotfix_follow_live(h);
	if (h->phase == HOTFIX_IDLE)
		drift_watch(h);
}

/* ---- waiting for a change ---------------------------------------------------- */

static struct hotfix *busy_with(struct hotfixes *all, uint64_t change_id)
{
	struct hotfix *h;

	TAILQ_FOREACH(h, &all->list, link)
		if (h->phase != HOTFIX_IDLE && h->change.id == change_id)
			return h;
	return NULL;
}

struct hotfix_waiter *hotfix_wait(struct hotfixes *all, uint64_t change_id,
				  enum hotfix_wait until, hotfix_wait_fn fn, void *cookie)
{
	struct hotfix *h = busy_with(all, change_id);
	struct hotfix_waiter *w;

	if (!h || (until == HOTFIX_WAIT_LIVE && h->change.live))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct hotfix_waiter){.until = until, .fn = fn, .cookie = cookie};
	TAILQ_INSERT_TAIL(&h->change.waiters, w, link);
	return w;
}

void hotfix_wait_cancel(struct hotfixes *all, struct hotfix_waiter *gone)
{
	struct hotfix_waiter *w;
	struct hotfix *h;

	TAILQ_FOREACH(h, &all->list, link)
		TAILQ_FOREACH(w, &h->change.waiters, link)
			if (w == gone) {
				TAILQ_REMOVE(&h->change.waiters, w, link);
				free(w);
				return;
			}
}

bool hotfix_needs_settle(const struct hotfix *h)
{
	for (uint32_t i = 1; h->gate && i < GATE_VERSIONS; i++)
		if (gate_version(h->gate, i).flags & (GATE_OVERLAP | GATE_CC))
			return true;
	return false;
}

uint64_t hotfix_live_serial(const struct hotfix *h)
{
	if (!h->gate)
		return 0;
	return gate_version(h->gate, gate_live(h->gate, clock_mono_ns())).serial;
}

int hotfix_open_bundle(struct hotfixes *all, const char *name, uint64_t serial,
		       uint8_t **ret_buf, size_t *ret_len, struct bundle **ret_bundle,
		       struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r;

	r = authority_trust(all->store, &trust, reterr_fail);
	if (r < 0)
		return r;
	r = store_get_bundle(all->store, name, serial, &buf, &len);
	if (r == -ENOENT) {
		fail_set(reterr_fail, FAIL_NOT_FOUND,
			 "%s@%" PRIu64 " is not stored on this host", name, serial);
		return fail_hint(reterr_fail,
				 "hotfixctl list shows what is; hotfixctl import FILE adds");
	}
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	r = bundle_open(buf, len, trust, ret_bundle, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp((*ret_bundle)->manifest->name, name) != 0 ||
	    (*ret_bundle)->manifest->serial != serial) {
		fail_set(reterr_fail, FAIL_BAD_DIGEST,
			 "the database hands out %s@%" PRIu64 " under the name %s@%" PRIu64
			 ": it was changed by hand",
			 (*ret_bundle)->manifest->name, (*ret_bundle)->manifest->serial, name,
			 serial);
		*ret_bundle = bundle_free(*ret_bundle);
		return -fail_errno(FAIL_BAD_DIGEST);
	}
	*ret_buf = take_ptr(buf);
	*ret_len = len;
	return 0;
}
