// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/judge.h -- do hosts that have a version fare worse than those of the same
 * stratum that do not: one metric as shares of sums. Owns what a verdict is.
 *
 *	limit = the larger one of  control x ratio  and  control + guard
 *
 * The ratio alone would condemn a rise from 0.01 to 0.02 %, the guard alone is blind to large
 * figures. Too little of either side, what is not a number, and a control of zero prove nothing:
 * they are inconclusive and never pass.
 *
 * Context    any; no clock, no memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JUDGE_NAME_BYTES 64
#define JUDGE_NOTE_BYTES 96

enum judge_verdict {
	JUDGE_PASS,
	JUDGE_INCONCLUSIVE,
	JUDGE_FAIL
}; /* the worst is the largest */

struct judge_metric {
	char name[JUDGE_NAME_BYTES];
	double ratio, guard;
	double samples; /* the base of each side is at least this */
};

/* What one host measured since its state last changed, such as segments sent again of all. */
struct judge_sample {
	bool known;
	double value, base;
};

struct judge_sum {
	size_t hosts;
	double value, base;
};

struct judge_finding {
	enum judge_verdict verdict;
	char metric[JUDGE_NAME_BYTES];
	double value, control, limit; /* NaN: none */
	char note[JUDGE_NOTE_BYTES];
};

const char *judge_verdict_name(enum judge_verdict verdict);
void judge_add(struct judge_sum *sum, const struct judge_sample *sample);
struct judge_finding judge_metric(const struct judge_metric *m, const struct judge_sum *treated,
				  const struct judge_sum *control);
