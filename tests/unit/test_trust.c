// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/signed.h"

#include "lib/json.h"

/* Opens a root of this payload, signed by the first n_sign keys. */
static int open_payload(const char *payload, size_t n_sign, struct trust **ret_trust,
			struct fail *f)
{
	AUTO_FREE char *text = NULL;

	memset(f, 0, sizeof(*f));
	assert_ok(dsse_sign(DSSE_TYPE_ROOT, payload, strlen(payload), signed_keys, n_sign,
			    &text, NULL));
	return trust_open(text, strlen(text), ret_trust, f);
}

/* {"threshold":M,"keys":[first n]} */
static const char *role_json(size_t n, int threshold, const char *more_keys)
{
	static char text[16][2048];
	static int next;
	char *out = text[next++ % 16], base64[64];
	size_t at = (size_t)sprintf(out, "{\"threshold\":%d,\"keys\":[", threshold);

	for (size_t i = 0; i < n; i++)
		at += (size_t)sprintf(out + at, "%s\"%s\"", i ? "," : "",
				      key_public_format(key_public(signed_keys[i]), base64));
	sprintf(out + at, "%s]}", more_keys);
	return out;
}

static char *root_json(const char *root_role, const char *release_role, const char *more)
{
	char *text;

	assert_true(asprintf(&text,
			     "{\"format\":1,\"version\":1,\"created\":\"2026-05-04T10:11:12Z\","
			     "\"roles\":{\"root\":%s,\"release\":%s}%s}",
			     root_role, release_role, more) > 0);
	return text;
}

static void refuse(const char *root_role, const char *release_role, const char *more,
		   const char *word)
{
	AUTO_FREE char *payload = root_json(root_role, release_role, more);
	struct trust *t = NULL;
	struct fail f;

	if (open_payload(payload, 0, &t, &f) >= 0)
		fail_msg("accepted %s", payload);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	if (!strstr(f.message, word))
		fail_msg("\"%s\" is not in: %s", word, f.message);
	assert_null(t);
}

static void a_first_root_is_read_back_as_it_was_made(void **state)
{
	struct trust_role root = signed_role(3, 2), release = signed_role(2, 1);
	AUTO(trust_freep) struct trust *t = NULL;
	struct trust says = {
		.version = 1, .created_ms = 1000, .root = root, .release = release};
	AUTO_FREE char *text = NULL;

	(void)state;
	assert_ok(trust_sign(&says, NULL, 0, &text, NULL));
	assert_ok(trust_open(text, strlen(text), &t, NULL));
	assert_int_equal(t->version, 1);
	assert_int_equal(t->created_ms, 1000);
	assert_int_equal(t->expires_ms, 0);
	assert_int_equal(t->root.n_keys, 3);
	assert_int_equal(t->root.threshold, 2);
	assert_int_equal(t->release.n_keys, 2);
	assert_int_equal(t->release.threshold, 1);
	assert_memory_equal(t->root.keys, root.keys, 3 * sizeof(root.keys[0]));
	assert_int_equal(trust_floor(t, "anything"), 0);
}

/* Attack 2. */
static void thresholds_outside_of_the_keys_are_refused(void **state)
{
	const char *good = role_json(2, 1, "");
	struct trust says = {
		.version = 1, .root = signed_role(2, 0), .release = signed_role(2, 0)};
	AUTO_FREE char *text = NULL;
	struct fail f = {0};

	(void)state;
	refuse(role_json(2, 0, ""), good, "", "threshold");
	refuse(good, role_json(2, 0, ""), "", "threshold");
	refuse(good, role_json(2, -1, ""), "", "threshold");
	refuse(good, role_json(2, 3, ""), "", "threshold of 3");
	refuse(good, role_json(0, 1, ""), "", "threshold of 1");
	assert_int_equal(trust_sign(&says, NULL, 0, &text, &f), -EBADMSG);
	assert_null(text);
}

/* Attack 4. */
static void a_key_listed_twice_is_one_key(void **state)
{
	AUTO(trust_freep) struct trust *t = NULL;
	char base64[64], again[80];
	AUTO_FREE char *payload = NULL;
	struct fail f;

	(void)state;
	key_public_format(key_public(signed_keys[0]), base64);
	snprintf(again, sizeof(again), ",\"%s\"", base64);
	refuse(role_json(1, 1, ""), role_json(1, 2, again), "", "1 distinct");
	payload = root_json(role_json(1, 1, ""), role_json(2, 2, again), "");
	assert_ok(open_payload(payload, 0, &t, &f));
	assert_int_equal(t->release.n_keys, 2);
}

