// SPDX-License-Identifier: BSD-2-Clause
/*
 * The controllers' state means the same on a file and on PostgreSQL: every case runs on both, and
 * random histories leave both with the same rows.
 */

#include <sqlite3.h>

#include "lib/clock.h"
#include "store/fleet.h"
#include "tests/unit/pg_group.h"

#define HOUR 3600000ULL

static bool on_server;
static struct fleet *f;
static struct fleet_answer *a;

/* What an operation came to; what it said is in a. */
#define DO(op, ...)                        \
	(fleet_answer_free(a), (a = NULL), \
	 fleet_wait(f, op(f, __VA_ARGS__, fleet_keep, &a), &a))
#define DO0(op) (fleet_answer_free(a), (a = NULL), fleet_wait(f, op(f, fleet_keep, &a), &a))

#define must(call)                                                             \
	do {                                                                   \
		int must_ = (call);                                            \
                                                                               \
		if (must_ < 0)                                                 \
			fail_msg("%s: %d: %s", #call, must_, a->fail.message); \
	} while (0)

static const char *file_path(void)
{
	return unit_path("fleet.db");
}

static struct fleet *opened(const char *where)
{
	struct fleet *opened_ = NULL;
	struct fail fail = {0};

	if (fleet_open(where, 0, 0, &opened_, &fail) < 0)
		fail_msg("%s", fail.message);
	return opened_;
}

static void server_says(const char *statement)
{
	PGconn *c = PQconnectdb(pg_url(&pg));

	PQclear(PQexec(c, "SET client_min_messages = warning"));
	PQclear(PQexec(c, statement));
	PQfinish(c);
}

static void by_hand(const char *statement)
{
	sqlite3 *db;

	if (on_server) {
		server_says(statement);
		return;
	}
	assert_int_equal(sqlite3_open(file_path(), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static int on_file(void **state)
{
	(void)state;
	on_server = false;
	f = opened(file_path());
	return 0;
}

static int on_postgres(void **state)
{
	(void)state;
	on_server = true;
	f = opened(pg_url(&pg));
	return 0;
}

static void remove_all(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char path[160];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(path, sizeof(path), "%s%s", file_path(), ends[i]);
		unlink(path);
	}
	server_says("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
}

static int close_it(void **state)
{
	(void)state;
	a = fleet_answer_free(a);
	f = fleet_free(f);
	remove_all();
	return 0;
}

static const uint8_t *hash(unsigned int n)
{
	static uint8_t hashes[2048][32];

	memcpy(hashes[n], &n, sizeof(n));
	hashes[n][31] = 0xff;
	return hashes[n];
}

static const struct fleet_entry *entry(const char *action, const char *subject)
{
	static struct fleet_entry e;

	e = (struct fleet_entry){.at_ms = 1000,
				 .actor = "anna",
				 .action = action,
				 .subject = subject,
				 .result = "done",
				 .detail = "{\"a\":1}"};
	return &e;
}

static int enrol(const char *id, const uint8_t *token, unsigned int certificate)
{
	struct fleet_enrolment e = {.token_hash = token,
				    .id = id,
				    .name = "web1",
				    .fingerprint = hash(certificate),
				    .certificate = "0a",
				    .expires_ms = 5000};

	return DO(fleet_enrol, &e, entry("enrol", id));
}

static int report(const char *host, uint64_t seq, const char *hotfixes)
{
	struct fleet_report r = {.host = host,
				 .seq = seq,
				 .boot_id = "boot",
				 .kernel = "6.1.0",
				 .arch = "x86_64",
				 .zone = "a",
				 .facts = "{}",
				 .hotfixes = hotfixes,
				 .health = "{\"ok\":true}",
				 .audit_seq = seq,
				 .audit_head = hash(7)};

	return DO(fleet_reports, &r, 1);
}

static struct fleet_host get(const char *id)
{
	struct fleet_host h = {0};

	must(DO(fleet_host, id));
	assert_true(fleet_next_host(a, &h));
	return h;
}

/* ---- hosts -------------------------------------------------------------------- */

static void a_token_lets_one_host_in_once(void **state)
{
	struct fleet_token t = {.hash = hash(1),
				.labels = "{\"role\":\"db\"}",
				.actor = "anna",
				.created_ms = 1,
				.expires_ms = clock_real_ms() + HOUR};
	struct fleet_host h;

	(void)state;
	must(DO(fleet_add_token, &t, entry("token", "")));
	must(enrol("h1", hash(1), 11));
	h = get("h1");
	assert_string_equal(h.labels, "{\"role\":\"db\"}");
	assert_string_equal(h.name, "web1");
	assert_int_equal(h.seq, 0);
	assert_true(h.silent_ms < 60000);
	/* Used, unknown, or over: the same word, and nothing of it happened. */
	assert_int_equal(enrol("h2", hash(1), 12), -ESTALE);
	assert_int_equal(enrol("h2", hash(2), 12), -ESTALE);
	t.hash = hash(3);
	t.expires_ms = clock_real_ms() - 1;
	must(DO(fleet_add_token, &t, entry("token", "")));
	assert_int_equal(enrol("h2", hash(3), 12), -ESTALE);
	assert_int_equal(DO(fleet_host, "h2"), -ENOENT);
	assert_int_equal(DO(fleet_certificate, hash(12)), -ENOENT);
	must(DO0(fleet_tokens));
	assert_true(fleet_next_token(a, &t));
	assert_string_equal(t.used_by, "h1");
	assert_true(fleet_next_token(a, &t));
	assert_int_equal(t.used_ms, 0);
	assert_false(fleet_next_token(a, &t));
	assert_int_equal(DO(fleet_drop_token, hash(1), entry("drop", "")), -ENOENT);
	must(DO(fleet_drop_token, hash(3), entry("drop", "")));
}

static void a_report_counts_once_and_heartbeats_change_nothing(void **state)
{
	struct fleet_host h;
	uint64_t change;

	(void)state;
	must(enrol("h1", NULL, 1));
	must(report("h1", 5, "[1]"));
	h = get("h1");
	assert_int_equal(h.seq, 5);
	assert_string_equal(h.hotfixes, "[1]");
	assert_string_equal(h.kernel, "6.1.0");
	assert_memory_equal(h.audit_head, hash(7), 32);
	change = h.change;
	must(report("h1", 5, "[2]"));
	must(report("h1", 4, "[3]"));
	must(report("h1", 0, NULL));
	h = get("h1");
	assert_string_equal(h.hotfixes, "[1]");
	assert_int_equal(h.change, change);
	must(report("h1", 6, "[4]"));
	h = get("h1");
	assert_string_equal(h.hotfixes, "[4]");
	assert_true(h.change > change);
	/* Another installation with the same key begins anew. */
	must(enrol("h1", NULL, 2));
	must(report("h1", 1, "[5]"));
	assert_string_equal(get("h1").hotfixes, "[5]");
}

static void reports_of_many_hosts_are_one_write(void **state)
{
	struct fleet_report r[600] = {0};
	char ids[300][8];
	uint64_t n = 0, change = 0;
	struct fleet_host h;
	char last[65] = "";

	(void)state;
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(ids[i], sizeof(ids[i]), "h%u", i);
		must(enrol(ids[i], NULL, 1000 + i));
	}
	must(report("h0", 9, "[9]"));
	for (unsigned int i = 0; i < 600; i++) /* each twice, the newer one first */
		r[i] = (struct fleet_report){.host = ids[i % 300],
					     .seq = i < 300 ? 8 : 7,
					     .hotfixes = i < 300 ? "[8]" : "[7]"};
	r[599] = (struct fleet_report){.host = "stranger", .seq = 1, .hotfixes = "[]"};
	must(DO(fleet_reports, r, 600));
	assert_int_equal(fleet_count(a), 300);
	assert_string_equal(get("h0").hotfixes, "[9]");
	assert_string_equal(get("h299").hotfixes, "[8]");
	assert_int_equal(DO(fleet_host, "stranger"), -ENOENT);
	/* They share a change, and a page may end between them. */
	change = get("h0").change;
	must(DO(fleet_hosts_changed, change, "h0", 100));
	while (fleet_next_host(a, &h)) {
		char id[65];

		snprintf(id, sizeof(id), "%s", h.id);
		change = h.change;
		if (n % 100 == 99)
			must(DO(fleet_hosts_changed, change, id, 100));
		assert_true(strcmp(last, id) < 0);
		snprintf(last, sizeof(last), "%s", id);
		n++;
	}
	assert_int_equal(n, 299);
	must(DO(fleet_hosts, "", 1000));
	for (n = 0; fleet_next_host(a, &h);)
		n++;
	assert_int_equal(n, 300);
	must(DO(fleet_hosts, "h298", 1000));
	assert_true(fleet_next_host(a, &h));
	assert_string_equal(h.id, "h299");
}

static void who_is_silent_is_found_and_who_beats_is_not(void **state)
{
	struct fleet_host h;

	(void)state;
	must(enrol("h1", NULL, 1));
	must(enrol("h2", NULL, 2));
	must(DO(fleet_hosts_silent, HOUR, 10));
	assert_false(fleet_next_host(a, &h));
	by_hand("UPDATE seen SET at_ms = at_ms - 4000000");
	must(report("h2", 0, NULL));
	must(DO(fleet_hosts_silent, HOUR, 10));
	assert_true(fleet_next_host(a, &h));
	assert_string_equal(h.id, "h1");
	assert_true(h.silent_ms >= HOUR);
	assert_false(fleet_next_host(a, &h));
}

static void what_operators_set_is_seen_as_a_change(void **state)
{
	struct fleet_host h;
	uint64_t change;

	(void)state;
	must(enrol("h1", NULL, 1));
	change = get("h1").change;
	must(DO(fleet_set_host, "h1", "{\"tier\":\"x\"}", true, "ticket", 4,
		entry("label", "h1")));
	h = get("h1");
	assert_string_equal(h.held_for, "ticket");
	assert_string_equal(h.held_by, "anna");
	assert_int_equal(h.held_ms, 1000);
	assert_true(h.change > change);
	assert_true(h.held);
	assert_int_equal(h.max_serial, 4);
	assert_string_equal(h.labels, "{\"tier\":\"x\"}");
	must(DO(fleet_set_host, "h1", NULL, true, NULL, 0, entry("pin", "h1")));
	assert_string_equal(get("h1").held_for, "ticket");
	must(DO(fleet_set_host, "h1", NULL, false, NULL, 0, entry("hold", "h1")));
	assert_string_equal(get("h1").held_for, "");
	assert_string_equal(get("h1").held_by, "");
	assert_int_equal(get("h1").held_ms, 0);
	assert_string_equal(get("h1").labels, "{\"tier\":\"x\"}");
	assert_int_equal(DO(fleet_set_host, "none", NULL, true, "", 0, entry("hold", "none")),
			 -ENOENT);
}

/* As programs wrote it that knew no reasons. */
static void a_database_of_an_older_controller_is_taken_along(void **state)
{
	static const char *const columns[] = {"held_by", "held_for", "held_ms"};
	char statement[64];

	(void)state;
	must(enrol("h1", NULL, 1));
	must(DO(fleet_set_host, "h1", NULL, true, "ticket", 0, entry("hold", "h1")));
	a = fleet_answer_free(a);
	f = fleet_free(f);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		snprintf(statement, sizeof(statement), "ALTER TABLE host DROP COLUMN %s",
			 columns[i]);
		by_hand(statement);
	}
	by_hand(on_server ? "UPDATE hotfix_schema SET version = 1" : "PRAGMA user_version = 1");
	f = opened(on_server ? pg_url(&pg) : file_path());
	assert_true(get("h1").held);
	assert_string_equal(get("h1").held_for, "");
	must(DO(fleet_set_host, "h1", NULL, true, "again", 0, entry("hold", "h1")));
	assert_string_equal(get("h1").held_for, "again");
}

static void a_forgotten_host_is_gone_for_all_but_those_who_follow(void **state)
{
	struct fleet_certificate c;
	struct fleet_host h;

	(void)state;
	must(enrol("h1", NULL, 1));
	must(DO(fleet_forget_host, "h1", entry("forget", "h1")));
	assert_int_equal(DO(fleet_host, "h1"), -ENOENT);
	assert_int_equal(DO(fleet_forget_host, "h1", entry("forget", "h1")), -ENOENT);
	must(report("h1", 1, "[]"));
	must(DO(fleet_certificate, hash(1)));
	assert_true(fleet_next_certificate(a, &c));
	assert_int_equal(c.revoked_ms, 1000);
	must(DO(fleet_hosts_changed, 0, "", 10));
	assert_true(fleet_next_host(a, &h));
	assert_true(h.gone);
	assert_int_equal(h.seq, 0);
	must(enrol("h1", NULL, 2));
	assert_false(get("h1").gone);
	must(DO(fleet_forget_host, "h1", entry("forget", "h1")));
	must(DO(fleet_trim, 2000));
	must(DO(fleet_hosts_changed, 0, "", 10));
	assert_false(fleet_next_host(a, &h));
}

static void a_certificate_can_be_renewed_and_revoked(void **state)
{
	struct fleet_certificate c = {.fingerprint = hash(2),
				      .host = "h1",
				      .serial = "0b",
				      .issued_ms = 5,
				      .expires_ms = 9};

	(void)state;
	must(enrol("h1", NULL, 1));
	must(DO(fleet_add_certificate, &c, entry("renew", "h1")));
	assert_int_equal(DO(fleet_add_certificate, &c, entry("renew", "h1")), -EEXIST);
	c.fingerprint = hash(3);
	c.host = "stranger";
	assert_int_equal(DO(fleet_add_certificate, &c, entry("renew", "h1")), -EINVAL);
	must(DO(fleet_revoke_certificate, "h1", hash(2), entry("revoke", "h1")));
	assert_int_equal(fleet_count(a), 1);
	must(DO(fleet_certificates, NULL));
	assert_true(fleet_next_certificate(a, &c));
	assert_memory_equal(c.fingerprint, hash(2), 32);
	assert_string_equal(c.reason, "done");
	assert_false(fleet_next_certificate(a, &c));
	must(DO(fleet_revoke_certificate, "h1", NULL, entry("revoke", "h1")));
	must(DO(fleet_certificates, "h1"));
	assert_true(fleet_next_certificate(a, &c) && c.revoked_ms);
	assert_true(fleet_next_certificate(a, &c) && c.revoked_ms);
}

/* ---- rollouts -------------------------------------------------------------------- */

static int create(const char *id, const char *name)
{
	struct fleet_rollout r = {.id = id, .name = name, .state = "{}", .created_ms = 1};

	return DO(fleet_new_rollout, &r, entry("start", id));
}

static struct fleet_rollout load(const char *id)
{
	struct fleet_rollout r = {0};

	must(DO(fleet_rollout, id));
	assert_true(fleet_next_rollout(a, &r));
	return r;
}

/* The epoch of the claim. */
static uint64_t claim(const char *owner, uint64_t lease_ms)
{
	struct fleet_rollout r = {0};

	must(DO(fleet_claim, owner, lease_ms));
	assert_true(fleet_next_rollout(a, &r));
	assert_string_equal(r.owner, owner);
	return r.epoch;
}

static int step(const char *id, const char *name, uint64_t epoch, uint64_t generation,
		const char *host, const char *word)
{
	struct fleet_rollout_host h = {.host = host, .state = "{\"s\":1}", .held = true};
	struct fleet_word w = {.host = host, .body = word, .len = word ? strlen(word) : 0};
	struct fleet_entry e[2] = {*entry("wave", id), *entry("offer", host ? host : "")};
	struct fleet_step s = {.id = id,
			       .name = name,
			       .epoch = epoch,
			       .generation = generation,
			       .state = "{\"wave\":1}",
			       .active = true,
			       .hosts = &h,
			       .words = &w,
			       .entries = e,
			       .n_hosts = host != NULL,
			       .n_words = host != NULL,
			       .n_entries = 2};

	return DO(fleet_step, &s);
}

static int end(const char *id, const char *name, uint64_t epoch, uint64_t generation)
{
	struct fleet_step s = {.id = id,
			       .name = name,
			       .epoch = epoch,
			       .generation = generation,
			       .state = "{}",
			       .at_ms = 500};

	return DO(fleet_step, &s);
}

static void a_rollout_has_one_owner_as_long_as_its_lease(void **state)
{
	struct fleet_rollout r;

	(void)state;
	must(create("r1", "fix"));
	assert_int_equal(create("r1", "fix"), -EEXIST);
	assert_int_equal(claim("one", HOUR), 1);
	assert_int_equal(DO(fleet_claim, "two", HOUR), -ENOENT);
	must(DO(fleet_renew, "one", 0)); /* it ends at once */
	assert_true(fleet_next_rollout(a, &r));
	assert_int_equal(r.epoch, 1);
	assert_int_equal(claim("two", HOUR), 2);
	must(DO(fleet_renew, "one", HOUR));
	assert_false(fleet_next_rollout(a, &r));
	must(DO(fleet_release, "two"));
	assert_int_equal(claim("one", HOUR), 3);
	assert_true(load("r1").lease_ms > HOUR - 60000);
}

/* Nobody's lease ends later than leases last: it is of a time before the clock was set back. */
static void a_clock_that_is_set_back_keeps_no_lease_alive(void **state)
{
	(void)state;
	must(create("r1", "fix"));
	assert_int_equal(claim("one", 10000), 1);
	by_hand("UPDATE rollout SET lease_until_ms = lease_until_ms + 30000");
	assert_int_equal(DO(fleet_claim, "two", 10000),
			 -ENOENT); /* clocks of two servers differ */
	by_hand("UPDATE rollout SET lease_until_ms = lease_until_ms + 3600000");
	assert_int_equal(claim("two", 10000), 2);
	assert_int_equal(DO(fleet_claim, "one", 10000), -ENOENT);
}

static void hosts_that_come_are_looked_up_many_at_a_time(void **state)
{
	const struct fleet_visit visits[] = {
		{"h3", hash(3)}, {"h1", hash(1)}, {"h2", hash(9)}, {"unknown", hash(8)}};
	struct fleet_visitor v;
	struct fleet_word w;
	uint64_t epoch;

	(void)state;
	must(enrol("h1", NULL, 1));
	must(enrol("h2", NULL, 2));
	must(enrol("h3", NULL, 3));
	must(report("h2", 7, "{}"));
	must(DO(fleet_revoke_certificate, "h3", hash(3), entry("revoke", "h3")));
	must(create("r1", "fix"));
	epoch = claim("one", HOUR);
	must(step("r1", "fix", epoch, 0, "h1", "apply"));
	must(DO(fleet_visits, visits, ARRAY_SIZE(visits)));
	assert_true(fleet_next_visitor(a, &v)); /* in the order of their ids */
	assert_string_equal(v.host, "h1");
	assert_true(v.known && v.certified && !v.revoked);
	assert_int_equal(v.generation, 1);
	assert_true(fleet_next_visitor(a, &v));
	assert_string_equal(v.host, "h2");
	assert_true(v.known && !v.certified); /* not with this certificate */
	assert_int_equal(v.generation, 0);
	assert_int_equal(v.seq, 7);
	assert_true(fleet_next_visitor(a, &v));
	assert_string_equal(v.host, "h3");
	assert_true(v.known && v.certified && v.revoked);
	assert_true(fleet_next_visitor(a, &v));
	assert_string_equal(v.host, "unknown");
	assert_false(v.known || v.certified);
	assert_false(fleet_next_visitor(a, &v));
	assert_true(fleet_next_word(a, &w));
	assert_string_equal(w.host, "h1");
	assert_memory_equal(w.body, "apply", 5);
	assert_false(fleet_next_word(a, &w));
	must(DO(fleet_forget_host, "h1", entry("forget", "h1")));
	must(DO(fleet_visits, &visits[1], 1));
	assert_true(fleet_next_visitor(a, &v));
	assert_true(!v.known && v.revoked);
}

static void a_step_of_a_former_owner_changes_nothing(void **state)
{
	struct fleet_desired d;
	struct fleet_rollout r;
	uint64_t epoch;

	(void)state;
	must(create("r1", "fix"));
	epoch = claim("one", 0);
	must(step("r1", "fix", epoch, 0, "h1", "apply"));
	assert_int_equal(claim("two", HOUR), epoch + 1);
	assert_int_equal(step("r1", "fix", epoch, 1, "h1", "rollback"), -ESTALE);
	must(DO(fleet_words, "h1"));
	assert_true(fleet_next_desired(a, &d));
	assert_int_equal(d.generation, 1);
	must(step("r1", "fix", epoch + 1, 1, "h1", "rollback"));
	/* Nor does the same one twice. */
	assert_int_equal(step("r1", "fix", epoch + 1, 1, "h1", "rollback"), -ESTALE);
	r = load("r1");
	assert_int_equal(r.generation, 2);
	assert_string_equal(r.state, "{\"wave\":1}");
}

static void a_step_is_stored_with_hosts_words_and_history(void **state)
{
	struct fleet_rollout_host h;
	struct fleet_desired d;
	struct fleet_audit row;
	struct fleet_word w;
	uint64_t epoch, change;

	(void)state;
	must(create("r1", "fix"));
	epoch = claim("one", HOUR);
	must(step("r1", "fix", epoch, 0, "h1", "apply"));
	load("r1");
	assert_true(fleet_next_rollout_host(a, &h));
	assert_string_equal(h.host, "h1");
	assert_string_equal(h.state, "{\"s\":1}");
	assert_true(h.held);
	assert_false(fleet_next_rollout_host(a, &h));
	must(DO(fleet_words, "h1"));
	assert_true(fleet_next_desired(a, &d));
	change = d.change;
	assert_true(fleet_next_word(a, &w));
	assert_string_equal(w.name, "fix");
	assert_string_equal(w.rollout, "r1");
	assert_int_equal(w.len, 5);
	assert_memory_equal(w.body, "apply", 5);
	assert_false(fleet_next_word(a, &w));
	/* A word that is withdrawn is news as well. */
	must(step("r1", "fix", epoch, 1, "h1", NULL));
	must(DO(fleet_words, "h1"));
	assert_true(fleet_next_desired(a, &d));
	assert_int_equal(d.generation, 2);
	assert_false(fleet_next_word(a, &w));
	must(DO(fleet_desired_changed, change, "h1", 10));
	assert_true(fleet_next_desired(a, &d));
	assert_string_equal(d.host, "h1");
	assert_false(fleet_next_desired(a, &d));
	must(DO(fleet_audits, "r1", 0, 10));
	assert_true(fleet_next_audit(a, &row));
	assert_string_equal(row.entry.action, "start");
	assert_true(fleet_next_audit(a, &row));
	assert_string_equal(row.entry.action, "wave");
}

static void two_rollouts_of_a_hotfix_never_hold_one_host(void **state)
{
	uint64_t epoch1, epoch2;

	(void)state;
	must(create("r1", "fix"));
	epoch1 = claim("one", HOUR);
	must(create("r2", "fix"));
	epoch2 = claim("one", HOUR);
	must(create("r3", "other"));
	assert_int_equal(claim("one", HOUR), 1);
	must(step("r1", "fix", epoch1, 0, "h1", "apply"));
	assert_int_equal(step("r2", "fix", epoch2, 0, "h1", "apply"), -EEXIST);
	must(step("r3", "other", 1, 0, "h1", "apply"));
	must(step("r2", "fix", epoch2, 0, "h2", "apply"));
	must(end("r1", "fix", epoch1, 1));
	must(step("r2", "fix", epoch2, 1, "h1", "apply"));
	/* What the first one said would not be its to withdraw any more; and it is over. */
	assert_int_equal(step("r1", "fix", epoch1, 2, "h1", NULL), -ESTALE);
}

static void requests_wait_for_the_owner_until_they_are_done(void **state)
{
	struct fleet_request q;
	struct fleet_step s = {
		.id = "r1", .name = "fix", .epoch = 1, .state = "{}", .active = true};

	(void)state;
	assert_int_equal(DO(fleet_ask, "r1", "{\"verb\":\"pause\"}", entry("pause", "r1")),
			 -ENOENT);
	must(create("r1", "fix"));
	must(create("r2", "other"));
	assert_int_equal(claim("one", HOUR), 1);
	must(DO(fleet_ask, "r1", "{\"verb\":\"pause\"}", entry("pause", "r1")));
	must(DO(fleet_ask, "r2", "{\"verb\":\"abort\"}", entry("abort", "r2")));
	must(DO(fleet_requests, 0, 10));
	assert_true(fleet_next_request(a, &q));
	assert_string_equal(q.rollout, "r1");
	assert_string_equal(q.text, "{\"verb\":\"pause\"}");
	s.requests_done = q.seq + 1; /* that of the other one stays */
	must(DO(fleet_step, &s));
	must(DO(fleet_requests, 0, 10));
	assert_true(fleet_next_request(a, &q));
	assert_string_equal(q.rollout, "r2");
	assert_false(fleet_next_request(a, &q));
}

static void several_steps_are_stored_as_one(void **state)
{
	struct fleet_step s = {.id = "r1",
			       .name = "fix",
			       .epoch = 1,
			       .next = 7,
			       .state = "{\"wave\":7}",
			       .active = true};

	(void)state;
	must(create("r1", "fix"));
	assert_int_equal(claim("one", HOUR), 1);
	must(DO(fleet_step, &s));
	assert_int_equal(load("r1").generation, 7);
	assert_int_equal(DO(fleet_step, &s), -ESTALE);
	/* A request that was refused changes nothing but that it was asked. */
	s.generation = 7;
	must(DO(fleet_step, &s));
	assert_int_equal(load("r1").generation, 7);
	s.next = 6;
	assert_int_equal(DO(fleet_step, &s), -ESTALE);
}

static void an_ended_rollout_is_opened_again_by_a_request(void **state)
{
	struct fleet_request q;

	(void)state;
	must(create("r1", "fix"));
	assert_int_equal(claim("one", HOUR), 1);
	assert_int_equal(DO(fleet_reopen, "r1", "{}", entry("undo", "r1")), -ENOENT);
	must(end("r1", "fix", 1, 0));
	must(DO(fleet_reopen, "r1", "{\"verb\":\"undo\"}", entry("undo", "r1")));
	assert_int_equal(load("r1").ended_ms, 0);
	assert_int_equal(claim("two", HOUR), 2);
	must(DO(fleet_requests, 0, 10));
	assert_true(fleet_next_request(a, &q));
	assert_string_equal(q.text, "{\"verb\":\"undo\"}");
	must(step("r1", "fix", 2, 1, "h1", "rollback"));
}

static void those_who_are_silent_are_listed_by_name(void **state)
{
	struct fleet_host h;

	(void)state;
	must(DO0(fleet_heard));
	assert_int_equal(fleet_heard_ms(a), 0);
	must(enrol("h2", NULL, 1));
	must(enrol("h1", NULL, 2));
	must(DO0(fleet_heard));
	assert_true(fleet_heard_ms(a) < HOUR);
	must(DO(fleet_silent, 0));
	assert_true(fleet_next_host(a, &h));
	assert_string_equal(h.id, "h1");
	assert_string_equal(h.hotfixes, "");
	assert_true(h.silent_ms < HOUR);
	assert_true(fleet_next_host(a, &h));
	assert_false(fleet_next_host(a, &h));
	must(DO(fleet_silent, HOUR));
	assert_false(fleet_next_host(a, &h));
}

static void ended_rollouts_are_listed_until_they_are_trimmed(void **state)
{
	struct fleet_rollout r;

	(void)state;
	must(create("r1", "fix"));
	must(create("r2", "fix"));
	assert_int_equal(claim("one", HOUR), 1);
	must(step("r1", "fix", 1, 0, "h1", "apply"));
	must(end("r1", "fix", 1, 1));
	must(DO(fleet_rollouts, true, "", 10));
	assert_true(fleet_next_rollout(a, &r));
	assert_string_equal(r.id, "r2");
	assert_false(fleet_next_rollout(a, &r));
	must(DO(fleet_rollouts, false, "", 10));
	assert_true(fleet_next_rollout(a, &r));
	assert_int_equal(r.ended_ms, 500);
	must(DO(fleet_trim, 500));
	assert_int_equal(fleet_count(a), 0);
	must(DO(fleet_trim, 501));
	assert_int_equal(fleet_count(a), 1);
	assert_int_equal(DO(fleet_rollout, "r1"), -ENOENT);
	load("r2");
}

/* ---- stock and access ---------------------------------------------------------------- */

static void a_bundle_is_read_back_in_any_part(void **state)
{
	static uint8_t bytes[3 * FLEET_CHUNK_BYTES + 17];
	static const uint64_t parts[][2] = {{0, sizeof(bytes)},
					    {0, 1},
					    {FLEET_CHUNK_BYTES - 1, 2},
					    {FLEET_CHUNK_BYTES, 5},
					    {sizeof(bytes) - 1, 9},
					    {70000, 100000},
					    {5, 0},
					    {sizeof(bytes), 1},
					    {1 << 30, 1}};
	struct fleet_bundle b = {.digest = hash(1),
				 .manifest_sha256 = hash(2),
				 .name = "fix",
				 .serial = 3,
				 .bytes = sizeof(bytes),
				 .actor = "anna"};

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 251);
	must(DO(fleet_put_bundle, &b, bytes, entry("import", "fix@3")));
	must(DO(fleet_put_bundle, &b, bytes, entry("import", "fix@3")));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uint64_t at = parts[i][0], left = parts[i][1];
		const void *p;
		size_t len;

		if (at > sizeof(bytes))
			left = 0;
		else if (left > sizeof(bytes) - at)
			left = sizeof(bytes) - at;
		must(DO(fleet_read_bundle, hash(1), parts[i][0], parts[i][1]));
		for (; fleet_next_bytes(a, &p, &len); at += len, left -= len) {
			assert_true(len <= left && len <= FLEET_CHUNK_BYTES);
			assert_memory_equal(p, bytes + at, len);
		}
		assert_int_equal(left, 0);
	}
	assert_int_equal(DO(fleet_read_bundle, hash(9), 0, 1), -ENOENT);
	/* Signed by others it may come again; another manifest under its serial may not. */
	b.digest = hash(4);
	must(DO(fleet_put_bundle, &b, bytes, entry("import", "fix@3")));
	b.digest = hash(5);
	b.manifest_sha256 = hash(6);
	assert_int_equal(DO(fleet_put_bundle, &b, bytes, entry("import", "fix@3")), -EILSEQ);
	assert_int_equal(DO(fleet_bundle, hash(5)), -ENOENT);
	must(DO(fleet_drop_bundle, hash(1), entry("remove", "fix@3")));
	must(DO(fleet_drop_bundle, hash(4), entry("remove", "fix@3")));
	assert_int_equal(DO(fleet_drop_bundle, hash(4), entry("remove", "fix@3")), -ENOENT);
	must(DO0(fleet_bundles));
	assert_false(fleet_next_bundle(a, &b));
	/* What its serial means stays known. */
	assert_int_equal(DO(fleet_put_bundle, &b, bytes, entry("import", "fix@3")), -EILSEQ);
}

