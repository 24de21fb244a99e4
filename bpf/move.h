// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf/move.h -- moves live TCP sockets, listening ones too, from one congestion control to
 * another, by a bpf_iter/tcp program (bpf/move.bpf.c) in the network namespace we are in.
 *
 * Two jobs. One takes the sockets of the name from to the name to; where both names are one,
 * to what is registered under it now; and those that had to leave it (bpf/owner.h). The
 * other, for sockets with state of a version's own, makes those that a version initialised
 * leave their congestion control and come back, to be initialised by the one that is live.
 *
 * A socket that is moved has chosen its algorithm, as if by setsockopt(): one that listens
 * passes it on and does not follow the default any more. Not seen are sockets that are
 * neither connected nor listening.
 *
 * Context    worker process; loading takes 10 to 100 ms; moving, 10 us a socket.
 * Errors     -errno of loading or reading the iterator. A socket that refuses is counted.
 * Ownership  move_open's result is freed with move_free.
 */
#pragma once

#ifdef __bpf__
typedef unsigned long long move_u64;
#else
#include <stdbool.h>
#include <stdint.h>
typedef uint64_t move_u64;
#endif

#define MOVE_NAME_BYTES 16 /* TCP_CA_NAME_MAX */

/* The global variable of move.bpf.c. */
struct move_job {
	char from[MOVE_NAME_BYTES], to[MOVE_NAME_BYTES];
	move_u64 serial; /* whose sockets are to come back */
	move_u64 to_ops; /* where the kernel keeps what to means, once known */
	move_u64 moved, left;
};

#ifndef __bpf__
#include "lib/cleanup.h"

struct move;

/* owners: the socket storage; reenter: the second job. */
int move_open(int owners, bool reenter, struct move **ret_move);
struct move *move_free(struct move *m);

/*
 * Passes over all sockets until one moves none. Adds to job->moved; job->left becomes the
 * number of those that refused in the last.
 */
int move_sockets(struct move *m, struct move_job *job);

DEFINE_AUTO(struct move, move_free)
#endif
