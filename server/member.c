// SPDX-License-Identifier: BSD-2-Clause
#include "server/member.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/doctor.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/label.h"
#include "lib/log.h"
#include "lib/plain.h"
#include "lib/version.h"
#include "server/authority.h"
#include "server/intake.h"
#include "server/outcome.h"
#include "server/report.h"
#include "server/verb.h"
#include "server/vitals.h"
#include "store/bytes.h"

#define FILE_BYTES_MAX	   65536
#define SILENT_BEATS	   10 /* what only measures is reported again after so many heartbeats */
#define WATCHED_MS	   3600000 /* and at each of them for so long after the fleet did something */
#define COMPLAINT_AFTER_MS 300000
#define TRIAL_LATE_MS	   2000
#define WAITS_BYTES	   400 /* of a report: a controller takes 480 */

/* The last word of one rollout on one hot-fix. */
struct task {
	TAILQ_ENTRY(task) link;
	char name[HOOK_NAME_MAX + 1], rollout[HOOK_NAME_MAX + 1];
	uint64_t word;
	bool newest; /* of all about this hot-fix */
	bool listed; /* the controller still says it */
	json_t *body; /* the word, as the controller said it; that which counts if it only stalls */
	struct agent_word w; /* directive points into body */
	bool ends;	     /* its trial is to end */
	bool fetched;	     /* its bundle came, or cannot */
	bool waits;	     /* its trial goes on after its length, which was told */
	enum member_state state;
	char code[32], text[256];
	bool transient;
	uint64_t change_id;
};

struct member {
	struct hotfixes *all;
	const struct config *config;
	struct agent_net *net;
	struct agent *agent;
	struct vitals *vitals;
	struct health_sample base, now; /* measured since */
	uint64_t base_ms;
	json_t *labels;
	struct store_member kept;
	struct worker *worker; /* keeps a root */
	char *root;
	struct event *step, *again;
	unsigned int beats; /* since the last report that was not only to measure */
	uint64_t acted_ms;
	bool frozen;
	TAILQ_HEAD(, task) tasks;
};

static uint64_t mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static struct task *task_free(struct task *t)
{
	if (!t)
		return NULL;
	json_decref(t->body);
	free(t);
	return NULL;
}

DEFINE_AUTO(struct task, task_free)

static struct task *find_task(struct member *m, const char *name, const char *rollout)
{
	struct task *t;

	TAILQ_FOREACH(t, &m->tasks, link)
		if (strcmp(t->name, name) == 0 && strcmp(t->rollout, rollout) == 0)
			return t;
	return NULL;
}

static struct task *newest_task(struct member *m, const char *name)
{
	struct task *t;

	TAILQ_FOREACH(t, &m->tasks, link)
		if (t->newest && strcmp(t->name, name) == 0)
			return t;
	return NULL;
}

static bool has_ended(const struct task *t)
{
	return !member_waits(t->state) && t->state != MEMBER_PREFLIGHT &&
	       t->state != MEMBER_APPLYING && t->state != MEMBER_TRIAL;
}

static void put_task(struct member *m, const struct task *t)
{
	AUTO_FREE char *body = json_dumps(t->body, JSON_COMPACT);
	struct store_word row = {.word = t->word,
				 .newest = t->newest,
				 .body = body ? body : "{}",
				 .transient = t->transient,
				 .change_id = t->change_id};
	int r;

	snprintf(row.name, sizeof(row.name), "%s", t->name);
	snprintf(row.rollout, sizeof(row.rollout), "%s", t->rollout);
	snprintf(row.state, sizeof(row.state), "%s", member_state_name(t->state));
	snprintf(row.code, sizeof(row.code), "%s", t->code);
	snprintf(row.text, sizeof(row.text), "%s", t->text);
	r = store_put_word(m->all->store, &row);
	if (r < 0)
		log_event(LOG_ERR, "word not written hotfix=%s rollout=%s error=\"%s\"",
			  t->name, t->rollout, strerror(-r));
}

static void measure_anew(struct member *m)
{
	vitals_read(m->vitals, clock_mono_ns(), &m->base);
	m->base_ms = mono_ms();
}

static void enter(struct member *m, struct task *t, enum member_state state, const char *code,
		  const char *text, bool transient)
{
	bool moved = t->state != state;

	if (!moved && strcmp(t->code, code) == 0 && strcmp(t->text, text) == 0 &&
	    t->transient == transient)
		return;
	t->state = state;
	snprintf(t->code, sizeof(t->code), "%s", code);
	snprintf(t->text, sizeof(t->text), "%s", text);
	plain_make(t->text, false); /* cut, maybe within a character */
	t->transient = transient;
	if (moved)
		measure_anew(m);
	m->acted_ms = mono_ms();
	put_task(m, t);
	log_event(state == MEMBER_COMMITTED || member_waits(state) ||
				  state == MEMBER_APPLYING || state == MEMBER_TRIAL
			  ? LOG_INFO
			  : LOG_WARNING,
		  "fleet word hotfix=%s rollout=%s word=%" PRIu64
		  " action=%s state=%s code=%s why=\"%s\"",
		  t->name, t->rollout, t->word, agent_action_name(t->w.action),
		  member_state_name(state), code, t->text);
	agent_changed(m->agent);
}

static void audit(struct member *m, const struct task *t, const char *result,
		  const struct fail *why)
{
	AUTO_JSON json_t *detail =
		json_pack("{s:s, s:I, s:s, s:I, s:I, s:s*}", "rollout", t->rollout, "word",
			  (json_int_t)t->word, "action", agent_action_name(t->w.action), "from",
			  (json_int_t)t->w.from, "to", (json_int_t)t->w.to, "message",
			  why ? why->message : NULL);
	char subject[HOOK_NAME_MAX + 24];

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, t->name,
		 t->w.to ? t->w.to : t->w.from);
	if (store_audit(m->all->store, clock_real_ms(), 0, "fleet", subject, result, detail) <
	    0)
		log_event(LOG_ERR, "not audited action=fleet subject=%s", subject);
}

