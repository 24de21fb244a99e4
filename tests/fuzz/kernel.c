// SPDX-License-Identifier: BSD-2-Clause
/*
 * Gates that are memory instead of pinned maps (all else of bpf/gate.c is used as it is), and
 * workers that write them at once instead of being processes. The daemon's log is silent, but
 * for what it says must not happen.
 */
#define gate_open gate_open_pinned
#include "bpf/gate.c"
#undef gate_open

#include <fcntl.h>
#include <stdarg.h>
#include <sys/queue.h>

#include "bpf/meter.h"
#include "lib/io.h"
#include "lib/log.h"
#include "server/worker.h"
#include "store/bundle.h"
#include "tests/fuzz/fuzz.h"

#define NAMES_MAX 32

static struct {
	char name[HOOK_NAME_MAX + 1];
	int fd;
} gates[NAMES_MAX];
static size_t n_gates;

static bool scribbled; /* then nobody answers for what the gates say */
static uint8_t luck[64];
static size_t n_luck;

void fuzz_kernel_reset(const uint8_t *bytes, size_t n)
{
	while (n_gates > 0)
		close(gates[--n_gates].fd);
	scribbled = false;
	n_luck = n < sizeof(luck) ? n : sizeof(luck);
	if (n_luck)
		memcpy(luck, bytes, n_luck);
}

static uint8_t next_luck(void)
{
	uint8_t first = luck[0];

	if (!n_luck)
		return '.';
	memmove(luck, luck + 1, --n_luck);
	return first;
}

/* ---- gates --------------------------------------------------------------------------- */

int gate_open(const char *bpffs, const char *name, struct gate **ret_gate);

int gate_open(const char *bpffs, const char *name, struct gate **ret_gate)
{
	struct gate *g;

	(void)bpffs;
	for (size_t i = 0; i < n_gates; i++) {
		if (strcmp(gates[i].name, name) != 0)
			continue;
		g = calloc(1, sizeof(*g));
		fuzz_must(g);
		g->fd = fcntl(gates[i].fd, F_DUPFD_CLOEXEC, 3);
		g->value = mmap(NULL, sizeof(*g->value), PROT_READ | PROT_WRITE, MAP_SHARED,
				g->fd, 0);
		fuzz_must(g->fd >= 0 && g->value != MAP_FAILED);
		*ret_gate = g;
		return 0;
	}
	return -ENOENT;
}

static struct gate *make_gate(const char *name)
{
	struct gate_value value = {.magic = GATE_MAGIC};
	struct gate *g;

	if (gate_open(NULL, name, &g) == 0)
		return g;
	if (n_gates == NAMES_MAX)
		return NULL;
	gates[n_gates].fd = memfd_create("gate", MFD_CLOEXEC);
	fuzz_must(gates[n_gates].fd >= 0 &&
		  io_write_all(gates[n_gates].fd, &value, sizeof(value)) == 0);
	snprintf(gates[n_gates++].name, sizeof(gates[0].name), "%s", name);
	fuzz_must(gate_open(NULL, name, &g) == 0);
	return g;
}

void fuzz_kernel_scribble(const char *name, const uint8_t *bytes, size_t n)
{
	AUTO(gate_freep) struct gate *g = NULL;
	struct gate_value value;

	if (gate_open(NULL, name, &g) < 0)
		return;
	value = *g->value;
	memcpy(&value, bytes, n < sizeof(value) ? n : sizeof(value));
	value.magic = GATE_MAGIC;
	*g->value = value;
	scribbled = true;
}

static void drop_gate(const char *name)
{
	for (size_t i = 0; i < n_gates; i++)
		if (strcmp(gates[i].name, name) == 0) {
			close(gates[i].fd);
			gates[i] = gates[--n_gates];
			return;
		}
}

/* ---- what programs cost: nobody knows ---------------------------------------------------- */

int meter_on(int *ret_fd)
{
	(void)ret_fd;
	return -EOPNOTSUPP;
}

int meter_open(const char *bpffs, const char *name, uint32_t index, const int *ops,
	       size_t n_ops, struct meter **ret_meter)
{
	(void)bpffs, (void)name, (void)index, (void)ops, (void)n_ops, (void)ret_meter;
	return -EOPNOTSUPP;
}

int meter_read(const struct meter *m, struct meter_reading *ret_reading)
{
	(void)m, (void)ret_reading;
	return -EOPNOTSUPP;
}

struct meter *meter_free(struct meter *m)
{
	(void)m;
	return NULL;
}

/* ---- workers --------------------------------------------------------------------------- */

struct worker {
	TAILQ_ENTRY(worker) link;
	struct workers *pool;
	worker_done_fn done;
	void *cookie;
	struct event *now;
	char op[16], name[HOOK_NAME_MAX + 1];
	uint32_t index;
	uint8_t *bundle;
	size_t bundle_len;
};