static int put_document(const char *kind, const char *name, uint64_t version, const char *text)
{
	struct fleet_document d = {.kind = kind,
				   .name = name,
				   .version = version,
				   .imported_ms = 1,
				   .actor = "anna",
				   .envelope = text,
				   .len = strlen(text)};

	return DO(fleet_put_document, &d, entry("import", kind));
}

static void documents_only_grow_newer(void **state)
{
	struct fleet_document d;

	(void)state;
	must(put_document("catalog", "", 5, "five"));
	assert_int_equal(put_document("catalog", "", 5, "other"), -ESTALE);
	assert_int_equal(put_document("catalog", "", 4, "four"), -ESTALE);
	must(put_document("catalog", "", 6, "six"));
	must(put_document("root", "2", 2, "root two"));
	must(put_document("root", "1", 1, "root one"));
	assert_int_equal(put_document("root", "1", 1, "another one"), -ESTALE);
	assert_int_equal(put_document("verse", "1", 1, "x"), -EINVAL);
	must(DO(fleet_documents, "catalog", 0));
	assert_true(fleet_next_document(a, &d));
	assert_int_equal(d.len, 3);
	assert_memory_equal(d.envelope, "six", 3);
	assert_false(fleet_next_document(a, &d));
	must(DO(fleet_documents, "root", 0));
	assert_true(fleet_next_document(a, &d) && d.version == 1);
	assert_true(fleet_next_document(a, &d) && d.version == 2);
	must(DO(fleet_documents, "root", 1));
	assert_true(fleet_next_document(a, &d) && d.version == 2);
}

