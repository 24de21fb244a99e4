// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/trial.h -- when a version on trial stays and when it goes: a pure
 * function of facts and time.
 *
 * Context    any; no clock, no memory, no kernel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/health.h"

enum trial_verdict { TRIAL_CONTINUE, TRIAL_COMMIT, TRIAL_ROLLBACK };

struct trial_facts {
	uint64_t now_ms, started_ms; /* CLOCK_MONOTONIC */
	uint64_t length_ms;	     /* commit not before */
	uint64_t max_ms;	     /* without enough calls or evidence, roll back then */
	uint64_t calls, min_calls;   /* dispatched to this version; evidence that it was used */
	bool lease_ended;	     /* the kernel already runs the old version */
	enum health_verdict health;
	const char *health_code; /* of HEALTH_BAD */
};

/* ret_code: a reason code that scripts may match; "" for TRIAL_CONTINUE. */
enum trial_verdict trial_judge(const struct trial_facts *f, const char **ret_code);
