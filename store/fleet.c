// SPDX-License-Identifier: BSD-2-Clause
#include "store/fleet.h"

#include <errno.h>
#include <string.h>

#include "store/fleet_private.h"

#define APPLICATION_ID 0x48664674 /* "HfFt" */

/*
 * Written once for both engines; only names of types and rules of tables differ. Where rows are
 * locked, it is in the order rollout, counter (host, desired, request), audit_head: so nobody waits
 * in a circle.
 */
#define SCHEMA_1(INT, TEXT, BLOB, END, HOT, ZEROS, RULES)                                                                                \
	"CREATE TABLE counter ("                                                                                                         \
	"	name " TEXT " PRIMARY KEY,"                                                                                              \
	"	value " INT " NOT NULL)" END ";"                                                                                         \
	"INSERT INTO counter VALUES ('host', 0), ('desired', 0), ('request', 0);"                                                        \
                                                                                                                                         \
	"CREATE TABLE host ("                                                                                                            \
	"	id " TEXT " PRIMARY KEY CHECK(length(id) BETWEEN 1 AND 64),"                                                             \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	labels " TEXT " NOT NULL,"                                                                                               \
	"	held " INT " NOT NULL DEFAULT 0 CHECK(held IN (0, 1)),"                                                                  \
	"	max_serial " INT " NOT NULL DEFAULT 0,"                                                                                  \
	"	gone_ms " INT " NOT NULL DEFAULT 0,"                                                                                     \
	"	enrolled_ms " INT " NOT NULL,"                                                                                           \
	"	change " INT " NOT NULL,"                                                                                                \
	"	seq " INT " NOT NULL DEFAULT 0,"                                                                                         \
	"	boot_id " TEXT " NOT NULL DEFAULT '',"                                                                                   \
	"	kernel " TEXT " NOT NULL DEFAULT '',"                                                                                    \
	"	arch " TEXT " NOT NULL DEFAULT '',"                                                                                      \
	"	zone " TEXT " NOT NULL DEFAULT '',"                                                                                      \
	"	facts " TEXT " NOT NULL DEFAULT '',"                                                                                     \
	"	hotfixes " TEXT " NOT NULL DEFAULT '',"                                                                                  \
	"	health " TEXT " NOT NULL DEFAULT '',"                                                                                    \
	"	audit_seq " INT " NOT NULL DEFAULT 0,"                                                                                   \
	"	audit_head " BLOB " CHECK(length(audit_head) = 32))" END ";"                                                             \
	"CREATE INDEX host_change ON host(change, id);" /* Apart, and narrow: it is written with every heartbeat. */                     \
	"CREATE TABLE seen ("                                                                                                            \
	"	host " TEXT " PRIMARY KEY REFERENCES host ON DELETE CASCADE,"                                                            \
	"	at_ms " INT " NOT NULL)" HOT ";"                                                                                         \
	"CREATE TABLE certificate ("                                                                                                     \
	"	fingerprint " BLOB " PRIMARY KEY CHECK(length(fingerprint) = 32),"                                                       \
	"	host " TEXT " NOT NULL REFERENCES host ON DELETE CASCADE,"                                                               \
	"	serial " TEXT " NOT NULL,"                                                                                               \
	"	issued_ms " INT " NOT NULL,"                                                                                             \
	"	expires_ms " INT " NOT NULL,"                                                                                            \
	"	revoked_ms " INT " NOT NULL DEFAULT 0,"                                                                                  \
	"	reason " TEXT " NOT NULL DEFAULT '')" END ";"                                                                            \
	"CREATE INDEX certificate_host ON certificate(host);"                                                                            \
                                                                                                                                         \
	"CREATE TABLE rollout ("                                                                                                         \
	"	id " TEXT " PRIMARY KEY CHECK(length(id) BETWEEN 1 AND 64),"                                                             \
	"	name " TEXT " NOT NULL CHECK(length(name) BETWEEN 1 AND 64),"                                                            \
	"	state " TEXT " NOT NULL,"                                                                                                \
	"	generation " INT " NOT NULL,"                                                                                            \
	"	epoch " INT " NOT NULL DEFAULT 0,"                                                                                       \
	"	owner " TEXT " NOT NULL DEFAULT '',"                                                                                     \
	"	lease_until_ms " INT " NOT NULL DEFAULT 0,"                                                                              \
	"	active " INT " NOT NULL CHECK(active IN (0, 1)),"                                                                        \
	"	created_ms " INT " NOT NULL,"                                                                                            \
	"	ended_ms " INT " NOT NULL DEFAULT 0)" END ";"                                                                            \
	"CREATE INDEX rollout_free ON rollout(lease_until_ms, id) WHERE active = 1;"                                                     \
	"CREATE TABLE rollout_host ("                                                                                                    \
	"	rollout " TEXT " NOT NULL REFERENCES rollout ON DELETE CASCADE,"                                                         \
	"	host " TEXT " NOT NULL,"                                                                                                 \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	held " INT " NOT NULL CHECK(held IN (0, 1)),"                                                                            \
	"	state " TEXT " NOT NULL,"                                                                                                \
	"	PRIMARY KEY(rollout, host))" END ";"                                                                                     \
	"CREATE UNIQUE INDEX rollout_host_held ON rollout_host(name, host) WHERE held = 1;"                                              \
	"CREATE TABLE request ("                                                                                                         \
	"	seq " INT " PRIMARY KEY,"                                                                                                \
	"	rollout " TEXT " NOT NULL REFERENCES rollout ON DELETE CASCADE,"                                                         \
	"	text " TEXT " NOT NULL)" END ";"                                                                                         \
	"CREATE TABLE desired ("                                                                                                         \
	"	host " TEXT " PRIMARY KEY,"                                                                                              \
	"	generation " INT " NOT NULL,"                                                                                            \
	"	change " INT " NOT NULL)" END ";"                                                                                        \
	"CREATE INDEX desired_change ON desired(change, host);"                                                                          \
	"CREATE TABLE word ("                                                                                                            \
	"	host " TEXT " NOT NULL,"                                                                                                 \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	rollout " TEXT " NOT NULL,"                                                                                              \
	"	body " BLOB " NOT NULL,"                                                                                                 \
	"	PRIMARY KEY(host, name))" END ";"                                                                                        \
                                                                                                                                         \
	"CREATE TABLE version ("                                                                                                         \
	"	name " TEXT " NOT NULL CHECK(length(name) BETWEEN 1 AND 64),"                                                            \
	"	serial " INT " NOT NULL CHECK(serial > 0),"                                                                              \
	"	manifest_sha256 " BLOB " NOT NULL CHECK(length(manifest_sha256) = 32),"                                                  \
	"	PRIMARY KEY(name, serial))" END ";"                                                                                      \
	"CREATE TABLE bundle ("                                                                                                          \
	"	digest " BLOB " PRIMARY KEY CHECK(length(digest) = 32),"                                                                 \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	serial " INT " NOT NULL,"                                                                                                \
	"	bytes " INT " NOT NULL CHECK(bytes > 0),"                                                                                \
	"	imported_ms " INT " NOT NULL,"                                                                                           \
	"	actor " TEXT " NOT NULL,"                                                                                                \
	"	FOREIGN KEY(name, serial) REFERENCES version)" END ";"                                                                   \
	"CREATE TABLE chunk ("                                                                                                           \
	"	digest " BLOB " NOT NULL REFERENCES bundle ON DELETE CASCADE,"                                                           \
	"	n " INT " NOT NULL,"                                                                                                     \
	"	bytes " BLOB " NOT NULL,"                                                                                                \
	"	PRIMARY KEY(digest, n))" END ";"                                                                                         \
	"CREATE TABLE document ("                                                                                                        \
	"	kind " TEXT " NOT NULL CHECK(kind IN ('root', 'catalog', 'revocation')),"                                                \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	version " INT " NOT NULL,"                                                                                               \
	"	imported_ms " INT " NOT NULL,"                                                                                           \
	"	actor " TEXT " NOT NULL,"                                                                                                \
	"	envelope " BLOB " NOT NULL,"                                                                                             \
	"	PRIMARY KEY(kind, name))" END ";"                                                                                        \
                                                                                                                                         \
	"CREATE TABLE token ("                                                                                                           \
	"	hash " BLOB " PRIMARY KEY CHECK(length(hash) = 32),"                                                                     \
	"	labels " TEXT " NOT NULL,"                                                                                               \
	"	actor " TEXT " NOT NULL,"                                                                                                \
	"	created_ms " INT " NOT NULL,"                                                                                            \
	"	expires_ms " INT " NOT NULL,"                                                                                            \
	"	used_ms " INT " NOT NULL DEFAULT 0,"                                                                                     \
	"	used_by " TEXT " NOT NULL DEFAULT '')" END ";"                                                                           \
	"CREATE TABLE operator ("                                                                                                        \
	"	credential " BLOB " PRIMARY KEY CHECK(length(credential) = 32),"                                                         \
	"	name " TEXT " NOT NULL CHECK(length(name) BETWEEN 1 AND 64),"                                                            \
	"	role " TEXT " NOT NULL"                                                                                                  \
	"		CHECK(role IN ('viewer', 'operator', 'approver', 'admin')),"                                                                  \
	"	created_ms " INT " NOT NULL,"                                                                                            \
	"	expires_ms " INT " NOT NULL,"                                                                                            \
	"	revoked_ms " INT " NOT NULL DEFAULT 0)" END ";"                                                                          \
	"CREATE TABLE guard ("                                                                                                           \
	"	kind " TEXT " NOT NULL CHECK(kind IN ('stop', 'freeze', 'quarantine')),"                                                 \
	"	name " TEXT " NOT NULL,"                                                                                                 \
	"	from_ms " INT " NOT NULL,"                                                                                               \
	"	until_ms " INT " NOT NULL,"                                                                                              \
	"	scope " TEXT " NOT NULL,"                                                                                                \
	"	reason " TEXT " NOT NULL,"                                                                                               \
	"	actor " TEXT " NOT NULL,"                                                                                                \
	"	at_ms " INT " NOT NULL,"                                                                                                 \
	"	PRIMARY KEY(kind, name))" END ";"                                                                                        \
                                                                                                                                         \
	"CREATE TABLE audit ("                                                                                                           \
	"	seq " INT " PRIMARY KEY,"                                                                                                \
	"	at_ms " INT " NOT NULL,"                                                                                                 \
	"	actor " TEXT " NOT NULL,"                                                                                                \
	"	action " TEXT " NOT NULL,"                                                                                               \
	"	subject " TEXT " NOT NULL,"                                                                                              \
	"	result " TEXT " NOT NULL,"                                                                                               \
	"	detail " TEXT ","                                                                                                        \
	"	hash " BLOB " NOT NULL CHECK(length(hash) = 32))" END ";"                                                                \
	"CREATE INDEX audit_subject ON audit(subject, seq);" /* Whoever writes holds it; it also knows how many rows there ever were. */ \
	"CREATE TABLE audit_head ("                                                                                                      \
	"	one " INT " PRIMARY KEY CHECK(one = 1),"                                                                                 \
	"	seq " INT " NOT NULL,"                                                                                                   \
	"	hash " BLOB " NOT NULL CHECK(length(hash) = 32))" END ";"                                                                \
	"INSERT INTO audit_head VALUES (1, 0, " ZEROS ");" RULES