static void an_operator_is_known_until_revoked_or_expired(void **state)
{
	struct fleet_operator o = {.credential = hash(1), .name = "anna", .role = "admin"};

	(void)state;
	must(DO(fleet_add_operator, &o, entry("add", "anna")));
	assert_int_equal(DO(fleet_add_operator, &o, entry("add", "anna")), -EEXIST);
	o = (struct fleet_operator){.credential = hash(2), .name = "ben", .role = "king"};
	assert_int_equal(DO(fleet_add_operator, &o, entry("add", "ben")), -EINVAL);
	o.role = "viewer";
	o.expires_ms = clock_real_ms() - 1;
	must(DO(fleet_add_operator, &o, entry("add", "ben")));
	assert_int_equal(DO(fleet_operator, hash(2)), -ENOENT);
	must(DO(fleet_operator, hash(1)));
	assert_true(fleet_next_operator(a, &o));
	assert_string_equal(o.role, "admin");
	must(DO(fleet_revoke_operator, "anna", entry("revoke", "anna")));
	assert_int_equal(DO(fleet_operator, hash(1)), -ENOENT);
	must(DO0(fleet_operators));
	assert_true(fleet_next_operator(a, &o));
	assert_int_equal(o.revoked_ms, 1000);
}

static void guards_hold_until_they_are_dropped(void **state)
{
	struct fleet_guard g = {.kind = "stop", .name = "", .reason = "fire", .actor = "anna"};

	(void)state;
	must(DO(fleet_put_guard, &g, entry("stop", "")));
	g.reason = "two fires";
	must(DO(fleet_put_guard, &g, entry("stop", "")));
	g = (struct fleet_guard){.kind = "freeze", .name = "xmas", .from_ms = 5, .until_ms = 9};
	must(DO(fleet_put_guard, &g, entry("freeze", "xmas")));
	must(DO0(fleet_guards));
	assert_true(fleet_next_guard(a, &g));
	assert_string_equal(g.name, "xmas");
	assert_int_equal(g.until_ms, 9);
	assert_true(fleet_next_guard(a, &g));
	assert_string_equal(g.reason, "two fires");
	assert_false(fleet_next_guard(a, &g));
	must(DO(fleet_drop_guard, "stop", "", entry("resume", "")));
	assert_int_equal(DO(fleet_drop_guard, "stop", "", entry("resume", "")), -ENOENT);
	must(DO(fleet_trim, 10));
	must(DO0(fleet_guards));
	assert_false(fleet_next_guard(a, &g));
}

