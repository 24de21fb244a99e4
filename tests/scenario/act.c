// SPDX-License-Identifier: BSD-2-Clause
/*
 * act -- what a scenario does to the kernel, and what it sees there.
 *
 *	act [--uid N] [--times N] DEED...	does each, prints "ok" or the errno's name
 *	act [--uid N] until MS RESULT DEED	repeats DEED until it gives RESULT ("EACCES")
 *	act [--uid N] hammer DEED		repeats DEED until SIGTERM, prints how often
 *						which result came: {"ok":N,"EACCES":N,"other":N}
 *	act wait MS PID				until that process has ended
 *	act hold CC				one TCP connection over loopback; every line "N"
 *						on stdin sends N KiB, prints {"cc","cwnd","sent"}
 *	act listen CC				a socket that listens; for every line on stdin it
 *						is connected to, and its algorithm and that of
 *						the accepted socket are printed
 *	act maps NAME...			contents of all maps of each name, oldest first,
 *						per CPU values summed: "NAME 1,2|0,0"
 *	act field FILE PATH...			values in a JSON document, on one line; a PATH is
 *						.key [2] [-1] [key=value] [] .# (length); "-" is
 *						for what is null or not there
 *	act census				what the kernel holds: {"programs","maps","links"}
 *	act unregister PIN			takes off a congestion control, by map or link
 *	act tamper GATE WORD			stores WORD into the gate pinned as GATE
 *	act activate UID PATH COMMAND...	as systemd does for a socket of packets with
 *						Accept=yes: each connection is COMMAND's stdin;
 *						the socket is that user's alone
 *
 * Deeds: getpgid getsid getscheduler nice=N statfs fallocate mmap rmdir=PATH exec bind tcp=CC
 *	  testrun (bpf_fentry_test1) modify=RESULT (bpf_modify_return_test)
 *
 * A wait that takes longer than MS ends with exit status 3; a deed that failed, with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>
#include <linux/if_alg.h>
#include <linux/tcp.h>

#include "bpf/gate.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "tests/scenario/maps.bpf.h"

#define TCP_KIB	      256
#define EXIT_TOO_LATE 3

static volatile sig_atomic_t stopped;

static void on_term(int signo)
{
	(void)signo;
	stopped = 1;
}

/* ---- TCP over loopback ------------------------------------------------------ */

struct connection {
	int client, server;
	pthread_t drain;
};

static void *drain(void *cookie)
{
	const struct connection *c = cookie;
	char buf[65536];

	while (read(c->server, buf, sizeof(buf)) > 0)
		;
	return NULL;
}

static int connection_open(struct connection *c, const char *cc)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	AUTO_CLOSE int listener = -1;

	c->client = c->server = -1;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&addr, &len))
		return -errno;
	c->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->client < 0)
		return -errno;
	if (*cc && setsockopt(c->client, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)))
		return -errno;
	if (connect(c->client, (struct sockaddr *)&addr, len))
		return -errno;
	c->server = accept(listener, NULL, NULL);
	if (c->server < 0)
		return -errno;
	return -pthread_create(&c->drain, NULL, drain, c);
}

static int connection_send(struct connection *c, unsigned int kib)
{
	static const char block[1024];
	int outq = 1;

	for (unsigned int i = 0; i < kib; i++)
		for (size_t done = 0; done < sizeof(block);) {
			ssize_t n = write(c->client, block + done, sizeof(block) - done);

			if (n < 0)
				return -errno;
			done += n;
		}
	/* What was sent has an effect on the congestion control once it is acknowledged. */
	for (uint64_t end = clock_mono_ns() + 5000000000ULL; outq > 0;) {
		struct tcp_info info;
		socklen_t len = sizeof(info);

		if (getsockopt(c->client, IPPROTO_TCP, TCP_INFO, &info, &len))
			return -errno;
		outq = info.tcpi_unacked + info.tcpi_notsent_bytes;
		if (clock_mono_ns() > end)
			return -ETIME;
		sched_yield();
	}
	return 0;
}

static void connection_close(struct connection *c)
{
	if (c->client >= 0)
		shutdown(c->client, SHUT_RDWR);
	if (c->server >= 0) {
		pthread_join(c->drain, NULL);
		close(c->server);
	}
	if (c->client >= 0)
		close(c->client);
}

