// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* No kernel has this function. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("fentry/hotfix_no_such_function")
int BPF_PROG(never)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
