// SPDX-License-Identifier: BSD-2-Clause
/*
 * The operators' API of a real controller: its own process, TLS and database. Who may do what, what is
 * refused in which words, and what is at rest.
 */
#include "tests/unit/certify.h"
#include "tests/unit/signed.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lib/json.h"
#include "server/controller/init.h"
#include "store/catalog.h"
#include "store/fleet.h"
#include "store/revocation.h"

#define PATIENCE_S 60

static pid_t controller;
static unsigned int port, enroll_port;
static FILE *controller_log;
static char state_dir[128];

/* ---- the controller ------------------------------------------------------------------------ */

static const char *in_state(const char *name)
{
	static char paths[8][400];
	static unsigned int next;
	char *p = paths[next++ % 8];

	snprintf(p, sizeof(paths[0]), "%s/%s", state_dir, name);
	return p;
}

static void start_controller(void)
{
	static const char conf[] = "[agents]\nlisten = 127.0.0.1:0\nheartbeat = 1s\n"
				   "[enroll]\nlisten = 127.0.0.1:0\n"
				   "[operators]\nlisten = 127.0.0.1:0\n[metrics]\nlisten =\n";
	char program[256] = "", line[512], config[128];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	const char *at;
	int out[2];

	assert_true(n > 0);
	program[n] = 0;
	for (int i = 0; i < 3; i++)
		*strrchr(program, '/') = 0;
	strcat(program, "/bin/hotfix-controller");
	assert_ok(io_write_file(unit_path("conf"), conf, strlen(conf), 0600));
	snprintf(config, sizeof(config), "%s", unit_path("conf"));
	assert_ok(pipe2(out, O_CLOEXEC));
	controller = fork();
	assert_true(controller >= 0);
	if (controller == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGXFSZ, SIG_IGN); /* a write that has no room fails */
		dup2(out[1], 2);
		execl(program, program, "--config", config, "--state-dir", state_dir,
		      (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	controller_log = fdopen(out[0], "r");
	do {
		if (!fgets(line, sizeof(line), controller_log))
			fail_msg("the controller has ended");
	} while (!(at = strstr(line, "operators=")));
	port = (unsigned int)strtoul(at + 10, NULL, 10);
	enroll_port = (unsigned int)strtoul(strstr(line, "enroll=") + 7, NULL, 10);
}

static void stop_controller(void)
{
	int status;

	kill(controller, SIGTERM);
	/* Its log is read to the end, so that it never waits for us; what crashed has left more in it. */
	for (char line[512]; fgets(line, sizeof(line), controller_log);)
		if (line[0] < '0' || line[0] > '9')
			fprintf(stderr, "# %s", line);
	fclose(controller_log);
	assert_int_equal(waitpid(controller, &status, 0), controller);
	assert_int_equal(status, 0);
}

/* ---- who asks ------------------------------------------------------------------------------ */

struct who {
	const char *cert;  /* PREFIX of .crt and .key in the state directory */
	const char *token; /* or what is sent as "Authorization: Bearer" */
};

static const struct who admin = {.cert = "admin"}, nobody = {NULL, NULL};
static char tokens[4][128];
static struct who of_role[4]; /* viewer, operator, approver, admin: by token */

static char answer[1 << 20];
static size_t answer_len;
static char answer_headers[4096];
static json_t *doc; /* of the answer */

static size_t on_body(char *data, size_t size, size_t n, void *cookie)
{
	(void)cookie;
	assert_true(answer_len + size * n < sizeof(answer));
	memcpy(answer + answer_len, data, size * n);
	answer_len += size * n;
	answer[answer_len] = 0;
	return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *cookie)
{
	size_t have = strlen(answer_headers);

	(void)cookie;
	if (have + size * n < sizeof(answer_headers)) {
		memcpy(answer_headers + have, data, size * n);
		answer_headers[have + size * n] = 0;
	}
	return size * n;
}

struct request {
	const char *method, *path;
	const void *body; /* or NULL */
	size_t len;	  /* 0: strlen() */
	const char *type; /* NULL: application/json */
};

/* The status of the answer; 0: the connection ended without. */
static int send_request(struct who who, const struct request *q)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	char url[512], line[256];
	long status = 0;
	CURLcode code;

	answer_len = 0;
	answer[0] = answer_headers[0] = 0;
	json_decref(doc);
	doc = NULL;
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/v1/%s", port, q->path);
	snprintf(line, sizeof(line), "Content-Type: %s",
		 q->type ? q->type : "application/json");
	headers = curl_slist_append(headers, line);
	if (who.token) {
		snprintf(line, sizeof(line), "Authorization: Bearer %s", who.token);
		headers = curl_slist_append(headers, line);
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)PATIENCE_S);
	curl_easy_setopt(curl, CURLOPT_CAINFO, in_state("operators-ca.crt"));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, q->method);
	if (q->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE,
				 (long)(q->len ? q->len : strlen(q->body)));
	}
	if (who.cert) {
		snprintf(line, sizeof(line), "%s.crt", who.cert);
		curl_easy_setopt(curl, CURLOPT_SSLCERT, in_state(line));
		snprintf(line, sizeof(line), "%s.key", who.cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, in_state(line));
	}
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else
		snprintf(answer, sizeof(answer), "%s", curl_easy_strerror(code));
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	doc = json_loads(answer, 0, NULL);
	return (int)status;
}

static int ask(struct who who, const char *method, const char *path, const char *body)
{
	return send_request(who, &(struct request){method, path, body, 0, NULL});
}

static int post_bytes(struct who who, const char *path, const void *buf, size_t len)
{
	return send_request(
		who, &(struct request){"POST", path, buf, len, "application/octet-stream"});
}

#define must(status, call)                                                             \
	do {                                                                           \
		int status_ = (call);                                                  \
                                                                                       \
		if (status_ != (status))                                               \
			fail_msg("%s: %d instead of %d: %s", #call, status_, (status), \
				 answer);                                              \
	} while (0)

/* A text of the answer's document, by a path such as "error.message". */
static const char *says(const char *path)
{
	const json_t *v = doc;
	char copy[128], *save, *word;
	const char *s;

	snprintf(copy, sizeof(copy), "%s", path);
	for (word = strtok_r(copy, ".", &save); word; word = strtok_r(NULL, ".", &save))
		v = json_object_get(v, word);
	s = json_string_value(v);
	return s ? s : "";
}

