// SPDX-License-Identifier: BSD-2-Clause
/*
 * matrix -- kills hotfixd and its workers after every step of every verb, and looks whether
 * the world still holds.
 *
 *	matrix HOTFIXD LIBRARY FOLDER BPFFS BUNDLES NAME [--alone] [--all] [--list] [--errors] [VERB...]
 *
 * Of each verb: done once without a death, which names its steps (tests/fault/fault.h); then,
 * for each step, done again until that step, where death strikes:
 *
 *	in the daemon		it dies; its workers die with it
 *	in a worker		by turns the worker alone dies, or both; with --all, each
 *				step is played both ways
 *
 * Then hotfixd is started again if it died, and when nothing is under way any more:
 *
 *	- what runs is what ran before or what was asked for; when the client had got its
 *	  answer, what was asked for; when the verb was refused, what ran before
 *	- status says so, and pins, gate and survey agree with it
 *	- the kernel holds no link, program or map that no pin accounts for (--alone)
 *	- the database is sound, the audit chain holds, every change has its outcome
 *
 * --errors: instead of a death, the nth write, bpf(2) call or allocation of hotfixd or of a worker
 * fails, for n = 1, 2, 3, ... (with --all each, else about 24 of them). hotfixd may answer or end
 * with a message; after a restart at the latest the same must hold.
 *
 * --list prints the steps. One line per verb: "ok - VERB: N steps, N deaths survived, N missed, S s";
 * missed is a step that did not come again, such as a write that only the first start makes, or
 * one of something else that went on beside the verb; more of them than deaths are a failure.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "tests/fault/world.h"

enum place { AWAY, STORED, LIVE_1, LIVE_2, TRIAL_2, DISABLED };

struct verb {
	const char *name;
	enum place from;
	const char *method, *path, *body; /* NULL: no request but a start of the daemon */
	int old, new;
	const char *state; /* afterwards, when it was answered */
	bool back;	   /* a way back: goes on when what follows its store fails */
	bool boot;	   /* the kernel is emptied before the start */
	bool as_apply;	   /* its worker does what that of apply does: played with --all only */
	const char *crash; /* a switch to serial 2 dies there before the start */
};

#define POST(verb, json)    .method = "POST", .path = verb, .body = json
#define RUNS(before, after) .old = before, .new = after

/* clang-format off */
static const struct verb verbs[] = {
	{ "import", AWAY, .method = "IMPORT", RUNS(0, 0), .state = "stored" },
	{ "apply", STORED, POST("/apply", "{\"serial\":1,\"commit\":true}"), RUNS(0, 1), .state = "live" },
	{ "switch", LIVE_1, POST("/apply", "{\"serial\":2,\"commit\":true}"), RUNS(1, 2), .state = "live" },
	{ "rollback", LIVE_2, POST("/rollback", "{\"to\":1}"), RUNS(2, 1), .state = "live", .back = true },
	{ "trial", LIVE_1, POST("/apply", "{\"serial\":2,\"trial_ms\":61000}"), RUNS(1, 2), .state = "trial" },
	{ "commit", TRIAL_2, POST("/commit", "{}"), RUNS(1, 2), .state = "live" },
	{ "end trial", TRIAL_2, POST("/rollback", "{}"), RUNS(2, 1), .state = "live", .back = true },
	{ "disable", LIVE_1, POST("/disable", "{}"), RUNS(1, 0), .state = "disabled", .back = true },
	{ "enable", DISABLED, POST("/enable", "{}"), RUNS(0, 1), .state = "live" },
	{ "remove", DISABLED, .method = "DELETE", .path = "", RUNS(0, 0), .state = "unknown" },
	{ "remove a version", LIVE_1, .method = "DELETE", .path = "/2", RUNS(1, 1), .state = "live" },
	{ "remove a version of a disabled one", DISABLED, .method = "DELETE", .path = "/2", RUNS(0, 0), .state = "disabled" },
	{ "start", LIVE_1, RUNS(1, 1) },
	{ "start after a boot", LIVE_1, RUNS(0, 1), .boot = true, .as_apply = true },
	{ "start after a death while staging", LIVE_1, RUNS(1, 1), .crash = "worker stage: gate version" },
};
/* clang-format on */

