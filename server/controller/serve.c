// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#include <openssl/ssl.h>

#include "lib/clock.h"
#include "lib/json.h"

#define ONE_RECORD_MAX 8192
#define BACKLOG	       1024 /* at a fifth of 500 a second nobody waits longer than clients do */
#define PACE_MS	       100  /* accepts_per_s is kept in steps of this */
#define RETRY_MIN_S    5    /* Retry-After: between the two */
#define RETRY_MAX_S    30

struct serve {
	LIST_ENTRY(serve) link;
	struct event_base *base;
	struct evhttp *http; /* NULL: being freed */
	struct evconnlistener *listener;
	struct event *resume;
	struct tls *tls;
	struct serve_opts opts;
	struct serve_stats stats;
	void *tallies; /* tsearch(3) */
	uint64_t pace_from_ms;
	unsigned int paced;	 /* accepted since then */
	unsigned int handshakes; /* under way */
	bool full;
};

/* How many connections one address, or one certificate's name, has. */
struct tally {
	unsigned int n;
	char key[1 + CA_NAME_BYTES]; /* '@' before a name */
};

enum state { CONN_NEW, CONN_HANDSHAKE, CONN_READING, CONN_ANSWERING, CONN_SENDING, CONN_IDLE };

struct conn {
	struct serve *serve;
	struct bufferevent *bev;
	struct event timer;
	enum state state;
	bool known;	  /* peer is who it is */
	bool dropped;	  /* shut down, and not yet gone */
	bool handshaking; /* counted among them */
	struct tally *tally;
	struct ca_peer peer;
	struct evhttp_request *long_answer; /* NULL: none is under way */
	void (*on_piece)(void *cookie), (*on_gone)(void *cookie);
	void *on_piece_cookie, *on_gone_cookie;
	char address[INET6_ADDRSTRLEN];
};

static const char *const late[] = {
	[CONN_HANDSHAKE] = "the TLS handshake took too long",
	[CONN_READING] = "the request took too long",
	[CONN_SENDING] = "the answer was not read in time",
	[CONN_IDLE] = NULL, /* that is no refusal */
};

/* ---- counting ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct tally *)a)->key, ((const struct tally *)b)->key);
}

static void leave(struct conn *c)
{
	struct tally *t = take_ptr(c->tally);

	if (!t || --t->n)
		return;
	tdelete(t, &c->serve->tallies, compare);
	free(t);
}

/* From the tally it is in to that of key. */
static int join(struct conn *c, const char *prefix, const char *key, unsigned int max)
{
	struct tally *t = calloc(1, sizeof(*t)), **found = NULL;

	leave(c);
	if (t) {
		snprintf(t->key, sizeof(t->key), "%s%s", prefix, key);
		found = tsearch(t, &c->serve->tallies, compare);
	}
	if (!found || *found != t)
		free(t);
	if (!found)
		return -ENOMEM;
	c->tally = *found;
	return ++c->tally->n > max ? -EMFILE : 0;
}

/* ---- connections ---------------------------------------------------------------------------- */

static struct conn *conn_of(struct evhttp_request *req)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(req);
	SSL *ssl = conn ? bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(conn))
			: NULL;

	return ssl ? tls_owner(ssl) : NULL;
}

static void tell(struct conn *c, const struct fail *why)
{
	struct serve *s = c->serve;

	s->stats.refused++;
	if (s->opts.refused && s->http)
		s->opts.refused(c->address, why, s->opts.cookie);
}

/* The socket ends; what evhttp makes of that frees the connection. */
static void drop(struct conn *c, const char *why_or_null)
{
	struct fail why;

	if (c->dropped)
		return;
	c->dropped = true;
	event_del(&c->timer);
	shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
	if (!why_or_null)
		return;
	fail_set(&why, FAIL_PERMISSION, "%s", why_or_null);
	tell(c, &why);
}

