// SPDX-License-Identifier: BSD-2-Clause
#include "server/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/doctor.h"
#include "lib/clock.h"
#include "lib/plain.h"
#include "lib/json.h"
#include "lib/version.h"
#include "server/authority.h"
#include "server/member.h"
#include "server/outcome.h"
#include "server/require.h"
#include "store/bundle.h"

static json_t *stamp(uint64_t real_ms)
{
	char text[CLOCK_TIMESTAMP_BYTES];

	return real_ms ? json_string(clock_format_timestamp(real_ms, text)) : json_null();
}

static json_t *hex(const uint8_t *bytes, size_t len)
{
	char text[129];

	for (size_t i = 0; i < len && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static json_t *serial_or_null(uint64_t serial)
{
	return serial ? json_integer((json_int_t)serial) : json_null();
}

/* Text out of the kernel: whatever a process calls itself, JSON wants UTF-8. */
static json_t *kernel_text(const char *s, size_t max)
{
	char clean[64];
	size_t n = 0;

	for (; n < max && n < sizeof(clean) - 1 && s[n]; n++)
		clean[n] =
			(unsigned char)s[n] < 0x20 || (unsigned char)s[n] > 0x7e ? '?' : s[n];
	clean[n] = 0;
	return json_string(clean);
}

json_t *report_event(const char *name, uint64_t serial, const struct hotfix_event *e)
{
	static const char *const verdicts[] = {HOTFIX_VERDICT_NAMES};
	json_t *args = json_array();

	for (int i = 0; i < HOTFIX_ARGS; i++)
		json_array_append_new(args, json_integer((json_int_t)e->args[i]));
	return json_pack("{s:s, s:s, s:I, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
			 "kind", "event", "hotfix", name, "serial", (json_int_t)serial, "time",
			 stamp(clock_real_ms() - (clock_mono_ns() - e->time_ns) / 1000000),
			 "verdict",
			 e->verdict < ARRAY_SIZE(verdicts) ? verdicts[e->verdict] : "unknown",
			 "event", (json_int_t)e->kind, "pid", (json_int_t)e->tgid, "tid",
			 (json_int_t)e->pid, "uid", (json_int_t)e->uid, "gid",
			 (json_int_t)e->gid, "comm", kernel_text(e->comm, sizeof(e->comm)),
			 "text", kernel_text(e->text, sizeof(e->text)), "args", args);
}

json_t *report_change(const struct store_change *c, bool with_log)
{
	json_t *doc = json_pack(
		"{s:I, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:s, s:s, s:s, s:s, s:O?, s:O?}",
		"id", (json_int_t)c->id, "name", c->name, "verb", c->verb, "serial",
		serial_or_null(c->serial), "from_serial", serial_or_null(c->from_serial),
		"actor_uid", (json_int_t)c->actor_uid, "started", stamp(c->started_ms),
		"finished", stamp(c->finished_ms), "outcome", c->outcome, "code", c->code,
		"detail", c->detail, "boot_id", c->boot_id, "warning",
		json_object_get(c->evidence, "warning"), "evidence", c->evidence);

	if (doc && with_log)
		json_object_set_new(doc, "log", c->log ? json_string(c->log) : json_null());
	return doc;
}

json_t *report_version(const struct store_version *v)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:I, s:o, s:I, s:s, s:s}", "name",
			 v->name, "serial", (json_int_t)v->serial, "label", v->label, "title",
			 v->title, "digest", hex(v->digest, sizeof(v->digest)), "object_sha256",
			 hex(v->object_sha256, sizeof(v->object_sha256)), "bundle_bytes",
			 (json_int_t)v->bundle_bytes, "imported", stamp(v->imported_ms),
			 "imported_uid", (json_int_t)v->imported_uid, "state",
			 v->quarantined ? "quarantined"
			 : v->barred[0] ? "barred"
					: "stored",
			 "reason", v->quarantined ? v->reason : v->barred);
}

/* ---- state of one hot-fix --------------------------------------------------- */

struct facts {
	struct store_hotfix row;
	struct store_version newest, runs; /* runs: or was committed, and is off */
	struct store_change last;	   /* newest change */
	bool has_row, has_version, has_change;
	uint32_t live, trial;
};

static int take_change(const struct store_change *c, void *cookie)
{
	struct facts *f = cookie;

	f->last = *c;
	f->last.log = NULL;
	f->last.evidence = NULL;
	f->has_change = true;
	return 1;
}

static void gather(struct hotfixes *all, const char *name, const struct hotfix *h,
		   struct facts *f)
{
	uint64_t serial;

