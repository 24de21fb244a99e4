// SPDX-License-Identifier: BSD-2-Clause
/*
 * A listener of the controller, with real TLS clients on the loopback: who gets in, what a
 * request may be, how much and how long a peer can take, and requests that wait.
 *
 * Server and clients share one loop; until() turns it.
 */
#include "tests/unit/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#include "server/controller/park.h"
#include "server/controller/serve.h"

static struct serve *serve;
static struct park *park;
static struct ca *ca;
static uint64_t now_s;

static char refusal[FAIL_MESSAGE_BYTES], refused_address[64];
static unsigned int refusals, handled, woken, timed_out, gone, stopped;
static char revoked[CA_NAME_BYTES];

/* ---- the server ------------------------------------------------------------------------------ */

static void on_end(struct evhttp_request *req, enum park_end why, void *cookie)
{
	static const char *const words[] = {"woken", "timed out", "stopped"};

	assert_ptr_equal(cookie, &park);
	woken += why == PARK_WOKEN;
	timed_out += why == PARK_TIMED_OUT;
	stopped += why == PARK_STOPPED;
	gone += why == PARK_GONE;
	assert_true((why == PARK_GONE) == !req);
	if (req)
		serve_answer(req, 200, json_pack("{s:s}", "end", words[why]));
}

/* "/hello", "/park/TOPIC?ms=N", "/big?bytes=N", and else the length of the body */
static void on_request(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
	uint64_t n = query ? strtoull(strchr(query, '=') + 1, NULL, 10) : 0;
	struct fail fail;
	size_t len;

	assert_ptr_equal(cookie, &serve);
	handled++;
	if (strcmp(path, "/hello") == 0) {
		serve_answer(req, 200, json_pack("{s:s?}", "peer", peer ? peer->name : NULL));
	} else if (strncmp(path, "/park/", 6) == 0) {
		if (park_wait(park, req, path + 6, n ? n : PATIENCE_MS, on_end, &park, &fail) <
		    0)
			serve_refuse(req, &fail);
	} else if (strcmp(path, "/big") == 0) {
		AUTO_FREE char *big = calloc(1, n);

		serve_answer_bytes(req, 200, "application/octet-stream", big, n);
	} else {
		serve_body(req, &len);
		serve_answer(req, 200, json_pack("{s:i}", "bytes", (int)len));
	}
}

static int on_permit(const struct ca_peer *peer, struct fail *reterr_fail, void *cookie)
{
	(void)cookie;
	return strcmp(peer->name, revoked) == 0 ? fail_set(reterr_fail, FAIL_PERMISSION,
							   "%.8s... is revoked", peer->name)
						: 0;
}

static void on_refused(const char *address, const struct fail *why, void *cookie)
{
	(void)cookie;
	refusals++;
	snprintf(refusal, sizeof(refusal), "%s", why->message);
	snprintf(refused_address, sizeof(refused_address), "%s", address);
}

static struct serve_limits generous(void)
{
	struct serve_limits limits = SERVE_LIMITS_AGENTS;

	limits.strangers_max = limits.peer_max = limits.accepts_per_s = 1000000;
	limits.handshake_ms = limits.request_ms = limits.send_ms = limits.idle_ms = PATIENCE_MS;
	limits.spare_ms = 0;
	return limits;
}

static void start(struct serve_limits limits, enum tls_client client)
{
	AUTO_FREE char *certificate = strdup(unit_path("listener.crt")),
		       *key = strdup(unit_path("listener.key")),
		       *trust = strdup(unit_path("trust.crt"));
	const struct serve_opts opts = {.name = "test",
					.address = "127.0.0.1",
					.tls = {.certificate = certificate,
						.key = key,
						.trust = trust,
						.client = client,
						.kind = CA_HOST},
					.limits = limits,
					.request = on_request,
					.permit = on_permit,
					.refused = on_refused,
					.cookie = &serve};

	certify_write("trust.crt", ca_pem(ca), "");
	assert_ok(serve_new(base, &opts, &serve, NULL));
	client_port = serve_port(serve);
	client_why = refusal;
	assert_ok(park_new(base, 4000, &park));
}

static int set_up(void **state)
{
	(void)state;
	base = event_base_new();
	refusals = handled = woken = timed_out = gone = stopped = 0;
	refusal[0] = revoked[0] = refused_address[0] = 0;
	return 0;
}