/* ---- audit -------------------------------------------------------------------------- */

static void verifies(uint64_t rows_wanted)
{
	uint64_t rows = 0, bad = 0;
	struct fail fail = {0};
	char head[65];

	if (fleet_audit_verify(f, &rows, head, &bad, &fail) < 0)
		fail_msg("%s", fail.message);
	assert_int_equal(rows, rows_wanted);
}

static void breaks_at(uint64_t seq)
{
	uint64_t rows = 77, bad = 0;
	struct fail fail = {0};
	char head[65];

	assert_int_equal(fleet_audit_verify(f, &rows, head, &bad, &fail), -EUCLEAN);
	assert_int_equal(bad, seq);
	assert_int_equal(rows, 77);
	assert_true(fail.message[0]);
}

static void the_chain_of_audit_rows_has_no_gaps(void **state)
{
	struct fleet_audit row;
	char long_text[1000];

	(void)state;
	verifies(0);
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	memcpy(long_text + 254, "\xc3\xa4", 2);
	for (int i = 0; i < 600; i++)
		must(DO(fleet_audit, entry("tick", i % 2 ? "one" : long_text)));
	verifies(600);
	/* An operation that fails writes nothing down. */
	assert_int_equal(DO(fleet_set_host, "none", NULL, true, "", 0, entry("hold", "none")),
			 -ENOENT);
	verifies(600);
	must(DO(fleet_audits, "one", 598, 10));
	assert_true(fleet_next_audit(a, &row));
	assert_int_equal(row.seq, 600);
	must(DO(fleet_audits, NULL, 0, 1));
	assert_true(fleet_next_audit(a, &row));
	assert_int_equal(strlen(row.entry.subject), 254);
	assert_string_equal(row.entry.detail, "{\"a\":1}");
}

