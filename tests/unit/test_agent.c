// SPDX-License-Identifier: BSD-2-Clause
/*
 * A host's side of its fleet against a real TLS server on the loopback: enrolment, questions and
 * reports, documents and bundles, certificates, and controllers that mean harm. Server, agent and
 * engine share one loop; until() turns it. Who means harm is a process of its own.
 */
#include "tests/unit/certify.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <openssl/ssl.h>

#include "lib/json.h"
#define AGENT_LIB_TABLE /* here OpenSSL is the program's own */
#include "server/agent.h"
#include "server/agent_lib.h"
#include "server/agent_private.h"
#include "server/controller/park.h"
#include "server/controller/serve.h"
#include "store/bytes.h"

#define PATIENCE_MS 60000

static struct event_base *base;
static struct agent_net *net;
static struct agent *agent;
static struct ca *ca;
static uint64_t now_s;
static char *key, host[AGENT_ID_BYTES], pin[CA_NAME_BYTES];
static const char secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* ---- the loop -------------------------------------------------------------------------------- */

static bool late;

static void on_late(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what, (void)cookie;
	late = true;
}

static const char *why_of(void)
{
	struct agent_status s;

	if (!agent)
		return "";
	agent_status(agent, &s);
	return s.why->message;
}

#define until(condition)                                                               \
	do {                                                                           \
		static const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000}; \
		struct event *watchdog = evtimer_new(base, on_late, NULL);             \
                                                                                       \
		event_add(watchdog, &patience);                                        \
		for (late = false; !(condition);) {                                    \
			event_base_loop(base, EVLOOP_ONCE);                            \
			if (late)                                                      \
				fail_msg("not in %d s: %s (%s)", PATIENCE_MS / 1000,   \
					 #condition, why_of());                        \
		}                                                                      \
		event_free(watchdog);                                                  \
	} while (0)

/* ---- the engine ------------------------------------------------------------------------------ */

static struct {
	unsigned int reports, words, bundles, failures, kept;
	struct agent_word word[4];
	size_t n_words;
	struct agent_versions have;
	char documents[256]; /* in their order */
	bool has_bundle;
	uint8_t bundle[100000];
	size_t bundle_len;
	uint8_t part[100000], part_of[32];
	size_t part_len;
	struct fail why;
	uint64_t seq, revocation, ends_ms;
	char *certificate, *authorities, url[AGENT_URL_BYTES];
} engine;

static json_t *on_report(void *cookie)
{
	assert_ptr_equal(cookie, &engine);
	engine.reports++;
	return json_pack("{s:s}", "zone", "here");
}

static void on_words(const struct agent_word *words, size_t n, void *cookie)
{
	(void)cookie;
	engine.words++;
	assert_true(n <= ARRAY_SIZE(engine.word));
	memcpy(engine.word, words, n * sizeof(*words));
	engine.n_words = n;
	snprintf(engine.documents + strlen(engine.documents),
		 sizeof(engine.documents) - strlen(engine.documents), "%zu words ", n);
}

static void on_versions(struct agent_versions *ret_versions, void *cookie)
{
	(void)cookie;
	*ret_versions = engine.have;
}

static int on_document(enum agent_document kind, const char *envelope, size_t len,
		       struct fail *reterr_fail, void *cookie)
{
	(void)cookie;
	assert_int_equal(strlen(envelope), len);
	snprintf(engine.documents + strlen(engine.documents),
		 sizeof(engine.documents) - strlen(engine.documents), "%s ", envelope);
	if (strcmp(envelope, "bad") == 0)
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE, "bad");
	engine.have.root += kind == AGENT_ROOT;
	engine.have.catalog += kind == AGENT_CATALOG ? 100 : 0;
	return 0;
}

static bool on_has_bundle(const uint8_t sha256[32], void *cookie)
{
	(void)sha256, (void)cookie;
	return engine.has_bundle;
}

static void on_bundle(const struct agent_word *word, const uint8_t *bytes, size_t len,
		      const struct fail *why_not, void *cookie)
{
	(void)cookie;
	assert_true(word->has_bundle);
	if (!bytes) {
		engine.failures++;
		engine.why = *why_not;
		return;
	}
	assert_true(len <= sizeof(engine.bundle));
	memcpy(engine.bundle, bytes, len);
	engine.bundle_len = len;
	engine.bundles++;
	engine.has_bundle = true;
}

static int on_keep_part(const uint8_t sha256[32], uint64_t at, const uint8_t *bytes, size_t len,
			void *cookie)
{
	(void)cookie;
	assert_true(at == engine.part_len && len && at + len < sizeof(engine.part));
	memcpy(engine.part_of, sha256, 32);
	memcpy(engine.part + at, bytes, len);
	engine.part_len = at + len;
	return 0;
}

static int on_kept_part(const uint8_t sha256[32], uint8_t **ret_bytes, size_t *ret_len,
			void *cookie)
{
	(void)cookie;
	if (!engine.part_len || memcmp(engine.part_of, sha256, 32) != 0)
		return -ENOENT;
	*ret_bytes = malloc(engine.part_len);
	memcpy(*ret_bytes, engine.part, engine.part_len);
	*ret_len = engine.part_len;
	return 0;
}

static void on_drop_parts(void *cookie)
{
	(void)cookie;
	engine.part_len = 0;
}

static int on_keep(const struct agent_kept *kept, void *cookie)
{
	(void)cookie;
	engine.kept++;
	engine.seq = kept->seq;
	engine.revocation = kept->revocation;
	free(engine.certificate);
	free(engine.authorities);
	engine.certificate = strdup(kept->certificate);
	engine.authorities = strdup(kept->ca);
	snprintf(engine.url, sizeof(engine.url), "%s", kept->url);
	return 0;
}

static uint64_t on_ends(void *cookie)
{
	(void)cookie;
	return engine.ends_ms;
}

static const struct agent_engine functions = {.report = on_report,
					      .words = on_words,
					      .versions = on_versions,
					      .document = on_document,
					      .has_bundle = on_has_bundle,
					      .bundle = on_bundle,
					      .ends_ms = on_ends,
					      .keep_part = on_keep_part,
					      .kept_part = on_kept_part,
					      .drop_parts = on_drop_parts,
					      .keep = on_keep};