static void refused(int status, const char *words, int got)
{
	if (got != status || !strstr(answer, words))
		fail_msg("%d and \"%s\" instead of %d: %s", status, words, got, answer);
}

/* A token of a new operator. */
static void add_operator(const char *name, const char *role, char ret_token[128])
{
	char body[256];

	snprintf(body, sizeof(body), "{\"name\":\"%s\",\"role\":\"%s\"}", name, role);
	must(201, ask(admin, "POST", "operators", body));
	snprintf(ret_token, 128, "%s", says("token"));
}

/* ---- the fleet ------------------------------------------------------------------------------- */

static struct fleet *opened(void)
{
	struct fleet *f = NULL;

	assert_ok(fleet_open(in_state("fleet.db"), 0, 0, &f, NULL));
	return f;
}

static void make_id(unsigned int n, char ret_id[65])
{
	snprintf(ret_id, 65, "%064x", 0xabc000 + n);
}

/* A host that has enrolled and reported. */
static void add_host_with(unsigned int n, const char *name, const char *kernel,
			  const char *zone, const char *health)
{
	AUTO(fleet_freep) struct fleet *f = opened();
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL, *b = NULL;
	struct fleet_entry entry = {.at_ms = clock_real_ms(),
				    .actor = "test",
				    .action = "ENROLLED",
				    .subject = name,
				    .result = "ok"};
	uint8_t print[32] = {(uint8_t)n, (uint8_t)(n >> 8), 1};
	char id[65];
	struct fleet_enrolment e = {.id = id,
				    .name = name,
				    .fingerprint = print,
				    .certificate = "01",
				    .expires_ms = clock_real_ms() + 86400000};
	struct fleet_report r = {.host = id,
				 .seq = 1,
				 .boot_id = "11111111-2222-3333-4444-555555555555",
				 .kernel = kernel,
				 .arch = "x86_64",
				 .zone = zone,
				 .facts = "{\"role\":\"web\"}",
				 .hotfixes = "{}",
				 .health = health};

	make_id(n, id);
	assert_ok(fleet_wait(f, fleet_enrol(f, &e, &entry, fleet_keep, &a), &a));
	assert_ok(fleet_wait(f, fleet_reports(f, &r, 1, fleet_keep, &b), &b));
}

static void add_host(unsigned int n, const char *name, const char *kernel, const char *zone)
{
	add_host_with(n, name, kernel, zone, "{}");
}

/* A root that names the release key, and the keys on line that init made. */
static char *root_text(uint64_t version, size_t n_sign)
{
	struct trust t = {.version = version, .created_ms = 1000, .fleet = "shop"};
	char *text = NULL;

	t.root = t.release = signed_role(1, 1);
	t.director.n_keys = t.status.n_keys = 1;
	t.director.threshold = t.status.threshold = 1;
	assert_ok(key_public_load(in_state("director.pub"), &t.director.keys[0], NULL));
	assert_ok(key_public_load(in_state("status.pub"), &t.status.keys[0], NULL));
	assert_ok(trust_sign(&t, signed_keys, n_sign, &text, NULL));
	return text;
}

static void import_root(void)
{
	AUTO_FREE char *root = root_text(1, 0);

	must(200, post_bytes(admin, "documents", root, strlen(root)));
}

static void import_bundle(const char *name, uint64_t serial)
{
	size_t len;
	AUTO_FREE uint8_t *buf = signed_bundle(name, serial, 1, &len);

	must(200, post_bytes(of_role[1], "bundles", buf, len));
}

/* Every test has a controller of its own, with an operator of each role. */
static int set_up(void **state)
{
	static const char *const names[] = {"vera", "otto", "anna", "adam"};
	static const char *const roles[] = {"viewer", "operator", "approver", "admin"};
	static unsigned int n;
	char *argv[] = {state_dir, "--state-dir", state_dir, "--name", "127.0.0.1"};
	int out = dup(1), null;

	(void)state;
	snprintf(state_dir, sizeof(state_dir), "%s/state%u", unit_folder, n++);
	/* It prints how to go on. */
	fflush(stdout);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, 1);
	assert_ok(init_main((int)ARRAY_SIZE(argv), argv, NULL));
	fflush(stdout);
	dup2(out, 1);
	close(out);
	close(null);
	start_controller();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		add_operator(names[i], roles[i], tokens[i]);
		of_role[i].token = tokens[i];
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	json_decref(doc);
	doc = NULL;
	stop_controller();
	return 0;
}

/* ---- who may do what ----------------------------------------------------------------------- */

#define HOST	"hosts/0000000000000000000000000000000000000000000000000000000000abc001"
#define HASH	"0000000000000000000000000000000000000000000000000000000000000000"
#define ROLLOUT "rollouts/r1"

/* The least role that each takes: written down once more, so that no slip of a line goes unseen. */
static const struct {
	int role;
	const char *method, *path, *body;
} may[] = {
	{0, "GET", "status", NULL},
	{0, "GET", "openapi.yaml", NULL},
	{0, "GET", "hosts", NULL},
	{0, "GET", HOST, NULL},
	{1, "PATCH", HOST, "{}"},
	{3, "DELETE", HOST, NULL},
	{3, "GET", "tokens", NULL},
	{3, "POST", "tokens", "{}"},
	{3, "DELETE", "tokens/" HASH, NULL},
	{0, "GET", "bundles", NULL},
	{1, "POST", "bundles", NULL},
	{3, "DELETE", "bundles/" HASH, NULL},
	{0, "GET", "trust", NULL},
	{3, "POST", "documents", NULL},
	{1, "POST", "plans", "{\"name\":\"x\"}"},
	{0, "GET", "rollouts", NULL},
	{1, "POST", "rollouts", "{\"name\":\"x\"}"},
	{0, "GET", ROLLOUT, NULL},
	{1, "POST", ROLLOUT "/submit", "{}"},
	{1, "POST", ROLLOUT "/pause", "{}"},
	{1, "POST", ROLLOUT "/resume", "{}"},
	{1, "POST", ROLLOUT "/promote", "{}"},
	{1, "POST", ROLLOUT "/abort", "{}"},
	{1, "POST", ROLLOUT "/retry", "{}"},
	{1, "POST", ROLLOUT "/undo", "{}"},
	{1, "POST", ROLLOUT "/supersede", "{\"by\":\"r2\"}"},
	{2, "POST", ROLLOUT "/approve", "{}"},
	{2, "POST", ROLLOUT "/override", "{\"reason\":\"x\"}"},
	{0, "GET", "freezes", NULL},
	{1, "PUT", "freezes/f", "{\"reason\":\"x\"}"},
	{2, "DELETE", "freezes/f", NULL},
	{1, "PUT", "line", "{\"reason\":\"x\"}"},
	{2, "DELETE", "line", NULL},
	{3, "GET", "operators", NULL},
	{3, "POST", "operators", "{}"},
	{3, "DELETE", "operators/ghost", NULL},
	{0, "GET", "audit", NULL},
	{0, "GET", "audit/verify", NULL},
};

