// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/cc_layout.h -- what this kernel's struct tcp_congestion_ops looks like, and which of
 * its members hotfixd can put dispatchers in place of.
 *
 * Asked of the kernel's BTF once per hot-fix and boot, and kept beside its pins: reading
 * the BTF costs as much as all the rest of a registration.
 *
 * Context    worker process; 1 to 50 ms the first time.
 * Errors     -EOPNOTSUPP this kernel takes no congestion control from BPF.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/dispatch.h"

#define CC_MEMBERS 13

struct cc_member {
	const char *name;
	uint32_t flag; /* GATE_CC_...; 0: every registration has it */
};

extern const struct cc_member cc_members[CC_MEMBERS];

struct cc_layout {
	uint32_t ops_type, value_type; /* BTF ids */
	uint32_t value_size;
	uint32_t name_at, flags_at; /* in the value */
	uint32_t kfuncs[DISPATCH_KFUNCS];
	int32_t index_of[CC_MEMBERS];	/* in the kernel's struct, -1 not there */
	uint32_t member_at[CC_MEMBERS]; /* in the value */
};

/* folder: of the slot's pins, need not be there; NULL: nothing is kept. */
int cc_layout_read(const char *folder, struct cc_layout *ret_layout);
/* Is member i one of a registration of this shape (GATE_CC_SHAPE)? */
bool cc_layout_has(const struct cc_layout *l, size_t i, uint32_t shape);
