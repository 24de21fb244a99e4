// SPDX-License-Identifier: BSD-2-Clause
/*
 * Requests over HTTPS: libcurl's multi interface on the loop of libevent. Libcurl is never asked for a
 * name: a thread would do that, or the loop would wait. evdns finds the address, and a connection
 * goes to that; whom it must reach is still the name, says TLS.
 */
#include "server/agent_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include <event2/dns.h>
#include <event2/util.h>

#include "lib/clock.h"
#include "lib/version.h"
#include "server/agent_lib.h"

#define CONNECT_MS	  20000L /* a controller that has just started takes them one by one */
#define HEADERS_BYTES_MAX 16384
#define NAME_BYTES	  254
#define NAMES_MAX	  16
#define NAME_GOOD_MS	  60000
#define RETRY_AFTER_S_MAX 3600

/* A name that was looked up. */
struct name {
	TAILQ_ENTRY(name) link;
	char name[NAME_BYTES];
	char address[INET6_ADDRSTRLEN];
	uint64_t looked_ms;
	bool failed; /* to connect, since */
};

struct agent_net {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
	struct evdns_base *dns; /* while something is looked up */
	struct event *dns_over;
	unsigned int lookups;
	TAILQ_HEAD(, name) names;
	unsigned int n_names;
	TAILQ_HEAD(, agent_call) calls;
};

struct agent_call {
	TAILQ_ENTRY(agent_call) link;
	struct agent_net *net;
	CURL *easy;
	bool added; /* to the multi */
	agent_done_fn done, progress;
	void *cookie;
	size_t progress_bytes, told;
	char host[NAME_BYTES];
	char port[8];
	struct curl_slist *headers, *connect_to;
	struct evdns_getaddrinfo_request *lookup;
	struct event *soon; /* what failed before it began is told from the loop */
	uint64_t started_ms, deadline_ms;
	size_t headers_len, bytes_max, room;
	uint8_t *buf;
	struct agent_answer answer;
	bool too_large, range_bad;
	char error[CURL_ERROR_SIZE];
};

static uint64_t mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

/* ---- what libcurl asks of a loop --------------------------------------------------------- */

static void finish(struct agent_net *net);

static void on_socket(evutil_socket_t fd, short what, void *cookie)
{
	struct agent_net *net = cookie;
	int running;

	curl_multi_socket_action(net->multi, fd,
				 (what & EV_READ ? CURL_CSELECT_IN : 0) |
					 (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
				 &running);
	finish(net);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct agent_net *net = cookie;
	int running;

	(void)fd, (void)what;
	curl_multi_socket_action(net->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish(net);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *cookie, void *at)
{
	struct agent_net *net = cookie;
	struct event *ev = at;
	short flags = EV_PERSIST;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (ev)
			event_free(ev);
		curl_multi_assign(net->multi, fd, NULL);
		return 0;
	}
	flags |= what & CURL_POLL_IN ? EV_READ : 0;
	flags |= what & CURL_POLL_OUT ? EV_WRITE : 0;
	if (ev) {
		event_del(ev);
		if (event_assign(ev, net->base, fd, flags, on_socket, net) < 0)
			return -1;
	} else {
		ev = event_new(net->base, fd, flags, on_socket, net);
		if (!ev)
			return -1;
		curl_multi_assign(net->multi, fd, ev);
	}
	return event_add(ev, NULL);
}

static int want_timer(CURLM *multi, long ms, void *cookie)
{
	struct agent_net *net = cookie;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)multi;
	if (ms < 0)
		event_del(net->timer);
	else
		event_add(net->timer, &tv);
	return 0;
}

/* ---- one request -------------------------------------------------------------------------- */

static struct agent_call *call_free(struct agent_call *c)
{
	TAILQ_REMOVE(&c->net->calls, c, link);
	if (c->added)
		curl_multi_remove_handle(c->net->multi, c->easy);
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->headers);
	curl_slist_free_all(c->connect_to);
	if (c->lookup)
		evdns_getaddrinfo_cancel(c->lookup);
	if (c->soon)
		event_free(c->soon);
	free(c->buf);
	free(c);
	return NULL;
}

