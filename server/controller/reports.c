// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/reports.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "lib/log.h"
#include "server/controller/controller.h"
#include "store/fleet.h"

STAILQ_HEAD(items, item);

/* One heartbeat or report; what its pointers mean follows it. */
struct item {
	STAILQ_ENTRY(item) link;
	struct fleet_report report;
	reports_fn done; /* NULL: a heartbeat */
	void *cookie;
	size_t bytes;
	char text[];
};

struct reports {
	struct controller *c;
	struct event *timer;
	struct items waiting, sent; /* sent: in the transaction that is under way */
	size_t n, bytes;	    /* of both */
	size_t urgent;		    /* waiting with somebody who waits for them */
	bool busy;
	struct reports_stats stats;
};

/* ---- items ---------------------------------------------------------------------------------- */

static const char *copy(char **at, const char *text)
{
	size_t len = text ? strlen(text) + 1 : 0;
	char *here = *at;

	if (!text)
		return NULL;
	memcpy(here, text, len);
	*at += len;
	return here;
}

static size_t length(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static struct item *item_new(const struct fleet_report *r)
{
	size_t bytes = length(r->host) + length(r->boot_id) + length(r->kernel) +
		       length(r->arch) + length(r->zone) + length(r->facts) +
		       length(r->hotfixes) + length(r->health) + 32;
	struct item *i = malloc(sizeof(*i) + bytes);
	char *at;

	if (!i)
		return NULL;
	memset(i, 0, sizeof(*i));
	at = i->text;
	i->bytes = sizeof(*i) + bytes;
	i->report = *r;
	if (r->audit_head) {
		memcpy(at, r->audit_head, 32);
		i->report.audit_head = (const uint8_t *)at;
		at += 32;
	}
	i->report.host = copy(&at, r->host);
	i->report.boot_id = copy(&at, r->boot_id);
	i->report.kernel = copy(&at, r->kernel);
	i->report.arch = copy(&at, r->arch);
	i->report.zone = copy(&at, r->zone);
	i->report.facts = copy(&at, r->facts);
	i->report.hotfixes = copy(&at, r->hotfixes);
	i->report.health = copy(&at, r->health);
	return i;
}

static void item_end(struct reports *q, struct item *i, int r, const struct fail *why)
{
	q->n--;
	q->bytes -= i->bytes;
	if (i->done)
		i->done(r, why, i->cookie);
	free(i);
}

/* ---- batches -------------------------------------------------------------------------------- */

static void flush(struct reports *q);

static void wait_for(struct reports *q)
{
	static const struct timeval soon = {.tv_usec = 2000},
				    later = {.tv_usec = REPORTS_BEAT_MS * 1000};

	if (q->busy || STAILQ_EMPTY(&q->waiting))
		return;
	if (q->urgent)
		event_add(q->timer, &soon);
	else if (!event_pending(q->timer, EV_TIMEOUT, NULL))
		event_add(q->timer, &later);
}

static void on_stored(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct items done = STAILQ_HEAD_INITIALIZER(done);
	struct reports *q = cookie;
	struct item *i;

	q->busy = false;
	STAILQ_CONCAT(&done, &q->sent);
	if (answer->r == 0) {
		q->stats.batches++;
	} else {
		q->stats.failed++;
		log_event(LOG_WARNING, "reports could not be stored reason=\"%s\"",
			  answer->fail.message);
		/* To a host it makes no difference why: it keeps what it said, and says it again. */
		fail_set(&answer->fail, FAIL_UNREACHABLE, "the report could not be stored");
	}
	while ((i = STAILQ_FIRST(&done))) {
		STAILQ_REMOVE_HEAD(&done, link);
		item_end(q, i, answer->r, &answer->fail);
	}
	if (answer->r != -ECANCELED)
		wait_for(q);
}

static void flush(struct reports *q)
{
	struct fleet_report batch[REPORTS_BATCH_MAX];
	size_t n = 0, bytes = 0;
	struct item *i;
	struct fail why;
	int r;

	while (n < REPORTS_BATCH_MAX && bytes < REPORTS_BATCH_BYTES &&
	       (i = STAILQ_FIRST(&q->waiting))) {
		STAILQ_REMOVE_HEAD(&q->waiting, link);
		STAILQ_INSERT_TAIL(&q->sent, i, link);
		batch[n++] = i->report;
		bytes += i->bytes;
		q->urgent -= i->done != NULL;
		if (i->done)
			q->stats.reports++;
		else
			q->stats.heartbeats++;
	}
	if (n == 0)
		return;
	q->busy = true;
	r = fleet_reports(q->c->fleet, batch, n, on_stored, q);
	if (r == 0)
		return;
	q->busy = false;
	fail_set(&why, FAIL_UNREACHABLE, "out of memory");
	while ((i = STAILQ_FIRST(&q->sent))) {
		STAILQ_REMOVE_HEAD(&q->sent, link);
		item_end(q, i, r, &why);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct reports *q = cookie;

	(void)fd, (void)what;
	if (!q->busy && q->c->fleet)
		flush(q);
}

static int put(struct reports *q, const struct fleet_report *report, reports_fn done,
	       void *cookie, struct fail *reterr_fail)
{
	struct item *i = NULL;

	if (q->n < REPORTS_WAITING_MAX && q->bytes < REPORTS_BYTES_MAX)
		i = item_new(report);
	if (!i) {
		q->stats.refused++;
		fail_set(reterr_fail, FAIL_UNREACHABLE, "too many reports are waiting");
		return -EAGAIN;
	}
	i->done = done;
	i->cookie = cookie;
	q->n++;
	q->bytes += i->bytes;
	q->urgent += done != NULL;
	STAILQ_INSERT_TAIL(&q->waiting, i, link);
	wait_for(q);
	return 0;
}

void reports_heartbeat(struct reports *q, const char *host)
{
	struct fleet_report r = {.host = host};

	put(q, &r, NULL, NULL, NULL);
}

int reports_put(struct reports *q, const struct fleet_report *report, reports_fn done,
		void *cookie, struct fail *reterr_fail)
{
	return put(q, report, done, cookie, reterr_fail);
}

struct reports_stats reports_stats(const struct reports *q)
{
	struct reports_stats s = q->stats;

	s.waiting = q->n;
	return s;
}

/* ---- life ----------------------------------------------------------------------------------- */

int reports_new(struct controller *c, struct reports **ret_reports, struct fail *reterr_fail)
{
	AUTO(reports_freep) struct reports *q = calloc(1, sizeof(*q));

	if (!q)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	q->c = c;
	STAILQ_INIT(&q->waiting);
	STAILQ_INIT(&q->sent);
	q->timer = evtimer_new(c->base, on_timer, q);
	if (!q->timer)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	*ret_reports = take_ptr(q);
	return 0;
}

void reports_on_wake(struct reports *q, const char *topic)
{
	(void)q, (void)topic;
}

int reports_reload(struct reports *q, struct fail *reterr_fail)
{
	(void)q, (void)reterr_fail;
	return 0;
}

struct reports *reports_free(struct reports *q)
{
	struct fail why;
	struct item *i;

	if (!q)
		return NULL;
	fail_set(&why, FAIL_UNREACHABLE, "the controller is stopping");
	while ((i = STAILQ_FIRST(&q->waiting))) {
		STAILQ_REMOVE_HEAD(&q->waiting, link);
		item_end(q, i, -ECANCELED, &why);
	}
	if (q->timer)
		event_free(q->timer);
	free(q);
	return NULL;
}
