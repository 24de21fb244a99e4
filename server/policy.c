// SPDX-License-Identifier: BSD-2-Clause
#include "server/policy.h"

#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"

static bool is_live(const struct policy_facts *f, const char *name)
{
	for (size_t i = 0; i < f->n_live; i++)
		if (strcmp(f->live[i], name) == 0)
			return true;
	return false;
}

int policy_boot_allows(enum policy_boot boot, struct fail *reterr_fail)
{
	switch (boot) {
	case POLICY_BOOT_NORMAL:
		return 0;
	case POLICY_BOOT_NO_APPLY:
	case POLICY_BOOT_OFF:
		fail_set(reterr_fail, FAIL_POLICY,
			 "the kill switch hotfix=%s is set: nothing is applied in this boot",
			 boot == POLICY_BOOT_OFF ? "off" : "no-apply");
		return fail_hint(
			reterr_fail,
			"boot without hotfix= on the kernel command line, or remove the file no-apply from the state directory");
	case POLICY_BOOT_HELD:
		break;
	}
	fail_set(
		reterr_fail, FAIL_POLICY,
		"this host went down twice within an hour: nothing is applied until an operator says so");
	return fail_hint(reterr_fail,
			 "find the cause (hotfixctl history); then hotfixctl resume");
}

int policy_serial_jump(const char *name, uint64_t serial, uint64_t high_water, uint64_t floor,
		       struct fail *reterr_fail)
{
	uint64_t base = high_water > floor ? high_water : floor;

	if (serial <= base || serial - base <= POLICY_SERIAL_JUMP_MAX)
		return 0;
	fail_set(reterr_fail, FAIL_POLICY,
		 "%s@%" PRIu64 " is further above serial %" PRIu64
		 " than one version may go (2^32): it would leave no room for later ones",
		 name, serial, base);
	return fail_hint(reterr_fail,
			 "who signed that? If it is meant: hotfixctl trust rotate --floor");
}

/* word among those of list, which are separated by blanks */
static bool is_one_of(const char *word, const char *list)
{
	size_t len = strlen(word), n;

	for (; *list; list += n) {
		list += strspn(list, " \t,");
		n = strcspn(list, " \t,");
		if (n == len && strncmp(list, word, n) == 0)
			return n > 0;
	}
	return false;
}

int policy_may_take_off(const struct directive *d, const struct policy_take_off_facts *f,
			struct fail *reterr_fail)
{
	char window[CLOCK_DURATION_BYTES];

	if (!f->rollout[0] || strcmp(f->rollout, d->rollout) != 0 || f->serial != d->from)
		fail_set(reterr_fail, FAIL_POLICY,
			 "directive: %s@%" PRIu64 " did not come here by the rollout %s",
			 d->name, d->from, d->rollout);
	else if (f->from_serial)
		fail_set(reterr_fail, FAIL_POLICY,
			 "directive: serial %" PRIu64
			 " of %s was committed here before: that is where a rollback goes",
			 f->from_serial, d->name);
	else if (f->floor)
		fail_set(reterr_fail, FAIL_POLICY,
			 "directive: the root sets a floor for %s: no director takes it off",
			 d->name);
	else if (!f->undo_ms || f->now_ms > f->committed_ms + f->undo_ms)
		fail_set(reterr_fail, FAIL_POLICY,
			 "directive: %s was committed longer ago than [fleet] undo_window (%s)",
			 d->name, clock_format_duration(f->undo_ms, window));
	else
		return 0;
	return fail_hint(reterr_fail,
			 "a revocation that the release keys signed, with "
			 "force-rollback, takes it off; or hotfixctl disable here");
}

int policy_may_direct(const struct directive *d, const struct policy_directive_facts *f,
		      struct fail *reterr_fail)
{
	char stamp[CLOCK_TIMESTAMP_BYTES];

	if (d->host[0] && strcmp(d->host, f->host) != 0)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: for the host %.16s, this one is %.16s", d->host,
				f->host[0] ? f->host : "nobody");
	if (d->group[0] && !is_one_of(d->group, f->groups))
		return fail_set(
			reterr_fail, FAIL_POLICY,
			"directive: for the group %s, to which this host does not belong",
			d->group);
	if (f->now_ms > d->expires_ms)
		return fail_set(reterr_fail, FAIL_EXPIRED, "directive: expired at %s",
				clock_format_timestamp(d->expires_ms, stamp));
	if (f->nonce_used)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: it was carried out before, and counts once");
	if (d->from != f->committed_serial)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: from serial %" PRIu64 ", but %" PRIu64
				" of %s is committed here",
				d->from, f->committed_serial, d->name);
	return 0;
}

/* no-new-apply binds as an expiry does, force-rollback binds always. */
static int check_revoked(const struct policy_facts *f, struct fail *reterr_fail)
{
	if (!f->revoked || (f->back && !f->revoked->rollback))
		return 0;
	fail_set(reterr_fail, FAIL_POLICY, "%s@%" PRIu64 " is revoked: %s", f->manifest->name,
		 f->manifest->serial, f->revoked->reason);
	return fail_hint(reterr_fail, "apply a newer serial, or ask its signers");
}

