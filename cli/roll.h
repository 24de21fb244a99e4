// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/roll.h -- rollouts at the hands of people: what one would do, its start, its state, and what is
 * asked of it. The live view is view.h.
 *
 * A verb is asked of the controller that owns the rollout; the command waits a moment for the state
 * that comes of it, and shows that.
 */
#pragma once

#include "cli/cli.h"

int roll_run_plan(struct cli *c, const struct args *a, struct fail *reterr_fail);
int roll_run_start(struct cli *c, const struct args *a, struct fail *reterr_fail);
int roll_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int roll_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail);
int roll_run_status(struct cli *c, const struct args *a, struct fail *reterr_fail);
int roll_run_verb(struct cli *c, const struct args *a, struct fail *reterr_fail);

/* ---- shared with view.c ---- */

/* The id that was given, else that of the newest rollout. */
int roll_find(struct cli *c, const char *word_or_null, char ret_id[65],
	      struct fail *reterr_fail);
/* "paused (manual, window)" */
void roll_describe_state(const json_t *doc, char *out, size_t room);
/* "bakes another 12 min" or "" */
void roll_describe_wait(const json_t *doc, char *out, size_t room);
/* What it waits for, of what ends by itself: "window: freeze xmas by ann until ..." or "" */
void roll_describe_whys(const json_t *doc, char *out, size_t room);
/* Of a row of its history: "ann", "controller:one", "controller:one for ann" */
void roll_describe_actor(const json_t *row, char *out, size_t room);
/* Of a host: "CALLS: waits for calls: 100 are demanded", or its code alone */
void roll_describe_code(const json_t *host, char *out, size_t room);
/* "3 committed, 1 trial" */
void roll_describe_counts(const json_t *counts, char *out, size_t room);
/* What decided last, if anything did. */
void roll_describe_finding(const json_t *doc, char *out, size_t room);
/* -1: it is under way; else the status to end with. */
int roll_exit(const json_t *doc);
