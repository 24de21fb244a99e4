// SPDX-License-Identifier: BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/limits.h>
#include <sys/mman.h>
#include <time.h>

#include "bpf/hotfix.bpf.h"
#include "lib/cleanup.h"

/* The daemon and objects of other days read these. */
_Static_assert(sizeof(struct hotfix_event) == 128, "layout of events");
_Static_assert(offsetof(struct hotfix_event, pid) == 40, "layout of events");
_Static_assert(offsetof(struct hotfix_event, comm) == 64, "layout of events");
_Static_assert(offsetof(struct hotfix_event, text) == 80, "layout of events");
_Static_assert(sizeof(struct hotfix_control) == 64, "layout of the control");
_Static_assert(HOTFIX_ENFORCE == 0, "what is in fresh memory enforces");

static void object_freep(struct bpf_object **o)
{
	bpf_object__close(*o);
}
#define AUTO_OBJECT AUTO(object_freep) struct bpf_object

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* The objects are built beside this program. */
static struct bpf_object *opened(const char *name)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	struct bpf_object *o;

	assert_true(n > 0);
	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, name);
	strcat(path, ".bpf.o");
	libbpf_set_print(silent);
	o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	return o;
}

static struct bpf_object *loaded(const char *name)
{
	struct bpf_object *o = opened(name);

	if (geteuid() != 0) {
		bpf_object__close(o);
		skip(); /* programs are loaded by root */
	}
	assert_int_equal(bpf_object__load(o), 0);
	return o;
}

static size_t n_maps(const struct bpf_object *o)
{
	struct bpf_map *m;
	size_t n = 0;

	bpf_object__for_each_map(m, o)
		n++;
	return n;
}

static int run(struct bpf_object *o, const char *program, uint32_t n)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &n, .ctx_size_in = sizeof(n));
	struct bpf_program *p = bpf_object__find_program_by_name(o, program);

	assert_non_null(p);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p), &opts), 0);
	return (int)opts.retval;
}

static uint64_t counted(struct bpf_object *o, uint32_t counter)
{
	int fd = bpf_object__find_map_fd_by_name(o, "hotfix_counters");
	size_t n = (size_t)libbpf_num_possible_cpus();
	AUTO_FREE uint64_t *values = calloc(n, sizeof(*values));
	uint64_t sum = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &counter, values), 0);
	for (size_t i = 0; i < n; i++)
		sum += values[i];
	return sum;
}

struct seen {
	size_t n;
	struct hotfix_event first;
};

static int on_event(void *cookie, void *data, size_t len)
{
	struct seen *seen = cookie;

	assert_int_equal(len, sizeof(struct hotfix_event));
	if (!seen->n++)
		memcpy(&seen->first, data, len);
	return 0;
}

static struct seen drained(struct bpf_object *o)
{
	int fd = bpf_object__find_map_fd_by_name(o, "hotfix_events");
	struct seen seen = {0};
	struct ring_buffer *rb = ring_buffer__new(fd, on_event, &seen, NULL);

	assert_non_null(rb);
	assert_true(ring_buffer__consume(rb) >= 0);
	ring_buffer__free(rb);
	return seen;
}

static void observe(struct bpf_object *o, uint32_t mode)
{
	int fd = bpf_object__find_map_fd_by_name(o, "hotfix_control");
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	struct hotfix_control *c = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(c != MAP_FAILED);
	c->mode = mode;
	munmap(c, len);
}

static void every_counter_and_verdict_has_a_name(void **state)
{
	static const char *const counters[HOTFIX_COUNTER_MAX] = {HOTFIX_COUNTER_NAMES};
	static const char *const verdicts[] = {HOTFIX_VERDICT_NAMES};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		assert_non_null(counters[i]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(counters[i], counters[j]);
	}
	assert_string_equal(counters[HOTFIX_DENIED], "denied");
	assert_string_equal(verdicts[HOTFIX_VERDICT_WOULD_DENY], "would_deny");
}

static void an_object_carries_only_what_it_asks_for(void **state)
{
	AUTO_OBJECT *bare = opened("header_bare");
	AUTO_OBJECT *events = opened("header_events");
	AUTO_OBJECT *all = opened("header_all");

	(void)state;
	assert_int_equal(n_maps(bare), 0);
	assert_int_equal(n_maps(events), 2);
	assert_non_null(bpf_object__find_map_by_name(events, "hotfix_events"));
	assert_non_null(bpf_object__find_map_by_name(all, "hotfix_counters"));
	assert_non_null(bpf_object__find_map_by_name(all, "hotfix_control"));
}

