// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/load.h -- a version's object in the kernel: opened from memory, its programs set
 * to the targets of this host, verified and loaded; nothing attached. And why that failed,
 * in words.
 *
 * Context    worker process, blocking (10 to 500 ms; a hostile object keeps the verifier
 *            busy for a minute).
 * Errors     FAIL_INCOMPATIBLE this host cannot; FAIL_LOAD libbpf or the verifier
 *            refused (e->log has their words); FAIL_BAD_OBJECT hooks differ.
 */
#pragma once

#include <jansson.h>

#include "bpf/engine.h"
#include "bpf/ops.h"
#include "bpf/target.h"
#include "lib/cleanup.h"

#define LOAD_SLOT_BYTES (HOOK_TARGET_BYTES + 32)

struct bpf_object;

struct load_hook {
	const struct hook *hook;
	struct target target;
	struct bpf_program *program; /* NULL for struct_ops: see ops */
	char slot[LOAD_SLOT_BYTES];  /* "<type>:<target>[:n]" */
	uint32_t btf_id;	     /* of the target, once loaded */
	uint32_t btf_obj_id;
	uint32_t insns, jited_bytes;
};

struct load {
	struct bpf_object *obj;
	struct target_host host;
	struct load_hook hooks[HOOK_MAX]; /* in the object's order: of two programs on one
					   * target the second runs first */
	size_t n_hooks;
	struct ops ops; /* n_members 0: no congestion control */
	uint64_t load_ms;
};

int load_version(const struct engine *e, const struct engine_version *v, struct load **ret_load,
		 struct fail *reterr_fail);
struct load *load_free(struct load *l);
/* The "hooks" and "load_ms" of engine_check()'s report. */
json_t *load_report(const struct load *l);

DEFINE_AUTO(struct load, load_free)
