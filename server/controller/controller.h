// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/controller.h -- what the parts of hotfix-controller share. main.c makes it and
 * every part, in the order of its table, and frees them in reverse.
 *
 * A part x is four functions, the first two as everywhere:
 *
 *	int x_new(struct controller *c, struct x **ret_x, struct fail *reterr_fail);
 *	struct x *x_free(struct x *x);
 *	void x_on_wake(struct x *x, const char *topic);
 *		FLEET_TOPIC_*, "": anything may have changed. A hint: a timer of the part's own asks as well
 *	int x_reload(struct x *x, struct fail *reterr_fail);
 *		SIGHUP: certificates and keys are read again; what was stays if they are no good
 *
 * While a part is made it uses only those before it. At the end the database goes first (who waits
 * for it gets -ECANCELED, and asks for nothing more), then what is parked (PARK_STOPPED), then the
 * parts.
 *
 * Context    loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/fail.h"
#include "server/controller/settings.h"

struct event_base;

struct controller {
	struct event_base *base;
	const struct settings *settings;
	struct database *database; /* database.h */
	struct fleet *fleet;	   /* store/fleet.h; database.c drives it */
	struct park *park; /* topics: "agent:<host id>", "rollout:<id>", "rollouts", "hosts" */
	struct roots *roots;
	struct director *director;
	struct catalogue *catalogue;
	struct reports *reports;
	struct enrol *enrol;
	struct agents *agents;
	struct operators *operators;
	struct breaker *breaker;
	struct owner *owner;
	struct metrics *metrics;
	char actor[SETTINGS_NAME_BYTES + 12]; /* "controller:" and its name */
	uint64_t started_ms;
	bool stopping;
	uint64_t (*real_ms)(void); /* clock_real_ms(), but in tests */
	/* What listens, written down by who opened it; 0: nothing. */
	struct {
		uint16_t agents, enroll, operators, metrics;
	} port;
};
