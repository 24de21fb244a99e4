// SPDX-License-Identifier: BSD-2-Clause
/*
 * What hosts meet at a controller, over real TLS and with the real store, each case on a file and on
 * PostgreSQL: enrolment, what they shall run, reports, documents, bundles, certificates that are
 * renewed, rolled over and revoked, and a database that is away.
 *
 * The controller's parts and the clients share one loop.
 */
#include "tests/unit/client.h"

#include "tests/unit/pg_group.h"
#include "tests/unit/signed.h"

#include "lib/json.h"
#include "server/controller/agents.h"
#include "server/controller/catalogue.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/director.h"
#include "server/controller/enrol.h"
#include "server/controller/park.h"
#include "server/controller/reports.h"
#include "server/controller/roots.h"
#include "store/catalog.h"
#include "store/fleet.h"

#define BUNDLE_BYTES 1000001

static struct settings settings;
static struct controller c;
static bool on_server;
static struct ca *ca;
static struct fleet_answer *a;
static uint8_t bundle[BUNDLE_BYTES], bundle_digest[32];
static char bundle_path[128];

/* ---- the controller -------------------------------------------------------------------------- */

static void on_wake(const char *topic, void *cookie)
{
	(void)cookie;
	if (c.roots)
		roots_on_wake(c.roots, topic);
	if (c.catalogue)
		catalogue_on_wake(c.catalogue, topic);
	if (c.agents)
		agents_on_wake(c.agents, topic);
}

static void on_answer(struct fleet_answer *answer, void *cookie)
{
	(void)cookie;
	a = answer;
}

/* What an operation comes to, while the controller goes on. */
#define DO(op, ...)                                                   \
	({                                                            \
		fleet_answer_free(take_ptr(a));                       \
		assert_ok(op(c.fleet, __VA_ARGS__, on_answer, NULL)); \
		until(a);                                             \
		a->r;                                                 \
	})

#define must(call)                                                  \
	do {                                                        \
		if ((call) < 0)                                     \
			fail_msg("%s: %s", #call, a->fail.message); \
	} while (0)

static const char *where(void)
{
	return on_server ? pg_url(&pg) : unit_path("fleet.db");
}

static void start(void)
{
	struct fail fail = {.message = ""};

	client_why = "";
	c = (struct controller){.base = base, .settings = &settings};
	snprintf(c.actor, sizeof(c.actor), "controller:test");
	assert_ok(park_new(base, 4000, &c.park));
	if (database_new(base, where(), on_wake, NULL, &c.database, &c.fleet, &fail) < 0 ||
	    roots_new(&c, &c.roots, &fail) < 0 || director_new(&c, &c.director, &fail) < 0 ||
	    catalogue_new(&c, &c.catalogue, &fail) < 0 ||
	    reports_new(&c, &c.reports, &fail) < 0 || enrol_new(&c, &c.enrol, &fail) < 0 ||
	    agents_new(&c, &c.agents, &fail) < 0)
		fail_msg("%s", fail.message);
	client_port = c.port.agents;
}

/* As main.c does it. */
static void stop(void)
{
	a = fleet_answer_free(a);
	c.database = database_free(c.database);
	c.fleet = NULL;
	c.park = park_free(c.park);
	c.agents = agents_free(c.agents);
	c.enrol = enrol_free(c.enrol);
	c.reports = reports_free(c.reports);
	c.catalogue = catalogue_free(c.catalogue);
	c.director = director_free(c.director);
	c.roots = roots_free(c.roots);
}

static struct fleet_entry entry(const char *action)
{
	return (struct fleet_entry){.at_ms = clock_real_ms(),
				    .actor = "anna",
				    .action = action,
				    .subject = "test",
				    .result = "ok"};
}

/* ---- hosts ------------------------------------------------------------------------------------- */

struct host {
	char id[KEY_ID_BYTES], file[32];
	EVP_PKEY *key;
	char *request, *certificate;
};

static struct host alpha, beta;

static void host_new(struct host *h, const char *file)
{
	AUTO_FREE char *secret = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	char path[64];

	snprintf(h->file, sizeof(h->file), "%s", file);
	h->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	h->request = certify_request(h->key, h->key, NULL);
	assert_ok(ca_request_host(h->request, strlen(h->request), h->id, NULL));
	PEM_write_bio_PKCS8PrivateKey(bio, h->key, NULL, NULL, 0, NULL, NULL);
	secret = certify_text(bio);
	snprintf(path, sizeof(path), "%s.key", file);
	assert_ok(io_write_file(unit_path(path), secret, strlen(secret), 0600));
}

static void keep_certificate(struct host *h, const char *pem)
{
	char path[64];

	free(h->certificate);
	h->certificate = strdup(pem);
	snprintf(path, sizeof(path), "%s.crt", h->file);
	certify_write(path, pem, "");
}

static void host_free(struct host *h)
{
	EVP_PKEY_free(h->key);
	free(h->request);
	free(h->certificate);
	memset(h, 0, sizeof(*h));
}

static json_t *json_of(const struct client *x)
{
	const char *body = body_of(x);
	json_t *doc = NULL;

	assert_non_null(body);
	if (json_parse("answer", body, strlen(body), &doc, NULL) < 0)
		fail_msg("no JSON: %s", x->in);
	return doc;
}

static int post(struct client *x, const char *path, const char *body)
{
	AUTO_FREE char *text = NULL;

	x->len = 0;
	x->in[0] = 0;
	assert_true(asprintf(&text,
			     "POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: %zu\r\n\r\n%s",
			     path, strlen(body), body) > 0);
	say(x, text);
	until(answered(x) || x->closed);
	return status_of(x);
}

static int post_json(struct client *x, const char *path, json_t *doc)
{
	AUTO_FREE char *text = json_dumps(doc, JSON_COMPACT);

	json_decref(doc);
	return post(x, path, text);
}

/* A token that is good for ms, as an operator makes it. */
static void token_for(uint64_t ms, char text[ENROL_TOKEN_BYTES])
{
	struct fleet_entry e = entry("TOKEN");
	uint8_t hash[32];
	struct fleet_token t = {.hash = hash,
				.labels = "{\"tier\":\"web\"}",
				.actor = "anna",
				.created_ms = e.at_ms,
				.expires_ms = e.at_ms + ms};

	assert_ok(enrol_token(c.enrol, text, hash, NULL));
	must(DO(fleet_add_token, &t, &e));
}

static struct client *stranger(void)
{
	struct client *x;

	client_port = c.port.enroll;
	x = join(NULL);
	client_port = c.port.agents;
	return x;
}

static int enrol_with(const char *token, const struct host *h, json_t **ret_answer)
{
	AUTO(hang_upp) struct client *x = stranger();
	int status = post_json(x, "/v1/enroll",
			       json_pack("{s:s, s:s, s:s}", "token", token, "request",
					 h->request, "name", h->file));

	if (ret_answer)
		*ret_answer = json_of(x);
	return status;
}

static void enrol(struct host *h)
{
	AUTO_JSON json_t *answer = NULL;
	char token[ENROL_TOKEN_BYTES];

	token_for(60000, token);
	assert_int_equal(enrol_with(token, h, &answer), 200);
	assert_string_equal(json_string_value(json_object_get(answer, "host")), h->id);
	keep_certificate(h, json_string_value(json_object_get(answer, "certificate")));
}

static struct client *connect_as(const struct host *h)
{
	return join(h->file);
}

static struct fleet_host row_of(const struct host *h)
{
	struct fleet_host row;

	must(DO(fleet_host, h->id));
	assert_true(fleet_next_host(a, &row));
	return row;
}

#define REPORT(seq, hotfixes)                                               \
	"{\"seq\":" #seq ",\"boot_id\":\"boot\",\"kernel\":\"6.1.0-9\","    \
	"\"arch\":\"x86_64\",\"zone\":\"z1\",\"labels\":{\"rack\":\"r1\"}," \
	"\"hotfixd\":\"1.0\",\"hotfixes\":" hotfixes ",\"health\":{\"oops\":0}}"

/* A rollout whose owner is this test says this to that host. */
static void tell(const struct host *h, const char *body)
{
	static unsigned int n;
	struct fleet_entry e = entry("WORD");
	char id[32];
	struct fleet_rollout r = {.id = id, .name = id, .state = "{}", .active = true};
	struct fleet_word w = {.host = h->id, .name = id, .rollout = id, .body = body};
	struct fleet_step s = {.id = id,
			       .name = id,
			       .generation = 1,
			       .epoch = 1,
			       .state = "{}",
			       .active = true,
			       .words = &w,
			       .n_words = 1};

	snprintf(id, sizeof(id), "r%u", n++);
	w.len = strlen(body);
	r.generation = 1;
	must(DO(fleet_new_rollout, &r, &e));
	must(DO(fleet_claim, "test", 60000));
	must(DO(fleet_step, &s));
}

/* Something is new for that host, and no wake-up says so. */
static void write_quietly(const struct host *h)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	struct fleet *f = NULL;
	struct fail fail = {.message = ""};

	if (fleet_open(where(), 0, 0, &f, &fail) < 0)
		fail_msg("%s", fail.message);
	db_add(b, "INSERT INTO desired(host, generation, change) VALUES ($1, 1, 1)", "s",
	       h->id);
	if (db_run(fleet_db(f), b, &fail) < 0)
		fail_msg("%s", fail.message);
	fleet_free(f);
}