void agent_call_cancel(struct agent_call *c)
{
	if (!c)
		return;
	if (c->lookup) { /* its callback frees it: evdns promises to call */
		c->done = NULL;
		evdns_getaddrinfo_cancel(c->lookup);
		return;
	}
	call_free(c);
}

static void tell(struct agent_call *c)
{
	struct agent_answer answer = c->answer;
	AUTO_FREE uint8_t *buf = take_ptr(c->buf);
	agent_done_fn done = c->done;
	void *cookie = c->cookie;

	answer.body = buf ? buf : (const uint8_t *)"";
	call_free(c);
	if (done)
		done(&answer, cookie);
}

static struct name *find_name(struct agent_net *net, const char *name)
{
	struct name *n;

	TAILQ_FOREACH(n, &net->names, link)
		if (strcasecmp(n->name, name) == 0)
			return n;
	return NULL;
}

static void read_end(struct agent_call *c, CURLcode code)
{
	struct agent_answer *a = &c->answer;
	long status = 0;
	curl_off_t after = 0;
	struct name *n;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
	if (after > RETRY_AFTER_S_MAX)
		after = RETRY_AFTER_S_MAX;
	a->retry_after_ms = after > 0 ? (uint64_t)after * 1000 : 0;
	a->status = a->begun = (int)status;
	if (status == 206 && !a->has_range)
		c->range_bad = true;
	if (code == CURLE_OK && !c->range_bad)
		return;
	a->status = 0;
	if (c->too_large || code == CURLE_FILESIZE_EXCEEDED)
		fail_set(&a->fail, FAIL_BAD_FORMAT,
			 "the answer is longer than it may be (%zu bytes)", c->bytes_max);
	else if (c->range_bad)
		fail_set(&a->fail, FAIL_BAD_FORMAT,
			 "the answer is another part than was asked for");
	else if (c->headers_len > HEADERS_BYTES_MAX)
		fail_set(&a->fail, FAIL_BAD_FORMAT, "the answer has endless headers");
	else if (code == CURLE_OPERATION_TIMEDOUT)
		fail_set(&a->fail, FAIL_TIMEOUT, "%s did not answer within its time", c->host);
	else
		fail_set(&a->fail, FAIL_UNREACHABLE, "%s: %s", c->host,
			 c->error[0] ? c->error : curl_easy_strerror(code));
	n = find_name(c->net, c->host);
	if (n && (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT))
		n->failed = true;
}

/* Whatever done() does, the queue of messages is asked anew. */
static void finish(struct agent_net *net)
{
	struct agent_call *c;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(net->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		read_end(c, m->data.result);
		tell(c);
	}
}

static void tell_progress(struct agent_call *c)
{
	struct agent_answer so_far = c->answer;
	long status = 0;

	if (!c->progress || c->answer.len - c->told < c->progress_bytes)
		return;
	c->told = c->answer.len;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	so_far.begun = (int)status;
	so_far.body = c->buf;
	c->progress(&so_far, c->cookie);
}

static size_t on_data(char *data, size_t size, size_t n, void *cookie)
{
	struct agent_call *c = cookie;
	size_t len = size * n;

	if (len > c->bytes_max - c->answer.len) {
		c->too_large = true;
		return 0;
	}
	if (c->answer.len + len + 1 > c->room) {
		size_t room = c->room ? 2 * c->room : 4096;
		uint8_t *grown;

		while (room < c->answer.len + len + 1)
			room *= 2;
		grown = realloc(c->buf, room);
		if (!grown)
			return 0;
		c->buf = grown;
		c->room = room;
	}
	memcpy(c->buf + c->answer.len, data, len);
	c->answer.len += len;
	c->buf[c->answer.len] = 0;
	tell_progress(c);
	return len;
}

