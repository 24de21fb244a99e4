// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/overlap.h -- hooks that no dispatcher can serve: sleepable programs, which may not
 * tail-call. Versions are replaced by make-before-break: the new one is attached, then
 * the old one is detached; in between both run, the new one first.
 *
 *	<bpffs>/<name>/v<index>/overlap/<slot>/program
 *					       link	only while it is attached
 *
 * Context    worker process; attaching and detaching block 10 to 500 ms.
 * Errors     FAIL_ATTACH with the reason.
 */
#pragma once

#include <stdint.h>

#include "bpf/load.h"
#include "lib/fail.h"

/* Pins the hook's program for index. */
int overlap_enter(const char *bpffs, const char *name, const struct load_hook *lh,
		  uint32_t index, struct fail *reterr_fail);
/* Attaches all of index (0: none); on failure nothing of it stays attached. */
int overlap_attach(const char *bpffs, const char *name, uint32_t index,
		   struct fail *reterr_fail);
/* Detaches all of index; returns when it is not invoked any more. */
int overlap_detach(const char *bpffs, const char *name, uint32_t index);
