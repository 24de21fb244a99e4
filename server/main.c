// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/main.c -- hotfixd: a parent that is root, a loop that is not, short-lived workers, and
 * nothing that ends when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "bpf/doctor.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/version.h"
#include "server/api.h"
#include "server/authority.h"
#include "server/config.h"
#include "server/confine.h"
#include "server/crew.h"
#include "server/drift.h"
#include "server/guard.h"
#include "server/member.h"
#include "server/parent.h"
#include "server/privilege.h"
#include "server/probe.h"
#include "server/reconcile.h"
#include "server/record.h"
#include "server/restore.h"
#include "server/revoke.h"
#include "server/work.h"

#define PROGRAM		 "hotfixd"

#define ANSWER_WAIT_MS	 10000
#define ANSWER_BYTES_MAX 65536
#define STATE_DB	 "%s/state.db"

/* Of the folder in bpffs, whose path may lead through what only root may enter. */
#define LOOP_FOLDER "/proc/self/fd/6/."

struct daemon {
	struct config config;
	struct event_base *base;
	struct store *store;
	struct store_hashing *hashing; /* what is stored, while all else starts */
	struct authority_check *check;
	struct crew *crew;
	struct workers *workers;
	struct reconcile *reconcile;
	struct events *events;
	struct record *record;
	struct hotfixes *hotfixes;
	struct api *api;
	struct report_daemon report;
	struct event *signals[2];
	bool stopping;
	int status;
};

static void on_stop(void *cookie)
{
	struct daemon *d = cookie;

	if (d->stopping) /* a terminal tells us, and the parent does */
		return;
	d->stopping = true;
	log_event(LOG_NOTICE, "stopping; what runs in the kernel stays");
	sd_notify(0, "STOPPING=1");
	if (boot_stop(d->store) < 0)
		log_event(LOG_WARNING, "the store does not know that this stop was asked for");
	event_base_loopbreak(d->base);
}

static void on_signal(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	on_stop(cookie);
}

/* What must be there before the network comes up is there, or cannot be. */
static void on_restored(void *cookie)
{
	struct daemon *d = cookie;

	log_event(LOG_NOTICE, "ready socket=%s adopted=%zu", d->config.socket,
		  d->report.adopted);
	sd_notifyf(0, "READY=1\nSTATUS=%zu hot-fix%s adopted from the kernel",
		   d->report.adopted, d->report.adopted == 1 ? "" : "es");
	record_start(d->record);
}

