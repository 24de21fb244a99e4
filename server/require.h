// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/require.h -- which live hot-fix requires which (store/manifest.h). Applying asks it once, in
 * server/policy.h; the way back of what others require is open, and says whom it leaves behind.
 *
 * Context    loop thread; reads the bundle of a live version once, and keeps the names.
 * Errors     what cannot be read requires nothing: no way back waits for it, or fails by it.
 * Ownership  arrays are new references, NULL when out of memory.
 */
#pragma once

#include <stddef.h>

#include "server/hotfix.h"

struct manifest; /* store/manifest.h */

/* Kept as what the version of m requires, which is about to be live. */
void require_keep(struct hotfix *h, const struct manifest *m);
/* The names of the live hot-fixes that require name. */
json_t *require_by(struct hotfixes *all, const char *name);
/* What serial of h requires and is not live; serial 0 requires nothing. */
json_t *require_missing(struct hotfix *h, uint64_t serial);

/* "b requires a, and runs on without it", of all whom h leaves behind when it goes; "": nobody. */
const char *require_left_behind(struct hotfix *h, char *out, size_t room);
/* "requires a, which is not live", of serial; "": nothing is missing. */
const char *require_complaint(struct hotfix *h, uint64_t serial, char *out, size_t room);

/* "a", "a and b", "a, b and c", and of many "a, b, c and 9 more"; cut to room. */
const char *require_names(const json_t *names, char *out, size_t room);
