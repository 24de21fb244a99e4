// SPDX-License-Identifier: BSD-2-Clause
/*
 * The operators' API: a real listener with TLS, the parts of a controller behind it, and a database that
 * is the same before every input. The first byte says who asks: v, o, p and a are a viewer,
 * operator, approver and admin by token, c the admin by certificate, else nobody. Then requests follow,
 * separated by 0xff:
 *
 *	METHOD PATH\nBODY	method: its letter in methods; a body "@N" is document N of the harness
 *
 * Every answer is HTTP with a JSON document; nothing is a failure of the controller's own; the audit
 * log stays whole, and who is a viewer has changed nothing.
 */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/director.h"
#include "server/controller/enrol.h"
#include "server/controller/init.h"
#include "server/controller/operators.h"
#include "server/controller/park.h"
#include "server/controller/roots.h"
#include "store/bytes.h"
#include "store/fleet.h"
#include "store/revocation.h"

#define DOCUMENTS 4
#define TURNS	  2000

static const struct {
	char letter;
	const char *name;
} methods[] = {{'G', "GET"}, {'P', "POST"}, {'D', "DELETE"}, {'U', "PUT"}, {'A', "PATCH"}};

static const struct {
	char letter;
	const char *name, *role;
} people[] = {{'v', "vera", "viewer"},
	      {'o', "otto", "operator"},
	      {'p', "anna", "approver"},
	      {'a', "adam", "admin"}};

static struct settings settings;
static struct controller c = {.settings = &settings};
static char state_dir[128], copy[160];
static struct {
	uint8_t *bytes;
	size_t len;
} documents[DOCUMENTS];
static uint8_t *template;
static size_t template_len;
static SSL *ssl;
static bool ssl_shows;

static const char *in_state(const char *name)
{
	static char paths[4][256];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", state_dir, name);
	return p;
}

/* ---- the world ---------------------------------------------------------------------------- */

static const char *token_of(size_t i)
{
	static char token[80];

	snprintf(token, sizeof(token), "hfo1.%064zx", i + 1);
	return token;
}

static void wait_for(struct fleet *f, int r, struct fleet_answer **a)
{
	fuzz_must(fleet_wait(f, r, a) == 0);
	*a = fleet_answer_free(*a);
}

static void add_host(struct fleet *f, unsigned int n, struct fleet_entry *entry)
{
	struct fleet_answer *a = NULL;
	uint8_t print[32] = {(uint8_t)n, 1};
	char id[65];
	struct fleet_enrolment e = {.id = id,
				    .name = n % 2 ? "odd" : "even",
				    .fingerprint = print,
				    .certificate = "01",
				    .expires_ms = clock_real_ms() + 86400000};
	struct fleet_report r = {.host = id,
				 .seq = 1,
				 .boot_id = "b",
				 .kernel = n % 2 ? "6.1" : "6.12",
				 .arch = "x86_64",
				 .zone = "z",
				 .facts = "{\"role\":\"web\"}",
				 .hotfixes = n ? "{}" : "{\"a\":{\"committed\":1}}",
				 .health = "{}"};

	snprintf(id, sizeof(id), "%064x", n + 1);
	wait_for(f, fleet_enrol(f, &e, entry, fleet_keep, &a), &a);
	wait_for(f, fleet_reports(f, &r, 1, fleet_keep, &a), &a);
}

static void make_template(void)
{
	static const char hooks[] = "[{\"type\":\"lsm\",\"target\":\"socket_bind\","
				    "\"program\":\"deny\"}]";
	struct fleet_entry entry = {
		.at_ms = 1, .actor = "fuzz", .action = "X", .subject = "x", .result = "ok"};
	struct revocation v = {.name = "a", .from = 1, .to = 1, .created_ms = 3000};
	struct fleet_document root = {
		.kind = "root", .name = "1", .version = 1, .actor = "fuzz"};
	struct key *key = fuzz_key(0);
	struct fleet_answer *a = NULL;
	struct fleet *f;
	char *text;

	documents[0].bytes = (uint8_t *)strdup(fuzz_root());
	documents[0].len = strlen(fuzz_root());
	documents[1].bytes = fuzz_bundle("a", 1, "object", 6, hooks, "", &documents[1].len);
	documents[2].bytes = fuzz_bundle("a", 2, "object", 6, hooks, "", &documents[2].len);
	documents[2].bytes[documents[2].len - 1] ^= 1;
	fuzz_must(revocation_sign(&v, &key, 1, &text, NULL) == 0);
	documents[3].bytes = (uint8_t *)text;
	documents[3].len = strlen(text);

	fuzz_must(fleet_open(in_state("fleet.db"), 0, 0, &f, NULL) == 0);
	root.envelope = documents[0].bytes;
	root.len = documents[0].len;
	wait_for(f, fleet_put_document(f, &root, &entry, fleet_keep, &a), &a);
	for (size_t i = 0; i < ARRAY_SIZE(people); i++) {
		uint8_t hash[BYTES_SHA256];
		struct fleet_operator o = {
			.credential = hash, .name = people[i].name, .role = people[i].role};

		bytes_sha256(token_of(i), strlen(token_of(i)), hash);
		wait_for(f, fleet_add_operator(f, &o, &entry, fleet_keep, &a), &a);
	}
	for (unsigned int n = 0; n < 5; n++)
		add_host(f, n, &entry);
	fleet_free(f); /* with its log folded into the file */
	fuzz_must(io_read_file(in_state("fleet.db"), 64U << 20, &template, &template_len) == 0);
}