static void on_reconciled(size_t adopted, void *cookie)
{
	struct daemon *d = cookie;
	struct fail fail;

	d->report.adopted = adopted;
	authority_check_end(d->check, d->hashing);
	d->check = authority_check_free(d->check);
	d->hashing = store_hashing_free(d->hashing);
	if (api_new(&(struct api_context){.base = d->base,
					  .config = &d->config,
					  .listen_fd = WIRE_LISTEN_FD,
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
	if (member_new(d->hotfixes, record_host(d->record), &d->hotfixes->member, &fail) < 0) {
		log_event(LOG_ERR, "no member of its fleet: %s%s%s", fail.message,
			  fail.hint[0] ? "; " : "", fail.hint);
		d->hotfixes->no_member = fail;
	}
	revoke_run(d->hotfixes);
	restore_start(d->hotfixes, on_restored, d);
	if (drift_start(d->hotfixes) < 0)
		log_event(LOG_ERR, "what others change in the kernel will go unnoticed");
}

/* What the parent opened gets the numbers of server/wire.h. */
static void place(int given[WIRE_GIVEN])
{
	for (int i = 0; i < WIRE_GIVEN; i++) {
		int fd = given[i];

		given[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, WIRE_FDS_END);
		fd_closep(&fd);
	}
	for (int i = 0; i < WIRE_GIVEN; i++) {
		close(WIRE_LISTEN_FD + i);
		if (given[i] >= 0)
			dup3(given[i], WIRE_LISTEN_FD + i, O_CLOEXEC);
		fd_closep(&given[i]);
	}
}

static int become_loop(struct daemon *d, struct fail *reterr_fail)
{
	static char lsm[256];
	char path[CONFIG_PATH_BYTES + 16];
	struct wire_event hello;
	int given[WIRE_GIVEN], r;

	r = crew_hello(WIRE_FD, &hello, given, reterr_fail);
	if (r < 0)
		return r;
	place(given);
	doctor_lsm_has_bpf(lsm, sizeof(lsm));
	d->report = (struct report_daemon){.state_dir = d->config.state_dir,
					   .bpffs = d->config.bpffs,
					   .socket = d->config.socket,
					   .pid = (pid_t)hello.pid,
					   .loop_pid = getpid(),
					   .uid = hello.uid,
					   .lsm = lsm,
					   .started_ms = clock_real_ms()};
	if (geteuid() != 0) /* the service manager has started it so */
		r = privilege_refuse(hello.uid);
	else if (hello.uid)
		r = privilege_become(hello.uid, hello.gid, 0, false, (pid_t)hello.pid);
	else /* there is no such user: the parent has said so */
		r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
	snprintf(path, sizeof(path), STATE_DB, d->config.state_dir);
	if (r == 0) /* without threads, if need be */
		store_hashing_new(path, &d->hashing);
	if (r == 0)
		r = confine_loop(config_is_member(&d->config));
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"privileges could not be given up: %s", strerror(-r));
	return 0;
}

/*
 * The root that counts is the parent's. A database that was lost, or that is older, learns it
 * from there; a host that was given it beforehand need not be told.
 */
static void take_root(struct daemon *d)
{
	AUTO(trust_freep) struct trust *trust = NULL;
	AUTO_FREE uint8_t *bytes = NULL;
	char path[2 * CONFIG_PATH_BYTES];
	struct fail fail;
	size_t len;

	if (d->config.trust_dir[0])
		snprintf(path, sizeof(path), "%s/" WORK_ROOT_FILE, d->config.trust_dir);
	else
		snprintf(path, sizeof(path), "%s-trust/" WORK_ROOT_FILE, d->config.state_dir);
	if (io_read_file(path, DSSE_BYTES_MAX, &bytes, &len) < 0) {
		if (authority_trust(d->store, &trust, &fail) == 0)
			log_event(
				LOG_ERR,
				"%s is missing: nothing is applied until root hands it in once "
				"more, hotfixctl trust import",
				path);
		return;
	}
	if (authority_import(d->store, bytes, len, 0, &trust, &fail) < 0)
		log_event(LOG_ERR, "%s does not fit the stored roots: %s", path, fail.message);
}

/* What the kernel said before it went down, which only root may read. NULL: nobody knows. */
static json_t *ask_records(struct daemon *d)
{
	const struct crew_job job = {.op = "records", .bundle_fd = -1, .peer_fd = -1};
	AUTO_JSON json_t *answer = NULL;
	struct crew_member *m = NULL;
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *text = malloc(ANSWER_BYTES_MAX);
	struct pollfd p;
	size_t len = 0;
	ssize_t n = 1;

	if (!text || crew_start(d->crew, &job, NULL, NULL, &m, &fd, NULL) < 0)
		return NULL;
	p = (struct pollfd){.fd = fd, .events = POLLIN};
	while (n > 0 && len < ANSWER_BYTES_MAX && poll(&p, 1, ANSWER_WAIT_MS) == 1) {
		n = read(fd, text + len, ANSWER_BYTES_MAX - len);
		len += n > 0 ? (size_t)n : 0;
	}
	crew_forget(m);
	answer = json_loadb(text, len, 0, NULL);
	return json_incref(json_object_get(answer, "report"));
}

static int open_daemon(struct daemon *d, struct fail *reterr_fail)
{
	static const int wanted[] = {SIGTERM, SIGINT};
	char path[CONFIG_PATH_BYTES + 16];
	struct hotfixes_opts opts;
	struct boot boot;
	int r;

	r = become_loop(d, reterr_fail);
	if (r < 0)
		return r;
	d->base = event_base_new();
	if (!d->base || crew_new(d->base, WIRE_FD, &d->crew) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	crew_on_stop(d->crew, on_stop, d);
	r = workers_new(d->base, d->crew, d->config.worker_deadline_ms, &d->workers);
	if (r == 0)
		r = reconcile_look(d->workers, &d->reconcile);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "start failed: %s", strerror(-r));
	snprintf(path, sizeof(path), STATE_DB, d->config.state_dir);
	r = store_open(path, &d->store, reterr_fail);
	if (r < 0)
		return r;
	store_hashing_begin(d->hashing);
	r = boot_begin(d->store, d->config.state_dir, d->report.started_ms, &boot);
	if (r < 0)
		log_event(LOG_ERR, "this boot is not recorded: %s", strerror(-r));
	if (boot.crashed) {
		AUTO_JSON json_t *records = ask_records(d);

		boot_cause(records, boot.last_ms, boot.cause);
		log_event(LOG_ERR, "the host went down unasked in its last boot cause=\"%s\"",
			  boot.cause);
	}
	take_root(d);
	d->check = authority_check_new(d->store);
	if (!d->check)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		d->signals[i] = evsignal_new(d->base, wanted[i], on_signal, d);
		if (!d->signals[i] || event_add(d->signals[i], NULL) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	signal(SIGPIPE, SIG_IGN);

	r = events_new(&d->events);
	opts = (struct hotfixes_opts){
		.base = d->base,
		.config = &d->config,
		.bpffs = LOOP_FOLDER,
		.store = d->store,
		.crew = d->crew,
		.workers = d->workers,
		.events = d->events,
		.boot = &boot,
		.log_fd = fcntl(WIRE_KMSG_FD, F_GETFD) < 0 ? -1 : WIRE_KMSG_FD,
	};
	if (r == 0)
		r = record_new(d->base, d->store, d->events, d->config.state_dir, &d->record);
	if (r == 0)
		r = hotfixes_new(&opts, &d->hotfixes);
	if (r == 0) {
		d->hotfixes->host_id = record_host_id(d->record);
		r = reconcile_start(d->reconcile, d->hotfixes, on_reconciled, d);
	}
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "start failed: %s", strerror(-r));
	return 0;
}

static void close_daemon(struct daemon *d)
{
	api_free(d->api);
	if (d->hotfixes)
		member_free(d->hotfixes->member);
	hotfixes_free(d->hotfixes);
	record_free(d->record);
	events_free(d->events);
	workers_free(d->workers);
	reconcile_free(d->reconcile);
	authority_check_free(d->check);
	store_hashing_free(d->hashing);
	for (size_t i = 0; i < ARRAY_SIZE(d->signals); i++)
		if (d->signals[i])
			event_free(d->signals[i]);
	store_free(d->store);
	crew_free(d->crew);
	if (d->base)
		event_base_free(d->base);
}

static bool is_part(const char *name)
{
	return strcmp(name, "loop") == 0 || strcmp(name, "worker") == 0 ||
	       strcmp(name, "guard") == 0 || strcmp(name, "probe") == 0 ||
	       strcmp(name, "parent") == 0;
}

static bool is_channel(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

/* Which makes systemd start a parent for us. */
static int connect_parent(const char *path, struct fail *reterr_fail)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, path, strlen(path) + 1); /* config.c checked the length */
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		fail_set(reterr_fail, FAIL_UNREACHABLE, "nobody starts a parent at %s: %s",
			 path, strerror(errno));
		return fail_hint(reterr_fail, "hotfixd-parent.socket does; or start hotfixd, "
					      "without a word more, as root");
	}
	return dup2(take_fd(&fd), WIRE_FD) < 0
		       ? fail_set(reterr_fail, FAIL_INTERNAL, "start failed")
		       : 0;
}

