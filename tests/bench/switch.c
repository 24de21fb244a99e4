// SPDX-License-Identifier: BSD-2-Clause
/*
 * switch HOOK [SWITCHES [CALLS]] -- what calls under way see of a switch between two versions.
 *
 * At least SWITCHES (10,000) stores to the gate against at least CALLS (1,000,000) calls of
 * the hook, each of which is checked (bench.h). Beside it, with fewer swaps, what there is
 * without a dispatcher: detach then attach, attach then detach, and for struct_ops the
 * kernel's own update of a link.
 *
 * HOOK: fentry fexit fmod_ret lsm struct_ops. fmod_ret needs a kernel without BPF LSM, as
 * hotfixd would attach it as lsm.
 */
#include "tests/bench/bench.h"

#define SWITCHES      10000
#define CALLS	      1000000
#define SWAPS	      6
#define HOLD_US	      30000 /* how long a swapped-in version runs before the next swap */
#define PAUSE_US      50
#define SAMPLE_EVERY  150
#define TRAFFIC_BYTES (1U << 20)
#define TRAFFIC_SWAPS 4

static const char *hook;
static struct bench_object objects[2];

static void print(const char *method, const struct bench_hammer *h, struct bench_counts c,
		  uint64_t switches, const struct bench_rounds *cost, double unit,
		  const char *cost_key, json_t *more)
{
	json_t *line;

	line = json_pack("{ss ss sI sI si sI sI}", "hook", hook, "method", method, "switches",
			 (json_int_t)switches, "calls", (json_int_t)c.calls, "threads",
			 (int)h->n, "missed", (json_int_t)c.missed, "double",
			 (json_int_t)c.twice);
	json_object_set_new(line, "missed_per_switch",
			    json_real((double)c.missed / (double)switches));
	if (h->denies)
		json_object_set_new(line, "wrong_answer", json_integer((json_int_t)c.torn));
	json_object_set_new(line, "by_v1", json_integer((json_int_t)c.by[0]));
	json_object_set_new(line, "by_v2", json_integer((json_int_t)c.by[1]));
	json_object_set_new(line, cost_key, json_real(bench_median(cost) * unit));
	if (more) {
		json_object_update(line, more);
		json_decref(more);
	}
	if (!c.by[0] || !c.by[1])
		bench_die("%s, %s: only one version was ever seen", hook, method);
	bench_print("switch", line);
}

/* A live connection, and which version its acknowledgements go to after a switch. */
struct traffic {
	int fd, peer;
};

static void traffic_open(struct traffic *t)
{
	int r;

	bench_connect(&t->fd, &t->peer);
	bench_mark(t->fd, BENCH_TRAFFIC);
	r = bench_set_cc(t->fd, HIT_CC);
	if (r)
		bench_die("a connection with %s: %s", HIT_CC, strerror(r));
}

