// SPDX-License-Identifier: BSD-2-Clause
#include "server/authority.h"
#include "lib/json.h"
#include "tests/unit/signed.h"

static struct store *store;

static int with_store(void **state)
{
	(void)state;
	return store_open(unit_path("authority.db"), &store, NULL);
}

static int without_store(void **state)
{
	(void)state;
	store = store_free(store);
	return remove(unit_path("authority.db"));
}

#define WITH_STORE(f) cmocka_unit_test_setup_teardown(f, with_store, without_store)

/* A root whose keys are [key] alone, signed by the first n keys. */
static char *root_of(uint64_t version, int key, size_t n_sign)
{
	struct trust_role role = {.n_keys = 1, .threshold = 1};

	role.keys[0] = *key_public(signed_keys[key]);
	return signed_root(&role, version, n_sign);
}

static int import(uint64_t version, int key, size_t n_sign, struct fail *f)
{
	AUTO_FREE char *text = root_of(version, key, n_sign);
	AUTO(trust_freep) struct trust *t = NULL;

	return authority_import(store, text, strlen(text), 0, &t, f);
}

static void the_chain_leads_to_the_root_in_force(void **state)
{
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct fail f;

	(void)state;
	assert_int_equal(authority_trust(store, &t, &f), -fail_errno(FAIL_NO_TRUST));
	assert_ok(import(1, 0, 0, &f));
	assert_ok(import(1, 0, 0, &f));
	assert_ok(import(2, 1, 2, &f));
	assert_ok(authority_trust(store, &t, &f));
	assert_int_equal(t->version, 2);
	assert_ok(authority_report(store, &doc, &f));
	assert_int_equal(json_array_size(json_object_get(doc, "chain")), 2);
	assert_true(json_is_null(json_object_get(doc, "warning")));
}

/* A new host starts with whatever root is in force in the fleet. */
static void the_first_root_may_be_of_any_version(void **state)
{
	struct fail f;

	(void)state;
	assert_ok(import(7, 0, 1, &f));
	assert_ok(import(8, 0, 1, &f));
}

/* Attack 9. */
static void a_root_that_was_put_into_the_database_is_trusted_by_nobody(void **state)
{
	AUTO_FREE char *theirs = root_of(2, 3, 0);
	AUTO(trust_freep) struct trust *t = NULL;
	char warning[256];
	struct fail f;

	(void)state;
	assert_ok(import(1, 0, 0, &f));
	assert_ok(store_put_root(store, 2, theirs, strlen(theirs), 0, 0));
	assert_int_equal(authority_trust(store, &t, &f), -EKEYREJECTED);
	assert_non_null(strstr(f.message, "changed by hand"));
	assert_non_null(strstr(authority_warning(store, warning, sizeof(warning)), "by hand"));
	/* Nor is it a step to another one. */
	assert_int_equal(import(3, 3, 4, &f), -EKEYREJECTED);
}

static void take_back(uint64_t from, uint64_t to, bool rollback, int key)
{
	struct revocation v = {.name = "fix", .from = from, .to = to, .rollback = rollback},
			  got;
	AUTO_FREE char *text = NULL;
	struct fail f;

	assert_ok(revocation_sign(&v, &signed_keys[key], 1, &text, NULL));
	assert_ok(authority_import_revocation(store, text, strlen(text), 0, &got, &f));
	assert_ok(authority_import_revocation(store, text, strlen(text), 0, &got, &f));
}

static void the_harder_revocation_counts_as_long_as_its_signers_do(void **state)
{
	AUTO(authority_freep) struct authority *one = NULL, *two = NULL;
	struct fail f;

	(void)state;
	assert_ok(import(1, 0, 0, &f));
	take_back(2, 9, false, 0);
	take_back(1, 3, true, 0);
	take_back(3, 3, false, 0);
	assert_ok(authority_open(store, &one, &f));
	assert_int_equal(one->n_revocations, 3);
	assert_true(authority_revoked(one, "fix", 2)->rollback);
	assert_true(authority_revoked(one, "fix", 3)->rollback);
	assert_false(authority_revoked(one, "fix", 9)->rollback);
	assert_null(authority_revoked(one, "fix", 10));
	assert_null(authority_revoked(one, "other", 2));
	assert_ok(import(2, 1, 2, &f));
	assert_ok(authority_open(store, &two, &f));
	assert_null(authority_revoked(two, "fix", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(the_chain_leads_to_the_root_in_force),
		WITH_STORE(the_first_root_may_be_of_any_version),
		WITH_STORE(a_root_that_was_put_into_the_database_is_trusted_by_nobody),
		WITH_STORE(the_harder_revocation_counts_as_long_as_its_signers_do),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
