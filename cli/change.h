// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/change.h -- the commands that change something on the daemon's host.
 *
 * A change is started with one request and followed by its id until it has an outcome.
 * `apply` returns once the version is on trial (loaded, attached, live), or with --wait once
 * the trial has ended. Ctrl-C stops the waiting, not the change (exit 130).
 */
#pragma once

#include "cli/cli.h"

int change_run_import(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_trust_import(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_apply(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_commit(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_rollback(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_disable(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_enforce(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_observe(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_retry(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_resume(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_enable(struct cli *c, const struct args *a, struct fail *reterr_fail);
int change_run_remove(struct cli *c, const struct args *a, struct fail *reterr_fail);
