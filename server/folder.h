// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/folder.h -- the folder in bpffs where this daemon pins: made by the parent, given to
 * the user of loop and workers; the only owner of the lock on it. Two daemons on one folder would write the same gates, whatever their state directories.
 *
 * The lock is a flock(2) on the folder and ends with the daemon: workers do not inherit it,
 * among themselves and with the guard they lock the folders of single hot-fixes.
 *
 * Context    any; does not block.
 * Errors     of folder_hold: FAIL_CONFLICT another daemon holds it; FAIL_PERMISSION it is not
 *            ours alone; FAIL_INCOMPATIBLE it exists and is in no bpffs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct folder;

/* uid: whose it shall be; what root left there is given to him. */
int folder_new(const char *path, uid_t uid, gid_t gid, struct folder **ret_folder);
struct folder *folder_free(struct folder *f);
const char *folder_path(const struct folder *f);
/*
 * Makes it when missing and takes the lock, if that has not been done; also again when the
 * folder was taken away since. Where no bpffs is mounted there is nothing to hold: that is no
 * error, a worker that wants to pin will say so.
 */
int folder_hold(struct folder *f, struct fail *reterr_fail);
bool folder_held(const struct folder *f);
/* To find what is pinned, without the lock; borrowed, -1 while it is not held. */
int folder_fd(const struct folder *f);

DEFINE_AUTO(struct folder, folder_free)