static void on_wake(const char *topic, void *cookie)
{
	(void)cookie;
	if (c.roots)
		roots_on_wake(c.roots, topic);
	if (c.operators)
		operators_on_wake(c.operators, topic);
}

/* The database as it was. */
static void renew(void)
{
	char beside[192];

	c.database = database_free(c.database);
	c.fleet = NULL; /* until below: nothing runs between */
	for (const char *const *end = (const char *const[]){"-wal", "-shm", NULL}; *end;
	     end++) {
		snprintf(beside, sizeof(beside), "%s%s", copy, *end);
		unlink(beside);
	}
	fuzz_must(io_write_file(copy, template, template_len, 0600) == 0);
	fuzz_must(database_new(c.base, copy, on_wake, NULL, &c.database, &c.fleet, NULL) == 0);
}

static void begin_world(void)
{
	static const char conf[] = "[operators]\nlisten = 127.0.0.1:0\n";
	char *init[] = {state_dir, "--state-dir", state_dir, "--name", "127.0.0.1"};
	char *argv[] = {"fuzz", "--config", NULL, "--state-dir", state_dir};
	int out = dup(1), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char path[128];

	signal(SIGPIPE, SIG_IGN);
	log_open(LOG_CRIT);
	snprintf(state_dir, sizeof(state_dir), "%s/operators", fuzz_folder());
	snprintf(copy, sizeof(copy), "%s/copy.db", fuzz_folder());
	fflush(stdout);
	dup2(null, 1);
	fuzz_must(init_main((int)ARRAY_SIZE(init), init, NULL) == 0);
	fflush(stdout);
	dup2(out, 1);
	close(out);
	close(null);
	make_template();
	fuzz_write("operators.conf", conf, strlen(conf));
	snprintf(path, sizeof(path), "%s/operators.conf", fuzz_folder());
	argv[2] = path;
	fuzz_must(settings_load((int)ARRAY_SIZE(argv), argv, &settings, NULL) == 0);
	c.base = event_base_new();
	fuzz_must(c.base && park_new(c.base, 100, &c.park) == 0);
	renew();
	fuzz_must(roots_new(&c, &c.roots, NULL) == 0);
	fuzz_must(director_new(&c, &c.director, NULL) == 0);
	fuzz_must(enrol_new(&c, &c.enrol, NULL) == 0);
	fuzz_must(operators_new(&c, &c.operators, NULL) == 0);
	for (int turn = 0; turn < TURNS && !roots_trust(c.roots); turn++)
		event_base_loop(c.base, EVLOOP_ONCE);
	fuzz_must(roots_trust(c.roots));
}

/* ---- talking ------------------------------------------------------------------------------ */

/* What does not come at once comes later: connections are accepted at a pace. */
static void one_turn(int turn)
{
	event_base_loop(c.base, EVLOOP_NONBLOCK);
	if (turn > 50)
		usleep(500);
}

static void hang_up(void)
{
	int fd = ssl ? SSL_get_fd(ssl) : -1;

	SSL_free(ssl);
	ssl = NULL;
	if (fd >= 0)
		close(fd);
	ERR_clear_error();
	for (int turn = 0; turn < 4; turn++)
		event_base_loop(c.base, EVLOOP_NONBLOCK);
}

static void dial(bool shows)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c.port.operators)};
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fuzz_must(context && fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	evutil_make_socket_nonblocking(fd);
	if (shows) {
		fuzz_must(SSL_CTX_use_certificate_file(context, in_state("admin.crt"),
						       SSL_FILETYPE_PEM) == 1);
		fuzz_must(SSL_CTX_use_PrivateKey_file(context, in_state("admin.key"),
						      SSL_FILETYPE_PEM) == 1);
	}
	ssl = SSL_new(context);
	ssl_shows = shows;
	SSL_CTX_free(context);
	SSL_set_fd(ssl, fd);
	for (int turn = 0; turn < TURNS && r != 1; turn++) {
		r = SSL_connect(ssl);
		one_turn(turn);
	}
	fuzz_must(r == 1);
}

