// SPDX-License-Identifier: BSD-2-Clause
#include "store/trust.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/hook.h"
#include "lib/json.h"
#include "store/bytes.h"

#define ROOT "root"

/* A key listed twice is one key. */
static bool role_has(const struct trust_role *role, const struct key_public *p)
{
	for (size_t i = 0; i < role->n_keys; i++)
		if (memcmp(role->keys[i].raw, p->raw, sizeof(p->raw)) == 0)
			return true;
	return false;
}

static int parse_role(const char *name, const json_t *obj, struct trust_role *ret_role,
		      struct fail *reterr_fail)
{
	struct json_fields f = json_fields(name, obj, reterr_fail);
	const json_t *keys = json_arr_or_null(&f, "keys", TRUST_KEYS_MAX), *item;
	struct trust_role role = {0};
	size_t i;

	role.threshold = (unsigned int)json_u64(&f, "threshold", 1, TRUST_KEYS_MAX);
	if (!keys)
		json_bad(&f, "keys", "is missing");
	if (json_fields_end(&f) < 0)
		return f.r;
	json_array_foreach(keys, i, item) {
		struct key_public p;
		int r;

		if (!json_is_string(item)) {
			json_bad(&f, "keys", "must be strings");
			return f.r;
		}
		r = key_public_parse(json_string_value(item), &p, reterr_fail);
		if (r < 0)
			return r;
		if (!role_has(&role, &p))
			role.keys[role.n_keys++] = p;
	}
	if (role.threshold > role.n_keys)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: a threshold of %u cannot be reached by %zu distinct keys",
				name, role.threshold, role.n_keys);
	*ret_role = role;
	return 0;
}

static int parse_floors(const json_t *floors, json_t **ret_floors, struct fail *reterr_fail)
{
	const char *name;
	json_t *serial;

	if (json_object_size(floors) > TRUST_FLOORS_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "root: more than %d floors",
				TRUST_FLOORS_MAX);
	json_object_foreach((json_t *)(uintptr_t)floors, name, serial) {
		if (!hook_name_valid(name))
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"root: floors: \"%.64s\" is not the name of a hot-fix",
					name);
		if (!json_is_integer(serial) || json_integer_value(serial) < 1 ||
		    (uint64_t)json_integer_value(serial) > TRUST_VERSION_MAX)
			return fail_set(
				reterr_fail, FAIL_BAD_FORMAT,
				"root: floors: \"%s\" must be a serial from 1 to 2^53-1", name);
	}
	*ret_floors = floors ? json_deep_copy(floors) : json_object();
	return *ret_floors ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

static uint64_t timestamp(struct json_fields *f, const char *key, bool optional)
{
	const char *s = optional ? json_str_or(f, key, 32, "") : json_str(f, key, 32);
	uint64_t ms = 0;

	if (f->r == 0 && (s[0] || !optional) && clock_parse_timestamp(s, &ms) < 0)
		json_bad(f, key, "must be a time such as \"2026-05-04T10:11:12Z\"");
	return ms;
}

static int parse_payload(const json_t *doc, struct trust *t, struct fail *reterr_fail)
{
	struct json_fields f = json_fields(ROOT, doc, reterr_fail), roles;
	const json_t *floors, *obj;
	const char *fleet;
	int r;

	json_u64(&f, "format", 1, 1);
	t->version = json_u64(&f, "version", 1, TRUST_VERSION_MAX);
	t->created_ms = timestamp(&f, "created", false);
	t->expires_ms = timestamp(&f, "expires", true);
	fleet = json_str_or(&f, "fleet", sizeof(t->fleet) - 1, "");
	if (f.r == 0 && json_has(&f, "fleet") && !hook_name_valid(fleet))
		json_bad(&f, "fleet", "must be lower-case letters, digits and '-'");
	floors = json_obj_or_null(&f, "floors");
	obj = json_obj_or_null(&f, "roles");
	if (!obj)
		json_bad(&f, "roles", "is missing");
	r = json_fields_end(&f);
	if (r < 0)
		return r;
	roles = json_fields("root: roles", obj, reterr_fail);
	memcpy(t->fleet, fleet, strlen(fleet) + 1);
	r = parse_role("root: role root", json_obj_or_null(&roles, "root"), &t->root,
		       reterr_fail);
	if (r == 0)
		r = parse_role("root: role release", json_obj_or_null(&roles, "release"),
			       &t->release, reterr_fail);
	if (r == 0)
		r = json_fields_end(&roles);
	if (r == 0)
		r = parse_floors(floors, &t->floors, reterr_fail);
	return r;
}

static int open_envelope(const struct dsse *d, struct trust **ret_trust,
			 struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_JSON json_t *doc = NULL;
	const uint8_t *payload;
	size_t len;
	int r;

	payload = dsse_unverified_payload(d, DSSE_TYPE_ROOT, &len);
	if (!payload) {
		fail_set(reterr_fail, FAIL_BAD_FORMAT,
			 "root: a signed document, but not a root");
		fail_hint(reterr_fail, "`hotfixctl trust init` makes a root.");
		return -fail_errno(FAIL_BAD_FORMAT);
	}
	r = json_parse(ROOT, payload, len, &doc, reterr_fail);
	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = parse_payload(doc, t, reterr_fail);
	if (r < 0)
		return r;
	bytes_sha256(payload, len, t->sha256);
	*ret_trust = take_ptr(t);
	return 0;
}

