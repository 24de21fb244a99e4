// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* No kernel has this LSM hook. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("lsm/hotfix_no_such_hook")
int BPF_PROG(never)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
