// SPDX-License-Identifier: BSD-2-Clause
#include "server/verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>

#include "bpf/doctor.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "server/authority.h"
#include "server/change.h"
#include "server/require.h"
#include "server/restore.h"
#include "store/bundle.h"

static int refuse_busy(const struct hotfix *h, struct fail *reterr_fail)
{
	if (h->phase == HOTFIX_IDLE)
		return 0;
	if (h->phase == HOTFIX_TRIAL) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is on trial", h->name,
			 h->change.serial);
		return fail_hint(reterr_fail,
				 "hotfixctl commit %s, or hotfixctl rollback %s, first",
				 h->name, h->name);
	}
	if (h->change.fail.code != FAIL_NONE) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "%s is being changed: serial %" PRIu64
			 " is being taken back already (%.600s)",
			 h->name, h->change.serial, h->change.fail.message);
		return fail_hint(reterr_fail,
				 "it is over in a moment, and hotfixctl history %s says how it "
				 "ended",
				 h->name);
	}
	fail_set(reterr_fail, FAIL_CONFLICT,
		 "%s is being changed: %s of serial %" PRIu64 " (change %" PRIu64
		 ") is under way",
		 h->name, h->change.verb, h->change.serial, h->change.id);
	return fail_hint(reterr_fail, "wait for it: hotfixctl history %s", h->name);
}

/* The hot-fix of that name, known so far or not, with no change under way. */
static int get_idle(struct hotfixes *all, const char *name, struct hotfix **ret_hotfix,
		    struct fail *reterr_fail)
{
	if (hotfix_get(all, name, ret_hotfix) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	return refuse_busy(*ret_hotfix, reterr_fail);
}

/* Before get_idle(): what was only asked for leaves nothing behind. */
static int find_version(struct hotfixes *all, const char *name, uint64_t serial,
			struct store_version *ret_version, struct fail *reterr_fail)
{
	int r = store_get_version(all->store, name, serial, ret_version);

	if (r == -ENOENT) {
		fail_set(reterr_fail, FAIL_NOT_FOUND,
			 "%s@%" PRIu64 " is not stored on this host", name, serial);
		return fail_hint(reterr_fail,
				 "hotfixctl list shows what is; hotfixctl import FILE adds");
	}
	return r < 0 ? store_error(all->store, r, reterr_fail) : 0;
}

static int check_policy(struct hotfix *h, const struct bundle *bundle,
			const struct verb_apply *a, bool back, struct fail *reterr_fail)
{
	const struct manifest *m = bundle->manifest;
	AUTO(authority_freep) struct authority *authority = NULL;
	AUTO_FREE const char **live = NULL;
	struct store_version version;
	struct store_hotfix row = {0};
	struct policy_facts facts = {.manifest = m,
				     .now_ms = authority_now_ms(h->all->store, true),
				     .boot = h->all->boot,
				     .back = back,
				     .goes_on = a->goes_on,
				     .directed = a->directed};
	struct hotfix *other;
	char release[DOCTOR_RELEASE_BYTES];
	struct utsname uts;
	size_t n = 0;
	int r;

	TAILQ_FOREACH(other, &h->all->list, link)
		n++;
	live = calloc(n + 1, sizeof(*live));
	if (!live)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	TAILQ_FOREACH(other, &h->all->list, link)
		if (other != h && hotfix_live_serial(other))
			live[facts.n_live++] = other->name;
	facts.live = live;

	r = authority_open(h->all->store, &authority, reterr_fail);
	if (r < 0)
		return r;
	facts.root_expires_ms = authority->trust->expires_ms;
	facts.revoked = authority_revoked(authority, m->name, m->serial);
	facts.floor = trust_floor(authority->trust, m->name);
	facts.pinned_other =
		authority_pins_other(authority, m->name, m->serial, bundle->manifest_sha256);
	r = store_get_hotfix(h->all->store, m->name, &row);
	if (r == 0 || r == -ENOENT)
		r = store_high_water(h->all->store, m->name, &facts.high_water);
	if (r == 0)
		r = store_get_version(h->all->store, m->name, m->serial, &version);
	if (r == 0)
		r = store_was_committed(h->all->store, m->name, m->serial,
					&facts.committed_before);
	if (r < 0)
		return store_error(h->all->store, r, reterr_fail);
	facts.removed = !row.committed_serial;
	facts.quarantined = version.quarantined;
	facts.quarantine_reason = version.reason;
	uname(&uts);
	doctor_release(release);
	facts.release = release;
	facts.machine = uts.machine;
	return policy_may_apply(&facts, reterr_fail);
}

/* Who may say so, and only once. */
static int obey(struct hotfixes *all, const struct directive *d, const struct store_hotfix *row,
		struct fail *reterr_fail)
{
	struct policy_directive_facts facts = {
		.now_ms = authority_now_ms(all->store, true),
		.host = all->host_id,
		.groups = all->config->groups,
		.committed_serial = row->disabled ? 0 : row->committed_serial};
	int r = store_nonce_used(all->store, d->nonce, &facts.nonce_used);

	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	return policy_may_direct(d, &facts, reterr_fail);
}

static int spend(struct hotfixes *all, const struct directive *d, struct fail *reterr_fail)
{
	int r = store_use_nonce(all->store, d->nonce, d->name, d->expires_ms,
				authority_now_ms(all->store, true));

	return r < 0 ? store_error(all->store, r, reterr_fail) : 0;
}

/* Loads serial as a new version: the common part of apply, enable and a cold rollback. */
static int start_stage(struct hotfix *h, const char *verb, const struct verb_apply *a,
		       bool back, const char *reason, struct fail *reterr_fail)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct hotfix_change *c = &h->change;
	char missing[sizeof(c->warning) - HOOK_NAME_MAX - 2];
	size_t len;
	int r;