static void refuse(struct member *m, struct task *t, const struct fail *why,
		   const char *code_or_null, bool transient)
{
	char code[32];
	bool passes;
	enum member_state state = member_refusal(why, code, &passes);

	audit(m, t, fail_name(why->code), why);
	if (t->w.action == AGENT_ROLLBACK)
		state = MEMBER_ROLLBACK_FAILED;
	enter(m, t, state, code_or_null ? code_or_null : code, why->message,
	      transient || passes);
}

/* ---- what runs -------------------------------------------------------------------------------- */

/* What a fleet counts as committed: not what was disabled by hand. */
static uint64_t committed_of(struct member *m, const char *name, struct store_hotfix *ret_row)
{
	struct store_hotfix row = {0};

	if (store_get_hotfix(m->all->store, name, &row) < 0)
		row = (struct store_hotfix){0};
	if (ret_row)
		*ret_row = row;
	return row.disabled ? 0 : row.committed_serial;
}

static bool is_busy(const struct hotfix *h)
{
	return h && h->phase != HOTFIX_IDLE;
}

static bool is_stored(struct member *m, const struct task *t)
{
	struct store_version v;

	return store_get_version(m->all->store, t->name, t->w.to, &v) == 0;
}

static void remember_origin(struct member *m, const struct task *t)
{
	struct store_origin o = {.serial = t->w.to,
				 .from_serial = t->w.from,
				 .at_ms = authority_now_ms(m->all->store, true)};
	int r;

	snprintf(o.name, sizeof(o.name), "%s", t->name);
	snprintf(o.rollout, sizeof(o.rollout), "%s", t->rollout);
	r = store_put_origin(m->all->store, &o);
	if (r < 0)
		log_event(LOG_ERR, "origin not written hotfix=%s error=\"%s\"", t->name,
			  strerror(-r));
}

/* The end of its change, in the words of a rollout. */
static void conclude(struct member *m, struct task *t, const struct store_change *c)
{
	enum member_state state;
	char code[32];
	bool transient;

	state = member_ended(c->outcome, c->code, code, &transient);
	if (t->w.action == AGENT_ROLLBACK) {
		if (committed_of(m, t->name, NULL) == t->w.to) {
			state = MEMBER_ROLLED_BACK;
			code[0] = 0;
		} else {
			state = MEMBER_ROLLBACK_FAILED;
		}
	} else if (state == MEMBER_COMMITTED) {
		remember_origin(m, t);
	} else if ((t->state == MEMBER_APPLYING || t->state == MEMBER_TRIAL) &&
		   (state == MEMBER_REJECTED || state == MEMBER_LOAD_FAILED ||
		    state == MEMBER_DENIED_BY_LSM)) {
		state = MEMBER_ATTACH_FAILED; /* for a controller it had begun */
		transient = false;
	}
	t->ends = false;
	enter(m, t, state, code, state == MEMBER_COMMITTED ? "" : c->detail, transient);
}

static void look_again(struct member *m, uint64_t in_ms)
{
	struct timeval tv = {.tv_sec = (time_t)(in_ms / 1000),
			     .tv_usec = (suseconds_t)(in_ms % 1000 * 1000)};
	struct timeval due, now;

	if (event_pending(m->again, EV_TIMEOUT, &due)) {
		evutil_gettimeofday(&now, NULL);
		evutil_timeradd(&now, &tv, &now);
		if (evutil_timercmp(&due, &now, <))
			return;
	}
	event_add(m->again, &tv);
}

/* What it waits for after its length is reported as soon as it is known that it does. */
static void follow_trial(struct member *m, struct task *t, const struct hotfix *h)
{
	uint64_t ends_ms = h->change.started_mono_ms + h->change.trial_ms + TRIAL_LATE_MS;
	uint64_t now_ms = mono_ms();

	if (t->state != MEMBER_TRIAL)
		t->waits = false;
	enter(m, t, MEMBER_TRIAL, "", "", false);
	if (now_ms < ends_ms) {
		look_again(m, ends_ms - now_ms);
	} else if (!t->waits) {
		t->waits = true;
		agent_changed(m->agent);
	}
}

/* It has begun. */
static void follow(struct member *m, struct task *t)
{
	struct hotfix *h = hotfix_find(m->all, t->name);
	struct store_change c = {0};
	struct fail why;
	uint64_t id;

	/* What was taken up again after a restart goes on under another number. */
	if (is_busy(h) && t->w.action == AGENT_ROLLBACK && h->change.take_off)
		t->change_id = h->change.id;
	if (is_busy(h) && h->change.id == t->change_id) {
		if (h->phase == HOTFIX_TRIAL && t->ends) {
			t->ends = false;
			audit(m, t, "begun", NULL);
			if (verb_rollback(m->all, t->name, 0, "its rollout ends the trial",
					  NULL, 0, &id, &why) < 0)
				log_event(LOG_ERR, "trial not ended hotfix=%s why=\"%s\"",
					  t->name, why.message);
			return;
		}
		if (h->phase == HOTFIX_STAGE)
			enter(m, t, MEMBER_PREFLIGHT, "", "", false);
		else if (h->phase == HOTFIX_SETTLE)
			enter(m, t, MEMBER_APPLYING, "", "", false);
		else if (h->phase == HOTFIX_TRIAL)
			follow_trial(m, t, h);
		return;
	}
	if (store_get_change(m->all->store, t->change_id, &c) < 0) {
		/* There was no room for its row: what runs has to say. */
		c.id = 0;
		snprintf(c.outcome, sizeof(c.outcome), "%s",
			 committed_of(m, t->name, NULL) == t->w.to ? "done" : "rolled_back");
		snprintf(c.code, sizeof(c.code), "STORAGE");
	}
	outcome_recall(m->all, &c);
	if (strcmp(c.outcome, "trial") != 0 && c.outcome[0])
		conclude(m, t, &c);
	store_change_clear(&c);
}

/* ---- what is to begin ------------------------------------------------------------------------- */

static bool is_frozen(const struct member *m)
{
	char path[CONFIG_PATH_BYTES + 16];

	snprintf(path, sizeof(path), "%s/" MEMBER_FREEZE_FILE, m->config->state_dir);
	return access(path, F_OK) == 0;
}

