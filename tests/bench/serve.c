// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/bench/serve.c CONNECTIONS ROUNDS -- agents that long-poll over mutual TLS, and are all
 * woken at once: a listener of the controller against a bare evhttp with the same TLS, which
 * keeps the requests in an array and answers them in a loop. Each server and its clients are
 * processes of their own; all are there at once, and rounds take turns.
 *
 * One JSON line on stdout. wake: until the last client has its answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "server/controller/ca.h"
#include "server/controller/park.h"
#include "server/controller/serve.h"

#define ROUNDS_MAX 64
#define ANSWER	   "{\"end\":\"woken\"}"

static char folder[] = "/tmp/hotfixd-bench-XXXXXX";
static pid_t parent;
static size_t n_connections, n_rounds;

#define must(condition)                                                               \
	do {                                                                          \
		if (!(condition)) {                                                   \
			fprintf(stderr, "serve: %s:%d: %s: %s\n", __FILE__, __LINE__, \
				#condition, strerror(errno));                         \
			exit(1);                                                      \
		}                                                                     \
	} while (0)

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
	return p;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void clean(void)
{
	if (getpid() == parent)
		nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- certificates --------------------------------------------------------------------------- */

static void make_certificates(void)
{
	static const char host[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	static const char *const names[] = {"127.0.0.1"};
	uint64_t now_s = clock_real_ms() / 1000;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *pem;
	struct ca *ca;
	FILE *f;
	long len;

	must(ca_new(path_of("ca"), "bench", now_s, 86400, NULL) == 0);
	must(ca_load(path_of("ca"), &ca, NULL) == 0);
	must(ca_sign_server(ca, names, 1, path_of("listener"), now_s, 86400, NULL) == 0);
	must(X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256()) &&
	     PEM_write_bio_X509_REQ(bio, req));
	len = BIO_get_mem_data(bio, &text);
	must(ca_sign(ca, CA_HOST, host, text, (size_t)len, now_s, 86400, &pem, NULL) == 0);
	must(io_write_file(path_of("agent.crt"), pem, strlen(pem), 0644) == 0);
	f = fopen(path_of("agent.key"), "we");
	must(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
	ca_free(ca);
}

/* ---- the two servers -------------------------------------------------------------------------- */

static struct event_base *base;
static struct park *park;
static SSL_CTX *bare_context;
static struct evhttp_request **bare_parked;
static size_t bare_n;

static void on_end(struct evhttp_request *req, enum park_end why, void *cookie)
{
	(void)why, (void)cookie;
	if (req)
		serve_answer_bytes(req, 200, "application/json", ANSWER, strlen(ANSWER));
}

static void on_request(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	(void)peer, (void)cookie;
	must(park_wait(park, req, evhttp_request_get_uri(req), 3600000, on_end, NULL, NULL) ==
	     0);
}

static uint16_t start_ours(void)
{
	struct serve_opts opts = {.name = "bench",
				  .address = "127.0.0.1",
				  .tls = {path_of("listener.crt"), path_of("listener.key"),
					  path_of("ca.crt"), TLS_CLIENT_REQUIRED, CA_HOST},
				  .limits = SERVE_LIMITS_AGENTS,
				  .request = on_request};
	struct serve *serve;

	opts.limits.peer_max = opts.limits.connections_max = 100000;
	opts.limits.accepts_per_s = 100000;
	must(serve_new(base, &opts, &serve, NULL) == 0);
	must(park_new(base, n_connections, &park) == 0);
	return serve_port(serve);
}

static struct bufferevent *on_bare_accept(struct event_base *b, void *cookie)
{
	(void)cookie;
	return bufferevent_openssl_socket_new(b, -1, SSL_new(bare_context),
					      BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

static void on_bare_request(struct evhttp_request *req, void *cookie)
{
	(void)cookie;
	bare_parked[bare_n++] = req;
}

static uint16_t start_bare(void)
{
	struct evhttp *http = evhttp_new(base);
	struct evhttp_bound_socket *bound;
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	bare_parked = calloc(n_connections, sizeof(*bare_parked));
	bare_context = SSL_CTX_new(TLS_server_method());
	must(SSL_CTX_set_min_proto_version(bare_context, TLS1_3_VERSION));
	SSL_CTX_set_num_tickets(bare_context, 0);
	SSL_CTX_set_mode(bare_context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(bare_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   NULL);
	must(SSL_CTX_load_verify_file(bare_context, path_of("ca.crt")) == 1);
	must(SSL_CTX_use_certificate_chain_file(bare_context, path_of("listener.crt")) == 1);
	must(SSL_CTX_use_PrivateKey_file(bare_context, path_of("listener.key"),
					 SSL_FILETYPE_PEM) == 1);
	evhttp_set_bevcb(http, on_bare_accept, NULL);
	evhttp_set_gencb(http, on_bare_request, NULL);
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	must(bound);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&sin, &len);
	return ntohs(sin.sin_port);
}

static void wake_bare(void)
{
	size_t n = bare_n;

	bare_n = 0;
	for (size_t i = 0; i < n; i++) {
		struct evbuffer *b = evbuffer_new();

		evbuffer_add(b, ANSWER, strlen(ANSWER));
		evhttp_add_header(evhttp_request_get_output_headers(bare_parked[i]),
				  "Content-Type", "application/json");
		evhttp_add_header(evhttp_request_get_output_headers(bare_parked[i]),
				  "X-Content-Type-Options", "nosniff");
		evhttp_send_reply(bare_parked[i], 200, NULL, b);
		evbuffer_free(b);
	}
}

/* Commands of the parent: each is a byte, answered by a number. */
static void on_command(evutil_socket_t fd, short what, void *cookie)
{
	int reply = *(int *)cookie;
	struct rusage usage;
	uint64_t value = 0;
	char command, line[128];

	(void)what;
	if (read(fd, &command, 1) != 1)
		exit(0);
	switch (command) {
	case 'n':
		value = park ? park_count(park) : bare_n;
		break;
	case 'm':
		must(io_read_line("/proc/self/statm", line, sizeof(line)) == 0);
		value = strtoull(strchr(line, ' '), NULL, 10) * 4096;
		break;
	case 'c':
		getrusage(RUSAGE_SELF, &usage);
		value = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
		break;
	case 'w':
		value = clock_mono_ns();
		if (park)
			park_wake_all(park);
		else
			wake_bare();
		break;
	}
	must(write(reply, &value, sizeof(value)) == sizeof(value));
}

static void run_server(bool ours, int command, int reply)
{
	uint64_t port;

	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	port = ours ? start_ours() : start_bare();
	must(write(reply, &port, sizeof(port)) == sizeof(port));
	event_add(event_new(base, command, EV_READ | EV_PERSIST, on_command, &reply), NULL);
	event_base_dispatch(base);
	exit(0);
}

/* ---- the clients ------------------------------------------------------------------------------ */

static SSL *connect_one(SSL_CTX *context, uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(context);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
	must(SSL_set_fd(ssl, fd) && SSL_connect(ssl) == 1);
	return ssl;
}

static void poll_again(SSL *ssl, size_t i)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "GET /host-%zu HTTP/1.1\r\nHost: x\r\n\r\n", i);

	must(SSL_write(ssl, text, len) == len);
}

static void read_answer(SSL *ssl)
{
	char text[1024];
	size_t len = 0;

	do {
		int r = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));

		must(r > 0);
		len += (size_t)r;
		text[len] = 0;
	} while (!strstr(text, ANSWER));
}

/* A time for each round: when the last answer was there. */
static void run_clients(uint16_t port, int reply)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL **ssl = calloc(n_connections, sizeof(SSL *));
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t now;

	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	must(SSL_CTX_use_certificate_file(context, path_of("agent.crt"), SSL_FILETYPE_PEM) ==
	     1);
	must(SSL_CTX_use_PrivateKey_file(context, path_of("agent.key"), SSL_FILETYPE_PEM) == 1);
	for (size_t i = 0; i < n_connections; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};

		ssl[i] = connect_one(context, port);
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, SSL_get_fd(ssl[i]), &e) == 0);
		poll_again(ssl[i], i);
	}
	now = clock_mono_ns();
	must(write(reply, &now, sizeof(now)) == sizeof(now));
	for (size_t round = 0; round < n_rounds; round++) {
		for (size_t left = n_connections; left;) {
			int n = epoll_wait(epoll, events, 64, -1);

			for (int k = 0; k < n; k++) {
				read_answer(ssl[events[k].data.u64]);
				left--;
			}
		}
		now = clock_mono_ns();
		must(write(reply, &now, sizeof(now)) == sizeof(now));
		for (size_t i = 0; i < n_connections; i++)
			poll_again(ssl[i], i);
	}
	pause();
}

