// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/main.c -- hotfixd: one loop, short-lived workers, and nothing that ends when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/version.h"
#include "server/api.h"
#include "server/authority.h"
#include "server/config.h"
#include "server/drift.h"
#include "server/folder.h"
#include "server/guard.h"
#include "server/probe.h"
#include "server/reconcile.h"
#include "server/record.h"
#include "server/restore.h"
#include "server/revoke.h"
#include "server/work.h"

#define LOCK_WAIT_MS \
	15000 /* a worker of a dead daemon is killed at once, but may be in the kernel */
#define LOCK_POLL_MS 50

struct daemon {
	struct config config;
	struct event_base *base;
	struct store *store;
	struct folder *folder;
	struct workers *workers;
	struct events *events;
	struct record *record;
	struct hotfixes *hotfixes;
	struct api *api;
	struct report_daemon report;
	struct event *signals[3];
	int lock_fd;
	int status;
};

/* The holder's pid as it wrote it; 0 unknown. */
static pid_t lock_holder(int fd)
{
	char text[24] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

/*
 * The lock is held by a daemon and by each of its workers. A living holder refuses us;
 * a dead one whose last worker is still on its way out is waited for.
 */
static int take_lock(const char *state_dir, int *ret_fd, struct fail *reterr_fail)
{
	uint64_t until_ns = clock_mono_ns() + LOCK_WAIT_MS * 1000000ULL;
	AUTO_CLOSE int fd = -1;
	char path[CONFIG_PATH_BYTES + 16], text[24];
	pid_t holder;

	snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = -errno;

		fail_set(reterr_fail, FAIL_STORAGE, "cannot open %s: %s", path, strerror(-r));
		fail_hint(
			reterr_fail,
			"the state directory must be writable by hotfixd; what runs in the kernel is not affected");
		return r;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		holder = lock_holder(fd);
		if ((holder > 0 && kill(holder, 0) == 0) || clock_mono_ns() > until_ns) {
			fail_set(reterr_fail, FAIL_CONFLICT, "another hotfixd (pid %d) uses %s",
				 (int)holder, state_dir);
			return fail_hint(reterr_fail,
					 "stop it first, or choose another --state-dir");
		}
		usleep(LOCK_POLL_MS * 1000);
	}
	snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0) {
		fail_set(reterr_fail, FAIL_STORAGE, "cannot write %s: %s", path,
			 strerror(errno));
		return fail_hint(reterr_fail, "is the disk full?");
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static void on_stop(evutil_socket_t fd, short what, void *cookie)
{
	struct daemon *d = cookie;

	(void)what;
	log_event(LOG_NOTICE, "stopping signal=%d; what runs in the kernel stays", (int)fd);
	sd_notify(0, "STOPPING=1");
	if (boot_stop(d->store) < 0)
		log_event(LOG_WARNING, "the store does not know that this stop was asked for");
	event_base_loopbreak(d->base);
}

static void on_child(evutil_socket_t fd, short what, void *cookie)
{
	struct daemon *d = cookie;

	(void)fd;
	(void)what;
	workers_reap(d->workers);
}

/* What must be there before the network comes up is there, or cannot be. */
static void on_restored(void *cookie)
{
	struct daemon *d = cookie;

	log_event(LOG_NOTICE, "ready socket=%s adopted=%zu", d->config.socket,
		  d->report.adopted);
	sd_notifyf(0, "READY=1\nSTATUS=%zu hot-fixes adopted from the kernel",
		   d->report.adopted);
}

static void on_reconciled(size_t adopted, void *cookie)
{
	struct daemon *d = cookie;
	struct fail fail;

	d->report.adopted = adopted;
	if (api_new(&(struct api_context){.base = d->base,
					  .config = &d->config,
					  .store = d->store,
					  .workers = d->workers,
					  .hotfixes = d->hotfixes,
					  .events = d->events,
					  .record = d->record,
					  .report = d->report},
		    &d->api, &fail) < 0) {
		log_event(LOG_ERR, "%s%s%s", fail.message, fail.hint[0] ? "; " : "", fail.hint);
		d->status = fail_exit(fail.code);
		event_base_loopbreak(d->base);
		return;
	}
	revoke_run(d->hotfixes);
	restore_start(d->hotfixes, on_restored, d);
	if (drift_start(d->hotfixes) < 0)
		log_event(LOG_ERR, "what others change in the kernel will go unnoticed");
}

static int take_folder(struct daemon *d, struct fail *reterr_fail)
{
	int r;

	if (folder_new(d->config.bpffs, &d->folder) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = folder_hold(d->folder, reterr_fail);
	if (r == 0 && !folder_held(d->folder))
		log_event(LOG_WARNING,
			  "%s is not in a bpffs: nothing can be applied until one is mounted",
			  d->config.bpffs);
	return r;
}

static int open_daemon(struct daemon *d, struct fail *reterr_fail)
{
	static const int wanted[] = {SIGTERM, SIGINT};
	char path[CONFIG_PATH_BYTES + 16];
	struct boot boot;
	int r;

	r = io_mkdir_p(d->config.state_dir, 0700);
	if (r < 0) {
		fail_set(reterr_fail, FAIL_STORAGE, "cannot create the state directory %s: %s",
			 d->config.state_dir, strerror(-r));
		return fail_hint(reterr_fail,
				 "--state-dir chooses another; it must be writable");
	}
	r = take_lock(d->config.state_dir, &d->lock_fd, reterr_fail);
	if (r < 0)
		return r;
	r = take_folder(d, reterr_fail);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/state.db", d->config.state_dir);
	r = store_open(path, &d->store, reterr_fail);
	if (r < 0)
		return r;

	d->report = (struct report_daemon){.state_dir = d->config.state_dir,
					   .bpffs = d->config.bpffs,
					   .socket = d->config.socket,
					   .started_ms = clock_real_ms()};
	r = boot_begin(d->store, d->config.state_dir, d->report.started_ms, &boot);
	if (r < 0)
		log_event(LOG_ERR, "this boot is not recorded: %s", strerror(-r));
	if (boot.crashed)
		log_event(LOG_ERR, "the host went down unasked in its last boot cause=\"%s\"",
			  boot.cause);
	d->base = event_base_new();
	if (!d->base)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		d->signals[i] = evsignal_new(d->base, wanted[i], on_stop, d);
		event_add(d->signals[i], NULL);
	}
	d->signals[2] = evsignal_new(d->base, SIGCHLD, on_child, d);
	event_add(d->signals[2], NULL);
	signal(SIGPIPE, SIG_IGN);

	r = workers_new(d->base, d->folder, d->config.worker_deadline_ms, d->lock_fd,
			&d->workers);
	if (r == 0)
		r = events_new(&d->events);
	if (r == 0)
		r = record_new(d->base, d->store, d->events, d->config.state_dir, &d->record);
	if (r == 0)
		r = hotfixes_new(d->base, &d->config, d->store, d->workers, d->events, &boot,
				 &d->hotfixes);
	if (r == 0) {
		d->hotfixes->host_id = record_host_id(d->record);
		authority_check_stored(d->store);
		r = reconcile_start(d->hotfixes, on_reconciled, d);
	}
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "start failed: %s", strerror(-r));
	return 0;
}

