// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/judge.h"

#include <math.h>
#include <stdio.h>

const char *judge_verdict_name(enum judge_verdict verdict)
{
	static const char *const names[] = {[JUDGE_PASS] = "pass",
					    [JUDGE_INCONCLUSIVE] = "inconclusive",
					    [JUDGE_FAIL] = "fail"};

	return names[verdict];
}

void judge_add(struct judge_sum *sum, const struct judge_sample *sample)
{
	if (!sample->known)
		return;
	sum->hosts++;
	sum->value += sample->value;
	sum->base += sample->base;
}

/* NULL: this much can be judged. */
static const char *lacking(const struct judge_metric *m, const struct judge_sum *sum,
			   const char *none, const char *few)
{
	if (!sum->hosts)
		return none;
	if (!isfinite(sum->value) || !isfinite(sum->base))
		return "what was reported is not a number";
	if (!(sum->base > 0) || sum->base < m->samples)
		return few;
	return NULL;
}

struct judge_finding judge_metric(const struct judge_metric *m, const struct judge_sum *treated,
				  const struct judge_sum *control)
{
	struct judge_finding f = {
		.verdict = JUDGE_INCONCLUSIVE, .value = NAN, .control = NAN, .limit = NAN};
	const char *why;

	snprintf(f.metric, sizeof(f.metric), "%s", m->name);
	why = lacking(m, treated, "no host that has it has reported this",
		      "too few samples of the hosts that have it");
	if (!why) {
		f.value = treated->value / treated->base;
		why = lacking(m, control, "no host without it has reported this",
			      "too few samples of the hosts without it");
	}
	if (!why) {
		f.control = control->value / control->base;
		if (!(f.control > 0))
			why = "zero on the hosts without it: there is nothing to compare with";
	}
	if (why) {
		snprintf(f.note, sizeof(f.note), "%s", why);
		return f;
	}
	f.limit = f.control * m->ratio;
	if (f.limit < f.control + m->guard)
		f.limit = f.control + m->guard;
	f.verdict = f.value <= f.limit ? JUDGE_PASS : JUDGE_FAIL;
	return f;
}