static size_t on_header(char *data, size_t size, size_t n, void *cookie)
{
	static const char range[] = "Content-Range: bytes ";
	struct agent_call *c = cookie;
	size_t len = size * n;
	char text[64], *end;

	c->headers_len += len;
	if (c->headers_len > HEADERS_BYTES_MAX)
		return 0;
	if (len > sizeof(range) - 1 && len - (sizeof(range) - 1) < sizeof(text) &&
	    strncasecmp(data, range, sizeof(range) - 1) == 0) {
		snprintf(text, sizeof(text), "%.*s", (int)(len - (sizeof(range) - 1)),
			 data + sizeof(range) - 1);
		errno = 0;
		c->answer.range_at = strtoull(text, &end, 10);
		c->answer.has_range = isdigit((unsigned char)text[0]) && *end == '-' && !errno;
	}
	return len;
}

static void on_soon(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	tell(cookie);
}

/* The answer is a failure; said from the loop. */
static int fail_soon(struct agent_call *c)
{
	c->soon = evtimer_new(c->net->base, on_soon, c);
	return c->soon && event_add(c->soon, &(struct timeval){0}) == 0 ? 0 : -ENOMEM;
}

static int go(struct agent_call *c, const char *address_or_null)
{
	uint64_t spent = mono_ms() - c->started_ms;
	char to[NAME_BYTES + INET6_ADDRSTRLEN + 32];

	if (address_or_null) {
		bool v6 = strchr(address_or_null, ':');

		snprintf(to, sizeof(to), "%s:%s:%s%s%s:%s", c->host, c->port, v6 ? "[" : "",
			 address_or_null, v6 ? "]" : "", c->port);
		c->connect_to = curl_slist_append(NULL, to);
		if (!c->connect_to)
			return -ENOMEM;
		curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to);
	}
	curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS,
			 (long)(spent < c->deadline_ms ? c->deadline_ms - spent : 1));
	if (curl_multi_add_handle(c->net->multi, c->easy) != CURLM_OK)
		return -ENOMEM;
	c->added = true;
	return 0;
}

/* ---- names -------------------------------------------------------------------------------- */

static bool is_numeric(const char *host)
{
	struct in6_addr a;

	return host[0] == '[' || inet_pton(AF_INET, host, &a) == 1;
}

static void keep_name(struct agent_net *net, const char *host, const struct evutil_addrinfo *ai)
{
	struct name *n = find_name(net, host);
	const struct evutil_addrinfo *at = ai;
	char first[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN];
	bool stays = false, next = false, chosen = false;

	if (!n) {
		if (net->n_names == NAMES_MAX) {
			n = TAILQ_FIRST(&net->names);
			TAILQ_REMOVE(&net->names, n, link);
			net->n_names--;
			free(n);
		}
		n = calloc(1, sizeof(*n));
		if (!n)
			return;
		snprintf(n->name, sizeof(n->name), "%s", host);
		TAILQ_INSERT_TAIL(&net->names, n, link);
		net->n_names++;
	}
	/* The address that was good stays; after one that was not, the next in the list. */
	for (; at && !chosen; at = at->ai_next) {
		const void *raw =
			at->ai_family == AF_INET
				? (const void *)&(
					  (const struct sockaddr_in *)(const void *)at->ai_addr)
					  ->sin_addr
				: (const void *)&((const struct sockaddr_in6 *)(const void *)
							  at->ai_addr)
					  ->sin6_addr;

		if (!inet_ntop(at->ai_family, raw, text, sizeof(text)))
			continue;
		if (!first[0])
			snprintf(first, sizeof(first), "%s", text);
		if (next) {
			snprintf(n->address, sizeof(n->address), "%s", text);
			chosen = true;
		} else if (strcmp(text, n->address) == 0) {
			stays = !n->failed;
			next = n->failed;
			chosen = stays;
		}
	}
	if (!chosen)
		snprintf(n->address, sizeof(n->address), "%s", first);
	n->failed = false;
	n->looked_ms = mono_ms();
}

/* The next lookup reads again what the host's name servers are. */
static void on_dns_over(evutil_socket_t fd, short what, void *cookie)
{
	struct agent_net *net = cookie;

	(void)fd, (void)what;
	if (net->lookups)
		return;
	evdns_base_free(net->dns, 0);
	net->dns = NULL;
}

