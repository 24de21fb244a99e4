// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The programs of bpf/move.h: they see every TCP socket of one network namespace, locked.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/move.h"
#include "bpf/owner.h"

#define SOL_TCP	       6
#define TCP_CONGESTION 13

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct sock_common;
struct tcp_congestion_ops;

struct inet_connection_sock {
	const struct tcp_congestion_ops *icsk_ca_ops;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
} __attribute__((preserve_access_index));

struct bpf_iter__tcp {
	struct sock_common *sk_common;
} __attribute__((preserve_access_index));

volatile struct move_job job SEC(".data.job");

const volatile char reno[MOVE_NAME_BYTES] = "reno";

static __always_inline __u64 ops_of(struct tcp_sock *tp)
{
	return (__u64)BPF_CORE_READ(tp, inet_conn.icsk_ca_ops);
}

static __always_inline int same(const char *a, const volatile char *b)
{
	for (int i = 0; i < MOVE_NAME_BYTES && (a[i] || b[i]); i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

/* A whole socket: not one that is only asked for yet, nor one that is only waited out. */
static __always_inline struct tcp_sock *socket_of(struct bpf_iter__tcp *ctx,
						  char ret_name[MOVE_NAME_BYTES])
{
	struct sock_common *sk = ctx->sk_common;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : 0;

	if (!tp || bpf_getsockopt(tp, SOL_TCP, TCP_CONGESTION, ret_name, MOVE_NAME_BYTES))
		return 0;
	return tp;
}

static __always_inline long choose(struct tcp_sock *tp, const volatile char *name)
{
	char copy[MOVE_NAME_BYTES];

	for (int i = 0; i < MOVE_NAME_BYTES; i++)
		copy[i] = name[i];
	return bpf_setsockopt(tp, SOL_TCP, TCP_CONGESTION, copy, sizeof(copy));
}

SEC("iter/tcp")
int move(struct bpf_iter__tcp *ctx)
{
	char name[MOVE_NAME_BYTES] = "";
	struct tcp_sock *tp = socket_of(ctx, name);
	struct owner *o;
	__u64 before;
	int away;

	if (!tp)
		return 0;
	o = bpf_sk_storage_get(&sockets, tp, 0, 0);
	away = o && o->serial == OWNER_AWAY && same(name, reno);
	before = ops_of(tp);
	if ((!away && !same(name, job.from)) || before == job.to_ops)
		return 0;
	if (choose(tp, job.to)) {
		job.left++;
		return 0;
	}
	if (away)
		o->serial = 0;
	/* The same if the first socket we try had the new ops: the next such one is spared. */
	job.to_ops = ops_of(tp);
	job.moved += job.to_ops != before;
	return 0;
}

SEC("iter/tcp")
int reenter(struct bpf_iter__tcp *ctx)
{
	char name[MOVE_NAME_BYTES] = "";
	struct tcp_sock *tp = socket_of(ctx, name);
	struct owner *o;

	if (!tp || !same(name, job.from))
		return 0;
	o = bpf_sk_storage_get(&sockets, tp, 0, 0);
	if (!o || o->serial != job.serial)
		return 0;
	if (choose(tp, reno) || choose(tp, job.from))
		job.left++;
	else
		job.moved++;
	return 0;
}
