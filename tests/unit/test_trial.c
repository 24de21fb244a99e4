// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "server/trial.h"

static const struct trial_facts fresh = {.now_ms = 5000,
					 .started_ms = 5000,
					 .length_ms = 60000,
					 .max_ms = 300000,
					 .health = HEALTH_GOOD};

static void a_trial_goes_on_until_its_length_is_over(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	assert_string_equal(code, "");
	f.now_ms = f.started_ms + f.length_ms - 1;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	f.now_ms++;
	assert_int_equal(trial_judge(&f, &code), TRIAL_COMMIT);
	assert_string_equal(code, "TRIAL_PASSED");
}

static void an_ended_lease_rolls_back_even_when_the_length_is_over(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	f.lease_ended = true;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	f.now_ms += f.max_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	assert_string_equal(code, "LEASE_EXPIRED");
}

static void too_few_calls_prolong_a_trial_and_then_end_it(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	f.min_calls = 10;
	f.calls = 9;
	f.now_ms = f.started_ms + f.length_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
	f.now_ms = f.started_ms + f.max_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	assert_string_equal(code, "NO_EVIDENCE");
	f.calls = 10;
	assert_int_equal(trial_judge(&f, &code), TRIAL_COMMIT);
}

static void bad_health_rolls_back_at_once_with_its_code(void **state)
{
	struct trial_facts f = fresh;
	const char *code;

	(void)state;
	f.health = HEALTH_BAD;
	f.health_code = "HEALTH:warn";
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
	assert_string_equal(code, "HEALTH:warn");
	f.now_ms += f.length_ms;
	assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
}

static void without_evidence_a_trial_goes_on_to_its_end_and_rolls_back(void **state)
{
	static const enum health_verdict none[] = {HEALTH_INCONCLUSIVE, HEALTH_NOT_JUDGED};
	const char *code;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct trial_facts f = fresh;

		f.health = none[i];
		f.now_ms = f.started_ms + f.max_ms - 1;
		assert_int_equal(trial_judge(&f, &code), TRIAL_CONTINUE);
		f.now_ms++;
		assert_int_equal(trial_judge(&f, &code), TRIAL_ROLLBACK);
		assert_string_equal(code, "NO_EVIDENCE");
	}
}

/* ---- a day of trials ---------------------------------------------------------- */

static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % sides;
}

/* The host and the hot-fix as they are; what of it can be read is another matter. */
struct world {
	uint64_t now_ms;
	struct health_sample truth;
	bool harm;		     /* something above its limit since the trial began */
	bool hidden[HEALTH_CHECKS_]; /* cannot be read at the moment */
	struct health_probe probe;
};

static void world_begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now_ms = 1000000 + roll(1000000);
	for (int i = 0; i < HEALTH_CHECKS_; i++)
		w->truth.check[i].state = HEALTH_KNOWN;
	w->probe =
		(struct health_probe){.name = "p", .source = "exec", .note = "", .failures = 1};
}

/* A second passes. Now and then it brings harm, or takes a reading away. */
static void world_tick(struct world *w)
{
	struct health_reading *c = w->truth.check;
	double calls = (double)roll(300);

	w->now_ms += 1000 + roll(100);
	c[HEALTH_ns_per_call].base += calls;
	c[HEALTH_ns_per_call].value += calls * 300;
	c[HEALTH_cpu_percent].base = c[HEALTH_denials_per_s].base =
		c[HEALTH_tcp_resets_per_s].base = (double)w->now_ms / 1000;
	c[HEALTH_cpu_percent].value += calls * 300e-9;
	c[HEALTH_denials_per_s].value += (double)roll(10);
	c[HEALTH_tcp_retrans_percent].base += 1000 + (double)roll(1000);
	c[HEALTH_tcp_retrans_percent].value += (double)roll(20);
	c[HEALTH_psi_cpu].value = (double)roll(20);
	w->probe.ran = true;
	for (int i = 0; i < HEALTH_CHECKS_; i++)
		w->hidden[i] = w->hidden[i] ? roll(30) != 0 : roll(4000) == 0;
	if (roll(400))
		return;
	w->harm = true;
	switch (roll(6)) {
	case 0:
		c[HEALTH_oops].value++;
		break;
	case 1:
		c[HEALTH_kmsg].value++;
		break;
	case 2:
		c[HEALTH_recursion_misses].value++;
		break;
	case 3:
		c[HEALTH_denials_per_s].value += 1e9;
		break;
	case 4:
		c[HEALTH_loop_stall_ms].value = 60000;
		break;
	case 5:
		w->probe.failed++;
		break;
	}
}

static struct health_sample world_read(const struct world *w)
{
	struct health_sample s = w->truth;