/* ---- enrolment --------------------------------------------------------------------------------- */

static void whoever_shows_a_token_becomes_the_host_of_its_key(void **state)
{
	AUTO_JSON json_t *answer = NULL, *first = NULL;
	AUTO(hang_upp) struct client *x = stranger();
	char token[ENROL_TOKEN_BYTES], print[CA_NAME_BYTES];
	struct fleet_host row;

	(void)state;
	assert_int_equal(ask(x, "/v1/ca"), 200);
	first = json_of(x);
	assert_ptr_equal(strstr(json_string_value(json_object_get(first, "ca")), ca_pem(ca)),
			 json_string_value(json_object_get(first, "ca")));
	token_for(60000, token);
	assert_string_equal(token + 70, ca_fingerprint(ca, print)); /* what the host checks */
	assert_int_equal(enrol_with(token, &alpha, &answer), 200);
	assert_string_equal(json_string_value(json_object_get(answer, "host")), alpha.id);
	assert_non_null(
		strstr(json_string_value(json_object_get(answer, "agents")), "https://here:"));
	row = row_of(&alpha);
	assert_string_equal(row.name, "alpha");
	assert_non_null(strstr(row.labels, "web"));
}

static void a_token_counts_once_in_time_and_for_who_signed_the_request(void **state)
{
	AUTO_FREE char *forged = NULL;
	struct host both = beta;
	char token[ENROL_TOKEN_BYTES], late_one[ENROL_TOKEN_BYTES], unknown[ENROL_TOKEN_BYTES];
	AUTO_JSON json_t *used = NULL, *over = NULL, *none = NULL;

	(void)state;
	token_for(60000, token);
	assert_int_equal(enrol_with(token, &alpha, NULL), 200);
	assert_int_equal(enrol_with(token, &beta, &used), 403);
	assert_int_equal(enrol_with(token, &alpha, NULL), 403);
	token_for(0, late_one);
	assert_int_equal(enrol_with(late_one, &beta, &over), 403);
	memset(unknown, 'a', sizeof(unknown) - 1);
	memcpy(unknown, token, 5);
	unknown[69] = '.';
	unknown[sizeof(unknown) - 1] = 0;
	assert_int_equal(enrol_with(unknown, &beta, &none), 403);
	assert_true(json_equal(used, over) &&
		    json_equal(over, none)); /* nothing is given away */
	/* A request for a key that somebody else signed proves nothing, and costs no token. */
	token_for(60000, token);
	forged = certify_request(alpha.key, beta.key, NULL);
	both.request = forged;
	assert_int_equal(enrol_with(token, &both, NULL), 422);
	assert_int_equal(enrol_with(token, &beta, NULL), 200);
}