/* ---- the controller --------------------------------------------------------------------------- */

static struct serve *enrolment, *agents;
static struct park *park;
static struct {
	unsigned int cas, enrolments, questions, reports, renewals, documents, fetches;
	unsigned int refuse_reports, refuse_questions; /* so many */
	int status;				       /* with that */
	const char *retry_after;
	int token; /* status for who brings one */
	uint64_t generation, heartbeat_ms, root, catalog, revocation;
	uint64_t first_seq, seq, wait;
	const char *words, *answer;
	bool parks;
	char *bundle;
	size_t bundle_len;
	char range[64], peer[CA_NAME_BYTES], name[64];
} controller;

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

static json_t *body_of(struct evhttp_request *req)
{
	struct fail why;
	size_t len;
	const uint8_t *body = serve_body(req, &len);
	json_t *doc = NULL;

	if (json_parse("test", body, len, &doc, &why) < 0)
		fail_msg("%s", why.message);
	return doc;
}

static char *sign(const json_t *doc, uint64_t from_s, uint64_t valid_s)
{
	const char *request = json_string_value(json_object_get(doc, "request"));
	struct fail why;
	char *pem;

	if (ca_sign(ca, CA_HOST, host, request, strlen(request), from_s, valid_s, &pem, &why) <
	    0)
		fail_msg("%s", why.message);
	return pem;
}

static void on_enrolment(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *pem = NULL;
	char url[64];

	(void)peer, (void)cookie;
	if (strcmp(path, "/v1/ca") == 0) {
		controller.cas++;
		serve_answer(req, 200, json_pack("{s:s}", "ca", ca_pem(ca)));
		return;
	}
	assert_string_equal(path, "/v1/enroll");
	controller.enrolments++;
	doc = body_of(req);
	assert_string_equal(json_string_value(json_object_get(doc, "token")), secret);
	snprintf(controller.name, sizeof(controller.name), "%s",
		 json_string_value(json_object_get(doc, "name")));
	if (controller.token != 200) {
		serve_refuse(req, &(struct fail){.code = FAIL_PERMISSION, .message = "no"});
		return;
	}
	pem = sign(doc, now_s, DAY_S);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", serve_port(agents));
	serve_answer(req, 200,
		     json_pack("{s:s, s:s, s:s, s:s}", "host", host, "certificate", pem, "ca",
			       ca_pem(ca), "agents", url));
}

static void answer_desired(struct evhttp_request *req)
{
	if (controller.answer)
		serve_answer_bytes(req, 200, "application/json", controller.answer,
				   strlen(controller.answer));
	else
		serve_answer(req, 200,
			     json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "generation",
				       (json_int_t)controller.generation, "heartbeat_ms",
				       (json_int_t)controller.heartbeat_ms, "root",
				       (json_int_t)controller.root, "catalog",
				       (json_int_t)controller.catalog, "revocation",
				       (json_int_t)controller.revocation, "words",
				       json_loads(controller.words, 0, NULL)));
}

static void on_woken(struct evhttp_request *req, enum park_end why, void *cookie)
{
	(void)why, (void)cookie;
	if (req)
		answer_desired(req);
}

static void refuse_with_status(struct evhttp_request *req)
{
	if (controller.retry_after)
		evhttp_add_header(evhttp_request_get_output_headers(req), "Retry-After",
				  controller.retry_after);
	serve_answer(req, controller.status,
		     json_pack("{s:{s:s, s:s, s:s}}", "error", "code", "permission", "message",
			       "as the test says", "hint", ""));
}

static void on_agent(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	const char *range = evhttp_find_header(evhttp_request_get_input_headers(req), "Range");
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *pem = NULL;

	(void)cookie;
	snprintf(controller.peer, sizeof(controller.peer), "%s", peer->name);
	if (strcmp(path, "/v1/agent/desired") == 0) {
		controller.questions++;
		controller.wait = query_u64(req, "wait");
		if (controller.refuse_questions) {
			controller.refuse_questions--;
			refuse_with_status(req);
		} else if (controller.parks &&
			   query_u64(req, "generation") >= controller.generation &&
			   controller.generation) {
			assert_ok(park_wait(park, req, "agent", PATIENCE_MS, on_woken, NULL,
					    NULL));
		} else {
			answer_desired(req);
		}
	} else if (strcmp(path, "/v1/agent/report") == 0) {
		controller.reports++;
		doc = body_of(req);
		controller.seq = (uint64_t)json_integer_value(json_object_get(doc, "seq"));
		if (!controller.first_seq)
			controller.first_seq = controller.seq;
		if (controller.refuse_reports) {
			controller.refuse_reports--;
			refuse_with_status(req);
		} else {
			serve_answer(req, 200,
				     json_pack("{s:I}", "seq", (json_int_t)controller.seq));
		}
	} else if (strcmp(path, "/v1/agent/documents") == 0) {
		controller.documents++;
		serve_answer(req, 200,
			     json_pack("{s:[s,s], s:s, s:[s,s]}", "roots", "root2", "root3",
				       "catalog", "catalog", "revocations", "rev1", "bad"));
	} else if (strcmp(path, "/v1/agent/renew") == 0) {
		controller.renewals++;
		doc = body_of(req);
		pem = sign(doc, now_s, DAY_S);
		serve_answer(req, 200,
			     json_pack("{s:s, s:s}", "certificate", pem, "ca", ca_pem(ca)));
	} else {
		controller.fetches++;
		assert_non_null(strstr(path, "/v1/agent/bundles/"));
		snprintf(controller.range, sizeof(controller.range), "%s", range ? range : "");
		serve_answer_bytes(req, 200, "application/octet-stream", controller.bundle,
				   controller.bundle_len);
	}
}

