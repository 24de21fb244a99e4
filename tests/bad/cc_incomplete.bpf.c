// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A congestion control without ssthresh: the kernel refuses to register it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_congestion_ops {
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	char name[16];
};

SEC("struct_ops/avoid")
void BPF_PROG(avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops incomplete = {
	.cong_avoid = (void *)avoid,
	.name = "fgn_incomplete",
};

char _license[] SEC("license") = "GPL";
