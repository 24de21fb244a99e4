// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/view.h -- a rollout while it goes: on a terminal a view that is drawn over itself, else a line for
 * each thing that happens; with -j each state as one JSON document a line.
 *
 * Ends with 0 succeeded, 1 failed, 7 rolled back, 9 aborted or superseded, or with --until-paused
 * paused for somebody to decide; 8 when --wait is over; 130 by Ctrl-C, which leaves the rollout alone.
 */
#pragma once

#include "cli/cli.h"

int view_run(struct cli *c, const struct args *a, struct fail *reterr_fail);
int view_rollout(struct cli *c, const char *id, const struct args *a, struct fail *reterr_fail);
