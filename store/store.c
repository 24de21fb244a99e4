// SPDX-License-Identifier: BSD-2-Clause
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/plain.h"
#include "store/bytes.h"
#include "store/sql.h"
#include "store/store_private.h"

#define APPLICATION_ID 0x48664678 /* "HfFx" */
#define NAME_CHECK     "CHECK(length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^a-z0-9-]*')"

/* Append only: a database of any age is brought up by running what it lacks, in order. */
static const char *const migrations[] = {
	/* 1 */
	"CREATE TABLE root ("
	"	version INTEGER PRIMARY KEY CHECK(version > 0),"
	"	envelope BLOB NOT NULL,"
	"	imported_ms INTEGER NOT NULL,"
	"	actor_uid INTEGER NOT NULL) STRICT;"

	"CREATE TABLE version ("
	"	id INTEGER PRIMARY KEY,"
	"	name TEXT NOT NULL " NAME_CHECK ","
	"	serial INTEGER NOT NULL CHECK(serial > 0),"
	"	label TEXT NOT NULL CHECK(length(CAST(label AS BLOB)) <= 64),"
	"	title TEXT NOT NULL CHECK(length(CAST(title AS BLOB)) <= 200),"
	"	digest BLOB NOT NULL CHECK(length(digest) = 32),"
	"	manifest_sha256 BLOB NOT NULL CHECK(length(manifest_sha256) = 32),"
	"	object_sha256 BLOB NOT NULL CHECK(length(object_sha256) = 32),"
	"	bundle_bytes INTEGER NOT NULL CHECK(bundle_bytes > 0),"
	"	imported_ms INTEGER NOT NULL,"
	"	imported_uid INTEGER NOT NULL,"
	"	quarantined INTEGER NOT NULL DEFAULT 0 CHECK(quarantined IN (0, 1)),"
	"	reason TEXT NOT NULL DEFAULT '' CHECK(length(CAST(reason AS BLOB)) <= 255),"
	"	UNIQUE(name, serial)) STRICT;"

	/* Apart from its row: listing versions never touches the pages of bundles. */
	"CREATE TABLE bundle ("
	"	id INTEGER PRIMARY KEY REFERENCES version ON DELETE CASCADE,"
	"	bytes BLOB NOT NULL) STRICT;"

	"CREATE TABLE hotfix ("
	"	name TEXT PRIMARY KEY " NAME_CHECK ","
	"	committed_serial INTEGER NOT NULL CHECK(committed_serial >= 0),"
	"	high_water INTEGER NOT NULL CHECK(high_water >= committed_serial),"
	"	disabled INTEGER NOT NULL CHECK(disabled IN (0, 1)),"
	"	removed INTEGER NOT NULL CHECK(removed IN (0, 1)),"
	"	boot_id TEXT NOT NULL CHECK(length(boot_id) <= 36)) STRICT;"
	"CREATE TRIGGER hotfix_high_water BEFORE UPDATE ON hotfix"
	"	WHEN new.high_water < old.high_water"
	"	BEGIN SELECT RAISE(ABORT, 'a high-water mark never falls'); END;"

	/* Every commit; live: 1 while it is part of the way that led to the serial in force. */
	"CREATE TABLE commit_log ("
	"	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"	name TEXT NOT NULL " NAME_CHECK ","
	"	serial INTEGER NOT NULL CHECK(serial > 0),"
	"	live INTEGER NOT NULL CHECK(live IN (0, 1))) STRICT;"
	"CREATE INDEX commit_log_name ON commit_log(name, id);"
	"CREATE UNIQUE INDEX commit_log_live ON commit_log(name, serial) WHERE live = 1;"

	"CREATE TABLE change ("
	"	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"	name TEXT NOT NULL CHECK(length(name) <= 64 AND name NOT GLOB '*[^a-z0-9-]*'),"
	"	verb TEXT NOT NULL CHECK(length(verb) BETWEEN 1 AND 15),"
	"	serial INTEGER NOT NULL CHECK(serial >= 0),"
	"	from_serial INTEGER NOT NULL CHECK(from_serial >= 0),"
	"	boot_id TEXT NOT NULL CHECK(length(boot_id) <= 36),"
	"	actor_uid INTEGER NOT NULL,"
	"	started_ms INTEGER NOT NULL,"
	"	finished_ms INTEGER NOT NULL DEFAULT 0,"
	"	outcome TEXT NOT NULL DEFAULT ''"
	"		CHECK(outcome IN ('', 'done', 'trial', 'failed', 'rolled_back')),"
	"	code TEXT NOT NULL DEFAULT '' CHECK(length(CAST(code AS BLOB)) <= 31),"
	"	detail TEXT NOT NULL DEFAULT '' CHECK(length(CAST(detail AS BLOB)) <= 1023),"
	"	log TEXT,"
	"	evidence TEXT,"
	"	CHECK((outcome = '') = (finished_ms = 0))) STRICT;"
	"CREATE INDEX change_name ON change(name, id);"
	"CREATE INDEX change_open ON change(id) WHERE outcome = '';"

	"CREATE TABLE audit ("
	"	seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"	at_ms INTEGER NOT NULL,"
	"	actor_uid INTEGER NOT NULL,"
	"	action TEXT NOT NULL,"
	"	subject TEXT NOT NULL,"
	"	result TEXT NOT NULL,"
	"	detail TEXT,"
	"	hash BLOB NOT NULL CHECK(length(hash) = 32)) STRICT;"
	"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit"
	"	BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;"
	"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit"
	"	BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;"
	/* REPLACE deletes without asking the trigger above. */
	"CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit"
	"	WHEN EXISTS(SELECT 1 FROM audit WHERE seq >= new.seq)"
	"	BEGIN SELECT RAISE(ABORT, 'audit rows are never replaced'); END;",

	/* 2 */
	"ALTER TABLE hotfix ADD COLUMN observe INTEGER NOT NULL DEFAULT 0"
	"	CHECK(observe IN (0, 1));"
	"CREATE TABLE boot ("
	"	id INTEGER PRIMARY KEY,"
	"	boot_id TEXT NOT NULL UNIQUE CHECK(length(boot_id) BETWEEN 1 AND 36),"
	"	started_ms INTEGER NOT NULL,"
	"	stopped INTEGER NOT NULL CHECK(stopped IN (0, 1)),"
	"	crash_seen_ms INTEGER NOT NULL,"
	"	held INTEGER NOT NULL CHECK(held IN (0, 1))) STRICT;",

	/* 3 */
	"ALTER TABLE version ADD COLUMN barred TEXT NOT NULL DEFAULT ''"
	"	CHECK(length(CAST(barred AS BLOB)) <= 255);",

	/* 4 */
	"CREATE TABLE revocation ("
	"	sha256 BLOB PRIMARY KEY CHECK(length(sha256) = 32),"
	"	envelope BLOB NOT NULL,"
	"	imported_ms INTEGER NOT NULL,"
	"	actor_uid INTEGER NOT NULL) STRICT;",

	/* 5 */
	/* The status of the fleet in force. */
	"CREATE TABLE catalog ("
	"	one INTEGER PRIMARY KEY CHECK(one = 1),"
	"	envelope BLOB NOT NULL,"
	"	imported_ms INTEGER NOT NULL,"
	"	actor_uid INTEGER NOT NULL) STRICT;"
	/* What was carried out is not carried out again. */
	"CREATE TABLE directive ("
	"	nonce BLOB PRIMARY KEY CHECK(length(nonce) = 16),"
	"	name TEXT NOT NULL " NAME_CHECK ","
	"	expires_ms INTEGER NOT NULL,"
	"	used_ms INTEGER NOT NULL) STRICT;"
	/* Commits up to this one count no more for the high-water mark: a root said so. */
	"CREATE TABLE serial_reset ("
	"	name TEXT PRIMARY KEY " NAME_CHECK ","
	"	root_version INTEGER NOT NULL,"
	"	floor INTEGER NOT NULL,"
	"	after_commit INTEGER NOT NULL) STRICT;"
	"CREATE TABLE clock ("
	"	one INTEGER PRIMARY KEY CHECK(one = 1),"
	"	trusted_ms INTEGER NOT NULL,"
	"	boot_id TEXT NOT NULL CHECK(length(boot_id) <= 36),"
	"	up_ms INTEGER NOT NULL) STRICT;"
	"CREATE TABLE checkpoint ("
	"	seq INTEGER PRIMARY KEY CHECK(seq > 0),"
	"	envelope BLOB NOT NULL) STRICT;"
	"CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint"
	"	BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;"
	"CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint"
	"	BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;"
	"CREATE TRIGGER checkpoint_no_replace BEFORE INSERT ON checkpoint"
	"	WHEN EXISTS(SELECT 1 FROM checkpoint WHERE seq >= new.seq)"
	"	BEGIN SELECT RAISE(ABORT, 'checkpoints are never replaced'); END;",

	/* 6 */
	"CREATE TABLE member ("
	"	one INTEGER PRIMARY KEY CHECK(one = 1),"
	"	seq INTEGER NOT NULL,"
	"	revocation INTEGER NOT NULL,"
	"	begun_ms INTEGER NOT NULL,"
	"	certificate TEXT NOT NULL,"
	"	ca TEXT NOT NULL,"
	"	url TEXT NOT NULL) STRICT;"
	"CREATE TABLE word ("
	"	name TEXT NOT NULL " NAME_CHECK ","
	"	rollout TEXT NOT NULL CHECK(length(rollout) <= 64),"
	"	word INTEGER NOT NULL,"
	"	newest INTEGER NOT NULL CHECK(newest IN (0, 1)),"
	"	body TEXT NOT NULL,"
	"	state TEXT NOT NULL,"
	"	code TEXT NOT NULL,"
	"	text TEXT NOT NULL,"
	"	transient INTEGER NOT NULL CHECK(transient IN (0, 1)),"
	"	change_id INTEGER NOT NULL,"
	"	PRIMARY KEY(name, rollout)) STRICT;"
	"CREATE UNIQUE INDEX word_newest ON word(name) WHERE newest = 1;"
	"CREATE TABLE origin ("
	"	name TEXT PRIMARY KEY " NAME_CHECK ","
	"	rollout TEXT NOT NULL CHECK(length(rollout) <= 64),"
	"	serial INTEGER NOT NULL,"
	"	from_serial INTEGER NOT NULL,"
	"	at_ms INTEGER NOT NULL) STRICT;",

	/* 7 */
	"CREATE TABLE part ("
	"	sha256 BLOB NOT NULL CHECK(length(sha256) = 32),"
	"	at INTEGER NOT NULL CHECK(at >= 0),"
	"	bytes BLOB NOT NULL,"
	"	PRIMARY KEY(sha256, at)) STRICT;",
};

