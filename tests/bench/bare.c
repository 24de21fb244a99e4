// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/bench/bare.c -- what verifying and importing bundles cannot do without: SHA-256 of
 * their bytes, one Ed25519 verification, one SQLite commit (WAL, synchronous=FULL) each. And
 * what the product does with the same bytes in the same process, in turn, so that a busy host
 * makes both slower.
 *
 *	bare make KEY.sec OBJECT DIR N		N bundles of an object, DIR/bench-1.hotfix ...
 *	bare measure ROOT DIR N FOLDER		one JSON object; databases are made in FOLDER
 *	bare hash FILE...			ms to read and hash files, as a number
 *	bare ready COMMAND...			ms until a daemon says that it is ready, which is
 *						then asked to end
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>
#include <sqlite3.h>

#include "bpf/audit.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/store.h"

#define ROUNDS 5

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "bare: %s: %s\n", what, why);
	exit(1);
}

static void must(int r, const char *what, const struct fail *f)
{
	if (r < 0)
		die(what, f && f->message[0] ? f->message : strerror(-r));
}

static double ms_since(uint64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / 1e6;
}

/* ---- make ---------------------------------------------------------------------------- */

static void make(char **argv)
{
	AUTO(key_freep) struct key *key = NULL;
	AUTO_FREE uint8_t *object = NULL;
	AUTO_FREE struct audit *audit = calloc(1, sizeof(*audit));
	AUTO_JSON json_t *hooks = json_array();
	char path[4096], hex[BYTES_SHA256_HEX];
	uint8_t digest[BYTES_SHA256];
	struct fail f = {0};
	size_t object_len;

	must(key_load(argv[0], NULL, NULL, &key, &f), argv[0], &f);
	must(io_read_file(argv[1], BUNDLE_OBJECT_BYTES_MAX, &object, &object_len), argv[1],
	     NULL);
	must(audit_object(object, object_len, audit, &f), argv[1], &f);
	for (size_t i = 0; i < audit->n_hooks; i++)
		json_array_append_new(
			hooks,
			json_pack("{s:s, s:s, s:s, s:s*}", "type",
				  hook_type_name(audit->hooks[i].type), "target",
				  audit->hooks[i].target, "program", audit->hooks[i].program,
				  "cc_name",
				  audit->hooks[i].cc_name[0] ? audit->hooks[i].cc_name : NULL));
	bytes_sha256(object, object_len, digest);
	bytes_to_hex(digest, sizeof(digest), hex);
	for (int i = 1; i <= atoi(argv[3]); i++) {
		AUTO_JSON json_t *m =
			json_pack("{s:i, s:o, s:i, s:{s:s, s:I}, s:O}", "format", 1, "name",
				  json_sprintf("bench-%d", i), "serial", 1, "object", "sha256",
				  hex, "size", (json_int_t)object_len, "hooks", hooks);
		AUTO_FREE char *text = json_dumps(m, JSON_COMPACT);
		AUTO_FREE uint8_t *buf = NULL;
		size_t len;

		must(bundle_build(text, strlen(text), object, object_len, &key, 1, &buf, &len,
				  &f),
		     "bundle_build", &f);
		snprintf(path, sizeof(path), "%s/bench-%d.hotfix", argv[2], i);
		must(io_write_file(path, buf, len, 0644), path, NULL);
	}
}

/* ---- measure ----------------------------------------------------------------------------- */

struct one {
	uint8_t *bytes, *signed_bytes;
	size_t len, signed_len;
	uint8_t sig[64];
};

