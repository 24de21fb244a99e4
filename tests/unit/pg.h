// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/pg.h -- a PostgreSQL server of the test's own: an unprivileged user's, in the scratch
 * folder, on a socket in it and nowhere else, with fsync. It ends with the program that
 * started it, whatever ends that.
 */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "lib/clock.h"

#define PG_WAIT_MS 60000

struct pg {
	char folder[96]; /* of data, socket and log */
	pid_t pid;
};

/* Debian keeps the server's programs out of PATH, one folder for each version. */
static inline const char *pg_program(const char *name, char *out, size_t room)
{
	for (int version = 30; version >= 15; version--) {
		snprintf(out, room, "/usr/lib/postgresql/%d/bin/%s", version, name);
		if (access(out, X_OK) == 0)
			return out;
	}
	snprintf(out, room, "%s", name);
	return out;
}

/* The server refuses to run as root. */
static inline const struct passwd *pg_user(void)
{
	const struct passwd *user = getpwnam("postgres");

	return user ? user : getpwnam("nobody");
}

static inline pid_t pg_spawn(const struct pg *pg, char *const argv[])
{
	pid_t parent = getpid(), pid = fork();
	char log[128];
	int fd;

	if (pid != 0)
		return pid;
	if (geteuid() == 0) {
		const struct passwd *user = pg_user();

		if (!user || setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 ||
		    setuid(user->pw_uid) < 0)
			_exit(126);
	}
	/* A server's quick way down; its children notice by themselves. */
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
	if (getppid() != parent)
		_exit(126);
	snprintf(log, sizeof(log), "%s/log", pg->folder);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(fd, 1);
	dup2(fd, 2);
	setenv("LC_ALL", "C", 1);
	if (chdir(pg->folder) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static inline const char *pg_url(const struct pg *pg)
{
	static char url[256];

	snprintf(url, sizeof(url), "postgresql://test@/postgres?host=%s&port=5432", pg->folder);
	return url;
}

static inline bool pg_is_up(const struct pg *pg)
{
	return PQping(pg_url(pg)) == PQPING_OK;
}

/* Starts it, or again; NULL or what is wrong. */
static inline const char *pg_start(struct pg *pg)
{
	char program[128];
	char *argv[] = {program,
			"-D",
			"data",
			"-k",
			pg->folder,
			"-c",
			"listen_addresses=",
			"-c",
			"fsync=on",
			"-c",
			"shared_buffers=16MB",
			"-c",
			"max_connections=30",
			"-c",
			"unix_socket_permissions=0777",
			NULL};
	uint64_t until = clock_up_ms() + PG_WAIT_MS;

	pg_program("postgres", program, sizeof(program));
	pg->pid = pg_spawn(pg, argv);
	while (!pg_is_up(pg)) {
		if (waitpid(pg->pid, NULL, WNOHANG) == pg->pid) {
			/* After a kill the old one's children may still hold its memory. */
			if (clock_up_ms() > until)
				return "the server ended";
			pg->pid = pg_spawn(pg, argv);
		}
		if (clock_up_ms() > until)
			return "the server is not up in time";
		usleep(20000);
	}
	return NULL;
}

/* A new one in folder/pg, which must not exist. */
static inline const char *pg_new(struct pg *pg, const char *folder)
{
	char program[128];
	char *argv[] = {program,
			"-D",
			"data",
			"-U",
			"test",
			"-A",
			"trust",
			"-E",
			"UTF8",
			"--no-locale",
			"--no-instructions",
			NULL};
	int status;

	snprintf(pg->folder, sizeof(pg->folder), "%s/pg", folder);
	if (mkdir(pg->folder, 0755) < 0)
		return "no folder";
	if (geteuid() == 0 && (!pg_user() || chmod(folder, 0755) < 0 ||
			       chown(pg->folder, pg_user()->pw_uid, pg_user()->pw_gid) < 0))
		return "no user for it";
	pg_program("initdb", program, sizeof(program));
	waitpid(pg_spawn(pg, argv), &status, 0);
	if (status != 0)
		return "initdb failed";
	return pg_start(pg);
}

/* SIGKILL, SIGQUIT (at once), SIGINT (connections are cut), SIGTERM (waits for them). */
static inline void pg_stop(struct pg *pg, int signal)
{
	if (pg->pid <= 0)
		return;
	kill(pg->pid, signal);
	waitpid(pg->pid, NULL, 0);
	pg->pid = 0;
}