static struct serve *listen_as(const char *name, enum tls_client client,
			       void (*fn)(struct evhttp_request *, const struct ca_peer *,
					  void *))
{
	AUTO_FREE char *certificate = strdup(unit_path("listener.crt")),
		       *secret_key = strdup(unit_path("listener.key")),
		       *trust = strdup(unit_path("fleet.crt"));
	struct serve_limits limits = SERVE_LIMITS_AGENTS;
	const struct serve_opts opts = {.name = name,
					.address = "127.0.0.1",
					.tls = {.certificate = certificate,
						.key = secret_key,
						.trust = trust,
						.client = client,
						.kind = CA_HOST},
					.limits = limits,
					.request = fn};
	struct serve *s;

	assert_ok(serve_new(base, &opts, &s, NULL));
	return s;
}

/* ---- begin and end ---------------------------------------------------------------------------- */

static char *make_key(void)
{
	EVP_PKEY *k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_mem());

	assert_non_null(k);
	PEM_write_bio_PKCS8PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL);
	EVP_PKEY_free(k);
	return certify_text(bio);
}

/* As enrolment would have given it. */
static char *make_certificate(const struct ca *by, uint64_t from_s, uint64_t valid_s)
{
	AUTO_FREE char *request = NULL;
	char *pem;

	assert_ok(agent_cert_request(key, &request, NULL));
	assert_ok(ca_sign(by, CA_HOST, host, request, strlen(request), from_s, valid_s, &pem,
			  NULL));
	return pem;
}

static struct agent_opts some_opts(void)
{
	return (struct agent_opts){.key = key,
				   .name = "web-1",
				   .backoff_ms = 20,
				   .backoff_max_ms = 100,
				   .engine = &functions,
				   .cookie = &engine};
}

static void start(const struct agent_opts *opts)
{
	struct fail why;

	if (agent_new(net, opts, &agent, &why) < 0)
		fail_msg("%s", why.message);
}

/* A host that has its certificate; "" as url: the test's own controller. */
static void join(const char *url)
{
	AUTO_FREE char *pem = make_certificate(ca, now_s, DAY_S);
	struct agent_opts opts = some_opts();
	char own[64];

	snprintf(own, sizeof(own), "https://127.0.0.1:%u", serve_port(agents));
	opts.controllers = url[0] ? url : own;
	opts.answer_ms = url[0] ? 2000 : 0;
	opts.kept = (struct agent_kept){.certificate = pem, .ca = ca_pem(ca), .url = ""};
	opts.kept.seq = engine.seq;
	start(&opts);
}

static void leave(void)
{
	agent = agent_free(agent);
}

/* This program is linked with --wrap. */
static uint64_t skew_ms;
uint64_t __real_clock_real_ms(void);
uint64_t __wrap_clock_real_ms(void);

uint64_t __wrap_clock_real_ms(void)
{
	return __real_clock_real_ms() + skew_ms;
}

static int set_up(void **state)
{
	(void)state;
	skew_ms = 0;
	free(engine.certificate);
	free(engine.authorities);
	memset(&engine, 0, sizeof(engine));
	memset(&controller, 0, sizeof(controller));
	engine.ends_ms = UINT64_MAX;
	controller.token = 200;
	controller.words = "[]";
	controller.heartbeat_ms = 30000;
	controller.generation = 1;
	controller.parks = true;
	base = event_base_new();
	assert_ok(agent_net_new(base, 4, &net, NULL));
	assert_ok(park_new(base, 4000, &park));
	enrolment = listen_as("enroll", TLS_CLIENT_NONE, on_enrolment);
	agents = listen_as("agents", TLS_CLIENT_REQUIRED, on_agent);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	leave();
	net = agent_net_free(net);
	until(serve_stats(agents).open == 0 && serve_stats(enrolment).open == 0);
	park = park_free(park);
	agents = serve_free(agents);
	enrolment = serve_free(enrolment);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	return 0;
}

static int set_up_all(void **state)
{
	static const char *const names[] = {"127.0.0.1", "localhost"};

	unit_setup(state);
	signal(SIGPIPE, SIG_IGN);
	now_s = clock_real_ms() / 1000;
	ca = certify_ca("fleet", now_s, 365 * DAY_S);
	ca_fingerprint(ca, pin);
	assert_ok(ca_sign_server(ca, names, 2, unit_path("listener"), now_s, DAY_S, NULL));
	key = make_key();
	assert_ok(agent_lib_open(NULL));
	assert_ok(agent_cert_host(key, host, NULL));
	return 0;
}

static int tear_down_all(void **state)
{
	ca_free(ca);
	free(key);
	free(engine.certificate);
	free(engine.authorities);
	return unit_teardown(state);
}

/* ---- enrolment -------------------------------------------------------------------------------- */

static void enroll(const char *with_pin)
{
	struct agent_opts opts = some_opts();
	char url[64], token[200];

	snprintf(url, sizeof(url), "https://127.0.0.1:%u", serve_port(enrolment));
	snprintf(token, sizeof(token), "hfe1.%s.%s", secret, with_pin);
	opts.enroll = url;
	opts.token = token;
	start(&opts);
}

static void a_host_enrols_with_its_token_and_asks_from_then_on(void **state)
{
	struct agent_status s;

	(void)state;
	enroll(pin);
	until(controller.questions >= 2); /* the second one is parked */
	assert_int_equal(controller.cas, 1);
	assert_int_equal(controller.enrolments, 1);
	assert_int_equal(controller.reports, 1);
	assert_string_equal(controller.name, "web-1");
	assert_string_equal(controller.peer, host);
	assert_non_null(strstr(engine.certificate, "BEGIN CERTIFICATE"));
	assert_non_null(strstr(engine.url, "https://127.0.0.1:"));
	agent_status(agent, &s);
	assert_int_equal(s.state, AGENT_CONNECTED);
	assert_string_equal(s.host, host);
	assert_true(s.not_after_s > now_s);
	assert_int_equal(serve_stats(agents).accepted, 1);
}

static void an_authority_that_the_token_does_not_name_is_told_nothing(void **state)
{
	(void)state;
	enroll(secret);
	until(controller.cas >= 3);
	assert_int_equal(controller.enrolments, 0);
	assert_int_equal(controller.questions, 0);
	assert_int_equal(engine.kept, 0);
	assert_non_null(strstr(why_of(), "not the one that the token names"));
}

