// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <math.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/health.h"

static struct health_rules rules;
static struct health_sample first, window, now;
static struct health_finding findings[HEALTH_FINDINGS_MAX];
static size_t n;

static void set(struct health_sample *s, enum health_check check, double value, double base)
{
	s->check[check] =
		(struct health_reading){.state = HEALTH_KNOWN, .value = value, .base = base};
}

/* Ten seconds of a trial with nothing to complain of, in numbers that no check ignores. */
static int begin(void **state)
{
	(void)state;
	rules = health_rules_read(NULL, "");
	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		set(&first, i, 1000, 1000);
		set(&now, i, 1000, 1000);
	}
	set(&now, HEALTH_loop_stall_ms, 0, 0);
	set(&now, HEALTH_ns_per_call, 1000 + 200 * 1000, 1000 + 200);
	set(&now, HEALTH_cpu_percent, 1000.1, 1010);
	set(&now, HEALTH_denials_per_s, 1010, 1010);
	set(&now, HEALTH_tcp_retrans_percent, 1000, 2000);
	set(&now, HEALTH_tcp_resets_per_s, 1000, 1010);
	window = first;
	return 0;
}

static enum health_verdict judge(void)
{
	return health_judge(
		&(struct health_facts){
			.rules = &rules, .first = &first, .window = &window, .now = &now},
		findings, &n);
}

/* What the check reads when it comes to value since the beginning. */
static double grown(int check, double value)
{
	static const double per_unit[HEALTH_CHECKS_] = {
		[HEALTH_ns_per_call] = 200,	[HEALTH_cpu_percent] = 0.1,
		[HEALTH_denials_per_s] = 10,	[HEALTH_tcp_retrans_percent] = 10,
		[HEALTH_tcp_resets_per_s] = 10,
	};

	if (check == HEALTH_loop_stall_ms)
		return value;
	if (check == HEALTH_taint) /* bit 0 is not in 1000 */
		return 1000 + (value > 0);
	return 1000 + value * (per_unit[check] > 0 ? per_unit[check] : 1);
}

static void everything_that_is_well_is_good(void **state)
{
	(void)state;
	assert_int_equal(judge(), HEALTH_GOOD);
	assert_int_equal(n, HEALTH_CHECKS_);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(findings[i].verdict, HEALTH_GOOD);
}

static void each_check_is_good_at_its_limit_and_bad_above_it(void **state)
{
	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		double limit = health_default_limit(i);

		begin(state);
		now.check[i].value = grown(i, limit);
		judge();
		assert_int_equal(findings[i].verdict, HEALTH_GOOD);
		now.check[i].value = grown(i, limit + 1);
		assert_int_equal(judge(), HEALTH_BAD);
		assert_int_equal(findings[i].verdict, HEALTH_BAD);
		assert_float_equal(findings[i].value, limit + 1, 1e-6);
		assert_float_equal(findings[i].limit, limit, 0);
		assert_true(findings[i].source[0]);
	}
}

static void each_check_that_cannot_be_read_is_inconclusive(void **state)
{
	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		begin(state);
		now.check[i].state = HEALTH_UNKNOWN;
		snprintf(now.check[i].note, sizeof(now.check[i].note), "no such file");
		assert_int_equal(judge(), HEALTH_INCONCLUSIVE);
		assert_string_equal(findings[i].note, "no such file");
		begin(state);
		first.check[i].state = HEALTH_UNKNOWN;
		assert_int_equal(judge(), HEALTH_INCONCLUSIVE);
	}
}

static void what_is_bad_outweighs_what_is_missing(void **state)
{
	(void)state;
	now.check[HEALTH_psi_io].state = HEALTH_UNKNOWN;
	now.check[HEALTH_warn].value++;
	assert_int_equal(judge(), HEALTH_BAD);
}

