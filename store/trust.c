// SPDX-License-Identifier: BSD-2-Clause
#include "store/trust.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/hook.h"
#include "lib/json.h"
#include "lib/plural.h"
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

int trust_scope_parse(const char *name, const char *hook, struct trust_scope *ret_scope)
{
	size_t len = strlen(name);
	enum hook_type type;

	if (len == 0 || len > HOOK_NAME_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-*") != len)
		return -EINVAL;
	if (strcmp(hook, "*") != 0 && hook_type_parse(hook, &type) < 0)
		return -EINVAL;
	memcpy(ret_scope->name, name, len + 1);
	memcpy(ret_scope->hook, hook, strlen(hook) + 1);
	return 0;
}

static int parse_scope(const json_t *item, struct trust_scope *ret_scope,
		       struct fail *reterr_fail)
{
	struct json_fields f = json_fields("root: scope", item, reterr_fail);
	const char *key = json_str(&f, "key", 64), *name = json_str(&f, "name", HOOK_NAME_MAX);
	const char *hook = json_str(&f, "hook", sizeof(ret_scope->hook) - 1);

	if (f.r == 0 && trust_scope_parse(name, hook, ret_scope) < 0)
		json_bad(
			&f, "name",
			"must be a pattern of a-z, 0-9, '-' and '*', with the type of a hook or \"*\"");
	return json_fields_end(&f) < 0 ? f.r
				       : key_public_parse(key, &ret_scope->key, reterr_fail);
}

static int parse_scopes(const json_t *scopes, struct trust *t, struct fail *reterr_fail)
{
	const json_t *item;
	size_t i;

	json_array_foreach(scopes, i, item) {
		int r = parse_scope(item, &t->scopes[i], reterr_fail);

		if (r < 0)
			return r;
		if (!role_has(&t->release, &t->scopes[i].key))
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"root: a scope names a key that is no release key");
	}
	t->n_scopes = i;
	return 0;
}

