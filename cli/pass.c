// SPDX-License-Identifier: BSD-2-Clause
#include "cli/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/cleanup.h"
#include "lib/io.h"

static int read_lines(struct pass *p, struct fail *f)
{
	ssize_t n;

	do {
		n = read(p->fd, p->lines + p->n, sizeof(p->lines) - 1 - p->n);
		if (n < 0 && errno != EINTR)
			return fail_set(f, FAIL_USAGE, "--passphrase-fd %d: %s", p->fd,
					strerror(errno));
		p->n += n > 0 ? (size_t)n : 0;
	} while (n != 0 && p->n < sizeof(p->lines) - 1);
	p->lines[p->n] = 0;
	if (n != 0)
		return fail_set(f, FAIL_USAGE, "--passphrase-fd %d: more than %zu bytes", p->fd,
				sizeof(p->lines) - 1);
	if (strlen(p->lines) != p->n)
		return fail_set(f, FAIL_USAGE, "--passphrase-fd %d: a NUL byte", p->fd);
	return 0;
}

/* A core that is piped to a program (core_pattern) does not ask for the limit. */
static void keep_out_of_dumps(const void *p, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p & ~(page - 1);

	madvise((void *)from, (uintptr_t)p + len - from, MADV_DONTDUMP);
}

int pass_open(struct pass *p, const struct args *a, struct fail *reterr_fail)
{
	const char *value = args_value(a, "--passphrase-fd");
	struct rlimit none = {0, 0};
	uint64_t fd;
	int r;

	memset(p, 0, sizeof(*p));
	p->fd = -1;
	p->next = p->lines;
	setrlimit(RLIMIT_CORE, &none);
	keep_out_of_dumps(p, sizeof(*p));
	mlock(p, sizeof(*p)); /* as far as the limit allows */
	if (!value)
		return 0;
	r = cli_parse_u64("--passphrase-fd", value, 0, INT_MAX, &fd, reterr_fail);
	if (r < 0)
		return r;
	p->fd = (int)fd;
	return read_lines(p, reterr_fail);
}

void pass_close(struct pass *p)
{
	explicit_bzero(p, sizeof(*p));
	munlock(p, sizeof(*p));
}

static const char *from_lines(struct pass *p)
{
	char *line = p->next, *end = strchr(line, '\n');

	if (!*line && p->n == 0) {
		fail_set(&p->fail, FAIL_USAGE, "--passphrase-fd %d: no passphrase in it",
			 p->fd);
		return NULL;
	}
	if (end) {
		*end = 0;
		if (end[1])
			p->next = end + 1; /* else this one serves the rest */
	}
	return line;
}

/* As read(2), but a signal of cli_catch_interrupt() ends it even if it came just before. */
static ssize_t read_unless_interrupted(int fd, void *buf, size_t room)
{
	struct pollfd in = {.fd = fd, .events = POLLIN};
	sigset_t stop, before;
	int ready = -1;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, &before);
	if (!cli_interrupted())
		ready = ppoll(&in, 1, NULL, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ready < 0 ? -1 : read(fd, buf, room);
}

static const char *from_terminal(struct pass *p, const char *prompt)
{
	AUTO_CLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios before, silent;
	size_t n = 0;
	ssize_t r;

	if (tty < 0 || tcgetattr(tty, &before) < 0) {
		fail_set(&p->fail, FAIL_USAGE,
			 "a passphrase is needed and there is no terminal");
		fail_hint(&p->fail, "hand it over with --passphrase-fd N");
		return NULL;
	}
	cli_catch_interrupt(); /* so that the echo comes back */
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	io_write_all(tty, prompt, strlen(prompt));
	tcsetattr(tty, TCSAFLUSH, &silent);
	/* In canonical mode a read is at most one line. */
	do {
		r = read_unless_interrupted(tty, p->one + n, sizeof(p->one) - 1 - n);
		n += r > 0 ? (size_t)r : 0;
	} while (r > 0 && p->one[n - 1] != '\n' && n < sizeof(p->one) - 1);
	tcsetattr(tty, TCSAFLUSH, &before);
	io_write_all(tty, "\n", 1);
	if (r <= 0 || p->one[n - 1] != '\n') {
		explicit_bzero(p->one, sizeof(p->one));
		fail_set(&p->fail, FAIL_USAGE,
			 cli_interrupted() ? "interrupted" : "no passphrase was given");
		return NULL;
	}
	p->one[n - 1] = 0;
	return p->one;
}

const char *pass_ask(const char *prompt, void *cookie)
{
	struct pass *p = cookie;

	return p->fd >= 0 ? from_lines(p) : from_terminal(p, prompt);
}

const char *pass_ask_new(struct pass *p)
{
	char first[PASS_BYTES_MAX];
	const char *pass = pass_ask("Passphrase for the new key: ", p);
	bool same;

	if (pass && !pass[0]) {
		fail_set(&p->fail, FAIL_USAGE, "an empty passphrase protects nothing");
		fail_hint(&p->fail, "--no-passphrase makes a key without, for automation");
		return NULL;
	}
	if (!pass || p->fd >= 0)
		return pass;
	snprintf(first, sizeof(first), "%s", pass);
	pass = from_terminal(p, "The same again: ");
	same = pass && strcmp(first, pass) == 0;
	explicit_bzero(first, sizeof(first));
	if (pass && !same)
		fail_set(&p->fail, FAIL_USAGE, "the two passphrases differ");
	return same ? pass : NULL;
}
