// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/sql.h -- one SQLite connection for store*.c: opening with care, bound
 * statements, transactions, and errors as errnos. The only file that sees sqlite3.h.
 *
 * Context    loop thread; a commit fsyncs; waits up to SQL_BUSY_MS for another process.
 * Errors     those of store/store.h.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define SQL_BUSY_MS	   500
#define SQL_CACHE_KIB	   512 /* pages kept in memory; the daemon's budget is 12 MB in all */
#define SQL_WAL_KEPT_BYTES (4 << 20)

struct sql;

/* Opens or creates path and brings its schema to the last of migrations, oldest first. */
int sql_open(const char *path, int32_t application_id, const char *const *migrations,
	     size_t n_migrations, struct sql **ret_sql, struct fail *reterr_fail);
/*
 * Once more, to read only, and in another thread: what sql_open() has opened in this process,
 * and keeps open meanwhile. No sql_open() of that path may run then (POSIX locks are a process's).
 */
int sql_open_beside(const char *path, struct sql **ret_sql);
struct sql *sql_free(struct sql *q);
/* Words r, the last result of q, for an operator. Returns r. */
int sql_fail(struct sql *q, int r, struct fail *f);

int sql_begin(struct sql *q);
int sql_commit(struct sql *q); /* fails, and rolls back, when a write before it failed */
void sql_rollback(struct sql *q);
bool sql_in_transaction(const struct sql *q);

/*
 * Runs one statement. fmt names the bound values: 'u' uint64_t (at most INT64_MAX), 's' const
 * char * (NULL binds NULL), 'b' const void * and size_t; bytes must outlive the statement.
 */
int sql_run(struct sql *q, const char *sql, const char *fmt, ...);
int sql_changed(struct sql *q); /* rows changed by the last statement that came to its end */
uint64_t sql_last_id(struct sql *q);

/* The same for a question: row by row, then free it. */
struct sql_rows;
int sql_ask(struct sql *q, struct sql_rows **ret_rows, const char *sql, const char *fmt, ...);
int sql_next(struct sql_rows *rows); /* 1: a row; 0: no more; -errno */
struct sql_rows *sql_rows_free(struct sql_rows *rows);
uint64_t sql_u64(struct sql_rows *rows, int column);
bool sql_is_null(struct sql_rows *rows, int column);
/* Valid until the next sql_next; NULL columns are "". */
const char *sql_text(struct sql_rows *rows, int column);
const void *sql_blob(struct sql_rows *rows, int column, size_t *ret_len);
/* A text with its NUL into room bytes; -EUCLEAN when it is longer. */
int sql_text_fit(struct sql_rows *rows, int column, char *ret_text, size_t room);
/* -EUCLEAN when the column does not have len bytes. */
int sql_blob_exact(struct sql_rows *rows, int column, void *ret_buf, size_t len);

/*
 * A statement to be run again and again: its values are numbered from 1, "$1" in its text. Setting
 * one rewinds it. Bytes must outlive the run; NULL binds NULL.
 */
int sql_prepare(struct sql *q, const char *sql, struct sql_rows **ret_rows);
int sql_set_u64(struct sql_rows *rows, size_t n, uint64_t v);
int sql_set_text(struct sql_rows *rows, size_t n, const char *text);
int sql_set_blob(struct sql_rows *rows, size_t n, const void *p, size_t len);
void sql_rewind(struct sql_rows *rows);	     /* nothing is bound any more */
bool sql_is_question(struct sql_rows *rows); /* it changes nothing */
size_t sql_columns(struct sql_rows *rows);
enum sql_type { SQL_NULL, SQL_U64, SQL_TEXT, SQL_BLOB };
enum sql_type sql_type(struct sql_rows *rows, int column);

/* One blob of a table by its rowid, straight into memory of the caller. */
int sql_read_blob(struct sql *q, const char *table, const char *column, uint64_t rowid,
		  uint8_t **ret_buf, size_t *ret_len);

DEFINE_AUTO(struct sql, sql_free)
DEFINE_AUTO(struct sql_rows, sql_rows_free)