static void a_token_that_is_refused_is_not_tried_again_soon(void **state)
{
	struct agent_status s = {0};

	(void)state;
	controller.token = 403;
	enroll(pin);
	until((agent_status(agent, &s), s.failed));
	assert_int_equal(s.state, AGENT_STRANGER);
	assert_in_range(s.retry_in_ms, 30, 100); /* half of the longest back-off at least */
	until(controller.enrolments == 2);
	assert_int_equal(controller.cas, 1);
	assert_int_equal(engine.kept, 0);
}

static void what_is_no_token_key_or_url_is_said_at_once(void **state)
{
	struct agent_opts opts = some_opts();
	struct fail why;

	(void)state;
	opts.token = "hfe1.short";
	assert_true(agent_new(net, &opts, &agent, &why) < 0);
	opts = some_opts();
	opts.controllers = "http://plain.example:80";
	assert_true(agent_new(net, &opts, &agent, &why) < 0);
	opts.controllers = "https://user@host:1";
	assert_true(agent_new(net, &opts, &agent, &why) < 0);
	opts = some_opts();
	opts.key = "no key";
	assert_true(agent_new(net, &opts, &agent, &why) < 0);
	assert_null(agent);
}

/* ---- questions and reports ---------------------------------------------------------------------- */

static void words_come_after_the_documents_that_they_need(void **state)
{
	(void)state;
	controller.root = 2;
	controller.catalog = 100;
	controller.revocation = 7;
	controller.words =
		"[{\"name\":\"fix\",\"rollout\":\"r1\",\"word\":3,\"action\":\"apply\","
		"\"from\":0,\"to\":2,\"trial_ms\":1000,\"directive\":\"text\",\"later\":1},"
		"{\"name\":\"BAD NAME\",\"word\":1,\"action\":\"apply\"},"
		"{\"name\":\"other\",\"word\":4,\"action\":\"withdraw\"}]";
	join("");
	until(controller.questions >= 2);
	assert_string_equal(engine.documents, "root2 root3 catalog rev1 bad 2 words ");
	assert_int_equal(engine.n_words, 2);
	assert_string_equal(engine.word[0].name, "fix");
	assert_int_equal(engine.word[0].action, AGENT_APPLY);
	assert_int_equal(engine.word[0].to, 2);
	assert_int_equal(engine.word[0].trial_ms, 1000);
	assert_int_equal(engine.word[1].action, AGENT_WITHDRAW);
	assert_int_equal(engine.revocation, 7);
	assert_int_equal(controller.documents, 1);
	assert_int_equal(serve_stats(agents).accepted, 1);
}

static void changes_are_reported_together_while_a_question_is_parked(void **state)
{
	unsigned int reports;

	(void)state;
	join("");
	until(controller.questions == 2);
	reports = controller.reports;
	for (int i = 0; i < 10; i++)
		agent_changed(agent);
	until(controller.reports == reports + 1);
	agent_changed(agent);
	until(controller.reports == reports + 2);
	until(serve_stats(agents).open == 1); /* what is parked stays, the other one goes */
	assert_int_equal(serve_stats(agents).accepted, 2);
	assert_int_equal(controller.questions, 2);
	controller.generation++;
	controller.words = "[{\"name\":\"fix\",\"word\":9,\"action\":\"end_trial\"}]";
	park_wake(park, "agent");
	until(engine.n_words == 1);
	assert_int_equal(engine.word[0].action, AGENT_END_TRIAL);
}

static void what_is_seen_coming_is_reported_over_the_one_connection(void **state)
{
	(void)state;
	engine.ends_ms = 0;
	join("");
	until(engine.words == 1);
	agent_changed(agent);
	until(controller.reports == 2);
	engine.ends_ms = UINT64_MAX;
	until(controller.questions == 2);
	assert_int_equal(serve_stats(agents).accepted, 1);
}

static void a_question_is_back_when_something_ends(void **state)
{
	(void)state;
	engine.ends_ms = 4000;
	join("");
	until(controller.questions == 2);
	assert_in_range(controller.wait, 1, 4000);
}

static void numbers_of_reports_grow_over_a_restart(void **state)
{
	uint64_t last;

	(void)state;
	join("");
	until(controller.questions == 2);
	agent_changed(agent);
	until(controller.reports == 2);
	last = controller.seq;
	assert_int_equal(controller.first_seq + 1, last);
	leave();
	controller.first_seq = 0;
	join("");
	until(controller.reports == 3);
	assert_true(controller.first_seq > last);
}

static void a_controller_that_asks_to_wait_is_not_asked_before(void **state)
{
	struct agent_status s = {0};

	(void)state;
	controller.status = 503;
	controller.retry_after = "1000";
	controller.refuse_reports = 1;
	join("");
	until((agent_status(agent, &s), s.failed));
	assert_in_range(s.retry_in_ms, 990000, 1300000);
	leave();
	controller.retry_after = "99999999999";
	controller.refuse_reports = 1;
	join("");
	until((agent_status(agent, &s), s.failed));
	assert_in_range(s.retry_in_ms, 3590000, 4600000);
}

static void a_report_that_is_not_understood_does_not_silence_the_host(void **state)
{
	(void)state;
	controller.status = 400;
	controller.refuse_reports = 1000;
	join("");
	until(controller.questions >= 2);
}

static void a_host_that_may_not_come_in_asks_seldom_and_keeps_what_it_has(void **state)
{
	struct agent_status s = {0};

	(void)state;
	controller.status = 403;
	controller.refuse_questions = 2;
	join("");
	until((agent_status(agent, &s), s.failed));
	assert_int_equal(s.state, AGENT_WAITING);
	assert_in_range(s.retry_in_ms, 30, 100);
	until(controller.questions >= 4);
	agent_status(agent, &s);
	assert_int_equal(s.state, AGENT_CONNECTED);
}

static void who_answers_at_once_is_not_asked_all_the_time(void **state)
{
	uint64_t began = clock_mono_ns() / 1000000, ms;

	(void)state;
	controller.parks = false;
	join("");
	until(controller.questions >= 13);
	ms = clock_mono_ns() / 1000000 - began;
	assert_true(ms >= 2000); /* ten, and then one a second */
}

