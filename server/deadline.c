// SPDX-License-Identifier: BSD-2-Clause
#include "server/deadline.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "lib/log.h"

struct conn {
	TAILQ_ENTRY(conn) link;
	struct bufferevent *bev; /* a reference: evhttp does not say when it frees its own */
	struct deadlines *of;
	struct event *timer; /* pending: a request has begun */
	bool answering;
};

struct deadlines {
	struct timeval limit;
	TAILQ_HEAD(, conn) conns;
};

static void conn_free(struct conn *c)
{
	TAILQ_REMOVE(&c->of->conns, c, link);
	event_free(c->timer);
	bufferevent_decref(c->bev);
	free(c);
}

/* evhttp has freed its connection: that takes all functions away. */
static bool is_gone(const struct conn *c)
{
	void *cookie;

	bufferevent_getcb(c->bev, NULL, NULL, NULL, &cookie);
	return !cookie;
}

static void sweep(struct deadlines *d)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&d->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (is_gone(c))
			conn_free(c);
	}
}

static void on_too_late(evutil_socket_t fd, short what, void *cookie)
{
	struct conn *c = cookie;

	(void)fd;
	(void)what;
	if (!is_gone(c)) {
		log_event(LOG_NOTICE, "a request took too long to come in: hung up");
		shutdown(bufferevent_getfd(c->bev), SHUT_RDWR); /* evhttp does the rest */
	}
	sweep(c->of);
}

static void begin(struct conn *c)
{
	if (!c->answering && !event_pending(c->timer, EV_TIMEOUT, NULL))
		event_add(c->timer, &c->of->limit);
}

static void on_input(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *cookie)
{
	(void)buf;
	if (info->n_added)
		begin(cookie);
}

/* evhttp wants one for a connection. */
static struct bufferevent *on_connection(struct event_base *base, void *cookie)
{
	struct deadlines *d = cookie;
	struct conn *c = calloc(1, sizeof(*c));

	sweep(d);
	if (!c)
		return NULL; /* evhttp makes one by itself */
	c->of = d;
	c->bev = bufferevent_socket_new(base, -1, 0);
	c->timer = evtimer_new(base, on_too_late, c);
	if (!c->bev || !c->timer ||
	    !evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c)) {
		if (c->bev)
			bufferevent_free(c->bev);
		if (c->timer)
			event_free(c->timer);
		free(c);
		return NULL;
	}
	bufferevent_incref(c->bev);
	TAILQ_INSERT_TAIL(&d->conns, c, link);
	return c->bev;
}

static struct conn *find(struct deadlines *d, struct evhttp_request *req)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(req);
	struct conn *c;

	TAILQ_FOREACH(c, &d->conns, link)
		if (conn && c->bev == evhttp_connection_get_bufferevent(conn))
			return c;
	return NULL;
}

/* It was answered; what came in meanwhile is the next one. */
static void on_answered(struct evhttp_request *req, void *cookie)
{
	struct conn *c = find(cookie, req);

	if (!c)
		return;
	c->answering = false;
	if (evbuffer_get_length(bufferevent_get_input(c->bev)))
		begin(c);
}

void deadlines_met(struct deadlines *d, struct evhttp_request *req)
{
	struct conn *c = find(d, req);

	if (!c)
		return;
	event_del(c->timer);
	c->answering = true;
	evhttp_request_set_on_complete_cb(req, on_answered, d);
}

int deadlines_new(struct evhttp *http, uint64_t ms, struct deadlines **ret_deadlines)
{
	struct deadlines *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	TAILQ_INIT(&d->conns);
	d->limit = (struct timeval){.tv_sec = (time_t)(ms / 1000),
				    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
	evhttp_set_bevcb(http, on_connection, d);
	*ret_deadlines = d;
	return 0;
}

struct deadlines *deadlines_free(struct deadlines *d)
{
	struct conn *c;

	if (!d)
		return NULL;
	while ((c = TAILQ_FIRST(&d->conns)))
		conn_free(c);
	free(d);
	return NULL;
}
