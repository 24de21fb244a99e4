// SPDX-License-Identifier: BSD-2-Clause
/*
 * What becomes of a step of a rollout when PostgreSQL, or the way to it, is lost in the middle of it,
 * at every place there is; and of several controllers that want the same thing at once.
 */

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/clock.h"
#include "store/fleet.h"
#include "tests/unit/pg_group.h"

#define HOUR 3600000ULL

static struct fleet *opened(const char *where)
{
	struct fleet *f = NULL;

	assert_ok(fleet_open(where, 0, 0, &f, NULL));
	return f;
}

static const struct fleet_entry *entry(const char *action)
{
	static struct fleet_entry e;

	e = (struct fleet_entry){.at_ms = 1,
				 .actor = "one",
				 .action = action,
				 .subject = "r1",
				 .result = "done"};
	return &e;
}

static int create(struct fleet *f, const char *id)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	struct fleet_rollout r = {.id = id, .name = id, .state = "{}", .created_ms = 1};

	return fleet_wait(f, fleet_new_rollout(f, &r, entry("start"), fleet_keep, &a), &a);
}

/* 1: yes, it is this owner's now, in ret_epoch. */
static int claim(struct fleet *f, const char *owner, uint64_t lease_ms, uint64_t *ret_epoch)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	struct fleet_rollout r;
	int e = fleet_wait(f, fleet_claim(f, owner, lease_ms, fleet_keep, &a), &a);

	if (e == -ENOENT)
		return 0;
	assert_ok(e);
	assert_true(fleet_next_rollout(a, &r));
	*ret_epoch = r.epoch;
	return 1;
}

static void generation_of(struct fleet *f, uint64_t *ret_generation)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	struct fleet_rollout r;

	if (fleet_wait(f, fleet_rollout(f, "r1", fleet_keep, &a), &a) < 0)
		fail_msg("%s", a->fail.message);
	assert_true(fleet_next_rollout(a, &r));
	*ret_generation = r.generation;
}

static uint64_t desired_of(struct fleet *f)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	struct fleet_desired d = {0};

	assert_ok(fleet_wait(f, fleet_words(f, "h1", fleet_keep, &a), &a));
	fleet_next_desired(a, &d);
	return d.generation;
}

static int step(struct fleet *f, uint64_t epoch, uint64_t generation, struct fleet_answer **a)
{
	static const struct fleet_rollout_host host = {
		.host = "h1", .state = "{}", .held = true};
	static const struct fleet_word word = {.host = "h1", .body = "apply", .len = 5};
	struct fleet_step s = {.id = "r1",
			       .name = "r1",
			       .epoch = epoch,
			       .generation = generation,
			       .state = "{}",
			       .active = true,
			       .hosts = &host,
			       .words = &word,
			       .entries = entry("wave"),
			       .n_hosts = 1,
			       .n_words = 1,
			       .n_entries = 1};

	*a = NULL;
	return fleet_step(f, &s, fleet_keep, a);
}

/* All of it or nothing: state, words and history tell of as many steps. */
static void is_whole(struct fleet *f, uint64_t generation)
{
	uint64_t stored, rows = 0, bad = 0;
	char head[65];

	generation_of(f, &stored);
	assert_int_equal(stored, generation);
	assert_int_equal(desired_of(f), generation);
	assert_ok(fleet_audit_verify(f, &rows, head, &bad, NULL));
	assert_int_equal(rows, generation + 1); /* and its start */
}

/* ---- the way to the server ---------------------------------------------------------- */

/* As many bytes pass, in both directions together, and then none, on no connection. */
struct way {
	pid_t pid;
	char folder[112];
};

