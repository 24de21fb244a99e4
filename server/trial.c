// SPDX-License-Identifier: BSD-2-Clause
#include "server/trial.h"

enum trial_verdict trial_judge(const struct trial_facts *f, const char **ret_code)
{
	uint64_t age_ms = f->now_ms - f->started_ms;

	*ret_code = "";
	if (f->lease_ended) {
		*ret_code = "LEASE_EXPIRED";
		return TRIAL_ROLLBACK;
	}
	if (f->health == HEALTH_BAD) {
		*ret_code = f->health_code;
		return TRIAL_ROLLBACK;
	}
	if (age_ms < f->length_ms)
		return TRIAL_CONTINUE;
	if (f->calls >= f->min_calls && f->health == HEALTH_GOOD) {
		*ret_code = "TRIAL_PASSED";
		return TRIAL_COMMIT;
	}
	if (age_ms < f->max_ms)
		return TRIAL_CONTINUE;
	*ret_code = "NO_EVIDENCE";
	return TRIAL_ROLLBACK;
}
