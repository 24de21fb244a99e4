// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/target.h -- how a declared hook is attached on this host: as what, to which
 * kernel function, by which kind of slot; and which hooks are refused before
 * anything is touched.
 *
 * A deny hook has two ways in: fmod_ret on security_X and lsm on X see the same
 * arguments at the same place. lsm is taken where the kernel's LSM list has bpf: a
 * trampoline skips an fmod_ret program while another task was preempted inside it.
 *
 * Context    worker process; reads /proc, /sys and the kernel's BTF.
 * Errors     FAIL_INCOMPATIBLE with the reason.
 */
#pragma once

#include <stdbool.h>

#include <bpf/libbpf.h>

#include "lib/fail.h"
#include "lib/hook.h"

#define TARGET_NAME_BYTES (HOOK_TARGET_BYTES + 16)
#define TARGET_FUNC_BYTES (TARGET_NAME_BYTES + 16)

enum target_kind { TARGET_DISPATCHER, TARGET_OVERLAP, TARGET_STRUCT_OPS };

struct target {
	enum hook_type as; /* HOOK_LSM for a declared fmod_ret, or the other way round */
	enum target_kind kind;
	enum bpf_prog_type prog_type;
	enum bpf_attach_type attach_type;
	char name[TARGET_NAME_BYTES]; /* what libbpf wants: without "bpf_lsm_" */
	char func[TARGET_FUNC_BYTES]; /* the kernel function that the trampoline goes to */
};

/* What target_decide() goes by for deny hooks; filled by target_host(), or by a test. */
struct target_host {
	bool lsm_bpf;	      /* bpf is in the kernel's LSM list */
	bool preemptible;     /* a task can be preempted inside a program */
	char preempt_how[96]; /* where that is known from */
};

void target_host(struct target_host *ret_host);
int target_decide(const struct target_host *host, const struct hook *h,
		  bool accept_preemption_leak, struct target *ret_target,
		  struct fail *reterr_fail);

const char *target_kind_name(enum target_kind kind);
/* 1 can be traced, 0 cannot (notrace), -ENOENT when tracefs does not say. */
int target_traceable(const char *func);
int target_not_traceable(const struct target *t, struct fail *reterr_fail);
