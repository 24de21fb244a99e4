// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/pg_group.h -- one PostgreSQL server (tests/unit/pg.h) for a group of tests, in its
 * scratch folder: the group's set-up and tear-down.
 */
#pragma once

#include "tests/unit/pg.h"
#include "tests/unit/unit.h"

static struct pg pg;

static int pg_group_setup(void **state)
{
	const char *wrong;

	signal(SIGPIPE, SIG_IGN);
	if (unit_setup(state) < 0)
		return -1;
	wrong = pg_new(&pg, unit_folder);
	if (wrong)
		fprintf(stderr, "PostgreSQL: %s\n", wrong);
	return wrong ? -1 : 0;
}

static int pg_group_teardown(void **state)
{
	pg_stop(&pg, SIGINT);
	return unit_teardown(state);
}
