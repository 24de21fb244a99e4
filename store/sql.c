// SPDX-License-Identifier: BSD-2-Clause
#include "store/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "lib/clock.h"
#include "lib/io.h"

#define IDLE_MAX 16

struct sql {
	sqlite3 *db;
	/* Compiling a statement takes longer than most of them: these wait to be asked again, the
	 * last one was used last. */
	sqlite3_stmt *idle[IDLE_MAX];
	size_t n_idle;
	int broken; /* -errno of the first write that failed in this transaction */
	int changed;
	char last[256]; /* SQLite's words for the last error */
	char path[PATH_MAX];
};

#define VALUES_MAX 32 /* of a statement that is kept */

struct sql_rows {
	struct sql *q;
	sqlite3_stmt *stmt;
	bool is_kept; /* when it is freed, among those that are idle */
	int parameter[VALUES_MAX +
		      1]; /* SQLite's number of "$1", "$2", ...; 0: not asked yet */
};

static int errno_of_sqlite(int rc, int system_errno)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_ERROR: /* our SQL is fixed: a table is missing, the file format is unknown */
		return -EUCLEAN;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_TOOBIG:
		return -EFBIG;
	case SQLITE_CONSTRAINT:
		if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY)
			return -EEXIST;
		return -EINVAL;
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return -EINVAL;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (rc == SQLITE_IOERR_NOMEM)
			return -ENOMEM;
		if (system_errno == EDQUOT || system_errno == EFBIG)
			return -ENOSPC;
		return system_errno > 0 ? -system_errno : -EIO;
	default:
		return -EIO;
	}
}

/* Every failing call comes through here, so that sql_fail() can tell of it. */
static int note(struct sql *q, int rc)
{
	int r = errno_of_sqlite(rc, sqlite3_system_errno(q->db));

	if (r < 0)
		snprintf(q->last, sizeof(q->last), "%s", sqlite3_errmsg(q->db));
	return r;
}

int sql_fail(struct sql *q, int r, struct fail *f)
{
	const char *path = q->path;

	switch (r) {
	case -ENOSPC:
		fail_set(f, FAIL_STORAGE, "%s: no space left; nothing was stored", path);
		fail_hint(f,
			  "Free space on that file system and repeat. Live hot-fixes are not "
			  "affected.");
		break;
	case -EROFS:
		fail_set(f, FAIL_STORAGE, "%s: read-only; nothing was stored", path);
		fail_hint(f, "Make the state directory writable again. Live hot-fixes are not "
			     "affected.");
		break;
	case -EACCES:
	case -EPERM:
		fail_set(f, FAIL_STORAGE, "%s: permission denied", path);
		fail_hint(f, "The folder must belong to the user who runs this.");
		break;
	case -EUCLEAN:
		fail_set(f, FAIL_STORAGE, "%s: damaged (%s)", path, q->last);
		fail_hint(
			f,
			"Stop the service, keep the file (mv %s %s.damaged, its -wal and -shm "
			"too), put a backup in its place or start with a new one. Hot-fixes "
			"live in the kernel are not affected.",
			path, path);
		break;
	case -EBUSY:
		fail_set(f, FAIL_STORAGE, "%s: another process has been writing for %d ms",
			 path, SQL_BUSY_MS);
		fail_hint(f,
			  "Only one process should have this file open; find the other with "
			  "`fuser %s`.",
			  path);
		break;
	case -ENOENT:
		fail_set(f, FAIL_NOT_FOUND, "%s: no such row", path);
		break;
	case -EINVAL:
	case -EEXIST:
	case -ERANGE:
		fail_set(f, FAIL_INTERNAL, "%s: refused by its own rules (%s)", path, q->last);
		break;
	case -ENOMEM:
		fail_set(f, FAIL_INTERNAL, "out of memory");
		break;
	default:
		fail_set(f, FAIL_STORAGE, "%s: %s (%s)", path, strerror(-r),
			 q->last[0] ? q->last : "no detail");
		fail_hint(f, "See the kernel log for errors of the disk.");
		break;
	}
	return r;
}

/* ---- statements ------------------------------------------------------------- */

