// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/spread.h -- how far versions have come in a fleet, by what its hosts reported last: which hosts
 * run one, and how many.
 */
#pragma once

#include "cli/cli.h"

/* The hosts that fit both; NULL: all. runs: exactly that version. lacks: neither it nor a later one. */
int spread_filter(const json_t *hosts, const char *runs_or_null, const char *lacks_or_null,
		  json_t **ret_hosts, struct fail *reterr_fail);
/* list, when a context is given */
int spread_list(struct cli *c, struct fail *reterr_fail);
