// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* struct_ops with cong_control: the whole decision about rate and window is its own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef WINDOW
#define WINDOW 20
#endif
#ifndef OPS_NAME
#define OPS_NAME "fgn_control"
#endif
#define STRUCT_OPS(name, args...) SEC("struct_ops/" #name) BPF_PROG(name, args)

struct sock;
struct rate_sample;

struct inet_connection_sock {
	__u64 icsk_ca_priv[8];
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 snd_cwnd;
	__u32 snd_cwnd_clamp;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_control)(struct sock *sk, const struct rate_sample *rs);
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} control_calls SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&control_calls, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

void STRUCT_OPS(control_init, struct sock *sk)
{
	((struct tcp_sock *)sk)->inet_conn.icsk_ca_priv[0] = 0;
	count(1);
}

void STRUCT_OPS(control_release, struct sock *sk)
{
	count(2);
}

__u32 STRUCT_OPS(control_ssthresh, struct sock *sk)
{
	return WINDOW;
}

__u32 STRUCT_OPS(control_undo, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

void STRUCT_OPS(control_decide, struct sock *sk, const struct rate_sample *rs)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	tp->inet_conn.icsk_ca_priv[0]++; /* its private state: decisions so far */
	tp->snd_cwnd = tp->snd_cwnd_clamp < WINDOW ? tp->snd_cwnd_clamp : WINDOW;
	count(0);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops control = {
	.init = (void *)control_init,
	.release = (void *)control_release,
	.ssthresh = (void *)control_ssthresh,
	.undo_cwnd = (void *)control_undo,
	.cong_control = (void *)control_decide,
	.name = OPS_NAME,
};

char _license[] SEC("license") = "GPL";
