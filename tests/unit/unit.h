// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/unit.h -- cmocka with its includes, and a scratch folder per program.
 * Test names are sentences.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define assert_ok(call) assert_int_equal(call, 0)

static char unit_folder[64];

/* PATH inside the scratch folder; four may be in use at once. */
__attribute__((unused)) static const char *unit_path(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", unit_folder, name);
	return p;
}

static int unit_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

__attribute__((unused)) static int unit_setup(void **state)
{
	(void)state;
	snprintf(unit_folder, sizeof(unit_folder), "/tmp/hotfixd-unit-XXXXXX");
	return mkdtemp(unit_folder) ? 0 : -1;
}

__attribute__((unused)) static int unit_teardown(void **state)
{
	(void)state;
	return nftw(unit_folder, unit_remove, 16, FTW_DEPTH | FTW_PHYS);
}
