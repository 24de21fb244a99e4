// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/privilege.h -- giving up root: for good, and all but what a part of hotfixd needs.
 * DESIGN.md says which part has what, and what was measured.
 *
 * Context    at the start of a process, before it reads anything of strangers.
 * Errors     -errno: then the process must not go on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PRIVILEGE(cap) (1ULL << (cap))

/*
 * From root to uid and gid without other groups, with the capabilities of keep and no way to
 * more: empty bounding set, no_new_privs, no core, no ptrace by the user it becomes. With
 * inherit, what it executes has them too. uid 0: stays root, but keeps only these.
 * It dies with its parent; -ESRCH: that is gone already.
 */
int privilege_become(uid_t uid, gid_t gid, uint64_t keep, bool inherit, pid_t parent);
/* For who was started as uid: nothing is left, and there is no way to more. -EPERM: it is not. */
int privilege_refuse(uid_t uid);