int store_open(const char *path, struct store **ret_store, struct fail *reterr_fail)
{
	AUTO(store_freep) struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = sql_open(path, APPLICATION_ID, migrations, ARRAY_SIZE(migrations), &s->q,
		     reterr_fail);
	if (r < 0)
		return r;
	*ret_store = take_ptr(s);
	return 0;
}

struct store *store_free(struct store *s)
{
	if (s)
		sql_free(s->q);
	free(s);
	return NULL;
}

int store_error(struct store *s, int r, struct fail *f)
{
	return sql_fail(s->q, r, f);
}

int store_begin(struct store *s)
{
	return sql_begin(s->q);
}

static int committed(struct store *s)
{
	int r = sql_commit(s->q);
	bool audited = s->audited;

	s->audited = false;
	if (r == 0 && audited && s->on_audit)
		s->on_audit(s->on_audit_cookie);
	return r;
}

int store_commit(struct store *s)
{
	return committed(s);
}

void store_rollback(struct store *s)
{
	s->audited = false;
	sql_rollback(s->q);
}

int store_enter(struct store *s, bool *ret_mine)
{
	*ret_mine = !sql_in_transaction(s->q);
	return *ret_mine ? sql_begin(s->q) : 0;
}

int store_leave(struct store *s, bool mine, int r)
{
	if (mine && r == 0)
		return committed(s);
	if (mine)
		store_rollback(s);
	return r;
}

