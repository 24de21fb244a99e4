// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps of many kinds, and global data of all three sections. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct inner inner_even SEC(".maps"), inner_odd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = {&inner_even, &inner_odd},
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __u32);
	__type(value, __u64);
} by_uid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} by_pid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} all_maps_used SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} pids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} last_pids SEC(".maps");

const volatile __u64 step = 1; /* .rodata */
__u64 total = 1000;	       /* .data */
__u64 dropped;		       /* .bss */
static __u64 private_data[1] SEC(".data.private");

static __always_inline int bump(void *map, __u32 key)
{
	__u64 zero = 0, *value = bpf_map_lookup_elem(map, &key);

	if (!value) {
		bpf_map_update_elem(map, &key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(map, &key);
	}
	if (!value)
		return -1;
	__sync_fetch_and_add(value, step);
	return 0;
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(use_all, struct task_struct *p)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32, odd = pid & 1, zero = 0, *slot;
	__u32 uid = (__u32)bpf_get_current_uid_gid();
	void *map = bpf_map_lookup_elem(&outer, &odd);

	if (!map || bump(map, zero) || bump(&by_uid, uid) || bump(&by_pid, pid) ||
	    bump(&by_cpu, 0))
		return 0;
	slot = bpf_ringbuf_reserve(&pids, sizeof(*slot), 0);
	if (slot) {
		*slot = pid;
		bpf_ringbuf_submit(slot, BPF_RB_NO_WAKEUP);
	} else {
		__sync_fetch_and_add(&dropped, 1);
	}
	bpf_map_push_elem(&last_pids, &pid, BPF_EXIST);
	private_data[0]++;
	/* Fails when .data did not arrive with its initial value. */
	if (__sync_fetch_and_add(&total, step) >= 1000)
		bump(&all_maps_used, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
