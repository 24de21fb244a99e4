// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program type that is no hook of a hot-fix. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/do_unlinkat")
int on_unlink(void *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
