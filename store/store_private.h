// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/store_private.h -- what the files behind store/store.h share.
 *
 * Context    as store/store.h.
 */
#pragma once

#include <stdbool.h>

#include "store/sql.h"
#include "store/store.h"

struct store {
	struct sql *q;
	bool audited; /* the transaction that is open writes audit rows */
	void (*on_audit)(void *cookie);
	void *on_audit_cookie;
};

/* A transaction of one function, unless the caller has one open already. */
int store_enter(struct store *s, bool *ret_mine);
int store_leave(struct store *s, bool mine, int r);
/* One row, or -ENOENT; the caller frees rows either way. */
int store_first(struct sql_rows *rows);
/* The blob of the first row, a copy with a 0 behind its end; -ENOENT. */
int store_ask_envelope(struct store *s, const char *query, uint8_t **ret_envelope,
		       size_t *ret_len);
/* Copies what fits, never half a character, and makes it plain (lib/plain.h). */
void store_cut(char *out, size_t room, const char *text);
