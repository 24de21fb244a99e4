// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/test_worker.c -- whose turn it is among the workers. This program is its own
 * worker: one that answers at once.
 */
#include <string.h>
#include <unistd.h>

#include "server/worker.h"
#include "tests/unit/parent.h"

struct pool {
	struct event_base *base;
	struct crew *crew;
	struct workers *workers;
	char order[32]; /* the letters of those that are done */
};

struct asked {
	struct pool *pool;
	char letter;
};

static void on_done(const struct worker_result *result, void *cookie)
{
	struct asked *a = cookie;
	size_t n = strlen(a->pool->order);

	assert_true(result->ok);
	a->pool->order[n] = a->letter;
}

static int make_pool(void **state)
{
	struct pool *p = calloc(1, sizeof(*p));

	p->base = event_base_new();
	p->crew = parent_crew(p->base);
	assert_int_equal(workers_new(p->base, p->crew, 60000, &p->workers), 0);
	*state = p;
	return 0;
}

static int drop_pool(void **state)
{
	struct pool *p = *state;

	workers_free(p->workers);
	crew_free(p->crew);
	parent_wait();
	event_base_free(p->base);
	free(p);
	return 0;
}

static int ask(struct pool *p, struct asked *a, bool look, char letter)
{
	struct worker_job job = {.op = "doctor", .look = look};

	*a = (struct asked){.pool = p, .letter = letter};
	return worker_run(p->workers, &job, on_done, a, NULL);
}

static void run_until_done(struct pool *p, size_t n)
{
	while (strlen(p->order) < n)
		assert_int_equal(event_base_loop(p->base, EVLOOP_ONCE), 0);
}

static void who_changes_goes_before_those_who_only_look(void **state)
{
	struct pool *p = *state;
	struct asked asked[4];

	assert_int_equal(ask(p, &asked[0], true, 'l'), 0);
	assert_int_equal(ask(p, &asked[1], true, 'l'), 0);
	assert_int_equal(ask(p, &asked[2], false, 'C'), 0);
	assert_int_equal(ask(p, &asked[3], false, 'C'), 0);
	run_until_done(p, 4);
	assert_int_equal(p->order[0], 'C');
}

static void only_so_many_may_wait_to_look_and_any_number_to_change(void **state)
{
	struct pool *p = *state;
	struct asked asked[3 * WORKER_LOOKS_WAITING_MAX];
	size_t n = 0;

	while (n < WORKER_LOOKS_WAITING_MAX) {
		assert_int_equal(ask(p, &asked[n], true, 'l'), 0);
		n++;
	}
	assert_int_equal(ask(p, &asked[n], true, 'l'), -EBUSY);
	while (n < ARRAY_SIZE(asked)) {
		assert_int_equal(ask(p, &asked[n], false, 'C'), 0);
		n++;
	}
	run_until_done(p, n);
	assert_int_equal(ask(p, &asked[0], true, 'l'), 0);
	run_until_done(p, n + 1);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_changes_goes_before_those_who_only_look,
						make_pool, drop_pool),
		cmocka_unit_test_setup_teardown(
			only_so_many_may_wait_to_look_and_any_number_to_change, make_pool,
			drop_pool),
	};

	if (argc == 2 && strcmp(argv[1], "worker") == 0)
		return write(STDOUT_FILENO, "{}", 2) != 2;
	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