/* ---- the parent --------------------------------------------------------------------------------- */

struct side {
	pid_t server, clients;
	int command, reply, times;
	uint64_t bytes, connect_ns, wake_us[ROUNDS_MAX], cpu_us[ROUNDS_MAX];
};

static uint64_t number(int fd)
{
	uint64_t value;

	must(read(fd, &value, sizeof(value)) == sizeof(value));
	return value;
}

static uint64_t tell(struct side *s, char command)
{
	must(write(s->command, &command, 1) == 1);
	return number(s->reply);
}

static void until_parked(struct side *s)
{
	while (tell(s, 'n') < n_connections)
		usleep(10000);
}

static void start(struct side *s, bool ours)
{
	int command[2], reply[2], times[2];
	uint64_t before, from;
	uint16_t port;

	must(pipe(command) == 0 && pipe(reply) == 0 && pipe(times) == 0);
	s->server = fork();
	if (s->server == 0) {
		close(command[1]);
		run_server(ours, command[0], reply[1]);
	}
	s->command = command[1];
	s->reply = reply[0];
	s->times = times[0];
	port = (uint16_t)number(s->reply);
	before = tell(s, 'm');
	from = clock_mono_ns();
	s->clients = fork();
	if (s->clients == 0)
		run_clients(port, times[1]);
	close(command[0]);
	close(reply[1]);
	close(times[1]);
	s->connect_ns = number(s->times) - from;
	until_parked(s);
	s->bytes = (tell(s, 'm') - before) / n_connections;
}

