// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <math.h>

#include "lib/json.h"
#include "server/controller/heap.h"
#include "server/controller/host.h"
#include "server/controller/spec.h"
#include "server/controller/wave.h"

/* ---- specs ------------------------------------------------------------------------- */

/* JSON with ' for " */
static json_t *doc_of(const char *text)
{
	char json[2048];
	json_t *doc;

	snprintf(json, sizeof(json), "%s", text);
	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	doc = json_loads(json, JSON_DECODE_ANY, NULL);
	assert_non_null(doc);
	return doc;
}

static struct spec good(const char *text)
{
	AUTO_JSON json_t *doc = doc_of(text);
	struct spec s;
	struct fail fail;

	assert_ok(spec_parse(doc, &s, &fail));
	return s;
}

static void defaults_are_those_of_the_table(void **state)
{
	struct spec s = good("{}");

	(void)state;
	assert_int_equal(s.n_waves, 5);
	assert_string_equal(s.wave[0].name, "canary");
	assert_int_equal(s.wave[0].bake_ms, 15 * 60000);
	assert_int_equal(s.wave[3].bake_ms, 12 * 3600000);
	assert_int_equal(s.wave[3].reach.percent, 50);
	assert_int_equal(spec_at_most(s.wave[0].threshold, 100), 0);
	assert_int_equal(spec_at_most(s.wave[1].threshold, 100), 2);
	assert_string_equal(s.stratify_by.word[0], "kernel_release");
	assert_string_equal(s.stratify_by.word[1], "arch");
	assert_string_equal(s.spread_by.word[0], "zone");
	assert_int_equal(s.max_per_domain.percent, 10);
	assert_int_equal(spec_at_least(s.max_in_flight, 400), 20);
	assert_int_equal(spec_at_least(s.max_in_flight, 10000), 50);
	assert_int_equal(s.lost_after, 3);
	assert_int_equal(s.progress_deadline_ms, 3600000);
	assert_int_equal(s.trial_ms, 60000);
	assert_int_equal(s.on_failure, SPEC_PAUSE);
	assert_int_equal(s.on_oops, SPEC_ROLLBACK_ALL);
	assert_int_equal(s.on_load_failure, SPEC_STOP_STRATUM);
	assert_int_equal(s.on_no_data, SPEC_NO_DATA_PAUSE);
	assert_int_equal(s.on_newer, SPEC_SUPERSEDE);
	assert_true(s.auto_promote && s.dynamic);
	assert_int_equal(s.approvals, 0);
	assert_int_equal(s.retries, 1);
	assert_int_equal(s.backoff_ms, 30000);
	assert_int_equal(s.backoff_max_ms, 600000);
	assert_int_equal(s.rollback_factor, 4);
	assert_int_equal(s.rollback_window, 3);
	assert_int_equal(s.n_metrics, 0);
	spec_clear(&s);
}

static void a_spec_is_the_same_after_it_was_written_and_read(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{'severity':'critical','target':{'tier':['web','db'],'zone':'a'}}",
		"{'waves':[{'name':'first','count':3,'bake':'90s','failure_threshold':1},"
		"{'selector':{'tier':'db'}},{'percent':100}],'pause_after':['canary','first'],"
		"'max_in_flight':'5%','max_per_domain':3,'windows':{'allow':['x'],'deny':[]},"
		"'metrics':[{'name':'retrans','ratio':1.25,'guard':0.5,'samples':1000}],"
		"'on_failure':'rollback_wave','auto_promote':false,'approvals':2}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct spec s = good(texts[i]), again;
		AUTO_JSON json_t *one = spec_to_json(&s);
		AUTO_JSON json_t *two = NULL;
		struct fail fail;

		assert_ok(spec_parse(one, &again, &fail));
		two = spec_to_json(&again);
		assert_true(json_equal(one, two));
		spec_clear(&s);
		spec_clear(&again);
	}
}

