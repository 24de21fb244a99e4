// SPDX-License-Identifier: BSD-2-Clause
#include "store/catalog.h"
#include "tests/unit/signed.h"

#define SHA "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""
#define ENTRY(name, serial)                                                                 \
	"{\"name\":\"" name "\",\"serial\":" serial ",\"manifest\":" SHA ",\"bundle\":" SHA \
	",\"bytes\":100}"
#define TIMES "\"created\":\"2026-05-04T10:00:00Z\",\"expires\":\"2026-05-05T10:00:00Z\""
#define NEVER                                                                                  \
	"{\"format\":1,\"fleet\":\"shop\",\"version\":5,\"created\":\"2026-05-04T10:00:00Z\"," \
	"\"expires\":\"2026-05-04T10:00:00Z\""
#define HEAD "{\"format\":1,\"fleet\":\"shop\",\"version\":5," TIMES

static struct trust *fleet_trust(void)
{
	struct trust_role role = signed_role(1, 1);
	struct trust says = {.version = 1, .fleet = "shop", .root = role, .release = role};
	AUTO_FREE char *text = NULL;
	struct trust *t = NULL;

	says.status = (struct trust_role){.n_keys = 1, .threshold = 1};
	says.status.keys[0] = *key_public(signed_keys[SIGNED_KEYS - 1]);
	assert_ok(trust_sign(&says, NULL, 0, &text, NULL));
	assert_ok(trust_open(text, strlen(text), &t, NULL));
	return t;
}

static char *signed_status(uint64_t version, uint64_t serial, int key)
{
	struct catalog_entry e = {
		.name = "fix", .serial = serial, .manifest_sha256 = {1}, .bundle_bytes = 9};
	struct catalog c = {.fleet = "shop",
			    .version = version,
			    .created_ms = 1000,
			    .expires_ms = 2000,
			    .entries = &e,
			    .n_entries = 1};
	char *text = NULL;

	assert_ok(catalog_sign(&c, &signed_keys[key], 1, &text, NULL));
	return text;
}

static void a_status_names_what_there_is(void **state)
{
	AUTO(trust_freep) struct trust *t = fleet_trust();
	AUTO_FREE char *text = signed_status(5, 3, 3), *by_release = signed_status(5, 3, 0);
	AUTO(catalog_freep) struct catalog *c = NULL;
	const struct catalog_entry *e;
	struct fail f;

	(void)state;
	assert_ok(catalog_open(text, strlen(text), t, &c, &f));
	assert_int_equal(c->version, 5);
	assert_int_equal(c->expires_ms, 2000);
	e = catalog_find(c, "fix", 3);
	assert_non_null(e);
	assert_int_equal(e->manifest_sha256[0], 1);
	assert_int_equal(e->bundle_bytes, 9);
	assert_null(catalog_find(c, "fix", 2));
	assert_null(catalog_find(c, "other", 3));
	assert_null(catalog_find(NULL, "fix", 3));
	assert_true(catalog_open(by_release, strlen(by_release), t, &c, &f) < 0);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
	snprintf(t->fleet, sizeof(t->fleet), "farm");
	assert_true(catalog_open(text, strlen(text), t, &c, &f) < 0);
	assert_int_equal(f.code, FAIL_POLICY);
	t->status.n_keys = 0;
	assert_true(catalog_open(text, strlen(text), t, &c, &f) < 0);
	assert_int_equal(f.code, FAIL_POLICY);
}

/* Attacks 13 and 16: an old one again, another one of the same version. */
static void a_status_never_goes_back_nor_comes_in_two(void **state)
{
	AUTO(trust_freep) struct trust *t = fleet_trust();
	AUTO_FREE char *old = signed_status(4, 3, 3), *text = signed_status(5, 3, 3);
	AUTO_FREE char *other = signed_status(5, 4, 3), *newer = signed_status(9, 4, 3);
	AUTO(catalog_freep) struct catalog *c = NULL, *next = NULL;
	struct fail f;

	(void)state;
	assert_ok(catalog_open_next(text, strlen(text), t, NULL, &c, &f));
	assert_int_equal(catalog_open_next(text, strlen(text), t, c, &next, &f), -EALREADY);
	assert_true(catalog_open_next(old, strlen(old), t, c, &next, &f) < 0);
	assert_int_equal(f.code, FAIL_DOWNGRADE);
	assert_true(catalog_open_next(other, strlen(other), t, c, &next, &f) < 0);
	assert_int_equal(f.code, FAIL_EQUIVOCATION);
	assert_ok(catalog_open_next(newer, strlen(newer), t, c, &next, &f));
	assert_int_equal(next->version, 9);
}