/* true: this host lets it begin. */
static bool pass_guard(struct member *m, struct task *t)
{
	static const struct {
		const char *code, *text;
	} words[] = {
		{"HOLD", "[fleet] hold on this host leaves it as it is"},
		{"FREEZE",
		 "a file \"" MEMBER_FREEZE_FILE "\" in the state directory of this host "
		 "stops the fleet"},
		{"INTERVAL", "[fleet] min_interval since the last one has not passed"},
	};
	struct member_guard_facts f = {.frozen = is_frozen(m),
				       .hold = m->config->hold,
				       .now_ms = authority_now_ms(m->all->store, false),
				       .begun_ms = m->kept.begun_ms,
				       .min_interval_ms = m->config->min_interval_ms};
	uint64_t wait_ms;
	const char *code = member_guard(&f, t->name, t->w.action == AGENT_APPLY, &wait_ms);

	if (!code[0])
		return true;
	if (wait_ms)
		look_again(m, wait_ms);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].code, code) == 0)
			enter(m, t, t->state, code, words[i].text, true);
	return false;
}

/* Its directive, for this host and of this word. */
static int open_directive(struct member *m, const struct task *t, struct directive *ret_d,
			  const char **ret_code, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	bool used = false;
	int r;

	if (!t->w.directive)
		return fail_set(reterr_fail, FAIL_POLICY, "the word has no directive");
	r = authority_trust(m->all->store, &trust, reterr_fail);
	if (r == 0)
		r = directive_open(t->w.directive, strlen(t->w.directive), trust, ret_d,
				   reterr_fail);
	if (r == 0)
		r = member_check(&t->w, ret_d, m->all->host_id, reterr_fail);
	if (r < 0)
		return r;
	if (authority_now_ms(m->all->store, true) > ret_d->expires_ms) {
		*ret_code = "EXPIRED";
		return fail_set(reterr_fail, FAIL_EXPIRED, "the directive has expired");
	}
	if (store_nonce_used(m->all->store, ret_d->nonce, &used) == 0 && used) {
		*ret_code = "REPLAYED";
		return fail_set(reterr_fail, FAIL_POLICY,
				"the directive was carried out before, and counts once");
	}
	return 0;
}

static int begin_apply(struct member *m, struct task *t, const struct directive *d,
		       struct fail *reterr_fail)
{
	char reason[HOOK_NAME_MAX + 16];
	struct verb_apply a = {.serial = t->w.to,
			       .fit_trial_ms = t->w.trial_ms,
			       .min_calls = t->w.min_calls,
			       .directive = d,
			       .reason = reason};
	struct store_version v;
	uint64_t id;
	int r = 0;

	snprintf(reason, sizeof(reason), "fleet %s", t->rollout);
	if (t->w.retry && store_get_version(m->all->store, t->name, t->w.to, &v) == 0 &&
	    v.quarantined)
		r = verb_retry(m->all, t->name, t->w.to, reason, 0, &id, reterr_fail);
	if (r == 0)
		r = verb_apply(m->all, t->name, &a, &t->change_id, reterr_fail);
	if (r < 0)
		return r;
	m->kept.begun_ms = authority_now_ms(m->all->store, true);
	if (store_put_member(m->all->store, &m->kept) < 0)
		log_event(LOG_ERR, "not written when the fleet last began something");
	return 0;
}

static int begin_rollback(struct member *m, struct task *t, const struct directive *d,
			  struct fail *reterr_fail)
{
	char reason[sizeof(d->reason) + HOOK_NAME_MAX + 16];

	snprintf(reason, sizeof(reason), "fleet %s%s%s", t->rollout, d->reason[0] ? ": " : "",
		 d->reason);
	return verb_rollback(m->all, t->name, t->w.to, reason, d, 0, &t->change_id,
			     reterr_fail);
}

struct newest_change {
	const struct task *t;
	uint64_t id;
};

static int take_newest(const struct store_change *c, void *cookie)
{
	struct newest_change *n = cookie;
	bool applies = n->t->w.action == AGENT_APPLY;

	if (c->serial == (n->t->w.to ? n->t->w.to : n->t->w.from) &&
	    strcmp(c->verb, applies	 ? "apply"
			    : n->t->w.to ? "rollback"
					 : "take_off") == 0)
		n->id = c->id;
	return 1;
}

/* The directive was spent, and hotfixd ended before the word said so: that is its change. */
static bool find_begun(struct member *m, struct task *t)
{
	struct newest_change n = {.t = t};

	store_each_change(m->all->store, t->name, false, 1, take_newest, &n);
	t->change_id = n.id;
	return n.id;
}

/* true: something has become of it. */
static void begin(struct member *m, struct task *t)
{
	bool applies = t->w.action == AGENT_APPLY;
	struct hotfix *h = hotfix_find(m->all, t->name);
	struct store_hotfix row;
	uint64_t committed = committed_of(m, t->name, &row);
	const char *code = NULL;
	struct directive d;
	struct fail why;
	int r;

	if (!row.disabled && committed == t->w.to && !is_busy(h)) {
		enter(m, t, applies ? MEMBER_COMMITTED : MEMBER_ROLLED_BACK, "", "", false);
		return;
	}
	if (applies && !is_stored(m, t)) {
		if (!t->fetched)
			return; /* on its way */
		fail_set(&why, FAIL_NOT_FOUND, "the bundle is not the version of the word");
		refuse(m, t, &why, NULL, false);
		return;
	}
	if (applies && t->state == MEMBER_PENDING)
		enter(m, t, MEMBER_STAGED, "", "", false);
	if (is_busy(h))
		return; /* once that is over */
	if (!pass_guard(m, t))
		return;
	r = open_directive(m, t, &d, &code, &why);
	if (r < 0 && code && strcmp(code, "REPLAYED") == 0 && find_begun(m, t)) {
		enter(m, t, MEMBER_PREFLIGHT, "", "", false);
		follow(m, t);
		return;
	}
	if (r == 0)
		r = applies ? begin_apply(m, t, &d, &why) : begin_rollback(m, t, &d, &why);
	if (r < 0) {
		refuse(m, t, &why, code, code != NULL);
		return;
	}
	audit(m, t, "begun", NULL);
	t->state = MEMBER_STAGED; /* so that this counts as a step, with its change */
	enter(m, t, MEMBER_PREFLIGHT, "", "", false);
	follow(m, t);
}