/* ---- deeds: 0 or -errno ----------------------------------------------------- */

static int do_getpgid(const char *arg)
{
	(void)arg;
	return getpgid(getpid()) < 0 ? -errno : 0;
}

static int do_getsid(const char *arg)
{
	(void)arg;
	return getsid(getpid()) < 0 ? -errno : 0;
}

static int do_getscheduler(const char *arg)
{
	(void)arg;
	return sched_getscheduler(0) < 0 ? -errno : 0;
}

static int do_nice(const char *arg)
{
	return setpriority(PRIO_PROCESS, 0, atoi(arg)) ? -errno : 0;
}

static int do_statfs(const char *arg)
{
	struct statfs s;

	(void)arg;
	return statfs("/", &s) ? -errno : 0;
}

static int do_fallocate(const char *arg)
{
	AUTO_CLOSE int fd = memfd_create("act", MFD_CLOEXEC);

	(void)arg;
	return fd < 0 || fallocate(fd, 0, 0, 4096) ? -errno : 0;
}

static int do_mmap(const char *arg)
{
	void *p =
		mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)arg;
	return p == MAP_FAILED || munmap(p, 4096) ? -errno : 0;
}

static int do_rmdir(const char *arg)
{
	return rmdir(arg) ? -errno : 0;
}