static void on_address(int result, struct evutil_addrinfo *ai, void *cookie)
{
	struct agent_call *c = cookie;
	struct agent_net *net = c->net;
	const struct name *n;

	c->lookup = NULL;
	if (!net) { /* freed meanwhile, with all but this */
		if (ai)
			evutil_freeaddrinfo(ai);
		free(c);
		return;
	}
	if (ai) {
		keep_name(net, c->host, ai);
		evutil_freeaddrinfo(ai);
	}
	if (!--net->lookups) /* not from within evdns */
		event_add(net->dns_over, &(struct timeval){0});
	if (!c->done) {
		call_free(c);
		return;
	}
	n = find_name(net, c->host);
	if (n && n->address[0] && go(c, n->address) == 0)
		return;
	fail_set(&c->answer.fail, FAIL_UNREACHABLE, "%s: the name has no address: %s", c->host,
		 evutil_gai_strerror(result));
	fail_soon(c);
}

static int look_up(struct agent_call *c)
{
	const struct evutil_addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
	struct agent_net *net = c->net;
	const struct name *n = find_name(net, c->host);
	struct evdns_getaddrinfo_request *lookup;

	if (n && n->address[0] && !n->failed && mono_ms() - n->looked_ms < NAME_GOOD_MS)
		return go(c, n->address);
	if (!net->dns) {
		net->dns = evdns_base_new(net->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
							     EVDNS_BASE_DISABLE_WHEN_INACTIVE);
		if (!net->dns) {
			fail_set(&c->answer.fail, FAIL_UNREACHABLE,
				 "%s: /etc/resolv.conf names no server to ask for it", c->host);
			return fail_soon(c);
		}
	}
	net->lookups++;
	lookup = evdns_getaddrinfo(net->dns, c->host, c->port, &hints, on_address, c);
	if (lookup) /* NULL: on_address() was called already */
		c->lookup = lookup;
	return 0;
}

/* ---- begin and end ------------------------------------------------------------------------ */

int agent_url_parse(const char *text, char ret_url[AGENT_URL_BYTES], struct fail *reterr_fail)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
	size_t len;

	if (strncmp(text, "https://", 8) != 0 || !text[8])
		return fail_set(reterr_fail, FAIL_USAGE, "\"%.100s\" is no https://host:port",
				text);
	len = strlen(text);
	if (text[len - 1] == '/')
		len--;
	if (len < 9 || len >= AGENT_URL_BYTES || len - 8 >= NAME_BYTES ||
	    strspn(text + 8, good) < len - 8)
		return fail_set(reterr_fail, FAIL_USAGE, "\"%.100s\" is no https://host:port",
				text);
	memcpy(ret_url, text, len);
	ret_url[len] = 0;
	return 0;
}

/* Of a URL that agent_url_parse() made. */
static void take_host(struct agent_call *c, const char *url)
{
	const char *host = url + 8, *port = strrchr(host, ':');

	if (port && strchr(port, ']'))
		port = NULL;
	snprintf(c->host, sizeof(c->host), "%.*s",
		 port ? (int)(port - host) : (int)strlen(host), host);
	snprintf(c->port, sizeof(c->port), "%.5s", port ? port + 1 : "443");
}

static CURLcode set_blob(CURL *easy, CURLoption option, const char *pem)
{
	struct curl_blob blob = {
		.data = (void *)(uintptr_t)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

	return curl_easy_setopt(easy, option, &blob);
}

static int set_up(struct agent_call *c, const struct agent_request *rq)
{
	CURL *e = c->easy;
	char url[AGENT_URL_BYTES + 512], from[32];
	bool ok = true;

	snprintf(url, sizeof(url), "%s%s", rq->url, rq->path);
	/* "Expect: 100-continue" would only cost a round trip. */
	c->headers = curl_slist_append(NULL, "Expect:");
	if (c->headers && rq->body)
		ok = curl_slist_append(c->headers, "Content-Type: application/json");
	ok = ok && c->headers && curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "hotfixd/" HOTFIX_VERSION);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_NOPROGRESS, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_SSLVERSION,
			 (long)(CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3));
	curl_easy_setopt(e, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(e, CURLOPT_SSL_ENABLE_ALPN, 0L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 30L);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 4096L);
	curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)rq->bytes_max);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, rq->ca ? 1L : 0L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, rq->ca ? 2L : 0L);
	/* None of the system's authorities. */
	curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, rq->once ? 1L : 0L);
	if (rq->ca)
		ok = ok && set_blob(e, CURLOPT_CAINFO_BLOB, rq->ca) == CURLE_OK;
	if (rq->certificate)
		ok = ok && set_blob(e, CURLOPT_SSLCERT_BLOB, rq->certificate) == CURLE_OK &&
		     set_blob(e, CURLOPT_SSLKEY_BLOB, rq->key) == CURLE_OK;
	if (rq->body) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(rq->body));
		ok = ok && curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, rq->body) == CURLE_OK;
	}
	if (rq->range_at) {
		snprintf(from, sizeof(from), "%llu-", (unsigned long long)*rq->range_at);
		ok = ok && curl_easy_setopt(e, CURLOPT_RANGE, from) == CURLE_OK;
	}
	return ok ? 0 : -ENOMEM;
}

