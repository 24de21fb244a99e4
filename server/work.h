// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/work.h -- the worker's side of server/worker.h: verify the bundle again,
 * from the very bytes that are then loaded, do one thing to the kernel, answer, exit.
 */
#pragma once

#include <stdbool.h>

/* Exit status: 0 when an answer was written. */
/* Has whoever started this process given it a request? */
bool work_is_worker(void);
int work_main(void);