static int bind_all(sqlite3_stmt *stmt, const char *fmt, va_list ap)
{
	int rc = SQLITE_OK;

	for (int i = 1; *fmt && rc == SQLITE_OK; fmt++, i++) {
		if (*fmt == 'u') {
			uint64_t v = va_arg(ap, uint64_t);

			rc = v > INT64_MAX ? SQLITE_RANGE
					   : sqlite3_bind_int64(stmt, i, (sqlite3_int64)v);
		} else if (*fmt == 's') {
			rc = sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1,
					       SQLITE_STATIC);
		} else {
			const void *p = va_arg(ap, const void *);
			size_t len = va_arg(ap, size_t);

			rc = sqlite3_bind_blob64(stmt, i, p, len, SQLITE_STATIC);
		}
	}
	return rc;
}

int sql_prepare(struct sql *q, const char *sql, struct sql_rows **ret_rows)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = calloc(1, sizeof(*rows));
	int rc;

	if (!rows)
		return -ENOMEM;
	rows->q = q;
	rc = sqlite3_prepare_v2(q->db, sql, -1, &rows->stmt, NULL);
	if (rc != SQLITE_OK)
		return note(q, rc);
	*ret_rows = take_ptr(rows);
	return 0;
}

static sqlite3_stmt *take_idle(struct sql *q, size_t i)
{
	sqlite3_stmt *stmt = q->idle[i];

	q->n_idle--;
	memmove(&q->idle[i], &q->idle[i + 1], (q->n_idle - i) * sizeof(*q->idle));
	return stmt;
}

static void keep_idle(struct sql *q, sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	if (q->n_idle == IDLE_MAX)
		sqlite3_finalize(take_idle(q, 0));
	q->idle[q->n_idle++] = stmt;
}

static int find_idle(struct sql *q, const char *sql, struct sql_rows **ret_rows)
{
	struct sql_rows *rows;

	for (size_t i = q->n_idle; i-- > 0;)
		if (strcmp(sqlite3_sql(q->idle[i]), sql) == 0) {
			rows = calloc(1, sizeof(*rows));
			if (!rows)
				return -ENOMEM;
			rows->q = q;
			rows->stmt = take_idle(q, i);
			*ret_rows = rows;
			return 0;
		}
	return sql_prepare(q, sql, ret_rows);
}

static int ask(struct sql *q, struct sql_rows **ret_rows, const char *sql, const char *fmt,
	       va_list ap)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r = find_idle(q, sql, &rows);

	if (r == 0)
		rows->is_kept = true;
	if (r == 0)
		r = note(q, bind_all(rows->stmt, fmt, ap));
	if (r < 0)
		return r;
	*ret_rows = take_ptr(rows);
	return 0;
}

int sql_ask(struct sql *q, struct sql_rows **ret_rows, const char *sql, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = ask(q, ret_rows, sql, fmt, ap);
	va_end(ap);
	return r;
}

int sql_next(struct sql_rows *rows)
{
	int rc = sqlite3_step(rows->stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		return note(rows->q, rc);
	rows->q->changed = sqlite3_changes(rows->q->db);
	return 0;
}

struct sql_rows *sql_rows_free(struct sql_rows *rows)
{
	if (rows && rows->is_kept)
		keep_idle(rows->q, rows->stmt);
	else if (rows)
		sqlite3_finalize(rows->stmt);
	free(rows);
	return NULL;
}

int sql_run(struct sql *q, const char *sql, const char *fmt, ...)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = ask(q, &rows, sql, fmt, ap);
	va_end(ap);
	if (r == 0)
		while ((r = sql_next(rows)) > 0)
			;
	if (r < 0 && !q->broken)
		q->broken = r;
	if (r < 0)
		q->changed = 0;
	return r;
}

int sql_changed(struct sql *q)
{
	return q->changed;
}

uint64_t sql_last_id(struct sql *q)
{
	return (uint64_t)sqlite3_last_insert_rowid(q->db);
}

uint64_t sql_u64(struct sql_rows *rows, int column)
{
	return (uint64_t)sqlite3_column_int64(rows->stmt, column);
}

bool sql_is_null(struct sql_rows *rows, int column)
{
	return sqlite3_column_type(rows->stmt, column) == SQLITE_NULL;
}

const char *sql_text(struct sql_rows *rows, int column)
{
	const unsigned char *s = sqlite3_column_text(rows->stmt, column);

	return s ? (const char *)s : "";
}

