// SPDX-License-Identifier: BSD-2-Clause
/*
 * loader OBJECT FOLDER -- what a bare libbpf loader does: opens OBJECT, loads it, attaches its
 * programs and pins the links in FOLDER. Where its time went, as JSON on stdout.
 */
#include "tests/bench/bench.h"

int main(int argc, char **argv)
{
	uint64_t at_ns[5] = {clock_mono_ns()};
	struct bpf_program *prog;
	struct bpf_object *obj;
	char path[512];

	bench_program = "loader";
	libbpf_set_print(bench_words);
	if (argc != 3) {
		bench_note("usage: loader OBJECT FOLDER");
		return 2;
	}
	obj = bpf_object__open(argv[1]);
	if (!obj)
		bench_die("open %s: %m", argv[1]);
	at_ns[1] = clock_mono_ns();
	if (bpf_object__load(obj) < 0)
		bench_die("load %s: %m", argv[1]);
	at_ns[2] = clock_mono_ns();
	bpf_object__for_each_program(prog, obj)
	{
		struct bpf_link *link = bpf_program__attach(prog);

		if (!link)
			bench_die("attach: %m");
		at_ns[3] = clock_mono_ns();
		snprintf(path, sizeof(path), "%s/%s", argv[2], bpf_program__name(prog));
		if (bpf_link__pin(link, path) < 0)
			bench_die("pin %s: %m", path);
		at_ns[4] = clock_mono_ns();
	}
	printf("{\"open_ms\":%.3f,\"load_ms\":%.3f,\"attach_ms\":%.3f,\"pin_ms\":%.3f}\n",
	       bench_ms(at_ns[1] - at_ns[0]), bench_ms(at_ns[2] - at_ns[1]),
	       bench_ms(at_ns[3] - at_ns[2]), bench_ms(at_ns[4] - at_ns[3]));
	return 0;
}