struct play {
	struct world w;
	enum place at;
	bool all, list, errors;
	unsigned int deaths, missed, restarts;
};

static bool wrong(struct play *p, const char *what)
{
	char why[sizeof(p->w.why)];

	snprintf(why, sizeof(why), "%.150s: %.400s", what, p->w.why);
	strcpy(p->w.why, why);
	return false;
}

/* ---- getting to where a verb begins ------------------------------------------------- */

static bool ask(struct play *p, const char *method, const char *verb, const char *body)
{
	enum answer answer;
	char path[200];

	snprintf(path, sizeof(path), "/v1/hotfixes/%s%s", p->w.name, verb);
	do
		answer = world_ask(&p->w, method, path, body);
	while (answer == ANSWER_REFUSED && strstr(p->w.why, "is being changed"));
	return answer == ANSWER_OK || wrong(p, verb[0] ? verb : method);
}

static bool find_place(struct play *p, int runs, const char *state)
{
	static const struct {
		const char *state;
		int runs;
		enum place place;
	} places[] = {
		{"unknown", 0, AWAY},  {"stored", 0, STORED}, {"live", 1, LIVE_1},
		{"live", 2, LIVE_2},   {"trial", 2, TRIAL_2}, {"disabled", 0, DISABLED},
		{"failed", 0, STORED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (strcmp(places[i].state, state) == 0 && places[i].runs == runs) {
			p->at = places[i].place;
			return true;
		}
	snprintf(p->w.why, sizeof(p->w.why), "serial %d runs, but the state is %s", runs,
		 state);
	return false;
}

static bool bring_to(struct play *p, enum place to)
{
	if (p->at != AWAY && world_import(&p->w) != ANSWER_OK)
		return false;
	while (p->at != to)
		switch (p->at) {
		case AWAY:
			if (world_import(&p->w) != ANSWER_OK)
				return false;
			p->at = STORED;
			break;
		case STORED:
			if (!ask(p, "POST", "/apply", "{\"serial\":1,\"commit\":true}"))
				return false;
			p->at = LIVE_1;
			break;
		case LIVE_1:
			if (to == AWAY || to == STORED || to == DISABLED) {
				if (!ask(p, "POST", "/disable", "{}"))
					return false;
				p->at = DISABLED;
			} else if (!ask(p, "POST", "/apply",
					to == TRIAL_2 ? "{\"serial\":2,\"trial_ms\":61000}"
						      : "{\"serial\":2,\"commit\":true}")) {
				return false;
			} else {
				p->at = to;
			}
			break;
		case LIVE_2:
		case TRIAL_2:
			if (!ask(p, "POST", "/rollback", "{\"to\":1}"))
				return false;
			p->at = LIVE_1;
			break;
		case DISABLED:
			if (to == AWAY || to == STORED) {
				if (!ask(p, "DELETE", "", NULL))
					return false;
				p->at = AWAY;
			} else if (!ask(p, "POST", "/enable", "{}")) {
				return false;
			} else {
				p->at = LIVE_1;
			}
			break;
		}
	return true;
}

/* A new host, with both versions stored. */
static bool begin(struct play *p)
{
	world_wipe(&p->w);
	p->at = STORED;
	return world_start(&p->w) && world_trust(&p->w) && world_import(&p->w) == ANSWER_OK;
}

/* ---- one play ------------------------------------------------------------------------- */

/* What happens to hotfixd or a worker of it: a death after a step, or the nth call fails. */
struct blow {
	const char *step;
	enum fault_death death;
	unsigned int kinds, nth;
	int error;
	bool lasting, in_worker;
};

static const struct blow no_blow = {.death = FAULT_NONE};

static void arm(struct world *w, const struct blow *b, bool answers)
{
	struct fault *f = w->fault;

	world_mark(w);
	f->death = FAULT_NONE;
	f->nth = 0;
	f->n_steps = 0;
	f->struck = false;
	f->calls = 0;
	f->answers = answers;
	f->kinds = b->kinds;
	f->error = b->error;
	f->lasting = b->lasting;
	f->in_worker = b->in_worker;
	snprintf(f->at, sizeof(f->at), "%s", b->step ? b->step : "");
	f->play++;
	f->death = b->death;
	f->nth = b->nth;
}

/* Starts the daemon; it, or a worker of it, may die on the way. */
static enum answer play_start(struct play *p, const struct verb *v, const struct blow *b)
{
	char state[24];

	if (v->crash) {
		arm(&p->w, &(struct blow){.step = v->crash, .death = FAULT_ALL}, false);
		ask(p, "POST", "/apply", "{\"serial\":2,\"commit\":true}");
	}
	world_kill(&p->w);
	if (v->boot)
		world_wipe_kernel(&p->w);
	arm(&p->w, b, false);
	if (!world_start(&p->w))
		return ANSWER_NONE;
	return world_status(&p->w, state) ? ANSWER_OK : ANSWER_NONE;
}

static bool judge(struct play *p, const struct verb *v, enum answer answer)
{
	char state[24] = "";
	int runs;

	if (!world_holds(&p->w, &runs, state))
		return false;
	if (runs != v->old && runs != v->new) {
		snprintf(p->w.why, sizeof(p->w.why),
			 "serial %d runs, it was %d, asked for was %d", runs, v->old, v->new);
		return false;
	}
	if (answer == ANSWER_OK &&
	    (runs != v->new || (v->state && strcmp(v->state, state) != 0))) {
		snprintf(p->w.why, sizeof(p->w.why),
			 "it was answered, but serial %d runs and the state is %s", runs,
			 state);
		return false;
	}
	if (answer == ANSWER_REFUSED && runs != v->old && !v->back &&
	    (v->from != TRIAL_2 || strcmp(state, "trial") != 0)) {
		snprintf(p->w.why, sizeof(p->w.why), "it was refused, but serial %d runs",
			 runs);
		return false;
	}
	return find_place(p, runs, state);
}

static enum answer request(struct play *p, const struct verb *v, const struct blow *b)
{
	enum answer answer = ANSWER_OK;
	char path[200];

	if (!v->method)
		return play_start(p, v, b);
	/* A trial that was taken up again may still be settling; status does not tell. */
	do {
		bool again = answer == ANSWER_REFUSED;

		arm(&p->w, b, true);
		if (!v->path)
			return world_import(&p->w);
		snprintf(path, sizeof(path), "/v1/hotfixes/%s%s", p->w.name, v->path);
		answer = world_ask(&p->w, v->method, path, v->body);
		/* What it answered then was an answer, too, and it died of that. */
		if (again && answer == ANSWER_NONE && b->step &&
		    strncmp(b->step, "daemon: answer", 14) == 0)
			p->w.fault->struck = true;
	} while (answer == ANSWER_REFUSED && strstr(p->w.why, "is being changed"));
	return answer;
}

static bool play(struct play *p, const struct verb *v, const struct blow *b, bool *ret_struck)
{
	struct fault *f = p->w.fault;
	enum answer answer;

	if (!bring_to(p, v->from))
		return wrong(p, "on the way to it");
	answer = request(p, v, b);
	*ret_struck = f->struck;
	/* The client may hear of the answer, or of the end, first. */
	if (f->struck && b->step &&
	    (b->death == FAULT_ALL || strncmp(b->step, "worker", 6) != 0))
		while (!world_is_dead(&p->w))
			;
	f->death = FAULT_NONE;
	f->nth = 0;
	if (world_is_dead(&p->w)) {
		if (!f->struck)
			return wrong(p, "the daemon ended by itself");
		if (b->nth && !world_said_why(&p->w))
			return wrong(p, "the daemon ended without a word");
		if (!world_start(&p->w))
			return wrong(p, "the start after it");
		/* A start has no asker: in the end, all of it must be there. */
		if (answer == ANSWER_NONE && !v->method)
			answer = ANSWER_OK;
	}
	if (!f->struck && answer != ANSWER_OK)
		return wrong(p, "without a blow");
	/*
	 * Without memory it may be done, but cannot be said; and libevent 2.1, when it cannot
	 * allocate a connection, logs that, but keeps the socket: the client waits as long as
	 * it likes.
	 */
	if ((b->kinds & FAULT_MEMORY) && !b->in_worker &&
	    (answer == ANSWER_REFUSED || (answer == ANSWER_LATE && world_said_why(&p->w))))
		answer = ANSWER_NONE;
	if (answer == ANSWER_LATE)
		return wrong(p, "no answer");
	if (judge(p, v, answer))
		return true;
	/* What could not be written is settled at the next start. */
	if (!b->nth)
		return false;
	p->restarts++;
	/* A commit whose sync failed is in doubt: SQLite may find it in its log after all. */
	if ((b->kinds & FAULT_SPACE) && answer == ANSWER_REFUSED)
		answer = ANSWER_NONE;
	world_kill(&p->w);
	return world_start(&p->w) && judge(p, v, v->method ? answer : ANSWER_OK);
}

/* ---- all of a verb --------------------------------------------------------------------- */

/*
 * What was done before decides about some steps: the first write of a daemon syncs the folder,
 * a hot-fix has as many versions loaded as were applied. Then the step is missed.
 */
static bool strike(struct play *p, const struct verb *v, const struct blow *b)
{
	bool struck = false;

	if (!play(p, v, b, &struck))
		return false;
	if (!struck) {
		if (!bring_to(p, v->from))
			return wrong(p, "on the way to it");
		world_kill(&p->w);
		if (!world_start(&p->w) || !play(p, v, b, &struck))
			return false;
	}
	if (!struck)
		printf("# missed: %s\n", b->step);
	p->deaths += struck;
	p->missed += !struck;
	return true;
}

static unsigned int play_verb(struct play *p, const struct verb *v)
{
	static char steps[FAULT_STEPS_MAX][FAULT_STEP_BYTES];
	uint64_t start = clock_mono_ns();
	unsigned int failed = 0;
	size_t n;
	bool struck;

	p->deaths = p->missed = 0;
	/* From a fresh kernel: no version is loaded that the verb does not need. */
	if ((v->from > STORED && !bring_to(p, DISABLED)) || !play(p, v, &no_blow, &struck)) {
		printf("not ok - %s: %s\n", v->name, p->w.why);
		return 1;
	}
	n = p->w.fault->n_steps;
	if (n > FAULT_STEPS_MAX)
		n = FAULT_STEPS_MAX;
	memcpy(steps, p->w.fault->steps, sizeof(steps));
	for (size_t i = 0; i < n; i++) {
		bool in_worker = strncmp(steps[i], "worker", 6) == 0;

		if (p->list)
			printf("# %s %zu %s\n", v->name, i + 1, steps[i]);
		for (int d = FAULT_ONE; d <= FAULT_ALL; d++) {
			if (in_worker ? !p->all && (v->as_apply || (i & 1) == (d == FAULT_ONE))
				      : d == FAULT_ALL)
				continue;
			if (strike(p, v, &(struct blow){.step = steps[i], .death = d}))
				continue;
			failed++;
			printf("not ok - %s, %s dies after \"%s\": %s\n", v->name,
			       !in_worker	? "hotfixd"
			       : d == FAULT_ONE ? "the worker"
						: "hotfixd with its worker",
			       steps[i], p->w.why);
			fflush(stdout);
			if (!begin(p)) {
				printf("not ok - a new beginning: %s\n", p->w.why);
				return failed + 1;
			}
		}
	}
	if (!failed) {
		failed = p->missed > p->deaths;
		printf("%s - %s: %zu steps, %u deaths survived, %u missed, %.1f s\n",
		       failed ? "not ok" : "ok", v->name, n, p->deaths, p->missed,
		       (double)(clock_mono_ns() - start) / 1e9);
	}
	fflush(stdout);
	return failed;
}

/* ---- calls that fail --------------------------------------------------------------------- */

static const struct {
	const char *what;
	struct blow blow;
} errors[] = {
	/* clang-format off */
	{ "the disk is full",
	  { .kinds = FAULT_SPACE, .error = ENOSPC, .lasting = true } },
	{ "a write fails",
	  { .kinds = FAULT_SPACE | FAULT_DISK, .error = EIO } },
	{ "the kernel refuses a worker",
	  { .kinds = FAULT_KERNEL, .error = ENOMEM, .in_worker = true } },
	{ "hotfixd is out of memory",
	  { .kinds = FAULT_MEMORY, .error = ENOMEM } },
	{ "a worker is out of memory",
	  { .kinds = FAULT_MEMORY, .error = ENOMEM, .in_worker = true } },
	/* clang-format on */
};

/* The nth call fails, for each n; in short, for about PLAYS_SHORT of them. */
#define PLAYS_SHORT 24

static unsigned int play_errors(struct play *p, const struct verb *v)
{
	unsigned int failed = 0;
	bool struck;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct blow b = errors[i].blow;
		uint64_t start = clock_mono_ns();
		unsigned int plays = 0, calls, stride;

		p->restarts = 0;
		b.nth = UINT32_MAX; /* only counts */
		if ((v->from > STORED && !bring_to(p, DISABLED)) || !play(p, v, &b, &struck)) {
			printf("not ok - %s, %s: %s\n", v->name, errors[i].what, p->w.why);
			return failed + 1;
		}
		calls = p->w.fault->calls;
		stride = p->all || calls < PLAYS_SHORT ? 1 : calls / PLAYS_SHORT;
		for (b.nth = 1; b.nth <= calls; b.nth += stride, plays++) {
			if (play(p, v, &b, &struck))
				continue;
			failed++;
			printf("not ok - %s, %s at call %u: %s\n", v->name, errors[i].what,
			       b.nth, p->w.why);
			fflush(stdout);
			if (!begin(p)) {
				printf("not ok - a new beginning: %s\n", p->w.why);
				return failed + 1;
			}
		}
		if (!failed && calls)
			printf("ok - %s, %s: at %u of %u calls, settled by a restart %u times, %.1f s\n",
			       v->name, errors[i].what, plays, calls, p->restarts,
			       (double)(clock_mono_ns() - start) / 1e9);
		fflush(stdout);
	}
	return failed;
}

int main(int argc, char **argv)
{
	struct play p = {0};
	unsigned int failed = 0;
	int first = 7;

	if (argc < 7) {
		fputs("usage: matrix HOTFIXD LIBRARY FOLDER BPFFS BUNDLES NAME [--alone] [--all] [--list] [--errors] [VERB...]\n",
		      stderr);
		return 2;
	}
	p.w = (struct world){.hotfixd = argv[1],
			     .library = argv[2],
			     .folder = argv[3],
			     .bpffs = argv[4],
			     .bundles = argv[5],
			     .name = argv[6]};
	for (; first < argc && argv[first][0] == '-'; first++) {
		p.w.alone |= strcmp(argv[first], "--alone") == 0;
		p.all |= strcmp(argv[first], "--all") == 0;
		p.list |= strcmp(argv[first], "--list") == 0;
		p.errors |= strcmp(argv[first], "--errors") == 0;
	}
	if (!world_open(&p.w) || !begin(&p)) {
		printf("not ok - the beginning: %s\n", p.w.why);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		bool wanted = first == argc;

		for (int k = first; k < argc; k++)
			wanted |= strcmp(argv[k], verbs[i].name) == 0;
		if (wanted)
			failed += p.errors ? play_errors(&p, &verbs[i])
					   : play_verb(&p, &verbs[i]);
	}
	world_wipe(&p.w);
	return failed != 0;
}
