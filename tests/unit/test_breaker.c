// SPDX-License-Identifier: BSD-2-Clause
/* The breaker of the fleet: its judge by itself, and the part of the controller over a database. */
#include "tests/unit/unit.h"

#include <event2/event.h>

#include "lib/clock.h"
#include "server/controller/breaker.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/losses.h"
#include "store/fleet.h"

/* ---- the judge --------------------------------------------------------------------------- */

#define START 1000000ULL
#define S     1000ULL

static struct losses *l;
static char why[LOSSES_WHY_BYTES];

static void begin(uint64_t oopses, uint64_t percent, uint64_t hosts)
{
	l = losses_free(l);
	assert_ok(losses_new(
		&(struct losses_opts){.oopses = oopses, .percent = percent, .hosts = hosts},
		&l));
	losses_forgive(l, START);
}

static const char *host(unsigned int n)
{
	static char ids[8][16];
	static unsigned int next;
	char *id = ids[next++ % 8];

	snprintf(id, sizeof(ids[0]), "host%u", n);
	return id;
}

static void says(unsigned int n, const char *boot, uint64_t oopses, uint64_t now_ms)
{
	assert_ok(losses_report(l,
				&(struct losses_host){.id = host(n),
						      .domain = n < 100 ? "a" : "b",
						      .boot_id = boot,
						      .oopses = oopses},
				now_ms));
}

static void silent(unsigned int from, unsigned int to, uint64_t silent_ms, uint64_t now_ms)
{
	for (unsigned int n = from; n < to; n++)
		losses_silent(l, host(n), silent_ms, now_ms);
}

static int without(void **state)
{
	(void)state;
	l = losses_free(l);
	return 0;
}

static void one_host_too_many_that_oopses_in_a_minute_is_too_much(void **state)
{
	(void)state;
	begin(2, 0, 1);
	for (unsigned int n = 0; n < 4; n++)
		says(n, "boot", n, START);
	/* What they had before is nobody's. */
	assert_false(losses_judge(l, START + S, why));
	says(0, "boot", 1, START + 1 * S);
	says(1, "boot", 9, START + 2 * S);
	says(1, "boot", 99, START + 3 * S);
	assert_false(losses_judge(l, START + 3 * S, why));
	says(2, "boot", 3, START + 50 * S);
	assert_true(losses_judge(l, START + 50 * S, why));
	assert_non_null(strstr(why, "3 hosts"));
	/* A minute after the first it is over. */
	assert_false(losses_judge(l, START + 62 * S, why));
}

static void a_reboot_is_no_oops_but_one_that_follows_is(void **state)
{
	(void)state;
	begin(0, 0, 1);
	says(0, "boot", 7, START);
	assert_false(losses_judge(l, START + S, why)); /* 0: not judged */
	begin(1, 0, 1);
	says(0, "boot", 7, START);
	says(1, "boot", 0, START);
	says(0, "other", 0, START + S);
	says(1, "other", 0, START + S);
	assert_false(losses_judge(l, START + S, why));
	says(0, "third", 1, START + 2 * S);
	assert_ok(losses_report(
		l,
		&(struct losses_host){
			.id = "host1", .domain = "a", .boot_id = "third", .crashed = true},
		START + 2 * S));
	assert_true(losses_judge(l, START + 2 * S, why));
}

static void a_domain_of_which_too_many_fall_silent_at_once_is_too_much(void **state)
{
	(void)state;
	begin(0, 50, 3);
	for (unsigned int n = 0; n < 10; n++)
		says(n, "boot", 0, START);
	for (unsigned int n = 100; n < 200; n++)
		says(n, "boot", 0, START);
	/* Half is not more than half; and it is not the fleet that counts. */
	silent(0, 5, 90 * S, START + 100 * S);
	silent(100, 140, 90 * S, START + 100 * S);
	assert_false(losses_judge(l, START + 100 * S, why));
	silent(0, 6, 91 * S, START + 101 * S);
	assert_true(losses_judge(l, START + 101 * S, why));
	assert_non_null(strstr(why, "6 of 10"));
	assert_non_null(strstr(why, "\"a\""));
	/* They are back. */
	assert_false(losses_judge(l, START + 102 * S, why));
}

