// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hotfix.bpf.h by an author who asks for events only. */
#define HOTFIX_EVENTS
#include "hotfix.bpf.h"

SEC("syscall")
int deny(void *ctx)
{
	struct hotfix_what what = {.kind = 1};

	return hotfix_deny(13, &what);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