static int verify_by(const struct dsse *d, const struct trust_role *role,
		     struct fail *reterr_fail)
{
	const uint8_t *payload;
	size_t len;

	return dsse_verify(d, DSSE_TYPE_ROOT, role->keys, role->n_keys, role->threshold,
			   &payload, &len, reterr_fail);
}

static int trust_parse(const void *envelope, size_t len, bool need_signatures,
		       struct dsse **ret_dsse, struct trust **ret_trust,
		       struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	int r;

	r = dsse_parse(ROOT, envelope, len, &d, reterr_fail);
	if (r == 0)
		r = open_envelope(d, &t, reterr_fail);
	if (r == 0 && (need_signatures || dsse_n_signatures(d) > 0))
		r = verify_by(d, &t->root, reterr_fail);
	if (r < 0)
		return r;
	*ret_dsse = take_ptr(d);
	*ret_trust = take_ptr(t);
	return 0;
}

int trust_open(const void *envelope, size_t len, struct trust **ret_trust,
	       struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;

	return trust_parse(envelope, len, false, &d, ret_trust, reterr_fail);
}

int trust_open_next(const void *envelope, size_t len, const struct trust *current,
		    struct trust **ret_trust, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	int r;

	r = trust_parse(envelope, len, false, &d, &t, reterr_fail);
	if (r < 0)
		return r;
	if (memcmp(t->sha256, current->sha256, sizeof(t->sha256)) == 0) {
		fail_set(reterr_fail, FAIL_CONFLICT, "this root is in force already");
		return -EEXIST;
	}
	if (t->version != current->version + 1) {
		fail_set(reterr_fail, FAIL_DOWNGRADE,
			 "root: version %llu cannot follow version %llu",
			 (unsigned long long)t->version, (unsigned long long)current->version);
		return fail_hint(reterr_fail,
				 "Roots are replaced one version at a time; import "
				 "every one in between.");
	}
	r = verify_by(d, &current->root, reterr_fail);
	if (r == 0)
		r = verify_by(d, &t->root, reterr_fail);
	if (r < 0)
		return r;
	*ret_trust = take_ptr(t);
	return 0;
}

struct trust *trust_free(struct trust *t)
{
	if (t)
		json_decref(t->floors);
	free(t);
	return NULL;
}

uint64_t trust_floor(const struct trust *t, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(t->floors, name));
}

/* ---- writing ---------------------------------------------------------------- */

static json_t *role_text(const struct trust_role *role, bool with_ids)
{
	AUTO_JSON json_t *keys = json_array();

	for (size_t i = 0; i < role->n_keys; i++) {
		char base64[64], id[KEY_ID_BYTES];
		const struct key_public *p = &role->keys[i];

		if (json_array_append_new(
			    keys, with_ids ? json_pack("{s:s, s:s}", "keyid", key_id(p, id),
						       "public", key_public_format(p, base64))
					   : json_string(key_public_format(p, base64))) < 0)
			return NULL;
	}
	return json_pack("{s:i, s:O}", "threshold", (int)role->threshold, "keys", keys);
}

int trust_init(const struct trust_role *root, const struct trust_role *release,
	       uint64_t version, uint64_t now_ms, struct key *const *sign_keys, size_t n_sign,
	       char **ret_text, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *t = NULL;
	char created[CLOCK_TIMESTAMP_BYTES];
	AUTO_FREE char *payload = NULL, *text = NULL;
	AUTO_JSON json_t *doc = NULL;
	int r;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	doc = json_pack("{s:i, s:I, s:s, s:{s:o, s:o}}", "format", 1, "version",
			(json_int_t)version, "created", clock_format_timestamp(now_ms, created),
			"roles", "root", role_text(root, false), "release",
			role_text(release, false));
	payload = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = dsse_sign(DSSE_TYPE_ROOT, payload, strlen(payload), sign_keys, n_sign, &text,
		      reterr_fail);
	if (r < 0)
		return r;
	/* What nobody could import is not handed out. */
	r = trust_open(text, strlen(text), &t, reterr_fail);
	if (r < 0)
		return r;
	*ret_text = take_ptr(text);
	return 0;
}

json_t *trust_to_json(const struct trust *t)
{
	char created[CLOCK_TIMESTAMP_BYTES], expires[CLOCK_TIMESTAMP_BYTES];
	char sha256[BYTES_SHA256_HEX];

	return json_pack("{s:I, s:s, s:s*, s:s*, s:s, s:{s:o, s:o}, s:O}", "version",
			 (json_int_t)t->version, "created",
			 clock_format_timestamp(t->created_ms, created), "expires",
			 t->expires_ms ? clock_format_timestamp(t->expires_ms, expires) : NULL,
			 "fleet", t->fleet[0] ? t->fleet : NULL, "sha256",
			 bytes_to_hex(t->sha256, sizeof(t->sha256), sha256), "roles", "root",
			 role_text(&t->root, true), "release", role_text(&t->release, true),
			 "floors", t->floors);
}
