// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every fuzz target (tests/fuzz/fuzz_*.c) once for each file of its corpus: what a fuzzer found
 * once, and what its targets state to be true of all inputs, stays checked without a fuzzer.
 */
#include "tests/unit/unit.h"

#include <dirent.h>

#include "lib/io.h"

#define TARGETS(X)     \
	X(answer)      \
	X(api)         \
	X(args)        \
	X(audit)       \
	X(bundle)      \
	X(certificate) \
	X(checkpoint)  \
	X(config)      \
	X(directive)   \
	X(envelope)    \
	X(host)        \
	X(manifest)    \
	X(operators)   \
	X(report)      \
	X(revocation)  \
	X(root)        \
	X(status)      \
	X(text)        \
	X(yaml)

#define INPUT_BYTES_MAX (1U << 20)

static void each_input(const char *target, int (*one)(const uint8_t *data, size_t size))
{
	char folder[64], path[512];
	struct dirent *e;
	size_t n = 0, len;
	uint8_t *data;
	DIR *d;

	snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%s", target);
	d = opendir(folder);
	assert_non_null(d);
	assert_ok(one((const uint8_t *)"", 0));
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		assert_ok(io_read_file(path, INPUT_BYTES_MAX, &data, &len));
		print_message("# %s\n", path); /* the last one said is the one that broke it */
		assert_ok(one(data, len));
		free(data);
		n++;
	}
	closedir(d);
	assert_true(n > 0);
}

#define X(target)                                                        \
	int fuzz_one_##target(const uint8_t *data, size_t size);         \
	static void the_corpus_of_##target##_finds_nothing(void **state) \
	{                                                                \
		(void)state;                                             \
		each_input(#target, fuzz_one_##target);                  \
	}
TARGETS(X)
#undef X

/* A target without a line above would never run here. */
static void every_target_has_its_corpus(void **state)
{
	struct dirent *e;
	size_t n = 0;
	DIR *d = opendir("tests/fuzz/corpus");

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
#define X(target) n--;
	TARGETS(X)
#undef X
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define X(target) cmocka_unit_test(the_corpus_of_##target##_finds_nothing),
		TARGETS(X)
#undef X
			cmocka_unit_test(every_target_has_its_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