void store_cut(char *out, size_t room, const char *text)
{
	size_t len = strlen(text);

	if (len >= room)
		for (len = room - 1; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
			len--;
	memcpy(out, text, len);
	out[len] = 0;
	plain_make(out, false);
}

int store_first(struct sql_rows *rows)
{
	int r = sql_next(rows);

	return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

/* ---- trust ------------------------------------------------------------------ */

static int compare_root(struct store *s, uint64_t version, const void *envelope, size_t len)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	const void *have;
	size_t have_len;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT version, envelope FROM root ORDER BY version DESC LIMIT 1", "");
	if (r == 0)
		r = store_first(rows);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (version != sql_u64(rows, 0))
		return version < sql_u64(rows, 0) ? -ESTALE : 0;
	have = sql_blob(rows, 1, &have_len);
	return have_len == len && memcmp(have, envelope, len) == 0 ? -EEXIST : -EILSEQ;
}

int store_put_root(struct store *s, uint64_t version, const void *envelope, size_t len,
		   uint64_t now_ms, uint32_t actor_uid)
{
	bool mine;
	int r;

	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	r = compare_root(s, version, envelope, len);
	if (r == 0)
		r = sql_run(s->q,
			    "INSERT INTO root(version, envelope, imported_ms, actor_uid)"
			    " VALUES(?, ?, ?, ?)",
			    "ubuu", version, envelope, len, now_ms, (uint64_t)actor_uid);
	return store_leave(s, mine, r);
}

int store_ask_envelope(struct store *s, const char *query, uint8_t **ret_envelope,
		       size_t *ret_len)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	const void *envelope;
	uint8_t *copy;
	size_t len;
	int r;

	r = sql_ask(s->q, &rows, query, "");
	if (r == 0)
		r = store_first(rows);
	if (r < 0)
		return r;
	envelope = sql_blob(rows, 0, &len);
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, envelope, len);
	copy[len] = 0;
	*ret_envelope = copy;
	*ret_len = len;
	return 0;
}

