// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* More programs on one function than its trampoline can take (38, on newer kernels 36). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* clang-format off */
#define MEMBER(n)                                       \
	SEC("fentry/security_task_getsid")              \
	int BPF_PROG(member_##n, struct task_struct *p) \
	{                                               \
		return 0;                               \
	}
#define TEN(n)                                                           \
	MEMBER(n##0) MEMBER(n##1) MEMBER(n##2) MEMBER(n##3) MEMBER(n##4) \
	MEMBER(n##5) MEMBER(n##6) MEMBER(n##7) MEMBER(n##8) MEMBER(n##9)
/* clang-format on */

struct task_struct;

TEN(0)
TEN(1)
TEN(2)
TEN(3)

char _license[] SEC("license") = "GPL";