static void each_route_takes_its_role_and_those_above_and_no_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(may); i++)
		for (int role = 0; role < 4; role++) {
			int status =
				ask(of_role[role], may[i].method, may[i].path, may[i].body);
			bool denied = status == 403 || status == 401;

			if (!status || status >= 500 || denied != (role < may[i].role))
				fail_msg("%s %s as role %d: %d %s", may[i].method, may[i].path,
					 role, status, answer);
		}
	must(401, ask(nobody, "GET", "status", NULL));
}

static void who_is_nobody_is_told_how_to_be_somebody(void **state)
{
	static const char unknown[] =
		"hfo1.00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	static const char *const bad[] = {
		"",  "hfo1.",	  "hfo1.xyz",
		"x", "hfo1.0011", "hfe1.00112233445566778899aabbccddeeff001122334455"};

	(void)state;
	refused(401, "who are you", ask(nobody, "GET", "status", NULL));
	assert_non_null(strstr(answer_headers, "WWW-Authenticate: Bearer"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(401, "no token of an operator",
			ask((struct who){.token = bad[i]}, "GET", "status", NULL));
	refused(403, "nobody has this token",
		ask((struct who){.token = unknown}, "GET", "status", NULL));
	/* A token counts, whatever certificate is shown beside it. */
	refused(403, "nobody has this token",
		ask((struct who){.cert = "admin", .token = unknown}, "GET", "status", NULL));
}

/* Into the database, past the controller. */
static void add_row(const char *name, const char *certificate)
{
	AUTO(fleet_freep) struct fleet *f = opened();
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	AUTO(ca_bundle_freep) struct ca_bundle *bundle = NULL;
	AUTO_FREE uint8_t *pem = NULL;
	struct fleet_entry entry = {.at_ms = 1,
				    .actor = "test",
				    .action = "OPERATOR",
				    .subject = name,
				    .result = "ok"};
	struct fleet_operator o = {.name = name, .role = "admin", .created_ms = 1};
	struct ca_peer peer;
	uint8_t print[32];
	size_t len;

	assert_ok(io_read_file(in_state(certificate), 1 << 16, &pem, &len));
	assert_ok(ca_bundle_load(in_state("operators-ca.crt"), &bundle, NULL));
	assert_ok(ca_verify(bundle, CA_USER, pem, len, clock_real_ms() / 1000, &peer, NULL));
	assert_ok(bytes_from_hex(peer.fingerprint, print, sizeof(print)));
	o.credential = print;
	assert_ok(fleet_wait(f, fleet_add_operator(f, &o, &entry, fleet_keep, &a), &a));
}

static void only_certificates_that_were_added_are_operators(void **state)
{
	AUTO(ca_freep) struct ca *operators = NULL, *agents = NULL;
	uint64_t now_s = clock_real_ms() / 1000;
	char saved[64];

	(void)state;
	assert_ok(ca_load(in_state("operators-ca"), &operators, NULL));
	assert_ok(ca_load(in_state("agents-ca"), &agents, NULL));
	/* certify_client() writes into the scratch folder: the state directory, here. */
	snprintf(saved, sizeof(saved), "%s", unit_folder);
	snprintf(unit_folder, sizeof(unit_folder), "%.63s", state_dir);
	certify_client(operators, "mallory", CA_USER, "mallory", now_s, 86400);
	certify_client(operators, "imposter", CA_USER, "admin", now_s, 86400);
	certify_client(agents, "host", CA_HOST, host_a, now_s, 86400);
	snprintf(unit_folder, sizeof(unit_folder), "%s", saved);
	must(200, ask(admin, "GET", "status", NULL));
	assert_string_equal(says("you.name"), "admin");
	refused(403, "this certificate of mallory is no operator",
		ask((struct who){.cert = "mallory"}, "GET", "status", NULL));
	refused(403, "this certificate of admin is no operator",
		ask((struct who){.cert = "imposter"}, "GET", "status", NULL));
	assert_int_equal(ask((struct who){.cert = "host"}, "GET", "status", NULL), 0);
	add_row("boss", "mallory.crt");
	refused(403, "it was added for boss",
		ask((struct who){.cert = "mallory"}, "GET", "status", NULL));
}

static void a_request_is_signed_and_its_certificate_is_an_operator(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *csr = certify_request(key, key, EVP_sha256()), *text = NULL;
	AUTO_JSON json_t *body = json_pack("{s:s, s:s, s:s}", "name", "carol", "role",
					   "operator", "request", csr);
	BIO *bio = BIO_new(BIO_s_mem());
	AUTO_FREE char *secret = NULL;

	(void)state;
	text = json_dumps(body, 0);
	must(201, ask(admin, "POST", "operators", text));
	assert_ok(io_write_file(in_state("carol.crt"), says("certificate"),
				strlen(says("certificate")), 0600));
	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	secret = certify_text(bio);
	EVP_PKEY_free(key);
	assert_ok(io_write_file(in_state("carol.key"), secret, strlen(secret), 0600));
	must(200, ask((struct who){.cert = "carol"}, "GET", "status", NULL));
	assert_string_equal(says("you.name"), "carol");
	assert_string_equal(says("you.role"), "operator");
	must(200, ask(admin, "DELETE", "operators/carol", NULL));
	refused(403, "is no operator",
		ask((struct who){.cert = "carol"}, "GET", "status", NULL));
	json_object_set_new(body, "name", json_string("../carol"));
	free(text);
	text = json_dumps(body, 0);
	refused(400, "cannot be that of an operator", ask(admin, "POST", "operators", text));
}

static void init_takes_no_admin_who_reads_like_the_controller(void **state)
{
	char *argv[] = {state_dir,   "--state-dir", state_dir, "--name",
			"127.0.0.1", "--admin",	    "engine"};
	struct fail fail;

	(void)state;
	assert_true(init_main((int)ARRAY_SIZE(argv), argv, &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
	assert_non_null(strstr(fail.message, "reserved"));
}

static void who_was_revoked_is_nobody_and_the_last_admin_stays(void **state)
{
	(void)state;
	must(200, ask(admin, "DELETE", "operators/otto", NULL));
	refused(403, "nobody has this token", ask(of_role[1], "GET", "status", NULL));
	must(404, ask(admin, "DELETE", "operators/otto", NULL));
	must(200, ask(admin, "DELETE", "operators/adam", NULL));
	refused(409, "admin is the last admin", ask(admin, "DELETE", "operators/admin", NULL));
	must(200, ask(admin, "GET", "status", NULL));
}

/* What the files of the database hold. */
static bool at_rest(const void *bytes, size_t len)
{
	static const char *const files[] = {"fleet.db", "fleet.db-wal"};
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO_FREE uint8_t *buf = NULL;
		size_t n;

		if (io_read_file(in_state(files[i]), 64U << 20, &buf, &n) == 0)
			found = found || memmem(buf, n, bytes, len);
	}
	return found;
}

static void secrets_are_not_at_rest_but_their_hashes_are(void **state)
{
	char token[256];
	uint8_t raw[32], hash[32];

	(void)state;
	assert_false(at_rest(tokens[0] + 5, 64));
	assert_ok(bytes_from_hex(tokens[0] + 5, raw, sizeof(raw)));
	assert_false(at_rest(raw, sizeof(raw)));
	bytes_sha256(tokens[0], strlen(tokens[0]), hash);
	assert_true(at_rest(hash, sizeof(hash)));
	must(201, ask(admin, "POST", "tokens", "{\"ttl_s\":60,\"labels\":{\"role\":\"web\"}}"));
	snprintf(token, sizeof(token), "%s", says("token"));
	assert_int_equal(strlen(token), 5 + 64 + 1 + 64);
	token[5 + 64] = 0;
	assert_false(at_rest(token + 5, 64));
	assert_ok(bytes_from_hex(token + 5, raw, sizeof(raw)));
	assert_false(at_rest(raw, sizeof(raw)));
	must(200, ask(admin, "GET", "tokens", NULL));
	assert_null(strstr(answer, token + 5));
	must(200, ask(admin, "GET", "audit", NULL));
	assert_null(strstr(answer, token + 5));
	assert_null(strstr(answer, tokens[0] + 5));
}

static void denials_are_written_down_and_cannot_fill_the_log(void **state)
{
	size_t denied = 0, i;
	const json_t *row;

	(void)state;
	refused(403, "vera is a viewer; for this one must be operator",
		ask(of_role[0], "PUT", "line", "{\"reason\":\"x\"}"));
	for (i = 0; i < 50; i++)
		must(403, ask(of_role[0], "DELETE", "line", NULL));
	must(200, ask(admin, "GET", "audit", NULL));
	json_array_foreach(json_object_get(doc, "rows"), i, row) {
		if (strcmp(json_string_value(json_object_get(row, "action")), "DENIED") != 0)
			continue;
		assert_string_equal(json_string_value(json_object_get(row, "actor")), "vera");
		denied++;
	}
	assert_int_equal(denied, 30); /* a minute */
	must(200, ask(admin, "GET", "audit/verify", NULL));
	assert_true(json_is_true(json_object_get(doc, "ok")));
}

/* ---- what may be said ------------------------------------------------------------------------ */

static void hostile_requests_are_refused_and_the_next_is_served(void **state)
{
	static char deep[4096], large[200000], many[60000];
	static const struct {
		const char *method, *path, *body, *words;
		int status;
	} cases[] = {
		{"PUT", "line", "", "\\\"reason\\\" is needed", 400},
		{"PUT", "line", "x", "", 400},
		{"PUT", "line", "[]", "must be a JSON object", 400},
		{"PUT", "line", "{\"reason\":1}", "reason", 400},
		{"PUT", "line", "{\"reason\":\"a\",\"reason\":\"b\"}", "", 400},
		{"PUT", "line", "{\"reason\":\"a\",\"more\":1}", "more", 400},
		{"PUT", "line", "{\"reason\":\"a\\u0000b\"}", "", 400},
		{"PUT", "line", "\xff\xfe", "", 400},
		{"PUT", "freezes/UPPER", "{\"reason\":\"x\"}", "cannot be the name", 400},
		{"PUT", "freezes/%2e%2e", "{\"reason\":\"x\"}", "cannot be the name", 400},
		{"PUT", "freezes/a", "{\"reason\":\"x\",\"until\":\"2001-01-01T00:00:00Z\"}",
		 "later", 400},
		{"PUT", "freezes/a", "{\"reason\":\"x\",\"scope\":{\"all\":1}}", "all", 400},
		{"PUT", "freezes/a", "{\"reason\":\"x\",\"scope\":{\"target\":{\"a\":1}}}",
		 "target", 400},
		{"GET", "line", NULL, "it takes PUT, DELETE", 405},
		{"POST", "status", "{}", "it takes GET", 405},
		{"GET", "nothing", NULL, "no such resource", 404},
		{"GET", "hosts?limit=0", NULL, "at least 1", 400},
		{"GET", "hosts?limit=1001", NULL, "limit", 400},
		{"GET", "hosts?limit=-1", NULL, "limit", 400},
		{"GET", "hosts?selector==", NULL, "is not a selector", 400},
		{"GET", "hosts?selector=a", NULL, "is not a selector", 400},
		{"GET", "hosts?selector=a=%7C", NULL, "is not a selector", 400},
		{"GET", "hosts?what=1", NULL, "no query \\\"what\\\"", 400},
		{"GET", "hosts/short", NULL, "is not a host id", 400},
		{"GET", "rollouts/none", NULL, "there is no rollout none", 404},
		{"GET", "audit?after=1e9", NULL, "after", 400},
		{"POST", "rollouts", "{\"name\":\"../x\"}", "cannot be the name", 400},
		{"POST", "tokens", "{\"ttl_s\":99999999}", "ttl_s", 400},
		{"POST", "tokens", "{\"labels\":{\"a=b\":\"c\"}}", "label", 400},
		{"POST", "operators", "{\"name\":\"x\",\"role\":\"god\"}", "must be viewer",
		 400},
		{"POST", "operators", "{\"name\":\"engine\",\"role\":\"viewer\"}", "reserved",
		 400},
		{"POST", "operators", "{\"name\":\"Controller\",\"role\":\"viewer\"}",
		 "reserved", 400},
		{"DELETE", "tokens/abc", NULL, "SHA-256", 400},
		{"DELETE", "status", "{}", "it takes GET", 405},
		{"GET", "status", "{}", "takes no body", 400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refused(cases[i].status, cases[i].words,
			ask(of_role[3], cases[i].method, cases[i].path, cases[i].body));
	memset(deep, '[', sizeof(deep) - 1);
	must(400, ask(of_role[3], "PUT", "line", deep));
	memset(large, 'x', sizeof(large) - 1);
	snprintf(many, sizeof(many), "{\"reason\":\"%.50000s\"}", large);
	must(400, ask(of_role[3], "PUT", "line", many));
	must(200, ask(of_role[3], "GET", "status", NULL));
	assert_true(json_is_null(json_object_get(doc, "stop_the_line")));
}

static void who_has_not_said_who_it_is_sends_little(void **state)
{
	static char large[200000];

	(void)state;
	memset(large, 'x', sizeof(large) - 1);
	assert_int_not_equal(post_bytes(nobody, "bundles", large, sizeof(large)), 401);
	/* The very same of somebody with a certificate is read, and refused for what it is. */
	import_root();
	refused(422, "error", post_bytes(admin, "bundles", large, sizeof(large)));
}

static void what_a_form_of_a_page_can_send_is_not_obeyed(void **state)
{
	(void)state;
	refused(400, "Content-Type must be application/json",
		send_request(admin, &(struct request){"PUT", "line", "{\"reason\":\"x\"}", 0,
						      "text/plain"}));
	refused(400, "Content-Type must be application/octet-stream",
		send_request(admin, &(struct request){"POST", "documents", "{}", 0,
						      "multipart/form-data"}));
	must(200, send_request(admin, &(struct request){"PUT", "line", "{\"reason\":\"x\"}", 0,
							"application/json; charset=utf-8"}));
}

/* ---- stock ----------------------------------------------------------------------------------- */

static void only_what_release_keys_signed_gets_into_stock(void **state)
{
	AUTO_FREE uint8_t *good = NULL, *other = NULL;
	size_t len, other_len;
	char *manifest, path[128];

	(void)state;
	good = signed_bundle("fix", 1, 1, &len);
	refused(422, "trusts nobody yet", post_bytes(of_role[3], "bundles", good, len));
	import_root();
	/* Signed, but by a key that the root does not name. */
	manifest = signed_manifest("fix", 1, signed_object, signed_object_len, "");
	assert_ok(bundle_build(manifest, strlen(manifest), signed_object, signed_object_len,
			       &signed_keys[2], 1, &other, &other_len, NULL));
	free(manifest);
	refused(422, "bad_signature", post_bytes(of_role[3], "bundles", other, other_len));
	good[len - 1] ^= 1;
	refused(422, "bad_digest", post_bytes(of_role[3], "bundles", good, len));
	good[len - 1] ^= 1;
	must(200, ask(of_role[0], "GET", "bundles", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "bundles")), 0);
	must(200, post_bytes(of_role[1], "bundles", good, len));
	must(200, post_bytes(of_role[1], "bundles", good, len));
	/* Another content under a serial that is known. */
	manifest = signed_manifest("fix", 1, signed_object, signed_object_len,
				   ",\"title\":\"another\"");
	free(take_ptr(other));
	assert_ok(bundle_build(manifest, strlen(manifest), signed_object, signed_object_len,
			       signed_keys, 1, &other, &other_len, NULL));
	free(manifest);
	refused(422, "equivocation", post_bytes(of_role[1], "bundles", other, other_len));
	must(200, ask(of_role[0], "GET", "bundles", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "bundles")), 1);
	snprintf(path, sizeof(path), "bundles/%s",
		 json_string_value(json_object_get(
			 json_array_get(json_object_get(doc, "bundles"), 0), "digest")));
	must(200, ask(of_role[3], "DELETE", path, NULL));
	must(404, ask(of_role[3], "DELETE", path, NULL));
}

static void roots_follow_each_other_and_revocations_count_once(void **state)
{
	AUTO_FREE char *second = root_text(2, 1), *unsigned_second = root_text(2, 0),
		       *third = root_text(3, 1), *fourth = NULL, *revoked = NULL;
	struct revocation v = {.name = "fix", .from = 1, .to = 2, .created_ms = 5000};

	(void)state;
	refused(422, "no_trust", ask(of_role[0], "GET", "trust", NULL));
	import_root();
	assert_true(post_bytes(admin, "documents", unsigned_second, strlen(unsigned_second)) >=
		    400);
	/* One right after the other: nobody has to wait between. */
	must(200, post_bytes(admin, "documents", second, strlen(second)));
	must(200, post_bytes(admin, "documents", third, strlen(third)));
	must(200, post_bytes(admin, "documents", third, strlen(third)));
	fourth = root_text(5, 1);
	refused(422, "error", post_bytes(admin, "documents", fourth, strlen(fourth)));
	must(200, ask(of_role[0], "GET", "trust", NULL));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(doc, "root"), "version")),
		3);
	assert_ok(revocation_sign(&v, signed_keys, 1, &revoked, NULL));
	must(200, post_bytes(admin, "documents", revoked, strlen(revoked)));
	assert_null(json_object_get(doc, "known"));
	must(200, post_bytes(admin, "documents", revoked, strlen(revoked)));
	assert_true(json_is_true(json_object_get(doc, "known")));
	refused(422, "error", post_bytes(admin, "documents", "{}", 2));
}

