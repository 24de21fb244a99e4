// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/route.h -- the path of a request to an API: "/v1/hotfixes/NAME/apply" is the segments
 * "hotfixes", "NAME", "apply". Names are never decoded: their characters need no %.
 *
 * Context    any
 * Errors     -ENOENT no such path can be
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Splits path in place; segments point into it. At least one. */
int route_split(char *path, const char **segment, size_t max, size_t *ret_n);
/* A pattern is segments with slashes between them; "*" is any one segment. */
bool route_matches(const char *pattern, const char *const *segment, size_t n);
