// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lsm.s with a verdict: directories of one name cannot be removed. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef SEALED
#define SEALED "sealed-1"
#endif
#define EPERM 1

struct inode;

struct qstr {
	const unsigned char *name;
} __attribute__((preserve_access_index));

struct dentry {
	struct qstr d_name;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rmdir_seen SEC(".maps");

static const char sealed[] = SEALED;

SEC("lsm.s/inode_rmdir")
int BPF_PROG(keep_sealed, struct inode *dir, struct dentry *dentry, int ret)
{
	char name[sizeof(sealed)] = {};
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&rmdir_seen, &zero);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	if (ret)
		return ret;
	bpf_probe_read_kernel_str(name, sizeof(name), dentry->d_name.name);
	if (bpf_strncmp(name, sizeof(name), sealed) != 0)
		return 0;
	return -EPERM;
}

char _license[] SEC("license") = "GPL";
