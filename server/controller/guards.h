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
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"

struct fleet_answer;
struct guards;

/* Of the answer of fleet_guards(); what cannot be read holds everything. NULL: no memory. */
struct guards *guards_new(struct fleet_answer *a);
struct guards *guards_free(struct guards *g);

bool guards_line_stopped(const struct guards *g);
/* *ret_next_ms: when that may change by itself, 0 unknown. */
bool guards_frozen(const struct guards *g, const char *hotfix, uint64_t now_ms,
		   uint64_t *ret_next_ms);
bool guards_hold(const struct guards *g, const char *hotfix, const json_t *labels,
		 uint64_t now_ms);
/* Which of those that hold only some hosts are in force: hosts are to be looked at again when it changes. */
uint64_t guards_targets(const struct guards *g, uint64_t now_ms);
bool guards_quarantined(const struct guards *g, const uint8_t sha256[32]);

DEFINE_AUTO(struct guards, guards_free)
