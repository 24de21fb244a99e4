// SPDX-License-Identifier: BSD-2-Clause
/*
 * A connection's life, which begins anew by itself:
 *
 *	AWAY -> NAMING -> CONNECTING -> LOOKING -> SETTLING -> READY
 *	  ^                               |  ^                   |  ^
 *	  |                               v  |                   v  |
 *	  |                      LOCKING -> MIGRATING   RUNNING -> COMMITTING
 *	  |                                                |       |
 *	  `---- from anywhere                              v       v
 *	                                                  ROLLING_BACK -> READY
 *
 * Of several hosts (db_places.h) the next is tried at once, and all again after a while.
 * A batch is BEGIN, its statements and, if nothing has to be looked at in between, COMMIT:
 * all sent at once (pipeline mode), so that it takes one round trip.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "store/db_places.h"
#include "store/db_private.h"

/* Object ids of PostgreSQL's types (pg_type.dat). */
#define OID_BOOL	16
#define OID_BYTEA	17
#define OID_INT8	20
#define OID_INT4	23
#define OID_TEXT	25
#define OID_VOID	2278
#define OID_BYTEA_ARRAY 1001
#define OID_TEXT_ARRAY	1009
#define OID_INT8_ARRAY	1016

enum pg_state {
	PG_AWAY,
	PG_NAMING, /* a host's name is looked up */
	PG_CONNECTING,
	PG_LOOKING,   /* which schema there is */
	PG_LOCKING,   /* nobody else migrates meanwhile */
	PG_MIGRATING, /* one step of the schema */
	PG_SETTLING,  /* settings of the session */
	PG_READY,
	PG_RUNNING,    /* statements, and then something is decided */
	PG_COMMITTING, /* COMMIT is on its way: from now on a loss leaves doubt */
	PG_ROLLING_BACK,
};

/* What an answer belongs to: the number of a statement, or one of these. */
enum { PG_BEGIN = -1, PG_COMMIT = -2, PG_ROLLBACK = -3, PG_SYNC = -4, PG_NOTIFY = -5 };

struct engine {
	struct db *d;
	struct db_places *places;
	PGconn *conn;
	enum pg_state state;
	PostgresPollingStatusType polling;
	uint64_t now_ms;
	uint64_t deadline_ms; /* NAMING to SETTLING: given up */
	uint64_t retry_at_ms; /* AWAY: the next try */
	uint64_t retry_ms;
	bool flushing; /* the socket did not take everything */

	/* What the connection, or the batch that is under way, came to. */
	int r;
	struct fail fail;
	char words[512]; /* the server's own */
	bool gone;	 /* the server said that it ends this connection */
	/* The schema */
	bool has_version;
	uint64_t version;
	/* The batch that is under way */
	bool committed;		  /* the server has said so */
	bool synced;		  /* after an error the server skips all up to a sync */
	struct db_table expected; /* int */
	size_t n_answered;
};

/* ---- errors ---------------------------------------------------------------------- */

static int errno_of_state(const char *state)
{
	static const struct {
		const char *prefix; /* of SQLSTATE, PostgreSQL's appendix A */
		int r;
	} states[] = {
		{"08", -ENOTCONN},   {"57P0", -ENOTCONN}, {"25006", -ENOTCONN},
		{"40", -EBUSY},	     {"55P03", -EBUSY},	  {"57014", -EBUSY},
		{"23505", -EEXIST},  {"23", -EINVAL},	  {"22", -EINVAL},
		{"P0001", -EINVAL},  {"53100", -ENOSPC},  {"53200", -ENOMEM},
		{"53300", -EBUSY},   {"42501", -EACCES},  {"28", -EACCES},
		{"42", -EUCLEAN},    {"XX001", -EUCLEAN}, {"XX002", -EUCLEAN},
		{"3D000", -EUCLEAN}, {"3F000", -EUCLEAN},
	};

	for (size_t i = 0; state && i < ARRAY_SIZE(states); i++)
		if (strncmp(state, states[i].prefix, strlen(states[i].prefix)) == 0)
			return states[i].r;
	return -EIO;
}

