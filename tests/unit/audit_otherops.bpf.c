// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct sched_ext_ops {
	void (*init)(void);
	char name[128];
};

SEC("struct_ops/init")
void BPF_PROG(scheduler_init)
{
}

SEC(".struct_ops.link")
struct sched_ext_ops scheduler = {
	.init = (void *)scheduler_init,
	.name = "scheduler",
};