static void each_check_but_the_lease_can_be_turned_off_by_the_manifest_and_by_the_host(
	void **state)
{
	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		AUTO_JSON json_t *health = json_pack("{s:[s]}", "off", health_check_name(i));

		for (int host = 0; host < 2; host++) {
			begin(state);
			rules = health_rules_read(host ? NULL : health,
						  host ? health_check_name(i) : "");
			now.check[i].value = grown(i, 1e6);
			assert_int_equal(judge(), i == HEALTH_lease ? HEALTH_BAD : HEALTH_GOOD);
			if (i == HEALTH_lease)
				continue;
			assert_int_equal(findings[i].verdict, HEALTH_NOT_JUDGED);
			assert_non_null(
				strstr(findings[i].note, host ? "this host" : "the manifest"));
		}
	}
}

static void the_manifest_sets_limits(void **state)
{
	AUTO_JSON json_t *health =
		json_pack("{s:{s:i, s:f}}", "limits", "warn", 2, "psi_cpu", 12.5);

	(void)state;
	rules = health_rules_read(health, "");
	now.check[HEALTH_warn].value += 2;
	now.check[HEALTH_psi_cpu].value += 12.5;
	assert_int_equal(judge(), HEALTH_GOOD);
	now.check[HEALTH_psi_cpu].value += 0.1;
	assert_int_equal(judge(), HEALTH_BAD);
	assert_float_equal(findings[HEALTH_psi_cpu].limit, 12.5, 0);
}

static void names_of_no_check_are_refused(void **state)
{
	(void)state;
	assert_true(health_off_valid(""));
	assert_true(health_off_valid("psi_cpu, psi_io\ttcp_resets_per_s"));
	assert_false(health_off_valid("psi"));
	assert_false(health_off_valid("psi_cpu;psi_io"));
}

static void a_counter_that_goes_backwards_is_inconclusive(void **state)
{
	static const enum health_check counters[] = {HEALTH_oops,
						     HEALTH_warn,
						     HEALTH_kmsg,
						     HEALTH_ns_per_call,
						     HEALTH_cpu_percent,
						     HEALTH_recursion_misses,
						     HEALTH_denials_per_s,
						     HEALTH_tcp_retrans_percent,
						     HEALTH_tcp_resets_per_s};

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		begin(state);
		now.check[counters[i]].value = 999;
		assert_int_equal(judge(), HEALTH_INCONCLUSIVE);
	}
}

static void another_counter_in_the_place_of_the_first_is_inconclusive(void **state)
{
	(void)state;
	now.check[HEALTH_recursion_misses].base = 1001;
	assert_int_equal(judge(), HEALTH_INCONCLUSIVE);
}

static void a_base_of_nothing_never_passes_as_good(void **state)
{
	static const enum health_check shares[] = {HEALTH_cpu_percent, HEALTH_denials_per_s,
						   HEALTH_tcp_retrans_percent,
						   HEALTH_tcp_resets_per_s};

	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		begin(state);
		now.check[shares[i]] = first.check[shares[i]];
		assert_int_equal(judge(), HEALTH_INCONCLUSIVE);
		assert_int_equal(findings[shares[i]].verdict, HEALTH_INCONCLUSIVE);
		assert_true(isnan(findings[shares[i]].value));
	}
}

static void nan_and_infinity_never_pass_as_good(void **state)
{
	static const double none[] = {NAN, INFINITY, -INFINITY};

	for (int i = 0; i < HEALTH_CHECKS_; i++)
		for (size_t k = 0; k < ARRAY_SIZE(none); k++)
			for (int where = 0; where < 4; where++) {
				struct health_reading *r;

				begin(state);
				r = where & 1 ? &first.check[i] : &now.check[i];
				*(where & 2 ? &r->value : &r->base) = none[k];
				assert_true(judge() >= HEALTH_INCONCLUSIVE);
			}
}

/* Whether a hook must be called at all is the signer's word: trial.min_calls. */
static void a_hook_that_is_hardly_called_is_not_judged_by_its_cost(void **state)
{
	(void)state;
	set(&now, HEALTH_ns_per_call, 1e12, 1099);
	assert_int_equal(judge(), HEALTH_GOOD);
	assert_int_equal(findings[HEALTH_ns_per_call].verdict, HEALTH_NOT_JUDGED);
	set(&now, HEALTH_ns_per_call, 1e12, 1100);
	assert_int_equal(judge(), HEALTH_BAD);
}