/* r with the server's own words; hints say what an operator can do about it. */
static int set_fail(struct engine *e, int r, const char *words)
{
	const char *name = db_places_name(e->places);
	struct fail *f = &e->fail;

	if (words != e->words)
		snprintf(e->words, sizeof(e->words), "%s", words);
	switch (r) {
	case -ENOTCONN:
	case -EHOSTUNREACH:
		fail_set(f, FAIL_UNREACHABLE, "PostgreSQL %s: out of reach (%s)", name, words);
		fail_hint(f,
			  "Hosts go on as they are. It is tried again without end; look at the "
			  "server, its log and the network.");
		break;
	case -ECONNABORTED:
		fail_set(f, FAIL_UNREACHABLE,
			 "PostgreSQL %s: lost during a commit, which may have happened (%s)",
			 name, words);
		fail_hint(f, "What is stored has to be read again.");
		break;
	case -EBUSY:
		fail_set(f, FAIL_CONFLICT, "PostgreSQL %s: busy (%s)", name, words);
		fail_hint(f, "Try again.");
		break;
	case -EEXIST:
	case -EINVAL:
		fail_set(f, FAIL_INTERNAL, "PostgreSQL %s: refused by its own rules (%s)", name,
			 words);
		break;
	case -EPROTO:
		fail_set(f, FAIL_STORAGE,
			 "PostgreSQL %s: written by a newer version (schema %s, this one knows "
			 "%zu)",
			 name, words, e->d->opts.schema->n);
		fail_hint(f, "Install the newer version again. Nothing was changed.");
		break;
	case -ENOSPC:
		fail_set(f, FAIL_STORAGE,
			 "PostgreSQL %s: no space left; nothing was stored (%s)", name, words);
		fail_hint(f, "Free space on the server.");
		break;
	case -EACCES:
		fail_set(f, FAIL_STORAGE, "PostgreSQL %s: permission denied (%s)", name, words);
		fail_hint(f, "Look at pg_hba.conf, and at what the role may do.");
		break;
	case -EUCLEAN:
		fail_set(f, FAIL_STORAGE, "PostgreSQL %s: damaged, or not ours (%s)", name,
			 words);
		fail_hint(f,
			  "Is this the right database? Otherwise put a backup in its place.");
		break;
	case -ENOMEM:
		fail_set(f, FAIL_INTERNAL, "PostgreSQL %s: out of memory (%s)", name, words);
		break;
	default:
		fail_set(f, FAIL_STORAGE, "PostgreSQL %s: %s", name, words);
		fail_hint(f, "See the server's log.");
		break;
	}
	e->r = r;
	return r;
}

/* The first failure of a batch counts. */
static void note_result(struct engine *e, const PGresult *res)
{
	const char *words = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	int r = PQstatus(e->conn) == CONNECTION_BAD ? -ENOTCONN : errno_of_state(state);

	if (r == -ENOTCONN)
		e->gone = true;
	if (e->r == 0)
		set_fail(e, r, words ? words : PQresultErrorMessage(res));
}

static bool reads_only(const struct db_batch *b)
{
	for (size_t i = 0; i < b->statements.n; i++)
		if (strncmp(db_statement(b, i)->sql, "SELECT", 6) != 0)
			return false;
	return true;
}

static void enter(struct engine *e, enum pg_state next)
{
	e->state = next;
	e->deadline_ms =
		e->now_ms + (next <= PG_CONNECTING ? DB_CONNECT_MS : e->d->opts.answer_ms);
}

/* The longer the less often, until a batch has been answered. */
static void put_off(struct engine *e)
{
	e->retry_at_ms =
		e->now_ms + e->retry_ms / 2 + arc4random_uniform((uint32_t)e->retry_ms / 2 + 1);
	e->retry_ms = e->retry_ms * 2 < DB_RETRY_MAX_MS ? e->retry_ms * 2 : DB_RETRY_MAX_MS;
}

/* The next place at once; when none of them is any good, all again after a while. */
static void blame(struct engine *e)
{
	char words[sizeof(e->words)];

	if (db_places_next(e->places, e->words))
		e->retry_at_ms = e->now_ms;
	else
		put_off(e);
	if (e->r != -EHOSTUNREACH && e->r != -ENOTCONN)
		return;
	db_places_why(e->places, words, sizeof(words));
	set_fail(e, e->r, words);
}