const void *sql_blob(struct sql_rows *rows, int column, size_t *ret_len)
{
	const void *p = sqlite3_column_blob(rows->stmt, column);

	*ret_len = (size_t)sqlite3_column_bytes(rows->stmt, column);
	return p ? p : "";
}

int sql_text_fit(struct sql_rows *rows, int column, char *ret_text, size_t room)
{
	const char *text = sql_text(rows, column);
	size_t len = strlen(text);

	if (len >= room) {
		snprintf(rows->q->last, sizeof(rows->q->last), "a text has %zu bytes", len);
		return -EUCLEAN;
	}
	memcpy(ret_text, text, len + 1);
	return 0;
}

int sql_blob_exact(struct sql_rows *rows, int column, void *ret_buf, size_t len)
{
	size_t n;
	const void *p = sql_blob(rows, column, &n);

	if (n != len) {
		snprintf(rows->q->last, sizeof(rows->q->last), "a digest has %zu bytes", n);
		return -EUCLEAN;
	}
	memcpy(ret_buf, p, len);
	return 0;
}

/* ---- statements that are kept ----------------------------------------------- */

/* SQLite takes "$1" for a name; 0, which no bind accepts, when the text has none such. */
static int parameter(struct sql_rows *rows, size_t n)
{
	char name[24];

	if (n > VALUES_MAX)
		return 0;
	if (!rows->parameter[n]) {
		snprintf(name, sizeof(name), "$%zu", n);
		rows->parameter[n] = sqlite3_bind_parameter_index(rows->stmt, name);
	}
	return rows->parameter[n];
}

int sql_set_u64(struct sql_rows *rows, size_t n, uint64_t v)
{
	if (v > INT64_MAX)
		return note(rows->q, SQLITE_RANGE);
	return note(rows->q,
		    sqlite3_bind_int64(rows->stmt, parameter(rows, n), (sqlite3_int64)v));
}

int sql_set_text(struct sql_rows *rows, size_t n, const char *text)
{
	return note(rows->q,
		    sqlite3_bind_text(rows->stmt, parameter(rows, n), text, -1, SQLITE_STATIC));
}

int sql_set_blob(struct sql_rows *rows, size_t n, const void *p, size_t len)
{
	return note(rows->q,
		    sqlite3_bind_blob64(rows->stmt, parameter(rows, n), p, len, SQLITE_STATIC));
}

void sql_rewind(struct sql_rows *rows)
{
	sqlite3_reset(rows->stmt);
	sqlite3_clear_bindings(rows->stmt);
}

bool sql_is_question(struct sql_rows *rows)
{
	return sqlite3_stmt_readonly(rows->stmt);
}

size_t sql_columns(struct sql_rows *rows)
{
	return (size_t)sqlite3_column_count(rows->stmt);
}

enum sql_type sql_type(struct sql_rows *rows, int column)
{
	switch (sqlite3_column_type(rows->stmt, column)) {
	case SQLITE_INTEGER:
		return SQL_U64;
	case SQLITE_TEXT:
		return SQL_TEXT;
	case SQLITE_BLOB:
		return SQL_BLOB;
	default:
		return SQL_NULL;
	}
}

int sql_read_blob(struct sql *q, const char *table, const char *column, uint64_t rowid,
		  uint8_t **ret_buf, size_t *ret_len)
{
	AUTO_FREE uint8_t *buf = NULL;
	sqlite3_blob *blob = NULL;
	size_t len = 0;
	int rc, r = 0;

	rc = sqlite3_blob_open(q->db, "main", table, column, (sqlite3_int64)rowid, 0, &blob);
	if (rc == SQLITE_OK) {
		len = (size_t)sqlite3_blob_bytes(blob);
		buf = malloc(len + 1);
		if (!buf)
			r = -ENOMEM;
		else
			rc = sqlite3_blob_read(blob, buf, (int)len, 0);
	}
	if (r == 0)
		r = note(q, rc);
	sqlite3_blob_close(blob);
	if (r < 0)
		return r;
	buf[len] = 0;
	*ret_buf = take_ptr(buf);
	*ret_len = len;
	return 0;
}

/* ---- transactions ----------------------------------------------------------- */

