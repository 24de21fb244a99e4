// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * "hf_cubic": CUBIC after RFC 9438 as a congestion control in BPF.
 *
 *	serial 1   takes the time a flow was idle for time it spent probing, so that the first
 *	           windows after a pause jump to where the curve would have been by then
 *	serial 2   with the correction of Linux 30927520dbae and c2e7204d180f: the epoch moves
 *	           on by the idle time, and never into the future
 *
 * Slow start is the classic one (no HyStart). State of the two is compatible: a socket
 * may change its version at any time. Facts and sources: README.md.
 */
#ifndef HOTFIX_SERIAL
#error "HOTFIX_SERIAL says which version to build"
#endif
#if HOTFIX_SERIAL >= 2
#define HOTFIX_COUNTERS
#endif
#include "hotfix.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define COUNTER_RESUMED		HOTFIX_USER0 /* times idle time was taken out of an epoch */

#define TCP_CONG_NON_RESTRICTED 1
#define TCP_CA_LOSS		4

#define BETA			717 /* of 1024: what is left of the window after a loss, 0.7 */
#define BETA_ONE		1024

/* C = 0.4 segments/s^3, time in ms: W(t) = (t - K)^3 / CUBE + origin. */
#define CUBE	 2500000000ULL
#define T_MAX_MS 100000U /* (t - K)^3 stays below 2^50 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock;

struct inet_connection_sock {
	__u64 icsk_ca_priv[13];
};

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_cwnd_cnt;
	__u32 snd_cwnd_clamp;
	__u32 snd_ssthresh;
	__u32 prior_cwnd;
	__u32 srtt_us; /* 8 times the smoothed RTT */
	__u32 packets_out;
	__u32 max_packets_out;
	__u8 is_cwnd_limited : 1;
};

#pragma clang attribute pop

/* The members used here; libbpf finds them in the kernel's by their names. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*set_state)(struct sock *sk, __u8 new_state);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	__u32 flags;
	char name[16];
};

/* In icsk_ca_priv, 104 bytes. */
struct cubic {
	__u64 epoch_us;	  /* when this congestion avoidance began; 0: it has not */
	__u64 drained_us; /* when nothing was in flight any more; 0: something is (serial 2) */
	__u32 w_max;	  /* window before the last reduction */
	__u32 origin;	  /* where the curve is flat, and after how many ms */
	__u32 k_ms;
	__u32 w_est;	 /* the window Reno would have */
	__u32 est_acked; /* segments acknowledged towards its next increase */
};

