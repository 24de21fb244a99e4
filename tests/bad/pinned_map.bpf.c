// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A map that wants to be pinned by its name, outside of the hot-fix's own folder. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} shared_by_name SEC(".maps");

SEC("fentry/security_task_getpgid")
int BPF_PROG(use, struct task_struct *p)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&shared_by_name, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
