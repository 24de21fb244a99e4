// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A section that libbpf would not load by itself ("?"), but a later program could. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

SEC("fentry/security_task_getpgid")
int BPF_PROG(open_part, struct task_struct *p)
{
	return 0;
}

SEC("?lsm/task_setnice")
int BPF_PROG(optional_part, struct task_struct *p, int nice, int ret)
{
	return ret;
}

char _license[] SEC("license") = "GPL";
