// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps and nothing else. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lonely SEC(".maps");

char _license[] SEC("license") = "GPL";