/* The only writer of the state. ms 0: for as long as it takes. */
static void enter(struct conn *c, enum state next, uint64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
			     .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	c->state = next;
	if (c->handshaking != (next == CONN_HANDSHAKE)) {
		c->handshaking = !c->handshaking;
		c->serve->handshakes += c->handshaking ? 1 : -1U;
	}
	if (ms && !c->dropped)
		event_add(&c->timer, &tv);
	else
		event_del(&c->timer);
}

static void pace(struct serve *s);

/* It gave up while it waited in the kernel's queue: that is no arrival, and needs no handshake. */
static bool has_given_up(const struct conn *c)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state != TCP_ESTABLISHED;
}

/* Now its address is known, which it was not in on_accept(). */
static void begin(struct conn *c)
{
	struct sockaddr_storage ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	socklen_t len = sizeof(ss);
	char key[INET6_ADDRSTRLEN];

	if (getpeername(bufferevent_getfd(c->bev), (struct sockaddr *)&ss, &len) < 0 ||
	    has_given_up(c)) {
		c->serve->paced -= c->serve->paced > 0;
		drop(c, NULL);
		pace(c->serve);
		return;
	}
	if (ss.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, c->address, sizeof(c->address));
	} else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], c->address, sizeof(c->address));
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, c->address, sizeof(c->address));
		memset(&in6->sin6_addr.s6_addr[8], 0, 8); /* whoever has one has a /64 */
	}
	snprintf(key, sizeof(key), "%s", c->address);
	if (strchr(key, ':'))
		inet_ntop(AF_INET6, &in6->sin6_addr, key, sizeof(key));
	enter(c, CONN_HANDSHAKE, c->serve->opts.limits.handshake_ms);
	if (join(c, "", key, c->serve->opts.limits.strangers_max) < 0)
		drop(c, "this address has too many connections without a certificate");
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct conn *c = cookie;

	(void)fd, (void)what;
	if (c->state == CONN_NEW)
		begin(c);
	else
		drop(c, late[c->state]);
}

static int on_permit(void *owner, const struct ca_peer *peer, struct fail *reterr_fail)
{
	struct conn *c = owner;
	struct serve *s = c->serve;

	return s->opts.permit ? s->opts.permit(peer, reterr_fail, s->opts.cookie) : 0;
}

/* Before its first request nothing but the callbacks' cookie leads there. */
static struct evhttp_connection *evhttp_of(const struct conn *c)
{
	void *cookie;

	bufferevent_getcb(c->bev, NULL, NULL, NULL, &cookie);
	return cookie;
}

static void on_opened(void *owner, const struct ca_peer *peer_or_null)
{
	struct conn *c = owner;
	const struct serve_limits *limits = &c->serve->opts.limits;

	enter(c, CONN_READING, limits->request_ms);
	if (peer_or_null) {
		c->peer = *peer_or_null;
		c->known = true;
		if (limits->stranger_body_max)
			evhttp_connection_set_max_body_size(evhttp_of(c),
							    (ev_ssize_t)limits->body_max);
		if (join(c, "@", c->peer.name, limits->peer_max) < 0)
			drop(c, "this host or user has too many connections");
	}
}

static void on_refused(void *owner, const struct fail *why)
{
	struct conn *c = owner;

	if (!c->dropped)
		tell(c, why);
}

static void serve_end(struct serve *s)
{
	if (s->resume)
		event_free(s->resume);
	tls_free(s->tls);
	free(s);
}

static void on_closed(void *owner)
{
	struct conn *c = owner;
	struct serve *s = c->serve;

	event_del(&c->timer);
	leave(c);
	s->handshakes -= c->handshaking;
	free(c);
	s->stats.open--;
	if (s->http)
		pace(s);
	else if (!s->stats.open)
		serve_end(s);
}

static const struct tls_events tls_events = {
	.permit = on_permit, .opened = on_opened, .refused = on_refused, .closed = on_closed};

