// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* struct_ops of another type than hot-fixes may replace. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct bpf_dummy_ops_state;

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *cb);
};

SEC("struct_ops/test_1")
int BPF_PROG(test_1, struct bpf_dummy_ops_state *cb)
{
	return 0;
}

SEC(".struct_ops")
struct bpf_dummy_ops dummy = {
	.test_1 = (void *)test_1,
};

char _license[] SEC("license") = "GPL";
