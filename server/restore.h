// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/restore.h -- brings back what was committed and is not in the kernel any more: after a
 * boot, or because somebody took it out. A version that the running kernel no longer needs (its
 * manifest's kernels) is retired instead.
 *
 * After a boot hot-fixes marked critical come at once, and hotfixd says that it is ready when
 * they are in; the others come when the host has been up for [boot] delay, so that an
 * administrator can reach it first.
 *
 * Context    loop thread; each restore is a change "restore" (server/change.h).
 */
#pragma once

#include "server/hotfix.h"

typedef void (*restore_done_fn)(void *cookie);

/* h is to be restored, for this reason, with the next restore_run() or restore_start(). */
void restore_mark(struct hotfix *h, const char *reason);
/* All that are marked; done comes once, when the critical ones have been tried. */
void restore_start(struct hotfixes *all, restore_done_fn done, void *cookie);
/* All that are marked, now. */
void restore_run(struct hotfixes *all);
struct restore *restore_free(struct restore *r);
