// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Would replace a function of another BPF program: needs that program's descriptor. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("freplace/anything")
int replacement(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
