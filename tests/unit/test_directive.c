// SPDX-License-Identifier: BSD-2-Clause
#include "store/directive.h"
#include "tests/unit/signed.h"

#define HOST  "\"host\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""
#define NONCE "\"nonce\":\"00112233445566778899aabbccddeeff\""
#define MANIFEST \
	"\"manifest\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""
#define HEAD  "{\"format\":1,\"fleet\":\"shop\",\"name\":\"fix\","
#define TIMES "\"created\":\"2026-05-04T10:00:00Z\",\"expires\":\"2026-05-05T10:00:00Z\""
#define BACK  HEAD "\"action\":\"rollback\",\"from\":3,\"to\":2," NONCE "," TIMES

/* A root whose director is the last key, and whose fleet is shop. */
static struct trust *fleet_trust(void)
{
	struct trust_role role = signed_role(1, 1);
	struct trust says = {.version = 1, .fleet = "shop", .root = role, .release = role};
	AUTO_FREE char *text = NULL;
	struct trust *t = NULL;

	says.director = (struct trust_role){.n_keys = 1, .threshold = 1};
	says.director.keys[0] = *key_public(signed_keys[SIGNED_KEYS - 1]);
	assert_ok(trust_sign(&says, NULL, 0, &text, NULL));
	assert_ok(trust_open(text, strlen(text), &t, NULL));
	return t;
}

static int open_payload(const char *type, const char *payload, int key, const struct trust *t,
			struct directive *d, struct fail *f)
{
	AUTO_FREE char *text = NULL;

	assert_ok(dsse_sign(type, payload, strlen(payload), &signed_keys[key], 1, &text, NULL));
	memset(f, 0, sizeof(*f));
	return directive_open(text, strlen(text), t, d, f);
}

static void a_directive_is_read_back_as_it_was_signed(void **state)
{
	AUTO(trust_freep) struct trust *t = fleet_trust();
	struct directive says = {.fleet = "shop",
				 .group = "web",
				 .name = "fix",
				 .action = DIRECTIVE_APPLY,
				 .from = 0,
				 .to = 7,
				 .has_manifest = true,
				 .manifest_sha256 = {1, 2, 3},
				 .created_ms = 1000,
				 .expires_ms = 2000,
				 .rollout = "r-1",
				 .reason = "wave 2"};
	AUTO_FREE char *text = NULL;
	struct directive got;

	(void)state;
	assert_ok(directive_sign(&says, &signed_keys[3], 1, &text, NULL));
	assert_ok(directive_open(text, strlen(text), t, &got, NULL));
	assert_memory_equal(&got, &says, sizeof(got)); /* with the nonce that was filled in */
}

static void only_a_director_directs(void **state)
{
	AUTO(trust_freep) struct trust *t = fleet_trust(), *without = signed_trust(1, 1);
	struct directive d;
	struct fail f;

	(void)state;
	assert_ok(open_payload(DSSE_TYPE_DIRECTIVE, BACK "}", 3, t, &d, &f));
	/* Not even a release key. */
	assert_true(open_payload(DSSE_TYPE_DIRECTIVE, BACK "}", 0, t, &d, &f) < 0);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
	assert_true(open_payload(DSSE_TYPE_DIRECTIVE, BACK "}", 0, without, &d, &f) < 0);
	assert_int_equal(f.code, FAIL_POLICY);
}

static void a_directive_of_another_fleet_or_type_is_refused(void **state)
{
	static const char *const types[] = {DSSE_TYPE_MANIFEST, DSSE_TYPE_ROOT,
					    DSSE_TYPE_STATUS, DSSE_TYPE_REVOCATION,
					    DSSE_TYPE_CHECKPOINT};
	AUTO(trust_freep) struct trust *t = fleet_trust();
	struct directive d;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(open_payload(types[i], BACK "}", 3, t, &d, &f), -EBADMSG);
	snprintf(t->fleet, sizeof(t->fleet), "farm");
	assert_true(open_payload(DSSE_TYPE_DIRECTIVE, BACK "}", 3, t, &d, &f) < 0);
	assert_int_equal(f.code, FAIL_POLICY);
}

static void directives_are_parsed_strictly(void **state)
{
	static const char *const good[] = {
		BACK "}",
		BACK "," HOST "}",
		BACK ",\"group\":\"web\"}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":0," NONCE "," TIMES "," HOST
		     ",\"rollout\":\"r1\"}",
		HEAD "\"action\":\"apply\",\"from\":0,\"to\":1," MANIFEST "," NONCE "," TIMES
		     "}",
	};
	static const char *const bad[] = {
		"{}",
		BACK "}{}",
		BACK ",\"format\":1}",
		BACK ",\"more\":1}",
		BACK "," HOST ",\"group\":\"web\"}",
		BACK ",\"group\":\"../web\"}",
		BACK ",\"group\":\"\"}",
		BACK ",\"host\":\"\"}",
		BACK ",\"host\":\"00\"}",
		BACK ",\"rollout\":\"a b\"}",
		BACK ",\"reason\":\"\\u001b[31m\"}",
		BACK ",\"reason\":\"\xff\"}",
		BACK ",\"manifest\":\"00\"}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":3," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":2,\"to\":3," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":0," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":0," NONCE "," TIMES "," HOST
		     "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":0," NONCE "," TIMES
		     ",\"rollout\":\"r1\"}",
		HEAD "\"action\":\"apply\",\"from\":3,\"to\":0," MANIFEST "," NONCE "," TIMES
		     "," HOST ",\"rollout\":\"r1\"}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":1e0," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":-2," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":9007199254740992,\"to\":2," NONCE
		     "," TIMES "}",
		HEAD "\"action\":\"disable\",\"from\":3,\"to\":2," NONCE "," TIMES "}",
		HEAD "\"action\":\"apply\",\"from\":3,\"to\":4," NONCE "," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":2," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":2,\"nonce\":\"00\"," TIMES "}",
		HEAD "\"action\":\"rollback\",\"from\":3,\"to\":2," NONCE
		     ",\"created\":\"2026-05-04T10:00:00Z\"}",
		HEAD
		"\"action\":\"rollback\",\"from\":3,\"to\":2," NONCE
		",\"created\":\"2026-05-04T10:00:00Z\",\"expires\":\"2026-05-04T10:00:00Z\"}",
		HEAD
		"\"action\":\"rollback\",\"from\":3,\"to\":2," NONCE
		",\"created\":\"2026-05-04T10:00:00Z\",\"expires\":\"2026-06-05T10:00:00Z\"}",
	};
	AUTO(trust_freep) struct trust *t = fleet_trust();
	struct directive d;
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (open_payload(DSSE_TYPE_DIRECTIVE, good[i], 3, t, &d, &f) < 0)
			fail_msg("%s: %s", f.message, good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (open_payload(DSSE_TYPE_DIRECTIVE, bad[i], 3, t, &d, &f) >= 0)
			fail_msg("accepted %s", bad[i]);
		assert_int_equal(f.code, FAIL_BAD_FORMAT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directive_is_read_back_as_it_was_signed),
		cmocka_unit_test(only_a_director_directs),
		cmocka_unit_test(a_directive_of_another_fleet_or_type_is_refused),
		cmocka_unit_test(directives_are_parsed_strictly),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
