// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "server/policy.h"

static struct manifest manifest = {.name = "x",
				   .serial = 5,
				   .trial_default_ms = 60000,
				   .trial_min_ms = 5000,
				   .trial_max_ms = 90000};

static struct policy_facts facts(void)
{
	return (struct policy_facts){.manifest = &manifest,
				     .now_ms = 1000,
				     .release = "6.1.0-1-amd64",
				     .machine = "x86_64"};
}

static int code_of(const struct policy_facts *f)
{
	struct fail fail = {.code = FAIL_NONE};

	if (policy_may_apply(f, &fail) == 0)
		return FAIL_NONE;
	assert_true(fail.message[0] != 0);
	return fail.code;
}

static void a_plain_version_may_be_applied(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	assert_int_equal(code_of(&f), FAIL_NONE);
}

static void a_serial_below_the_high_water_mark_is_a_downgrade_unless_it_is_a_rollback(
	void **state)
{
	struct policy_facts f = facts();

	(void)state;
	f.high_water = 6;
	assert_int_equal(code_of(&f), FAIL_DOWNGRADE);
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
	f.high_water = 5;
	f.back = false;
	assert_int_equal(code_of(&f), FAIL_NONE);
}

/* Attack 25: a stolen director chooses among what may be applied, and no more. */
static void a_directive_lifts_the_high_water_mark_and_nothing_else(void **state)
{
	struct policy_facts f = facts();
	struct revocation v = {.reason = "harms"};

	(void)state;
	f.directed = true;
	f.high_water = 6;
	assert_int_equal(code_of(&f), FAIL_NONE);
	f.floor = 6;
	assert_int_equal(code_of(&f), FAIL_DOWNGRADE);
	f.floor = 0;
	f.revoked = &v;
	assert_int_equal(code_of(&f), FAIL_POLICY);
	f.revoked = NULL;
	f.pinned_other = true;
	assert_int_equal(code_of(&f), FAIL_EQUIVOCATION);
	f.pinned_other = false;
	f.root_expires_ms = 1;
	assert_int_equal(code_of(&f), FAIL_EXPIRED);
}

static void what_was_removed_may_come_again_but_nothing_older_that_never_ran(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	f.high_water = 6;
	f.removed = true;
	assert_int_equal(code_of(&f), FAIL_DOWNGRADE);
	f.committed_before = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
	f.removed = false;
	assert_int_equal(code_of(&f), FAIL_DOWNGRADE);
}

static void the_floor_of_the_root_binds_rollbacks_too(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	f.floor = 6;
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_DOWNGRADE);
}

static void a_revocation_stops_new_applies_and_a_forced_one_all(void **state)
{
	struct revocation v = {.reason = "bad"};
	struct policy_facts f = facts();

	(void)state;
	f.revoked = &v;
	assert_int_equal(code_of(&f), FAIL_POLICY);
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
	v.rollback = true;
	assert_int_equal(code_of(&f), FAIL_POLICY);
}

static void an_expired_root_stops_first_attaches_and_nothing_else(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	f.root_expires_ms = 1000;
	assert_int_equal(code_of(&f), FAIL_NONE);
	f.root_expires_ms = 999;
	assert_int_equal(code_of(&f), FAIL_EXPIRED);
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
}

static void an_expired_version_is_not_attached_for_the_first_time_but_may_come_back(
	void **state)
{
	struct policy_facts f = facts();

	(void)state;
	manifest.expires_ms = 999;
	assert_int_equal(code_of(&f), FAIL_EXPIRED);
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
	manifest.expires_ms = 0;
}

static void quarantine_and_kill_switch_refuse(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	f.quarantined = true;
	f.quarantine_reason = "it did harm";
	assert_int_equal(code_of(&f), FAIL_POLICY);
	f.quarantined = false;
	f.boot = POLICY_BOOT_NO_APPLY;
	assert_int_equal(code_of(&f), FAIL_POLICY);
}

static void requires_and_conflicts_look_at_what_is_live(void **state)
{
	const char *const live[] = {"other"};
	struct policy_facts f = facts();

	(void)state;
	manifest.requires[0] = "other";
	manifest.n_requires = 1;
	assert_int_equal(code_of(&f), FAIL_POLICY);
	f.live = live;
	f.n_live = 1;
	assert_int_equal(code_of(&f), FAIL_NONE);
	manifest.n_requires = 0;
	manifest.conflicts[0] = "other";
	manifest.n_conflicts = 1;
	assert_int_equal(code_of(&f), FAIL_POLICY);
	manifest.n_conflicts = 0;
}

static void what_ran_until_now_goes_on_without_what_it_requires(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	manifest.requires[0] = "other";
	manifest.n_requires = 1;
	f.back = true;
	assert_int_equal(code_of(&f), FAIL_POLICY); /* enable: nothing of it ran */
	f.goes_on = true;
	assert_int_equal(code_of(&f), FAIL_NONE);
	manifest.n_requires = 0;
}

static void a_kernel_outside_the_ranges_is_incompatible(void **state)
{
	struct policy_facts f = facts();

	(void)state;
	strcpy(manifest.ranges[0].from, "6.12");
	manifest.n_ranges = 1;
	assert_int_equal(code_of(&f), FAIL_INCOMPATIBLE);
	f.release = "6.12.1";
	assert_int_equal(code_of(&f), FAIL_NONE);
	manifest.n_ranges = 0;
}

