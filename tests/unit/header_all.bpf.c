// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hotfix.bpf.h with all it has, in a program that can be run without being attached. */
#define HOTFIX_COUNTERS
#define HOTFIX_EVENTS
#define HOTFIX_CONTROL
#include "hotfix.bpf.h"

struct args {
	__u32 n;
};

SEC("syscall")
int deny(struct args *args)
{
	struct hotfix_what what = {.kind = 7, .args = {args->n, 2, 3, 4}, .text = "text"};

	return hotfix_deny(13, &what);
}

SEC("syscall")
int count(struct args *args)
{
	hotfix_count(HOTFIX_SEEN);
	hotfix_add(HOTFIX_USER0 + 11, args->n);
	hotfix_event_anon(HOTFIX_NOTED, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