static void advance(struct member *m, struct task *t)
{
	if (has_ended(t))
		return;
	if (!member_waits(t->state))
		follow(m, t);
	else if (t->newest && t->listed &&
		 (t->w.action == AGENT_APPLY || t->w.action == AGENT_ROLLBACK))
		begin(m, t);
}

static void on_step(evutil_socket_t fd, short what, void *cookie)
{
	struct member *m = cookie;
	struct task *t, *next;
	bool frozen = is_frozen(m);

	(void)fd, (void)what;
	if (frozen != m->frozen)
		agent_changed(m->agent);
	m->frozen = frozen;
	for (t = TAILQ_FIRST(&m->tasks); t; t = next) {
		next = TAILQ_NEXT(t, link);
		advance(m, t);
	}
}

static void step(struct member *m)
{
	event_add(m->step, &(struct timeval){0});
}

/* Whoever changed something, and whatever: what is reported may be another now. */
static void on_changed(void *cookie)
{
	struct member *m = cookie;

	step(m);
	agent_changed(m->agent);
}

/* ---- words -------------------------------------------------------------------------------------- */

static json_t *body_of(const struct agent_word *w)
{
	char hex[BYTES_SHA256_HEX];
	json_t *doc = json_pack(
		"{s:s, s:s, s:I, s:s, s:I, s:I, s:b, s:I, s:I, s:s*}", "name", w->name,
		"rollout", w->rollout, "word", (json_int_t)w->generation, "action",
		agent_action_name(w->action), "from", (json_int_t)w->from, "to",
		(json_int_t)w->to, "retry", (int)w->retry, "trial_ms", (json_int_t)w->trial_ms,
		"min_calls", (json_int_t)w->min_calls, "directive", w->directive);

	if (doc && w->has_bundle)
		json_object_set_new(doc, "bundle",
				    json_pack("{s:s, s:I}", "sha256",
					      bytes_to_hex(w->bundle_sha256, BYTES_SHA256, hex),
					      "bytes", (json_int_t)w->bundle_bytes));
	return doc;
}

static bool stalls(const struct agent_word *w)
{
	return w->action == AGENT_WITHDRAW || w->action == AGENT_END_TRIAL;
}

static struct task *add_task(struct member *m, const struct agent_word *w)
{
	struct task *t = find_task(m, w->name, w->rollout);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	snprintf(t->name, sizeof(t->name), "%s", w->name);
	snprintf(t->rollout, sizeof(t->rollout), "%s", w->rollout);
	TAILQ_INSERT_TAIL(&m->tasks, t, link);
	return t;
}

static void make_newest(struct member *m, struct task *t)
{
	struct task *other = newest_task(m, t->name);

	if (other && other != t)
		other->newest = false;
	t->newest = true;
}

static int set_body(struct task *t, const struct agent_word *w)
{
	AUTO_JSON json_t *body = body_of(w);

	if (!body || agent_word_parse(body, &t->w, NULL) < 0)
		return -ENOMEM;
	json_decref(t->body);
	t->body = take_ptr(body);
	return 0;
}

/* What stalls leaves the state of what it stalls, and its action, as they are. */
static void take_stall(struct member *m, struct task *t, const struct agent_word *w)
{
	t->word = w->generation;
	if (!t->body && set_body(t, w) < 0)
		return;
	if (!newest_task(m, t->name))
		t->newest = true;
	if (member_waits(t->state)) {
		t->w.action = w->action; /* nothing is to begin any more */
		json_object_set_new(t->body, "action",
				    json_string(agent_action_name(w->action)));
		t->state = MEMBER_PENDING;
		t->code[0] = t->text[0] = 0;
		t->transient = false;
	} else if (w->action == AGENT_END_TRIAL && !has_ended(t)) {
		t->ends = true;
		json_object_set_new(t->body, "ends", json_true());
	}
	put_task(m, t);
}

static void take_word(struct member *m, struct task *t, const struct agent_word *w)
{
	bool is_new = !t->body || w->generation != t->word;

	t->listed = true;
	if (!is_new)
		return;
	m->acted_ms = mono_ms();
	agent_changed(m->agent);
	log_event(LOG_INFO, "fleet word taken hotfix=%s rollout=%s word=%" PRIu64 " action=%s",
		  w->name, w->rollout, w->generation, agent_action_name(w->action));
	if (stalls(w)) {
		take_stall(m, t, w);
		return;
	}
	/* What runs under the word before is followed no more: its end is a fact of the kernel. */
	if (set_body(t, w) < 0)
		return;
	t->word = w->generation;
	t->state = MEMBER_PENDING;
	t->code[0] = t->text[0] = 0;
	t->transient = t->ends = t->fetched = false;
	t->change_id = 0;
	make_newest(m, t);
	put_task(m, t);
}

static void forget_unsaid(struct member *m)
{
	struct task *t, *next;

	for (t = TAILQ_FIRST(&m->tasks); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (t->listed || (t->newest && !member_waits(t->state)) ||
		    (!member_waits(t->state) && !has_ended(t)))
			continue;
		store_delete_word(m->all->store, t->name, t->rollout);
		TAILQ_REMOVE(&m->tasks, t, link);
		task_free(t);
		agent_changed(m->agent);
	}
}

static void on_words(const struct agent_word *words, size_t n, void *cookie)
{
	struct member *m = cookie;
	struct task *t;

	TAILQ_FOREACH(t, &m->tasks, link)
		t->listed = false;
	/* Those that end something first: the others may take its place. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < n; i++) {
			if (stalls(&words[i]) != (pass == 0))
				continue;
			t = add_task(m, &words[i]);
			if (t)
				take_word(m, t, &words[i]);
		}
	forget_unsaid(m);
	on_step(-1, 0, m);
	/* What only measures is told again from time to time. */
	m->beats++;
	if (m->beats >= SILENT_BEATS || (m->acted_ms && mono_ms() - m->acted_ms < WATCHED_MS))
		agent_changed(m->agent);
}

