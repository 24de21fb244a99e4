// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Callbacks: bpf_loop() and bpf_for_each_map_elem() call functions of the object. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ROUNDS 32

struct task_struct;
struct bpf_map;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROUNDS);
	__type(key, __u32);
	__type(value, __u64);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} complete_rounds SEC(".maps");

static long fill(__u32 i, void *cookie)
{
	__u32 key = i;
	__u64 value = *(__u64 *)cookie;

	bpf_map_update_elem(&cells, &key, &value, BPF_ANY);
	return 0;
}

static long add(struct bpf_map *map, __u32 *key, __u64 *value, __u64 *sum)
{
	*sum += *value;
	return 0;
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(fill_and_sum, struct task_struct *p)
{
	__u64 each = 3, sum = 0, *rounds;
	__u32 zero = 0;

	bpf_loop(ROUNDS, fill, &each, 0);
	bpf_for_each_map_elem(&cells, add, &sum, 0);
	rounds = bpf_map_lookup_elem(&complete_rounds, &zero);
	if (rounds && sum == ROUNDS * each)
		__sync_fetch_and_add(rounds, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