/* evhttp bounds what it reads; this bounds what it does not read. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *cookie)
{
	struct conn *c = cookie;
	const struct serve_limits *limits = &c->serve->opts.limits;
	size_t max = limits->headers_max;

	if (!info->n_added)
		return;
	if (c->state == CONN_IDLE)
		enter(c, CONN_READING, limits->request_ms);
	if (c->state == CONN_READING)
		max += limits->body_max;
	if (evbuffer_get_length(input) > max)
		drop(c, "more was sent than was asked for");
}

/* ---- accepting ------------------------------------------------------------------------------ */

/*
 * Where handshakes pile up, those who wait in the kernel's queue do better than those who are let in and
 * time out. Not nothing, though: who never finishes any would keep all others out.
 */
static unsigned int accepts_per_s(const struct serve *s)
{
	const struct serve_limits *limits = &s->opts.limits;

	return s->handshakes > limits->strangers_max / 2 ? limits->accepts_per_s / 5 + 1
							 : limits->accepts_per_s;
}

/* Accept if there is room and it is time: called whenever either may have changed. */
static void pace(struct serve *s)
{
	uint64_t now_ms = clock_mono_ns() / 1000000;
	struct timeval tv = {.tv_usec = PACE_MS * 1000};

	if (now_ms - s->pace_from_ms >= PACE_MS) {
		s->pace_from_ms = now_ms;
		s->paced = 0;
	}
	if (s->stats.open >= s->opts.limits.connections_max) {
		evconnlistener_disable(s->listener); /* until one closes */
	} else if (s->paced * (1000 / PACE_MS) >= accepts_per_s(s) || s->full) {
		evconnlistener_disable(s->listener);
		event_add(s->resume, &tv);
	} else {
		evconnlistener_enable(s->listener);
	}
}

static void on_resume(evutil_socket_t fd, short what, void *cookie)
{
	struct serve *s = cookie;

	(void)fd, (void)what;
	s->full = false;
	pace(s);
}

/* All of them: evhttp has taken the cookie of the listener for itself. */
static LIST_HEAD(, serve) serves = LIST_HEAD_INITIALIZER(serves);

/* No file descriptor is left: without a pause this would be called for ever. */
static void on_accept_error(struct evconnlistener *listener, void *cookie)
{
	struct serve *s;

	(void)cookie;
	LIST_FOREACH(s, &serves, link)
	if (s->listener == listener)
		break;
	if (!s)
		return;
	s->full = true;
	pace(s);
}

/*
 * The bufferevent of a connection that evhttp has accepted. If this fails evhttp goes on
 * without TLS, and on_request() ends it.
 */
static struct bufferevent *on_accept(struct event_base *base, void *cookie)
{
	struct serve *s = cookie;
	struct conn *c = calloc(1, sizeof(*c));
	SSL *ssl = c ? tls_accept(s->tls, &tls_events, c) : NULL;

	if (!ssl) {
		free(c);
		return NULL;
	}
	c->serve = s;
	event_assign(&c->timer, base, -1, 0, on_timer, c);
	s->stats.accepted++;
	s->stats.open++;
	s->paced++;
	pace(s);
	c->bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
						BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev)
		return NULL; /* and ssl is freed, with c */
	if (!evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c)) {
		bufferevent_free(c->bev);
		return NULL;
	}
	event_active(&c->timer, EV_TIMEOUT, 0); /* begin(), before anything is read */
	return c->bev;
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool is_token(const char *s)
{
	return *s && strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(s);
}

static bool is_field(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' && *s != '\t')
			return false;
	return true;
}

/*
 * evhttp is generous: it takes the first of two lengths, skips over a transfer coding that it
 * does not know, and reads "+5" as a length. Somebody else on the way may read such a request
 * otherwise and see two. NULL: there is one way to read it.
 */