static void audit_rows_stay_and_what_was_done_to_them_shows(void **state)
{
	static const char *const changes[] = {
		"UPDATE audit SET result = 'x' WHERE seq = 2",
		"UPDATE audit SET detail = NULL WHERE seq = 2",
		"UPDATE audit SET at_ms = 7 WHERE seq = 2",
		"DELETE FROM audit WHERE seq = 2",
	};

	(void)state;
	for (int i = 0; i < 3; i++)
		must(DO(fleet_audit, entry("tick", "one")));
	if (on_server) {
		server_says("UPDATE audit SET result = 'x'");
		server_says("DELETE FROM audit");
		server_says("TRUNCATE audit");
	}
	verifies(3);
	by_hand(on_server ? "DROP TRIGGER audit_stays ON audit"
			  : "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;"
			    "DROP TRIGGER audit_no_replace");
	by_hand("CREATE TABLE kept AS SELECT * FROM audit");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		by_hand(changes[i]);
		breaks_at(2);
		by_hand("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept");
		verifies(3);
	}
	/* The end cut off: the head knows of it. */
	by_hand("DELETE FROM audit WHERE seq = 3");
	breaks_at(3);
}

/* ---- both at once ------------------------------------------------------------------------ */

static struct fleet *both[2];

static int open_both(void **state)
{
	(void)state;
	both[0] = opened(file_path());
	both[1] = opened(pg_url(&pg));
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	a = fleet_answer_free(a);
	both[0] = fleet_free(both[0]);
	both[1] = fleet_free(both[1]);
	remove_all();
	return 0;
}