static void close_daemon(struct daemon *d)
{
	api_free(d->api);
	hotfixes_free(d->hotfixes);
	record_free(d->record);
	events_free(d->events);
	workers_free(d->workers);
	for (size_t i = 0; i < ARRAY_SIZE(d->signals); i++)
		if (d->signals[i])
			event_free(d->signals[i]);
	if (d->base)
		event_base_free(d->base);
	store_free(d->store);
	folder_free(d->folder);
	fd_closep(&d->lock_fd);
}

static int report_failure(const struct fail *fail)
{
	fprintf(stderr, "hotfixd: %s\n", fail->message);
	if (fail->hint[0])
		fprintf(stderr, "hotfixd: %s\n", fail->hint);
	return fail_exit(fail->code);
}

static int flush_stdout(void)
{
	struct fail fail;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fail_set(&fail, FAIL_INTERNAL, "writing to stdout: %s", strerror(errno));
	return report_failure(&fail);
}

static bool is_part(const char *name)
{
	return strcmp(name, "worker") == 0 || strcmp(name, "guard") == 0 ||
	       strcmp(name, "probe") == 0;
}

/* What hotfixd starts as itself: a worker has its files, guard and probe lead a session. */
static int run_part(int argc, char **argv)
{
	bool leads = getsid(0) == getpid();

	if (strcmp(argv[1], "worker") == 0 && argc == 2 && work_is_worker())
		return work_main();
	if (strcmp(argv[1], "guard") == 0 && argc == 4 && leads)
		return guard_main(argv[2], argv[3]);
	if (strcmp(argv[1], "probe") == 0 && argc > 3 && leads)
		return probe_main(argc, argv);
	fprintf(stderr, "hotfixd: \"hotfixd %s\" is started by hotfixd, not by hand\n",
		argv[1]);
	return fail_exit(FAIL_USAGE);
}

int main(int argc, char **argv)
{
	struct daemon d = {.lock_fd = -1};
	struct fail fail = {.code = FAIL_INTERNAL};
	bool no_group;

	if (argc > 1 && is_part(argv[1]))
		return run_part(argc, argv);
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		config_usage();
		return flush_stdout();
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("hotfixd %s\n", HOTFIX_VERSION);
		return flush_stdout();
	}
	/* Workers take their files by number: none of ours may come from whoever started us. */
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	umask(077);
	if (config_load(argc, argv, &d.config, &fail) < 0)
		return report_failure(&fail);
	no_group = config_check_groups(&d.config, &fail) < 0;
	if (d.config.check_only) {
		if (no_group)
			return report_failure(&fail);
		config_print(&d.config);
		return flush_stdout();
	}
	log_open(config_log_priority(&d.config));
	if (no_group)
		log_event(LOG_WARNING, "%s; %s", fail.message, fail.hint);
	if (open_daemon(&d, &fail) < 0)
		d.status = report_failure(&fail);
	else
		event_base_dispatch(d.base);
	close_daemon(&d);
	return d.status;
}
