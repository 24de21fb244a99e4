// SPDX-License-Identifier: BSD-2-Clause
/*
 * Batches mean the same on a file and on a server: every case runs on both. What only a server
 * can do to its clients follows below.
 */

#include <poll.h>
#include <sqlite3.h>

#include <dlfcn.h>
#include <netdb.h>

#include "store/db.h"
#include "tests/unit/impostor.h"
#include "tests/unit/pg_group.h"

static bool on_server;
static struct impostor impostor;
static char url[512]; /* of the server; "": its socket */

#define ID 0x54455354

static const char *const sqlite_steps[] = {
	"CREATE TABLE item (name TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK(n >= 0), data BLOB) "
	"STRICT",
	"CREATE TABLE other (n INTEGER PRIMARY KEY) STRICT",
};
static const char *const postgres_steps[] = {
	"CREATE TABLE item (name TEXT COLLATE \"C\" PRIMARY KEY, n BIGINT NOT NULL CHECK(n >= 0), "
	"data BYTEA)",
	"CREATE TABLE other (n BIGINT PRIMARY KEY)",
};
static struct db_schema schema = {
	.program = "test",
	.application_id = ID,
	.sqlite = sqlite_steps,
	.postgres = postgres_steps,
	.n = 2,
};

static const char *where(void)
{
	return !on_server ? unit_path("test.db") : url[0] ? url : pg_url(&pg);
}