/* ret_scopes NULL: a role that has none. */
static int parse_role(const char *name, const json_t *obj, struct trust_role *ret_role,
		      const json_t **ret_scopes, struct fail *reterr_fail)
{
	struct json_fields f = json_fields(name, obj, reterr_fail);
	const json_t *keys = json_arr_or_null(&f, "keys", TRUST_KEYS_MAX), *item;
	struct trust_role role = {0};
	size_t i;

	role.threshold = (unsigned int)json_u64(&f, "threshold", 1, TRUST_KEYS_MAX);
	if (ret_scopes)
		*ret_scopes = json_arr_or_null(&f, "scopes", TRUST_SCOPES_MAX);
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
	*ret_floors = json_deep_copy(floors);
	return *ret_floors || !floors ? 0
				      : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

static int parse_resets(const json_t *resets, struct trust *t, struct fail *reterr_fail)
{
	const json_t *item;
	size_t i;

	json_array_foreach(resets, i, item)
		if (!json_is_string(item) || !trust_floor(t, json_string_value(item)))
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"root: resets must be names that have a floor");
	t->resets = json_deep_copy(resets);
	return t->resets || !resets ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

/* A role whose keys are on line: one that also signs code would put that on line with it. */
static int parse_online(const char *name, const json_t *obj, const struct trust *t,
			struct trust_role *ret_role, struct fail *reterr_fail)
{
	int r;

	if (!obj)
		return 0;
	r = parse_role(name, obj, ret_role, NULL, reterr_fail);
	for (size_t i = 0; r == 0 && i < ret_role->n_keys; i++)
		if (role_has(&t->root, &ret_role->keys[i]) ||
		    role_has(&t->release, &ret_role->keys[i]))
			r = fail_set(reterr_fail, FAIL_BAD_FORMAT,
				     "%s: a root or release key may not serve as one on line",
				     name);
	return r;
}

static int parse_fields(const json_t *doc, struct trust *t, struct fail *reterr_fail)
{
	struct json_fields f = json_fields(ROOT, doc, reterr_fail), roles;
	const json_t *floors, *resets, *obj, *scopes = NULL;
	const char *fleet;
	int r;

	json_u64(&f, "format", 1, 1);
	t->version = json_u64(&f, "version", 1, TRUST_VERSION_MAX);
	t->created_ms = json_time(&f, "created");
	t->expires_ms = json_time_or_zero(&f, "expires");
	fleet = json_str_or(&f, "fleet", sizeof(t->fleet) - 1, "");
	if (f.r == 0 && json_has(&f, "fleet") && !hook_name_valid(fleet))
		json_bad(&f, "fleet", "must be lower-case letters, digits and '-'");
	floors = json_obj_or_null(&f, "floors");
	resets = json_arr_or_null(&f, "resets", TRUST_FLOORS_MAX);
	obj = json_obj_or_null(&f, "roles");
	if (!obj)
		json_bad(&f, "roles", "is missing");
	r = json_fields_end(&f);
	if (r < 0)
		return r;
	roles = json_fields("root: roles", obj, reterr_fail);
	memcpy(t->fleet, fleet, strlen(fleet) + 1);
	r = parse_role("root: role root", json_obj_or_null(&roles, "root"), &t->root, NULL,
		       reterr_fail);
	if (r == 0)
		r = parse_role("root: role release", json_obj_or_null(&roles, "release"),
			       &t->release, &scopes, reterr_fail);
	if (r == 0)
		r = parse_scopes(scopes, t, reterr_fail);
	if (r == 0)
		r = parse_online("root: role director", json_obj_or_null(&roles, "director"), t,
				 &t->director, reterr_fail);
	if (r == 0)
		r = parse_online("root: role status", json_obj_or_null(&roles, "status"), t,
				 &t->status, reterr_fail);
	if (r == 0)
		r = json_fields_end(&roles);
	if (r == 0)
		r = parse_floors(floors, &t->floors, reterr_fail);
	return r < 0 ? r : parse_resets(resets, t, reterr_fail);
}

static int parse(const void *payload, size_t len, struct trust **ret_trust,
		 struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *t = calloc(1, sizeof(*t));
	AUTO_JSON json_t *doc = NULL;
	int r;

	if (!t)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = json_parse(ROOT, payload, len, &doc, reterr_fail);
	if (r == 0)
		r = parse_fields(doc, t, reterr_fail);
	if (r < 0)
		return r;
	bytes_sha256(payload, len, t->sha256);
	*ret_trust = take_ptr(t);
	return 0;
}

int trust_open_unverified(const struct dsse *d, struct trust **ret_trust,
			  struct fail *reterr_fail)
{
	size_t len;
	const uint8_t *payload = dsse_unverified_payload(d, DSSE_TYPE_ROOT, &len);

	if (!payload) {
		fail_set(reterr_fail, FAIL_BAD_FORMAT,
			 "root: a signed document, but not a root");
		return fail_hint(reterr_fail, "`hotfixctl trust init` makes a root.");
	}
	return parse(payload, len, ret_trust, reterr_fail);
}

static int verify_by(const struct dsse *d, const struct trust_role *role,
		     struct fail *reterr_fail)
{
	const uint8_t *payload;
	size_t len;

	return dsse_verify(d, DSSE_TYPE_ROOT, role->keys, role->n_keys, role->threshold,
			   &payload, &len, reterr_fail);
}

static int trust_parse(const void *envelope, size_t len, struct dsse **ret_dsse,
		       struct trust **ret_trust, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	int r;

	r = dsse_parse(ROOT, envelope, len, &d, reterr_fail);
	if (r == 0)
		r = trust_open_unverified(d, &t, reterr_fail);
	if (r == 0 && dsse_n_signatures(d) > 0)
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

	return trust_parse(envelope, len, &d, ret_trust, reterr_fail);
}

int trust_open_first(const void *envelope, size_t len, struct trust **ret_trust,
		     struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	int r = trust_parse(envelope, len, &d, &t, reterr_fail);

	if (r < 0)
		return r;
	if (t->version > 1 && dsse_n_signatures(d) == 0) {
		fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
			 "root: version %" PRIu64 " follows another one, and nobody signed it",
			 t->version);
		return fail_hint(reterr_fail, "`hotfixctl sign` with the root keys of both");
	}
	*ret_trust = take_ptr(t);
	return 0;
}

