// SPDX-License-Identifier: BSD-2-Clause
/*
 * A manifest, as it stands behind its signature, and all that is decided by it: which kernels
 * it is for, whether policy lets it in, how long its trial is, what of its health is judged.
 */
#include "tests/fuzz/fuzz.h"

#include <math.h>

#include "lib/plain.h"
#include "server/health.h"
#include "server/policy.h"

static void decide(const struct manifest *m)
{
	static const char *const releases[] = {"6.1.0-40-amd64", "6.12.107", "", "7.2-rc1",
					       "99999999999999999999.1"};
	static const char *const live[] = {"a", "other-hot-fix"};
	struct policy_facts facts = {.manifest = m,
				     .now_ms = 1780000000000,
				     .high_water = 3,
				     .machine = "x86_64",
				     .live = live,
				     .n_live = ARRAY_SIZE(live)};
	struct health_rules rules = health_rules_read(m->health, "psi_cpu,psi_io");
	struct fail f = {0};
	uint64_t ms;

	for (size_t i = 0; i < ARRAY_SIZE(releases); i++) {
		facts.release = releases[i];
		if (policy_may_apply(&facts, &f) < 0)
			fuzz_must(f.code != FAIL_NONE && plain_is(f.message, false));
		else
			fuzz_must(m->serial >= facts.high_water);
	}
	fuzz_must(policy_trial_ms(m, 0, &ms, &f) == 0);
	fuzz_must(ms >= m->trial_min_ms && ms <= m->trial_max_ms);
	policy_trial_ms(m, 60000, &ms, &f);
	for (int i = 0; i < HEALTH_CHECKS_; i++)
		fuzz_must(isfinite(rules.check[i].limit) && rules.check[i].limit >= 0);
	fuzz_must(!rules.check[HEALTH_lease].off_by);
}

FUZZ_TARGET(manifest)
{
	AUTO(manifest_freep) struct manifest *m = NULL;
	struct fail f = {0};

	if (manifest_parse(data, size, &m, &f) < 0) {
		fuzz_must(f.code != FAIL_NONE && f.message[0] && plain_is(f.message, false));
		return 0;
	}
	fuzz_must(hook_name_valid(m->name) && m->serial >= 1 && m->n_hooks >= 1);
	fuzz_must(plain_is(m->label, false) && plain_is(m->title, false) &&
		  plain_is(m->description, true) && plain_is(m->impact, true));
	for (size_t i = 0; i < m->n_hooks; i++)
		fuzz_must(m->hooks[i].target[0] && m->hooks[i].program[0] &&
			  (m->hooks[i].type == HOOK_STRUCT_OPS) == !!m->hooks[i].cc_name[0]);
	decide(m);
	return 0;
}