static void nothing_else_is_to_be_had_without_a_certificate(void **state)
{
	static const struct {
		const char *body;
		int status;
	} cases[] = {
		{"", 422},
		{"[]", 422},
		{"{\"token\":\"x\"}", 422},
		{"{\"token\":\"x\",\"request\":\"y\",\"name\":\"a b\"}", 422},
		{"{\"token\":\"x\",\"request\":\"y\",\"name\":\"web1\"}", 403},
		{"{\"token\":\"x\",\"request\":\"y\",\"name\":\"web1\",\"more\":1}", 422},
		{"{\"token\":\"x\",\"token\":\"x\",\"request\":\"y\",\"name\":\"web1\"}", 422},
	};
	AUTO(hang_upp) struct client *x = stranger(), *agent = NULL;

	(void)state;
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 404);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (post(x, "/v1/enroll", cases[i].body) != cases[i].status)
			fail_msg("case %zu: %s", i, x->in);
	agent = begin(NULL);
	until(agent->open || agent->closed);
	if (agent->open)
		get(agent, "/v1/agent/desired?generation=0&wait=0");
	until(agent->closed);
	assert_int_equal(agent->len, 0);
}

static void an_outside_authority_may_vouch_for_hosts(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;
	struct fleet_certificate row;

	(void)state;
	stop();
	settings.ca_prefix[0] = 0;
	start();
	certify_client(ca, "outside", CA_HOST, host_a, clock_real_ms() / 1000, DAY_S);
	x = join("outside");
	until(ask(x, "/v1/agent/desired?generation=0&wait=0") == 200);
	must(DO(fleet_host, host_a));
	must(DO(fleet_certificates, host_a)); /* it can be revoked */
	assert_true(fleet_next_certificate(a, &row));
	assert_int_equal(post(x, "/v1/agent/renew", "{\"request\":\"x\"}"), 422);
}

/* ---- what hosts are told ------------------------------------------------------------------------- */

static void a_host_that_waits_hears_a_new_word_at_once(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL;
	AUTO_JSON json_t *doc = NULL;
	uint64_t begun;

	(void)state;
	enrol(&alpha);
	enrol(&beta);
	x = connect_as(&alpha);
	y = connect_as(&beta);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 200);
	assert_non_null(strstr(x->in, "\"generation\":0"));
	assert_int_equal(ask(y, "/v1/agent/desired?generation=0&wait=0"), 200);
	get(x, "/v1/agent/desired?generation=0&wait=30000");
	get(y, "/v1/agent/desired?generation=0&wait=30000");
	until(park_count(c.park) == 2);
	begun = clock_up_ms();
	tell(&alpha, "{\"name\":\"fix\",\"word\":7}");
	until(answered(x));
	assert_true(clock_up_ms() - begun < 20000);
	doc = json_of(x);
	assert_int_equal(json_integer_value(json_object_get(doc, "generation")), 1);
	assert_int_equal(json_integer_value(json_object_get(
				 json_array_get(json_object_get(doc, "words"), 0), "word")),
			 7);
	assert_int_equal(park_count(c.park), 1); /* the other one goes on */
	assert_int_equal(y->len, 0);
}

/* One connection of it was given up and not noticed, say: what is read for that one is news to the other. */
static void a_word_that_one_question_of_a_host_finds_is_told_to_the_other(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL;
	uint64_t begun;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	y = connect_as(&alpha);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 200);
	get(x, "/v1/agent/desired?generation=0&wait=30000");
	until(park_count(c.park) == 1);
	begun = clock_up_ms();
	write_quietly(&alpha);
	assert_int_equal(ask(y, "/v1/agent/desired?generation=0&wait=0"), 200);
	assert_non_null(strstr(y->in, "\"generation\":1"));
	until(answered(x));
	assert_non_null(strstr(x->in, "\"generation\":1"));
	assert_true(clock_up_ms() - begun < 20000);
}

static void all_words_come_again_when_the_time_is_over_or_the_host_knows_none(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;

	(void)state;
	enrol(&alpha);
	tell(&alpha, "{\"name\":\"one\"}");
	tell(&alpha, "{\"name\":\"two\"}");
	x = connect_as(&alpha);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=30000"), 200);
	assert_non_null(strstr(x->in, "\"words\":[{\"name\":\"one\"},{\"name\":\"two\"}]"));
	assert_int_equal(ask(x, "/v1/agent/desired?generation=2&wait=200"), 200);
	assert_non_null(strstr(x->in, "\"words\":[{\"name\":\"one\"},{\"name\":\"two\"}]"));
	assert_int_equal(ask(x, "/v1/agent/desired"), 400);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=-1&wait=0"), 400);
}

static void asking_is_a_heartbeat(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;
	uint64_t seen_ms;

	(void)state;
	enrol(&alpha);
	seen_ms = row_of(&alpha).seen_ms;
	x = connect_as(&alpha);
	do
		assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=50"), 200);
	while (row_of(&alpha).seen_ms <= seen_ms);
}

/* ---- reports ------------------------------------------------------------------------------------- */