/* Attack 7. */
static void a_root_with_a_weak_key_is_refused(void **state)
{
	const char *good = role_json(1, 1, "");

	(void)state;
	refuse(good, role_json(1, 1, ",\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""), "",
	       "not a usable");
	refuse(role_json(1, 1, ",\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""), good, "",
	       "not a usable");
	refuse(good, role_json(1, 1, ",\"AAAA\""), "", "base64");
	refuse(good, role_json(1, 1, ",7"), "", "strings");
}

static void roots_are_parsed_strictly(void **state)
{
	const char *role = role_json(1, 1, "");

	(void)state;
	refuse(role, role, ",\"more\":1", "\"more\" is not a known field");
	refuse(role, role, ",\"version\":2", "duplicate");
	refuse(role, role, ",\"expires\":\"tomorrow\"", "expires");
	refuse(role, role, ",\"expires\":1", "expires");
	refuse(role, role, ",\"fleet\":\"Not A Name\"", "fleet");
	refuse(role, role, ",\"fleet\":\"\"", "fleet");
	refuse(role, role, ",\"floors\":[]", "floors");
	refuse(role, role, ",\"floors\":{\"../x\":1}", "not the name");
	refuse(role, role, ",\"floors\":{\"x\":0}", "serial");
	refuse(role, role, ",\"floors\":{\"x\":9007199254740992}", "serial");
	refuse(role, role, ",\"floors\":{\"x\":\"1\"}", "serial");
	refuse("{}", role, "", "threshold");
	refuse(role, "[]", "", "not a JSON object");
	refuse(role, "{\"threshold\":1}", "", "keys");
	refuse(role, "{\"threshold\":1,\"keys\":[],\"more\":1}", "", "more");
}

static void a_root_needs_every_field(void **state)
{
	static const char *const fields[] = {"format", "version", "created", "roles"};
	AUTO_FREE char *payload = root_json(role_json(1, 1, ""), role_json(1, 1, ""), "");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		AUTO_JSON json_t *doc = json_loads(payload, 0, NULL);
		AUTO_FREE char *text = NULL;
		struct trust *t = NULL;
		struct fail f;

		json_object_del(doc, fields[i]);
		text = json_dumps(doc, 0);
		assert_int_equal(open_payload(text, 0, &t, &f), -EBADMSG);
		assert_non_null(strstr(f.message, fields[i]));
	}
}

static void a_later_format_is_refused(void **state)
{
	struct trust *t = NULL;
	struct fail f;

	(void)state;
	assert_int_equal(open_payload("{\"format\":2}", 0, &t, &f), -EBADMSG);
	assert_non_null(strstr(f.message, "format"));
}

static void floors_fleet_and_expiry_are_kept(void **state)
{
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE char *payload = NULL;
	struct fail f;

	(void)state;
	payload = root_json(role_json(1, 1, ""), role_json(1, 1, ""),
			    ",\"expires\":\"2030-01-01T00:00:00Z\",\"fleet\":\"berlin-1\","
			    "\"floors\":{\"fix\":7}");
	assert_ok(open_payload(payload, 0, &t, &f));
	assert_int_equal(t->expires_ms, 1893456000000ULL);
	assert_string_equal(t->fleet, "berlin-1");
	assert_int_equal(trust_floor(t, "fix"), 7);
	assert_int_equal(trust_floor(t, "other"), 0);
}

static void resets_are_of_names_that_have_a_floor(void **state)
{
	const char *role = role_json(1, 1, "");
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE char *payload =
		root_json(role, role, ",\"floors\":{\"fix\":7},\"resets\":[\"fix\"]");
	struct fail f;

	(void)state;
	assert_ok(open_payload(payload, 0, &t, &f));
	assert_string_equal(json_string_value(json_array_get(t->resets, 0)), "fix");
	refuse(role, role, ",\"floors\":{\"fix\":7},\"resets\":[\"other\"]", "resets");
	refuse(role, role, ",\"floors\":{\"fix\":7},\"resets\":[7]", "resets");
	refuse(role, role, ",\"resets\":[\"fix\"]", "resets");
	refuse(role, role, ",\"resets\":{}", "resets");
}

/* Attack 25: who steals what is on line shall not find a key that signs code. */
static void an_online_key_is_no_root_or_release_key(void **state)
{
	struct trust_role role = signed_role(2, 1);
	struct trust says = {.version = 1, .root = role, .release = role};
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE char *good = NULL, *text = NULL;
	struct fail f;

	(void)state;
	says.release = (struct trust_role){.n_keys = 1, .threshold = 1};
	says.release.keys[0] = *key_public(signed_keys[2]);
	says.director = (struct trust_role){.n_keys = 1, .threshold = 1};
	says.director.keys[0] = *key_public(signed_keys[3]);
	says.status = says.director;
	assert_ok(trust_sign(&says, NULL, 0, &good, NULL));
	assert_ok(trust_open(good, strlen(good), &t, NULL));
	assert_int_equal(t->director.n_keys, 1);
	assert_memory_equal(&t->status, &says.status, sizeof(t->status));
	for (int i = 1; i < 3; i++) {
		says.director.keys[0] = *key_public(signed_keys[i]);
		assert_true(trust_sign(&says, NULL, 0, &text, &f) < 0);
		assert_int_equal(f.code, FAIL_BAD_FORMAT);
		assert_non_null(strstr(f.message, "on line"));
	}
}

/* Attack 5. */
static void a_manifest_is_no_root(void **state)
{
	AUTO_FREE char *payload = root_json(role_json(1, 1, ""), role_json(1, 1, ""), "");
	AUTO_FREE char *text = NULL;
	struct trust *t = NULL;
	struct fail f = {0};

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, payload, strlen(payload), signed_keys, 1, &text,
			    NULL));
	assert_int_equal(trust_open(text, strlen(text), &t, &f), -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
}

