// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Local storage: a value that lives and dies with its task or socket. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;
struct sock;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} of_task SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} of_sock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} stored SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&stored, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(task_calls, struct task_struct *p)
{
	__u64 *calls = bpf_task_storage_get(&of_task, bpf_get_current_task_btf(), 0,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);

	/* From the second call of one task on. */
	if (calls && __sync_fetch_and_add(calls, 1) > 0)
		count(0);
	return 0;
}

SEC("fentry/tcp_set_state")
int BPF_PROG(sock_states, struct sock *sk, int state)
{
	__u64 *states = bpf_sk_storage_get(&of_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (states && __sync_fetch_and_add(states, 1) > 0)
		count(1);
	return 0;
}

char _license[] SEC("license") = "GPL";
