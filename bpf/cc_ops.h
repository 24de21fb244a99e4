// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/cc_ops.h -- makes the tcp_congestion_ops that hotfixd registers: member dispatchers
 * (bpf/tcp_cc.bpf.c) with their arrays, and the ops map that holds them. Registers nothing.
 *
 * Context    worker process; 5 to 50 ms; what was kept is taken in below 1 ms.
 * Errors     -errno; FAIL_LOAD, FAIL_ATTACH with the reason.
 * Ownership  cc_ops_close() and cc_maps_close() close what their struct holds.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/cc_layout.h"
#include "bpf/dispatch.h"
#include "bpf/gate.h"
#include "lib/fail.h"

#define CC_OPS_NAME "hotfix_cc_%02x" /* of the map: its shape is there exactly as long as it */

/* Where a hot-fix's congestion control has its pins. */
struct cc_place {
	char folder[PATH_MAX]; /* "": nothing is pinned, for trying things out */
	struct gate *gate;     /* NULL then */
	struct cc_layout layout;
};

/* The gate, the arrays of every member, calls and sockets, as the dispatchers name them. */
struct cc_maps {
	struct dispatch_map maps[CC_MEMBERS + 3];
	char names[CC_MEMBERS][64];
	size_t n;
	bool borrows_gate; /* maps[0] is not ours to close */
};

/* Opens what is pinned, makes and pins what is not. */
int cc_maps_open(const struct cc_place *c, struct cc_maps *ret_maps);
void cc_maps_close(struct cc_maps *m);
#define AUTO_CC_MAPS AUTO(cc_maps_close)

struct cc_ops {
	int map;
	bool is_link;	/* filled in, to be registered by a link; else (before Linux 6.4) */
	uint8_t *value; /* to be registered by storing this */
	struct dispatch_program programs[CC_MEMBERS];
	size_t n_programs;
};
#define CC_OPS_NONE       \
	{                 \
		.map = -1 \
	}
#define AUTO_CC_OPS AUTO(cc_ops_close)

int cc_ops_make(const struct cc_place *c, const struct gate_version *facts,
		struct cc_ops *ret_ops, struct fail *reterr_fail);
/* Pins what it takes to have these ops again without loading anything. */
int cc_ops_keep(const struct cc_place *c, const struct cc_ops *o, const char *folder);
/* -ENOENT when nothing (or not all of it) was kept there. */
int cc_ops_take(const struct cc_place *c, const struct gate_version *facts, const char *folder,
		struct cc_ops *ret_ops);
void cc_ops_close(struct cc_ops *o);

/* What an ops map of ours registers, or would. */
struct cc_ops_facts {
	uint32_t id;
	uint32_t shape;
	bool for_link; /* else the map itself is registered, and */
	bool in_use;
	char cc_name[GATE_CC_BYTES];
};
int cc_ops_read(const struct cc_place *c, int map, struct cc_ops_facts *ret_facts);
