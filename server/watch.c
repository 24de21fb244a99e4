// SPDX-License-Identifier: BSD-2-Clause
#include "server/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "bpf/hotfix.bpf.h"
#include "bpf/live.h"
#include "bpf/meter.h"
#include "lib/clock.h"
#include "server/probe.h"
#include "server/vitals.h"
#include "store/bundle.h"

/* Trials that tick within this share one reading of the host. */
#define SAMPLE_NS 500000000ULL
/* After so many readings the programs are looked up anew: somebody may have replaced them. */
#define METER_READS 16

struct watches {
	struct event_base *base;
	struct crew *crew;
	const char *root, *bpffs, *health_off;
	int log_fd;
	unsigned int n; /* watches; the rest is there while there are any */
	struct vitals *vitals;
	uint64_t sampled_ns;
	struct health_sample host;
};

struct watch {
	struct watches *all;
	char name[HOOK_NAME_MAX + 1];
	bool is_cc, leak_accepted, has_counters;
	uint32_t index;
	struct meter *meter;
	unsigned int meter_reads;
	int fds[1 + METER_OPS_MAX]; /* [0] keeps the kernel's statistics on */
	size_t n_fds;
	struct health_rules rules;
	struct probes *probes;
	uint64_t log_seq, stall_ms;
	struct health_sample first, window, now;
	struct health_finding findings[HEALTH_FINDINGS_MAX];
	size_t n_findings;
};

/* ---- the host ------------------------------------------------------------------ */

static void sample_host(struct watches *all)
{
	uint64_t now_ns = clock_mono_ns();

	if (all->sampled_ns && now_ns - all->sampled_ns < SAMPLE_NS)
		return;
	vitals_read(all->vitals, now_ns, &all->host);
	all->sampled_ns = now_ns;
}