/* Both are signed by the keys in force: which may the one take the place of the other? */
static int check_follows(const struct trust *t, const struct trust *current, struct fail *f)
{
	if (t->version == current->version) {
		fail_set(
			f, FAIL_EQUIVOCATION,
			"root: the keys in force signed two different roots of version %" PRIu64,
			t->version);
		return fail_hint(f,
				 "Compare their sha256 with the holders of the root keys; the "
				 "right one goes on as version %" PRIu64 ".",
				 t->version + 1);
	}
	if (t->version < current->version) {
		fail_set(f, FAIL_DOWNGRADE,
			 "root: version %" PRIu64 " is older than version %" PRIu64
			 ", which is in force",
			 t->version, current->version);
		return fail_hint(f, "Roots never go back: `hotfixctl trust rotate` makes a new "
				    "one that says the same.");
	}
	if (t->version > current->version + 1) {
		fail_set(f, FAIL_POLICY,
			 "root: version %" PRIu64 " cannot follow version %" PRIu64, t->version,
			 current->version);
		return fail_hint(f,
				 "Import every one in between first, version %" PRIu64 " next.",
				 current->version + 1);
	}
	return 0;
}

int trust_open_next(const void *envelope, size_t len, const struct trust *current,
		    struct trust **ret_trust, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	int r;

	r = trust_parse(envelope, len, &d, &t, reterr_fail);
	if (r < 0)
		return r;
	if (memcmp(t->sha256, current->sha256, sizeof(t->sha256)) == 0) {
		fail_set(reterr_fail, FAIL_CONFLICT, "this root is in force already");
		return -EALREADY;
	}
	/* With signatures its own threshold holds already, and without any this one does not. */
	r = verify_by(d, &current->root, reterr_fail);
	if (r < 0) {
		fail_hint(reterr_fail,
			  "A root is replaced only by one that its own root keys signed "
			  "(`hotfixctl trust rotate`, `hotfixctl sign`).");
		return r;
	}
	r = check_follows(t, current, reterr_fail);
	if (r < 0)
		return r;
	*ret_trust = take_ptr(t);
	return 0;
}

struct trust *trust_free(struct trust *t)
{
	if (t) {
		json_decref(t->floors);
		json_decref(t->resets);
	}
	free(t);
	return NULL;
}

uint64_t trust_floor(const struct trust *t, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(t->floors, name));
}

/* hook NULL: any */
static bool in_scope(const struct trust *t, const struct key_public *key, const char *name,
		     const char *hook)
{
	bool limited = false;

	for (size_t i = 0; i < t->n_scopes; i++) {
		const struct trust_scope *s = &t->scopes[i];

		if (memcmp(s->key.raw, key->raw, sizeof(key->raw)) != 0)
			continue;
		limited = true;
		if (fnmatch(s->name, name, 0) == 0 &&
		    (!hook || strcmp(s->hook, "*") == 0 || strcmp(s->hook, hook) == 0))
			return true;
	}
	return !limited;
}

struct trust_role trust_release_for(const struct trust *t, const char *name,
				    const struct hook *hooks, size_t n_hooks)
{
	struct trust_role role = {.threshold = t->release.threshold};

	for (size_t k = 0; k < t->release.n_keys; k++) {
		const struct key_public *key = &t->release.keys[k];
		size_t h = 0;

		while (h < n_hooks && in_scope(t, key, name, hook_type_name(hooks[h].type)))
			h++;
		if (h == n_hooks && in_scope(t, key, name, NULL))
			role.keys[role.n_keys++] = *key;
	}
	return role;
}

