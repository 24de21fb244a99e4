// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/signed.h"

#include "store/store.h"

static struct store *opened(const char *name)
{
	struct store *s = NULL;
	struct fail f = {0};

	if (store_open(unit_path(name), &s, &f) < 0)
		fail_msg("store_open: %s", f.message);
	return s;
}

static void commit_serial(struct store *s, const char *name, uint64_t serial)
{
	struct store_hotfix h = {.committed_serial = serial};

	snprintf(h.name, sizeof(h.name), "%s", name);
	assert_ok(store_put_hotfix(s, &h));
}

static void put_version(struct store *s, const char *name, uint64_t serial)
{
	struct store_version v = {.serial = serial, .bundle_bytes = 5};

	snprintf(v.name, sizeof(v.name), "%s", name);
	v.digest[0] = v.manifest_sha256[0] = (uint8_t)serial;
	assert_ok(store_put_version(s, &v, "bytes", 5));
}

static void the_previous_serial_follows_rollbacks(void **state)
{
	AUTO(store_freep) struct store *s = opened("previous.db");
	uint64_t serial;

	(void)state;
	for (uint64_t n = 1; n <= 4; n++)
		put_version(s, "fix", n);
	commit_serial(s, "fix", 1);
	commit_serial(s, "fix", 2);
	commit_serial(s, "fix", 3);
	assert_ok(store_previous_serial(s, "fix", 3, &serial));
	assert_int_equal(serial, 2);
	commit_serial(s, "fix", 2);
	assert_ok(store_previous_serial(s, "fix", 2, &serial));
	assert_int_equal(serial, 1);
	commit_serial(s, "fix", 4);
	assert_ok(store_previous_serial(s, "fix", 4, &serial));
	assert_int_equal(serial, 2);
	commit_serial(s, "fix", 1);
	assert_int_equal(store_previous_serial(s, "fix", 1, &serial), -ENOENT);
}

static void the_audit_chain_holds_and_verifies(void **state)
{
	AUTO(store_freep) struct store *s = opened("audit.db");
	uint64_t rows, bad = 0;
	char head[65];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_ok(store_audit(s, 1000, 0, "apply", "fix@1", "done", NULL));
	assert_ok(store_audit_verify(s, &rows, head, &bad));
	assert_int_equal(rows, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_previous_serial_follows_rollbacks),
		cmocka_unit_test(the_audit_chain_holds_and_verifies),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
