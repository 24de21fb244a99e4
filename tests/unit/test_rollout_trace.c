// SPDX-License-Identifier: BSD-2-Clause
/*
 * Random fleets: hosts that come, go, fail, fall silent, reboot and move to other kernels, whose
 * reports are lost, repeated, late and out of order; users who press every button; clocks that
 * jump; controllers that take over. After every step what must always be true is checked, and in
 * the end everything is mended and the rollout must come to an end.
 *
 * A trace is a list of operations, each of which means something whatever came before; so one that
 * fails is made smaller by leaving operations out, and what is left is printed.
 *
 *	SEED=N build/tests/unit/test_rollout_trace	this one trace again, and what it did
 */
#include "tests/unit/unit.h"

#include <inttypes.h>

#include "lib/json.h"
#include "server/controller/rollout_private.h"

#define TRACES	1200
#define OPS	320
#define HOSTS	12
#define KERNELS 3
#define ZONES	2
#define MAIL	6
#define SERIAL	7

#define OP_KINDS(X)                                                                          \
	/* name, weight */                                                                   \
	X(JOIN, 20)                                                                          \
	X(LEAVE, 3)                                                                          \
	X(HOLD, 5)                                                                           \
	X(QUARANTINED, 2)                                                                    \
	X(PINNED, 2)                                                                         \
	X(KERNEL, 4)                                                                         \
	X(WORDS, 120)	/* the host hears its newest word */                                 \
	X(WORK, 260)	/* gets on by a few stages, or fails; and reports */                 \
	X(DELIVER, 220) /* a report arrives: the oldest or another one, for good or twice */ \
	X(LOSE, 12)                                                                          \
	X(SILENT, 12)                                                                        \
	X(HEARTBEAT, 16)                                                                     \
	X(REBOOT, 6)                                                                         \
	X(LIE, 8) /* a report that says anything at all */                                   \
	X(MEASURE, 12)                                                                       \
	X(TIME, 90)                                                                          \
	X(JUMP, 3)                                                                           \
	X(SUBMIT, 6)                                                                         \
	X(APPROVE, 10)                                                                       \
	X(OVERRIDE, 1)                                                                       \
	X(PAUSE, 4)                                                                          \
	X(RESUME, 14)                                                                        \
	X(PROMOTE, 14)                                                                       \
	X(ABORT, 2)                                                                          \
	X(RETRY, 6)                                                                          \
	X(UNDO, 2)                                                                           \
	X(SUPERSEDE, 1)                                                                      \
	X(WINDOW, 6)                                                                         \
	X(LINE, 5)                                                                           \
	X(ENGINE, 5)                                                                         \
	X(DIRECTOR, 4)                                                                       \
	X(FLOOR, 1)                                                                          \
	X(TAKEOVER, 14)

enum op_kind {
#define X(name, weight) OP_##name,
	OP_KINDS(X)
#undef X
		OP_KINDS_
};

static const char *const op_names[] = {
#define X(name, weight) #name,
	OP_KINDS(X)
#undef X
};

static const unsigned int op_weights[] = {
#define X(name, weight) weight,
	OP_KINDS(X)
#undef X
};

struct op {
	enum op_kind kind;
	unsigned int host, arg;
};

/* ---- dice -------------------------------------------------------------------------- */

static uint64_t dice;

static unsigned int roll(unsigned int sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned int)((dice >> 11) % sides);
}

static struct op roll_op(void)
{
	unsigned int sum = 0, at;
	int kind = 0;

	for (int i = 0; i < OP_KINDS_; i++)
		sum += op_weights[i];
	at = roll(sum);
	while (at >= op_weights[kind])
		at -= op_weights[kind++];
	return (struct op){(enum op_kind)kind, roll(HOSTS), roll(1 << 16)};
}

/* ---- a fleet ----------------------------------------------------------------------- */

struct mail {
	uint64_t seq, word, committed;
	enum host_state state;
	unsigned int boot;
	bool transient, oops;
};

struct sim {
	char id[8];
	bool joined, silent, lied;
	unsigned int kernel, zone, boot;
	struct rollout_facts facts; /* committed: the truth */
	enum host_state state;	    /* what the host itself is at */
	struct rollout_word word, heard;
	uint64_t seq;
	struct mail mail[MAIL];
	size_t n_mail;
	uint8_t wave;	/* as seen first */
	bool had_begun; /* when the rollout stopped, or may have */
};

static struct world {
	struct rollout *r, *twin; /* twin: taken over from r's JSON, told the same since */
	struct rollout_effects fx, twin_fx, replay_fx;
	struct sim host[HOSTS];
	uint64_t now_ms, floor;
	bool committed_once[KERNELS], no_apply;
	char broken[400]; /* "": everything holds */
} world;

