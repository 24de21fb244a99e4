// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/plain.h -- text of strangers before a person sees it: whether it is plain, and making
 * it so. Plain is valid UTF-8 without what a terminal or browser obeys instead of showing:
 * control characters (C0, DEL, C1), line separators, zero-width characters, and marks that
 * reorder a line. Line breaks and tabs count as plain only with lines.
 *
 * Context    any
 */
#pragma once

#include <stdbool.h>

bool plain_is(const char *s, bool lines);
/* In place, never longer: what is not plain becomes '?', an unwanted line break or tab ' '. */
void plain_make(char *s, bool lines);
/*
 * A spreadsheet would calculate it: it begins with '=', '+', '-' or '@' (or with a blank before
 * these) and is neither "-" alone nor a number.
 */
bool plain_is_formula(const char *s);
