// SPDX-License-Identifier: BSD-2-Clause
/* The database as a file: created with care, damaged, full, read-only, shared, cut off. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bytes.h"
#include "store/store.h"
#include "store/store_private.h"

#define PAGE 4096

static struct store *opened(const char *path)
{
	struct store *s = NULL;
	struct fail f = {0};

	if (store_open(path, &s, &f) < 0)
		fail_msg("%s", f.message);
	return s;
}

/* Opening must fail like this, and say which file and what to do. */
static void open_fails(const char *path, int wanted, const char *word)
{
	struct store *s = NULL;
	struct fail f = {0};

	assert_int_equal(store_open(path, &s, &f), wanted);
	assert_null(s);
	assert_int_equal(f.code, FAIL_STORAGE);
	assert_non_null(strstr(f.message, path));
	if (!strstr(f.message, word))
		fail_msg("\"%s\" is not in: %s", word, f.message);
	assert_true(f.hint[0]);
}

static int put(struct store *s, const char *name, uint64_t serial, const void *bundle,
	       size_t len)
{
	struct store_version v = {.serial = serial};

	snprintf(v.name, sizeof(v.name), "%s", name);
	memset(v.digest, (int)serial, sizeof(v.digest));
	memset(v.manifest_sha256, (int)serial + 1, sizeof(v.manifest_sha256));
	return store_put_version(s, &v, bundle, len);
}

static uint64_t newest(struct store *s, const char *name)
{
	uint64_t serial = 0;
	int r = store_newest_serial(s, name, &serial);

	assert_true(r == 0 || r == -ENOENT);
	return serial;
}

static int no_version(const struct store_version *v, void *cookie)
{
	(void)v, (void)cookie;
	return 0;
}

static int no_hotfix(const struct store_hotfix *h, void *cookie)
{
	(void)h, (void)cookie;
	return 0;
}

static int no_change(const struct store_change *c, void *cookie)
{
	(void)c, (void)cookie;
	return 0;
}

static void first_error(int *r, int next)
{
	if (*r == 0)
		*r = next;
}

/* Everything is read: 0, or what an operator would be told. */
static int read_all(struct store *s)
{
	AUTO_FREE uint8_t *root = NULL, *bundle = NULL;
	AUTO_JSON json_t *list = NULL;
	uint64_t rows, bad = 0, serial;
	char head[65];
	size_t len;
	int r;

	r = store_get_root(s, &root, &len);
	first_error(&r, store_each_version(s, NULL, no_version, NULL));
	first_error(&r, store_each_hotfix(s, no_hotfix, NULL));
	first_error(&r, store_each_change(s, NULL, false, 1000, no_change, NULL));
	first_error(&r, store_audit_list(s, 0, 1000, &list));
	first_error(&r, store_audit_verify(s, &rows, head, &bad));
	if (store_newest_serial(s, "fix", &serial) == 0)
		first_error(&r, store_get_bundle(s, "fix", serial, &bundle, &len));
	return r;
}

/* A database with something in every table, closed, without a log beside it. */
static const char *filled(const char *name)
{
	static char bundle[3 * PAGE];
	const char *path = unit_path(name);
	AUTO(store_freep) struct store *s = opened(path);
	struct store_change c = {.name = "fix", .verb = "apply"};
	struct store_hotfix h = {.name = "fix"};
	uint64_t id;

	memset(bundle, 'b', sizeof(bundle));
	assert_ok(store_begin(s));
	assert_ok(store_put_root(s, 1, bundle, 2000, 1, 0));
	for (uint64_t n = 1; n <= 40; n++) {
		assert_ok(put(s, "fix", n, bundle, n > 30 ? sizeof(bundle) : 300));
		h.committed_serial = n;
		assert_ok(store_put_hotfix(s, &h));
		assert_ok(store_begin_change(s, &c, &id));
		assert_ok(store_audit(s, n, 0, "import", "fix", "done", NULL));
	}
	assert_ok(store_commit(s));
	return path;
}

/* Not synced: these files need not outlive a power cut. */
static void write_file(const char *path, const void *bytes, size_t len)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_ok(io_write_all(fd, bytes, len));
}

static size_t file_bytes(const char *path, uint8_t **ret_buf)
{
	size_t len;

	assert_ok(io_read_file(path, 64 << 20, ret_buf, &len));
	return len;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_ok(lstat(path, &st));
	return st.st_mode & 07777;
}

/* ---- creation --------------------------------------------------------------- */

