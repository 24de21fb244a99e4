// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/pin.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <bpf/bpf.h>

#include "lib/clock.h"

#define LINK_GONE_NS 10000000000ULL

int pin_path(char ret_path[PATH_MAX], const char *part, ...)
{
	size_t len = 0;
	va_list ap;
	int n = 0;

	va_start(ap, part);
	for (; part; part = va_arg(ap, const char *)) {
		n = snprintf(ret_path + len, PATH_MAX - len, "%s%s", len ? "/" : "", part);
		if (n < 0 || (size_t)n >= PATH_MAX - len)
			break;
		len += n;
	}
	va_end(ap);
	return part ? -ENAMETOOLONG : 0;
}

int pin_kind_of(int fd, enum pin_kind *ret_kind)
{
	/* Linux renamed "bpf_link" to be like its siblings. */
	static const struct {
		enum pin_kind kind;
		const char *name;
	} kinds[] = {
		{PIN_MAP, "anon_inode:bpf-map"},
		{PIN_PROGRAM, "anon_inode:bpf-prog"},
		{PIN_LINK, "anon_inode:bpf_link"},
		{PIN_LINK, "anon_inode:bpf-link"},
	};
	char path[32], target[64];
	ssize_t n;

	/* The only question about the kind of a bpf file that needs no capability. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(target, kinds[i].name) == 0) {
			*ret_kind = kinds[i].kind;
			return 0;
		}
	return -EUCLEAN;
}

int pin_open(enum pin_kind kind, const char *path, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	enum pin_kind is;
	int r;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	r = pin_kind_of(fd, &is);
	if (r < 0)
		return r;
	if (is != kind)
		return -EUCLEAN;
	*ret_fd = take_fd(&fd);
	return 0;
}

int pin_replace(int fd, const char *path)
{
	if (bpf_obj_pin(fd, path) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (unlink(path) < 0)
		return -errno;
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

int pin_in(const char *folder, const char *name, int fd)
{
	char path[PATH_MAX];
	int r = pin_path(path, folder, name, NULL);

	return r < 0 ? r : pin_replace(fd, path);
}

int pin_remove(const char *path)
{
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/*
 * The kernel drops a pin's reference after a grace period and frees a link from a worker
 * of its own then, so "unpinned and closed" is not yet "detached". Asking by id takes
 * CAP_SYS_ADMIN; without it the close has to be trusted.
 */
static int wait_for_link(uint32_t id)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t end = clock_mono_ns() + LINK_GONE_NS;
	int fd;

	for (;;) {
		fd = bpf_link_get_fd_by_id(id);
		if (fd < 0)
			return 0; /* ENOENT gone, EPERM unknown */
		close(fd);
		if (clock_mono_ns() > end)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
}

int pin_remove_link(const char *path)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	int fd;
	int r;

	r = pin_open(PIN_LINK, path, &fd);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r == -EUCLEAN ? pin_remove(path) : r;
	r = bpf_link_get_info_by_fd(fd, &info, &len) < 0 ? -errno : 0;
	if (r == 0)
		r = pin_remove(path);
	close(fd);
	return r < 0 ? r : wait_for_link(info.id);
}

int pin_remove_folder(const char *path)
{
	AUTO_NAMES char **names = NULL;
	char child[PATH_MAX];
	int r;

	r = pin_names(path, &names);
	if (r < 0)
		return r;
	for (char **n = names; *n; n++) {
		r = pin_path(child, path, *n, NULL);
		if (r < 0)
			return r;
		if (unlink(child) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		r = pin_remove_folder(child);
		if (r < 0)
			return r;
	}
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}

int pin_make_folder(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (lstat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static uid_t other_owner;

void pin_owner(uid_t uid)
{
	other_owner = uid;
}

static int on_bpffs(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return -errno;
	return (uint32_t)fs.f_type == BPF_FS_MAGIC ? 0 : -EMEDIUMTYPE;
}

int pin_look_root(const char *bpffs)
{
	char parent[PATH_MAX];
	struct stat st;
	char *slash;
	int r;

	r = on_bpffs(bpffs);
	if (r == -ENOENT) {
		r = pin_path(parent, bpffs, NULL);
		if (r < 0)
			return r;
		slash = strrchr(parent, '/');
		if (!slash || slash == parent)
			return -EMEDIUMTYPE;
		*slash = 0;
		r = on_bpffs(parent);
		return r == 0 ? -ENOENT : r == -ENOENT ? -EMEDIUMTYPE : r;
	}
	if (r < 0)
		return r;
	/* Who may write here may make us believe anything. */
	if (lstat(bpffs, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return (st.st_uid == 0 || st.st_uid == geteuid() || st.st_uid == other_owner) &&
			       !(st.st_mode & 022)
		       ? 0
		       : -EPERM;
}

int pin_check_root(const char *bpffs, struct fail *reterr_fail)
{
	int r = pin_look_root(bpffs);

	if (r == -ENOENT) {
		r = pin_make_folder(bpffs);
		if (r == 0)
			r = pin_look_root(bpffs);
	}
	return r < 0 ? pin_root_error(bpffs, r, reterr_fail) : 0;
}

int pin_root_error(const char *bpffs, int r, struct fail *reterr_fail)
{
	switch (r) {
	case -EMEDIUMTYPE:
		fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s is not in a bpffs", bpffs);
		return fail_hint(reterr_fail, "mount -t bpf bpf /sys/fs/bpf");
	case -EPERM:
		fail_set(reterr_fail, FAIL_PERMISSION,
			 "%s is not ours alone: what others may pin there cannot be trusted",
			 bpffs);
		return fail_hint(reterr_fail, "chown it to hotfixd's user, mode 0700");
	case -EACCES:
		return fail_set(reterr_fail, FAIL_PERMISSION, "%s: %s", bpffs, strerror(-r));
	default:
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", bpffs, strerror(-r));
	}
}

void pin_names_free(char **names)
{
	for (char **n = names; *n; n++)
		free(*n);
	free(names);
}

int pin_names(const char *path, char ***ret_names)
{
	struct dirent **list = NULL;
	char **names;
	int out = 0;
	int n;

	n = scandir(path, &list, NULL, alphasort);
	if (n < 0 && errno != ENOENT)
		return -errno;
	if (n < 0)
		n = 0;
	names = calloc(n + 1, sizeof(*names));
	for (int i = 0; i < n; i++) {
		if (names && strcmp(list[i]->d_name, ".") && strcmp(list[i]->d_name, ".."))
			names[out++] = strdup(list[i]->d_name);
		free(list[i]);
	}
	free(list);
	if (!names)
		return -ENOMEM;
	/* A name lost to a failed strdup() would be a pin forgotten. */
	for (int i = 0; i < out; i++)
		if (!names[i]) {
			for (; i < out; i++)
				free(names[i]);
			pin_names_free(names);
			return -ENOMEM;
		}
	*ret_names = names;
	return 0;
}
