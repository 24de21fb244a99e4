// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fmod_ret is allowed for few functions; this one does not belong to them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("fmod_ret/tcp_v4_connect")
int BPF_PROG(change, void *sk, void *addr, int len, int ret)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