/* ---- hosts ----------------------------------------------------------------------------------- */

/* Into the database, past the controller. */
static void set_labels(const char *labels)
{
	AUTO(fleet_freep) struct fleet *f = opened();
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	struct fleet_entry entry = {.at_ms = 1,
				    .actor = "test",
				    .action = "HOST",
				    .subject = "web-1",
				    .result = "ok"};

	assert_ok(fleet_wait(
		f, fleet_set_host(f, &HOST[6], labels, false, NULL, 0, &entry, fleet_keep, &a),
		&a));
}

static void labels_holds_and_pins_of_operators_are_kept(void **state)
{
	static const char *const bad[] = {
		"{\"labels\":{\"a\":\"\"}}",
		"{\"labels\":{\"a b\":\"c\"}}",
		"{\"labels\":{\"a\":\"b c\"}}",
		"{\"labels\":{\"a\":\"-b\"}}",
		"{\"labels\":{\"a\":\"b\\u0007\"}}",
		("{\"labels\":{\"a\":\"0123456789012345678901234567890123456789"
		 "012345678901234567890123\"}}"),
	};

	(void)state;
	add_host(1, "web-1", "6.1.0-50-amd64", "a");
	add_host(2, "web-2", "6.12.0-1-amd64", "b");
	must(200, ask(of_role[1], "PATCH", HOST,
		      "{\"labels\":{\"rack\":\"17\",\"zone\":\"c\"},\"held\":true,"
		      "\"reason\":\"it is measured\"}"));
	assert_true(json_is_true(json_object_get(doc, "held")));
	assert_string_equal(says("hold.by"), "otto");
	assert_string_equal(says("hold.reason"), "it is measured");
	assert_int_equal(strlen(says("hold.since")), strlen("2026-01-01T00:00:00.000Z"));
	assert_string_equal(says("labels.rack"), "17");
	assert_string_equal(says("labels.zone"), "c");
	assert_string_equal(says("labels.role"), "web");
	must(200,
	     ask(of_role[1], "PATCH", HOST, "{\"labels\":{\"zone\":null},\"max_serial\":4}"));
	assert_true(json_is_true(json_object_get(doc, "held")));
	assert_string_equal(says("labels.zone"), "a");
	assert_string_equal(says("labels.rack"), "17");
	/* What is said of another change, or of the same without a word, is none of a hold. */
	must(200, ask(of_role[2], "PATCH", HOST, "{\"max_serial\":5,\"reason\":\"slow\"}"));
	must(200, ask(of_role[2], "PATCH", HOST, "{\"held\":true}"));
	assert_string_equal(says("hold.by"), "otto");
	assert_string_equal(says("hold.reason"), "it is measured");
	must(200, ask(of_role[2], "PATCH", HOST, "{\"held\":true,\"reason\":\"mine\"}"));
	assert_string_equal(says("hold.by"), "anna");
	assert_string_equal(says("hold.reason"), "mine");
	must(200, ask(of_role[2], "PATCH", HOST, "{\"held\":false}"));
	assert_true(json_is_null(json_object_get(doc, "hold")));
	must(200, ask(of_role[0], "GET", "hosts?selector=rack=17|18,role=web", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "hosts")), 1);
	must(200, ask(of_role[0], "GET", "hosts?selector=kernel_release=6.12.0-1-amd64", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "hosts")), 1);
	must(200, ask(of_role[0], "GET", "hosts?limit=1", NULL));
	assert_string_equal(says("after"), &HOST[6]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(400, "1 to 63 letters", ask(of_role[1], "PATCH", HOST, bad[i]));
	/* One of before there was a rule keeps nobody from doing something else, and can go. */
	set_labels("{\"a b\":\"c d\",\"rack\":\"17\"}");
	must(200, ask(of_role[1], "PATCH", HOST, "{\"labels\":{\"tier\":\"db\"}}"));
	assert_string_equal(says("labels.a b"), "c d");
	must(200, ask(of_role[1], "PATCH", HOST, "{\"labels\":{\"a b\":null}}"));
	assert_string_equal(says("labels.a b"), "");
	must(200, ask(of_role[3], "DELETE", HOST, NULL));
	must(404, ask(of_role[0], "GET", HOST, NULL));
	must(404, ask(of_role[1], "PATCH", HOST, "{}"));
}