static int load_word(const struct store_word *row, void *cookie)
{
	AUTO(task_freep) struct task *t = calloc(1, sizeof(*t));
	struct member *m = cookie;

	if (!t)
		return -ENOMEM;
	snprintf(t->name, sizeof(t->name), "%s", row->name);
	snprintf(t->rollout, sizeof(t->rollout), "%s", row->rollout);
	snprintf(t->code, sizeof(t->code), "%s", row->code);
	snprintf(t->text, sizeof(t->text), "%s", row->text);
	t->word = row->word;
	t->newest = row->newest;
	t->state = member_state_of(row->state);
	t->transient = row->transient;
	t->change_id = row->change_id;
	/* What has not begun waits until a controller says it once more: it may have been withdrawn. */
	t->listed = !member_waits(t->state);
	if (json_parse("word", row->body, strlen(row->body), &t->body, NULL) < 0 ||
	    agent_word_parse(t->body, &t->w, NULL) < 0) {
		log_event(LOG_ERR, "a word in the store cannot be read hotfix=%s rollout=%s",
			  row->name, row->rollout);
		return 0;
	}
	t->ends = json_is_true(json_object_get(t->body, "ends"));
	TAILQ_INSERT_TAIL(&m->tasks, t, link);
	t = NULL;
	return 0;
}

/* ---- bundles and documents ---------------------------------------------------------------------- */

static bool wants(const struct task *t, const uint8_t sha256[32])
{
	return t->newest && t->listed && member_waits(t->state) && t->w.action == AGENT_APPLY &&
	       t->w.has_bundle && memcmp(t->w.bundle_sha256, sha256, 32) == 0;
}

/* Nor is it fetched for those who do not want it any more. */
static bool on_has_bundle(const uint8_t sha256[32], void *cookie)
{
	struct member *m = cookie;
	struct task *t;

	if (store_has_digest(m->all->store, sha256))
		return true;
	TAILQ_FOREACH(t, &m->tasks, link)
		if (wants(t, sha256) && !t->fetched && !is_stored(m, t))
			return false;
	return true;
}

static void on_bundle(const struct agent_word *word, const uint8_t *bytes, size_t len,
		      const struct fail *why_not, void *cookie)
{
	struct member *m = cookie;
	struct intake_bundle b = {0};
	struct task *t;
	struct fail why;
	int r = 0;

	if (bytes)
		r = intake_bundle(m->all, bytes, len, 0, &b, &why);
	if (r < 0 && why.code == FAIL_EQUIVOCATION)
		intake_alarm(m->all, b.name[0] ? b.name : word->name, why.code, why.message, 0);
	TAILQ_FOREACH(t, &m->tasks, link) {
		if (!wants(t, word->bundle_sha256))
			continue;
		if (!bytes) {
			refuse(m, t, why_not, "FETCH", true);
			continue;
		}
		t->fetched = true;
		if (r < 0)
			refuse(m, t, &why, NULL, false);
	}
	step(m);
}

static int on_keep_part(const uint8_t sha256[32], uint64_t at, const uint8_t *bytes, size_t len,
			void *cookie)
{
	struct member *m = cookie;
	int r = store_put_part(m->all->store, sha256, at, bytes, len);

	if (r < 0)
		log_event(LOG_WARNING, "part of a bundle not written error=\"%s\"",
			  strerror(-r));
	return r;
}

static int on_kept_part(const uint8_t sha256[32], uint8_t **ret_bytes, size_t *ret_len,
			void *cookie)
{
	struct member *m = cookie;

	return store_get_parts(m->all->store, sha256, ret_bytes, ret_len);
}

static void on_drop_parts(void *cookie)
{
	struct member *m = cookie;

	store_drop_parts(m->all->store);
}

static void on_versions(struct agent_versions *ret_versions, void *cookie)
{
	AUTO(authority_freep) struct authority *a = NULL;
	struct member *m = cookie;

	*ret_versions = (struct agent_versions){0};
	if (authority_open(m->all->store, &a, NULL) < 0)
		return;
	ret_versions->root = a->trust->version;
	ret_versions->catalog = a->catalog ? a->catalog->version : 0;
}

static void on_root_kept(const struct worker_result *result, void *cookie)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	struct member *m = cookie;
	AUTO_FREE char *root = take_ptr(m->root);
	struct fail why = result->fail;
	int r = result->ok ? 0 : -fail_errno(why.code);

	m->worker = NULL;
	if (r == 0)
		r = intake_root_kept(m->all, (const uint8_t *)root, strlen(root), 0, &trust,
				     &why);
	step(m);
	agent_document_done(m->agent, r, &why);
}

static int on_document(enum agent_document kind, const char *envelope, size_t len,
		       struct fail *reterr_fail, void *cookie)
{
	AUTO(catalog_freep) struct catalog *catalog = NULL;
	const uint8_t *bytes = (const uint8_t *)envelope;
	struct member *m = cookie;
	struct revocation v;
	int r = 0;

	switch (kind) {
	case AGENT_ROOT:
		m->root = strdup(envelope);
		if (!m->root)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		r = intake_root(m->all, bytes, len, 0, on_root_kept, m, &m->worker,
				reterr_fail);
		if (r == 0)
			return -EINPROGRESS;
		free(take_ptr(m->root));
		break;
	case AGENT_CATALOG:
		r = intake_catalog(m->all, bytes, len, 0, &catalog, reterr_fail);
		break;
	case AGENT_REVOCATION:
		r = intake_revocation(m->all, bytes, len, 0, &v, reterr_fail);
		break;
	}
	if (r < 0 && reterr_fail->code == FAIL_EQUIVOCATION)
		intake_alarm(m->all, kind == AGENT_CATALOG ? "status" : "revocation",
			     reterr_fail->code, reterr_fail->message, 0);
	return r;
}