static void a_report_is_stored_before_it_is_answered(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;
	struct fleet_host row;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	assert_int_equal(post(x, "/v1/agent/report",
			      REPORT(5, "{\"fix\":{\"state\":\"trial\",\"word\":3,"
					"\"metrics\":{\"retrans\":[1,2.5]}}}")),
			 200);
	assert_non_null(strstr(x->in, "{\"seq\":5}"));
	row = row_of(&alpha);
	assert_int_equal(row.seq, 5);
	assert_string_equal(row.kernel, "6.1.0-9");
	assert_string_equal(row.zone, "z1");
	assert_non_null(strstr(row.facts, "rack"));
	assert_non_null(strstr(row.hotfixes, "\"word\":3"));
	assert_non_null(strstr(row.health, "\"hotfixd\":\"1.0\""));
	/* Said before, or by a host that lost count: it learns what is known. */
	assert_int_equal(post(x, "/v1/agent/report", REPORT(4, "{}")), 200);
	assert_non_null(strstr(x->in, "{\"seq\":5}"));
	row = row_of(&alpha);
	assert_non_null(strstr(row.hotfixes, "trial"));
}

static void a_report_is_about_who_makes_it_whatever_it_says(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;

	(void)state;
	enrol(&alpha);
	enrol(&beta);
	x = connect_as(&alpha);
	assert_int_equal(post(x, "/v1/agent/report", REPORT(9, "{}")), 200);
	assert_int_equal(row_of(&alpha).seq, 9);
	assert_int_equal(row_of(&beta).seq, 0);
	assert_int_equal(post(x, "/v1/agent/report",
			      "{\"host\":\"another\",\"seq\":10,\"boot_id\":\"b\"}"),
			 422);
	assert_int_equal(row_of(&beta).seq, 0);
}

static void a_host_with_labels_that_cannot_be_is_heard_without_them(void **state)
{
	static const char head[] =
		"{\"seq\":1,\"kernel\":\"6.1\",\"zone\":\"z1\",\"labels\":{"
		"\"role\":\"web\",\"a\":\"\\u202e\",\"a b\":\"c\",\"long\":\"";
	AUTO(hang_upp) struct client *x = NULL;
	struct fleet_host row;
	char body[1024];

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	snprintf(body, sizeof(body), "%s%0200d\"}}", head, 7);
	assert_int_equal(post(x, "/v1/agent/report", body), 200);
	row = row_of(&alpha);
	assert_string_equal(row.kernel, "6.1");
	assert_non_null(strstr(row.facts, "\"role\":\"web\""));
	assert_non_null(strstr(row.facts, "\"a b\"")); /* as it came before there was a rule */
	assert_null(strstr(row.facts, "long"));
	assert_null(strstr(row.facts, "\"a\""));
	assert_non_null(strstr(row.health, "\"labels_left_out\":2"));
}

static void what_is_no_report_is_refused_whole(void **state)
{
	static const char *const bodies[] = {
		"",
		"{}",
		"{\"seq\":0}",
		"{\"seq\":1e3}",
		"{\"seq\":1,\"seq\":2}",
		"{\"seq\":1}trailing",
		"{\"seq\":1,\"more\":1}",
		"{\"seq\":1,\"kernel\":\"\\u0000\"}",
		"{\"seq\":1,\"kernel\":\"\\u001b[31m\"}",
		"{\"seq\":1,\"labels\":{\"a\":1}}",
		"{\"seq\":1,\"hotfixes\":[]}",
		"{\"seq\":1,\"hotfixes\":{\"FIX/..\":{\"state\":\"trial\"}}}",
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"lost\"}}}", /* ours to say */
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"no such state\"}}}",
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"trial\",\"live\":-1}}}",
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"trial\",\"live\":9007199254740992}}}",
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"trial\",\"metrics\":{\"a\":[1]}}}}",
		"{\"seq\":1,\"hotfixes\":{\"fix\":{\"state\":\"trial\",\"metrics\":{\"a\":[1,1e400]}}}}",
		"{\"seq\":1,\"audit\":{\"seq\":1,\"head\":\"xyz\"}}",
		"{\"seq\":1,\"health\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}",
	};
	AUTO(hang_upp) struct client *x = NULL;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		if (post(x, "/v1/agent/report", bodies[i]) != 422)
			fail_msg("%s: %s", bodies[i], x->in);
	assert_int_equal(row_of(&alpha).seq, 0);
	assert_int_equal(reports_stats(c.reports).reports, 0);
}

/* As server/member.c writes it, of what was applied or disabled by hand, or is named by hold. */
static void what_no_rollout_brought_is_reported_too(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	assert_int_equal(post(x, "/v1/agent/report",
			      REPORT(1, "{\"fix\":{\"committed\":1,\"trial\":0,\"live\":1,"
					"\"high_water\":1,\"quarantined\":[],\"metrics\":{}},"
					"\"other\":{\"committed\":0,\"trial\":0,\"live\":0,"
					"\"high_water\":0,\"quarantined\":[],\"metrics\":{},"
					"\"held\":true}}")),
			 200);
	assert_int_equal(row_of(&alpha).seq, 1);
}

static void many_reports_share_a_transaction(void **state)
{
	struct client *x[20];
	struct reports_stats stats;

	(void)state;
	enrol(&alpha);
	for (size_t i = 0; i < 4; i++) {
		x[i] = connect_as(&alpha);
		assert_int_equal(ask(x[i], "/v1/agent/desired?generation=0&wait=0"), 200);
	}
	stats = reports_stats(c.reports);
	for (size_t i = 0; i < 4; i++) {
		char text[512];

		snprintf(
			text, sizeof(text),
			"POST /v1/agent/report HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
			"{\"seq\":%zu}",
			i + 1);
		x[i]->len = 0;
		x[i]->in[0] = 0;
		say(x[i], text);
	}
	for (size_t i = 0; i < 4; i++) {
		until(answered(x[i]));
		assert_int_equal(status_of(x[i]), 200);
		hang_up(x[i]);
	}
	assert_true(reports_stats(c.reports).batches - stats.batches < 4);
	assert_int_equal(row_of(&alpha).seq, 4);
}

