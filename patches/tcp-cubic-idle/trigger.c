// SPDX-License-Identifier: BSD-2-Clause
/*
 * Tells by its behaviour whether a congestion control takes idle time for time spent probing:
 * a flow in congestion avoidance pauses, sends four windows, and its window is compared.
 *
 *	trigger            0 idle time left out (serial 2), 1 counted (serial 1), 2 cannot tell
 *	trigger --legit    0 a transfer arrives whole and unchanged, 1 not so, 2 cannot tell
 *	--algorithm NAME   which one (hf_cubic)
 *	--idle MS          the pause (4000)
 *	--bytes N          of the transfer (64 MiB)
 *
 * Everything happens on the loopback device of a network namespace of its own, so no setting
 * of the host is touched; losses are made by a socket filter that drops what arrives.
 *
 * Last line on standard output, stable for scripts:
 *	window after the pause: kept (A -> B) | jumped (A -> B) | unclear (A -> B)
 *	transfer: whole (N bytes) | broken
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CANNOT_TELL 2
#define MSS_BYTES   1000
#define WINDOW	    40 /* segments to grow to before the loss */
#define TIMEOUT_S   20
#define CA_LOSS	    4 /* TCP_CA_Loss of the kernel */

static char buffer[1 << 20];

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "trigger: %s: %s\n", what, strerror(errno));
	exit(CANNOT_TELL);
}

/* --- a network of its own ---------------------------------------------------------------- */

static void enter_own_network(void)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_slow_start_after_idle";
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		give_up("no network namespace");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		give_up("lo");
	close(fd);
	/* Else the kernel itself takes the window back after a pause, whatever the algorithm.
	 */
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		give_up(path);
	close(fd);
}

static void limit_waiting(int fd)
{
	struct timeval tv = {.tv_sec = TIMEOUT_S};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)))
		give_up("timeout");
}

/* A connected pair; the sender uses the algorithm. */
static void connect_pair(const char *algorithm, int ret_fd[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener, bytes = 4 << 20, mss = MSS_BYTES, one = 1;
	socklen_t len = sizeof(address);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret_fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || ret_fd[0] < 0)
		give_up("socket");
	if (setsockopt(ret_fd[0], IPPROTO_TCP, TCP_CONGESTION, algorithm, strlen(algorithm)))
		give_up(algorithm);
	if (setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) ||
	    setsockopt(ret_fd[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) ||
	    setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)) ||
	    setsockopt(ret_fd[0], IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)) ||
	    setsockopt(ret_fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		give_up("setsockopt");
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &len) ||
	    connect(ret_fd[0], (struct sockaddr *)&address, sizeof(address)))
		give_up("connect");
	ret_fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (ret_fd[1] < 0)
		give_up("accept");
	close(listener);
	limit_waiting(ret_fd[0]);
	limit_waiting(ret_fd[1]);
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info ti = {0};
	socklen_t len = sizeof(ti);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len))
		give_up("TCP_INFO");
	return ti;
}

/* There is no event for a change of tcp_info: it is looked at until it is so. */
static void await(int fd, bool (*done)(const struct tcp_info *ti), const char *what)
{
	struct timespec start, now;
	struct tcp_info ti;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		ti = info_of(fd);
		if (done(&ti))
			return;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > TIMEOUT_S) {
			errno = ETIMEDOUT;
			give_up(what);
		}
		poll(NULL, 0, 5);
	}
}

static bool is_loss(const struct tcp_info *ti)
{
	return ti->tcpi_ca_state == CA_LOSS;
}

static bool is_drained(const struct tcp_info *ti)
{
	return ti->tcpi_unacked == 0 && ti->tcpi_ca_state == 0;
}

static void send_segments(int fd, size_t segments)
{
	size_t left = segments * MSS_BYTES;
	ssize_t n;

	while (left) {
		n = send(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer),
			 MSG_NOSIGNAL);
		if (n <= 0)
			give_up("send");
		left -= n;
	}
}

static void receive_segments(int fd, size_t segments)
{
	size_t left = segments * MSS_BYTES;
	ssize_t n;

	while (left) {
		n = recv(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer), 0);
		if (n <= 0)
			give_up("recv");
		left -= n;
	}
}

/* Both ends at once: where memory is short the kernel holds less than a window between them. */
static void transfer(const int fd[2], size_t segments)
{
	size_t to_send = segments * MSS_BYTES, to_receive = to_send;
	struct pollfd p[2];
	ssize_t n;

	while (to_receive) {
		p[0] = (struct pollfd){.fd = to_send ? fd[0] : -1, .events = POLLOUT};
		p[1] = (struct pollfd){.fd = fd[1], .events = POLLIN};
		if (poll(p, 2, TIMEOUT_S * 1000) <= 0)
			give_up("transfer");
		if (p[0].revents) {
			n = send(fd[0], buffer,
				 to_send < sizeof(buffer) ? to_send : sizeof(buffer),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				give_up("send");
			to_send -= n > 0 ? (size_t)n : 0;
		}
		if (p[1].revents) {
			n = recv(fd[1], buffer, sizeof(buffer), MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				give_up("recv");
			to_receive -= n > 0 ? (size_t)n : 0;
		}
	}
	await(fd[0], is_drained, "acknowledgements");
}

/* --- the pause --------------------------------------------------------------------------- */

static void lose_a_window(const int fd[2])
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog all = {.len = 1, .filter = &drop};

	if (setsockopt(fd[1], SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all)))
		give_up("filter");
	send_segments(fd[0], 10);
	await(fd[0], is_loss, "loss");
	if (setsockopt(fd[1], SOL_SOCKET, SO_DETACH_FILTER, &all, sizeof(all)))
		give_up("filter");
	receive_segments(fd[1], 10);
	await(fd[0], is_drained, "recovery");
}