static void a_new_database_is_for_its_owner_alone(void **state)
{
	mode_t old = umask(0);
	AUTO(store_freep) struct store *s = opened(unit_path("new.db"));

	(void)state;
	umask(old);
	assert_ok(put(s, "fix", 1, "x", 1));
	assert_int_equal(mode_of(unit_path("new.db")), 0600);
	assert_int_equal(mode_of(unit_path("new.db-wal")), 0600);
	assert_int_equal(mode_of(unit_path("new.db-shm")), 0600);
}

static void a_database_that_was_opened_to_others_is_closed_again(void **state)
{
	const char *path = filled("wide.db");

	(void)state;
	assert_ok(chmod(path, 0666));
	store_free(opened(path));
	assert_int_equal(mode_of(path), 0600);
}

static void a_symbolic_link_is_not_followed(void **state)
{
	(void)state;
	filled("real.db");
	assert_ok(symlink("real.db", unit_path("link.db")));
	open_fails(unit_path("link.db"), -ELOOP, "link.db");
}

static void only_a_regular_file_is_a_database(void **state)
{
	(void)state;
	assert_ok(mkdir(unit_path("folder.db"), 0700));
	open_fails(unit_path("folder.db"), -EISDIR, "directory");
	assert_ok(mkfifo(unit_path("pipe.db"), 0600));
	open_fails(unit_path("pipe.db"), -EUCLEAN, "not a regular file");
}

static void the_state_directory_must_exist(void **state)
{
	struct store *s = NULL;
	struct fail f = {0};

	(void)state;
	assert_int_equal(store_open(unit_path("no/such/state.db"), &s, &f), -ENOENT);
	assert_non_null(strstr(f.message, "no/such/state.db"));
}

static void what_is_stored_is_there_after_a_restart(void **state)
{
	const char *path = filled("kept.db");
	AUTO(store_freep) struct store *s = opened(path);

	(void)state;
	assert_ok(read_all(s));
	assert_int_equal(newest(s, "fix"), 40);
}

/* ---- other programs' files -------------------------------------------------- */

/* Runs statements on a file as another program would. */
static void with_sqlite(const char *path, int32_t application_id, const char *statements)
{
	const char *const migrations[] = {statements};
	AUTO(sql_freep) struct sql *q = NULL;

	assert_ok(sql_open(path, application_id, migrations, 1, &q, NULL));
}

static void a_newer_schema_is_left_alone(void **state)
{
	AUTO_FREE uint8_t *before = NULL, *after = NULL;
	const char *path = filled("newer.db");
	size_t len;

	(void)state;
	{
		AUTO(store_freep) struct store *s = opened(path);

		assert_ok(sql_run(s->q, "PRAGMA user_version = 1000", ""));
	}
	len = file_bytes(path, &before);
	open_fails(path, -EPROTO, "newer version (schema 1000");
	assert_int_equal(file_bytes(path, &after), len);
	assert_memory_equal(before, after, len);
}

static void the_database_of_another_program_is_left_alone(void **state)
{
	AUTO_FREE uint8_t *before = NULL, *after = NULL;
	const char *path = unit_path("other.db");
	size_t len;

	(void)state;
	with_sqlite(path, 4711, "CREATE TABLE a(b)");
	len = file_bytes(path, &before);
	open_fails(path, -EUCLEAN, "another program's");
	with_sqlite(unit_path("plain.db"), 0, "CREATE TABLE a(b)");
	open_fails(unit_path("plain.db"), -EUCLEAN, "another program's");
	assert_int_equal(file_bytes(path, &after), len);
	assert_memory_equal(before, after, len);
}

static void a_file_that_is_no_database_is_left_alone(void **state)
{
	static const char text[] =
		"This is a letter to my grandmother, and it is long enough to be "
		"taken for the header of a database if nobody looks closely.";
	AUTO_FREE uint8_t *after = NULL;

	(void)state;
	write_file(unit_path("letter.db"), text, sizeof(text));
	open_fails(unit_path("letter.db"), -EUCLEAN, "damaged");
	assert_int_equal(file_bytes(unit_path("letter.db"), &after), sizeof(text));
	assert_memory_equal(after, text, sizeof(text));
}

/* ---- migrations ------------------------------------------------------------- */

