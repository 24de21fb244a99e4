// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/netns.h -- enters every network namespace of this host that can be found: our own,
 * that of process 1, those of all threads, those that are mounted (ip netns). One that is
 * kept only by an open file or by a socket of a process that has left it is not found.
 *
 * Context    a process of one thread that does nothing else meanwhile; CAP_SYS_ADMIN, and
 *            CAP_SYS_PTRACE to ask processes of others.
 * Errors     -errno of /proc, or of coming back: then nothing that depends on the network
 *            namespace may be done any more. One that cannot be entered is no error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct netns_count {
	uint32_t visited;
	uint32_t unreachable; /* refused us, or were processes that do not show theirs */
};

/* Calls fn in each, once; in our own first, in that of process 1 next. */
int netns_each(void (*fn)(bool own, void *cookie), void *cookie, struct netns_count *ret_count);
