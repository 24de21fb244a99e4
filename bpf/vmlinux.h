// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/vmlinux.h -- questions to the running kernel's own type information
 * (/sys/kernel/btf/vmlinux): ids of functions and types, prototypes, members.
 *
 * libbpf answers the same questions from a checked copy of all 120,000 types, which it
 * makes anew for each object it loads: 10 to 100 ms each time. This reads the same bytes
 * once per process, in a tenth of that: applying a hot-fix should cost what loading it
 * costs.
 *
 * Context    one thread; the first question takes 1 to 10 ms, others below 1 ms.
 * Errors     -ENOENT the kernel has no BTF; -EBADMSG not BTF of this byte order.
 * Ownership  vmlinux_get's result stays until the process ends: the kernel's types do not
 *            change while it runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/btf.h>

struct vmlinux;

int vmlinux_get(const struct vmlinux **ret_v);

struct vmlinux_name {
	const char *name;
	uint32_t kind; /* BTF_KIND_... */
	uint32_t id;   /* found; 0: there is none */
};

#define VMLINUX_NAMES_MAX 16

/* All in one pass. */
void vmlinux_find(const struct vmlinux *v, struct vmlinux_name *names, size_t n);
/* One name: its id, 0 when there is none. */
uint32_t vmlinux_id(const struct vmlinux *v, const char *name, uint32_t kind);
/* NULL when there is no such type. */
const struct btf_type *vmlinux_type(const struct vmlinux *v, uint32_t id);
const char *vmlinux_name(const struct vmlinux *v, uint32_t id);
/* Both are functions that take and return the same types; names of parameters may differ. */
bool vmlinux_same_prototype(const struct vmlinux *v, uint32_t func_a, uint32_t func_b);
/* -1 when the struct has no such member; ret_offset (bytes) may be NULL. */
int vmlinux_member(const struct vmlinux *v, uint32_t struct_id, const char *member,
		   uint32_t *ret_offset);
