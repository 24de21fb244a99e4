// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>

#include "bpf/gate.h"
#include "bpf/pin.h"

/* A bpffs that only this process sees, gone with it. */
static char bpffs[64] = "/tmp/hotfix-gate-XXXXXX";
static const char *impossible;

static int make_bpffs(void **state)
{
	(void)state;
	if (!mkdtemp(bpffs))
		return -1;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", bpffs, "bpf", 0, "mode=0700") < 0)
		impossible = "no bpffs can be mounted here";
	return 0;
}

static int drop_bpffs(void **state)
{
	(void)state;
	umount(bpffs);
	rmdir(bpffs);
	return 0;
}

static void folder(const char *name, char path[PATH_MAX])
{
	if (impossible) {
		print_message("%s\n", impossible);
		skip();
	}
	assert_int_equal(pin_path(path, bpffs, name, NULL), 0);
	assert_int_equal(pin_make_folder(path), 0);
}

static void another_process_sees_the_same_gate(void **state)
{
	struct gate_version v = {.serial = 7, .flags = GATE_CC, .cc_name = "fixed"};
	AUTO(gate_freep) struct gate *a = NULL;
	AUTO(gate_freep) struct gate *b = NULL;
	char path[PATH_MAX];
	char cc[GATE_CC_BYTES];

	(void)state;
	assert_int_equal(gate_open(bpffs, "nobody", &a), -ENOENT);
	folder("first", path);
	assert_int_equal(gate_open(bpffs, "first", &a), -ENOENT);
	assert_int_equal(gate_make(bpffs, "first", &a), 0);
	assert_int_equal(gate_make(bpffs, "first", &b), 0);

	memset(v.digest, 0x5a, sizeof(v.digest));
	gate_set_version(a, 3, &v);
	gate_set_cc_previous(a, "cubic");
	assert_int_equal(gate_index_of(b, 7), 3);
	assert_int_equal(gate_version(b, 3).digest[31], 0x5a);
	assert_string_equal(gate_version(b, 3).cc_name, "fixed");
	gate_cc_previous(b, cc);
	assert_string_equal(cc, "cubic");
	gate_commit(a, 3);
	assert_int_equal(gate_committed(b), 3);

	gate_set_version(a, 3, NULL);
	assert_int_equal(gate_index_of(b, 7), 0);
	assert_int_equal(gate_version(b, 3).serial, 0);
}

static void a_trial_ends_with_its_lease_and_is_never_revived(void **state)
{
	AUTO(gate_freep) struct gate *g = NULL;
	char path[PATH_MAX];

	(void)state;
	folder("lease", path);
	assert_int_equal(gate_make(bpffs, "lease", &g), 0);
	gate_commit(g, 1);
	gate_begin_trial(g, 2, 1000);
	assert_int_equal(gate_live(g, 999), 2);
	assert_int_equal(gate_live(g, 1000), 1);
	assert_int_equal(gate_renew(g, 800, 100, 2000), 0);
	assert_int_equal(gate_live(g, 1999), 2);
	assert_int_equal(gate_renew(g, 1900, 100, 3000), -ETIME);
	assert_int_equal(gate_renew(g, 5000, 100, 6000), -ETIME);
	assert_int_equal(gate_live(g, 5000), 1);
	gate_commit(g, 2);
	assert_int_equal(gate_live(g, 5000), 2);
	assert_int_equal(gate_trial(g), 0);
	assert_int_equal(gate_renew(g, 0, 0, 9000), -ETIME);
	gate_commit(g, 0);
	assert_int_equal(gate_live(g, 0), 0);
}