static void back_off_is_full_jitter_and_has_bounds(void **state)
{
	uint64_t most = 0, least = UINT64_MAX, sum = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t ms = agent_backoff_ms(4, 1000, 300000, i * 0x9e3779b97f4a7c15ULL);

		most = ms > most ? ms : most;
		least = ms < least ? ms : least;
		sum += ms;
	}
	assert_in_range(most, 7000, 8000);
	assert_true(least < 1000);
	assert_in_range(sum / 1000, 3000, 5000);
	assert_int_equal(agent_backoff_ms(1, 1000, 300000, 1000), 1000);
	assert_int_equal(agent_backoff_ms(1000000, 1000, 300000, 300000), 300000);
}

/* What the agent's dice show, in place of getrandom(2)'s. */
static bool loaded;
static uint64_t dice;

ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	if (!loaded || len != sizeof(dice))
		return syscall(SYS_getrandom, buf, len, flags);
	memcpy(buf, &dice, sizeof(dice));
	return sizeof(dice);
}

static struct agent_status status(void)
{
	struct agent_status s;

	agent_status(agent, &s);
	return s;
}

/* From not at all to all of it: hosts that lost a controller together do not come back together. */
static void who_finds_nobody_waits_as_its_dice_say(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	AUTO_CLOSE int nobody = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* listens */
	AUTO_FREE char *pem = make_certificate(ca, now_s, DAY_S);
	struct agent_opts opts = some_opts();
	socklen_t len = sizeof(in);
	char url[64];

	(void)state;
	assert_ok(bind(nobody, (struct sockaddr *)&in, len));
	assert_ok(getsockname(nobody, (struct sockaddr *)&in, &len));
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", ntohs(in.sin_port));
	opts.controllers = url;
	opts.backoff_ms = 1000;
	opts.backoff_max_ms = 600000;
	opts.kept = (struct agent_kept){.certificate = pem, .ca = ca_pem(ca), .url = ""};
	dice = 0;
	loaded = true;
	start(&opts);
	until(status().failed >= 12); /* an hour, if any of it were certain */
	dice = 600000;
	until(status().retry_in_ms);
	assert_in_range(status().retry_in_ms, 590000, 600000);
	leave();
	opts.backoff_ms = 100000;
	dice = 70000; /* of the first wait, after one failure */
	start(&opts);
	until(status().failed == 1);
	assert_in_range(status().retry_in_ms, 1, 70000);
	loaded = false;
}

/* How many may wait to be let in: of the listening socket the kernel says it here (tcp(7), TCP_INFO). */
static unsigned int queue_of(uint16_t port)
{
	for (int fd = 0; fd < 4096; fd++) {
		struct sockaddr_in in = {0};
		struct tcp_info info;
		socklen_t len = sizeof(in), info_len = sizeof(info);

		if (getsockname(fd, (struct sockaddr *)&in, &len) == 0 &&
		    in.sin_family == AF_INET && ntohs(in.sin_port) == port &&
		    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) == 0 &&
		    info.tcpi_state == TCP_LISTEN)
			return info.tcpi_sacked;
	}
	fail_msg("nobody listens at %u", port);
	return 0;
}

static long connect_ms;
static __typeof__(curl_easy_setopt) *real_setopt;

static CURLcode note_setopt(CURL *e, CURLoption option, ...)
{
	va_list ap;
	void *value; /* as wide as any of them */

	va_start(ap, option);
	value = va_arg(ap, void *);
	va_end(ap);
	if (option == CURLOPT_CONNECTTIMEOUT_MS)
		connect_ms = (long)(intptr_t)value;
	return real_setopt(e, option, value);
}

/* Else all that are behind the first would give up, come again, and wait behind those that left. */
static void who_waits_to_be_let_in_waits_longer_than_the_queue_may_last(void **state)
{
	const struct serve_limits limits = SERVE_LIMITS_AGENTS;
	unsigned int slowest_per_s = limits.accepts_per_s / 5 + 1; /* handshakes pile up */

	(void)state;
	real_setopt = agent_lib.curl_easy_setopt_;
	agent_lib.curl_easy_setopt_ = note_setopt;
	join("");
	until(controller.questions);
	agent_lib.curl_easy_setopt_ = real_setopt;
	assert_in_range(queue_of(serve_port(agents)), 128, 1024);
	assert_true(connect_ms > 1500L * queue_of(serve_port(agents)) / slowest_per_s);
	assert_true(connect_ms > 15000); /* the kernel may allow less than was asked for */
}

static void heartbeats_of_hosts_spread_and_keep_their_place(void **state)
{
	unsigned int slot[10] = {0};
	char id[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t wait, next;

		snprintf(id, sizeof(id), "%08x", i);
		wait = agent_phase_ms(id, 30000, 1234567);
		assert_in_range(wait, 1000, 32000);
		slot[(1234567 + wait) % 30000 / 3000]++;
		/* Its answer came 50 ms late. */
		next = agent_phase_ms(id, 30000, 1234567 + wait + 50);
		assert_int_equal(next, 29950);
	}
	for (size_t i = 0; i < ARRAY_SIZE(slot); i++)
		assert_in_range(slot[i], 60, 140);
}

/* ---- certificates ------------------------------------------------------------------------------- */

static void a_certificate_is_renewed_when_two_thirds_of_its_life_are_over(void **state)
{
	AUTO_FREE char *pem = make_certificate(ca, now_s - 1000, 1200);
	struct agent_opts opts = some_opts();
	struct agent_status s;
	char url[64];

	(void)state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", serve_port(agents));
	opts.controllers = url;
	opts.kept = (struct agent_kept){.certificate = pem, .ca = ca_pem(ca), .url = ""};
	start(&opts);
	until(engine.certificate && strcmp(engine.certificate, pem) != 0);
	until(controller.questions >= 2);
	assert_int_equal(controller.renewals, 1);
	agent_status(agent, &s);
	assert_in_range(s.not_after_s, now_s + DAY_S - 60, now_s + DAY_S + 60);
	leave(); /* with what was kept, as after a restart */
	opts.kept.certificate = engine.certificate;
	start(&opts);
	until(controller.reports == 2);
	assert_int_equal(controller.renewals, 1);
}

