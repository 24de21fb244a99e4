// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/parent.h -- a parent (server/parent.h) in a process of its own, which starts this
 * program as its workers: main() has to look for "worker".
 */
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "server/crew.h"
#include "server/parent.h"
#include "tests/unit/unit.h"

static pid_t parent_pid;

/* The other end of its channel; user as [daemon] user, bpffs a folder that need not be there. */
static int parent_fork(const char *user, const char *bpffs)
{
	char state[128], sock[128];
	int ends[2];

	snprintf(state, sizeof(state), "%s", unit_path("state"));
	snprintf(sock, sizeof(sock), "%s", unit_path("sock"));
	assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	parent_pid = fork();
	if (parent_pid == 0) {
		char *argv[] = {(char[]){"hotfixd"},
				(char[]){"--state-dir"},
				state,
				(char[]){"--socket"},
				sock,
				(char[]){"--bpffs"},
				(char *)(uintptr_t)bpffs,
				(char[]){"--user"},
				(char *)(uintptr_t)user,
				NULL};
		struct parent *p = NULL;
		struct config config;
		struct fail fail = {.code = FAIL_NONE};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[1]);
		if (config_load(9, argv, &config, &fail) == 0 &&
		    parent_open(&config, -1, &p, &fail) == 0)
			parent_serve(p, ends[0]);
		else
			fprintf(stderr, "# %s\n", fail.message);
		parent_free(p);
		_exit(fail.code != FAIL_NONE);
	}
	close(ends[0]);
	return ends[1];
}

/* What it opened is there, and not needed. */
static void parent_hello(int channel)
{
	struct wire_event hello;
	int given[WIRE_GIVEN];
	struct fail fail;

	assert_ok(crew_hello(channel, &hello, given, &fail));
	assert_true(given[WIRE_LOCK_FD - WIRE_LISTEN_FD] >= 0);
	for (int i = 0; i < WIRE_GIVEN; i++)
		fd_closep(&given[i]);
}

/* The same, for those who speak to it through a crew. */
__attribute__((unused)) static struct crew *parent_crew(struct event_base *base)
{
	int channel = parent_fork("0", "/nowhere/hotfix");
	struct crew *crew;

	parent_hello(channel);
	assert_ok(crew_new(base, channel, &crew));
	return crew;
}

__attribute__((unused)) static void parent_wait(void)
{
	assert_int_equal(waitpid(parent_pid, NULL, 0), parent_pid);
}