/* What Ed25519 signs and the signature, taken out beforehand. */
static void take_apart(struct one *o, const struct trust *trust)
{
	uint32_t len = (uint32_t)o->bytes[8] | (uint32_t)o->bytes[9] << 8 |
		       (uint32_t)o->bytes[10] << 16;
	AUTO_JSON json_t *doc = json_loadb((char *)o->bytes + 16, len, 0, NULL);
	AUTO(dsse_freep) struct dsse *d = NULL;
	const char *sig = json_string_value(
		json_object_get(json_array_get(json_object_get(doc, "signatures"), 0), "sig"));

	must(dsse_parse("bench", o->bytes + 16, len, &d, NULL), "dsse_parse", NULL);
	must(dsse_to_sign(d, &o->signed_bytes, &o->signed_len), "dsse_to_sign", NULL);
	must(sig ? bytes_from_base64_exact(sig, o->sig, sizeof(o->sig)) : -EBADMSG, "signature",
	     NULL);
	if (crypto_sign_verify_detached(o->sig, o->signed_bytes, o->signed_len,
					trust->release.keys[0].raw) != 0)
		die("signature", "is not by the first release key");
}

static void bare_verify(const struct one *o, const struct trust *trust)
{
	uint8_t digest[BYTES_SHA256];

	bytes_sha256(o->bytes, o->len, digest);
	if (crypto_sign_verify_detached(o->sig, o->signed_bytes, o->signed_len,
					trust->release.keys[0].raw) != 0)
		die("signature", "does not hold");
}

static sqlite3 *bare_open(const char *path)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "CREATE TABLE bundle (id INTEGER PRIMARY KEY, bytes BLOB)",
			 NULL, NULL, NULL) != SQLITE_OK)
		die(path, sqlite3_errmsg(db));
	return db;
}

static void bare_commit(sqlite3 *db, const struct one *o)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(db, "INSERT INTO bundle(bytes) VALUES(?)", -1, &stmt, NULL) !=
		    SQLITE_OK ||
	    sqlite3_bind_blob64(stmt, 1, o->bytes, o->len, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_DONE)
		die("commit", sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
}

/* What server/resource.c does with an import, from the bytes to the answer. */
static void import(struct store *s, const struct trust *trust, const struct one *o)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	struct store_version v = {.imported_ms = 1, .bundle_bytes = o->len};
	struct fail f = {0};
	struct audit audit;

	must(bundle_open(o->bytes, o->len, trust, &b, &f), "bundle_open", &f);
	must(audit_object(b->object, b->object_len, &audit, &f), "audit_object", &f);
	must(audit_compare(&audit, b->manifest->hooks, b->manifest->n_hooks, &f),
	     "audit_compare", &f);
	v.serial = b->manifest->serial;
	snprintf(v.name, sizeof(v.name), "%s", b->manifest->name);
	memcpy(v.digest, b->digest, sizeof(v.digest));
	memcpy(v.manifest_sha256, b->manifest_sha256, sizeof(v.manifest_sha256));
	memcpy(v.object_sha256, b->manifest->object_sha256, sizeof(v.object_sha256));
	must(store_begin(s), "store_begin", NULL);
	must(store_put_version(s, &v, o->bytes, o->len), "store_put_version", NULL);
	must(store_audit(s, 1, 0, "import", v.name, "done", NULL), "store_audit", NULL);
	must(store_commit(s), "store_commit", NULL);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static void measure(char **argv)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	double bare[ROUNDS], whole[ROUNDS], bare_ms = 0, import_ms = 0;
	AUTO(store_freep) struct store *s = NULL;
	int n = atoi(argv[2]);
	AUTO_FREE struct one *all = calloc((size_t)n, sizeof(*all));
	AUTO_FREE uint8_t *root = NULL;
	uint64_t start_ns;
	char path[4096];
	struct fail f = {0};
	sqlite3 *db;
	size_t len, bytes = 0;

	must(io_read_file(argv[0], DSSE_BYTES_MAX, &root, &len), argv[0], NULL);
	must(trust_open(root, len, &trust, &f), argv[0], &f);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/bench-%d.hotfix", argv[1], i + 1);
		must(io_read_file(path, BUNDLE_BYTES_MAX, &all[i].bytes, &all[i].len), path,
		     NULL);
		take_apart(&all[i], trust);
		bytes += all[i].len;
	}
	for (int round = 0; round < ROUNDS; round++) {
		start_ns = clock_mono_ns();
		for (int i = 0; i < n; i++)
			bare_verify(&all[i], trust);
		bare[round] = ms_since(start_ns);
		start_ns = clock_mono_ns();
		for (int i = 0; i < n; i++) {
			AUTO(bundle_freep) struct bundle *b = NULL;

			must(bundle_open(all[i].bytes, all[i].len, trust, &b, &f),
			     "bundle_open", &f);
		}
		whole[round] = ms_since(start_ns);
	}
	snprintf(path, sizeof(path), "%s/bare.db", argv[3]);
	db = bare_open(path);
	snprintf(path, sizeof(path), "%s/import.db", argv[3]);
	must(store_open(path, &s, &f), path, &f);
	/* Each in turn: a slow moment of the disk meets both. */
	for (int i = 0; i < n; i++) {
		start_ns = clock_mono_ns();
		bare_verify(&all[i], trust);
		bare_commit(db, &all[i]);
		bare_ms += ms_since(start_ns);
		start_ns = clock_mono_ns();
		import(s, trust, &all[i]);
		import_ms += ms_since(start_ns);
	}
	sqlite3_close(db);
	printf("{\"bundles\":%d,\"bundle_bytes\":%zu,\"bare_verify_ms\":%.3f,"
	       "\"verify_ms\":%.3f,\"bare_import_ms\":%.3f,\"import_ms\":%.3f}\n",
	       n, bytes / (size_t)n, median(bare, ROUNDS), median(whole, ROUNDS), bare_ms,
	       import_ms);
	for (int i = 0; i < n; i++) {
		free(all[i].bytes);
		free(all[i].signed_bytes);
	}
}