int agent_call_start(struct agent_net *net, const struct agent_request *rq, agent_done_fn done,
		     void *cookie, struct agent_call **ret_call)
{
	struct agent_call *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->net = net;
	c->done = done;
	c->cookie = cookie;
	c->bytes_max = rq->bytes_max;
	c->progress = rq->progress;
	c->progress_bytes = rq->progress_bytes;
	c->deadline_ms = rq->deadline_ms;
	c->started_ms = mono_ms();
	TAILQ_INSERT_TAIL(&net->calls, c, link);
	c->easy = curl_easy_init();
	r = c->easy ? set_up(c, rq) : -ENOMEM;
	if (r == 0) {
		take_host(c, rq->url);
		*ret_call = c; /* before a lookup may end */
		r = is_numeric(c->host) ? go(c, NULL) : look_up(c);
	}
	if (r < 0) {
		*ret_call = NULL;
		call_free(c);
	}
	return r;
}

struct event_base *agent_net_base(struct agent_net *net)
{
	return net->base;
}

int agent_net_new(struct event_base *base, size_t connections, struct agent_net **ret_net,
		  struct fail *reterr_fail)
{
	AUTO(agent_net_freep) struct agent_net *net = calloc(1, sizeof(*net));

	int r;

	if (!net)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = agent_lib_open(reterr_fail);
	if (r < 0) {
		free(take_ptr(net));
		return r;
	}
	net->base = base;
	TAILQ_INIT(&net->names);
	TAILQ_INIT(&net->calls);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	net->multi = curl_multi_init();
	net->timer = evtimer_new(base, on_timer, net);
	net->dns_over = evtimer_new(base, on_dns_over, net);
	if (!net->multi || !net->timer || !net->dns_over)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	curl_multi_setopt(net->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(net->multi, CURLMOPT_SOCKETDATA, net);
	curl_multi_setopt(net->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(net->multi, CURLMOPT_TIMERDATA, net);
	curl_multi_setopt(net->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(net->multi, CURLMOPT_MAXCONNECTS, (long)connections);
	*ret_net = take_ptr(net);
	return 0;
}

struct agent_net *agent_net_free(struct agent_net *net)
{
	struct agent_call *c, *next;
	struct name *n;

	if (!net)
		return NULL;
	for (c = TAILQ_FIRST(&net->calls); c; c = next) {
		next = TAILQ_NEXT(c, link);
		c->done = NULL;
		if (!c->lookup) {
			call_free(c);
			continue;
		}
		curl_easy_cleanup(c->easy);
		curl_slist_free_all(c->headers);
		c->net = NULL;
	}
	if (net->dns)
		evdns_base_free(net->dns, 1); /* and its lookups are told */
	if (net->multi)
		curl_multi_cleanup(net->multi);
	if (net->timer)
		event_free(net->timer);
	if (net->dns_over)
		event_free(net->dns_over);
	while ((n = TAILQ_FIRST(&net->names))) {
		TAILQ_REMOVE(&net->names, n, link);
		free(n);
	}
	curl_global_cleanup();
	free(net);
	return NULL;
}
