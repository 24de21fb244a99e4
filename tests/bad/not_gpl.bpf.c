// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls a helper that only GPL-compatible programs may call. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

__u64 last;

SEC("fentry/security_task_getpgid")
int BPF_PROG(read_kernel, struct task_struct *p)
{
	bpf_probe_read_kernel(&last, sizeof(last), p);
	return 0;
}

char _license[] SEC("license") = "Proprietary";
