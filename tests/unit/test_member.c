// SPDX-License-Identifier: BSD-2-Clause
/*
 * The rules of a member of a fleet, which are pure; what it keeps over restarts; and directives
 * that take off a first version. With a real controller and a real kernel: tests/scenario/fleet.sh.
 */
#include "lib/clock.h"
#include "server/member.h"
#include "server/policy.h"
#include "store/store.h"
#include "tests/unit/unit.h"

#define HOST "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* ---- what this host lets begin ----------------------------------------------------------------- */

static void hold_freeze_and_interval_make_words_wait(void **state)
{
	struct member_guard_facts f = {.hold = "", .now_ms = 100000, .min_interval_ms = 60000};
	uint64_t wait_ms;

	(void)state;
	assert_string_equal(member_guard(&f, "one", true, &wait_ms), "");
	f.begun_ms = 70000;
	assert_string_equal(member_guard(&f, "one", true, &wait_ms), "INTERVAL");
	assert_int_equal(wait_ms, 30000);
	/* The way back does not wait for that. */
	assert_string_equal(member_guard(&f, "one", false, &wait_ms), "");
	f.now_ms = 130000;
	assert_string_equal(member_guard(&f, "one", true, &wait_ms), "");
	/* A clock that was set back holds nobody up for long. */
	f.now_ms = 5;
	assert_string_equal(member_guard(&f, "one", true, &wait_ms), "");
	f.frozen = true;
	assert_string_equal(member_guard(&f, "one", false, &wait_ms), "FREEZE");
	assert_true(wait_ms > 0);
	f.hold = "two one";
	assert_string_equal(member_guard(&f, "one", false, &wait_ms), "HOLD");
	assert_int_equal(wait_ms, 0);
	f.frozen = false;
	assert_string_equal(member_guard(&f, "on", false, &wait_ms), "");
	f.hold = "all";
	assert_string_equal(member_guard(&f, "on", true, &wait_ms), "HOLD");
	assert_true(member_holds("all", NULL));
	assert_false(member_holds("one two", NULL));
	assert_false(member_holds("", "one"));
}

/* ---- a word and its directive ------------------------------------------------------------------- */

static struct agent_word some_word(void)
{
	return (struct agent_word){.name = "one",
				   .rollout = "r1",
				   .generation = 4,
				   .action = AGENT_APPLY,
				   .from = 1,
				   .to = 2};
}

static struct directive some_directive(void)
{
	return (struct directive){.fleet = "shop",
				  .host = HOST,
				  .name = "one",
				  .rollout = "r1",
				  .action = DIRECTIVE_APPLY,
				  .from = 1,
				  .to = 2};
}

static void a_directive_says_what_its_word_says_for_this_host(void **state)
{
	const struct agent_word w = some_word();
	struct directive d = some_directive();
	struct fail why;

	(void)state;
	assert_ok(member_check(&w, &d, HOST, &why));
	assert_true(member_check(&w, &d, "", &why) < 0);
	d.host[0] = 'b';
	assert_true(member_check(&w, &d, HOST, &why) < 0);
	d.host[0] = 0; /* for all of the fleet: not for one */
	assert_true(member_check(&w, &d, HOST, &why) < 0);
	assert_int_equal(why.code, FAIL_POLICY);
	for (int i = 0; i < 5; i++) {
		d = some_directive();
		if (i == 0)
			d.name[0] = 'a';
		else if (i == 1)
			d.rollout[1] = '2';
		else if (i == 2)
			d.action = DIRECTIVE_ROLLBACK;
		else if (i == 3)
			d.from = 2;
		else
			d.to = 3;
		assert_true(member_check(&w, &d, HOST, &why) < 0);
		assert_non_null(strstr(why.message, "another"));
	}
}

