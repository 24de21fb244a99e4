// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Ends some day, after more steps than the verifier is willing to follow. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

__u64 sum;

SEC("fentry/security_task_getpgid")
int BPF_PROG(count_long, struct task_struct *p)
{
	for (__u32 i = 0; i < 100000000; i++)
		sum += i ^ (sum << 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
