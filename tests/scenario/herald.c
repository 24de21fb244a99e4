// SPDX-License-Identifier: BSD-2-Clause
/*
 * herald serve DIR -- a controller of one host that says what files say, so that tests can say
 * what no honest one would. Over the listeners of the real one (server/controller/serve.h).
 *
 *	DIR/desired	   what it wants; parked while its generation is not above the one asked with
 *	DIR/documents	   roots, catalog and revocations, all of them at any time
 *	DIR/bundles/SHA256
 *	DIR/ranges	   from which byte on it was asked for them, a line each
 *	DIR/stall	   so many bytes of a bundle come, and then nothing, while it is there
 *	DIR/report, DIR/reports	   the newest report, and each one, a line each
 *
 * Prints "agents=PORT enroll=PORT token=TOKEN"; SIGHUP: DIR/desired is another now. "refuse": a
 * file with a HTTP status; while it is there all that agents ask is answered with that.
 *
 * herald word KEY.sec JSON -- a word with its directive, signed: {"fleet","host","name","action",
 * "from","to","rollout","word"}, maybe "trial_ms", "min_calls", "retry", "valid_ms", "bundle" (FILE),
 * and "said" (an object): what the word says, whatever the directive does.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/controller/park.h"
#include "server/controller/serve.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/directive.h"

#define DAY_S	 86400ULL
#define FILE_MAX (32U << 20)
#define SECRET	 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char *dir;
static struct event_base *base;
static struct serve *agents, *enroll;
static struct park *park;
static struct ca *ca;

static const char *path_of(const char *name)
{
	static char paths[4][512];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

static char *read_text(const char *name)
{
	uint8_t *buf = NULL;
	size_t len;

	return io_read_file(path_of(name), FILE_MAX, &buf, &len) < 0 ? NULL : (char *)buf;
}

static void refuse(struct evhttp_request *req, enum fail_code code, const char *why)
{
	struct fail fail;

	fail_set(&fail, code, "%s", why);
	serve_refuse(req, &fail);
}

static void answer_text(struct evhttp_request *req, const char *text)
{
	serve_answer_bytes(req, 200, "application/json", text, strlen(text));
}

static void sign(struct evhttp_request *req, bool enrols)
{
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *pem = NULL;
	struct fail fail;
	const char *request, *host;
	char url[64], id[CA_NAME_BYTES];
	size_t len;
	const uint8_t *body = serve_body(req, &len);

	if (json_parse("request", body, len, &doc, &fail) < 0) {
		serve_refuse(req, &fail);
		return;
	}
	request = json_string_value(json_object_get(doc, "request"));
	host = json_string_value(json_object_get(doc, "token"));
	if (enrols && (!host || strcmp(host, SECRET) != 0)) {
		refuse(req, FAIL_PERMISSION, "that token is not known");
		return;
	}
	snprintf(id, sizeof(id), "%s", getenv("HERALD_HOST"));
	if (!request || ca_sign(ca, CA_HOST, id, request, strlen(request),
				clock_real_ms() / 1000, DAY_S, &pem, &fail) < 0) {
		refuse(req, FAIL_BAD_FORMAT, "no request");
		return;
	}
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", serve_port(agents));
	serve_answer(req, 200,
		     json_pack("{s:s, s:s, s:s, s:s}", "host", id, "certificate", pem, "ca",
			       ca_pem(ca), "agents", url));
}

static void on_enroll(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));

	(void)peer, (void)cookie;
	if (strcmp(path, "/v1/ca") == 0)
		serve_answer(req, 200, json_pack("{s:s}", "ca", ca_pem(ca)));
	else
		sign(req, true);
}

static uint64_t query_u64(struct evhttp_request *req, const char *k)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req)), *value;
	struct evkeyvalq q;
	uint64_t n;

	TAILQ_INIT(&q);
	evhttp_parse_query_str(query ? query : "", &q);
	value = evhttp_find_header(&q, k);
	n = value ? strtoull(value, NULL, 10) : 0;
	evhttp_clear_headers(&q);
	return n;
}

static uint64_t generation_of(const char *text)
{
	AUTO_JSON json_t *doc = json_loads(text, 0, NULL);

	return (uint64_t)json_integer_value(json_object_get(doc, "generation"));
}

static void answer_desired(struct evhttp_request *req)
{
	AUTO_FREE char *text = read_text("desired");

	answer_text(req, text ? text
			      : "{\"generation\":0,\"heartbeat_ms\":60000,\"root\":0,"
				"\"catalog\":0,\"revocation\":0,\"words\":[]}");
}

static void on_parked(struct evhttp_request *req, enum park_end why, void *cookie)
{
	(void)why, (void)cookie;
	if (req)
		answer_desired(req);
}

static void on_desired(struct evhttp_request *req)
{
	AUTO_FREE char *text = read_text("desired");
	uint64_t wait = query_u64(req, "wait"), known = query_u64(req, "generation");

	if (wait && (!text || generation_of(text) <= known) &&
	    park_wait(park, req, "agent", wait, on_parked, NULL, NULL) == 0)
		return;
	answer_desired(req);
}

static void on_report(struct evhttp_request *req)
{
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *text = NULL;
	size_t len;
	const uint8_t *body = serve_body(req, &len);
	struct fail fail;
	FILE *f;

	if (json_parse("report", body, len, &doc, &fail) < 0) {
		serve_refuse(req, &fail);
		return;
	}
	text = json_dumps(doc, JSON_COMPACT);
	f = fopen(path_of("reports"), "a");
	if (f) {
		fprintf(f, "%s\n", text);
		fclose(f);
	}
	io_write_file(path_of("report"), text, strlen(text), 0644);
	serve_answer(req, 200, json_pack("{s:O}", "seq", json_object_get(doc, "seq")));
}

static void on_gone(void *cookie)
{
	(void)cookie;
}

static void on_piece(void *cookie)
{
	(void)cookie;
}

static void on_bundle(struct evhttp_request *req, const char *sha)
{
	AUTO_FREE uint8_t *buf = NULL;
	const char *range = evhttp_find_header(evhttp_request_get_input_headers(req), "Range");
	AUTO_FREE char *stall = read_text("stall");
	static const char type[] = "application/octet-stream";
	char name[128], text[96];
	size_t len, from = 0;
	FILE *ranges;

	snprintf(name, sizeof(name), "bundles/%.64s", sha);
	if (strchr(sha, '/') || io_read_file(path_of(name), FILE_MAX, &buf, &len) < 0) {
		refuse(req, FAIL_NOT_FOUND, "no such bundle");
		return;
	}
	if (range)
		sscanf(range, "bytes=%zu-", &from);
	ranges = fopen(path_of("ranges"), "a");
	fprintf(ranges, "%zu\n", from);
	fclose(ranges);
	if (from >= len) {
		refuse(req, FAIL_USAGE, "there is no more of it");
		return;
	}
	if (range) {
		snprintf(text, sizeof(text), "bytes %zu-%zu/%zu", from, len - 1, len);
		evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Range",
				  text);
	}
	if (stall) {
		serve_begin(req, range ? 206 : 200, type, len - from, on_gone, NULL);
		serve_piece(req, buf + from, strtoul(stall, NULL, 10), on_piece, NULL);
	} else {
		serve_answer_bytes(req, range ? 206 : 200, type, buf + from, len - from);
	}
}

static void on_agent(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	AUTO_FREE char *status = read_text("refuse"), *text = NULL;

	(void)peer, (void)cookie;
	if (status) {
		serve_answer(req, atoi(status), json_object());
	} else if (strcmp(path, "/v1/agent/desired") == 0) {
		on_desired(req);
	} else if (strcmp(path, "/v1/agent/report") == 0) {
		on_report(req);
	} else if (strcmp(path, "/v1/agent/documents") == 0) {
		text = read_text("documents");
		answer_text(req, text ? text : "{}");
	} else if (strcmp(path, "/v1/agent/renew") == 0) {
		sign(req, false);
	} else if (strncmp(path, "/v1/agent/bundles/", 18) == 0) {
		on_bundle(req, path + 18);
	} else {
		refuse(req, FAIL_NOT_FOUND, "no such resource");
	}
}

static void on_hup(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what, (void)cookie;
	park_wake(park, "agent");
}

static int listen_as(const char *name, enum tls_client client, uint16_t port,
		     void (*fn)(struct evhttp_request *, const struct ca_peer *, void *),
		     struct serve **ret_serve, struct fail *f)
{
	const struct serve_opts opts = {.name = name,
					.address = "127.0.0.1",
					.port = port,
					.tls = {.certificate = path_of("listener.crt"),
						.key = path_of("listener.key"),
						.trust = path_of("ca.crt"),
						.client = client,
						.kind = CA_HOST},
					.limits = SERVE_LIMITS_FEW,
					.request = fn};

	return serve_new(base, &opts, ret_serve, f);
}

static uint16_t port_of(const char *name)
{
	AUTO_FREE char *text = read_text(name);

	return text ? (uint16_t)atoi(text) : 0;
}

static void keep_port(const char *name, uint16_t port)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", port);
	io_write_file(path_of(name), text, strlen(text), 0644);
}

/* What was there is gone on with: the same authority and the same ports. */
static int serve(struct fail *f)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "10.0.2.2"};
	char pin[CA_NAME_BYTES];
	uint64_t now_s = clock_real_ms() / 1000;
	int r = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* with the test that began it */
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	if (access(path_of("ca.key"), F_OK) < 0)
		r = ca_new(path_of("ca"), "herald", now_s, 30 * DAY_S, f);
	if (r == 0)
		r = ca_load(path_of("ca"), &ca, f);
	if (r == 0)
		r = ca_sign_server(ca, names, ARRAY_SIZE(names), path_of("listener"), now_s,
				   DAY_S, f);
	if (r == 0)
		r = park_new(base, 16, &park);
	if (r == 0)
		r = listen_as("agents", TLS_CLIENT_REQUIRED, port_of("agents-port"), on_agent,
			      &agents, f);
	if (r == 0)
		r = listen_as("enroll", TLS_CLIENT_NONE, port_of("enroll-port"), on_enroll,
			      &enroll, f);
	if (r < 0)
		return r;
	keep_port("agents-port", serve_port(agents));
	keep_port("enroll-port", serve_port(enroll));
	event_add(evsignal_new(base, SIGHUP, on_hup, NULL), NULL);
	printf("agents=%u enroll=%u token=hfe1." SECRET ".%s\n", serve_port(agents),
	       serve_port(enroll), ca_fingerprint(ca, pin));
	fflush(stdout);
	event_base_dispatch(base);
	return 0;
}