static void migrations_run_once_in_order_and_keep_data(void **state)
{
	static const char *const steps[] = {
		"CREATE TABLE a(x INTEGER); INSERT INTO a VALUES(1)",
		"ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 5; INSERT INTO a VALUES(2, 6)",
		"UPDATE a SET y = y + 1",
	};
	const char *path = unit_path("steps.db");

	(void)state;
	for (size_t n = 1; n <= ARRAY_SIZE(steps); n++)
		for (int again = 0; again < 2; again++) {
			AUTO(sql_freep) struct sql *q = NULL;

			assert_ok(sql_open(path, 1, steps, n, &q, NULL));
		}
	{
		AUTO(sql_freep) struct sql *q = NULL;
		AUTO(sql_rows_freep) struct sql_rows *rows = NULL;

		assert_ok(sql_open(path, 1, steps, ARRAY_SIZE(steps), &q, NULL));
		assert_ok(sql_ask(q, &rows, "SELECT group_concat(x || ':' || y) FROM a", ""));
		assert_int_equal(sql_next(rows), 1);
		assert_string_equal(sql_text(rows, 0), "1:6,2:7");
	}
}

static void a_migration_that_fails_halfway_leaves_nothing_of_itself(void **state)
{
	static const char *const bad[] = {
		"CREATE TABLE a(x)", "INSERT INTO a VALUES(1); INSERT INTO nowhere VALUES(1)"};
	static const char *const good[] = {"CREATE TABLE a(x)", "INSERT INTO a VALUES(2)"};
	const char *path = unit_path("halfway.db");
	AUTO(sql_freep) struct sql *q = NULL;
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct sql *none = NULL;
	struct fail f = {0};

	(void)state;
	assert_true(sql_open(path, 1, bad, 2, &none, &f) < 0);
	assert_non_null(strstr(f.message, "nowhere"));
	assert_null(none);
	assert_ok(sql_open(path, 1, good, 2, &q, NULL));
	assert_ok(sql_ask(q, &rows, "SELECT group_concat(x) FROM a", ""));
	assert_int_equal(sql_next(rows), 1);
	assert_string_equal(sql_text(rows, 0), "2");
}

/* ---- damage ----------------------------------------------------------------- */

/*
 * Opens and reads what was made of a database: it works, or fails as damaged, and never
 * crashes. Content that is merely different is the audit chain's and the bundles' matter.
 */
static bool survives(const char *path, const uint8_t *bytes, size_t len)
{
	AUTO(store_freep) struct store *s = NULL;
	struct fail f = {0};
	int r;

	write_file(path, bytes, len);
	r = store_open(path, &s, &f);
	if (r == 0)
		r = read_all(s);
	else
		assert_true(strstr(f.message, path) && f.hint[0]);
	if (r < 0 && r != -EUCLEAN && r != -EPROTO && r != -ENOENT)
		fail_msg("%d: %s", r, f.message);
	return r == 0;
}

static void a_page_of_rubbish_is_found_at_the_start(void **state)
{
	AUTO_FREE uint8_t *bytes = NULL;
	const char *path = unit_path("rubbish.db");
	size_t len = file_bytes(filled("whole.db"), &bytes);
	size_t found = 0;

	(void)state;
	assert_int_equal(len % PAGE, 0);
	assert_true(survives(path, bytes, len));
	for (size_t page = 0; page < len / PAGE; page++) {
		uint8_t saved[PAGE];

		memcpy(saved, bytes + page * PAGE, PAGE);
		memset(bytes + page * PAGE, 0xa5, PAGE);
		found += !survives(path, bytes, len);
		memcpy(bytes + page * PAGE, saved, PAGE);
	}
	/* The rest hold the middle of a bundle, whose own digest is looked at before use. */
	if (found * 2 < len / PAGE)
		fail_msg("only %zu of %zu pages found", found, len / PAGE);
	memset(bytes, 0xa5, PAGE);
	write_file(path, bytes, len);
	open_fails(path, -EUCLEAN, "damaged");
}

static void damage_is_worded_for_an_operator(void **state)
{
	AUTO_FREE uint8_t *bytes = NULL, *after = NULL;
	const char *path = filled("worded.db");
	size_t len = file_bytes(path, &bytes);
	struct store *s = NULL;
	struct fail f = {0};

	(void)state;
	memset(bytes + PAGE, 0xff, PAGE);
	write_file(path, bytes, len);
	assert_int_equal(store_open(path, &s, &f), -EUCLEAN);
	assert_non_null(strstr(f.message, path));
	assert_non_null(strstr(f.hint, ".damaged"));
	assert_non_null(strstr(f.hint, "live in the kernel are not affected"));
	assert_int_equal(file_bytes(path, &after), len); /* kept for whoever repairs it */
	assert_memory_equal(bytes, after, len);
}

