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

#define DOCTOR_RELEASE_BYTES 65

/*
 * {"kernel":{"release","upstream","arch","version"},
 *  "checks":[{"name":"btf"|"bpffs"|"lsm"|"trampolines"|"struct_ops"|"jit"|"lockdown"|"preemption"|
 *    "capabilities"|"unprivileged_bpf"...,"status":"ok"|"warn"|"fail"|"unknown",
 *    "value":text,"how":text (source of the fact),"why":text|null,"hint":text|null}],
 *  "can":{"fentry":bool,"fexit":bool,"fmod_ret":bool,"lsm":bool,"struct_ops":bool}}
 */
int doctor_host(const char *bpffs, json_t **ret_report);

/*
 * For each hook, will it attach here; accept_preemption_leak as the manifest says:
 * [{"type","target","program","ok","status":"ok"|"warn"|"fail","attach_as",
 *   "attach_target":kernel function|null,"kind","why":text|null,"hint":text|null,
 *   "free_slots":N|null (at most that many),
 *   "needs_accept":bool (fails only because nobody accepted the leak)}]
 */
int doctor_hooks(const struct hook *hooks, size_t n_hooks, bool accept_preemption_leak,
		 json_t **ret_report);

/* Facts others decide on. */
enum doctor_preempt { DOCTOR_PREEMPT_NO, DOCTOR_PREEMPT_YES, DOCTOR_PREEMPT_UNKNOWN };
enum doctor_preempt doctor_preempt(char *ret_how, size_t len);
bool doctor_lsm_has_bpf(char *ret_list, size_t len);
/*
 * The upstream release of the running kernel, which a manifest's ranges speak of. uname -r of
 * Debian 12 and Ubuntu ("6.1.0-40-amd64") leaves out the last number: it is in uname -v
 * ("... Debian 6.1.153-1 ...") or /proc/version_signature.
 */
void doctor_release(char ret_release[DOCTOR_RELEASE_BYTES]);
/* The same from those texts; signature may be "". */
void doctor_upstream(const char *release, const char *version, const char *signature,
		     char ret_release[DOCTOR_RELEASE_BYTES]);
