// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "store/fleet_private.h"

/* ---- bundles ---------------------------------------------------------------------- */

int fleet_put_bundle(struct fleet *f, const struct fleet_bundle *b, const void *bytes,
		     const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);
	const uint8_t *p = bytes;

	if (!a)
		return -ENOMEM;
	/* The same manifest may come again, signed by others; another one may not. */
	db_add(a->batch,
	       "INSERT INTO version(name, serial, manifest_sha256) VALUES ($1, $2, $3)"
	       " ON CONFLICT(name, serial) DO UPDATE SET manifest_sha256 = excluded.manifest_sha256"
	       " WHERE version.manifest_sha256 = excluded.manifest_sha256",
	       "sub", b->name, b->serial, FLEET_ANY_BYTES(b->manifest_sha256));
	db_demand(a->batch, 1);
	a->on_stale = -EILSEQ;
	db_add(a->batch,
	       "INSERT INTO bundle(digest, name, serial, bytes, imported_ms, actor)"
	       " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT(digest) DO NOTHING",
	       "bsuuus", FLEET_ANY_BYTES(b->digest), b->name, b->serial, b->bytes,
	       b->imported_ms, b->actor);
	db_add_rows(a->batch,
		    "INSERT INTO chunk(digest, n, bytes) SELECT * FROM %v AS v WHERE true"
		    " ON CONFLICT(digest, n) DO NOTHING",
		    "bub");
	for (uint64_t at = 0; at < b->bytes; at += FLEET_CHUNK_BYTES) {
		uint64_t left = b->bytes - at;

		db_row(a->batch, FLEET_ANY_BYTES(b->digest), at / FLEET_CHUNK_BYTES, p + at,
		       (size_t)(left < FLEET_CHUNK_BYTES ? left : FLEET_CHUNK_BYTES));
	}
	db_wake(a->batch, FLEET_TOPIC_STOCK);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

#define BUNDLES                                                                   \
	"SELECT digest, manifest_sha256, name, serial, bytes, imported_ms, actor" \
	" FROM bundle JOIN version USING (name, serial)"

int fleet_bundle(struct fleet *f, const uint8_t *digest, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, -ENOENT, BUNDLES " WHERE digest = $1", "b",
			 FLEET_ANY_BYTES(digest));
}

int fleet_bundles(struct fleet *f, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0, BUNDLES " ORDER BY name, serial, digest", "");
}

bool fleet_next_bundle(struct fleet_answer *a, struct fleet_bundle *ret_bundle)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_bundle = (struct fleet_bundle){
		.digest = fleet_hash(row, 0),
		.manifest_sha256 = fleet_hash(row, 1),
		.name = db_text(row, 2),
		.serial = db_u64(row, 3),
		.bytes = db_u64(row, 4),
		.imported_ms = db_u64(row, 5),
		.actor = db_text(row, 6),
	};
	return true;
}

/* What its serial means stays known. */
int fleet_drop_bundle(struct fleet *f, const uint8_t *digest, const struct fleet_entry *entry,
		      fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch, "DELETE FROM bundle WHERE digest = $1", "b", FLEET_ANY_BYTES(digest));
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	db_wake(a->batch, FLEET_TOPIC_STOCK);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_read_bundle(struct fleet *f, const uint8_t *digest, uint64_t offset, uint64_t len,
		      fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);
	uint64_t end = offset + len;

	if (!a)
		return -ENOMEM;
	a->offset = offset;
	a->len = len;
	db_add(a->batch, "SELECT bytes FROM bundle WHERE digest = $1", "b",
	       FLEET_ANY_BYTES(digest));
	db_add(a->batch,
	       "SELECT n, bytes FROM chunk WHERE digest = $1 AND n >= $2 AND n < $3 ORDER BY n",
	       "buu", FLEET_ANY_BYTES(digest), offset / FLEET_CHUNK_BYTES,
	       (end + FLEET_CHUNK_BYTES - 1) / FLEET_CHUNK_BYTES);
	a->on_none = -ENOENT;
	return fleet_submit(a);
}

bool fleet_next_bytes(struct fleet_answer *a, const void **ret_bytes, size_t *ret_len)
{
	struct db_row row;
	const uint8_t *p;
	uint64_t skip;
	size_t len;

	if (a->len == 0 || !fleet_next(a, 1, 1, &row))
		return false;
	p = db_blob(row, 1, &len);
	skip = a->offset - db_u64(row, 0) * FLEET_CHUNK_BYTES;
	if (skip >= len)
		return false;
	len -= skip;
	if (len > a->len)
		len = a->len;
	a->offset += len;
	a->len -= len;
	*ret_bytes = p + skip;
	*ret_len = len;
	return true;
}

uint64_t fleet_bundle_bytes(const struct fleet_answer *a)
{
	return a->r < 0 ? 0 : db_u64(db_get(a->batch, 0, 0), 0);
}

/* ---- documents ---------------------------------------------------------------------- */

int fleet_put_document(struct fleet *f, const struct fleet_document *d,
		       const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	if (!d->version) { /* the counter is locked: of two at once one is the later */
		fleet_count_up(a, "request");
		db_add(a->batch,
		       "INSERT INTO document(kind, name, version, imported_ms, actor, envelope)"
		       " SELECT $1, $2, COALESCE(MAX(version), 0) + 1, $3, $4, $5 FROM document"
		       " WHERE kind = $1 HAVING COUNT(CASE WHEN name = $2 THEN 1 END) = 0",
		       "ssusb", d->kind, d->name, d->imported_ms, d->actor, d->envelope,
		       d->len);
	} else
		db_add(a->batch,
		       "INSERT INTO document(kind, name, version, imported_ms, actor, envelope)"
		       " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT(kind, name) DO UPDATE SET"
		       " version = excluded.version, imported_ms = excluded.imported_ms,"
		       " actor = excluded.actor, envelope = excluded.envelope"
		       " WHERE excluded.version > document.version",
		       "ssuusb", d->kind, d->name, d->version, d->imported_ms, d->actor,
		       d->envelope, d->len);
	db_demand(a->batch, 1);
	db_wake(a->batch, FLEET_TOPIC_STOCK);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_documents(struct fleet *f, const char *kind, uint64_t after, fleet_done_fn done,
		    void *cookie)
{
	return FLEET_ASK(
		f, done, cookie, 0,
		"SELECT kind, name, version, imported_ms, actor, envelope FROM document"
		" WHERE kind = $1 AND version > $2 ORDER BY version, name",
		"su", kind, after);
}

bool fleet_next_document(struct fleet_answer *a, struct fleet_document *ret_document)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_document = (struct fleet_document){
		.kind = db_text(row, 0),
		.name = db_text(row, 1),
		.version = db_u64(row, 2),
		.imported_ms = db_u64(row, 3),
		.actor = db_text(row, 4),
	};
	ret_document->envelope = db_blob(row, 5, &ret_document->len);
	return true;
}
