// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Refuses getsid() as tests/foreign/fmod_ret_getsid does, with functions that Linux 6.1 has not. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EACCES 13

struct task_struct;

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

SEC("fmod_ret/security_task_getsid")
int BPF_PROG(refuse_getsid, struct task_struct *p, int ret)
{
	__u32 uid = (__u32)bpf_get_current_uid_gid();

	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	if (ret)
		return ret;
	return uid ? -EACCES : 0;
}

char _license[] SEC("license") = "GPL";
