// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An index that the verifier cannot bound. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[64]);
} table SEC(".maps");

SEC("fentry/security_task_getpgid")
int BPF_PROG(overrun, struct task_struct *p)
{
	__u32 zero = 0, pid = bpf_get_current_pid_tgid() >> 32;
	__u8 *bytes = bpf_map_lookup_elem(&table, &zero);

	if (bytes)
		bytes[pid] = 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
