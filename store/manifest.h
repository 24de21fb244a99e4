// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/manifest.h -- everything a signer says about one version of a hot-fix.
 *
 * Payload (DSSE_TYPE_MANIFEST), "format":1. Fields: name, serial, label, title, description,
 * cves[], severity (low|medium|high|critical), created, expires (of the first attach),
 * object{sha256,size}, hooks[{type,target,program,sleepable,cc_name}],
 * kernels{ranges:[{from,below}],arch[],fixed_in[]}, requires[], conflicts[],
 * trial{default_s,min_s,max_s,min_calls}, health{...}, impact, accept{preemption_leak},
 * struct_ops{state:"compatible"|"own",default:bool}, critical (apply before the network).
 * README "Manifest" lists every field with type, bounds and default.
 *
 * Errors     FAIL_BAD_FORMAT naming the field.
 * Ownership  strings and arrays belong to the manifest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "lib/hook.h"

#define MANIFEST_BYTES_MAX (256U << 10)
#define MANIFEST_LIST_MAX  64

struct manifest_range { /* kernel releases "6.1" <= r < "6.13"; "" means open */
	char from[32], below[32];
};

struct manifest {
	json_t *doc; /* the parsed payload; the char * below point into it */
	const char *name, *label, *title, *description, *severity, *impact;
	uint64_t serial, created_ms, expires_ms; /* 0: none */
	const char *cves[MANIFEST_LIST_MAX];
	size_t n_cves;
	uint8_t object_sha256[32];
	uint64_t object_bytes;
	struct hook hooks[HOOK_MAX];
	size_t n_hooks;
	struct manifest_range ranges[MANIFEST_LIST_MAX];
	size_t n_ranges;
	const char *arch[8];
	size_t n_arch;
	const char *fixed_in[MANIFEST_LIST_MAX];
	size_t n_fixed_in;
	const char *requires[MANIFEST_LIST_MAX], *conflicts[MANIFEST_LIST_MAX];
	size_t n_requires, n_conflicts;
	uint64_t trial_default_ms, trial_min_ms, trial_max_ms, trial_min_calls;
	const json_t *health; /* NULL or object; its checks are read by server/health */
	bool accept_preemption_leak, critical;
	bool cc_own_state, cc_default;
};

int manifest_parse(const void *payload, size_t len, struct manifest **ret_manifest,
		   struct fail *reterr_fail);
struct manifest *manifest_free(struct manifest *m);
/* Compares "6.12.107" style releases by their leading numbers, ignoring "-cloud-amd64". */
int manifest_release_cmp(const char *a, const char *b);
/* 0, or FAIL_INCOMPATIBLE with the reason: arch, range, or fixed_in (retired here). */
int manifest_fits_kernel(const struct manifest *m, const char *release, const char *machine,
			 struct fail *reterr_fail);

DEFINE_AUTO(struct manifest, manifest_free)