static const char *const kernels[KERNELS] = {"6.1", "6.12", "7.2"};
static const char *const specs[] = {
	"{\"canary\":{\"bake\":\"2m\"},\"waves\":[{\"percent\":50,\"bake\":\"3m\"},{\"percent\":100}]}",
	"{\"canary\":{\"bake\":0},\"waves\":[{\"count\":3,\"bake\":\"1m\"},{\"selector\":{\"zone\":\"z0\"}},"
	"{\"percent\":100,\"bake\":\"1m\"}],\"max_in_flight\":3,\"max_per_domain\":\"50%\"}",
	"{\"canary\":{\"bake\":\"1m\"},\"waves\":[{\"percent\":100,\"failure_threshold\":1,\"bake\":\"5m\"}],"
	"\"max_in_flight\":4,\"max_per_domain\":3,\"on_failure\":\"rollback_all\",\"consecutive\":2,\"progress_deadline\":\"3m\"}",
	"{\"canary\":{\"bake\":\"1m\",\"failure_threshold\":1},\"waves\":[{\"percent\":30},{\"percent\":100}],"
	"\"on_failure\":\"rollback_wave\",\"on_load_failure\":\"pause\",\"max_in_flight\":\"50%\","
	"\"dynamic\":false,\"severity\":\"critical\",\"approvals\":1}",
	"{\"metrics\":[{\"name\":\"m\"}],\"canary\":{\"bake\":\"1m\"},\"waves\":[{\"percent\":60,\"bake\":\"1m\"},"
	"{\"percent\":100}],\"auto_promote\":false,\"on_oops\":\"pause\",\"max_in_flight\":6,"
	"\"max_per_domain\":\"100%\",\"retries\":3,\"lost_after\":1,\"progress_deadline\":\"5m\"}",
};

/* How often each was so: a fleet that never gets somewhere proves nothing about it. */
static size_t seen_state[ROLLOUT_STATES_], seen_host[HOST_STATES_], seen_pause[ROLLOUT_PAUSES_];

/* Says what does not hold, once. */
#define HOLDS(cond, ...)                                                           \
	do {                                                                       \
		if (!(cond) && !world.broken[0])                                   \
			snprintf(world.broken, sizeof(world.broken), __VA_ARGS__); \
	} while (0)

/* ---- what must always be true ------------------------------------------------------ */

static const struct sim *sim_of(const char *id)
{
	return &world.host[atoi(id + 1)];
}

static void check_apply(const struct rollout *r, const struct rollout_word *w)
{
	const struct rollout_host *h = rollout_seek_host(r, w->host);
	const struct sim *s = sim_of(w->host);
	size_t room = spec_at_least(r->spec.max_per_domain, h->domain->hosts);
	uint64_t limit = spec_at_most(r->spec.wave[r->wave].threshold, r->members);

	HOLDS(!world.no_apply, "%s is told to apply after the rollout was over", w->host);
	HOLDS(rollout_runs(r->state) && !rollout_pauses(r) && !r->superseded_by[0],
	      "%s is told to apply while the rollout is %s", w->host,
	      rollout_state_name(r->state));
	HOLDS(w->to == SERIAL && w->to >= world.floor, "%s is told to go below the floor",
	      w->host);
	HOLDS(w->from == h->from && w->from < w->to, "%s is told to apply from %" PRIu64,
	      w->host, w->from);
	HOLDS(s->joined && !s->facts.held_by && !h->offline, "%s is held or out of reach",
	      w->host);
	HOLDS(!s->facts.quarantined || w->retry, "%s tries a quarantined version again",
	      w->host);
	HOLDS(!s->facts.max_serial || s->facts.max_serial >= SERIAL, "%s is pinned", w->host);
	HOLDS(h->why == HOST_WHY_NONE, "%s is excluded: %s", w->host, host_why_name(h->why));
	HOLDS(r->in_flight <= rollout_max_in_flight(r), "%zu hosts are in flight, %zu may be",
	      r->in_flight, rollout_max_in_flight(r));
	HOLDS(h->domain->in_flight <= (room ? room : 1),
	      "%zu of a domain in flight, %zu may be", h->domain->in_flight, room);
	HOLDS(h->stratum->state == STRATUM_PROVEN || rollout_is_canary(h),
	      "%s begins before a canary of its stratum", w->host);
	HOLDS(h->stratum->state != STRATUM_STOPPED, "%s begins where it does not load",
	      w->host);
	HOLDS(h->wave <= r->wave, "%s begins before its wave", w->host);
	HOLDS(r->failed <= r->forgiven + limit &&
		      (!r->spec.consecutive || r->row < r->spec.consecutive),
	      "%s begins although %zu have failed", w->host, r->failed);
}

static void check_back(const struct rollout *r, const struct rollout_word *w)
{
	const struct rollout_host *h = rollout_seek_host(r, w->host);

	HOLDS(r->state == ROLLOUT_ROLLING_BACK || r->state == ROLLOUT_ROLLBACK_INCOMPLETE,
	      "%s is told to go back while the rollout is %s", w->host,
	      rollout_state_name(r->state));
	HOLDS(!h->held && !h->offline, "%s is told to go back but held or out of reach",
	      w->host);
	HOLDS(w->action == ROLLOUT_END_TRIAL || (w->from == SERIAL && w->to == h->from &&
						 (w->to >= world.floor || !w->to)),
	      "%s is told to go back to %" PRIu64, w->host, w->to);
	HOLDS(r->back_in_flight <= rollout_max_in_flight(r) * r->spec.rollback_factor,
	      "%zu hosts go back at once", r->back_in_flight);
}

