// SPDX-License-Identifier: BSD-2-Clause
/*
 * overhead HOOK [ROUNDS [CALLS]] -- what a call costs: without a program, with the program
 * attached directly, through the dispatcher, and through a dispatcher that is switched off.
 *
 * One thread, bound to a processor, makes CALLS calls in a row, in pieces of which the fastest
 * counts; the ways take turns within each round, so that what drifts drifts for all. The
 * program counts its calls in a map.
 */
#include "tests/bench/bench.h"

#define ROUNDS 5
#define CALLS  100000
#define PIECES 20

enum way { NONE, DIRECT, DISPATCHER, OFF, WAYS };

static const char *hook;
static struct bench_object object;
static unsigned int calls = CALLS;

static struct bpf_object *bare;
static struct bpf_link *bare_link;

static void bare_cleanup(void)
{
	bpf_link__destroy(bare_link);
	bare_link = NULL;
}

struct measure {
	bool cc;
	enum way way;
	volatile struct hit_seen *seen;
	double ns; /* of one call, in the fastest piece */
};

static void *measuring(void *cookie)
{
	struct measure *m = cookie;
	struct bench_thread t = {.slot = BENCH_ALLOWED, .pid = getpid(), .fd = -1, .peer = -1};
	/* Without the program there is no such algorithm: any other that has an init. */
	const char *cc = m->way == NONE ? "cubic" : HIT_CC;
	bool want = m->way == DIRECT || m->way == DISPATCHER;
	unsigned int piece = calls / PIECES;
	uint64_t before, start_ns = 0;
	int r = 0;

	bench_bind(0);
	if (m->cc) {
		bench_connect(&t.fd, &t.peer);
		bench_mark(t.fd, t.slot);
	} else {
		bench_become(t.slot);
	}
	before = m->seen ? m->seen->slot[t.slot].calls : 0;
	for (unsigned int i = 0; i <= PIECES; i++) { /* the first one warms up */
		double ns;

		start_ns = clock_mono_ns();
		for (unsigned int j = 0; j < piece; j++)
			r |= m->cc ? bench_set_cc(t.fd, j % 2 ? "reno" : cc)
				   : bench_call_getpgid(&t);
		ns = (double)(clock_mono_ns() - start_ns) / piece;
		if (i > 0 && (i == 1 || ns < m->ns))
			m->ns = ns;
	}
	if (r)
		bench_die("%s: a call failed", hook);
	if (m->seen) {
		uint64_t got = m->seen->slot[t.slot].calls - before;

		if (got != (want ? piece * (PIECES + 1) : 0))
			bench_die("%s: %llu calls were seen", hook, (unsigned long long)got);
	}
	if (m->cc) {
		bench_set_cc(t.fd, "reno");
		close(t.fd);
		close(t.peer);
	}
	return NULL;
}

static double measure(enum way way)
{
	struct measure m = {.cc = strcmp(hook, "struct_ops") == 0, .way = way};
	AUTO(gate_freep) struct gate *g = NULL;
	pthread_t id;

	switch (way) {
	case NONE:
	case WAYS:
		break;
	case DIRECT:
		bench_cleanup = bare_cleanup;
		bare = bench_load(&object, NULL);
		bare_link = bench_attach(bare);
		m.seen = bench_seen(1);
		break;
	case DISPATCHER:
	case OFF:
		bench_cleanup = bench_remove;
		bench_stage(&object, 1, hook);
		g = bench_gate();
		gate_commit(g, 1);
		bench_settle();
		m.seen = bench_seen(1);
		if (way == OFF)
			gate_commit(g, 0);
		break;
	}
	if (pthread_create(&id, NULL, measuring, &m) || pthread_join(id, NULL))
		bench_die("pthread_create");
	bench_unsee(m.seen);
	if (way == DIRECT) {
		bare_cleanup();
		bpf_object__close(bare);
	} else if (g) {
		gate_commit(g, 0);
		bench_remove();
	}
	bench_cleanup = NULL;
	return m.ns;
}

int main(int argc, char **argv)
{
	static const char *const names[WAYS] = {[NONE] = "none",
						[DIRECT] = "direct",
						[DISPATCHER] = "dispatcher",
						[OFF] = "off"};
	struct bench_rounds ns[WAYS] = {0}, ratio = {0};
	unsigned int rounds = ROUNDS;
	json_t *line;
	char key[64];

	bench_program = "overhead";
	if (argc < 2) {
		bench_note("usage: overhead HOOK [ROUNDS [CALLS]]");
		return 2;
	}
	hook = argv[1];
	if (argc > 2)
		rounds = (unsigned int)atoi(argv[2]);
	if (argc > 3)
		calls = (unsigned int)atoi(argv[3]) / (2 * PIECES) * 2 * PIECES;
	bench_start();
	bench_object(&object, hook, 1);

	for (unsigned int i = 0; i < rounds; i++) {
		for (enum way way = NONE; way < WAYS; way++)
			bench_add(&ns[way], measure(way));
		bench_add(&ratio, ns[DISPATCHER].value[i] / ns[DIRECT].value[i]);
	}

	line = json_pack("{ss si si}", "hook", hook, "rounds", (int)rounds, "calls",
			 (int)calls);
	for (enum way way = NONE; way < WAYS; way++) {
		snprintf(key, sizeof(key), "%s_ns_min", names[way]);
		json_object_set_new(line, key, json_real(bench_min(&ns[way])));
		snprintf(key, sizeof(key), "%s_ns_median", names[way]);
		json_object_set_new(line, key, json_real(bench_median(&ns[way])));
	}
	json_object_set_new(line, "dispatcher_to_direct_ratio",
			    json_real(bench_min(&ns[DISPATCHER]) / bench_min(&ns[DIRECT])));
	json_object_set_new(line, "dispatcher_to_direct_ratio_median",
			    json_real(bench_median(&ratio)));
	json_object_set_new(line, "dispatcher_added_ns",
			    json_real(bench_min(&ns[DISPATCHER]) - bench_min(&ns[DIRECT])));
	bench_print("overhead", line);
	free(object.elf);
	return 0;
}
