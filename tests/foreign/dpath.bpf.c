// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A helper that is allowed for few targets only: the path of every preallocated file. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct path {
	void *dentry;
} __attribute__((preserve_access_index));

struct file {
	struct path f_path;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} paths_found SEC(".maps");

char last_path[128];

SEC("fentry/vfs_fallocate")
int BPF_PROG(path_of, struct file *file)
{
	__u32 zero = 0;
	__u64 *found;

	if (bpf_d_path(&file->f_path, last_path, sizeof(last_path)) < 2 || last_path[0] != '/')
		return 0;
	found = bpf_map_lookup_elem(&paths_found, &zero);
	if (found)
		__sync_fetch_and_add(found, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
