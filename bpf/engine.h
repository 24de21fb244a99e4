// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/engine.h -- changes the kernel: loads versions, makes and removes slots,
 * registers congestion controls. Every call runs in a worker process that may be
 * killed at any point; pins under <bpffs>/<name>/ are its only result:
 *
 *	gate				the hot-fix's gate (bpf/gate.h)
 *	slots/<type>:<target>[:n]/	one hook; n counts further programs on one target
 *		link			the attached dispatcher
 *		dispatcher		its program
 *		versions		PROG_ARRAY, index -> version's program
 *		calls			per CPU array, index -> calls dispatched to it
 *	slots/struct_ops:tcp_congestion_ops/	see bpf/tcp_cc.h
 *		ops, link		the registration (before Linux 6.4 without link)
 *		versions_<member>	one PROG_ARRAY per member
 *		calls
 *	v<index>/			one version: its programs and the maps of hotfix.bpf.h
 *		<program>
 *		overlap/<slot>/		a sleepable one: "program"; "link" while attached
 *
 * The order that keeps a crash harmless: stage() changes nothing that runs; the
 * loop stores the gate; settle() brings what no gate controls (sleepable programs,
 * registration of the ops and what uses it, the default congestion control) into line.
 *
 * Context    worker process, blocking (10 to 500 ms; a hostile object up to a minute in the
 *            verifier). CAP_BPF, CAP_PERFMON; CAP_NET_ADMIN for the default.
 * Errors     FAIL_INCOMPATIBLE (this host cannot, says why), FAIL_LOAD (log kept),
 *            FAIL_ATTACH, FAIL_CONFLICT (name clash), FAIL_INTERNAL.
 * Ownership  ret_ JSON documents are new references.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/fail.h"
#include "lib/hook.h"

#define ENGINE_LOG_BYTES (1U << 20)

struct engine {
	const char
		*bpffs; /* folder in a bpffs that belongs to hotfixd, e.g. /sys/fs/bpf/hotfix */
	char *log;	/* ENGINE_LOG_BYTES: verifier and libbpf text of the last load */
};

struct engine_version {
	const char *name;
	uint64_t serial;
	uint8_t digest[32]; /* SHA-256 of object, checked by the caller */
	const uint8_t *object;
	size_t object_len;
	const struct hook *hooks; /* as audited and declared */
	size_t n_hooks;
	bool accept_preemption_leak;
	bool cc_own_state; /* "state":"own" */
	bool cc_default;   /* become net.ipv4.tcp_congestion_control */
};

/*
 * Loads through the verifier, attaches nothing, leaves nothing.
 * Report: {"hooks":[{"type","target","program","slot","attach_as","attach_target",
 * "kind":"dispatcher"|"overlap"|"struct_ops","insns","jited_bytes","ok":bool,"why":null|text}],
 * "load_ms":N,"needs_settle":bool,"sockets"?:cc_left_report()}. attach_as: lsm or fmod_ret for deny hooks, as this host
 * needs.
 */
int engine_check(struct engine *e, const struct engine_version *v, json_t **ret_report,
		 struct fail *reterr_fail);
/* Loads, makes missing slots, enters the version as index. Same report. On failure nothing
 * stays. */
int engine_stage(struct engine *e, const struct engine_version *v, uint32_t index,
		 json_t **ret_report, struct fail *reterr_fail);
/*
 * Makes what the gate does not control match what the gate shows, which is read under the
 * hot-fix's lock: whoever settles last has settled on what is live then. Make before break.
 * Report of this and the next two: {"sockets"?:cc_left_report()} (bpf/cc_leave.h).
 */
int engine_settle(struct engine *e, const char *name, json_t **ret_report,
		  struct fail *reterr_fail);
/* Takes one version out, and what else is half made; slots that no version uses any more are
 * detached. */
int engine_unstage(struct engine *e, const char *name, uint32_t index, json_t **ret_report,
		   struct fail *reterr_fail);
/* Takes all of the hot-fix out of the kernel; returns when nothing of it is invoked any more.
 */
int engine_remove(struct engine *e, const char *name, json_t **ret_report,
		  struct fail *reterr_fail);
/*
 * What the kernel holds, read from pins, never from their names alone:
 * {"hotfixes":[{"name","committed","trial","live","deadline_ns","cc_previous",
 *   "versions":[{"index","serial","digest":hex,"cc_name"?}],
 *   "slots":[{"slot","type","target","kind","attached":bool,"indexes":[..],"recursion_misses",
 *     "cc_name"?,"default"?:bool (struct_ops)}],
 *   "settled":bool (false: engine_settle() on the live index has something to do),
 *   "half_made":index (0: none; else engine_unstage() on it has something to do),
 *   "problems":[text]}]}
 */
int engine_survey(struct engine *e, json_t **ret_survey, struct fail *reterr_fail);

/* Loop-safe reads, no capability: calls per index of one slot (name of its folder). */
int engine_calls(const char *bpffs, const char *name, const char *slot, uint64_t ret_calls[8]);
