// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Global functions, verified on their own, called by two programs; one takes memory. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

struct sample {
	__u64 weight;
	__u32 uid;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} subprog_calls SEC(".maps");

__noinline int bucket(__u32 uid)
{
	return uid == 0 ? 0 : 1;
}

__noinline int weigh(struct sample *s)
{
	if (!s)
		return 0;
	s->weight += s->uid == 0 ? 1 : 2;
	return 1;
}

static __noinline void count(__u32 key, __u64 by)
{
	__u64 *calls = bpf_map_lookup_elem(&subprog_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, by);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(enter, struct task_struct *p)
{
	struct sample s = {.uid = (__u32)bpf_get_current_uid_gid()};

	weigh(&s);
	count(bucket(s.uid) & 1, s.weight);
	return 0;
}

SEC("fexit/security_task_getpgid")
int BPF_PROG(leave, struct task_struct *p, int ret)
{
	struct sample s = {.uid = (__u32)bpf_get_current_uid_gid()};

	weigh(&s);
	count(2 + (bucket(s.uid) & 1), s.weight);
	return 0;
}

char _license[] SEC("license") = "GPL";
