// SPDX-License-Identifier: BSD-2-Clause
#include "server/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/hook.h"

struct kept {
	char *line;
	char name[HOOK_NAME_MAX + 1];
};

struct follower {
	TAILQ_ENTRY(follower) link;
	struct events *ev;
	struct evhttp_request *req;
	char name[HOOK_NAME_MAX + 1]; /* "" all */
};

struct events {
	struct kept kept[EVENTS_KEPT];
	size_t next;
	TAILQ_HEAD(, follower) followers;
};

int events_new(struct events **ret_events)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return -ENOMEM;
	TAILQ_INIT(&ev->followers);
	*ret_events = ev;
	return 0;
}

static void follower_free(struct follower *f)
{
	TAILQ_REMOVE(&f->ev->followers, f, link);
	free(f);
}

struct events *events_free(struct events *ev)
{
	struct follower *f;

	if (!ev)
		return NULL;
	while ((f = TAILQ_FIRST(&ev->followers))) {
		evhttp_connection_set_closecb(evhttp_request_get_connection(f->req), NULL,
					      NULL);
		evhttp_send_reply_end(f->req);
		follower_free(f);
	}
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		free(ev->kept[i].line);
	free(ev);
	return NULL;
}

static void send_line(struct evhttp_request *req, const char *line)
{
	struct evbuffer *b = evbuffer_new();

	if (!b)
		return;
	evbuffer_add_printf(b, "%s\n", line);
	evhttp_send_reply_chunk(req, b);
	evbuffer_free(b);
}

/*
 * The peer went away. A request that was still being answered has lost its connection by now,
 * and then nobody but us frees it; else evhttp does.
 */
static void on_follower_closed(struct evhttp_connection *conn, void *cookie)
{
	struct follower *f = cookie;
	struct evhttp_request *req = f->req;

	(void)conn;
	follower_free(f);
	if (!evhttp_request_get_connection(req))
		evhttp_request_free(req);
}

static size_t backlog(struct evhttp_request *req)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(req);

	return evbuffer_get_length(
		bufferevent_get_output(evhttp_connection_get_bufferevent(conn)));
}

static int wanted(const char *filter, const char *name)
{
	return !filter[0] || strcmp(filter, name) == 0;
}

void events_emit(struct events *ev, json_t *doc)
{
	const char *name = json_string_value(json_object_get(doc, "hotfix"));
	struct kept *k = &ev->kept[ev->next];
	char stamp[CLOCK_TIMESTAMP_BYTES];
	struct follower *f, *following;
	char *line;

	if (doc && !json_object_get(doc, "time"))
		json_object_set_new(
			doc, "time",
			json_string(clock_format_timestamp(clock_real_ms(), stamp)));
	line = doc ? json_text(doc) : NULL;
	if (line) {
		free(k->line);
		k->line = line;
		snprintf(k->name, sizeof(k->name), "%s", name ? name : "");
		ev->next = (ev->next + 1) % EVENTS_KEPT;
		for (f = TAILQ_FIRST(&ev->followers); f; f = following) {
			following = TAILQ_NEXT(f, link);
			if (!wanted(f->name, k->name))
				continue;
			if (backlog(f->req) > EVENTS_BACKLOG_BYTES) {
				struct evhttp_request *req = f->req;

				evhttp_connection_set_closecb(
					evhttp_request_get_connection(req), NULL, NULL);
				follower_free(f);
				evhttp_send_reply_end(req);
				continue;
			}
			send_line(f->req, line);
		}
	}
	json_decref(doc);
}

void events_serve(struct events *ev, struct evhttp_request *req, const char *name, int follow)
{
	struct follower *f = NULL;

	if (follow) {
		f = calloc(1, sizeof(*f));
		if (!f) {
			evhttp_send_error(req, 503, NULL);
			return;
		}
		f->ev = ev;
		f->req = req;
		snprintf(f->name, sizeof(f->name), "%s", name ? name : "");
		TAILQ_INSERT_TAIL(&ev->followers, f, link);
		evhttp_connection_set_closecb(evhttp_request_get_connection(req),
					      on_follower_closed, f);
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
			  "application/x-ndjson");
	evhttp_send_reply_start(req, 200, "OK");
	for (size_t i = 0; i < EVENTS_KEPT; i++) {
		const struct kept *k = &ev->kept[(ev->next + i) % EVENTS_KEPT];

		if (k->line && wanted(name ? name : "", k->name))
			send_line(req, k->line);
	}
	if (!follow)
		evhttp_send_reply_end(req);
}
