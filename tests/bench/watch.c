// SPDX-License-Identifier: BSD-2-Clause
/*
 * watch [--cc] [--settle FILE] FROM TO COMMAND [ARG...] -- how long from the start of COMMAND
 * until the verdict of getpgid() changes from FROM to TO (ok, EPERM, EACCES), as a task that spins on it sees it,
 * and until COMMAND has ended. One line on stdout:
 *
 *	{"effect_ms":N,"exit_ms":N,"settled_ms":N|null,"calls":N,"between":N,"between_ms":N,
 *	 "after":N}
 *
 * With --cc it is not getpgid() but a socket that takes the algorithm hf_bench: ok means that no
 * version saw it, EPERM that version 1 saw the call, EACCES that version 2 did.
 *
 * calls were made in all; between: with another verdict than FROM and TO before the change;
 * after: with another verdict than TO after it. With TO the same as FROM nothing has to change
 * and effect_ms is 0. settled: when FILE no longer says 1, or is gone (a livepatch's transition);
 * null when that takes longer than 10 s. COMMAND's own output goes to stderr.
 */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#define LIMIT_NS  60000000000ULL
#define SETTLE_NS 10000000000ULL

extern char **environ;

static int from, to;
static uint64_t calls, between, after, between_ns, changed_ns;
static bool ready, stop;

static int verdict(const char *name)
{
	if (strcmp(name, "ok") == 0)
		return 0;
	if (strcmp(name, "EPERM") == 0)
		return EPERM;
	if (strcmp(name, "EACCES") == 0)
		return EACCES;
	bench_die("ok, EPERM or EACCES, not %s", name);
}

/* ---- verdicts ------------------------------------------------------------------- */

static bool cc;
static int cc_fd, cc_peer;

static struct cc_seen {
	volatile struct hit_seen *seen;
	uint32_t id;
	uint64_t calls;
} cc_seen[2];

/* The version that has counted a call since the last look; -1: neither. */
static int cc_version(void)
{
	for (int i = 0; i < 2; i++) {
		struct cc_seen *s = &cc_seen[i];
		uint64_t now = s->seen ? s->seen->slot[0].calls : 0;

		if (now != s->calls) {
			s->calls = now;
			return i;
		}
	}
	return -1;
}

/* A version that was loaded again counts in a map of its own. */
static void cc_look_again(void)
{
	for (int i = 0; i < 2; i++) {
		struct cc_seen *s = &cc_seen[i];
		volatile struct hit_seen *seen;
		uint32_t id = 0;

		seen = bench_find_seen(i + 1, &id);
		if (!seen || id == s->id) {
			bench_unsee(seen);
			continue;
		}
		bench_unsee(s->seen);
		*s = (struct cc_seen){.seen = seen, .id = id};
	}
}

static int cc_verdict(void)
{
	static const int verdicts[2] = {EPERM, EACCES};
	int r, version;

	r = bench_set_cc(cc_fd, HIT_CC);
	if (r == ENOENT)
		return 0;
	if (r)
		bench_die("a socket with %s: %s", HIT_CC, strerror(r));
	version = cc_version();
	if (version < 0) {
		cc_look_again();
		version = cc_version();
	}
	bench_set_cc(cc_fd, "reno");
	cc_version(); /* the release counts as well */
	return version < 0 ? 0 : verdicts[version];
}

static void cc_start(void)
{
	bench_connect(&cc_fd, &cc_peer);
	bench_mark(cc_fd, 0);
	cc_look_again();
	for (int i = 0; i < 2; i++)
		if (cc_seen[i].seen)
			cc_seen[i].calls = cc_seen[i].seen->slot[0].calls;
}

static int deed(struct bench_thread *t)
{
	return cc ? cc_verdict() : bench_call_getpgid(t);
}

static void *spinning(void *cookie)
{
	struct bench_thread t = {.pid = getpid()};
	uint64_t between_since_ns = 0;
	int r;

	(void)cookie;
	if (cc)
		cc_start(); /* stays root, which may look at maps */
	else
		bench_become(0);
	r = deed(&t);
	if (r != from)
		bench_die("the verdict is '%s' before anything was done", strerror(r));
	BENCH_SET(&ready, true);
	while (!BENCH_GET(&stop)) {
		r = deed(&t);
		calls++;
		if (BENCH_GET(&changed_ns)) {
			after += r != to;
		} else if (r == to && from != to) {
			uint64_t now_ns = clock_mono_ns();

			if (between_since_ns)
				between_ns += now_ns - between_since_ns;
			BENCH_SET(&changed_ns, now_ns);
		} else if (r != from) {
			if (!between_since_ns)
				between_since_ns = clock_mono_ns();
			between++;
		}
	}
	return NULL;
}

/* 0 when it did not. */
static uint64_t settle(const char *file)
{
	uint64_t end_ns = clock_mono_ns() + SETTLE_NS;
	char line[16];

	while (io_read_line(file, line, sizeof(line)) == 0 && strcmp(line, "1") == 0) {
		if (clock_mono_ns() > end_ns)
			return 0;
		bench_sleep_us(5000);
	}
	return clock_mono_ns();
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	uint64_t start_ns, exit_ns, end_ns, settled_ns = 0;
	const char *file = NULL;
	char settled[32] = "null";
	pthread_t id;
	pid_t pid;
	int status;
	int r;

	bench_program = "watch";
	if (argc > 1 && strcmp(argv[1], "--cc") == 0) {
		cc = true;
		argv++;
		argc--;
	}
	if (argc > 2 && strcmp(argv[1], "--settle") == 0) {
		file = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 4) {
		bench_note("usage: watch [--cc] [--settle FILE] FROM TO COMMAND [ARG...]");
		return 2;
	}
	from = verdict(argv[1]);
	to = verdict(argv[2]);
	if (pthread_create(&id, NULL, spinning, NULL))
		bench_die("pthread_create");
	while (!BENCH_GET(&ready))
		bench_sleep_us(100);
	bench_sleep_us(20000); /* warmed up */

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	start_ns = clock_mono_ns();
	r = posix_spawnp(&pid, argv[3], &actions, NULL, argv + 3, environ);
	if (r)
		bench_die("%s: %s", argv[3], strerror(r));
	if (waitpid(pid, &status, 0) != pid)
		bench_die("waitpid: %m");
	exit_ns = clock_mono_ns();
	end_ns = exit_ns + LIMIT_NS;
	while (status == 0 && from != to && !BENCH_GET(&changed_ns)) {
		if (clock_mono_ns() > end_ns)
			bench_die("%s ended, but the verdict is the same as before", argv[3]);
		bench_sleep_us(100);
	}
	if (from == to)
		changed_ns = start_ns;
	if (file)
		settled_ns = settle(file);
	if (settled_ns)
		snprintf(settled, sizeof(settled), "%.3f", bench_ms(settled_ns - start_ns));
	bench_sleep_us(20000); /* what comes after counts too */
	BENCH_SET(&stop, true);
	pthread_join(id, NULL);
	if (status)
		bench_die("%s failed with status %d", argv[3],
			  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));

	printf("{\"effect_ms\":%.3f,\"exit_ms\":%.3f,\"settled_ms\":%s,\"calls\":%llu,\"between\":%llu,"
	       "\"between_ms\":%.3f,\"after\":%llu}\n",
	       bench_ms(changed_ns - start_ns), bench_ms(exit_ns - start_ns), settled,
	       (unsigned long long)calls, (unsigned long long)between, bench_ms(between_ns),
	       (unsigned long long)after);
	return 0;
}
