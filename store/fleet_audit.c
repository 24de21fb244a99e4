// SPDX-License-Identifier: BSD-2-Clause
/*
 * The chain (store/chain.h), of rows
 *
 *	"hotfix fleet audit 1\n"  seq u64  at_ms u64
 *	actor, action, subject, result, and the JSON text of detail, if there is one
 *
 * audit_head is taken last in each batch that writes, so controllers take turns there for the
 * length of a commit and nowhere else.
 */
#include <errno.h>
#include <string.h>

#include "lib/plain.h"
#include "store/bytes.h"
#include "store/chain.h"
#include "store/fleet_private.h"

#define DOMAIN	   "hotfix fleet audit 1\n"
#define TEXT_BYTES 256

struct copy {
	uint64_t at_ms;
	char actor[TEXT_BYTES], action[TEXT_BYTES], subject[TEXT_BYTES], result[TEXT_BYTES];
	char *detail;
};

struct fleet_audit_list {
	size_t n, room;
	struct copy *copies;
};

struct fleet_audit_list *fleet_audit_list_free(struct fleet_audit_list *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		free(l->copies[i].detail);
	if (l)
		free(l->copies);
	free(l);
	return NULL;
}

static void entry_hash(const uint8_t previous[BYTES_SHA256], uint64_t seq,
		       const struct fleet_entry *e, uint8_t ret_hash[BYTES_SHA256])
{
	chain_hash(previous, ret_hash, DOMAIN, "uusssss", seq, e->at_ms, e->actor, e->action,
		   e->subject, e->result, e->detail);
}

/* The head is ours until the commit: now the rows can be chained to it. */
static void on_head(struct db_batch *b, void *cookie)
{
	struct fleet_answer *a = cookie;
	const struct fleet_audit_list *l = a->audit;
	struct db_row head = db_get(b, db_n_statements(b) - 1, 0);
	uint64_t seq = db_u64(head, 0) - l->n;
	const uint8_t *stored = fleet_hash(head, 1);
	uint8_t hash[BYTES_SHA256];

	if (!stored) {
		db_give_up(b, -EUCLEAN);
		return;
	}
	memcpy(hash, stored, sizeof(hash));
	db_add_rows(
		b,
		"INSERT INTO audit(seq, at_ms, actor, action, subject, result, detail, hash)"
		" SELECT * FROM %v AS v",
		"uusssssb");
	for (size_t i = 0; i < l->n; i++) {
		const struct copy *c = &l->copies[i];
		struct fleet_entry e = {.at_ms = c->at_ms,
					.actor = c->actor,
					.action = c->action,
					.subject = c->subject,
					.result = c->result,
					.detail = c->detail};

		entry_hash(hash, ++seq, &e, hash);
		db_row(b, seq, e.at_ms, e.actor, e.action, e.subject, e.result, e.detail,
		       (const void *)hash, sizeof(hash));
	}
	db_add(b, "UPDATE audit_head SET hash = $1", "b", (const void *)hash, sizeof(hash));
	db_demand(b, 1);
}

void fleet_take_head(struct fleet_answer *a)
{
	db_add(a->batch, "UPDATE audit_head SET seq = seq + $1 RETURNING seq, hash", "u",
	       (uint64_t)a->audit->n);
	db_demand(a->batch, 1);
	db_then(a->batch, on_head, a);
}

/* What fits, never half a character, plain: any of them may quote what a stranger asked for. */
static void cut(char out[TEXT_BYTES], const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len >= TEXT_BYTES)
		for (len = TEXT_BYTES - 1;
		     len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
			len--;
	if (len)
		memcpy(out, text, len);
	out[len] = 0;
	plain_make(out, false);
}

static struct copy *add_copy(struct fleet_answer *a)
{
	struct fleet_audit_list *l = a->audit;
	struct copy *copies;

	if (!l)
		l = a->audit = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	if (l->n == l->room) {
		copies = reallocarray(l->copies, l->room * 2 + 1, sizeof(*copies));
		if (!copies)
			return NULL;
		l->copies = copies;
		l->room = l->room * 2 + 1;
	}
	return &l->copies[l->n];
}

void fleet_write_down(struct fleet_answer *a, const struct fleet_entry *entry)
{
	struct copy *c = add_copy(a);

	if (!c) {
		db_give_up(a->batch, -ENOMEM);
		return;
	}
	c->at_ms = entry->at_ms;
	cut(c->actor, entry->actor);
	cut(c->action, entry->action);
	cut(c->subject, entry->subject);
	cut(c->result, entry->result);
	c->detail = entry->detail ? strdup(entry->detail) : NULL;
	if (entry->detail && !c->detail) {
		db_give_up(a->batch, -ENOMEM);
		return;
	}
	a->audit->n++;
}

