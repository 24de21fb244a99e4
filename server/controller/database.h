// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/database.h -- the fleet's database on the loop: drives store/db.h, and knows since
 * when it is away, and since when nothing can be stored.
 *
 * Context    loop thread.
 * Errors     of fleet_open(); a server that is not there yet is none.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct event_base;
struct fleet;
struct database;

/* on_wake: as db_on_wake(). *ret_fleet is the database's. */
int database_new(struct event_base *base, const char *where,
		 void (*on_wake)(const char *topic, void *cookie), void *cookie,
		 struct database **ret_database, struct fleet **ret_fleet,
		 struct fail *reterr_fail);
struct database *database_free(struct database *d);
/* 0: it answers; else for so long it has not, and why. */
uint64_t database_away_ms(struct database *d, struct fail *ret_why);

struct database_writes {
	uint64_t failing_ms;   /* 0: the last one was stored; else none was for so long */
	uint64_t failed_up_ms; /* clock_up_ms() when one last failed; 0: never */
	struct fail why;       /* it failed, as long as they do */
};

void database_writes(const struct database *d, struct database_writes *ret_writes);

DEFINE_AUTO(struct database, database_free)