static uint64_t seed;

static unsigned int pick(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed % n);
}

static const char *some(const char *prefix, unsigned int n)
{
	static char names[8][16];
	static unsigned int next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), "%s%u", prefix, pick(n));
	return name;
}

static int random_reports(void)
{
	struct fleet_report r[20] = {0};
	char ids[20][16];

	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		snprintf(ids[i], sizeof(ids[i]), "%s", some("h", 12));
		r[i] = (struct fleet_report){.host = ids[i],
					     .seq = pick(50),
					     .kernel = some("k", 3),
					     .facts = "{}",
					     .hotfixes = pick(3) ? some("[", 9) : NULL,
					     .audit_seq = pick(9),
					     .audit_head = pick(2) ? hash(pick(5)) : NULL};
	}
	return DO(fleet_reports, r, 1 + pick(20));
}

static int random_step(void)
{
	struct fleet_rollout_host h[4];
	struct fleet_word w[4];
	const char *id = some("r", 5);
	struct fleet_entry e = *entry("step", id);
	struct fleet_step s = {.id = id,
			       .name = id[1] < '2' ? "fix" : "other",
			       .epoch = pick(4),
			       .generation = pick(4),
			       .state = some("{", 9),
			       .active = pick(6) != 0,
			       .at_ms = 1 + pick(100),
			       .requests_done = pick(5),
			       .hosts = h,
			       .words = w,
			       .entries = &e,
			       .n_hosts = pick(5),
			       .n_words = pick(5),
			       .n_entries = 1};
	char hosts[4][16];

	for (unsigned int i = 0; i < 4; i++) {
		snprintf(hosts[i], sizeof(hosts[i]), "h%u", i * 3 + pick(3));
		h[i] = (struct fleet_rollout_host){
			.host = hosts[i], .state = some("s", 9), .held = pick(2)};
		w[i] = (struct fleet_word){
			.host = hosts[i], .body = pick(3) ? "word" : NULL, .len = 4};
	}
	if (pick(4)) { /* mostly of the owner, as it is */
		struct fleet_rollout r;

		if (DO(fleet_rollout, id) < 0 || !fleet_next_rollout(a, &r))
			return -ENOENT;
		s.epoch = r.epoch;
		s.generation = r.generation;
	}
	return DO(fleet_step, &s);
}