static void a_database_cut_anywhere_never_crashes(void **state)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = file_bytes(filled("tocut.db"), &bytes);

	(void)state;
	for (size_t n = len - PAGE; n > 0; n -= n > 3 * PAGE ? 3 * PAGE : n)
		assert_false(survives(unit_path("cut.db"), bytes, n));
	assert_false(survives(unit_path("cut.db"), bytes, 100));
}

static void flipped_bits_never_crash(void **state)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = file_bytes(filled("toflip.db"), &bytes);
	uint32_t seed = 12345; /* the same run each time */

	(void)state;
	for (int i = 0; i < 300; i++) {
		size_t at;

		seed = seed * 1664525 + 1013904223;
		at = i < 100 ? (size_t)i : seed % len; /* the header, then anywhere */
		bytes[at] ^= (uint8_t)(1 << (seed >> 29));
		survives(unit_path("flip.db"), bytes, len);
		bytes[at] ^= (uint8_t)(1 << (seed >> 29));
	}
}

/* Attack 8: a bundle's bytes may be exchanged in the file; its digest then does not fit. */
static void exchanged_bundle_bytes_come_out_as_they_are(void **state)
{
	AUTO(store_freep) struct store *s = opened(filled("swap.db"));
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_ok(sql_run(s->q, "UPDATE bundle SET bytes = 'evil'", "") == -EINVAL ? 0 : 1);
	assert_ok(sql_run(s->q, "UPDATE bundle SET bytes = x'6576696c'", ""));
	assert_ok(store_get_bundle(s, "fix", 1, &buf, &len));
	assert_int_equal(len, 4);
	assert_memory_equal(buf, "evil", 4);
}

static void a_digest_of_another_length_is_damage(void **state)
{
	AUTO(store_freep) struct store *s = opened(filled("digest.db"));
	struct store_version v;
	struct fail f = {0};

	(void)state;
	assert_ok(sql_run(s->q, "PRAGMA ignore_check_constraints = 1", ""));
	assert_ok(sql_run(s->q, "UPDATE version SET digest = x'00' WHERE serial = 1", ""));
	assert_int_equal(store_get_version(s, "fix", 1, &v), -EUCLEAN);
	assert_int_equal(store_error(s, -EUCLEAN, &f), -EUCLEAN);
	assert_non_null(strstr(f.message, "digest"));
}

/* ---- disk full, read-only --------------------------------------------------- */

static bool mount_small(const char *path, const char *options)
{
	if (geteuid() != 0) {
		print_message("only root can mount a small file system: skipped\n");
		return false;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    (mkdir(path, 0700) < 0 && errno != EEXIST) ||
	    mount("tmpfs", path, "tmpfs", 0, options) < 0) {
		print_message("mounting a small file system is refused here (%s): skipped\n",
			      strerror(errno));
		return false;
	}
	return true;
}