/* It was behind when the host started, and was set since. */
static void a_clock_that_is_set_forward_brings_a_renewal_nearer(void **state)
{
	AUTO_FREE char *pem = make_certificate(ca, now_s - 400, 1200);
	struct agent_opts opts = some_opts();
	char url[64];

	(void)state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", serve_port(agents));
	opts.controllers = url;
	opts.kept = (struct agent_kept){.certificate = pem, .ca = ca_pem(ca), .url = ""};
	controller.heartbeat_ms = 1000;
	controller.parks = false;
	start(&opts);
	until(controller.questions >= 2);
	assert_int_equal(controller.renewals, 0);
	skew_ms = 600000;
	until(engine.certificate && strcmp(engine.certificate, pem) != 0);
	assert_int_equal(controller.renewals, 1);
}

static void two_authorities_are_trusted_while_one_takes_over(void **state)
{
	AUTO(ca_freep) struct ca *old = certify_ca("old", now_s, DAY_S);
	AUTO_FREE char *pem = make_certificate(ca, now_s, DAY_S), *both = NULL;
	struct agent_opts opts = some_opts();
	char url[64];

	(void)state;
	snprintf(url, sizeof(url), "https://localhost:%u", serve_port(agents)); /* by name */
	opts.controllers = url;
	opts.kept = (struct agent_kept){.certificate = pem, .ca = ca_pem(old), .url = ""};
	start(&opts);
	until(strstr(why_of(), "certificate"));
	assert_int_equal(controller.reports, 0);
	leave();
	assert_true(asprintf(&both, "%s%s", ca_pem(old), ca_pem(ca)) > 0);
	opts.kept.ca = both;
	start(&opts);
	until(controller.questions >= 2);
}

static void the_next_controller_is_asked_when_one_is_gone(void **state)
{
	char urls[128];

	(void)state;
	snprintf(urls, sizeof(urls), "https://127.0.0.1:1 https://127.0.0.1:%u",
		 serve_port(agents));
	join(urls);
	until(controller.questions >= 2);
}

/* ---- who means harm ------------------------------------------------------------------------------ */

enum harm {
	BODY_ENDLESS,
	BODY_DRIPS,
	HEADERS_ENDLESS,
	LENGTH_HUGE,
	REDIRECT,
	SILENT,
	BREAKS_OFF, /* bundles: half of it, the rest when asked for that */
	STALLS,	    /* bundles: nearly all of it, and then nothing; the rest as above */
	LIES,	    /* bundles: others */
};

static pid_t harmer;
static uint16_t harm_port;
static char *harm_file; /* what it was asked is appended */

static void write_all(SSL *ssl, const char *text, size_t len)
{
	while (len) {
		int n = SSL_write(ssl, text, (int)len);

		if (n <= 0)
			_exit(0);
		text += n;
		len -= (size_t)n;
	}
}

static void say(SSL *ssl, const char *text)
{
	write_all(ssl, text, strlen(text));
}

static void answer_harm(SSL *ssl, enum harm harm, const char *request, const char *bundle,
			size_t len)
{
	static char filler[65536];
	char head[256];
	const char *range = strstr(request, "Range: bytes=");
	size_t from = range ? strtoul(range + 13, NULL, 10) : 0;

	if (strstr(request, "/v1/agent/report") && harm >= BREAKS_OFF) {
		say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"seq\":1}");
		return;
	}
	if (strstr(request, "/v1/agent/desired")) {
		char sha[65], body[512];
		uint8_t digest[32];

		bytes_sha256(bundle, len, digest);
		snprintf(
			body, sizeof(body),
			"{\"generation\":1,\"heartbeat_ms\":30000,\"words\":[{\"name\":\"fix\","
			"\"word\":1,\"action\":\"apply\",\"to\":1,\"bundle\":{\"sha256\":\"%s\","
			"\"bytes\":%zu}}]}",
			bytes_to_hex(digest, 32, sha), len);
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 strlen(body));
		say(ssl, head);
		say(ssl, body);
		return;
	}
	memset(filler, 'x', sizeof(filler));
	switch (harm) {
	case BODY_ENDLESS:
		say(ssl, "HTTP/1.1 200 OK\r\n\r\n");
		for (;;)
			write_all(ssl, filler, sizeof(filler));
	case BODY_DRIPS:
		say(ssl, "HTTP/1.1 200 OK\r\n\r\n");
		for (;;) {
			say(ssl, " ");
			usleep(100000);
		}
	case HEADERS_ENDLESS:
		say(ssl, "HTTP/1.1 200 OK\r\n");
		for (;;)
			say(ssl, "X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n");
	case LENGTH_HUGE:
		say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{");
		return;
	case REDIRECT:
		snprintf(head, sizeof(head),
			 "HTTP/1.1 307 Go\r\nLocation: https://127.0.0.1:%u/elsewhere\r\n"
			 "Content-Length: 0\r\n\r\n",
			 harm_port);
		say(ssl, head);
		return;
	case SILENT:
		for (;;)
			pause();
	case BREAKS_OFF:
	case STALLS:
		if (from) {
			snprintf(head, sizeof(head),
				 "HTTP/1.1 206 Part\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
				 "Content-Length: %zu\r\n\r\n",
				 from, len - 1, len, len - from);
			say(ssl, head);
			write_all(ssl, bundle + from, len - from);
		} else {
			snprintf(head, sizeof(head),
				 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
			say(ssl, head);
			if (harm == STALLS) {
				write_all(ssl, bundle, len - 100);
				for (;;)
					pause();
			}
			write_all(ssl, bundle, len / 2);
			SSL_shutdown(ssl);
			shutdown(SSL_get_fd(ssl), SHUT_RDWR);
		}
		return;
	case LIES:
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 len);
		say(ssl, head);
		write_all(ssl, filler, len);
		return;
	}
}