static __always_inline struct tcp_sock *tcp_sk(struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

static __always_inline struct cubic *cubic_of(struct sock *sk)
{
	return (struct cubic *)((struct inet_connection_sock *)sk)->icsk_ca_priv;
}

static __always_inline __u64 now_us(void)
{
	return bpf_ktime_get_ns() / 1000;
}

static __always_inline __u32 srtt_us(const struct tcp_sock *tp)
{
	return tp->srtt_us >> 3;
}

static __always_inline __u32 min_u32(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline __u32 max_u32(__u32 a, __u32 b)
{
	return a > b ? a : b;
}

/* Newton's method from above; the start is at most twice the root, and x below 2^63. */
static __always_inline __u32 cube_root(__u64 x)
{
	__u64 root = 1, rest = x;

	for (int i = 0; i < 21; i++) {
		rest >>= 3;
		if (rest)
			root <<= 1;
	}
	root <<= 1;
	for (int i = 0; i < 6; i++)
		root = (2 * root + x / (root * root)) / 3;
	return root;
}

static __always_inline void reset(struct cubic *ca)
{
	ca->epoch_us = 0;
	ca->drained_us = 0;
	ca->w_max = 0;
	ca->origin = 0;
	ca->k_ms = 0;
	ca->w_est = 0;
	ca->est_acked = 0;
}

/* A window that is not used says nothing about the path: it must not grow. */
static __always_inline _Bool cwnd_limited(const struct tcp_sock *tp)
{
	if (BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited))
		return 1;
	return tp->snd_cwnd < tp->snd_ssthresh && tp->snd_cwnd < 2 * tp->max_packets_out;
}

static __always_inline void begin_epoch(struct cubic *ca, __u32 cwnd, __u64 now)
{
	ca->epoch_us = now;
	ca->w_est = cwnd;
	ca->est_acked = 0;
	if (ca->w_max > cwnd) {
		ca->origin = ca->w_max;
		ca->k_ms = cube_root((__u64)(ca->w_max - cwnd) * CUBE);
	} else {
		ca->origin = cwnd;
		ca->k_ms = 0;
	}
}

/* Where the curve is one round trip from now. */
static __always_inline __u32 target(const struct cubic *ca, const struct tcp_sock *tp,
				    __u64 now)
{
	__u64 t = (now + srtt_us(tp) - ca->epoch_us) / 1000, off, delta;

	off = t < ca->k_ms ? ca->k_ms - t : t - ca->k_ms;
	if (off > T_MAX_MS)
		off = T_MAX_MS;
	delta = off * off * off / CUBE;
	if (t >= ca->k_ms)
		return ca->origin + delta;
	return ca->origin > delta ? ca->origin - delta : 1;
}

/* How many segments have to be acknowledged for the next increase by one. */
static __always_inline __u32 segments_per_increase(struct cubic *ca, const struct tcp_sock *tp,
						   __u32 acked, __u64 now)
{
	__u32 cwnd = tp->snd_cwnd, step, n, w, per;

	if (!ca->epoch_us)
		begin_epoch(ca, cwnd, now);
	w = target(ca, tp, now);
	per = w > cwnd ? cwnd / (w - cwnd) : 100 * cwnd;

	/* Not slower than Reno would be: 9/17 segments in each round trip (alpha for beta 0.7).
	 */
	ca->est_acked += acked;
	step = cwnd * 17 / 9;
	if (step && ca->est_acked >= step) {
		n = ca->est_acked / step;
		ca->est_acked -= n * step;
		ca->w_est += n;
	}
	if (ca->w_est > cwnd)
		per = min_u32(per, cwnd / (ca->w_est - cwnd));

	/* At most half as much again in one round trip. */
	return max_u32(per, 2);
}

static __always_inline void grow(struct tcp_sock *tp, __u32 per, __u32 acked)
{
	__u32 cwnd = tp->snd_cwnd, credit = tp->snd_cwnd_cnt, n;

	/* Credit saved while an increase cost more buys one, not many at once. */
	if (credit >= per) {
		credit = 0;
		cwnd++;
	}
	credit += acked;
	if (credit >= per) {
		n = credit / per;
		credit -= n * per;
		cwnd += n;
	}
	tp->snd_cwnd_cnt = credit;
	tp->snd_cwnd = max_u32(min_u32(cwnd, tp->snd_cwnd_clamp), 1);
}

#if HOTFIX_SERIAL >= 2
/*
 * Idle is from the acknowledgement that left nothing in flight to the next transmission, which
 * was a round trip before the acknowledgement seen now. The events of the ops that tell the
 * beginning of a transmission differ between kernels; the acknowledgements do not.
 */
static __always_inline void leave_out_idle_time(struct cubic *ca, const struct tcp_sock *tp,
						__u64 now)
{
	__u64 since = ca->drained_us + srtt_us(tp);

	if (ca->drained_us && ca->epoch_us && now > since) {
		ca->epoch_us += now - since;
		if (ca->epoch_us > now)
			ca->epoch_us = now;
		hotfix_count(COUNTER_RESUMED);
	}
	ca->drained_us = tp->packets_out ? 0 : now;
}
#endif

SEC("struct_ops")
void BPF_PROG(hf_cubic_init, struct sock *sk)
{
	reset(cubic_of(sk));
}

SEC("struct_ops")
__u32 BPF_PROG(hf_cubic_ssthresh, struct sock *sk)
{
	struct cubic *ca = cubic_of(sk);
	__u32 cwnd = tcp_sk(sk)->snd_cwnd;

	ca->epoch_us = 0;
	/* Losing again below the last maximum: others need room, give up some more. */
	if (cwnd < ca->w_max)
		ca->w_max = (__u64)cwnd * (BETA_ONE + BETA) / (2 * BETA_ONE);
	else
		ca->w_max = cwnd;
	return max_u32((__u64)cwnd * BETA / BETA_ONE, 2);
}

SEC("struct_ops")
void BPF_PROG(hf_cubic_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct cubic *ca = cubic_of(sk);
	__u32 cwnd = tp->snd_cwnd, room;
	__u64 now = now_us();

#if HOTFIX_SERIAL >= 2
	leave_out_idle_time(ca, tp, now);
#endif
	if (!cwnd_limited(tp))
		return;
	if (cwnd < tp->snd_ssthresh) {
		room = min_u32(acked, tp->snd_ssthresh - cwnd);
		tp->snd_cwnd = min_u32(cwnd + room, tp->snd_cwnd_clamp);
		acked -= room;
		if (!acked)
			return;
	}
	grow(tp, segments_per_increase(ca, tp, acked, now), acked);
}

SEC("struct_ops")
void BPF_PROG(hf_cubic_set_state, struct sock *sk, __u8 new_state)
{
	if (new_state == TCP_CA_LOSS)
		reset(cubic_of(sk));
}

SEC("struct_ops")
__u32 BPF_PROG(hf_cubic_undo_cwnd, struct sock *sk)
{
	return max_u32(tcp_sk(sk)->snd_cwnd, tcp_sk(sk)->prior_cwnd);
}

SEC(".struct_ops")
struct tcp_congestion_ops hf_cubic = {
	.init = (void *)hf_cubic_init,
	.ssthresh = (void *)hf_cubic_ssthresh,
	.cong_avoid = (void *)hf_cubic_cong_avoid,
	.set_state = (void *)hf_cubic_set_state,
	.undo_cwnd = (void *)hf_cubic_undo_cwnd,
	.flags = TCP_CONG_NON_RESTRICTED,
	.name = "hf_cubic",
};

char LICENSE[] SEC("license") = "Dual BSD/GPL";
