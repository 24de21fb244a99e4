// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * struct_ops: a congestion control that makes the kernel warn. The verifier lets it store any
 * threshold; with one of 0 the kernel's own slow start sets a window of 0, and
 * tcp_snd_cwnd_set() warns of it (once a boot: see clear_warn_once in debugfs).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

extern __u32 tcp_slow_start(struct tcp_sock *tp, __u32 acked) __ksym;

SEC("struct_ops/harm_ssthresh")
__u32 BPF_PROG(harm_ssthresh, struct sock *sk)
{
	return 10;
}

SEC("struct_ops/harm_undo")
__u32 BPF_PROG(harm_undo, struct sock *sk)
{
	return 10;
}

SEC("struct_ops/harm_avoid")
void BPF_PROG(harm_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 cwnd = tp->snd_cwnd;

	tp->snd_ssthresh = 0;
	tcp_slow_start(tp, acked);
	tp->snd_cwnd = cwnd;
	tp->snd_ssthresh = 10;
}

SEC(".struct_ops")
struct tcp_congestion_ops harm = {
	.ssthresh = (void *)harm_ssthresh,
	.cong_avoid = (void *)harm_avoid,
	.undo_cwnd = (void *)harm_undo,
	.name = "harm_warn",
};

char _license[] SEC("license") = "GPL";