int watches_new(const struct watches_opts *opts, struct watches **ret_watches)
{
	struct watches *all = calloc(1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	*all = (struct watches){.base = opts->base,
				.crew = opts->crew,
				.root = opts->root,
				.bpffs = opts->bpffs,
				.health_off = opts->health_off,
				.log_fd = opts->log_fd};
	*ret_watches = all;
	return 0;
}

static int open_host(struct watches *all)
{
	int r;

	if (all->n++)
		return 0;
	r = vitals_new(all->root, all->log_fd, &all->vitals);
	if (r == 0)
		sample_host(all);
	return r;
}

static void close_host(struct watches *all)
{
	if (--all->n)
		return;
	all->vitals = vitals_free(all->vitals);
	all->sampled_ns = 0;
}

struct watches *watches_free(struct watches *all)
{
	free(all);
	return NULL;
}

/* ---- one hot-fix ----------------------------------------------------------------- */

static void known(struct health_reading *r, double value, double base)
{
	*r = (struct health_reading){.state = HEALTH_KNOWN, .value = value, .base = base};
}

static void not_known(struct health_reading *r, enum health_state state, const char *why)
{
	*r = (struct health_reading){.state = state};
	snprintf(r->note, sizeof(r->note), "%s", why);
}

static void read_cost(struct watch *w, double now_s, uint64_t *ret_calls)
{
	struct health_reading *misses = &w->now.check[HEALTH_recursion_misses];
	struct health_reading *ns = &w->now.check[HEALTH_ns_per_call];
	struct health_reading *cpu = &w->now.check[HEALTH_cpu_percent];
	double cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
	struct meter_reading m;
	int r = 0;

	if (w->meter_reads++ % METER_READS == 0)
		w->meter = meter_free(w->meter);
	if (!w->meter)
		r = meter_open(w->all->bpffs, w->name, w->index, w->fds + 1,
			       w->n_fds ? w->n_fds - 1 : 0, &w->meter);
	if (r == 0)
		r = meter_read(w->meter, &m);
	*ret_calls = r < 0 ? 0 : m.dispatched;
	if (r < 0)
		not_known(misses, HEALTH_UNKNOWN, strerror(-r));
	else if (!m.deny_hooks)
		not_known(misses, HEALTH_ABSENT, "no hook of it can miss calls by that");
	else if (w->leak_accepted)
		not_known(misses, HEALTH_ABSENT, "its signer accepts the leak");
	else
		known(misses, (double)m.misses, (double)m.programs);
	if (r == 0 && !w->n_fds)
		r = -EPERM;
	if (r < 0) {
		not_known(ns, HEALTH_UNKNOWN, strerror(-r));
		not_known(cpu, HEALTH_UNKNOWN, strerror(-r));
		return;
	}
	known(ns, (double)m.run_ns, (double)m.calls);
	known(cpu, (double)m.run_ns / 1e9, now_s * cpus);
}

/* In observe mode nothing is denied: what would have been is evidence, and not judged. */
static void read_denials(struct watch *w, double now_s)
{
	struct health_reading *r = &w->now.check[HEALTH_denials_per_s];
	uint64_t counters[LIVE_COUNTERS_MAX];
	bool enforce = true;
	size_t n = 0;
	int err = -ENOENT;

	if (w->has_counters)
		err = live_counters(w->all->bpffs, w->name, w->index, counters, &n);
	w->has_counters = err != -ENOENT && (err < 0 || n > HOTFIX_WOULD_DENY);
	if (!w->has_counters) {
		not_known(r, HEALTH_ABSENT, "the object has no counters of hotfix.bpf.h");
		return;
	}
	if (err < 0) {
		not_known(r, HEALTH_UNKNOWN, strerror(-err));
		return;
	}
	known(r, (double)counters[HOTFIX_DENIED], now_s);
	live_get_enforce(w->all->bpffs, w->name, w->index, &enforce);
	if (enforce)
		return;
	r->state = HEALTH_ABSENT;
	snprintf(r->note, sizeof(r->note), "observed only: %" PRIu64 " would have been denied",
		 counters[HOTFIX_WOULD_DENY]);
}

static void take_host(struct watch *w)
{
	w->now = w->all->host;
	if (w->is_cc)
		return;
	not_known(&w->now.check[HEALTH_tcp_retrans_percent], HEALTH_ABSENT,
		  "it is no congestion control");
	not_known(&w->now.check[HEALTH_tcp_resets_per_s], HEALTH_ABSENT,
		  "it is no congestion control");
}

static void sample(struct watch *w, bool lease_ended, uint64_t *ret_calls)
{
	double now_s;

	sample_host(w->all);
	take_host(w);
	known(&w->now.check[HEALTH_lease], lease_ended, 0);
	known(&w->now.check[HEALTH_loop_stall_ms], (double)w->stall_ms, 0);
	now_s = (double)clock_mono_ns() / 1e9;
	read_cost(w, now_s, ret_calls);
	read_denials(w, now_s);
}

/* ---- life ------------------------------------------------------------------------ */

static double number(const json_t *began, const char *key, double otherwise)
{
	const json_t *v = json_object_get(began, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 ? (double)json_integer_value(v)
								: otherwise;
}

static const enum health_check counted[] = {HEALTH_oops, HEALTH_warn, HEALTH_taint};

json_t *watch_began(const struct watch *w)
{
	json_t *doc = json_pack("{s:I}", "log_seq", (json_int_t)w->log_seq);

	for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
		if (w->first.check[counted[i]].state == HEALTH_KNOWN)
			json_object_set_new(
				doc, health_check_name(counted[i]),
				json_integer((json_int_t)w->first.check[counted[i]].value));
	return doc;
}

static void begin_again(struct watch *w, const json_t *began)
{
	uint64_t seq = (uint64_t)number(began, "log_seq", (double)w->log_seq);

	for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
		w->first.check[counted[i]].value = number(began, health_check_name(counted[i]),
							  w->first.check[counted[i]].value);
	w->first.check[HEALTH_kmsg].value -=
		(double)vitals_log_trouble_since(w->all->vitals, seq);
	w->log_seq = seq;
}

int watch_new(struct watches *all, const struct bundle *bundle, const uint8_t *bytes,
	      size_t len, const json_t *began, struct watch **ret_watch)
{
	AUTO(watch_freep) struct watch *w = calloc(1, sizeof(*w));
	const struct manifest *m = bundle->manifest;
	const struct probes_of of = {
		.name = m->name, .health = m->health, .bundle = bytes, .bundle_len = len};
	int r;

	if (!w)
		return -ENOMEM;
	r = open_host(all);
	w->all = all;
	if (r == 0)
		r = probes_new(all->base, all->crew, &of, &w->probes);
	if (r < 0)
		return r;
	snprintf(w->name, sizeof(w->name), "%s", m->name);
	w->leak_accepted = m->accept_preemption_leak;
	for (size_t i = 0; i < m->n_hooks; i++)
		w->is_cc |= m->hooks[i].type == HOOK_STRUCT_OPS;
	w->rules = health_rules_read(m->health, all->health_off);
	sample_host(all);
	take_host(w);
	w->first = w->now;
	w->log_seq = vitals_log_seq(all->vitals);
	if (began)
		begin_again(w, began);
	*ret_watch = take_ptr(w);
	return 0;
}

static void drop_fds(struct watch *w)
{
	while (w->n_fds)
		close(w->fds[--w->n_fds]);
}

void watch_take_fds(struct watch *w, const int *fds, size_t n)
{
	drop_fds(w);
	w->meter = meter_free(w->meter);
	w->meter_reads = 0;
	for (size_t i = 0; i < n && i < ARRAY_SIZE(w->fds); i++) {
		w->fds[w->n_fds] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (w->fds[w->n_fds] < 0)
			break;
		w->n_fds++;
	}
}

void watch_stop(struct watch *w)
{
	drop_fds(w);
	w->meter = meter_free(w->meter);
	w->probes = probes_free(w->probes);
	if (w->all)
		close_host(w->all);
	w->all = NULL;
}

struct watch *watch_free(struct watch *w)
{
	if (w)
		watch_stop(w);
	free(w);
	return NULL;
}

void watch_live(struct watch *w, uint32_t index)
{
	static const enum health_check from_before[] = {HEALTH_oops, HEALTH_warn, HEALTH_taint,
							HEALTH_kmsg};
	struct health_sample before = w->first;
	uint64_t calls;

	w->index = index;
	w->has_counters = true; /* until it turns out that there are none */
	w->stall_ms = 0;
	w->all->sampled_ns = 0; /* loading took a while, and is no part of its life */
	sample(w, false, &calls);
	w->first = w->now;
	for (size_t i = 0; i < ARRAY_SIZE(from_before); i++)
		w->first.check[from_before[i]] = before.check[from_before[i]];
	w->window = w->first;
}

void watch_stall(struct watch *w, uint64_t ms)
{
	if (ms > w->stall_ms)
		w->stall_ms = ms;
}

void watch_judge(struct watch *w, bool at_once, bool lease_ended,
		 struct watch_verdict *ret_verdict)
{
	struct health_probe probes[MANIFEST_PROBES_MAX];
	struct health_facts facts = {.rules = &w->rules,
				     .first = &w->first,
				     .window = &w->window,
				     .now = &w->now,
				     .probes = probes,
				     .at_once = at_once};

	*ret_verdict = (struct watch_verdict){0};
	if (!at_once)
		probes_tick(w->probes, clock_mono_ns() / 1000000);
	sample(w, lease_ended, &ret_verdict->calls);
	facts.n_probes = probes_read(w->probes, probes);
	ret_verdict->health = health_judge(&facts, w->findings, &w->n_findings);
	health_roll(&w->window, &w->now);
	if (ret_verdict->health == HEALTH_BAD)
		health_explain_bad(w->findings, w->n_findings, ret_verdict->code,
				   &ret_verdict->fail);
}

void watch_explain_missing(const struct watch *w, char *ret_text, size_t len)
{
	health_explain_missing(w->findings, w->n_findings, ret_text, len);
}

json_t *watch_findings(const struct watch *w)
{
	return health_to_json(w->findings, w->n_findings);
}