static const char *ambiguous(struct evhttp_request *req)
{
	const char *uri = evhttp_request_get_uri(req);
	unsigned int hosts = 0, lengths = 0;
	struct evkeyval *h;

	for (h = evhttp_request_get_input_headers(req)->tqh_first; h; h = h->next.tqe_next) {
		if (!is_token(h->key) || !is_field(h->value))
			return "a header is malformed";
		if (strcasecmp(h->key, "Transfer-Encoding") == 0)
			return "Transfer-Encoding is not taken: send a Content-Length";
		if (strcasecmp(h->key, "Content-Length") == 0 &&
		    (lengths++ || !*h->value ||
		     strspn(h->value, "0123456789") != strlen(h->value)))
			return "Content-Length must be one number";
		if (strcasecmp(h->key, "Host") == 0 && hosts++)
			return "there are two Hosts";
	}
	if (!uri || uri[0] != '/' || !is_field(uri))
		return "the request's target must be a path";
	return NULL;
}

void serve_acquainted(struct evhttp_request *req)
{
	struct conn *c = conn_of(req);

	evhttp_connection_set_max_body_size(evhttp_request_get_connection(req),
					    (ev_ssize_t)c->serve->opts.limits.body_max);
}

int serve_permitted(struct evhttp_request *req, struct fail *reterr_fail)
{
	struct conn *c = conn_of(req);
	int r;

	if (!c->known)
		return c->serve->opts.tls.client != TLS_CLIENT_REQUIRED
			       ? 0
			       : fail_set(reterr_fail, FAIL_PERMISSION, "no certificate");
	r = tls_check(bufferevent_openssl_get_ssl(c->bev), &c->peer, clock_real_ms() / 1000,
		      reterr_fail);
	return r < 0 ? r : on_permit(c, &c->peer, reterr_fail);
}

static void close_after(struct evhttp_request *req)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);

	evhttp_remove_header(headers, "Connection");
	evhttp_add_header(headers, "Connection", "close");
}

static void on_sent(struct evhttp_request *req, void *cookie)
{
	struct conn *c = conn_of(req);
	const struct serve_limits *limits = &c->serve->opts.limits;

	(void)cookie;
	if (evbuffer_get_length(bufferevent_get_input(c->bev)))
		enter(c, CONN_READING, limits->request_ms);
	else if (limits->spare_ms && c->known && c->tally && c->tally->n > 1)
		enter(c, CONN_IDLE, limits->spare_ms);
	else
		enter(c, CONN_IDLE, limits->idle_ms);
}

static void on_request(struct evhttp_request *req, void *cookie)
{
	struct serve *s = cookie;
	struct conn *c = conn_of(req);
	const char *problem;
	struct fail fail;

	if (!c) { /* without TLS: see on_accept() */
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	s->stats.requests++;
	enter(c, CONN_ANSWERING, 0);
	evhttp_request_set_on_complete_cb(req, on_sent, NULL);
	problem = ambiguous(req);
	if (problem) {
		fail_set(&fail, FAIL_USAGE, "%s", problem);
		close_after(req);
		serve_refuse(req, &fail);
	} else if (serve_permitted(req, &fail) < 0) {
		tell(c, &fail);
		close_after(req);
		serve_refuse(req, &fail);
	} else {
		s->opts.request(req, c->known ? &c->peer : NULL, s->opts.cookie);
	}
}

/* ---- answers -------------------------------------------------------------------------------- */

void serve_answer_bytes(struct evhttp_request *req, int status, const char *type,
			const void *buf, size_t len)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct evbuffer *b = evbuffer_new();
	struct conn *c = conn_of(req);

	if (!b || evbuffer_add(b, buf, len) < 0) {
		if (b)
			evbuffer_free(b);
		evhttp_send_error(req, 500, "out of memory");
		return;
	}
	if (c)
		enter(c, CONN_SENDING,
		      c->serve->opts.limits.send_ms +
			      len * 1000 / c->serve->opts.limits.send_bytes_per_s);
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_send_reply(req, status, NULL, b);
	evbuffer_free(b);
	/* Headers and body would be a TLS record and a system call each. */
	if (c && len <= ONE_RECORD_MAX)
		evbuffer_pullup(bufferevent_get_output(c->bev), -1);
}

