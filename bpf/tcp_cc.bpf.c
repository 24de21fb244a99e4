// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The members of the one tcp_congestion_ops that hotfixd registers per hot-fix. Each
 * tail-calls the live version's member of the same name. Where there is none, a member
 * does what the kernel does without it: Reno for the three that must exist, nothing for
 * the rest.
 *
 * bpf/dispatch.c loads these programs (their type needs the kernel's BTF, which it has
 * read already) and turns the calls below into calls of the kernel's own Reno.
 */
#include "bpf/dispatcher.bpf.h"
#include "bpf/owner.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* DISPATCH_RENO_... of bpf/dispatch.h: placeholders, not helpers. */
static __u32 (*const reno_ssthresh)(void *sk) = (void *)0x68660001;
static void (*const reno_cong_avoid)(void *sk, __u32 ack, __u32 acked) = (void *)0x68660002;
static __u32 (*const reno_undo_cwnd)(void *sk) = (void *)0x68660003;

/* "state": "own": a socket stays with the version that initialised it. */
const volatile __u32 own_state SEC(".rodata.own") = 0;

/* Index 0, switched off, holds for every socket: Reno needs no state of a version. */
static __always_inline __u32 index_of(void *sk)
{
	__u32 index = dispatcher_index();
	struct owner *o;

	if (!own_state || !index)
		return index;
	o = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!o)
		return index;
	index = o->index;
	if (index >= GATE_VERSIONS || gate.version[index].serial != o->serial)
		return 0;
	return index;
}

static __always_inline __u32 index_of_new(void *sk)
{
	__u32 index = dispatcher_index();
	struct owner *o;

	if (!own_state || !index)
		return index;
	o = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (o) {
		o->index = index;
		o->serial = gate.version[index].serial;
	}
	return index;
}

#define MEMBER(name, index_fn, otherwise)                    \
	DISPATCHER_VERSIONS(versions_##name);                \
	SEC("hotfix/" #name)                                 \
	__u32 name(__u64 *ctx)                               \
	{                                                    \
		void *sk = (void *)ctx[0];                   \
		__u32 index = index_fn(sk);                  \
                                                             \
		dispatcher_count(index);                     \
		bpf_tail_call(ctx, &versions_##name, index); \
		otherwise;                                   \
		return 0;                                    \
	}

MEMBER(init, index_of_new, )
MEMBER(release, index_of, )
MEMBER(set_state, index_of, )
MEMBER(cwnd_event, index_of, )
MEMBER(cwnd_event_tx_start, index_of, )
MEMBER(in_ack_event, index_of, )
MEMBER(pkts_acked, index_of, )
MEMBER(ssthresh, index_of, return reno_ssthresh(sk))
MEMBER(cong_avoid, index_of, reno_cong_avoid(sk, ctx[1], ctx[2]))
MEMBER(undo_cwnd, index_of, return reno_undo_cwnd(sk))

/* What the kernel takes when these members are not there. */
#define DEFAULT_MIN_TSO_SEGS  2
#define DEFAULT_SNDBUF_FACTOR 2
MEMBER(min_tso_segs, index_of, return DEFAULT_MIN_TSO_SEGS)
MEMBER(sndbuf_expand, index_of, return DEFAULT_SNDBUF_FACTOR)

/*
 * An algorithm with cong_control does all the kernel would do, reductions after a loss
 * included. Without a version to do it the socket cannot stay here: it moves to the
 * kernel's Reno, until bpf/move.h brings it to the registration of what is live.
 */
#define SOL_TCP	       6
#define TCP_CONGESTION 13
static __always_inline void leave(void *sk)
{
	char reno[] = "reno";
	struct owner *o;

	if (bpf_setsockopt(sk, SOL_TCP, TCP_CONGESTION, reno, sizeof(reno)))
		return;
	o = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (o)
		o->serial = OWNER_AWAY;
}
/* A trial of another shape is not settled yet: until then the committed version goes on. */
MEMBER(cong_control, index_of, bpf_tail_call(ctx, &versions_cong_control, (__u32)gate.word);
       leave(sk))