static int on_keep(const struct agent_kept *kept, void *cookie)
{
	struct member *m = cookie;
	struct store_member next = {.seq = kept->seq,
				    .revocation = kept->revocation,
				    .begun_ms = m->kept.begun_ms,
				    .certificate = strdup(kept->certificate),
				    .ca = strdup(kept->ca),
				    .url = strdup(kept->url)};
	int r;

	/* What files say is not copied. */
	if (m->config->fleet_certificate[0])
		next.certificate[0] = next.ca[0] = 0;
	if (!next.certificate || !next.ca || !next.url) {
		store_member_clear(&next);
		return -ENOMEM;
	}
	r = store_put_member(m->all->store, &next);
	if (r < 0)
		log_event(LOG_ERR, "fleet state not written error=\"%s\"", strerror(-r));
	store_member_clear(&m->kept);
	m->kept = next;
	return r;
}

/* ---- what is to be reported soon ---------------------------------------------------------------- */

/* After its length a trial ends with the next tick, or waits for calls for nobody knows how long. */
static uint64_t change_ends_ms(const struct hotfix *h)
{
	uint64_t lasted_ms;

	if (h->phase != HOTFIX_TRIAL)
		return 0;
	lasted_ms = mono_ms() - h->change.started_mono_ms;
	if (lasted_ms < h->change.trial_ms)
		return h->change.trial_ms - lasted_ms;
	return lasted_ms < h->change.trial_ms + TRIAL_LATE_MS ? 0 : UINT64_MAX;
}

static uint64_t on_ends(void *cookie)
{
	struct member *m = cookie;
	uint64_t first = UINT64_MAX, ends_ms;
	const struct hotfix *h;
	const struct task *t;

	TAILQ_FOREACH(t, &m->tasks, link) {
		h = has_ended(t) ? NULL : hotfix_find(m->all, t->name);
		if (!is_busy(h) || h->change.id != t->change_id)
			continue;
		ends_ms = change_ends_ms(h);
		if (ends_ms < first)
			first = ends_ms;
	}
	return first;
}

/* ---- what this host says of itself -------------------------------------------------------------- */

static int add_name(const char *name, void *cookie)
{
	json_t *names = cookie;

	return json_object_get(names, name) ? 0 : json_object_set_new(names, name, json_true());
}

static int add_row_name(const struct store_hotfix *row, void *cookie)
{
	return add_name(row->name, cookie);
}

static int add_quarantined(const struct store_version *v, void *cookie)
{
	return v->quarantined
		       ? json_array_append_new(cookie, json_integer((json_int_t)v->serial))
		       : 0;
}

static void add_metric(json_t *metrics, const char *name, double value, double base)
{
	json_object_set_new(metrics, name, json_pack("[f, f]", value, base));
}

/* Since the state last changed: counts, and what they are a share of. */
static json_t *metrics_json(const struct member *m)
{
	static const enum health_check shares[] = {HEALTH_tcp_retrans_percent},
				       counts[] = {HEALTH_tcp_resets_per_s, HEALTH_oops,
						   HEALTH_warn};
	double seconds = (double)(mono_ms() - m->base_ms) / 1000;
	json_t *metrics = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		const struct health_reading *was = &m->base.check[shares[i]],
					    *is = &m->now.check[shares[i]];

		if (was->state == HEALTH_KNOWN && is->state == HEALTH_KNOWN)
			add_metric(metrics, health_check_name(shares[i]),
				   is->value - was->value, is->base - was->base);
	}
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct health_reading *was = &m->base.check[counts[i]],
					    *is = &m->now.check[counts[i]];

		if (was->state == HEALTH_KNOWN && is->state == HEALTH_KNOWN)
			add_metric(metrics, health_check_name(counts[i]),
				   is->value - was->value, seconds);
	}
	return metrics;
}

static void add_task_json(json_t *doc, const struct task *t)
{
	json_object_set_new(doc, "rollout", json_string(t->rollout));
	json_object_set_new(doc, "word", json_integer((json_int_t)t->word));
	json_object_set_new(doc, "serial", json_integer((json_int_t)t->w.to));
	/* What waits here has begun nowhere: a controller that knows more of it has asked. */
	json_object_set_new(doc, "state", json_string(member_state_name(t->state)));
	json_object_set_new(doc, "code", json_string(t->code));
	json_object_set_new(doc, "text", json_string(t->text));
	json_object_set_new(doc, "transient", json_boolean(t->transient));
}

static json_t *hotfix_json(struct member *m, const char *name)
{
	const struct hotfix *h = hotfix_find(m->all, name);
	const struct task *t = newest_task(m, name);
	json_t *quarantined = json_array(), *doc;
	char text[WAITS_BYTES];
	const char *waits;
	struct store_hotfix row;
	uint64_t trial = 0, committed = committed_of(m, name, &row);

	store_each_version(m->all->store, name, add_quarantined, quarantined);
	if (h && h->gate && gate_trial(h->gate))
		trial = gate_version(h->gate, gate_trial(h->gate)).serial;
	doc = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "committed",
			(json_int_t)(row.disabled ? row.committed_serial : committed), "trial",
			(json_int_t)trial, "live", h ? (json_int_t)hotfix_live_serial(h) : 0,
			"high_water", (json_int_t)row.high_water, "quarantined", quarantined,
			"metrics", metrics_json(m));
	if (doc && t)
		add_task_json(doc, t);
	if (doc && t && t->state == MEMBER_TRIAL && is_busy(h) &&
	    h->change.id == t->change_id) {
		waits = report_trial_waits(m->all, h, text, sizeof(text));
		if (waits) {
			plain_make(text, false);
			json_object_set_new(doc, "code", json_string(waits));
			json_object_set_new(doc, "text", json_string(text));
		}
	}
	/* By hand: no rollout is to count on it. */
	if (doc && (row.disabled || member_holds(m->config->hold, name)))
		json_object_set_new(doc, "held", json_true());
	return doc;
}