	r = hotfix_open_bundle(h->all, h->name, a->serial, &buf, &len, &bundle, reterr_fail);
	if (r == 0)
		r = check_policy(h, bundle, a, back, reterr_fail);
	if (r == 0 && a->directive &&
	    (a->directive->to != a->serial ||
	     memcmp(a->directive->manifest_sha256, bundle->manifest_sha256,
		    sizeof(bundle->manifest_sha256)) != 0))
		r = fail_set(reterr_fail, FAIL_POLICY,
			     "directive: it names another version than the one that is stored");
	if (r == 0)
		r = policy_trial_ms(
			bundle->manifest,
			a->fit_trial_ms ? policy_trial_fit(bundle->manifest, a->fit_trial_ms)
					: a->trial_ms,
			&c->trial_ms, reterr_fail);
	if (r < 0)
		return r;
	hotfix_attach_gate(h);
	c->trial_max_ms = bundle->manifest->trial_max_ms;
	c->min_calls = bundle->manifest->trial_min_calls;
	if (c->min_calls < a->min_calls)
		c->min_calls = a->min_calls;
	c->commit_now = a->commit;
	c->observe = a->observe;
	c->old_index = h->gate ? gate_committed(h->gate) : 0;
	c->index = h->gate ? gate_pick_index(h->gate, 0) : 1;
	snprintf(c->reason, sizeof(c->reason), "%s", reason ? reason : "");
	require_keep(h, bundle->manifest);
	if (require_complaint(h, a->serial, missing, sizeof(missing))[0])
		snprintf(c->warning, sizeof(c->warning), "%s %s", h->name, missing);
	/* What ran here before is not judged again; what a directive brings back may be new here. */
	if ((!back || !a->commit) &&
	    watch_new(h->all->watches, bundle, buf, len, NULL, &c->watch) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = a->directive ? spend(h->all, a->directive, reterr_fail) : 0;
	if (r < 0) {
		change_clear(c);
		return r;
	}
	r = change_begin(h, verb, a->serial, a->actor_uid, back, reterr_fail);
	if (r < 0)
		return r;
	return change_stage(h, buf, len, reterr_fail);
}

int verb_apply(struct hotfixes *all, const char *name, const struct verb_apply *apply,
	       uint64_t *ret_change, struct fail *reterr_fail)
{
	struct verb_apply a = *apply;
	struct store_hotfix row = {0};
	struct store_version version;
	struct hotfix *h;
	int r;

	if (!a.serial) {
		r = store_newest_serial(all->store, name, &a.serial);
		if (r == -ENOENT) {
			fail_set(reterr_fail, FAIL_NOT_FOUND,
				 "no hot-fix %s is stored on this host", name);
			return fail_hint(
				reterr_fail,
				"hotfixctl list shows what is; hotfixctl import FILE adds");
		}
		if (r < 0)
			return store_error(all->store, r, reterr_fail);
	}
	r = find_version(all, name, a.serial, &version, reterr_fail);
	if (r == 0)
		r = get_idle(all, name, &h, reterr_fail);
	if (r < 0)
		return r;
	if (hotfix_live_serial(h) == a.serial) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is live already", name,
			 a.serial);
		return fail_hint(reterr_fail, "nothing to do; hotfixctl show %s", name);
	}
	if (a.directive) {
		r = store_get_hotfix(all->store, name, &row);
		if (r < 0 && r != -ENOENT)
			return store_error(all->store, r, reterr_fail);
		if (row.disabled) {
			fail_set(reterr_fail, FAIL_POLICY,
				 "%s was disabled here: no director brings it back", name);
			return fail_hint(reterr_fail, "hotfixctl enable %s on this host", name);
		}
		r = obey(all, a.directive, &row, reterr_fail);
		if (r < 0)
			return r;
	}
	r = start_stage(h, "apply", &a, false, a.reason, reterr_fail);
	if (r == 0)
		*ret_change = h->change.id;
	return r;
}