/* Attack 17. */
static void one_version_raises_serials_only_so_far(void **state)
{
	const uint64_t jump = POLICY_SERIAL_JUMP_MAX;
	struct fail f;

	(void)state;
	assert_ok(policy_serial_jump("fix", 2026112201, 0, 0, &f));
	assert_ok(policy_serial_jump("fix", 3, 9, 0, &f)); /* older is another matter */
	assert_ok(policy_serial_jump("fix", 9 + jump, 9, 0, &f));
	assert_true(policy_serial_jump("fix", 10 + jump, 9, 0, &f) < 0);
	assert_int_equal(f.code, FAIL_POLICY);
	assert_ok(policy_serial_jump("fix", 10 + jump, 9, 10, &f));
	assert_true(policy_serial_jump("fix", UINT64_MAX, 9, 0, &f) < 0);
}

static enum fail_code directed(const struct directive *d,
			       const struct policy_directive_facts *f)
{
	struct fail fail = {.code = FAIL_NONE};

	policy_may_direct(d, f, &fail);
	return fail.code;
}

/* Attacks 11 and 12. */
static void a_directive_binds_whom_it_is_for_once_and_in_time(void **state)
{
	struct policy_directive_facts facts = {.now_ms = 1000,
					       .host = "abc",
					       .groups = "web  berlin-1",
					       .committed_serial = 3};
	struct directive d = {.name = "fix", .from = 3, .to = 2, .expires_ms = 1000};

	(void)state;
	assert_int_equal(directed(&d, &facts), FAIL_NONE);
	facts.now_ms++;
	assert_int_equal(directed(&d, &facts), FAIL_EXPIRED);
	facts.now_ms--;
	facts.committed_serial = 4;
	assert_int_equal(directed(&d, &facts), FAIL_POLICY);
	facts.committed_serial = 3;
	facts.nonce_used = true;
	assert_int_equal(directed(&d, &facts), FAIL_POLICY);
	facts.nonce_used = false;
	snprintf(d.group, sizeof(d.group), "berlin-1");
	assert_int_equal(directed(&d, &facts), FAIL_NONE);
	snprintf(d.group, sizeof(d.group), "berlin");
	assert_int_equal(directed(&d, &facts), FAIL_POLICY);
	d.group[0] = 0;
	snprintf(d.host, sizeof(d.host), "abc");
	assert_int_equal(directed(&d, &facts), FAIL_NONE);
	facts.host = "";
	assert_int_equal(directed(&d, &facts), FAIL_POLICY);
}

static void a_trial_keeps_within_the_bounds_of_the_manifest(void **state)
{
	struct fail fail;
	uint64_t ms;

	(void)state;
	assert_int_equal(policy_trial_ms(&manifest, 0, &ms, &fail), 0);
	assert_int_equal(ms, 60000);
	assert_int_equal(policy_trial_ms(&manifest, 5000, &ms, &fail), 0);
	assert_int_equal(ms, 5000);
	assert_true(policy_trial_ms(&manifest, 4999, &ms, &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
	assert_true(policy_trial_ms(&manifest, 90001, &ms, &fail) < 0);
}

static void the_kill_switch_is_a_whole_word_of_the_command_line(void **state)
{
	(void)state;
	assert_int_equal(policy_boot_of("quiet hotfix=off ro"), POLICY_BOOT_OFF);
	assert_int_equal(policy_boot_of("hotfix=no-apply"), POLICY_BOOT_NO_APPLY);
	assert_int_equal(policy_boot_of("xhotfix=off hotfix=offer"), POLICY_BOOT_NORMAL);
	assert_int_equal(policy_boot_of(""), POLICY_BOOT_NORMAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directive_lifts_the_high_water_mark_and_nothing_else),
		cmocka_unit_test(a_plain_version_may_be_applied),
		cmocka_unit_test(
			a_serial_below_the_high_water_mark_is_a_downgrade_unless_it_is_a_rollback),
		cmocka_unit_test(
			what_was_removed_may_come_again_but_nothing_older_that_never_ran),
		cmocka_unit_test(the_floor_of_the_root_binds_rollbacks_too),
		cmocka_unit_test(
			an_expired_version_is_not_attached_for_the_first_time_but_may_come_back),
		cmocka_unit_test(a_revocation_stops_new_applies_and_a_forced_one_all),
		cmocka_unit_test(an_expired_root_stops_first_attaches_and_nothing_else),
		cmocka_unit_test(quarantine_and_kill_switch_refuse),
		cmocka_unit_test(requires_and_conflicts_look_at_what_is_live),
		cmocka_unit_test(what_ran_until_now_goes_on_without_what_it_requires),
		cmocka_unit_test(a_kernel_outside_the_ranges_is_incompatible),
		cmocka_unit_test(one_version_raises_serials_only_so_far),
		cmocka_unit_test(a_directive_binds_whom_it_is_for_once_and_in_time),
		cmocka_unit_test(a_trial_keeps_within_the_bounds_of_the_manifest),
		cmocka_unit_test(the_kill_switch_is_a_whole_word_of_the_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