static void add_reading(json_t *doc, const char *name, const struct health_reading *r)
{
	if (r->state == HEALTH_KNOWN)
		json_object_set_new(doc, name, json_integer((json_int_t)r->value));
}

/* What it takes depends on that: a controller plans with it. NULL: it cannot be told now. */
static json_t *root_json(const struct member *m)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	char hex[BYTES_SHA256_HEX] = "";
	struct fail why;

	if (authority_trust(m->all->store, &trust, &why) < 0)
		return why.code == FAIL_STORAGE || why.code == FAIL_INTERNAL
			       ? NULL
			       : json_pack("{s:i, s:s}", "version", 0, "sha256", "");
	return json_pack("{s:I, s:s}", "version", (json_int_t)trust->version, "sha256",
			 bytes_to_hex(trust->sha256, sizeof(trust->sha256), hex));
}

static json_t *health_json(const struct member *m)
{
	json_t *doc =
		json_pack("{s:b, s:b, s:o*}", "hold", (int)member_holds(m->config->hold, NULL),
			  "freeze", (int)is_frozen(m), "root", root_json(m));
	static const struct {
		const char *name;
		enum health_check check;
	} levels[] = {{"psi_cpu", HEALTH_psi_cpu}, {"psi_io", HEALTH_psi_io}};

	if (!doc)
		return NULL;
	add_reading(doc, "oops", &m->now.check[HEALTH_oops]);
	add_reading(doc, "warn", &m->now.check[HEALTH_warn]);
	add_reading(doc, "taint", &m->now.check[HEALTH_taint]);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (m->now.check[levels[i].check].state == HEALTH_KNOWN)
			json_object_set_new(doc, levels[i].name,
					    json_real(m->now.check[levels[i].check].value));
	return doc;
}

/* Not one that breaks the rule for labels. */
static const char *zone_of(const struct member *m)
{
	return label_value_valid(m->config->zone) ? m->config->zone : "";
}

static json_t *on_report(void *cookie)
{
	struct member *m = cookie;
	AUTO_JSON json_t *names = json_object();
	json_t *hotfixes = json_object(), *none;
	uint8_t hash[BYTES_SHA256] = {0};
	char head[BYTES_SHA256_HEX];
	const struct task *t;
	struct utsname uts;
	uint64_t seq = 0;
	const char *name;

	m->beats = 0;
	vitals_read(m->vitals, clock_mono_ns(), &m->now);
	store_each_hotfix(m->all->store, add_row_name, names);
	TAILQ_FOREACH(t, &m->tasks, link)
		add_name(t->name, names);
	for (const char *hold = m->config->hold; *hold;) {
		char word[HOOK_NAME_MAX + 1];
		size_t n = strcspn(hold, " ");

		snprintf(word, sizeof(word), "%.*s", (int)n, hold);
		if (word[0] && strcmp(word, "all") != 0)
			add_name(word, names);
		hold += n + strspn(hold + n, " ");
	}
	json_object_foreach(names, name, none)
		json_object_set_new(hotfixes, name, hotfix_json(m, name));
	store_audit_head(m->all->store, &seq, hash);
	uname(&uts);
	return json_pack("{s:s, s:s, s:s, s:s, s:O, s:s, s:o, s:o, s:{s:I, s:s}}", "boot_id",
			 clock_boot_id(), "kernel", uts.release, "arch", uts.machine, "zone",
			 zone_of(m), "labels", m->labels, "hotfixd", HOTFIX_VERSION, "hotfixes",
			 hotfixes, "health", health_json(m), "audit", "seq", (json_int_t)seq,
			 "head", bytes_to_hex(hash, sizeof(hash), head));
}

json_t *member_json(const struct hotfixes *all)
{
	struct member *m = all->member;
	char since[CLOCK_TIMESTAMP_BYTES], ends[CLOCK_TIMESTAMP_BYTES];
	struct agent_status s;
	const struct task *t;
	json_t *words, *doc;

	if (!m)
		return all->no_member.code == FAIL_NONE
			       ? json_null()
			       : json_pack("{s:s, s:s, s:s}", "host", all->host_id, "state",
					   "off", "why", all->no_member.message);
	words = json_array();
	agent_status(m->agent, &s);
	TAILQ_FOREACH(t, &m->tasks, link) {
		doc = json_pack("{s:s, s:s, s:b}", "name", t->name, "action",
				agent_action_name(t->w.action), "newest", (int)t->newest);
		if (doc)
			add_task_json(doc, t);
		json_array_append_new(words, doc);
	}
	return json_pack(
		"{s:s, s:s, s:s, s:s?, s:I, s:I, s:s?, s:s?, s:I, s:I, s:I, s:b, s:s, s:o}",
		"host", s.host, "state", agent_state_name(s.state), "controller", s.url,
		"reached", s.since_ms ? clock_format_timestamp(s.since_ms, since) : NULL,
		"failed", (json_int_t)s.failed, "retry_in_ms", (json_int_t)s.retry_in_ms, "why",
		s.why->code == FAIL_NONE ? NULL : s.why->message, "certificate_ends",
		s.not_after_s ? clock_format_timestamp(s.not_after_s * 1000, ends) : NULL,
		"heartbeat_ms", (json_int_t)s.heartbeat_ms, "generation",
		(json_int_t)s.generation, "reports", (json_int_t)s.seq, "frozen",
		(int)is_frozen(m), "hold", m->config->hold, "words", words);
}

bool member_complaint(const struct hotfixes *all, char *ret_text, size_t room)
{
	const struct member *m = all->member;
	char since[CLOCK_TIMESTAMP_BYTES];
	struct agent_status s;
	uint64_t now_ms = clock_real_ms();
	struct fail why;

	if (!m && all->no_member.code == FAIL_NONE)
		return false;
	if (!m) {
		snprintf(ret_text, room, "it is no member: %.200s", all->no_member.message);
		return true;
	}
	agent_status(m->agent, &s);
	if (s.state == AGENT_STRANGER)
		snprintf(ret_text, room, "it has no certificate: %.200s", s.why->message);
	else if (s.state == AGENT_WAITING &&
		 (!s.since_ms || now_ms - s.since_ms > COMPLAINT_AFTER_MS))
		snprintf(ret_text, room, "no controller can be reached since %s: %.200s",
			 s.since_ms ? clock_format_timestamp(s.since_ms, since) : "the start",
			 s.why->message);
	else if (s.not_after_s && s.not_after_s * 1000 < now_ms)
		snprintf(ret_text, room,
			 "its certificate came to its end: it needs a new "
			 "enrolment token");
	else if (config_check_labels(m->config, &why) < 0)
		snprintf(ret_text, room, "it does without %.200s", why.message);
	else
		return false;
	plain_make(ret_text, false);
	return true;
}