/* Every counter, counted again. */
static void check_books(const struct rollout *r)
{
	size_t in_flight = 0, eligible = 0, due = 0, ready = 0, back = 0, flying_back = 0;

	for (size_t i = 0; i < r->n_hosts; i++) {
		const struct rollout_host *h = r->host[i];
		bool is_due = h->state == HOST_PENDING && h->wave != ROLLOUT_NO_WAVE &&
			      h->stratum->state != STRATUM_STOPPED;

		in_flight += host_is(h->state, HOST_FLIES);
		eligible += h->state != HOST_EXCLUDED;
		due += is_due;
		ready +=
			is_due && (h->stratum->state == STRATUM_PROVEN || rollout_is_canary(h));
		back += h->back &&
			(host_is(h->state, HOST_BEGUN) || h->state == HOST_ROLLING_BACK ||
			 h->state == HOST_ROLLBACK_FAILED);
		flying_back += h->state == HOST_ROLLING_BACK;
		HOLDS(!h->held || !host_is(h->state, HOST_FLIES) ||
			      host_is(h->state, HOST_BEGUN) || h->state == HOST_RECALLED,
		      "%s is held, but what it was offered was not taken back", h->id);
		HOLDS(h->wave == ROLLOUT_NO_WAVE || h->wave <= r->wave, "%s is in a later wave",
		      h->id);
		HOLDS(h->wave == world.host[atoi(h->id + 1)].wave ||
			      world.host[atoi(h->id + 1)].wave == ROLLOUT_NO_WAVE,
		      "%s is in two waves", h->id);
		world.host[atoi(h->id + 1)].wave = h->wave;
	}
	for (size_t i = 0; i < r->n_domains; i++)
		ready -= r->domain[i]->ready.n;
	HOLDS(in_flight == r->in_flight && eligible == r->eligible && due == r->due && !ready &&
		      back == r->back && flying_back == r->back_in_flight,
	      "the books are wrong: %zu %zu in flight, %zu %zu eligible, %zu %zu due, %zd ready",
	      in_flight, r->in_flight, eligible, r->eligible, due, r->due, (ssize_t)ready);
	for (size_t i = 0; i < r->n_strata; i++)
		for (int k = 0; k < KERNELS; k++)
			HOLDS(r->stratum[i]->state != STRATUM_PROVEN ||
				      strncmp(r->stratum[i]->key, kernels[k],
					      strlen(kernels[k])) != 0 ||
				      r->stratum[i]->key[strlen(kernels[k])] != '/' ||
				      world.committed_once[k],
			      "%s is proven by nobody", r->stratum[i]->key);
}

/*
 * A stopped rollout begins nothing: whoever fails while it is stopped had been in flight, or was out
 * of reach with a word, or had committed. So no more can fail than had and were.
 */
static void check_stopped(const struct rollout *r, bool stopped_before)
{
	bool stopped = rollout_paused_for(r, ROLLOUT_PAUSE_BUDGET);

	for (size_t i = 0; i < r->n_hosts && stopped; i++) {
		const struct rollout_host *h = r->host[i];
		struct sim *s = &world.host[atoi(h->id + 1)];

		if (!stopped_before)
			s->had_begun = h->offer != 0;
		HOLDS(s->had_begun || !host_is(h->state, HOST_FAILED) ||
			      !host_is(h->state, HOST_BEGUN),
		      "%s has failed and began when it was stopped", h->id);
	}
}

static void check_end(const struct rollout *r, enum rollout_state before)
{
	/* Users may give up on hosts that do not answer, and then a newer rollout may come. */
	HOLDS(!r->in_flight || r->state == ROLLOUT_ABORTED ||
		      before == ROLLOUT_ROLLBACK_INCOMPLETE,
	      "%zu are in flight at the end", r->in_flight);
	if (r->state != ROLLOUT_SUCCEEDED)
		return;
	for (size_t i = 0; i < r->n_hosts; i++)
		HOLDS(r->host[i]->state == HOST_EXCLUDED || r->host[i]->wave != ROLLOUT_NO_WAVE,
		      "%s was in no wave", r->host[i]->id);
	HOLDS(!r->due, "%zu hosts have not had their turn", r->due);
}

/* ---- steps ------------------------------------------------------------------------- */

static char *text_of(const struct rollout *r)
{
	json_t *all = json_array();
	char *text;

	json_array_append_new(all, rollout_to_json(r));
	for (size_t i = 0; i < r->n_hosts; i++)
		json_array_append_new(all, rollout_host_to_json(r->host[i]));
	text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	return text;
}