int store_get_root(struct store *s, uint8_t **ret_envelope, size_t *ret_len)
{
	return store_ask_envelope(s, "SELECT envelope FROM root ORDER BY version DESC LIMIT 1",
				  ret_envelope, ret_len);
}

int store_each_root(struct store *s, int (*fn)(const struct store_root *root, void *cookie),
		    void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT envelope, imported_ms, actor_uid FROM root ORDER BY version", "");
	while (r == 0 && (r = sql_next(rows)) > 0) {
		struct store_root root = {.imported_ms = sql_u64(rows, 1),
					  .actor_uid = (uint32_t)sql_u64(rows, 2)};

		root.envelope = sql_blob(rows, 0, &root.len);
		if (fn(&root, cookie) != 0)
			return 0;
		r = 0;
	}
	return r;
}

int store_put_revocation(struct store *s, const uint8_t sha256[32], const void *envelope,
			 size_t len, uint64_t now_ms, uint32_t actor_uid)
{
	return sql_run(s->q,
		       "INSERT INTO revocation(sha256, envelope, imported_ms, actor_uid)"
		       " VALUES(?, ?, ?, ?) ON CONFLICT(sha256)"
		       " DO UPDATE SET envelope = excluded.envelope",
		       "bbuu", (const void *)sha256, (size_t)32, envelope, len, now_ms,
		       (uint64_t)actor_uid);
}

int store_each_revocation(struct store *s,
			  int (*fn)(const void *envelope, size_t len, void *cookie),
			  void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT envelope FROM revocation ORDER BY rowid", "");
	while (r == 0 && (r = sql_next(rows)) > 0) {
		size_t len;
		const void *envelope = sql_blob(rows, 0, &len);

		if (fn(envelope, len, cookie) != 0)
			return 0;
		r = 0;
	}
	return r;
}

/* ---- versions --------------------------------------------------------------- */

#define VERSION_COLUMNS                                                                     \
	"name, serial, label, title, digest, manifest_sha256, object_sha256, bundle_bytes," \
	" imported_ms, imported_uid, quarantined, reason, id, barred"

