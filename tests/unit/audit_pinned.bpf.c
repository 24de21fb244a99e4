// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seen SEC(".maps");

SEC("fentry/security_task_getpgid")
int enter(void *ctx)
{
	__u32 zero = 0;

	bpf_map_lookup_elem(&seen, &zero);
	return 0;
}
