// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lsm: every read and write of a file waits for a long computation. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ROUNDS 20000

struct file;

static long compute(__u32 round, __u64 *sum)
{
	*sum = *sum * 31 + round;
	return 0;
}

SEC("lsm/file_permission")
int BPF_PROG(slow_file, struct file *file, int mask, int ret)
{
	__u64 sum = 0;

	bpf_loop(ROUNDS, compute, &sum, 0);
	return ret ? ret : sum == 1 ? -1 : 0;
}

char _license[] SEC("license") = "GPL";