/* Neither stored nor live. */
static int refuse_unknown(struct hotfixes *all, const char *name, struct fail *reterr_fail)
{
	const struct hotfix *h = hotfix_find(all, name);
	uint64_t newest;
	int r = store_newest_serial(all->store, name, &newest);

	if (r == 0 || (r == -ENOENT && h && h->gate))
		return 0;
	if (r != -ENOENT)
		return store_error(all->store, r, reterr_fail);
	fail_set(reterr_fail, FAIL_NOT_FOUND, "no hot-fix %s is stored on this host", name);
	return fail_hint(reterr_fail, "hotfixctl list shows what is");
}

static int refuse_without_trial(struct hotfixes *all, const char *name,
				struct fail *reterr_fail)
{
	const struct hotfix *h = hotfix_find(all, name);
	int r;

	if (h && h->phase == HOTFIX_TRIAL)
		return 0;
	if (h && h->phase != HOTFIX_IDLE)
		return refuse_busy(h, reterr_fail);
	r = refuse_unknown(all, name, reterr_fail);
	if (r < 0)
		return r;
	fail_set(reterr_fail, FAIL_CONFLICT, "%s is not on trial: there is nothing to commit",
		 name);
	return fail_hint(reterr_fail, "hotfixctl status shows what runs");
}

int verb_commit(struct hotfixes *all, const char *name, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail)
{
	struct hotfix *h = hotfix_find(all, name);
	int r = refuse_without_trial(all, name, reterr_fail);

	if (r < 0)
		return r;
	*ret_change = h->change.id;
	r = change_commit_by_hand(h, actor_uid);
	if (r == -ETIME)
		return fail_set(reterr_fail, FAIL_CONFLICT,
				"the lease of the trial of %s has ended: it is rolled back",
				name);
	return r < 0 ? store_error(all->store, r, reterr_fail) : 0;
}

/*
 * What is loaded still is switched to without asking the policy again: not what those who are
 * trusted now took away. That the database cannot tell is no reason to refuse the way back.
 */
static int refuse_barred(struct hotfixes *all, const char *name, uint64_t serial,
			 struct fail *reterr_fail)
{
	AUTO(authority_freep) struct authority *authority = NULL;
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	const struct revocation *v;
	struct fail why;
	uint64_t floor;
	size_t len;

	if (authority_open(all->store, &authority, NULL) < 0)
		return 0;
	v = authority_revoked(authority, name, serial);
	if (v && v->rollback)
		return fail_set(reterr_fail, FAIL_POLICY, "%s@%" PRIu64 " is revoked: %s", name,
				serial, v->reason);
	floor = trust_floor(authority->trust, name);
	if (serial < floor)
		return fail_set(reterr_fail, FAIL_DOWNGRADE,
				"%s@%" PRIu64 " is below the floor %" PRIu64
				" that the root sets",
				name, serial, floor);
	if (hotfix_open_bundle(all, name, serial, &buf, &len, &bundle, &why) < 0 &&
	    why.code == FAIL_BAD_SIGNATURE) {
		*reterr_fail = why;
		return -fail_errno(why.code);
	}
	return 0;
}

void verb_take_off(struct hotfix *h, const char *reason, uint32_t actor_uid,
		   uint64_t *ret_change)
{
	h->change.take_off = true;
	snprintf(h->change.reason, sizeof(h->change.reason), "%s", reason);
	change_begin(h, "take_off", hotfix_live_serial(h), actor_uid, true, NULL);
	*ret_change = h->change.id;
	change_take_off(h);
}