/* ---- hash ---------------------------------------------------------------------------------- */

static void hash(int n, char **files)
{
	uint64_t start_ns = clock_mono_ns();
	uint8_t digest[BYTES_SHA256];

	must(bytes_init(), "libsodium", NULL);
	for (int i = 0; i < n; i++) {
		AUTO_FREE uint8_t *buf = NULL;
		size_t len;

		must(io_read_file(files[i], BUNDLE_BYTES_MAX, &buf, &len), files[i], NULL);
		bytes_sha256(buf, len, digest);
	}
	printf("%.3f\n", ms_since(start_ns));
}

/* ---- ready ------------------------------------------------------------------------------- */

static void ready(char **argv)
{
	uint64_t start_ns = clock_mono_ns();
	AUTO_FREE char *line = NULL;
	AUTO_FILE FILE *f = NULL;
	int fds[2], status;
	size_t room = 0;
	double ms = 0;
	pid_t pid;

	if (pipe(fds) < 0)
		die("pipe", strerror(errno));
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	f = fdopen(fds[0], "r");
	if (pid < 0 || !f)
		die("fork", strerror(errno));
	while (ms == 0 && getline(&line, &room, f) > 0)
		if (strstr(line, "ready socket="))
			ms = ms_since(start_ns);
	if (ms == 0)
		die(argv[0], line ? line : "said nothing");
	kill(pid, SIGTERM);
	while (getline(&line, &room, f) > 0)
		;
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die(argv[0], "did not end well");
	printf("%.3f\n", ms);
}

int main(int argc, char **argv)
{
	must(bytes_init(), "libsodium", NULL);
	if (argc == 6 && strcmp(argv[1], "make") == 0)
		make(argv + 2);
	else if (argc == 6 && strcmp(argv[1], "measure") == 0)
		measure(argv + 2);
	else if (argc > 2 && strcmp(argv[1], "hash") == 0)
		hash(argc - 2, argv + 2);
	else if (argc > 2 && strcmp(argv[1], "ready") == 0)
		ready(argv + 2);
	else
		die("usage",
		    "make KEY OBJECT DIR N | measure ROOT DIR N FOLDER | hash FILE... | ready COMMAND...");
	return 0;
}