static void without_any_map_a_denial_denies(void **state)
{
	AUTO_OBJECT *bare = loaded("header_bare");

	(void)state;
	assert_int_equal(run(bare, "deny", 0), -13);
}

static void a_denial_is_counted_and_tells_who_and_what(void **state)
{
	AUTO_OBJECT *o = loaded("header_all");
	struct timespec before, after;
	struct seen seen;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(run(o, "deny", 1), -13);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_int_equal(counted(o, HOTFIX_DENIED), 1);
	assert_int_equal(counted(o, HOTFIX_WOULD_DENY), 0);

	seen = drained(o);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.first.verdict, HOTFIX_VERDICT_DENIED);
	assert_int_equal(seen.first.kind, 7);
	assert_int_equal(seen.first.args[3], 4);
	assert_string_equal(seen.first.text, "text");
	assert_int_equal(seen.first.tgid, getpid());
	assert_int_equal(seen.first.uid, getuid());
	assert_string_equal(seen.first.comm, "test_hotfix_hea");
	assert_in_range(seen.first.time_ns,
			(uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec,
			(uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
}

static void observe_mode_lets_pass_and_counts_and_can_be_ended(void **state)
{
	AUTO_OBJECT *o = loaded("header_all");
	struct seen seen;

	(void)state;
	observe(o, HOTFIX_OBSERVE);
	assert_int_equal(run(o, "deny", 1), 0);
	assert_int_equal(counted(o, HOTFIX_DENIED), 0);
	assert_int_equal(counted(o, HOTFIX_WOULD_DENY), 1);
	seen = drained(o);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.first.verdict, HOTFIX_VERDICT_WOULD_DENY);

	observe(o, HOTFIX_ENFORCE);
	assert_int_equal(run(o, "deny", 1), -13);
	assert_int_equal(counted(o, HOTFIX_DENIED), 1);
}

static void a_mode_from_the_future_enforces(void **state)
{
	AUTO_OBJECT *o = loaded("header_all");

	(void)state;
	observe(o, 0xffffffff);
	assert_int_equal(run(o, "deny", 1), -13);
}

static void a_flood_is_counted_exactly_and_costs_few_events(void **state)
{
	AUTO_OBJECT *o = loaded("header_all");
	struct timespec start, end;
	uint64_t lost;
	size_t n;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint32_t i = 0; i < 4000; i++)
		assert_int_equal(run(o, "deny", i), -13);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(counted(o, HOTFIX_DENIED), 4000);
	n = drained(o).n;
	lost = counted(o, HOTFIX_EVENTS_LOST);
	assert_int_equal(n + lost, 4000);
	/* 100 in every second that was begun on every CPU */
	assert_in_range(n, 100,
			(uint64_t)(end.tv_sec - start.tv_sec + 2) * 100 *
				(uint64_t)libbpf_num_possible_cpus());
}

static void events_that_nobody_reads_are_lost_not_waited_for(void **state)
{
	AUTO_OBJECT *o = opened("header_all");

	(void)state;
	if (geteuid() != 0)
		skip();
	bpf_map__set_max_entries(bpf_object__find_map_by_name(o, "hotfix_events"),
				 (uint32_t)sysconf(_SC_PAGESIZE));
	assert_int_equal(bpf_object__load(o), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(run(o, "deny", i), -13);
	assert_true(counted(o, HOTFIX_EVENTS_LOST) > 0);
	assert_int_equal(drained(o).n + counted(o, HOTFIX_EVENTS_LOST), 100);
}

static void an_author_has_counters_and_events_without_a_task(void **state)
{
	AUTO_OBJECT *o = loaded("header_all");
	struct seen seen;

	(void)state;
	run(o, "count", 5);
	run(o, "count", 6);
	assert_int_equal(counted(o, HOTFIX_SEEN), 2);
	assert_int_equal(counted(o, HOTFIX_USER0 + 11), 11);
	seen = drained(o);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.first.verdict, HOTFIX_NOTED);
	assert_int_equal(seen.first.tgid, 0);
	assert_string_equal(seen.first.comm, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_counter_and_verdict_has_a_name),
		cmocka_unit_test(an_object_carries_only_what_it_asks_for),
		cmocka_unit_test(without_any_map_a_denial_denies),
		cmocka_unit_test(a_denial_is_counted_and_tells_who_and_what),
		cmocka_unit_test(observe_mode_lets_pass_and_counts_and_can_be_ended),
		cmocka_unit_test(a_mode_from_the_future_enforces),
		cmocka_unit_test(a_flood_is_counted_exactly_and_costs_few_events),
		cmocka_unit_test(events_that_nobody_reads_are_lost_not_waited_for),
		cmocka_unit_test(an_author_has_counters_and_events_without_a_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