static int do_exec(const char *arg)
{
	int status;
	pid_t pid = fork();

	(void)arg;
	if (pid == 0) {
		execl("/proc/self/exe", "act", "nothing", NULL);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int do_nothing(const char *arg)
{
	(void)arg;
	return 0;
}

static int do_bind(const char *arg)
{
	struct sockaddr_alg sa = {
		.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
	AUTO_CLOSE int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)arg;
	return fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
}

static int do_tcp(const char *arg)
{
	struct connection c;
	char cc[16] = "";
	socklen_t len = sizeof(cc);
	int r;

	r = connection_open(&c, arg);
	if (r == 0)
		r = connection_send(&c, TCP_KIB);
	if (r == 0 && getsockopt(c.client, IPPROTO_TCP, TCP_CONGESTION, cc, &len))
		r = -errno;
	if (r == 0 && *arg && strcmp(arg, cc) != 0)
		r = -ENOMSG;
	connection_close(&c);
	return r;
}

/* Loads a program that does nothing; to test-run it makes the kernel call its own functions. */
static int test_run(enum bpf_attach_type type, const char *target, __u32 *ret_retval)
{
	const struct bpf_insn insns[] = {
		{.code = 0xb7, .dst_reg = 0},
		{.code = 0x95},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type);
	LIBBPF_OPTS(bpf_test_run_opts, run);
	AUTO_CLOSE int fd = -1;
	int r;

	r = libbpf_find_vmlinux_btf_id(target, type);
	if (r < 0)
		return r;
	opts.attach_btf_id = r;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "act_test_run", "GPL", insns, 2, &opts);
	if (fd < 0)
		return fd;
	r = bpf_prog_test_run_opts(fd, &run);
	*ret_retval = run.retval;
	return r;
}

static int do_testrun(const char *arg)
{
	__u32 retval;

	(void)arg;
	return test_run(BPF_TRACE_FENTRY, "bpf_fentry_test1", &retval);
}

/* bpf_modify_return_test(1, &b) gives b + 1 and sets b = 2: 4 | 1 << 16 as the kernel reports.
 */
static int do_modify(const char *arg)
{
	__u32 retval = 0;
	int r = test_run(BPF_MODIFY_RETURN, "bpf_modify_return_test", &retval);

	if (r < 0)
		return r;
	if ((int)retval == atoi(arg))
		return 0;
	fprintf(stderr, "act: the answer was %d\n", (int)retval);
	return -ENOMSG;
}

static const struct deed {
	const char *name;
	int (*act)(const char *arg);
} deeds[] = {
	{"getpgid", do_getpgid}, {"getsid", do_getsid}, {"getscheduler", do_getscheduler},
	{"nice", do_nice},	 {"statfs", do_statfs}, {"fallocate", do_fallocate},
	{"rmdir", do_rmdir},	 {"exec", do_exec},	{"nothing", do_nothing},
	{"bind", do_bind},	 {"tcp", do_tcp},	{"testrun", do_testrun},
	{"modify", do_modify},	 {"mmap", do_mmap},
};

static int usage(void)
{
	fputs("usage: act [--uid N] [--times N] DEED... | until MS RESULT DEED | hammer DEED |\n"
	      "       wait MS PID | hold CC | listen CC | maps NAME... | census | unregister PIN |\n"
	      "       tamper GATE WORD | activate UID PATH COMMAND... |\n"
	      "       notified MS PATH | pour SOCKET | idle N SOCKET |\n"
	      "       field FILE PATH...\n",
	      stderr);
	return 2;
}

static const struct deed *find_deed(const char *word, const char **ret_arg)
{
	size_t len = word ? strcspn(word, "=") : 0;

	for (size_t i = 0; i < ARRAY_SIZE(deeds); i++)
		if (strlen(deeds[i].name) == len && strncmp(deeds[i].name, word, len) == 0) {
			*ret_arg = word[len] ? word + len + 1 : "";
			return &deeds[i];
		}
	exit(usage());
}

static const char *result_name(int r)
{
	const char *name = r ? strerrorname_np(-r) : "ok";

	return name ? name : "?";
}

static int each(char **words, unsigned long times)
{
	int status = 0;

	for (; *words; words++) {
		const char *arg;
		const struct deed *d = find_deed(*words, &arg);
		int r = 0;

		for (unsigned long i = 0; i < times && r == 0; i++)
			r = d->act(arg);
		puts(result_name(r));
		fflush(stdout);
		if (r)
			status = 1;
	}
	return status;
}

static int until(char **argv)
{
	uint64_t start = clock_mono_ns(), end;
	const char *arg, *want = argv[1];
	const struct deed *d;

	if (!argv[0] || !argv[1])
		return usage();
	d = find_deed(argv[2], &arg);
	end = start + strtoull(argv[0], NULL, 10) * 1000000;
	for (;;) {
		const char *got = result_name(d->act(arg));
		uint64_t now = clock_mono_ns();

		if (strcmp(got, want) == 0) {
			printf("%llu\n", (unsigned long long)(now - start) / 1000000);
			return 0;
		}
		if (now > end) {
			fprintf(stderr, "still %s after %s ms\n", got, argv[0]);
			return EXIT_TOO_LATE;
		}
		sched_yield();
	}
}

static int hammer(const char *word)
{
	unsigned long long ok = 0, eacces = 0, other = 0;
	const char *arg;
	const struct deed *d = find_deed(word, &arg);

	signal(SIGTERM, on_term);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		int r = d->act(arg);

		if (r == 0)
			ok++;
		else if (r == -EACCES)
			eacces++;
		else
			other++;
	}
	printf("{\"ok\":%llu,\"EACCES\":%llu,\"other\":%llu}\n", ok, eacces, other);
	return 0;
}

static int wait_for(char **argv)
{
	struct pollfd p = {.events = POLLIN};
	AUTO_CLOSE int fd = -1;

	if (!argv[0] || !argv[1])
		return usage();
	fd = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	if (fd < 0) /* EINVAL: it went while the kernel looked */
		return errno == ESRCH || errno == EINVAL ? 0 : 1;
	p.fd = fd;
	return poll(&p, 1, atoi(argv[0])) == 1 ? 0 : EXIT_TOO_LATE;
}

static int hold(const char *cc)
{
	struct connection c;
	char line[64];
	int r;

	if (!cc)
		return usage();
	r = connection_open(&c, cc);
	if (r < 0) {
		puts(result_name(r));
		connection_close(&c);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		struct tcp_info info;
		socklen_t len = sizeof(info), name_len = 16;
		char name[17] = "";

		r = connection_send(&c, strtoul(line, NULL, 10));
		if (r < 0 || getsockopt(c.client, IPPROTO_TCP, TCP_INFO, &info, &len) ||
		    getsockopt(c.client, IPPROTO_TCP, TCP_CONGESTION, name, &name_len))
			break;
		printf("{\"cc\":\"%s\",\"cwnd\":%u,\"sent\":%lu}\n", name, info.tcpi_snd_cwnd,
		       strtoul(line, NULL, 10));
		fflush(stdout);
	}
	connection_close(&c);
	return r < 0 ? 1 : 0;
}

