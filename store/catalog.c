// SPDX-License-Identifier: BSD-2-Clause
#include "store/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/manifest.h"

#define WHAT "status"

static int parse_entry(const json_t *item, struct catalog_entry *e, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("status: hot-fix", item, reterr_fail);
	const char *name = json_str(&f, "name", HOOK_NAME_MAX);
	const char *manifest, *bundle;

	e->serial = json_u64(&f, "serial", 1, MANIFEST_SERIAL_MAX);
	manifest = json_str(&f, "manifest", 64);
	bundle = json_str(&f, "bundle", 64);
	e->bundle_bytes = json_u64(&f, "bytes", 1, BUNDLE_BYTES_MAX);
	if (f.r == 0 && !hook_name_valid(name))
		json_bad(&f, "name", "is not the name of a hot-fix");
	if (f.r == 0 && bytes_from_hex(manifest, e->manifest_sha256, 32) < 0)
		json_bad(&f, "manifest", "must be 64 hex digits");
	if (f.r == 0 && bytes_from_hex(bundle, e->bundle_sha256, 32) < 0)
		json_bad(&f, "bundle", "must be 64 hex digits");
	if (json_fields_end(&f) < 0)
		return f.r;
	memcpy(e->name, name, strlen(name) + 1);
	return 0;
}

static int parse_entries(const json_t *items, struct catalog *c, struct fail *reterr_fail)
{
	const json_t *item;
	size_t i;
	int r;

	c->entries = calloc(json_array_size(items) + 1, sizeof(*c->entries));
	if (!c->entries)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	json_array_foreach(items, i, item) {
		struct catalog_entry *e = &c->entries[i];

		r = parse_entry(item, e, reterr_fail);
		if (r < 0)
			return r;
		if (catalog_find(c, e->name, e->serial))
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"status: it names %s@%" PRIu64 " twice", e->name,
					e->serial);
		c->n_entries = i + 1;
	}
	return 0;
}

static int parse(const void *payload, size_t len, struct catalog **ret_catalog,
		 struct fail *reterr_fail)
{
	AUTO(catalog_freep) struct catalog *c = calloc(1, sizeof(*c));
	AUTO_JSON json_t *doc = NULL;
	const char *fleet;
	const json_t *entries;
	struct json_fields f;
	int r;

	if (!c)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = json_parse(WHAT, payload, len, &doc, reterr_fail);
	if (r < 0)
		return r;
	f = json_fields(WHAT, doc, reterr_fail);
	json_u64(&f, "format", 1, 1);
	fleet = json_str(&f, "fleet", sizeof(c->fleet) - 1);
	c->version = json_u64(&f, "version", 1, TRUST_VERSION_MAX);
	c->created_ms = json_time(&f, "created");
	c->expires_ms = json_time(&f, "expires");
	entries = json_arr_or_null(&f, "hotfixes", CATALOG_ENTRIES_MAX);
	if (f.r == 0 && !hook_name_valid(fleet))
		json_bad(&f, "fleet", "must be lower-case letters, digits and '-'");
	if (f.r == 0 && c->expires_ms <= c->created_ms)
		json_bad(&f, "expires", "must be after \"created\"");
	if (f.r == 0 && !entries)
		json_bad(&f, "hotfixes", "is missing");
	if (json_fields_end(&f) < 0)
		return f.r;
	memcpy(c->fleet, fleet, strlen(fleet) + 1);
	r = parse_entries(entries, c, reterr_fail);
	if (r < 0)
		return r;
	bytes_sha256(payload, len, c->sha256);
	*ret_catalog = take_ptr(c);
	return 0;
}

int catalog_open_unverified(const struct dsse *d, struct catalog **ret_catalog,
			    struct fail *reterr_fail)
{
	size_t len;
	const uint8_t *payload = dsse_unverified_payload(d, DSSE_TYPE_STATUS, &len);

	if (!payload)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"status: a signed document, but not the status of a fleet");
	return parse(payload, len, ret_catalog, reterr_fail);
}

