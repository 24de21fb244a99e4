// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/rollout.h"

#include "lib/plain.h"

#define QUICK \
	"'canary':{'bake':'1m'},'waves':[{'percent':50,'bake':'1m'},{'percent':100,'bake':'1m'}]"

/* ---- from draft to done ------------------------------------------------------------ */

static void a_rollout_reaches_every_host_and_succeeds(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(300, "6.1", 3);
	rig_start();
	assert_rollout(WAVE_ATTACHING);
	rig_run(24 * HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 300);
	assert_int_equal(rig.n_applies, 300);
	rig_end();
}

static void of_one_host_is_spoken_as_of_one(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(1, "6.1", 1);
	rig_start();
	rig_run(24 * HOUR_MS);
	assert_rollout(SUCCEEDED);
	DO(UNDO, .actor = "bob", .reason = "x");
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void default_waves_are_the_canaries_then_1_10_50_and_100_percent(void **state)
{
	static const size_t hosts[] = {1, 1, 28, 120, 150};
	size_t members[5] = {0};

	(void)state;
	rig_begin("");
	rig_join_many(300, "6.1", 3);
	rig_start();
	rig_run(24 * HOUR_MS);
	for (size_t i = 0; i < rig.r->n_hosts; i++)
		members[rig.r->host[i]->wave]++;
	/* 1 % of 300, the canary counted, are 3: the canary and 2 more */
	assert_int_equal(members[0], hosts[0]);
	assert_int_equal(members[1], 2);
	assert_int_equal(members[2], 27);
	assert_int_equal(members[3], hosts[3]);
	assert_int_equal(members[4], hosts[4]);
	rig_end();
}

static void waves_bake_as_long_as_they_should(void **state)
{
	uint64_t began_ms;

	(void)state;
	rig_begin("");
	rig_join_many(300, "6.1", 3);
	rig_start();
	began_ms = rig.now_ms;
	rig_run(24 * HOUR_MS);
	/* 15 m, 1 h, 4 h, 12 h, 15 m */
	assert_true(rig.now_ms - began_ms >= 17 * HOUR_MS + 30 * MINUTE_MS);
	assert_true(rig.now_ms - began_ms < 18 * HOUR_MS);
	rig_end();
}

static void a_critical_rollout_bakes_shorter(void **state)
{
	uint64_t began_ms;

	(void)state;
	rig_begin("{'severity':'critical'}");
	rig_join_many(300, "6.1", 3);
	rig_start();
	began_ms = rig.now_ms;
	rig_run(24 * HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_true(rig.now_ms - began_ms < HOUR_MS);
	rig_end();
}

static void membership_depends_on_rollout_and_host_alone(void **state)
{
	uint8_t wave[40];

	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(40, "6.1", 2);
	rig_start();
	rig_run(HOUR_MS);
	for (size_t i = 0; i < 40; i++)
		wave[i] = rig.r->host[i]->wave;
	rig_begin("{" QUICK "}");
	for (size_t i = 40; i--;) { /* the other way round */
		char id[16], zone[16];

		snprintf(id, sizeof(id), "h%zu", i);
		snprintf(zone, sizeof(zone), "z%zu", i % 2);
		rig_join(id, "6.1", zone);
	}
	rig_start();
	rig_run(HOUR_MS);
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(rig.r->host[i]->wave, wave[i]);
	rig_end();
}

static void a_rollout_without_hosts_fails_and_does_not_hang(void **state)
{
	(void)state;
	rig_begin("{'target':{'tier':'db'}}");
	rig_join_many(3, "6.1", 1);
	rig_start();
	assert_rollout(FAILED);
	assert_true(rig_said("NO_HOSTS"));
	rig_end();
}

static void percent_is_of_the_eligible_and_rounded_up(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':0},'waves':[{'percent':10,'bake':'1h'},{'percent':100}]}");
	rig_join_many(25, "6.1", 1);
	for (size_t i = 0; i < 4; i++) { /* 21 are left: 10 % are 3 */
		rig.host[i].facts.held_by = "ann";
		rig_tell(&rig.host[i]);
	}
	rig_start();
	rig_run(30 * MINUTE_MS);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 3);
	rig_end();
}

static void a_wave_by_count_reaches_so_many_hosts(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':0},'waves':[{'count':7,'bake':'1h'},{'percent':100}]}");
	rig_join_many(25, "6.1", 1);
	rig_start();
	rig_run(30 * MINUTE_MS);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 7);
	rig_end();
}

static void a_wave_by_selector_takes_those_that_match(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':0},'max_in_flight':100,'max_per_domain':'100%','waves':"
		  "[{'selector':{'tier':['db','cache']},'bake':'1h'},{'percent':100}]}");
	rig_join_many(25, "6.1", 1);
	for (size_t i = 0; i < 5; i++) {
		snprintf(rig.host[i].tier, sizeof(rig.host[i].tier), i ? "db" : "cache");
		rig_tell(&rig.host[i]);
	}
	rig_start();
	rig_run(30 * MINUTE_MS);
	for (size_t i = 0; i < 5; i++)
		assert_host(rig.host[i].id, COMMITTED);
	assert_in_range(rollout_count(rig.r, HOST_COMMITTED), 5, 6); /* and the canary */
	rig_end();
}

static void a_wave_holds_of_each_domain_its_share(void **state)
{
	size_t zone[4] = {0};

	(void)state;
	rig_begin("{'canary':{'bake':0},'max_in_flight':100,'max_per_domain':'100%','waves':"
		  "[{'percent':10,'bake':'1h'},{'percent':100}]}");
	rig_join_many(400, "6.1", 4);
	rig_start();
	rig_run(30 * MINUTE_MS);
	for (size_t i = 0; i < 400; i++)
		zone[i % 4] += rig_state(rig.host[i].id) == HOST_COMMITTED;
	for (size_t i = 0; i < 4; i++)
		assert_in_range(zone[i], 9, 11);
	rig_end();
}

/* ---- canaries ---------------------------------------------------------------------- */

static void each_kernel_build_has_its_own_first_host(void **state)
{
	(void)state;
	rig_begin("{'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(20, "6.1", 1);
	rig_join_many(20, "6.12", 1);
	rig_join_many(1, "7.2", 1);
	rig_start();
	assert_int_equal(rig.n_applies, 3);
	rig_obey();
	assert_int_equal(rig.n_applies, 3);
	for (size_t i = 0; i < rig.r->n_strata; i++)
		assert_int_equal(rig.r->stratum[i]->state, STRATUM_BAKING);
	rig_end();
}

static void a_kernel_build_that_appears_later_starts_with_a_canary(void **state)
{
	const char *id;

	(void)state;
	rig_begin("{" QUICK ",'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(20, "6.1", 1);
	rig_start();
	while (rig.r->wave < 2)
		rig_run(MINUTE_MS);
	rig_join("new0", "7.2", "z0");
	rig_join("new1", "7.2", "z0");
	rig_join("new2", "7.2", "z0");
	rig_obey(); /* old ones and one of the new */
	id = rig_any(HOST_PENDING);
	assert_non_null(id);
	assert_int_equal(strncmp(id, "new", 3), 0);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 21);
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 23);
	rig_end();
}

static void another_canary_is_chosen_when_one_goes_before_it_began(void **state)
{
	const char *first, *second;

	(void)state;
	rig_begin("");
	rig_join_many(5, "6.1", 1);
	rig_start();
	first = rig_any(HOST_OFFERED);
	DO(HEARTBEAT, .host = first, .missed = 3);
	assert_host(first, DEFERRED);
	second = rig_any(HOST_OFFERED);
	assert_non_null(second);
	assert_string_not_equal(first, second);
	rig_end();
}

static void a_kernel_build_where_it_does_not_load_stops_and_the_others_go_on(void **state)
{
	const char *bad;

	(void)state;
	rig_begin("{" QUICK ",'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(10, "6.1", 1);
	rig_join_many(10, "6.12", 1);
	rig_start();
	bad = rig.host[rig_state("h0") == HOST_OFFERED ? 0 : 0].id;
	for (size_t i = 0; i < 10; i++)
		if (rig_state(rig.host[i].id) == HOST_OFFERED)
			bad = rig.host[i].id;
	REPORT(bad, LOAD_FAILED, .code = "VERIFIER");
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_true(rig_said("STRATUM_STOPPED") && rig_said("STRATA_STOPPED"));
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 10);
	assert_int_equal(rollout_count(rig.r, HOST_LOAD_FAILED), 1);
	assert_int_equal(rollout_count(rig.r, HOST_PENDING), 9);
	rig_end();
}