static void what_is_wrong_is_named_with_what_is_allowed(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{"[]", "not a JSON object"},
		{"{'max_in_fligth':3}", "\"max_in_fligth\" is not a known field"},
		{"{'max_in_flight':0}", "\"max_in_flight\" must be a number of hosts from 1"},
		{"{'max_in_flight':'5'}", "such as \"5%\""},
		{"{'max_in_flight':'101%'}", "such as \"5%\""},
		{"{'max_in_flight':{'count':3,'per':3}}", "\"max_in_flight\" must be"},
		{"{'max_in_flight':{}}", "\"max_in_flight\" must be"},
		{"{'max_in_flight':true}", "\"max_in_flight\" must be"},
		{"{'on_failure':'panic'}",
		 "\"on_failure\" must be one of: pause rollback_wave rollback_all"},
		{"{'on_failure':'rollback'}", "must be one of"},
		{"{'severity':3}", "must be one of: low moderate high critical"},
		{"{'auto_promote':1}", "\"auto_promote\" must be true or false"},
		{"{'progress_deadline':'soon'}",
		 "must be a duration such as \"15m\", from 10 s to"},
		{"{'progress_deadline':'1s'}", "from 10 s"},
		{"{'progress_deadline':-5}", "from 10 s"},
		{"{'approvals':99}", "\"approvals\" must be a number of users from 0 to 16"},
		{"{'stratify_by':[]}",
		 "\"stratify_by\" must be an array of 1 to 4 names of labels"},
		{"{'spread_by':['zone',3]}", "\"spread_by\" must be an array"},
		{"{'target':{}}", "\"target\" must name 1 to 16 labels"},
		{"{'target':{'tier':3}}", "\"target\" must give each label a text"},
		{"{'target':{'tier':[]}}", "\"target\" must give each label a text"},
		{"{'waves':[]}", "\"waves\" must be an array of 1 to 31 waves"},
		{"{'waves':[{'percent':50}]}", "\"waves\" must end with"},
		{"{'waves':[{'percent':100,'selector':{'a':'b'}}]}", "\"waves\" must end with"},
		{"{'waves':[{'bake':'1h'},{'percent':100}]}",
		 "waves[0]: \"percent\" or \"count\""},
		{"{'waves':[{'percent':5,'count':5},{'percent':100}]}",
		 "waves[0]: \"count\" and \"percent\""},
		{"{'waves':[{'percent':0},{'percent':100}]}", "waves[0]: \"percent\" must be"},
		{"{'waves':[{'percent':100,'soak':1}]}",
		 "waves[0]: \"soak\" is not a known field"},
		{"{'waves':[{'percent':100,'name':'canary'}]}", "must have names that differ"},
		{"{'waves':[{'tier':3},{'percent':100}]}",
		 "waves[0]: \"selector\" must give each label a text"},
		{"{'waves':[{'tier':'a','selector':{'b':'c'}},{'percent':100}]}",
		 "waves[0]: \"tier\" is not a known field"},
		{"{'waves':[{'percent':100,'tier':'a'}]}", "\"waves\" must end with"},
		{"{'canary':{'percent':1}}", "canary: \"percent\" is not a known field"},
		{"{'canary':{'bake':'99d'}}", "canary: \"bake\" must be a duration"},
		{"{'pause_after':['first']}", "\"pause_after\" must name waves"},
		{"{'backoff':'1h'}", "\"backoff_max\" must not be shorter"},
		{"{'metrics':[{'ratio':2}]}", "metrics[0]: \"name\" is missing"},
		{"{'metrics':[{'name':'x','ratio':0.5}]}", "metrics[0]: \"ratio\" must be"},
		{"{'metrics':[{'name':'x','guard':-1}]}", "metrics[0]: \"guard\" must be"},
		{"{'metrics':[{'name':'x','samples':'many'}]}",
		 "metrics[0]: \"samples\" must be"},
		{"{'windows':{'never':[]}}", "\"windows\" must have the arrays"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		AUTO_JSON json_t *doc = doc_of(wrong[i].text);
		struct spec s;
		struct fail fail;
		int r = spec_parse(doc, &s, &fail);

		if (r == 0 || !strstr(fail.message, wrong[i].says))
			print_error("%s: %s\n", wrong[i].text, r ? fail.message : "accepted");
		assert_int_equal(r, -fail_errno(FAIL_BAD_FORMAT));
		assert_non_null(strstr(fail.message, wrong[i].says));
	}
}