static const char *str(const json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

static uint64_t u64(const json_t *doc, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(doc, key));
}

static int add_bundle(const json_t *ask, struct directive *d, json_t *word, struct fail *f)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	char hex[BYTES_SHA256_HEX];
	size_t len;
	int r = io_read_file(str(ask, "bundle"), FILE_MAX, &buf, &len);

	if (r < 0)
		return fail_set(f, FAIL_USAGE, "%s: %s", str(ask, "bundle"), strerror(-r));
	r = bundle_open_unverified(buf, len, &b, f);
	if (r < 0)
		return r;
	d->has_manifest = true;
	memcpy(d->manifest_sha256, b->manifest_sha256, sizeof(d->manifest_sha256));
	json_object_set_new(word, "bundle",
			    json_pack("{s:s, s:I}", "sha256", bytes_to_hex(b->digest, 32, hex),
				      "bytes", (json_int_t)len));
	return 0;
}

static int word(const char *key_file, const char *text, struct fail *f)
{
	struct directive d = {.created_ms = clock_real_ms()};
	AUTO_JSON json_t *ask = json_loads(text, 0, NULL), *doc = NULL;
	AUTO(key_freep) struct key *key = NULL;
	AUTO_FREE char *envelope = NULL, *out = NULL;
	int r = key_load(key_file, NULL, NULL, &key, f);

	if (r < 0 || !ask)
		return r < 0 ? r : fail_set(f, FAIL_USAGE, "that is no JSON: %s", text);
	snprintf(d.fleet, sizeof(d.fleet), "%s", str(ask, "fleet"));
	snprintf(d.host, sizeof(d.host), "%s", str(ask, "host"));
	snprintf(d.name, sizeof(d.name), "%s", str(ask, "name"));
	snprintf(d.rollout, sizeof(d.rollout), "%s", str(ask, "rollout"));
	d.action = strcmp(str(ask, "action"), "rollback") == 0 ? DIRECTIVE_ROLLBACK
							       : DIRECTIVE_APPLY;
	d.from = u64(ask, "from");
	d.to = u64(ask, "to");
	d.expires_ms = d.created_ms + (u64(ask, "valid_ms") ? u64(ask, "valid_ms") : 3600000);
	doc = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:b, s:I, s:I}", "name", d.name,
			"rollout", d.rollout, "word", (json_int_t)u64(ask, "word"), "action",
			str(ask, "action"), "from", (json_int_t)d.from, "to", (json_int_t)d.to,
			"retry", (int)json_is_true(json_object_get(ask, "retry")), "trial_ms",
			(json_int_t)u64(ask, "trial_ms"), "min_calls",
			(json_int_t)u64(ask, "min_calls"));
	if (str(ask, "bundle")[0])
		r = add_bundle(ask, &d, doc, f);
	if (r == 0 && (strcmp(str(ask, "action"), "apply") == 0 ||
		       strcmp(str(ask, "action"), "rollback") == 0)) {
		r = directive_sign(&d, &key, 1, &envelope, f);
		if (r == 0)
			json_object_set_new(doc, "directive", json_string(envelope));
	}
	if (r < 0)
		return r;
	json_object_update(doc, json_object_get(ask, "said"));
	out = json_dumps(doc, JSON_COMPACT);
	puts(out);
	return 0;
}

int main(int argc, char **argv)
{
	struct fail f = {0};
	int r = -1;

	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		dir = argv[2];
		r = serve(&f);
	} else if (argc == 4 && strcmp(argv[1], "word") == 0) {
		r = word(argv[2], argv[3], &f);
	} else {
		fputs("usage: herald serve DIR | word KEY.sec JSON\n", stderr);
		return 2;
	}
	if (r < 0) {
		fprintf(stderr, "herald: %s\n", f.message);
		return f.code ? fail_exit(f.code) : 1;
	}
	return 0;
}
