// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "store/fleet_private.h"

/* A lease that ends later than leases last is of a time before the clock was set back; clocks of a
 * server and of the one that takes over from it differ by less than a minute. */
#define FREE                                                \
	"active = 1 AND (lease_until_ms <= hotfix_now_ms()" \
	" OR lease_until_ms > hotfix_now_ms() + 2 * $2 + 60000)"

#define ROLLOUT_COLUMNS                                                                \
	"id, name, state, generation, epoch, owner, lease_until_ms - hotfix_now_ms()," \
	" active, created_ms, ended_ms"

int fleet_new_rollout(struct fleet *f, const struct fleet_rollout *r,
		      const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "INSERT INTO rollout(id, name, state, generation, active, created_ms)"
	       " VALUES ($1, $2, $3, $4, 1, $5)",
	       "sssuu", r->id, r->name, r->state, r->generation, r->created_ms);
	db_wake(a->batch, FLEET_TOPIC_ROLLOUTS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

/* ---- owners ---------------------------------------------------------------------- */

int fleet_claim(struct fleet *f, const char *owner, uint64_t lease_ms, fleet_done_fn done,
		void *cookie)
{
	/* Asked twice: who waited for the lock of another's claim finds that lease in force. */
	return FLEET_ASK(
		f, done, cookie, -ENOENT,
		"UPDATE rollout SET owner = $1, epoch = epoch + 1,"
		" lease_until_ms = hotfix_now_ms() + $2 WHERE id = (SELECT id FROM rollout"
		"  WHERE " FREE " ORDER BY epoch, id LIMIT 1) AND " FREE
		" RETURNING " ROLLOUT_COLUMNS,
		"su", owner, lease_ms);
}

int fleet_renew(struct fleet *f, const char *owner, uint64_t lease_ms, fleet_done_fn done,
		void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "UPDATE rollout SET lease_until_ms = hotfix_now_ms() + $2"
			 " WHERE owner = $1 AND active = 1 RETURNING " ROLLOUT_COLUMNS,
			 "su", owner, lease_ms);
}

int fleet_release(struct fleet *f, const char *owner, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "UPDATE rollout SET lease_until_ms = 0 WHERE owner = $1 AND active = 1", "s",
	       owner);
	db_wake(a->batch, FLEET_TOPIC_ROLLOUTS);
	return fleet_submit(a);
}

/* ---- looking at them ---------------------------------------------------------------- */

int fleet_rollout(struct fleet *f, const char *id, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "SELECT " ROLLOUT_COLUMNS " FROM rollout WHERE id = $1", "s", id);
	db_add(a->batch,
	       "SELECT host, state, held FROM rollout_host WHERE rollout = $1 ORDER BY host",
	       "s", id);
	a->on_none = -ENOENT;
	return fleet_submit(a);
}

int fleet_rollout_header(struct fleet *f, const char *id, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, -ENOENT,
			 "SELECT " ROLLOUT_COLUMNS " FROM rollout WHERE id = $1", "s", id);
}

int fleet_rollouts(struct fleet *f, bool active_only, const char *after, uint32_t limit,
		   fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT " ROLLOUT_COLUMNS
			 " FROM rollout WHERE id > $1 AND active >= $2"
			 " ORDER BY id LIMIT $3",
			 "suu", after, (uint64_t)active_only, (uint64_t)limit);
}

bool fleet_next_rollout(struct fleet_answer *a, struct fleet_rollout *ret_rollout)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_rollout = (struct fleet_rollout){
		.id = db_text(row, 0),
		.name = db_text(row, 1),
		.state = db_text(row, 2),
		.generation = db_u64(row, 3),
		.epoch = db_u64(row, 4),
		.owner = db_text(row, 5),
		.lease_ms = (int64_t)db_u64(row, 6) < 0 ? 0 : db_u64(row, 6),
		.active = db_u64(row, 7) != 0,
		.created_ms = db_u64(row, 8),
		.ended_ms = db_u64(row, 9),
	};
	return true;
}

bool fleet_next_rollout_host(struct fleet_answer *a, struct fleet_rollout_host *ret_host)
{
	struct db_row row;

	if (!fleet_next(a, 1, 1, &row))
		return false;
	*ret_host = (struct fleet_rollout_host){
		.host = db_text(row, 0),
		.state = db_text(row, 1),
		.held = db_u64(row, 2) != 0,
	};
	return true;
}

/* ---- requests ------------------------------------------------------------------------ */

