// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

/* include/uapi/linux/lsm.h, which older headers lack. */
#define LSM_ID_BPF_ 110
#ifndef __NR_lsm_list_modules
#define __NR_lsm_list_modules 461 /* the same on every architecture, since Linux 6.8 */
#endif

/*
 * Opens a file of a kernel file system. When the system has not mounted it (minimal
 * containers, early boot), a mount of our own that is never attached to the tree does:
 * nothing is changed for anyone else and it goes away with the descriptor.
 */
static int open_kernel_file(const char *fstype, const char *mountpoint, const char *name)
{
	AUTO_CLOSE int context = -1;
	AUTO_CLOSE int tree = -1;
	char path[PATH_MAX];
	int fd, saved;

	snprintf(path, sizeof(path), "%s/%s", mountpoint, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	saved = errno;
	if (saved != ENOENT)
		return -saved;
	context = fsopen(fstype, FSOPEN_CLOEXEC);
	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -saved;
	tree = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (tree < 0)
		return -saved;
	fd = openat(tree, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_kernel_line(const char *fstype, const char *mountpoint, const char *name,
			    char *ret_line, size_t len)
{
	AUTO_CLOSE int fd = open_kernel_file(fstype, mountpoint, name);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, ret_line, len - 1);
	if (n < 0)
		return -errno;
	ret_line[n] = 0;
	ret_line[strcspn(ret_line, "\n")] = 0;
	return 0;
}

/* Is word one of those in text, which any of seps separates? */
static bool has_word(const char *text, const char *word, const char *seps)
{
	size_t n;

	for (; *text; text += n) {
		text += strspn(text, seps);
		n = strcspn(text, seps);
		if (n == strlen(word) && strncmp(text, word, n) == 0)
			return true;
	}
	return false;
}

/* --- the LSM list --------------------------------------------------------------------- */

/* 1 bpf is in the list, 0 it is not, negative: nothing can be said. */
static int lsm_list(char *ret_list, size_t len, const char **ret_how)
{
	unsigned long long ids[64];
	unsigned int size = sizeof(ids);
	long n;

	if (read_kernel_line("securityfs", "/sys/kernel/security", "lsm", ret_list, len) == 0) {
		*ret_how = "/sys/kernel/security/lsm";
		return has_word(ret_list, "bpf", ",");
	}
	n = syscall(__NR_lsm_list_modules, ids, &size, 0);
	if (n < 0) {
		*ret_how = "neither securityfs nor lsm_list_modules(2)";
		snprintf(ret_list, len, "%s", "");
		return -errno;
	}
	*ret_how = "lsm_list_modules(2)";
	for (long i = 0; i < n; i++)
		if (ids[i] == LSM_ID_BPF_) {
			snprintf(ret_list, len, "bpf");
			return 1;
		}
	snprintf(ret_list, len, "%ld without bpf", n);
	return 0;
}

bool doctor_lsm_has_bpf(char *ret_list, size_t len)
{
	char list[256];
	const char *how;
	int r = lsm_list(list, sizeof(list), &how);

	if (ret_list && len)
		snprintf(ret_list, len, "%s", list);
	return r > 0;
}

/* --- the preemption model ------------------------------------------------------------- */

/*
 * kernel/sched/core.c, sched_dynamic_show() and setup_preempt_mode(): the modes and the
 * kernel parameter share their names. Only none and voluntary never preempt kernel code.
 */
static enum doctor_preempt preempt_of(const char *mode)
{
	if (strcmp(mode, "none") == 0 || strcmp(mode, "voluntary") == 0)
		return DOCTOR_PREEMPT_NO;
	if (strcmp(mode, "full") == 0 || strcmp(mode, "lazy") == 0)
		return DOCTOR_PREEMPT_YES;
	return DOCTOR_PREEMPT_UNKNOWN;
}

/* The last preempt= of the kernel command line. */
static bool preempt_parameter(char ret_mode[32])
{
	char line[4096];
	bool found = false;
	size_t n;

	if (io_read_line("/proc/cmdline", line, sizeof(line)) < 0)
		return false;
	for (const char *p = line; *p; p += n) {
		p += strspn(p, " ");
		n = strcspn(p, " ");
		if (strncmp(p, "preempt=", 8) != 0)
			continue;
		snprintf(ret_mode, 32, "%.*s", (int)(n - 8), p + 8);
		found = true;
	}
	return found;
}

/* What a PREEMPT_DYNAMIC kernel starts with, from the configuration that distributions ship. */
static bool preempt_config(char ret_path[PATH_MAX], char ret_mode[32])
{
	static const char *const modes[][2] = {
		{"CONFIG_PREEMPT_NONE=y\n", "none"},
		{"CONFIG_PREEMPT_VOLUNTARY=y\n", "voluntary"},
		{"CONFIG_PREEMPT=y\n", "full"},
		{"CONFIG_PREEMPT_LAZY=y\n", "lazy"},
	};
	AUTO_FILE FILE *f = NULL;
	char release[128], line[256];

	if (io_read_line("/proc/sys/kernel/osrelease", release, sizeof(release)) < 0)
		return false;
	snprintf(ret_path, PATH_MAX, "/boot/config-%s", release);
	f = fopen(ret_path, "re");
	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
			if (strcmp(line, modes[i][0]) == 0) {
				snprintf(ret_mode, 32, "%s", modes[i][1]);
				return true;
			}
	return false;
}

/* ret_mode: full, lazy, voluntary, none, rt or "". */
static enum doctor_preempt preempt_mode(char ret_mode[32], char *ret_how, size_t len)
{
	char line[512], path[PATH_MAX], *open, *close;
	enum doctor_preempt p;

	ret_mode[0] = 0;
	if (io_read_line("/proc/version", line, sizeof(line)) < 0)
		line[0] = 0;
	if (has_word(line, "PREEMPT_RT", " ")) {
		snprintf(ret_mode, 32, "rt");
		snprintf(ret_how, len, "/proc/version says PREEMPT_RT");
		return DOCTOR_PREEMPT_YES;
	}
	if (!has_word(line, "PREEMPT_DYNAMIC", " ") && line[0]) {
		bool full = has_word(line, "PREEMPT", " ");

		snprintf(ret_mode, 32, "%s", full ? "full" : "none");
		snprintf(ret_how, len, "/proc/version says %s",
			 full ? "PREEMPT" : "nothing of PREEMPT");
		return full ? DOCTOR_PREEMPT_YES : DOCTOR_PREEMPT_NO;
	}
	/* PREEMPT_DYNAMIC: the mode is chosen at boot and may be changed since. */
	if (read_kernel_line("debugfs", "/sys/kernel/debug", "sched/preempt", line,
			     sizeof(line)) == 0) {
		open = strchr(line, '(');
		close = open ? strchr(open, ')') : NULL;
		if (close) {
			snprintf(ret_mode, 32, "%.*s", (int)(close - open - 1), open + 1);
			p = preempt_of(ret_mode);
			snprintf(ret_how, len, "sched/preempt in debugfs says %s", line);
			if (p != DOCTOR_PREEMPT_UNKNOWN)
				return p;
		}
	}
	if (preempt_parameter(ret_mode)) {
		p = preempt_of(ret_mode);
		snprintf(ret_how, len, "preempt=%s on the kernel command line", ret_mode);
		if (p != DOCTOR_PREEMPT_UNKNOWN)
			return p;
	}
	if (preempt_config(path, ret_mode)) {
		snprintf(ret_how, len,
			 "%.200s: the default of this kernel, not changed by "
			 "its command line",
			 path);
		return preempt_of(ret_mode);
	}
	ret_mode[0] = 0;
	snprintf(ret_how, len,
		 "PREEMPT_DYNAMIC kernel; debugfs, the kernel command line and "
		 "/boot/config do not tell the mode");
	return DOCTOR_PREEMPT_UNKNOWN;
}

enum doctor_preempt doctor_preempt(char *ret_how, size_t len)
{
	char mode[32], how[512];
	enum doctor_preempt p = preempt_mode(mode, how, sizeof(how));

	if (ret_how && len)
		snprintf(ret_how, len, "%s", how);
	return p;
}
