// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/show.h -- the commands that look: what runs, what is stored, what happened, what this
 * host can. With -j they print the daemon's document.
 */
#pragma once

#include "cli/cli.h"

int show_run_status(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_history(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_events(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_audit(struct cli *c, const struct args *a, struct fail *reterr_fail);
int show_run_trust(struct cli *c, const struct args *a, struct fail *reterr_fail);
/* Exit 5 when this host (or a hot-fix on it) cannot. */
int show_run_doctor(struct cli *c, const struct args *a, struct fail *reterr_fail);
