// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/pin.h -- names in bpffs: making, opening and removing the folders and pins
 * under <bpffs>/<name>/. A pin is never trusted by its name: opening one says which
 * kind of object is wanted and checks what is there.
 *
 * Context    any; does not block, except that the last reference to a link may go with
 *            a removed pin (10 to 500 ms).
 * Errors     -ENOENT no such pin; -EUCLEAN it is another kind of object;
 *            -ENAMETOOLONG; -EMEDIUMTYPE not on a bpffs; other -errno.
 */
#pragma once

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

enum pin_kind { PIN_MAP, PIN_PROGRAM, PIN_LINK };

/* Joins the parts with '/'; ends with NULL. */
int pin_path(char ret_path[PATH_MAX], const char *part, ...) __attribute__((sentinel));

int pin_open(enum pin_kind kind, const char *path, int *ret_fd);
/* What kind of object an open file of the bpf system call is; -EUCLEAN for any other file. */
int pin_kind_of(int fd, enum pin_kind *ret_kind);
/* Pins fd; what a killed worker left under that name is removed first. */
int pin_replace(int fd, const char *path);
int pin_in(const char *folder, const char *name, int fd); /* pin_replace as <folder>/<name> */
/* Removing what is not there is no error. */
int pin_remove(const char *path);
int pin_remove_folder(const char *path); /* with all that is in it */
int pin_make_folder(const char *path);	 /* 0700; one that is there is fine */
/*
 * Removes the pin of a link and returns when the link is gone from the kernel: what it
 * attached is not invoked any more. -EBUSY when somebody else keeps it open.
 */
int pin_remove_link(const char *path);

/*
 * <bpffs> itself: on a bpffs, ours or root's, nobody else may write to it. -ENOENT: it could be made;
 * -EMEDIUMTYPE: not on a bpffs; -EPERM: not ours alone. pin_check_root() makes it when missing.
 */
int pin_look_root(const char *bpffs);
/* Another whose it may be: the user of those who pin, for who is root. */
void pin_owner(uid_t uid);
int pin_check_root(const char *bpffs, struct fail *reterr_fail);
int pin_root_error(const char *bpffs, int r, struct fail *reterr_fail); /* in words */

/*
 * The names in a folder, sorted, without "." and "..". NULL-terminated; free with
 * pin_names_free(). A folder that is not there has none.
 */
int pin_names(const char *path, char ***ret_names);
void pin_names_free(char **names);

static inline void pin_names_freep(char ***names)
{
	if (*names)
		pin_names_free(*names);
}
#define AUTO_NAMES AUTO(pin_names_freep)