static int socket_at(const char *folder, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%.80s/.s.PGSQL.5432",
		 folder);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void pass(int client, int server, long *left)
{
	struct pollfd p[2] = {{.fd = client, .events = POLLIN},
			      {.fd = server, .events = POLLIN}};
	char buf[65536];

	while (*left > 0 && poll(p, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n, room = *left < (long)sizeof(buf) ? *left : (long)sizeof(buf);

			if (!p[i].revents)
				continue;
			n = read(p[i].fd, buf, (size_t)room);
			if (n <= 0 || write(p[!i].fd, buf, (size_t)n) != n)
				return;
			*left -= n;
			if (*left == 0)
				return;
		}
}

static void keep_way(int listening, long left)
{
	while (left > 0) {
		struct sockaddr_un address;
		int client = accept(listening, NULL, NULL),
		    server = socket_at(pg.folder, &address);

		if (connect(server, (struct sockaddr *)&address, sizeof(address)) == 0)
			pass(client, server, &left);
		close(client);
		close(server);
	}
	_exit(0);
}

static void way_open(struct way *w, long bytes)
{
	struct sockaddr_un address;
	int listening;

	snprintf(w->folder, sizeof(w->folder), "%s/way", unit_folder);
	mkdir(w->folder, 0700);
	listening = socket_at(w->folder, &address);
	unlink(address.sun_path);
	assert_ok(bind(listening, (struct sockaddr *)&address, sizeof(address)));
	assert_ok(listen(listening, 8));
	w->pid = fork();
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep_way(listening, bytes);
	}
	close(listening);
}

static void way_close(struct way *w)
{
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
}

static struct fleet *opened_over(const struct way *w)
{
	struct fleet *f = NULL;
	char url[256];

	snprintf(url, sizeof(url), "postgresql://test@/postgres?host=%s&port=5432", w->folder);
	assert_ok(fleet_open(url, 0, 0, &f, NULL));
	return f;
}

/* Until it is ready, or the way is at its end before. */
static bool ready(struct fleet *f, const struct way *w)
{
	int status;

	while (db_state(fleet_db(f), NULL) < 0) {
		if (waitpid(w->pid, &status, WNOHANG) != 0)
			return false;
		db_turn(fleet_db(f), 5);
	}
	return true;
}

/*
 * The way is cut after each number of bytes. What the answer says is true: stored; not stored; or, and
 * only then, either.
 */
static void a_step_cut_off_anywhere_is_whole_and_its_answer_true(void **state)
{
	const char *often = getenv("LONG");
	long stride = often && *often ? 1 : 61;
	unsigned int stored = 0, lost = 0, doubts = 0, doubts_stored = 0;
	uint64_t generation = 0, epoch, now;
	struct fleet *f = opened(pg_url(&pg));
	bool through = false;

	(void)state;
	assert_ok(create(f, "r1"));
	assert_int_equal(claim(f, "one", HOUR, &epoch), 1);
	for (long bytes = 1; !through; bytes += stride) {
		struct fleet_answer *a = NULL;
		struct fleet *cut;
		struct way w;

		way_open(&w, bytes);
		cut = opened_over(&w);
		if (ready(cut, &w)) {
			int r = fleet_wait(cut, step(cut, epoch, generation, &a), &a);

			generation_of(f, &now);
			switch (r) {
			case 0:
				assert_int_equal(now, generation + 1);
				stored++;
				/* Far more than a step takes: the end. */
				through = waitpid(w.pid, NULL, WNOHANG) == 0 && stored > 3;
				break;
			case -ENOTCONN:
			case -EHOSTUNREACH:
				assert_int_equal(now, generation);
				lost++;
				break;
			case -ECONNABORTED:
				assert_true(now == generation || now == generation + 1);
				doubts++;
				doubts_stored += now > generation;
				break;
			default:
				fail_msg("after %ld bytes: %d: %s", bytes, r, a->fail.message);
			}
			generation = now;
			is_whole(f, generation);
			fleet_answer_free(a);
		}
		fleet_free(cut);
		way_close(&w);
	}
	assert_true(lost > 0 && stored > 0);
	print_message("# stored %u, lost %u, in doubt %u (of them stored %u)\n", stored, lost,
		      doubts, doubts_stored);
	fleet_free(f);
}

/* ---- the server ---------------------------------------------------------------------- */

static void steps_go_on_over_kills_of_the_server(void **state)
{
	struct fleet *f = opened(pg_url(&pg));
	uint64_t generation = 0, epoch;

	(void)state;
	assert_ok(create(f, "r1"));
	assert_int_equal(claim(f, "one", HOUR, &epoch), 1);
	for (int kills = 0; kills < 4; kills++) {
		struct fleet_answer *a = NULL;
		int r;

		for (int i = 0; i < 5; i++, generation++) {
			assert_ok(fleet_wait(f, step(f, epoch, generation, &a), &a));
			a = fleet_answer_free(a);
		}
		/* It is on its way when the server dies, as far as it came. */
		r = step(f, epoch, generation, &a);
		for (int turns = 0; turns < kills * 2; turns++)
			db_turn(fleet_db(f), 1);
		pg_stop(&pg, SIGKILL);
		assert_null(pg_start(&pg));
		r = fleet_wait(f, r, &a);
		assert_true(r == 0 || r == -ENOTCONN || r == -ECONNABORTED ||
			    r == -EHOSTUNREACH);
		fleet_answer_free(a);
		if (r == 0)
			generation++;
		else if (r == -ECONNABORTED)
			generation_of(f, &generation); /* as the header says */
		is_whole(f, generation);
	}
	fleet_free(f);
}