static void an_audit_log_that_lost_rows_is_noticed(void **state)
{
	static const char *const bodies[] = {
		"{\"seq\":1,\"audit\":{\"seq\":7,\"head\":\"%064d\"}}",
		"{\"seq\":2,\"audit\":{\"seq\":8,\"head\":\"%064d\"}}",
		"{\"seq\":3,\"audit\":{\"seq\":3,\"head\":\"%064d\"}}",
	};
	AUTO(hang_upp) struct client *x = NULL;
	struct fleet_audit row;
	size_t n = 0;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		char body[256];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(body, sizeof(body), bodies[i], 1);
#pragma GCC diagnostic pop
		assert_int_equal(post(x, "/v1/agent/report", body), 200);
	}
	must(DO(fleet_audits, alpha.id, 0, 100));
	while (fleet_next_audit(a, &row))
		n += strcmp(row.entry.action, "HOST_AUDIT_CHANGED") == 0;
	assert_int_equal(n, 1);
}

/* ---- what is handed out ---------------------------------------------------------------------------- */

static void put_bundle(void)
{
	struct fleet_entry e = entry("BUNDLE");
	struct fleet_bundle b = {.digest = bundle_digest,
				 .manifest_sha256 = bundle_digest,
				 .name = "fix",
				 .serial = 1,
				 .bytes = sizeof(bundle),
				 .imported_ms = e.at_ms,
				 .actor = "anna"};

	for (size_t i = 0; i < sizeof(bundle); i++)
		bundle[i] = (uint8_t)(i * 31 + i / 251);
	bytes_sha256(bundle, sizeof(bundle), bundle_digest);
	snprintf(bundle_path, sizeof(bundle_path), "/v1/agent/bundles/");
	bytes_to_hex(bundle_digest, 32, bundle_path + strlen(bundle_path));
	must(DO(fleet_put_bundle, &b, bundle, &e));
}

static int fetch_from(struct client *x, const char *range)
{
	AUTO_FREE char *text = NULL;

	x->len = 0;
	x->in[0] = 0;
	assert_true(asprintf(&text, "GET %s HTTP/1.1\r\nHost: x\r\nRange: %s\r\n\r\n",
			     bundle_path, range) > 0);
	say(x, text);
	until(answered(x) || x->closed);
	return status_of(x);
}

static void bundles_come_in_pieces_from_any_byte_on(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;

	(void)state;
	enrol(&alpha);
	put_bundle();
	x = connect_as(&alpha);
	assert_int_equal(ask(x, bundle_path), 200);
	assert_memory_equal(body_of(x), bundle, sizeof(bundle));
	assert_int_equal(fetch_from(x, "bytes=300001-"), 206);
	assert_non_null(strstr(x->in, "Content-Range: bytes 300001-1000000/1000001\r\n"));
	assert_memory_equal(body_of(x), bundle + 300001, sizeof(bundle) - 300001);
	assert_int_equal(fetch_from(x, "bytes=1000000-"), 206);
	assert_memory_equal(body_of(x), bundle + 1000000, 1);
	assert_int_equal(fetch_from(x, "bytes=1000001-"), 416);
	assert_int_equal(fetch_from(x, "bytes=5-7,9-"), 200); /* no range of ours: all of it */
	assert_int_equal(ask(x, "/v1/agent/bundles/xyz"), 404);
	bundle_path[20] = bundle_path[20] == 'a' ? 'b' : 'a';
	assert_int_equal(ask(x, bundle_path), 404);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 200);
}

static void a_bundle_that_goes_while_it_is_sent_ends_the_connection(void **state)
{
	AUTO(hang_upp) struct client *x = NULL;
	struct fleet_entry e = entry("BUNDLE");

	(void)state;
	enrol(&alpha);
	put_bundle();
	x = connect_as(&alpha);
	get(x, bundle_path);
	until(x->len);
	event_del(x->event); /* it reads no further for a while */
	must(DO(fleet_drop_bundle, bundle_digest, &e));
	event_add(x->event, NULL);
	until(x->closed || answered(x)); /* all of it, if the socket had room for that */
	assert_true(x->closed || x->len > sizeof(bundle));
}

static void a_host_that_goes_in_the_middle_of_a_bundle_leaves_nothing(void **state)
{
	(void)state;
	enrol(&alpha);
	put_bundle();
	for (int i = 0; i < 10; i++) {
		struct client *x = connect_as(&alpha);

		get(x, bundle_path);
		until(x->len);
		hang_up(x);
	}
	until(agents_stats(c.agents).open == 0);
}

static char *root_text(uint64_t version)
{
	struct trust_role role = signed_role(1, 1), online = {.n_keys = 1, .threshold = 1};
	struct trust t = {.version = version,
			  .created_ms = 1000,
			  .root = role,
			  .release = role,
			  .fleet = "test"};
	struct key_public p;
	char *text = NULL;

	assert_ok(key_public_load(unit_path("director.pub"), &p, NULL));
	online.keys[0] = p;
	t.director = online;
	assert_ok(key_public_load(unit_path("status.pub"), &p, NULL));
	online.keys[0] = p;
	t.status = online;
	assert_ok(trust_sign(&t, signed_keys, version > 1, &text, NULL));
	return text;
}

static int put_document(const char *kind, const char *name, uint64_t version, const char *text)
{
	struct fleet_entry e = entry("DOCUMENT");
	struct fleet_document d = {.kind = kind,
				   .name = name,
				   .version = version,
				   .imported_ms = 1,
				   .actor = "anna",
				   .envelope = text,
				   .len = strlen(text)};

	return DO(fleet_put_document, &d, &e);
}