static const char *cc_of(int fd, char name[17])
{
	socklen_t len = 16;

	memset(name, 0, 17);
	return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) ? "?" : name;
}

static int listens(const char *cc)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTO_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);
	char line[64], names[2][17];

	if (!cc || setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)) ||
	    bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		return 1;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		AUTO_CLOSE int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		AUTO_CLOSE int accepted = -1;

		if (connect(client, (struct sockaddr *)&addr, len))
			return 1;
		accepted = accept(listener, NULL, NULL);
		printf("%s %s\n", cc_of(listener, names[0]), cc_of(accepted, names[1]));
		fflush(stdout);
	}
	return 0;
}

/* ---- what the kernel holds -------------------------------------------------- */

static bool is_per_cpu(__u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static void print_contents(int fd, const struct bpf_map_info *info)
{
	int cpus = is_per_cpu(info->type) ? libbpf_num_possible_cpus() : 1;
	size_t stride = (info->value_size + 7) & ~7U;
	AUTO_FREE void *key = calloc(1, info->key_size + 1);
	AUTO_FREE unsigned char *value = calloc(cpus, stride);
	bool first = true;

	if (!key || !value || info->value_size < sizeof(__u64))
		return;
	while (bpf_map_get_next_key(fd, first ? NULL : key, key) == 0) {
		__u64 sum = 0, v;

		if (bpf_map_lookup_elem(fd, key, value))
			continue;
		for (int i = 0; i < cpus; i++) {
			memcpy(&v, value + i * stride, sizeof(v));
			sum += v;
		}
		printf("%s%llu", first ? "" : ",", sum);
		first = false;
	}
	if (first)
		putchar('0');
}

/* What maps.bpf.c, which lies beside this program, says; -1 if it cannot. */
static int open_maps(struct bpf_object **ret_obj)
{
	struct bpf_link *link = NULL;
	char path[PATH_MAX] = "";
	int fd = -1;

	if (readlink("/proc/self/exe", path, sizeof(path) - 32) < 0)
		return -1;
	strcpy(strrchr(path, '/'), "/maps.bpf.o");
	*ret_obj = bpf_object__open_file(path, NULL);
	if (*ret_obj && bpf_object__load(*ret_obj) == 0)
		link = bpf_program__attach(bpf_object__next_program(*ret_obj, NULL));
	if (link)
		fd = bpf_iter_create(bpf_link__fd(link));
	bpf_link__destroy(link);
	return fd;
}

static struct maps_entry *list_maps(size_t *ret_n)
{
	AUTO_FREE char *list = NULL;
	struct bpf_object *obj = NULL;
	AUTO_CLOSE int fd = open_maps(&obj);
	size_t have = 0, room = 0;
	ssize_t n = -1;

	while (fd >= 0) {
		char *more = have < room ? list : realloc(list, room += 65536);

		if (!more)
			break;
		list = more;
		n = read(fd, list + have, room - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	bpf_object__close(obj);
	*ret_n = have / sizeof(struct maps_entry);
	return n == 0 ? (struct maps_entry *)take_ptr(list) : NULL;
}

static int maps(char **names)
{
	AUTO_FREE struct maps_entry *list = NULL;
	size_t n;

	list = list_maps(&n);
	if (!list) {
		fputs("act: the maps of the kernel cannot be listed\n", stderr);
		return 1;
	}
	for (; *names; names++) {
		bool first = true;

		printf("%s ", *names);
		for (size_t i = 0; i < n; i++) {
			AUTO_CLOSE int fd = -1;
			struct bpf_map_info info = {0};
			__u32 len = sizeof(info);

			if (strncmp(list[i].name, *names, sizeof(info.name) - 1) != 0)
				continue;
			fd = bpf_map_get_fd_by_id(list[i].id);
			if (fd < 0 || bpf_map_get_info_by_fd(fd, &info, &len))
				continue;
			printf("%s", first ? "" : "|");
			print_contents(fd, &info);
			first = false;
		}
		puts(first ? "-" : "");
	}
	return 0;
}

static int census(void)
{
	for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
		AUTO_CLOSE int fd = bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		if (fd >= 0 && bpf_prog_get_info_by_fd(fd, &info, &len) == 0)
			printf("program %u %s\n", id, info.name);
	}
	/*
	 * Maps by id only: closing the last descriptor of a PROG_ARRAY schedules the work that
	 * empties it and takes a reference for it, again while the work is still waiting, and
	 * gives back one. Looking too often makes a map stay for ever (seen on 6.18).
	 */
	for (__u32 id = 0; bpf_map_get_next_id(id, &id) == 0;)
		printf("map %u\n", id);
	for (__u32 id = 0; bpf_link_get_next_id(id, &id) == 0;) {
		AUTO_CLOSE int fd = bpf_link_get_fd_by_id(id);
		struct bpf_link_info info = {0};
		__u32 len = sizeof(info);

		if (fd >= 0 && bpf_link_get_info_by_fd(fd, &info, &len) == 0)
			printf("link %u of type %u\n", id, info.type);
	}
	return 0;
}

/* ---- JSON without the start-up time of jq, which emulated guests feel --------- */

static void print_value(const json_t *v, bool *spaced)
{
	AUTO_FREE char *text = NULL;

	if (*spaced)
		putchar(' ');
	*spaced = true;
	if (!v || json_is_null(v)) {
		putchar('-');
	} else if (json_is_string(v)) {
		fputs(json_string_value(v), stdout);
	} else {
		text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		fputs(text ? text : "?", stdout);
	}
}

static bool has_field(const json_t *v, const char *key, size_t key_len, const char *value,
		      size_t value_len)
{
	const json_t *f = json_object_getn(v, key, key_len);
	AUTO_FREE char *text = json_is_string(f) ? strdup(json_string_value(f))
						 : json_dumps(f, JSON_ENCODE_ANY);

	return text && strlen(text) == value_len && memcmp(text, value, value_len) == 0;
}

static void walk(const json_t *v, const char *path, bool *spaced)
{
	const char *end, *eq;
	const json_t *item;
	json_int_t n;
	size_t i;

	if (!*path) {
		print_value(v, spaced);
		return;
	}
	if (strncmp(path, ".#", 2) == 0) {
		printf("%s%zu", *spaced ? " " : "", json_array_size(v));
		*spaced = true;
		return;
	}
	if (*path == '.') {
		i = strcspn(++path, ".[");
		walk(json_object_getn(v, path, i), path + i, spaced);
		return;
	}
	end = strchr(++path, ']');
	if (!end)
		exit(usage());
	eq = memchr(path, '=', end - path);
	if (end != path && !eq) {
		n = atoll(path);
		if (n < 0)
			n += (json_int_t)json_array_size(v);
		walk(json_array_get(v, n), end + 1, spaced);
		return;
	}
	json_array_foreach(v, i, item) {
		if (eq && !has_field(item, path, eq - path, eq + 1, end - eq - 1))
			continue;
		walk(item, end + 1, spaced);
		if (eq)
			return;
	}
	if (eq)
		walk(NULL, end + 1, spaced);
}

static int field(char **argv)
{
	AUTO_JSON json_t *doc = NULL;
	bool spaced = false;
	json_error_t error;

	if (!argv[0])
		return usage();
	doc = strcmp(argv[0], "-") == 0 ? json_loadf(stdin, JSON_DECODE_ANY, &error)
					: json_load_file(argv[0], JSON_DECODE_ANY, &error);
	if (!doc) {
		fprintf(stderr, "act: %s: %s\n", argv[0], error.text);
		return 1;
	}
	for (argv++; *argv; argv++)
		walk(doc, *argv, &spaced);
	putchar('\n');
	return 0;
}

/* ---- sockets of a daemon ---------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	strcpy(addr.sun_path, path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -1 : fd;
}

static int pour(const char *path)
{
	AUTO_CLOSE int fd = connect_to(path);
	char buf[4096];
	ssize_t n;

	if (fd < 0)
		return 1;
	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (write(fd, buf, n) != n)
			break;
	shutdown(fd, SHUT_WR);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, n, stdout);
	return 0;
}

static int idle(char **argv)
{
	if (!argv[0])
		return usage();
	for (int i = atoi(argv[0]); i > 0; i--)
		if (connect_to(argv[1]) < 0)
			return 1;
	puts("ready");
	fflush(stdout);
	pause();
	return 0;
}

static int notified(char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct pollfd p = {.events = POLLIN};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[4096];

	if (!argv[0] || !argv[1] || strlen(argv[1]) >= sizeof(addr.sun_path))
		return usage();
	strcpy(addr.sun_path, argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 1;
	p.fd = fd;
	while (poll(&p, 1, atoi(argv[0])) == 1) {
		ssize_t n = read(fd, text, sizeof(text) - 1);

		text[n > 0 ? n : 0] = 0;
		puts(text);
		fflush(stdout);
		if (strstr(text, "STOPPING=1"))
			return 0;
	}
	return EXIT_TOO_LATE;
}

static int unregister(const char *pin)
{
	AUTO_CLOSE int fd = -1;
	__u32 zero = 0;

	if (!pin)
		return usage();
	fd = bpf_obj_get(pin);
	return fd < 0 || (bpf_map_delete_elem(fd, &zero) && bpf_link_detach(fd)) ? 1 : 0;
}

/* What somebody with bpftool might do: the gate shows another version. */
static int tamper(char **argv)
{
	struct gate_value value;
	AUTO_CLOSE int fd = -1;
	__u32 zero = 0;

	if (!argv[0] || !argv[1])
		return usage();
	fd = bpf_obj_get(argv[0]);
	if (fd < 0 || bpf_map_lookup_elem(fd, &zero, &value))
		return 1;
	value.word = strtoul(argv[1], NULL, 10);
	return bpf_map_update_elem(fd, &zero, &value, BPF_EXIST) ? 1 : 0;
}

static int activate(char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (!argv[0] || !argv[1] || !argv[2] || strlen(argv[1]) >= sizeof(addr.sun_path))
		return usage();
	strcpy(addr.sun_path, argv[1]);
	umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 4) ||
	    chown(argv[1], (uid_t)atoi(argv[0]), (gid_t)-1))
		return 1;
	umask(022);
	for (;;) {
		AUTO_CLOSE int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (peer >= 0 && fork() == 0) {
			dup2(peer, STDIN_FILENO);
			signal(SIGPIPE, SIG_DFL);
			execvp(argv[2], argv + 2);
			_exit(127);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long times = 1;

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	for (argv++; argv[0] && argv[1] && strncmp(argv[0], "--", 2) == 0; argv += 2) {
		if (strcmp(argv[0], "--uid") == 0) {
			uid_t uid = strtoul(argv[1], NULL, 10);

			if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) {
				perror("act: cannot become that user");
				return 1;
			}
		} else if (strcmp(argv[0], "--times") == 0) {
			times = strtoul(argv[1], NULL, 10);
		} else {
			return usage();
		}
	}
	if (!argv[0])
		return usage();
	if (strcmp(argv[0], "until") == 0)
		return until(argv + 1);
	if (strcmp(argv[0], "hammer") == 0)
		return hammer(argv[1]);
	if (strcmp(argv[0], "wait") == 0)
		return wait_for(argv + 1);
	if (strcmp(argv[0], "hold") == 0)
		return hold(argv[1]);
	if (strcmp(argv[0], "listen") == 0)
		return listens(argv[1]);
	if (strcmp(argv[0], "maps") == 0)
		return maps(argv + 1);
	if (strcmp(argv[0], "field") == 0)
		return field(argv + 1);
	if (strcmp(argv[0], "census") == 0)
		return census();
	if (strcmp(argv[0], "unregister") == 0)
		return unregister(argv[1]);
	if (strcmp(argv[0], "tamper") == 0)
		return tamper(argv + 1);
	if (strcmp(argv[0], "pour") == 0)
		return pour(argv[1]);
	if (strcmp(argv[0], "idle") == 0)
		return idle(argv + 1);
	if (strcmp(argv[0], "notified") == 0)
		return notified(argv + 1);
	if (strcmp(argv[0], "activate") == 0)
		return activate(argv + 1);
	return each(argv, times);
}
