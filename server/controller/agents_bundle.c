// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/controller/agents_private.h"

#define TYPE "application/octet-stream"

/*
 *	looked up --> (a place among the streams) --> read a piece --> send it --.
 *	                                                   ^                     |
 *	                                                   '---------------------'
 *
 * Until the first piece is there the request is held; from then on the connection is watched by
 * serve.c, and while a piece is read the call is pending.
 */

static void read_piece(struct call *call);

static void start(struct call *call)
{
	call->a->streams++;
	call->holds_stream = true;
	read_piece(call);
}

void agents_bundle_end(struct call *call)
{
	struct agents *a = call->a;
	struct call *next;

	call->holds_stream = false;
	a->streams--;
	while (a->streams < AGENTS_STREAMS_MAX && (next = STAILQ_FIRST(&a->streams_waiting))) {
		STAILQ_REMOVE_HEAD(&a->streams_waiting, link);
		next->pending = false;
		if (next->parked && a->c->fleet)
			start(next);
		else
			agents_end(next);
	}
}

static void on_gone(void *cookie)
{
	struct call *call = cookie;

	call->req = NULL;
	call->streaming = false;
	agents_end(call);
}

static void add_range(struct call *call)
{
	char text[96];

	evhttp_add_header(evhttp_request_get_output_headers(call->req), "Accept-Ranges",
			  "bytes");
	if (!call->ranged)
		return;
	snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, call->offset,
		 call->size - 1, call->size);
	evhttp_add_header(evhttp_request_get_output_headers(call->req), "Content-Range", text);
}

static void on_piece_sent(void *cookie)
{
	struct call *call = cookie;
	struct fail fail;

	if (call->offset == call->size) {
		serve_finish(take_ptr(call->req));
		call->streaming = false;
		call->a->stats.bundles++;
		agents_end(call);
	} else if (!call->a->c->fleet || serve_permitted(call->req, &fail) < 0) {
		serve_abort(call->req);
	} else {
		read_piece(call);
	}
}

static void send_piece(struct call *call)
{
	call->offset += call->piece_len;
	serve_piece(call->req, call->piece, call->piece_len, on_piece_sent, call);
}

/* The first piece is there, and the request is ours again. */
static void then_begin(struct call *call)
{
	int status = call->ranged ? 206 : 200;

	add_range(call);
	if (call->offset + call->piece_len == call->size) { /* and the last */
		call->a->stats.bundles++;
		serve_answer_bytes(take_ptr(call->req), status, TYPE, call->piece,
				   call->piece_len);
		agents_end(call);
		return;
	}
	call->streaming = true;
	serve_begin(call->req, status, TYPE, call->size - call->offset, on_gone, call);
	send_piece(call);
}

static void then_no_range(struct call *call)
{
	char text[32];

	snprintf(text, sizeof(text), "bytes */%" PRIu64, call->size);
	evhttp_add_header(evhttp_request_get_output_headers(call->req), "Content-Range", text);
	serve_answer(take_ptr(call->req), 416, fail_to_json(&call->fail));
	agents_end(call);
}

static int take_piece(struct call *call, struct fleet_answer *a)
{
	const void *bytes;
	size_t len;

	call->piece_len = 0;
	if (!call->piece)
		call->piece = malloc(AGENTS_PIECE_BYTES);
	if (!call->piece)
		return -ENOMEM;
	while (fleet_next_bytes(a, &bytes, &len)) {
		memcpy(call->piece + call->piece_len, bytes, len);
		call->piece_len += len;
	}
	return 0;
}

static void on_read(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct call *call = cookie;
	int r = answer->r;

	if (r == 0 && (call->parked || call->streaming))
		r = take_piece(call, answer);
	if (call->streaming) {
		call->pending = false;
		if (r < 0 || !call->piece_len)
			serve_abort(call->req); /* what it got is less than it was told */
		else
			send_piece(call);
		return;
	}
	call->size = fleet_bundle_bytes(answer);
	if (r == -ENOENT) {
		fail_set(&call->fail, FAIL_NOT_FOUND, "this bundle is not in stock");
		agents_ready(call, agents_then_fail);
	} else if (r < 0) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "%s",
			 answer->r < 0 ? "the database does not answer" : "out of memory");
		agents_ready(call, agents_then_fail);
	} else if (call->offset >= call->size) {
		fail_set(&call->fail, FAIL_USAGE, "the bundle has %" PRIu64 " bytes",
			 call->size);
		agents_ready(call, then_no_range);
	} else {
		agents_ready(call, then_begin);
	}
}

static void read_piece(struct call *call)
{
	call->pending = true;
	if (fleet_read_bundle(call->a->c->fleet, call->digest, call->offset, AGENTS_PIECE_BYTES,
			      on_read, call) == 0)
		return;
	call->pending = false;
	if (call->streaming) {
		serve_abort(call->req);
		return;
	}
	fail_set(&call->fail, FAIL_UNREACHABLE, "out of memory");
	agents_ready(call, agents_then_fail);
}

void agents_bundle(struct call *call)
{
	struct agents *a = call->a;

	if (a->streams < AGENTS_STREAMS_MAX) {
		start(call);
		return;
	}
	STAILQ_INSERT_TAIL(&a->streams_waiting, call, link);
}
