// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/cc_leave.h -- takes away what still uses a registration that is gone or was replaced,
 * in every network namespace that can be found (bpf/netns.h): defaults, which hold the ops
 * and not their name (a new namespace inherits those of the first one), and live sockets
 * (bpf/move.h). Only then can the kernel drop the ops with all their dispatchers.
 *
 * Where a hot-fix becomes the default, the sockets of the default before are left alone:
 * the trial is to meet new connections, and giving back could not tell whose they were.
 *
 * Context    worker process of one thread; 10 to 100 ms, and 10 us for each socket that is moved.
 * Errors     -errno in our own namespace; what goes wrong in another one is counted.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "bpf/gate.h"

/* What was done: a part of the outcome of a change. All 0: nothing was to be done. */
struct cc_left {
	uint64_t moved;	      /* sockets that have another algorithm, or version, now */
	uint64_t left;	      /* sockets that refused */
	uint32_t defaults;    /* namespaces that got another default */
	uint32_t namespaces;  /* visited */
	uint32_t unreachable; /* that could not be entered, or not be changed */
	int move_error;	      /* -errno: this kernel moves no sockets; they go on as Reno */
};

struct cc_leave {
	const struct gate *gate;
	const char *from;	/* name of what is left */
	const char *default_to; /* ""; what was the default before */
	const char *sockets_to; /* "": the default of their namespace */
	int owners;		/* the socket storage; -1: only defaults */
};

int cc_leave(const struct cc_leave *l, struct cc_left *left);
/* The sockets that serial initialised are initialised again by what is live. */
int cc_reenter(const char *cc_name, int owners, uint64_t serial, struct cc_left *left);

/*
 * {"moved":N,"left":N,"defaults":N,"namespaces":N,"unreachable":N,"move_error":text?}; NULL:
 * nothing was to be done.
 */
json_t *cc_left_report(const struct cc_left *left);
