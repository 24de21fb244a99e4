// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/ops.h -- the ops variables (struct_ops maps) of a BPF object: their type, and
 * of a congestion control its name, flags and member programs.
 *
 * Context    any; reads an object that was opened, loaded or not.
 * Errors     -ENOENT no such member; -EINVAL with a sentence in reterr_why.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/hook.h"

struct bpf_map;
struct bpf_object;
struct bpf_program;

#define OPS_MEMBERS_MAX	   32
#define OPS_MEMBER_BYTES   32
#define OPS_TYPE_TCP_CC	   "tcp_congestion_ops"
#define OPS_NON_RESTRICTED 0x1U /* .flags: anyone may choose it (TCP_CONG_NON_RESTRICTED) */
#define OPS_NEEDS_ECN	   0x2U /* TCP_CONG_NEEDS_ECN */

/* linux/bpf.h of Linux 6.4; older headers lack them. */
#define OPS_F_LINK	(1U << 13) /* BPF_F_LINK */
#define OPS_ATTACH_TYPE 44	   /* BPF_STRUCT_OPS */
#define OPS_LINK_TYPE	9	   /* BPF_LINK_TYPE_STRUCT_OPS */

struct ops_member {
	char name[OPS_MEMBER_BYTES];
	struct bpf_program *program; /* of the object */
};

struct ops {
	char cc_name[HOOK_CC_NAME_BYTES];
	uint32_t cc_flags;
	struct ops_member members[OPS_MEMBERS_MAX];
	size_t n_members;
};

/* Name of the struct type in the object's BTF, NULL when it has none. */
const char *ops_type(const struct bpf_object *obj, const struct bpf_map *map);
/* map must be of OPS_TYPE_TCP_CC. */
int ops_read(const struct bpf_object *obj, const struct bpf_map *map, struct ops *ret_ops,
	     const char **reterr_why);