static bool is_replayable(enum rollout_event_type type)
{
	return type >= ROLLOUT_HOST;
}

static void compare_twin(const struct rollout_event *ev, int result)
{
	int r = rollout_step(world.twin, ev, world.now_ms, &world.twin_fx, NULL);
	const struct rollout_effects *a = &world.fx, *b = &world.twin_fx;

	HOLDS(r == result, "who took over answers %d, not %d", r, result);
	HOLDS(a->changed == b->changed && a->wake_ms == b->wake_ms &&
		      a->n_words == b->n_words && a->n_audits == b->n_audits &&
		      a->n_hosts == b->n_hosts,
	      "who took over goes on differently");
	HOLDS(a->n_words != b->n_words || !a->n_words ||
		      memcmp(a->word, b->word, a->n_words * sizeof(*a->word)) == 0,
	      "who took over says other words");
}

static void step(struct rollout_event ev)
{
	struct rollout *r = world.r;
	enum rollout_state before = r->state;
	uint64_t generation = r->generation, clock_ms = r->clock_ms, anchor_ms = r->anchor_ms;
	bool stopped = rollout_paused_for(r, ROLLOUT_PAUSE_BUDGET);
	int result = rollout_step(r, &ev, world.now_ms, &world.fx, NULL);
	const struct rollout_effects *fx = &world.fx;

	HOLDS(r->generation == generation + fx->changed, "the generation is not one more");
	HOLDS(fx->changed || (!fx->n_words && !fx->n_hosts && !fx->n_audits),
	      "effects without a change");
	HOLDS(fx->changed || (r->clock_ms == clock_ms && r->anchor_ms == anchor_ms),
	      "time passed without a change");
	HOLDS(result == 0 || !fx->changed, "refused, but something has changed");
	HOLDS(r->clock_ms >= clock_ms && r->clock_ms <= clock_ms + ROLLOUT_STEP_MAX_MS,
	      "the clock went from %" PRIu64 " to %" PRIu64, clock_ms, r->clock_ms);
	HOLDS(!rollout_is_over(before) || r->state == before ||
		      (r->state != ROLLOUT_FAILED && !rollout_runs(r->state) &&
		       (before == ROLLOUT_SUCCEEDED || before == ROLLOUT_ROLLED_BACK)),
	      "%s is no end: %s followed", rollout_state_name(before),
	      rollout_state_name(r->state));
	for (size_t i = 0; result == 0 && i < fx->n_words; i++) {
		const struct rollout_word *w = &fx->word[i];
		struct sim *s = &world.host[atoi(w->host + 1)];

		HOLDS(w->generation == r->generation && w->generation > s->word.generation,
		      "%s is told two things at once", w->host);
		HOLDS(!r->director_lost ||
			      (w->action != ROLLOUT_APPLY && w->action != ROLLOUT_ROLLBACK),
		      "%s is told what nobody can sign", w->host);
		if (w->action == ROLLOUT_APPLY)
			check_apply(r, w);
		else if (w->action != ROLLOUT_WITHDRAW)
			check_back(r, w);
		s->word = *w;
	}
	check_books(r);
	check_stopped(r, stopped);
	if (rollout_is_over(r->state) || r->state >= ROLLOUT_ABORTING)
		world.no_apply = true;
	if (rollout_is_over(r->state) && r->state != before)
		check_end(r, before);
	if (world.twin)
		compare_twin(&ev, result);
	if (is_replayable(ev.type)) {
		generation = r->generation;
		rollout_step(r, &ev, world.now_ms, &world.replay_fx, NULL);
		HOLDS(!world.replay_fx.changed && r->generation == generation,
		      "the same event again has changed something");
	}
	for (size_t i = 0; i < fx->n_audits; i++)
		seen_state[fx->audit[i].to] += fx->audit[i].to != fx->audit[i].from;
	for (int i = 0; i < HOST_STATES_; i++)
		seen_host[i] += r->count[i] > 0;
	for (int i = 0; i < ROLLOUT_PAUSES_; i++)
		seen_pause[i] += rollout_paused_for(r, (enum rollout_pause)i);
}

static uint64_t refused_of(const struct rollout *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->n_strata; i++)
		sum += r->stratum[i]->refused;
	return sum;
}

