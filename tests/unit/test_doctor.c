// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/utsname.h>

#include <cmocka.h>

#include "bpf/doctor.h"
#include "lib/json.h"

static const char *str(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static const json_t *find_check(const json_t *report, const char *name)
{
	const json_t *checks = json_object_get(report, "checks");
	const json_t *c;
	size_t i;

	json_array_foreach(checks, i, c)
		if (strcmp(str(c, "name"), name) == 0)
			return c;
	return NULL;
}

static bool is_text_or_null(const json_t *v)
{
	return json_is_null(v) || (json_is_string(v) && json_string_length(v) > 0);
}

static void every_check_has_a_status_and_says_how_it_is_known(void **state)
{
	AUTO_JSON json_t *report = NULL;
	struct utsname u;
	json_t *c;
	size_t i;

	(void)state;
	uname(&u);
	assert_int_equal(doctor_host("/sys/fs/bpf/hotfix", &report), 0);
	assert_string_equal(str(json_object_get(report, "kernel"), "release"), u.release);
	assert_true(json_array_size(json_object_get(report, "checks")) >= 10);
	json_array_foreach(json_object_get(report, "checks"), i, c) {
		const char *status = str(c, "status");

		assert_true(strcmp(status, "ok") == 0 || strcmp(status, "warn") == 0 ||
			    strcmp(status, "fail") == 0 || strcmp(status, "unknown") == 0);
		assert_non_null(str(c, "how"));
		assert_true(is_text_or_null(json_object_get(c, "value")));
		assert_true(is_text_or_null(json_object_get(c, "why")));
		assert_true(is_text_or_null(json_object_get(c, "hint")));
		if (strcmp(status, "fail") == 0 || strcmp(status, "warn") == 0)
			assert_non_null(str(c, "why"));
	}
}

static void what_the_host_can_agrees_with_its_checks(void **state)
{
	static const char *const kinds[] = {"fentry", "fexit", "fmod_ret", "lsm", "struct_ops"};
	AUTO_JSON json_t *report = NULL;
	const json_t *can;
	bool ok;

	(void)state;
	assert_int_equal(doctor_host("/sys/fs/bpf/hotfix", &report), 0);
	can = json_object_get(report, "can");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		assert_true(json_is_boolean(json_object_get(can, kinds[i])));
	ok = strcmp(str(find_check(report, "trampolines"), "status"), "ok") == 0;
	if (ok)
		assert_true(json_is_true(json_object_get(can, "fentry")));
	ok = strcmp(str(find_check(report, "struct_ops"), "status"), "ok") == 0;
	assert_int_equal(ok, json_is_true(json_object_get(can, "struct_ops")));
	if (!doctor_lsm_has_bpf(NULL, 0))
		assert_true(json_is_false(json_object_get(can, "lsm")));
}

static void a_folder_outside_of_bpffs_fails_with_the_way_to_mount_one(void **state)
{
	AUTO_JSON json_t *report = NULL;
	const json_t *c;

	(void)state;
	assert_int_equal(doctor_host("/tmp/hotfix-not-there/yet", &report), 0);
	c = find_check(report, "bpffs");
	assert_string_equal(str(c, "status"), "fail");
	assert_non_null(strstr(str(c, "hint"), "mount"));
}

static void a_folder_that_others_may_write_to_fails_and_says_so(void **state)
{
	AUTO_JSON json_t *report = NULL;
	const json_t *c;

	(void)state;
	/* A bpffs is made with mode 1777. */
	assert_int_equal(doctor_host("/sys/fs/bpf", &report), 0);
	c = find_check(report, "bpffs");
	assert_string_equal(str(c, "status"), "fail");
	assert_non_null(strstr(str(c, "why"), "not ours alone"));
}

static void a_function_that_is_not_there_is_refused_by_name(void **state)
{
	const struct hook hook = {.type = HOOK_FENTRY,
				  .target = "no_such_function_of_any_kernel"};
	AUTO_JSON json_t *report = NULL;
	const json_t *r;

	(void)state;
	assert_int_equal(doctor_hooks(&hook, 1, false, &report), 0);
	r = json_array_get(report, 0);
	assert_true(json_is_false(json_object_get(r, "ok")));
	assert_non_null(strstr(str(r, "why"), "no_such_function_of_any_kernel"));
	assert_true(json_is_null(json_object_get(r, "free_slots")));
}

static void hooks_are_answered_in_order_with_kind_and_way_in(void **state)
{
	const struct hook hooks[] = {
		{.type = HOOK_FEXIT, .target = "tcp_v4_connect", .program = "a"},
		{.type = HOOK_LSM, .target = "file_open", .program = "b", .sleepable = true},
		{.type = HOOK_FMOD_RET, .target = "security_task_getpgid", .program = "c"},
		{.type = HOOK_STRUCT_OPS, .target = "tcp_congestion_ops", .program = "d"},
	};
	AUTO_JSON json_t *report = NULL;
	json_t *r;
	size_t i;

	(void)state;
	assert_int_equal(doctor_hooks(hooks, 4, false, &report), 0);
	assert_int_equal(json_array_size(report), 4);
	json_array_foreach(report, i, r) {
		assert_string_equal(str(r, "program"), hooks[i].program);
		assert_string_equal(str(r, "target"), hooks[i].target);
		if (json_is_false(json_object_get(r, "ok")))
			assert_non_null(str(r, "why"));
	}
	assert_string_equal(str(json_array_get(report, 0), "kind"), "dispatcher");
	assert_string_equal(str(json_array_get(report, 1), "kind"), "overlap");
	assert_string_equal(str(json_array_get(report, 3), "kind"), "struct_ops");
	/* A deny hook is lsm where BPF LSM is on, else fmod_ret. */
	assert_string_equal(str(json_array_get(report, 2), "attach_as"),
			    doctor_lsm_has_bpf(NULL, 0) ? "lsm" : "fmod_ret");
}

static void a_congestion_control_of_the_kernel_is_a_possible_clash(void **state)
{
	const struct hook hook = {
		.type = HOOK_STRUCT_OPS, .target = "tcp_congestion_ops", .cc_name = "reno"};
	AUTO_JSON json_t *report = NULL;
	const json_t *r;

	(void)state;
	assert_int_equal(doctor_hooks(&hook, 1, false, &report), 0);
	r = json_array_get(report, 0);
	assert_string_not_equal(str(r, "status"), "ok");
	assert_non_null(str(r, "why"));
}

static void the_preemption_model_comes_with_its_source(void **state)
{
	char how[256] = "";

	(void)state;
	doctor_preempt(how, sizeof(how));
	assert_true(strlen(how) > 0);
}

static void the_upstream_release_is_found_where_a_distribution_puts_it(void **state)
{
	static const char *const cases[][4] = {
		{"6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)", "",
		 "6.1.153"},
		{"6.12.107+deb13-amd64", "#1 SMP Debian 6.12.107-1~bpo12+1 (2026-01-01)", "",
		 "6.12.107"},
		{"6.8.0-45-generic", "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30",
		 "Ubuntu 6.8.0-45.45-generic 6.8.12", "6.8.12"},
		{"6.18.44-custom", "#1 SMP Debian", "", "6.18.44-custom"},
		{"7.2.13", "", "Ubuntu ", "7.2.13"},
	};
	char release[DOCTOR_RELEASE_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		doctor_upstream(cases[i][0], cases[i][1], cases[i][2], release);
		assert_string_equal(release, cases[i][3]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_check_has_a_status_and_says_how_it_is_known),
		cmocka_unit_test(what_the_host_can_agrees_with_its_checks),
		cmocka_unit_test(a_folder_outside_of_bpffs_fails_with_the_way_to_mount_one),
		cmocka_unit_test(a_folder_that_others_may_write_to_fails_and_says_so),
		cmocka_unit_test(a_function_that_is_not_there_is_refused_by_name),
		cmocka_unit_test(hooks_are_answered_in_order_with_kind_and_way_in),
		cmocka_unit_test(a_congestion_control_of_the_kernel_is_a_possible_clash),
		cmocka_unit_test(the_preemption_model_comes_with_its_source),
		cmocka_unit_test(the_upstream_release_is_found_where_a_distribution_puts_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