static void what_cannot_exist_for_this_hot_fix_is_not_judged(void **state)
{
	(void)state;
	now.check[HEALTH_tcp_resets_per_s].state = HEALTH_ABSENT;
	first.check[HEALTH_tcp_resets_per_s].state = HEALTH_ABSENT;
	assert_int_equal(judge(), HEALTH_GOOD);
	assert_int_equal(findings[HEALTH_tcp_resets_per_s].verdict, HEALTH_NOT_JUDGED);
}

static void a_burst_is_judged_by_itself_and_a_drip_by_the_whole_trial(void **state)
{
	(void)state;
	/* An hour without denials, then 3000 in a second: 1 a second on the whole. */
	set(&now, HEALTH_denials_per_s, 1000, 4600);
	health_roll(&window, &now);
	set(&now, HEALTH_denials_per_s, 4000, 4601);
	assert_int_equal(judge(), HEALTH_BAD);
	assert_float_equal(findings[HEALTH_denials_per_s].value, 3000, 1);
	/* Calls of 60 us each, a few in each window. */
	begin(state);
	for (int i = 0; i < 10; i++) {
		health_roll(&window, &now);
		now.check[HEALTH_ns_per_call].value += 90 * 60000;
		now.check[HEALTH_ns_per_call].base += 90;
	}
	assert_int_equal(judge(), HEALTH_BAD);
}

static void only_old_taint_bits_are_forgiven(void **state)
{
	(void)state;
	set(&first, HEALTH_taint, 512, 0);
	set(&now, HEALTH_taint, 512, 0);
	assert_int_equal(judge(), HEALTH_GOOD);
	set(&now, HEALTH_taint, 512 | 128, 0);
	assert_int_equal(judge(), HEALTH_BAD);
	set(&now, HEALTH_taint, 128, 0); /* a smaller number, and a new bit all the same */
	assert_int_equal(judge(), HEALTH_BAD);
}

static void pressure_that_was_there_before_is_forgiven(void **state)
{
	(void)state;
	set(&first, HEALTH_psi_cpu, 99, 0);
	set(&now, HEALTH_psi_cpu, 99.5, 0);
	assert_int_equal(judge(), HEALTH_GOOD);
	set(&now, HEALTH_psi_cpu, 3, 0);
	assert_int_equal(judge(), HEALTH_GOOD);
}

static enum health_verdict judge_probe(struct health_probe p)
{
	return health_judge(&(struct health_facts){.rules = &rules,
						   .first = &first,
						   .window = &window,
						   .now = &now,
						   .probes = &p,
						   .n_probes = 1},
			    findings, &n);
}

static void a_probe_counts_when_it_ran_and_ends_the_trial_after_its_failures(void **state)
{
	struct health_probe p = {
		.name = "dns", .source = "exec /bin/dig", .failures = 2, .note = ""};

	(void)state;
	assert_int_equal(judge_probe(p), HEALTH_INCONCLUSIVE);
	p.ran = true;
	assert_int_equal(judge_probe(p), HEALTH_GOOD);
	p.failed = 1; /* not enough to end the trial, and nothing to commit on */
	assert_int_equal(judge_probe(p), HEALTH_INCONCLUSIVE);
	p.failed = 2;
	p.note = "exit status 9: no servers could be reached";
	assert_int_equal(judge_probe(p), HEALTH_BAD);
	assert_string_equal(findings[n - 1].name, "probe:dns");
}

static void at_once_only_what_needs_no_time_is_judged(void **state)
{
	struct health_facts f = {.rules = &rules,
				 .first = &first,
				 .window = &window,
				 .now = &now,
				 .at_once = true};

	(void)state;
	now = first;
	assert_int_equal(health_judge(&f, findings, &n), HEALTH_GOOD);
	now.check[HEALTH_psi_cpu].state = HEALTH_UNKNOWN;
	assert_int_equal(health_judge(&f, findings, &n), HEALTH_GOOD);
	now.check[HEALTH_oops].value++;
	assert_int_equal(health_judge(&f, findings, &n), HEALTH_BAD);
}

