// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* In BTF, so it loads; but the function is not traced, so it cannot be attached. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("fentry/native_sched_clock")
int BPF_PROG(on_clock)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
