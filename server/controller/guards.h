// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/guards.h -- what holds rollouts or hosts back on an operator's word: the stopped
 * line, freezes, and versions that are under quarantine in the whole fleet. A copy of the
 * guards of store/fleet.h, asked by time.
 *
 * A freeze with scope {"hotfix":NAME|absent} holds all rollouts of that hot-fix, or all; with
 * "target":selector as well, only the hosts that match.
 *
 * Context    any; no I/O.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"

#define GUARDS_WHY_BYTES 200

struct fleet_answer;
struct guards;

/* The line when it is stopped, or a freeze. Its texts live as long as the guards. */
struct guards_one {
	const char *name, *actor, *reason; /* name "": the line */
	uint64_t from_ms, until_ms;	   /* 0: from the beginning, without an end */
	const json_t *scope;		   /* NULL: it cannot be read, and holds everything */
};

/* Of the answer of fleet_guards(); what cannot be read holds everything. NULL: no memory. */
struct guards *guards_new(struct fleet_answer *a);
struct guards *guards_free(struct guards *g);

/* NULL: it is not stopped. */
const struct guards_one *guards_line(const struct guards *g);
/* The freeze that holds rollouts of the hot-fix, of several the one that ends last; NULL: none. */
const struct guards_one *guards_frozen(const struct guards *g, const char *hotfix,
				       uint64_t now_ms);
/* All freezes that concern the hot-fix and have not ended, from *at = 0 on; NULL: no more. */
const struct guards_one *guards_next(const struct guards *g, const char *hotfix,
				     uint64_t now_ms, size_t *at);
/* Which, by whom, until when and why. */
void guards_describe(const struct guards_one *one, char ret_text[GUARDS_WHY_BYTES]);
/* The freeze that holds such a host; NULL: none. */
const struct guards_one *guards_hold(const struct guards *g, const char *hotfix,
				     const json_t *labels, uint64_t now_ms);
/* Which, in a word or two. */
#define GUARDS_NAME_BYTES 48
const char *guards_name(const struct guards_one *one, char ret_text[GUARDS_NAME_BYTES]);
/* Which of those that hold only some hosts are in force: hosts are to be looked at again when it changes. */
uint64_t guards_targets(const struct guards *g, uint64_t now_ms);
bool guards_quarantined(const struct guards *g, const uint8_t sha256[32]);

DEFINE_AUTO(struct guards, guards_free)