/* Who holds a host, why, and since when. */
#define SCHEMA_2(INT, TEXT)                                                  \
	"ALTER TABLE host ADD COLUMN held_by " TEXT " NOT NULL DEFAULT '';"  \
	"ALTER TABLE host ADD COLUMN held_for " TEXT " NOT NULL DEFAULT '';" \
	"ALTER TABLE host ADD COLUMN held_ms " INT " NOT NULL DEFAULT 0"

static const char *const sqlite_migrations[] = {
	SCHEMA_1("INTEGER", "TEXT", "BLOB", " STRICT", " STRICT", "zeroblob(32)",
		 "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit"
		 "	BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;"
		 "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
		 "	BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;"
		 "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit"
		 "	WHEN EXISTS(SELECT 1 FROM audit WHERE seq >= new.seq)"
		 "	BEGIN SELECT RAISE(ABORT, 'audit rows are never replaced'); END;"),
	SCHEMA_2("INTEGER", "TEXT"),
};

/* Bytes are compared as bytes, whatever the locale; heartbeats find room beside their row. */
static const char *const postgres_migrations[] = {
	SCHEMA_1(
		"BIGINT", "TEXT COLLATE \"C\"", "BYTEA", "", " WITH (fillfactor = 60)",
		"decode(repeat('00', 32), 'hex')",
		"CREATE FUNCTION hotfix_now_ms() RETURNS BIGINT LANGUAGE sql VOLATILE AS"
		"	'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint';"
		"CREATE FUNCTION hotfix_audit_stays() RETURNS trigger LANGUAGE plpgsql AS"
		"	'BEGIN RAISE EXCEPTION ''audit rows are never changed or deleted''; END';"
		"CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
		"	EXECUTE FUNCTION hotfix_audit_stays();"),
	SCHEMA_2("BIGINT", "TEXT COLLATE \"C\""),
};