static void the_index_picked_is_never_one_that_may_run(void **state)
{
	struct gate_version v = {.serial = 1};
	AUTO(gate_freep) struct gate *g = NULL;
	char path[PATH_MAX];

	(void)state;
	folder("pick", path);
	assert_int_equal(gate_make(bpffs, "pick", &g), 0);
	assert_int_equal(gate_pick_index(g, 0), 1);
	for (uint32_t i = 1; i < GATE_VERSIONS; i++) {
		v.serial = i;
		gate_set_version(g, i, &v);
	}
	gate_commit(g, 1);
	gate_begin_trial(g, 2, 1000);
	assert_int_equal(gate_pick_index(g, 0), 3);
	assert_int_equal(gate_pick_index(g, 1 << 3 | 1 << 4), 5);
	gate_set_version(g, 6, NULL);
	assert_int_equal(gate_pick_index(g, 0), 6);
	assert_int_equal(gate_pick_index(g, 0xff), 0);
}

static void a_map_that_is_no_gate_is_refused(void **state)
{
	AUTO(gate_freep) struct gate *g = NULL;
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];

	(void)state;
	folder("wrong", path);
	strcat(path, "/gate");
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 64, 1, &opts);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	assert_int_equal(gate_open(bpffs, "wrong", &g), -EUCLEAN);
	assert_int_equal(gate_make(bpffs, "wrong", &g), -EUCLEAN);

	/* Right in shape, but nobody has written our magic into it. */
	close(take_fd(&fd));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, sizeof(struct gate_value), 1,
			    &opts);
	assert_true(fd >= 0);
	assert_int_equal(pin_replace(fd, path), 0);
	assert_int_equal(gate_open(bpffs, "wrong", &g), -EUCLEAN);
}

static void folders_are_made_private_and_removed_whole(void **state)
{
	AUTO_NAMES char **names = NULL;
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX], child[PATH_MAX];
	struct stat st;

	(void)state;
	folder("tree", path);
	assert_int_equal(pin_path(child, path, "b", NULL), 0);
	assert_int_equal(pin_make_folder(child), 0);
	assert_int_equal(pin_make_folder(child), 0);
	assert_int_equal(stat(child, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "m", 4, 4, 1, NULL);
	assert_true(fd >= 0);
	assert_int_equal(pin_path(child, path, "b", "m", NULL), 0);
	assert_int_equal(pin_replace(fd, child), 0);
	assert_int_equal(pin_replace(fd, child), 0);
	close(take_fd(&fd));
	assert_int_equal(pin_open(PIN_PROGRAM, child, &fd), -EUCLEAN);
	assert_int_equal(pin_open(PIN_MAP, child, &fd), 0);
	assert_int_equal(pin_path(child, path, "a", NULL), 0);
	assert_int_equal(pin_make_folder(child), 0);
	assert_int_equal(pin_names(path, &names), 0);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
	assert_null(names[2]);
	assert_int_equal(pin_remove_folder(path), 0);
	assert_int_equal(pin_remove_folder(path), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void only_a_private_folder_of_a_bpffs_will_do(void **state)
{
	char path[PATH_MAX];

	(void)state;
	folder("root", path);
	assert_int_equal(pin_check_root(path, NULL), 0);
	strcat(path, "/new");
	assert_int_equal(pin_look_root(path), -ENOENT);
	assert_int_equal(pin_check_root(path, NULL), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(pin_check_root(path, NULL), -fail_errno(FAIL_PERMISSION));
	assert_int_equal(pin_look_root("/tmp"), -EMEDIUMTYPE);
	assert_int_equal(pin_look_root("/tmp/hotfix-no-such-folder"), -EMEDIUMTYPE);
	assert_int_equal(pin_look_root("/no/such/parent"), -EMEDIUMTYPE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_process_sees_the_same_gate),
		cmocka_unit_test(a_trial_ends_with_its_lease_and_is_never_revived),
		cmocka_unit_test(the_index_picked_is_never_one_that_may_run),
		cmocka_unit_test(a_map_that_is_no_gate_is_refused),
		cmocka_unit_test(folders_are_made_private_and_removed_whole),
		cmocka_unit_test(only_a_private_folder_of_a_bpffs_will_do),
	};

	return cmocka_run_group_tests(tests, make_bpffs, drop_bpffs);
}