static void fill_up(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char block[PAGE];

	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void a_full_disk_refuses_a_write_and_loses_nothing(void **state)
{
	static char bundle[64 * 1024];
	const char *folder = unit_path("full");
	struct fail f = {0};
	uint64_t n = 0;
	int r;

	(void)state;
	if (!mount_small(folder, "size=2m"))
		skip();
	{
		AUTO(store_freep) struct store *s = opened(unit_path("full/state.db"));

		while ((r = put(s, "fix", n + 1, bundle, sizeof(bundle))) == 0)
			n++;
		assert_int_equal(r, -ENOSPC);
		assert_true(n >= 5);
		assert_int_equal(store_error(s, r, &f), -ENOSPC);
		assert_int_equal(f.code, FAIL_STORAGE);
		assert_non_null(strstr(f.message, "no space"));
		assert_non_null(strstr(f.hint, "Free space"));

		/* Nothing half, and reading goes on. */
		assert_int_equal(newest(s, "fix"), n);
		assert_int_equal(store_get_root(s, NULL, NULL), -ENOENT);
		for (uint64_t i = 1; i <= n; i++) {
			AUTO_FREE uint8_t *buf = NULL;
			size_t len;

			assert_ok(store_get_bundle(s, "fix", i, &buf, &len));
			assert_int_equal(len, sizeof(bundle));
		}
		/* A transaction of several writes is refused as a whole. */
		assert_ok(store_begin(s));
		assert_ok(store_audit(s, 1, 0, "import", "fix", "done", NULL));
		r = put(s, "fix", n + 1, bundle, sizeof(bundle));
		if (r == 0)
			r = store_commit(s);
		assert_int_equal(r, -ENOSPC);
		store_rollback(s);
	}
	{
		AUTO(store_freep) struct store *s = opened(unit_path("full/state.db"));
		AUTO_JSON json_t *rows = NULL;

		assert_int_equal(newest(s, "fix"), n);
		assert_ok(store_audit_list(s, 0, 10, &rows));
		assert_int_equal(json_array_size(rows), 0);
	}
	assert_ok(umount2(folder, MNT_DETACH));
}

static void after_space_is_freed_writing_works_again(void **state)
{
	const char *folder = unit_path("freed");
	AUTO(store_freep) struct store *s = NULL;
	static char bundle[64 * 1024];

	(void)state;
	if (!mount_small(folder, "size=2m"))
		skip();
	s = opened(unit_path("freed/state.db"));
	assert_ok(put(s, "fix", 1, "x", 1));
	fill_up(unit_path("freed/filler"));
	assert_int_equal(put(s, "fix", 2, bundle, sizeof(bundle)), -ENOSPC);
	assert_ok(unlink(unit_path("freed/filler")));
	assert_ok(put(s, "fix", 2, bundle, sizeof(bundle)));
	assert_int_equal(newest(s, "fix"), 2);
	s = store_free(s);
	assert_ok(umount2(folder, MNT_DETACH));
}

static void a_full_disk_is_named_when_the_database_is_made(void **state)
{
	const char *folder = unit_path("never");

	(void)state;
	if (!mount_small(folder, "size=64k"))
		skip();
	fill_up(unit_path("never/filler"));
	open_fails(unit_path("never/state.db"), -ENOSPC, "no space");
	assert_ok(umount2(folder, MNT_DETACH));
}

static void a_read_only_state_directory_is_named(void **state)
{
	const char *folder = unit_path("ro");

	(void)state;
	if (!mount_small(folder, "size=8m"))
		skip();
	filled("ro/state.db");
	assert_ok(mount("none", folder, "", MS_REMOUNT | MS_RDONLY, NULL));
	open_fails(unit_path("ro/state.db"), -EROFS, "read-only");
	open_fails(unit_path("ro/new.db"), -EROFS, "read-only");
	assert_ok(umount2(folder, MNT_DETACH));
}

/* ---- other processes -------------------------------------------------------- */

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void the_file_of_another_user_is_refused(void **state)
{
	const char *path = filled("roots.db");
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("only root can become somebody else: skipped\n");
		skip();
	}
	assert_ok(chmod(unit_folder, 0755));
	pid = fork();
	if (pid == 0) {
		struct store *s = NULL;
		struct fail f = {0};

		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(9);
		_exit(store_open(path, &s, &f) == -EACCES && f.code == FAIL_STORAGE &&
				      strstr(f.message, "permission denied")
			      ? 0
			      : 1);
	}
	assert_int_equal(exit_status(pid), 0);
	/* And root does not use what somebody else can exchange. */
	assert_ok(chown(path, 65534, 65534));
	open_fails(path, -EPERM, "permission denied");
}

/* A child that does its work when told: it writes a byte when ready, and waits for one. */
struct child {
	pid_t pid;
	int ready, go;
};

static struct child spawn(void (*work)(const char *path, int ready, int go), const char *path)
{
	int ready[2], go[2];
	struct child c;