static int loop_main(int argc, char **argv, bool has_channel)
{
	struct daemon d = {.status = 0};
	struct fail fail = {.code = FAIL_INTERNAL};

	umask(077);
	close_range(WIRE_FD, ~0U, CLOSE_RANGE_CLOEXEC);
	if (config_load(argc, argv, &d.config, &fail) < 0)
		return fail_report(&fail, PROGRAM);
	log_open(config_log_priority(&d.config));
	if ((!has_channel && connect_parent(d.config.parent_socket, &fail) < 0) ||
	    open_daemon(&d, &fail) < 0)
		d.status = fail_report(&fail, PROGRAM);
	else
		event_base_dispatch(d.base);
	close_daemon(&d);
	return d.status;
}

/* The connection is our stdin, and nobody else's. */
static int parent_main(int argc, char **argv)
{
	int channel = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct fail fail = {.code = FAIL_INTERNAL};
	struct config config;

	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	umask(077);
	if (channel < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    config_load(argc, argv, &config, &fail) < 0)
		return fail_report(&fail, PROGRAM);
	log_open(config_log_priority(&config));
	return parent_answer(&config, channel);
}

/* What hotfixd starts as itself: a worker has its files, guard and probe lead a session. */
static int run_part(int argc, char **argv)
{
	bool leads = getsid(0) == getpid();

	if (strcmp(argv[1], "worker") == 0 && argc == 2 && work_is_worker())
		return work_main();
	if (strcmp(argv[1], "loop") == 0)
		return loop_main(argc - 1, argv + 1, is_channel(WIRE_FD));
	if (strcmp(argv[1], "parent") == 0 && is_channel(STDIN_FILENO))
		return parent_main(argc - 1, argv + 1);
	if (strcmp(argv[1], "guard") == 0 && argc == 4 && leads)
		return guard_main(argv[2], argv[3]);
	if (strcmp(argv[1], "probe") == 0 && argc > 3 && leads)
		return probe_main(argc, argv);
	fprintf(stderr,
		"hotfixd: \"hotfixd %s\" is started by hotfixd or systemd, not by hand\n",
		argv[1]);
	return fail_exit(FAIL_USAGE);
}

int main(int argc, char **argv)
{
	struct config config;
	struct fail fail = {.code = FAIL_INTERNAL}, other = {.code = FAIL_INTERNAL};
	bool no_group, no_label;
	int status;

	if (argc > 1 && is_part(argv[1]))
		return run_part(argc, argv);
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		config_usage();
		return fail_flush_stdout(PROGRAM);
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("hotfixd %s\n", HOTFIX_VERSION);
		return fail_flush_stdout(PROGRAM);
	}
	/* Workers take their files by number: none of ours may come from whoever started us. */
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	umask(077);
	if (config_load(argc, argv, &config, &fail) < 0)
		return fail_report(&fail, PROGRAM);
	no_group = config_check_groups(&config, &fail) < 0;
	no_label = config_check_labels(&config, no_group ? &other : &fail) < 0;
	if (config.command.check_only) {
		if (no_group || no_label)
			return fail_report(&fail, PROGRAM);
		config_print(&config);
		return fail_flush_stdout(PROGRAM);
	}
	log_open(config_log_priority(&config));
	if (no_group || no_label)
		log_event(LOG_WARNING, "%s; %s", fail.message, fail.hint);
	if (no_group && no_label)
		log_event(LOG_WARNING, "%s; %s", other.message, other.hint);
	status = parent_run(&config, argc, argv, &fail);
	return status < 0 ? fail_report(&fail, PROGRAM) : status;
}
