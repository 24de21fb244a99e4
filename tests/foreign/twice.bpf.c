// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two programs on one target: both run on every call. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} twice_calls SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&twice_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(first, struct task_struct *p)
{
	count(0);
	return 0;
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(second, struct task_struct *p)
{
	count(1);
	return 0;
}

char _license[] SEC("license") = "GPL";