	memset(f, 0, sizeof(*f));
	f->has_row = store_get_hotfix(all->store, name, &f->row) == 0;
	f->has_version = store_newest_serial(all->store, name, &serial) == 0 &&
			 store_get_version(all->store, name, serial, &f->newest) == 0;
	store_each_change(all->store, name, false, 1, take_change, f);
	outcome_recall(all, &f->last);
	if (h && h->gate) {
		f->live = gate_live(h->gate, clock_mono_ns());
		f->trial = f->live != gate_committed(h->gate) ? f->live : 0;
	}
	store_get_version(all->store, name,
			  f->live ? gate_version(h->gate, f->live).serial
				  : f->row.committed_serial,
			  &f->runs);
}

static const char *state_of(const struct facts *f, const struct hotfix *h, char reason[1100])
{
	bool failed =
		f->has_change && strcmp(f->last.outcome, "done") != 0 && f->last.outcome[0];

	reason[0] = 0;
	if (h && h->problem[0])
		snprintf(reason, 1100, "%s", h->problem);
	else if (failed)
		snprintf(reason, 1100, "%s of serial %" PRIu64 " %s: %s", f->last.verb,
			 f->last.serial,
			 strcmp(f->last.outcome, "failed") == 0 ? "failed" : "was rolled back",
			 f->last.detail);
	if (f->trial)
		return "trial";
	if (f->live) {
		if (f->runs.barred[0])
			snprintf(reason, 1100, "it runs on, but may not be applied anew: %s",
				 f->runs.barred);
		if (!reason[0] && h->adopted)
			snprintf(reason, 1100, "adopted: it was live when hotfixd started");
		return "live";
	}
	if (f->has_row && f->row.disabled) {
		if (!reason[0] || !h || !h->problem[0])
			snprintf(reason, 1100, "disabled by an operator");
		if (f->runs.barred[0])
			snprintf(reason, 1100, "it may not be applied: %s", f->runs.barred);
		return "disabled";
	}
	if (f->newest.quarantined) {
		snprintf(reason, 1100, "%s", f->newest.reason);
		return "quarantined";
	}
	if (h && h->retired)
		return "retired";
	if (h && h->restore[0])
		return "stored";
	if ((f->has_row && f->row.committed_serial) || failed)
		return "failed";
	if (f->newest.barred[0])
		snprintf(reason, 1100, "it may not be applied: %s", f->newest.barred);
	return "stored";
}

struct hooks {
	json_t *array;
	uint32_t live;
};

static int add_hook(const struct live_slot *s, void *cookie)
{
	struct hooks *hooks = cookie;
	json_int_t calls = 0;

	for (int i = 1; i < GATE_VERSIONS; i++)
		calls += (json_int_t)s->calls[i];
	json_array_append_new(
		hooks->array,
		json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "type", s->type, "target",
			  s->target, "kind", s->struct_ops ? "struct_ops" : "dispatcher",
			  "calls", calls, "calls_live",
			  hooks->live ? (json_int_t)s->calls[hooks->live] : (json_int_t)0,
			  "calls_off", (json_int_t)s->calls[0]));
	return 0;
}

/* Sleepable programs have no slot: the manifest of what is live names them. */
static void add_overlap_hooks(struct hotfixes *all, const struct hotfix *h, uint64_t serial,
			      json_t *array)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	if (hotfix_open_bundle(all, h->name, serial, &buf, &len, &bundle, NULL) < 0)
		return;
	for (size_t i = 0; i < bundle->manifest->n_hooks; i++) {
		const struct hook *hook = &bundle->manifest->hooks[i];

		if (hook->sleepable && hook->type != HOOK_STRUCT_OPS)
			json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:n}", "type",
							       hook_type_name(hook->type),
							       "target", hook->target, "kind",
							       "overlap", "calls"));
	}
}

struct calls {
	uint32_t live;
	uint64_t n;
};

static int add_calls(const struct live_slot *s, void *cookie)
{
	struct calls *c = cookie;

	c->n += s->calls[c->live];
	return 0;
}

const char *report_trial_waits(struct hotfixes *all, const struct hotfix *h, char *ret_text,
			       size_t room)
{
	uint64_t now_ms = clock_mono_ns() / 1000000;
	struct calls calls = {0};
	char missing[512] = "";

	if (h->phase != HOTFIX_TRIAL || !h->gate ||
	    now_ms - h->change.started_mono_ms < h->change.trial_ms)
		return NULL;
	watch_explain_missing(h->change.watch, missing, sizeof(missing));
	plain_make(missing, false);
	if (missing[0]) {
		snprintf(ret_text, room, "waits for evidence: %s", missing);
		return "EVIDENCE";
	}
	calls.live = gate_live(h->gate, clock_mono_ns());
	live_slots(all->bpffs, h->name, add_calls, &calls);
	if (calls.n >= h->change.min_calls)
		return NULL;
	snprintf(ret_text, room, "waits for calls: %" PRIu64 " %s demanded",
		 h->change.min_calls, h->change.min_calls == 1 ? "is" : "are");
	return "CALLS";
}