static void wake(struct side *s, size_t round)
{
	uint64_t cpu = tell(s, 'c'), from;

	from = tell(s, 'w');
	s->wake_us[round] = (number(s->times) - from) / 1000;
	s->cpu_us[round] = tell(s, 'c') - cpu;
	until_parked(s);
}

static void stop(struct side *s)
{
	kill(s->clients, SIGKILL);
	kill(s->server, SIGKILL);
	waitpid(s->clients, NULL, 0);
	waitpid(s->server, NULL, 0);
}

static int compare(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : 1;
}

static double median(uint64_t *values)
{
	qsort(values, n_rounds, sizeof(*values), compare);
	return (double)values[n_rounds / 2];
}

int main(int argc, char **argv)
{
	struct side ours = {0}, bare = {0};
	struct utsname uts;
	struct rlimit files;
	double wake_us, bare_us, cpu_us, bare_cpu_us;
	json_t *doc;

	n_connections = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	n_rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	if (!n_connections || !n_rounds || n_rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: serve CONNECTIONS ROUNDS\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	uname(&uts);
	parent = getpid();
	must(mkdtemp(folder));
	atexit(clean);
	make_certificates();
	start(&ours, true);
	start(&bare, false);
	for (size_t i = 0; i < n_rounds; i++) {
		wake(&ours, i);
		wake(&bare, i);
	}
	stop(&ours);
	stop(&bare);
	wake_us = median(ours.wake_us);
	bare_us = median(bare.wake_us);
	cpu_us = median(ours.cpu_us);
	bare_cpu_us = median(bare.cpu_us);
	doc = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
		"bench", "serve", "kernel", uts.release, "connections",
		(json_int_t)n_connections, "rounds", (json_int_t)n_rounds,
		"bytes_per_connection", (json_int_t)ours.bytes, "bare_bytes_per_connection",
		(json_int_t)bare.bytes, "bytes_to_bare_ratio",
		(double)ours.bytes / (double)bare.bytes, "connects_per_s",
		1e9 * (double)n_connections / (double)ours.connect_ns, "wake_ms_median",
		wake_us / 1000, "bare_wake_ms_median", bare_us / 1000, "wake_to_bare_ratio",
		wake_us / bare_us, "wake_cpu_us_each", cpu_us / (double)n_connections,
		"bare_wake_cpu_us_each", bare_cpu_us / (double)n_connections,
		"wake_cpu_to_bare_ratio", cpu_us / bare_cpu_us);
	must(doc);
	json_dumpf(doc, stdout, JSON_COMPACT | JSON_REAL_PRECISION(4));
	putchar('\n');
	json_decref(doc);
	return 0;
}