static void of_count_and_percent_the_smaller_one_counts(void **state)
{
	struct spec_amount both = {true, true, 50, 5};

	(void)state;
	assert_int_equal(spec_at_least(both, 100), 5);
	assert_int_equal(spec_at_least(both, 101), 6);
	assert_int_equal(spec_at_most(both, 119), 5);
	assert_int_equal(spec_at_least(both, 100000), 50);
}

static void a_selector_matches_when_all_its_labels_do(void **state)
{
	AUTO_JSON json_t *labels = doc_of("{'tier':'db','zone':'a'}");
	AUTO_JSON json_t *one = doc_of("{'tier':['web','db']}");
	AUTO_JSON json_t *both = doc_of("{'tier':'db','zone':'b'}");
	AUTO_JSON json_t *absent = doc_of("{'rack':'1'}");

	(void)state;
	assert_true(spec_selects(NULL, labels));
	assert_true(spec_selects(one, labels));
	assert_false(spec_selects(both, labels));
	assert_false(spec_selects(absent, labels));
}

static void a_tier_is_short_for_a_selector(void **state)
{
	struct spec s = good("{'waves':[{'tier':'edge'},{'tier':['web','db'],'percent':50},"
			     "{'percent':100}]}");
	AUTO_JSON json_t *db = doc_of("{'tier':'db'}"), *edge = doc_of("{'tier':'edge'}");

	(void)state;
	assert_true(spec_selects(s.wave[1].selector, edge));
	assert_false(spec_selects(s.wave[1].selector, db));
	assert_int_equal(s.wave[1].reach.percent, 100);
	assert_true(spec_selects(s.wave[2].selector, db));
	assert_int_equal(s.wave[2].reach.percent, 50);
	assert_null(s.wave[3].selector);
	spec_clear(&s);
}

/* ---- what they are built on -------------------------------------------------------- */

static void a_heap_hands_out_the_smallest_whatever_was_taken_out_before(void **state)
{
	struct heap_node node[200] = {0};
	struct heap h = {0};
	uint64_t dice = 88172645463325252ULL, last = 0;
	size_t n = 0;

	(void)state;
	assert_ok(heap_reserve(&h, ARRAY_SIZE(node)));
	for (size_t i = 0; i < ARRAY_SIZE(node); i++) {
		dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
		heap_add(&h, &node[i], dice % 50, dice);
	}
	for (size_t i = 0; i < ARRAY_SIZE(node); i += 3)
		heap_remove(&h, &node[i]);
	heap_remove(&h, &node[0]);
	for (struct heap_node *first; (first = heap_first(&h)); n++) {
		assert_true(first->major >= last);
		last = first->major;
		heap_remove(&h, first);
	}
	assert_int_equal(n, ARRAY_SIZE(node) - 67);
	heap_clear(&h);
}

static void the_hash_of_rollout_and_host_is_spread_evenly(void **state)
{
	size_t bin[16] = {0};
	char host[16];

	(void)state;
	for (int i = 0; i < 16000; i++) {
		snprintf(host, sizeof(host), "host-%d", i);
		bin[wave_hash("ro-1", host) >> 60]++;
	}
	for (int i = 0; i < 16; i++)
		assert_in_range(bin[i], 850, 1150);
	assert_true(wave_hash("ro-1", "a") != wave_hash("ro-2", "a"));
	assert_true(wave_hash("ro", "1a") != wave_hash("ro1", "a"));
}