static int group_setup(void **state)
{
	char path[128];
	const char *wrong;

	if (pg_group_setup(state) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", pg.folder);
	wrong = impostor_new(&impostor, path);
	if (wrong)
		fprintf(stderr, "impostor: %s\n", wrong);
	return wrong ? -1 : 0;
}

static int group_teardown(void **state)
{
	impostor_free(&impostor);
	return pg_group_teardown(state);
}

static struct db *opened(uint32_t statement_ms, uint32_t answer_ms)
{
	struct db_opts opts = {.where = where(),
			       .schema = &schema,
			       .statement_ms = statement_ms,
			       .answer_ms = answer_ms};
	struct db *d = NULL;
	struct fail f = {0};

	if (db_open(&opts, &d, &f) < 0)
		fail_msg("%s", f.message);
	return d;
}

static struct db *d;

/* The batch that ended last, of those submitted with on_batch(). */
static struct db_batch *ended_batch;
static int ended_r;
static struct fail ended_fail;

/* Behind the program's back. */
static void by_hand(const char *statement)
{
	if (on_server) {
		PGconn *c = PQconnectdb(pg_url(&pg));
		PGresult *res = PQexec(c, "SET client_min_messages = warning");

		PQclear(res);
		res = PQexec(c, statement);
		if (PQresultStatus(res) != PGRES_COMMAND_OK &&
		    PQresultStatus(res) != PGRES_TUPLES_OK)
			fail_msg("%s: %s", statement, PQerrorMessage(c));
		PQclear(res);
		PQfinish(c);
	} else {
		sqlite3 *db;

		assert_int_equal(sqlite3_open(where(), &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
		sqlite3_close(db);
	}
}

static int on_file(void **state)
{
	(void)state;
	on_server = false;
	d = opened(0, 0);
	return 0;
}

static int on_postgres(void **state)
{
	(void)state;
	on_server = true;
	d = opened(0, 0);
	return 0;
}

static int close_it(void **state)
{
	(void)state;
	d = db_free(d);
	ended_batch = NULL;
	url[0] = '\0';
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	if (on_server && !pg_is_up(&pg) && pg_start(&pg))
		return -1;
	if (on_server)
		by_hand("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	unlink(unit_path("test.db"));
	unlink(unit_path("test.db-wal"));
	unlink(unit_path("test.db-shm"));
	return 0;
}

static int run(struct db_batch *b)
{
	struct fail f = {0};
	int r = db_run(d, b, &f);

	if ((r < 0) != (f.message[0] != 0))
		fail_msg("%d: %s", r, f.message);
	if (r < 0)
		print_message("# %d: %s\n", r, f.message);
	return r;
}

static int insert(const char *name, uint64_t n)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();

	db_add(b, "INSERT INTO item(name, n) VALUES ($1, $2)", "su", name, n);
	return run(b);
}

static uint64_t count(void)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();

	db_add(b, "SELECT count(*) FROM item", "");
	assert_ok(run(b));
	return db_u64(db_get(b, 0, 0), 0);
}

static void values_come_back_as_they_went_in(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	static const uint8_t bytes[] = {0, 1, 0xff, 0};
	const uint8_t *p;
	struct db_row row;
	size_t len;

	(void)state;
	db_add(b, "INSERT INTO item VALUES ($1, $2, $3)", "sub", "\xc3\xa4 'x' $1",
	       (uint64_t)INT64_MAX, (const void *)bytes, sizeof(bytes));
	db_add(b, "INSERT INTO item VALUES ($1, $2, $3)", "sub", "", (uint64_t)0, (void *)NULL,
	       (size_t)0);
	db_add(b, "INSERT INTO item VALUES ($2, $1, $3)", "usb", (uint64_t)7, "empty", "",
	       (size_t)0);
	db_add(b, "SELECT name, n, data, $1 AS missing FROM item ORDER BY name", "s",
	       (char *)NULL);
	assert_ok(run(b));
	assert_int_equal(db_touched(b, 0), 1);
	assert_int_equal(db_touched(b, 3), 3);
	assert_int_equal(db_n_rows(b, 3), 3);
	row = db_get(b, 3, 0);
	assert_string_equal(db_text(row, 0), "");
	assert_false(db_is_null(row, 0));
	assert_true(db_is_null(row, 2));
	assert_true(db_is_null(row, 3));
	row = db_get(b, 3, 1);
	assert_string_equal(db_text(row, 0), "empty");
	assert_false(db_is_null(row, 2));
	db_blob(row, 2, &len);
	assert_int_equal(len, 0);
	row = db_get(b, 3, 2);
	assert_string_equal(db_text(row, 0), "\xc3\xa4 'x' $1");
	assert_true(db_u64(row, 1) == INT64_MAX);
	p = db_blob(row, 2, &len);
	assert_int_equal(len, sizeof(bytes));
	assert_memory_equal(p, bytes, len);
	/* Beyond its ends a row is empty. */
	assert_int_equal(db_u64(row, 9), 0);
	assert_string_equal(db_text(row, 9), "");
}

static void a_batch_is_all_or_nothing(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();

	(void)state;
	db_add(b, "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	db_add(b, "INSERT INTO item(name, n) VALUES ('b', $1)", "u", (uint64_t)2);
	db_add(b, "INSERT INTO item(name, n) VALUES ('a', 3)", "");
	db_add(b, "INSERT INTO item(name, n) VALUES ('c', 4)", "");
	assert_int_equal(run(b), -EEXIST);
	assert_int_equal(count(), 0);
	assert_ok(insert("a", 1));
	assert_int_equal(count(), 1);
}

static void rules_of_the_schema_are_told_from_taken_keys(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();

	(void)state;
	assert_ok(insert("a", 1));
	assert_int_equal(insert("a", 1), -EEXIST);
	assert_int_equal(insert(NULL, 1), -EINVAL);
	db_add(b, "INSERT INTO item(name, n) VALUES ('b', 0 - 1)", "");
	assert_int_equal(run(b), -EINVAL);
	assert_int_equal(insert("large", UINT64_MAX), -ERANGE);
	assert_int_equal(count(), 1);
}

static void a_demand_that_is_not_met_rolls_all_back(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new(), *c = db_batch_new();

	(void)state;
	assert_ok(insert("a", 1));
	db_add(b, "INSERT INTO item(name, n) VALUES ('b', 1)", "");
	db_add(b, "UPDATE item SET n = n + 1 WHERE name = 'a' AND n = $1", "u", (uint64_t)5);
	db_demand(b, 1);
	db_add(b, "INSERT INTO item(name, n) VALUES ('c', 1)", "");
	assert_int_equal(run(b), -ESTALE);
	assert_int_equal(count(), 1);
	db_add(c, "UPDATE item SET n = n + 1 WHERE name = 'a' AND n = $1", "u", (uint64_t)1);
	db_demand(c, 1);
	assert_ok(run(c));
}

static void many_rows_are_one_statement(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	char name[16];

	(void)state;
	db_add_rows(
		b,
		"INSERT INTO item(name, n, data) SELECT column1, column2, column3 FROM %v AS v"
		" WHERE true ON CONFLICT(name) DO UPDATE SET n = item.n + excluded.n",
		"sub");
	for (unsigned int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		db_row(b, name, (uint64_t)i, i % 2 ? name : NULL, (size_t)2);
	}
	db_demand(b, 1000);
	db_add_rows(b,
		    "UPDATE item SET n = n + column2 FROM %v AS v WHERE name = column1"
		    " RETURNING n, data",
		    "su");
	db_row(b, "7", (uint64_t)100);
	db_row(b, "none", (uint64_t)1);
	db_row(b, "8", (uint64_t)1000);
	db_add_rows(b, "DELETE FROM item WHERE name IN (SELECT column1 FROM %v AS v)", "s");
	assert_ok(run(b));
	assert_int_equal(db_touched(b, 1), 2);
	assert_int_equal(db_n_rows(b, 1), 2);
	assert_int_equal(db_u64(db_get(b, 1, 0), 0) + db_u64(db_get(b, 1, 1), 0), 7 + 8 + 1100);
	assert_int_equal(db_touched(b, 2), 0);
	assert_int_equal(count(), 1000);
}

static void add_what_was_read(struct db_batch *b, void *cookie)
{
	uint64_t n = db_u64(db_get(b, 0, 0), 0);
	unsigned int *left = cookie;

	if (*left == 99)
		db_give_up(b, -EPERM);
	db_batch_free(db_take(b));
	db_add(b, "UPDATE item SET n = $1 WHERE name = 'a' RETURNING n", "u", n * 2);
	db_demand(b, 1);
	if (--*left)
		db_then(b, add_what_was_read, cookie);
}

static void a_batch_may_go_on_with_what_it_read(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new(), *c = db_batch_new();
	unsigned int left = 3;

	(void)state;
	assert_ok(insert("a", 5));
	db_add(b, "SELECT n FROM item WHERE name = 'a'", "");
	db_then(b, add_what_was_read, &left);
	assert_ok(run(b));
	assert_int_equal(db_u64(db_get(b, 0, 0), 0), 40);
	left = 99;
	db_add(c, "UPDATE item SET n = 1 RETURNING n", "");
	db_then(c, add_what_was_read, &left);
	assert_int_equal(run(c), -EPERM);
}

static unsigned int ended[3], n_ended;

static void on_end(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	(void)fail;
	assert_ok(r);
	ended[n_ended++] = *(unsigned int *)cookie;
	db_batch_free(b);
}

static void batches_run_in_order_and_never_inside_submit(void **state)
{
	static unsigned int numbers[] = {1, 2, 3};

	(void)state;
	n_ended = 0;
	for (int i = 0; i < 3; i++) {
		struct db_batch *b = db_batch_new();

		db_add(b, "INSERT INTO item(name, n) SELECT 'a', 0 WHERE $1 = 1", "u",
		       (uint64_t)numbers[i]);
		db_add(b, "UPDATE item SET n = n + 1 WHERE n = $1", "u", (uint64_t)i);
		db_demand(b, 1);
		db_submit(d, b, on_end, &numbers[i]);
		assert_int_equal(n_ended, 0);
	}
	while (n_ended < 3)
		db_turn(d, -1);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(ended[i], i + 1);
}

static void on_cancelled(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	assert_true(fail->message[0]);
	*(int *)cookie = r;
	db_batch_free(b);
}

static void closing_ends_what_waits(void **state)
{
	struct db_batch *b = db_batch_new();
	int r = 0;

	(void)state;
	db_add(b, "SELECT 1", "");
	db_submit(d, b, on_cancelled, &r);
	d = db_free(d);
	assert_int_equal(r, -ECANCELED);
}

static char woken[256];

static void on_wake(const char *topic, void *cookie)
{
	(void)cookie;
	strncat(woken, topic, sizeof(woken) - strlen(woken) - 1);
	strncat(woken, ";", sizeof(woken) - strlen(woken) - 1);
}

static void who_listens_hears_of_commits_only(void **state)
{
	struct db_batch *b[2] = {db_batch_new(), db_batch_new()};

	(void)state;
	assert_int_equal(count(), 0); /* connected, what was missed is missed */
	db_on_wake(d, on_wake, NULL);
	woken[0] = 0;
	db_add(b[0], "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	db_wake(b[0], "lost");
	db_add(b[0], "UPDATE item SET n = 2 WHERE name = 'none'", "");
	db_demand(b[0], 1);
	assert_int_equal(run(b[0]), -ESTALE);
	db_add(b[1], "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	db_wake(b[1], "hosts");
	db_wake(b[1], "words");
	assert_ok(run(b[1]));
	while (!strstr(woken, "words"))
		db_turn(d, -1);
	assert_string_equal(woken, "hosts;words;");
	db_batch_free(b[0]);
	db_batch_free(b[1]);
}

static void what_was_stored_is_there_after_reopening(void **state)
{
	(void)state;
	assert_ok(insert("a", 1));
	db_free(d);
	d = opened(0, 0);
	assert_int_equal(count(), 1);
	assert_ok(db_state(d, NULL));
}

static void an_older_schema_is_brought_up_and_a_newer_refused(void **state)
{
	struct db_opts opts = {.where = where(), .schema = &schema};
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	struct db *newer = NULL;
	struct fail f = {0};
	int r;

	(void)state;
	assert_ok(insert("a", 1));
	by_hand(on_server ? "UPDATE hotfix_schema SET version = 1; DROP TABLE other"
			  : "PRAGMA user_version=1; DROP TABLE other");
	d = db_free(d);
	d = opened(0, 0);
	db_add(b, "INSERT INTO other VALUES (1)", "");
	assert_ok(run(b));
	assert_int_equal(count(), 1);
	by_hand(on_server ? "UPDATE hotfix_schema SET version = 1000"
			  : "PRAGMA user_version=1000");
	d = db_free(d);
	r = db_open(&opts, &newer, &f);
	if (on_server) {
		AUTO(db_batch_freep) struct db_batch *c = db_batch_new();

		assert_ok(r);
		db_add(c, "SELECT 1", "");
		r = db_run(newer, c, &f);
		assert_int_equal(db_state(newer, NULL), -EPROTO);
	}
	db_free(newer);
	assert_int_equal(r, -EPROTO);
	assert_non_null(strstr(f.message, "1000"));
	assert_true(f.hint[0]);
}

/* ---- a server ------------------------------------------------------------------------ */

static void on_batch(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	(void)cookie;
	ended_batch = b;
	ended_r = r;
	ended_fail = *fail;
}

static int wait_end(struct db_batch *b)
{
	while (!ended_batch)
		db_turn(d, -1);
	assert_ptr_equal(ended_batch, b);
	ended_batch = NULL;
	assert_int_equal(ended_r < 0, ended_fail.message[0] != 0);
	return ended_r;
}

/* Someone else holds a lock on the item: what touches it waits on the server. */
static PGconn *holder(const char *statement)
{
	PGconn *c = PQconnectdb(pg_url(&pg));

	PQclear(PQexec(c, "BEGIN"));
	PQclear(PQexec(c, statement));
	assert_int_equal(PQtransactionStatus(c), PQTRANS_INTRANS);
	return c;
}

/* Until count backends of the test's connection are in a state. */
static void until(const char *condition)
{
	PGconn *c = PQconnectdb(pg_url(&pg));
	char sql[512];
	bool there = false;

	snprintf(
		sql, sizeof(sql),
		"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test' AND (%s)",
		condition);
	while (!there) {
		PGresult *res;

		db_turn(d, 10);
		res = PQexec(c, sql);
		there = strcmp(PQgetvalue(res, 0, 0), "1") == 0;
		PQclear(res);
	}
	PQfinish(c);
}

static void signal_backend(int signal)
{
	PGconn *c = PQconnectdb(pg_url(&pg));
	PGresult *res =
		PQexec(c, "SELECT pid FROM pg_stat_activity WHERE application_name = 'test'");

	assert_int_equal(PQntuples(res), 1);
	assert_ok(kill(atoi(PQgetvalue(res, 0, 0)), signal));
	PQclear(res);
	PQfinish(c);
}

static void a_server_killed_in_a_batch_leaves_nothing_of_it(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	PGconn *other;

	(void)state;
	assert_ok(insert("a", 1));
	other = holder("UPDATE item SET n = 2 WHERE name = 'a'");
	db_add(b, "INSERT INTO item(name, n) VALUES ('b', 1)", "");
	db_add(b, "UPDATE item SET n = 3 WHERE name = 'a'", "");
	db_demand(b, 1); /* so that COMMIT is not on its way */
	db_submit(d, b, on_batch, NULL);
	until("wait_event_type = 'Lock'");
	pg_stop(&pg, SIGKILL);
	assert_int_equal(wait_end(b), -ENOTCONN);
	assert_true(ended_fail.hint[0]);
	assert_int_equal(db_state(d, NULL), -EHOSTUNREACH);
	PQfinish(other);
	assert_null(pg_start(&pg));
	/* It comes back by itself. */
	assert_int_equal(count(), 1);
	assert_ok(db_state(d, NULL));
}

static void a_loss_during_the_commit_is_named_as_doubt(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	PGconn *other;

	(void)state;
	assert_ok(insert("a", 1));
	other = holder("UPDATE item SET n = 2 WHERE name = 'a'");
	db_add(b, "UPDATE item SET n = 3 WHERE name = 'a'", "");
	db_submit(d, b, on_batch, NULL);
	until("wait_event_type = 'Lock'");
	signal_backend(SIGTERM);
	assert_int_equal(wait_end(b), -ECONNABORTED);
	assert_non_null(strstr(ended_fail.message, "may have happened"));
	PQfinish(other);
	assert_int_equal(count(), 1);
}

static void a_lost_question_leaves_no_doubt(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	PGconn *other;

	(void)state;
	assert_ok(insert("a", 1));
	other = holder("LOCK TABLE item");
	db_add(b, "SELECT n FROM item", "");
	db_submit(d, b, on_batch, NULL);
	until("wait_event_type = 'Lock'");
	signal_backend(SIGTERM);
	assert_int_equal(wait_end(b), -ENOTCONN);
	PQfinish(other);
}

static void a_server_that_hangs_is_given_up(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	pid_t hung;
	PGconn *c;
	PGresult *res;

	(void)state;
	db_free(d);
	d = opened(0, 1000);
	assert_ok(insert("a", 1));
	c = PQconnectdb(pg_url(&pg));
	res = PQexec(c, "SELECT pid FROM pg_stat_activity WHERE application_name = 'test'");
	hung = atoi(PQgetvalue(res, 0, 0));
	PQclear(res);
	assert_ok(kill(hung, SIGSTOP));
	db_add(b, "UPDATE item SET n = 3", "");
	db_demand(b, 1);
	db_submit(d, b, on_batch, NULL);
	assert_int_equal(wait_end(b), -ENOTCONN);
	/* A new connection, while that one still hangs. */
	assert_int_equal(count(), 1);
	kill(hung, SIGCONT);
	PQfinish(c);
}

static void a_batch_waits_for_a_server_only_so_long(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new(), *c = db_batch_new();

	(void)state;
	db_free(d);
	pg_stop(&pg, SIGINT);
	d = opened(0, 300);
	db_add(b, "SELECT 1", "");
	assert_int_equal(run(b), -EHOSTUNREACH);
	db_free(d);
	/* And is carried out if it comes in time. */
	d = opened(0, 0);
	db_add(c, "SELECT 1", "");
	db_submit(d, c, on_batch, NULL);
	db_turn(d, 0);
	db_turn(d, 0);
	assert_null(ended_batch);
	assert_null(pg_start(&pg));
	assert_ok(wait_end(c));
}

static void a_lock_held_too_long_is_busy_and_goes_by(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	PGconn *other;

	(void)state;
	db_free(d);
	d = opened(100, 0);
	assert_ok(insert("a", 1));
	other = holder("UPDATE item SET n = 2 WHERE name = 'a'");
	db_add(b, "INSERT INTO item(name, n) VALUES ('b', 1)", "");
	db_add(b, "UPDATE item SET n = 3 WHERE name = 'a'", "");
	assert_int_equal(run(b), -EBUSY);
	assert_int_equal(count(), 1);
	PQclear(PQexec(other, "COMMIT"));
	PQfinish(other);
	assert_ok(insert("b", 1));
}

static void a_deadlock_ends_one_of_the_two(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	PGconn *other;

	(void)state;
	assert_ok(insert("a", 1));
	assert_ok(insert("b", 1));
	other = holder("UPDATE item SET n = 2 WHERE name = 'b'");
	PQclear(PQexec(other, "SET deadlock_timeout = '1h'"));
	db_add(b, "UPDATE item SET n = 3 WHERE name = 'a'", "");
	db_add(b, "UPDATE item SET n = 3 WHERE name = 'b'", "");
	db_submit(d, b, on_batch, NULL);
	until("wait_event_type = 'Lock'");
	assert_true(PQsendQuery(other, "UPDATE item SET n = 2 WHERE name = 'a'"));
	assert_int_equal(wait_end(b), -EBUSY);
	PQclear(PQgetResult(other));
	PQfinish(other);
	assert_int_equal(count(), 2);
}

static void wakes_reach_other_connections(void **state)
{
	struct db *mine = d, *theirs = opened(0, 0);
	struct db_batch *b = db_batch_new();

	(void)state;
	db_on_wake(theirs, on_wake, NULL);
	woken[0] = 0;
	while (db_state(theirs, NULL) < 0)
		db_turn(theirs, -1);
	assert_string_equal(woken, ";"); /* something may have been missed */
	db_add(b, "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	db_wake(b, "hosts");
	assert_ok(run(b));
	while (!strstr(woken, "hosts"))
		db_turn(theirs, -1);
	db_free(theirs);
	db_batch_free(b);
	d = mine;
}

static void who_was_away_is_told_that_something_may_be_missed(void **state)
{
	(void)state;
	assert_int_equal(count(), 0);
	db_on_wake(d, on_wake, NULL);
	woken[0] = 0;
	signal_backend(SIGTERM);
	while (!woken[0])
		db_turn(d, -1);
	assert_string_equal(woken, ";");
	assert_int_equal(count(), 0);
}

static void two_that_start_at_once_migrate_once(void **state)
{
	struct db *several[4];
	bool all = false;

	(void)state;
	d = db_free(d);
	by_hand("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	for (size_t i = 0; i < ARRAY_SIZE(several); i++)
		several[i] = opened(0, 0);
	while (!all) {
		all = true;
		for (size_t i = 0; i < ARRAY_SIZE(several); i++) {
			struct fail f = {0};

			db_turn(several[i], 1);
			if (db_state(several[i], &f) == 0)
				continue;
			all = false;
			if (strstr(f.message, "already exists"))
				fail_msg("%s", f.message);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(several); i++)
		db_free(several[i]);
	d = opened(0, 0);
	assert_int_equal(count(), 0);
}

static void a_database_of_another_program_is_left_alone(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	struct fail f = {0};

	(void)state;
	assert_int_equal(count(), 0);
	d = db_free(d);
	by_hand("UPDATE hotfix_schema SET application_id = 7");
	d = opened(0, 0);
	db_add(b, "SELECT 1", "");
	assert_int_equal(db_run(d, b, &f), -EUCLEAN);
	assert_non_null(strstr(f.message, "another program"));
}

static void a_password_is_in_no_message(void **state)
{
	struct db_opts opts = {.where =
				       "postgresql://u:secret@localhost:1/db?connect_timeout=1",
			       .schema = &schema,
			       .answer_ms = 100};
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	AUTO(db_freep) struct db *away = NULL;
	struct fail f = {0};

	(void)state;
	assert_ok(db_open(&opts, &away, &f));
	db_add(b, "SELECT 1", "");
	assert_int_equal(db_run(away, b, &f), -EHOSTUNREACH);
	assert_non_null(strstr(f.message, "localhost:1/db"));
	assert_null(strstr(f.message, "secret"));
	opts.where = "postgresql://u:secret@[host";
	away = db_free(away);
	assert_int_equal(db_open(&opts, &away, &f), -EINVAL);
	assert_null(strstr(f.message, "secret"));
}

/* ---- what is there instead of a server ------------------------------------------------- */

/* Names that only this test knows, and its answers to them. */
static struct {
	bool slow;	   /* nobody answers yet */
	size_t n_asked, n; /* n 0: there is no such name */
	const char *address[2];
} names;

#define REAL(f) ((__typeof__(&f))dlsym(RTLD_NEXT, #f))

static bool is_ours(const char *name)
{
	return strcmp(name + strlen(name) - strlen(".test"), ".test") == 0;
}

int getaddrinfo_a(int mode, struct gaicb *list[restrict], int n, struct sigevent *how)
{
	assert_int_equal(mode, GAI_NOWAIT);
	if (!is_ours(list[0]->ar_name))
		return REAL(getaddrinfo_a)(mode, list, n, how);
	assert_int_equal(n, 1);
	names.n_asked++;
	return 0;
}

int gai_error(struct gaicb *one)
{
	struct addrinfo **next = &one->ar_result;

	if (!is_ours(one->ar_name))
		return REAL(gai_error)(one);
	if (names.slow)
		return EAI_INPROGRESS;
	if (*next) /* said already */
		return 0;
	for (size_t i = 0; i < names.n; i++) {
		assert_ok(getaddrinfo(names.address[i], NULL, one->ar_request, next));
		next = &(*next)->ai_next;
	}
	return names.n ? 0 : EAI_NONAME;
}

int gai_cancel(struct gaicb *one)
{
	return is_ours(one->ar_name) ? EAI_CANCELED : REAL(gai_cancel)(one);
}

/* Hours pass where nobody answers, or nobody is asked. */
static uint64_t skipped_ms;

static uint64_t now_ms(void)
{
	return clock_up_ms() + skipped_ms;
}

/* For an answer it waits so long, for nothing else at all; PATIENT: as long as it takes. */
#define PATIENT (-1)

static void turn(int patience_ms)
{
	struct db_want want;
	struct pollfd p;
	int wait_ms;

	db_want(d, now_ms(), &want);
	p = (struct pollfd){.fd = want.fd, .events = want.events};
	wait_ms = patience_ms >= 0 && want.fd < 0 ? 0 : patience_ms;
	if (wait_ms < 0 || (want.timeout_ms >= 0 && want.timeout_ms < wait_ms))
		wait_ms = want.timeout_ms;
	if (poll(&p, 1, wait_ms) == 0 && want.timeout_ms > wait_ms)
		skipped_ms += (uint64_t)(want.timeout_ms - wait_ms);
	db_process(d, now_ms());
}

static void until_reached(int patience_ms)
{
	uint64_t from_ms = now_ms();

	while (db_state(d, NULL) < 0) {
		struct fail f = {0};

		turn(patience_ms);
		db_state(d, &f);
		if (now_ms() - from_ms > DB_CONNECT_MS + 30000)
			fail_msg("%s", f.message);
	}
	assert_int_equal(count(), 0);
}

static void until_away_for(const char *why, int patience_ms)
{
	struct fail f = {0};
	uint64_t from_ms = now_ms();

	while (db_state(d, &f) == 0 || !strstr(f.message, why)) {
		turn(patience_ms);
		if (now_ms() - from_ms > DB_CONNECT_MS + 30000)
			fail_msg("%s", f.message);
	}
	assert_true(f.hint[0]);
}

static void reopen(void)
{
	d = db_free(d);
	d = opened(0, 0);
}

static void reached_at(const char *hosts, unsigned int port)
{
	snprintf(url, sizeof(url), "postgresql://test@/postgres?host=%s&port=%u%s", hosts, port,
		 strchr(hosts, ',') ? ",5432" : "");
	reopen();
}

static const struct {
	enum impostor_way way;
	const char *why;
} ways[] = {
	{IMPOSTOR_CLOSES, "server closed the connection unexpectedly"},
	{IMPOSTOR_IS_MUTE, "no answer"},
	{IMPOSTOR_BABBLES, "invalid response to SSL negotiation: H"},
	{IMPOSTOR_BABBLES_LATER, "expected authentication request"},
	{IMPOSTOR_STARTS_UP, "the database system is starting up"},
};

static void who_is_no_server_is_found_out_in_time_and_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int patience_ms = ways[i].way == IMPOSTOR_IS_MUTE ? 50 : PATIENT;

		impostor_is(&impostor, ways[i].way);
		reached_at("127.0.0.1", impostor.port);
		until_away_for(ways[i].why, patience_ms);
		/* It comes back by itself, and is lost again at once. */
		impostor_is(&impostor, IMPOSTOR_RELAYS);
		until_reached(PATIENT);
		impostor_is(&impostor, ways[i].way);
		until_away_for(ways[i].why, patience_ms);
	}
}

static void a_host_that_is_none_does_not_hide_the_next(void **state)
{
	char hosts[256];

	(void)state;
	snprintf(hosts, sizeof(hosts), "127.0.0.1,%s", pg.folder);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		impostor_is(&impostor, ways[i].way);
		reached_at(hosts, impostor.port);
		until_reached(ways[i].way == IMPOSTOR_IS_MUTE ? 50 : PATIENT);
	}
}

static void on_failure(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	(void)fail;
	assert_true(r < 0);
	*(bool *)cookie = true;
	db_batch_free(b);
}

/* It can be reached, and nothing can be done there. */
static void who_loses_every_batch_is_asked_less_and_less_often(void **state)
{
	uint64_t from_ms;
	int before;

	(void)state;
	reached_at("127.0.0.1", impostor.port);
	until_reached(PATIENT);
	impostor_is(&impostor, IMPOSTOR_CUTS);
	before = impostor_came(&impostor);
	from_ms = now_ms();
	while (now_ms() - from_ms < 60000) {
		struct db_batch *b = db_batch_new();
		bool failed = false;

		db_add(b, "UPDATE item SET n = 1", "");
		db_submit(d, b, on_failure, &failed);
		while (!failed)
			turn(5000);
	}
	assert_in_range(impostor_came(&impostor) - before, 5, 60);
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	until_reached(PATIENT);
	/* Once something was done it is asked soon again. */
	from_ms = clock_up_ms();
	impostor_is(&impostor, IMPOSTOR_CLOSES);
	while (db_state(d, NULL) == 0)
		turn(PATIENT);
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	until_reached(PATIENT);
	assert_true(clock_up_ms() - from_ms < DB_RETRY_MAX_MS / 2);
}

static void a_commit_whose_answer_is_lost_has_happened_all_the_same(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new(), *c = db_batch_new();

	(void)state;
	reached_at("127.0.0.1", impostor.port);
	until_reached(PATIENT);
	impostor_is(&impostor, IMPOSTOR_LOSES);
	db_add(b, "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	assert_int_equal(run(b), -ECONNABORTED);
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	assert_int_equal(count(), 1);
	/* And who demands what was before finds out. */
	db_add(c, "UPDATE item SET n = 2 WHERE name = 'a' AND n = 0", "");
	db_demand(c, 1);
	assert_int_equal(run(c), -ESTALE);
}

static void of_several_hosts_each_is_named_with_what_is_wrong(void **state)
{
	(void)state;
	impostor_is(&impostor, IMPOSTOR_STARTS_UP);
	reached_at("127.0.0.1,/nowhere", impostor.port);
	until_away_for("starting up; /nowhere:5432: No such file", PATIENT);
	/* Where it was last is where it is looked for first. */
	reached_at("/nowhere,127.0.0.1", 1);
	snprintf(strstr(url, "port="), 32, "port=1,%u", impostor.port);
	reopen();
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	until_reached(PATIENT);
	impostor_is(&impostor, IMPOSTOR_IS_MUTE);
	while (db_state(d, NULL) == 0)
		turn(PATIENT);
	until_away_for("(127.0.0.1:", 50);
}

static void a_name_that_nobody_answers_for_holds_nobody_up(void **state)
{
	uint64_t from_ms;

	(void)state;
	names = (__typeof__(names)){.slow = true, .n = 1, .address = {"127.0.0.1"}};
	reached_at("db.test", impostor.port);
	from_ms = clock_up_ms();
	until_away_for("no answer", 50);
	assert_true(clock_up_ms() - from_ms < DB_CONNECT_MS);
	for (int i = 0; i < 1000; i++)
		turn(50);
	assert_int_equal(names.n_asked, 1); /* it is still the same question */
	names.slow = false;
	until_reached(PATIENT);
	/* Another address may be behind it when it is lost. */
	impostor_is(&impostor, IMPOSTOR_CLOSES);
	until_away_for("127.0.0.1: server closed", PATIENT);
	assert_true(names.n_asked > 1);
}

static void a_name_is_good_if_one_of_its_addresses_is(void **state)
{
	(void)state;
	names = (__typeof__(names)){.n = 0};
	reached_at("db.test", impostor.port);
	until_away_for("Name or service not known", PATIENT);
	names.n = 2; /* nobody listens at the first */
	names.address[0] = "127.0.0.2";
	names.address[1] = "127.0.0.1";
	until_reached(PATIENT);
}

static void lists_that_do_not_fit_each_other_are_refused(void **state)
{
	static const char *const lists[] = {"host=a,b&port=1,2,3", "host=a,b&hostaddr=::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		char text[128];
		struct db_opts opts = {.where = text, .schema = &schema};
		struct db *none = NULL;
		struct fail f = {0};

		snprintf(text, sizeof(text), "postgresql:///db?%s", lists[i]);
		assert_int_equal(db_open(&opts, &none, &f), -EINVAL);
		assert_true(f.hint[0]);
	}
}

/* ---- a server that takes no writes ----------------------------------------------------- */

static void until_answered(const char *statement, const char *answer)
{
	bool there = false;

	while (!there) {
		PGconn *c = PQconnectdb(pg_url(&pg));
		PGresult *res = PQexec(c, statement);

		there = PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 0), answer) == 0;
		PQclear(res);
		PQfinish(c);
	}
}

static void a_standby_is_not_taken_until_it_is_promoted(void **state)
{
	char path[160];
	int fd;

	(void)state;
	assert_int_equal(count(), 0);
	pg_stop(&pg, SIGINT);
	snprintf(path, sizeof(path), "%s/data/standby.signal", pg.folder);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_null(pg_start(&pg));
	until_away_for("it is a standby", PATIENT);
	until_answered("SELECT pg_promote()", "t");
	until_reached(PATIENT);
	assert_ok(insert("a", 1));
}

static void who_takes_no_writes_any_more_is_left(void **state)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();

	(void)state;
	assert_int_equal(count(), 0);
	by_hand("ALTER SYSTEM SET default_transaction_read_only = on");
	by_hand("SELECT pg_reload_conf()");
	until_answered("SHOW default_transaction_read_only", "on");
	db_add(b, "INSERT INTO item(name, n) VALUES ('a', 1)", "");
	db_submit(d, b, on_batch, NULL);
	assert_int_equal(wait_end(b), -ENOTCONN);
	assert_non_null(strstr(ended_fail.message, "read-only transaction"));
	until_away_for("takes no writes", PATIENT);
	by_hand("ALTER SYSTEM RESET default_transaction_read_only");
	by_hand("SELECT pg_reload_conf()");
	until_reached(PATIENT);
	assert_ok(insert("a", 1));
}

#define ON(engine, f)                                             \
	{                                                         \
#f " on " #engine, f, on_##engine, close_it, NULL \
	}
#define BOTH(f) ON(file, f), ON(postgres, f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(values_come_back_as_they_went_in),
		BOTH(a_batch_is_all_or_nothing),
		BOTH(rules_of_the_schema_are_told_from_taken_keys),
		BOTH(a_demand_that_is_not_met_rolls_all_back),
		BOTH(many_rows_are_one_statement),
		BOTH(a_batch_may_go_on_with_what_it_read),
		BOTH(batches_run_in_order_and_never_inside_submit),
		BOTH(closing_ends_what_waits),
		BOTH(who_listens_hears_of_commits_only),
		BOTH(what_was_stored_is_there_after_reopening),
		BOTH(an_older_schema_is_brought_up_and_a_newer_refused),
		ON(postgres, a_server_killed_in_a_batch_leaves_nothing_of_it),
		ON(postgres, a_loss_during_the_commit_is_named_as_doubt),
		ON(postgres, a_lost_question_leaves_no_doubt),
		ON(postgres, a_server_that_hangs_is_given_up),
		ON(postgres, a_batch_waits_for_a_server_only_so_long),
		ON(postgres, a_lock_held_too_long_is_busy_and_goes_by),
		ON(postgres, a_deadlock_ends_one_of_the_two),
		ON(postgres, wakes_reach_other_connections),
		ON(postgres, who_was_away_is_told_that_something_may_be_missed),
		ON(postgres, two_that_start_at_once_migrate_once),
		ON(postgres, a_database_of_another_program_is_left_alone),
		ON(postgres, a_password_is_in_no_message),
		ON(postgres, who_is_no_server_is_found_out_in_time_and_named),
		ON(postgres, a_host_that_is_none_does_not_hide_the_next),
		ON(postgres, who_loses_every_batch_is_asked_less_and_less_often),
		ON(postgres, a_commit_whose_answer_is_lost_has_happened_all_the_same),
		ON(postgres, of_several_hosts_each_is_named_with_what_is_wrong),
		ON(postgres, a_name_that_nobody_answers_for_holds_nobody_up),
		ON(postgres, a_name_is_good_if_one_of_its_addresses_is),
		ON(postgres, lists_that_do_not_fit_each_other_are_refused),
		ON(postgres, a_standby_is_not_taken_until_it_is_promoted),
		ON(postgres, who_takes_no_writes_any_more_is_left),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
