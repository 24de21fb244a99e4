// SPDX-License-Identifier: BSD-2-Clause
/*
 * The API: real evhttp on a real socket, the daemon's verbs, changes and store behind it, with
 * kernel.c for what changes the kernel. The bytes up to the first line break are the luck of
 * the workers, then requests follow, separated by 0xff:
 *
 *	!BYTES			sent as they are
 *	~NAME\nBYTES		no request: somebody writes these into the gate of a hot-fix
 *	METHOD PATH\nBODY	sent as a request; method: its letter in methods; a body "@N" is
 *				document N of the harness
 *
 * All answers but those to raw bytes must be HTTP with a JSON document.
 */
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "server/api.h"
#include "store/bundle.h"
#include "store/revocation.h"

#define VERSIONS  8 /* the root, versions, and the last one damaged */
#define DOCUMENTS 10
#define TURNS	  200

static const struct {
	char letter;
	const char *name;
} methods[] = {{'G', "GET"},  {'P', "POST"},	{'D', "DELETE"}, {'U', "PUT"},
	       {'H', "HEAD"}, {'O', "OPTIONS"}, {'T', "TRACE"}};

static struct {
	struct config config;
	struct event_base *base;
	struct store *store;
	struct workers *workers;
	struct events *events;
	struct hotfixes *hotfixes;
	struct api *api;
	struct stat db, wal; /* as it was when the world was new */
} world;

static struct {
	uint8_t *bytes;
	size_t len;
} documents[DOCUMENTS];

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
	return path;
}

/* ---- documents --------------------------------------------------------------------------- */

/* The next root, which bars all but cc, and a revocation. */
static void make_words(void)
{
	struct trust next = {.version = 2,
			     .created_ms = 2000,
			     .root = fuzz_role(2, 1),
			     .release = fuzz_role(1, 1),
			     .n_scopes = 1};
	struct revocation v = {
		.name = "b", .from = 4, .to = 4, .rollback = true, .reason = "x"};
	struct key *key = fuzz_key(0);
	char *text;

	fuzz_must(trust_scope_parse("cc*", "struct_ops", &next.scopes[0]) == 0);
	next.scopes[0].key = *key_public(key);
	fuzz_must(trust_sign(&next, &key, 1, &text, NULL) == 0);
	documents[VERSIONS].bytes = (uint8_t *)text;
	documents[VERSIONS].len = strlen(text);
	v.created_ms = 3000;
	fuzz_must(revocation_sign(&v, &key, 1, &text, NULL) == 0);
	documents[VERSIONS + 1].bytes = (uint8_t *)text;
	documents[VERSIONS + 1].len = strlen(text);
}

static void make_documents(void)
{
	static const char hooks[] = "[{\"type\":\"lsm\",\"target\":\"socket_bind\","
				    "\"program\":\"deny\"}]";
	static const char cc[] = "[{\"type\":\"struct_ops\",\"target\":\"tcp_congestion_ops\","
				 "\"program\":\"ops\",\"cc_name\":\"hf_fuzz\"}]";
	static const struct {
		const char *name, *hooks, *more;
	} versions[VERSIONS] = {
		{NULL, NULL, NULL}, /* the root */
		{"a", hooks, ",\"requires\":[\"b\"]"},
		{"a", hooks, ",\"trial\":{\"default_s\":1,\"min_s\":1}"},
		{"a", hooks, ""},
		{"b", hooks, ""},
		{"b", hooks, ",\"conflicts\":[\"a\"]"},
		{"cc", cc, ",\"struct_ops\":{\"default\":true}"},
		{"cc", cc, ""},
	};

	documents[0].bytes = (uint8_t *)strdup(fuzz_root());
	documents[0].len = strlen(fuzz_root());
	for (size_t i = 1; i < VERSIONS; i++)
		documents[i].bytes =
			fuzz_bundle(versions[i].name, i, "object", 6, versions[i].hooks,
				    versions[i].more, &documents[i].len);
	/* Signed, but not what was signed. */
	documents[VERSIONS - 1].bytes[documents[VERSIONS - 1].len - 1] ^= 1;
	make_words();
}

static void put_version(const uint8_t *bytes, size_t len)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	struct store_version v = {.imported_ms = 1000, .bundle_bytes = len};

	fuzz_must(bundle_open(bytes, len, fuzz_trust(), &b, NULL) == 0);
	v.serial = b->manifest->serial;
	snprintf(v.name, sizeof(v.name), "%s", b->manifest->name);
	memcpy(v.digest, b->digest, sizeof(v.digest));
	memcpy(v.manifest_sha256, b->manifest_sha256, sizeof(v.manifest_sha256));
	memcpy(v.object_sha256, b->manifest->object_sha256, sizeof(v.object_sha256));
	fuzz_must(store_put_version(world.store, &v, bytes, len) == 0);
}