bool sql_in_transaction(const struct sql *q)
{
	return !sqlite3_get_autocommit(q->db);
}

int sql_begin(struct sql *q)
{
	if (sql_in_transaction(q))
		return -EINVAL;
	q->broken = 0;
	/* The writer's lock is taken now, so that nothing later can fail for want of it. */
	return sql_run(q, "BEGIN IMMEDIATE", "");
}

void sql_rollback(struct sql *q)
{
	if (sql_in_transaction(q))
		sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
	q->broken = 0;
}

int sql_commit(struct sql *q)
{
	int r = q->broken;

	/* SQLite itself rolls back after some errors (disk full): nothing is left to commit. */
	if (r == 0 && !sql_in_transaction(q))
		r = -EINVAL;
	if (r == 0)
		r = sql_run(q, "COMMIT", "");
	if (r < 0)
		sql_rollback(q);
	return r;
}

/* ---- opening ---------------------------------------------------------------- */

/*
 * The file exists, is a regular one of ours (no symbolic link) and nobody else's business.
 * The folder is 0700 (hotfixd sees to it), so it cannot be exchanged behind our back.
 */
static int prepare_file(struct sql *q)
{
	AUTO_CLOSE int fd =
		open(q->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		     0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		snprintf(q->last, sizeof(q->last), "not a regular file");
		return -EUCLEAN;
	}
	if (st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
		return -errno;
	return st.st_size == 0 ? io_sync_folder_of(q->path) : 0;
}

/* The first column of the first row as number or text; -EUCLEAN when there is none. */
static int pragma(struct sql *q, const char *sql, uint64_t *ret_number, char *ret_text,
		  size_t room)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r = sql_ask(q, &rows, sql, "");

	if (r == 0)
		r = sql_next(rows);
	if (r < 0)
		return r;
	if (r == 0)
		return -EUCLEAN;
	if (ret_number)
		*ret_number = sql_u64(rows, 0);
	if (ret_text)
		snprintf(ret_text, room, "%s", sql_text(rows, 0));
	return 0;
}

/* hotfix_now_ms() in SQL, as PostgreSQL has it: the time by which leases and tokens end. */
static void on_now_ms(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)n, (void)values;
	sqlite3_result_int64(context, (sqlite3_int64)clock_real_ms());
}