/* As policy_may_take_off() has it. */
static int check_take_off(struct hotfixes *all, const struct directive *d,
			  struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	struct store_origin o = {0};
	struct policy_take_off_facts f;
	int r = authority_trust(all->store, &trust, reterr_fail);

	if (r < 0)
		return r;
	r = store_get_origin(all->store, d->name, &o);
	if (r < 0 && r != -ENOENT)
		return store_error(all->store, r, reterr_fail);
	f = (struct policy_take_off_facts){
		.now_ms = authority_now_ms(all->store, true),
		.rollout = o.rollout,
		.serial = o.serial,
		.from_serial = o.from_serial,
		.committed_ms = o.at_ms,
		.undo_ms = all->config->undo_window_ms,
		.floor = trust_floor(trust, d->name),
	};
	return policy_may_take_off(d, &f, reterr_fail);
}

int verb_rollback(struct hotfixes *all, const char *name, uint64_t to, const char *reason,
		  const struct directive *directive, uint32_t actor_uid, uint64_t *ret_change,
		  struct fail *reterr_fail)
{
	struct hotfix *h = hotfix_find(all, name);
	struct verb_apply a = {.commit = true, .actor_uid = actor_uid};
	struct store_hotfix row = {0};
	uint32_t index;
	bool was;
	int r;

	r = store_get_hotfix(all->store, name, &row);
	if (r < 0 && r != -ENOENT && (!h || !h->gate))
		return store_error(all->store, r, reterr_fail);
	if (!h || (!h->gate && !row.committed_serial && h->phase == HOTFIX_IDLE)) {
		fail_set(reterr_fail, FAIL_NOT_FOUND, "%s does not run on this host", name);
		return fail_hint(reterr_fail, "hotfixctl status shows what runs");
	}
	if (directive) {
		r = obey(all, directive, &row, reterr_fail);
		if (r < 0)
			return r;
	}
	if (h->phase == HOTFIX_TRIAL && !directive && (!to || to == row.committed_serial)) {
		*ret_change = h->change.id;
		change_back_by_hand(h, actor_uid, reason);
		return 0;
	}
	r = refuse_busy(h, reterr_fail);
	if (r < 0)
		return r;
	if (row.disabled) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s is disabled: no version of it runs",
			 name);
		return fail_hint(reterr_fail, "hotfixctl enable %s first", name);
	}
	if (directive && !directive->to) {
		r = check_take_off(all, directive, reterr_fail);
		if (r == 0)
			r = spend(all, directive, reterr_fail);
		if (r == 0)
			verb_take_off(h, reason, actor_uid, ret_change);
		return r;
	}
	if (!to) {
		r = store_previous_serial(all->store, name, row.committed_serial, &to);
		if (r == -ENOENT) {
			fail_set(reterr_fail, FAIL_CONFLICT,
				 "no version of %s was committed before serial %" PRIu64, name,
				 row.committed_serial);
			return fail_hint(reterr_fail, "hotfixctl disable %s takes it off",
					 name);
		}
		if (r < 0)
			return store_error(all->store, r, reterr_fail);
	}
	if (to == row.committed_serial) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is what runs", name, to);
		return fail_hint(reterr_fail, "hotfixctl history %s shows what ran before",
				 name);
	}
	r = store_was_committed(all->store, name, to, &was);
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	if (!was && !directive) {
		fail_set(reterr_fail, FAIL_DOWNGRADE,
			 "%s@%" PRIu64 " was never committed on this host", name, to);
		return fail_hint(
			reterr_fail,
			"rollback goes only to what ran here before: hotfixctl history %s",
			name);
	}
	r = refuse_barred(all, name, to, reterr_fail);
	if (r == 0 && directive)
		r = spend(all, directive, reterr_fail);
	if (r < 0)
		return r;
	index = was && h->gate ? gate_index_of(h->gate, to) : 0;
	if (index) {
		h->change.index = index;
		h->change.old_index = gate_committed(h->gate);
		snprintf(h->change.reason, sizeof(h->change.reason), "%s", reason);
		change_begin(h, "rollback", to, actor_uid, true, NULL);
		*ret_change = h->change.id;
		return change_switch(h, reterr_fail);
	}
	a.serial = to;
	a.commit = was; /* else it is tried, like anything that never ran here */
	a.directed = !was;
	a.goes_on = was;
	r = start_stage(h, was ? "rollback" : "apply", &a, was, reason, reterr_fail);
	if (r == 0)
		*ret_change = h->change.id;
	return r;
}

