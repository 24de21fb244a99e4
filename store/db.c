// SPDX-License-Identifier: BSD-2-Clause
#include "store/db.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "lib/clock.h"
#include "store/db_private.h"

void *db_grow(struct db_table *t, size_t n, size_t size)
{
	size_t room = t->room ? t->room : 256 / size + 1;
	void *items;

	if (t->n + n > t->room) {
		while (room < t->n + n)
			room *= 2;
		items = realloc(t->items, room * size);
		if (!items)
			return NULL;
		t->items = items;
		t->room = room;
	}
	return (uint8_t *)t->items + t->n * size;
}

/* Bytes with a NUL behind them; where they begin is their number. */
static int keep(struct db_table *bytes, const void *p, size_t len, size_t *ret_at)
{
	uint8_t *room = db_grow(bytes, len + 1, 1);

	if (!room)
		return -ENOMEM;
	if (len)
		memcpy(room, p, len);
	room[len] = 0;
	*ret_at = bytes->n;
	bytes->n += len + 1;
	return 0;
}

static void empty(struct db_table *t)
{
	free(t->items);
	*t = (struct db_table){0};
}

/* ---- what is asked ------------------------------------------------------------- */

struct db_batch *db_batch_new(void)
{
	return calloc(1, sizeof(struct db_batch));
}

static void forget(struct db_batch *b)
{
	for (size_t i = 0; i < b->statements.n; i++) {
		empty(&db_statement(b, i)->cells);
		empty(&db_statement(b, i)->bytes);
	}
	empty(&b->statements);
	empty(&b->values);
	empty(&b->bytes);
}

struct db_batch *db_batch_free(struct db_batch *b)
{
	if (b) {
		forget(b);
		empty(&b->topics);
	}
	free(b);
	return NULL;
}

void db_give_up(struct db_batch *b, int r)
{
	if (b->r == 0)
		b->r = r;
}

struct db_batch *db_take(struct db_batch *b)
{
	struct db_batch *taken = db_batch_new();

	if (!taken) {
		db_give_up(b, -ENOMEM);
		return NULL;
	}
	taken->statements = b->statements;
	taken->values = b->values;
	taken->bytes = b->bytes;
	b->statements = b->values = b->bytes = (struct db_table){0};
	b->n_judged = 0;
	return taken;
}

static struct db_statement *last(struct db_batch *b)
{
	return b->statements.n ? db_statement(b, b->statements.n - 1) : NULL;
}

/* p NULL and no number: NULL. */
static void put_value(struct db_batch *b, char type, uint64_t u, const void *p, size_t len)
{
	struct db_value v = {.type = type == 'u' || p ? type : 0, .u = u, .len = len};
	struct db_value *room = db_grow(&b->values, 1, sizeof(v));

	if (type == 'u' && u > INT64_MAX)
		db_give_up(b, -ERANGE);
	else if (!room || (p && keep(&b->bytes, p, len, &v.at) < 0))
		db_give_up(b, -ENOMEM);
	if (b->r < 0)
		return;
	*room = v;
	b->values.n++;
	last(b)->n_values++;
}

static void add_value(struct db_batch *b, char type, va_list *ap)
{
	const void *p;

	if (type == 'u') {
		put_value(b, type, va_arg(*ap, uint64_t), NULL, 0);
	} else if (type == 's') {
		p = va_arg(*ap, const char *);
		put_value(b, type, 0, p, p ? strlen(p) : 0);
	} else {
		p = va_arg(*ap, const void *);
		put_value(b, type, 0, p, va_arg(*ap, size_t));
	}
}

static void add(struct db_batch *b, const char *sql, const char *fmt, bool many)
{
	struct db_statement *s;

	if (b->r < 0)
		return;
	s = db_grow(&b->statements, 1, sizeof(*s));
	if (!s) {
		db_give_up(b, -ENOMEM);
		return;
	}
	*s = (struct db_statement){.sql = sql,
				   .fmt = fmt,
				   .many = many,
				   .n_columns = strlen(fmt),
				   .first_value = b->values.n};
	b->statements.n++;
}

static void add_values(struct db_batch *b, va_list *ap)
{
	for (const char *type = b->r < 0 ? "" : last(b)->fmt; *type && b->r == 0; type++)
		add_value(b, *type, ap);
}

void db_add(struct db_batch *b, const char *sql, const char *fmt, ...)
{
	va_list ap;

	add(b, sql, fmt, false);
	va_start(ap, fmt);
	add_values(b, &ap);
	va_end(ap);
}

void db_add_rows(struct db_batch *b, const char *sql, const char *fmt)
{
	add(b, sql, fmt, true);
}

void db_row(struct db_batch *b, ...)
{
	va_list ap;

	va_start(ap, b);
	add_values(b, &ap);
	va_end(ap);
}

void db_demand(struct db_batch *b, uint64_t rows)
{
	if (b->r == 0) {
		last(b)->demands = true;
		last(b)->demand = rows;
	}
}

