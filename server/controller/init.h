// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/init.h -- `hotfix-controller init`: what a fleet begins with. Two authorities, of
 * hosts and of operators, certificates for the listeners, the director's and the status key,
 * the database, and one admin.
 *
 * Context    before the loop; blocks.
 * Errors     FAIL_CONFLICT something of it is there already: nothing is ever overwritten.
 */
#pragma once

#include "lib/fail.h"

void init_usage(void);
int init_main(int argc, char **argv, struct fail *reterr_fail);