static void every_beginning_of_the_order_has_of_each_domain_its_share(void **state)
{
	struct wave_candidate c[110];
	size_t small = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		c[i] = (struct wave_candidate){.order = i * 0x9e3779b97f4a7c15ULL,
					       .domain = i < 10 ? "small" : "large"};
	wave_order(c, ARRAY_SIZE(c));
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		small += strcmp(c[i].domain, "small") == 0;
		assert_true(small * 11 <= i + 1 + 11 && small * 11 + 11 >= i + 1);
	}
}

static void no_host_state_is_a_dead_end_by_mistake(void **state)
{
	(void)state;
	for (int from = 0; from < HOST_STATES_; from++) {
		enum host_state parsed;
		size_t ways = 0;

		for (int to = 0; to < HOST_STATES_; to++)
			ways += host_may((enum host_state)from, (enum host_state)to);
		assert_true(ways > 0);
		assert_ok(host_state_parse(host_state_name((enum host_state)from), &parsed));
		assert_int_equal(parsed, from);
		/* whatever becomes of a host, it may leave the fleet */
		assert_true(host_may((enum host_state)from, HOST_EXCLUDED));
	}
	assert_false(host_may(HOST_COMMITTED, HOST_PENDING));
	assert_false(host_may(HOST_UNHEALTHY, HOST_OFFERED));
	assert_false(host_may(HOST_TRIAL, HOST_STAGED));
}

/* ---- judgement --------------------------------------------------------------------- */

static const struct judge_metric retrans = {"retrans", 1.5, 1, 100};

static enum judge_verdict judged(double value, double control, double base)
{
	struct judge_sum t = {1, value * base, base}, c = {9, control * base, base};

	return judge_metric(&retrans, &t, &c).verdict;
}

static void a_metric_fails_only_above_both_ratio_and_guard(void **state)
{
	(void)state;
	assert_int_equal(judged(0.02, 0.01, 1000), JUDGE_PASS); /* twice, but little */
	assert_int_equal(judged(14, 10, 1000), JUDGE_PASS);	/* much, but 1.4 times */
	assert_int_equal(judged(16, 10, 1000), JUDGE_FAIL);
	assert_int_equal(judged(15, 10, 1000), JUDGE_PASS); /* the limit itself is fine */
}

static void what_proves_nothing_is_inconclusive_and_says_why(void **state)
{
	struct judge_sum none = {0}, fine = {1, 2000, 1000}, nan = {1, NAN, 1000},
			 few = {1, 20, 10}, zero = {1, 0, 1000}, empty = {1, 0, 0},
			 infinite = {1, INFINITY, 1000};
	const struct judge_sum *const cases[][2] = {
		{&none, &fine}, {&fine, &none},	    {&nan, &fine},   {&fine, &nan},
		{&few, &fine},	{&fine, &few},	    {&fine, &zero},  {&empty, &fine},
		{&zero, &zero}, {&fine, &infinite}, {&fine, &empty},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct judge_finding f = judge_metric(&retrans, cases[i][0], cases[i][1]);

		assert_int_equal(f.verdict, JUDGE_INCONCLUSIVE);
		assert_true(f.note[0] != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_table),
		cmocka_unit_test(a_spec_is_the_same_after_it_was_written_and_read),
		cmocka_unit_test(what_is_wrong_is_named_with_what_is_allowed),
		cmocka_unit_test(of_count_and_percent_the_smaller_one_counts),
		cmocka_unit_test(a_selector_matches_when_all_its_labels_do),
		cmocka_unit_test(a_tier_is_short_for_a_selector),
		cmocka_unit_test(a_heap_hands_out_the_smallest_whatever_was_taken_out_before),
		cmocka_unit_test(the_hash_of_rollout_and_host_is_spread_evenly),
		cmocka_unit_test(every_beginning_of_the_order_has_of_each_domain_its_share),
		cmocka_unit_test(no_host_state_is_a_dead_end_by_mistake),
		cmocka_unit_test(a_metric_fails_only_above_both_ratio_and_guard),
		cmocka_unit_test(what_proves_nothing_is_inconclusive_and_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