int fleet_ask(struct fleet *f, const char *rollout, const char *text,
	      const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_count_up(a, "request");
	db_add(a->batch,
	       "INSERT INTO request(seq, rollout, text) SELECT " FLEET_REQUEST_CHANGE
	       ", id, $2 FROM rollout WHERE id = $1 AND active = 1",
	       "ss", rollout, text);
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	db_wake(a->batch, FLEET_TOPIC_ROLLOUTS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_reopen(struct fleet *f, const char *rollout, const char *text,
		 const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "UPDATE rollout SET active = 1, ended_ms = 0, owner = '', lease_until_ms = 0"
	       " WHERE id = $1 AND active = 0",
	       "s", rollout);
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	fleet_count_up(a, "request");
	db_add(a->batch,
	       "INSERT INTO request(seq, rollout, text) VALUES (" FLEET_REQUEST_CHANGE
	       ", $1, $2)",
	       "ss", rollout, text);
	db_wake(a->batch, FLEET_TOPIC_ROLLOUTS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_requests(struct fleet *f, uint64_t seq, uint32_t limit, fleet_done_fn done,
		   void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT seq, rollout, text FROM request WHERE seq > $1 ORDER BY seq"
			 " LIMIT $2",
			 "uu", seq, (uint64_t)limit);
}

bool fleet_next_request(struct fleet_answer *a, struct fleet_request *ret_request)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_request = (struct fleet_request){
		.seq = db_u64(row, 0), .rollout = db_text(row, 1), .text = db_text(row, 2)};
	return true;
}

/* ---- one step -------------------------------------------------------------------------- */

static void step_rollout(struct fleet_answer *a, const struct fleet_step *s)
{
	db_add(a->batch,
	       "UPDATE rollout SET state = $4, generation = $8, active = $5, ended_ms = $6"
	       " WHERE id = $1 AND generation = $2 AND epoch = $3 AND name = $7"
	       " AND generation <= $8 AND active = 1",
	       "suusuusu", s->id, s->generation, s->epoch, s->state, (uint64_t)s->active,
	       s->active ? (uint64_t)0 : s->at_ms, s->name,
	       s->next ? s->next : s->generation + 1);
	db_demand(a->batch, 1);
	db_add(a->batch, "DELETE FROM request WHERE rollout = $1 AND seq <= $2", "su", s->id,
	       s->active ? s->requests_done : (uint64_t)INT64_MAX);
}

static void step_hosts(struct fleet_answer *a, const struct fleet_step *s)
{
	/* Whom it lets go first: two hosts may change places within one step of two rollouts. */
	db_add_rows(a->batch,
		    "INSERT INTO rollout_host(rollout, host, name, held, state)"
		    " SELECT * FROM %v AS v WHERE true ON CONFLICT(rollout, host)"
		    " DO UPDATE SET held = excluded.held, state = excluded.state",
		    "sssus");
	for (size_t i = 0; i < s->n_hosts; i++)
		db_row(a->batch, s->id, s->hosts[i].host, s->name, (uint64_t)s->hosts[i].held,
		       s->hosts[i].state);
	if (!s->active)
		db_add(a->batch,
		       "UPDATE rollout_host SET held = 0 WHERE rollout = $1 AND held = 1", "s",
		       s->id);
}

static void step_words(struct fleet_answer *a, const struct fleet_step *s)
{
	fleet_count_up(a, "desired");
	db_add_rows(a->batch,
		    "INSERT INTO desired(host, generation, change) SELECT column1, 1,"
		    " " FLEET_DESIRED_CHANGE " FROM %v AS v WHERE true"
		    " ON CONFLICT(host) DO UPDATE SET generation = desired.generation + 1,"
		    " change = excluded.change",
		    "s");
	for (size_t i = 0; i < s->n_words; i++)
		db_row(a->batch, s->words[i].host);
	/* What this rollout said; what a later one says is not its to withdraw. */
	db_add_rows(a->batch,
		    "DELETE FROM word WHERE EXISTS (SELECT 1 FROM %v AS v WHERE host = column1"
		    " AND name = column2 AND rollout = column3)",
		    "sss");
	for (size_t i = 0; i < s->n_words; i++)
		if (!s->words[i].body)
			db_row(a->batch, s->words[i].host, s->name, s->id);
	db_add_rows(
		a->batch,
		"INSERT INTO word(host, name, rollout, body) SELECT * FROM %v AS v WHERE true"
		" ON CONFLICT(host, name) DO UPDATE SET rollout = excluded.rollout,"
		" body = excluded.body",
		"sssb");
	for (size_t i = 0; i < s->n_words; i++)
		if (s->words[i].body)
			db_row(a->batch, s->words[i].host, s->name, s->id, s->words[i].body,
			       s->words[i].len);
	db_wake(a->batch, FLEET_TOPIC_WORDS);
}

int fleet_step(struct fleet *f, const struct fleet_step *s, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	step_rollout(a, s);
	step_hosts(a, s);
	if (s->n_words)
		step_words(a, s);
	for (size_t i = 0; i < s->n_entries; i++)
		fleet_write_down(a, &s->entries[i]);
	db_wake(a->batch, FLEET_TOPIC_STEPS);
	return fleet_submit(a);
}

/* ---- words ----------------------------------------------------------------------------- */

int fleet_words(struct fleet *f, const char *host, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "SELECT host, generation, change FROM desired WHERE host = $1", "s",
	       host);
	db_add(a->batch,
	       "SELECT host, name, rollout, body FROM word WHERE host = $1 ORDER BY name", "s",
	       host);
	return fleet_submit(a);
}

int fleet_desired_changed(struct fleet *f, uint64_t change, const char *host, uint32_t limit,
			  fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT host, generation, change FROM desired"
			 " WHERE (change, host) > ($1, $2) ORDER BY change, host LIMIT $3",
			 "usu", change, host, (uint64_t)limit);
}

bool fleet_next_desired(struct fleet_answer *a, struct fleet_desired *ret_desired)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_desired = (struct fleet_desired){.host = db_text(row, 0),
					      .generation = db_u64(row, 1),
					      .change = db_u64(row, 2)};
	return true;
}

bool fleet_next_word(struct fleet_answer *a, struct fleet_word *ret_word)
{
	struct db_row row;

	if (!fleet_next(a, 1, 1, &row))
		return false;
	*ret_word = (struct fleet_word){
		.host = db_text(row, 0), .name = db_text(row, 1), .rollout = db_text(row, 2)};
	ret_word->body = db_blob(row, 3, &ret_word->len);
	return true;
}
