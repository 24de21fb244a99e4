// SPDX-License-Identifier: BSD-2-Clause
#include "server/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/pin.h"

struct folder {
	char *path;
	uid_t uid;
	gid_t gid;
	int fd;	    /* -1: not held */
	int use_fd; /* of another open(2): the lock is not on it */
};

int folder_new(const char *path, uid_t uid, gid_t gid, struct folder **ret_folder)
{
	AUTO(folder_freep) struct folder *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fd = f->use_fd = -1;
	f->uid = uid;
	f->gid = gid;
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
	fd_closep(&f->use_fd);
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

int folder_fd(const struct folder *f)
{
	return f->use_fd;
}

static uid_t new_uid;
static gid_t new_gid;

static int give_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, new_uid, new_gid) < 0 && errno != ENOENT;
}

/*
 * Root's until now, so nobody else has put anything there; its own owner changes last.
 * A folder that is the user's already is his.
 */
static int take_root(const struct folder *f, struct fail *reterr_fail)
{
	struct stat st;
	int r;

	pin_owner(f->uid);
	r = pin_check_root(f->path, reterr_fail);
	if (r < 0 || (lstat(f->path, &st) == 0 && st.st_uid == f->uid))
		return r;
	new_uid = f->uid;
	new_gid = f->gid;
	return nftw(f->path, give_one, 8, FTW_DEPTH | FTW_PHYS) == 0
		       ? 0
		       : fail_set(reterr_fail, FAIL_INTERNAL,
				  "%s cannot be given to its user: %s", f->path,
				  strerror(errno));
}

int folder_hold(struct folder *f, struct fail *reterr_fail)
{
	int r;

	if (folder_held(f))
		return 0;
	fd_closep(&f->fd);
	fd_closep(&f->use_fd);
	f->fd = f->use_fd = -1;
	if (pin_look_root(f->path) == -EMEDIUMTYPE && access(f->path, F_OK) < 0)
		return 0;
	r = take_root(f, reterr_fail);
	if (r < 0)
		return r;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", f->path, strerror(errno));
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0) {
		f->use_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (f->use_fd >= 0)
			return 0;
	}
	fd_closep(&f->fd);
	f->fd = -1;
	fail_set(reterr_fail, FAIL_CONFLICT, "another hotfixd pins in %s", f->path);
	return fail_hint(reterr_fail, "stop it first, or choose another --bpffs");
}
