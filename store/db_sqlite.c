// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "store/db_private.h"
#include "store/sql.h"

#define CACHE_PRAGMA "PRAGMA cache_size=-16384" /* KiB: a fleet's pages, not one host's */

/* A statement once parsed is kept, by its text. */
struct kept {
	char *sql;
	struct sql_rows *rows;
};

struct engine {
	struct sql *q;
	struct db_table kept;
};

static void file_close(struct db *d)
{
	struct engine *e = d->engine;

	if (!e)
		return;
	for (size_t i = 0; i < e->kept.n; i++) {
		struct kept *k = (struct kept *)e->kept.items + i;

		sql_rows_free(k->rows);
		free(k->sql);
	}
	free(e->kept.items);
	sql_free(e->q);
	free(e);
}

static int file_open(struct db *d, struct fail *reterr_fail)
{
	const struct db_schema *schema = d->opts.schema;
	struct engine *e = d->engine = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = sql_open(d->where, schema->application_id, schema->sqlite, schema->n, &e->q,
		     reterr_fail);
	if (r == 0) {
		r = sql_run(e->q, CACHE_PRAGMA, "");
		if (r < 0)
			sql_fail(e->q, r, reterr_fail);
	}
	return r;
}

static int file_state(const struct db *d, struct fail *reterr_fail)
{
	(void)d, (void)reterr_fail;
	return 0;
}

static void file_want(struct db *d, uint64_t now_ms, struct db_want *ret_want)
{
	(void)now_ms;
	if (!STAILQ_EMPTY(&d->queue))
		ret_want->timeout_ms = 0;
}

static void write_values(FILE *out, size_t n)
{
	for (size_t i = 1; i <= n; i++)
		fprintf(out, "%s$%zu", i > 1 ? ", " : "", i);
}

/*
 * The statement runs once for each row, and a table of one row is none: its columns are the values
 * themselves. (UPDATE with a FROM takes SQLite twice as long.)
 */
static int prepare_many(struct sql *q, const struct db_statement *s, struct sql_rows **ret_rows)
{
	static const char all[] = "* FROM %v AS v", some[] = " FROM %v AS v",
			  column[] = "column";
	AUTO_FREE char *sql = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&sql, &len);

	if (!out)
		return -ENOMEM;
	for (const char *c = s->sql; *c;) {
		if (strncmp(c, all, sizeof(all) - 1) == 0) {
			write_values(out, s->n_columns);
			c += sizeof(all) - 1;
		} else if (strncmp(c, some, sizeof(some) - 1) == 0) {
			c += sizeof(some) - 1;
		} else if (strncmp(c, column, sizeof(column) - 1) == 0) {
			fputc('$', out);
			c += sizeof(column) - 1;
		} else {
			fputc(*c++, out);
		}
	}
	if (fclose(out) != 0)
		return -ENOMEM;
	return sql_prepare(q, sql, ret_rows);
}

static int prepare(struct engine *e, const struct db_statement *s, struct sql_rows **ret_rows)
{
	struct kept *k = e->kept.items;
	int r;

	for (size_t i = 0; i < e->kept.n; i++)
		if (strcmp(k[i].sql, s->sql) == 0) {
			*ret_rows = k[i].rows;
			return 0;
		}
	k = db_grow(&e->kept, 1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	r = s->many ? prepare_many(e->q, s, ret_rows) : sql_prepare(e->q, s->sql, ret_rows);
	if (r < 0)
		return r;
	*k = (struct kept){.sql = strdup(s->sql), .rows = *ret_rows};
	if (!k->sql) {
		sql_rows_free(k->rows);
		return -ENOMEM;
	}
	e->kept.n++;
	return 0;
}

static int bind(struct sql_rows *rows, const struct db_batch *b, size_t first, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct db_value *v = db_value(b, first + i);

		if (v->type == 'u')
			r = sql_set_u64(rows, i + 1, v->u);
		else if (v->type == 's')
			r = sql_set_text(rows, i + 1, db_bytes(b, v));
		else if (v->type == 'b')
			r = sql_set_blob(rows, i + 1, db_bytes(b, v), v->len);
	}
	return r;
}

static int read_row(struct sql_rows *rows, struct db_statement *s)
{
	int r = 0;

	s->n_result_columns = sql_columns(rows);
	for (int i = 0; r == 0 && i < (int)s->n_result_columns; i++) {
		const void *p = NULL;
		size_t len = 0;

		switch (sql_type(rows, i)) {
		case SQL_NULL:
			r = db_cell(s, 0, 0, NULL, 0);
			break;
		case SQL_U64:
			r = db_cell(s, 'u', sql_u64(rows, i), NULL, 0);
			break;
		case SQL_TEXT:
			p = sql_text(rows, i);
			r = db_cell(s, 's', 0, p, strlen(p));
			break;
		case SQL_BLOB:
			p = sql_blob(rows, i, &len);
			r = db_cell(s, 'b', 0, p, len);
			break;
		}
	}
	return r;
}

static int step(struct engine *e, struct sql_rows *rows, struct db_statement *s)
{
	int r;

	while ((r = sql_next(rows)) > 0) {
		r = read_row(rows, s);
		if (r < 0)
			return r;
		if (sql_is_question(rows))
			s->touched++;
	}
	if (r == 0 && !sql_is_question(rows))
		s->touched += (uint64_t)sql_changed(e->q);
	return r;
}

static int run_statement(struct engine *e, struct db_batch *b, struct db_statement *s)
{
	size_t times = s->many ? s->n_values / s->n_columns : 1;
	struct sql_rows *rows;
	int r = prepare(e, s, &rows);

	for (size_t i = 0; r == 0 && i < times; i++) {
		r = bind(rows, b, s->first_value + i * s->n_columns, s->n_columns);
		if (r == 0)
			r = step(e, rows, s);
		sql_rewind(rows);
	}
	return r;
}

static int run_batch(struct engine *e, struct db_batch *b)
{
	int r = sql_begin(e->q);

	if (r < 0)
		return r;
	do {
		for (size_t i = b->n_judged; r >= 0 && i < b->statements.n; i++) {
			r = run_statement(e, b, db_statement(b, i));
			if (r == 0)
				db_check(b, db_statement(b, i));
			if (r == 0)
				r = b->r;
		}
		if (r >= 0)
			r = db_judge(b);
	} while (r > 0);
	if (r == 0)
		r = sql_commit(e->q);
	if (r < 0)
		sql_rollback(e->q);
	return r;
}

/* Topics go with the batch, which done may free. */
static void wake(struct db *d, const struct db_table *topics)
{
	const char *topic = topics->items;

	for (size_t at = 0; at < topics->n && d->on_wake; at += strlen(topic + at) + 1)
		d->on_wake(topic + at, d->on_wake_cookie);
}

static void file_process(struct db *d, uint64_t now_ms)
{
	struct db_batch *b = STAILQ_FIRST(&d->queue);
	struct engine *e = d->engine;
	struct db_table topics;
	struct fail f = {0};
	int r;

	(void)now_ms;
	if (!b)
		return;
	r = b->r;
	if (r == 0)
		r = run_batch(e, b);
	topics = b->topics;
	b->topics = (struct db_table){0};
	if (r < 0 && b->r == 0) /* the engine's own words */
		sql_fail(e->q, r, &f);
	db_finish(d, r, &f);
	if (r == 0)
		wake(d, &topics);
	free(topics.items);
}

const struct db_driver db_sqlite = {
	.open = file_open,
	.close = file_close,
	.state = file_state,
	.want = file_want,
	.process = file_process,
};