/* The connection is no more; the batch that was under way ends with it. */
static void lose(struct engine *e, const char *words)
{
	struct db_batch *b = STAILQ_FIRST(&e->d->queue);
	enum pg_state was = e->state;

	if (was >= PG_READY || e->r == 0)
		set_fail(e, -EHOSTUNREACH, words); /* before they go with the connection */
	PQfinish(take_ptr(e->conn));
	e->expected.n = e->n_answered = 0;
	e->flushing = false;
	e->gone = false;
	if (was >= PG_READY)
		put_off(e);
	else
		blame(e);
	enter(e, PG_AWAY);
	if (was > PG_READY) {
		int r = was == PG_COMMITTING && !reads_only(b) ? -ECONNABORTED : -ENOTCONN;
		struct fail f;

		set_fail(e, r, e->words);
		f = e->fail;
		set_fail(e, -EHOSTUNREACH, e->words);
		db_finish(e->d, r, &f);
	}
}

/* ---- asking ------------------------------------------------------------------------ */

static int expect(struct engine *e, int what)
{
	int *room = db_grow(&e->expected, 1, sizeof(what));

	if (!room)
		return -ENOMEM;
	*room = what;
	e->expected.n++;
	return 0;
}

static int send_plain(struct engine *e, const char *sql, int what)
{
	int r = expect(e, what);

	if (r == 0 && !PQsendQueryParams(e->conn, sql, 0, NULL, NULL, NULL, NULL, 1))
		r = -ENOTCONN;
	return r;
}

static int send_sync(struct engine *e)
{
	int r = expect(e, PG_SYNC);

	if (r == 0 && !PQpipelineSync(e->conn))
		r = -ENOTCONN;
	e->synced = true;
	return r;
}