int policy_may_apply(const struct policy_facts *f, struct fail *reterr_fail)
{
	const struct manifest *m = f->manifest;
	int r = policy_boot_allows(f->boot, reterr_fail);

	if (r < 0)
		return r;
	if (f->quarantined) {
		fail_set(reterr_fail, FAIL_POLICY, "%s@%" PRIu64 " is quarantined here: %s",
			 m->name, m->serial, f->quarantine_reason);
		return fail_hint(reterr_fail,
				 "apply a newer serial; or, when the cause is gone, hotfixctl "
				 "retry %s@%" PRIu64,
				 m->name, m->serial);
	}
	r = check_revoked(f, reterr_fail);
	if (r < 0)
		return r;
	if (f->pinned_other) {
		fail_set(reterr_fail, FAIL_EQUIVOCATION,
			 "%s@%" PRIu64 " is not the version of that serial which the status of "
			 "the fleet names",
			 m->name, m->serial);
		return fail_hint(reterr_fail, "compare with another host: hotfixctl inspect");
	}
	if (m->serial < f->floor) {
		fail_set(reterr_fail, FAIL_DOWNGRADE,
			 "%s@%" PRIu64 " is below the floor %" PRIu64 " that the root sets",
			 m->name, m->serial, f->floor);
		return fail_hint(reterr_fail, "apply serial %" PRIu64 " or newer", f->floor);
	}
	r = f->back ? 0
		    : policy_serial_jump(m->name, m->serial, f->high_water, f->floor,
					 reterr_fail);
	if (r < 0)
		return r;
	/* What ran here and was removed may come again, as a rollback to it might have. */
	if (!f->back && !f->directed && m->serial < f->high_water &&
	    !(f->removed && f->committed_before)) {
		fail_set(reterr_fail, FAIL_DOWNGRADE,
			 "%s@%" PRIu64 " is older than serial %" PRIu64
			 ", which this host has committed",
			 m->name, m->serial, f->high_water);
		if (f->committed_before)
			return fail_hint(reterr_fail, "hotfixctl rollback %s --to %" PRIu64,
					 m->name, m->serial);
		return fail_hint(reterr_fail, "apply serial %" PRIu64 " or newer",
				 f->high_water);
	}
	if (!f->back && m->expires_ms && f->now_ms > m->expires_ms) {
		char stamp[CLOCK_TIMESTAMP_BYTES];

		fail_set(reterr_fail, FAIL_EXPIRED,
			 "%s@%" PRIu64 " may not be attached for the first time after %s",
			 m->name, m->serial, clock_format_timestamp(m->expires_ms, stamp));
		return fail_hint(
			reterr_fail,
			"ask its signer for a newer serial; what runs already is not affected");
	}
	if (!f->back && f->root_expires_ms && f->now_ms > f->root_expires_ms) {
		char stamp[CLOCK_TIMESTAMP_BYTES];

		fail_set(reterr_fail, FAIL_EXPIRED,
			 "the root expired at %s: nothing is attached for the first time",
			 clock_format_timestamp(f->root_expires_ms, stamp));
		return fail_hint(reterr_fail,
				 "import the next root (hotfixctl trust rotate makes it); what "
				 "runs already is not affected");
	}
	for (size_t i = 0; !f->goes_on && i < m->n_requires; i++)
		if (!is_live(f, m->requires[i])) {
			fail_set(reterr_fail, FAIL_POLICY,
				 "%s requires %s, which is not live here", m->name,
				 m->requires[i]);
			return fail_hint(reterr_fail, "hotfixctl apply %s first",
					 m->requires[i]);
		}
	for (size_t i = 0; i < m->n_conflicts; i++)
		if (is_live(f, m->conflicts[i])) {
			fail_set(reterr_fail, FAIL_POLICY,
				 "%s conflicts with %s, which is live here", m->name,
				 m->conflicts[i]);
			return fail_hint(reterr_fail, "hotfixctl disable %s first",
					 m->conflicts[i]);
		}
	return manifest_fits_kernel(m, f->release, f->machine, reterr_fail);
}

uint64_t policy_trial_fit(const struct manifest *m, uint64_t asked_ms)
{
	if (!asked_ms)
		return 0;
	return asked_ms < m->trial_min_ms   ? m->trial_min_ms
	       : asked_ms > m->trial_max_ms ? m->trial_max_ms
					    : asked_ms;
}

int policy_trial_ms(const struct manifest *m, uint64_t asked_ms, uint64_t *ret_ms,
		    struct fail *reterr_fail)
{
	char asked[CLOCK_DURATION_BYTES], min[CLOCK_DURATION_BYTES], max[CLOCK_DURATION_BYTES];
	uint64_t ms = asked_ms ? asked_ms : m->trial_default_ms;

	if (ms < m->trial_min_ms || ms > m->trial_max_ms) {
		fail_set(reterr_fail, FAIL_USAGE,
			 "a trial of %s is outside the bounds of %s@%" PRIu64 ": %s to %s",
			 clock_format_duration(ms, asked), m->name, m->serial,
			 clock_format_duration(m->trial_min_ms, min),
			 clock_format_duration(m->trial_max_ms, max));
		return fail_hint(reterr_fail,
				 "leave --trial out to take the manifest's length");
	}
	*ret_ms = ms;
	return 0;
}

enum policy_boot policy_boot_of(const char *cmdline)
{
	enum policy_boot boot = POLICY_BOOT_NORMAL;

	for (const char *p = cmdline; *p;) {
		size_t n = strcspn(p, " \n");

		if (n == strlen("hotfix=off") && strncmp(p, "hotfix=off", n) == 0)
			boot = POLICY_BOOT_OFF;
		if (n == strlen("hotfix=no-apply") && strncmp(p, "hotfix=no-apply", n) == 0)
			boot = POLICY_BOOT_NO_APPLY;
		p += n;
		p += strspn(p, " \n");
	}
	return boot;
}
