// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/throttle.h -- how often what one user does may leave a row: once a minute for each
 * user and thing done, so that nobody fills the audit log. A pure core: time is an argument.
 *
 * Context    any
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_MS	     60000
#define THROTTLE_ENTRIES_MAX 64
#define THROTTLE_WHAT_BYTES  48

struct throttle {
	struct {
		uint64_t until_ms; /* 0: unused */
		uint64_t left_out;
		uint32_t uid;
		char what[THROTTLE_WHAT_BYTES];
	} entries[THROTTLE_ENTRIES_MAX];
	uint64_t others_left_out; /* of users who found no entry, or lost theirs */
};

struct throttle_left_out {
	uint64_t same;	 /* rows of this user, of this */
	uint64_t others; /* rows of users of whom nothing more is known */
};

/*
 * May this leave a row? If so, *ret_left_out is what was left out since the row before. Who has
 * many user ids at hand shares THROTTLE_ENTRIES_MAX rows a minute.
 */
bool throttle_pass(struct throttle *t, uint32_t uid, const char *what, uint64_t now_ms,
		   struct throttle_left_out *ret_left_out);