static uint8_t *put(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static Oid oid_of(char type, bool array)
{
	if (type == 'u')
		return array ? OID_INT8_ARRAY : OID_INT8;
	if (type == 's')
		return array ? OID_TEXT_ARRAY : OID_TEXT;
	return array ? OID_BYTEA_ARRAY : OID_BYTEA;
}

static size_t wire_len(const struct db_value *v)
{
	return v->type == 'u' ? 8 : v->type ? v->len : 0;
}

static uint8_t *put_value(uint8_t *p, const struct db_batch *b, const struct db_value *v)
{
	if (v->type == 'u')
		return put(p, v->u, 8);
	memcpy(p, db_bytes(b, v), v->len);
	return p + v->len;
}

/* A column of a table of values, as array_send() of the server would write it. */
static uint8_t *column_array(const struct db_batch *b, const struct db_statement *s,
			     size_t column, size_t *ret_len)
{
	size_t rows = s->n_values / s->n_columns, len = 20;
	uint8_t *buf, *p;

	for (size_t i = 0; i < rows; i++)
		len += 4 + wire_len(db_value(b, s->first_value + i * s->n_columns + column));
	buf = malloc(len);
	if (!buf)
		return NULL;
	p = put(buf, 1, 4);			      /* dimensions */
	p = put(p, 1, 4);			      /* there may be NULLs */
	p = put(p, oid_of(s->fmt[column], false), 4); /* of what */
	p = put(p, rows, 4);
	p = put(p, 1, 4); /* the first one's number */
	for (size_t i = 0; i < rows; i++) {
		const struct db_value *v =
			db_value(b, s->first_value + i * s->n_columns + column);

		p = put(p, v->type ? wire_len(v) : UINT32_MAX, 4);
		if (v->type)
			p = put_value(p, b, v);
	}
	*ret_len = len;
	return buf;
}

static uint8_t *single(const struct db_batch *b, const struct db_value *v, size_t *ret_len)
{
	uint8_t *buf = malloc(wire_len(v) + 1);

	if (buf)
		put_value(buf, b, v);
	*ret_len = wire_len(v);
	return buf;
}

/* A table of values is as many arrays as it has columns. */
static char *expanded(const struct db_statement *s)
{
	const char *mark = strstr(s->sql, "%v");
	char *sql = NULL;
	size_t len;
	FILE *out = mark ? open_memstream(&sql, &len) : NULL;

	if (!out)
		return NULL;
	fprintf(out, "%.*s(SELECT * FROM unnest(", (int)(mark - s->sql), s->sql);
	for (size_t i = 1; i <= s->n_columns; i++)
		fprintf(out, "%s$%zu", i > 1 ? ", " : "", i);
	fprintf(out, ") AS t(");
	for (size_t i = 1; i <= s->n_columns; i++)
		fprintf(out, "%scolumn%zu", i > 1 ? ", " : "", i);
	fprintf(out, "))%s", mark + 2);
	if (fclose(out) != 0) {
		free(sql);
		return NULL;
	}
	return sql;
}

static int send_values(struct engine *e, const struct db_batch *b, const struct db_statement *s,
		       const char *sql)
{
	size_t n = s->n_columns;
	uint8_t *values[n + 1];
	int lens[n + 1], formats[n + 1], r = 0;
	Oid types[n + 1];

	for (size_t i = 0; i < n; i++) {
		const struct db_value *v = db_value(b, s->first_value + i);
		size_t len = 0;

		values[i] = NULL;
		if (s->many)
			values[i] = column_array(b, s, i, &len);
		else if (v->type)
			values[i] = single(b, v, &len);
		if (!values[i] && (s->many || v->type))
			r = -ENOMEM;
		types[i] = oid_of(s->fmt[i], s->many);
		lens[i] = (int)len;
		formats[i] = 1;
	}
	if (r == 0 && !PQsendQueryParams(e->conn, sql, (int)n, types,
					 (const char *const *)values, lens, formats, 1))
		r = -ENOTCONN;
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	return r;
}

static int send_statement(struct engine *e, const struct db_batch *b, size_t i)
{
	const struct db_statement *s = db_statement(b, i);
	AUTO_FREE char *sql = NULL;
	int r;

	if (s->many && s->n_values == 0)
		return 0;
	if (s->many) {
		sql = expanded(s);
		if (!sql)
			return -ENOMEM;
	}
	r = expect(e, (int)i);
	return r < 0 ? r : send_values(e, b, s, sql ? sql : s->sql);
}

static int send_wakes(struct engine *e, const struct db_batch *b)
{
	const char *topic = b->topics.items;
	int r = 0;

	for (size_t at = 0; r == 0 && at < b->topics.n; at += strlen(topic + at) + 1) {
		const char *value = topic + at;

		r = expect(e, PG_NOTIFY);
		if (r == 0 &&
		    !PQsendQueryParams(e->conn, "SELECT pg_notify('" DB_CHANNEL "', $1)", 1,
				       &(Oid){OID_TEXT}, &value, NULL, NULL, 1))
			r = -ENOTCONN;
	}
	return r;
}

static int send_commit(struct engine *e, const struct db_batch *b)
{
	int r = send_wakes(e, b);

	if (r == 0)
		r = send_plain(e, "COMMIT", PG_COMMIT);
	if (r == 0)
		r = send_sync(e);
	enter(e, PG_COMMITTING);
	return r;
}

/* What the batch has and has not run; and its end, if nothing is to be decided before. */
static int send_round(struct engine *e, struct db_batch *b)
{
	int r = 0;

	b->deadline_ms = e->now_ms + e->d->opts.answer_ms;
	for (size_t i = b->n_judged; r == 0 && i < b->statements.n; i++)
		r = send_statement(e, b, i);
	if (r < 0)
		return r;
	if (!db_is_conditional(b))
		return send_commit(e, b);
	enter(e, PG_RUNNING);
	return PQsendFlushRequest(e->conn) ? 0 : -ENOTCONN;
}

static int roll_back(struct engine *e)
{
	int r = e->synced ? 0 : send_sync(e);

	if (r == 0)
		r = send_plain(e, "ROLLBACK", PG_ROLLBACK);
	if (r == 0)
		r = send_sync(e);
	enter(e, PG_ROLLING_BACK);
	return r;
}

/* An own failure to ask: the connection is in a state that nobody knows. */
static void check_sent(struct engine *e, int r)
{
	if (r == -ENOMEM)
		lose(e, "out of memory");
	else if (r < 0)
		lose(e, PQerrorMessage(e->conn));
}

static void start(struct engine *e)
{
	struct db_batch *b = STAILQ_FIRST(&e->d->queue);
	int r;

	if (b->r < 0) {
		db_finish(e->d, b->r, NULL);
		return;
	}
	e->r = 0;
	e->expected.n = e->n_answered = 0;
	e->synced = e->committed = false;
	e->state = PG_RUNNING;
	r = send_plain(e, "BEGIN", PG_BEGIN);
	if (r == 0)
		r = send_round(e, b);
	check_sent(e, r);
}

/* ---- answers ------------------------------------------------------------------------- */

static uint64_t number(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

static int read_cell(const PGresult *res, int row, int column, struct db_statement *s)
{
	const uint8_t *p = (const uint8_t *)PQgetvalue(res, row, column);
	size_t len = (size_t)PQgetlength(res, row, column);

	if (PQgetisnull(res, row, column))
		return db_cell(s, 0, 0, NULL, 0);
	switch (PQftype(res, column)) {
	case OID_BOOL:
	case OID_INT4:
	case OID_INT8:
		return db_cell(s, 'u', number(p, len), NULL, 0);
	case OID_BYTEA:
		return db_cell(s, 'b', 0, p, len);
	case OID_VOID:
		return db_cell(s, 0, 0, NULL, 0);
	default:
		return db_cell(s, 's', 0, p, len);
	}
}

static int read_rows(PGresult *res, struct db_statement *s)
{
	int rows = PQntuples(res), columns = PQnfields(res), r = 0;

	s->n_result_columns = (size_t)columns;
	s->touched = strtoull(PQcmdTuples(res), NULL, 10);
	for (int i = 0; r == 0 && i < rows; i++)
		for (int k = 0; r == 0 && k < columns; k++)
			r = read_cell(res, i, k, s);
	return r;
}

static void on_answer(struct engine *e, struct db_batch *b, PGresult *res)
{
	int what = ((int *)e->expected.items)[e->n_answered++];

	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_PIPELINE_SYNC || status == PGRES_PIPELINE_ABORTED)
		return;
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		note_result(e, res);
	else if (what >= 0 && read_rows(res, db_statement(b, (size_t)what)) < 0 && e->r == 0)
		set_fail(e, -ENOMEM, "reading an answer");
	else if (what >= 0)
		db_check(b, db_statement(b, (size_t)what));
	else if (what == PG_COMMIT && strcmp(PQcmdStatus(res), "COMMIT") == 0)
		e->committed = true;
	else if (what == PG_COMMIT && e->r == 0)
		set_fail(e, -EIO, "the server rolled back");
}

static void finish(struct engine *e)
{
	int r = e->r;
	struct fail f = e->fail;

	enter(e, PG_READY);
	e->retry_ms = DB_RETRY_MIN_MS;
	e->r = 0;
	db_finish(e->d, r, &f);
}

/* Every answer to what was sent is in. */
static void on_round(struct engine *e, struct db_batch *b)
{
	int r;

	if (e->gone) {
		if (!e->committed)
			e->state = PG_RUNNING; /* no doubt: a COMMIT was refused as well */
		lose(e, e->words);
		return;
	}
	switch (e->state) {
	case PG_RUNNING:
		r = e->r < 0 && b->r == 0 ? e->r : db_judge(b);
		if (r < 0 && r != e->r) {
			e->r = r;
			e->fail.message[0] = 0; /* db.c has words for what is its own */
		}
		check_sent(e, r > 0    ? send_round(e, b)
			      : r == 0 ? send_commit(e, b)
				       : roll_back(e));
		break;
	case PG_COMMITTING:
		if (e->r < 0 && PQtransactionStatus(e->conn) != PQTRANS_IDLE)
			check_sent(e, roll_back(e));
		else
			finish(e);
		break;
	case PG_ROLLING_BACK:
		finish(e);
		break;
	case PG_AWAY:
	case PG_NAMING:
	case PG_CONNECTING:
	case PG_LOOKING:
	case PG_LOCKING:
	case PG_MIGRATING:
	case PG_SETTLING:
	case PG_READY:
		break;
	}
}

/* Of the batch under way; false: for now there is nothing to read. */
static bool read_answer(struct engine *e)
{
	struct db_batch *b = STAILQ_FIRST(&e->d->queue);
	PGresult *res;

	if (e->n_answered < e->expected.n) {
		res = PQgetResult(e->conn);
		if (!res)
			return !PQisBusy(e->conn) && PQstatus(e->conn) == CONNECTION_OK;
		on_answer(e, b, res);
		PQclear(res);
		if (PQstatus(e->conn) == CONNECTION_BAD) {
			lose(e, e->words);
			return false;
		}
	}
	if (e->n_answered == e->expected.n)
		on_round(e, b);
	return true;
}

/* ---- connecting, and the schema ---------------------------------------------------------- */

/* An administrator's notices are his log's business. */
static void on_notice(void *cookie, const PGresult *res)
{
	(void)cookie, (void)res;
}

/* What the connection string says has the last word. */
static const char *const defaults[][2] = {
	{"client_encoding", "UTF8"},   {"keepalives_idle", "10"},
	{"keepalives_interval", "5"},  {"keepalives_count", "3"},
	{"tcp_user_timeout", "15000"}, {"target_session_attrs", "read-write"},
};

static void connect_to(struct engine *e, struct db_params *params)
{
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		db_params_add(params, defaults[i][0], defaults[i][1]);
	db_params_add(params, "fallback_application_name", e->d->opts.schema->program);
	e->conn = PQconnectStartParams(params->key, params->value, 0);
	enter(e, PG_CONNECTING);
	e->polling = PGRES_POLLING_WRITING;
	if (!e->conn)
		lose(e, "out of memory");
	else if (PQstatus(e->conn) == CONNECTION_BAD)
		lose(e, PQerrorMessage(e->conn));
	else
		PQsetNoticeReceiver(e->conn, on_notice, NULL);
}

static void find(struct engine *e)
{
	struct db_params params;
	const char *words = "out of memory";
	int r = db_places_here(e->places, &params, &words);

	if (e->state == PG_AWAY) {
		e->r = 0;
		enter(e, PG_NAMING);
	}
	if (r == 0)
		connect_to(e, &params);
	else if (r != -EAGAIN)
		lose(e, words);
}

static void ask(struct engine *e, enum pg_state next, const char *sql)
{
	enter(e, next);
	if (!PQsendQuery(e->conn, sql))
		lose(e, PQerrorMessage(e->conn));
}

static void look(struct engine *e)
{
	e->has_version = false;
	ask(e, PG_LOOKING, "SELECT version, application_id FROM hotfix_schema");
}

static bool is_ready(const PGconn *conn, short events)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = events};

	return poll(&p, 1, 0) > 0;
}

