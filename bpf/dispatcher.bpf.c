// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The dispatcher of a slot: attached once, it runs the live version by a tail call.
 * Only one of these programs is loaded per slot. Sections and types are those of
 * bpf/dispatch.c, which loads them without parsing the kernel's BTF again.
 */
#include "bpf/dispatcher.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

DISPATCHER_VERSIONS(versions);

static __always_inline void dispatch(void *ctx)
{
	__u32 index = dispatcher_index();

	dispatcher_count(index);
	bpf_tail_call(ctx, &versions, index);
}

/*
 * The trampoline saves the address of the hooked function only for programs that ask for
 * it, and looks at the attached program, not at those it calls. So the dispatcher asks, in
 * the only place that costs the live version nothing.
 */
static __always_inline int nothing(void *ctx)
{
	bpf_get_func_ip(ctx);
	return 0;
}

SEC("hotfix/fentry")
int fentry(void *ctx)
{
	dispatch(ctx);
	return nothing(ctx);
}

SEC("hotfix/fexit")
int fexit(void *ctx)
{
	dispatch(ctx);
	return nothing(ctx);
}

/* 0: the function runs, or what the dispatcher of an earlier slot decided stands. */
SEC("hotfix/fmod_ret")
int fmod_ret(void *ctx)
{
	dispatch(ctx);
	return nothing(ctx);
}

SEC("hotfix/lsm")
int lsm(void *ctx)
{
	dispatch(ctx);
	return 0;
}