/* ---- several controllers ---------------------------------------------------------------- */

#define SEVERAL 4

/* A report of each of them in turn, as long as one is waited for. */
static void turn_all(struct fleet *const *f, struct fleet_answer *const *a)
{
	bool all = false;

	while (!all) {
		all = true;
		for (int i = 0; i < SEVERAL; i++)
			if (!a[i]) {
				db_turn(fleet_db(f[i]), 1);
				all = all && a[i];
			}
	}
}

static void of_many_who_claim_one_gets_it(void **state)
{
	struct fleet_answer *a[SEVERAL] = {0};
	struct fleet *f[SEVERAL];
	int won = 0;

	(void)state;
	for (int i = 0; i < SEVERAL; i++)
		f[i] = opened(pg_url(&pg));
	assert_ok(create(f[0], "r1"));
	for (int round = 0; round < 10; round++) {
		struct fleet_answer *released = NULL;

		won = 0;
		for (int i = 0; i < SEVERAL; i++) {
			char owner[8];

			snprintf(owner, sizeof(owner), "%d", i);
			assert_ok(fleet_claim(f[i], owner, HOUR, fleet_keep, &a[i]));
		}
		turn_all(f, a);
		for (int i = 0; i < SEVERAL; i++) {
			char owner[8];

			assert_true(a[i]->r == 0 || a[i]->r == -ENOENT);
			if (a[i]->r == 0) {
				won++;
				snprintf(owner, sizeof(owner), "%d", i);
				assert_ok(fleet_wait(
					f[i], fleet_release(f[i], owner, fleet_keep, &released),
					&released));
				released = fleet_answer_free(released);
			}
			a[i] = fleet_answer_free(a[i]);
		}
		assert_int_equal(won, 1);
	}
	for (int i = 0; i < SEVERAL; i++)
		fleet_free(f[i]);
}

static void many_who_write_history_make_one_chain(void **state)
{
	struct fleet_answer *a[SEVERAL] = {0};
	struct fleet *f[SEVERAL];
	uint64_t rows = 0, bad = 0;
	char head[65];

	(void)state;
	for (int i = 0; i < SEVERAL; i++)
		f[i] = opened(pg_url(&pg));
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < SEVERAL; i++)
			assert_ok(fleet_audit(f[i], entry("tick"), fleet_keep, &a[i]));
		turn_all(f, a);
		for (int i = 0; i < SEVERAL; i++) {
			assert_ok(a[i]->r);
			a[i] = fleet_answer_free(a[i]);
		}
	}
	assert_ok(fleet_audit_verify(f[0], &rows, head, &bad, NULL));
	assert_int_equal(rows, 20 * SEVERAL);
	for (int i = 0; i < SEVERAL; i++)
		fleet_free(f[i]);
}

static int enrol(struct fleet *f, unsigned int n)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	uint8_t fingerprint[32] = {(uint8_t)n, (uint8_t)(n >> 8)};
	char id[16];
	struct fleet_enrolment e = {
		.id = id, .name = "", .fingerprint = fingerprint, .certificate = ""};

	snprintf(id, sizeof(id), "h%u", n);
	return fleet_wait(f, fleet_enrol(f, &e, entry("enrol"), fleet_keep, &a), &a);
}