/* Nothing is left of any connection when its peer has gone. */
static int tear_down(void **state)
{
	(void)state;
	assert_false(in_loop); /* that test has crashed in it */
	if (serve) {
		until(serve_stats(serve).open == 0);
		assert_int_equal(park_count(park), 0);
		park = park_free(park);
		serve = serve_free(serve);
	}
	event_base_free(base);
	return 0;
}

/* ---- who gets in ----------------------------------------------------------------------------- */

static void a_host_is_known_by_its_certificate_from_request_to_request(void **state)
{
	AUTO(hang_upp) struct client *c = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	c = join("a");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(c, "/hello"), 200);
		assert_non_null(strstr(c->in, host_a));
	}
	assert_int_equal(serve_stats(serve).accepted, 1);
	assert_int_equal(serve_stats(serve).requests, 3);
	assert_int_equal(refusals, 0);
}

static void where_no_certificate_is_asked_for_none_is_needed(void **state)
{
	AUTO(hang_upp) struct client *c = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_NONE);
	c = join(NULL);
	assert_int_equal(ask(c, "/hello"), 200);
	assert_non_null(strstr(c->in, "null"));
}

static void a_certificate_that_is_optional_must_be_good_all_the_same(void **state)
{
	AUTO(hang_upp) struct client *without = NULL, *with = NULL, *bad = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_OPTIONAL);
	without = join(NULL);
	assert_int_equal(ask(without, "/hello"), 200);
	assert_non_null(strstr(without->in, "null"));
	with = join("a");
	assert_int_equal(ask(with, "/hello"), 200);
	assert_non_null(strstr(with->in, host_a));
	bad = begin("stranger");
	until(bad->closed);
	assert_non_null(strstr(refusal, "unable to get local issuer"));
}

static void who_may_not_come_in_is_refused_before_anything_is_parsed_and_told_why(void **state)
{
	static const struct {
		const char *certificate, *why;
	} cases[] = {
		{NULL, "peer did not return a certificate"},
		{"ended", "certificate has expired"},
		{"future", "certificate is not yet valid"},
		{"stranger", "unable to get local issuer certificate"},
		{"alice", "\"alice\" is not a host id"},
		{"listener", "unsuitable certificate purpose"},
		{"b", "bbbbbbbb... is revoked"},
	};

	(void)state;
	snprintf(revoked, sizeof(revoked), "%s", host_b);
	start(generous(), TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(hang_upp) struct client *c = begin(cases[i].certificate);

		until(c->open || c->closed); /* TLS 1.3: its own side is ready before ours */
		if (c->open)
			get(c, "/hello");
		until(c->closed && refusals == i + 1);
		assert_int_equal(c->len, 0);
		if (!strstr(refusal, cases[i].why))
			fail_msg("%s: %s", cases[i].certificate, refusal);
		assert_string_equal(refused_address, "127.0.0.1");
	}
	assert_int_equal(handled, 0);
	assert_int_equal(serve_stats(serve).requests, 0);
	assert_int_equal(serve_stats(serve).refused, ARRAY_SIZE(cases));
}

