// SPDX-License-Identifier: BSD-2-Clause
/*
 * What holds over restarts so that signed words are obeyed once and in time: nonces, the status of
 * the fleet, trusted time, marks that a root has reset; and what a member of a fleet goes on with.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/bundle.h" /* BUNDLE_BYTES_MAX */
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#define TIME_STEP_MS 60000

int store_put_catalog(struct store *s, const void *envelope, size_t len, uint64_t now_ms,
		      uint32_t actor_uid)
{
	return sql_run(s->q,
		       "INSERT INTO catalog(one, envelope, imported_ms, actor_uid)"
		       " VALUES(1, ?, ?, ?) ON CONFLICT(one) DO UPDATE SET"
		       " envelope = excluded.envelope, imported_ms = excluded.imported_ms,"
		       " actor_uid = excluded.actor_uid",
		       "buu", envelope, len, now_ms, (uint64_t)actor_uid);
}

int store_get_catalog(struct store *s, uint8_t **ret_envelope, size_t *ret_len)
{
	return store_ask_envelope(s, "SELECT envelope FROM catalog", ret_envelope, ret_len);
}

int store_nonce_used(struct store *s, const uint8_t nonce[16], bool *ret_used)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT EXISTS(SELECT 1 FROM directive WHERE nonce = ?)", "b",
		    (const void *)nonce, (size_t)16);
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		*ret_used = sql_u64(rows, 0) != 0;
	return r;
}

int store_use_nonce(struct store *s, const uint8_t nonce[16], const char *name,
		    uint64_t expires_ms, uint64_t now_ms)
{
	bool mine, used;
	int r;

	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	r = store_nonce_used(s, nonce, &used);
	if (r == 0 && used)
		r = -EEXIST;
	if (r == 0)
		r = sql_run(s->q, "DELETE FROM directive WHERE expires_ms < ?", "u", now_ms);
	if (r == 0)
		r = sql_run(s->q,
			    "INSERT INTO directive(nonce, name, expires_ms, used_ms)"
			    " VALUES(?, ?, ?, ?)",
			    "bsuu", (const void *)nonce, (size_t)16, name, expires_ms, now_ms);
	return store_leave(s, mine, r);
}

/* ---- time ------------------------------------------------------------------- */

int store_set_trusted_ms(struct store *s, const struct store_clock *now, uint64_t ms)
{
	return sql_run(s->q,
		       "INSERT INTO clock(one, trusted_ms, boot_id, up_ms) VALUES(1, ?, ?, ?)"
		       " ON CONFLICT(one) DO UPDATE SET trusted_ms = excluded.trusted_ms,"
		       " boot_id = excluded.boot_id, up_ms = excluded.up_ms",
		       "usu", ms, now->boot_id, now->up_ms);
}

int store_trusted_ms(struct store *s, const struct store_clock *now, bool keep,
		     uint64_t *ret_ms)
{
	uint64_t kept = 0, ms, up_ms = 0;
	bool same_boot = false;
	int r;

	{
		AUTO(sql_rows_freep) struct sql_rows *rows = NULL;

		r = sql_ask(s->q, &rows, "SELECT trusted_ms, up_ms, boot_id FROM clock", "");
		if (r == 0)
			r = sql_next(rows);
		if (r < 0)
			return r;
		if (r > 0) {
			kept = sql_u64(rows, 0);
			up_ms = sql_u64(rows, 1);
			same_boot = strcmp(sql_text(rows, 2), now->boot_id) == 0;
		}
	}
	ms = kept;
	if (same_boot && now->up_ms > up_ms)
		ms += now->up_ms - up_ms;
	if (now->real_ms > ms)
		ms = now->real_ms;
	if (keep && (!same_boot || ms >= kept + TIME_STEP_MS))
		store_set_trusted_ms(s, now, ms);
	*ret_ms = ms;
	return 0;
}

/* ---- marks ------------------------------------------------------------------ */

int store_reset_high_water(struct store *s, const char *name, uint64_t floor,
			   uint64_t root_version)
{
	return sql_run(s->q,
		       "INSERT INTO serial_reset(name, root_version, floor, after_commit)"
		       " VALUES(?, ?, ?, (SELECT coalesce(max(id), 0) FROM commit_log))"
		       " ON CONFLICT(name) DO UPDATE SET root_version = excluded.root_version,"
		       " floor = excluded.floor, after_commit = excluded.after_commit",
		       "suu", name, root_version, floor);
}

struct mark {
	char name[HOOK_NAME_MAX + 1];
	uint64_t was, is;
};

