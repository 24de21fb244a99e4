// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fexit: sees the arguments and what the function returned. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct super_block {
	unsigned long s_magic;
} __attribute__((preserve_access_index));

struct dentry {
	struct super_block *d_sb;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} statfs_calls SEC(".maps");

unsigned long last_magic;
long failures;

SEC("fexit/security_sb_statfs")
int BPF_PROG(statfs_done, struct dentry *dentry, int ret)
{
	__u32 zero = 0;
	__u64 *calls = bpf_map_lookup_elem(&statfs_calls, &zero);

	if (ret) {
		__sync_fetch_and_add(&failures, 1);
		return 0;
	}
	last_magic = dentry->d_sb->s_magic;
	if (calls && last_magic)
		__sync_fetch_and_add(calls, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