static void by_policy_a_load_failure_pauses_the_rollout(void **state)
{
	(void)state;
	rig_begin("{'on_load_failure':'pause'}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_paused_for(BUDGET);
	rig_end();
}

static void when_it_loads_nowhere_the_rollout_fails(void **state)
{
	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	rig_run(HOUR_MS);
	assert_rollout(FAILED);
	rig_end();
}

static void a_sick_canary_pauses_the_rollout(void **state)
{
	const char *canary;

	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	canary = rig_any(HOST_OFFERED);
	REPORT(canary, TRIAL);
	REPORT(canary, UNHEALTHY, .code = "HEALTH:warn");
	assert_paused_for(BUDGET);
	assert_true(rig_said("HEALTH:warn"));
	assert_int_equal(rig.n_applies, 1);
	rig_end();
}

static void an_oops_rolls_everything_back(void **state)
{
	const char *id;

	(void)state;
	rig_begin("{" QUICK ",'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(20, "6.1", 1);
	rig_start();
	while (rig.r->wave < 2)
		rig_run(MINUTE_MS);
	id = rig_any(HOST_OFFERED);
	REPORT(id, UNHEALTHY, .code = "OOPS");
	assert_rollout(ROLLING_BACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 0);
	assert_int_equal(rollout_count(rig.r, HOST_ROLLED_BACK), 10);
	rig_end();
}

/* ---- budgets ----------------------------------------------------------------------- */

static void begin_second_wave(const char *knobs, size_t hosts)
{
	char spec[512];

	snprintf(spec, sizeof(spec),
		 "{'canary':{'bake':'1m'},'waves':[{'percent':100,'bake':'1h'%s}],"
		 "'max_in_flight':100,'max_per_domain':'100%%'}",
		 knobs);
	rig_begin(spec);
	rig_join_many(hosts, "6.1", 1);
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
}

static void a_wave_stops_at_one_failure_more_than_its_threshold(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':2", 50);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	REPORT(rig_any(HOST_OFFERED), CRASHED);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void a_threshold_in_percent_is_of_the_wave_and_rounded_down(void **state)
{
	(void)state;
	begin_second_wave("", 100); /* 2 % of 99 are 1 */
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void a_late_canary_has_the_budget_of_canaries(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'1m','failure_threshold':1},'waves':[{'percent':100,"
		  "'failure_threshold':0}],'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
	rig_join("new0", "7.2", "z0");
	REPORT("new0", UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void failures_in_a_row_stop_a_wave_before_its_threshold(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':'50%'", 50);
	for (size_t i = 0; i < 4; i++)
		REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	REPORT(rig_any(HOST_OFFERED), COMMITTED);
	for (size_t i = 0; i < 4; i++)
		REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void hosts_that_never_began_do_not_count(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':0", 50);
	REPORT(rig_any(HOST_OFFERED), REJECTED, .code = "POLICY");
	REPORT(rig_any(HOST_OFFERED), DENIED_BY_LSM);
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_rollout(WAVE_ATTACHING);
	rig_obey();
	assert_rollout(WAVE_BAKING);
	rig_end();
}

static void neither_do_they_count_as_failures_in_a_row(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':'50%'", 50);
	for (size_t i = 0; i < 4; i++)
		REPORT(rig_any(HOST_OFFERED), REJECTED);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static void one_that_loads_ends_a_row_of_those_that_do_not(void **state)
{
	(void)state;
	begin_second_wave("", 50);
	for (size_t i = 0; i < 4; i++)
		REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	REPORT(rig_any(HOST_OFFERED), COMMITTED);
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_false(rig_said("STRATUM_STOPPED"));
	rig_end();
}

static void a_lost_host_that_turns_out_to_have_crashed_has_failed_once(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':'50%'", 50);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	DO(HEARTBEAT, .host = id, .missed = 3);
	assert_int_equal(rig.r->row, 1);
	REPORT(id, CRASHED, .boot_id = "boot-2");
	assert_host(id, CRASHED);
	assert_int_equal(rig.r->row, 1);
	assert_int_equal(rig.r->failed, 1);
	rig_end();
}

static void a_trial_whose_end_nobody_heard_of_is_known_by_what_is_committed(void **state)
{
	const char *one, *other;

	(void)state;
	begin_second_wave(",'failure_threshold':5", 50);
	one = rig_any(HOST_OFFERED);
	REPORT(one, TRIAL);
	other = rig_any(HOST_OFFERED);
	REPORT(other, TRIAL);
	REPORT(one, PENDING, .committed = RIG_SERIAL);
	assert_host(one, COMMITTED);
	REPORT(other, PENDING);
	assert_host(other, DRIFTED);
	rig_end();
}

static void a_build_that_stops_loading_later_is_stopped_as_well(void **state)
{
	(void)state;
	begin_second_wave("", 50);
	for (size_t i = 0; i < 4; i++)
		REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_false(rig_said("STRATUM_STOPPED"));
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_true(rig_said("STRATUM_STOPPED"));
	rig_end();
}

static void silence_after_it_began_is_a_failure_and_before_it_is_not(void **state)
{
	const char *quiet, *lost;

	(void)state;
	begin_second_wave(",'failure_threshold':0", 50);
	quiet = rig_any(HOST_OFFERED);
	DO(HEARTBEAT, .host = quiet, .missed = 2);
	assert_host(quiet, OFFERED);
	DO(HEARTBEAT, .host = quiet, .missed = 3);
	assert_host(quiet, DEFERRED);
	assert_int_equal(rig_of(quiet)->word.action, ROLLOUT_WITHDRAW);
	assert_rollout(WAVE_ATTACHING);
	lost = rig_any(HOST_OFFERED);
	REPORT(lost, APPLYING);
	DO(HEARTBEAT, .host = lost, .missed = 3);
	assert_host(lost, LOST);
	assert_paused_for(BUDGET);
	rig_end();
}

static void a_lost_host_that_comes_back_healthy_is_no_failure_any_more(void **state)
{
	const char *lost;

	(void)state;
	begin_second_wave(",'failure_threshold':1", 50);
	lost = rig_any(HOST_OFFERED);
	REPORT(lost, TRIAL);
	DO(HEARTBEAT, .host = lost, .missed = 9);
	assert_host(lost, LOST);
	REPORT(lost, COMMITTED);
	assert_host(lost, COMMITTED);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

/* It did not notice that nobody heard it, and so has nothing new to say. */
static void a_host_that_was_lost_with_what_it_committed_has_it_when_it_is_heard_of_again(
	void **state)
{
	const char *lost, *trial;

	(void)state;
	begin_second_wave(",'failure_threshold':0", 50);
	lost = rig_any(HOST_OFFERED);
	REPORT(lost, COMMITTED);
	trial = rig_any(HOST_OFFERED);
	REPORT(trial, TRIAL);
	DO(HEARTBEAT, .host = lost, .missed = 3);
	DO(HEARTBEAT, .host = trial, .missed = 3);
	assert_host(lost, LOST);
	DO(HEARTBEAT, .host = lost, .missed = 1);
	assert_host(lost, LOST);
	rig_reload();
	assert_true(rollout_misses(rig.r, rollout_find(rig.r, lost)));
	DO(HEARTBEAT, .host = lost);
	assert_host(lost, COMMITTED);
	assert_false(rollout_misses(rig.r, rollout_find(rig.r, lost)));
	DO(HEARTBEAT, .host = trial); /* what becomes of its trial it will say */
	assert_host(trial, LOST);
	rig_end();
}

/* It came back with another state than it had: an older image of its disk, say. */
static void a_host_that_comes_back_without_what_it_committed_has_drifted(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':10", 50);
	id = rig_any(HOST_OFFERED);
	REPORT(id, COMMITTED, .boot_id = "boot-1");
	DO(HEARTBEAT, .host = id, .missed = 3);
	assert_host(id, LOST);
	DO(HEARTBEAT, .host = id);
	assert_host(id, COMMITTED);
	REPORT(id, PENDING, .committed = 1, .boot_id = "boot-2");
	assert_host(id, DRIFTED);
	rig_end();
}

static void a_host_that_is_heard_of_again_ends_no_row_of_failures(void **state)
{
	const char *id;

	(void)state;
	rig_begin("{'canary':{'bake':'1m'},'consecutive':3,'max_in_flight':100,"
		  "'max_per_domain':'100%',"
		  "'waves':[{'percent':100,'bake':'1h','failure_threshold':10}]}");
	rig_join_many(50, "6.1", 1);
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
	id = rig_any(HOST_OFFERED);
	REPORT(id, COMMITTED);
	DO(HEARTBEAT, .host = id, .missed = 3);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	DO(HEARTBEAT, .host = id);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void a_reboot_in_mid_trial_is_a_crash_and_one_after_commit_is_none(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':0", 50);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	REPORT(id, COMMITTED, .boot_id = "boot-2");
	assert_host(id, COMMITTED);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	REPORT(id, PENDING, .boot_id = "boot-2");
	assert_host(id, CRASHED);
	assert_paused_for(BUDGET);
	rig_end();
}

static void a_committed_host_that_falls_silent_while_its_wave_bakes_is_lost(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':0", 10);
	rig_obey();
	assert_rollout(WAVE_BAKING);
	for (size_t i = 0; i < rig.n_hosts; i++)
		if (rig.r->host[i]->wave == 1) {
			DO(HEARTBEAT, .host = rig.r->host[i]->id, .missed = 3);
			break;
		}
	assert_paused_for(BUDGET);
	rig_end();
}

/* ---- limits ------------------------------------------------------------------------ */

static void resume_accepts_what_failed_and_counts_anew(void **state)
{
	(void)state;
	begin_second_wave(",'failure_threshold':1", 50);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_obey();
	DO(RESUME, .actor = "bob");
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_rollout(WAVE_ATTACHING);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void who_came_back_is_forgiven_in_nobody_elses_place(void **state)
{
	const char *lost[2];

	(void)state;
	begin_second_wave(",'failure_threshold':0", 50);
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
		lost[i] = rig_any(HOST_OFFERED);
		REPORT(lost[i], COMMITTED);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
		DO(HEARTBEAT, .host = lost[i], .missed = 3);
	assert_paused_for(BUDGET);
	rig_obey();
	DO(RESUME, .actor = "bob");
	assert_rollout(WAVE_ATTACHING);
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++)
		DO(HEARTBEAT, .host = lost[i]);
	REPORT(rig_any(HOST_OFFERED), UNHEALTHY);
	assert_paused_for(BUDGET);
	rig_end();
}

static void no_more_hosts_are_in_flight_than_allowed(void **state)
{
	(void)state;
	rig_begin("{" QUICK ",'max_per_domain':'100%'}");
	rig_join_many(200, "6.1", 1);
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
	assert_int_equal(rig.r->in_flight, 10); /* 5 % of 200 */
	REPORT(rig_any(HOST_OFFERED), COMMITTED);
	assert_int_equal(rig.r->in_flight, 10);
	rig_end();
}

static void no_more_of_a_domain_are_in_flight_than_its_share(void **state)
{
	(void)state;
	rig_begin("{" QUICK ",'max_in_flight':100}");
	rig_join_many(60, "6.1", 3); /* 20 each: 2 at a time */
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
	assert_int_equal(rig.r->in_flight, 6);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(rig.r->domain[i]->in_flight, 2);
	rig_end();
}

static void offline_hosts_neither_block_a_wave_nor_take_a_place(void **state)
{
	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(40, "6.1", 2);
	for (size_t i = 0; i < 30; i++)
		DO(HEARTBEAT, .host = rig.host[i].id, .missed = 3);
	rig_start();
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 10);
	assert_int_equal(rollout_count(rig.r, HOST_DEFERRED), 30);
	assert_int_equal(rig.n_applies, 10);
	rig_end();
}

static void a_rollout_does_not_go_on_while_all_canaries_are_out_of_reach(void **state)
{
	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(5, "6.1", 1);
	for (size_t i = 0; i < 5; i++)
		DO(HEARTBEAT, .host = rig.host[i].id, .missed = 3);
	rig_start();
	rig_pass(30 * MINUTE_MS);
	assert_rollout(WAVE_ATTACHING);
	rig_pass(HOUR_MS);
	assert_paused_for(PROGRESS);
	DO(RESUME, .actor = "bob");
	assert_rollout(WAVE_ATTACHING);
	DO(HEARTBEAT, .host = "h1", .missed = 0);
	assert_host("h1", OFFERED);
	rig_end();
}

static void a_host_that_comes_back_has_its_turn_at_once(void **state)
{
	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	DO(HEARTBEAT, .host = "h3", .missed = 0);
	rig_join("late", "6.1", "z0");
	assert_host("late", OFFERED); /* the last wave is under way */
	rig_end();
}

static void late_hosts_are_left_out_when_it_is_not_dynamic(void **state)
{
	(void)state;
	rig_begin("{'dynamic':false}");
	rig_join_many(5, "6.1", 1);
	rig_start();
	rig_join("late", "6.1", "z0");
	assert_host("late", EXCLUDED);
	rig_end();
}

static void a_held_host_is_told_nothing(void **state)
{
	(void)state;
	rig_begin("{" QUICK ",'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(5, "6.1", 1);
	rig.host[0].facts.held_by = "ann";
	rig_tell(&rig.host[0]);
	rig_start();
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_host("h0", EXCLUDED);
	assert_int_equal(rig.host[0].word.generation, 0);
	rig_end();
}

static void what_a_host_was_offered_is_taken_back_when_it_is_held(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	rig_of(id)->facts.held_by = "ann";
	rig_tell(rig_of(id));
	assert_host(id, RECALLED);
	assert_int_equal(rig_of(id)->word.action, ROLLOUT_WITHDRAW);
	REPORT(id, PENDING);
	assert_host(id, EXCLUDED);
	rig_end();
}

static void a_host_that_moves_to_another_kernel_waits_for_its_canary(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	snprintf(rig_of(id)->kernel, sizeof(rig_of(id)->kernel), "7.2");
	rig_tell(rig_of(id));
	assert_host(id, RECALLED);
	REPORT(id, PENDING);
	assert_host(id, OFFERED); /* as that canary itself */
	assert_true(rollout_find(rig.r, id)->canary);
	rig_end();
}

static void pins_and_later_serials_and_quarantine_exclude(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(6, "6.1", 1);
	rig.host[0].facts.max_serial = RIG_SERIAL - 1;
	rig.host[1].facts.committed = RIG_SERIAL + 1;
	rig.host[2].facts.committed = RIG_SERIAL;
	rig.host[3].facts.quarantined = true;
	rig.host[4].facts.incompatible = true;
	for (size_t i = 0; i < 5; i++) {
		rig_tell(&rig.host[i]);
		assert_host(rig.host[i].id, EXCLUDED);
	}
	assert_int_equal(rollout_find(rig.r, "h0")->why, HOST_WHY_PINNED);
	assert_int_equal(rollout_find(rig.r, "h1")->why, HOST_WHY_AHEAD);
	assert_int_equal(rollout_find(rig.r, "h2")->why, HOST_WHY_ALREADY);
	assert_int_equal(rollout_find(rig.r, "h3")->why, HOST_WHY_QUARANTINE);
	assert_int_equal(rollout_find(rig.r, "h4")->why, HOST_WHY_INCOMPATIBLE);
	assert_host("h5", PENDING);
	rig_end();
}

static void a_host_that_cannot_take_it_is_left_out_and_its_word_is_taken_back(void **state)
{
	AUTO_JSON json_t *shown = NULL;

	(void)state;
	rig_begin("{'canary':{'bake':0},'waves':[{'percent':100,'bake':'10m'}],"
		  "'max_in_flight':100,'max_per_domain':100}");
	rig_join_many(3, "6.1", 1);
	rig.host[0].facts.unfit = "trusts no root";
	rig_tell(&rig.host[0]);
	assert_host("h0", EXCLUDED);
	rig_start();
	for (size_t i = 1; i < 3; i++)
		if (rig_state(rig.host[i].id) == HOST_OFFERED) {
			rig.host[i].facts.unfit = "trusts another root 3";
			rig_tell(&rig.host[i]);
			assert_host(rig.host[i].id, RECALLED);
		}
	rig_reload();
	shown = rollout_show(rig.r);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(shown, "excluded"),
							    "incompatible (trusts no root)")),
			 1);
	assert_int_equal(rollout_count(rig.r, HOST_RECALLED), 1);
	rig.host[0].facts.unfit = NULL;
	rig_tell(&rig.host[0]);
	assert_int_not_equal(rig_state("h0"), HOST_EXCLUDED);
	rig_end();
}

/* ---- time -------------------------------------------------------------------------- */

static void a_bake_stands_while_the_rollout_is_paused(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'10m'},'waves':[{'percent':100}]}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_obey();
	rig_pass(6 * MINUTE_MS);
	DO(PAUSE, .actor = "bob", .reason = "lunch");
	rig_pass(HOUR_MS);
	DO(RESUME, .actor = "bob");
	rig_pass(3 * MINUTE_MS);
	assert_int_equal(rig.r->wave, 0);
	rig_pass(2 * MINUTE_MS);
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void time_that_nobody_watched_does_not_bake(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'10m'},'waves':[{'percent':100}]}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_obey();
	rig.now_ms += 24 * HOUR_MS; /* all controllers were down, or a clock was set */
	DO(TICK);
	assert_int_equal(rig.r->wave, 0);
	assert_int_equal(rig.r->clock_ms, ROLLOUT_STEP_MAX_MS);
	rig_end();
}

static void a_clock_that_is_set_back_takes_nothing_away(void **state)
{
	uint64_t clock_ms;

	(void)state;
	rig_begin("{'canary':{'bake':'10m'},'waves':[{'percent':100}]}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_obey();
	rig_pass(8 * MINUTE_MS);
	clock_ms = rig.r->clock_ms;
	rig.now_ms -= 24 * HOUR_MS;
	DO(TICK);
	assert_int_equal(rig.r->clock_ms, clock_ms);
	rig_pass(3 * MINUTE_MS);
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void without_progress_the_rollout_pauses_with_an_alarm(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_pass(59 * MINUTE_MS);
	assert_rollout(WAVE_ATTACHING);
	rig_pass(2 * MINUTE_MS);
	assert_paused_for(PROGRESS);
	DO(RESUME, .actor = "bob");
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static void a_long_bake_is_no_lack_of_progress(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'3h'},'waves':[{'percent':100}],'max_in_flight':100}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_obey();
	rig_pass(3 * HOUR_MS);
	rig_join("new0", "7.2", "z0");
	rig_join("new1", "7.2", "z0"); /* waits for the canary of its kernel */
	rig_obey();
	rig_pass(3 * HOUR_MS - MINUTE_MS);
	assert_rollout(WAVE_ATTACHING);
	rig_pass(2 * MINUTE_MS);
	rig_obey();
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 12);
	rig_end();
}

static void it_asks_to_be_woken_when_the_bake_is_over(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'30s'},'waves':[{'percent':100}]}");
	rig_join_many(10, "6.1", 1);
	assert_int_equal(rig.fx.wake_ms, UINT64_MAX);
	rig_start();
	assert_int_equal(rig.fx.wake_ms, rig.now_ms + ROLLOUT_STEP_MS);
	rig_obey();
	assert_int_equal(rig.fx.wake_ms, rig.now_ms + 30000);
	rig.now_ms = rig.fx.wake_ms;
	DO(TICK);
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

/* ---- judgement --------------------------------------------------------------------- */

#define METRIC "'metrics':[{'name':'retrans','ratio':1.5,'guard':1,'samples':100}]"

static void measure(const char *id, double value, double base)
{
	struct rollout_metric m = {"retrans", value, base};
	enum host_state state = rig_state(id);

	rig_report_full(id, (struct rollout_report){.state = state == HOST_COMMITTED
								     ? HOST_COMMITTED
								     : HOST_PENDING,
						    .metrics = &m,
						    .n_metrics = 1});
}

/* Ten hosts, their canary committed; all have measured. */
static void measured(const char *knobs, double canary, double others, double base)
{
	char spec[512];

	snprintf(spec, sizeof(spec),
		 "{" METRIC ",'canary':{'bake':'1m'},'waves':[{'percent':100,'bake':'1m'}]%s}",
		 knobs);
	rig_begin(spec);
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_obey();
	for (size_t i = 0; i < rig.n_hosts; i++) {
		bool is = rig_state(rig.host[i].id) == HOST_COMMITTED;

		measure(rig.host[i].id, (is ? canary : others) * base, base);
	}
	rig_pass(2 * MINUTE_MS);
}

static void a_canary_as_good_as_the_others_passes(void **state)
{
	(void)state;
	measured("", 2.5, 2, 1000);
	assert_int_equal(rig.r->wave, 1);
	assert_true(rig_said("CANARY_PASSED"));
	rig_end();
}

static void a_canary_worse_than_the_others_stops_with_value_and_limit(void **state)
{
	(void)state;
	measured("", 4, 2, 1000);
	assert_paused_for(BUDGET);
	assert_true(rig_said("VERDICT"));
	assert_string_equal(rig.r->finding.metric, "retrans");
	assert_int_equal(rig.r->finding.verdict, JUDGE_FAIL);
	assert_true(rig.r->finding.value > 3.9 && rig.r->finding.limit < 3.1);
	DO(RESUME, .actor = "bob"); /* judged again */
	assert_paused_for(BUDGET);
	DO(PROMOTE, .actor = "bob", .reason = "known"); /* accepted */
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void too_few_samples_are_inconclusive_and_pause(void **state)
{
	(void)state;
	measured("", 2, 2, 10);
	assert_paused_for(INCONCLUSIVE);
	rig_end();
}

static void what_is_not_a_number_is_inconclusive(void **state)
{
	(void)state;
	measured("", 0.0 / 0.0, 2, 1000);
	assert_paused_for(INCONCLUSIVE);
	rig_end();
}

static void a_control_of_zero_is_inconclusive(void **state)
{
	(void)state;
	measured("", 0, 0, 1000);
	assert_paused_for(INCONCLUSIVE);
	DO(PROMOTE, .actor = "bob");
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void no_data_passes_only_where_that_was_asked_for(void **state)
{
	(void)state;
	measured(",'on_no_data':'pass'", 0, 0, 1000);
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void what_a_host_measured_before_it_began_does_not_count_for_it(void **state)
{
	const char *canary;

	(void)state;
	rig_begin("{" METRIC ",'canary':{'bake':'1m'},'waves':[{'percent':100}]}");
	rig_join_many(10, "6.1", 1);
	for (size_t i = 0; i < rig.n_hosts; i++)
		measure(rig.host[i].id, 2000, 1000);
	rig_start();
	canary = rig_any(HOST_OFFERED);
	assert_false(rollout_find(rig.r, canary)->sample[0].known);
	rig_end();
}

static void a_failed_verdict_rolls_back_where_that_was_asked_for(void **state)
{
	(void)state;
	measured(",'on_failure':'rollback_all'", 4, 2, 1000);
	assert_rollout(ROLLING_BACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

/* ---- users ------------------------------------------------------------------------- */

static void approvals_are_of_distinct_users_and_not_of_the_author(void **state)
{
	(void)state;
	rig_begin("{'approvals':2}");
	rig_join_many(3, "6.1", 1);
	rig_start();
	assert_rollout(PENDING_APPROVAL);
	assert_int_equal(TRY(APPROVE, .actor = "ann"), -fail_errno(FAIL_PERMISSION));
	DO(APPROVE, .actor = "bob");
	DO(APPROVE, .actor = "bob");
	assert_rollout(PENDING_APPROVAL);
	DO(APPROVE, .actor = "cem");
	assert_rollout(WAVE_ATTACHING);
	assert_int_equal(TRY(APPROVE, .actor = "dan"), -fail_errno(FAIL_CONFLICT));
	rig_end();
}

static void a_closed_window_delays_the_start_and_pauses_what_runs(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	DO(WINDOW, .on = false, .next_ms = rig.now_ms + HOUR_MS);
	rig_start();
	assert_rollout(SCHEDULED);
	assert_int_equal(rig.fx.wake_ms, rig.now_ms + HOUR_MS);
	DO(WINDOW, .on = true, .next_ms = rig.now_ms + 2 * HOUR_MS);
	assert_rollout(WAVE_ATTACHING);
	DO(WINDOW, .on = false, .next_ms = 0);
	assert_paused_for(WINDOW);
	assert_int_equal(TRY(RESUME, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	DO(WINDOW, .on = true);
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static void only_a_critical_rollout_is_taken_out_of_its_windows(void **state)
{
	(void)state;
	rig_begin("");
	assert_int_equal(TRY(OVERRIDE, .actor = "bob", .reason = "now"),
			 -fail_errno(FAIL_USAGE));
	rig_begin("{'severity':'critical'}");
	rig_join_many(10, "6.1", 1);
	DO(WINDOW, .on = false);
	rig_start();
	assert_int_equal(TRY(OVERRIDE, .actor = "bob"), -fail_errno(FAIL_USAGE));
	assert_int_equal(TRY(OVERRIDE, .actor = "ann", .reason = "now"),
			 -fail_errno(FAIL_PERMISSION));
	assert_rollout(SCHEDULED);
	DO(OVERRIDE, .actor = "bob", .reason = "exploited in the wild");
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static void a_paused_rollout_takes_back_what_has_not_begun(void **state)
{
	const char *begun, *offered;

	(void)state;
	begin_second_wave("", 10);
	begun = rig_any(HOST_OFFERED);
	REPORT(begun, TRIAL);
	offered = rig_any(HOST_OFFERED);
	DO(STOP_THE_LINE, .on = true);
	assert_paused_for(STOP_THE_LINE);
	assert_host(begun, TRIAL);
	assert_host(offered, RECALLED);
	assert_int_equal(rig_of(offered)->word.action, ROLLOUT_WITHDRAW);
	REPORT(offered, PENDING);
	assert_host(offered, PENDING);
	rig_obey();
	assert_host(begun, COMMITTED);
	DO(STOP_THE_LINE, .on = false);
	assert_rollout(WAVE_ATTACHING);
	rig_obey();
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 10);
	rig_end();
}

static void what_had_begun_when_its_word_was_taken_back_is_known_for_what_it_is(void **state)
{
	uint64_t offer;
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	offer = rig_of(id)->word.generation;
	DO(PAUSE, .actor = "bob");
	assert_host(id, RECALLED);
	REPORT(id, TRIAL, .word = offer);
	assert_host(id, TRIAL);
	REPORT(id, COMMITTED);
	assert_host(id, COMMITTED);
	rig_end();
}

static void a_lost_engine_pauses_until_it_is_back(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	DO(ENGINE_LOST, .on = true);
	assert_paused_for(ENGINE_LOST);
	DO(PAUSE, .actor = "bob");
	DO(ENGINE_LOST, .on = false);
	assert_paused_for(MANUAL); /* each cause for itself */
	DO(RESUME, .actor = "bob");
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static const char *why_of(const char *pause)
{
	static char why[256];
	AUTO_JSON json_t *doc = rollout_show(rig.r);
	const char *text =
		json_string_value(json_object_get(json_object_get(doc, "whys"), pause));

	snprintf(why, sizeof(why), "%s", text ? text : "");
	return why;
}

static void what_it_waits_for_is_shown_as_long_as_it_waits(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	DO(WINDOW, .on = false, .reason = "frozen by ann");
	assert_paused_for(WINDOW);
	assert_true(rig_said("WAITS"));
	assert_string_equal(why_of("window"), "frozen by ann");
	rig_reload();
	assert_string_equal(why_of("window"), "frozen by ann");
	rig.codes[0] = 0;
	DO(WINDOW, .on = false, .reason = "frozen by ben");
	assert_true(rig_said("WAITS"));
	assert_string_equal(why_of("window"), "frozen by ben");
	DO(WINDOW, .on = true);
	assert_string_equal(why_of("window"), "");
	assert_rollout(WAVE_ATTACHING);
	rig_end();
}

static json_int_t left_out(const char *key, const char *why)
{
	AUTO_JSON json_t *doc = rollout_show(rig.r);

	return json_integer_value(json_object_get(json_object_get(doc, key), why));
}

static void why_a_host_does_not_begin_is_known(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, STAGED);
	REPORT(id, STAGED, .code = "INTERVAL", .transient = true);
	assert_string_equal(rollout_find(rig.r, id)->code, "INTERVAL");
	rig_reload();
	assert_string_equal(rollout_find(rig.r, id)->code, "INTERVAL");
	REPORT(id, TRIAL);
	assert_string_equal(rollout_find(rig.r, id)->code, "");
	/* Nor does a trial end before it has seen enough. */
	REPORT(id, TRIAL, .code = "CALLS", .text = "waits for calls: \x1b 5 are demanded");
	assert_string_equal(rollout_find(rig.r, id)->code, "CALLS");
	rig_reload();
	assert_string_equal(rollout_find(rig.r, id)->waits,
			    "waits for calls: ? 5 are demanded");
	REPORT(id, COMMITTED, .committed = RIG_SERIAL);
	assert_string_equal(rollout_find(rig.r, id)->code, "");
	assert_string_equal(rollout_find(rig.r, id)->waits, "");
	id = rig_any(HOST_OFFERED);
	rig_of(id)->facts.held_by = "ann";
	rig_tell(rig_of(id));
	rig_obey();
	assert_host(id, EXCLUDED);
	assert_int_equal(left_out("excluded", "hold (ann)"), 1);
	rig_of(id)->facts.held_by = "ben";
	rig_tell(rig_of(id));
	rig_reload();
	assert_int_equal(left_out("excluded", "hold (ben)"), 1);
	rig_end();
}

static void without_a_signature_nothing_begins_and_only_trials_go_back(void **state)
{
	const char *tried;

	(void)state;
	begin_second_wave("", 10);
	tried = rig_any(HOST_OFFERED);
	REPORT(tried, TRIAL);
	DO(DIRECTOR_LOST, .on = true, .reason = "the root names another key");
	assert_paused_for(DIRECTOR_LOST);
	assert_string_equal(why_of("director_lost"), "the root names another key");
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	assert_host(tried, ROLLING_BACK);
	assert_int_equal(rig.n_ends, 1);
	rig_obey();
	assert_host(tried, ROLLED_BACK);
	assert_rollout(ROLLBACK_INCOMPLETE);
	rig_reload();
	assert_int_equal(rig.n_rollbacks, 0);
	DO(DIRECTOR_LOST, .on = false);
	assert_rollout(ROLLING_BACK);
	assert_true(rig.n_rollbacks > 0);
	assert_string_equal(why_of("director_lost"), "");
	rig_end();
}

static void what_a_user_did_and_what_followed_from_it_are_told_apart(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	assert_true(rig.fx.n_audits >= 3); /* submitted, approved, started */
	assert_string_equal(rig.fx.audit[0].actor, "ann");
	assert_string_equal(rig.fx.audit[0].asked_by, "");
	for (size_t i = 1; i < rig.fx.n_audits; i++) {
		assert_string_equal(rig.fx.audit[i].actor, "engine");
		assert_string_equal(rig.fx.audit[i].asked_by, "ann");
	}
	REPORT(rig_any(HOST_OFFERED), TRIAL);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL, .reason = "no");
	assert_string_equal(rig.fx.audit[0].actor, "bob");
	assert_string_equal(rig.fx.audit[1].code, "ABORT");
	assert_string_equal(rig.fx.audit[1].actor, "engine");
	assert_string_equal(rig.fx.audit[1].asked_by, "bob");
	/* What nobody asked for. */
	DO(ENGINE_LOST, .on = true);
	assert_string_equal(rig.fx.audit[0].actor, "engine");
	assert_string_equal(rig.fx.audit[0].asked_by, "");
	rig_end();
}

static void promote_ends_a_bake_and_a_gate(void **state)
{
	(void)state;
	rig_begin("{'pause_after':['canary'],'waves':[{'percent':100,'bake':'1h'}]}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	assert_int_equal(TRY(PROMOTE, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	rig_obey();
	DO(PROMOTE, .actor = "bob");
	assert_paused_for(GATE);
	DO(PROMOTE, .actor = "bob");
	assert_rollout(WAVE_ATTACHING);
	assert_int_equal(rig.r->wave, 1);
	rig_end();
}

static void without_auto_promote_each_wave_waits(void **state)
{
	(void)state;
	rig_begin("{" QUICK ",'auto_promote':false}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	rig_run(HOUR_MS);
	assert_paused_for(GATE);
	assert_int_equal(rig.r->wave, 0);
	DO(PROMOTE, .actor = "bob");
	rig_run(HOUR_MS);
	assert_paused_for(GATE);
	assert_int_equal(rig.r->wave, 1);
	DO(RESUME, .actor = "bob");
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	rig_end();
}

static void a_wave_is_not_left_before_those_that_came_back_are_through(void **state)
{
	const char *id;

	(void)state;
	rig_begin("{" QUICK
		  ",'pause_after':['wave-1'],'max_in_flight':100,'max_per_domain':'100%'}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	while (rig.r->wave < 1)
		rig_run(MINUTE_MS);
	id = rig_any(HOST_OFFERED);
	DO(HEARTBEAT, .host = id, .missed = 3);
	rig_run(HOUR_MS);
	assert_paused_for(GATE);
	DO(HEARTBEAT, .host = id, .missed = 0);
	DO(PROMOTE, .actor = "bob");
	assert_host(id, OFFERED);
	assert_int_equal(rig.r->wave, 1);
	rig_obey();
	assert_int_equal(rig.r->wave, 2);
	rig_end();
}

static void an_abort_is_final(void **state)
{
	(void)state;
	begin_second_wave("", 10);
	REPORT(rig_any(HOST_OFFERED), TRIAL);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_NOTHING);
	assert_rollout(ABORTING);
	rig_obey();
	assert_rollout(ABORTED);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 2);
	assert_int_equal(TRY(RESUME, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	assert_int_equal(TRY(PROMOTE, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	assert_int_equal(TRY(RETRY, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	assert_int_equal(TRY(SUBMIT, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	assert_int_equal(TRY(UNDO, .actor = "bob"), -fail_errno(FAIL_CONFLICT));
	rig_end();
}

static void an_abort_of_the_wave_keeps_the_waves_before(void **state)
{
	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_WAVE);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 1);
	assert_int_equal(rollout_count(rig.r, HOST_ROLLED_BACK), 9);
	rig_end();
}

static void a_failed_version_is_tried_again_only_on_request(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':5", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, UNHEALTHY);
	rig_obey();
	DO(HEARTBEAT, .host = id, .missed = 5);
	DO(HEARTBEAT, .host = id, .missed = 0);
	rig_tell(rig_of(id));
	assert_host(id, UNHEALTHY);
	assert_int_equal(TRY(RETRY, .host = "nobody"), -fail_errno(FAIL_NOT_FOUND));
	DO(RETRY, .actor = "bob", .host = id);
	assert_host(id, OFFERED);
	assert_true(rig_of(id)->word.retry);
	rig_end();
}

static void a_retry_after_a_crash_begins_in_the_new_boot(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':5", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	REPORT(id, CRASHED, .boot_id = "boot-2");
	DO(RETRY, .actor = "bob", .host = id);
	REPORT(id, TRIAL, .boot_id = "boot-2");
	assert_host(id, TRIAL);
	REPORT(id, TRIAL, .boot_id = "boot-2");
	assert_host(id, TRIAL);
	rig_end();
}

static void retry_opens_a_stopped_build_again(void **state)
{
	(void)state;
	rig_begin("{'canary':{'bake':'1m'},'waves':[{'percent':100,'bake':'1h'}]}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	REPORT(rig_any(HOST_OFFERED), LOAD_FAILED);
	assert_null(rig_any(HOST_OFFERED));
	DO(RETRY, .actor = "bob");
	assert_non_null(rig_any(HOST_OFFERED));
	rig_end();
}

static void a_passing_cause_is_tried_again_after_a_while_and_not_for_ever(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, REJECTED, .transient = true, .code = "FETCH");
	assert_host(id, DEFERRED);
	rig_pass(29000);
	assert_host(id, DEFERRED);
	rig_pass(2000);
	assert_host(id, OFFERED);
	REPORT(id, REJECTED, .transient = true, .code = "FETCH");
	assert_host(id, REJECTED);
	DO(RETRY, .actor = "bob", .host = id);
	REPORT(id, REJECTED, .transient = true, .code = "FETCH");
	assert_host(id, DEFERRED);
	rig_end();
}

static void undo_brings_back_what_was_there_before(void **state)
{
	(void)state;
	rig_begin("{" QUICK ",'max_per_domain':'100%'}");
	rig_join_many(200, "6.1", 1);
	rig_start();
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	assert_int_equal(TRY(UNDO, .actor = "bob", .newer = 3), -fail_errno(FAIL_CONFLICT));
	DO(WINDOW, .on = false); /* not asked */
	DO(UNDO, .actor = "bob", .newer = 2);
	assert_rollout(ROLLING_BACK);
	assert_int_equal(rig.r->back_in_flight, 40); /* 4 x 5 % of 200 */
	for (size_t i = 0; i < rig.fx.n_words; i++) {
		assert_int_equal(rig.fx.word[i].action, ROLLOUT_ROLLBACK);
		assert_int_equal(rig.fx.word[i].from, RIG_SERIAL);
		assert_int_equal(rig.fx.word[i].to, RIG_SERIAL - 1);
	}
	rig_obey();
	assert_rollout(ROLLED_BACK);
	assert_int_equal(rollout_count(rig.r, HOST_ROLLED_BACK), 200);
	rig_end();
}

static void a_newer_rollout_lets_the_begun_finish_and_starts_no_more(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	DO(SUPERSEDE, .actor = "bob", .by = "ro-2");
	assert_host(id, TRIAL);
	rig_obey();
	assert_host(id, COMMITTED);
	assert_rollout(SUPERSEDED);
	assert_int_equal(rollout_count(rig.r, HOST_COMMITTED), 2);
	rig_begin("{'on_newer':'refuse'}");
	assert_int_equal(TRY(SUPERSEDE, .by = "ro-2"), -fail_errno(FAIL_CONFLICT));
	rig_end();
}

static void nothing_happens_below_the_floor(void **state)
{
	(void)state;
	assert_int_equal(rig_new("", RIG_SERIAL + 1, true), -fail_errno(FAIL_DOWNGRADE));
	begin_second_wave("", 10);
	DO(FLOOR, .serial = RIG_SERIAL); /* what was there before is below */
	rig_obey();
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	assert_rollout(ROLLBACK_INCOMPLETE);
	assert_int_equal(rig.n_rollbacks, 0);
	assert_int_equal(rollout_count(rig.r, HOST_ROLLBACK_FAILED), 10);
	begin_second_wave("", 10);
	DO(FLOOR, .serial = RIG_SERIAL + 1);
	rig_obey();
	assert_rollout(ABORTED);
	rig_end();
}

/* ---- the way back ------------------------------------------------------------------ */

static void hosts_on_trial_end_it_and_committed_ones_go_back(void **state)
{
	const char *begun, *offered;

	(void)state;
	begin_second_wave("", 10);
	begun = rig_any(HOST_OFFERED);
	REPORT(begun, TRIAL);
	offered = rig_any(HOST_OFFERED);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	assert_int_equal(rig_of(begun)->word.action, ROLLOUT_END_TRIAL);
	assert_int_equal(rig_of(offered)->word.action, ROLLOUT_WITHDRAW);
	assert_int_equal(rig.n_rollbacks, 1); /* the canary */
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void a_trial_that_was_committed_before_its_end_arrived_goes_back_all_the_same(
	void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, TRIAL);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	assert_int_equal(rig_of(id)->word.action, ROLLOUT_END_TRIAL);
	REPORT(id, COMMITTED);
	assert_host(id, ROLLING_BACK);
	assert_int_equal(rig_of(id)->word.action, ROLLOUT_ROLLBACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void only_an_answer_to_the_word_ends_a_rollback(void **state)
{
	uint64_t old;

	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(1, "6.1", 1);
	rig_start();
	old = rig.host[0].word.generation;
	REPORT("h0", TRIAL);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	assert_host("h0", ROLLING_BACK);
	REPORT("h0", PENDING, .word = old);
	assert_host("h0", ROLLING_BACK);
	REPORT("h0", PENDING);
	assert_host("h0", ROLLED_BACK);
	rig_end();
}

static void hosts_out_of_reach_leave_a_rollback_incomplete_until_they_are_back(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	id = rig.host[3].id;
	DO(HEARTBEAT, .host = id, .missed = 3);
	if (rollout_state(rig.r) == ROLLOUT_PAUSED)
		DO(RESUME, .actor = "bob");
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	rig_obey();
	assert_rollout(ROLLBACK_INCOMPLETE);
	assert_int_equal(rollout_count(rig.r, HOST_ROLLED_BACK), 9);
	DO(HEARTBEAT, .host = id, .missed = 0);
	assert_rollout(ROLLING_BACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void a_failed_rollback_is_told_and_tried_again_on_request(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	id = rig_any(HOST_ROLLING_BACK);
	REPORT(id, ROLLBACK_FAILED, .code = "CONFLICT");
	rig_obey();
	assert_rollout(ROLLBACK_INCOMPLETE);
	DO(RETRY, .actor = "bob");
	assert_host(id, ROLLING_BACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void a_way_back_that_came_too_late_is_told_once_more(void **state)
{
	uint64_t word;
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	id = rig_any(HOST_ROLLING_BACK);
	word = rig_of(id)->word.generation;
	REPORT(id, REJECTED, .code = "EXPIRED", .transient = true);
	assert_host(id, ROLLING_BACK);
	assert_int_equal(rig_of(id)->word.action, ROLLOUT_ROLLBACK);
	assert_true(rig_of(id)->word.generation > word);
	/* Once, and not for ever. */
	REPORT(id, REJECTED, .code = "EXPIRED", .transient = true);
	assert_host(id, ROLLBACK_FAILED);
	rig_obey();
	assert_rollout(ROLLBACK_INCOMPLETE);
	DO(RETRY, .actor = "bob");
	assert_host(id, ROLLING_BACK);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

static void a_first_version_is_taken_off_only_where_the_director_may(void **state)
{
	(void)state;
	for (int may = 0; may < 2; may++) {
		assert_ok(rig_new("{" QUICK "}", 0, may));
		rig_join_many(1, "6.1", 1);
		rig.host[0].facts.committed = 0;
		rig_tell(&rig.host[0]);
		rig_start();
		rig_obey();
		DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
		if (may) {
			assert_int_equal(rig.host[0].word.action, ROLLOUT_ROLLBACK);
			assert_int_equal(rig.host[0].word.to, 0);
		} else {
			assert_host("h0", ROLLBACK_FAILED);
			assert_true(rig_said("NOTHING_BEFORE"));
			assert_rollout(ROLLBACK_INCOMPLETE);
		}
	}
	rig_end();
}

static void a_held_host_is_not_even_rolled_back(void **state)
{
	(void)state;
	begin_second_wave("", 10);
	rig_obey();
	rig.host[2].facts.held_by = "ann";
	rig_tell(&rig.host[2]);
	DO(ABORT, .actor = "bob", .scope = ROLLOUT_ALL);
	rig_obey();
	assert_host("h2", COMMITTED);
	assert_rollout(ROLLBACK_INCOMPLETE);
	rig.host[2].facts.held_by = NULL;
	rig_tell(&rig.host[2]);
	rig_obey();
	assert_rollout(ROLLED_BACK);
	rig_end();
}

/* ---- reports, generations ---------------------------------------------------------- */

static void old_and_repeated_reports_change_nothing(void **state)
{
	struct rollout_report rep = {.seq = 50, .state = HOST_TRIAL, .boot_id = "boot-1"};
	uint64_t generation;
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	rep.word = rig_of(id)->word.generation;
	DO(REPORT, .host = id, .report = &rep);
	assert_host(id, TRIAL);
	generation = rollout_generation(rig.r);
	DO(REPORT, .host = id, .report = &rep);
	rep.seq = 49;
	rep.state = HOST_UNHEALTHY;
	DO(REPORT, .host = id, .report = &rep);
	assert_host(id, TRIAL);
	assert_false(rig.fx.changed);
	assert_int_equal(rollout_generation(rig.r), generation);
	rig_end();
}

static void a_report_about_an_older_word_is_not_about_this_one(void **state)
{
	uint64_t old;
	const char *id;

	(void)state;
	begin_second_wave(",'failure_threshold':5", 10);
	id = rig_any(HOST_OFFERED);
	old = rig_of(id)->word.generation;
	REPORT(id, UNHEALTHY);
	DO(RETRY, .actor = "bob", .host = id);
	assert_host(id, OFFERED);
	REPORT(id, UNHEALTHY, .word = old);
	assert_host(id, OFFERED);
	rig_end();
}

static void a_host_that_says_committed_without_the_serial_is_not_believed(void **state)
{
	const char *id;

	(void)state;
	begin_second_wave("", 10);
	id = rig_any(HOST_OFFERED);
	REPORT(id, COMMITTED, .committed = RIG_SERIAL - 2);
	assert_host(id, OFFERED);
	rig_end();
}

static void whatever_a_host_says_spoils_no_more_than_its_own_row(void **state)
{
	static const struct rollout_report reports[] = {
		{.seq = UINT64_MAX, .boot_id = "b"},
		{.seq = 9, .boot_id = "b", .committed = UINT64_MAX},
		{.seq = 9, .boot_id = "\xff"},
		{.seq = 9, .boot_id = "01234567890123456789012345678901234567890123456789"},
		{.seq = 9, .boot_id = "b", .state = HOST_LOST},
		{.seq = 9, .boot_id = "b", .state = HOST_RECALLED},
		{.seq = 9, .boot_id = "b", .state = HOST_EXCLUDED},
	};
	char key[ROLLOUT_KEY_BYTES], release[64];
	AUTO_JSON json_t *labels = NULL;

	(void)state;
	snprintf(release, sizeof(release), "%059d\xe2\x82\xac", 0);
	labels = json_pack("{s:s}", "kernel_release", release);
	assert_non_null(labels);
	rig_begin("");
	rig_join_many(3, "6.1", 1);
	for (size_t i = 0; i < ARRAY_SIZE(reports); i++)
		assert_int_equal(TRY(REPORT, .host = "h0", .report = &reports[i]),
				 -fail_errno(FAIL_USAGE));
	rollout_group_key(&rig.r->spec.stratify_by, labels, key);
	assert_true(plain_is(key, false)); /* cut, but not in the middle of a character */
	rig_end();
}

static void each_step_that_changes_something_is_one_generation(void **state)
{
	uint64_t generation;

	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	generation = rollout_generation(rig.r);
	assert_int_equal(generation, 10);
	rig_start(); /* three transitions and an offer in one step */
	assert_int_equal(rollout_generation(rig.r), generation + 1);
	assert_int_equal(rig.fx.word[0].generation, generation + 1);
	rig.now_ms += 1000;
	DO(TICK);
	assert_false(rig.fx.changed);
	assert_int_equal(rollout_generation(rig.r), generation + 1);
	rig_end();
}

static void every_transition_says_who_why_and_from_where(void **state)
{
	(void)state;
	rig_begin("");
	rig_join_many(10, "6.1", 1);
	rig_start();
	DO(PAUSE, .actor = "bob", .reason = "lunch\x1b[31m");
	assert_int_equal(rig.fx.n_audits, 2);
	assert_string_equal(rig.fx.audit[0].actor, "bob");
	assert_string_equal(rig.fx.audit[0].code, "PAUSE");
	assert_string_equal(rig.fx.audit[0].text, "lunch?[31m");
	assert_int_equal(rig.fx.audit[1].from, ROLLOUT_WAVE_ATTACHING);
	assert_int_equal(rig.fx.audit[1].to, ROLLOUT_PAUSED);
	assert_int_equal(rig.fx.audit[1].generation, rollout_generation(rig.r));
	rig_end();
}

/* ---- plan -------------------------------------------------------------------------- */

static void the_plan_is_what_then_happens(void **state)
{
	json_t *plan, *waves, *wave, *member;
	size_t i, k, n = 0;

	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(60, "6.1", 3);
	rig_join_many(30, "6.12", 3);
	rig.host[5].facts.held_by = "ann";
	rig_tell(&rig.host[5]);
	assert_ok(rollout_plan(rig.r, &plan, &rig.fail));
	rig_start();
	rig_run(HOUR_MS);
	assert_rollout(SUCCEEDED);
	waves = json_object_get(plan, "waves");
	json_array_foreach(waves, i, wave)
		json_array_foreach(json_object_get(wave, "members"), k, member) {
			assert_int_equal(rollout_find(rig.r, json_string_value(member))->wave,
					 i);
			n++;
		}
	assert_int_equal(n, 89);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(plan, "excluded"), "h5")),
		"hold (ann)");
	json_decref(plan);
	rig_end();
}

static void show_tells_states_by_wave_and_kernel_build(void **state)
{
	AUTO_JSON json_t *show = NULL;
	const char *word;

	(void)state;
	rig_begin("{" QUICK "}");
	rig_join_many(10, "6.1", 1);
	rig_start();
	show = rollout_show(rig.r);
	assert_ok(json_unpack(show, "{s:s, s:{s:{s:s}}}", "state", &word, "strata",
			      "6.1/x86_64", "state", &word));
	assert_string_equal(word, "canary");
	rig_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rollout_reaches_every_host_and_succeeds),
		cmocka_unit_test(of_one_host_is_spoken_as_of_one),
		cmocka_unit_test(default_waves_are_the_canaries_then_1_10_50_and_100_percent),
		cmocka_unit_test(waves_bake_as_long_as_they_should),
		cmocka_unit_test(a_critical_rollout_bakes_shorter),
		cmocka_unit_test(membership_depends_on_rollout_and_host_alone),
		cmocka_unit_test(a_rollout_without_hosts_fails_and_does_not_hang),
		cmocka_unit_test(percent_is_of_the_eligible_and_rounded_up),
		cmocka_unit_test(a_wave_by_count_reaches_so_many_hosts),
		cmocka_unit_test(a_wave_by_selector_takes_those_that_match),
		cmocka_unit_test(a_wave_holds_of_each_domain_its_share),
		cmocka_unit_test(each_kernel_build_has_its_own_first_host),
		cmocka_unit_test(a_kernel_build_that_appears_later_starts_with_a_canary),
		cmocka_unit_test(another_canary_is_chosen_when_one_goes_before_it_began),
		cmocka_unit_test(
			a_kernel_build_where_it_does_not_load_stops_and_the_others_go_on),
		cmocka_unit_test(by_policy_a_load_failure_pauses_the_rollout),
		cmocka_unit_test(when_it_loads_nowhere_the_rollout_fails),
		cmocka_unit_test(a_sick_canary_pauses_the_rollout),
		cmocka_unit_test(an_oops_rolls_everything_back),
		cmocka_unit_test(a_wave_stops_at_one_failure_more_than_its_threshold),
		cmocka_unit_test(a_threshold_in_percent_is_of_the_wave_and_rounded_down),
		cmocka_unit_test(a_late_canary_has_the_budget_of_canaries),
		cmocka_unit_test(failures_in_a_row_stop_a_wave_before_its_threshold),
		cmocka_unit_test(hosts_that_never_began_do_not_count),
		cmocka_unit_test(neither_do_they_count_as_failures_in_a_row),
		cmocka_unit_test(one_that_loads_ends_a_row_of_those_that_do_not),
		cmocka_unit_test(a_lost_host_that_turns_out_to_have_crashed_has_failed_once),
		cmocka_unit_test(
			a_trial_whose_end_nobody_heard_of_is_known_by_what_is_committed),
		cmocka_unit_test(a_build_that_stops_loading_later_is_stopped_as_well),
		cmocka_unit_test(silence_after_it_began_is_a_failure_and_before_it_is_not),
		cmocka_unit_test(a_lost_host_that_comes_back_healthy_is_no_failure_any_more),
		cmocka_unit_test(
			a_host_that_was_lost_with_what_it_committed_has_it_when_it_is_heard_of_again),
		cmocka_unit_test(a_host_that_comes_back_without_what_it_committed_has_drifted),
		cmocka_unit_test(a_host_that_is_heard_of_again_ends_no_row_of_failures),
		cmocka_unit_test(a_reboot_in_mid_trial_is_a_crash_and_one_after_commit_is_none),
		cmocka_unit_test(
			a_committed_host_that_falls_silent_while_its_wave_bakes_is_lost),
		cmocka_unit_test(resume_accepts_what_failed_and_counts_anew),
		cmocka_unit_test(who_came_back_is_forgiven_in_nobody_elses_place),
		cmocka_unit_test(no_more_hosts_are_in_flight_than_allowed),
		cmocka_unit_test(no_more_of_a_domain_are_in_flight_than_its_share),
		cmocka_unit_test(offline_hosts_neither_block_a_wave_nor_take_a_place),
		cmocka_unit_test(a_rollout_does_not_go_on_while_all_canaries_are_out_of_reach),
		cmocka_unit_test(a_host_that_comes_back_has_its_turn_at_once),
		cmocka_unit_test(late_hosts_are_left_out_when_it_is_not_dynamic),
		cmocka_unit_test(a_held_host_is_told_nothing),
		cmocka_unit_test(what_a_host_was_offered_is_taken_back_when_it_is_held),
		cmocka_unit_test(a_host_that_moves_to_another_kernel_waits_for_its_canary),
		cmocka_unit_test(pins_and_later_serials_and_quarantine_exclude),
		cmocka_unit_test(
			a_host_that_cannot_take_it_is_left_out_and_its_word_is_taken_back),
		cmocka_unit_test(a_bake_stands_while_the_rollout_is_paused),
		cmocka_unit_test(time_that_nobody_watched_does_not_bake),
		cmocka_unit_test(a_clock_that_is_set_back_takes_nothing_away),
		cmocka_unit_test(without_progress_the_rollout_pauses_with_an_alarm),
		cmocka_unit_test(a_long_bake_is_no_lack_of_progress),
		cmocka_unit_test(it_asks_to_be_woken_when_the_bake_is_over),
		cmocka_unit_test(a_canary_as_good_as_the_others_passes),
		cmocka_unit_test(a_canary_worse_than_the_others_stops_with_value_and_limit),
		cmocka_unit_test(too_few_samples_are_inconclusive_and_pause),
		cmocka_unit_test(what_is_not_a_number_is_inconclusive),
		cmocka_unit_test(a_control_of_zero_is_inconclusive),
		cmocka_unit_test(no_data_passes_only_where_that_was_asked_for),
		cmocka_unit_test(what_a_host_measured_before_it_began_does_not_count_for_it),
		cmocka_unit_test(a_failed_verdict_rolls_back_where_that_was_asked_for),
		cmocka_unit_test(approvals_are_of_distinct_users_and_not_of_the_author),
		cmocka_unit_test(a_closed_window_delays_the_start_and_pauses_what_runs),
		cmocka_unit_test(only_a_critical_rollout_is_taken_out_of_its_windows),
		cmocka_unit_test(a_paused_rollout_takes_back_what_has_not_begun),
		cmocka_unit_test(
			what_had_begun_when_its_word_was_taken_back_is_known_for_what_it_is),
		cmocka_unit_test(a_lost_engine_pauses_until_it_is_back),
		cmocka_unit_test(what_it_waits_for_is_shown_as_long_as_it_waits),
		cmocka_unit_test(what_a_user_did_and_what_followed_from_it_are_told_apart),
		cmocka_unit_test(why_a_host_does_not_begin_is_known),
		cmocka_unit_test(without_a_signature_nothing_begins_and_only_trials_go_back),
		cmocka_unit_test(promote_ends_a_bake_and_a_gate),
		cmocka_unit_test(without_auto_promote_each_wave_waits),
		cmocka_unit_test(a_wave_is_not_left_before_those_that_came_back_are_through),
		cmocka_unit_test(an_abort_is_final),
		cmocka_unit_test(an_abort_of_the_wave_keeps_the_waves_before),
		cmocka_unit_test(a_failed_version_is_tried_again_only_on_request),
		cmocka_unit_test(a_retry_after_a_crash_begins_in_the_new_boot),
		cmocka_unit_test(retry_opens_a_stopped_build_again),
		cmocka_unit_test(a_passing_cause_is_tried_again_after_a_while_and_not_for_ever),
		cmocka_unit_test(undo_brings_back_what_was_there_before),
		cmocka_unit_test(a_newer_rollout_lets_the_begun_finish_and_starts_no_more),
		cmocka_unit_test(nothing_happens_below_the_floor),
		cmocka_unit_test(hosts_on_trial_end_it_and_committed_ones_go_back),
		cmocka_unit_test(
			a_trial_that_was_committed_before_its_end_arrived_goes_back_all_the_same),
		cmocka_unit_test(only_an_answer_to_the_word_ends_a_rollback),
		cmocka_unit_test(
			hosts_out_of_reach_leave_a_rollback_incomplete_until_they_are_back),
		cmocka_unit_test(a_failed_rollback_is_told_and_tried_again_on_request),
		cmocka_unit_test(a_way_back_that_came_too_late_is_told_once_more),
		cmocka_unit_test(a_first_version_is_taken_off_only_where_the_director_may),
		cmocka_unit_test(a_held_host_is_not_even_rolled_back),
		cmocka_unit_test(old_and_repeated_reports_change_nothing),
		cmocka_unit_test(a_report_about_an_older_word_is_not_about_this_one),
		cmocka_unit_test(a_host_that_says_committed_without_the_serial_is_not_believed),
		cmocka_unit_test(whatever_a_host_says_spoils_no_more_than_its_own_row),
		cmocka_unit_test(each_step_that_changes_something_is_one_generation),
		cmocka_unit_test(every_transition_says_who_why_and_from_where),
		cmocka_unit_test(the_plan_is_what_then_happens),
		cmocka_unit_test(show_tells_states_by_wave_and_kernel_build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