static void words_are_parsed_strictly_where_it_counts(void **state)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"name\":\"one\",\"word\":1}",
		"{\"name\":\"One\",\"word\":1,\"action\":\"apply\"}",
		"{\"name\":\"one\",\"word\":-1,\"action\":\"apply\"}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"remove\"}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"apply\",\"rollout\":\"../x\"}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"apply\",\"to\":\"2\"}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"apply\",\"bundle\":{}}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"apply\",\"bundle\":{\"sha256\":\"00\",\"bytes\":1}}",
		"{\"name\":\"one\",\"word\":1,\"action\":\"apply\",\"bundle\":{\"sha256\":\"" HOST
		"\",\"bytes\":99999999999}}",
	};
	struct agent_word w;
	struct fail why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *doc = json_loads(bad[i], 0, NULL);

		assert_non_null(doc);
		if (agent_word_parse(doc, &w, &why) == 0)
			fail_msg("taken: %s", bad[i]);
		json_decref(doc);
	}
}

/* ---- what becomes of it, in the words of a rollout ----------------------------------------------- */

static void the_end_of_a_change_is_a_state_of_a_rollout(void **state)
{
	static const struct {
		const char *outcome, *code;
		enum member_state want;
		const char *want_code;
		bool transient;
	} cases[] = {
		{"done", "TRIAL", MEMBER_COMMITTED, "", false},
		{"rolled_back", "HEALTH:oops", MEMBER_UNHEALTHY, "HEALTH:oops", false},
		{"rolled_back", "OOPS", MEMBER_UNHEALTHY, "OOPS", false},
		{"rolled_back", "LEASE_EXPIRED", MEMBER_UNHEALTHY, "LEASE_EXPIRED", false},
		{"rolled_back", "MANUAL", MEMBER_ROLLED_BACK, "MANUAL", false},
		{"failed", "CRASHED", MEMBER_CRASHED, "CRASHED", false},
		{"failed", "INTERRUPTED", MEMBER_REJECTED, "INTERRUPTED", true},
		{"failed", "LEASE_EXPIRED", MEMBER_UNHEALTHY, "LEASE_EXPIRED", false},
		{"failed", "load_failed", MEMBER_LOAD_FAILED, "LOAD_FAILED", false},
		{"failed", "attach_failed", MEMBER_ATTACH_FAILED, "ATTACH_FAILED", false},
		{"failed", "incompatible", MEMBER_REJECTED, "INCOMPATIBLE", false},
		{"failed", "permission", MEMBER_DENIED_BY_LSM, "PERMISSION", false},
		{"failed", "timeout", MEMBER_LOAD_FAILED, "TIMEOUT", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char code[32];
		bool transient;
		enum member_state got =
			member_ended(cases[i].outcome, cases[i].code, code, &transient);

		if (got != cases[i].want || strcmp(code, cases[i].want_code) != 0 ||
		    transient != cases[i].transient)
			fail_msg("%s %s: %s %s", cases[i].outcome, cases[i].code,
				 member_state_name(got), code);
	}
}

static void what_passes_is_told_from_what_does_not(void **state)
{
	static const struct {
		enum fail_code code;
		bool transient;
	} cases[] = {
		{FAIL_CONFLICT, true},	    {FAIL_STORAGE, true},
		{FAIL_NO_TRUST, true},	    {FAIL_POLICY, false},
		{FAIL_DOWNGRADE, false},    {FAIL_BAD_SIGNATURE, false},
		{FAIL_EQUIVOCATION, false}, {FAIL_INCOMPATIBLE, false},
		{FAIL_EXPIRED, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fail why = {.code = cases[i].code};
		char code[32];
		bool transient;

		assert_int_equal(member_refusal(&why, code, &transient), MEMBER_REJECTED);
		assert_int_equal(transient, cases[i].transient);
		assert_string_equal(member_state_name(member_state_of("crashed")), "crashed");
	}
	assert_int_equal(member_state_of("no such state"), MEMBER_PENDING);
}

/* ---- taking off a first version -------------------------------------------------------------------- */

static void only_who_brought_a_first_version_takes_it_off_and_soon(void **state)
{
	const struct policy_take_off_facts good = {.now_ms = 100000,
						   .rollout = "r1",
						   .serial = 7,
						   .committed_ms = 50000,
						   .undo_ms = 60000};
	struct directive d = some_directive();
	struct policy_take_off_facts f = good;
	struct fail why;

	(void)state;
	d.action = DIRECTIVE_ROLLBACK;
	d.from = 7;
	d.to = 0;
	assert_ok(policy_may_take_off(&d, &f, &why));
	f.rollout = "r2";
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	f.rollout = "";
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	f = good;
	f.serial = 6; /* it brought another one, and somebody else what is here now */
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	f = good;
	f.from_serial = 3;
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	assert_non_null(strstr(why.message, "serial 3"));
	f = good;
	f.floor = 1;
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	assert_non_null(strstr(why.message, "floor"));
	f = good;
	f.now_ms = 110001;
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	assert_non_null(strstr(why.message, "undo_window"));
	f = good;
	f.undo_ms = 0;
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
	f.now_ms = f.committed_ms; /* never is never */
	assert_true(policy_may_take_off(&d, &f, &why) < 0);
}

static void a_trial_fits_into_the_bounds_of_its_manifest(void **state)
{
	const struct manifest m = {
		.trial_default_ms = 60000, .trial_min_ms = 10000, .trial_max_ms = 90000};

	(void)state;
	assert_int_equal(policy_trial_fit(&m, 0), 0); /* the default */
	assert_int_equal(policy_trial_fit(&m, 1), 10000);
	assert_int_equal(policy_trial_fit(&m, 20000), 20000);
	assert_int_equal(policy_trial_fit(&m, UINT64_MAX), 90000);
}

/* ---- what is kept ------------------------------------------------------------------------------------ */

static int take_word(const struct store_word *w, void *cookie)
{
	char *all = cookie;

	sprintf(all + strlen(all), "%s/%s:%d%s%s%s ", w->name, w->rollout, (int)w->word,
		w->newest ? "!" : "", w->state, w->transient ? "~" : "");
	return 0;
}

static void words_origins_and_the_certificate_outlast_a_restart(void **state)
{
	struct store_word w = {.name = "one",
			       .rollout = "r1",
			       .word = 3,
			       .newest = true,
			       .body = "{}",
			       .state = "trial",
			       .change_id = 9};
	struct store_origin o = {
		.name = "one", .rollout = "r1", .serial = 2, .from_serial = 1, .at_ms = 5};
	struct store_member m = {.seq = 7,
				 .revocation = 2,
				 .begun_ms = 4,
				 .certificate = (char[]){"cert"},
				 .ca = (char[]){"ca"},
				 .url = (char[]){"url"}};
	AUTO(store_freep) struct store *s = NULL;
	char all[512] = "";

	(void)state;
	assert_ok(store_open(unit_path("state.db"), &s, NULL));
	assert_int_equal(store_get_member(s, &m), -ENOENT);
	assert_int_equal(store_get_origin(s, "one", &o), -ENOENT);
	assert_ok(store_put_member(s, &m));
	assert_ok(store_put_word(s, &w));
	snprintf(w.rollout, sizeof(w.rollout), "r2");
	w.transient = true;
	assert_ok(store_put_word(s, &w)); /* the newest now */
	assert_ok(store_put_origin(s, &o));
	o.serial = 3;
	assert_ok(store_put_origin(s, &o));
	store_freep(&s);
	assert_ok(store_open(unit_path("state.db"), &s, NULL));
	assert_ok(store_each_word(s, take_word, all));
	assert_string_equal(all, "one/r1:3trial one/r2:3!trial~ ");
	assert_ok(store_delete_word(s, "one", "r1"));
	all[0] = 0;
	assert_ok(store_each_word(s, take_word, all));
	assert_string_equal(all, "one/r2:3!trial~ ");
	assert_ok(store_get_origin(s, "one", &o));
	assert_int_equal(o.serial, 3);
	assert_ok(store_get_member(s, &m));
	assert_int_equal(m.seq, 7);
	assert_string_equal(m.certificate, "cert");
	store_member_clear(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hold_freeze_and_interval_make_words_wait),
		cmocka_unit_test(a_directive_says_what_its_word_says_for_this_host),
		cmocka_unit_test(words_are_parsed_strictly_where_it_counts),
		cmocka_unit_test(the_end_of_a_change_is_a_state_of_a_rollout),
		cmocka_unit_test(what_passes_is_told_from_what_does_not),
		cmocka_unit_test(only_who_brought_a_first_version_takes_it_off_and_soon),
		cmocka_unit_test(a_trial_fits_into_the_bounds_of_its_manifest),
		cmocka_unit_test(words_origins_and_the_certificate_outlast_a_restart),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