static int read_version(struct sql_rows *rows, struct store_version *v)
{
	int r;

	memset(v, 0, sizeof(*v));
	v->serial = sql_u64(rows, 1);
	v->bundle_bytes = sql_u64(rows, 7);
	v->imported_ms = sql_u64(rows, 8);
	v->imported_uid = (uint32_t)sql_u64(rows, 9);
	v->quarantined = sql_u64(rows, 10) != 0;
	r = sql_text_fit(rows, 0, v->name, sizeof(v->name));
	if (r == 0)
		r = sql_text_fit(rows, 2, v->label, sizeof(v->label));
	if (r == 0)
		r = sql_text_fit(rows, 3, v->title, sizeof(v->title));
	if (r == 0)
		r = sql_text_fit(rows, 11, v->reason, sizeof(v->reason));
	if (r == 0)
		r = sql_text_fit(rows, 13, v->barred, sizeof(v->barred));
	if (r == 0)
		r = sql_blob_exact(rows, 4, v->digest, sizeof(v->digest));
	if (r == 0)
		r = sql_blob_exact(rows, 5, v->manifest_sha256, sizeof(v->manifest_sha256));
	if (r == 0)
		r = sql_blob_exact(rows, 6, v->object_sha256, sizeof(v->object_sha256));
	return r;
}

static int get_version(struct store *s, const char *name, uint64_t serial,
		       struct store_version *ret_version, uint64_t *ret_id)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_version v;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT " VERSION_COLUMNS " FROM version WHERE name = ? AND serial = ?",
		    "su", name, serial);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		r = read_version(rows, &v);
	if (r < 0)
		return r;
	if (ret_version)
		*ret_version = v;
	if (ret_id)
		*ret_id = sql_u64(rows, 12);
	return 0;
}

int store_get_version(struct store *s, const char *name, uint64_t serial,
		      struct store_version *ret_version)
{
	return get_version(s, name, serial, ret_version, NULL);
}

static int insert_version(struct store *s, const struct store_version *v, const void *bundle,
			  size_t len)
{
	int r;

	r = sql_run(s->q,
		    "INSERT INTO version(name, serial, label, title, digest, manifest_sha256,"
		    " object_sha256, bundle_bytes, imported_ms, imported_uid)"
		    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		    "sussbbbuuu", v->name, v->serial, v->label, v->title,
		    (const void *)v->digest, sizeof(v->digest),
		    (const void *)v->manifest_sha256, sizeof(v->manifest_sha256),
		    (const void *)v->object_sha256, sizeof(v->object_sha256), (uint64_t)len,
		    v->imported_ms, (uint64_t)v->imported_uid);
	if (r < 0)
		return r;
	return sql_run(s->q, "INSERT INTO bundle(id, bytes) VALUES(?, ?)", "ub",
		       sql_last_id(s->q), bundle, len);
}

/* The same manifest, signed by others (after a key was revoked): still the same version. */
static int replace_bundle(struct store *s, uint64_t id, const struct store_version *v,
			  const void *bundle, size_t len)
{
	int r;

	r = sql_run(s->q,
		    "UPDATE version SET digest = ?, bundle_bytes = ?, imported_ms = ?,"
		    " imported_uid = ? WHERE id = ?",
		    "buuuu", (const void *)v->digest, sizeof(v->digest), (uint64_t)len,
		    v->imported_ms, (uint64_t)v->imported_uid, id);
	if (r < 0)
		return r;
	return sql_run(s->q, "UPDATE bundle SET bytes = ? WHERE id = ?", "bu", bundle, len, id);
}

/* All zero is no digest, it is one that nobody filled in. */
static bool same_manifest(const struct store_version *a, const struct store_version *b)
{
	static const uint8_t none[BYTES_SHA256];

	return memcmp(a->manifest_sha256, b->manifest_sha256, sizeof(none)) == 0 &&
	       memcmp(a->manifest_sha256, none, sizeof(none)) != 0;
}

int store_put_version(struct store *s, const struct store_version *v, const void *bundle,
		      size_t len)
{
	struct store_version have;
	uint64_t id;
	bool mine;
	int r;

	if (!hook_name_valid(v->name))
		return -EINVAL;
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	r = get_version(s, v->name, v->serial, &have, &id);
	if (r == -ENOENT)
		r = insert_version(s, v, bundle, len);
	else if (r == 0 && memcmp(have.digest, v->digest, sizeof(v->digest)) == 0)
		r = -EEXIST;
	else if (r == 0 && same_manifest(&have, v))
		r = replace_bundle(s, id, v, bundle, len);
	else if (r == 0)
		r = -EILSEQ;
	return store_leave(s, mine, r);
}

int store_newest_serial(struct store *s, const char *name, uint64_t *ret_serial)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT serial FROM version WHERE name = ? ORDER BY serial DESC LIMIT 1",
		    "s", name);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		*ret_serial = sql_u64(rows, 0);
	return r;
}

