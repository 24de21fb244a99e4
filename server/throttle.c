// SPDX-License-Identifier: BSD-2-Clause
#include "server/throttle.h"

#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

bool throttle_pass(struct throttle *t, uint32_t uid, const char *what, uint64_t now_ms,
		   struct throttle_left_out *ret_left_out)
{
	size_t at = THROTTLE_ENTRIES_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(t->entries); i++) {
		if (t->entries[i].until_ms && t->entries[i].uid == uid &&
		    strcmp(t->entries[i].what, what) == 0) {
			at = i;
			break;
		}
		if (at == THROTTLE_ENTRIES_MAX && t->entries[i].until_ms <= now_ms)
			at = i;
	}
	if (at == THROTTLE_ENTRIES_MAX) {
		t->others_left_out++;
		return false;
	}
	if (t->entries[at].until_ms > now_ms) {
		t->entries[at].left_out++;
		return false;
	}
	*ret_left_out = (struct throttle_left_out){.others = t->others_left_out};
	t->others_left_out = 0;
	if (t->entries[at].uid == uid && strcmp(t->entries[at].what, what) == 0)
		ret_left_out->same = t->entries[at].left_out;
	else
		ret_left_out->others += t->entries[at].left_out;
	t->entries[at].until_ms = now_ms + THROTTLE_MS;
	t->entries[at].left_out = 0;
	t->entries[at].uid = uid;
	snprintf(t->entries[at].what, sizeof(t->entries[at].what), "%s", what);
	return true;
}