/* Behind what else is to be said of it. */
static void add_complaint(struct hotfix *h, uint64_t live, char *reason, size_t room)
{
	char missing[400];
	size_t n = strlen(reason);

	require_complaint(h, live, missing, sizeof(missing));
	if (missing[0] && n < room)
		snprintf(reason + n, room - n, "%s%s", n ? "; " : "", missing);
}

static json_t *hotfix_json(struct hotfixes *all, const char *name)
{
	struct hotfix *h = hotfix_find(all, name);
	struct hooks hooks = {.array = json_array()};
	uint64_t committed = 0, trial = 0, live = 0;
	char reason[1100];
	const char *state;
	struct facts f;
	json_t *doc;

	gather(all, name, h, &f);
	state = state_of(&f, h, reason);
	if (h && h->gate)
		live = gate_version(h->gate, f.live).serial;
	if (live)
		add_complaint(h, live, reason, sizeof(reason));
	plain_make(reason, false); /* cut to length on its way, maybe within a character */
	if (h && h->gate) {
		trial = gate_version(h->gate, f.trial).serial;
		hooks.live = f.live;
		live_slots(all->bpffs, name, add_hook, &hooks);
		if (hotfix_needs_settle(h) && live)
			add_overlap_hooks(all, h, live, hooks.array);
	}
	if (f.has_row)
		committed = f.row.committed_serial;
	doc = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:b, s:o, s:o, s:o}",
			"name", name, "state", state, "committed_serial",
			serial_or_null(committed), "trial_serial", serial_or_null(trial),
			"live_serial", serial_or_null(live), "newest_serial",
			serial_or_null(f.newest.serial), "label", f.newest.label, "title",
			f.newest.title, "hooks", hooks.array, "adopted", (int)(h && h->adopted),
			"reason", reason[0] ? json_string(reason) : json_null(),
			"requires_missing", h ? require_missing(h, live) : json_array(),
			"required_by", require_by(all, name));
	if (doc && h && h->phase != HOTFIX_IDLE) {
		json_object_set_new(doc, "change", json_integer((json_int_t)h->change.id));
		if (f.trial) {
			uint64_t now_ms = clock_mono_ns() / 1000000;
			uint64_t age_ms = now_ms - h->change.started_mono_ms;
			char waits[600];

			if (report_trial_waits(all, h, waits, sizeof(waits)))
				json_object_set_new(doc, "reason", json_string(waits));
			json_object_set_new(doc, "trial_ms",
					    json_integer((json_int_t)h->change.trial_ms));
			json_object_set_new(
				doc, "trial_left_ms",
				json_integer(age_ms < h->change.trial_ms
						     ? (json_int_t)(h->change.trial_ms - age_ms)
						     : 0));
			json_object_set_new(
				doc, "lease_left_ms",
				json_integer((json_int_t)(gate_deadline_ns(h->gate) / 1000000) -
					     (json_int_t)now_ms));
		}
	}
	return doc;
}

/* ---- status ------------------------------------------------------------------ */

static int add_name(json_t *names, const char *name)
{
	return json_object_get(names, name) ? 0 : json_object_set_new(names, name, json_null());
}

static int add_version_name(const struct store_version *v, void *cookie)
{
	return add_name(cookie, v->name);
}

static int add_row_name(const struct store_hotfix *row, void *cookie)
{
	return add_name(cookie, row->name);
}

static json_t *kernel_json(const char *lsm)
{
	struct utsname uts;

	uname(&uts);
	return json_pack("{s:s, s:s, s:b, s:o}", "release", uts.release, "arch", uts.machine,
			 "btf", access("/sys/kernel/btf/vmlinux", R_OK) == 0, "lsm",
			 lsm && lsm[0] ? json_string(lsm) : json_null());
}