/* ---- begin and end ------------------------------------------------------------------------------ */

static const struct agent_engine engine = {.report = on_report,
					   .words = on_words,
					   .versions = on_versions,
					   .document = on_document,
					   .has_bundle = on_has_bundle,
					   .bundle = on_bundle,
					   .ends_ms = on_ends,
					   .keep_part = on_keep_part,
					   .kept_part = on_kept_part,
					   .drop_parts = on_drop_parts,
					   .keep = on_keep};

/* A file that is named must be there, but for the token: it is used up. */
static int read_text(const struct config *c, const char *path, const char *what, bool may_miss,
		     char **ret_text, struct fail *reterr_fail)
{
	uint8_t *buf = NULL;
	size_t len;
	int r;

	*ret_text = NULL;
	if (!path[0])
		return 0;
	r = io_read_file(path, FILE_BYTES_MAX, &buf, &len);
	if (r == -ENOENT && may_miss)
		return 0;
	if (r < 0)
		return fail_set(reterr_fail, FAIL_USAGE, "[fleet] %s: %s: %s%s%s", what, path,
				strerror(-r), r == -EACCES ? ": for user " : "",
				r == -EACCES ? c->user : "");
	while (len && strchr(" \t\r\n", buf[len - 1]))
		buf[--len] = 0;
	*ret_text = (char *)buf;
	return 0;
}

static void read_labels(struct member *m)
{
	char name[CONFIG_LABEL_BYTES], value[CONFIG_LABEL_BYTES];
	const char *at = m->config->labels;

	m->labels = json_object();
	while (config_next_label(&at, name, value))
		json_object_set_new(m->labels, name, json_string(value));
}

static int start_agent(struct member *m, const struct key *host, struct fail *reterr_fail)
{
	const struct config *c = m->config;
	AUTO_FREE char *token = NULL, *ca = NULL, *certificate = NULL;
	AUTO(key_pem_freep) char *key = NULL;
	char no_token[CONFIG_PATH_BYTES + 16] = "[fleet] token_file names none";
	struct utsname uts;
	struct agent_opts opts = {.controllers = c->controller,
				  .enroll = c->enroll,
				  .outside = c->fleet_certificate[0],
				  .engine = &engine,
				  .cookie = m};
	int r = read_text(c, c->token_file, "token_file", true, &token, reterr_fail);

	if (r == 0)
		r = read_text(c, c->fleet_ca, "ca", false, &ca, reterr_fail);
	if (r == 0)
		r = read_text(c, c->fleet_certificate, "certificate", false, &certificate,
			      reterr_fail);
	if (r == 0)
		r = read_text(c, c->fleet_key, "key", false, &key, reterr_fail);
	if (r < 0)
		return r;
	if (!key && !host)
		return fail_set(reterr_fail, FAIL_USAGE, "[fleet]: this host has no key");
	if (!key)
		key = key_pem(host);
	if (!key)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	uname(&uts);
	opts.name = uts.nodename;
	opts.key = key;
	opts.token = token;
	if (c->token_file[0])
		snprintf(no_token, sizeof(no_token), "%s %s", c->token_file,
			 token ? "is empty" : "is not there");
	opts.no_token = no_token;
	opts.kept = (struct agent_kept){
		.seq = m->kept.seq,
		.revocation = m->kept.revocation,
		.certificate = certificate ? certificate : m->kept.certificate,
		.ca = ca ? ca : m->kept.ca,
		.url = m->kept.url,
	};
	return agent_new(m->net, &opts, &m->agent, reterr_fail);
}

int member_new(struct hotfixes *all, const struct key *host_or_null, struct member **ret_member,
	       struct fail *reterr_fail)
{
	AUTO(member_freep) struct member *m = NULL;
	int r;

	*ret_member = NULL;
	if (!config_is_member(all->config))
		return 0;
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	m->all = all;
	m->config = all->config;
	TAILQ_INIT(&m->tasks);
	m->step = evtimer_new(all->base, on_step, m);
	m->again = evtimer_new(all->base, on_step, m);
	r = store_get_member(all->store, &m->kept);
	if (r == 0 || r == -ENOENT)
		r = store_each_word(all->store, load_word, m);
	if (r < 0)
		return store_error(all->store, r, reterr_fail);
	r = agent_net_new(all->base, 4, &m->net, reterr_fail);
	if (r < 0)
		return r;
	if (!m->step || !m->again || vitals_new("", -1, &m->vitals) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	read_labels(m);
	measure_anew(m);
	vitals_read(m->vitals, clock_mono_ns(), &m->now);
	r = start_agent(m, host_or_null, reterr_fail);
	if (r < 0)
		return r;
	all->changed = on_changed;
	all->changed_cookie = m;
	step(m);
	*ret_member = take_ptr(m);
	return 0;
}

struct member *member_free(struct member *m)
{
	struct task *t;

	if (!m)
		return NULL;
	if (m->all->changed_cookie == m)
		m->all->changed = NULL;
	worker_cancel(m->worker);
	agent_free(m->agent);
	agent_net_free(m->net);
	vitals_free(m->vitals);
	if (m->step)
		event_free(m->step);
	if (m->again)
		event_free(m->again);
	while ((t = TAILQ_FIRST(&m->tasks))) {
		TAILQ_REMOVE(&m->tasks, t, link);
		task_free(t);
	}
	json_decref(m->labels);
	store_member_clear(&m->kept);
	free(m->root);
	free(m);
	return NULL;
}