static const struct db_schema schema = {
	.program = "hotfix-controller",
	.application_id = APPLICATION_ID,
	.sqlite = sqlite_migrations,
	.postgres = postgres_migrations,
	.n = ARRAY_SIZE(sqlite_migrations),
};

_Static_assert(ARRAY_SIZE(sqlite_migrations) == ARRAY_SIZE(postgres_migrations),
	       "both engines");

/* ---- life ---------------------------------------------------------------------- */

int fleet_open(const char *where, uint32_t statement_ms, uint32_t answer_ms,
	       struct fleet **ret_fleet, struct fail *reterr_fail)
{
	struct db_opts opts = {.where = where,
			       .schema = &schema,
			       .statement_ms = statement_ms,
			       .answer_ms = answer_ms};
	AUTO(fleet_freep) struct fleet *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = db_open(&opts, &f->db, reterr_fail);
	if (r < 0)
		return r;
	*ret_fleet = take_ptr(f);
	return 0;
}

struct fleet *fleet_free(struct fleet *f)
{
	if (f)
		db_free(f->db);
	free(f);
	return NULL;
}

struct db *fleet_db(struct fleet *f)
{
	return f->db;
}

/* ---- operations ---------------------------------------------------------------- */

struct fleet_answer *fleet_answer_free(struct fleet_answer *a)
{
	if (a) {
		db_batch_free(a->batch);
		fleet_audit_list_free(a->audit);
	}
	free(a);
	return NULL;
}

