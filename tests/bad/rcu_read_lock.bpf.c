// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What every BPF program itself runs through: attaching here has hung a 6.1 kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("fentry/__rcu_read_lock")
int BPF_PROG(inside_itself)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
