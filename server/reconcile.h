// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/reconcile.h -- at start: what the kernel holds against what the store
 * says, and every change that was open when the last hotfixd ended.
 *
 *	kernel		store			what is done
 *	committed N	committed N		adopted
 *	trial M		committed M		its commit was durable: its gate store is made
 *	trial M		open change of M	goes on while its lease lives, else rolled back
 *	committed N	committed M		the kernel is right: the store is corrected
 *	nothing, part	committed N		applied again, or retired (server/restore.h)
 *	something	nothing			shown, left running
 *	-		open, other boot	the host went down in that change: quarantined,
 *						unless it had been committed here before
 *	-		open, nothing of it	undone, recorded as interrupted
 *
 * Context    loop thread; one survey worker, then decisions without blocking.
 */
#pragma once

#include <stddef.h>

#include "server/hotfix.h"

struct reconcile;
struct workers;

/* Has a worker look at the kernel, while the store is opened. */
int reconcile_look(struct workers *workers, struct reconcile **ret_reconcile);
/* adopted: hot-fixes found live. Called once, when everything is decided; what the kernel lost
 * is marked for server/restore.h. */
typedef void (*reconcile_done_fn)(size_t adopted, void *cookie);

int reconcile_start(struct reconcile *rc, struct hotfixes *all, reconcile_done_fn done,
		    void *cookie);
struct reconcile *reconcile_free(struct reconcile *rc); /* when its workers are gone */

DEFINE_AUTO(struct reconcile, reconcile_free)
