// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/hook.h -- what a hot-fix hooks: the words shared by manifest (store) and
 * object (bpf), which do not see each other.
 *
 * Shapes     type as in the ELF section: fentry, fexit, fmod_ret, lsm, struct_ops.
 *            target: kernel function (fentry, fexit, fmod_ret), LSM hook without
 *            "bpf_lsm_" (lsm), or the ops type "tcp_congestion_ops" (struct_ops).
 *            program: the C function's name in the object; for struct_ops the name
 *            of the ops variable, and cc_name the algorithm's ".name".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HOOK_TARGET_BYTES  128
#define HOOK_PROGRAM_BYTES 128
#define HOOK_CC_NAME_BYTES 16 /* TCP_CA_NAME_MAX of the kernel, with its NUL */
#define HOOK_MAX	   64 /* hooks of one hot-fix */
#define HOOK_NAME_MAX	   64 /* bytes of a hot-fix name without NUL */

enum hook_type { HOOK_FENTRY, HOOK_FEXIT, HOOK_FMOD_RET, HOOK_LSM, HOOK_STRUCT_OPS };

struct hook {
	enum hook_type type;
	bool sleepable;
	char target[HOOK_TARGET_BYTES];
	char program[HOOK_PROGRAM_BYTES];
	char cc_name[HOOK_CC_NAME_BYTES]; /* struct_ops only, else "" */
};

const char *hook_type_name(enum hook_type type);
int hook_type_parse(const char *name, enum hook_type *ret_type); /* -EINVAL */
bool hook_equal(const struct hook *a, const struct hook *b);

/* Lower case letters, digits and '-', starting with a letter or digit, 1 to
 * HOOK_NAME_MAX bytes: safe as a file name in bpffs, which refuses dots. */
bool hook_name_valid(const char *name);
/* A C identifier of at most max bytes. */
bool hook_symbol_valid(const char *symbol, size_t max);
