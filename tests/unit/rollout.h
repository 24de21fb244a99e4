// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/rollout.h -- a rollout with hosts that do as they are told, for tests that say what
 * happens in a few words. One rig per test; everything fails the test that should not fail.
 */
#pragma once

#include "tests/unit/unit.h"

#include "lib/json.h"
#include "server/controller/rollout_private.h"

#define RIG_HOSTS_MAX 2048
#define RIG_SERIAL    7
#define MINUTE_MS     60000ULL
#define HOUR_MS	      (60 * MINUTE_MS)

struct rig {
	struct rollout *r;
	struct rollout_effects fx;
	struct fail fail;
	uint64_t now_ms, seq;
	size_t n_hosts;
	struct rig_host {
		char id[16], kernel[32], zone[16], tier[16];
		struct rollout_facts facts;
		struct rollout_word word; /* the newest one */
	} host[RIG_HOSTS_MAX];
	char codes[4096]; /* of all audit rows, with blanks around */
	size_t n_applies, n_rollbacks, n_ends, n_withdraws;
};

static struct rig rig;

static struct rig_host *rig_of(const char *id)
{
	size_t i = 0;

	while (strcmp(rig.host[i].id, id) != 0)
		assert_true(++i < rig.n_hosts);
	return &rig.host[i];
}

/* "1 hosts", at the beginning or behind a blank */
static bool rig_miscounts(const char *text)
{
	static const char *const many[] = {"1 hosts", "1 users", "1 approvals", "1 rollouts"};
	const char *p;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		if ((p = strstr(text, many[i])) && (p == text || p[-1] == ' '))
			return true;
	return false;
}

static void rig_take_effects(void)
{
	for (size_t i = 0; i < rig.fx.n_words; i++) {
		const struct rollout_word *w = &rig.fx.word[i];

		rig_of(w->host)->word = *w;
		rig.n_applies += w->action == ROLLOUT_APPLY;
		rig.n_withdraws += w->action == ROLLOUT_WITHDRAW;
		rig.n_ends += w->action == ROLLOUT_END_TRIAL;
		rig.n_rollbacks += w->action == ROLLOUT_ROLLBACK;
	}
	for (size_t i = 0; i < rig.fx.n_audits; i++) {
		size_t len = strlen(rig.codes);

		if (len > sizeof(rig.codes) / 2)
			len = 0;
		snprintf(rig.codes + len, sizeof(rig.codes) - len, " %s ",
			 rig.fx.audit[i].code);
		if (rig_miscounts(rig.fx.audit[i].text))
			fail_msg("%s: %s", rig.fx.audit[i].code, rig.fx.audit[i].text);
	}
}

__attribute__((unused)) static bool rig_said(const char *code)
{
	char word[64];

	snprintf(word, sizeof(word), " %s ", code);
	return strstr(rig.codes, word);
}

static int rig_try(struct rollout_event ev)
{
	int r = rollout_step(rig.r, &ev, rig.now_ms, &rig.fx, &rig.fail);

	if (r == 0)
		rig_take_effects();
	return r;
}

static void rig_do(struct rollout_event ev)
{
	int r = rig_try(ev);

	if (r < 0)
		print_error("%s\n", rig.fail.message);
	assert_ok(r);
}

#define DO(what, ...)  rig_do((struct rollout_event){.type = ROLLOUT_##what, __VA_ARGS__})
#define TRY(what, ...) rig_try((struct rollout_event){.type = ROLLOUT_##what, __VA_ARGS__})

__attribute__((unused)) static enum host_state rig_state(const char *id)
{
	return rollout_host_state(rollout_find(rig.r, id));
}

