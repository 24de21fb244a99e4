// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/main.c -- hotfix-controller: the program that joins its parts.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/version.h"
#include "server/controller/agents.h"
#include "server/controller/breaker.h"
#include "server/controller/catalogue.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/director.h"
#include "server/controller/enrol.h"
#include "server/controller/init.h"
#include "server/controller/metrics.h"
#include "server/controller/operators.h"
#include "server/controller/owner.h"
#include "server/controller/park.h"
#include "server/controller/reports.h"
#include "server/controller/roots.h"
#include "store/fleet.h"

#define PROGRAM	   "hotfix-controller"

#define PARKED_MAX 12000
#define FILES_MAX  16384 /* connections of all listeners, and some */

/* The only list of parts, in the order in which they are made: a line for each. */
#define PARTS(X)    \
	X(roots)    \
	X(director) \
	X(catalogue) X(reports) X(enrol) X(agents) X(operators) X(owner) X(breaker) X(metrics)

#define PART(x)                                                            \
	static int new_##x(struct controller *c, struct fail *reterr_fail) \
	{                                                                  \
		return x##_new(c, &c->x, reterr_fail);                     \
	}                                                                  \
	static void free_##x(struct controller *c)                         \
	{                                                                  \
		c->x = x##_free(c->x);                                     \
	}                                                                  \
	static void wake_##x(struct controller *c, const char *topic)      \
	{                                                                  \
		if (c->x)                                                  \
			x##_on_wake(c->x, topic);                          \
	}                                                                  \
	static int reload_##x(struct controller *c, struct fail *fail)     \
	{                                                                  \
		return x##_reload(c->x, fail);                             \
	}
PARTS(PART)
#undef PART

static const struct part {
	const char *name;
	int (*new)(struct controller *c, struct fail *reterr_fail);
	void (*free)(struct controller *c);
	void (*wake)(struct controller *c, const char *topic);
	int (*reload)(struct controller *c, struct fail *reterr_fail);
} parts[] = {
#define PART(x) {#x, new_##x, free_##x, wake_##x, reload_##x},
	PARTS(PART)
#undef PART
		{.name = NULL},
};

static void on_wake(const char *topic, void *cookie)
{
	struct controller *c = cookie;

	for (const struct part *p = parts; p->name; p++)
		p->wake(c, topic);
}

static void on_reload(evutil_socket_t fd, short what, void *cookie)
{
	struct controller *c = cookie;
	struct fail fail;

	(void)fd;
	(void)what;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)(clock_mono_ns() / 1000));
	for (const struct part *p = parts; p->name; p++)
		if (p->reload(c, &fail) < 0)
			log_event(LOG_ERR,
				  "not read again, what was goes on part=%s reason=\"%s\"",
				  p->name, fail.message);
	log_event(LOG_NOTICE, "certificates and keys were read again");
	sd_notify(0, "READY=1");
}

static void on_released(void *cookie)
{
	struct controller *c = cookie;

	event_base_loopbreak(c->base);
}

static void on_stop(evutil_socket_t fd, short what, void *cookie)
{
	struct controller *c = cookie;

	(void)fd;
	(void)what;
	if (c->stopping) { /* who says it twice does not wait */
		event_base_loopbreak(c->base);
		return;
	}
	c->stopping = true;
	log_event(LOG_NOTICE, "stopping");
	sd_notify(0, "STOPPING=1");
	owner_release(c->owner, on_released, c);
}

/* A descriptor for each agent; the soft limit is 1024, for select(), which nobody uses here. */
static void raise_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= FILES_MAX)
		return;
	l.rlim_cur = l.rlim_max < FILES_MAX ? l.rlim_max : FILES_MAX;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur < FILES_MAX)
		log_event(LOG_WARNING,
			  "few files may be open: some agents will have to wait limit=%llu",
			  (unsigned long long)l.rlim_cur);
}

/* SQLite would make the file: a fleet without keys, which init then takes for one that exists. */
static int need_fleet(const struct settings *s, struct fail *reterr_fail)
{
	if (db_names_server(s->database) || access(s->database, F_OK) == 0)
		return 0;
	fail_set(reterr_fail, errno == EACCES ? FAIL_PERMISSION : FAIL_NOT_FOUND,
		 "there is no fleet in %s: %s: %s", s->state_dir, s->database, strerror(errno));
	return fail_hint(reterr_fail,
			 "hotfix-controller init --state-dir %s --name NAME begins one",
			 s->state_dir);
}

static int open_controller(struct controller *c, struct event *signals[3],
			   struct fail *reterr_fail)
{
	static const struct {
		int number;
		event_callback_fn fn;
	} wanted[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}};
	int r;

	signal(SIGPIPE, SIG_IGN);
	raise_files();
	c->base = event_base_new();
	if (!c->base || park_new(c->base, PARKED_MAX, &c->park) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		signals[i] = evsignal_new(c->base, wanted[i].number, wanted[i].fn, c);
		if (!signals[i] || event_add(signals[i], NULL) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	r = need_fleet(c->settings, reterr_fail);
	if (r < 0)
		return r;
	r = database_new(c->base, c->settings->database, on_wake, c, &c->database, &c->fleet,
			 reterr_fail);
	for (const struct part *p = parts; p->name && r == 0; p++)
		r = p->new (c, reterr_fail);
	return r;
}

static void close_controller(struct controller *c, struct event *signals[3])
{
	c->database = database_free(c->database);
	c->fleet = NULL;
	c->park = park_free(c->park);
	for (size_t i = ARRAY_SIZE(parts) - 1; i-- > 0;)
		parts[i].free(c);
	for (size_t i = 0; i < 3; i++)
		if (signals[i])
			event_free(signals[i]);
	if (c->base)
		event_base_free(c->base);
}

static int run(const struct settings *s)
{
	struct controller c = {
		.settings = s, .started_ms = clock_real_ms(), .real_ms = clock_real_ms};
	struct event *signals[3] = {NULL, NULL, NULL};
	struct fail fail = {.code = FAIL_INTERNAL};
	int status = 0;

	snprintf(c.actor, sizeof(c.actor), "controller:%s", s->name);
	log_open(settings_log_priority(s));
	if (open_controller(&c, signals, &fail) < 0) {
		status = fail_report(&fail, PROGRAM);
	} else {
		log_event(LOG_NOTICE,
			  "ready name=%s agents=%u enroll=%u operators=%u metrics=%u", s->name,
			  c.port.agents, c.port.enroll, c.port.operators, c.port.metrics);
		sd_notify(0, "READY=1");
		event_base_dispatch(c.base);
	}
	close_controller(&c, signals);
	return status;
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct fail fail = {.code = FAIL_INTERNAL};

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		settings_usage();
		return fail_flush_stdout(PROGRAM);
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("hotfix-controller %s\n", HOTFIX_VERSION);
		return fail_flush_stdout(PROGRAM);
	}
	umask(077);
	if (argc == 3 && strcmp(argv[1], "init") == 0 && strcmp(argv[2], "--help") == 0) {
		init_usage();
		return fail_flush_stdout(PROGRAM);
	}
	if (argc > 1 && strcmp(argv[1], "init") == 0)
		return init_main(argc - 1, argv + 1, &fail) < 0 ? fail_report(&fail, PROGRAM)
								: fail_flush_stdout(PROGRAM);
	if (settings_load(argc, argv, &settings, &fail) < 0)
		return fail_report(&fail, PROGRAM);
	if (settings.command.check_only) {
		settings_print(&settings);
		return fail_flush_stdout(PROGRAM);
	}
	return run(&settings);
}