	assert_ok(pipe(ready));
	assert_ok(pipe(go));
	c.pid = fork();
	if (c.pid == 0) {
		close(ready[0]);
		close(go[1]);
		work(path, ready[1], go[0]);
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	c.ready = ready[0];
	c.go = go[1];
	return c;
}

static void child_end(struct child *c)
{
	close(c->ready);
	close(c->go);
}

static void hold_the_lock(const char *path, int ready, int go)
{
	struct store *s = NULL;
	char byte;

	if (store_open(path, &s, NULL) < 0 || store_begin(s) < 0)
		_exit(1);
	if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(2);
	store_rollback(s);
	store_free(s);
}

static void a_second_writer_is_told_after_half_a_second(void **state)
{
	const char *path = filled("busy.db");
	struct child c = spawn(hold_the_lock, path);
	AUTO(store_freep) struct store *s = opened(path);
	struct fail f = {0};
	uint64_t start_ns;
	char byte;
	int r;

	(void)state;
	assert_int_equal(read(c.ready, &byte, 1), 1);
	start_ns = clock_mono_ns();
	r = put(s, "fix", 41, "x", 1);
	assert_int_equal(r, -EBUSY);
	assert_true(clock_mono_ns() - start_ns >= 400 * 1000000ULL);
	assert_int_equal(store_error(s, r, &f), -EBUSY);
	assert_non_null(strstr(f.message, "another process"));
	assert_ok(read_all(s)); /* reading does not wait for writers */
	assert_int_equal(write(c.go, "g", 1), 1);
	assert_int_equal(exit_status(c.pid), 0);
	child_end(&c);
	assert_ok(put(s, "fix", 41, "x", 1));
}

static void leave_a_transaction_open(const char *path, int ready, int go)
{
	static char big[2 << 20];
	struct store *s = NULL;
	char byte;

	if (store_open(path, &s, NULL) < 0 || store_begin(s) < 0 ||
	    put(s, "fix", 50, big, sizeof(big)) <
		    0 || /* more than the cache: spilt to the log */
	    store_audit(s, 1, 0, "import", "fix@50", "done", NULL) < 0)
		_exit(1);
	if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(2);
}

static void a_transaction_cut_off_leaves_nothing(void **state)
{
	const char *path = filled("cutoff.db");
	struct child c = spawn(leave_a_transaction_open, path);
	char byte;

	(void)state;
	assert_int_equal(read(c.ready, &byte, 1), 1);
	assert_ok(kill(c.pid, SIGKILL));
	assert_int_equal(exit_status(c.pid), 128 + SIGKILL);
	child_end(&c);
	{
		AUTO(store_freep) struct store *s = opened(path);

		assert_int_equal(newest(s, "fix"), 40);
		assert_ok(read_all(s));
		assert_ok(put(s, "fix", 50, "x", 1));
	}
}

/* Commits serial after serial, telling of each one when it is durable. */
static void commit_for_ever(const char *path, int ready, int go)
{
	static char bundle[20000];
	struct store *s = NULL;

	(void)go;
	if (store_open(path, &s, NULL) < 0)
		_exit(1);
	for (uint64_t n = 41;; n++) {
		struct store_hotfix h = {.name = "fix", .committed_serial = n};

		if (store_begin(s) < 0 || put(s, "fix", n, bundle, sizeof(bundle)) < 0 ||
		    store_put_hotfix(s, &h) < 0 ||
		    store_audit(s, n, 0, "apply", "fix", "done", NULL) < 0 ||
		    store_commit(s) < 0)
			_exit(2);
		if (write(ready, "c", 1) != 1)
			_exit(3);
	}
}

static void what_was_committed_survives_a_kill_at_any_point(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		const char *path = filled("killed.db");
		struct child c = spawn(commit_for_ever, path);
		uint64_t told = 0, rows;
		char byte, head[65];
		ssize_t n;

		/* A different number of commits each time, then a kill somewhere in the next.
		 */
		for (int i = 0; i <= round % 7; i++) {
			assert_int_equal(read(c.ready, &byte, 1), 1);
			told++;
		}
		assert_ok(poll(NULL, 0, round % 4));
		assert_ok(kill(c.pid, SIGKILL));
		assert_int_equal(exit_status(c.pid), 128 + SIGKILL);
		while ((n = read(c.ready, &byte, 1)) == 1)
			told++;
		assert_int_equal(n, 0);
		child_end(&c);
		{
			AUTO(store_freep) struct store *s = opened(path);
			struct store_hotfix h;

			assert_ok(read_all(s));
			assert_ok(store_get_hotfix(s, "fix", &h));
			/* All that was told, at most one more, and its rows go together. */
			assert_true(h.committed_serial >= 40 + told);
			assert_true(h.committed_serial <= 40 + told + 1);
			assert_int_equal(newest(s, "fix"), h.committed_serial);
			assert_ok(store_audit_verify(s, &rows, head, NULL));
			assert_int_equal(rows, h.committed_serial);
		}
		assert_ok(unlink(path));
	}
}

