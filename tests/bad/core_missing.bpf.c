// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads a field that no kernel has, without asking first. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

struct task_struct___patched {
	int hotfix_no_such_field;
} __attribute__((preserve_access_index));

int seen;

SEC("fentry/security_task_getpgid")
int BPF_PROG(read_missing, struct task_struct *p)
{
	seen = ((struct task_struct___patched *)p)->hotfix_no_such_field + p->tgid;
	return 0;
}

char _license[] SEC("license") = "GPL";
