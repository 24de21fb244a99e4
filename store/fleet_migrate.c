// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "store/fleet_private.h"

#define PAGE_ROWS 256

/* In an order in which they can be filled; the key comes first. */
static const struct table {
	const char *name, *columns, *fmt;
	size_t n_key;
	const char *empty; /* what is there in a new database */
	const char *clock; /* a column that goes by the database's own */
} tables[] = {
	{.name = "counter",
	 .columns = "name, value",
	 .fmt = "su",
	 .n_key = 1,
	 .empty = "value = 0"},
	{.name = "host",
	 .columns = "id, name, labels, held, max_serial, gone_ms, enrolled_ms, change, seq,"
		    " boot_id, kernel, arch, zone, facts, hotfixes, health, audit_seq,"
		    " audit_head, held_by, held_for, held_ms",
	 .fmt = "sssuuuuuusssssssubssu",
	 .n_key = 1},
	{.name = "seen", .columns = "host, at_ms", .fmt = "su", .n_key = 1, .clock = "at_ms"},
	{.name = "certificate",
	 .columns = "fingerprint, host, serial, issued_ms, expires_ms, revoked_ms, reason",
	 .fmt = "bssuuus",
	 .n_key = 1},
	{.name = "rollout",
	 .columns = "id, name, state, generation, epoch, owner, lease_until_ms, active,"
		    " created_ms, ended_ms",
	 .fmt = "sssuusuuuu",
	 .n_key = 1,
	 .clock = "lease_until_ms"},
	{.name = "rollout_host",
	 .columns = "rollout, host, name, held, state",
	 .fmt = "sssus",
	 .n_key = 2},
	{.name = "request", .columns = "seq, rollout, text", .fmt = "uss", .n_key = 1},
	{.name = "desired", .columns = "host, generation, change", .fmt = "suu", .n_key = 1},
	{.name = "word", .columns = "host, name, rollout, body", .fmt = "sssb", .n_key = 2},
	{.name = "version",
	 .columns = "name, serial, manifest_sha256",
	 .fmt = "sub",
	 .n_key = 2},
	{.name = "bundle",
	 .columns = "digest, name, serial, bytes, imported_ms, actor",
	 .fmt = "bsuuus",
	 .n_key = 1},
	{.name = "chunk", .columns = "digest, n, bytes", .fmt = "bub", .n_key = 2},
	{.name = "document",
	 .columns = "kind, name, version, imported_ms, actor, envelope",
	 .fmt = "ssuusb",
	 .n_key = 2},
	{.name = "token",
	 .columns = "hash, labels, actor, created_ms, expires_ms, used_ms, used_by",
	 .fmt = "bssuuus",
	 .n_key = 1},
	{.name = "operator",
	 .columns = "credential, name, role, created_ms, expires_ms, revoked_ms",
	 .fmt = "bssuuu",
	 .n_key = 1},
	{.name = "guard",
	 .columns = "kind, name, from_ms, until_ms, scope, reason, actor, at_ms",
	 .fmt = "ssuusssu",
	 .n_key = 2},
	{.name = "audit",
	 .columns = "seq, at_ms, actor, action, subject, result, detail, hash",
	 .fmt = "uusssssb",
	 .n_key = 1},
	{.name = "audit_head",
	 .columns = "one, seq, hash",
	 .fmt = "uub",
	 .n_key = 1,
	 .empty = "seq = 0"},
};

/* What is said about one table. */
struct texts {
	char first[512], next[768], insert[512], check[128], clear[64];
	char key[4]; /* the fmt of the key */
};

static void write_texts(const struct table *t, struct texts *x)
{
	size_t len = 0;
	const char *end = t->columns;

	for (size_t i = 0; i < t->n_key; i++)
		end += strcspn(end + (i > 0), ",") + (i > 0);
	len = (size_t)(end - t->columns);
	snprintf(x->key, sizeof(x->key), "%.*s", (int)t->n_key, t->fmt);
	snprintf(x->first, sizeof(x->first), "SELECT %s FROM %s ORDER BY %.*s LIMIT %d",
		 t->columns, t->name, (int)len, t->columns, PAGE_ROWS);
	snprintf(x->next, sizeof(x->next),
		 "SELECT %s FROM %s WHERE (%.*s) > (%s) ORDER BY %.*s LIMIT %d", t->columns,
		 t->name, (int)len, t->columns, t->n_key == 1 ? "$1" : "$1, $2", (int)len,
		 t->columns, PAGE_ROWS);
	snprintf(x->insert, sizeof(x->insert), "INSERT INTO %s(%s) SELECT * FROM %%v AS v",
		 t->name, t->columns);
	snprintf(x->check, sizeof(x->check), "SELECT 1 FROM %s WHERE NOT (%s) LIMIT 1", t->name,
		 t->empty ? t->empty : "1 = 0");
	snprintf(x->clear, sizeof(x->clear), "DELETE FROM %s", t->name);
}