static int configure(struct sql *q)
{
	static const char *const settings[] = {
		"PRAGMA trusted_schema=OFF", "PRAGMA cell_size_check=ON",
		"PRAGMA foreign_keys=ON",    "PRAGMA synchronous=FULL",
		"PRAGMA temp_store=MEMORY",  "PRAGMA mmap_size=0",
		"PRAGMA secure_delete=OFF",
	};
	char sql[64];
	int r;

	sqlite3_extended_result_codes(q->db, 1);
	sqlite3_busy_timeout(q->db, SQL_BUSY_MS);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(q->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	r = note(q, sqlite3_create_function(q->db, "hotfix_now_ms", 0,
					    SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, on_now_ms,
					    NULL, NULL));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
		r = sql_run(q, settings[i], "");
	if (r == 0) {
		snprintf(sql, sizeof(sql), "PRAGMA cache_size=-%d", SQL_CACHE_KIB);
		r = sql_run(q, sql, "");
	}
	if (r == 0) {
		snprintf(sql, sizeof(sql), "PRAGMA journal_size_limit=%d", SQL_WAL_KEPT_BYTES);
		r = sql_run(q, sql, "");
	}
	return r;
}

static int use_wal(struct sql *q)
{
	char mode[16] = "";
	int r = pragma(q, "PRAGMA journal_mode=WAL", NULL, mode, sizeof(mode));

	if (r == 0 && strcmp(mode, "wal") != 0) {
		snprintf(q->last, sizeof(q->last), "this file system cannot do WAL");
		r = -EIO;
	}
	return r;
}

static int migrate_one(struct sql *q, const char *sql, size_t version)
{
	char set_version[64];
	int r = sql_begin(q);

	if (r < 0)
		return r;
	/* A text of several statements, none with values from outside. */
	r = note(q, sqlite3_exec(q->db, sql, NULL, NULL, NULL));
	if (r == 0) {
		snprintf(set_version, sizeof(set_version), "PRAGMA user_version=%zu", version);
		r = sql_run(q, set_version, "");
	}
	if (r == 0)
		return sql_commit(q);
	sql_rollback(q);
	return r;
}

static int check_kind(struct sql *q, int32_t application_id, bool *ret_fresh)
{
	uint64_t id, tables;
	int r = pragma(q, "PRAGMA application_id", &id, NULL, 0);

	if (r == 0)
		r = pragma(q, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0);
	if (r < 0)
		return r;
	*ret_fresh = id == 0 && tables == 0;
	if (!*ret_fresh && (int32_t)id != application_id) {
		snprintf(q->last, sizeof(q->last), "a database, but another program's");
		return -EUCLEAN;
	}
	return 0;
}

static int check_pages(struct sql *q)
{
	char answer[sizeof(q->last)] = "";
	int r = pragma(q, "PRAGMA quick_check(1)", NULL, answer, sizeof(answer));

	if (r == 0 && strcmp(answer, "ok") != 0) {
		memcpy(q->last, answer, sizeof(answer));
		for (char *c = q->last; *c; c++)
			if (*c == '\n')
				*c = ' ';
		r = -EUCLEAN;
	}
	return r;
}

static int bring_up(struct sql *q, int32_t application_id, const char *const *migrations,
		    size_t n_migrations, struct fail *f)
{
	uint64_t version = 0;
	char set_id[64];
	bool fresh;
	int r;

	r = configure(q);
	if (r == 0)
		r = check_kind(q, application_id, &fresh);
	if (r == 0)
		r = check_pages(q);
	if (r == 0)
		r = pragma(q, "PRAGMA user_version", &version, NULL, 0);
	if (r == 0 && version > n_migrations) {
		fail_set(f, FAIL_STORAGE,
			 "%s: written by a newer version (schema %" PRIu64
			 ", this one knows %zu)",
			 q->path, version, n_migrations);
		fail_hint(f, "Install the newer version again. Nothing was changed.");
		return -EPROTO;
	}
	if (r == 0)
		r = use_wal(q);
	if (r == 0 && fresh) {
		snprintf(set_id, sizeof(set_id), "PRAGMA application_id=%d", application_id);
		r = sql_run(q, set_id, "");
	}
	for (size_t i = version; r == 0 && i < n_migrations; i++)
		r = migrate_one(q, migrations[i], i + 1);
	return r < 0 ? sql_fail(q, r, f) : 0;
}

static int connect_file(struct sql *q)
{
	int rc = sqlite3_open_v2(
		q->path, &q->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);

	return rc == SQLITE_OK || q->db ? note(q, rc) : -ENOMEM;
}

int sql_open(const char *path, int32_t application_id, const char *const *migrations,
	     size_t n_migrations, struct sql **ret_sql, struct fail *reterr_fail)
{
	AUTO(sql_freep) struct sql *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (snprintf(q->path, sizeof(q->path), "%s", path) >= (int)sizeof(q->path))
		return fail_set(reterr_fail, FAIL_USAGE,
				"the path of the database is too long");
	r = prepare_file(q);
	if (r == 0)
		r = connect_file(q);
	if (r < 0)
		return sql_fail(q, r, reterr_fail);
	r = bring_up(q, application_id, migrations, n_migrations, reterr_fail);
	if (r < 0)
		return r;
	*ret_sql = take_ptr(q);
	return 0;
}

/* Of the file itself we open and close nothing: that would end the locks of the other one. */
int sql_open_beside(const char *path, struct sql **ret_sql)
{
	AUTO(sql_freep) struct sql *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	if (snprintf(q->path, sizeof(q->path), "%s", path) >= (int)sizeof(q->path))
		return -ENAMETOOLONG;
	r = connect_file(q);
	if (r == 0)
		r = configure(q);
	if (r == 0)
		r = sql_run(q, "PRAGMA query_only=ON", "");
	if (r < 0)
		return r;
	*ret_sql = take_ptr(q);
	return 0;
}

struct sql *sql_free(struct sql *q)
{
	if (!q)
		return NULL;
	while (q->n_idle)
		sqlite3_finalize(take_idle(q, 0));
	sqlite3_close(q->db);
	free(q);
	return NULL;
}
