// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fentry.s and fexit.s: the kernel's test functions are the only sleepable ones everywhere. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sleepable_calls SEC(".maps");

static void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&sleepable_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry.s/bpf_fentry_test1")
int BPF_PROG(may_sleep, int a)
{
	char byte;

	/* Only a sleepable program may ask for this; nothing is mapped at 0. */
	if (bpf_copy_from_user(&byte, 1, (void *)0))
		count(0);
	return 0;
}

SEC("fexit.s/bpf_fentry_test1")
int BPF_PROG(may_sleep_after, int a, int ret)
{
	if (ret == a + 1)
		count(1);
	return 0;
}

char _license[] SEC("license") = "GPL";
