// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/slot.h -- one hook of one hot-fix: the dispatcher attached to it and the array
 * of versions that it calls. <bpffs>/<name>/slots/<slot>/ has
 *
 *	link		the attached dispatcher; without it the slot is half made
 *	dispatcher	its program, so that who reads the slot needs no CAP_SYS_ADMIN
 *	versions	PROG_ARRAY, index -> version's program
 *	calls		per CPU array, index -> calls dispatched to it
 *
 * Context    worker process; attaching and detaching block 10 to 500 ms.
 * Errors     FAIL_ATTACH with the reason; FAIL_LOAD; FAIL_CONFLICT when what is pinned
 *            is not the slot it should be.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/gate.h"
#include "bpf/load.h"
#include "lib/fail.h"

/* Makes the slot when it is missing or half made, and enters the hook's program. */
int slot_enter(const char *bpffs, const char *name, const struct gate *g,
	       const struct load_hook *lh, uint32_t index, struct fail *reterr_fail);
/* Takes one entry out; no entry, no slot is fine. */
int slot_clear(const char *bpffs, const char *name, const char *slot, uint32_t index);
/* Detaches and removes; returns when the dispatcher is not invoked any more. */
int slot_remove(const char *bpffs, const char *name, const char *slot);

/* Ids of the programs in a PROG_ARRAY, 0 where there is none; -EUCLEAN it is another map. */
int slot_array_ids(int fd, uint32_t ret_ids[GATE_VERSIONS]);
/* Why attaching to t ended with err (positive). */
int slot_explain_attach(const struct target *t, int err, struct fail *reterr_fail);
/* path NULL: not pinned. */
int slot_array_make(const char *path, int *ret_fd);
int slot_calls_make(const char *path, int *ret_fd);
