// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tests/bench/hit.bpf.h -- one hot-fix in two versions and five kinds of hook, which tells
 * the hammer (tests/bench/bench.h) of every call it saw. Who includes it has defined VERSION
 * and one of FENTRY, FEXIT, FMOD_RET, LSM, STRUCT_OPS.
 *
 * A hammering thread has a slot of its own in the map seen_<VERSION>. It is known by its user
 * id, or by the mark of its socket; everybody else is let alone. Calls of the lower slots are
 * denied where the hook can: EPERM by version 1, EACCES by version 2.
 */
#pragma once

#define HIT_ID	   61000 /* user id, or socket mark, of slot 0 */
#define HIT_SLOTS  8
#define HIT_DENIED 4 /* slots below this one are denied */
#define HIT_CC	   "hf_bench"

struct hit_seen {
	struct {
		unsigned long long calls;
		unsigned long long pad[7]; /* a cache line for each thread */
	} slot[HIT_SLOTS];
};

#ifdef __bpf__
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#if VERSION == 1
#define HIT_MAP seen_1
#define HIT_ERR 1 /* EPERM */
#else
#define HIT_MAP seen_2
#define HIT_ERR 13 /* EACCES */
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hit_seen);
} HIT_MAP SEC(".maps");

/* A slot belongs to one thread, or one socket: nobody else counts in it at the same time. */
static __always_inline int hit(__u32 who)
{
	__u32 zero = 0, slot = who - HIT_ID;
	struct hit_seen *seen;

	if (slot >= HIT_SLOTS)
		return 0;
	seen = bpf_map_lookup_elem(&HIT_MAP, &zero);
	if (!seen)
		return 0;
	seen->slot[slot].calls++;
	return slot < HIT_DENIED ? -HIT_ERR : 0;
}

#ifdef FENTRY
SEC("fentry/security_task_getpgid")
int BPF_PROG(hit_fentry)
{
	hit(bpf_get_current_uid_gid());
	return 0;
}
#endif

#ifdef FEXIT
SEC("fexit/security_task_getpgid")
int BPF_PROG(hit_fexit)
{
	hit(bpf_get_current_uid_gid());
	return 0;
}
#endif

#ifdef FMOD_RET
SEC("fmod_ret/security_task_getpgid")
int BPF_PROG(hit_fmod_ret)
{
	return hit(bpf_get_current_uid_gid()) ? -HIT_ERR : 0;
}
#endif

/* The verifier of 6.12 wants to see that the value is an errno or 0. */
#ifdef LSM
SEC("lsm/task_getpgid")
int BPF_PROG(hit_lsm)
{
	return hit(bpf_get_current_uid_gid()) ? -HIT_ERR : 0;
}
#endif

#ifdef STRUCT_OPS
struct sock {
	__u32 sk_mark;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 snd_cwnd;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	__u32 flags;
	char name[16];
};

#define MEMBER(name, args...) SEC("struct_ops/" #name) BPF_PROG(name, args)

void MEMBER(hit_init, struct sock *sk)
{
	hit(sk->sk_mark);
}

void MEMBER(hit_release, struct sock *sk)
{
	hit(sk->sk_mark);
}

/* The window stays as it is: nothing here is measured by its throughput. */
void MEMBER(hit_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	hit(sk->sk_mark);
}

__u32 MEMBER(hit_ssthresh, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

__u32 MEMBER(hit_undo, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops hit_ops = {
	.init = (void *)hit_init,
	.release = (void *)hit_release,
	.ssthresh = (void *)hit_ssthresh,
	.cong_avoid = (void *)hit_avoid,
	.undo_cwnd = (void *)hit_undo,
	.flags = 1, /* TCP_CONG_NON_RESTRICTED */
	.name = HIT_CC,
};
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
#endif
