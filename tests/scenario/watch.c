// SPDX-License-Identifier: BSD-2-Clause
/*
 * Looks at a hole while a command works on it: unprivileged tasks bind AF_ALG sockets of
 * one class without pause.
 *
 *	watch CLASS count -- COMMAND...		how many binds, and how many were allowed,
 *						while COMMAND ran: "binds N allowed M"
 *	watch CLASS until allowed|denied -- COMMAND...
 *						milliseconds from the start of COMMAND to the
 *						first bind with that verdict: "ms X"
 *
 * Exit status: COMMAND's own; 99 when the verdict did not come within LIMIT_S.
 */
#include <errno.h>
#include <grp.h>
#include <linux/if_alg.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TASKS	2
#define NOBODY	65534
#define LIMIT_S 60

struct shared {
	volatile bool stop;
	unsigned long binds[TASKS], allowed[TASKS];
};

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void die(const char *what)
{
	perror(what);
	exit(98);
}

static bool try_bind(const char *class)
{
	struct sockaddr_alg address = {.salg_family = AF_ALG};
	const char *name = strcmp(class, "aead") == 0	? "gcm(aes)"
			   : strcmp(class, "hash") == 0 ? "sha256"
							: "ecb(aes)";
	int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool allowed;

	if (fd < 0)
		die("socket");
	memcpy(address.salg_type, class, strlen(class) + 1);
	memcpy(address.salg_name, name, strlen(name) + 1);
	allowed = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	if (!allowed && errno != EPERM && errno != EACCES)
		die("bind");
	close(fd);
	return allowed;
}

static void become_nobody(void)
{
	if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
			       setresuid(NOBODY, NOBODY, NOBODY)))
		die("cannot drop privileges");
}

static pid_t start_command(char **argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int count(const char *class, char **argv)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long binds = 0, allowed = 0;
	pid_t tasks[TASKS];
	int status;

	if (s == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < TASKS; i++) {
		tasks[i] = fork();
		if (tasks[i] != 0)
			continue;
		become_nobody();
		while (!s->stop) {
			if (try_bind(class))
				s->allowed[i]++;
			s->binds[i]++;
		}
		_exit(0);
	}
	for (int i = 0; i < TASKS; i++) /* all are at it before COMMAND begins */
		while (*(volatile unsigned long *)&s->binds[i] == 0) {
			if (waitpid(tasks[i], &status, WNOHANG) == tasks[i]) {
				s->stop = true;
				return 98;
			}
			usleep(1000);
		}
	status = status_of(start_command(argv));
	s->stop = true;
	for (int i = 0; i < TASKS; i++) {
		if (status_of(tasks[i]) != 0)
			status = 98;
		binds += s->binds[i];
		allowed += s->allowed[i];
	}
	printf("binds %lu allowed %lu\n", binds, allowed);
	return status;
}

static int until(const char *class, bool wanted, char **argv)
{
	double *seen_ms = mmap(NULL, sizeof(*seen_ms), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start_ms;
	pid_t watcher, command;
	int status, seen;

	if (seen_ms == MAP_FAILED)
		die("mmap");
	start_ms = now_ms();
	watcher = fork();
	if (watcher == 0) {
		become_nobody();
		while (try_bind(class) != wanted)
			if (now_ms() - start_ms > LIMIT_S * 1e3)
				_exit(99);
		*seen_ms = now_ms();
		_exit(0);
	}
	start_ms = now_ms();
	command = start_command(argv);
	seen = status_of(watcher);
	status = status_of(command);
	if (seen != 0)
		return seen;
	printf("ms %.1f\n", *seen_ms - start_ms);
	return status;
}

int main(int argc, char **argv)
{
	if (argc >= 5 && strcmp(argv[2], "count") == 0 && strcmp(argv[3], "--") == 0)
		return count(argv[1], argv + 4);
	if (argc >= 6 && strcmp(argv[2], "until") == 0 && strcmp(argv[4], "--") == 0)
		return until(argv[1], strcmp(argv[3], "allowed") == 0, argv + 5);
	fprintf(stderr, "usage: watch CLASS count -- COMMAND...\n"
			"       watch CLASS until allowed|denied -- COMMAND...\n");
	return 2;
}
