// SPDX-License-Identifier: BSD-2-Clause
/*
 * The chain (store/chain.h), of rows
 *
 *	"hotfixd audit 1\n"  seq u64  at_ms u64  actor_uid u32
 *	action, subject, result, and the stored JSON text of detail, if there is one
 *
 * seq runs from 1 without gaps. Whoever can write the file can write a new chain: what proves that the end
 * was not cut off or replaced is a head that was exported before.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "store/bytes.h"
#include "store/chain.h"
#include "store/checkpoint.h"
#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

#define DOMAIN	   "hotfixd audit 1\n"
#define TEXT_BYTES 256

struct row {
	uint64_t seq, at_ms;
	uint32_t actor_uid;
	const char *action, *subject, *result, *detail;
};

static void row_hash(const uint8_t previous[BYTES_SHA256], const struct row *row,
		     uint8_t ret_hash[BYTES_SHA256])
{
	chain_hash(previous, ret_hash, DOMAIN, "uudssss", row->seq, row->at_ms, row->actor_uid,
		   row->action, row->subject, row->result, row->detail);
}

/* The newest row's number and hash; 0 and zeros before the first. */
static int head(struct store *s, uint64_t *ret_seq, uint8_t ret_hash[BYTES_SHA256])
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	*ret_seq = 0;
	memset(ret_hash, 0, BYTES_SHA256);
	r = sql_ask(s->q, &rows, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", "");
	if (r == 0)
		r = sql_next(rows);
	if (r <= 0)
		return r;
	*ret_seq = sql_u64(rows, 0);
	return sql_blob_exact(rows, 1, ret_hash, BYTES_SHA256);
}

static int append(struct store *s, struct row *row)
{
	uint8_t previous[BYTES_SHA256], hash[BYTES_SHA256];
	int r;

	r = head(s, &row->seq, previous);
	if (r < 0)
		return r;
	row->seq++;
	row_hash(previous, row, hash);
	return sql_run(
		s->q,
		"INSERT INTO audit(seq, at_ms, actor_uid, action, subject, result, detail,"
		" hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
		"uuussssb", row->seq, row->at_ms, (uint64_t)row->actor_uid, row->action,
		row->subject, row->result, row->detail, (const void *)hash, sizeof(hash));
}

int store_audit(struct store *s, uint64_t now_ms, uint32_t actor_uid, const char *action,
		const char *subject, const char *result, const json_t *detail_or_null)
{
	/* Any of them may quote what a stranger asked for. */
	char action_text[TEXT_BYTES], subject_text[TEXT_BYTES], result_text[TEXT_BYTES];
	AUTO_FREE char *detail = NULL;
	struct row row = {
		.at_ms = now_ms,
		.actor_uid = actor_uid,
		.action = action_text,
		.subject = subject_text,
		.result = result_text,
	};
	bool mine;
	int r;

	store_cut(action_text, sizeof(action_text), action);
	store_cut(subject_text, sizeof(subject_text), subject ? subject : "");
	store_cut(result_text, sizeof(result_text), result);
	if (detail_or_null) {
		detail = json_dumps(detail_or_null, JSON_COMPACT | JSON_ENCODE_ANY);
		if (!detail)
			return -ENOMEM;
		row.detail = detail;
	}
	r = store_enter(s, &mine);
	if (r < 0)
		return r;
	s->audited = true;
	return store_leave(s, mine, append(s, &row));
}

void store_on_audit(struct store *s, void (*fn)(void *cookie), void *cookie)
{
	s->on_audit = fn;
	s->on_audit_cookie = cookie;
}

int store_audit_head(struct store *s, uint64_t *ret_seq, uint8_t ret_hash[32])
{
	return head(s, ret_seq, ret_hash);
}

#define AUDIT_COLUMNS "seq, at_ms, actor_uid, action, subject, result, detail, hash"

/* Texts point into rows. */
static void read_row(struct sql_rows *rows, struct row *row)
{
	*row = (struct row){
		.seq = sql_u64(rows, 0),
		.at_ms = sql_u64(rows, 1),
		.actor_uid = (uint32_t)sql_u64(rows, 2),
		.action = sql_text(rows, 3),
		.subject = sql_text(rows, 4),
		.result = sql_text(rows, 5),
		.detail = sql_is_null(rows, 6) ? NULL : sql_text(rows, 6),
	};
}

static json_t *row_json(struct sql_rows *rows)
{
	char at[CLOCK_TIMESTAMP_BYTES], hex[BYTES_SHA256_HEX];
	uint8_t hash[BYTES_SHA256];
	json_t *detail = NULL;
	struct row row;

	read_row(rows, &row);
	if (sql_blob_exact(rows, 7, hash, sizeof(hash)) < 0)
		return NULL;
	if (row.detail)
		detail = json_loads(row.detail, JSON_DECODE_ANY, NULL);
	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:o*, s:s}", "seq",
			 (json_int_t)row.seq, "at", clock_format_timestamp(row.at_ms, at),
			 "actor_uid", (json_int_t)row.actor_uid, "action", row.action,
			 "subject", row.subject, "result", row.result, "detail", detail, "hash",
			 bytes_to_hex(hash, sizeof(hash), hex));
}

