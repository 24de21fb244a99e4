// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One object with every kind of hook. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct sock;
struct task_struct;

struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	void (*init)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 4);
} hotfix_counters SEC(".maps");

SEC("fentry/security_task_getpgid")
int BPF_PROG(enter, struct task_struct *p)
{
	__u32 zero = 0;

	bpf_map_lookup_elem(&hotfix_counters, &zero);
	return 0;
}

SEC("fexit.s/do_sys_openat2")
int BPF_PROG(leave)
{
	return 0;
}

SEC("fmod_ret/security_task_getpgid")
int BPF_PROG(deny, struct task_struct *p, int ret)
{
	return ret;
}

SEC("lsm/task_getpgid")
int BPF_PROG(guard, struct task_struct *p, int ret)
{
	return ret;
}

SEC("struct_ops/init")
void BPF_PROG(cc_init, struct sock *sk)
{
}

SEC("struct_ops/ssthresh")
__u32 BPF_PROG(cc_ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops/cong_avoid")
void BPF_PROG(cc_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC("struct_ops/undo_cwnd")
__u32 BPF_PROG(cc_undo_cwnd, struct sock *sk)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops fixed_reno = {
	.name = "fixed_reno",
	.init = (void *)cc_init,
	.ssthresh = (void *)cc_ssthresh,
	.cong_avoid = (void *)cc_cong_avoid,
	.undo_cwnd = (void *)cc_undo_cwnd,
};
