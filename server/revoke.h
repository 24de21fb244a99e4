// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/revoke.h -- takes back what runs and is revoked (store/revocation.h, force-rollback): a
 * rollback to the version before, or, where there is none, a disable. Both are the changes of
 * an operator, with the reason of the revocation.
 *
 * Context    loop thread. A hot-fix that is being changed is looked at again when that is over.
 */
#pragma once

#include "server/hotfix.h"

/* After a revocation came, and at start. */
void revoke_run(struct hotfixes *all);
