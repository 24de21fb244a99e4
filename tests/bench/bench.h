// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/bench/bench.h -- what the benchmarks share: their output, rounds and what is made of
 * them, objects loaded the hotfixd way and the bare libbpf way, and the hammer, which calls
 * and checks every single call.
 *
 * Output     one JSON object per line on stdout (bench_print), words on stderr.
 * Errors     a measurement that cannot be trusted ends the program (bench_die): better no
 *            number than a wrong one.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>
#include <netinet/tcp.h>

#include "bpf/audit.h"
#include "bpf/engine.h"
#include "bpf/gate.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "tests/bench/hit.bpf.h"

#ifndef BPF_F_LINK /* of an older <linux/bpf.h> */
#define BPF_F_LINK (1U << 13)
#endif

#define BENCH_THREADS	 2
#define BENCH_ALLOWED	 4 /* a slot whose calls are seen and allowed */
#define BENCH_TRAFFIC	 6 /* the slot of a socket that is not switched by setsockopt() */
#define BENCH_ROUNDS_MAX 64
#define BENCH_NAME	 "bench" /* of the hot-fix */

_Static_assert(BENCH_THREADS <= HIT_DENIED && BENCH_ALLOWED >= HIT_DENIED, "slots");

/* ---- output ------------------------------------------------------------------- */

static const char *bench_program;
static void (*bench_cleanup)(void); /* what must not outlive the program */

