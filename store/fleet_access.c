// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>

#include "store/fleet_private.h"

/* ---- tokens ----------------------------------------------------------------------- */

int fleet_add_token(struct fleet *f, const struct fleet_token *t,
		    const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "INSERT INTO token(hash, labels, actor, created_ms, expires_ms)"
	       " VALUES ($1, $2, $3, $4, $5)",
	       "bssuu", FLEET_ANY_BYTES(t->hash), t->labels, t->actor, t->created_ms,
	       t->expires_ms);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_drop_token(struct fleet *f, const uint8_t *hash, const struct fleet_entry *entry,
		     fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "DELETE FROM token WHERE hash = $1 AND used_ms = 0", "b",
	       FLEET_ANY_BYTES(hash));
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_tokens(struct fleet *f, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT hash, labels, actor, created_ms, expires_ms, used_ms, used_by"
			 " FROM token ORDER BY created_ms, hash",
			 "");
}

bool fleet_next_token(struct fleet_answer *a, struct fleet_token *ret_token)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_token = (struct fleet_token){
		.hash = fleet_hash(row, 0),
		.labels = db_text(row, 1),
		.actor = db_text(row, 2),
		.created_ms = db_u64(row, 3),
		.expires_ms = db_u64(row, 4),
		.used_ms = db_u64(row, 5),
		.used_by = db_text(row, 6),
	};
	return true;
}

/* ---- operators ---------------------------------------------------------------------- */

int fleet_add_operator(struct fleet *f, const struct fleet_operator *o,
		       const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "INSERT INTO operator(credential, name, role, created_ms, expires_ms)"
	       " VALUES ($1, $2, $3, $4, $5)",
	       "bssuu", FLEET_ANY_BYTES(o->credential), o->name, o->role, o->created_ms,
	       o->expires_ms);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_revoke_operator(struct fleet *f, const char *name, const struct fleet_entry *entry,
			  fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "UPDATE operator SET revoked_ms = $2 WHERE name = $1 AND revoked_ms = 0", "su",
	       name, entry->at_ms);
	db_wake(a->batch, FLEET_TOPIC_ACCESS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

#define OPERATORS \
	"SELECT credential, name, role, created_ms, expires_ms, revoked_ms FROM operator"

int fleet_operator(struct fleet *f, const uint8_t *credential, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, -ENOENT,
			 OPERATORS " WHERE credential = $1 AND revoked_ms = 0"
				   " AND (expires_ms = 0 OR expires_ms > hotfix_now_ms())",
			 "b", FLEET_ANY_BYTES(credential));
}

int fleet_operators(struct fleet *f, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0, OPERATORS " ORDER BY name, credential", "");
}

bool fleet_next_operator(struct fleet_answer *a, struct fleet_operator *ret_operator)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_operator = (struct fleet_operator){
		.credential = fleet_hash(row, 0),
		.name = db_text(row, 1),
		.role = db_text(row, 2),
		.created_ms = db_u64(row, 3),
		.expires_ms = db_u64(row, 4),
		.revoked_ms = db_u64(row, 5),
	};
	return true;
}

/* ---- guards -------------------------------------------------------------------------- */

int fleet_put_guard(struct fleet *f, const struct fleet_guard *g,
		    const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "INSERT INTO guard(kind, name, from_ms, until_ms, scope, reason, actor, at_ms)"
	       " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT(kind, name) DO UPDATE SET"
	       " from_ms = excluded.from_ms, until_ms = excluded.until_ms,"
	       " scope = excluded.scope, reason = excluded.reason, actor = excluded.actor,"
	       " at_ms = excluded.at_ms",
	       "ssuusssu", g->kind, g->name, g->from_ms, g->until_ms, g->scope ? g->scope : "",
	       g->reason ? g->reason : "", g->actor ? g->actor : "", g->at_ms);
	db_wake(a->batch, FLEET_TOPIC_GUARDS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_drop_guard(struct fleet *f, const char *kind, const char *name,
		     const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "DELETE FROM guard WHERE kind = $1 AND name = $2", "ss", kind, name);
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	db_wake(a->batch, FLEET_TOPIC_GUARDS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_guards(struct fleet *f, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT kind, name, from_ms, until_ms, scope, reason, actor, at_ms"
			 " FROM guard ORDER BY kind, name",
			 "");
}

bool fleet_next_guard(struct fleet_answer *a, struct fleet_guard *ret_guard)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_guard = (struct fleet_guard){
		.kind = db_text(row, 0),
		.name = db_text(row, 1),
		.from_ms = db_u64(row, 2),
		.until_ms = db_u64(row, 3),
		.scope = db_text(row, 4),
		.reason = db_text(row, 5),
		.actor = db_text(row, 6),
		.at_ms = db_u64(row, 7),
	};
	return true;
}
