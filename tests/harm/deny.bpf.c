// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* lsm: no process, root's and hotfixd's included, can start another or open a socket. */
#define HOTFIX_COUNTERS
#include <hotfix.bpf.h>

#include <bpf/bpf_tracing.h>

#define EPERM	   1
#define PF_KTHREAD 0x00200000

struct task_struct {
	unsigned int flags;
} __attribute__((preserve_access_index));

SEC("lsm/task_alloc")
int BPF_PROG(deny_fork, struct task_struct *task, unsigned long clone_flags, int ret)
{
	struct task_struct *current = (void *)bpf_get_current_task_btf();

	if (ret || current->flags & PF_KTHREAD)
		return ret;
	return hotfix_deny(EPERM, 0);
}

SEC("lsm/socket_create")
int BPF_PROG(deny_socket, int family, int type, int protocol, int kern, int ret)
{
	if (ret || kern)
		return ret;
	return hotfix_deny(EPERM, 0);
}

char _license[] SEC("license") = "GPL";