void db_wake(struct db_batch *b, const char *topic)
{
	size_t at;

	if (keep(&b->topics, topic, strlen(topic), &at) < 0)
		db_give_up(b, -ENOMEM);
}

void db_then(struct db_batch *b, void (*more)(struct db_batch *b, void *cookie), void *cookie)
{
	b->more = more;
	b->more_cookie = cookie;
}

/* ---- what drivers ask ------------------------------------------------------------ */

int db_cell(struct db_statement *s, char type, uint64_t u, const void *p, size_t len)
{
	struct db_value v = {.type = type, .u = u, .len = len};
	struct db_value *room = db_grow(&s->cells, 1, sizeof(v));

	if (!room || ((type == 's' || type == 'b') && keep(&s->bytes, p, len, &v.at) < 0))
		return -ENOMEM;
	*room = v;
	s->cells.n++;
	return 0;
}

bool db_is_conditional(const struct db_batch *b)
{
	if (b->more)
		return true;
	for (size_t i = b->n_judged; i < b->statements.n; i++)
		if (db_statement(b, i)->demands)
			return true;
	return false;
}

void db_check(struct db_batch *b, const struct db_statement *s)
{
	if (s->demands && s->touched != s->demand)
		db_give_up(b, -ESTALE);
}

int db_judge(struct db_batch *b)
{
	do {
		b->n_judged = b->statements.n;
		if (b->r == 0 && b->more)
			take_ptr(b->more)(b, b->more_cookie);
	} while (b->r == 0 && b->more && b->n_judged == b->statements.n);
	return b->r < 0 ? b->r : b->n_judged < b->statements.n;
}

static void word(int r, struct fail *f)
{
	switch (r) {
	case -ESTALE:
		fail_set(f, FAIL_CONFLICT,
			 "somebody else changed it first; nothing was stored");
		fail_hint(f, "Look at its state as it is now, and try again if need be.");
		break;
	case -ERANGE:
		fail_set(f, FAIL_INTERNAL, "a number is too large for the database");
		break;
	case -ECANCELED:
		fail_set(f, FAIL_UNREACHABLE, "the database was closed");
		break;
	case -ENOMEM:
		fail_set(f, FAIL_INTERNAL, "out of memory");
		break;
	default:
		fail_set(f, FAIL_INTERNAL, "%s", strerror(-r));
		break;
	}
}

/* Not the engine's doing: what was asked for cannot be, or not any more. */
static bool is_refusal(int r)
{
	return r == -ESTALE || r == -EEXIST || r == -EINVAL || r == -ERANGE || r == -ECANCELED;
}

static void tell_written(struct db *d, const struct db_batch *b, int r, const struct fail *fail)
{
	bool changes = false, stored = false;

	for (size_t i = 0; i < b->statements.n; i++) {
		const struct db_statement *s = db_statement(b, i);
		bool asks = strncmp(s->sql, "SELECT", 6) == 0;

		changes = changes || !asks;
		stored = stored || (!asks && s->touched > 0);
	}
	if (d->on_written && (r < 0 ? changes && !is_refusal(r) : stored))
		d->on_written(r, fail, d->on_written_cookie);
}

void db_finish(struct db *d, int r, const struct fail *fail)
{
	struct db_batch *b = STAILQ_FIRST(&d->queue);
	struct fail f = {0};

	STAILQ_REMOVE_HEAD(&d->queue, next);
	if (r < 0 && fail && fail->message[0])
		f = *fail;
	else if (r < 0)
		word(r, &f);
	tell_written(d, b, r, &f);
	b->done(b, r, &f, b->done_cookie);
}

/* ---- life ------------------------------------------------------------------------ */

bool db_names_server(const char *where)
{
	return strncmp(where, "postgresql://", 13) == 0 ||
	       strncmp(where, "postgres://", 11) == 0;
}

int db_open(const struct db_opts *opts, struct db **ret_db, struct fail *reterr_fail)
{
	AUTO(db_freep) struct db *d = calloc(1, sizeof(*d));
	const struct db_driver *driver = db_names_server(opts->where) ? &db_pg : &db_sqlite;
	int r;

	if (!d)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	STAILQ_INIT(&d->queue);
	d->where = strdup(opts->where);
	if (!d->where)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	d->opts = *opts;
	d->opts.where = d->where;
	if (!d->opts.statement_ms)
		d->opts.statement_ms = DB_STATEMENT_MS;
	if (!d->opts.answer_ms)
		d->opts.answer_ms = DB_ANSWER_MS;
	d->driver = driver;
	r = driver->open(d, reterr_fail);
	if (r < 0)
		return r;
	*ret_db = take_ptr(d);
	return 0;
}

struct db *db_free(struct db *d)
{
	if (!d)
		return NULL;
	d->on_want = NULL;
	while (!STAILQ_EMPTY(&d->queue))
		db_finish(d, -ECANCELED, NULL);
	if (d->driver)
		d->driver->close(d);
	free(d->where);
	free(d);
	return NULL;
}