static void tls_1_2_and_what_is_no_tls_are_refused(void **state)
{
	AUTO(hang_upp) struct client *old = NULL, *plain = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	old = dial(1);
	begin_tls(old, "a", TLS1_2_VERSION);
	until(old->closed);
	assert_false(old->open);
	until(refusals == 1);
	assert_non_null(strstr(refusal, "unsupported protocol"));
	plain = dial(1);
	assert_int_equal(send(plain->fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	until(plain->closed);
	assert_int_equal(handled, 0);
}

static void what_is_revoked_ends_at_the_next_request_and_when_it_waits(void **state)
{
	AUTO(hang_upp) struct client *c = NULL, *waits = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	c = join("b");
	waits = join("b");
	assert_int_equal(ask(c, "/hello"), 200);
	get(waits, "/park/x");
	until(park_count(park) == 1);
	snprintf(revoked, sizeof(revoked), "%s", host_b);
	assert_int_equal(ask(c, "/hello"), 403);
	assert_non_null(strstr(c->in, "is revoked"));
	until(c->closed);
	assert_int_equal(park_wake(park, "x"), 1);
	until(answered(waits));
	assert_int_equal(status_of(waits), 403);
	assert_int_equal(woken, 0);
	assert_int_equal(gone, 1);
}

static void a_certificate_that_ends_ends_what_waits_under_it(void **state)
{
	AUTO(hang_upp) struct client *c = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	certify_client(ca, "brief", CA_HOST, host_a, clock_real_ms() / 1000, 6);
	c = join("brief");
	assert_int_equal(ask(c, "/hello"), 200);
	assert_int_equal(ask(c, "/park/x?ms=7000"), 403);
	assert_non_null(strstr(c->in, "has ended"));
}

static void authorities_are_rolled_over_without_ending_a_connection(void **state)
{
	AUTO(hang_upp)
	struct client *of_old = NULL, *of_new = NULL, *late_old = NULL, *meanwhile = NULL;
	AUTO(ca_freep) struct ca *next = certify_ca("next", now_s, 365 * DAY_S);
	struct fail fail;

	(void)state;
	certify_client(next, "moved", CA_HOST, host_b, now_s, DAY_S);
	start(generous(), TLS_CLIENT_REQUIRED);
	of_old = join("a");
	assert_int_equal(ask(of_old, "/hello"), 200);
	certify_write("trust.crt", "nothing", "");
	assert_true(serve_reload(serve, &fail) < 0); /* all stays as it was */
	assert_non_null(strstr(fail.message, "trust.crt"));
	assert_int_equal(ask(of_old, "/hello"), 200);
	meanwhile = join("a");
	assert_int_equal(ask(meanwhile, "/hello"), 200);
	certify_write("trust.crt", ca_pem(ca), ca_pem(next));
	assert_ok(serve_reload(serve, NULL));
	of_new = join("moved");
	assert_int_equal(ask(of_new, "/hello"), 200);
	assert_int_equal(ask(of_old, "/hello"), 200);
	certify_write("trust.crt", ca_pem(next), "");
	assert_ok(serve_reload(serve, NULL));
	assert_int_equal(ask(of_new, "/hello"), 200);
	assert_int_equal(ask(of_old, "/hello"), 403);
	late_old = begin("a");
	until(late_old->closed);
	assert_int_equal(serve_stats(serve).accepted, 4);
}

static void libcurl_is_a_client_like_any_other(void **state)
{
	int out[2], status;
	pid_t pid;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	assert_ok(pipe2(out, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		CURL *curl = curl_easy_init();
		FILE *f = fdopen(out[1], "w");
		char url[64];

		snprintf(url, sizeof(url), "https://127.0.0.1:%u/hello", serve_port(serve));
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_CAINFO, unit_path("fleet.crt"));
		curl_easy_setopt(curl, CURLOPT_SSLCERT, unit_path("a.crt"));
		curl_easy_setopt(curl, CURLOPT_SSLKEY, unit_path("a.key"));
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
		status = (int)curl_easy_perform(curl);
		fclose(f);
		curl_easy_cleanup(curl);
		_exit(status);
	}
	close(out[1]);
	until(handled == 1 || waitpid(pid, &status, WNOHANG) == pid);
	until(serve_stats(serve).open == 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(read(out[0], refusal, sizeof(refusal) - 1) > 64);
	assert_non_null(strstr(refusal, host_a));
	close(out[0]);
}

/* ---- what a request may be ---------------------------------------------------------------------- */

static void requests_that_can_be_read_in_two_ways_are_refused_and_end_the_connection(
	void **state)
{
	static const struct {
		const char *text;
		int status; /* of the one answer; 0: none */
	} cases[] = {
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
		 "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"
		 "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\n"
		 "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
		 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\nab", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\nab", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\nab", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\nab", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 2\r\n\r\nab", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nab",
		 413},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n", 413},
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 5\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\r \r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\001\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n folded: first\r\n\r\n", 400},
		{"GET https://elsewhere/hello HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET /a\001b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n",
		 501},
		{"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		{"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		{"GET / HTTP/3.7\r\nHost: x\r\n\r\n", 400},
		{"\026\003\001 no HTTP at all\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: x\r\nExpect: the unexpected\r\nContent-Length: 2\r\n\r\nab",
		 417},
	};

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(hang_upp) struct client *c = join("a");
		const char *second;

		say(c, cases[i].text);
		until(c->closed);
		if (status_of(c) != cases[i].status)
			fail_msg("case %zu: %d, %s", i, status_of(c), c->in);
		second = strstr(c->in + 1, "HTTP/1.1 ");
		if (second)
			fail_msg("case %zu: a second answer: %s", i, second);
	}
	assert_int_equal(handled, 0);
}

static void headers_and_bodies_have_a_size(void **state)
{
	struct serve_limits limits = generous();
	AUTO(hang_upp) struct client *fits = NULL, *many = NULL, *line = NULL, *endless = NULL;
	char text[4096], pad[2048];

	(void)state;
	limits.headers_max = 1024;
	limits.body_max = 2048;
	start(limits, TLS_CLIENT_REQUIRED);
	memset(pad, 'x', sizeof(pad));
	fits = join("a");
	snprintf(
		text, sizeof(text),
		"POST / HTTP/1.1\r\nHost: x\r\nA: %.900s\r\nContent-Length: 2048\r\n\r\n%.2048s",
		pad, pad);
	say(fits, text);
	until(answered(fits));
	assert_non_null(strstr(fits->in, "{\"bytes\":2048}"));
	many = join("a");
	say(many, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 60; i++)
		say(many, "A: 012345678901234567890\r\n");
	until(many->closed);
	assert_int_equal(status_of(many), 400);
	line = join("a");
	snprintf(text, sizeof(text), "GET /%.1500s", pad);
	say(line, text);
	until(line->closed);
	assert_int_equal(status_of(line), 400);
	/* A body in pieces without an end, which evhttp would gather. */
	endless = join("a");
	say(endless, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	snprintf(text, sizeof(text), "200\r\n%.512s\r\n", pad);
	for (int i = 0; i < 20 && !endless->closed; i++) {
		SSL_write(endless->ssl, text, (int)strlen(text));
		turn(EVLOOP_NONBLOCK);
	}
	until(endless->closed);
	assert_int_equal(handled, 1);
}

/* ---- how long it may take ------------------------------------------------------------------------ */

struct drip {
	struct client *client;
	const char *text;
	size_t at;
	struct event *timer;
};

/* One byte in 20 ms. */
static void on_drip(evutil_socket_t fd, short what, void *cookie)
{
	struct drip *d = cookie;
	char byte = d->text[d->at] ? d->text[d->at++] : 'x';

	(void)fd, (void)what;
	if (d->client->closed)
		event_del(d->timer);
	else if (d->client->ssl)
		SSL_write(d->client->ssl, &byte, 1);
	else
		send(d->client->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drip(struct drip *d, struct client *c, const char *text)
{
	static const struct timeval each = {.tv_usec = 20000};

	*d = (struct drip){.client = c, .text = text};
	d->timer = event_new(base, -1, EV_PERSIST, on_drip, d);
	event_add(d->timer, &each);
}

static void whoever_drips_is_ended_at_an_absolute_time_while_others_are_served(void **state)
{
	struct serve_limits limits = generous();
	AUTO(hang_upp)
	struct client *headers = NULL, *body = NULL, *hello = NULL, *mute = NULL, *other = NULL;
	uint64_t from_ms = clock_mono_ns() / 1000000, took_ms;
	struct drip drips[3];
	int served = 0;

	(void)state;
	limits.handshake_ms = limits.request_ms = 2000;
	start(limits, TLS_CLIENT_REQUIRED);
	headers = join("a");
	drip(&drips[0], headers, "GET /hello HTTP/1.1\r\nHost: x\r\nA: ");
	body = join("a");
	say(body, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
	drip(&drips[1], body, "");
	mute = dial(1);
	hello = dial(1);
	drip(&drips[2], hello, "\026\003\001\002");
	other = join("b");
	while (!headers->closed || !body->closed || !mute->closed || !hello->closed) {
		assert_int_equal(ask(other, "/hello"), 200);
		served++;
	}
	took_ms = clock_mono_ns() / 1000000 - from_ms;
	assert_true(took_ms >= 2000 && took_ms < PATIENCE_MS);
	assert_true(served > 3);
	assert_int_equal(refusals, 4);
	assert_int_equal(headers->len + body->len, 0);
	for (int i = 0; i < 3; i++)
		event_free(drips[i].timer);
}

static void who_does_not_read_or_does_not_ask_is_let_go(void **state)
{
	struct serve_limits limits = generous();
	AUTO(hang_upp) struct client *deaf = NULL, *idle = NULL;

	(void)state;
	limits.send_ms = limits.idle_ms = 1000;
	limits.send_bytes_per_s = 1 << 30;
	start(limits, TLS_CLIENT_REQUIRED);
	deaf = join("a");
	get(deaf, "/big?bytes=33554432");
	event_del(deaf->event); /* it never reads */
	until(refusals == 1);
	assert_non_null(strstr(refusal, "not read in time"));
	idle = join("a");
	assert_int_equal(ask(idle, "/hello"), 200);
	until(idle->closed);
	assert_int_equal(refusals, 1); /* that was no offence */
}

static void a_spare_connection_goes_soon_and_the_other_one_stays(void **state)
{
	struct serve_limits limits = generous();
	AUTO(hang_upp) struct client *first = NULL, *spare = NULL, *other = NULL;

	(void)state;
	limits.spare_ms = 500;
	start(limits, TLS_CLIENT_REQUIRED);
	other = join("b");
	assert_int_equal(ask(other, "/hello"), 200);
	first = join("a");
	assert_int_equal(ask(first, "/hello"), 200);
	spare = join("a");
	assert_int_equal(ask(spare, "/hello"), 200);
	until(spare->closed);
	assert_int_equal(ask(first, "/hello"), 200);
	assert_int_equal(ask(other, "/hello"), 200);
	assert_int_equal(refusals, 0);
}

/* ---- how many there may be ------------------------------------------------------------------------ */

static void two_thousand_mute_connections_keep_nobody_out(void **state)
{
	static struct client *mute[2000];
	AUTO(hang_upp) struct client *c = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++) {
		mute[i] = dial(2 + (int)i / 100);
		if (i % 100 == 0)
			until(serve_stats(serve).accepted == i + 1);
	}
	until(serve_stats(serve).open == ARRAY_SIZE(mute));
	c = join("a");
	assert_int_equal(ask(c, "/hello"), 200);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++)
		hang_up(mute[i]);
}

static void an_address_has_its_share_of_strangers_and_a_host_its_share_of_connections(
	void **state)
{
	struct serve_limits limits = generous();
	struct client *many[10];
	AUTO(hang_upp) struct client *c = NULL;
	unsigned int closed = 0;

	(void)state;
	limits.strangers_max = 4;
	limits.peer_max = 2;
	start(limits, TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = dial(9);
	until(refusals == 6);
	assert_string_equal(refused_address, "127.0.0.9");
	c = join("a"); /* from another address */
	assert_int_equal(ask(c, "/hello"), 200);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		hang_up(many[i]);
	until(serve_stats(serve).open == 1);
	/* Hosts are no strangers, however many come from one address. */
	for (size_t i = 0; i < 6; i++) {
		many[i] = join(i % 2 ? "a" : "b");
		ask(many[i], "/hello");
	}
	for (size_t i = 0; i < 6; i++)
		closed += many[i]->closed;
	assert_int_equal(closed, 3); /* of a 2 with c, of b 2 */
	assert_non_null(strstr(refusal, "too many connections"));
	for (size_t i = 0; i < 6; i++)
		hang_up(many[i]);
}

static void when_it_is_full_who_comes_next_waits_and_is_served_when_there_is_room(void **state)
{
	struct serve_limits limits = generous();
	struct client *mute[8];
	AUTO(hang_upp) struct client *c = NULL;

	(void)state;
	limits.connections_max = ARRAY_SIZE(mute);
	limits.handshake_ms = 2000;
	start(limits, TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++)
		mute[i] = dial(2);
	until(serve_stats(serve).open == ARRAY_SIZE(mute));
	c = begin("a");
	assert_int_equal(serve_stats(serve).accepted, ARRAY_SIZE(mute));
	until(c->open);
	assert_true(refusals > 0); /* somebody's time was over */
	assert_int_equal(ask(c, "/hello"), 200);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++)
		hang_up(mute[i]);
}

static void a_storm_of_connections_is_taken_at_a_pace(void **state)
{
	struct serve_limits limits = generous();
	struct client *storm[30];
	uint64_t from_ms = clock_mono_ns() / 1000000;

	(void)state;
	limits.accepts_per_s = 50;
	start(limits, TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(storm); i++)
		storm[i] = begin("a");
	for (size_t i = 0; i < ARRAY_SIZE(storm); i++) {
		until(storm[i]->open);
		assert_int_equal(ask(storm[i], "/hello"), 200);
	}
	assert_true(clock_mono_ns() / 1000000 - from_ms >= 400); /* 5 in each 100 ms */
	assert_int_equal(refusals, 0);
	for (size_t i = 0; i < ARRAY_SIZE(storm); i++)
		hang_up(storm[i]);
}

static void while_handshakes_pile_up_fewer_are_let_in(void **state)
{
	struct serve_limits limits = generous();
	struct client *mute[100];
	uint64_t begun = clock_up_ms();

	(void)state;
	limits.strangers_max = 20;
	limits.accepts_per_s = 200;
	start(limits, TLS_CLIENT_REQUIRED);
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++)
		mute[i] = dial(2 + (int)i / 10);
	until(serve_stats(serve).accepted == ARRAY_SIZE(mute)); /* but not never */
	assert_true(clock_up_ms() - begun > 1000);		/* else 400 ms */
	for (size_t i = 0; i < ARRAY_SIZE(mute); i++)
		hang_up(mute[i]);
}

/* A thousand hosts come back before the first of them is looked at: they wait, and are not told to. */
static void a_thousand_may_come_at_once_before_the_first_is_let_in(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct pollfd came[1000];

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	to.sin_port = htons(client_port);
	for (size_t i = 0; i < ARRAY_SIZE(came); i++) {
		came[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		came[i].events = POLLOUT;
		connect(came[i].fd, (struct sockaddr *)&to, sizeof(to));
	}
	for (size_t i = 0; i < ARRAY_SIZE(came); i++)
		if (poll(&came[i], 1, 5000) != 1 || came[i].revents != POLLOUT)
			fail_msg("only %zu have come", i);
	until(serve_stats(serve).accepted == ARRAY_SIZE(came));
	for (size_t i = 0; i < ARRAY_SIZE(came); i++)
		close(came[i].fd);
}

/* Their places are for those who still wait: else a herd would find only those who have left. */
static void who_gave_up_while_waiting_takes_nobodys_place(void **state)
{
	static const struct linger abruptly = {.l_onoff = 1};
	struct serve_limits limits = generous();
	AUTO(hang_upp) struct client *c = NULL;
	uint64_t from_ms;

	(void)state;
	limits.accepts_per_s = 10;
	start(limits, TLS_CLIENT_REQUIRED);
	for (int i = 0; i < 400; i++) { /* 40 s of it */
		struct client *left = dial(1);

		if (i % 2)
			setsockopt(left->fd, SOL_SOCKET, SO_LINGER, &abruptly,
				   sizeof(abruptly));
		hang_up(left);
	}
	from_ms = clock_up_ms();
	c = join("a");
	assert_int_equal(ask(c, "/hello"), 200);
	assert_true(clock_up_ms() - from_ms < 10000);
	assert_int_equal(refusals, 0);
}

static void without_file_descriptors_it_goes_on_when_there_are_some_again(void **state)
{
	AUTO(hang_upp) struct client *c = NULL, *more = NULL;
	static const struct timeval while_ms = {.tv_usec = 300000};
	struct rlimit was, none;
	unsigned int turns = 0;
	struct event *over;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	c = join("a");
	more = dial(1);
	assert_ok(getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = 3;
	assert_ok(setrlimit(RLIMIT_NOFILE, &none));
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(c, "/hello"), 200);
	over = evtimer_new(base, on_late, NULL);
	event_add(over, &while_ms);
	for (late = false; !late; turns++) /* it does not turn in circles meanwhile */
		turn(EVLOOP_ONCE);
	assert_true(turns < 50);
	event_free(over);
	assert_int_equal(serve_stats(serve).accepted, 1);
	assert_ok(setrlimit(RLIMIT_NOFILE, &was));
	begin_tls(more, "a", 0);
	until(more->open);
	assert_int_equal(ask(more, "/hello"), 200);
}

/* ---- requests that wait ----------------------------------------------------------------------------- */

static void who_waits_is_answered_when_woken_or_when_its_time_is_over(void **state)
{
	AUTO(hang_upp) struct client *a = NULL, *b = NULL, *brief = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	a = join("a");
	b = join("b");
	brief = join("a");
	get(a, "/park/a");
	get(b, "/park/b");
	until(park_count(park) == 2);
	assert_int_equal(park_wake(park, "nobody"), 0);
	assert_int_equal(park_wake(park, "a"), 1);
	until(answered(a));
	assert_non_null(strstr(a->in, "woken"));
	assert_int_equal(ask(brief, "/park/c?ms=50"), 200);
	assert_non_null(strstr(brief->in, "timed out"));
	assert_int_equal(b->len, 0);
	/* The connection goes on. */
	assert_int_equal(ask(a, "/hello"), 200);
	get(a, "/park/a");
	until(park_count(park) == 2);
	assert_int_equal(park_wake_all(park), 2);
	until(answered(a) && answered(b));
	assert_int_equal(woken, 3);
	assert_int_equal(timed_out, 1);
}

static void several_wait_for_one_word_and_many_are_woken_at_once(void **state)
{
	static struct client *many[200];
	AUTO(hang_upp) struct client *other = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	other = join("b");
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = join("a");
		get(many[i], i % 2 ? "/park/odd" : "/park/even");
	}
	until(park_count(park) == ARRAY_SIZE(many));
	assert_int_equal(park_wake(park, "even"), ARRAY_SIZE(many) / 2);
	assert_int_equal(park_wake(park, "even"), 0); /* on their way */
	get(other, "/hello");
	until(answered(other));
	for (size_t i = 0; i < ARRAY_SIZE(many); i += 2)
		until(answered(many[i]));
	assert_int_equal(park_count(park), ARRAY_SIZE(many) / 2);
	assert_int_equal(park_wake_all(park), ARRAY_SIZE(many) / 2);
	for (size_t i = 1; i < ARRAY_SIZE(many); i += 2)
		until(answered(many[i]));
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		hang_up(many[i]);
}

static void a_peer_that_goes_while_it_waits_is_noticed_at_once(void **state)
{
	struct linger rst = {.l_onoff = 1};
	struct client *c;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	for (unsigned int i = 0; i < 3; i++) {
		c = join("a");
		get(c, "/park/a");
		until(park_count(park) == 1);
		if (i == 0)
			SSL_shutdown(c->ssl); /* politely */
		else if (i == 1)
			assert_ok(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst)));
		hang_up(c);
		until(gone == i + 1 && serve_stats(serve).open == 0);
		assert_int_equal(park_wake(park, "a"), 0);
	}
	/* Woken, and gone before it could be answered. */
	c = join("a");
	get(c, "/park/a");
	until(park_count(park) == 1);
	assert_int_equal(park_wake(park, "a"), 1);
	hang_up(c);
	until(serve_stats(serve).open == 0);
	assert_int_equal(park_count(park), 0);
}

static void a_peer_that_vanishes_while_it_waits_is_noticed_by_keepalive(void **state)
{
	struct serve_limits limits = generous();
	struct client *c;
	int on = 1;

	(void)state;
	limits.keepalive_s = 1;
	start(limits, TLS_CLIENT_REQUIRED);
	c = join("a");
	get(c, "/park/a");
	until(park_count(park) == 1);
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0) {
		hang_up(c);
		skip(); /* only root can make a socket vanish without a word */
	}
	hang_up(c);
	until(gone == 1 && serve_stats(serve).open == 0);
}