/* The next mark that is too low, after name. */
static int find_low(struct store *s, struct mark *m)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT t.name, coalesce(h.high_water, 0), t.serial FROM"
		    " (SELECT substr(subject, 1, instr(subject, '@') - 1) AS name,"
		    "  max(CAST(substr(subject, instr(subject, '@') + 1) AS INTEGER)) AS serial"
		    "  FROM audit WHERE action = 'apply' AND result = 'done' GROUP BY 1) t"
		    " LEFT JOIN hotfix h ON h.name = t.name"
		    " WHERE t.serial > coalesce(h.high_water, 0) AND t.name > ?"
		    " ORDER BY t.name LIMIT 1",
		    "s", m->name);
	if (r == 0)
		r = store_first(rows);
	if (r < 0)
		return r;
	m->was = sql_u64(rows, 1);
	m->is = sql_u64(rows, 2);
	return sql_text_fit(rows, 0, m->name, sizeof(m->name));
}

int store_mend_high_water(struct store *s,
			  void (*fn)(const char *name, uint64_t was, uint64_t is, void *cookie),
			  void *cookie)
{
	struct mark m = {0};
	int r;

	while ((r = find_low(s, &m)) == 0) {
		r = sql_run(s->q,
			    "INSERT INTO hotfix(name, committed_serial, high_water, disabled,"
			    " removed, boot_id) VALUES(?, 0, ?, 0, 1, '')"
			    " ON CONFLICT(name) DO UPDATE SET high_water = excluded.high_water",
			    "su", m.name, m.is);
		if (r < 0)
			return r;
		fn(m.name, m.was, m.is, cookie);
	}
	return r == -ENOENT ? 0 : r;
}

/* ---- a member of a fleet ------------------------------------------------------- */

int store_put_member(struct store *s, const struct store_member *m)
{
	return sql_run(
		s->q,
		"INSERT INTO member(one, seq, revocation, begun_ms, certificate, ca, url)"
		" VALUES(1, ?, ?, ?, ?, ?, ?) ON CONFLICT(one) DO UPDATE SET"
		" seq = excluded.seq, revocation = excluded.revocation,"
		" begun_ms = excluded.begun_ms, certificate = excluded.certificate,"
		" ca = excluded.ca, url = excluded.url",
		"uuusss", m->seq, m->revocation, m->begun_ms,
		m->certificate ? m->certificate : "", m->ca ? m->ca : "", m->url ? m->url : "");
}

int store_get_member(struct store *s, struct store_member *ret_member)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_member m;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT seq, revocation, begun_ms, certificate, ca, url FROM member", "");
	if (r == 0)
		r = store_first(rows);
	if (r < 0)
		return r;
	m = (struct store_member){.seq = sql_u64(rows, 0),
				  .revocation = sql_u64(rows, 1),
				  .begun_ms = sql_u64(rows, 2),
				  .certificate = strdup(sql_text(rows, 3)),
				  .ca = strdup(sql_text(rows, 4)),
				  .url = strdup(sql_text(rows, 5))};
	if (!m.certificate || !m.ca || !m.url) {
		store_member_clear(&m);
		return -ENOMEM;
	}
	*ret_member = m;
	return 0;
}

void store_member_clear(struct store_member *m)
{
	free(m->certificate);
	free(m->ca);
	free(m->url);
	*m = (struct store_member){0};
}

int store_put_word(struct store *s, const struct store_word *w)
{
	bool mine;
	int r = store_enter(s, &mine);

	if (r < 0)
		return r;
	if (w->newest)
		r = sql_run(s->q, "UPDATE word SET newest = 0 WHERE name = ? AND rollout <> ?",
			    "ss", w->name, w->rollout);
	if (r == 0)
		r = sql_run(s->q,
			    "INSERT INTO word(name, rollout, word, newest, body, state, code,"
			    " text, transient, change_id) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
			    " ON CONFLICT(name, rollout) DO UPDATE SET word = excluded.word,"
			    " newest = excluded.newest, body = excluded.body,"
			    " state = excluded.state, code = excluded.code,"
			    " text = excluded.text, transient = excluded.transient,"
			    " change_id = excluded.change_id",
			    "ssuussssuu", w->name, w->rollout, w->word, (uint64_t)w->newest,
			    w->body, w->state, w->code, w->text, (uint64_t)w->transient,
			    w->change_id);
	return store_leave(s, mine, r);
}