static void documents_come_after_the_versions_that_a_host_has(void **state)
{
	AUTO_FREE char *one = root_text(1), *two = root_text(2);
	AUTO(hang_upp) struct client *x = NULL;
	AUTO_JSON json_t *all = NULL, *some = NULL;
	struct catalog *catalog = NULL;
	const char *text;

	(void)state;
	enrol(&alpha);
	put_bundle();
	must(put_document("root", "1", 1, one));
	until(roots_trust(c.roots));
	must(put_document("root", "2", 2, two));
	must(put_document("revocation", "x", 1, "{}"));
	until(roots_trust(c.roots)->version == 2 && roots_revocation(c.roots) == 1);
	until(catalogue_find(c.catalogue, "fix", 1));
	x = connect_as(&alpha);
	assert_int_equal(ask(x, "/v1/agent/documents?root=0&catalog=0&revocation=0"), 200);
	all = json_of(x);
	assert_int_equal(json_array_size(json_object_get(all, "roots")), 2);
	assert_int_equal(json_array_size(json_object_get(all, "revocations")), 1);
	text = json_string_value(json_object_get(all, "catalog"));
	assert_ok(catalog_open(text, strlen(text), roots_trust(c.roots), &catalog, NULL));
	assert_int_equal(catalog_find(catalog, "fix", 1)->bundle_bytes, sizeof(bundle));
	catalog_free(catalog);
	assert_int_equal(ask(x, "/v1/agent/documents?root=1&catalog=999&revocation=1"), 200);
	some = json_of(x);
	assert_int_equal(json_array_size(json_object_get(some, "roots")), 1);
	assert_int_equal(json_array_size(json_object_get(some, "revocations")), 0);
	assert_true(json_is_null(json_object_get(some, "catalog")));
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 200);
	assert_non_null(strstr(x->in, "\"root\":2"));
}

static void whoever_writes_the_database_cannot_make_a_root(void **state)
{
	AUTO_FREE char *one = root_text(1), *two = root_text(2), *other = NULL;
	struct key *kept = signed_keys[0];

	(void)state;
	must(put_document("root", "1", 1, one));
	until(roots_trust(c.roots));
	signed_keys[0] = signed_keys[1]; /* somebody else's keys */
	other = root_text(2);
	signed_keys[0] = kept;
	must(put_document("root", "2", 2, other));
	/* What was seen outlasts a restart, and another database. */
	stop();
	start();
	assert_int_equal(roots_trust(c.roots)->version, 1);
	must(put_document("root", "3", 3, two));
	until(agents_stats(c.agents).visit_batches == 0);
	assert_int_equal(roots_trust(c.roots)->version, 1);
}

static void the_status_is_signed_anew_when_the_stock_changes_and_by_one_of_all(void **state)
{
	AUTO_FREE char *one = root_text(1);
	struct fleet_entry e = entry("BUNDLE");
	struct catalogue *second = NULL;
	struct controller other;
	uint64_t version;

	(void)state;
	must(put_document("root", "1", 1, one));
	until(catalogue_version(c.catalogue) == 1); /* of an empty stock */
	other = c;
	assert_ok(catalogue_new(&other, &second, NULL));
	put_bundle();
	catalogue_on_wake(second, "");
	until(catalogue_find(c.catalogue, "fix", 1) && catalogue_find(second, "fix", 1));
	version = catalogue_version(c.catalogue);
	assert_int_equal(catalogue_version(second), version);
	assert_int_equal(version, 2);
	must(DO(fleet_drop_bundle, bundle_digest, &e));
	catalogue_on_wake(second, "");
	until(!catalogue_find(c.catalogue, "fix", 1) && !catalogue_find(second, "fix", 1));
	assert_int_equal(catalogue_version(c.catalogue), 3);
	/* Its catalogues use the same database: it goes first. */
	catalogue_free(second);
}

static void a_status_that_is_half_over_is_signed_anew(void **state)
{
	AUTO_FREE char *one = root_text(1);

	(void)state;
	settings.status_valid_ms = 4000;
	must(put_document("root", "1", 1, one));
	until(catalogue_version(c.catalogue) >= 3);
}

/* ---- certificates ---------------------------------------------------------------------------------- */

static void a_certificate_is_renewed_for_the_same_key_alone(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL;
	AUTO_JSON json_t *doc = NULL;

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	assert_int_equal(
		post_json(x, "/v1/agent/renew", json_pack("{s:s}", "request", beta.request)),
		403);
	assert_int_equal(post(x, "/v1/agent/renew", "{\"request\":\"x\"}"), 422);
	assert_int_equal(
		post_json(x, "/v1/agent/renew", json_pack("{s:s}", "request", alpha.request)),
		200);
	doc = json_of(x);
	keep_certificate(&alpha, json_string_value(json_object_get(doc, "certificate")));
	y = connect_as(&alpha);
	assert_int_equal(ask(y, "/v1/agent/desired?generation=0&wait=0"), 200);
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"),
			 200); /* both are good */
	assert_int_equal(
		post_json(x, "/v1/agent/renew", json_pack("{s:s}", "request", alpha.request)),
		503); /* not all the time */
}