/* Everybody's reports at once, and one who follows: it sees each of them, page by page. */
/* Revocations: their number says which of them a host has not seen yet. */
static void documents_that_come_in_at_once_have_each_a_number_of_its_own(void **state)
{
	struct fleet_answer *a[SEVERAL] = {0}, *all = NULL;
	struct fleet *f[SEVERAL];
	struct fleet_document d;
	uint64_t n = 0;

	(void)state;
	for (int i = 0; i < SEVERAL; i++)
		f[i] = opened(pg_url(&pg));
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < SEVERAL; i++) {
			char name[16];

			snprintf(name, sizeof(name), "%d-%d", round, i);
			d = (struct fleet_document){.kind = "revocation",
						    .name = name,
						    .actor = "one",
						    .envelope = "{}",
						    .len = 2};
			assert_ok(fleet_put_document(f[i], &d, entry("REVOCATION"), fleet_keep,
						     &a[i]));
		}
		turn_all(f, a);
		for (int i = 0; i < SEVERAL; i++) {
			assert_ok(a[i]->r);
			a[i] = fleet_answer_free(a[i]);
		}
	}
	assert_ok(fleet_wait(f[0], fleet_documents(f[0], "revocation", 0, fleet_keep, &all),
			     &all));
	while (fleet_next_document(all, &d))
		assert_int_equal(d.version, ++n);
	assert_int_equal(n, 10 * SEVERAL);
	fleet_answer_free(all);
	for (int i = 0; i < SEVERAL; i++)
		fleet_free(f[i]);
}

static void who_follows_changes_misses_none(void **state)
{
	struct fleet_answer *a[SEVERAL] = {0};
	struct fleet *f[SEVERAL], *follower = opened(pg_url(&pg));
	uint64_t change = 0, seen[40] = {0};
	char after[65] = "";

	(void)state;
	for (int i = 0; i < SEVERAL; i++)
		f[i] = opened(pg_url(&pg));
	for (unsigned int i = 0; i < 40; i++)
		assert_ok(enrol(f[0], i));
	for (uint64_t round = 1; round <= 20; round++) {
		struct fleet_answer *page = NULL;
		char ids[40][16];

		for (unsigned int i = 0; i < SEVERAL; i++) {
			struct fleet_report r[10] = {0};

			for (unsigned int k = 0; k < 10; k++) {
				snprintf(ids[i * 10 + k], sizeof(ids[0]), "h%u",
					 k * SEVERAL + i);
				r[k] = (struct fleet_report){.host = ids[i * 10 + k],
							     .seq = round,
							     .hotfixes = "[]"};
			}
			assert_ok(fleet_reports(f[i], r, 10, fleet_keep, &a[i]));
		}
		/* It reads while they write. */
		for (int pages = 0; pages < 3; pages++) {
			struct fleet_host h;

			assert_ok(fleet_hosts_changed(follower, change, after, 7, fleet_keep,
						      &page));
			while (!page) {
				db_turn(fleet_db(follower), 1);
				for (int i = 0; i < SEVERAL; i++)
					db_turn(fleet_db(f[i]), 0);
			}
			while (fleet_next_host(page, &h)) {
				change = h.change;
				snprintf(after, sizeof(after), "%s", h.id);
				seen[atoi(h.id + 1)] = h.seq;
			}
			page = fleet_answer_free(page);
		}
		turn_all(f, a);
		for (int i = 0; i < SEVERAL; i++) {
			assert_ok(a[i]->r);
			a[i] = fleet_answer_free(a[i]);
		}
	}
	for (bool more = true; more;) {
		AUTO(fleet_answer_freep) struct fleet_answer *page = NULL;
		struct fleet_host h;

		assert_ok(fleet_wait(
			follower,
			fleet_hosts_changed(follower, change, after, 7, fleet_keep, &page),
			&page));
		for (more = false; fleet_next_host(page, &h); more = true) {
			change = h.change;
			snprintf(after, sizeof(after), "%s", h.id);
			seen[atoi(h.id + 1)] = h.seq;
		}
	}
	for (int i = 0; i < 40; i++)
		assert_int_equal(seen[i], 20);
	for (int i = 0; i < SEVERAL; i++)
		fleet_free(f[i]);
	fleet_free(follower);
}

static int clear(void **state)
{
	PGconn *c = PQconnectdb(pg_url(&pg));

	(void)state;
	PQclear(PQexec(c, "SET client_min_messages = warning"));
	PQclear(PQexec(c, "DROP SCHEMA public CASCADE; CREATE SCHEMA public"));
	PQfinish(c);
	return 0;
}

#define TEST(test) cmocka_unit_test_teardown(test, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_step_cut_off_anywhere_is_whole_and_its_answer_true),
		TEST(steps_go_on_over_kills_of_the_server),
		TEST(of_many_who_claim_one_gets_it),
		TEST(many_who_write_history_make_one_chain),
		TEST(documents_that_come_in_at_once_have_each_a_number_of_its_own),
		TEST(who_follows_changes_misses_none),
	};

	return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