static void the_reason_names_check_value_limit_and_source(void **state)
{
	char code[HEALTH_CODE_BYTES], text[512];
	struct fail fail;

	(void)state;
	now.check[HEALTH_warn].value++;
	judge();
	health_explain_bad(findings, n, code, &fail);
	assert_string_equal(code, "HEALTH:warn");
	assert_string_equal(fail.message, "warn is 1, its limit is 0 (/sys/kernel/warn_count)");
	assert_int_equal(fail.code, FAIL_UNHEALTHY);
	now.check[HEALTH_oops].value++;
	judge();
	health_explain_bad(findings, n, code, &fail);
	assert_string_equal(code, "OOPS");
	begin(state);
	judge_probe((struct health_probe){.name = "p",
					  .source = "tcp [::1]:1",
					  .ran = true,
					  .failed = 1,
					  .failures = 1,
					  .note = "refused"});
	health_explain_bad(findings, n, code, &fail);
	assert_string_equal(code, "HEALTH:probe");
	assert_string_equal(fail.message,
			    "probe:p is 1, its limit is 0 (tcp [::1]:1): refused");
	now.check[HEALTH_psi_io].state = now.check[HEALTH_kmsg].state = HEALTH_UNKNOWN;
	snprintf(now.check[HEALTH_kmsg].note, sizeof(now.check[HEALTH_kmsg].note), "gone");
	judge();
	health_explain_missing(findings, n, text, sizeof(text));
	assert_string_equal(text, "kmsg (/dev/kmsg: gone), psi_io (/proc/pressure/io: )");
	health_explain_missing(findings, n, text, 5);
	assert_string_equal(text, "kmsg");
}

static void the_manual_lists_every_check_with_its_limit(void **state)
{
	static const char *const bounds[] = {
#define X(check, otherwise, what) [HEALTH_##check] = what,
		MANIFEST_CHECKS(X)
#undef X
	};
	AUTO_FREE uint8_t *manual = NULL;
	char line[160];
	size_t len;

	(void)state;
	assert_ok(io_read_file("server/hotfixd.8", 1 << 20, &manual, &len));
	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		snprintf(line, sizeof(line), "\n.It Cm %s Ta %g Ta %s\n", health_check_name(i),
			 health_default_limit(i), bounds[i]);
		assert_non_null(strstr((char *)manual, line));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(everything_that_is_well_is_good, begin),
		cmocka_unit_test_setup(each_check_is_good_at_its_limit_and_bad_above_it, begin),
		cmocka_unit_test_setup(each_check_that_cannot_be_read_is_inconclusive, begin),
		cmocka_unit_test_setup(what_is_bad_outweighs_what_is_missing, begin),
		cmocka_unit_test_setup(
			each_check_but_the_lease_can_be_turned_off_by_the_manifest_and_by_the_host,
			begin),
		cmocka_unit_test_setup(the_manifest_sets_limits, begin),
		cmocka_unit_test_setup(names_of_no_check_are_refused, begin),
		cmocka_unit_test_setup(a_counter_that_goes_backwards_is_inconclusive, begin),
		cmocka_unit_test_setup(
			another_counter_in_the_place_of_the_first_is_inconclusive, begin),
		cmocka_unit_test_setup(a_base_of_nothing_never_passes_as_good, begin),
		cmocka_unit_test_setup(nan_and_infinity_never_pass_as_good, begin),
		cmocka_unit_test_setup(a_hook_that_is_hardly_called_is_not_judged_by_its_cost,
				       begin),
		cmocka_unit_test_setup(what_cannot_exist_for_this_hot_fix_is_not_judged, begin),
		cmocka_unit_test_setup(
			a_burst_is_judged_by_itself_and_a_drip_by_the_whole_trial, begin),
		cmocka_unit_test_setup(only_old_taint_bits_are_forgiven, begin),
		cmocka_unit_test_setup(pressure_that_was_there_before_is_forgiven, begin),
		cmocka_unit_test_setup(
			a_probe_counts_when_it_ran_and_ends_the_trial_after_its_failures,
			begin),
		cmocka_unit_test_setup(at_once_only_what_needs_no_time_is_judged, begin),
		cmocka_unit_test_setup(the_reason_names_check_value_limit_and_source, begin),
		cmocka_unit_test(the_manual_lists_every_check_with_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
