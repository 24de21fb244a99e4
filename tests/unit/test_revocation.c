// SPDX-License-Identifier: BSD-2-Clause
#include "store/revocation.h"
#include "tests/unit/signed.h"

static struct revocation revocation_of(const char *name, uint64_t from, uint64_t to)
{
	struct revocation v = {
		.from = from, .to = to, .created_ms = 1000, .reason = "stalls under loss"};

	snprintf(v.name, sizeof(v.name), "%s", name);
	return v;
}

/* Opens what the first n keys signed. */
static int open_signed(const struct revocation *v, size_t n, const struct trust *t,
		       struct revocation *ret_revocation, struct fail *f)
{
	AUTO_FREE char *text = NULL;

	assert_ok(revocation_sign(v, signed_keys, n, &text, NULL));
	memset(f, 0, sizeof(*f));
	return revocation_open(text, strlen(text), t, ret_revocation, f);
}

static void a_revocation_is_read_back_as_it_was_signed(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(2, 2);
	struct revocation v = revocation_of("fix", 2, 4), got;
	struct fail f;

	(void)state;
	v.rollback = true;
	assert_ok(open_signed(&v, 2, t, &got, &f));
	assert_string_equal(got.name, "fix");
	assert_int_equal(got.from, 2);
	assert_int_equal(got.to, 4);
	assert_true(got.rollback);
	assert_string_equal(got.reason, "stalls under loss");
	assert_int_equal(got.created_ms, 1000);
}

static void it_covers_its_serials_and_no_other(void **state)
{
	struct revocation v = revocation_of("fix", 2, 4);

	(void)state;
	assert_false(revocation_covers(&v, "fix", 1));
	assert_true(revocation_covers(&v, "fix", 2));
	assert_true(revocation_covers(&v, "fix", 4));
	assert_false(revocation_covers(&v, "fix", 5));
	assert_false(revocation_covers(&v, "other", 3));
}

/* Attack 27: it takes as many as a release. */
static void below_the_release_threshold_nothing_is_revoked(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(2, 2);
	struct revocation v = revocation_of("fix", 1, 1), got;
	struct fail f;

	(void)state;
	assert_int_equal(open_signed(&v, 1, t, &got, &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
}

static void a_key_revokes_only_within_its_scopes(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	struct revocation v = revocation_of("fix", 1, 1), got;
	struct fail f;

	(void)state;
	assert_ok(trust_scope_parse("tcp-*", "struct_ops", &t->scopes[0]));
	t->scopes[0].key = *key_public(signed_keys[0]);
	t->n_scopes = 1;
	assert_int_equal(open_signed(&v, 1, t, &got, &f), -EKEYREJECTED);
	v = revocation_of("tcp-x", 1, 1);
	assert_ok(open_signed(&v, 1, t, &got, &f));
}

/* Attack 5. */
static void other_documents_revoke_nothing(void **state)
{
	static const char payload[] =
		"{\"format\":1,\"created\":\"2026-05-04T10:11:12Z\",\"name\":\"fix\",\"from\":1,"
		"\"to\":1,\"action\":\"force-rollback\",\"reason\":\"\"}";
	static const char *const types[] = {DSSE_TYPE_MANIFEST, DSSE_TYPE_ROOT};
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	struct revocation got;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		AUTO_FREE char *text = NULL;

		assert_ok(dsse_sign(types[i], payload, strlen(payload), signed_keys, 1, &text,
				    NULL));
		assert_int_equal(revocation_open(text, strlen(text), t, &got, &f), -EBADMSG);
	}
}

static void revocations_are_parsed_strictly(void **state)
{
#define DOC(name, from, to, action, more)                                                     \
	"{\"format\":1,\"created\":\"2026-05-04T10:11:12Z\",\"name\":" name ",\"from\":" from \
	",\"to\":" to ",\"action\":" action ",\"reason\":\"\"" more "}"
	static const char *const bad[] = {
		"{}",
		DOC("\"../x\"", "1", "1", "\"no-new-apply\"", ""),
		DOC("\"fix\"", "0", "1", "\"no-new-apply\"", ""),
		DOC("\"fix\"", "2", "1", "\"no-new-apply\"", ""),
		DOC("\"fix\"", "1", "9007199254740992", "\"no-new-apply\"", ""),
		DOC("\"fix\"", "1", "1", "\"detach\"", ""),
		DOC("\"fix\"", "1", "1", "1", ""),
		DOC("\"fix\"", "1", "1", "\"no-new-apply\"", ",\"more\":1"),
		DOC("\"fix\"", "1", "1", "\"no-new-apply\"", ",\"reason\":\"twice\""),
	};
	static const char good[] = DOC("\"fix\"", "1", "1", "\"no-new-apply\"", "");
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE char *text = NULL;
	struct revocation got;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_FREE char *refused = NULL;

		assert_ok(dsse_sign(DSSE_TYPE_REVOCATION, bad[i], strlen(bad[i]), signed_keys,
				    1, &refused, NULL));
		if (revocation_open(refused, strlen(refused), t, &got, &f) >= 0)
			fail_msg("accepted %s", bad[i]);
		assert_int_equal(f.code, FAIL_BAD_FORMAT);
	}
	assert_ok(dsse_sign(DSSE_TYPE_REVOCATION, good, strlen(good), signed_keys, 1, &text,
			    NULL));
	assert_ok(revocation_open(text, strlen(text), t, &got, &f));
	assert_false(got.rollback);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_revocation_is_read_back_as_it_was_signed),
		cmocka_unit_test(it_covers_its_serials_and_no_other),
		cmocka_unit_test(below_the_release_threshold_nothing_is_revoked),
		cmocka_unit_test(a_key_revokes_only_within_its_scopes),
		cmocka_unit_test(other_documents_revoke_nothing),
		cmocka_unit_test(revocations_are_parsed_strictly),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
