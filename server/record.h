// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/record.h -- what makes the audit log hard to forge and hard to overlook: the host
 * key, which is made at the first start and signs checkpoints of it, and the journal, to which each
 * row is mirrored with its fields (HOTFIXD_SEQ, _ACTION, _SUBJECT, _RESULT, _UID, _HASH,
 * _DETAIL). Also keeps trusted time by the hour, and tells once when the fleet's status is stale.
 *
 * Context    loop thread. Where there is no journal nothing is sent; what cannot be signed or
 *            sent is logged, and holds nothing up.
 */
#pragma once

#include <event2/event.h>

#include "lib/cleanup.h"
#include "server/events.h"
#include "store/key.h"
#include "store/store.h"

#define RECORD_CHECKPOINT_ROWS \
	64 /* at most this many are not signed for yet, and at most an hour */

struct record; /* NULL is one without a host key */

int record_new(struct event_base *base, struct store *s, struct events *events,
	       const char *state_dir, struct record **ret_record);
/* What is done by the hour is done a first time, once nobody waits for it: it goes to the disk. */
void record_start(struct record *r);
/* With a last checkpoint. */
struct record *record_free(struct record *r);
const struct key *record_host(const struct record *r); /* NULL: it could not be read or made */
const char *record_host_id(const struct record *r);    /* "" then */
/* The head as it is now, signed; NULL: out of memory, or no host key. */
char *record_head(struct record *r);

DEFINE_AUTO(struct record, record_free)
