// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/db.h -- one way to say SQL to two engines: a file of SQLite (store/sql.h), or PostgreSQL.
 * Batches of statements, each batch one transaction, run one after the other without ever
 * blocking on a server. Knows no event loop: it says what to wait for.
 *
 * Context    loop thread. PostgreSQL never blocks; SQLite works inside db_process(), and a commit
 *            fsyncs.
 * Errors     of a batch, always with words; nothing of it is stored, with one exception:
 *            -ENOTCONN     the engine went away before the commit
 *            -EHOSTUNREACH it has not been in reach for as long as a batch may take
 *            -ECONNABORTED in doubt: it went away during the commit, which may have happened.
 *                          Read again what should have changed before doing anything else
 *            -ESTALE       a demand was not met: somebody else was first
 *            -EBUSY        a lock, a deadlock or the statement's time limit; worth repeating
 *            -EEXIST       a key is taken;  -EINVAL another rule of the schema
 *            -ENOSPC, -EROFS, -EACCES, -ENOMEM, -EIO  as the engine's file system says
 *            -EUCLEAN      damaged, or not a database of this program
 *            -EPROTO       schema newer than this program
 *            -ECANCELED    db_free() came first
 * Ownership  db_submit() consumes the batch; its done function gets it back, and frees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define DB_STATEMENT_MS 5000  /* a server gives a statement up after it */
#define DB_ANSWER_MS	15000 /* a batch without its end after it: the server is given up */
#define DB_RETRY_MIN_MS 100
#define DB_RETRY_MAX_MS 5000
#define DB_CONNECT_MS	5000 /* to one address, or for a name's addresses */
#define DB_TOPIC_BYTES	64

/*
 * Append only: a database of any age is brought up by running what it lacks, in order, each
 * in a transaction of its own. Both lists mean the same, in the DDL of either engine.
 */
struct db_schema {
	const char *program;	/* for messages, and PostgreSQL's application_name */
	int32_t application_id; /* of a file; on PostgreSQL the lock of those who migrate */
	const char *const *sqlite;
	const char *const *postgres;
	size_t n;
};

struct db_opts {
	const char *where; /* postgresql://...; all else is the path of a file */
	const struct db_schema *schema;
	uint32_t statement_ms, answer_ms; /* 0: as above */
};

struct db;

bool db_names_server(const char *where); /* not a file */
/* A file is opened and brought up now; a server is only looked for from now on. */
int db_open(const struct db_opts *opts, struct db **ret_db, struct fail *reterr_fail);
/* Not from within a function that db_process() called. */
struct db *db_free(struct db *d);
bool db_is_file(const struct db *d);
/* 0: ready; else why not, as for a batch. */
int db_state(const struct db *d, struct fail *reterr_fail);

/* ---- the loop ------------------------------------------------------------------ */

struct db_want {
	int fd;		/* -1: none; may be another one each time */
	short events;	/* POLLIN, POLLOUT */
	int timeout_ms; /* from now; -1: none */
};

/* What to wait for, before db_process() is called again. now_ms never runs backwards. */
void db_want(struct db *d, uint64_t now_ms, struct db_want *ret_want);
/* Goes as far as it goes without waiting; never wrong to call. */
void db_process(struct db *d, uint64_t now_ms);
/* fn is told whenever db_want() may have changed for another reason than db_process(). */
void db_on_want(struct db *d, void (*fn)(void *cookie), void *cookie);
/*
 * Somebody committed a db_wake(), maybe this program itself; "": some may have been missed. A
 * hint and no more: whoever must not miss a change asks now and then.
 */
void db_on_wake(struct db *d, void (*fn)(const char *topic, void *cookie), void *cookie);
/*
 * A batch that changes things has ended: r is 0 when something was stored, or what kept the engine
 * from it. Nothing is told of one that its own demands or the schema's rules refused.
 */
void db_on_written(struct db *d, void (*fn)(int r, const struct fail *fail, void *cookie),
		   void *cookie);

/* ---- batches ------------------------------------------------------------------- */

struct db_batch;

struct db_batch *db_batch_new(void); /* NULL: out of memory */
struct db_batch *db_batch_free(struct db_batch *b);

/*
 * One statement; sql and fmt outlive the batch. fmt names the values $1, $2, ...: 'u' uint64_t (at
 * most INT64_MAX), 's' const char * (NULL binds NULL), 'b' const void * and size_t (NULL binds
 * NULL). They are copied. After the first error the rest do nothing, and the batch ends with
 * it. Statements are numbered from 0.
 */
void db_add(struct db_batch *b, const char *sql, const char *fmt, ...);
/*
 * One statement for any number of rows: "FROM %v AS v" in its text is a table of them with columns
 * named column1, column2, ... (these words are used for nothing else, and without "v."); db_row()
 * gives it one. Without a row the statement does nothing.
 */
void db_add_rows(struct db_batch *b, const char *sql, const char *fmt);
void db_row(struct db_batch *b, ...);
/* The last statement touches this many rows, or all is rolled back: -ESTALE. */
void db_demand(struct db_batch *b, uint64_t rows);
/* With the commit, those who listen are told. */
void db_wake(struct db_batch *b, const char *topic);
/*
 * When what was added has run, before the commit: more reads the results, and adds what
 * depends on them, itself again maybe, or gives up.
 */
void db_then(struct db_batch *b, void (*more)(struct db_batch *b, void *cookie), void *cookie);
void db_give_up(struct db_batch *b, int r); /* rolls back; the first r counts */
/*
 * What has run, with its results, as a batch of its own; the numbers of b begin with 0 again.
 * NULL: out of memory, and b gave up.
 */
struct db_batch *db_take(struct db_batch *b);

/* done gets the batch back: r as above, and the words for an operator when it is negative. */
typedef void (*db_done_fn)(struct db_batch *b, int r, const struct fail *fail, void *cookie);
void db_submit(struct db *d, struct db_batch *b, db_done_fn done, void *cookie);
/* For a CLI and for tests: waits until it is done. The batch remains the caller's. */
int db_run(struct db *d, struct db_batch *b, struct fail *reterr_fail);
/* One turn of a loop that knows nothing else, of at most wait_ms. */
void db_turn(struct db *d, int wait_ms);

/* ---- results ------------------------------------------------------------------- */

size_t db_n_statements(const struct db_batch *b);
uint64_t db_touched(const struct db_batch *b, size_t statement); /* rows changed or given */
size_t db_n_rows(const struct db_batch *b, size_t statement);	 /* rows given */

/* Good as long as the batch; a wrong column or type reads as 0, "" or nothing. */
struct db_row {
	const struct db_batch *batch;
	size_t statement, first; /* cell */
};

/* The first columns of a row, as many as fmt names, are the values. */
void db_add_from(struct db_batch *b, const char *sql, const char *fmt, struct db_row row);
void db_row_from(struct db_batch *b, struct db_row row);

struct db_row db_get(const struct db_batch *b, size_t statement, size_t row);
bool db_is_null(struct db_row row, size_t column);
uint64_t db_u64(struct db_row row, size_t column);
const char *db_text(struct db_row row, size_t column); /* NULL: "" */
const void *db_blob(struct db_row row, size_t column, size_t *ret_len);

DEFINE_AUTO(struct db, db_free)
DEFINE_AUTO(struct db_batch, db_batch_free)
