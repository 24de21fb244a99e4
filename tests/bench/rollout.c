// SPDX-License-Identifier: BSD-2-Clause
/*
 * rollout -- what the rollout engine costs: whole rollouts over 1,000 and 10,000 hosts on 8 kernel
 * builds and 40 zones, each host reporting five times, and no I/O. One line on stdout:
 *
 *	{"bench":"rollout","hosts":N,"events":N,"events_per_s":N,"join_us":N,"report_us":N,
 *	 "report_us_of_1000":N,"growth_ratio":N,"step_ms_max":N,"write_ms":N,"load_ms":N,
 *	 "header_bytes":N,"host_bytes":N}
 *
 * growth_ratio: a report with ten times the hosts, as a multiple. step_ms_max: the dearest step, in
 * which a wave starts. write, load: all rows to JSON text and back, as when another takes over.
 */
#include "tests/bench/bench.h"

#include "server/controller/rollout.h"

#define HOSTS	10000
#define KERNELS 8
#define ZONES	40
#define SERIAL	2

static struct rollout *r;
static struct rollout_effects fx;
static uint64_t now_ms = 1767225600000ULL, step_ns_max, events, seq;

static void step(struct rollout_event ev)
{
	uint64_t start_ns = clock_mono_ns(), ns;
	struct fail fail;

	if (rollout_step(r, &ev, now_ms, &fx, &fail) < 0)
		bench_die("%s", fail.message);
	ns = clock_mono_ns() - start_ns;
	step_ns_max = ns > step_ns_max ? ns : step_ns_max;
	events++;
}

static void join(size_t n)
{
	char host[16], kernel[16], zone[16];

	for (size_t i = 0; i < n; i++) {
		AUTO_JSON json_t *labels = NULL;

		snprintf(host, sizeof(host), "host-%zu", i * 7919 % n);
		snprintf(kernel, sizeof(kernel), "6.%zu", i % KERNELS);
		snprintf(zone, sizeof(zone), "z%zu", i % ZONES);
		labels = json_pack("{ss ss ss}", "kernel_release", kernel, "arch", "x86_64",
				   "zone", zone);
		step((struct rollout_event){
			.type = ROLLOUT_HOST,
			.host = host,
			.facts = &(struct rollout_facts){.labels = labels, .committed = 1}});
	}
}

/* Hosts carry out their words one after another; each report may bring the next word. */
static uint64_t obey(size_t n)
{
	static const enum host_state stages[] = {HOST_STAGED, HOST_PREFLIGHT, HOST_APPLYING,
						 HOST_TRIAL, HOST_COMMITTED};
	struct rollout_word *word = calloc(n, sizeof(*word));
	uint64_t reports = 0;
	size_t todo = 0;

	if (!word)
		bench_die("out of memory");
	memcpy(word, fx.word, fx.n_words * sizeof(*word));
	todo = fx.n_words;
	while (todo) {
		struct rollout_word w = word[--todo];

		for (size_t i = 0; i < ARRAY_SIZE(stages); i++, reports++) {
			step((struct rollout_event){
				.type = ROLLOUT_REPORT,
				.host = w.host,
				.report = &(struct rollout_report){
					.seq = ++seq,
					.word = w.generation,
					.state = stages[i],
					.committed = stages[i] == HOST_COMMITTED ? SERIAL : 1,
					.boot_id = "boot"}});
			memcpy(word + todo, fx.word, fx.n_words * sizeof(*word));
			todo += fx.n_words;
		}
	}
	free(word);
	return reports;
}

struct cost {
	double join_us, report_us, events_per_s;
};

static struct cost roll_out(size_t n)
{
	json_t *spec = json_pack("{}");
	uint64_t start_ns = clock_mono_ns(), join_ns, reports = 0, report_ns = 0, from_ns;

	rollout_free(r);
	events = step_ns_max = 0;
	if (rollout_new(&(struct rollout_opts){.id = "bench",
					       .name = BENCH_NAME,
					       .author = "a",
					       .serial = SERIAL,
					       .takes_off = true,
					       .spec = spec},
			&r, NULL) < 0)
		bench_die("no rollout");
	json_decref(spec);
	join(n);
	join_ns = clock_mono_ns() - start_ns;
	step((struct rollout_event){.type = ROLLOUT_SUBMIT, .actor = "a"});
	while (!rollout_is_over(rollout_state(r))) {
		from_ns = clock_mono_ns();
		reports += obey(n);
		report_ns += clock_mono_ns() - from_ns;
		now_ms += ROLLOUT_STEP_MS;
		step((struct rollout_event){.type = ROLLOUT_TICK});
	}
	if (rollout_count(r, HOST_COMMITTED) != n)
		bench_die("%zu of %zu hosts have it", rollout_count(r, HOST_COMMITTED), n);
	return (struct cost){.join_us = (double)join_ns / 1e3 / (double)n,
			     .report_us = (double)report_ns / 1e3 / (double)reports,
			     .events_per_s = (double)events /
					     ((double)(clock_mono_ns() - start_ns) / 1e9)};
}

int main(void)
{
	char **row = calloc(HOSTS, sizeof(*row)), host[16], *header;
	struct cost small, large;
	struct rollout *again;
	uint64_t at_ns, write_ns, load_ns;
	size_t bytes = 0;
	json_t *doc;

	bench_program = "rollout";
	small = roll_out(HOSTS / 10);
	large = roll_out(HOSTS);

	at_ns = clock_mono_ns();
	doc = rollout_to_json(r);
	header = json_dumps(doc, JSON_COMPACT);
	json_decref(doc);
	for (size_t i = 0; i < HOSTS; i++) {
		snprintf(host, sizeof(host), "host-%zu", i);
		doc = rollout_host_to_json(rollout_find(r, host));
		row[i] = json_dumps(doc, JSON_COMPACT);
		bytes += strlen(row[i]);
		json_decref(doc);
	}
	write_ns = clock_mono_ns() - at_ns;

	at_ns = clock_mono_ns();
	doc = json_loads(header, 0, NULL);
	if (rollout_load(doc, &again, NULL) < 0)
		bench_die("the header cannot be read");
	json_decref(doc);
	for (size_t i = 0; i < HOSTS; i++) {
		doc = json_loads(row[i], 0, NULL);
		if (rollout_load_host(again, doc, NULL) < 0)
			bench_die("a row cannot be read");
		json_decref(doc);
		free(row[i]);
	}
	load_ns = clock_mono_ns() - at_ns;

	bench_print("rollout",
		    json_pack("{si sI sf sf sf sf sf sf sf sf si si}", "hosts", HOSTS, "events",
			      (json_int_t)events, "events_per_s", large.events_per_s, "join_us",
			      large.join_us, "report_us", large.report_us, "report_us_of_1000",
			      small.report_us, "growth_ratio",
			      large.report_us / small.report_us, "step_ms_max",
			      (double)step_ns_max / 1e6, "write_ms", (double)write_ns / 1e6,
			      "load_ms", (double)load_ns / 1e6, "header_bytes",
			      (int)strlen(header), "host_bytes", (int)(bytes / HOSTS)));
	free(header);
	free(row);
	rollout_free(again);
	r = rollout_free(r);
	rollout_effects_clear(&fx);
	return 0;
}