static inline __attribute__((format(printf, 1, 2))) void bench_note(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", bench_program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

#define bench_die(...)                                  \
	do {                                            \
		void (*cleanup_)(void) = bench_cleanup; \
                                                        \
		bench_note(__VA_ARGS__);                \
		bench_cleanup = NULL;                   \
		if (cleanup_)                           \
			cleanup_();                     \
		exit(1);                                \
	} while (0)

static inline const char *bench_kernel(void)
{
	static struct utsname u;

	uname(&u);
	return u.release;
}

static inline bool bench_kernel_before(int major, int minor)
{
	int a = 0, b = 0;

	if (sscanf(bench_kernel(), "%d.%d", &a, &b) != 2)
		bench_die("what kernel is %s?", bench_kernel());
	return a < major || (a == major && b < minor);
}

/* {"bench":...,"kernel":...} and then what more has; consumes more. */
static inline void bench_print(const char *bench, json_t *more)
{
	AUTO_JSON json_t *line = NULL;
	AUTO_FREE char *text = NULL;

	line = json_pack("{ss ss}", "bench", bench, "kernel", bench_kernel());
	if (!line || !more || json_object_update(line, more) < 0)
		bench_die("a line could not be made");
	json_decref(more);
	text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
	if (!text)
		bench_die("a line could not be made");
	puts(text);
	fflush(stdout);
}

/* ---- rounds --------------------------------------------------------------------- */

struct bench_rounds {
	double value[BENCH_ROUNDS_MAX];
	size_t n;
};

static inline void bench_add(struct bench_rounds *r, double value)
{
	if (r->n == BENCH_ROUNDS_MAX)
		bench_die("too many rounds");
	r->value[r->n++] = value;
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double bench_median(const struct bench_rounds *r)
{
	struct bench_rounds s = *r;

	if (!s.n)
		bench_die("a median of nothing");
	qsort(s.value, s.n, sizeof(s.value[0]), bench_compare);
	return s.n % 2 ? s.value[s.n / 2] : (s.value[s.n / 2 - 1] + s.value[s.n / 2]) / 2;
}

static inline double bench_min(const struct bench_rounds *r)
{
	double min = r->n ? r->value[0] : 0;

	for (size_t i = 1; i < r->n; i++)
		if (r->value[i] < min)
			min = r->value[i];
	return min;
}

static inline double bench_max(const struct bench_rounds *r)
{
	double max = r->n ? r->value[0] : 0;

	for (size_t i = 1; i < r->n; i++)
		if (r->value[i] > max)
			max = r->value[i];
	return max;
}

static inline double bench_ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

/* ---- objects ---------------------------------------------------------------------- */

struct bench_object {
	char path[256];
	uint8_t *elf;
	size_t len;
	struct audit audit;
};

/* tests/bench/hit_<hook>_<version>.bpf.c, as built */
static inline void bench_object(struct bench_object *o, const char *hook, int version)
{
	const char *b = getenv("B");
	struct fail fail = {0};
	int r;

	snprintf(o->path, sizeof(o->path), "%s/tests/bench/hit_%s_%d.bpf.o", b ? b : "build",
		 hook, version);
	r = io_read_file(o->path, AUDIT_OBJECT_BYTES_MAX, &o->elf, &o->len);
	if (r < 0)
		bench_die("%s: %s", o->path, strerror(-r));
	if (audit_object(o->elf, o->len, &o->audit, &fail) < 0)
		bench_die("%s: %s", o->path, fail.message);
	if (o->audit.n_hooks != 1)
		bench_die("%s has %zu hooks", o->path, o->audit.n_hooks);
}

/* The mapped counters of the newest map of that name, NULL when there is none. */
static inline volatile struct hit_seen *bench_find_seen(int version, uint32_t *ret_id)
{
	char name[24]; /* a number longer than a name may be finds nothing */
	uint32_t id = 0;
	int newest = -1;
	void *p;

	snprintf(name, sizeof(name), "seen_%d", version);
	while (bpf_map_get_next_id(id, &id) == 0) {
		struct bpf_map_info info = {0};
		uint32_t len = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (bpf_map_get_info_by_fd(fd, &info, &len) == 0 &&
		    strcmp(info.name, name) == 0 &&
		    info.value_size == sizeof(struct hit_seen)) {
			fd_closep(&newest);
			newest = fd;
			*ret_id = id;
		} else {
			close(fd);
		}
	}
	if (newest < 0)
		return NULL;
	p = mmap(NULL, sizeof(struct hit_seen), PROT_READ, MAP_SHARED, newest, 0);
	if (p == MAP_FAILED)
		bench_die("mmap of %s: %m", name);
	close(newest);
	return p;
}

static inline volatile struct hit_seen *bench_seen(int version)
{
	volatile struct hit_seen *seen;
	uint32_t id;

	seen = bench_find_seen(version, &id);
	if (!seen)
		bench_die("no map seen_%d in the kernel", version);
	return seen;
}

static inline void bench_unsee(volatile struct hit_seen *seen)
{
	const volatile void *p = seen;

	if (p)
		munmap((void *)(uintptr_t)p, sizeof(struct hit_seen));
}

/* ---- the hotfixd way ---------------------------------------------------------------- */

static char bench_bpffs[64];

static inline struct engine *bench_engine(void)
{
	static char log[ENGINE_LOG_BYTES];
	static struct engine e = {.log = log};

	if (!*bench_bpffs)
		snprintf(bench_bpffs, sizeof(bench_bpffs), "%s/hotfix-bench-%d",
			 getenv("BENCH_BPFFS") ? getenv("BENCH_BPFFS") : "/sys/fs/bpf",
			 getpid());
	e.bpffs = bench_bpffs;
	return &e;
}

/* Takes the whole hot-fix out of the kernel. */
static inline void bench_remove(void)
{
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};

	if (engine_remove(bench_engine(), BENCH_NAME, &report, &fail) < 0)
		bench_note("engine_remove: %s", fail.message);
	rmdir(bench_bpffs);
}

/* The caller sees to it that what was attached is what it wanted: as, e.g. "lsm". */
static inline void bench_stage(const struct bench_object *o, uint32_t index, const char *as)
{
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};
	struct engine_version v = {
		.name = BENCH_NAME,
		.serial = index,
		.object = o->elf,
		.object_len = o->len,
		.hooks = o->audit.hooks,
		.n_hooks = o->audit.n_hooks,
		.accept_preemption_leak = true,
	};
	const char *attached;
	size_t i = 0;

	/* Nobody compares this digest, but every object needs one of its own. */
	v.digest[0] = index;
	if (engine_stage(bench_engine(), &v, index, &report, &fail) < 0)
		bench_die("engine_stage of %s: %s\n%s", o->path, fail.message,
			  bench_engine()->log);
	attached = json_string_value(json_object_get(
		json_array_get(json_object_get(report, "hooks"), i), "attach_as"));
	if (!attached || strcmp(attached, as) != 0)
		bench_die("%s was attached as %s instead of %s", o->path,
			  attached ? attached : "nothing", as);
}