#define assert_host(id, want) \
	assert_string_equal(host_state_name(rig_state(id)), host_state_name(HOST_##want))
#define assert_rollout(want)                                          \
	assert_string_equal(rollout_state_name(rollout_state(rig.r)), \
			    rollout_state_name(ROLLOUT_##want))
#define assert_paused_for(want)                                               \
	do {                                                                  \
		assert_rollout(PAUSED);                                       \
		assert_true(rollout_paused_for(rig.r, ROLLOUT_PAUSE_##want)); \
	} while (0)

/* Tells the engine what it should know about a host by now. */
static void rig_tell(struct rig_host *h)
{
	AUTO_JSON json_t *labels =
		json_pack("{s:s, s:s, s:s, s:s}", "kernel_release", h->kernel, "arch", "x86_64",
			  "zone", h->zone, "tier", h->tier);

	h->facts.labels = labels;
	DO(HOST, .host = h->id, .facts = &h->facts);
	h->facts.labels = NULL;
}

__attribute__((unused)) static struct rig_host *rig_join(const char *id, const char *kernel,
							 const char *zone)
{
	struct rig_host *h = &rig.host[rig.n_hosts++];

	snprintf(h->id, sizeof(h->id), "%s", id);
	snprintf(h->kernel, sizeof(h->kernel), "%s", kernel);
	snprintf(h->zone, sizeof(h->zone), "%s", zone);
	snprintf(h->tier, sizeof(h->tier), "web");
	h->facts = (struct rollout_facts){.committed = RIG_SERIAL - 1};
	rig_tell(h);
	return h;
}

/* n hosts h0, h1, ... of one kernel, over so many zones */
__attribute__((unused)) static void rig_join_many(size_t n, const char *kernel, size_t zones)
{
	char id[16], zone[16];

	for (size_t i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "h%zu", rig.n_hosts);
		snprintf(zone, sizeof(zone), "z%zu", rig.n_hosts % zones);
		rig_join(id, kernel, zone);
	}
}

/* spec: JSON with ' for ", or "" */
__attribute__((unused)) static int rig_new(const char *spec, uint64_t floor, bool takes_off)
{
	char text[4096];
	AUTO_JSON json_t *doc = NULL;

	rig.r = rollout_free(rig.r);
	rollout_effects_clear(&rig.fx);
	memset(&rig, 0, sizeof(rig));
	rig.now_ms = 1767225600000ULL;
	snprintf(text, sizeof(text), "%s", spec[0] ? spec : "{}");
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	doc = json_loads(text, 0, NULL);
	assert_non_null(doc);
	return rollout_new(&(struct rollout_opts){.id = "ro-1",
						  .name = "cve-2026-1",
						  .author = "ann",
						  .serial = RIG_SERIAL,
						  .floor = floor,
						  .takes_off = takes_off,
						  .spec = doc},
			   &rig.r, &rig.fail);
}

__attribute__((unused)) static void rig_begin(const char *spec)
{
	int r = rig_new(spec, 0, true);

	if (r < 0)
		print_error("%s\n", rig.fail.message);
	assert_ok(r);
}

__attribute__((unused)) static void rig_end(void)
{
	rig.r = rollout_free(rig.r);
	rollout_effects_clear(&rig.fx);
}

/* Another controller goes on, with what is stored. */
__attribute__((unused)) static void rig_reload(void)
{
	AUTO_JSON json_t *header = rollout_to_json(rig.r);
	struct rollout *r = NULL;

	assert_ok(rollout_load(header, &r, &rig.fail));
	for (size_t i = 0; i < rollout_n_hosts(rig.r); i++) {
		AUTO_JSON json_t *host = rollout_host_to_json(rollout_host_at(rig.r, i));

		assert_ok(rollout_load_host(r, host, &rig.fail));
	}
	rollout_free(rig.r);
	rig.r = r;
}

/* A report about the newest word of the host. */
__attribute__((unused)) static void rig_report_full(const char *id, struct rollout_report rep)
{
	struct rig_host *h = rig_of(id);

	if (rep.state == HOST_COMMITTED && !rep.committed)
		h->facts.committed = RIG_SERIAL;
	rep.seq = ++rig.seq;
	rep.word = rep.word ? rep.word : h->word.generation;
	rep.committed = rep.committed ? rep.committed : h->facts.committed;
	rep.boot_id = rep.boot_id ? rep.boot_id : "boot-1";
	DO(REPORT, .host = id, .report = &rep);
}

#define REPORT(id, what, ...) \
	rig_report_full(id, (struct rollout_report){.state = HOST_##what, __VA_ARGS__})

/* Time passes as it does for a controller that wakes up when it asked to. */
__attribute__((unused)) static void rig_pass(uint64_t ms)
{
	uint64_t until_ms = rig.now_ms + ms;

	while (rig.now_ms < until_ms) {
		uint64_t wake_ms =
			rig.fx.wake_ms > rig.now_ms ? rig.fx.wake_ms : rig.now_ms + 1;

		rig.now_ms = wake_ms < until_ms ? wake_ms : until_ms;
		DO(TICK);
	}
}

/* Carries out the newest word of a host; false: it has none to carry out. */
static bool rig_obey_one(struct rig_host *h)
{
	enum host_state state = rig_state(h->id);

	if (state == HOST_RECALLED) {
		REPORT(h->id, PENDING);
	} else if (host_is(state, HOST_FLIES)) {
		REPORT(h->id, COMMITTED);
	} else if (state == HOST_ROLLING_BACK) {
		if (h->word.action == ROLLOUT_ROLLBACK)
			h->facts.committed = h->word.to;
		REPORT(h->id, ROLLED_BACK);
	} else {
		return false;
	}
	return true;
}

/* All do, until nobody has one. */
__attribute__((unused)) static void rig_obey(void)
{
	bool any;

	do {
		any = false;
		for (size_t i = 0; i < rig.n_hosts; i++)
			any |= rig_obey_one(&rig.host[i]);
	} while (any);
}

/* The host whose turn is in this state, or NULL. */
__attribute__((unused)) static const char *rig_any(enum host_state state)
{
	for (size_t i = 0; i < rig.n_hosts; i++)
		if (rig_state(rig.host[i].id) == state)
			return rig.host[i].id;
	return NULL;
}

__attribute__((unused)) static void rig_start(void)
{
	DO(SUBMIT, .actor = "ann");
}

/* Until it pauses or is over, or so much time has passed. */
__attribute__((unused)) static void rig_run(uint64_t ms)
{
	for (uint64_t i = 0; i * MINUTE_MS < ms && rollout_runs(rollout_state(rig.r)); i++) {
		rig_obey();
		rig_pass(MINUTE_MS);
	}
}
