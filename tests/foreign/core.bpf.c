// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* CO-RE: one object for kernels on which fields, types and enumerators came and went. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

struct task_struct {
	unsigned int __state;
	int tgid;
	struct task_struct *real_parent;
	char comm[16];
} __attribute__((preserve_access_index));

/* As it was called before 5.14. */
struct task_struct___old {
	long state;
} __attribute__((preserve_access_index));

struct task_struct___never {
	int no_kernel_has_this;
} __attribute__((preserve_access_index));

struct no_kernel_has_this_struct {
	int x;
} __attribute__((preserve_access_index));

enum bpf_func_id___some { BPF_FUNC_loop___some = 1, BPF_FUNC_no_kernel_has_this___some = 2 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} core_checks SEC(".maps");

static __always_inline void count(__u32 key)
{
	__u64 *calls = bpf_map_lookup_elem(&core_checks, &key);

	if (calls)
		__sync_fetch_and_add(calls, 1);
}

SEC("fentry/security_task_getpgid")
int BPF_PROG(relocate, struct task_struct *p)
{
	struct task_struct___never *never = (void *)p;
	struct task_struct___old *old = (void *)p;
	long state;

	if (bpf_core_field_exists(never->no_kernel_has_this) ||
	    bpf_core_type_exists(struct no_kernel_has_this_struct) ||
	    bpf_core_enum_value_exists(enum bpf_func_id___some,
				       BPF_FUNC_no_kernel_has_this___some))
		return 0;
	if (bpf_core_field_exists(p->__state))
		state = p->__state;
	else
		state = BPF_CORE_READ(old, state);
	if (state < 0 || bpf_core_field_size(p->comm) != 16)
		return 0;
	count(0);
	if (p->tgid > 0 && BPF_CORE_READ(p, real_parent, tgid) >= 0)
		count(1);
	if (bpf_core_enum_value_exists(enum bpf_func_id___some, BPF_FUNC_loop___some))
		count(2);
	return 0;
}

char _license[] SEC("license") = "GPL";
