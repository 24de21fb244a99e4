// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/kfile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/cleanup.h"

int kfile_open(const char *fstype, const char *mountpoint, const char *name)
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

int kfile_line(const char *fstype, const char *mountpoint, const char *name, char *ret_line,
	       size_t len)
{
	AUTO_CLOSE int fd = kfile_open(fstype, mountpoint, name);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, ret_line, len - 1);
	if (n < 0)
		return -errno;
	ret_line[n] = 0;
	ret_line[strcspn(ret_line, "\n")] = 0;
	for (n = (ssize_t)strlen(ret_line); n > 0 && ret_line[n - 1] == ' '; n--)
		ret_line[n - 1] = 0;
	return 0;
}