static inline void bench_settle(void)
{
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};

	if (engine_settle(bench_engine(), BENCH_NAME, &report, &fail) < 0)
		bench_die("engine_settle: %s", fail.message);
}

static inline struct gate *bench_gate(void)
{
	struct gate *g;
	int r;

	r = gate_open(bench_engine()->bpffs, BENCH_NAME, &g);
	if (r < 0)
		bench_die("gate_open: %s", strerror(-r));
	return g;
}

/* ---- the bare libbpf way -------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static inline int bench_words(
	enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN && getenv("V") ? vfprintf(stderr, fmt, ap) : 0;
}

/* like: an object of the same version whose counters go on being used, or NULL. */
static inline struct bpf_object *bench_load(const struct bench_object *o,
					    const struct bpf_object *like)
{
	struct bpf_object *obj;
	struct bpf_map *map;

	obj = bpf_object__open_mem(o->elf, o->len, NULL);
	if (!obj)
		bench_die("open %s: %m", o->path);
	bpf_object__for_each_map(map, obj) {
		struct bpf_map *same =
			like ? bpf_object__find_map_by_name(like, bpf_map__name(map)) : NULL;

		if (same && bpf_map__type(map) == BPF_MAP_TYPE_ARRAY &&
		    bpf_map__reuse_fd(map, bpf_map__fd(same)) < 0)
			bench_die("%s: the counters cannot be kept: %m", o->path);
	}
	/* Links for struct_ops came with 6.4. */
	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS && bench_kernel_before(6, 4))
			bpf_map__set_map_flags(map, bpf_map__map_flags(map) & ~BPF_F_LINK);
	if (bpf_object__load(obj) < 0)
		bench_die("load %s: %m", o->path);
	return obj;
}

static inline struct bpf_map *bench_ops(const struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			return map;
	return NULL;
}

static inline struct bpf_link *bench_attach(const struct bpf_object *obj)
{
	struct bpf_map *ops = bench_ops(obj);
	struct bpf_link *link;

	link = ops ? bpf_map__attach_struct_ops(ops)
		   : bpf_program__attach(bpf_object__next_program(obj, NULL));
	if (!link)
		bench_die("attach: %m");
	return link;
}

static inline void bench_detach(struct bpf_link *link)
{
	if (bpf_link__destroy(link) < 0)
		bench_die("detach: %m");
}

/* ---- beginning and end --------------------------------------------------------------- */

static inline void *bench_waiting(void *cookie)
{
	int signo;

	sigwait(cookie, &signo);
	if (bench_cleanup)
		bench_cleanup();
	_exit(128 + signo);
}

/* When asked to end, nothing is left attached. */
static inline void bench_start(void)
{
	static sigset_t set;
	pthread_t id;

	libbpf_set_print(bench_words);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) ||
	    pthread_create(&id, NULL, bench_waiting, &set) || pthread_detach(id))
		bench_die("a thread for signals");
}

/* ---- the hammer ------------------------------------------------------------------------ */

/*
 * Each thread is bound to a processor and has a slot of its own. After each call it looks at
 * what the versions have counted for it: exactly one of them must have seen that call, and
 * where the hook can deny, the answer must be the one of the version that saw it.
 */
struct bench_thread {
	struct bench_hammer *hammer;
	pthread_t id;
	unsigned int slot;
	pid_t pid;
	int fd, peer;	  /* struct_ops: a connection, */
	bool on_ours;	  /* and whether it runs our algorithm */
	uint64_t seen[2]; /* of each version, as last looked at */
	int version;	  /* that saw the last call */