static void all_pages_of_hosts_are_all_hosts(void **state)
{
	char path[160] = "hosts?limit=3";
	size_t n = 0;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		add_host(i, i % 2 ? "odd" : "even", "6.1", "a");
	do {
		must(200, ask(of_role[0], "GET", path, NULL));
		n += json_array_size(json_object_get(doc, "hosts"));
		snprintf(path, sizeof(path), "hosts?limit=3&after=%s", says("after"));
	} while (says("after")[0]);
	assert_int_equal(n, 10);
	must(200, ask(of_role[0], "GET", "hosts?selector=name=odd", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "hosts")), 5);
}

/* ---- freezes --------------------------------------------------------------------------------- */

static void an_operator_freezes_and_an_approver_thaws(void **state)
{
	(void)state;
	must(200, ask(of_role[1], "PUT", "freezes/xmas",
		      "{\"reason\":\"nobody is there\",\"scope\":{\"hotfix\":\"fix\"}}"));
	/* To move its end into the past would be to lift it. */
	refused(409, "an approver may change it",
		ask(of_role[1], "PUT", "freezes/xmas", "{\"reason\":\"x\"}"));
	must(200, ask(of_role[2], "PUT", "freezes/xmas", "{\"reason\":\"x\"}"));
	must(403, ask(of_role[1], "DELETE", "freezes/xmas", NULL));
	must(200, ask(of_role[2], "DELETE", "freezes/xmas", NULL));
	refused(404, "there is no such freeze",
		ask(of_role[2], "DELETE", "freezes/xmas", NULL));
	refused(404, "the line is not stopped", ask(of_role[2], "DELETE", "line", NULL));
	must(200, ask(of_role[1], "PUT", "line", "{\"reason\":\"oopses\"}"));
	must(200, ask(of_role[0], "GET", "status", NULL));
	assert_string_equal(says("stop_the_line.reason"), "oopses");
	assert_string_equal(says("stop_the_line.by"), "otto");
	must(200, ask(of_role[2], "DELETE", "line", NULL));
}