static short connecting_events(const struct engine *e)
{
	return e->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
}

static void on_connecting(struct engine *e)
{
	if (!is_ready(e->conn, connecting_events(e))) /* libpq trusts that it is */
		return;
	e->polling = PQconnectPoll(e->conn);
	if (e->polling == PGRES_POLLING_FAILED) {
		lose(e, PQerrorMessage(e->conn));
	} else if (e->polling == PGRES_POLLING_OK) {
		const char *encoding = PQparameterStatus(e->conn, "server_encoding");

		PQsetnonblocking(e->conn, 1);
		if (!encoding || strcmp(encoding, "UTF8") != 0) {
			set_fail(e, -EUCLEAN, "its encoding is not UTF8");
			lose(e, "");
		} else {
			look(e);
		}
	}
}

static void settle(struct engine *e)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		 "SET statement_timeout = %" PRIu32 "; SET lock_timeout = %" PRIu32
		 "; SET idle_in_transaction_session_timeout = %" PRIu32
		 "; SET default_transaction_isolation = 'read committed'; LISTEN " DB_CHANNEL,
		 e->d->opts.statement_ms, e->d->opts.statement_ms, e->d->opts.answer_ms);
	ask(e, PG_SETTLING, sql);
}

/* One who migrates at a time; whoever comes second finds it done. */
static void lock_schema(struct engine *e)
{
	char sql[512];

	snprintf(
		sql, sizeof(sql),
		"BEGIN; SELECT pg_advisory_xact_lock(%" PRId32 ");"
		"CREATE TABLE IF NOT EXISTS hotfix_schema(one BIGINT PRIMARY KEY CHECK(one = 1),"
		" version BIGINT NOT NULL, application_id BIGINT NOT NULL);"
		"INSERT INTO hotfix_schema VALUES(1, 0, %" PRId32 ") ON CONFLICT DO NOTHING;"
		"SELECT version, application_id FROM hotfix_schema",
		e->d->opts.schema->application_id, e->d->opts.schema->application_id);
	ask(e, PG_LOCKING, sql);
}

