// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Denies getpgid() with VERDICT, as fmod_ret or as lsm. */
#include "tests/vm/engine_hook.bpf.h"

struct task_struct;

SEC(DENY_SECTION)
int BPF_PROG(deny, struct task_struct *p, int ret)
{
	if (!is_hammer())
		return 0;
	count(0);
	return -VERDICT;
}