/* A process for each connection, so that one may wait for ever. */
static void serve_harm(int listener, enum harm harm, const char *bundle, size_t len)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	signal(SIGCHLD, SIG_IGN);
	SSL_CTX_use_certificate_chain_file(context, unit_path("listener.crt"));
	SSL_CTX_use_PrivateKey_file(context, unit_path("listener.key"), SSL_FILETYPE_PEM);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		SSL *ssl;
		char in[4096];
		int n;

		if (fd < 0 || fork()) {
			close(fd);
			continue;
		}
		ssl = SSL_new(context);
		SSL_set_fd(ssl, fd);
		if (SSL_accept(ssl) != 1)
			_exit(0);
		while ((n = SSL_read(ssl, in, sizeof(in) - 1)) > 0) {
			int log = open(harm_file, O_WRONLY | O_APPEND | O_CREAT, 0600);

			in[n] = 0;
			dprintf(log, "%s", in);
			close(log);
			/* A body may follow its headers by itself: it is of no interest. */
			if (strncmp(in, "GET ", 4) == 0 || strncmp(in, "POST ", 5) == 0)
				answer_harm(ssl, harm, in, bundle, len);
		}
		_exit(0);
	}
}

static void start_harm(enum harm harm, const char *bundle, size_t len)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_ok(bind(fd, (struct sockaddr *)&at, sizeof(at)));
	assert_ok(listen(fd, 16));
	assert_ok(getsockname(fd, (struct sockaddr *)&at, &size));
	harm_port = ntohs(at.sin_port);
	free(harm_file);
	harm_file = strdup(unit_path("asked"));
	unlink(harm_file);
	harmer = fork();
	assert_true(harmer >= 0);
	if (!harmer) {
		setpgid(0, 0);
		serve_harm(fd, harm, bundle, len);
	}
	setpgid(harmer, harmer);
	close(fd);
}

static void end_harm(void)
{
	kill(-harmer, SIGKILL);
	waitpid(harmer, NULL, 0);
}