static int show(const char *algorithm, unsigned int idle_ms)
{
	unsigned int before, after, jump;
	struct tcp_info ti;
	int fd[2];

	connect_pair(algorithm, fd);
	for (int i = 0; i < 100 && info_of(fd[0]).tcpi_snd_cwnd < WINDOW; i++)
		transfer(fd, 2 * info_of(fd[0]).tcpi_snd_cwnd);
	lose_a_window(fd);
	/* Into congestion avoidance, so that the curve has begun. */
	for (int i = 0; i < 100; i++) {
		ti = info_of(fd[0]);
		if (ti.tcpi_snd_cwnd > ti.tcpi_snd_ssthresh)
			break;
		transfer(fd, 2 * ti.tcpi_snd_cwnd);
	}
	before = info_of(fd[0]).tcpi_snd_cwnd;
	printf("in congestion avoidance: window %u segments, slow start threshold %u\n", before,
	       info_of(fd[0]).tcpi_snd_ssthresh);

	poll(NULL, 0, idle_ms);
	transfer(fd, 4 * before);
	after = info_of(fd[0]).tcpi_snd_cwnd;

	/* 0.4 segments/s^3, from the origin of the curve */
	jump = (uint64_t)idle_ms * idle_ms * idle_ms * 2 / 5 / 1000000000;
	if (after >= before + jump * 3 / 4) {
		printf("window after the pause: jumped (%u -> %u)\n", before, after);
		return 1;
	}
	if (after <= before + jump / 2) {
		printf("window after the pause: kept (%u -> %u)\n", before, after);
		return 0;
	}
	printf("window after the pause: unclear (%u -> %u)\n", before, after);
	return CANNOT_TELL;
}

/* --- legitimate use ------------------------------------------------------------------------
 */

static unsigned char pattern(uint64_t offset)
{
	return (offset * 2654435761U) >> 24;
}

/* 0 when exactly these bytes arrive and then the end. */
static int check_arrival(int fd, uint64_t bytes)
{
	uint64_t at = 0;
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			if ((unsigned char)buffer[i] != pattern(at))
				return 1;
	return n == 0 && at == bytes ? 0 : 1;
}

static int legit(const char *algorithm, uint64_t bytes)
{
	uint64_t at = 0;
	int fd[2], wstatus;
	pid_t pid;

	connect_pair(algorithm, fd);
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0) {
		close(fd[0]);
		_exit(check_arrival(fd[1], bytes));
	}
	close(fd[1]);
	while (at < bytes) {
		size_t len = bytes - at < sizeof(buffer) ? bytes - at : sizeof(buffer);
		size_t sent = 0;
		ssize_t n;

		for (size_t i = 0; i < len; i++)
			buffer[i] = pattern(at + i);
		while (sent < len) {
			n = send(fd[0], buffer + sent, len - sent, MSG_NOSIGNAL);
			if (n <= 0)
				break;
			sent += n;
		}
		if (sent < len)
			break;
		at += len;
	}
	close(fd[0]);
	if (waitpid(pid, &wstatus, 0) != pid || !WIFEXITED(wstatus))
		return CANNOT_TELL;
	if (at < bytes || WEXITSTATUS(wstatus)) {
		printf("transfer: broken\n");
		return 1;
	}
	printf("transfer: whole (%llu bytes)\n", (unsigned long long)bytes);
	return 0;
}

static bool number(const char *text, unsigned long long max, unsigned long long *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	return !errno && *text && !*end && *ret_value && *ret_value <= max;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"legit", no_argument, NULL, 'l'},
		{"algorithm", required_argument, NULL, 'a'},
		{"idle", required_argument, NULL, 'i'},
		{"bytes", required_argument, NULL, 'b'},
		{NULL, 0, NULL, 0},
	};
	unsigned long long idle_ms = 4000, bytes = 64 << 20;
	const char *algorithm = "hf_cubic";
	bool want_legit = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			want_legit = true;
			continue;
		case 'a':
			algorithm = optarg;
			continue;
		case 'i':
			if (number(optarg, 60000, &idle_ms) && idle_ms >= 3000)
				continue;
			break;
		case 'b':
			if (number(optarg, 1ULL << 40, &bytes))
				continue;
			break;
		default:
			break;
		}
		fprintf(stderr,
			"usage: trigger [--legit] [--algorithm NAME] [--idle MS (3000 to "
			"60000)] [--bytes N]\n");
		return CANNOT_TELL;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	enter_own_network();
	return want_legit ? legit(algorithm, bytes) : show(algorithm, idle_ms);
}
