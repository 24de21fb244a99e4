// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/bench/fleetdb -- heartbeats and reports per second through store/fleet.h, and through a bare
 * batched UPDATE of the same rows of the same database, by turns in one run, on a file and on a
 * PostgreSQL server of its own. One JSON line for each engine and kind.
 *
 * values is the bare UPDATE with a row of parameters for each host instead of arrays: what
 * store/db_pg.c would do if it did not use them.
 */
#include "tests/bench/bench.h"

#include <ftw.h>
#include <sqlite3.h>

#include "store/fleet.h"
#include "tests/unit/pg.h"

#define HOSTS	10000
#define BATCH	1000
#define BATCHES 40 /* of each, by turns */

#define NEWS	"{\"copyfail\":{\"live\":1,\"committed\":1,\"calls\":%u}}"

static struct pg pg;
static char folder[64], ids[HOSTS][65], news[HOSTS][64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	pg_stop(&pg, SIGINT);
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void must(int r, const struct fleet_answer *a)
{
	if (r < 0)
		bench_die("%s", a ? a->fail.message : strerror(-r));
}

static void enrol_all(struct fleet *f)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	struct fail fail;

	db_add_rows(
		b,
		"INSERT INTO host(id, name, labels, enrolled_ms, change) SELECT column1, '', '{}',"
		" 1, 1 FROM %v AS v",
		"s");
	for (size_t i = 0; i < HOSTS; i++)
		db_row(b, ids[i]);
	db_add(b, "INSERT INTO seen(host, at_ms) SELECT id, 1 FROM host", "");
	if (db_run(fleet_db(f), b, &fail) < 0)
		bench_die("%s", fail.message);
}

/* ---- through the store ------------------------------------------------------------ */

static double by_fleet(struct fleet *f, size_t first, uint64_t seq, bool full)
{
	static struct fleet_report reports[BATCH];
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	uint64_t begun;

	for (size_t i = 0; i < BATCH; i++)
		reports[i] = (struct fleet_report){.host = ids[(first + i) % HOSTS],
						   .seq = seq,
						   .boot_id = "boot",
						   .kernel = "6.12.0",
						   .arch = "x86_64",
						   .zone = "a",
						   .facts = "{}",
						   .hotfixes = full ? news[i] : NULL,
						   .health = "{}"};
	begun = clock_mono_ns();
	must(fleet_wait(f, fleet_reports(f, reports, BATCH, fleet_keep, &a), &a), a);
	if (fleet_count(a) != BATCH)
		bench_die("only %llu hosts", (unsigned long long)fleet_count(a));
	return BATCH / ((double)(clock_mono_ns() - begun) / 1e9);
}

/* ---- bare: SQLite ------------------------------------------------------------------- */

static sqlite3 *db;
static sqlite3_stmt *beat, *update;

#define SET                                                                           \
	"seq = ?2, boot_id = 'boot', kernel = '6.12.0', arch = 'x86_64', zone = 'a'," \
	" facts = '{}', hotfixes = ?3, health = '{}', change = ?2"

static void sqlite_does(const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("%s: %s", sql, sqlite3_errmsg(db));
}

static double by_sqlite(size_t first, uint64_t seq, bool full)
{
	uint64_t begun = clock_mono_ns();

	sqlite_does("BEGIN IMMEDIATE");
	for (size_t i = 0; i < BATCH; i++) {
		sqlite3_stmt *s = full ? update : beat;

		for (int both = 0; both < 1 + full; both++, s = beat) {
			sqlite3_bind_text(s, 1, ids[(first + i) % HOSTS], -1, SQLITE_STATIC);
			sqlite3_bind_int64(s, 2, (sqlite3_int64)seq);
			if (s == update)
				sqlite3_bind_text(s, 3, news[i], -1, SQLITE_STATIC);
			if (sqlite3_step(s) != SQLITE_DONE)
				bench_die("%s", sqlite3_errmsg(db));
			sqlite3_reset(s);
		}
	}
	sqlite_does("COMMIT");
	return BATCH / ((double)(clock_mono_ns() - begun) / 1e9);
}

static void open_sqlite(const char *path)
{
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "UPDATE seen SET at_ms = ?2 WHERE host = ?1", -1, &beat,
			       NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "UPDATE host SET " SET " WHERE id = ?1", -1, &update,
			       NULL) != SQLITE_OK)
		bench_die("%s", sqlite3_errmsg(db));
	/* As store/sql.c has it. */
	sqlite_does(
		"PRAGMA synchronous=FULL; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY");
}

/* ---- bare: PostgreSQL ------------------------------------------------------------------ */

static PGconn *conn;

/* {"a","b",...}: an array in PostgreSQL's own notation. */
static char *array(size_t first, bool texts)
{
	char *s = NULL;
	size_t len;
	FILE *out = open_memstream(&s, &len);

	fputc('{', out);
	for (size_t i = 0; i < BATCH; i++) {
		fputs(i ? ",\"" : "\"", out);
		for (const char *c = texts ? news[i] : ids[(first + i) % HOSTS]; *c; c++)
			fprintf(out, *c == '"' ? "\\\"" : "%c", *c);
		fputc('"', out);
	}
	fputc('}', out);
	fclose(out);
	return s;
}

