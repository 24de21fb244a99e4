// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/db_private.h -- what db.c and the drivers db_sqlite.c and db_pg.c share: a batch from
 * inside, the queue, and what a driver has to do.
 *
 * Context    as store/db.h.
 */
#pragma once

#include <sys/queue.h>

#include "store/db.h"

#define DB_CHANNEL "hotfix" /* of PostgreSQL's NOTIFY; its payload is the topic */

/* A table that grows; items are found by number, since they move. */
struct db_table {
	void *items;
	size_t n, room;
};

/* Room for n more items of one size; NULL: out of memory. The caller counts them. */
void *db_grow(struct db_table *t, size_t n, size_t size);

/* A value on its way in or out; bytes have a NUL behind them. */
struct db_value {
	char type; /* as in fmt; 0: NULL */
	uint64_t u;
	size_t at, len; /* 's' and 'b': in the bytes beside it */
};

struct db_statement {
	const char *sql, *fmt;
	bool many; /* a table of values */
	size_t n_columns, n_values, first_value;
	bool demands;
	uint64_t demand;
	/* Results */
	uint64_t touched;
	size_t n_result_columns;
	struct db_table cells, bytes;
};

struct db_batch {
	STAILQ_ENTRY(db_batch) next;
	struct db_table statements, values, bytes, topics;
	size_t n_judged; /* statements that have run */
	int r;
	void (*more)(struct db_batch *b, void *cookie);
	void *more_cookie;
	db_done_fn done;
	void *done_cookie;
	uint64_t deadline_ms; /* 0: not seen by a driver yet */
};

struct db_driver {
	int (*open)(struct db *d, struct fail *reterr_fail);
	void (*close)(struct db *d);
	int (*state)(const struct db *d, struct fail *reterr_fail);
	void (*want)(struct db *d, uint64_t now_ms, struct db_want *ret_want);
	void (*process)(struct db *d, uint64_t now_ms);
};

struct db {
	const struct db_driver *driver;
	void *engine; /* the driver's own */
	struct db_opts opts;
	char *where;
	STAILQ_HEAD(, db_batch) queue;
	void (*on_want)(void *cookie);
	void *on_want_cookie;
	void (*on_wake)(const char *topic, void *cookie);
	void *on_wake_cookie;
	void (*on_written)(int r, const struct fail *fail, void *cookie);
	void *on_written_cookie;
};

extern const struct db_driver db_sqlite, db_pg;

static inline struct db_statement *db_statement(const struct db_batch *b, size_t i)
{
	return (struct db_statement *)b->statements.items + i;
}

static inline const struct db_value *db_value(const struct db_batch *b, size_t i)
{
	return (const struct db_value *)b->values.items + i;
}

static inline const void *db_bytes(const struct db_batch *b, const struct db_value *v)
{
	return (const uint8_t *)b->bytes.items + v->at;
}

/* A cell of the next row of a result. */
int db_cell(struct db_statement *s, char type, uint64_t u, const void *p, size_t len);

/* After each statement, in their order: what it demands counts before a later one's failure. */
void db_check(struct db_batch *b, const struct db_statement *s);
/* It has to be looked at before the commit. */
bool db_is_conditional(const struct db_batch *b);
/* What was added has run. 1: there is more to run; 0: commit; -errno: roll back. */
int db_judge(struct db_batch *b);
/* Takes the first of the queue off, whatever became of it. */
void db_finish(struct db *d, int r, const struct fail *fail);