/* ---- digests ------------------------------------------------------------------------ */

struct digest {
	crypto_hash_sha256_state state;
	uint64_t rows;
};

static void add_number(crypto_hash_sha256_state *h, uint64_t v)
{
	uint8_t buf[8];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(v >> (8 * i));
	crypto_hash_sha256_update(h, buf, sizeof(buf));
}

static void add_row(struct digest *d, const struct table *t, struct db_row row, size_t but)
{
	d->rows++;
	for (size_t i = 0; i < strlen(t->fmt); i++) {
		uint8_t type = db_is_null(row, i) ? 0 : (uint8_t)t->fmt[i];
		const void *p;
		size_t len;

		if (i == but)
			continue;
		crypto_hash_sha256_update(&d->state, &type, 1);
		p = db_blob(row, i, &len);
		add_number(&d->state, type == 'u' ? db_u64(row, i) : len);
		crypto_hash_sha256_update(&d->state, p, type == 'u' ? 0 : len);
	}
}

/* The number of a column; one that is not there for NULL. */
static size_t column_of(const struct table *t, const char *name)
{
	const char *p = name ? strstr(t->columns, name) : NULL;
	size_t n = 0;

	for (const char *c = t->columns; p && c < p; c++)
		n += *c == ',';
	return p ? n : SIZE_MAX;
}

/* The next page of a table, after the last row of the one before (NULL: the first). */
static void ask_page(struct db_batch *b, const struct texts *x, const struct db_batch *before)
{
	size_t n = before ? db_n_rows(before, 0) : 0;

	if (n == 0)
		db_add(b, x->first, "");
	else
		db_add_from(b, x->next, x->key, db_get(before, 0, n - 1));
}

static int read_page(struct fleet *f, const struct texts *x, const struct db_batch *before,
		     struct db_batch **ret_page, struct fail *reterr_fail)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	int r;

	if (!b)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	ask_page(b, x, before);
	r = db_run(f->db, b, reterr_fail);
	if (r == 0)
		*ret_page = take_ptr(b);
	return r;
}

static int digest_table(struct fleet *f, const struct table *t, struct digest *d,
			struct fail *reterr_fail)
{
	AUTO(db_batch_freep) struct db_batch *before = NULL;
	size_t n = PAGE_ROWS;
	struct texts x;
	int r;

	write_texts(t, &x);
	while (n == PAGE_ROWS) {
		struct db_batch *page = NULL;

		r = read_page(f, &x, before, &page, reterr_fail);
		if (r < 0)
			return r;
		n = db_n_rows(page, 0);
		for (size_t i = 0; i < n; i++)
			add_row(d, t, db_get(page, 0, i), column_of(t, t->clock));
		db_batch_free(before);
		before = page;
	}
	return 0;
}

int fleet_digest(struct fleet *f, uint8_t ret_sha256[32], struct fail *reterr_fail)
{
	struct digest d = {0};
	int r = 0;

	crypto_hash_sha256_init(&d.state);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tables); i++) {
		crypto_hash_sha256_update(&d.state, (const uint8_t *)tables[i].name,
					  strlen(tables[i].name) + 1);
		r = digest_table(f, &tables[i], &d, reterr_fail);
		add_number(&d.state, d.rows);
	}
	if (r == 0)
		crypto_hash_sha256_final(&d.state, ret_sha256);
	return r;
}

/* ---- migration ---------------------------------------------------------------------- */

struct migration {
	struct fleet *from;
	size_t n; /* the table that is copied, or checked */
	struct texts texts;
	struct db_batch *page; /* of the source, the last that was copied */
	bool checking;
	struct digest source, target;
	uint64_t rows;
	struct fail fail;
};