static void hosts_of_two_authorities_work_during_a_rollover(void **state)
{
	AUTO(hang_upp) struct client *old = NULL, *new = NULL;
	AUTO(ca_freep)
	struct ca *next = certify_ca("next", clock_real_ms() / 1000, 365 * DAY_S);
	AUTO_JSON json_t *first = NULL;
	AUTO(hang_upp) struct client *x = NULL;
	const char *all;

	(void)state;
	enrol(&alpha);
	certify_write("trust.crt", ca_pem(ca), ca_pem(next));
	snprintf(settings.ca_prefix, sizeof(settings.ca_prefix), "%s", unit_path("next"));
	assert_ok(enrol_reload(c.enrol, NULL));
	assert_ok(agents_reload(c.agents, NULL));
	enrol(&beta); /* by the next one */
	old = connect_as(&alpha);
	new = connect_as(&beta);
	assert_int_equal(ask(old, "/v1/agent/desired?generation=0&wait=0"), 200);
	assert_int_equal(ask(new, "/v1/agent/desired?generation=0&wait=0"), 200);
	x = stranger();
	assert_int_equal(ask(x, "/v1/ca"), 200);
	first = json_of(x);
	all = json_string_value(json_object_get(first, "ca"));
	assert_ptr_equal(strstr(all, ca_pem(next)), all);
	assert_non_null(strstr(all, ca_pem(ca)));
	unlink(unit_path("next.key"));
	unlink(unit_path("next.crt"));
}

static void who_is_revoked_while_he_waits_is_told_at_once(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL, *z = NULL;
	struct fleet_entry e = entry("REVOKED");

	(void)state;
	enrol(&alpha);
	enrol(&beta);
	x = connect_as(&alpha);
	y = connect_as(&beta);
	get(x, "/v1/agent/desired?generation=0&wait=30000");
	get(y, "/v1/agent/desired?generation=0&wait=30000");
	until(park_count(c.park) == 2 && agents_stats(c.agents).visits == 2);
	must(DO(fleet_revoke_certificate, alpha.id, NULL, &e));
	until(answered(x));
	assert_int_equal(status_of(x), 403);
	assert_non_null(strstr(x->in, "\"code\":\"revoked\""));
	assert_int_equal(park_count(c.park), 1);
	z = begin(alpha.file); /* and does not come in again */
	until(z->open || z->closed);
	if (z->open)
		get(z, "/v1/agent/desired?generation=0&wait=0");
	until(z->closed);
	assert_int_equal(z->len, 0);
	/* Another controller knows it from the start. */
	stop();
	start();
	z = hang_up(z);
	z = begin(alpha.file);
	until(z->open || z->closed);
	if (z->open)
		get(z, "/v1/agent/desired?generation=0&wait=0");
	until(z->closed || answered(z));
	assert_int_not_equal(status_of(z), 200);
}

static void a_host_that_was_forgotten_enrols_again_and_starts_anew(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL;
	struct fleet_entry e = entry("FORGOTTEN");

	(void)state;
	enrol(&alpha);
	x = connect_as(&alpha);
	assert_int_equal(post(x, "/v1/agent/report", REPORT(5, "{}")), 200);
	must(DO(fleet_forget_host, alpha.id, &e));
	until(ask(x, "/v1/agent/desired?generation=0&wait=0") == 403);
	enrol(&alpha);
	y = connect_as(&alpha);
	assert_int_equal(post(y, "/v1/agent/report", REPORT(1, "{}")), 200);
	assert_non_null(strstr(y->in, "{\"seq\":1}"));
	assert_int_equal(row_of(&alpha).seq, 1);
}

/* ---- too many, and nobody -------------------------------------------------------------------------- */

static void a_herd_is_let_in_at_a_pace_and_told_different_times(void **state)
{
	struct client *x[8];
	struct host many[8] = {{.id = ""}};
	unsigned int refused = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		char name[16];

		snprintf(name, sizeof(name), "many%zu", i);
		host_new(&many[i], name);
		enrol(&many[i]);
	}
	agents_set_arrivals(c.agents, 1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		x[i] = connect_as(&many[i]);
		if (ask(x[i], "/v1/agent/desired?generation=0&wait=0") == 503) {
			assert_non_null(strstr(x[i]->in, "Retry-After: "));
			refused++;
		}
	}
	assert_true(refused >= 3);
	agents_set_arrivals(c.agents, 1000, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) { /* over the connection that it has */
		assert_int_equal(ask(x[i], "/v1/agent/desired?generation=0&wait=0"), 200);
		hang_up(x[i]);
		host_free(&many[i]);
	}
}

static void when_the_database_is_away_hosts_are_put_off_and_nothing_is_lost(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *waits = NULL;

	(void)state;
	settings.heartbeat_ms = 600000;
	enrol(&alpha);
	x = connect_as(&alpha);
	waits = connect_as(&alpha);
	assert_int_equal(post(x, "/v1/agent/report", REPORT(1, "{}")), 200);
	get(waits, "/v1/agent/desired?generation=0&wait=600000");
	until(park_count(c.park) == 1);
	pg_stop(&pg, SIGINT);
	assert_int_equal(post(x, "/v1/agent/report", REPORT(2, "{}")), 503);
	assert_non_null(strstr(x->in, "Retry-After: "));
	assert_int_equal(ask(x, "/v1/agent/desired?generation=0&wait=0"), 503);
	assert_int_equal(park_count(c.park), 1); /* who waits goes on waiting */
	assert_null(pg_start(&pg));
	until(post(x, "/v1/agent/report", REPORT(2, "{}")) == 200);
	assert_int_equal(row_of(&alpha).seq, 2);
	tell(&alpha, "{\"name\":\"fix\"}");
	until(answered(waits));
	assert_int_equal(status_of(waits), 200);
	assert_non_null(strstr(waits->in, "\"generation\":1"));
}

static void who_waits_when_the_controller_stops_is_put_off(void **state)
{
	AUTO(hang_upp) struct client *x = NULL, *y = NULL, *z = NULL;

	(void)state;
	enrol(&alpha);
	enrol(&beta);
	put_bundle();
	x = connect_as(&alpha);
	y = connect_as(&beta);
	z = connect_as(&beta);
	get(x, "/v1/agent/desired?generation=0&wait=30000");
	until(park_count(c.park) == 1);
	get(z, bundle_path);
	until(z->len);
	/* Reports and a lookup are under way. */
	say(y,
	    "POST /v1/agent/report HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"seq\":1}");
	stop();
	until(x->closed);
	start();
}

