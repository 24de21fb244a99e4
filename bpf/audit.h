// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/audit.h -- what a BPF object contains, read from its ELF without loading
 * it: its hooks, and everything hotfixd refuses to load.
 *
 * Refused: not a 64-bit BPF ELF, no BTF, no program, program types other than
 * enum hook_type (a kprobe, an freplace, a "?optional" section), more than HOOK_MAX hooks,
 * struct_ops of another type than tcp_congestion_ops, unknown map types, maps that
 * want to be pinned by name (they would reach outside the hot-fix's folder).
 *
 * Context    any; parses at most AUDIT_OBJECT_BYTES_MAX of memory, does not block.
 *            Uses libbpf to open, never to load; quiet (libbpf's words go into the fail).
 * Errors     FAIL_BAD_OBJECT with the section or map named.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/fail.h"
#include "lib/hook.h"

#define AUDIT_OBJECT_BYTES_MAX (16U << 20)

struct audit {
	struct hook hooks[HOOK_MAX];
	size_t n_hooks;
	char license[64];
	size_t n_maps;
	bool uses_hotfix_header; /* counters, events, control of hotfix.bpf.h are there */
};

int audit_object(const void *elf, size_t len, struct audit *ret_audit,
		 struct fail *reterr_fail);
/* The object's hooks must be exactly the declared ones, in any order. */
int audit_compare(const struct audit *a, const struct hook *declared, size_t n_declared,
		  struct fail *reterr_fail);
