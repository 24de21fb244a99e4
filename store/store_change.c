// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/plain.h"
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#define CHANGE_COLUMNS                                                                      \
	"id, name, verb, serial, from_serial, boot_id, actor_uid, started_ms, finished_ms," \
	" outcome, code, detail, log, evidence"

void store_change_clear(struct store_change *c)
{
	free(c->log);
	json_decref(c->evidence);
	memset(c, 0, sizeof(*c));
}

int store_begin_change(struct store *s, const struct store_change *c, uint64_t *ret_id)
{
	AUTO_FREE char *evidence = NULL;
	bool mine;
	int r;

	if (c->name[0] && !hook_name_valid(c->name))
		return -EINVAL;
	if (c->evidence) {
		evidence = json_dumps(c->evidence, JSON_COMPACT | JSON_ENCODE_ANY);
		if (!evidence)
			return -ENOMEM;
	}
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	r = sql_run(s->q,
		    "INSERT INTO change(name, verb, serial, from_serial, boot_id, actor_uid,"
		    " started_ms, evidence) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
		    "ssuusuus", c->name, c->verb, c->serial, c->from_serial, c->boot_id,
		    (uint64_t)c->actor_uid, c->started_ms, evidence);
	if (r == 0)
		*ret_id = sql_last_id(s->q);
	return store_leave(s, mine, r);
}

/* What is kept of a log: the end of a long one, which tells why. NULL: out of memory. */
static char *log_kept(const char *log)
{
	size_t len = strlen(log);
	char *kept;

	if (len > STORE_LOG_BYTES_MAX)
		log += len - STORE_LOG_BYTES_MAX;
	kept = strdup(log);
	if (kept)
		plain_make(kept, true);
	return kept;
}

static int outcome_of(struct store *s, uint64_t id, char *ret_outcome, size_t room)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT outcome FROM change WHERE id = ?", "u", id);
	if (r == 0)
		r = sql_next(rows);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return sql_text_fit(rows, 0, ret_outcome, room);
}

static int end_change(struct store *s, uint64_t id, uint64_t now_ms, const char *outcome,
		      const char *code, const char *detail, const char *log,
		      const char *evidence)
{
	char have[sizeof(((struct store_change *)0)->outcome)];
	char code_text[sizeof(((struct store_change *)0)->code)];
	char detail_text[sizeof(((struct store_change *)0)->detail)];
	int r;

	r = outcome_of(s, id, have, sizeof(have));
	if (r < 0)
		return r;
	if (have[0] && strcmp(have, "trial") != 0)
		return -EEXIST;
	store_cut(code_text, sizeof(code_text), code ? code : "");
	store_cut(detail_text, sizeof(detail_text), detail ? detail : "");
	return sql_run(s->q,
		       "UPDATE change SET outcome = ?, finished_ms = ?, code = ?, detail = ?,"
		       " log = coalesce(?, log), evidence = coalesce(?, evidence) WHERE id = ?",
		       "sussssu", outcome, now_ms ? now_ms : 1, code_text, detail_text, log,
		       evidence, id);
}

int store_end_change(struct store *s, uint64_t id, uint64_t now_ms, const char *outcome,
		     const char *code, const char *detail, const char *log_or_null,
		     const json_t *evidence_or_null)
{
	AUTO_FREE char *evidence = NULL, *log = NULL;
	bool mine;
	int r;

	if (!outcome[0])
		return -EINVAL;
	if (log_or_null) {
		log = log_kept(log_or_null);
		if (!log)
			return -ENOMEM;
	}
	if (evidence_or_null) {
		evidence = json_dumps(evidence_or_null, JSON_COMPACT | JSON_ENCODE_ANY);
		if (!evidence)
			return -ENOMEM;
	}
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	return store_leave(s, mine,
			   end_change(s, id, now_ms, outcome, code, detail, log, evidence));
}

int store_set_evidence(struct store *s, uint64_t id, const json_t *evidence)
{
	AUTO_FREE char *text = json_dumps(evidence, JSON_COMPACT | JSON_ENCODE_ANY);
	bool mine;
	int r;

	if (!text)
		return -ENOMEM;
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	return store_leave(
		s, mine,
		sql_run(s->q, "UPDATE change SET evidence = ? WHERE id = ?", "su", text, id));
}

static int read_change(struct sql_rows *rows, struct store_change *c)
{
	int r;

	memset(c, 0, sizeof(*c));
	c->id = sql_u64(rows, 0);
	c->serial = sql_u64(rows, 3);
	c->from_serial = sql_u64(rows, 4);
	c->actor_uid = (uint32_t)sql_u64(rows, 6);
	c->started_ms = sql_u64(rows, 7);
	c->finished_ms = sql_u64(rows, 8);
	r = sql_text_fit(rows, 1, c->name, sizeof(c->name));
	if (r == 0)
		r = sql_text_fit(rows, 2, c->verb, sizeof(c->verb));
	if (r == 0)
		r = sql_text_fit(rows, 5, c->boot_id, sizeof(c->boot_id));
	if (r == 0)
		r = sql_text_fit(rows, 9, c->outcome, sizeof(c->outcome));
	if (r == 0)
		r = sql_text_fit(rows, 10, c->code, sizeof(c->code));
	if (r == 0)
		r = sql_text_fit(rows, 11, c->detail, sizeof(c->detail));
	if (r < 0)
		return r;
	if (!sql_is_null(rows, 12)) {
		c->log = strdup(sql_text(rows, 12));
		if (!c->log)
			return -ENOMEM;
	}
	if (!sql_is_null(rows, 13)) {
		c->evidence = json_loads(sql_text(rows, 13), JSON_DECODE_ANY, NULL);
		if (!c->evidence) {
			store_change_clear(c);
			return -EUCLEAN;
		}
	}
	return 0;
}

int store_get_change(struct store *s, uint64_t id, struct store_change *ret_change)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT " CHANGE_COLUMNS " FROM change WHERE id = ?", "u", id);
	if (r == 0)
		r = sql_next(rows);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return read_change(rows, ret_change);
}

int store_each_change(struct store *s, const char *name, bool open_only, unsigned int limit,
		      int (*fn)(const struct store_change *c, void *cookie), void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_change c;
	int r;

	r = sql_ask(s->q, &rows,
		    open_only ? "SELECT " CHANGE_COLUMNS " FROM change WHERE outcome = ''"
				" AND (?1 IS NULL OR name = ?1) ORDER BY id LIMIT ?2"
			      : "SELECT " CHANGE_COLUMNS " FROM change"
				" WHERE ?1 IS NULL OR name = ?1 ORDER BY id DESC LIMIT ?2",
		    "su", name, (uint64_t)limit);
	while (r == 0 && (r = sql_next(rows)) > 0) {
		int stop;

		r = read_change(rows, &c);
		if (r < 0)
			break;
		stop = fn(&c, cookie);
		store_change_clear(&c);
		if (stop)
			return 0;
	}
	return r;
}