static void migrate(struct engine *e)
{
	const struct db_schema *schema = e->d->opts.schema;
	AUTO_FREE char *sql = NULL;

	if (e->version >= schema->n) {
		ask(e, PG_MIGRATING, "COMMIT");
		return;
	}
	if (asprintf(&sql, "%s; UPDATE hotfix_schema SET version = %" PRIu64 "; COMMIT",
		     schema->postgres[e->version], e->version + 1) < 0)
		lose(e, "out of memory");
	else
		ask(e, PG_MIGRATING, sql);
}

/* A version that is not ours to work with ends the attempt. */
static bool version_fits(struct engine *e)
{
	char words[32];

	if (e->version <= e->d->opts.schema->n)
		return true;
	snprintf(words, sizeof(words), "%" PRIu64, e->version);
	set_fail(e, -EPROTO, words);
	lose(e, "");
	return false;
}

/* Settings and schema: one text of statements has been carried out, or failed. */
static void on_asked(struct engine *e)
{
	bool no_schema = e->state == PG_LOOKING && !e->has_version && e->r == -EUCLEAN;

	if (e->r < 0 && !no_schema) {
		lose(e, "");
		return;
	}
	e->r = 0;
	switch (e->state) {
	case PG_LOOKING:
		if (!version_fits(e))
			break;
		if (!no_schema && e->version == e->d->opts.schema->n)
			settle(e);
		else
			lock_schema(e);
		break;
	case PG_LOCKING:
		if (version_fits(e))
			migrate(e);
		break;
	case PG_MIGRATING:
		look(e);
		break;
	case PG_SETTLING:
		db_places_stay(e->places);
		enter(e, PG_READY);
		if (!PQenterPipelineMode(e->conn))
			lose(e, PQerrorMessage(e->conn));
		else if (e->d->on_wake)
			e->d->on_wake("", e->d->on_wake_cookie);
		break;
	case PG_AWAY:
	case PG_NAMING:
	case PG_CONNECTING:
	case PG_READY:
	case PG_RUNNING:
	case PG_COMMITTING:
	case PG_ROLLING_BACK:
		break;
	}
}

