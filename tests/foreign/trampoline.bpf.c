// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a program may ask the trampoline that called it: arguments, result, address. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

extern const void security_task_setnice __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} trampoline_checks SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&trampoline_checks, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fexit/security_task_setnice")
int BPF_PROG(ask, struct task_struct *p, int nice, int ret)
{
	__u64 arg = 0, result = ~0ULL;

	if (bpf_get_func_arg_cnt(ctx) == 2)
		count(0);
	if (!bpf_get_func_arg(ctx, 1, &arg) && (int)arg == nice)
		count(1);
	if (!bpf_get_func_ret(ctx, &result) && (int)result == ret)
		count(2);
	/* The call site may stand a few bytes into the function (an endbr before it). */
	if (bpf_get_func_ip(ctx) - (__u64)&security_task_setnice <= 4)
		count(3);
	return 0;
}

char _license[] SEC("license") = "GPL";
