// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/fleet_private.h -- what the files behind store/fleet.h share: how an operation is made of
 * statements, and how rows are read.
 *
 * Context    as store/fleet.h.
 */
#pragma once

#include "store/bytes.h"
#include "store/fleet.h"

struct fleet {
	struct db *db;
};

#define FLEET_ANY_BYTES(p) (const void *)(p), (size_t)((p) ? BYTES_SHA256 : 0)

/* An answer whose batch waits for its statements; NULL: out of memory. */
struct fleet_answer *fleet_begin(struct fleet *f, fleet_done_fn done, void *cookie);
int fleet_submit(struct fleet_answer *a); /* 0 */
/* A question with one statement. fmt as in db_add(). */
#define FLEET_ASK(f, done, cookie, none, sql, ...)                        \
	({                                                                \
		struct fleet_answer *ask_ = fleet_begin(f, done, cookie); \
                                                                          \
		if (ask_) {                                               \
			ask_->on_none = (none);                           \
			db_add(ask_->batch, sql, __VA_ARGS__);            \
		}                                                         \
		ask_ ? fleet_submit(ask_) : -ENOMEM;                      \
	})

/* The entry goes into the chain with the rest of the batch. */
void fleet_write_down(struct fleet_answer *a, const struct fleet_entry *entry);
void fleet_take_head(struct fleet_answer *a);
struct fleet_audit_list *fleet_audit_list_free(struct fleet_audit_list *l);

/* The next number of those that follow changes; first of all that the batch locks. */
void fleet_count_up(struct fleet_answer *a, const char *counter);
#define FLEET_HOST_CHANGE    "(SELECT value FROM counter WHERE name = 'host')"
#define FLEET_DESIRED_CHANGE "(SELECT value FROM counter WHERE name = 'desired')"
#define FLEET_REQUEST_CHANGE "(SELECT value FROM counter WHERE name = 'request')"

/* The next row of a statement of the answer; which: of next[]. */
bool fleet_next(struct fleet_answer *a, int which, size_t statement, struct db_row *ret_row);
/* 32 bytes, or NULL. */
const uint8_t *fleet_hash(struct db_row row, size_t column);
