// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reno by the kernel's own functions, counting its members' calls: 0 init, 1 release,
 * 2 cong_avoid or cong_control, 3 others.
 */
#include "tests/vm/engine_hook.bpf.h"

#ifndef CC_NAME
#define CC_NAME "hf_test_cc"
#endif
#ifndef CC_SECTION
#define CC_SECTION ".struct_ops"
#endif

struct sock {
	int : 32;
};
struct rate_sample;

struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
#ifdef CC_CONTROL
	void (*cong_control)(struct sock *sk, const struct rate_sample *rs);
#else
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
#endif
	__u32 (*undo_cwnd)(struct sock *sk);
};

extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

SEC("struct_ops/init")
void BPF_PROG(cc_init, struct sock *sk)
{
	count(0);
}

SEC("struct_ops/release")
void BPF_PROG(cc_release, struct sock *sk)
{
	count(1);
}

SEC("struct_ops/ssthresh")
__u32 BPF_PROG(cc_ssthresh, struct sock *sk)
{
	count(3);
	return tcp_reno_ssthresh(sk);
}

#ifdef CC_CONTROL
SEC("struct_ops/cong_control")
void BPF_PROG(cc_cong, struct sock *sk, const struct rate_sample *rs)
{
	count(2);
	tcp_reno_cong_avoid(sk, 0, 1);
}
#else
SEC("struct_ops/cong_avoid")
void BPF_PROG(cc_cong, struct sock *sk, __u32 ack, __u32 acked)
{
	count(2);
	tcp_reno_cong_avoid(sk, ack, acked);
}
#endif

SEC("struct_ops/undo_cwnd")
__u32 BPF_PROG(cc_undo_cwnd, struct sock *sk)
{
	count(3);
	return tcp_reno_undo_cwnd(sk);
}

SEC(CC_SECTION)
struct tcp_congestion_ops hf_cc = {
	.name = CC_NAME,
	.init = (void *)cc_init,
	.release = (void *)cc_release,
	.ssthresh = (void *)cc_ssthresh,
#ifdef CC_CONTROL
	.cong_control = (void *)cc_cong,
#else
	.cong_avoid = (void *)cc_cong,
#endif
	.undo_cwnd = (void *)cc_undo_cwnd,
};