struct fleet_answer *fleet_begin(struct fleet *f, fleet_done_fn done, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->batch = db_batch_new();
	if (!a->batch)
		return NULL;
	a->fleet = f;
	a->on_stale = -ESTALE;
	a->done = done;
	a->cookie = cookie;
	return take_ptr(a);
}

static void on_done(struct db_batch *b, int r, const struct fail *fail, void *cookie)
{
	struct fleet_answer *a = cookie;

	a->r = r;
	a->fail = *fail;
	if (r == -ESTALE && a->on_stale != r) {
		a->r = a->on_stale;
		if (a->r == -EILSEQ)
			fail_set(&a->fail, FAIL_EQUIVOCATION,
				 "this serial is known with another manifest");
		else
			fail_set(&a->fail, FAIL_NOT_FOUND, "there is no such row");
	} else if (r == 0 && a->on_none && db_n_rows(b, a->rows) == 0) {
		a->r = a->on_none;
		fail_set(&a->fail, FAIL_NOT_FOUND, "there is no such row");
	}
	a->done(a, a->cookie);
}

int fleet_submit(struct fleet_answer *a)
{
	if (a->audit)
		fleet_take_head(a);
	db_submit(a->fleet->db, a->batch, on_done, a);
	return 0;
}

void fleet_keep(struct fleet_answer *a, void *cookie)
{
	*(struct fleet_answer **)cookie = a;
}

int fleet_wait(struct fleet *f, int r, struct fleet_answer *const *a)
{
	while (r == 0 && !*a)
		db_turn(f->db, -1);
	return r < 0 ? r : (*a)->r;
}

uint64_t fleet_count(const struct fleet_answer *a)
{
	return db_touched(a->batch, a->rows);
}

void fleet_count_up(struct fleet_answer *a, const char *counter)
{
	db_add(a->batch, "UPDATE counter SET value = value + 1 WHERE name = $1", "s", counter);
	db_demand(a->batch, 1);
}

bool fleet_next(struct fleet_answer *a, int which, size_t statement, struct db_row *ret_row)
{
	if (a->r < 0 || a->next[which] >= db_n_rows(a->batch, statement))
		return false;
	*ret_row = db_get(a->batch, statement, a->next[which]++);
	return true;
}

const uint8_t *fleet_hash(struct db_row row, size_t column)
{
	size_t len;
	const uint8_t *p = db_blob(row, column, &len);

	return len == BYTES_SHA256 ? p : NULL;
}

/* ---- housekeeping ---------------------------------------------------------------- */

/* Up and down: of what stays as it is SQLite writes nothing. */
int fleet_probe(struct fleet *f, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_count_up(a, "request");
	db_add(a->batch, "UPDATE counter SET value = value - 1 WHERE name = 'request'", "");
	return fleet_submit(a);
}

int fleet_trim(struct fleet *f, uint64_t before_ms, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "DELETE FROM rollout WHERE id IN (SELECT id FROM rollout WHERE active = 0"
	       " AND ended_ms < $1 ORDER BY id LIMIT 4)",
	       "u", before_ms);
	db_add(a->batch,
	       "DELETE FROM token WHERE expires_ms < $1 OR (used_ms > 0 AND used_ms < $1)", "u",
	       before_ms);
	db_add(a->batch, "DELETE FROM certificate WHERE expires_ms < $1", "u", before_ms);
	db_add(a->batch, "DELETE FROM guard WHERE until_ms > 0 AND until_ms < $1", "u",
	       before_ms);
	db_add(a->batch,
	       "DELETE FROM desired WHERE host IN"
	       " (SELECT id FROM host WHERE gone_ms > 0 AND gone_ms < $1)",
	       "u", before_ms);
	db_add(a->batch, "DELETE FROM host WHERE gone_ms > 0 AND gone_ms < $1", "u", before_ms);
	return fleet_submit(a);
}