static void few_hosts_are_no_domain(void **state)
{
	(void)state;
	begin(0, 50, 3);
	for (unsigned int n = 0; n < 2; n++)
		says(n, "boot", 0, START);
	silent(0, 2, 90 * S, START + 100 * S);
	assert_false(losses_judge(l, START + 100 * S, why));
}

/* Laptops in the evening; machines that nobody has forgotten. */
static void who_fell_silent_long_ago_is_not_there(void **state)
{
	uint64_t now = START + 7200 * S;

	(void)state;
	begin(0, 50, 3);
	for (unsigned int n = 0; n < 20; n++)
		says(n, "boot", 0, START);
	silent(0, 12, 1800 * S, now);
	assert_false(losses_judge(l, now, why));
	/* Of the eight that are left five are too many. */
	silent(0, 12, 1800 * S, now);
	silent(12, 17, 90 * S, now);
	assert_true(losses_judge(l, now, why));
	assert_non_null(strstr(why, "5 of 8"));
}

static void what_was_forgiven_counts_no_more(void **state)
{
	(void)state;
	begin(1, 50, 3);
	for (unsigned int n = 0; n < 10; n++)
		says(n, "boot", 0, START);
	for (unsigned int n = 0; n < 4; n++)
		says(n, "boot", 1, START + S);
	silent(4, 10, 90 * S, START + 100 * S);
	assert_true(losses_judge(l, START + 30 * S, why));
	losses_forgive(l, START + 100 * S);
	silent(4, 10, 95 * S, START + 105 * S);
	assert_false(losses_judge(l, START + 105 * S, why));
	/* New ones do. */
	says(0, "boot", 2, START + 106 * S);
	says(1, "boot", 2, START + 107 * S);
	assert_true(losses_judge(l, START + 108 * S, why));
}

static void who_was_forgotten_is_gone(void **state)
{
	(void)state;
	begin(1, 0, 1);
	for (unsigned int n = 0; n < 3; n++)
		says(n, "boot", 0, START);
	for (unsigned int n = 0; n < 3; n++)
		says(n, "boot", 1, START + S);
	losses_forget(l, "host1");
	losses_forget(l, "nobody");
	assert_true(losses_judge(l, START + S, why));
	losses_forget(l, "host2");
	assert_false(losses_judge(l, START + S, why));
	silent(0, 3, 90 * S, START + S);
}

/* ---- the part ---------------------------------------------------------------------------------- */

static struct settings settings;
static struct controller c;
static struct fleet *f; /* somebody else's look at the same database */
static struct fleet_answer *a;

#define DO(op, ...)                        \
	(fleet_answer_free(a), (a = NULL), \
	 fleet_wait(f, op(f, __VA_ARGS__, fleet_keep, &a), &a))
#define ASK(op) (fleet_answer_free(a), (a = NULL), fleet_wait(f, op(f, fleet_keep, &a), &a))

static void no_wake(const char *topic, void *cookie)
{
	(void)topic, (void)cookie;
}

static int with_controller(void **state)
{
	struct fail fail = {0};

	(void)state;
	settings = (struct settings){.heartbeat_ms = 100000,
				     .breaker_oopses = 1,
				     .breaker_percent = 50,
				     .breaker_hosts = 3,
				     .breaker_domain = "zone"};
	c = (struct controller){.settings = &settings, .actor = "controller:test"};
	c.base = event_base_new();
	if (database_new(c.base, unit_path("fleet.db"), no_wake, NULL, &c.database, &c.fleet,
			 &fail) < 0 ||
	    fleet_open(unit_path("fleet.db"), 0, 0, &f, &fail) < 0 ||
	    breaker_new(&c, &c.breaker, &fail) < 0) {
		print_error("%s\n", fail.message);
		return -1;
	}
	return 0;
}

static int without_controller(void **state)
{
	(void)state;
	database_free(c.database);
	breaker_free(c.breaker);
	event_base_free(c.base);
	a = fleet_answer_free(a);
	f = fleet_free(f);
	remove(unit_path("fleet.db"));
	return 0;
}

static const struct fleet_entry entry = {
	.at_ms = 1, .actor = "alice", .action = "TEST", .subject = "test", .result = "done"};

