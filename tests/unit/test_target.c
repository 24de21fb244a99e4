// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/target.h"
#include "bpf/vmlinux.h"
#include "lib/cleanup.h"

DEFINE_AUTO(struct btf, btf__free)

static const struct target_host lsm_host = {.lsm_bpf = true};
static const struct target_host plain_host = {.lsm_bpf = false};
static const struct target_host leaky_host = {.preemptible = true, .preempt_how = "PREEMPT"};

static struct target decided(const struct target_host *host, struct hook h)
{
	struct fail fail = {0};
	struct target t = {0};

	if (target_decide(host, &h, false, &t, &fail) < 0)
		fail_msg("%s", fail.message);
	return t;
}

static struct fail refused(const struct target_host *host, struct hook h)
{
	struct fail fail = {0};
	struct target t;

	assert_true(target_decide(host, &h, false, &t, &fail) < 0);
	assert_int_equal(fail.code, FAIL_INCOMPATIBLE);
	return fail;
}

static void need_btf(void)
{
	const struct vmlinux *v;

	if (vmlinux_get(&v) < 0) {
		print_message("this kernel has no BTF\n");
		skip();
	}
}

static void a_deny_hook_goes_where_no_call_slips_by(void **state)
{
	struct hook fmod = {.type = HOOK_FMOD_RET, .target = "security_task_getpgid"};
	struct hook lsm = {.type = HOOK_LSM, .target = "task_getpgid"};
	struct target t;

	(void)state;
	need_btf();
	t = decided(&lsm_host, fmod);
	assert_int_equal(t.as, HOOK_LSM);
	assert_int_equal(t.attach_type, BPF_LSM_MAC);
	assert_string_equal(t.name, "task_getpgid");
	assert_string_equal(t.func, "bpf_lsm_task_getpgid");
	t = decided(&lsm_host, lsm);
	assert_int_equal(t.as, HOOK_LSM);
	t = decided(&plain_host, lsm);
	assert_int_equal(t.as, HOOK_FMOD_RET);
	assert_int_equal(t.attach_type, BPF_MODIFY_RETURN);
	assert_string_equal(t.func, "security_task_getpgid");
	t = decided(&plain_host, fmod);
	assert_int_equal(t.as, HOOK_FMOD_RET);
}

static void twins_with_other_arguments_are_no_twins(void **state)
{
	struct hook h = {.type = HOOK_FMOD_RET, .target = "security_mmap_file"};

	(void)state;
	need_btf();
	/* security_mmap_file() works out an argument that its LSM hooks get. */
	assert_int_equal(decided(&lsm_host, h).as, HOOK_FMOD_RET);
	strcpy(h.target, "security_hotfix_no_such_hook");
	assert_int_equal(decided(&lsm_host, h).as, HOOK_FMOD_RET);
	h.type = HOOK_LSM;
	strcpy(h.target, "mmap_file");
	assert_non_null(strstr(refused(&plain_host, h).message, "security_mmap_file"));
}

static void a_leak_is_refused_until_it_is_accepted(void **state)
{
	struct hook h = {.type = HOOK_FMOD_RET, .target = "security_task_getpgid"};
	struct fail fail;
	struct target t;

	(void)state;
	fail = refused(&leaky_host, h);
	assert_non_null(strstr(fail.message, "PREEMPT"));
	assert_non_null(strstr(fail.hint, "accept"));
	assert_int_equal(target_decide(&leaky_host, &h, true, &t, &fail), 0);
	/* Who only watches loses a count, not a denial. */
	h.type = HOOK_FENTRY;
	decided(&leaky_host, h);
}

static void a_sleepable_lsm_program_needs_bpf_in_the_lsm_list(void **state)
{
	struct hook h = {.type = HOOK_LSM, .sleepable = true, .target = "inode_rmdir"};

	(void)state;
	assert_int_equal(decided(&lsm_host, h).kind, TARGET_OVERLAP);
	assert_non_null(strstr(refused(&plain_host, h).hint, "lsm="));
}

static void what_could_hang_the_host_is_refused(void **state)
{
	static const char *const names[] = {"__rcu_read_lock", "__rcu_read_unlock",
					    "migrate_disable", "preempt_count_add",
					    "__bpf_prog_enter_recur"};
	static const char *const fine[] = {"vfs_read", "ct_sip_parse_header_uri",
					   "bpf_prog_load"};
	struct hook h = {.type = HOOK_FENTRY};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		strcpy(h.target, names[i]);
		assert_non_null(strstr(refused(&lsm_host, h).message, names[i]));
	}
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		strcpy(h.target, fine[i]);
		decided(&lsm_host, h);
	}
}

static void the_kernels_types_are_found(void **state)
{
	struct vmlinux_name names[] = {
		{"tcp_congestion_ops", BTF_KIND_STRUCT, 0},
		{"tcp_congestion_ops", BTF_KIND_FUNC, 0},
		{"vfs_read", BTF_KIND_FUNC, 0},
		{"vfs_write", BTF_KIND_FUNC, 0},
		{"vfs_getattr", BTF_KIND_FUNC, 0},
		{"hotfix_no_such_thing", BTF_KIND_FUNC, 0},
	};
	AUTO(btf__freep) struct btf *btf = btf__load_vmlinux_btf();
	const struct vmlinux *v;
	uint32_t off = 0;

	(void)state;
	need_btf();
	assert_int_equal(vmlinux_get(&v), 0);
	assert_non_null(btf);
	vmlinux_find(v, names, 6);
	/* libbpf, which takes its time, says the same. */
	for (size_t i = 0; i < 6; i++) {
		int id = btf__find_by_name_kind(btf, names[i].name, names[i].kind);

		assert_int_equal(names[i].id, id < 0 ? 0 : id);
	}
	assert_string_equal(vmlinux_name(v, names[2].id), "vfs_read");
	assert_true(vmlinux_member(v, names[0].id, "ssthresh", &off) >= 0);
	assert_int_equal(vmlinux_member(v, names[0].id, "no_such_member", &off), -1);
	assert_true(vmlinux_same_prototype(v, names[2].id, names[2].id));
	assert_false(vmlinux_same_prototype(v, names[2].id, names[4].id));
	assert_null(vmlinux_type(v, 0));
	assert_null(vmlinux_type(v, UINT32_MAX));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deny_hook_goes_where_no_call_slips_by),
		cmocka_unit_test(twins_with_other_arguments_are_no_twins),
		cmocka_unit_test(a_leak_is_refused_until_it_is_accepted),
		cmocka_unit_test(a_sleepable_lsm_program_needs_bpf_in_the_lsm_list),
		cmocka_unit_test(what_could_hang_the_host_is_refused),
		cmocka_unit_test(the_kernels_types_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