/* ---- set up ---------------------------------------------------------------------------------------- */

static void set_path(char *out, size_t room, const char *name)
{
	snprintf(out, room, "%s", unit_path(name));
}

static void make_settings(void)
{
	memset(&settings, 0, sizeof(settings));
	snprintf(settings.state_dir, sizeof(settings.state_dir), "%s", unit_folder);
	snprintf(settings.agents.address, sizeof(settings.agents.address), "127.0.0.1");
	settings.enroll = settings.agents;
	set_path(settings.agents_certificate, sizeof(settings.agents_certificate),
		 "listener.crt");
	set_path(settings.agents_key, sizeof(settings.agents_key), "listener.key");
	set_path(settings.agents_trust, sizeof(settings.agents_trust), "trust.crt");
	set_path(settings.ca_prefix, sizeof(settings.ca_prefix), "fleet");
	set_path(settings.director_key, sizeof(settings.director_key), "director.sec");
	set_path(settings.status_key, sizeof(settings.status_key), "status.sec");
	settings.heartbeat_ms = 30000;
	settings.enroll_valid_ms = 86400000;
	settings.director_valid_ms = settings.status_valid_ms = 86400000;
}

static void set_up(void)
{
	base = event_base_new();
	make_settings();
	certify_write("trust.crt", ca_pem(ca), "");
	host_new(&alpha, "alpha");
	host_new(&beta, "beta");
	start();
}

static int on_file(void **state)
{
	(void)state;
	on_server = false;
	set_up();
	return 0;
}

static int on_postgres(void **state)
{
	(void)state;
	on_server = true;
	set_up();
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"fleet.db", "fleet.db-wal", "fleet.db-shm",
					    "root.json"};
	PGconn *conn;

	(void)state;
	if (in_loop) /* the test has crashed in it */
		return -1;
	stop();
	event_base_free(base);
	host_free(&alpha);
	host_free(&beta);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(unit_path(files[i]));
	if (on_server) {
		conn = PQconnectdb(pg_url(&pg));
		PQclear(PQexec(conn, "SET client_min_messages = warning"));
		PQclear(PQexec(conn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public"));
		PQfinish(conn);
	}
	return 0;
}

static int set_up_all(void **state)
{
	static const char *const names[] = {"127.0.0.1"};
	uint64_t now_s = clock_real_ms() / 1000;
	struct key_public p;
	char name[16];

	if (pg_group_setup(state) < 0)
		return -1;
	for (int i = 0; i < SIGNED_KEYS; i++) {
		snprintf(name, sizeof(name), "key%d", i);
		assert_ok(key_new(unit_path(name), NULL, &p, NULL));
		snprintf(name, sizeof(name), "key%d.sec", i);
		assert_ok(key_load(unit_path(name), NULL, NULL, &signed_keys[i], NULL));
	}
	assert_ok(key_new(unit_path("director"), NULL, &p, NULL));
	assert_ok(key_new(unit_path("status"), NULL, &p, NULL));
	ca = certify_ca("fleet", now_s - DAY_S, 365 * DAY_S);
	assert_ok(ca_sign_server(ca, names, 1, unit_path("listener"), now_s, DAY_S, NULL));
	return 0;
}

static int tear_down_all(void **state)
{
	ca_free(ca);
	for (int i = 0; i < SIGNED_KEYS; i++)
		key_free(signed_keys[i]);
	return pg_group_teardown(state);
}

#define ON(engine, name)                                                 \
	{                                                                \
#name " on " #engine, name, on_##engine, tear_down, NULL \
	}
#define ON_FILE(name)	ON(file, name)
#define ON_SERVER(name) ON(postgres, name)
#define T(name)		ON(file, name), ON(postgres, name)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(whoever_shows_a_token_becomes_the_host_of_its_key),
		T(a_token_counts_once_in_time_and_for_who_signed_the_request),
		T(nothing_else_is_to_be_had_without_a_certificate),
		T(an_outside_authority_may_vouch_for_hosts),
		T(a_host_that_waits_hears_a_new_word_at_once),
		T(a_word_that_one_question_of_a_host_finds_is_told_to_the_other),
		T(all_words_come_again_when_the_time_is_over_or_the_host_knows_none),
		T(asking_is_a_heartbeat),
		T(a_report_is_stored_before_it_is_answered),
		T(a_report_is_about_who_makes_it_whatever_it_says),
		T(a_host_with_labels_that_cannot_be_is_heard_without_them),
		T(what_is_no_report_is_refused_whole),
		T(what_no_rollout_brought_is_reported_too),
		T(many_reports_share_a_transaction),
		T(an_audit_log_that_lost_rows_is_noticed),
		T(bundles_come_in_pieces_from_any_byte_on),
		T(a_bundle_that_goes_while_it_is_sent_ends_the_connection),
		T(a_host_that_goes_in_the_middle_of_a_bundle_leaves_nothing),
		T(documents_come_after_the_versions_that_a_host_has),
		T(whoever_writes_the_database_cannot_make_a_root),
		T(the_status_is_signed_anew_when_the_stock_changes_and_by_one_of_all),
		ON_FILE(a_status_that_is_half_over_is_signed_anew),
		T(a_certificate_is_renewed_for_the_same_key_alone),
		T(hosts_of_two_authorities_work_during_a_rollover),
		T(who_is_revoked_while_he_waits_is_told_at_once),
		T(a_host_that_was_forgotten_enrols_again_and_starts_anew),
		T(a_herd_is_let_in_at_a_pace_and_told_different_times),
		ON_SERVER(when_the_database_is_away_hosts_are_put_off_and_nothing_is_lost),
		T(who_waits_when_the_controller_stops_is_put_off),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
