// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/kfile.h -- files of kernel file systems (securityfs, debugfs, tracefs), also where the
 * system has not mounted them (minimal containers, early boot): then a mount of our own that
 * is never attached to the tree, which changes nothing for anyone else and goes away with the
 * descriptor.
 *
 * Context    any; mounting takes CAP_SYS_ADMIN.
 * Errors     -errno; -ENOENT no such file, or the file system is not there.
 */
#pragma once

#include <stddef.h>

int kfile_open(const char *fstype, const char *mountpoint, const char *name);
/* The first line, without blanks at its end. */
int kfile_line(const char *fstype, const char *mountpoint, const char *name, char *ret_line,
	       size_t len);
