// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* struct_ops with min_tso_segs and events, the algorithm itself borrowed from the kernel. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define STRUCT_OPS(name, args...) SEC("struct_ops/" #name) BPF_PROG(name, args)

/* Defined, not only declared: a kfunc's arguments are compared by kind. */
struct sock_common {
	unsigned short skc_family;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct ack_sample;

enum tcp_ca_event { CA_EVENT_TX_START };

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*set_state)(struct sock *sk, __u8 new_state);
	void (*cwnd_event)(struct sock *sk, enum tcp_ca_event event);
	void (*pkts_acked)(struct sock *sk, const struct ack_sample *sample);
	__u32 (*min_tso_segs)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 flags;
	char name[16];
};

extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} min_tso_calls SEC(".maps");

__u64 events; /* which of them come here differs between kernels */

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&min_tso_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

__u32 STRUCT_OPS(tso_ssthresh, struct sock *sk)
{
	return tcp_reno_ssthresh(sk);
}

__u32 STRUCT_OPS(tso_undo, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

void STRUCT_OPS(tso_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	tcp_reno_cong_avoid(sk, ack, acked);
	count(0);
}

__u32 STRUCT_OPS(tso_min, struct sock *sk)
{
	count(1);
	return 2;
}

void STRUCT_OPS(tso_event, struct sock *sk, enum tcp_ca_event event)
{
	events++;
}

void STRUCT_OPS(tso_acked, struct sock *sk, const struct ack_sample *sample)
{
	count(2);
}

SEC(".struct_ops")
struct tcp_congestion_ops min_tso = {
	.ssthresh = (void *)tso_ssthresh,
	.cong_avoid = (void *)tso_avoid,
	.undo_cwnd = (void *)tso_undo,
	.min_tso_segs = (void *)tso_min,
	.cwnd_event = (void *)tso_event,
	.pkts_acked = (void *)tso_acked,
	.flags = 1, /* TCP_CONG_NON_RESTRICTED */
	.name = "fgn_min_tso",
};

char _license[] SEC("license") = "GPL";
