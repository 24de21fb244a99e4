// SPDX-License-Identifier: BSD-2-Clause
/*
 * loader OBJECT FOLDER -- what a bare libbpf loader does: opens OBJECT, loads it, attaches it
 * and pins the link in FOLDER. Where its time went, as JSON on stdout.
 *
 * loader --engine HOOK -- the same with hotfixd's engine, for hit_<HOOK>_1, in one process; it
 * is taken out again at once. What hotfixd adds to that is processes, checks and the database.
 */
#include "tests/bench/bench.h"

static int by_engine(const char *hook)
{
	AUTO(gate_freep) struct gate *g = NULL;
	struct bench_object o;
	uint64_t at_ns[4];

	bench_object(&o, hook, 1);
	bench_cleanup = bench_remove;
	at_ns[0] = clock_mono_ns();
	bench_stage(&o, 1, hook);
	at_ns[1] = clock_mono_ns();
	g = bench_gate();
	gate_commit(g, 1);
	at_ns[2] = clock_mono_ns();
	bench_settle();
	at_ns[3] = clock_mono_ns();
	bench_remove();
	printf("{\"engine_stage_ms\":%.3f,\"engine_gate_ms\":%.3f,\"engine_settle_ms\":%.3f}\n",
	       bench_ms(at_ns[1] - at_ns[0]), bench_ms(at_ns[2] - at_ns[1]),
	       bench_ms(at_ns[3] - at_ns[2]));
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t at_ns[5] = {clock_mono_ns()};
	struct bpf_object *obj;
	struct bpf_link *link;
	char path[512];

	bench_program = "loader";
	libbpf_set_print(bench_words);
	if (argc != 3) {
		bench_note("usage: loader OBJECT FOLDER | --engine HOOK");
		return 2;
	}
	if (strcmp(argv[1], "--engine") == 0)
		return by_engine(argv[2]);
	obj = bpf_object__open(argv[1]);
	if (!obj)
		bench_die("open %s: %m", argv[1]);
	at_ns[1] = clock_mono_ns();
	if (bpf_object__load(obj) < 0)
		bench_die("load %s: %m", argv[1]);
	at_ns[2] = clock_mono_ns();
	/* The objects of the benchmarks have one hook each. */
	link = bench_attach(obj);
	at_ns[3] = clock_mono_ns();
	snprintf(path, sizeof(path), "%s/link", argv[2]);
	if (bpf_link__pin(link, path) < 0)
		bench_die("pin %s: %m", path);
	at_ns[4] = clock_mono_ns();
	printf("{\"open_ms\":%.3f,\"load_ms\":%.3f,\"attach_ms\":%.3f,\"pin_ms\":%.3f}\n",
	       bench_ms(at_ns[1] - at_ns[0]), bench_ms(at_ns[2] - at_ns[1]),
	       bench_ms(at_ns[3] - at_ns[2]), bench_ms(at_ns[4] - at_ns[3]));
	return 0;
}