/* ---- rollouts -------------------------------------------------------------------------------- */

static void a_plan_names_the_hosts_of_each_wave_and_stores_nothing(void **state)
{
	const json_t *waves;

	(void)state;
	refused(422, "trusts nobody yet",
		ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	import_root();
	refused(404, "no bundle of fix is in stock",
		ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	import_bundle("fix", 3);
	import_bundle("fix", 4);
	refused(404, "no bundle of fix with serial 5",
		ask(of_role[1], "POST", "plans", "{\"name\":\"fix\",\"serial\":5}"));
	refused(400, "max_in_flight",
		ask(of_role[1], "POST", "plans",
		    "{\"name\":\"fix\",\"spec\":{\"max_in_flight\":0}}"));
	refused(400, "unknown_knob",
		ask(of_role[1], "POST", "plans",
		    "{\"name\":\"fix\",\"spec\":{\"unknown_knob\":0}}"));
	for (unsigned int i = 0; i < 6; i++)
		add_host(i, "h", i < 3 ? "6.1" : "6.12", i % 2 ? "a" : "b");
	refused(400, "must be a time zone",
		ask(of_role[1], "POST", "plans",
		    "{\"name\":\"fix\",\"spec\":{\"windows\":{\"allow\":[{\"start\":"
		    "\"2020-01-01T00:00:00\",\"duration\":\"1h\",\"tz\":\"Mars\"}]}}}"));
	refused(400, "its windows never open",
		ask(of_role[1], "POST", "rollouts",
		    "{\"name\":\"fix\",\"spec\":{\"windows\":{\"allow\":[{\"start\":"
		    "\"2020-01-01T00:00:00\",\"duration\":\"1h\"}]}}}"));
	must(200, ask(of_role[1], "POST", "plans",
		      "{\"name\":\"fix\",\"spec\":{\"windows\":{\"allow\":[{\"start\":"
		      "\"2026-01-01T00:00:00\",\"duration\":\"1m\",\"rrule\":"
		      "\"FREQ=YEARLY\"}]}}}"));
	assert_non_null(strstr(answer, "\"window\""));
	must(200, ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	assert_int_equal(json_integer_value(json_object_get(doc, "serial")), 4);
	assert_int_equal(json_integer_value(json_object_get(doc, "eligible")), 6);
	waves = json_object_get(doc, "waves");
	/* A canary of each kernel build. */
	assert_int_equal(json_integer_value(json_object_get(json_array_get(waves, 0), "hosts")),
			 2);
	assert_int_equal(json_object_size(json_object_get(doc, "hosts")), 6);
	must(200, ask(of_role[0], "GET", "rollouts", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "rollouts")), 0);
}

static void a_plan_names_the_freezes_that_would_hold_it(void **state)
{
	const json_t *waits;

	(void)state;
	import_root();
	import_bundle("fix", 3);
	for (unsigned int i = 0; i < 6; i++)
		add_host(i, "h", i < 3 ? "6.1" : "6.12", i % 2 ? "a" : "b");
	must(200, ask(of_role[1], "PUT", "freezes/xmas",
		      "{\"reason\":\"nobody is there\",\"until\":\"2100-01-01T00:00:00Z\"}"));
	must(200, ask(of_role[1], "PUT", "freezes/other",
		      "{\"reason\":\"x\",\"scope\":{\"hotfix\":\"another\"}}"));
	must(200,
	     ask(of_role[1], "PUT", "freezes/old",
		 "{\"reason\":\"x\",\"scope\":{\"target\":{\"kernel_release\":\"6.1\"}}}"));
	must(200, ask(of_role[1], "PUT", "line", "{\"reason\":\"oopses\"}"));
	must(200, ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	waits = json_object_get(doc, "waits");
	assert_int_equal(json_array_size(waits), 2);
	assert_string_equal(json_string_value(json_array_get(waits, 0)),
			    "the line is stopped by otto: oopses");
	assert_string_equal(
		json_string_value(json_array_get(waits, 1)),
		"freeze xmas by otto until 2100-01-01T00:00:00.000Z: nobody is there");
	/* Whom a freeze leaves out is left out of the plan. */
	assert_int_equal(json_integer_value(json_object_get(doc, "eligible")), 3);
	assert_int_equal(json_array_size(json_object_get(doc, "freezes")), 2);
}

static const char *excluded(unsigned int n)
{
	char id[65];
	const char *why;

	make_id(n, id);
	why = json_string_value(json_object_get(json_object_get(doc, "excluded"), id));
	return why ? why : "";
}

static void add_host_with_root(unsigned int n, uint64_t version, const uint8_t sha256[32])
{
	char health[160], hex[BYTES_SHA256_HEX];

	snprintf(health, sizeof(health),
		 "{\"root\":{\"version\":%" PRIu64 ",\"sha256\":\"%s\"}}", version,
		 sha256 ? bytes_to_hex(sha256, 32, hex) : "");
	add_host_with(n, "h", "6.1", "a", health);
}

/* Hosts take the roots that follow theirs, one after the other. */
static void a_plan_names_hosts_whose_root_will_not_take_it(void **state)
{
	static const uint8_t other[32] = {7};
	AUTO_FREE char *second = root_text(2, 1), *third = root_text(3, 1);
	AUTO(trust_freep) struct trust *two = NULL, *three = NULL;

	(void)state;
	assert_ok(trust_open(second, strlen(second), &two, NULL));
	assert_ok(trust_open(third, strlen(third), &three, NULL));
	/* Of the first root this controller never knew. */
	must(200, post_bytes(admin, "documents", second, strlen(second)));
	must(200, post_bytes(admin, "documents", third, strlen(third)));
	import_bundle("fix", 1);
	add_host_with_root(1, 0, NULL);
	must(200, ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	assert_string_equal(excluded(1), "incompatible (trusts no root)");
	refused(422, "incompatible (trusts no root)",
		ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\"}"));
	must(200, ask(of_role[0], "GET", HOST, NULL));
	assert_string_equal(says("unfit"), "trusts no root");
	add_host_with_root(2, 1, other); /* takes the second, and then the third */
	add_host_with_root(3, 2, two->sha256);
	add_host_with_root(4, 2, other);
	add_host_with_root(5, 3, three->sha256);
	add_host_with_root(6, 3, other);
	add_host_with_root(7, 4, other);  /* somebody else brought it one that is newer */
	add_host(8, "older", "6.1", "a"); /* and says nothing of roots */
	must(200, ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	assert_int_equal(json_integer_value(json_object_get(doc, "eligible")), 5);
	assert_string_equal(excluded(4), "incompatible (trusts another root 2)");
	assert_string_equal(excluded(6), "incompatible (trusts another root 3)");
}

static void a_host_is_left_out_whose_next_root_is_nowhere(void **state)
{
	AUTO_FREE char *third = root_text(3, 1);
	static const uint8_t some[32] = {7};

	(void)state;
	must(200, post_bytes(admin, "documents", third, strlen(third)));
	import_bundle("fix", 1);
	add_host_with_root(1, 1, some);
	add_host_with_root(2, 2, some);
	must(200, ask(of_role[1], "POST", "plans", "{\"name\":\"fix\"}"));
	assert_string_equal(excluded(1), "incompatible (has root 1, root 2 is missing)");
	assert_string_equal(excluded(2), "");
}

static void a_rollout_that_cannot_begin_is_refused_and_a_draft_is_not(void **state)
{
	char path[128];

	(void)state;
	import_root();
	import_bundle("fix", 1);
	refused(422, "no host is eligible",
		ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\"}"));
	add_host(1, "web-1", "6.1", "a");
	must(200, ask(of_role[1], "PATCH", HOST, "{\"held\":true}"));
	refused(422, "excluded for: hold (operator otto)",
		ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\"}"));
	must(200, ask(of_role[0], "GET", "rollouts", NULL));
	assert_int_equal(json_array_size(json_object_get(doc, "rollouts")), 0);
	must(201, ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\",\"start\":false}"));
	snprintf(path, sizeof(path), "rollouts/%s", says("id"));
	must(200, ask(of_role[0], "GET", path, NULL));
	assert_string_equal(says("state"), "draft");
	assert_string_equal(says("author"), "otto");
}

static void verbs_that_the_state_forbids_are_refused_at_once(void **state)
{
	char path[128], id[80];

	(void)state;
	import_root();
	import_bundle("fix", 1);
	must(201, ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\",\"start\":false}"));
	snprintf(id, sizeof(id), "%s", says("id"));
	snprintf(path, sizeof(path), "rollouts/%s/pause", id);
	refused(409, "is draft: it cannot be paused", ask(of_role[1], "POST", path, "{}"));
	snprintf(path, sizeof(path), "rollouts/%s/undo", id);
	refused(409, "cannot be undone", ask(of_role[1], "POST", path, "{}"));
	snprintf(path, sizeof(path), "rollouts/%s/retry", id);
	refused(409, "cannot be tried again", ask(of_role[1], "POST", path, "{}"));
	snprintf(path, sizeof(path), "rollouts/%s/abort", id);
	refused(400, "must be nothing, wave or all",
		ask(of_role[1], "POST", path, "{\"scope\":\"most\"}"));
	snprintf(path, sizeof(path), "rollouts/%s/override", id);
	refused(400, "reason", ask(of_role[2], "POST", path, "{}"));
	snprintf(path, sizeof(path), "rollouts/%s/dance", id);
	must(404, ask(of_role[3], "POST", path, "{}"));
	snprintf(path, sizeof(path), "rollouts/%s/abort", id);
	must(202, ask(of_role[1], "POST", path, "{\"reason\":\"a mistake\"}"));
}