int store_delete_word(struct store *s, const char *name, const char *rollout)
{
	return sql_run(s->q, "DELETE FROM word WHERE name = ? AND rollout = ?", "ss", name,
		       rollout);
}

int store_put_part(struct store *s, const uint8_t sha256[32], uint64_t at, const void *bytes,
		   size_t len)
{
	bool mine;
	int r = store_enter(s, &mine);

	if (r < 0)
		return r;
	r = sql_run(s->q, "DELETE FROM part WHERE sha256 <> ? OR at >= ?", "bu",
		    (const void *)sha256, (size_t)32, at);
	if (r == 0)
		r = sql_run(s->q, "INSERT INTO part(sha256, at, bytes) VALUES(?, ?, ?)", "bub",
			    (const void *)sha256, (size_t)32, at, bytes, len);
	return store_leave(s, mine, r);
}

int store_get_parts(struct store *s, const uint8_t sha256[32], uint8_t **ret_bytes,
		    size_t *ret_len)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	AUTO_FREE uint8_t *all = NULL;
	size_t len = 0;
	int r;

	r = sql_ask(s->q, &rows, "SELECT at, bytes FROM part WHERE sha256 = ? ORDER BY at", "b",
		    (const void *)sha256, (size_t)32);
	while (r == 0 && (r = sql_next(rows)) > 0) {
		size_t n;
		const void *bytes = sql_blob(rows, 1, &n);
		uint8_t *grown;

		r = 0;
		if (sql_u64(rows, 0) != len || !n || n > BUNDLE_BYTES_MAX - len)
			break;
		grown = realloc(all, len + n);
		if (!grown)
			return -ENOMEM;
		all = grown;
		memcpy(all + len, bytes, n);
		len += n;
	}
	if (r < 0 || !len)
		return r < 0 ? r : -ENOENT;
	*ret_bytes = take_ptr(all);
	*ret_len = len;
	return 0;
}

int store_drop_parts(struct store *s)
{
	return sql_run(s->q, "DELETE FROM part", "");
}

int store_each_word(struct store *s, int (*fn)(const struct store_word *w, void *cookie),
		    void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT name, rollout, word, newest, body, state, code, text, transient,"
		    " change_id FROM word ORDER BY name, newest, rollout",
		    "");
	while (r == 0 && (r = sql_next(rows)) == 1) {
		struct store_word w = {.word = sql_u64(rows, 2),
				       .newest = sql_u64(rows, 3),
				       .body = sql_text(rows, 4),
				       .transient = sql_u64(rows, 8),
				       .change_id = sql_u64(rows, 9)};

		r = sql_text_fit(rows, 0, w.name, sizeof(w.name));
		if (r == 0)
			r = sql_text_fit(rows, 1, w.rollout, sizeof(w.rollout));
		if (r == 0)
			r = sql_text_fit(rows, 5, w.state, sizeof(w.state));
		if (r == 0)
			r = sql_text_fit(rows, 6, w.code, sizeof(w.code));
		if (r == 0)
			r = sql_text_fit(rows, 7, w.text, sizeof(w.text));
		if (r == 0)
			r = fn(&w, cookie);
	}
	return r;
}

int store_put_origin(struct store *s, const struct store_origin *o)
{
	return sql_run(s->q,
		       "INSERT INTO origin(name, rollout, serial, from_serial, at_ms)"
		       " VALUES(?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET"
		       " rollout = excluded.rollout, serial = excluded.serial,"
		       " from_serial = excluded.from_serial, at_ms = excluded.at_ms",
		       "ssuuu", o->name, o->rollout, o->serial, o->from_serial, o->at_ms);
}

int store_get_origin(struct store *s, const char *name, struct store_origin *ret_origin)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_origin o;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT rollout, serial, from_serial, at_ms FROM origin WHERE name = ?",
		    "s", name);
	if (r == 0)
		r = store_first(rows);
	if (r < 0)
		return r;
	o = (struct store_origin){.serial = sql_u64(rows, 1),
				  .from_serial = sql_u64(rows, 2),
				  .at_ms = sql_u64(rows, 3)};
	snprintf(o.name, sizeof(o.name), "%s", name);
	r = sql_text_fit(rows, 0, o.rollout, sizeof(o.rollout));
	if (r == 0)
		*ret_origin = o;
	return r;
}

bool store_has_digest(struct store *s, const uint8_t digest[32])
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;

	return sql_ask(s->q, &rows, "SELECT 1 FROM version WHERE digest = ?", "b",
		       (const void *)digest, (size_t)32) == 0 &&
	       store_first(rows) == 0;
}
