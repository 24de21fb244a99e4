// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* struct_ops: Reno in its smallest form. INCREASE segments per window of acknowledgements. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef INCREASE
#define INCREASE 1
#endif
#ifndef OPS_SECTION
#define OPS_SECTION ".struct_ops"
#define OPS_NAME    "fgn_reno"
#define ACKS	    reno_acks
#endif
#define STRUCT_OPS(name, args...) SEC("struct_ops/" #name) BPF_PROG(name, args)

#define max(a, b)		  ((a) > (b) ? (a) : (b))
#define min(a, b)		  ((a) < (b) ? (a) : (b))

struct sock;

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_cwnd_cnt;
	__u32 snd_cwnd_clamp;
	__u32 snd_ssthresh;
	__u32 prior_cwnd;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	__u32 flags;
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} ACKS SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&ACKS, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

void STRUCT_OPS(reno_init, struct sock *sk)
{
	count(1);
}

__u32 STRUCT_OPS(reno_ssthresh, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	return max(tp->snd_cwnd >> 1, 2U);
}

__u32 STRUCT_OPS(reno_undo, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	return max(tp->snd_cwnd, tp->prior_cwnd);
}

void STRUCT_OPS(reno_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 cwnd = tp->snd_cwnd, cnt = tp->snd_cwnd_cnt;

	count(0);
	if (cwnd < tp->snd_ssthresh) {
		tp->snd_cwnd = min(min(cwnd + acked, tp->snd_ssthresh), tp->snd_cwnd_clamp);
		return;
	}
	cnt += acked * INCREASE;
	if (cwnd && cnt >= cwnd) {
		tp->snd_cwnd = min(cwnd + cnt / cwnd, tp->snd_cwnd_clamp);
		cnt %= cwnd;
	}
	tp->snd_cwnd_cnt = cnt;
}

SEC(OPS_SECTION)
struct tcp_congestion_ops reno = {
	.init = (void *)reno_init,
	.ssthresh = (void *)reno_ssthresh,
	.cong_avoid = (void *)reno_avoid,
	.undo_cwnd = (void *)reno_undo,
	.name = OPS_NAME,
};

char _license[] SEC("license") = "GPL";
