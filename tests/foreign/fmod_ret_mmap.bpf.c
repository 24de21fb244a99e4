// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fmod_ret on a security function whose arguments are not those of the LSM hook of the same
 * name: security_mmap_file(file, prot, flags), but mmap_file(file, reqprot, prot, flags). Run
 * as the latter it would take the protection for the flags.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define PROT_READ  1
#define WANT_FLAGS 0x4022 /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE */

struct file;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} mmaps_seen SEC(".maps");

SEC("fmod_ret/security_mmap_file")
int BPF_PROG(watch_mmap, struct file *file, unsigned long prot, unsigned long flags, int ret)
{
	__u32 zero = 0;
	__u64 *seen = bpf_map_lookup_elem(&mmaps_seen, &zero);

	if (seen && !file && prot == PROT_READ && flags == WANT_FLAGS && !ret)
		__sync_fetch_and_add(seen, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