int verb_disable(struct hotfixes *all, const char *name, const char *reason, uint32_t actor_uid,
		 uint64_t *ret_change, struct fail *reterr_fail)
{
	struct hotfix *h = hotfix_find(all, name);
	struct store_hotfix row = {0};
	int r;

	r = store_get_hotfix(all->store, name, &row);
	if (!h || (r == -ENOENT && !h->gate && h->phase == HOTFIX_IDLE)) {
		fail_set(reterr_fail, FAIL_NOT_FOUND, "%s does not run on this host", name);
		return fail_hint(reterr_fail, "hotfixctl status shows what runs");
	}
	if (r == 0 && row.disabled && !h->gate && h->phase == HOTFIX_IDLE) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s is disabled already", name);
		return fail_hint(reterr_fail, "hotfixctl enable %s applies it again", name);
	}
	if (h->phase == HOTFIX_TRIAL) /* it ends first, as rolled back */
		change_off_by_hand(h);
	r = refuse_busy(h, reterr_fail);
	if (r < 0)
		return r;
	h->change.disable = true;
	snprintf(h->change.reason, sizeof(h->change.reason), "%s", reason);
	change_begin(h, "disable", hotfix_live_serial(h), actor_uid, true, NULL);
	*ret_change = h->change.id;
	change_take_off(h);
	return 0;
}

int verb_enable(struct hotfixes *all, const char *name, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail)
{
	struct verb_apply a = {.commit = true, .actor_uid = actor_uid};
	struct store_hotfix row;
	struct hotfix *h;
	int r;

	r = store_get_hotfix(all->store, name, &row);
	if (r == -ENOENT) {
		fail_set(reterr_fail, FAIL_NOT_FOUND, "%s was never committed on this host",
			 name);
		return fail_hint(reterr_fail, "hotfixctl apply %s", name);
	}
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	r = get_idle(all, name, &h, reterr_fail);
	if (r < 0)
		return r;
	if (!row.disabled) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s is not disabled", name);
		return fail_hint(reterr_fail, "hotfixctl status shows its state");
	}
	if (!row.committed_serial) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "no version of %s was committed on this host", name);
		return fail_hint(reterr_fail, "hotfixctl apply %s", name);
	}
	a.serial = row.committed_serial;
	a.observe = row.observe;
	r = start_stage(h, "enable", &a, true, NULL, reterr_fail);
	if (r == 0)
		*ret_change = h->change.id;
	return r;
}

static int remove_version(struct hotfix *h, uint64_t serial, uint32_t actor_uid,
			  uint64_t *ret_change, struct fail *reterr_fail)
{
	struct store_version version;
	struct store_hotfix row = {0};
	int r;

	r = find_version(h->all, h->name, serial, &version, reterr_fail);
	if (r < 0)
		return r;
	r = store_get_hotfix(h->all->store, h->name, &row);
	if (r < 0 && r != -ENOENT)
		return store_error(h->all->store, r, reterr_fail);
	if (serial == hotfix_live_serial(h) || serial == row.committed_serial) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is the committed version",
			 h->name, serial);
		return fail_hint(reterr_fail,
				 "roll back, or disable and remove the whole hot-fix");
	}
	r = change_begin(h, "remove", serial, actor_uid, false, reterr_fail);
	if (r < 0)
		return r;
	*ret_change = h->change.id;
	h->change.index = h->gate ? gate_index_of(h->gate, serial) : 0;
	change_forget_version(h);
	return 0;
}

int verb_remove(struct hotfixes *all, const char *name, uint64_t serial, uint32_t actor_uid,
		uint64_t *ret_change, struct fail *reterr_fail)
{
	struct store_hotfix row = {0};
	struct hotfix *h;
	int r;

	r = refuse_unknown(all, name, reterr_fail);
	if (r == 0)
		r = get_idle(all, name, &h, reterr_fail);
	if (r < 0)
		return r;
	if (serial)
		return remove_version(h, serial, actor_uid, ret_change, reterr_fail);
	r = store_get_hotfix(all->store, name, &row);
	if (r < 0 && r != -ENOENT)
		return store_error(all->store, r, reterr_fail);
	if (hotfix_live_serial(h) && !row.disabled) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is live", name,
			 hotfix_live_serial(h));
		return fail_hint(reterr_fail, "hotfixctl disable %s first", name);
	}
	h->change.forget = true;
	r = change_begin(h, "remove", 0, actor_uid, false, reterr_fail);
	if (r < 0)
		return r;
	*ret_change = h->change.id;
	change_take_off(h);
	return 0;
}