/* Another controller takes over: from what is stored, and nothing else. */
static void take_over(void)
{
	AUTO_FREE char *text = text_of(world.r);
	AUTO_FREE char *again = NULL;
	AUTO_FREE char *twin = world.twin ? text_of(world.twin) : NULL;
	AUTO_JSON json_t *all = json_loads(text, 0, NULL);
	struct fail fail = {0};
	json_t *one;
	size_t i;
	int r = 0;

	HOLDS(!twin || strcmp(twin, text) == 0, "who took over has become another");
	world.twin = rollout_free(world.twin);
	json_array_foreach(all, i, one)
		if (r == 0)
			r = i ? rollout_load_host(world.twin, one, &fail)
			      : rollout_load(one, &world.twin, &fail);
	HOLDS(r == 0, "what was written cannot be read: %.200s", fail.message);
	if (r < 0)
		return;
	again = text_of(world.twin);
	HOLDS(strcmp(again, text) == 0, "what was read is not what was written");
	HOLDS(memcmp(world.twin->count, world.r->count, sizeof(world.r->count)) == 0 &&
		      world.twin->row == world.r->row &&
		      world.twin->forgiven == world.r->forgiven &&
		      world.twin->progress_ms == world.r->progress_ms &&
		      world.twin->members == world.r->members &&
		      refused_of(world.twin) == refused_of(world.r) &&
		      world.twin->failed == world.r->failed &&
		      world.twin->failed_canaries == world.r->failed_canaries &&
		      world.twin->bakes.n == world.r->bakes.n &&
		      world.twin->fresh.n == world.r->fresh.n &&
		      world.twin->timers.n == world.r->timers.n,
	      "who took over counts differently");
}

/* ---- hosts ------------------------------------------------------------------------- */

static void tell(struct sim *s)
{
	AUTO_JSON json_t *labels =
		json_pack("{s:s, s:s, s:s+}", "kernel_release", kernels[s->kernel], "arch",
			  "x86_64", "zone", "z", s->zone ? "1" : "0");

	s->facts.labels = labels;
	s->facts.missed = s->silent ? 3 : 0;
	s->joined = true;
	step((struct rollout_event){.type = ROLLOUT_HOST, .host = s->id, .facts = &s->facts});
}

static void write_mail(struct sim *s, bool transient, bool oops)
{
	if (s->n_mail == MAIL) { /* the oldest is lost */
		memmove(s->mail, s->mail + 1, (MAIL - 1) * sizeof(*s->mail));
		s->n_mail--;
	}
	s->mail[s->n_mail++] = (struct mail){.seq = ++s->seq,
					     .word = s->heard.generation,
					     .committed = s->facts.committed,
					     .state = s->state,
					     .boot = s->boot,
					     .transient = transient,
					     .oops = oops};
}

static void deliver(struct sim *s, size_t i, bool keep)
{
	char boot[16];
	struct mail m;

	if (i >= s->n_mail || !s->joined)
		return;
	m = s->mail[i];
	snprintf(boot, sizeof(boot), "boot-%u", m.boot);
	s->silent = false;
	step((struct rollout_event){
		.type = ROLLOUT_REPORT,
		.host = s->id,
		.report = &(struct rollout_report){.seq = m.seq,
						   .word = m.word,
						   .state = m.state,
						   .committed = m.committed,
						   .boot_id = boot,
						   .code = m.oops ? "OOPS" : "CODE",
						   .transient = m.transient}});
	if (keep)
		return;
	memmove(s->mail + i, s->mail + i + 1, (s->n_mail - i - 1) * sizeof(*s->mail));
	s->n_mail--;
}

/* The host hears its newest word. */
static void hear(struct sim *s, bool fails)
{
	bool begun = s->state == HOST_APPLYING || s->state == HOST_TRIAL;

	if (!s->joined || s->heard.generation == s->word.generation)
		return;
	s->heard = s->word;
	switch (s->word.action) {
	case ROLLOUT_APPLY:
		s->state = s->facts.committed == s->word.from ? HOST_OFFERED : HOST_REJECTED;
		break;
	case ROLLOUT_WITHDRAW:
		if (!begun && s->state != HOST_COMMITTED)
			s->state = HOST_PENDING;
		break;
	case ROLLOUT_END_TRIAL:
		if (s->state != HOST_COMMITTED)
			s->state = begun ? HOST_ROLLED_BACK : HOST_PENDING;
		break;
	case ROLLOUT_ROLLBACK:
		if (fails) {
			s->state = s->seq % 2 ? HOST_ROLLBACK_FAILED : HOST_QUARANTINED;
		} else if (s->facts.committed == s->word.from) {
			s->facts.committed = s->word.to;
			s->state = s->seq % 4 ? HOST_ROLLED_BACK : HOST_QUARANTINED;
		}
		break;
	}
	write_mail(s, false, false);
}

/* How each stage fails. */
static enum host_state failure_of(enum host_state state)
{
	static const enum host_state failures[HOST_STATES_] = {
		[HOST_OFFERED] = HOST_REJECTED,	       [HOST_STAGED] = HOST_LOAD_FAILED,
		[HOST_PREFLIGHT] = HOST_DENIED_BY_LSM, [HOST_APPLYING] = HOST_ATTACH_FAILED,
		[HOST_TRIAL] = HOST_UNHEALTHY,	       [HOST_COMMITTED] = HOST_DRIFTED,
	};

	return failures[state];
}