static void who_waits_for_a_rollout_is_answered_when_the_time_is_over(void **state)
{
	uint64_t from_ms;
	char path[160];

	(void)state;
	import_root();
	import_bundle("fix", 1);
	must(201, ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\",\"start\":false}"));
	snprintf(path, sizeof(path), "rollouts/%s?generation=1000&wait=700", says("id"));
	from_ms = clock_up_ms();
	must(200, ask(of_role[0], "GET", path, NULL));
	assert_true(clock_up_ms() - from_ms >= 700);
	assert_string_equal(says("state"), "draft");
}

static void who_is_revoked_while_he_waits_is_told_at_once(void **state)
{
	uint64_t from_ms;
	char path[160];
	int status, ready[2];
	pid_t child;

	(void)state;
	import_root();
	import_bundle("fix", 1);
	must(201, ask(of_role[1], "POST", "rollouts", "{\"name\":\"fix\",\"start\":false}"));
	snprintf(path, sizeof(path), "rollouts/%s?generation=1000&wait=50000", says("id"));
	assert_ok(pipe(ready));
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ready[0]);
		close(ready[1]);
		_exit(ask(of_role[0], "GET", path, NULL) == 403 ? 0 : 1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &status, 1), 0); /* it is about to ask */
	close(ready[0]);
	for (int i = 0; i < 10; i++)
		must(200, ask(admin, "GET", "status", NULL));
	from_ms = clock_up_ms();
	must(200, ask(admin, "DELETE", "operators/vera", NULL));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(clock_up_ms() - from_ms < 20000);
}

