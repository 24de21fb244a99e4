// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Several programs of several types in one object, sharing one map. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;
struct dentry;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} several_calls SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&several_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(on_getpgid, struct task_struct *p)
{
	count(0);
	return 0;
}

SEC("fexit/security_sb_statfs")
int BPF_PROG(on_statfs, struct dentry *dentry, int ret)
{
	count(1);
	return 0;
}

SEC("lsm/task_getscheduler")
int BPF_PROG(on_getscheduler, struct task_struct *p, int ret)
{
	count(2);
	return ret;
}

SEC("fexit/security_task_getpgid")
int BPF_PROG(on_getpgid_done, struct task_struct *p, int ret)
{
	if (!ret)
		count(3);
	return 0;
}

char _license[] SEC("license") = "GPL";