static void work(struct sim *s, unsigned int arg, bool well)
{
	bool fails = !well && arg % 17 == 0;

	for (unsigned int stages = 1 + arg / 32 % 6; s->joined && stages; stages--) {
		static const enum host_state next[HOST_STATES_] = {
			[HOST_OFFERED] = HOST_STAGED,	  [HOST_STAGED] = HOST_PREFLIGHT,
			[HOST_PREFLIGHT] = HOST_APPLYING, [HOST_APPLYING] = HOST_TRIAL,
			[HOST_TRIAL] = HOST_COMMITTED,
		};

		if (fails && stages == 1 && failure_of(s->state)) {
			s->state = failure_of(s->state);
			break;
		}
		if (!next[s->state])
			break;
		s->state = next[s->state];
		if (s->state == HOST_COMMITTED) {
			s->facts.committed = SERIAL;
			world.committed_once[s->kernel] = true;
		}
	}
	if (s->joined)
		write_mail(s, arg & 1024, (arg >> 11) % 4 == 0);
}

static void lie(struct sim *s, unsigned int arg)
{
	struct rollout_report rep = {.seq = arg % 50 ? ++s->seq : UINT64_MAX,
				     .word = s->word.generation + arg / 64 % 4 - 1,
				     .state = (enum host_state)(arg % HOST_STATES_),
				     .committed = arg / 32 % 60 ? SERIAL - 1 + arg / 16 % 3
								: UINT64_MAX,
				     .boot_id = arg / 128 % 3 ? "boot-0" : "\xff",
				     .code = arg / 8 % 7 ? "" : "\x1b[31m\xe2\x82"};

	if (!s->joined)
		return;
	s->lied = true;
	world.committed_once[s->kernel] |= rep.state == HOST_COMMITTED;
	step((struct rollout_event){.type = ROLLOUT_REPORT, .host = s->id, .report = &rep});
}

static void reboot(struct sim *s)
{
	s->boot++;
	if (s->state != HOST_COMMITTED && host_is(s->state, HOST_FLIES))
		s->state = host_is(s->state, HOST_BEGUN) ? HOST_CRASHED : HOST_PENDING;
	if (s->joined)
		write_mail(s, false, false);
}

/* ---- operations -------------------------------------------------------------------- */

static void pass(uint64_t ms)
{
	world.now_ms += ms;
	step((struct rollout_event){.type = ROLLOUT_TICK});
}

static void measure(struct sim *s, unsigned int arg)
{
	struct rollout_metric m = {"m", arg % 7, arg % 5 ? 1000 : arg % 3 ? 10 : 0.0 / 0.0};
	char boot[16];

	if (!s->joined)
		return;
	snprintf(boot, sizeof(boot), "boot-%u", s->boot);
	step((struct rollout_event){
		.type = ROLLOUT_REPORT,
		.host = s->id,
		.report = &(struct rollout_report){.seq = ++s->seq,
						   .word = s->heard.generation,
						   .state = s->state,
						   .committed = s->facts.committed,
						   .boot_id = boot,
						   .metrics = &m,
						   .n_metrics = 1}});
	s->silent = false;
}

