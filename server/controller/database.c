// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/database.h"

#include <errno.h>
#include <poll.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "store/fleet.h"

struct database {
	struct event_base *base;
	struct fleet *fleet;
	struct event *io, *timer;
	void (*on_wake)(const char *topic, void *cookie);
	void *cookie;
	uint64_t since_ms; /* away; 0: it is there */
	bool was_there;
	uint64_t failing_since_ms, failed_ms; /* of clock_up_ms(), 0: not, never */
	struct fail write_failure;
	bool processing;
};

static void arm(struct database *d);

static void watch_state(struct database *d)
{
	struct fail why;

	if (db_state(fleet_db(d->fleet), &why) == 0) {
		if (d->since_ms || !d->was_there)
			log_event(LOG_NOTICE, "the database answers");
		d->since_ms = 0;
		d->was_there = true;
		return;
	}
	if (d->since_ms)
		return;
	d->since_ms = clock_up_ms();
	log_event(LOG_WARNING, "the database does not answer reason=\"%s\"", why.message);
}

static void on_written(int r, const struct fail *fail, void *cookie)
{
	struct database *d = cookie;

	if (r == 0) {
		if (d->failing_since_ms)
			log_event(LOG_NOTICE, "the database stores again");
		d->failing_since_ms = 0;
		return;
	}
	d->failed_ms = clock_up_ms();
	d->write_failure = *fail;
	if (d->failing_since_ms)
		return;
	d->failing_since_ms = d->failed_ms;
	log_event(LOG_ERR, "nothing can be stored reason=\"%s\"", fail->message);
}

static void process(struct database *d)
{
	d->processing = true;
	db_process(fleet_db(d->fleet), clock_up_ms());
	d->processing = false;
	watch_state(d);
	arm(d);
}

static void on_ready(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	process(cookie);
}

/* Anew each time: behind the same number there may be another connection by now. */
static void arm(struct database *d)
{
	struct db_want want;
	struct timeval tv;
	short what;

	db_want(fleet_db(d->fleet), clock_up_ms(), &want);
	event_del(d->io);
	if (want.fd >= 0 && want.events) {
		what = (short)(((want.events & POLLIN) ? EV_READ : 0) |
			       ((want.events & POLLOUT) ? EV_WRITE : 0) | EV_PERSIST);
		event_assign(d->io, d->base, want.fd, what, on_ready, d);
		event_add(d->io, NULL);
	}
	event_del(d->timer);
	if (want.timeout_ms < 0)
		return;
	tv = (struct timeval){.tv_sec = want.timeout_ms / 1000,
			      .tv_usec = want.timeout_ms % 1000 * 1000};
	event_add(d->timer, &tv);
}

/* Something was submitted: maybe from within what process() called, which arms by itself. */
static void on_want(void *cookie)
{
	struct database *d = cookie;

	if (!d->processing)
		arm(d);
}

int database_new(struct event_base *base, const char *where,
		 void (*on_wake)(const char *topic, void *cookie), void *cookie,
		 struct database **ret_database, struct fleet **ret_fleet,
		 struct fail *reterr_fail)
{
	AUTO(database_freep) struct database *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	d->base = base;
	d->io = event_new(base, -1, 0, on_ready, d);
	d->timer = evtimer_new(base, on_ready, d);
	if (!d->io || !d->timer)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = fleet_open(where, 0, 0, &d->fleet, reterr_fail);
	if (r < 0)
		return r;
	db_on_want(fleet_db(d->fleet), on_want, d);
	db_on_wake(fleet_db(d->fleet), on_wake, cookie);
	db_on_written(fleet_db(d->fleet), on_written, d);
	arm(d);
	*ret_fleet = d->fleet;
	*ret_database = take_ptr(d);
	return 0;
}

struct database *database_free(struct database *d)
{
	if (!d)
		return NULL;
	if (d->io)
		event_free(d->io);
	if (d->timer)
		event_free(d->timer);
	fleet_free(d->fleet);
	free(d);
	return NULL;
}

uint64_t database_away_ms(struct database *d, struct fail *ret_why)
{
	watch_state(d);
	if (!d->since_ms)
		return 0;
	db_state(fleet_db(d->fleet), ret_why);
	return clock_up_ms() - d->since_ms + 1;
}

void database_writes(const struct database *d, struct database_writes *ret_writes)
{
	uint64_t since_ms = d->failing_since_ms;

	*ret_writes = (struct database_writes){
		.failing_ms = since_ms ? clock_up_ms() - since_ms + 1 : 0,
		.failed_up_ms = d->failed_ms};
	if (since_ms)
		ret_writes->why = d->write_failure;
}