static void pg_does(PGresult *res)
{
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		bench_die("%s", PQresultErrorMessage(res));
	PQclear(res);
}

static double by_pg(size_t first, uint64_t seq, bool full)
{
	AUTO_FREE char *hosts = array(first, false), *texts = array(first, true);
	const char *values[3] = {hosts, NULL, texts};
	uint64_t begun = clock_mono_ns(); /* whoever is bare has its parameters ready */
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)seq);
	values[1] = number;
	pg_does(PQexec(conn, "BEGIN"));
	if (full)
		pg_does(PQexecParams(
			conn,
			"UPDATE host SET seq = $2::bigint, boot_id = 'boot', kernel = '6.12.0',"
			" arch = 'x86_64', zone = 'a', facts = '{}', hotfixes = n, health = '{}',"
			" change = $2::bigint FROM unnest($1::text[], $3::text[]) AS v(h, n)"
			" WHERE id = h",
			3, NULL, values, NULL, NULL, 0));
	pg_does(PQexecParams(
		conn,
		"UPDATE seen SET at_ms = $2::bigint FROM unnest($1::text[]) AS v(h)"
		" WHERE host = h",
		2, NULL, values, NULL, NULL, 0));
	pg_does(PQexec(conn, "COMMIT"));
	return BATCH / ((double)(clock_mono_ns() - begun) / 1e9);
}

static double by_pg_values(size_t first, uint64_t seq)
{
	static const char *values[BATCH];
	AUTO_FREE char *sql = NULL;
	uint64_t begun;
	size_t len;
	FILE *out = open_memstream(&sql, &len);

	fprintf(out, "UPDATE seen SET at_ms = %llu FROM (VALUES ", (unsigned long long)seq);
	for (size_t i = 0; i < BATCH; i++) {
		fprintf(out, "%s($%zu)", i ? "," : "", i + 1);
		values[i] = ids[(first + i) % HOSTS];
	}
	fprintf(out, ") AS v(h) WHERE host = h");
	fclose(out);
	begun = clock_mono_ns();
	pg_does(PQexec(conn, "BEGIN"));
	pg_does(PQexecParams(conn, sql, BATCH, NULL, values, NULL, NULL, 0));
	pg_does(PQexec(conn, "COMMIT"));
	return BATCH / ((double)(clock_mono_ns() - begun) / 1e9);
}

/* ---- by turns ------------------------------------------------------------------------------ */

static void measure(const char *engine, struct fleet *f, bool server, bool full)
{
	struct bench_rounds fleet = {0}, bare = {0}, values = {0};
	static uint64_t seq = 1;
	json_t *line;

	for (size_t i = 0; i < BATCHES; i++) {
		size_t first = i * BATCH;

		seq++;
		bench_add(&fleet, by_fleet(f, first, seq, full));
		seq++;
		bench_add(&bare,
			  server ? by_pg(first, seq, full) : by_sqlite(first, seq, full));
		if (server && !full)
			bench_add(&values, by_pg_values(first, ++seq));
	}
	line = json_pack("{ss ss si si sf sf sf}", "engine", engine, "kind",
			 full ? "report" : "heartbeat", "hosts", HOSTS, "batch", BATCH,
			 "per_s_median", bench_median(&fleet), "bare_per_s_median",
			 bench_median(&bare), "to_bare_ratio",
			 bench_median(&fleet) / bench_median(&bare));
	if (values.n)
		json_object_set_new(line, "values_per_s_median",
				    json_real(bench_median(&values)));
	bench_print("fleetdb", line);
}

static void measure_both(const char *engine, struct fleet *f, bool server)
{
	measure(engine, f, server, false);
	measure(engine, f, server, true);
}

static struct fleet *opened(const char *where)
{
	struct fleet *f = NULL;
	struct fail fail;

	if (fleet_open(where, 0, 0, &f, &fail) < 0)
		bench_die("%s", fail.message);
	enrol_all(f);
	return f;
}

int main(void)
{
	const char *wrong;
	char path[96];
	struct fleet *f;

	bench_program = "fleetdb";
	bench_cleanup = clean_up;
	for (unsigned int i = 0; i < HOSTS; i++) {
		snprintf(ids[i], sizeof(ids[i]), "%08x%056x", i * 2654435761U, i);
		snprintf(news[i], sizeof(news[i]), NEWS, i);
	}
	snprintf(folder, sizeof(folder), "/tmp/hotfixd-bench-XXXXXX");
	if (!mkdtemp(folder))
		bench_die("no folder");
	snprintf(path, sizeof(path), "%s/fleet.db", folder);
	f = opened(path);
	open_sqlite(path);
	measure_both("sqlite", f, false);
	sqlite3_finalize(beat);
	sqlite3_finalize(update);
	sqlite3_close(db);
	fleet_free(f);
	wrong = pg_new(&pg, folder);
	if (wrong)
		bench_die("PostgreSQL: %s", wrong);
	f = opened(pg_url(&pg));
	conn = PQconnectdb(pg_url(&pg));
	measure_both("postgresql", f, true);
	PQfinish(conn);
	fleet_free(f);
	clean_up();
	return 0;
}