json_t *report_status(struct hotfixes *all, const struct report_daemon *d)
{
	static const char *const boots[] = {[POLICY_BOOT_NORMAL] = "normal",
					    [POLICY_BOOT_NO_APPLY] = "no-apply",
					    [POLICY_BOOT_OFF] = "off",
					    [POLICY_BOOT_HELD] = "held"};
	json_t *hotfixes = json_array();
	AUTO(trust_freep) struct trust *trust = NULL;
	AUTO_JSON json_t *names = json_object();
	struct hotfix *h;
	struct fail fail;
	char warning[256];
	const char *name;
	json_t *none;

	store_each_version(all->store, NULL, add_version_name, names);
	store_each_hotfix(all->store, add_row_name, names);
	TAILQ_FOREACH(h, &all->list, link)
		if (h->gate || h->phase != HOTFIX_IDLE)
			add_name(names, h->name);
	json_object_foreach(names, name, none)
		json_array_append_new(hotfixes, hotfix_json(all, name));
	authority_warning(all->store, warning, sizeof(warning));
	if (!warning[0] && authority_trust(all->store, &trust, &fail) < 0)
		snprintf(warning, sizeof(warning), "%.200s: hotfixctl trust import ROOT",
			 fail.message);
	return json_pack(
		"{s:i, s:{s:s, s:i, s:i, s:I, s:s, s:o, s:s, s:s, s:s, s:I, s:s}, s:o, s:o, s:s, s:o, s:o}",
		"schema_version", 1, "daemon", "version", HOTFIX_VERSION, "pid", (int)d->pid,
		"loop_pid", (int)d->loop_pid, "user", (json_int_t)d->uid, "boot_id",
		clock_boot_id(), "started", stamp(d->started_ms), "state_dir", d->state_dir,
		"bpffs", d->bpffs, "socket", d->socket, "adopted", (json_int_t)d->adopted,
		"kill_switch", boots[all->boot], "kernel", kernel_json(d->lsm), "trust_warning",
		warning[0] ? json_string(warning) : json_null(), "host_id", all->host_id,
		"fleet", member_json(all), "hotfixes", hotfixes);
}

static int add_version(const struct store_version *v, void *cookie)
{
	return json_array_append_new(cookie, report_version(v));
}

static json_t *counters_json(struct hotfixes *all, const struct hotfix *h)
{
	static const char *const names[HOTFIX_COUNTER_MAX] = {HOTFIX_COUNTER_NAMES};
	uint64_t values[LIVE_COUNTERS_MAX];
	json_t *doc;
	size_t n;

	if (!h || !h->gate ||
	    live_counters(all->bpffs, h->name, gate_live(h->gate, clock_mono_ns()), values,
			  &n) < 0)
		return json_null();
	doc = json_object();
	for (size_t i = 0; i < n && i < ARRAY_SIZE(names); i++)
		if (i < HOTFIX_USER0 || values[i])
			json_object_set_new(doc, names[i], json_integer((json_int_t)values[i]));
	return doc;
}

/* Whose signatures are good: an envelope may name any key. */
static json_t *signers_json(struct hotfixes *all, const struct bundle *b)
{
	AUTO(trust_freep) struct trust *t = NULL;
	json_t *signers = json_array();
	char id[KEY_ID_BYTES];
	struct fail fail;

	if (authority_trust(all->store, &t, &fail) < 0)
		return signers;
	for (size_t i = 0; i < t->release.n_keys; i++)
		if (bundle_signed_by(b, &t->release.keys[i]))
			json_array_append_new(signers,
					      json_string(key_id(&t->release.keys[i], id)));
	return signers;
}

json_t *report_hotfix(struct hotfixes *all, const char *name)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	struct hotfix *h = hotfix_find(all, name);
	AUTO_FREE uint8_t *buf = NULL;
	json_t *doc, *versions = json_array();
	struct fail fail;
	uint64_t serial = 0;
	bool enforce;
	size_t len;

	store_each_version(all->store, name, add_version, versions);
	if (json_array_size(versions) == 0 && (!h || !h->gate)) {
		json_decref(versions);
		return NULL;
	}
	doc = hotfix_json(all, name);
	serial = (uint64_t)json_integer_value(json_object_get(doc, "live_serial"));
	if (!serial)
		serial = (uint64_t)json_integer_value(json_object_get(doc, "newest_serial"));
	json_object_set_new(doc, "versions", versions);
	json_object_set_new(doc, "counters", counters_json(all, h));
	json_object_set_new(doc, "health",
			    h && h->phase == HOTFIX_TRIAL ? watch_findings(h->change.watch)
							  : json_null());
	if (h && h->gate &&
	    live_get_enforce(all->bpffs, name, gate_live(h->gate, clock_mono_ns()), &enforce) ==
		    0)
		json_object_set_new(doc, "mode", json_string(enforce ? "enforce" : "observe"));
	if (hotfix_open_bundle(all, name, serial, &buf, &len, &bundle, &fail) == 0) {
		json_object_set(doc, "manifest", bundle->manifest->doc);
		json_object_set_new(doc, "signed_by", signers_json(all, bundle));
	} else {
		json_object_set_new(doc, "manifest", json_null());
	}
	return doc;
}
