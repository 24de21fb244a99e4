// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fentry with arguments read through BTF: how often a TCP socket enters each state. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2

struct sock_common {
	unsigned short skc_family;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} tcp_states SEC(".maps");

SEC("fentry/tcp_set_state")
int BPF_PROG(count_state, struct sock *sk, int state)
{
	__u64 one = 1, *seen;
	__u32 key = state;

	if (sk->__sk_common.skc_family != AF_INET)
		return 0;
	seen = bpf_map_lookup_elem(&tcp_states, &key);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&tcp_states, &key, &one, BPF_NOEXIST);
	return 0;
}

char _license[] SEC("license") = "GPL";