static long memory_kb(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static void no_answer_takes_more_than_its_room_and_its_time(void **state)
{
	static const struct {
		enum harm harm;
		const char *why;
	} cases[] = {
		{BODY_ENDLESS, "longer than it may be"},
		{BODY_DRIPS, "did not answer within its time"},
		{HEADERS_ENDLESS, "endless headers"},
		{LENGTH_HUGE, "longer than it may be"},
		{REDIRECT, "HTTP status 307"},
		{SILENT, "did not answer within its time"},
	};
	char url[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		long before = memory_kb();
		AUTO_FREE uint8_t *asked = NULL;
		size_t len;

		start_harm(cases[i].harm, "", 0);
		snprintf(url, sizeof(url), "https://127.0.0.1:%u", harm_port);
		join(url);
		until(strstr(why_of(), cases[i].why));
		leave();
		end_harm();
		assert_true(memory_kb() - before < 20000);
		assert_ok(io_read_file(harm_file, 1 << 20, &asked, &len));
		assert_null(strstr((char *)asked, "/elsewhere"));
		assert_int_equal(engine.words, 0);
	}
}

static void answers_of_the_wrong_shape_lead_to_nothing(void **state)
{
	static const char *const answers[] = {
		"",
		"[]",
		"null",
		"{\"generation\":1}",
		"{\"generation\":\"1\",\"heartbeat_ms\":30000,\"words\":[]}",
		"{\"generation\":1,\"heartbeat_ms\":-5,\"words\":[]}",
		"{\"generation\":1e400,\"heartbeat_ms\":30000,\"words\":[]}",
		"{\"generation\":99999999999999999999999,\"heartbeat_ms\":30000,\"words\":[]}",
		"{\"generation\":1,\"heartbeat_ms\":30000,\"words\":{}}",
		"{\"generation\":1,\"generation\":2,\"heartbeat_ms\":30000,\"words\":[]}",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct agent_status s = {0};
		unsigned int asked = controller.questions;

		controller.answer = answers[i];
		join("");
		until(controller.questions >= asked + 3);
		agent_status(agent, &s);
		assert_true(s.failed >= 2);
		assert_int_equal(engine.words, 0);
		leave();
	}
}

static void an_endless_heartbeat_is_cut_and_an_endless_list_refused(void **state)
{
	AUTO_FREE char *many = malloc(200000);
	struct agent_status s = {0};
	size_t at;

	(void)state;
	controller.heartbeat_ms = 9007199254740991ULL;
	join("");
	until(controller.questions >= 2);
	agent_status(agent, &s);
	assert_int_equal(s.heartbeat_ms, 600000);
	assert_true(controller.wait < 700000);
	leave();
	at = (size_t)sprintf(many, "{\"generation\":1,\"heartbeat_ms\":1000,\"words\":[");
	for (int i = 0; i < 300; i++)
		at += (size_t)sprintf(many + at,
				      "%s{\"name\":\"f%d\",\"word\":1,\"action\":\"withdraw\"}",
				      i ? "," : "", i);
	sprintf(many + at, "]}");
	controller.answer = many;
	engine.words = 0;
	join("");
	until((agent_status(agent, &s), s.failed >= 2));
	assert_int_equal(engine.words, 0);
}

/* ---- bundles ------------------------------------------------------------------------------------- */

static char *some_bundle(size_t len)
{
	char *b = malloc(len);

	for (size_t i = 0; i < len; i++)
		b[i] = (char)(i * 7 + i / 251);
	return b;
}

static void a_bundle_that_breaks_off_is_gone_on_with(void **state)
{
	AUTO_FREE char *bundle = some_bundle(80000);
	AUTO_FREE uint8_t *asked = NULL;
	char url[64];
	size_t len;

	(void)state;
	start_harm(BREAKS_OFF, bundle, 80000);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", harm_port);
	join(url);
	until(engine.bundles == 1);
	assert_int_equal(engine.bundle_len, 80000);
	assert_memory_equal(engine.bundle, bundle, 80000);
	assert_int_equal(engine.failures, 0);
	assert_ok(io_read_file(harm_file, 1 << 20, &asked, &len));
	assert_non_null(strstr((char *)asked, "Range: bytes=40000-"));
	end_harm();
}

static void what_came_of_a_bundle_outlasts_the_agent(void **state)
{
	AUTO_FREE char *bundle = some_bundle(90000);
	AUTO_FREE uint8_t *asked = NULL;
	char url[64], range[64];
	size_t len, kept;

	(void)state;
	start_harm(STALLS, bundle, 90000);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", harm_port);
	join(url);
	until(engine.part_len);
	leave();
	kept = engine.part_len;
	assert_true(kept >= 65536 && kept < 90000);
	join(url);
	until(engine.bundles == 1);
	assert_int_equal(engine.bundle_len, 90000);
	assert_memory_equal(engine.bundle, bundle, 90000);
	assert_int_equal(engine.part_len, 0);
	assert_ok(io_read_file(harm_file, 1 << 20, &asked, &len));
	snprintf(range, sizeof(range), "Range: bytes=%zu-", kept);
	assert_non_null(strstr((char *)asked, range));
	end_harm();
}

static void parts_that_are_of_something_else_are_no_use_and_go(void **state)
{
	AUTO_FREE char *bundle = some_bundle(80000);
	char url[64];

	(void)state;
	start_harm(BREAKS_OFF, bundle, 80000);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", harm_port);
	bytes_sha256(bundle, 80000, engine.part_of);
	memset(engine.part, 'x', 30000);
	engine.part_len = 30000;
	join(url);
	until(engine.bundles == 1);
	assert_memory_equal(engine.bundle, bundle, 80000);
	assert_int_equal(engine.part_len, 0);
	leave();
	/* What nobody wants any more. */
	memset(engine.part_of, 7, sizeof(engine.part_of));
	engine.part_len = 30000;
	join(url);
	until(!engine.part_len);
	end_harm();
}

static void a_bundle_that_is_another_is_never_handed_on(void **state)
{
	AUTO_FREE char *bundle = some_bundle(5000);
	char url[64];

	(void)state;
	start_harm(LIES, bundle, 5000);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", harm_port);
	join(url);
	until(engine.failures == 1);
	assert_int_equal(engine.bundles, 0);
	assert_int_equal(engine.why.code, FAIL_BAD_DIGEST);
	end_harm();
}

static void a_bundle_longer_than_was_said_is_not_read_to_its_end(void **state)
{
	uint8_t digest[32];
	char sha[65], words[512];

	(void)state;
	controller.bundle = some_bundle(90000);
	controller.bundle_len = 90000;
	bytes_sha256(controller.bundle, 50, digest);
	snprintf(words, sizeof(words),
		 "[{\"name\":\"fix\",\"word\":1,\"action\":\"apply\",\"to\":1,\"bundle\":"
		 "{\"sha256\":\"%s\",\"bytes\":50}}]",
		 bytes_to_hex(digest, 32, sha));
	controller.words = words;
	join("");
	until(engine.failures == 1);
	assert_int_equal(engine.bundles, 0);
	free(controller.bundle);
}

static void a_bundle_is_fetched_once_over_the_same_connection(void **state)
{
	uint8_t digest[32];
	char sha[65], words[1024];

	(void)state;
	controller.bundle = some_bundle(90000);
	controller.bundle_len = 90000;
	bytes_sha256(controller.bundle, 90000, digest);
	bytes_to_hex(digest, 32, sha);
	snprintf(words, sizeof(words),
		 "[{\"name\":\"fix\",\"word\":1,\"action\":\"apply\",\"to\":1,\"bundle\":"
		 "{\"sha256\":\"%s\",\"bytes\":90000}},"
		 "{\"name\":\"two\",\"word\":1,\"action\":\"apply\",\"to\":1,\"bundle\":"
		 "{\"sha256\":\"%s\",\"bytes\":90000}}]",
		 sha, sha);
	controller.words = words;
	join("");
	until(controller.questions >= 2);
	assert_int_equal(engine.bundles, 1);
	assert_int_equal(controller.fetches, 1);
	assert_string_equal(controller.range, "");
	assert_int_equal(serve_stats(agents).accepted, 1);
	free(controller.bundle);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_host_enrols_with_its_token_and_asks_from_then_on),
		T(an_authority_that_the_token_does_not_name_is_told_nothing),
		T(a_token_that_is_refused_is_not_tried_again_soon),
		T(what_is_no_token_key_or_url_is_said_at_once),
		T(words_come_after_the_documents_that_they_need),
		T(changes_are_reported_together_while_a_question_is_parked),
		T(what_is_seen_coming_is_reported_over_the_one_connection),
		T(a_question_is_back_when_something_ends),
		T(numbers_of_reports_grow_over_a_restart),
		T(a_controller_that_asks_to_wait_is_not_asked_before),
		T(a_report_that_is_not_understood_does_not_silence_the_host),
		T(a_host_that_may_not_come_in_asks_seldom_and_keeps_what_it_has),
		T(who_answers_at_once_is_not_asked_all_the_time),
		T(back_off_is_full_jitter_and_has_bounds),
		T(who_finds_nobody_waits_as_its_dice_say),
		T(who_waits_to_be_let_in_waits_longer_than_the_queue_may_last),
		T(heartbeats_of_hosts_spread_and_keep_their_place),
		T(a_certificate_is_renewed_when_two_thirds_of_its_life_are_over),
		T(a_clock_that_is_set_forward_brings_a_renewal_nearer),
		T(two_authorities_are_trusted_while_one_takes_over),
		T(the_next_controller_is_asked_when_one_is_gone),
		T(no_answer_takes_more_than_its_room_and_its_time),
		T(answers_of_the_wrong_shape_lead_to_nothing),
		T(an_endless_heartbeat_is_cut_and_an_endless_list_refused),
		T(a_bundle_that_breaks_off_is_gone_on_with),
		T(what_came_of_a_bundle_outlasts_the_agent),
		T(parts_that_are_of_something_else_are_no_use_and_go),
		T(a_bundle_that_is_another_is_never_handed_on),
		T(a_bundle_longer_than_was_said_is_not_read_to_its_end),
		T(a_bundle_is_fetched_once_over_the_same_connection),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