static int random_stock(void)
{
	static const char bytes[] = "some bytes";
	struct fleet_bundle b = {.digest = hash(pick(6)),
				 .manifest_sha256 = hash(pick(2)),
				 .name = "fix",
				 .serial = 1 + pick(3),
				 .bytes = 1 + pick(10),
				 .actor = "anna"};

	switch (pick(3)) {
	case 0:
		return DO(fleet_put_bundle, &b, bytes, entry("import", "fix"));
	case 1:
		return DO(fleet_drop_bundle, hash(pick(6)), entry("remove", "fix"));
	default:
		return put_document(pick(2) ? "root" : "catalog", some("", 2), 1 + pick(9),
				    "text");
	}
}

static int random_access(void)
{
	struct fleet_token t = {.hash = hash(pick(4)),
				.labels = some("{", 5),
				.actor = "anna",
				.created_ms = pick(9),
				.expires_ms = pick(3) ? INT64_MAX : 0};
	struct fleet_operator o = {.credential = hash(pick(4)),
				   .name = some("o", 3),
				   .role = pick(9) ? "viewer" : "king",
				   .expires_ms = pick(2)};
	struct fleet_guard g = {
		.kind = pick(2) ? "freeze" : "stop", .name = some("", 2), .until_ms = pick(99)};

	switch (pick(7)) {
	case 0:
		return DO(fleet_add_token, &t, entry("token", ""));
	case 1:
		return DO(fleet_drop_token, hash(pick(4)), entry("drop", ""));
	case 2:
		return DO(fleet_add_operator, &o, entry("add", "o"));
	case 3:
		return DO(fleet_operator, hash(pick(4)));
	case 4:
		return DO(fleet_revoke_operator, some("o", 3), entry("revoke", "o"));
	case 5:
		return DO(fleet_put_guard, &g, entry("guard", ""));
	default:
		return DO(fleet_drop_guard, pick(2) ? "freeze" : "stop", some("", 2),
			  entry("drop", ""));
	}
}

static int random_operation(void)
{
	switch (pick(14)) {
	case 0:
		return enrol(some("h", 12), pick(2) ? hash(pick(4)) : NULL, pick(60));
	case 1:
		return DO(fleet_set_host, some("h", 12), pick(2) ? some("{", 9) : NULL, pick(2),
			  pick(2) ? some("why", 9) : NULL, pick(9), entry("label", "h"));
	case 2:
		return DO(fleet_forget_host, some("h", 12), entry("forget", "h"));
	case 3:
		return DO(fleet_revoke_certificate, some("h", 12),
			  pick(2) ? hash(pick(60)) : NULL, entry("revoke", "h"));
	case 4:
		return create(some("r", 5), pick(2) ? "fix" : "other");
	case 5:
		return DO(fleet_claim, some("c", 3), pick(2) ? HOUR : 0);
	case 6:
		return DO(fleet_renew, some("c", 3), pick(2) ? HOUR : 0);
	case 7:
		return DO(fleet_ask, some("r", 5), some("{", 9), entry("ask", "r"));
	case 8:
	case 9:
		return random_step();
	case 10:
		return random_stock();
	case 11:
		return random_access();
	case 12:
		return pick(4) ? random_reports() : DO(fleet_trim, pick(50));
	default:
		return random_reports();
	}
}

