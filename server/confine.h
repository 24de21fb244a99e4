// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/confine.h -- what the loop may ask of the kernel from here on: files, its socket and
 * memory, and of bpf(2) only what uses descriptors that are there. The only user of libseccomp.
 *
 * Whatever starts programs or reaches into others ends the process; the rest fails (EPERM).
 *
 * Context    once, when privileges are given up; for good. It holds for every thread that there
 *            is, and no other may be started.
 * Errors     -errno: then the process must not go on.
 */
#pragma once

#include <stdbool.h>

/* fleet: it is a member of one, and has connections to its controllers. */
int confine_loop(bool fleet);
