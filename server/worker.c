// SPDX-License-Identifier: BSD-2-Clause
#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/io.h"
#include "server/crew.h"

#define ANSWER_BYTES_MAX (8U << 20)

struct worker {
	TAILQ_ENTRY(worker) link;
	struct workers *pool;
	worker_done_fn done;
	void *cookie;
	char op[WIRE_OP_BYTES], name[HOOK_NAME_MAX + 1];
	uint32_t index;
	int bundle_fd, peer_fd;
	struct crew_member *member; /* NULL while it waits for its turn, and once it is over */
	int answer_fd;
	int fds[WIRE_FDS_MAX]; /* that came with the answer */
	size_t n_fds;
	struct event *readable, *deadline;
	uint8_t *answer;
	size_t answer_len;
	uint64_t started_ns;
	bool look, started, exited, eof, timed_out, cancelled, again;
	int status;
	struct fail fail; /* why no process was started */
};

TAILQ_HEAD(worker_list, worker);

struct workers {
	struct event_base *base;
	struct crew *crew;
	uint64_t deadline_ms;
	struct worker_list waiting, running; /* waiting: changes before looks */
	int n_running, n_looking;	     /* of those that run, how many only look */
	int n_looks_waiting;
	struct event *start; /* starts what waits, from the loop */
};

static void worker_free(struct worker *w)
{
	if (w->readable)
		event_free(w->readable);
	if (w->deadline)
		event_free(w->deadline);
	fd_closep(&w->answer_fd);
	fd_closep(&w->bundle_fd);
	fd_closep(&w->peer_fd);
	while (w->n_fds)
		close(w->fds[--w->n_fds]);
	free(w->answer);
	free(w);
}

/* In the queue, ahead of it all who only look. */
static void enqueue(struct worker *w)
{
	struct worker *other = NULL;

	if (!w->look)
		TAILQ_FOREACH(other, &w->pool->waiting, link)
			if (other->look)
				break;
	if (other)
		TAILQ_INSERT_BEFORE(other, w, link);
	else
		TAILQ_INSERT_TAIL(&w->pool->waiting, w, link);
	w->pool->n_looks_waiting += w->look;
}

static void dequeue(struct worker *w)
{
	TAILQ_REMOVE(&w->pool->waiting, w, link);
	w->pool->n_looks_waiting -= w->look;
}

/* Whose turn it is; one place is always left for a change. */
static struct worker *next_of(const struct workers *pool)
{
	struct worker *w = TAILQ_FIRST(&pool->waiting);

	if (!w || pool->n_running == WORKER_RUNNING_MAX)
		return NULL;
	return w->look && pool->n_looking == WORKER_LOOKING_MAX ? NULL : w;
}

static void start_waiting(struct workers *pool)
{
	static const struct timeval now = {0, 0};

	if (next_of(pool))
		event_add(pool->start, &now);
}

/* Calls done, the last act on w. */
static void finish(struct worker *w)
{
	struct worker_result result = {
		.log = "",
		.elapsed_ms = (double)(clock_mono_ns() - w->started_ns) / 1e6,
		.fds = w->fds,
		.n_fds = w->n_fds,
	};
	struct workers *pool = w->pool;
	AUTO_JSON json_t *doc = NULL;

	TAILQ_REMOVE(&pool->running, w, link);
	pool->n_running--;
	pool->n_looking -= w->look;
	start_waiting(pool);
	if (w->cancelled) {
		worker_free(w);
		return;
	}
	doc = json_loadb((const char *)w->answer, w->answer_len, 0, NULL);
	if (doc && json_object_get(doc, "error")) {
		fail_from_json(doc, &result.fail);
		if (json_object_get(doc, "log"))
			result.log = json_string_value(json_object_get(doc, "log"));
	} else if (doc) {
		result.ok = true;
		result.report = json_object_get(doc, "report");
	} else if (w->fail.code != FAIL_NONE) {
		result.fail = w->fail;
	} else if (w->timed_out) {
		fail_set(
			&result.fail, FAIL_TIMEOUT,
			"the worker did not finish within %.0f s and was killed; nothing that ran before has changed",
			(double)pool->deadline_ms / 1e3);
		fail_hint(
			&result.fail,
			"[worker] deadline in the configuration raises the limit; a verifier that needs longer usually means an object too complex to trust");
	} else if (WIFSIGNALED(w->status)) {
		fail_set(
			&result.fail, FAIL_INTERNAL,
			"the worker was killed by signal %d (%s); nothing that ran before has changed",
			WTERMSIG(w->status), strsignal(WTERMSIG(w->status)));
		fail_hint(&result.fail, "try again; dmesg tells whether the kernel ended it");
	} else {
		fail_set(&result.fail, FAIL_INTERNAL,
			 "the worker ended with status %d and no answer",
			 WEXITSTATUS(w->status));
		fail_hint(&result.fail, "try again; the log of hotfixd has more");
	}
	w->done(&result, w->cookie);
	worker_free(w);
}

static int start(struct workers *pool, struct worker *w);

/*
 * Somebody else's SIGKILL, an operator's or the OOM killer's, is no crash: what it interrupted
 * may be the way back, or what a host needs after a boot. Every op may be asked for twice.
 */
static bool start_again(struct worker *w)
{
	if (w->again || w->cancelled || w->timed_out || !WIFSIGNALED(w->status) ||
	    WTERMSIG(w->status) != SIGKILL)
		return false;
	w->again = true;
	w->exited = w->eof = false;
	w->answer_len = 0;
	while (w->n_fds)
		close(w->fds[--w->n_fds]);
	event_free(w->readable);
	event_free(w->deadline);
	w->readable = w->deadline = NULL;
	fd_closep(&w->answer_fd);
	w->answer_fd = -1;
	return start(w->pool, w) == 0;
}