static void same_rows(void)
{
	uint8_t digest[2][32];
	struct fail fail = {0};

	for (int i = 0; i < 2; i++)
		if (fleet_digest(both[i], digest[i], &fail) < 0)
			fail_msg("%s", fail.message);
	assert_memory_equal(digest[0], digest[1], 32);
}

/* HISTORIES=n: so many; SEED=n: the first one. */
static void random_histories_leave_the_same_rows_on_both(void **state)
{
	const char *first = getenv("SEED"), *n = getenv("HISTORIES");
	uint64_t number = first ? strtoull(first, NULL, 10) : 1;
	uint64_t last = number + (n ? strtoull(n, NULL, 10) : 2);

	for (; number < last; number++) {
		uint64_t now = number * 0x9e3779b97f4a7c15ULL, after = 0;
		uint64_t counts[2] = {0};
		int r[2] = {0};

		for (int i = 0; i < 400; i++) {
			for (int k = 0; k < 2; k++) {
				f = both[k];
				seed = now;
				r[k] = random_operation();
				counts[k] = r[k] < 0 ? 0 : fleet_count(a);
				after = seed;
			}
			now = after;
			if (r[0] != r[1] || counts[0] != counts[1])
				fail_msg(
					"history %llu, operation %d: %d (%llu) and %d (%llu): %s",
					(unsigned long long)number, i, r[0],
					(unsigned long long)counts[0], r[1],
					(unsigned long long)counts[1], a->fail.message);
			if (i % 100 == 99)
				same_rows();
		}
		for (int k = 0; k < 2; k++) {
			uint64_t rows;
			char head[65];

			assert_ok(fleet_audit_verify(both[k], &rows, head, NULL, NULL));
		}
		close_both(state);
		open_both(state);
	}
}

static void fill(struct fleet *into)
{
	f = into;
	seed = 7;
	for (int i = 0; i < 300; i++)
		random_operation();
	for (unsigned int i = 0; i < 300; i++) {
		char id[16];

		snprintf(id, sizeof(id), "many%u", i);
		must(enrol(id, NULL, 1000 + i));
	}
}

static void all_rows_move_to_another_database_and_are_checked(void **state)
{
	uint64_t rows = 0, entries = 0;
	struct fail fail = {0};
	char head[65];

	(void)state;
	fill(both[0]);
	if (fleet_migrate(both[0], both[1], &rows, &fail) < 0)
		fail_msg("%s", fail.message);
	assert_true(rows > 1200);
	same_rows();
	/* It goes on from where it was. */
	f = both[1];
	must(report("many7", 3, "[1]"));
	assert_true(get("many7").change > get("many8").change);
	must(DO(fleet_audit, entry("tick", "x")));
	assert_ok(fleet_audit_verify(f, &entries, head, NULL, NULL));
	/* And back, but not over what is there. */
	assert_int_equal(fleet_migrate(both[1], both[0], &rows, &fail), -EEXIST);
	assert_int_equal(fail.code, FAIL_CONFLICT);
}

static void what_does_not_arrive_as_it_was_is_not_kept(void **state)
{
	struct fail fail = {0};
	struct fleet_host h;
	uint64_t rows = 0;

	(void)state;
	fill(both[0]);
	/* As a rule, a bad cable or a bug of ours would. */
	f = both[1];
	must(DO(fleet_hosts, "", 1)); /* the schema is there now */
	server_says(
		"CREATE FUNCTION bend() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
		" IF NEW.id = ''many270'' THEN NEW.name = ''bent''; END IF; RETURN NEW; END';"
		"CREATE TRIGGER bend BEFORE INSERT ON host FOR EACH ROW EXECUTE FUNCTION "
		"bend()");
	assert_int_equal(fleet_migrate(both[0], both[1], &rows, &fail), -EUCLEAN);
	assert_non_null(strstr(fail.message, "table host"));
	must(DO(fleet_hosts, "", 1));
	assert_false(fleet_next_host(a, &h));
}

#define ON(engine, test)                                                \
	{                                                               \
#test " on " #engine, test, on_##engine, close_it, NULL \
	}
#define EACH(test) ON(file, test), ON(postgres, test)
#define BOTH_AT_ONCE(test)                               \
	{                                                \
#test, test, open_both, close_both, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_token_lets_one_host_in_once),
		EACH(a_report_counts_once_and_heartbeats_change_nothing),
		EACH(reports_of_many_hosts_are_one_write),
		EACH(who_is_silent_is_found_and_who_beats_is_not),
		EACH(what_operators_set_is_seen_as_a_change),
		EACH(a_database_of_an_older_controller_is_taken_along),
		EACH(a_forgotten_host_is_gone_for_all_but_those_who_follow),
		EACH(a_certificate_can_be_renewed_and_revoked),
		EACH(a_rollout_has_one_owner_as_long_as_its_lease),
		EACH(a_clock_that_is_set_back_keeps_no_lease_alive),
		EACH(hosts_that_come_are_looked_up_many_at_a_time),
		EACH(a_step_of_a_former_owner_changes_nothing),
		EACH(a_step_is_stored_with_hosts_words_and_history),
		EACH(two_rollouts_of_a_hotfix_never_hold_one_host),
		EACH(requests_wait_for_the_owner_until_they_are_done),
		EACH(several_steps_are_stored_as_one),
		EACH(an_ended_rollout_is_opened_again_by_a_request),
		EACH(those_who_are_silent_are_listed_by_name),
		EACH(ended_rollouts_are_listed_until_they_are_trimmed),
		EACH(a_bundle_is_read_back_in_any_part),
		EACH(documents_only_grow_newer),
		EACH(an_operator_is_known_until_revoked_or_expired),
		EACH(guards_hold_until_they_are_dropped),
		EACH(the_chain_of_audit_rows_has_no_gaps),
		EACH(audit_rows_stay_and_what_was_done_to_them_shows),
		BOTH_AT_ONCE(random_histories_leave_the_same_rows_on_both),
		BOTH_AT_ONCE(all_rows_move_to_another_database_and_are_checked),
		BOTH_AT_ONCE(what_does_not_arrive_as_it_was_is_not_kept),
	};

	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