int store_audit_list(struct store *s, uint64_t after_seq, unsigned int limit, json_t **ret_rows)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	AUTO(json_decrefp) json_t *list = json_array();
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq > ? ORDER BY seq LIMIT ?",
		    "uu", after_seq, (uint64_t)limit);
	while (r == 0 && (r = sql_next(rows)) > 0)
		r = json_array_append_new(list, row_json(rows)) < 0 ? -EUCLEAN : 0;
	if (r < 0)
		return r;
	*ret_rows = take_ptr(list);
	return 0;
}

/* How many rows SQLite itself has numbered: more than there are means that some are gone. */
static int rows_ever(struct store *s, uint64_t *ret_rows)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT seq FROM sqlite_sequence WHERE name = 'audit'", "");
	if (r == 0)
		r = sql_next(rows);
	if (r < 0)
		return r;
	*ret_rows = r > 0 ? sql_u64(rows, 0) : 0;
	return 0;
}

/* 1: the next row continues the chain, and hash is now its own. 0: no more rows. */
static int verify_next(struct sql_rows *rows, uint64_t seq, uint8_t hash[BYTES_SHA256])
{
	uint8_t wanted[BYTES_SHA256], has[BYTES_SHA256];
	struct row row;
	int r = sql_next(rows);

	if (r <= 0)
		return r;
	read_row(rows, &row);
	row_hash(hash, &row, wanted);
	r = sql_blob_exact(rows, 7, has, sizeof(has));
	if (r < 0)
		return r;
	if (row.seq != seq || memcmp(has, wanted, sizeof(has)) != 0)
		return -EUCLEAN;
	memcpy(hash, has, sizeof(has));
	return 1;
}

int store_audit_verify(struct store *s, uint64_t *ret_rows, char ret_head_hex[65],
		       uint64_t *reterr_bad_seq)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	uint8_t hash[BYTES_SHA256] = {0};
	uint64_t seq = 0, ever;
	int r;

	r = sql_ask(s->q, &rows, "SELECT " AUDIT_COLUMNS " FROM audit ORDER BY seq", "");
	while (r == 0) {
		r = verify_next(rows, seq + 1, hash);
		if (r <= 0)
			break;
		seq++;
		r = 0;
	}
	if (r == 0)
		r = rows_ever(s, &ever);
	if (r == 0 && ever != seq)
		r = -EUCLEAN;
	if (r == -EUCLEAN && reterr_bad_seq)
		*reterr_bad_seq = seq + 1;
	if (r < 0)
		return r;
	*ret_rows = seq;
	bytes_to_hex(hash, sizeof(hash), ret_head_hex);
	return 0;
}

/* ---- checkpoints ------------------------------------------------------------ */

static int last_checkpoint(struct store *s, uint64_t *ret_seq)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	int r;

	r = sql_ask(s->q, &rows, "SELECT coalesce(max(seq), 0) FROM checkpoint", "");
	if (r == 0)
		r = store_first(rows);
	if (r == 0)
		*ret_seq = sql_u64(rows, 0);
	return r;
}

int store_checkpoint(struct store *s, struct key *host, uint64_t min_rows, uint64_t now_ms)
{
	struct checkpoint c = {.at_ms = now_ms};
	AUTO_FREE char *text = NULL;
	uint64_t last = 0;
	int r;

	r = head(s, &c.seq, c.head);
	if (r == 0)
		r = last_checkpoint(s, &last);
	if (r < 0 || c.seq < last + (min_rows ? min_rows : 1))
		return r;
	r = checkpoint_sign(&c, host, &text, NULL);
	return r < 0 ? r
		     : sql_run(s->q, "INSERT INTO checkpoint(seq, envelope) VALUES(?, ?)", "ub",
			       c.seq, (const void *)text, strlen(text));
}

int store_checkpoint_verify(struct store *s, const struct key_public *host, uint64_t *ret_count,
			    uint64_t *reterr_bad_seq)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	uint64_t n = 0;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT c.seq, c.envelope, a.hash FROM checkpoint c"
		    " LEFT JOIN audit a ON a.seq = c.seq ORDER BY c.seq",
		    "");
	while (r == 0 && (r = sql_next(rows)) > 0) {
		struct checkpoint c;
		uint8_t hash[BYTES_SHA256];
		const void *envelope;
		size_t len;

		envelope = sql_blob(rows, 1, &len);
		r = checkpoint_open(envelope, len, host, &c, NULL);
		if (r == 0)
			r = sql_blob_exact(rows, 2, hash, sizeof(hash));
		if (r < 0 || c.seq != sql_u64(rows, 0) ||
		    memcmp(c.head, hash, sizeof(hash)) != 0) {
			*reterr_bad_seq = sql_u64(rows, 0);
			return r == -ENOMEM ? r : -EUCLEAN;
		}
		n++;
	}
	if (r == 0)
		*ret_count = n;
	return r;
}