const char *trust_warning(const struct trust *t, uint64_t now_ms, char *out, size_t room)
{
	const uint64_t day_ms = 86400 * 1000ULL;
	char stamp[CLOCK_TIMESTAMP_BYTES];

	out[0] = 0;
	if (!t->expires_ms || now_ms + TRUST_WARN_DAYS * day_ms < t->expires_ms)
		return out;
	clock_format_timestamp(t->expires_ms, stamp);
	if (now_ms > t->expires_ms)
		snprintf(out, room,
			 "root %" PRIu64
			 " expired at %s: what runs goes on, nothing is attached "
			 "for the first time",
			 t->version, stamp);
	else
		snprintf(out, room, "root %" PRIu64 " expires at %s, in %" PRIu64 " day%s",
			 t->version, stamp, (t->expires_ms - now_ms) / day_ms,
			 plural((t->expires_ms - now_ms) / day_ms));
	return out;
}

/* ---- writing ---------------------------------------------------------------- */

static json_t *keys_json(const struct trust_role *role, bool with_ids)
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
	return json_incref(keys);
}

/* NULL: none, or out of memory, which what follows finds as well. */
static json_t *scopes_json(const struct trust *t)
{
	AUTO_JSON json_t *scopes = json_array();

	for (size_t i = 0; i < t->n_scopes; i++) {
		const struct trust_scope *s = &t->scopes[i];
		char base64[64];

		if (json_array_append_new(scopes, json_pack("{s:s, s:s, s:s}", "key",
							    key_public_format(&s->key, base64),
							    "name", s->name, "hook", s->hook)) <
		    0)
			return NULL;
	}
	return t->n_scopes ? json_incref(scopes) : NULL;
}

/* NULL: a role without keys, or out of memory. */
static json_t *role_json(const struct trust_role *role, bool with_ids)
{
	return role->n_keys ? json_pack("{s:i, s:o}", "threshold", (int)role->threshold, "keys",
					keys_json(role, with_ids))
			    : NULL;
}

/* What a payload and `trust show` have in common, in the order of the payload. */
static json_t *root_json(const struct trust *t, bool with_ids)
{
	char created[CLOCK_TIMESTAMP_BYTES], expires[CLOCK_TIMESTAMP_BYTES];
	json_t *scopes = scopes_json(t), *director = role_json(&t->director, with_ids);
	json_t *status = role_json(&t->status, with_ids);

	if ((t->n_scopes && !scopes) || (t->director.n_keys && !director) ||
	    (t->status.n_keys && !status)) {
		json_decref(scopes);
		json_decref(director);
		json_decref(status);
		return NULL;
	}
	return json_pack("{s:I, s:s, s:s*, s:s*,"
			 " s:{s:{s:i, s:o}, s:{s:i, s:o, s:o*}, s:o*, s:o*}, s:O*, s:O*}",
			 "version", (json_int_t)t->version, "created",
			 clock_format_timestamp(t->created_ms, created), "expires",
			 t->expires_ms ? clock_format_timestamp(t->expires_ms, expires) : NULL,
			 "fleet", t->fleet[0] ? t->fleet : NULL, "roles", "root", "threshold",
			 (int)t->root.threshold, "keys", keys_json(&t->root, with_ids),
			 "release", "threshold", (int)t->release.threshold, "keys",
			 keys_json(&t->release, with_ids), "scopes", scopes, "director",
			 director, "status", status, "floors", t->floors, "resets", t->resets);
}

int trust_sign(const struct trust *t, struct key *const *keys, size_t n_keys, char **ret_text,
	       struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *again = NULL;
	AUTO_JSON json_t *doc = root_json(t, false);
	AUTO_FREE char *payload = dsse_payload(doc);
	int r;

	if (!payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = parse(payload, strlen(payload), &again, reterr_fail);
	return r < 0 ? r
		     : dsse_sign(DSSE_TYPE_ROOT, payload, strlen(payload), keys, n_keys,
				 ret_text, reterr_fail);
}

json_t *trust_to_json(const struct trust *t)
{
	AUTO_JSON json_t *doc = root_json(t, true);
	char sha256[BYTES_SHA256_HEX];

	if (!doc || (!t->floors && json_object_set_new(doc, "floors", json_object()) < 0) ||
	    json_object_set_new(
		    doc, "sha256",
		    json_string(bytes_to_hex(t->sha256, sizeof(t->sha256), sha256))) < 0)
		return NULL;
	return json_incref(doc);
}