static const char *id_of(unsigned int n)
{
	static char ids[8][65];
	static unsigned int next;
	char *id = ids[next++ % 8];

	snprintf(id, sizeof(ids[0]), "%064x", n + 1);
	return id;
}

static void enrol(unsigned int n)
{
	uint8_t fingerprint[32] = {(uint8_t)(n + 1)};
	struct fleet_enrolment e = {.id = id_of(n),
				    .name = "web",
				    .fingerprint = fingerprint,
				    .certificate = "0a",
				    .expires_ms = 5000};

	assert_ok(DO(fleet_enrol, &e, &entry));
}

static void reports(unsigned int n, uint64_t seq, unsigned int oopses)
{
	char health[64];
	struct fleet_report r = {.host = id_of(n),
				 .seq = seq,
				 .boot_id = "b",
				 .kernel = "6.12",
				 .arch = "x86_64",
				 .zone = "a",
				 .facts = "{}",
				 .hotfixes = "{}",
				 .health = health};

	snprintf(health, sizeof(health), "{\"oops\":%u}", oopses);
	assert_ok(DO(fleet_reports, &r, 1));
}

/* What the guard says; NULL: there is none. */
static const char *line(void)
{
	static char reason[256];
	struct fleet_guard g;

	assert_ok(ASK(fleet_guards));
	while (fleet_next_guard(a, &g))
		if (strcmp(g.kind, "stop") == 0) {
			assert_string_equal(g.actor, "breaker");
			snprintf(reason, sizeof(reason), "%s", g.reason);
			return reason;
		}
	return NULL;
}

static void runs(unsigned int s)
{
	const struct timeval tv = {.tv_sec = s};

	event_base_loopexit(c.base, &tv);
	event_base_dispatch(c.base);
}

static void runs_until(bool stopped)
{
	for (int i = 0; i < 60 && !line() != !stopped; i++)
		runs(1);
	assert_int_equal(line() != NULL, stopped);
}

static void the_line_is_stopped_while_something_is_rolled_out(void **state)
{
	struct fleet_rollout row = {
		.id = "r1", .name = "fix", .state = "{}", .generation = 1, .created_ms = 1};
	struct fleet_audit r;

	(void)state;
	for (unsigned int n = 0; n < 4; n++) {
		enrol(n);
		reports(n, 1, 5);
	}
	runs(2); /* it knows them */
	for (unsigned int n = 0; n < 2; n++)
		reports(n, 2, 6);
	runs(3);
	assert_null(line()); /* nobody rolls out anything */
	assert_ok(DO(fleet_new_rollout, &row, &entry));
	runs_until(true);
	assert_non_null(strstr(line(), "2 hosts"));
	assert_ok(DO(fleet_audits, "line", 0, 10));
	assert_true(fleet_next_audit(a, &r));
	assert_string_equal(r.entry.action, "STOP_THE_LINE");
	assert_string_equal(r.entry.actor, "controller:test");
	assert_string_equal(r.entry.result, "alarm");
	assert_non_null(strstr(r.entry.detail, "2 hosts"));

	/* An operator has looked at it: only what comes then counts, and nobody else lifts it. */
	runs(2);
	assert_non_null(line());
	assert_ok(DO(fleet_drop_guard, "stop", "", &entry));
	runs(4);
	assert_null(line());
	for (unsigned int n = 1; n < 4; n++)
		reports(n, 3, 7);
	runs_until(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(one_host_too_many_that_oopses_in_a_minute_is_too_much,
					  without),
		cmocka_unit_test_teardown(a_reboot_is_no_oops_but_one_that_follows_is, without),
		cmocka_unit_test_teardown(
			a_domain_of_which_too_many_fall_silent_at_once_is_too_much, without),
		cmocka_unit_test_teardown(few_hosts_are_no_domain, without),
		cmocka_unit_test_teardown(who_fell_silent_long_ago_is_not_there, without),
		cmocka_unit_test_teardown(what_was_forgiven_counts_no_more, without),
		cmocka_unit_test_teardown(who_was_forgotten_is_gone, without),
		cmocka_unit_test_setup_teardown(
			the_line_is_stopped_while_something_is_rolled_out, with_controller,
			without_controller),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