void serve_answer(struct evhttp_request *req, int status, json_t *doc_or_null)
{
	static const char otherwise[] = "{\"error\":{\"code\":\"internal\","
					"\"message\":\"out of memory\",\"hint\":\"\"}}";
	AUTO_FREE char *text = doc_or_null ? json_text(doc_or_null) : NULL;
	const char *answer = text ? text : otherwise;

	json_decref(doc_or_null);
	serve_answer_bytes(req, text ? status : 500, "application/json", answer,
			   strlen(answer));
}

void serve_refuse_for(struct evhttp_request *req, const struct fail *fail, unsigned int seconds)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", seconds);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Retry-After", text);
	serve_answer(req, fail_http(fail->code), fail_to_json(fail));
}

void serve_refuse(struct evhttp_request *req, const struct fail *fail)
{
	if (fail_http(fail->code) == 503)
		serve_refuse_for(req, fail,
				 RETRY_MIN_S +
					 arc4random_uniform(RETRY_MAX_S - RETRY_MIN_S + 1));
	else
		serve_answer(req, fail_http(fail->code), fail_to_json(fail));
}

/* ---- long answers --------------------------------------------------------------------------- */

/* As in park.c: a request that has lost its connection is ours to free. */
static void on_long_gone(struct evhttp_connection *conn, void *cookie)
{
	struct conn *c = cookie;
	struct evhttp_request *req = take_ptr(c->long_answer);

	(void)conn;
	c->on_piece = NULL;
	c->on_gone(c->on_gone_cookie);
	if (!evhttp_request_get_connection(req))
		evhttp_request_free(req);
}

void serve_begin(struct evhttp_request *req, int status, const char *type, uint64_t length,
		 void (*on_gone)(void *cookie), void *cookie)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct conn *c = conn_of(req);
	char text[24];

	c->long_answer = req;
	c->on_gone = on_gone;
	c->on_gone_cookie = cookie;
	enter(c, CONN_SENDING, c->serve->opts.limits.send_ms);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)length);
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Content-Length", text); /* and so it is not chunked */
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_long_gone, c);
	evhttp_send_reply_start(req, status, NULL);
}

static void on_piece_sent(struct evhttp_connection *conn, void *cookie)
{
	struct conn *c = cookie;
	void (*on_piece)(void *cookie) = take_ptr(c->on_piece);

	(void)conn;
	if (on_piece)
		on_piece(c->on_piece_cookie);
}

void serve_piece(struct evhttp_request *req, const void *buf, size_t len,
		 void (*then)(void *cookie), void *cookie)
{
	const struct serve_limits *limits;
	struct evbuffer *b = evbuffer_new();
	struct conn *c = conn_of(req);

	if (!b || evbuffer_add(b, buf, len) < 0) {
		if (b)
			evbuffer_free(b);
		drop(c, "out of memory");
		return;
	}
	limits = &c->serve->opts.limits;
	enter(c, CONN_SENDING, limits->send_ms + len * 1000 / limits->send_bytes_per_s);
	c->on_piece = then;
	c->on_piece_cookie = cookie;
	evhttp_send_reply_chunk_with_cb(req, b, on_piece_sent, c);
	evbuffer_free(b);
}

void serve_finish(struct evhttp_request *req)
{
	struct conn *c = conn_of(req);

	c->long_answer = NULL;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	evhttp_send_reply_end(req);
}

void serve_abort(struct evhttp_request *req)
{
	drop(conn_of(req), "an answer could not be completed");
}

const uint8_t *serve_body(struct evhttp_request *req, size_t *ret_len)
{
	struct evbuffer *b = evhttp_request_get_input_buffer(req);

	*ret_len = evbuffer_get_length(b);
	return *ret_len ? evbuffer_pullup(b, -1) : (const uint8_t *)"";
}

/* ---- listening ------------------------------------------------------------------------------ */

