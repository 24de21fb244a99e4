// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Looks like one fentry program; a kprobe travels with it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

SEC("fentry/security_task_getpgid")
int BPF_PROG(open_part, struct task_struct *p)
{
	return 0;
}

SEC("kprobe/do_unlinkat")
int hidden_part(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
