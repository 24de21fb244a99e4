// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/serve.h -- one listener of the controller: HTTP/1.1 over TLS 1.3, with a
 * bound on all that a peer can take: connections, bytes and time. One for agents (certificates
 * required), one for operators (certificates or tokens), one for enrolment (none yet), one for
 * metrics. Those without a certificate have a port of their own, so that nothing of a stranger is
 * parsed where agents speak.
 *
 *	               handshake_ms           request_ms           (its answer's own time)
 *	accept --> HANDSHAKE ---------> READING ------> ANSWERING ---.
 *	                                   ^                         | serve_answer()
 *	                        first byte |                         v
 *	                                  IDLE <---------------- SENDING
 *	                                 idle_ms              send_ms + size
 *
 * Each time is absolute: it starts with the state and bytes do not prolong it. When it is
 * over the connection ends. A request is answered at once or parked (park.h).
 *
 * Over connections_max or accepts_per_s nothing is accepted, and the kernel's queue holds who
 * comes; the pace is a fifth while half of strangers_max are in their handshake. An address may have strangers_max connections that have shown no certificate, or not
 * yet; who has one, peer_max of them, wherever they come from: thousands of hosts may stand behind
 * one address.
 *
 * Context    loop thread. The program ignores SIGPIPE.
 * Errors     FAIL_CONFLICT the address is taken; those of tls.h.
 * Ownership  a request belongs to evhttp until it is parked. Answers consume their document.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/http.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/controller/tls.h"

struct serve;

struct serve_limits {
	unsigned int connections_max;
	unsigned int strangers_max; /* of one address (IPv6: /64) */
	unsigned int peer_max;	    /* of one certificate's name */
	unsigned int accepts_per_s;
	size_t headers_max, body_max; /* bytes */
	size_t stranger_body_max;     /* of who has shown no certificate; 0: as body_max */
	unsigned int handshake_ms, request_ms, send_ms, idle_ms;
	unsigned int spare_ms;	       /* idle_ms of who has another connection; 0: the same */
	unsigned int send_bytes_per_s; /* a large answer has so much more time than send_ms */
	unsigned int keepalive_s; /* a peer that vanished is noticed after four times this */
};

/* 10,000 agents that long-poll; and a few people, or hosts that are to become agents. */
#define SERVE_LIMITS_AGENTS                               \
	((struct serve_limits){.connections_max = 12000,  \
			       .strangers_max = 512,      \
			       .peer_max = 4,             \
			       .accepts_per_s = 500,      \
			       .headers_max = 8192,       \
			       .body_max = 1 << 18,       \
			       .handshake_ms = 10000,     \
			       .request_ms = 20000,       \
			       .send_ms = 20000,          \
			       .idle_ms = 120000,         \
			       .spare_ms = 3000,          \
			       .send_bytes_per_s = 16384, \
			       .keepalive_s = 15})
#define SERVE_LIMITS_FEW                                  \
	((struct serve_limits){.connections_max = 256,    \
			       .strangers_max = 64,       \
			       .peer_max = 32,            \
			       .accepts_per_s = 100,      \
			       .headers_max = 8192,       \
			       .body_max = 1 << 16,       \
			       .handshake_ms = 10000,     \
			       .request_ms = 20000,       \
			       .send_ms = 20000,          \
			       .idle_ms = 30000,          \
			       .send_bytes_per_s = 16384, \
			       .keepalive_s = 15})

struct serve_opts {
	const char *name;    /* "agents": for messages */
	const char *address; /* numeric; "::" is any, of IPv4 as well */
	uint16_t port;	     /* 0: any, see serve_port() */
	struct tls_opts tls;
	struct serve_limits limits;
	/* A whole, well-formed request of a peer that may come in; NULL: it showed no certificate. */
	void (*request)(struct evhttp_request *req, const struct ca_peer *peer_or_null,
			void *cookie);
	/* Is this certificate revoked? Asked in the handshake, for each request, and when a parked
	 * one is answered. May be NULL. */
	int (*permit)(const struct ca_peer *peer, struct fail *reterr_fail, void *cookie);
	/* A connection was refused or ended before its time. May be NULL. */
	void (*refused)(const char *address, const struct fail *why, void *cookie);
	void *cookie;
};

struct serve_stats {
	unsigned int open; /* connections */
	uint64_t accepted, refused, requests;
};

/* Strings and the tables they stand in are copied or needed during the call only. */
int serve_new(struct event_base *base, const struct serve_opts *opts, struct serve **ret_serve,
	      struct fail *reterr_fail);
uint16_t serve_port(const struct serve *s);
struct serve_stats serve_stats(const struct serve *s);
/* Reads certificates, key and authorities again; see tls_reload(). */
int serve_reload(struct serve *s, struct fail *reterr_fail);
/* Ends all connections. Their memory goes when the loop runs, or is freed. */
struct serve *serve_free(struct serve *s);

/* NULL doc: out of memory. */
void serve_answer(struct evhttp_request *req, int status, json_t *doc_or_null);
void serve_answer_bytes(struct evhttp_request *req, int status, const char *type,
			const void *buf, size_t len);
/* What has to wait (503) is told for how long, a different time for each. */
void serve_refuse(struct evhttp_request *req, const struct fail *fail);
/* The same for a time of the caller's choosing. */
void serve_refuse_for(struct evhttp_request *req, const struct fail *fail,
		      unsigned int seconds);
/*
 * A long answer in pieces: status and whole length, then each piece when then() told that the one
 * before has left, then the end. When the peer is gone on_gone comes instead, once, and the request
 * with it: nothing more may be done with it. serve_abort() ends the connection, after which that
 * happens as well. Headers of the caller's own come before.
 */
void serve_begin(struct evhttp_request *req, int status, const char *type, uint64_t length,
		 void (*on_gone)(void *cookie), void *cookie);
void serve_piece(struct evhttp_request *req, const void *buf, size_t len,
		 void (*then)(void *cookie), void *cookie);
void serve_finish(struct evhttp_request *req);
void serve_abort(struct evhttp_request *req);
/* The whole body, contiguous; borrowed from the request. */
const uint8_t *serve_body(struct evhttp_request *req, size_t *ret_len);
/* Its peer has shown who it is otherwise: this connection is no stranger's any more. */
void serve_acquainted(struct evhttp_request *req);
/* Whether its peer may still come in: for what was parked. */
int serve_permitted(struct evhttp_request *req, struct fail *reterr_fail);

DEFINE_AUTO(struct serve, serve_free)