static void half_a_log_is_no_obstacle(void **state)
{
	const char *path = filled("halflog.db");
	char log[160], copy[160];
	AUTO_FREE uint8_t *db = NULL, *wal = NULL;
	size_t db_len, wal_len;

	(void)state;
	snprintf(log, sizeof(log), "%s-wal", path);
	{
		AUTO(store_freep) struct store *s = opened(path);

		assert_ok(put(s, "fix", 41, "x", 1));
		assert_ok(put(s, "fix", 42, "x", 1));
		db_len = file_bytes(path, &db);
		wal_len = file_bytes(log, &wal);
	}
	/* As after a power cut: the log ends anywhere. */
	for (size_t n = 0; n <= wal_len;
	     n += n + 977 < wal_len || n == wal_len ? 977 : wal_len - n) {
		AUTO(store_freep) struct store *s = NULL;
		const char *cut = unit_path("cutlog.db");

		snprintf(copy, sizeof(copy), "%s-shm", cut);
		unlink(copy);
		snprintf(copy, sizeof(copy), "%s-wal", cut);
		write_file(cut, db, db_len);
		write_file(copy, wal, n);
		s = opened(cut);
		assert_ok(read_all(s));
		assert_in_range(newest(s, "fix"), 40, 42);
		if (n == wal_len)
			assert_int_equal(newest(s, "fix"), 42);
	}
}

/* ---- memory ----------------------------------------------------------------- */

static long resident_kib(void)
{
	char line[128];
	long pages;

	assert_ok(io_read_line("/proc/self/statm", line, sizeof(line)));
	assert_int_equal(sscanf(line, "%*d %ld", &pages), 1);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static bool memory_is_watched(void)
{
	const char *preload = getenv("LD_PRELOAD");

#ifdef __SANITIZE_ADDRESS__
	return true;
#endif
	return preload && strstr(preload, "vgpreload");
}

static void a_hundred_bundles_are_not_kept_in_memory(void **state)
{
	static char bundle[256 * 1024];
	AUTO(store_freep) struct store *s = NULL;
	long before, grown;

	(void)state;
	memset(bundle, 1, sizeof(bundle)); /* counted before */
	before = resident_kib();
	s = opened(unit_path("hundred.db"));
	assert_ok(store_put_root(s, 1, "root", 4, 1, 0));
	for (uint64_t n = 1; n <= 100; n++) {
		AUTO_FREE uint8_t *buf = NULL;
		size_t len;

		assert_ok(put(s, "fix", n, bundle, sizeof(bundle)));
		assert_ok(store_get_bundle(s, "fix", n, &buf, &len));
		assert_int_equal(len, sizeof(bundle));
	}
	assert_ok(read_all(s));
	grown = resident_kib() - before;
	print_message("resident memory grew by %ld KiB\n", grown);
	if (memory_is_watched())
		print_message("not judged under a sanitizer or valgrind\n");
	else
		assert_true(grown < 3 * 1024);
}

/* ---- hashing, beside all else -------------------------------------------------- */

struct found {
	size_t n;
	uint64_t serials; /* their sum */
};

static void on_wrong(const char *name, uint64_t serial, void *cookie)
{
	struct found *f = cookie;

	assert_string_equal(name, "other");
	f->n++;
	f->serials += serial;
}

/* Of n bundles that are what they should be, but for those that a statement changes. */
static const char *hashed(const char *name, const char *change)
{
	const char *path = unit_path(name);
	AUTO(store_freep) struct store *s = opened(path);
	static uint8_t bytes[3 * PAGE];

	assert_ok(store_begin(s));
	for (uint64_t n = 1; n <= 50; n++) {
		struct store_version v = {.name = "other", .serial = n, .bundle_bytes = 1};

		bytes[n] = (uint8_t)n;
		bytes_sha256(bytes, 100 * n, v.digest);
		assert_ok(store_put_version(s, &v, bytes, 100 * n));
	}
	assert_ok(sql_run(s->q, change, ""));
	assert_ok(store_commit(s));
	return path;
}

static const char three_of_them[] =
	"UPDATE bundle SET bytes = zeroblob(length(bytes)) WHERE id IN (7, 20, 31)";

static void every_bundle_that_was_exchanged_is_found_beside(void **state)
{
	const char *path = hashed("beside.db", three_of_them);
	AUTO(store_hashing_freep) struct store_hashing *h = NULL;
	AUTO(store_freep) struct store *s = NULL;
	struct found f = {0};

	(void)state;
	assert_ok(store_hashing_new(path, &h));
	s = opened(path);
	store_hashing_begin(h);
	/* What is written meanwhile is in nobody's way. */
	assert_ok(store_audit(s, 1, 0, "import", "fix", "done", NULL));
	assert_ok(store_hashing_end(h, s, on_wrong, &f));
	assert_int_equal(f.n, 3);
	assert_int_equal(f.serials, 7 + 20 + 31);
}

static void where_threads_cannot_read_the_same_is_found(void **state)
{
	const char *path = hashed("alone.db", three_of_them);
	AUTO(store_hashing_freep) struct store_hashing *h = NULL;
	AUTO(store_freep) struct store *s = NULL;
	struct found none = {0}, f = {0};

	(void)state;
	s = opened(path);
	assert_ok(store_hashing_end(NULL, s, on_wrong, &none));
	assert_int_equal(none.serials, 7 + 20 + 31);
	assert_ok(store_hashing_new(unit_path("not-there.db"), &h));
	store_hashing_begin(h);
	assert_ok(store_hashing_end(h, s, on_wrong, &f));
	assert_int_equal(f.serials, 7 + 20 + 31);
	assert_int_equal(access(unit_path("not-there.db"), F_OK), -1);
}

/* SQLite's locks are POSIX's: they would end with any descriptor of the file that is closed. */
static void hashing_beside_ends_no_locks(void **state)
{
	const char *path = hashed("locks.db", three_of_them);
	AUTO(store_hashing_freep) struct store_hashing *h = NULL;
	AUTO(store_freep) struct store *s = NULL;
	struct found f = {0};
	int status;
	pid_t pid;

	(void)state;
	assert_ok(store_hashing_new(path, &h));
	s = opened(path);
	store_hashing_begin(h);
	assert_ok(store_hashing_end(h, s, on_wrong, &f));
	h = store_hashing_free(h);
	assert_ok(store_audit(s, 1, 0, "import", "fix", "done", NULL));
	pid = fork(); /* whoever thinks that he is alone takes the log away when he goes */
	if (pid == 0)
		_exit(execlp("sqlite3", "sqlite3", path, "SELECT count(*) FROM audit", NULL));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(unit_path("locks.db-wal"), F_OK), 0);
}

