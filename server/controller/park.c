// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/park.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/bufferevent.h>
#include <event2/event_struct.h>

#include "server/controller/serve.h"

TAILQ_HEAD(queue, waiting);

struct topic {
	TAILQ_ENTRY(topic) link;
	struct queue queue;
	char name[PARK_TOPIC_BYTES];
};

struct waiting {
	TAILQ_ENTRY(waiting) link; /* in its topic's queue, or in that of the woken */
	struct park *park;
	struct topic *topic; /* NULL: woken */
	struct evhttp_request *req;
	struct event timeout;
	park_fn fn;
	void *cookie;
};

struct park {
	struct event_base *base;
	TAILQ_HEAD(, topic) topics;
	void *by_name; /* the same, tsearch(3) */
	struct queue woken;
	struct event *answer; /* pending while somebody is woken */
	size_t n, max;
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct topic *)a)->name, ((const struct topic *)b)->name);
}

/* ---- topics --------------------------------------------------------------------------------- */

static struct topic *find(struct park *p, const char *name)
{
	struct topic key, **found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	found = tfind(&key, &p->by_name, compare);
	return found ? *found : NULL;
}

static struct topic *find_or_add(struct park *p, const char *name)
{
	struct topic *t = find(p, name);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	snprintf(t->name, sizeof(t->name), "%s", name);
	TAILQ_INIT(&t->queue);
	if (!tsearch(t, &p->by_name, compare)) {
		free(t);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->topics, t, link);
	return t;
}

static void topic_end(struct park *p, struct topic *t)
{
	tdelete(t, &p->by_name, compare);
	TAILQ_REMOVE(&p->topics, t, link);
	free(t);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void waiting_free(struct waiting *w)
{
	struct park *p = w->park;

	TAILQ_REMOVE(w->topic ? &w->topic->queue : &p->woken, w, link);
	if (w->topic && TAILQ_EMPTY(&w->topic->queue))
		topic_end(p, w->topic);
	event_del(&w->timeout);
	p->n--;
	free(w);
}

/* It is over; w is gone after that. */
static void end(struct waiting *w, enum park_end why)
{
	struct evhttp_request *req = w->req;
	park_fn fn = w->fn;
	void *cookie = w->cookie;
	struct fail fail;

	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	waiting_free(w);
	if (serve_permitted(req, &fail) < 0) { /* any more */
		serve_refuse(req, &fail);
		fn(NULL, PARK_GONE, cookie);
		return;
	}
	fn(req, why, cookie);
}

static void on_timeout(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	end(cookie, PARK_TIMED_OUT);
}

/* A request that has lost its connection is ours to free; else evhttp does it. */
static void on_gone(struct evhttp_connection *conn, void *cookie)
{
	struct waiting *w = cookie;
	struct evhttp_request *req = w->req;
	park_fn fn = w->fn;
	void *fn_cookie = w->cookie;

	(void)conn;
	waiting_free(w);
	if (!evhttp_request_get_connection(req))
		evhttp_request_free(req);
	fn(NULL, PARK_GONE, fn_cookie);
}

/*
 * evhttp does not read while a request is being answered, and so would not see its peer go.
 * What arrives is left alone, for evhttp to read when the answer is sent.
 */
static void watch_peer(struct evhttp_connection *conn)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
	bufferevent_event_cb on_event;
	bufferevent_data_cb on_write;
	void *cookie;

	bufferevent_getcb(bev, NULL, &on_write, &on_event, &cookie);
	bufferevent_setcb(bev, NULL, on_write, on_event, cookie);
	bufferevent_enable(bev, EV_READ);
}

int park_wait(struct park *p, struct evhttp_request *req, const char *topic,
	      uint64_t timeout_ms, park_fn fn, void *cookie, struct fail *reterr_fail)
{
	struct timeval tv = {.tv_sec = (time_t)(timeout_ms / 1000),
			     .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
	struct evhttp_connection *conn = evhttp_request_get_connection(req);
	struct waiting *w;

	if (p->n >= p->max) {
		fail_set(reterr_fail, FAIL_UNREACHABLE, "too many are waiting already");
		return -EAGAIN;
	}
	w = calloc(1, sizeof(*w));
	if (w)
		w->topic = find_or_add(p, topic);
	if (!w || !w->topic) {
		free(w);
		fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		return -ENOMEM;
	}
	w->park = p;
	w->req = req;
	w->fn = fn;
	w->cookie = cookie;
	TAILQ_INSERT_TAIL(&w->topic->queue, w, link);
	p->n++;
	event_assign(&w->timeout, p->base, -1, 0, on_timeout, w);
	event_add(&w->timeout, &tv);
	evhttp_connection_set_closecb(conn, on_gone, w);
	watch_peer(conn);
	return 0;
}

/* ---- waking --------------------------------------------------------------------------------- */

static const struct timeval soon = {0}; /* a timer, so that the loop looks at sockets between */

static void on_answer(evutil_socket_t fd, short what, void *cookie)
{
	struct park *p = cookie;
	struct waiting *w;

	(void)fd, (void)what;
	for (int i = 0; i < PARK_BATCH && (w = TAILQ_FIRST(&p->woken)); i++)
		end(w, PARK_WOKEN);
	if (!TAILQ_EMPTY(&p->woken))
		event_add(p->answer, &soon);
}

static size_t wake(struct park *p, struct topic *t)
{
	struct waiting *w;
	size_t n = 0;

	while ((w = TAILQ_FIRST(&t->queue))) {
		TAILQ_REMOVE(&t->queue, w, link);
		w->topic = NULL;
		event_del(&w->timeout);
		TAILQ_INSERT_TAIL(&p->woken, w, link);
		n++;
	}
	topic_end(p, t);
	event_add(p->answer, &soon);
	return n;
}

size_t park_wake(struct park *p, const char *topic)
{
	struct topic *t = find(p, topic);

	return t ? wake(p, t) : 0;
}

size_t park_wake_all(struct park *p)
{
	struct topic *t;
	size_t n = 0;

	while ((t = TAILQ_FIRST(&p->topics)))
		n += wake(p, t);
	return n;
}

size_t park_count(const struct park *p)
{
	return p->n;
}

/* ---- life ----------------------------------------------------------------------------------- */

int park_new(struct event_base *base, size_t max, struct park **ret_park)
{
	AUTO(park_freep) struct park *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	TAILQ_INIT(&p->topics);
	TAILQ_INIT(&p->woken);
	p->base = base;
	p->max = max;
	p->answer = evtimer_new(base, on_answer, p);
	if (!p->answer)
		return -ENOMEM;
	*ret_park = take_ptr(p);
	return 0;
}

struct park *park_free(struct park *p)
{
	struct waiting *w;

	if (!p)
		return NULL;
	park_wake_all(p);
	while ((w = TAILQ_FIRST(&p->woken)))
		end(w, PARK_STOPPED);
	if (p->answer)
		event_free(p->answer);
	free(p);
	return NULL;
}