static void on_version(struct engine *e, const PGresult *res)
{
	e->has_version = true;
	e->version = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	if (strtol(PQgetvalue(res, 0, 1), NULL, 10) != e->d->opts.schema->application_id)
		set_fail(e, -EUCLEAN, "a schema of another program");
}

static void read_setup(struct engine *e)
{
	PGresult *res = PQgetResult(e->conn);
	ExecStatusType status;

	if (!res) {
		on_asked(e);
		return;
	}
	status = PQresultStatus(res);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		note_result(e, res);
	else if (PQntuples(res) == 1 && PQnfields(res) == 2)
		on_version(e, res);
	PQclear(res);
}

/* ---- the driver ---------------------------------------------------------------------------- */

static void read_notices(struct engine *e)
{
	PGnotify *n;

	while (e->conn && (n = PQnotifies(e->conn))) {
		if (e->d->on_wake)
			e->d->on_wake(n->extra, e->d->on_wake_cookie);
		PQfreemem(n);
	}
}

static void converse(struct engine *e)
{
	bool more = true;

	/* A connection that has ended behind its last words is not asked anything any more. */
	do {
		if (!PQconsumeInput(e->conn)) {
			lose(e, PQerrorMessage(e->conn));
			return;
		}
	} while (e->state == PG_READY && is_ready(e->conn, POLLIN));
	while (more && e->conn) {
		if (e->state == PG_READY && !STAILQ_EMPTY(&e->d->queue))
			start(e);
		if (!e->conn || e->state == PG_READY || PQisBusy(e->conn))
			more = false;
		else if (e->state < PG_READY)
			read_setup(e);
		else
			more = read_answer(e);
	}
	read_notices(e);
	if (e->conn) {
		int r = PQflush(e->conn);

		e->flushing = r > 0;
		if (r < 0)
			lose(e, PQerrorMessage(e->conn));
	}
}

