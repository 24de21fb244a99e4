// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fmod_ret on a function that is no security hook: the kernel's own test function. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef ANSWER
#define ANSWER -1001
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} modify_calls SEC(".maps");

SEC("fmod_ret/bpf_modify_return_test")
int BPF_PROG(modify_return, int a, int *b, int ret)
{
	__u32 zero = 0;
	__u64 *calls = bpf_map_lookup_elem(&modify_calls, &zero);

	if (calls)
		__sync_fetch_and_add(calls, 1);
	return ret ? ret : ANSWER;
}

char _license[] SEC("license") = "GPL";