static void room_on_disk(rlim_t bytes)
{
	struct rlimit l = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

	assert_ok(prlimit(controller, RLIMIT_FSIZE, &l, NULL));
}

static void a_full_disk_is_told_with_what_to_do_and_when_it_is_over(void **state)
{
	(void)state;
	must(200, ask(of_role[0], "GET", "status", NULL));
	assert_string_equal(says("database.state"), "ok");
	room_on_disk(0);
	must(200, ask(of_role[0], "GET", "status", NULL));
	assert_string_equal(says("database.state"), "failing");
	assert_non_null(strstr(says("database.why"), "fleet.db: "));
	assert_true(says("database.hint")[0]);
	assert_true(says("database.since")[0]);
	room_on_disk(RLIM_INFINITY);
	must(200, ask(of_role[0], "GET", "status", NULL));
	assert_string_equal(says("database.state"), "ok");
	assert_string_equal(says("database.why"), "");
}

/* ---- all of it ------------------------------------------------------------------------------- */

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_route_takes_its_role_and_those_above_and_no_other),
		TEST(who_is_nobody_is_told_how_to_be_somebody),
		TEST(only_certificates_that_were_added_are_operators),
		TEST(a_request_is_signed_and_its_certificate_is_an_operator),
		cmocka_unit_test(init_takes_no_admin_who_reads_like_the_controller),
		TEST(who_was_revoked_is_nobody_and_the_last_admin_stays),
		TEST(secrets_are_not_at_rest_but_their_hashes_are),
		TEST(denials_are_written_down_and_cannot_fill_the_log),
		TEST(hostile_requests_are_refused_and_the_next_is_served),
		TEST(who_has_not_said_who_it_is_sends_little),
		TEST(what_a_form_of_a_page_can_send_is_not_obeyed),
		TEST(only_what_release_keys_signed_gets_into_stock),
		TEST(roots_follow_each_other_and_revocations_count_once),
		TEST(labels_holds_and_pins_of_operators_are_kept),
		TEST(all_pages_of_hosts_are_all_hosts),
		TEST(an_operator_freezes_and_an_approver_thaws),
		TEST(a_plan_names_the_hosts_of_each_wave_and_stores_nothing),
		TEST(a_plan_names_the_freezes_that_would_hold_it),
		TEST(a_plan_names_hosts_whose_root_will_not_take_it),
		TEST(a_host_is_left_out_whose_next_root_is_nowhere),
		TEST(a_rollout_that_cannot_begin_is_refused_and_a_draft_is_not),
		TEST(verbs_that_the_state_forbids_are_refused_at_once),
		TEST(who_waits_for_a_rollout_is_answered_when_the_time_is_over),
		TEST(who_is_revoked_while_he_waits_is_told_at_once),
		TEST(a_full_disk_is_told_with_what_to_do_and_when_it_is_over),
	};
	int r;

	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	r = cmocka_run_group_tests(tests, signed_setup, signed_teardown);
	curl_global_cleanup();
	return r;
}