/* The document of the answer; NULL: the connection ended, or it is no JSON and need not be. */
static json_t *converse(const char *request, size_t len)
{
	static char answer[4 << 20];
	size_t sent = 0, got = 0, body, body_len;
	json_t *doc;
	int status;

	for (int turn = 0; turn < TURNS; turn++) {
		int n;

		if (sent < len) {
			n = SSL_write(ssl, request + sent, (int)(len - sent));
			sent += n > 0 ? (size_t)n : 0;
		}
		one_turn(turn);
		n = SSL_read(ssl, answer + got, (int)(sizeof(answer) - 1 - got));
		if (n > 0)
			got += (size_t)n;
		else if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
			break;
		answer[got] = 0;
		if (fuzz_answer_is_whole(answer, got, &body, &body_len))
			break;
	}
	if (!fuzz_answer_is_whole(answer, got, &body, &body_len)) {
		hang_up(); /* it waits, or was refused by the connection's bounds */
		return NULL;
	}
	status = atoi(answer + 9);
	fuzz_must(strncmp(answer, "HTTP/1.1 ", 9) == 0 && status >= 200 && status < 500);
	doc = json_loadb(answer + body, body_len, JSON_REJECT_DUPLICATES, NULL);
	fuzz_must(doc || strstr(answer, "Content-Type: text/html") ||
		  strstr(answer, "Content-Type: application/yaml"));
	if (doc && status >= 300)
		fuzz_must(json_string_length(
			json_object_get(json_object_get(doc, "error"), "message")));
	if (strstr(answer, "Connection: close"))
		hang_up();
	return doc;
}

static json_t *ask(char who, const char *method, const char *path, size_t path_len,
		   const void *body, size_t body_len)
{
	AUTO_FREE char *request = malloc(path_len + body_len + 512);
	bool bytes =
		memmem(path, path_len, "bundles", 7) || memmem(path, path_len, "documents", 9);
	char line[128] = "";
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(people); i++)
		if (people[i].letter == who)
			snprintf(line, sizeof(line), "Authorization: Bearer %s\r\n",
				 token_of(i));
	if (ssl && ssl_shows != (who == 'c'))
		hang_up();
	if (!ssl)
		dial(who == 'c');
	fuzz_must(request);
	n = (size_t)sprintf(request,
			    "%s %.*s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/%s\r\n"
			    "Content-Length: %zu\r\n\r\n",
			    method, (int)path_len, path, line, bytes ? "octet-stream" : "json",
			    body_len);
	memcpy(request + n, body, body_len);
	return converse(request, n + body_len);
}

static void ask_one(char who, const char *text, size_t len)
{
	const char *method = NULL, *line = memchr(text, '\n', len), *body;
	size_t path_len, body_len;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (methods[i].letter == text[0])
			method = methods[i].name;
	if (!method || len < 2 || text[1] != ' ')
		return;
	path_len = line ? (size_t)(line - text) - 2 : len - 2;
	body = line ? line + 1 : text + len;
	body_len = line ? len - (size_t)(body - text) : 0;
	if (body_len == 2 && body[0] == '@' && isdigit((unsigned char)body[1])) {
		size_t n = (size_t)(body[1] - '0') % DOCUMENTS;

		body = (const char *)documents[n].bytes;
		body_len = documents[n].len;
	}
	/* Nobody waits here. */
	if (memmem(text + 2, path_len, "wait", 4))
		return;
	json_decref(ask(who, method, text + 2, path_len, body, body_len));
}

static void check_log(char who)
{
	AUTO_JSON json_t *verified = ask('a', "GET", "/v1/audit/verify", 16, "", 0);
	AUTO_JSON json_t *log = ask('a', "GET", "/v1/audit", 9, "", 0);
	const json_t *row;
	size_t i;

	fuzz_must(!verified || json_is_true(json_object_get(verified, "ok")) ||
		  json_object_get(verified, "error"));
	json_array_foreach(json_object_get(log, "rows"), i, row) {
		const char *actor = json_string_value(json_object_get(row, "actor"));
		const char *action = json_string_value(json_object_get(row, "action"));

		if (who == 'v' && strcmp(actor, "vera") == 0)
			fuzz_must(strcmp(action, "DENIED") == 0);
	}
}

FUZZ_TARGET(operators)
{
	char *request;
	char who;
	size_t len;

	if (!size)
		return 0;
	if (!c.base)
		begin_world();
	renew();
	who = (char)data[0];
	data++;
	size--;
	while ((request = fuzz_part(&data, &size, 0xff, &len))) {
		if (len)
			ask_one(who, request, len);
		free(request);
	}
	check_log(who);
	return 0;
}
