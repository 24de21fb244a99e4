// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the engine's test objects share: they count, and act, for one program only. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EPERM  1
#define EACCES 13

char LICENSE[] SEC("license") = "GPL";

/* By this name the engine pins it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} hotfix_counters SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *n = bpf_map_lookup_elem(&hotfix_counters, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline _Bool is_hammer(void)
{
	char comm[16];

	return bpf_get_current_comm(comm, sizeof(comm)) == 0 &&
	       *(__u64 *)comm == *(const __u64 *)"hfhammer";
}