int store_get_bundle(struct store *s, const char *name, uint64_t serial, uint8_t **ret_bundle,
		     size_t *ret_len)
{
	uint64_t id;
	int r;

	r = get_version(s, name, serial, NULL, &id);
	if (r < 0)
		return r;
	return sql_read_blob(s->q, "bundle", "bytes", id, ret_bundle, ret_len);
}

/* For statements on one row: -ENOENT when there was none. */
static int found(struct store *s, int r)
{
	return r == 0 && sql_changed(s->q) == 0 ? -ENOENT : r;
}

int store_delete_version(struct store *s, const char *name, uint64_t serial)
{
	return found(s, sql_run(s->q, "DELETE FROM version WHERE name = ? AND serial = ?", "su",
				name, serial));
}

int store_quarantine(struct store *s, const char *name, uint64_t serial, bool on,
		     const char *reason)
{
	char text[sizeof(((struct store_version *)0)->reason)];

	store_cut(text, sizeof(text), on && reason ? reason : "");
	return found(s, sql_run(s->q,
				"UPDATE version SET quarantined = ?, reason = ?"
				" WHERE name = ? AND serial = ?",
				"ussu", (uint64_t)on, text, name, serial));
}

int store_bar(struct store *s, const char *name, uint64_t serial, const char *why)
{
	char text[sizeof(((struct store_version *)0)->barred)];

	store_cut(text, sizeof(text), why);
	return found(s, sql_run(s->q,
				"UPDATE version SET barred = ? WHERE name = ? AND serial = ?",
				"ssu", text, name, serial));
}

int store_each_version(struct store *s, const char *name,
		       int (*fn)(const struct store_version *v, void *cookie), void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_version v;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT " VERSION_COLUMNS " FROM version WHERE ?1 IS NULL OR name = ?1"
		    " ORDER BY name, serial",
		    "s", name);
	while (r == 0 && (r = sql_next(rows)) > 0) {
		r = read_version(rows, &v);
		if (r == 0 && fn(&v, cookie) != 0)
			return 0;
	}
	return r;
}

/* ---- what should run -------------------------------------------------------- */

#define HOTFIX_COLUMNS "name, committed_serial, high_water, disabled, boot_id, observe"

static int read_hotfix(struct sql_rows *rows, struct store_hotfix *h)
{
	int r;

	memset(h, 0, sizeof(*h));
	h->committed_serial = sql_u64(rows, 1);
	h->high_water = sql_u64(rows, 2);
	h->disabled = sql_u64(rows, 3) != 0;
	h->observe = sql_u64(rows, 5) != 0;
	r = sql_text_fit(rows, 0, h->name, sizeof(h->name));
	if (r == 0)
		r = sql_text_fit(rows, 4, h->boot_id, sizeof(h->boot_id));
	return r;
}

int store_get_hotfix(struct store *s, const char *name, struct store_hotfix *ret_hotfix)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_hotfix h;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT " HOTFIX_COLUMNS " FROM hotfix WHERE name = ? AND removed = 0", "s",
		    name);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		r = read_hotfix(rows, &h);
	if (r == 0)
		*ret_hotfix = h;
	return r;
}

/* The serial on top of the stack of commits, 0 when it is empty. */
static int top_commit(struct store *s, const char *name, uint64_t *ret_serial)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT serial FROM commit_log WHERE name = ? AND live = 1"
		    " ORDER BY id DESC LIMIT 1",
		    "s", name);
	if (r == 0)
		r = sql_next(rows);
	if (r < 0)
		return r;
	*ret_serial = r > 0 ? sql_u64(rows, 0) : 0;
	return 0;
}

static int remember_commit(struct store *s, const char *name, uint64_t serial)
{
	uint64_t top;
	int r;

	r = top_commit(s, name, &top);
	if (r < 0 || top == serial)
		return r;
	/* Back to a serial of the stack: it and what stood on it leave, it comes on top again.
	 */
	r = sql_run(s->q,
		    "UPDATE commit_log SET live = 0 WHERE name = ?1 AND live = 1 AND id >="
		    " (SELECT id FROM commit_log WHERE name = ?1 AND live = 1 AND serial = ?2)",
		    "su", name, serial);
	if (r < 0)
		return r;
	return sql_run(s->q, "INSERT INTO commit_log(name, serial, live) VALUES(?, ?, 1)", "su",
		       name, serial);
}