static void go_on(struct db_batch *b, void *cookie);

static void begin_table(struct db_batch *b, struct migration *m)
{
	write_texts(&tables[m->n], &m->texts);
	m->page = db_batch_free(m->page);
	m->checking = false;
	m->source = m->target = (struct digest){0};
	crypto_hash_sha256_init(&m->source.state);
	crypto_hash_sha256_init(&m->target.state);
	if (tables[m->n].empty)
		db_add(b, m->texts.clear, "");
	db_then(b, go_on, m);
}

static void copy_page(struct db_batch *b, struct migration *m)
{
	const struct table *t = &tables[m->n];
	struct db_batch *page = NULL;
	int r = read_page(m->from, &m->texts, m->page, &page, &m->fail);

	if (r < 0) {
		db_give_up(b, r);
		return;
	}
	db_batch_free(m->page);
	m->page = page;
	db_add_rows(b, m->texts.insert, t->fmt);
	for (size_t i = 0; i < db_n_rows(page, 0); i++) {
		add_row(&m->source, t, db_get(page, 0, i), SIZE_MAX);
		db_row_from(b, db_get(page, 0, i));
	}
	m->checking = db_n_rows(page, 0) < PAGE_ROWS;
	if (m->checking)
		ask_page(b, &m->texts, NULL);
	db_then(b, go_on, m);
}

static void compare(struct db_batch *b, struct migration *m)
{
	uint8_t source[32], target[32];

	crypto_hash_sha256_final(&m->source.state, source);
	crypto_hash_sha256_final(&m->target.state, target);
	if (m->source.rows != m->target.rows || memcmp(source, target, sizeof(source)) != 0) {
		fail_set(&m->fail, FAIL_STORAGE,
			 "table %s: %" PRIu64 " rows were copied and %" PRIu64
			 " are there, or not the same; nothing was stored",
			 tables[m->n].name, m->source.rows, m->target.rows);
		db_give_up(b, -EUCLEAN);
		return;
	}
	m->rows += m->source.rows;
	if (++m->n < ARRAY_SIZE(tables))
		begin_table(b, m);
}

/* have holds what was read back of the target, as its last statement. */
static void check_page(struct db_batch *b, struct migration *m, struct db_batch *have)
{
	size_t last = db_n_statements(have) - 1, n = db_n_rows(have, last);

	for (size_t i = 0; i < n; i++)
		add_row(&m->target, &tables[m->n], db_get(have, last, i), SIZE_MAX);
	if (n < PAGE_ROWS) {
		compare(b, m);
		return;
	}
	db_add_from(b, m->texts.next, m->texts.key, db_get(have, last, n - 1));
	db_then(b, go_on, m);
}

static void go_on(struct db_batch *b, void *cookie)
{
	AUTO(db_batch_freep) struct db_batch *have = db_take(b);
	struct migration *m = cookie;

	if (!have)
		return;
	if (m->checking)
		check_page(b, m, have);
	else
		copy_page(b, m);
}

/* The statements that ask whether it is empty outlive this: their texts do. */
static void ask_whether_empty(struct db_batch *b, struct texts *texts)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		write_texts(&tables[i], &texts[i]);
		db_add(b, texts[i].check, "");
		db_demand(b, 0);
	}
}

int fleet_migrate(struct fleet *from, struct fleet *to, uint64_t *ret_rows,
		  struct fail *reterr_fail)
{
	AUTO_FREE struct texts *texts = calloc(ARRAY_SIZE(tables), sizeof(*texts));
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	struct migration m = {.from = from};
	struct fail f = {0};
	int r;

	if (!b || !texts)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	ask_whether_empty(b, texts);
	begin_table(b, &m);
	r = db_run(to->db, b, &f);
	db_batch_free(m.page);
	if (r == -ESTALE) {
		fail_set(&f, FAIL_CONFLICT, "there is something in the database already");
		fail_hint(&f, "Migrate into a new database, or one whose tables were dropped.");
		r = -EEXIST;
	}
	if (r == 0)
		*ret_rows = m.rows;
	else if (reterr_fail)
		*reterr_fail = m.fail.message[0] ? m.fail : f;
	return r;
}
