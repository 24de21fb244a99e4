// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/doctor.h -- what this host can do, and how it is known. Support is probed
 * by really loading; a version number is never taken for an answer.
 *
 * Context    worker process or CLI; loads tiny programs, attaches none; < 1 s.
 * Errors     -ENOMEM only: a check that cannot be made is a result ("unknown").
 */
#pragma once

#include <jansson.h>

#include "lib/hook.h"

/*
 * {"kernel":{"release","arch","version"},
 *  "checks":[{"name":"btf"|"bpffs"|"lsm"|"trampolines"|"struct_ops"|"jit"|"lockdown"|"preemption"|
 *    "capabilities"|"unprivileged_bpf"...,"status":"ok"|"warn"|"fail"|"unknown",
 *    "value":text,"how":text (source of the fact),"why":text|null,"hint":text|null}],
 *  "can":{"fentry":bool,"fexit":bool,"fmod_ret":bool,"lsm":bool,"struct_ops":bool}}
 */
int doctor_host(const char *bpffs, json_t **ret_report);

/*
 * For each hook, will it attach here:
 * [{"type","target","ok","attach_as","kind","why","free_slots":N|null}]
 */
int doctor_hooks(const char *bpffs, const struct hook *hooks, size_t n_hooks,
		 json_t **ret_report);

/* Facts others decide on. */
enum doctor_preempt { DOCTOR_PREEMPT_NO, DOCTOR_PREEMPT_YES, DOCTOR_PREEMPT_UNKNOWN };
enum doctor_preempt doctor_preempt(char *ret_how, size_t len);
bool doctor_lsm_has_bpf(char *ret_list, size_t len);