static void a_signed_root_must_reach_its_own_threshold(void **state)
{
	AUTO_FREE char *payload = root_json(role_json(2, 2, ""), role_json(1, 1, ""), "");
	AUTO(trust_freep) struct trust *t = NULL;
	struct trust *none = NULL;
	struct fail f;

	(void)state;
	assert_int_equal(open_payload(payload, 1, &none, &f), -EKEYREJECTED);
	assert_ok(open_payload(payload, 2, &t, &f));
}

/* The envelope of a root version whose root role is keys [from, from + n) and all must sign. */
static char *root_of(uint64_t version, int from, int n, int sign_from, int n_sign)
{
	struct trust_role role = {.n_keys = (size_t)n, .threshold = (unsigned int)n};
	struct trust says = {.version = version, .created_ms = 1000};
	char *text;

	for (int i = 0; i < n; i++)
		role.keys[i] = *key_public(signed_keys[from + i]);
	says.root = says.release = role;
	assert_ok(trust_sign(&says, signed_keys + sign_from, (size_t)n_sign, &text, NULL));
	return text;
}

static int next_of(const struct trust *current, uint64_t version, int from, int n,
		   int sign_from, int n_sign, struct fail *f)
{
	AUTO_FREE char *text = root_of(version, from, n, sign_from, n_sign);
	AUTO(trust_freep) struct trust *t = NULL;
	int r;

	memset(f, 0, sizeof(*f));
	r = trust_open_next(text, strlen(text), current, &t, f);
	if (r == 0)
		assert_int_equal(t->version, version);
	else
		assert_null(t);
	return r;
}

/* Attack 23. */
static void a_root_follows_only_its_predecessor_signed_by_both(void **state)
{
	AUTO_FREE char *text = root_of(1, 0, 2, 0, 0);
	AUTO(trust_freep) struct trust *current = NULL;
	struct fail f;

	(void)state;
	assert_ok(trust_open(text, strlen(text), &current, NULL));
	/* keys 0 and 1 hand over to 2 and 3 */
	assert_ok(next_of(current, 2, 2, 2, 0, 4, &f));
	assert_int_equal(next_of(current, 3, 2, 2, 0, 4, &f), -EPERM);
	assert_int_equal(f.code, FAIL_POLICY);
	assert_non_null(strstr(f.hint, "version 2"));
	assert_int_equal(next_of(current, 1, 2, 2, 0, 4, &f), -EEXIST);
	assert_int_equal(f.code, FAIL_EQUIVOCATION);
	/* Whoever has no key in force can make a root of any version: that alarms nobody. */
	assert_int_equal(next_of(current, 1, 2, 2, 2, 2, &f), -EKEYREJECTED);
	assert_int_equal(next_of(current, 3, 2, 2, 2, 2, &f), -EKEYREJECTED);
	assert_int_equal(next_of(current, 2, 2, 2, 2, 2, &f),
			 -EKEYREJECTED); /* new keys only */
	assert_int_equal(next_of(current, 2, 2, 2, 0, 2, &f),
			 -EKEYREJECTED); /* old keys only */
	assert_int_equal(next_of(current, 2, 2, 2, 1, 3, &f), -EKEYREJECTED); /* 1 old of 2 */
	assert_int_equal(next_of(current, 2, 2, 2, 0, 0, &f), -EKEYREJECTED); /* unsigned */
	assert_int_equal(next_of(current, 1, 0, 2, 0, 2, &f),
			 -EALREADY); /* the same, signed now */
	assert_int_equal(f.code, FAIL_CONFLICT);
}

