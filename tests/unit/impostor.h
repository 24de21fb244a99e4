// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/impostor.h -- what stands where a PostgreSQL server should: a port of 127.0.0.1, and a
 * process that treats whoever connects as it was last told to. It ends with the program that
 * started it.
 */
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum impostor_way {
	IMPOSTOR_RELAYS, /* to the server behind it; what is below CUTS ends these connections */
	IMPOSTOR_LOSES,	 /* relays, up to the answer to a COMMIT of something new */
	IMPOSTOR_CUTS,	 /* relays, up to the first batch */
	IMPOSTOR_CLOSES,
	IMPOSTOR_IS_MUTE,
	IMPOSTOR_BABBLES,	/* instead of any answer */
	IMPOSTOR_BABBLES_LATER, /* once TLS was declined */
	IMPOSTOR_STARTS_UP,
};

struct impostor {
	pid_t pid;
	unsigned int port;
	int *way, *n_came; /* shared with its process */
};

static inline void impostor_is(struct impostor *m, enum impostor_way way)
{
	__atomic_store_n(m->way, (int)way, __ATOMIC_SEQ_CST);
}

static inline enum impostor_way impostor_way(const struct impostor *m)
{
	return (enum impostor_way)__atomic_load_n(m->way, __ATOMIC_SEQ_CST);
}

/* How many have connected. */
static inline int impostor_came(const struct impostor *m)
{
	return __atomic_load_n(m->n_came, __ATOMIC_SEQ_CST);
}

static inline void impostor_relay(const struct impostor *m, int near, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct pollfd p[2] = {{.fd = near, .events = POLLIN},
			      {.fd = socket(AF_UNIX, SOCK_STREAM, 0), .events = POLLIN}};
	char bytes[65536];
	bool wrote = false, ends, lost = false;

	strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	if (connect(p[1].fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return;
	while (impostor_way(m) <= IMPOSTOR_CUTS) {
		if (poll(p, 2, 10) < 0)
			return;
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, bytes, sizeof(bytes)) : -1;

			if (n > 0 && impostor_way(m) == IMPOSTOR_CUTS &&
			    memmem(bytes, (size_t)n, "BEGIN", 6))
				return;
			if (i == 0 && n > 0) {
				wrote |= memmem(bytes, (size_t)n, "INSERT INTO", 11) != NULL;
				ends = memmem(bytes, (size_t)n, "COMMIT", 7) != NULL;
				lost |= ends && wrote && impostor_way(m) == IMPOSTOR_LOSES;
				wrote &= !ends;
			}
			if (i == 1 && n > 0 && lost) /* it has been done by now */
				return;
			if (p[i].revents && (n <= 0 || write(p[!i].fd, bytes, (size_t)n) != n))
				return;
		}
	}
}

static inline void impostor_serve(const struct impostor *m, int fd, const char *path)
{
	static const char fatal[] = "SFATAL\0VFATAL\0C57P03\0Mthe database system is starting "
				    "up\0";
	static const char babble[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	enum impostor_way way = impostor_way(m);
	uint32_t asked[2], len = htonl(sizeof(fatal) + 4);

	if (way <= IMPOSTOR_CUTS)
		impostor_relay(m, fd, path);
	if (way <= IMPOSTOR_CLOSES)
		return;
	while (way != IMPOSTOR_IS_MUTE && recv(fd, asked, sizeof(asked), 0) == sizeof(asked)) {
		if (way == IMPOSTOR_BABBLES) {
			send(fd, babble, sizeof(babble) - 1, MSG_NOSIGNAL);
		} else if (ntohl(asked[1]) >> 16 == 1234) { /* may it be TLS? GSSAPI? */
			send(fd, "N", 1, MSG_NOSIGNAL);
			continue;
		} else if (way == IMPOSTOR_BABBLES_LATER) {
			send(fd, babble, sizeof(babble) - 1, MSG_NOSIGNAL);
		} else {
			send(fd, "E", 1, MSG_NOSIGNAL | MSG_MORE);
			send(fd, &len, sizeof(len), MSG_NOSIGNAL | MSG_MORE);
			send(fd, fatal, sizeof(fatal), MSG_NOSIGNAL);
		}
		break;
	}
	while (recv(fd, asked, sizeof(asked), 0) > 0) /* until he goes */
		;
}

/* path: the socket of the server behind it. NULL, or what is wrong. */
static inline const char *impostor_new(struct impostor *m, const char *path)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	socklen_t len = sizeof(in);
	pid_t parent = getpid();

	m->way = mmap(NULL, 2 * sizeof(*m->way), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m->way == MAP_FAILED || bind(listener, (struct sockaddr *)&in, len) < 0 ||
	    listen(listener, 64) < 0 || getsockname(listener, (struct sockaddr *)&in, &len) < 0)
		return "nothing listens";
	m->n_came = m->way + 1;
	m->port = ntohs(in.sin_port);
	impostor_is(m, IMPOSTOR_RELAYS);
	m->pid = fork();
	if (m->pid != 0) {
		close(listener);
		return m->pid < 0 ? "no process" : NULL;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGCHLD, SIG_IGN);
	parent = getpid();
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		__atomic_add_fetch(m->n_came, 1, __ATOMIC_SEQ_CST);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			if (getppid() == parent)
				impostor_serve(m, fd, path);
			_exit(0);
		}
		close(fd);
	}
	_exit(1);
}

static inline void impostor_free(struct impostor *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	if (m->way)
		munmap(m->way, 2 * sizeof(*m->way));
	*m = (struct impostor){0};
}