static void traffic_send(struct traffic *t)
{
	static char buf[65536];

	for (size_t done = 0; done < TRAFFIC_BYTES;) {
		ssize_t n = send(t->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			bench_die("send: %m");
		n = recv(t->peer, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			bench_die("recv: %m");
		else
			sched_yield();
	}
}

static void traffic_close(struct traffic *t)
{
	bench_set_cc(t->fd, "reno");
	close(t->fd);
	close(t->peer);
}

/* Calls of the version that should no longer run, and of the one that should. */
static void traffic_after(struct traffic *t, const struct bench_hammer *h, int version,
			  uint64_t ret_calls[2])
{
	uint64_t before[2];

	for (int i = 0; i < 2; i++)
		before[i] = h->seen[i]->slot[BENCH_TRAFFIC].calls;
	traffic_send(t);
	for (int i = 0; i < 2; i++)
		ret_calls[i == version - 1] +=
			h->seen[i]->slot[BENCH_TRAFFIC].calls - before[i];
}

static json_t *traffic_result(const uint64_t calls[2])
{
	if (calls[0] + calls[1] == 0)
		bench_die("the live connection's calls are not seen");
	return json_pack("{sI sI}", "live_socket_calls_new", (json_int_t)calls[1],
			 "live_socket_calls_old", (json_int_t)calls[0]);
}

/* ---- the gate ------------------------------------------------------------------- */

static void by_gate(uint64_t switches, uint64_t calls)
{
	struct bench_hammer h = {0};
	struct bench_rounds cost = {0}, effects = {0};
	struct bench_counts c = {0};
	AUTO(gate_freep) struct gate *g = NULL;
	uint64_t done = 0, start_ns, one_ns, stored_ns;
	json_t *more = json_object();

	bench_cleanup = bench_remove;
	bench_stage(&objects[0], 1, hook);
	g = bench_gate();
	gate_commit(g, 1);
	bench_settle();
	bench_stage(&objects[1], 2, hook);
	h.seen[0] = bench_seen(1);
	h.seen[1] = bench_seen(2);

	bench_hammer_start(&h, hook);
	srand(1);
	bench_urgent(true);
	start_ns = clock_mono_ns();
	while (done < switches || c.calls < calls) {
		uint32_t index = done % 2 ? 1 : 2;

		bool sample = cost.n < BENCH_ROUNDS_MAX && done > cost.n * SAMPLE_EVERY &&
			      bench_all_on(&h, index == 1);

		one_ns = clock_mono_ns();
		gate_commit(g, index);
		stored_ns = clock_mono_ns();
		bench_sleep_us((unsigned int)rand() % PAUSE_US);
		if (sample) {
			uint64_t changed_ns;

			while (!(changed_ns = bench_changed_ns(&h, one_ns)))
				bench_sleep_us(PAUSE_US);
			bench_add(&cost, (double)(stored_ns - one_ns));
			bench_add(&effects, (double)(changed_ns - one_ns));
		}
		done++;
		if (done % 64 == 0)
			c = bench_counts(&h);
	}
	bench_urgent(false);
	json_object_set_new(more, "duration_ms",
			    json_real(bench_ms(clock_mono_ns() - start_ns)));
	json_object_set_new(more, "effect_us_median", json_real(bench_median(&effects) / 1e3));
	c = bench_hammer_stop(&h);

	if (h.cc) {
		uint64_t live[2] = {0};
		struct traffic t;

		gate_commit(g, 1);
		traffic_open(&t);
		for (int i = 0; i < TRAFFIC_SWAPS; i++) {
			gate_commit(g, i % 2 ? 1 : 2);
			traffic_after(&t, &h, i % 2 ? 1 : 2, live);
		}
		traffic_close(&t);
		json_object_update_new(more, traffic_result(live));
	}
	gate_commit(g, 0);
	bench_unsee(h.seen[0]);
	bench_unsee(h.seen[1]);
	bench_remove();
	bench_cleanup = NULL;
	print("gate", &h, c, done, &cost, 1, "switch_ns_median", more);
}

/* ---- without a dispatcher ---------------------------------------------------------- */

enum method { DETACH_ATTACH, ATTACH_DETACH, LINK_UPDATE };

static struct bpf_object *bare[2];
static struct bpf_link *bare_link;

static void bare_cleanup(void)
{
	bpf_link__destroy(bare_link);
	bare_link = NULL;
}

/* Kernels without struct_ops links register an ops map once only: there it is loaded anew. */
static void bare_again(const struct bench_hammer *h, int i)
{
	struct bpf_object *old = bare[i];

	if (!h->cc || !bench_kernel_before(6, 4))
		return;
	bare[i] = bench_load(&objects[i], old);
	bpf_object__close(old);
}

static uint64_t swap(enum method method, int to)
{
	struct bpf_link *old = bare_link;
	uint64_t start_ns = clock_mono_ns();

	switch (method) {
	case DETACH_ATTACH:
		bare_link = NULL;
		bench_detach(old);
		bare_link = bench_attach(bare[to]);
		break;
	case ATTACH_DETACH:
		bare_link = bench_attach(bare[to]);
		bench_detach(old);
		break;
	case LINK_UPDATE:
		if (bpf_link__update_map(old, bench_ops(bare[to])) < 0)
			bench_die("update of the link: %m");
		break;
	}
	return clock_mono_ns() - start_ns;
}

static void by_swaps(enum method method)
{
	static const char *const names[] = {
		[DETACH_ATTACH] = "detach_then_attach",
		[ATTACH_DETACH] = "attach_then_detach",
		[LINK_UPDATE] = "link_update",
	};
	struct bench_hammer h = {0};
	struct bench_rounds cost = {0};
	struct bench_counts c;
	json_t *more = NULL;

	bench_cleanup = bare_cleanup;
	for (int i = 0; i < 2; i++) {
		bare[i] = bench_load(&objects[i], NULL);
		h.seen[i] = bench_seen(i + 1);
	}
	bare_link = bench_attach(bare[0]);

	bench_hammer_start(&h, hook);
	for (int i = 0; i < SWAPS; i++) {
		int to = i % 2 ? 0 : 1;

		if (i > 0)
			bare_again(&h, to);
		bench_add(&cost, bench_ms(swap(method, to)));
		bench_sleep_us(HOLD_US);
	}
	c = bench_hammer_stop(&h);

	if (h.cc && method == LINK_UPDATE) {
		uint64_t live[2] = {0};
		struct traffic t;

		traffic_open(&t);
		for (int i = 0; i < TRAFFIC_SWAPS; i++) {
			swap(method, i % 2 ? 0 : 1);
			traffic_after(&t, &h, i % 2 ? 1 : 2, live);
		}
		traffic_close(&t);
		more = traffic_result(live);
	}
	bare_cleanup();
	bench_cleanup = NULL;
	for (int i = 0; i < 2; i++) {
		bench_unsee(h.seen[i]);
		bpf_object__close(bare[i]);
		bare[i] = NULL;
	}
	print(names[method], &h, c, SWAPS, &cost, 1, "switch_ms_median", more);
}

int main(int argc, char **argv)
{
	uint64_t switches = SWITCHES, calls = CALLS;

	bench_program = "switch";
	if (argc < 2) {
		bench_note("usage: switch HOOK [SWITCHES [CALLS]]");
		return 2;
	}
	hook = argv[1];
	if (argc > 2)
		switches = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		calls = strtoull(argv[3], NULL, 0);
	bench_start();
	bench_object(&objects[0], hook, 1);
	bench_object(&objects[1], hook, 2);

	by_gate(switches, calls);
	by_swaps(DETACH_ATTACH);
	if (strcmp(hook, "struct_ops") != 0)
		by_swaps(ATTACH_DETACH);
	else if (!bench_kernel_before(6, 4))
		by_swaps(LINK_UPDATE);
	for (int i = 0; i < 2; i++)
		free(objects[i].elf);
	return 0;
}