static void a_root_never_goes_back(void **state)
{
	AUTO_FREE char *two = root_of(2, 0, 1, 0, 1);
	AUTO(trust_freep) struct trust *current = NULL;
	struct fail f;

	(void)state;
	assert_ok(trust_open(two, strlen(two), &current, NULL));
	assert_int_equal(next_of(current, 1, 0, 1, 0, 1, &f), -ESTALE);
	assert_int_equal(f.code, FAIL_DOWNGRADE);
}

/* Who has the root before it would never take it. */
static void a_first_root_that_follows_another_is_signed(void **state)
{
	AUTO_FREE char *first = root_of(1, 0, 1, 0, 0), *unsigned_ = root_of(2, 0, 1, 0, 0),
		       *two = root_of(2, 0, 1, 0, 1);
	AUTO(trust_freep) struct trust *a = NULL, *b = NULL, *none = NULL;
	struct fail f;

	(void)state;
	assert_ok(trust_open_first(first, strlen(first), &a, &f));
	assert_ok(trust_open_first(two, strlen(two), &b, &f));
	assert_int_equal(trust_open_first(unsigned_, strlen(unsigned_), &none, &f),
			 -EKEYREJECTED);
	assert_non_null(strstr(f.message, "nobody signed it"));
	assert_null(none);
}

static void a_scope_is_of_a_release_key(void **state)
{
	const char *role = role_json(1, 1, "");
	AUTO(trust_freep) struct trust *t = NULL;
	char base64[2][64], scoped[4096];
	AUTO_FREE char *good = NULL;
	struct fail f;

	(void)state;
	for (int i = 0; i < 2; i++)
		key_public_format(key_public(signed_keys[i]), base64[i]);
	static const struct {
		int key;
		const char *name, *hook, *word;
	} bad[] = {
		{1, "tcp-*", "lsm", "no release key"},
		{0, "", "lsm", "pattern"},
		{0, "A", "lsm", "pattern"},
		{0, "[a-z]", "lsm", "pattern"},
		{0, "*", "kprobe", "hook"},
		{0, "*", "", "hook"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(scoped, sizeof(scoped),
			 "{\"threshold\":1,\"keys\":[\"%s\"],\"scopes\":[{\"key\":\"%s\","
			 "\"name\":\"%s\",\"hook\":\"%s\"}]}",
			 base64[0], base64[bad[i].key], bad[i].name, bad[i].hook);
		refuse(role, scoped, "", bad[i].word);
	}
	snprintf(scoped, sizeof(scoped),
		 "{\"threshold\":1,\"keys\":[\"%s\"],\"scopes\":[{\"key\":\"%s\","
		 "\"name\":\"tcp-*\",\"hook\":\"struct_ops\"}]}",
		 base64[0], base64[0]);
	refuse(scoped, role, "", "scopes"); /* of root keys */
	good = root_json(role, scoped, "");
	assert_ok(open_payload(good, 0, &t, &f));
	assert_int_equal(t->n_scopes, 1);
	assert_int_equal(
		trust_release_for(t, "tcp-x", &(struct hook){.type = HOOK_STRUCT_OPS}, 1)
			.n_keys,
		1);
	assert_int_equal(
		trust_release_for(t, "tcp-x", &(struct hook){.type = HOOK_LSM}, 1).n_keys, 0);
}

/* What rotate does: a root opened, changed and written again keeps the rest. */
static void what_a_root_says_is_written_as_it_was_read(void **state)
{
	const char *role = role_json(2, 2, "");
	AUTO(trust_freep) struct trust *t = NULL, *again = NULL;
	AUTO_FREE char *payload = NULL, *text = NULL;
	struct fail f;

	(void)state;
	payload = root_json(role, role,
			    ",\"expires\":\"2030-01-01T00:00:00Z\","
			    "\"fleet\":\"berlin-1\",\"floors\":{\"fix\":7}");
	assert_ok(open_payload(payload, 0, &t, &f));
	assert_ok(trust_scope_parse("tcp-*", "struct_ops", &t->scopes[0]));
	t->scopes[t->n_scopes++].key = *key_public(signed_keys[1]);
	t->version = 2;
	assert_ok(trust_sign(t, signed_keys, 2, &text, NULL));
	t->version = 1;
	assert_ok(trust_open_next(text, strlen(text), t, &again, NULL));
	assert_int_equal(again->expires_ms, 1893456000000ULL);
	assert_string_equal(again->fleet, "berlin-1");
	assert_int_equal(trust_floor(again, "fix"), 7);
	assert_int_equal(again->release.threshold, 2);
	assert_int_equal(again->n_scopes, 1);
	assert_string_equal(again->scopes[0].name, "tcp-*");
}

static void a_root_warns_before_it_expires(void **state)
{
	struct trust t = {.version = 3, .expires_ms = 100 * 86400000ULL};
	char text[128];

	(void)state;
	assert_string_equal(trust_warning(&t, 69 * 86400000ULL, text, sizeof(text)), "");
	assert_non_null(
		strstr(trust_warning(&t, 71 * 86400000ULL, text, sizeof(text)), "in 29 days"));
	assert_non_null(strstr(trust_warning(&t, 101 * 86400000ULL, text, sizeof(text)),
			       "root 3 expired"));
	t.expires_ms = 0;
	assert_string_equal(trust_warning(&t, UINT64_MAX, text, sizeof(text)), "");
}

static void any_flip_in_a_signed_root_is_refused(void **state)
{
	AUTO_FREE char *text = root_of(1, 0, 1, 0, 1);
	size_t len = strlen(text);

	(void)state;
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct trust *t = NULL;
			struct fail f = {0};

			text[i] = (char)(text[i] ^ 1 << bit);
			if (trust_open(text, len, &t, &f) >= 0)
				fail_msg("accepted with bit %d of byte %zu flipped", bit, i);
			assert_true(f.code != FAIL_NONE);
			text[i] = (char)(text[i] ^ 1 << bit);
		}
}

