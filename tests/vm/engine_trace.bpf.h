// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts entries (0) and exits (1), and twice on one target (2). */
#include "tests/vm/engine_hook.bpf.h"

struct task_struct;

SEC("fentry/security_task_getpgid")
int BPF_PROG(entered, struct task_struct *p)
{
	if (is_hammer())
		count(0);
	return 0;
}

SEC("fexit/security_task_getpgid")
int BPF_PROG(left, struct task_struct *p, int ret)
{
	if (is_hammer())
		count(1);
	return 0;
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(entered_too, struct task_struct *p)
{
	if (is_hammer() && bpf_get_func_ip(ctx))
		count(2);
	return 0;
}
