// SPDX-License-Identifier: BSD-2-Clause
#include "server/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "lib/log.h"

struct crew_member {
	TAILQ_ENTRY(crew_member) link;
	struct crew *crew;
	uint32_t id;
	crew_exited_fn exited; /* NULL: forgotten */
	void *cookie;
	bool is_over;
	int status;
};

struct crew {
	int channel;
	uint32_t last_id;
	struct event *readable, *deliver;
	bool stop_wanted;
	crew_stop_fn stop;
	void *stop_cookie;
	TAILQ_HEAD(, crew_member) members;
};

static void lost(int r)
{
	log_event(LOG_CRIT, "the parent is gone: %s", strerror(-r));
	_exit(fail_exit(FAIL_INTERNAL));
}

static void wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

int crew_hello(int channel, struct wire_event *ret_hello, int ret_given[WIRE_GIVEN],
	       struct fail *reterr_fail)
{
	int fds[WIRE_FDS_MAX], r;
	size_t n, k = 0;

	r = wire_recv(channel, ret_hello, sizeof(*ret_hello), fds, &n);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "the parent says nothing: %s",
				strerror(-r));
	if (ret_hello->tell == WIRE_HELLO && ret_hello->fail.code != FAIL_NONE) {
		*reterr_fail = ret_hello->fail;
		return -fail_errno(ret_hello->fail.code);
	}
	for (int i = 0; i < WIRE_GIVEN; i++)
		ret_given[i] = ret_hello->given & 1U << i && k < n ? fds[k++] : -1;
	if (ret_hello->tell == WIRE_HELLO && k == n)
		return 0;
	return fail_set(reterr_fail, FAIL_INTERNAL, "the parent says what is no greeting");
}

static void ask(struct crew *c, const struct wire_request *q, const int *fds, size_t n)
{
	int r;

	while ((r = wire_send(c->channel, q, sizeof(*q), fds, n)) == -EAGAIN)
		wait_for(c->channel, POLLOUT);
	if (r < 0)
		lost(r);
}

static void member_free(struct crew_member *m)
{
	TAILQ_REMOVE(&m->crew->members, m, link);
	free(m);
}

static struct crew_member *member_of(struct crew *c, uint32_t id)
{
	struct crew_member *m;

	TAILQ_FOREACH(m, &c->members, link)
		if (m->id == id)
			return m;
	return NULL;
}

