// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A constant where the ops has a function: libbpf hands it out as a program's address. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct sock;

struct tcp_congestion_ops {
	char name[16];
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
};

SEC("struct_ops/ssthresh")
__u32 BPF_PROG(cc_ssthresh, struct sock *sk)
{
	return 2;
}

SEC(".struct_ops")
struct tcp_congestion_ops cast = {
	.name = "cast",
	.ssthresh = (void *)cc_ssthresh,
	.undo_cwnd = (void *)0xdeadbeef,
};
