// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/access.h -- who may do what: the credentials that the kernel gives of a peer, and the
 * roles that the configuration gives to users and groups.
 *
 *	read	look at everything, the audit log included
 *	apply	store bundles; bring versions in on trial, and end a trial; retry; dry runs
 *	commit	what stays: commit, apply --commit, roll back what is committed, disable,
 *		enable, observe, enforce, remove, resume
 *	trust	roots and revocations
 *
 * Root and [access] admin_group have every role. Who has another role may read.
 *
 * Context    loop thread; asks whatever knows users and groups (nsswitch.conf).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/fail.h"
#include "server/config.h"

#define ACCESS_GROUPS_MAX 1024

struct access_peer {
	uid_t uid;
	gid_t gid;
	gid_t groups[ACCESS_GROUPS_MAX];
	size_t n_groups;
};

/* Of the other end of a Unix socket, as it was when it connected. */
int access_peer_of(int fd, struct access_peer *ret_peer);
bool access_allowed(const struct config *c, const struct access_peer *peer,
		    enum config_role role);
/* FAIL_PERMISSION, naming the role that is missing and where it is given. */
int access_refuse(const struct config *c, const struct access_peer *peer, enum config_role role,
		  struct fail *reterr_fail);
