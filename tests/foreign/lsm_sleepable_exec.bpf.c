// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lsm.s on a hook without a verdict: reads the argument block of every exec from user memory.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct linux_binprm {
	unsigned long p; /* top of the new stack: the argument block */
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} execs_read SEC(".maps");

char first_arg[32];

SEC("lsm.s/bprm_committed_creds")
int BPF_PROG(read_args, struct linux_binprm *bprm)
{
	char buf[32] = {};
	__u32 zero = 0;
	__u64 *reads;

	if (bpf_copy_from_user(buf, sizeof(buf), (void *)bprm->p))
		return 0;
	__builtin_memcpy(first_arg, buf, sizeof(buf));
	reads = bpf_map_lookup_elem(&execs_read, &zero);
	if (reads)
		__sync_fetch_and_add(reads, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
