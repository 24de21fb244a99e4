// SPDX-License-Identifier: BSD-2-Clause
#include "server/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/file.h>
#include <time.h>

#include "bpf/engine.h"
#include "bpf/gate.h"
#include "bpf/pin.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/work.h"

#define LOOK_NS 1000000000ULL

/* Has it what the kernel cannot take back by itself? */
static bool needs_guard(const struct gate *g)
{
	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		if (gate_version(g, i).flags & (GATE_OVERLAP | GATE_CC))
			return true;
	return false;
}

static bool lease_runs(const struct gate *g)
{
	return gate_trial(g) && clock_mono_ns() < gate_deadline_ns(g);
}

/* ---- in the worker ---------------------------------------------------------- */

static int spawn(const char *shown, const char *name)
{
	char *const argv[] = {(char[]){"hotfixd"}, (char[]){"guard"}, (char *)(uintptr_t)shown,
			      (char *)(uintptr_t)name, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	extern char **environ;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* A signal to the daemon's process group is not meant for it, nor a terminal's end. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	/* Not the answer's pipe and not the state lock: who takes over must not wait for us. */
	for (int fd = 3; fd < WORK_FD_FOLDER; fd++)
		posix_spawn_file_actions_addclose(&actions, fd);
	posix_spawn_file_actions_addclosefrom_np(&actions, WORK_FD_FOLDER + 1);
	r = argv[2] && argv[3]
		    ? -posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ)
		    : -ENOMEM;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

int guard_start(const char *bpffs, const char *shown, const char *name)
{
	AUTO(gate_freep) struct gate *g = NULL;
	int r;

	r = gate_open(bpffs, name, &g);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return lease_runs(g) && needs_guard(g) ? spawn(shown, name) : 0;
}

/* ---- the guard -------------------------------------------------------------- */

static void sleep_until(uint64_t end_ns)
{
	const struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000),
				     .tv_nsec = (long)(end_ns % 1000000000)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

/* Somebody took the pins away, or the whole bpffs: the gate we see is nobody's any more. */
static bool is_gone(const struct engine *e, const char *name)
{
	AUTO(gate_freep) struct gate *g = NULL;

	return gate_open(e->bpffs, name, &g) == -ENOENT;
}

/* false: to be tried again. */
static bool take_back(struct engine *e, const char *name)
{
	AUTO_JSON json_t *report = NULL;
	AUTO_FREE char *text = NULL;
	struct fail fail = {.code = FAIL_NONE};

	if (is_gone(e, name))
		return true;
	if (engine_settle(e, name, &report, &fail) < 0) {
		log_event(LOG_ERR, "guard: not taken back yet hotfix=%s error=\"%s\"", name,
			  fail.message);
		return false;
	}
	text = json_dumps(report, JSON_COMPACT);
	log_event(LOG_WARNING,
		  "guard: the lease of the trial ended and no hotfixd was there: taken back "
		  "hotfix=%s report=%s",
		  name, text ? text : "{}");
	return true;
}

/* Until there is no trial, or what belonged to it was taken back. */
static void watch(struct engine *e, const char *name, const struct gate *g)
{
	uint64_t now_ns, end_ns;

	while (gate_trial(g)) {
		now_ns = clock_mono_ns();
		end_ns = gate_deadline_ns(g);
		if (now_ns >= end_ns && take_back(e, name))
			return;
		if (now_ns >= end_ns || end_ns > now_ns + LOOK_NS)
			end_ns = now_ns + LOOK_NS;
		sleep_until(end_ns);
	}
}

int guard_main(const char *shown, const char *name)
{
	const char *bpffs = work_enter_folder() ? WORK_FOLDER : shown;
	static char log[ENGINE_LOG_BYTES];
	struct engine e = {.bpffs = bpffs, .log = log};
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_CLOSE int slots = -1;
	char path[PATH_MAX];

	log_open(LOG_NOTICE);
	signal(SIGPIPE, SIG_IGN); /* who read our stderr may be gone as well */
	if (gate_open(bpffs, name, &g) < 0 || pin_path(path, bpffs, name, "slots", NULL) < 0)
		return 1;
	slots = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (slots < 0)
		return 1;
	/*
	 * A trial that begins as we end starts a guard that sees our lock and ends: so look
	 * again after giving it away.
	 */
	do {
		if (flock(slots, LOCK_EX | LOCK_NB) < 0)
			return 0;
		watch(&e, name, g);
		flock(slots, LOCK_UN);
	} while (lease_runs(g));
	return 0;
}