int store_put_hotfix(struct store *s, const struct store_hotfix *h)
{
	uint64_t high =
		h->high_water > h->committed_serial ? h->high_water : h->committed_serial;
	bool mine;
	int r;

	if (!hook_name_valid(h->name))
		return -EINVAL;
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	r = sql_run(s->q,
		    "INSERT INTO hotfix(name, committed_serial, high_water, disabled, removed,"
		    " boot_id, observe) VALUES(?, ?, ?, ?, 0, ?, ?) ON CONFLICT(name) DO UPDATE"
		    " SET committed_serial = excluded.committed_serial,"
		    " high_water = max(high_water, excluded.high_water),"
		    " disabled = excluded.disabled, removed = 0, boot_id = excluded.boot_id,"
		    " observe = excluded.observe",
		    "suuusu", h->name, h->committed_serial, high, (uint64_t)h->disabled,
		    h->boot_id, (uint64_t)h->observe);
	if (r == 0 && h->committed_serial)
		r = remember_commit(s, h->name, h->committed_serial);
	return store_leave(s, mine, r);
}

static int delete_hotfix(struct store *s, const char *name)
{
	int r, deleted;

	r = sql_run(s->q, "DELETE FROM version WHERE name = ?", "s", name);
	deleted = sql_changed(s->q);
	if (r == 0)
		r = sql_run(s->q,
			    "UPDATE hotfix SET removed = 1, committed_serial = 0, disabled = 0"
			    " WHERE name = ? AND removed = 0",
			    "s", name);
	deleted += sql_changed(s->q);
	/* A later hot-fix of that name starts without a way back. */
	if (r == 0)
		r = sql_run(s->q, "UPDATE commit_log SET live = 0 WHERE name = ? AND live = 1",
			    "s", name);
	return r == 0 && deleted == 0 ? -ENOENT : r;
}

int store_delete_hotfix(struct store *s, const char *name)
{
	bool mine;
	int r;

	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	return store_leave(s, mine, delete_hotfix(s, name));
}

int store_each_hotfix(struct store *s, int (*fn)(const struct store_hotfix *h, void *cookie),
		      void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_hotfix h;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT " HOTFIX_COLUMNS " FROM hotfix WHERE removed = 0 ORDER BY name",
		    "");
	while (r == 0 && (r = sql_next(rows)) > 0) {
		r = read_hotfix(rows, &h);
		if (r == 0 && fn(&h, cookie) != 0)
			return 0;
	}
	return r;
}

int store_high_water(struct store *s, const char *name, uint64_t *ret_serial)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(
		s->q, &rows,
		"SELECT CASE WHEN r.name IS NULL THEN h.high_water ELSE max(r.floor, coalesce("
		"(SELECT max(c.serial) FROM commit_log c WHERE c.name = h.name"
		" AND c.id > r.after_commit), 0)) END"
		" FROM hotfix h LEFT JOIN serial_reset r ON r.name = h.name WHERE h.name = ?",
		"s", name);
	if (r == 0)
		r = sql_next(rows);
	if (r < 0)
		return r;
	*ret_serial = r > 0 ? sql_u64(rows, 0) : 0;
	return 0;
}

int store_previous_serial(struct store *s, const char *name, uint64_t current,
			  uint64_t *ret_serial)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT c.serial FROM commit_log c JOIN version v"
		    " ON v.name = c.name AND v.serial = c.serial AND v.quarantined = 0"
		    " AND v.barred = ''"
		    " WHERE c.name = ?1 AND c.live = 1 AND c.id <"
		    " (SELECT id FROM commit_log WHERE name = ?1 AND live = 1 AND serial = ?2)"
		    " ORDER BY c.id DESC LIMIT 1",
		    "su", name, current);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		*ret_serial = sql_u64(rows, 0);
	return r;
}

int store_was_committed(struct store *s, const char *name, uint64_t serial, bool *ret_was)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT EXISTS(SELECT 1 FROM commit_log WHERE name = ? AND serial = ?)",
		    "su", name, serial);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		*ret_was = sql_u64(rows, 0) != 0;
	return r;
}