static void finish_when_over(struct worker *w)
{
	if (w->exited && w->eof && !start_again(w))
		finish(w);
}

static void on_answer(evutil_socket_t fd, short what, void *cookie)
{
	struct worker *w = cookie;
	uint8_t chunk[65536], *grown;
	ssize_t n;

	(void)what;
	n = wire_read(fd, chunk, sizeof(chunk), w->fds, &w->n_fds);
	if (n == -EINTR || n == -EAGAIN)
		return;
	if (n > 0 && w->answer_len + (size_t)n <= ANSWER_BYTES_MAX) {
		grown = realloc(w->answer, w->answer_len + (size_t)n);
		if (grown) {
			w->answer = grown;
			memcpy(w->answer + w->answer_len, chunk, (size_t)n);
			w->answer_len += (size_t)n;
			return;
		}
	}
	if (n > 0 && !w->exited) { /* an answer beyond all bounds is no answer */
		w->again = true;
		crew_kill(w->member);
	}
	w->eof = true;
	event_del(w->readable);
	finish_when_over(w);
}

static void on_deadline(evutil_socket_t fd, short what, void *cookie)
{
	struct worker *w = cookie;

	(void)fd;
	(void)what;
	w->timed_out = true;
	if (!w->exited)
		crew_kill(w->member);
}

static void on_exited(int status, void *cookie)
{
	struct worker *w = cookie;

	w->member = NULL;
	w->status = status;
	w->exited = true;
	finish_when_over(w);
}

static int start(struct workers *pool, struct worker *w)
{
	struct timeval deadline = {.tv_sec = (time_t)(pool->deadline_ms / 1000),
				   .tv_usec = (suseconds_t)(pool->deadline_ms % 1000) * 1000};
	const struct crew_job job = {.op = w->op,
				     .name = w->name,
				     .index = w->index,
				     .bundle_fd = w->bundle_fd,
				     .peer_fd = w->peer_fd};
	int r;

	r = crew_start(pool->crew, &job, on_exited, w, &w->member, &w->answer_fd, &w->fail);
	if (r < 0)
		return r;
	w->started = true;
	w->readable = event_new(pool->base, w->answer_fd, EV_READ | EV_PERSIST, on_answer, w);
	w->deadline = evtimer_new(pool->base, on_deadline, w);
	if (!w->readable || !w->deadline) {
		crew_forget(w->member);
		return -ENOMEM;
	}
	w->started_ns = clock_mono_ns();
	event_add(w->readable, NULL);
	event_add(w->deadline, &deadline);
	return 0;
}

void workers_start(struct workers *pool)
{
	struct worker *w;
	int r;

	while ((w = next_of(pool))) {
		dequeue(w);
		TAILQ_INSERT_TAIL(&pool->running, w, link);
		pool->n_running++;
		pool->n_looking += w->look;
		r = start(pool, w);
		if (r == 0)
			continue;
		if (w->fail.code == FAIL_NONE)
			fail_set(&w->fail, FAIL_INTERNAL, "no worker could be started: %s",
				 strerror(-r));
		finish(w);
	}
}

static void on_start(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	workers_start(cookie);
}

int workers_new(struct event_base *base, struct crew *crew, uint64_t deadline_ms,
		struct workers **ret_pool)
{
	AUTO(workers_freep) struct workers *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->running);
	pool->base = base;
	pool->deadline_ms = deadline_ms;
	pool->crew = crew;
	pool->start = evtimer_new(base, on_start, pool);
	if (!pool->start)
		return -ENOMEM;
	*ret_pool = take_ptr(pool);
	return 0;
}

struct workers *workers_free(struct workers *pool)
{
	struct worker *w;

	if (!pool)
		return NULL;
	while ((w = TAILQ_FIRST(&pool->waiting))) {
		dequeue(w);
		worker_free(w);
	}
	while ((w = TAILQ_FIRST(&pool->running))) {
		TAILQ_REMOVE(&pool->running, w, link);
		crew_forget(w->member);
		worker_free(w);
	}
	if (pool->start)
		event_free(pool->start);
	free(pool);
	return NULL;
}

int worker_run(struct workers *pool, const struct worker_job *job, worker_done_fn done,
	       void *cookie, struct worker **ret_worker)
{
	struct worker *w;
	int r = 0;

	if (job->look && pool->n_looks_waiting == WORKER_LOOKS_WAITING_MAX)
		return -EBUSY;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->pool = pool;
	w->done = done;
	w->cookie = cookie;
	w->look = job->look;
	w->index = job->index;
	snprintf(w->op, sizeof(w->op), "%s", job->op);
	snprintf(w->name, sizeof(w->name), "%s", job->name ? job->name : "");
	w->bundle_fd = w->answer_fd = -1;
	w->peer_fd = job->peer_fd > 0 ? fcntl(job->peer_fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (job->bundle)
		r = io_memfd("bundle", job->bundle, job->bundle_len, &w->bundle_fd);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	enqueue(w);
	start_waiting(pool);
	if (ret_worker)
		*ret_worker = w;
	return 0;
}

void worker_cancel(struct worker *w)
{
	if (!w)
		return;
	if (!w->started) {
		dequeue(w);
		worker_free(w);
		return;
	}
	w->cancelled = true;
	if (w->member)
		crew_kill(w->member);
}
