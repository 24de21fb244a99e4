// SPDX-License-Identifier: BSD-2-Clause
#include "server/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/pin.h"

struct folder {
	char *path;
	int fd; /* -1: not held */
};

int folder_new(const char *path, struct folder **ret_folder)
{
	AUTO(folder_freep) struct folder *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->path = strdup(path);
	if (!f->path)
		return -ENOMEM;
	*ret_folder = take_ptr(f);
	return 0;
}

struct folder *folder_free(struct folder *f)
{
	if (!f)
		return NULL;
	fd_closep(&f->fd);
	free(f->path);
	free(f);
	return NULL;
}

const char *folder_path(const struct folder *f)
{
	return f->path;
}

bool folder_held(const struct folder *f)
{
	struct stat held, named;

	return f->fd >= 0 && fstat(f->fd, &held) == 0 && lstat(f->path, &named) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

int folder_hold(struct folder *f, struct fail *reterr_fail)
{
	int r;

	if (folder_held(f))
		return 0;
	fd_closep(&f->fd);
	if (pin_look_root(f->path) == -EMEDIUMTYPE && access(f->path, F_OK) < 0)
		return 0;
	r = pin_check_root(f->path, reterr_fail);
	if (r < 0)
		return r;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", f->path, strerror(errno));
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	fd_closep(&f->fd);
	fail_set(reterr_fail, FAIL_CONFLICT, "another hotfixd pins in %s", f->path);
	return fail_hint(reterr_fail, "stop it first, or choose another --bpffs");
}