static void take_event(struct crew *c, const struct wire_event *e, const int *fds, size_t n)
{
	static const struct timeval now = {0, 0};
	struct crew_member *m = member_of(c, e->id);

	if (e->tell == WIRE_FOLDER && n == 1)
		dup3(fds[0], WIRE_FOLDER_FD, O_CLOEXEC);
	if (e->tell == WIRE_STOP) {
		c->stop_wanted = true;
		event_add(c->deliver, &now);
	}
	if (e->tell == WIRE_EXITED && m) {
		m->is_over = true;
		m->status = e->status;
		event_add(c->deliver, &now);
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* false: nothing is there just now. */
static bool hear(struct crew *c, struct wire_event *ret_event, int fds[WIRE_FDS_MAX],
		 size_t *ret_n)
{
	int r = wire_recv(c->channel, ret_event, sizeof(*ret_event), fds, ret_n);

	if (r == -EAGAIN)
		return false;
	if (r < 0)
		lost(r);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *cookie)
{
	struct crew *c = cookie;
	int fds[WIRE_FDS_MAX];
	struct wire_event e;
	size_t n;

	(void)fd;
	(void)what;
	while (hear(c, &e, fds, &n))
		take_event(c, &e, fds, n);
}

static void on_deliver(evutil_socket_t fd, short what, void *cookie)
{
	struct crew *c = cookie;
	struct crew_member *m;

	(void)fd;
	(void)what;
	if (c->stop_wanted && c->stop) {
		c->stop_wanted = false;
		c->stop(c->stop_cookie);
	}
	for (;;) { /* whoever is told may start and forget others */
		crew_exited_fn exited;
		void *theirs;
		int status;

		TAILQ_FOREACH(m, &c->members, link)
			if (m->is_over)
				break;
		if (!m)
			return;
		exited = m->exited;
		theirs = m->cookie;
		status = m->status;
		member_free(m);
		if (exited)
			exited(status, theirs);
	}
}

int crew_new(struct event_base *base, int channel, struct crew **ret_crew)
{
	AUTO(crew_freep) struct crew *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	TAILQ_INIT(&c->members);
	c->channel = channel;
	fcntl(channel, F_SETFL, O_NONBLOCK);
	fcntl(channel, F_SETFD, FD_CLOEXEC);
	c->readable = event_new(base, channel, EV_READ | EV_PERSIST, on_readable, c);
	c->deliver = evtimer_new(base, on_deliver, c);
	if (!c->readable || !c->deliver || event_add(c->readable, NULL) < 0)
		return -ENOMEM;
	*ret_crew = take_ptr(c);
	return 0;
}

void crew_on_stop(struct crew *c, crew_stop_fn stop, void *cookie)
{
	c->stop = stop;
	c->stop_cookie = cookie;
}

struct crew *crew_free(struct crew *c)
{
	struct crew_member *m;

	if (!c)
		return NULL;
	while ((m = TAILQ_FIRST(&c->members)))
		member_free(m);
	if (c->readable)
		event_free(c->readable);
	if (c->deliver)
		event_free(c->deliver);
	close(c->channel);
	free(c);
	return NULL;
}

int crew_start(struct crew *c, const struct crew_job *job, crew_exited_fn exited, void *cookie,
	       struct crew_member **ret_member, int *ret_answer_fd, struct fail *reterr_fail)
{
	struct wire_request q = {.ask = WIRE_START, .index = job->index};
	struct crew_member *m = calloc(1, sizeof(*m));
	int fds[WIRE_FDS_MAX];
	struct wire_event e;
	size_t n = 0;

	if (!m)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	while (++c->last_id == 0 || member_of(c, c->last_id))
		;
	q.id = c->last_id;
	snprintf(q.op, sizeof(q.op), "%s", job->op);
	snprintf(q.name, sizeof(q.name), "%s", job->name ? job->name : "");
	if (job->bundle_fd >= 0) {
		q.has |= WIRE_HAS_BUNDLE;
		fds[n++] = job->bundle_fd;
	}
	if (job->peer_fd >= 0) {
		q.has |= WIRE_HAS_PEER;
		fds[n++] = job->peer_fd;
	}
	ask(c, &q, fds, n);
	for (;;) {
		if (!hear(c, &e, fds, &n)) {
			wait_for(c->channel, POLLIN);
			continue;
		}
		if (e.tell == WIRE_STARTED && e.id == q.id)
			break;
		take_event(c, &e, fds, n);
	}
	if (e.fail.code != FAIL_NONE || n != 1) {
		free(m);
		if (e.fail.code == FAIL_NONE)
			fail_set(&e.fail, FAIL_INTERNAL, "no worker could be started");
		if (reterr_fail)
			*reterr_fail = e.fail;
		return -fail_errno(e.fail.code);
	}
	*m = (struct crew_member){.crew = c, .id = q.id, .exited = exited, .cookie = cookie};
	TAILQ_INSERT_TAIL(&c->members, m, link);
	*ret_member = m;
	*ret_answer_fd = fds[0];
	return 0;
}

void crew_kill(struct crew_member *m)
{
	struct wire_request q = {.ask = WIRE_KILL, .id = m->id};

	if (!m->is_over)
		ask(m->crew, &q, NULL, 0);
}

void crew_forget(struct crew_member *m)
{
	if (!m)
		return;
	m->exited = NULL;
	crew_kill(m);
}