int catalog_open(const void *envelope, size_t len, const struct trust *trust,
		 struct catalog **ret_catalog, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(catalog_freep) struct catalog *c = NULL;
	const struct trust_role *role = &trust->status;
	const uint8_t *payload;
	size_t payload_len;
	int r;

	if (!role->n_keys) {
		fail_set(reterr_fail, FAIL_POLICY,
			 "status: the root in force names no keys for it");
		return fail_hint(reterr_fail, "hotfixctl trust rotate --status-key PUB");
	}
	r = dsse_parse(WHAT, envelope, len, &d, reterr_fail);
	if (r == 0)
		r = dsse_verify(d, DSSE_TYPE_STATUS, role->keys, role->n_keys, role->threshold,
				&payload, &payload_len, reterr_fail);
	if (r == 0)
		r = parse(payload, payload_len, &c, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp(c->fleet, trust->fleet) != 0)
		return fail_set(reterr_fail, FAIL_POLICY,
				"status: of the fleet %s, this host belongs to %s", c->fleet,
				trust->fleet[0] ? trust->fleet : "none");
	*ret_catalog = take_ptr(c);
	return 0;
}

int catalog_open_next(const void *envelope, size_t len, const struct trust *trust,
		      const struct catalog *current, struct catalog **ret_catalog,
		      struct fail *reterr_fail)
{
	AUTO(catalog_freep) struct catalog *c = NULL;
	int r = catalog_open(envelope, len, trust, &c, reterr_fail);

	if (r < 0)
		return r;
	if (current && memcmp(c->sha256, current->sha256, sizeof(c->sha256)) == 0) {
		fail_set(reterr_fail, FAIL_CONFLICT, "this status is in force already");
		return -EALREADY;
	}
	if (current && c->version == current->version) {
		fail_set(reterr_fail, FAIL_EQUIVOCATION,
			 "status: the fleet's keys signed two of version %" PRIu64, c->version);
		return fail_hint(reterr_fail,
				 "Somebody else has these keys, or the controller lost its "
				 "state: compare their sha256.");
	}
	if (current && c->version < current->version)
		return fail_set(reterr_fail, FAIL_DOWNGRADE,
				"status: version %" PRIu64 " is older than version %" PRIu64
				", which is in force",
				c->version, current->version);
	*ret_catalog = take_ptr(c);
	return 0;
}

struct catalog *catalog_free(struct catalog *c)
{
	if (c)
		free(c->entries);
	free(c);
	return NULL;
}

const struct catalog_entry *catalog_find(const struct catalog *c, const char *name,
					 uint64_t serial)
{
	for (size_t i = 0; c && i < c->n_entries; i++)
		if (c->entries[i].serial == serial && strcmp(c->entries[i].name, name) == 0)
			return &c->entries[i];
	return NULL;
}

static json_t *entry_json(const struct catalog_entry *e)
{
	char manifest[BYTES_SHA256_HEX], bundle[BYTES_SHA256_HEX];

	return json_pack("{s:s, s:I, s:s, s:s, s:I}", "name", e->name, "serial",
			 (json_int_t)e->serial, "manifest",
			 bytes_to_hex(e->manifest_sha256, 32, manifest), "bundle",
			 bytes_to_hex(e->bundle_sha256, 32, bundle), "bytes",
			 (json_int_t)e->bundle_bytes);
}

json_t *catalog_to_json(const struct catalog *c)
{
	char created[CLOCK_TIMESTAMP_BYTES], expires[CLOCK_TIMESTAMP_BYTES];
	char sha256[BYTES_SHA256_HEX];
	AUTO_JSON json_t *entries = json_array();

	for (size_t i = 0; i < c->n_entries; i++)
		if (json_array_append_new(entries, entry_json(&c->entries[i])) < 0)
			return NULL;
	return json_pack("{s:s, s:I, s:s, s:s, s:O, s:s}", "fleet", c->fleet, "version",
			 (json_int_t)c->version, "created",
			 clock_format_timestamp(c->created_ms, created), "expires",
			 clock_format_timestamp(c->expires_ms, expires), "hotfixes", entries,
			 "sha256", bytes_to_hex(c->sha256, sizeof(c->sha256), sha256));
}

int catalog_sign(const struct catalog *c, struct key *const *keys, size_t n_keys,
		 char **ret_text, struct fail *reterr_fail)
{
	AUTO(catalog_freep) struct catalog *again = NULL;
	AUTO_JSON json_t *doc = catalog_to_json(c);
	AUTO_FREE char *payload = dsse_payload(doc);
	int r;

	if (!payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = parse(payload, strlen(payload), &again, reterr_fail);
	return r < 0 ? r
		     : dsse_sign(DSSE_TYPE_STATUS, payload, strlen(payload), keys, n_keys,
				 ret_text, reterr_fail);
}