bool db_is_file(const struct db *d)
{
	return d->driver == &db_sqlite;
}

int db_state(const struct db *d, struct fail *reterr_fail)
{
	return d->driver->state(d, reterr_fail);
}

void db_want(struct db *d, uint64_t now_ms, struct db_want *ret_want)
{
	*ret_want = (struct db_want){.fd = -1, .timeout_ms = -1};
	d->driver->want(d, now_ms, ret_want);
}

void db_process(struct db *d, uint64_t now_ms)
{
	d->driver->process(d, now_ms);
}

void db_on_want(struct db *d, void (*fn)(void *cookie), void *cookie)
{
	d->on_want = fn;
	d->on_want_cookie = cookie;
}

void db_on_written(struct db *d, void (*fn)(int r, const struct fail *fail, void *cookie),
		   void *cookie)
{
	d->on_written = fn;
	d->on_written_cookie = cookie;
}

void db_on_wake(struct db *d, void (*fn)(const char *topic, void *cookie), void *cookie)
{
	d->on_wake = fn;
	d->on_wake_cookie = cookie;
}

void db_submit(struct db *d, struct db_batch *b, db_done_fn done, void *cookie)
{
	b->done = done;
	b->done_cookie = cookie;
	STAILQ_INSERT_TAIL(&d->queue, b, next);
	if (d->on_want)
		d->on_want(d->on_want_cookie);
}

void db_turn(struct db *d, int wait_ms)
{
	struct db_want want;
	struct pollfd p;

	db_want(d, clock_up_ms(), &want);
	p = (struct pollfd){.fd = want.fd, .events = want.events};
	if (want.timeout_ms >= 0 && (wait_ms < 0 || want.timeout_ms < wait_ms))
		wait_ms = want.timeout_ms;
	poll(&p, 1, wait_ms);
	db_process(d, clock_up_ms());
}

struct answer {
	bool done;
	int r;
	struct fail *fail;
};

static void on_answer(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	struct answer *a = cookie;

	(void)b;
	a->done = true;
	a->r = r;
	if (r < 0 && a->fail)
		*a->fail = *fail;
}

int db_run(struct db *d, struct db_batch *b, struct fail *reterr_fail)
{
	struct answer a = {.fail = reterr_fail};

	db_submit(d, b, on_answer, &a);
	while (!a.done)
		db_turn(d, -1);
	return a.r;
}

/* ---- what came back ---------------------------------------------------------------- */

size_t db_n_statements(const struct db_batch *b)
{
	return b->statements.n;
}

uint64_t db_touched(const struct db_batch *b, size_t statement)
{
	return statement < b->statements.n ? db_statement(b, statement)->touched : 0;
}

size_t db_n_rows(const struct db_batch *b, size_t statement)
{
	const struct db_statement *s;

	if (statement >= b->statements.n)
		return 0;
	s = db_statement(b, statement);
	return s->n_result_columns ? s->cells.n / s->n_result_columns : 0;
}

struct db_row db_get(const struct db_batch *b, size_t statement, size_t row)
{
	return (struct db_row){
		.batch = b,
		.statement = statement,
		.first = row * db_statement(b, statement)->n_result_columns,
	};
}

static const struct db_value *cell(struct db_row row, size_t column)
{
	static const struct db_value nothing;
	const struct db_statement *s = db_statement(row.batch, row.statement);

	if (column >= s->n_result_columns || row.first + column >= s->cells.n)
		return &nothing;
	return (const struct db_value *)s->cells.items + row.first + column;
}

bool db_is_null(struct db_row row, size_t column)
{
	return cell(row, column)->type == 0;
}

uint64_t db_u64(struct db_row row, size_t column)
{
	return cell(row, column)->u;
}

const void *db_blob(struct db_row row, size_t column, size_t *ret_len)
{
	const struct db_value *v = cell(row, column);
	const struct db_statement *s = db_statement(row.batch, row.statement);

	*ret_len = v->len;
	return v->type == 's' || v->type == 'b' ? (const uint8_t *)s->bytes.items + v->at
						: (const void *)"";
}

const char *db_text(struct db_row row, size_t column)
{
	size_t len;

	return db_blob(row, column, &len);
}

/* ---- from one database to another ---------------------------------------------------- */

void db_row_from(struct db_batch *b, struct db_row row)
{
	for (size_t i = 0; b->r == 0 && i < last(b)->n_columns; i++) {
		const struct db_value *v = cell(row, i);
		size_t len;
		const void *p = db_blob(row, i, &len);

		put_value(b, last(b)->fmt[i], v->u, v->type == 's' || v->type == 'b' ? p : NULL,
			  len);
	}
}

void db_add_from(struct db_batch *b, const char *sql, const char *fmt, struct db_row row)
{
	add(b, sql, fmt, false);
	db_row_from(b, row);
}