	/* Written by the thread, read by anybody. */
	uint64_t calls, missed, twice, torn, by[2];
	uint64_t changed_ns; /* when a call was first seen by another version */
} __attribute__((aligned(64)));

struct bench_hammer {
	bool cc, denies; /* struct_ops; the hook's answer tells the version */
	volatile struct hit_seen *seen[2];
	unsigned int n;
	struct bench_thread thread[BENCH_THREADS];
	bool stop;
};

#define BENCH_SET(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define BENCH_GET(p)	__atomic_load_n(p, __ATOMIC_RELAXED)

static inline void bench_bind(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_die("sched_setaffinity: %m");
}

/* This thread's alone: glibc's function would change all of them. */
static inline void bench_become(unsigned int slot)
{
	if (syscall(SYS_setresuid, HIT_ID + slot, HIT_ID + slot, HIT_ID + slot) < 0)
		bench_die("setresuid: %m");
}

static inline void bench_mark(int fd, unsigned int slot)
{
	uint32_t mark = HIT_ID + slot;

	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		bench_die("SO_MARK: %m");
}

static inline void bench_connect(int *ret_fd, int *ret_peer)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	AUTO_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || *ret_fd < 0 || bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(*ret_fd, (struct sockaddr *)&addr, len) < 0)
		bench_die("a connection over loopback: %m");
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*ret_peer < 0)
		bench_die("accept: %m");
}

static inline int bench_set_cc(int fd, const char *cc)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)) < 0 ? errno : 0;
}

/* One call of the hook; 0 or an errno. */
static inline int bench_call_getpgid(struct bench_thread *t)
{
	return syscall(SYS_getpgid, t->pid) < 0 ? errno : 0;
}

/* One call of a member of the ops: in turn init and release. */
static inline int bench_call_cc(struct bench_thread *t)
{
	int r = bench_set_cc(t->fd, t->on_ours ? "reno" : HIT_CC);

	if (!r)
		t->on_ours = !t->on_ours;
	return r;
}

static inline void bench_look(struct bench_thread *t, uint64_t ret_new[2])
{
	for (int i = 0; i < 2; i++) {
		uint64_t now = t->hammer->seen[i] ? t->hammer->seen[i]->slot[t->slot].calls : 0;

		ret_new[i] = now - t->seen[i];
		t->seen[i] = now;
	}
}

static inline void *bench_hammering(void *cookie)
{
	static const int answers[2] = {EPERM, EACCES};
	struct bench_thread *t = cookie;
	struct bench_hammer *h = t->hammer;
	uint64_t new[2];
	int r;

	bench_bind(t->slot);
	bench_become(t->slot); /* also: root's wish for an unknown algorithm runs modprobe */
	bench_look(t, new);
	while (!BENCH_GET(&h->stop)) {
		r = h->cc ? bench_call_cc(t) : bench_call_getpgid(t);
		bench_look(t, new);
		if (new[0] + new[1] == 0)
			BENCH_SET(&t->missed, t->missed + 1);
		else if (new[0] + new[1] > 1)
			BENCH_SET(&t->twice, t->twice + 1);
		else if (h->denies && r != answers[new[0] ? 0 : 1])
			BENCH_SET(&t->torn, t->torn + 1);
		if (new[!t->version] && !new[t->version]) {
			BENCH_SET(&t->version, !t->version);
			BENCH_SET(&t->changed_ns, clock_mono_ns());
		}
		BENCH_SET(&t->by[0], t->by[0] + new[0]);
		BENCH_SET(&t->by[1], t->by[1] + new[1]);
		BENCH_SET(&t->calls, t->calls + 1);
	}
	return NULL;
}

struct bench_counts {
	uint64_t calls, missed, twice, torn, by[2];
};

