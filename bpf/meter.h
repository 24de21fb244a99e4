// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/meter.h -- what one hot-fix costs, by the kernel's statistics of its dispatchers
 * (which include what they tail-call), registered ops and overlapping programs.
 *
 * Context    loop thread; nothing blocks. Opening costs some 60 system calls for a congestion
 *            control, reading one for each program. meter_on() and
 *            meter_ops() need CAP_SYS_ADMIN and are for a worker, which hands on what it opened;
 *            the rest needs no capability.
 * Errors     -EPERM; -ENOENT the hot-fix has no pins; other -errno.
 * Ownership  a meter keeps the programs it opened, not what they are attached to.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

struct meter;

struct meter_reading {
	uint64_t dispatched; /* calls to the version, counted by its dispatchers */
	uint64_t calls;	     /* by the kernel, of all versions; overlapping programs included */
	uint64_t run_ns;     /* of those; needs meter_on() */
	uint64_t misses;     /* calls of deny hooks that the recursion guard let slip */
	uint64_t programs;   /* sum of their ids: another one for other programs */
	uint32_t deny_hooks; /* of the kind that can miss: fmod_ret */
};

/* The kernel keeps run_ns and calls until *ret_fd is closed. */
int meter_on(int *ret_fd);

#define METER_OPS_MAX 15
/* The programs of its registered ops, which can be found by id only; 0 for most hot-fixes. */
int meter_ops(const char *bpffs, const char *name, int ret_fds[METER_OPS_MAX], size_t *ret_n);

/*
 * index: the version whose dispatched calls count, and whose overlapping programs. ops: what
 * meter_ops() found, which the meter does not take over; -ENODATA when that is missing.
 */
int meter_open(const char *bpffs, const char *name, uint32_t index, const int *ops,
	       size_t n_ops, struct meter **ret_meter);
struct meter *meter_free(struct meter *m);
int meter_read(const struct meter *m, struct meter_reading *ret_reading);

DEFINE_AUTO(struct meter, meter_free)