/* Time limits: of the way to the server, of an answer, and of what waits for either. */
static void expire(struct engine *e)
{
	struct db_batch *b;
	bool hopeless;

	if (e->state > PG_AWAY && e->state < PG_READY && e->now_ms >= e->deadline_ms)
		lose(e, e->state == PG_NAMING	    ? "no answer to where that is"
			: e->state == PG_CONNECTING ? "no answer while connecting"
						    : "no answer to its first question");
	b = STAILQ_FIRST(&e->d->queue);
	if (e->state > PG_READY && e->now_ms >= b->deadline_ms)
		lose(e, "no answer");
	if (e->state >= PG_READY)
		return;
	/* What time alone will not mend is told at once. */
	hopeless = e->state == PG_AWAY && e->retry_at_ms > e->now_ms &&
		   (e->r == -EPROTO || e->r == -EACCES || e->r == -EUCLEAN);
	while ((b = STAILQ_FIRST(&e->d->queue)) && (hopeless || e->now_ms >= b->deadline_ms)) {
		struct fail f = e->fail;

		db_finish(e->d, hopeless ? e->r : -EHOSTUNREACH, &f);
	}
}

static void pg_process(struct db *d, uint64_t now_ms)
{
	struct engine *e = d->engine;
	struct db_batch *b;

	e->now_ms = now_ms;
	STAILQ_FOREACH(b, &d->queue, next)
	if (!b->deadline_ms)
		b->deadline_ms = now_ms + d->opts.answer_ms;
	if ((e->state == PG_AWAY && now_ms >= e->retry_at_ms) || e->state == PG_NAMING)
		find(e);
	if (e->state == PG_CONNECTING)
		on_connecting(e);
	if (e->state > PG_CONNECTING)
		converse(e);
	expire(e);
}

static void pg_want(struct db *d, uint64_t now_ms, struct db_want *ret_want)
{
	const struct engine *e = d->engine;
	const struct db_batch *b = STAILQ_FIRST(&d->queue);
	uint64_t until = UINT64_MAX;

	if (b && (e->state == PG_READY || !b->deadline_ms))
		until = now_ms;
	else if (b)
		until = b->deadline_ms;
	if (e->state == PG_AWAY && e->retry_at_ms < until)
		until = e->retry_at_ms;
	if (e->state > PG_AWAY && e->state < PG_READY && e->deadline_ms < until)
		until = e->deadline_ms;
	if (e->state == PG_NAMING && now_ms + DB_PLACES_POLL_MS < until)
		until = now_ms + DB_PLACES_POLL_MS;
	if (until != UINT64_MAX)
		ret_want->timeout_ms = until <= now_ms		  ? 0
				       : until - now_ms > 3600000 ? 3600000
								  : (int)(until - now_ms);
	if (!e->conn)
		return;
	ret_want->fd = PQsocket(e->conn);
	if (e->state == PG_CONNECTING)
		ret_want->events = connecting_events(e);
	else
		ret_want->events = (short)(POLLIN | (e->flushing ? POLLOUT : 0));
}

static int pg_state(const struct db *d, struct fail *reterr_fail)
{
	const struct engine *e = d->engine;

	if (e->state >= PG_READY)
		return 0;
	if (reterr_fail)
		*reterr_fail = e->fail;
	return e->r < 0 ? e->r : -EHOSTUNREACH;
}

static void pg_close(struct db *d)
{
	struct engine *e = d->engine;

	if (!e)
		return;
	PQfinish(e->conn);
	db_places_free(e->places);
	free(e->expected.items);
	free(e);
}

static int pg_open(struct db *d, struct fail *reterr_fail)
{
	struct engine *e = d->engine = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	e->d = d;
	e->retry_ms = DB_RETRY_MIN_MS;
	r = db_places_new(d->where, &e->places, reterr_fail);
	if (r == 0)
		set_fail(e, -EHOSTUNREACH, "not reached yet");
	return r;
}

const struct db_driver db_pg = {
	.open = pg_open,
	.close = pg_close,
	.state = pg_state,
	.want = pg_want,
	.process = pg_process,
};