static inline struct bench_counts bench_counts(const struct bench_hammer *h)
{
	struct bench_counts c = {0};

	for (unsigned int i = 0; i < h->n; i++) {
		const struct bench_thread *t = &h->thread[i];

		c.calls += BENCH_GET(&t->calls);
		c.missed += BENCH_GET(&t->missed);
		c.twice += BENCH_GET(&t->twice);
		c.torn += BENCH_GET(&t->torn);
		c.by[0] += BENCH_GET(&t->by[0]);
		c.by[1] += BENCH_GET(&t->by[1]);
	}
	return c;
}

static inline void bench_sleep_us(unsigned int us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000L};

	nanosleep(&t, NULL);
}

/* Until n more calls were made; a hammer that stands still is an error. */
static inline void bench_wait_calls(const struct bench_hammer *h, uint64_t n)
{
	uint64_t until = bench_counts(h).calls + n;
	uint64_t end_ns = clock_mono_ns() + 60000000000ULL;

	while (bench_counts(h).calls < until) {
		if (clock_mono_ns() > end_ns)
			bench_die("the hammer made less than %llu calls in a minute",
				  (unsigned long long)n);
		bench_sleep_us(200);
	}
}

/* Starts with version 1 in place, and proves that it is before it counts. */
static inline void bench_hammer_start(struct bench_hammer *h, const char *hook)
{
	struct bench_counts c;

	h->cc = strcmp(hook, "struct_ops") == 0;
	h->denies = strcmp(hook, "lsm") == 0 || strcmp(hook, "fmod_ret") == 0;
	h->n = BENCH_THREADS;
	h->stop = false;
	for (unsigned int i = 0; i < h->n; i++) {
		struct bench_thread *t = &h->thread[i];

		*t = (struct bench_thread){
			.hammer = h, .slot = i, .pid = getpid(), .fd = -1, .peer = -1};
		if (h->cc) {
			bench_connect(&t->fd, &t->peer);
			bench_mark(t->fd, i);
			if (bench_set_cc(t->fd, "reno"))
				bench_die("reno is not there");
		}
	}
	for (unsigned int i = 0; i < h->n; i++)
		if (pthread_create(&h->thread[i].id, NULL, bench_hammering, &h->thread[i]))
			bench_die("pthread_create");
	bench_wait_calls(h, 10000);
	c = bench_counts(h);
	if (c.missed || c.twice || c.torn || c.by[1] || !c.by[0])
		bench_die(
			"%s: the warm-up saw %llu calls, %llu missed, %llu twice, %llu wrong, "
			"%llu by version 2",
			hook, (unsigned long long)c.calls, (unsigned long long)c.missed,
			(unsigned long long)c.twice, (unsigned long long)c.torn,
			(unsigned long long)c.by[1]);
}

/* Whether the last call of every thread was seen by this version (0, 1). */
static inline bool bench_all_on(const struct bench_hammer *h, int version)
{
	for (unsigned int i = 0; i < h->n; i++)
		if (BENCH_GET(&h->thread[i].version) != version)
			return false;
	return true;
}

/* When the first of the threads met another version, after since_ns; 0: none yet. */
static inline uint64_t bench_changed_ns(const struct bench_hammer *h, uint64_t since_ns)
{
	uint64_t first_ns = 0;

	for (unsigned int i = 0; i < h->n; i++) {
		uint64_t at_ns = BENCH_GET(&h->thread[i].changed_ns);

		if (at_ns > since_ns && (!first_ns || at_ns < first_ns))
			first_ns = at_ns;
	}
	return first_ns;
}

/* This thread is not kept waiting by those that hammer. */
static inline void bench_urgent(bool on)
{
	struct sched_param p = {.sched_priority = on};

	if (sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &p) < 0)
		bench_die("sched_setscheduler: %m");
}

static inline struct bench_counts bench_hammer_stop(struct bench_hammer *h)
{
	BENCH_SET(&h->stop, true);
	for (unsigned int i = 0; i < h->n; i++) {
		struct bench_thread *t = &h->thread[i];

		pthread_join(t->id, NULL);
		if (t->on_ours)
			bench_set_cc(t->fd, "reno");
		fd_closep(&t->fd);
		fd_closep(&t->peer);
	}
	return bench_counts(h);
}
