// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Symbols of the kernel: its version, a per-CPU variable, a function that 6.1 lacks. */
#include <linux/bpf.h>
#include <linux/version.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

extern int LINUX_KERNEL_VERSION __kconfig;
extern const int bpf_prog_active __ksym;
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym __weak;
extern void bpf_task_release(struct task_struct *p) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} externs_found SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&externs_found, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(use_externs, struct task_struct *p)
{
	const int *active = bpf_this_cpu_ptr(&bpf_prog_active);
	struct task_struct *held;

	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 1, 0))
		count(0);
	if (*active >= 0)
		count(1);
	if (!bpf_task_acquire || !bpf_task_release) {
		count(2);
		return 0;
	}
	held = bpf_task_acquire(bpf_get_current_task_btf());
	if (held) {
		count(2);
		bpf_task_release(held);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