	for (int i = 0; i < HEALTH_CHECKS_; i++)
		if (w->hidden[i])
			s.check[i] = (struct health_reading){.state = HEALTH_UNKNOWN};
	return s;
}

static bool anything_hidden(const struct world *w)
{
	for (int i = 0; i < HEALTH_CHECKS_; i++)
		if (w->hidden[i])
			return true;
	return false;
}

struct tally {
	uint64_t commits, by_health, no_evidence, leases, restarts;
};

/* One trial from its begin to its end, judged each second, with daemons that come and go. */
static void live_through(struct world *w, struct tally *tally)
{
	struct health_rules rules = health_rules_read(NULL, "");
	struct health_finding findings[HEALTH_FINDINGS_MAX];
	struct health_sample first, window, now;
	struct trial_facts f = {.started_ms = w->now_ms,
				.length_ms = 1000 * (1 + roll(120)),
				.min_calls = roll(2) * roll(2000)};
	double calls_before = w->truth.check[HEALTH_ns_per_call].base;
	bool first_whole = !anything_hidden(w);
	char text[HEALTH_CODE_BYTES];
	enum trial_verdict verdict;
	struct fail fail;
	const char *code;
	size_t n;

	f.max_ms = f.length_ms + 1000 * roll(600);
	w->harm = false;
	w->probe.failed = 0;
	w->probe.ran = false;
	w->truth.check[HEALTH_loop_stall_ms].value = 0;
	first = window = world_read(w);
	do {
		world_tick(w);
		if (roll(200) == 0) { /* a new daemon, back before the lease ended */
			tally->restarts++;
			window = first;
		}
		now = world_read(w);
		f.now_ms = w->now_ms;
		f.calls = (uint64_t)(w->truth.check[HEALTH_ns_per_call].base - calls_before);
		f.lease_ended = roll(2000) == 0;
		f.health = health_judge(&(struct health_facts){.rules = &rules,
							       .first = &first,
							       .window = &window,
							       .now = &now,
							       .probes = &w->probe,
							       .n_probes = 1},
					findings, &n);
		health_roll(&window, &now);
		text[0] = 0;
		if (f.health == HEALTH_BAD)
			health_explain_bad(findings, n, text, &fail);
		f.health_code = text;
		verdict = trial_judge(&f, &code);

		if (f.health == HEALTH_BAD)
			assert_int_equal(verdict, TRIAL_ROLLBACK);
		if (w->harm && first_whole && !anything_hidden(w))
			assert_int_equal(verdict, TRIAL_ROLLBACK);
		assert_true(verdict != TRIAL_CONTINUE || f.now_ms - f.started_ms < f.max_ms);
	} while (verdict == TRIAL_CONTINUE);

	if (verdict == TRIAL_COMMIT) {
		assert_int_equal(f.health, HEALTH_GOOD);
		assert_false(w->harm || anything_hidden(w) || !first_whole || f.lease_ended);
		assert_true(f.now_ms - f.started_ms >= f.length_ms && f.calls >= f.min_calls);
		tally->commits++;
	} else if (strcmp(code, "LEASE_EXPIRED") == 0) {
		assert_true(f.lease_ended);
		tally->leases++;
	} else if (strcmp(code, "NO_EVIDENCE") == 0) {
		assert_true(f.now_ms - f.started_ms >= f.max_ms);
		assert_true(f.health != HEALTH_GOOD || f.calls < f.min_calls);
		tally->no_evidence++;
	} else {
		assert_true(w->harm);
		assert_true(strcmp(code, "OOPS") == 0 || strncmp(code, "HEALTH:", 7) == 0);
		tally->by_health++;
	}
}

static void in_a_day_of_trials_none_passes_without_good_health_and_all_end_in_time(void **state)
{
	struct tally tally = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world w;
		uint64_t until_ms;

		dice = seed * 0x9e3779b97f4a7c15ULL;
		world_begin(&w);
		until_ms = w.now_ms + 24 * 3600 * 1000;
		while (w.now_ms < until_ms) {
			live_through(&w, &tally);
			for (uint64_t idle = roll(60); idle; idle--)
				world_tick(&w);
		}
	}
	/* Every way out was taken, or the day proved nothing. */
	assert_true(tally.commits > 1000 && tally.by_health > 1000 && tally.no_evidence > 100 &&
		    tally.leases > 100 && tally.restarts > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trial_goes_on_until_its_length_is_over),
		cmocka_unit_test(an_ended_lease_rolls_back_even_when_the_length_is_over),
		cmocka_unit_test(too_few_calls_prolong_a_trial_and_then_end_it),
		cmocka_unit_test(bad_health_rolls_back_at_once_with_its_code),
		cmocka_unit_test(without_evidence_a_trial_goes_on_to_its_end_and_rolls_back),
		cmocka_unit_test(
			in_a_day_of_trials_none_passes_without_good_health_and_all_end_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