int verb_enforce(struct hotfixes *all, const char *name, bool enforce, uint32_t actor_uid,
		 uint64_t *ret_change, struct fail *reterr_fail)
{
	struct hotfix *h = hotfix_find(all, name);
	struct store_hotfix row;
	uint64_t serial = h ? hotfix_live_serial(h) : 0;
	uint32_t index;
	int r;

	if (!serial) {
		fail_set(reterr_fail, FAIL_NOT_FOUND, "%s does not run on this host", name);
		return fail_hint(reterr_fail, "hotfixctl status shows what runs");
	}
	if (h->phase != HOTFIX_IDLE && h->phase != HOTFIX_TRIAL)
		return refuse_busy(h, reterr_fail);
	index = gate_live(h->gate, clock_mono_ns());
	r = live_set_enforce(all->bpffs, name, index, enforce);
	if (r < 0) {
		fail_set(
			reterr_fail, FAIL_POLICY,
			"%s@%" PRIu64
			" cannot be switched: its object does not use HOTFIX_CONTROL of hotfix.bpf.h",
			name, serial);
		return fail_hint(reterr_fail, "rollback or disable is the way to stop it");
	}
	if (h->phase == HOTFIX_TRIAL) {
		change_try_anew(h);
	} else if (store_get_hotfix(all->store, name, &row) == 0) {
		row.observe = !enforce;
		r = store_put_hotfix(all->store, &row);
		if (r < 0)
			return store_error(all->store, r, reterr_fail);
	}
	*ret_change = change_record(h, enforce ? "enforce" : "observe", serial, actor_uid,
				    "MANUAL", "");
	return 0;
}

int verb_retry(struct hotfixes *all, const char *name, uint64_t serial, const char *reason,
	       uint32_t actor_uid, uint64_t *ret_change, struct fail *reterr_fail)
{
	struct store_version v;
	struct hotfix *h;
	int r;

	r = find_version(all, name, serial, &v, reterr_fail);
	if (r < 0)
		return r;
	if (!v.quarantined) {
		fail_set(reterr_fail, FAIL_CONFLICT, "%s@%" PRIu64 " is not quarantined", name,
			 serial);
		return fail_hint(reterr_fail, "hotfixctl list shows which version is");
	}
	r = get_idle(all, name, &h, reterr_fail);
	if (r < 0)
		return r;
	r = store_quarantine(all->store, name, serial, false, "");
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	*ret_change = change_record(h, "retry", serial, actor_uid, "MANUAL", reason);
	return 0;
}

int verb_resume(struct hotfixes *all, uint32_t actor_uid, struct fail *reterr_fail)
{
	struct store_hotfix row;
	struct hotfix *h;
	int r;

	if (all->boot != POLICY_BOOT_HELD) {
		fail_set(reterr_fail, FAIL_CONFLICT, "nothing is held back on this host");
		return fail_hint(reterr_fail, "hotfixctl status shows what runs");
	}
	r = store_begin(all->store);
	if (r == 0) {
		r = boot_resume(all->store);
		if (r == 0)
			r = store_audit(all->store, clock_real_ms(), actor_uid, "resume",
					clock_boot_id(), "done", NULL);
		if (r == 0)
			r = store_commit(all->store);
		if (r < 0)
			store_rollback(all->store);
	}
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	log_event(LOG_NOTICE, "resumed after crashes uid=%u", actor_uid);
	all->boot = POLICY_BOOT_NORMAL;
	TAILQ_FOREACH(h, &all->list, link)
		if (!h->gate && store_get_hotfix(all->store, h->name, &row) == 0 &&
		    row.committed_serial && !row.disabled)
			restore_mark(h, "resumed by an operator");
	restore_run(all);
	return 0;
}

int verb_restore(struct hotfix *h, const struct store_hotfix *row, const char *reason,
		 struct fail *reterr_fail)
{
	struct verb_apply a = {.serial = row->committed_serial,
			       .commit = true,
			       .observe = row->observe,
			       .goes_on = true};

	return start_stage(h, "restore", &a, true, reason, reterr_fail);
}
