// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/limits.h>

#include "bpf/audit.h"
#include "lib/cleanup.h"
#include "lib/io.h"

/* The objects are built beside this program. */
static void read_object(const char *name, uint8_t **ret_elf, size_t *ret_len)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(n > 0);
	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, name);
	strcat(path, ".bpf.o");
	assert_int_equal(io_read_file(path, AUDIT_OBJECT_BYTES_MAX, ret_elf, ret_len), 0);
}

static void refused(const char *name, const char *words)
{
	AUTO_FREE uint8_t *elf = NULL;
	struct fail fail = {0};
	struct audit a;
	size_t len;

	read_object(name, &elf, &len);
	assert_true(audit_object(elf, len, &a, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_OBJECT);
	if (!strstr(fail.message, words))
		fail_msg("\"%s\" does not say \"%s\"", fail.message, words);
}

static void every_kind_of_hook_is_read_from_the_object(void **state)
{
	static const struct hook wanted[] = {
		{HOOK_FENTRY, false, "security_task_getpgid", "enter", ""},
		{HOOK_FEXIT, true, "do_sys_openat2", "leave", ""},
		{HOOK_FMOD_RET, false, "security_task_getpgid", "deny", ""},
		{HOOK_LSM, false, "task_getpgid", "guard", ""},
		{HOOK_STRUCT_OPS, false, "tcp_congestion_ops", "fixed_reno", "fixed_reno"},
	};
	AUTO_FREE uint8_t *elf = NULL;
	struct fail fail = {0};
	struct hook fewer[5];
	struct audit a;
	size_t len;

	(void)state;
	read_object("audit_mixed", &elf, &len);
	if (audit_object(elf, len, &a, &fail) < 0)
		fail_msg("%s", fail.message);
	assert_int_equal(a.n_hooks, 5);
	assert_string_equal(a.license, "Dual BSD/GPL");
	assert_true(a.uses_hotfix_header);
	assert_int_equal(audit_compare(&a, wanted, 5, &fail), 0);

	/* One declared less, one declared more, one declared differently. */
	assert_true(audit_compare(&a, wanted, 4, &fail) < 0);
	assert_non_null(strstr(fail.message, "struct_ops/tcp_congestion_ops by fixed_reno"));
	memcpy(fewer, wanted, sizeof(fewer));
	strcpy(fewer[4].cc_name, "other");
	assert_true(audit_compare(&a, fewer, 5, &fail) < 0);
	a.n_hooks--;
	assert_true(audit_compare(&a, wanted, 5, &fail) < 0);
	assert_non_null(strstr(fail.message, "which the object does not have"));
}

static void a_program_type_that_cannot_be_switched_is_refused(void **state)
{
	(void)state;
	refused("audit_kprobe", "section kprobe/security_task_getpgid");
}

static void an_optional_section_is_refused(void **state)
{
	(void)state;
	refused("audit_optional", "optional");
}

static void a_map_that_pins_itself_is_refused(void **state)
{
	(void)state;
	refused("audit_pinned", "map seen");
}

static void a_section_without_target_is_refused(void **state)
{
	(void)state;
	refused("audit_notarget", "names no kernel function");
}

static void other_ops_than_congestion_control_are_refused(void **state)
{
	(void)state;
	refused("audit_otherops", "struct sched_ext_ops");
}

static void a_constant_in_place_of_a_member_is_refused(void **state)
{
	(void)state;
	refused("audit_cast", "not a program");
}

static void what_is_no_bpf_elf_is_refused(void **state)
{
	static const char text[] =
		"#!/bin/sh\necho this is not an ELF file, it is longer than it";
	AUTO_FREE uint8_t *elf = NULL;
	struct fail fail = {0};
	struct audit a;
	size_t len;

	(void)state;
	assert_true(audit_object(text, sizeof(text), &a, &fail) < 0);
	assert_string_equal(fail.message, "not an ELF file");
	assert_true(audit_object(text, 0, &a, &fail) < 0);
	assert_int_equal(io_read_file("/proc/self/exe", 64U << 20, &elf, &len), 0);
	assert_true(audit_object(elf, len < 65536 ? len : 65536, &a, &fail) < 0);
	assert_non_null(strstr(fail.message, "not a BPF object"));
}

/* libbpf reads the bytes of strangers here: none of them may end in a crash. */
static void an_object_cut_or_flipped_anywhere_does_not_crash(void **state)
{
	AUTO_FREE uint8_t *elf = NULL;
	AUTO_FREE uint8_t *copy = NULL;
	struct fail fail = {0};
	struct audit a;
	size_t len;

	(void)state;
	read_object("audit_mixed", &elf, &len);
	for (size_t cut = 0; cut < len; cut += 61) {
		copy = realloc(copy, cut + 1);
		assert_non_null(copy);
		memcpy(copy, elf, cut);
		if (audit_object(copy, cut, &a, &fail) == 0)
			assert_true(a.n_hooks > 0);
	}
	free(copy);
	copy = malloc(len);
	assert_non_null(copy);
	for (size_t at = 0; at < len; at += 7) {
		memcpy(copy, elf, len);
		copy[at] ^= 0xff;
		if (audit_object(copy, len, &a, &fail) == 0)
			assert_true(a.n_hooks > 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_hook_is_read_from_the_object),
		cmocka_unit_test(a_program_type_that_cannot_be_switched_is_refused),
		cmocka_unit_test(an_optional_section_is_refused),
		cmocka_unit_test(a_map_that_pins_itself_is_refused),
		cmocka_unit_test(a_section_without_target_is_refused),
		cmocka_unit_test(other_ops_than_congestion_control_are_refused),
		cmocka_unit_test(a_constant_in_place_of_a_member_is_refused),
		cmocka_unit_test(what_is_no_bpf_elf_is_refused),
		cmocka_unit_test(an_object_cut_or_flipped_anywhere_does_not_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