int fleet_audit(struct fleet *f, const struct fleet_entry *entry, fleet_done_fn done,
		void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

#define COLUMNS "seq, at_ms, actor, action, subject, result, detail, hash"

int fleet_audits(struct fleet *f, const char *subject, uint64_t seq, uint32_t limit,
		 fleet_done_fn done, void *cookie)
{
	if (subject)
		return FLEET_ASK(f, done, cookie, 0,
				 "SELECT " COLUMNS " FROM audit WHERE subject = $1 AND seq > $2"
				 " ORDER BY seq LIMIT $3",
				 "suu", subject, seq, (uint64_t)limit);
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT " COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
			 "uu", seq, (uint64_t)limit);
}

bool fleet_next_audit(struct fleet_answer *a, struct fleet_audit *ret_audit)
{
	struct db_row row;

	if (!fleet_next(a, 0, a->rows, &row))
		return false;
	*ret_audit = (struct fleet_audit){
		.seq = db_u64(row, 0),
		.entry = {.at_ms = db_u64(row, 1),
			  .actor = db_text(row, 2),
			  .action = db_text(row, 3),
			  .subject = db_text(row, 4),
			  .result = db_text(row, 5),
			  .detail = db_is_null(row, 6) ? NULL : db_text(row, 6)},
		.hash = fleet_hash(row, 7),
	};
	return true;
}

/* ---- verification ---------------------------------------------------------------- */

#define PAGE 512

int fleet_chain_follow(struct fleet_chain *c, struct fleet_answer *a, uint64_t *ret_rows)
{
	struct fleet_audit row;

	*ret_rows = 0;
	while (fleet_next_audit(a, &row)) {
		uint8_t hash[BYTES_SHA256];

		entry_hash(c->hash, c->seq + 1, &row.entry, hash);
		if (row.seq != c->seq + 1 || !row.hash ||
		    memcmp(hash, row.hash, sizeof(hash)) != 0)
			return -EUCLEAN;
		memcpy(c->hash, hash, sizeof(hash));
		c->seq++;
		++*ret_rows;
	}
	return 0;
}

/* 1: it goes on after this page; 0: that was the end; -EUCLEAN: after seq it is broken. */
static int verify_page(struct fleet *f, struct fleet_chain *c, struct fail *reterr_fail)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	uint64_t rows;
	int r;

	r = fleet_wait(f, fleet_audits(f, NULL, c->seq, PAGE, fleet_keep, &a), &a);
	if (r < 0) {
		if (reterr_fail && a)
			*reterr_fail = a->fail;
		return r;
	}
	r = fleet_chain_follow(c, a, &rows);
	return r < 0 ? r : rows > 0;
}

int fleet_chain_end(struct fleet *f, const struct fleet_chain *c, fleet_done_fn done,
		    void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "SELECT seq FROM audit_head WHERE seq = $1 AND hash = $2", "ub",
	       c->seq, FLEET_ANY_BYTES(c->hash));
	a->on_none = -EUCLEAN;
	return fleet_submit(a);
}

/* The end of the chain is where the head says: none was cut off. */
static int verify_head(struct fleet *f, const struct fleet_chain *c, struct fail *reterr_fail)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	const uint8_t *hash;
	struct db_row head;
	int r;

	if (!b)
		return -ENOMEM;
	db_add(b, "SELECT seq, hash FROM audit_head", "");
	db_demand(b, 1);
	r = db_run(f->db, b, reterr_fail);
	if (r < 0)
		return r;
	head = db_get(b, 0, 0);
	hash = fleet_hash(head, 1);
	return db_u64(head, 0) == c->seq && hash && memcmp(hash, c->hash, BYTES_SHA256) == 0
		       ? 0
		       : -EUCLEAN;
}

int fleet_audit_verify(struct fleet *f, uint64_t *ret_rows, char ret_head_hex[65],
		       uint64_t *reterr_bad_seq, struct fail *reterr_fail)
{
	struct fail f0 = {0};
	struct fleet_chain c = {0};
	int r;

	while ((r = verify_page(f, &c, &f0)) > 0)
		;
	if (r == 0)
		r = verify_head(f, &c, &f0);
	if (r == -EUCLEAN && f0.message[0] == 0) {
		if (reterr_bad_seq)
			*reterr_bad_seq = c.seq + 1;
		fail_set(&f0, FAIL_STORAGE, "the audit log is broken at row %llu",
			 (unsigned long long)c.seq + 1);
	}
	if (r < 0) {
		if (reterr_fail)
			*reterr_fail = f0;
		return r;
	}
	*ret_rows = c.seq;
	bytes_to_hex(c.hash, sizeof(c.hash), ret_head_hex);
	return 0;
}
