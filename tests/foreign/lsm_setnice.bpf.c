// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lsm: no process may lower its priority further than LIMIT. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef LIMIT
#define LIMIT 5
#endif
#define EPERM 1

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __s32);
	__type(value, __u64);
} setnice_seen SEC(".maps");

SEC("lsm/task_setnice")
int BPF_PROG(limit_nice, struct task_struct *p, int nice, int ret)
{
	__s32 key = nice;
	__u64 one = 1, *seen;

	if (ret)
		return ret;
	if (p->tgid <= 1)
		return 0;
	seen = bpf_map_lookup_elem(&setnice_seen, &key);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&setnice_seen, &key, &one, BPF_ANY);
	return nice > LIMIT ? -EPERM : 0;
}

char _license[] SEC("license") = "GPL";