/* Accepted sockets inherit all of these. */
static int set_options(int fd, const struct serve_limits *limits)
{
	int one = 1, zero = 0, seconds = (int)limits->keepalive_s, probes = 3,
	    ms = 4000 * (int)limits->keepalive_s;

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)); /* if it is IPv6 */
	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
			       setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) <
				       0 ||
			       setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) <
				       0 ||
			       setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds,
					  sizeof(seconds)) < 0 ||
			       setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds,
					  sizeof(seconds)) < 0 ||
			       setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes,
					  sizeof(probes)) < 0 ||
			       setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) <
				       0
		       ? -errno
		       : 0;
}

static int listen_on(const struct serve_opts *o, int *ret_fd, struct fail *reterr_fail)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM},
			*ai;
	AUTO_CLOSE int fd = -1;
	char port[8];
	int r;

	snprintf(port, sizeof(port), "%u", o->port);
	if (getaddrinfo(o->address, port, &hints, &ai) != 0)
		return fail_set(reterr_fail, FAIL_USAGE, "%s: \"%.80s\" is not an IP address",
				o->name, o->address);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 ? -errno : set_options(fd, &o->limits);
	if (r == 0 && (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0))
		r = -errno;
	freeaddrinfo(ai);
	if (r < 0) {
		fail_set(reterr_fail, r == -EADDRINUSE ? FAIL_CONFLICT : FAIL_INTERNAL,
			 "%s: cannot listen on %s port %u: %s", o->name, o->address, o->port,
			 strerror(-r));
		return -fail_errno(r == -EADDRINUSE ? FAIL_CONFLICT : FAIL_INTERNAL);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int serve_new(struct event_base *base, const struct serve_opts *opts, struct serve **ret_serve,
	      struct fail *reterr_fail)
{
	AUTO(serve_freep) struct serve *s = calloc(1, sizeof(*s));
	AUTO_CLOSE int fd = -1;
	int r;

	if (!s)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	s->base = base;
	s->opts = *opts;
	s->opts.name = s->opts.address = NULL;
	r = tls_new(&opts->tls, &s->tls, reterr_fail);
	if (r == 0)
		r = listen_on(opts, &fd, reterr_fail);
	if (r < 0)
		return r;
	s->resume = evtimer_new(base, on_resume, s);
	s->http = evhttp_new(base);
	if (s->http && s->resume)
		s->listener = evconnlistener_new(
			base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!s->listener)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	take_fd(&fd);
	evhttp_set_max_headers_size(s->http, (ev_ssize_t)opts->limits.headers_max);
	evhttp_set_max_body_size(s->http, (ev_ssize_t)(opts->limits.stranger_body_max
							       ? opts->limits.stranger_body_max
							       : opts->limits.body_max));
	evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
						    EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE);
	evhttp_set_bevcb(s->http, on_accept, s);
	evhttp_set_gencb(s->http, on_request, s);
	if (!evhttp_bind_listener(s->http, s->listener)) {
		evconnlistener_free(take_ptr(s->listener));
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	LIST_INSERT_HEAD(&serves, s, link);
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	*ret_serve = take_ptr(s);
	return 0;
}

uint16_t serve_port(const struct serve *s)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&ss, &len);
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
					      : ((struct sockaddr_in *)&ss)->sin_port);
}

struct serve_stats serve_stats(const struct serve *s)
{
	return s->stats;
}

int serve_reload(struct serve *s, struct fail *reterr_fail)
{
	return tls_reload(s->tls, reterr_fail);
}

struct serve *serve_free(struct serve *s)
{
	struct evhttp *http;

	if (!s)
		return NULL;
	http = take_ptr(s->http);
	if (s->link.le_prev)
		LIST_REMOVE(s, link);
	s->stats.open++; /* holds s while connections go */
	if (http)
		evhttp_free(http); /* with its listener */
	if (!--s->stats.open)
		serve_end(s);
	return NULL;
}