#define USER(what, ...)              \
	step((struct rollout_event){ \
		.type = ROLLOUT_##what, .actor = "bob", .reason = "r", __VA_ARGS__})

static void operate(const struct op *op)
{
	struct sim *s = &world.host[op->host];
	unsigned int arg = op->arg;

	switch (op->kind) {
	case OP_JOIN:
		tell(s);
		break;
	case OP_LEAVE:
		if (s->joined)
			step((struct rollout_event){.type = ROLLOUT_HOST_LEFT, .host = s->id});
		s->joined = false;
		break;
	case OP_HOLD:
		s->facts.held_by = arg % 3 ? NULL : arg % 2 ? "ann" : "ben";
		tell(s);
		break;
	case OP_QUARANTINED:
		s->facts.quarantined = arg % 2;
		tell(s);
		break;
	case OP_PINNED:
		s->facts.max_serial = arg % 2 ? SERIAL - 1 : 0;
		tell(s);
		break;
	case OP_KERNEL:
		s->kernel = arg % KERNELS;
		reboot(s);
		tell(s);
		break;
	case OP_WORDS:
		hear(s, arg % 19 == 0);
		break;
	case OP_WORK:
		work(s, arg, false);
		break;
	case OP_DELIVER:
		deliver(s, arg % 4 ? 0 : arg / 4 % MAIL, arg % 32 == 1);
		break;
	case OP_LOSE:
		s->n_mail -= s->n_mail > 0;
		break;
	case OP_SILENT:
		s->silent = true;
		step((struct rollout_event){
			.type = ROLLOUT_HEARTBEAT, .host = s->id, .missed = 1 + arg % 4});
		break;
	case OP_HEARTBEAT:
		s->silent = false;
		step((struct rollout_event){.type = ROLLOUT_HEARTBEAT, .host = s->id});
		break;
	case OP_REBOOT:
		reboot(s);
		break;
	case OP_LIE:
		lie(s, arg);
		break;
	case OP_MEASURE:
		measure(s, arg);
		break;
	case OP_TIME:
		pass(arg % 90000);
		break;
	case OP_JUMP:
		pass(arg % 2 ? (uint64_t)arg * 100000 : -(uint64_t)arg * 1000);
		break;
	case OP_SUBMIT:
		USER(SUBMIT);
		break;
	case OP_APPROVE:
		USER(APPROVE);
		break;
	case OP_OVERRIDE:
		USER(OVERRIDE);
		break;
	case OP_PAUSE:
		USER(PAUSE);
		break;
	case OP_RESUME:
		USER(RESUME);
		break;
	case OP_PROMOTE:
		USER(PROMOTE);
		break;
	case OP_ABORT:
		USER(ABORT, .scope = (enum rollout_scope)(arg % 3));
		break;
	case OP_RETRY:
		USER(RETRY, .host = arg % 2 ? s->id : NULL);
		break;
	case OP_UNDO:
		USER(UNDO);
		break;
	case OP_SUPERSEDE:
		USER(SUPERSEDE, .by = "ro-2");
		break;
	case OP_WINDOW:
		step((struct rollout_event){
			.type = ROLLOUT_WINDOW, .on = arg % 4, .next_ms = arg});
		break;
	case OP_LINE:
		step((struct rollout_event){.type = ROLLOUT_STOP_THE_LINE, .on = arg % 4 == 0});
		break;
	case OP_ENGINE:
		step((struct rollout_event){.type = ROLLOUT_ENGINE_LOST, .on = arg % 4 == 0});
		break;
	case OP_DIRECTOR:
		step((struct rollout_event){
			.type = ROLLOUT_DIRECTOR_LOST, .on = arg % 4 == 0, .reason = "key"});
		break;
	case OP_FLOOR:
		world.floor =
			world.floor > SERIAL - 1 + arg % 3 ? world.floor : SERIAL - 1 + arg % 3;
		step((struct rollout_event){.type = ROLLOUT_FLOOR, .serial = world.floor});
		break;
	case OP_TAKEOVER:
		take_over();
		break;
	case OP_KINDS_:
		break;
	}
}

/* Whatever went on: with everybody well and in reach, and users who press on, it comes to an end. */
static void mend(void)
{
	struct op op[] = {{OP_SUBMIT, 0, 0},  {OP_APPROVE, 0, 0}, {OP_WINDOW, 0, 1},
			  {OP_LINE, 0, 1},    {OP_ENGINE, 0, 1},  {OP_DIRECTOR, 0, 1},
			  {OP_PROMOTE, 0, 0}, {OP_RESUME, 0, 0},  {OP_RETRY, 0, 0}};

	for (size_t round = 0; round < 300 && !world.broken[0]; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(op); i++)
			if (op[i].kind != OP_RETRY || round == 10)
				operate(&op[i]);
		for (size_t i = 0; i < HOSTS; i++) {
			struct sim *s = &world.host[i];

			if (!s->joined)
				continue;
			s->silent = false;
			s->facts.held_by = NULL;
			tell(s);
			hear(s, false);
			work(s, 32 * 5, true);
			while (s->n_mail)
				deliver(s, 0, false);
		}
		pass(60000);
		if (world.r->state == ROLLOUT_ROLLBACK_INCOMPLETE && round > 100)
			USER(ABORT); /* what is below the floor does not come back */
		if (rollout_is_over(world.r->state) && round > 20)
			return;
	}
	HOLDS(false,
	      "it does not come to an end: it is %s in wave %d, %zu due, %zu in flight, "
	      "pauses %x",
	      rollout_state_name(world.r->state), world.r->wave, world.r->due,
	      world.r->in_flight, rollout_pauses(world.r));
}

/* After a rollback of all nobody has it, but who had it before or is gone. */
static void check_mended(void)
{
	const struct rollout *r = world.r;

	if (r->state != ROLLOUT_ROLLED_BACK || r->scope != ROLLOUT_ALL)
		return;
	for (size_t i = 0; i < HOSTS; i++) {
		const struct sim *s = &world.host[i];

		HOLDS(!s->joined || s->lied || s->facts.committed != SERIAL ||
			      s->state == HOST_DRIFTED,
		      "%s still has what was rolled back", s->id);
	}
}

/* ---- traces ------------------------------------------------------------------------ */

static void world_end(void)
{
	world.r = rollout_free(world.r);
	world.twin = rollout_free(world.twin);
	rollout_effects_clear(&world.fx);
	rollout_effects_clear(&world.twin_fx);
	rollout_effects_clear(&world.replay_fx);
}

static void world_begin(uint64_t seed)
{
	AUTO_JSON json_t *spec = json_loads(specs[seed % ARRAY_SIZE(specs)], 0, NULL);

	memset(&world, 0, sizeof(world));
	world.now_ms = 1767225600000ULL;
	assert_non_null(spec);
	assert_ok(rollout_new(&(struct rollout_opts){.id = "ro-1",
						     .name = "cve-2026-1",
						     .author = "ann",
						     .serial = SERIAL,
						     .takes_off = seed % 3,
						     .spec = spec},
			      &world.r, NULL));
	for (unsigned int i = 0; i < HOSTS; i++) {
		struct sim *s = &world.host[i];

		snprintf(s->id, sizeof(s->id), "h%u", i);
		s->kernel = (unsigned int)((seed >> i) % KERNELS);
		s->zone = i % ZONES;
		s->state = HOST_PENDING;
		s->facts.committed = i % 4 ? SERIAL - 1 : 0;
		s->wave = ROLLOUT_NO_WAVE;
	}
}

/* false: world.broken says what did not hold, after *ret_ops of them. */
static bool run(uint64_t seed, const struct op *ops, size_t n, size_t *ret_ops)
{
	size_t i;

	world_begin(seed);
	for (i = 0; i < n && !world.broken[0]; i++)
		operate(&ops[i]);
	*ret_ops = i;
	if (!world.broken[0])
		mend();
	if (!world.broken[0])
		check_mended();
	world_end();
	return !world.broken[0];
}

/* Leaves out as many operations as possible; fails(): what is left still does. */
static size_t shrink(struct op *ops, size_t n, bool (*fails)(const struct op *ops, size_t n))
{
	struct op *some = calloc(n + 1, sizeof(*some));

	for (size_t chunk = n / 2 ? n / 2 : 1; chunk; chunk /= 2)
		for (size_t from = 0; from < n;) {
			size_t to = from + chunk < n ? from + chunk : n;

			memcpy(some, ops, from * sizeof(*ops));
			memcpy(some + from, ops + to, (n - to) * sizeof(*ops));
			if (fails(some, n - (to - from))) {
				memcpy(ops, some, n * sizeof(*ops));
				n -= to - from;
			} else {
				from = to;
			}
		}
	free(some);
	return n;
}

static uint64_t seed_now;

static bool run_fails(const struct op *ops, size_t n)
{
	size_t ran;

	return !run(seed_now, ops, n, &ran);
}

static void print_ops(const struct op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		print_error("  %-11s h%-2u %u\n", op_names[ops[i].kind], ops[i].host,
			    ops[i].arg);
}

static size_t make_ops(uint64_t seed, struct op ops[OPS])
{
	size_t n = 0;

	dice = (seed + 1) * 0x9e3779b97f4a7c15ULL;
	for (unsigned int i = 0; i < HOSTS; i++)
		if (roll(4))
			ops[n++] = (struct op){OP_JOIN, i, 0};
	ops[n++] = (struct op){OP_SUBMIT, 0, 0};
	while (n < OPS)
		ops[n++] = roll_op();
	return n;
}

static void one_trace(uint64_t seed)
{
	struct op ops[OPS];
	size_t n = make_ops(seed, ops), ran;

	seed_now = seed;
	if (run(seed, ops, n, &ran))
		return;
	print_error("seed %" PRIu64 ": %s\n", seed, world.broken);
	n = shrink(ops, ran, run_fails);
	run(seed, ops, n, &ran);
	print_error("SEED=%" PRIu64 " and of its operations these %zu: %s\n", seed, n,
		    world.broken);
	print_ops(ops, n);
	fail();
}

static void in_random_fleets_what_must_be_true_always_is(void **state)
{
	const char *seed = getenv("SEED");

	(void)state;
	for (uint64_t i = 0; i < TRACES && !seed; i++)
		one_trace(i);
	if (seed) {
		one_trace(strtoull(seed, NULL, 10));
		return;
	}
	for (int i = ROLLOUT_DRAFT + 1; i < ROLLOUT_STATES_; i++)
		if (!seen_state[i])
			fail_msg("never %s", rollout_state_name((enum rollout_state)i));
	for (int i = 0; i < HOST_STATES_; i++)
		if (!seen_host[i])
			fail_msg("never a host %s", host_state_name((enum host_state)i));
	for (int i = 0; i < ROLLOUT_PAUSES_; i++)
		if (!seen_pause[i])
			fail_msg("never paused for %s",
				 rollout_pause_name((enum rollout_pause)i));
}

/* ---- and of the tool itself -------------------------------------------------------- */

static bool pauses_and_then_aborts(const struct op *ops, size_t n)
{
	size_t i = 0;

	while (i < n && ops[i].kind != OP_PAUSE)
		i++;
	while (i < n && ops[i].kind != OP_ABORT)
		i++;
	return i < n;
}

static void a_failing_trace_is_reduced_to_what_makes_it_fail(void **state)
{
	struct op ops[OPS];
	size_t n;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		n = make_ops(seed, ops);
		if (!pauses_and_then_aborts(ops, n))
			continue;
		n = shrink(ops, n, pauses_and_then_aborts);
		assert_int_equal(n, 2);
		assert_int_equal(ops[0].kind, OP_PAUSE);
		assert_int_equal(ops[1].kind, OP_ABORT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failing_trace_is_reduced_to_what_makes_it_fail),
		cmocka_unit_test(in_random_fleets_what_must_be_true_always_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