static void what_is_sent_while_it_waits_comes_after_and_has_a_bound(void **state)
{
	AUTO(hang_upp) struct client *c = NULL, *flood = NULL;
	char pad[4096];

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	c = join("a");
	get(c, "/park/a");
	until(park_count(park) == 1);
	say(c, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(ask(flood = join("b"), "/hello"), 200); /* it has arrived by now */
	assert_int_equal(c->len, 0);
	assert_int_equal(park_wake(park, "a"), 1);
	until(strstr(c->in, "woken") && strstr(c->in, "peer"));
	get(flood, "/park/b");
	until(park_count(park) == 1);
	memset(pad, 'x', sizeof(pad));
	for (int i = 0; i < 1000 && !flood->closed; i++) {
		SSL_write(flood->ssl, pad, sizeof(pad));
		turn(EVLOOP_NONBLOCK);
	}
	until(flood->closed && gone == 1);
	assert_non_null(strstr(refusal, "more was sent"));
}

static void who_finds_no_place_to_wait_is_told_when_to_come_again(void **state)
{
	AUTO(hang_upp) struct client *a = NULL, *b = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	park_free(park);
	assert_ok(park_new(base, 1, &park));
	a = join("a");
	get(a, "/park/a");
	until(park_count(park) == 1);
	b = join("b");
	assert_int_equal(ask(b, "/park/b"), 503);
	assert_non_null(strstr(b->in, "Retry-After: "));
	assert_int_equal(ask(b, "/hello"), 200);
}

static void who_waits_when_the_controller_stops_is_answered(void **state)
{
	AUTO(hang_upp) struct client *a = NULL;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	a = join("a");
	get(a, "/park/a");
	until(park_count(park) == 1);
	park = park_free(park);
	assert_int_equal(stopped, 1);
	until(answered(a));
	assert_non_null(strstr(a->in, "stopped"));
	serve = serve_free(serve);
	until(a->closed);
}

/* ---- at start ---------------------------------------------------------------------------------------- */

static void what_a_listener_cannot_use_is_said_at_once(void **state)
{
	AUTO_FREE char *certificate = strdup(unit_path("listener.crt")),
		       *key = strdup(unit_path("listener.key")),
		       *trust = strdup(unit_path("fleet.crt")),
		       *loose = strdup(unit_path("loose.key"));
	struct serve_opts opts = {
		.name = "agents",
		.address = "127.0.0.1",
		.tls = {certificate, key, trust, TLS_CLIENT_REQUIRED, CA_HOST},
		.limits = SERVE_LIMITS_FEW,
		.request = on_request};
	struct serve *second = NULL;
	struct fail fail;

	(void)state;
	start(generous(), TLS_CLIENT_REQUIRED);
	opts.port = serve_port(serve);
	assert_true(serve_new(base, &opts, &second, &fail) < 0);
	assert_int_equal(fail.code, FAIL_CONFLICT);
	opts.port = 0;
	opts.address = "localhost";
	assert_true(serve_new(base, &opts, &second, &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
	opts.address = "::1";
	opts.tls.certificate = key;
	assert_true(serve_new(base, &opts, &second, &fail) < 0);
	assert_non_null(strstr(fail.message, "listener.key: certificate"));
	opts.tls.certificate = certificate;
	opts.tls.key = unit_path("a.key");
	assert_true(serve_new(base, &opts, &second, &fail) < 0);
	assert_non_null(strstr(fail.message, "a.key: key"));
	assert_ok(io_write_file(loose, "", 0, 0644));
	opts.tls.key = loose;
	assert_true(serve_new(base, &opts, &second, &fail) < 0);
	assert_int_equal(fail.code, FAIL_PERMISSION);
}

static int set_up_all(void **state)
{
	static const char *const names[] = {"127.0.0.1"};
	struct rlimit files;
	struct ca *other;

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < 8192)
		files.rlim_max = 8192; /* root may */
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (unit_setup(state) < 0)
		return -1;
	now_s = clock_real_ms() / 1000;
	ca = certify_ca("fleet", now_s - 100 * DAY_S, 365 * DAY_S);
	other = certify_ca("other", now_s - DAY_S, 365 * DAY_S);
	assert_ok(ca_sign_server(ca, names, 1, unit_path("listener"), now_s, DAY_S, NULL));
	certify_client(ca, "a", CA_HOST, host_a, now_s, DAY_S);
	certify_client(ca, "b", CA_HOST, host_b, now_s, DAY_S);
	certify_client(ca, "alice", CA_USER, "alice", now_s, DAY_S);
	certify_client(ca, "ended", CA_HOST, host_a, now_s - 2 * DAY_S, DAY_S);
	certify_client(ca, "future", CA_HOST, host_a, now_s + DAY_S, DAY_S);
	certify_client(other, "stranger", CA_HOST, host_a, now_s, DAY_S);
	ca_free(other);
	return 0;
}

static int tear_down_all(void **state)
{
	ca_free(ca);
	return unit_teardown(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		T(a_host_is_known_by_its_certificate_from_request_to_request),
		T(where_no_certificate_is_asked_for_none_is_needed),
		T(a_certificate_that_is_optional_must_be_good_all_the_same),
		T(who_may_not_come_in_is_refused_before_anything_is_parsed_and_told_why),
		T(tls_1_2_and_what_is_no_tls_are_refused),
		T(what_is_revoked_ends_at_the_next_request_and_when_it_waits),
		T(a_certificate_that_ends_ends_what_waits_under_it),
		T(authorities_are_rolled_over_without_ending_a_connection),
		T(libcurl_is_a_client_like_any_other),
		T(requests_that_can_be_read_in_two_ways_are_refused_and_end_the_connection),
		T(headers_and_bodies_have_a_size),
		T(whoever_drips_is_ended_at_an_absolute_time_while_others_are_served),
		T(who_does_not_read_or_does_not_ask_is_let_go),
		T(a_spare_connection_goes_soon_and_the_other_one_stays),
		T(two_thousand_mute_connections_keep_nobody_out),
		T(an_address_has_its_share_of_strangers_and_a_host_its_share_of_connections),
		T(when_it_is_full_who_comes_next_waits_and_is_served_when_there_is_room),
		T(a_storm_of_connections_is_taken_at_a_pace),
		T(while_handshakes_pile_up_fewer_are_let_in),
		T(a_thousand_may_come_at_once_before_the_first_is_let_in),
		T(who_gave_up_while_waiting_takes_nobodys_place),
		T(without_file_descriptors_it_goes_on_when_there_are_some_again),
		T(who_waits_is_answered_when_woken_or_when_its_time_is_over),
		T(several_wait_for_one_word_and_many_are_woken_at_once),
		T(a_peer_that_goes_while_it_waits_is_noticed_at_once),
		T(a_peer_that_vanishes_while_it_waits_is_noticed_by_keepalive),
		T(what_is_sent_while_it_waits_comes_after_and_has_a_bound),
		T(who_finds_no_place_to_wait_is_told_when_to_come_again),
		T(who_waits_when_the_controller_stops_is_answered),
		T(what_a_listener_cannot_use_is_said_at_once),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