static void a_root_is_shown_with_key_ids_and_fingerprint(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(2, 1);
	AUTO_JSON json_t *doc = trust_to_json(t);
	const json_t *release = json_object_get(json_object_get(doc, "roles"), "release");
	const json_t *first = json_array_get(json_object_get(release, "keys"), 0);
	char id[KEY_ID_BYTES], hex[BYTES_SHA256_HEX];

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(doc, "version")), 1);
	assert_int_equal(json_integer_value(json_object_get(release, "threshold")), 1);
	assert_string_equal(json_string_value(json_object_get(first, "keyid")),
			    key_id(key_public(signed_keys[0]), id));
	assert_string_equal(json_string_value(json_object_get(doc, "sha256")),
			    bytes_to_hex(t->sha256, sizeof(t->sha256), hex));
	assert_null(json_object_get(doc, "expires"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_root_is_read_back_as_it_was_made),
		cmocka_unit_test(thresholds_outside_of_the_keys_are_refused),
		cmocka_unit_test(a_key_listed_twice_is_one_key),
		cmocka_unit_test(a_root_with_a_weak_key_is_refused),
		cmocka_unit_test(roots_are_parsed_strictly),
		cmocka_unit_test(a_root_needs_every_field),
		cmocka_unit_test(a_later_format_is_refused),
		cmocka_unit_test(floors_fleet_and_expiry_are_kept),
		cmocka_unit_test(resets_are_of_names_that_have_a_floor),
		cmocka_unit_test(an_online_key_is_no_root_or_release_key),
		cmocka_unit_test(a_manifest_is_no_root),
		cmocka_unit_test(a_signed_root_must_reach_its_own_threshold),
		cmocka_unit_test(a_root_follows_only_its_predecessor_signed_by_both),
		cmocka_unit_test(a_root_never_goes_back),
		cmocka_unit_test(a_first_root_that_follows_another_is_signed),
		cmocka_unit_test(a_scope_is_of_a_release_key),
		cmocka_unit_test(what_a_root_says_is_written_as_it_was_read),
		cmocka_unit_test(a_root_warns_before_it_expires),
		cmocka_unit_test(any_flip_in_a_signed_root_is_refused),
		cmocka_unit_test(a_root_is_shown_with_key_ids_and_fingerprint),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
