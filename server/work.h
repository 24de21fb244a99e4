// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/work.h -- the worker's side of server/worker.h: verify the bundle again,
 * from the very bytes that are then loaded, do one thing to the kernel, answer, exit.
 */
#pragma once

/* Exit status: 0 when an answer was written. */
int work_main(void);