/* ---- the world --------------------------------------------------------------------------- */

/* A database with the root and all versions, kept as a file to begin anew from. */
static void make_template(void)
{
	make_documents();
	fuzz_must(store_open(path_of("template.db"), &world.store, NULL) == 0);
	fuzz_must(store_put_root(world.store, 1, documents[0].bytes, documents[0].len, 1000,
				 0) == 0);
	for (size_t i = 1; i < VERSIONS - 1; i++)
		put_version(documents[i].bytes, documents[i].len);
	world.store = store_free(world.store);
}

static void end_world(void)
{
	api_free(world.api);
	hotfixes_free(world.hotfixes);
	events_free(world.events);
	workers_free(world.workers);
	if (world.base)
		event_base_free(world.base);
	store_free(world.store);
	memset(&world, 0, sizeof(world));
}

/* As the parent leaves it to the loop. */
static int bound(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	unlink(world.config.socket);
	memcpy(addr.sun_path, world.config.socket, strlen(world.config.socket) + 1);
	fuzz_must(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

static void begin_world(void)
{
	struct boot boot = {.state = POLICY_BOOT_NORMAL};
	char program[] = "hotfixd", flag[] = "--config", none[] = "/dev/null";
	char *argv[] = {program, flag, none};
	AUTO_FREE uint8_t *db = NULL;
	struct hotfixes_opts opts;
	static bool made;
	size_t len;

	if (!made)
		make_template();
	made = true;
	unlink(path_of("state.db-wal"));
	unlink(path_of("state.db-shm"));
	fuzz_must(io_read_file(path_of("template.db"), 1 << 24, &db, &len) == 0);
	fuzz_write("state.db", db, len);
	fuzz_must(config_load(3, argv, &world.config, NULL) == 0);
	snprintf(world.config.state_dir, sizeof(world.config.state_dir), "%s", fuzz_folder());
	snprintf(world.config.socket, sizeof(world.config.socket), "%s", path_of("socket"));
	snprintf(world.config.bpffs, sizeof(world.config.bpffs), "%s", path_of("bpffs"));
	/* What is not there without a kernel, or differs from host to host. */
	snprintf(
		world.config.health_off, sizeof(world.config.health_off),
		"kmsg warn taint recursion_misses ns_per_call cpu_percent denials_per_s psi_cpu psi_io "
		"psi_memory tcp_retrans_percent tcp_resets_per_s");
	fuzz_must(store_open(path_of("state.db"), &world.store, NULL) == 0);
	world.base = event_base_new();
	fuzz_must(world.base);
	opts = (struct hotfixes_opts){.base = world.base,
				      .config = &world.config,
				      .bpffs = world.config.bpffs,
				      .store = world.store,
				      .boot = &boot,
				      .log_fd = -1};
	fuzz_must(workers_new(world.base, NULL, 1000, &world.workers) == 0 &&
		  events_new(&world.events) == 0);
	opts.workers = world.workers;
	opts.events = world.events;
	fuzz_must(hotfixes_new(&opts, &world.hotfixes) == 0);
	/* A host that reads fast and is always well. */
	fuzz_write("sys/kernel/oops_count", "0\n", 2);
	watches_free(world.hotfixes->watches);
	fuzz_must(watches_new(&(struct watches_opts){.base = world.base,
						     .root = fuzz_folder(),
						     .bpffs = world.config.bpffs,
						     .health_off = world.config.health_off,
						     .log_fd = -1},
			      &world.hotfixes->watches) == 0);
	fuzz_must(api_new(&(struct api_context){.base = world.base,
						.config = &world.config,
						.listen_fd = bound(),
						.store = world.store,
						.workers = world.workers,
						.hotfixes = world.hotfixes,
						.events = world.events,
						.report = {.state_dir = world.config.state_dir,
							   .bpffs = world.config.bpffs,
							   .socket = world.config.socket}},
			  &world.api, NULL) == 0);
	stat(path_of("state.db-wal"), &world.wal);
}

/* Nothing was written and no hot-fix has become known: it can serve the next input as well. */
static bool is_new(void)
{
	struct stat wal = {0};

	stat(path_of("state.db-wal"), &wal);
	return world.base && TAILQ_EMPTY(&world.hotfixes->list) &&
	       wal.st_size == world.wal.st_size &&
	       wal.st_mtim.tv_sec == world.wal.st_mtim.tv_sec &&
	       wal.st_mtim.tv_nsec == world.wal.st_mtim.tv_nsec;
}

/* ---- requests ------------------------------------------------------------------------------ */

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, world.config.socket, strlen(world.config.socket) + 1);
	fuzz_must(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

static void check_answer(const char *text, size_t body, size_t body_len)
{
	AUTO(json_decrefp) json_t *doc = json_loadb(text + body, body_len, 0, NULL);
	int status = atoi(text + 9);
	const json_t *error = json_object_get(doc, "error");

	fuzz_must(strncmp(text, "HTTP/1.1 ", 9) == 0 && status >= 200 && status < 600);
	/* What evhttp refuses before us it says in HTML. */
	if (!doc && strstr(text, "Content-Type: text/html"))
		return;
	fuzz_must(doc);
	if (status >= 300)
		fuzz_must(json_is_string(json_object_get(error, "message")));
	/* Nothing but a worker fails without a reason. */
	if (status == 500)
		fuzz_must(strstr(json_string_value(json_object_get(error, "message")),
				 "bad luck"));
}

/* What is stored is never unknown. */
static void check_known(const char *request, const char *answer)
{
	static const char show[] = "GET /v1/hotfixes/";
	char name[HOOK_NAME_MAX + 1] = "";
	uint64_t serial;
	int end = 0;

	if (strncmp(request, show, strlen(show)) != 0 || atoi(answer + 9) != 404)
		return;
	sscanf(request + strlen(show), "%64[^ ?] HTTP%n", name, &end);
	fuzz_must(!end || store_newest_serial(world.store, name, &serial) < 0);
}

static void converse(const char *request, size_t len, bool raw, bool head)
{
	static char answer[1 << 20];
	AUTO_CLOSE int fd = dial();
	size_t sent = 0, got = 0, body, body_len;
	ssize_t n;

	for (int turn = 0, quiet = 0; turn < TURNS && quiet < 6; turn++, quiet++) {
		if (sent < len) {
			n = send(fd, request + sent, len - sent, MSG_NOSIGNAL);
			if (n > 0) {
				sent += (size_t)n;
				quiet = 0;
			} else if (errno != EAGAIN) {
				sent = len;
			}
		}
		event_base_loop(world.base, EVLOOP_NONBLOCK);
		n = read(fd, answer + got, sizeof(answer) - 1 - got);
		if (n == 0)
			break;
		if (n > 0) {
			got += (size_t)n;
			quiet = 0;
		}
		answer[got] = 0;
		if (!raw && !head && fuzz_answer_is_whole(answer, got, &body, &body_len)) {
			check_answer(answer, body, body_len);
			check_known(request, answer);
			break;
		}
	}
	fd_closep(&fd);
	fd = -1;
	for (int turn = 0; turn < 3; turn++)
		event_base_loop(world.base, EVLOOP_NONBLOCK);
}

static void ask(const char *text, size_t len)
{
	const char *method = NULL, *line = memchr(text, '\n', len), *body;
	size_t path_len, body_len, n;
	AUTO_FREE char *request = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (methods[i].letter == text[0])
			method = methods[i].name;
	if (!method || len < 2 || text[1] != ' ')
		return;
	path_len = line ? (size_t)(line - text) - 2 : len - 2;
	body = line ? line + 1 : text + len;
	body_len = line ? len - (size_t)(body - text) : 0;
	if (body_len == 2 && body[0] == '@' && isdigit((unsigned char)body[1])) {
		n = (size_t)(body[1] - '0') % DOCUMENTS;
		body = (const char *)documents[n].bytes;
		body_len = documents[n].len;
	}
	request = malloc(len + body_len + 128);
	fuzz_must(request);
	n = (size_t)sprintf(request,
			    "%s %.*s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
			    method, (int)path_len, text + 2, body_len);
	memcpy(request + n, body, body_len);
	converse(request, n + body_len, false, text[0] == 'H');
}

static void scribble(char *text, size_t len)
{
	char *end = memchr(text, '\n', len);

	if (!end)
		return;
	*end = 0;
	fuzz_kernel_scribble(text + 1, (uint8_t *)end + 1, len - (size_t)(end + 1 - text));
}

FUZZ_TARGET(api)
{
	AUTO_FREE char *lucky = fuzz_part(&data, &size, '\n', NULL);
	char *request;
	size_t len;

	if (!is_new()) {
		end_world();
		begin_world();
	}
	fuzz_kernel_reset((const uint8_t *)lucky, strlen(lucky));
	while ((request = fuzz_part(&data, &size, 0xff, &len))) {
		if (len && request[0] == '~')
			scribble(request, len);
		else if (len && request[0] == '!')
			converse(request + 1, len - 1, true, false);
		else if (len)
			ask(request, len);
		free(request);
	}
	return 0;
}