static void statuses_are_parsed_strictly(void **state)
{
	static const char *const good[] = {
		HEAD ",\"hotfixes\":[]}",
		HEAD
		",\"hotfixes\":[" ENTRY("a", "1") "," ENTRY("a", "2") "," ENTRY("b", "1") "]}",
	};
	static const char *const bad[] = {
		"{}",
		HEAD "}",
		HEAD ",\"hotfixes\":{}}",
		HEAD ",\"hotfixes\":[1]}",
		HEAD ",\"hotfixes\":[{}]}",
		HEAD ",\"hotfixes\":[],\"more\":1}",
		HEAD ",\"hotfixes\":[],\"version\":5}",
		HEAD ",\"hotfixes\":[" ENTRY("a", "1") "," ENTRY("a", "1") "]}",
		HEAD ",\"hotfixes\":[" ENTRY("../a", "1") "]}",
		HEAD ",\"hotfixes\":[" ENTRY("a", "0") "]}",
		HEAD ",\"hotfixes\":[" ENTRY("a", "9007199254740992") "]}",
		HEAD ",\"hotfixes\":[{\"name\":\"a\",\"serial\":1,\"manifest\":" SHA
		     ",\"bundle\":" SHA ",\"bytes\":99999999999}]}",
		HEAD
		",\"hotfixes\":[{\"name\":\"a\",\"serial\":1,\"manifest\":\"00\",\"bundle\":" SHA
		",\"bytes\":1}]}",
		"{\"format\":1,\"fleet\":\"\",\"version\":5," TIMES ",\"hotfixes\":[]}",
		"{\"format\":2,\"fleet\":\"shop\",\"version\":5," TIMES ",\"hotfixes\":[]}",
		"{\"format\":1,\"fleet\":\"shop\",\"version\":0," TIMES ",\"hotfixes\":[]}",
		NEVER ",\"hotfixes\":[]}",
	};
	AUTO(trust_freep) struct trust *t = fleet_trust();
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good) + ARRAY_SIZE(bad); i++) {
		bool is_good = i < ARRAY_SIZE(good);
		const char *payload = is_good ? good[i] : bad[i - ARRAY_SIZE(good)];
		AUTO(catalog_freep) struct catalog *c = NULL;
		AUTO_FREE char *text = NULL;

		assert_ok(dsse_sign(DSSE_TYPE_STATUS, payload, strlen(payload), &signed_keys[3],
				    1, &text, NULL));
		if ((catalog_open(text, strlen(text), t, &c, &f) >= 0) != is_good)
			fail_msg("%s: %s", is_good ? f.message : "accepted", payload);
		if (!is_good)
			assert_int_equal(f.code, FAIL_BAD_FORMAT);
	}
}

static void the_largest_status_fits(void **state)
{
	AUTO(trust_freep) struct trust *t = fleet_trust();
	struct catalog_entry *e = calloc(CATALOG_ENTRIES_MAX + 1, sizeof(*e));
	struct catalog c = {.fleet = "shop", .version = 1, .expires_ms = 1, .entries = e};
	AUTO(catalog_freep) struct catalog *got = NULL;
	AUTO_FREE char *text = NULL, *more = NULL;

	(void)state;
	for (size_t i = 0; i <= CATALOG_ENTRIES_MAX; i++) {
		memset(e[i].name, 'a', HOOK_NAME_MAX);
		e[i].serial = MANIFEST_SERIAL_MAX - i;
		e[i].bundle_bytes = BUNDLE_BYTES_MAX;
	}
	c.n_entries = CATALOG_ENTRIES_MAX;
	assert_ok(catalog_sign(&c, &signed_keys[3], 1, &text, NULL));
	assert_ok(catalog_open(text, strlen(text), t, &got, NULL));
	assert_int_equal(got->n_entries, CATALOG_ENTRIES_MAX);
	c.n_entries++;
	assert_true(catalog_sign(&c, &signed_keys[3], 1, &more, NULL) < 0);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_names_what_there_is),
		cmocka_unit_test(a_status_never_goes_back_nor_comes_in_two),
		cmocka_unit_test(statuses_are_parsed_strictly),
		cmocka_unit_test(the_largest_status_fits),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