struct workers {
	struct event_base *base;
	TAILQ_HEAD(, worker) all;
};

static void worker_free(struct worker *w)
{
	TAILQ_REMOVE(&w->pool->all, w, link);
	event_free(w->now);
	free(w->bundle);
	free(w);
}

static int stage(const struct worker *w)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO(gate_freep) struct gate *g = NULL;
	struct gate_version v = {0};

	fuzz_must(w->index > 0 && w->index < GATE_VERSIONS);
	/* What the loop hands out, it has verified. */
	fuzz_must(bundle_open(w->bundle, w->bundle_len, fuzz_trust(), &b, NULL) == 0);
	fuzz_must(strcmp(b->manifest->name, w->name) == 0 || !w->name[0]);
	v.serial = b->manifest->serial;
	memcpy(v.digest, b->manifest->object_sha256, sizeof(v.digest));
	if (b->manifest->hooks[0].type == HOOK_STRUCT_OPS)
		v.flags = GATE_CC;
	g = make_gate(b->manifest->name);
	if (!g)
		return -ENOSPC;
	fuzz_must(scribbled || (w->index != gate_committed(g) && w->index != gate_trial(g)));
	gate_set_version(g, w->index, &v);
	return 0;
}

static int act(const struct worker *w)
{
	AUTO(gate_freep) struct gate *g = NULL;

	if (strcmp(w->op, "stage") == 0)
		return stage(w);
	if (strcmp(w->op, "unstage") == 0 && gate_open(NULL, w->name, &g) == 0) {
		fuzz_must(scribbled || w->index != gate_committed(g) || w->index == 0);
		gate_set_version(g, w->index, NULL);
	}
	if (strcmp(w->op, "remove") == 0)
		drop_gate(w->name);
	return 0;
}

static void on_now(evutil_socket_t fd, short what, void *cookie)
{
	static const enum fail_code codes[] = {FAIL_INTERNAL, FAIL_TIMEOUT, FAIL_LOAD,
					       FAIL_ATTACH, FAIL_CONFLICT};
	struct worker *w = cookie;
	uint8_t how = next_luck();
	struct worker_result result = {.ok = how == '.', .log = ""};
	AUTO(json_decrefp) json_t *report = json_pack("{s:[]}", "hooks");
	char words[FAIL_MESSAGE_BYTES];

	(void)fd, (void)what;
	/* Some failures come before anything was done, some after. */
	if ((how == '.' || how >= 'a') && act(w) < 0)
		result.ok = false;
	if (result.ok) {
		result.report = report;
	} else {
		/* Long, and each cut of it is in a character. */
		memset(words, 0, sizeof(words));
		for (size_t i = 0; i + 2 < sizeof(words); i += 2)
			memcpy(words + i, "\u00e9", 2);
		fail_set(&result.fail, codes[how % ARRAY_SIZE(codes)], "%sbad luck %s",
			 how & 1 ? "." : "", words);
		result.log = "a log";
	}
	w->done(&result, w->cookie);
	worker_free(w);
}

int workers_new(struct event_base *base, struct crew *crew, uint64_t deadline_ms,
		struct workers **ret_pool)
{
	struct workers *pool = calloc(1, sizeof(*pool));

	(void)crew, (void)deadline_ms;
	fuzz_must(pool);
	pool->base = base;
	TAILQ_INIT(&pool->all);
	*ret_pool = pool;
	return 0;
}

struct workers *workers_free(struct workers *pool)
{
	struct worker *w;

	while (pool && (w = TAILQ_FIRST(&pool->all)))
		worker_free(w);
	free(pool);
	return NULL;
}

int worker_run(struct workers *pool, const struct worker_job *job, worker_done_fn done,
	       void *cookie, struct worker **ret_worker)
{
	static const struct timeval now = {0, 0};
	struct worker *w = calloc(1, sizeof(*w));

	fuzz_must(w);
	*w = (struct worker){.pool = pool,
			     .done = done,
			     .cookie = cookie,
			     .index = job->index,
			     .bundle_len = job->bundle_len};
	snprintf(w->op, sizeof(w->op), "%s", job->op);
	snprintf(w->name, sizeof(w->name), "%s", job->name ? job->name : "");
	if (job->bundle)
		w->bundle = (uint8_t *)fuzz_text(job->bundle, job->bundle_len);
	w->now = evtimer_new(pool->base, on_now, w);
	fuzz_must(w->now && event_add(w->now, &now) == 0);
	TAILQ_INSERT_TAIL(&pool->all, w, link);
	if (ret_worker)
		*ret_worker = w;
	return 0;
}

void worker_cancel(struct worker *w)
{
	if (w)
		worker_free(w);
}

/* ---- log ------------------------------------------------------------------------------- */

void log_open(int max_priority)
{
	(void)max_priority;
}

void log_event(int priority, const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (priority > LOG_CRIT)
		return;
	fprintf(stderr, "%s\n", line);
	abort();
}
