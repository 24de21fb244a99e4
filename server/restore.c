// SPDX-License-Identifier: BSD-2-Clause
#include "server/restore.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

#include "bpf/doctor.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "server/change.h"
#include "server/verb.h"
#include "store/bundle.h"

struct restore {
	struct hotfixes *all;
	struct event *due; /* when those that are not critical come */
	restore_done_fn done;
	void *cookie;
	bool is_due;	/* what is not critical comes too */
	size_t pending; /* critical ones under way, and one for the start itself */
};

void restore_mark(struct hotfix *h, const char *reason)
{
	snprintf(h->restore, sizeof(h->restore), "%s", reason);
}

static void refuse(struct hotfix *h, const struct fail *why)
{
	snprintf(h->problem, sizeof(h->problem), "not applied again: %.230s", why->message);
	log_event(LOG_ERR, "not applied again hotfix=%s why=\"%s\"", h->name, why->message);
}

/* The kernel brings the correction itself, or is not one the version was made for. */
static void retire(struct hotfix *h, const struct store_hotfix *row, const struct fail *why)
{
	struct store_hotfix now = *row;

	h->retired = true;
	snprintf(h->problem, sizeof(h->problem), "%.255s", why->message);
	if (strcmp(row->boot_id, clock_boot_id()) == 0)
		return; /* said already in this boot */
	change_record(h, "retire", row->committed_serial, 0, "RETIRED", why->message);
	snprintf(now.boot_id, sizeof(now.boot_id), "%s", clock_boot_id());
	if (store_put_hotfix(h->all->store, &now) < 0)
		log_event(LOG_WARNING, "not recorded hotfix=%s verb=retire", h->name);
}

/* true: it is on its way. */
static bool restore_one(struct hotfix *h, const struct store_hotfix *row,
			const struct manifest *m)
{
	char release[DOCTOR_RELEASE_BYTES], reason[sizeof(h->restore)];
	struct utsname uts;
	struct fail why;

	snprintf(reason, sizeof(reason), "%s", h->restore);
	h->restore[0] = 0;
	uname(&uts);
	doctor_release(release);
	if (policy_boot_allows(h->all->boot, &why) < 0) {
		refuse(h, &why);
		return false;
	}
	if (manifest_fits_kernel(m, release, uts.machine, &why) < 0) {
		retire(h, row, &why);
		return false;
	}
	h->problem[0] = 0;
	h->retired = false;
	if (verb_restore(h, row, reason, &why) < 0) {
		refuse(h, &why);
		return false;
	}
	return true;
}

static bool run(struct restore *r, bool all);
static bool bring(struct restore *r, struct hotfix *h, bool all);

static void one_less(struct restore *r)
{
	if (--r->pending == 0 && r->done)
		r->done(r->cookie);
}

static void on_critical(uint64_t change_id, const struct fail *fail, void *cookie)
{
	(void)change_id;
	(void)fail; /* in the history, and said by status */
	one_less(cookie);
}

/* What others wait for has come, or could not. */
static void on_required(uint64_t change_id, const struct fail *fail, void *cookie)
{
	struct restore *r = cookie;

	(void)change_id;
	(void)fail;
	run(r, r->is_due);
}

static void on_required_by_critical(uint64_t change_id, const struct fail *fail, void *cookie)
{
	on_required(change_id, fail, cookie);
	one_less(cookie);
}

/*
 * First comes what it requires, as far as that is to be restored as well: what a critical one
 * requires is as critical. true: that is under way, and this one's turn comes when it is over.
 * What the host holds back is not waited for.
 */
static bool waits(struct restore *r, struct hotfix *h, const struct manifest *m, bool all)
{
	char mark[sizeof(h->restore)];
	struct hotfix *other;

	memcpy(mark, h->restore, sizeof(mark));
	h->restore[0] = 0; /* two may require each other */
	for (size_t i = 0; i < m->n_requires; i++) {
		other = hotfix_find(r->all, m->requires[i]);
		if (other)
			bring(r, other, all || m->critical);
	}
	memcpy(h->restore, mark, sizeof(mark));
	for (size_t i = 0; i < m->n_requires; i++) {
		other = hotfix_find(r->all, m->requires[i]);
		if (!other || other->phase == HOTFIX_IDLE || hotfix_live_serial(other))
			continue;
		if (m->critical && r->pending &&
		    hotfix_wait(r->all, other->change.id, HOTFIX_WAIT_END,
				on_required_by_critical, r)) {
			r->pending++;
			return true;
		}
		if (hotfix_wait(r->all, other->change.id, HOTFIX_WAIT_END, on_required, r))
			return true;
	}
	return false;
}

/* all: also what is not critical. true: it is not, and waits for the host to be up for longer. */
static bool bring(struct restore *r, struct hotfix *h, bool all)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct store_hotfix row;
	struct fail why;
	bool same_boot;
	size_t len;

	if (!h->restore[0])
		return false;
	if (h->phase != HOTFIX_IDLE || store_get_hotfix(r->all->store, h->name, &row) < 0 ||
	    row.disabled || !row.committed_serial) {
		h->restore[0] = 0; /* an operator was faster */
		return false;
	}
	if (hotfix_open_bundle(r->all, h->name, row.committed_serial, &buf, &len, &bundle,
			       &why) < 0) {
		h->restore[0] = 0;
		refuse(h, &why);
		return false;
	}
	same_boot = strcmp(row.boot_id, clock_boot_id()) == 0;
	if (!all && !same_boot && !bundle->manifest->critical) {
		snprintf(h->problem, sizeof(h->problem),
			 "to be applied again when the host has been up for %" PRIu64 " s",
			 r->all->config->boot_delay_ms / 1000);
		return true;
	}
	if (!waits(r, h, bundle->manifest, all) && restore_one(h, &row, bundle->manifest) &&
	    bundle->manifest->critical && r->pending &&
	    hotfix_wait(r->all, h->change.id, HOTFIX_WAIT_END, on_critical, r))
		r->pending++;
	return false;
}

/* true: some wait for the host to be up for longer. */
static bool run(struct restore *r, bool all)
{
	struct hotfix *h;
	bool wait = false;

	r->is_due = all;
	TAILQ_FOREACH(h, &r->all->list, link)
		wait |= bring(r, h, all);
	return wait;
}

static void on_due(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	run(cookie, true);
}

void restore_start(struct hotfixes *all, restore_done_fn done, void *cookie)
{
	struct restore *r = calloc(1, sizeof(*r));
	uint64_t up_ms = clock_mono_ns() / 1000000;
	struct timeval tv;

	if (!r) {
		done(cookie);
		return;
	}
	*r = (struct restore){.all = all, .done = done, .cookie = cookie, .pending = 1};
	all->restore = r;
	r->due = evtimer_new(all->base, on_due, r);
	if (!r->due || up_ms >= all->config->boot_delay_ms) {
		run(r, true);
	} else if (run(r, false)) {
		up_ms = all->config->boot_delay_ms - up_ms;
		tv = (struct timeval){up_ms / 1000, up_ms % 1000 * 1000};
		event_add(r->due, &tv);
	}
	one_less(r);
}

void restore_run(struct hotfixes *all)
{
	if (all->restore)
		run(all->restore, true);
}

struct restore *restore_free(struct restore *r)
{
	if (r && r->due)
		event_free(r->due);
	free(r);
	return NULL;
}
