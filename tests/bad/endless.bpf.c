// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A loop without an end that the verifier recognises as one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

SEC("fentry/security_task_getpgid")
int BPF_PROG(spin, struct task_struct *p)
{
	while (bpf_get_prandom_u32() != 5)
		;
	return 0;
}

char _license[] SEC("license") = "GPL";