static void hashing_may_be_given_up(void **state)
{
	const char *path = hashed("given_up.db", three_of_them);
	struct store_hashing *h;

	(void)state;
	for (int i = 0; i < 20; i++) {
		AUTO(store_freep) struct store *s = NULL;

		assert_ok(store_hashing_new(path, &h));
		s = opened(path);
		if (i % 2)
			store_hashing_begin(h);
		h = store_hashing_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_database_is_for_its_owner_alone),
		cmocka_unit_test(a_database_that_was_opened_to_others_is_closed_again),
		cmocka_unit_test(a_symbolic_link_is_not_followed),
		cmocka_unit_test(only_a_regular_file_is_a_database),
		cmocka_unit_test(the_state_directory_must_exist),
		cmocka_unit_test(what_is_stored_is_there_after_a_restart),
		cmocka_unit_test(a_newer_schema_is_left_alone),
		cmocka_unit_test(the_database_of_another_program_is_left_alone),
		cmocka_unit_test(a_file_that_is_no_database_is_left_alone),
		cmocka_unit_test(migrations_run_once_in_order_and_keep_data),
		cmocka_unit_test(a_migration_that_fails_halfway_leaves_nothing_of_itself),
		cmocka_unit_test(a_page_of_rubbish_is_found_at_the_start),
		cmocka_unit_test(damage_is_worded_for_an_operator),
		cmocka_unit_test(a_database_cut_anywhere_never_crashes),
		cmocka_unit_test(flipped_bits_never_crash),
		cmocka_unit_test(exchanged_bundle_bytes_come_out_as_they_are),
		cmocka_unit_test(a_digest_of_another_length_is_damage),
		cmocka_unit_test(a_full_disk_refuses_a_write_and_loses_nothing),
		cmocka_unit_test(after_space_is_freed_writing_works_again),
		cmocka_unit_test(a_full_disk_is_named_when_the_database_is_made),
		cmocka_unit_test(a_read_only_state_directory_is_named),
		cmocka_unit_test(the_file_of_another_user_is_refused),
		cmocka_unit_test(a_second_writer_is_told_after_half_a_second),
		cmocka_unit_test(a_transaction_cut_off_leaves_nothing),
		cmocka_unit_test(what_was_committed_survives_a_kill_at_any_point),
		cmocka_unit_test(half_a_log_is_no_obstacle),
		cmocka_unit_test(a_hundred_bundles_are_not_kept_in_memory),
		cmocka_unit_test(every_bundle_that_was_exchanged_is_found_beside),
		cmocka_unit_test(where_threads_cannot_read_the_same_is_found),
		cmocka_unit_test(hashing_beside_ends_no_locks),
		cmocka_unit_test(hashing_may_be_given_up),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
