// SPDX-License-Identifier: BSD-2-Clause
#include "server/work.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/audit.h"
#include "bpf/doctor.h"
#include "bpf/engine.h"
#include "bpf/gate.h"
#include "bpf/meter.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/boot.h"
#include "server/guard.h"
#include "server/privilege.h"
#include "server/probe.h"
#include "server/wire.h"
#include "store/bundle.h"
#include "store/trust.h"

#define REQUEST_BYTES_MAX 65536

struct work {
	const char *op, *name;
	uint32_t index;
	struct engine engine;
	struct trust *trust;
	struct bundle *bundle;
	struct engine_version version;
	json_t *request;	    /* names point into it */
	const char *socket, *shown; /* the folder's path */
	uid_t uid;
	gid_t gid;
	pid_t parent;
	uint8_t *root, *bytes;
	int fds[1 + METER_OPS_MAX]; /* go with the answer */
	size_t n_fds;
};

/*
 * The bytes are read once into memory of our own: what is hashed, audited and loaded
 * is one buffer that nobody else can write.
 */
static int open_bundle(struct work *w, struct fail *reterr_fail)
{
	size_t root_len, len;
	int r;

	r = io_read_fd(WORK_FD_ROOT, DSSE_BYTES_MAX, &w->root, &root_len);
	if (r == -EBADF) {
		fail_set(reterr_fail, FAIL_NO_TRUST,
			 "the folder of the root of trust is empty: nothing can be verified");
		return fail_hint(reterr_fail, "root hands in the root in force once more: "
					      "hotfixctl trust import ROOT");
	}
	if (r == 0)
		r = io_read_fd(WORK_FD_BUNDLE, BUNDLE_BYTES_MAX, &w->bytes, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no bundle or root: %s",
				strerror(-r));
	r = trust_open(w->root, root_len, &w->trust, reterr_fail);
	if (r < 0)
		return r;
	r = bundle_open(w->bytes, len, w->trust, &w->bundle, reterr_fail);
	if (r < 0)
		return r;
	if (w->bundle->manifest->serial < trust_floor(w->trust, w->bundle->manifest->name)) {
		fail_set(reterr_fail, FAIL_DOWNGRADE, "it is below the floor of root %" PRIu64,
			 w->trust->version);
		return fail_hint(reterr_fail, "a newer version is needed");
	}
	if (w->name && strcmp(w->name, w->bundle->manifest->name) != 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"worker: asked for %s, but the bundle is %s", w->name,
				w->bundle->manifest->name);
	return 0;
}

static int take_bundle(struct work *w, struct fail *reterr_fail)
{
	struct audit audit;
	int r;

	r = open_bundle(w, reterr_fail);
	if (r < 0)
		return r;
	r = audit_object(w->bundle->object, w->bundle->object_len, &audit, reterr_fail);
	if (r < 0)
		return r;
	r = audit_compare(&audit, w->bundle->manifest->hooks, w->bundle->manifest->n_hooks,
			  reterr_fail);
	if (r < 0)
		return r;
	w->version = (struct engine_version){
		.name = w->bundle->manifest->name,
		.serial = w->bundle->manifest->serial,
		.object = w->bundle->object,
		.object_len = w->bundle->object_len,
		.hooks = w->bundle->manifest->hooks,
		.n_hooks = w->bundle->manifest->n_hooks,
		.accept_preemption_leak = w->bundle->manifest->accept_preemption_leak,
		.cc_own_state = w->bundle->manifest->cc_own_state,
		.cc_default = w->bundle->manifest->cc_default,
	};
	memcpy(w->version.digest, w->bundle->manifest->object_sha256,
	       sizeof(w->version.digest));
	return 0;
}

static int do_check(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = take_bundle(w, reterr_fail);

	return r < 0 ? r : engine_check(&w->engine, &w->version, ret_report, reterr_fail);
}

/*
 * What the loop cannot open: the kernel's statistics of programs, on while the descriptor is
 * open, and the programs of registered ops. Without them health finds no cost, and says so.
 */
static void open_meter(struct work *w)
{
	const char *name = w->version.name ? w->version.name : w->name;
	size_t n = 0;

	/* Asked once more: a version is not to pay for a moment's want of memory. */
	if (meter_on(&w->fds[0]) < 0 && meter_on(&w->fds[0]) < 0)
		return;
	w->n_fds = 1;
	if (meter_ops(w->engine.bpffs, name, w->fds + 1, &n) == 0 ||
	    meter_ops(w->engine.bpffs, name, w->fds + 1, &n) == 0)
		w->n_fds += n;
}

static int do_stage(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = take_bundle(w, reterr_fail);

	if (r == 0)
		r = engine_stage(&w->engine, &w->version, w->index, ret_report, reterr_fail);
	if (r == 0)
		open_meter(w);
	return r;
}

static int do_settle(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = guard_start(w->engine.bpffs, w->shown, w->name);

	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"no guard could be started for the trial: %s", strerror(-r));
	r = engine_settle(&w->engine, w->name, ret_report, reterr_fail);
	if (r == 0)
		open_meter(w);
	return r;
}

static int do_unstage(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	return engine_unstage(&w->engine, w->name, w->index, ret_report, reterr_fail);
}

static int do_remove(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	return engine_remove(&w->engine, w->name, ret_report, reterr_fail);
}

static int do_survey(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	return engine_survey(&w->engine, ret_report, reterr_fail);
}

/* {"host":doctor_host(),"hooks":null|[...],"bundle":null|{name,serial,fits,why}} */
static int do_doctor(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	AUTO_JSON json_t *host = NULL, *hooks = NULL, *bundle = NULL;
	struct fail why = {.code = FAIL_NONE};
	char release[DOCTOR_RELEASE_BYTES];
	struct utsname uts;
	struct stat st;
	int r;

	r = doctor_host(w->engine.bpffs, &host);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "doctor: %s", strerror(-r));
	if (fstat(WORK_FD_BUNDLE, &st) == 0) {
		r = take_bundle(w, reterr_fail);
		if (r < 0)
			return r;
		r = doctor_hooks(w->version.hooks, w->version.n_hooks,
				 w->version.accept_preemption_leak, &hooks);
		if (r < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "doctor: %s", strerror(-r));
		uname(&uts);
		doctor_release(release);
		manifest_fits_kernel(w->bundle->manifest, release, uts.machine, &why);
		bundle = json_pack("{s:s, s:I, s:b, s:s?}", "name", w->version.name, "serial",
				   (json_int_t)w->version.serial, "fits", why.code == FAIL_NONE,
				   "why", why.code == FAIL_NONE ? NULL : why.message);
	}
	*ret_report =
		json_pack("{s:O, s:O?, s:O?}", "host", host, "hooks", hooks, "bundle", bundle);
	return *ret_report ? 0 : -ENOMEM;
}

/* What the kernel said when it went down: root's files. */
static int do_records(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	(void)w;
	*ret_report = boot_records("");
	return *ret_report ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

/* ---- the root of trust -------------------------------------------------------------------- */

/*
 * The first root is what an administrator says it is: the connection he asked over comes
 * along, accepted on our socket from a process of root. What follows is proved by signatures.
 */
static int check_first(const struct work *w, struct fail *reterr_fail)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr), cred_len = sizeof(struct ucred);
	struct ucred cred;

	if (getsockname(WORK_FD_PEER, (struct sockaddr *)&addr, &len) == 0 &&
	    addr.sun_family == AF_UNIX && strcmp(addr.sun_path, w->socket) == 0 &&
	    getsockopt(WORK_FD_PEER, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) == 0 &&
	    cred.uid == 0)
		return 0;
	fail_set(reterr_fail, FAIL_PERMISSION, "the first root of a host is imported by root");
	return fail_hint(reterr_fail, "run hotfixctl trust import as root");
}

static int write_root(const char *name, const uint8_t *bytes, size_t len)
{
	AUTO_CLOSE int fd = -1;
	int r;

	unlinkat(WORK_FD_TRUST, "new", 0);
	fd = openat(WORK_FD_TRUST, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, bytes, len);
	if (r == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0 ||
		       renameat(WORK_FD_TRUST, "new", WORK_FD_TRUST, name) < 0 ||
		       fsync(WORK_FD_TRUST) < 0))
		r = -errno;
	return r;
}

/* {"version":N}. The chain is kept beside it, for who wants to look. */
static int do_trust(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *next = NULL;
	size_t len, root_len = 0;
	char name[32];
	int r;

	r = io_read_fd(WORK_FD_BUNDLE, DSSE_BYTES_MAX, &w->bytes, &len);
	if (r == 0)
		r = io_read_fd(WORK_FD_ROOT, DSSE_BYTES_MAX, &w->root, &root_len);
	if (r < 0 && r != -EBADF)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no root: %s",
				strerror(-r));
	if (r == -EBADF) {
		r = trust_open_first(w->bytes, len, &next, reterr_fail);
		if (r == 0)
			r = check_first(w, reterr_fail);
	} else {
		r = trust_open(w->root, root_len, &w->trust, reterr_fail);
		if (r == 0)
			r = trust_open_next(w->bytes, len, w->trust, &next, reterr_fail);
	}
	if (r < 0 && r != -EALREADY)
		return r;
	if (r == 0) {
		snprintf(name, sizeof(name), WORK_ROOT_FILE ".%" PRIu64, next->version);
		r = write_root(name, w->bytes, len);
		if (r == 0)
			r = write_root(WORK_ROOT_FILE, w->bytes, len);
		if (r < 0)
			return fail_set(reterr_fail, FAIL_STORAGE,
					"the root of trust cannot be kept: %s", strerror(-r));
	}
	*ret_report = json_pack("{s:I}", "version",
				(json_int_t)(next ? next->version : w->trust->version));
	return *ret_report ? 0 : -ENOMEM;
}

/* ---- probes ---------------------------------------------------------------------------------- */

/* Becomes the probe of that number: what is run is what was signed. */
static int do_probe(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	char *argv[PROBE_WORDS_MAX] = {0};
	char *const env[] = {NULL};
	int r = open_bundle(w, reterr_fail);

	(void)ret_report;
	if (r < 0)
		return r;
	r = probe_words(json_array_get(json_object_get(w->bundle->manifest->health, "probes"),
				       w->index),
			argv);
	if (r < 0 || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no such probe");
	execve("/proc/self/exe", argv, env);
	return fail_set(reterr_fail, FAIL_INTERNAL, "worker: %s", strerror(errno));
}

/* ---- operations ------------------------------------------------------------------------------ */

/* What was measured to be needed for each: DESIGN.md. */
#define LOAD                                                                      \
	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_SYS_ADMIN) | \
	 PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_SYSLOG))
#define NETNS  (PRIVILEGE(CAP_NET_ADMIN) | PRIVILEGE(CAP_SYS_PTRACE))
#define NOBODY (PRIVILEGE(CAP_SETUID) | PRIVILEGE(CAP_SETGID) | PRIVILEGE(CAP_SYS_ADMIN))

static const struct work_op ops[] = {
	/* clang-format off */
	{ "check",   do_check,   LOAD | NETNS, false, false, false, false },
	{ "stage",   do_stage,   LOAD | NETNS, true,  true, false, false },
	{ "settle",  do_settle,  LOAD | NETNS, true,  true, false, false },
	{ "unstage", do_unstage, LOAD | NETNS, true,  true, false, false },
	{ "remove",  do_remove,  LOAD | NETNS, true,  true, false, false },
	{ "survey",  do_survey,  LOAD | NETNS, false, true, false, false },
	{ "doctor",  do_doctor,  LOAD | NETNS, false, false, false, false },
	{ "records", do_records, PRIVILEGE(CAP_DAC_READ_SEARCH), false, false, false, false },
	{ "probe",   do_probe,   NOBODY,       true,  false, true, false },
	{ "trust",   do_trust,   0,	       false, false, false, true },
	/* clang-format on */
};

const struct work_op *work_op_of(const char *op)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].op, op) == 0)
			return &ops[i];
	return NULL;
}

/* The request is the parent's; nothing else is read before privileges are given up. */
static int run(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	static char log[ENGINE_LOG_BYTES];
	AUTO_FREE uint8_t *text = NULL;
	const struct work_op *op;
	struct json_fields f;
	size_t len;
	int r;

	r = io_read_fd(WORK_FD_REQUEST, REQUEST_BYTES_MAX, &text, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no request: %s",
				strerror(-r));
	r = json_parse("worker request", text, len, &w->request, reterr_fail);
	if (r < 0)
		return r;
	f = json_fields("worker request", w->request, reterr_fail);
	w->op = json_str(&f, "op", 32);
	w->name = json_str_or(&f, "name", HOOK_NAME_MAX, NULL);
	w->index = (uint32_t)json_u64_or(&f, "index", 0, UINT8_MAX, 0);
	w->engine.bpffs = json_str(&f, "bpffs", 255);
	w->engine.log = log;
	w->shown = json_str(&f, "shown", 255);
	w->socket = json_str(&f, "socket", 255);
	w->uid = (uid_t)json_u64(&f, "uid", 0, UINT32_MAX);
	w->gid = (gid_t)json_u64(&f, "gid", 0, UINT32_MAX);
	w->parent = (pid_t)json_u64(&f, "parent", 1, INT32_MAX);
	r = json_fields_end(&f);
	if (r < 0)
		return r;
	op = work_op_of(w->op);
	if (!op)
		return fail_set(reterr_fail, FAIL_USAGE, "worker: no operation \"%s\"", w->op);
	if (strcmp(w->engine.bpffs, WORK_FOLDER) == 0 && !work_enter_folder())
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: %s: %s", w->shown,
				strerror(errno));
	/*
	 * If the daemon dies, this half-done change must not go on behind the next one's back.
	 * Should it be gone already, the state lock (fd 6) keeps the next one waiting.
	 */
	r = privilege_become(op->writes_trust ? geteuid() : w->uid,
			     op->writes_trust ? getegid() : w->gid, op->keep, true, w->parent);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"worker: privileges could not be given up: %s", strerror(-r));
	return op->fn(w, ret_report, reterr_fail);
}

/* Verifier logs may quote any bytes; JSON wants UTF-8. */
static json_t *log_text(char *log)
{
	for (char *p = log; *p; p++)
		if ((signed char)*p < 0 || (*p < 0x20 && *p != '\n' && *p != '\t'))
			*p = '?';
	return json_string(log);
}

bool work_enter_folder(void)
{
	return fchdir(WORK_FD_FOLDER) == 0;
}

bool work_is_worker(void)
{
	int seals = fcntl(WORK_FD_REQUEST, F_GET_SEALS); /* -1: no memory at all */

	return seals >= 0 && (seals & F_SEAL_WRITE);
}

int work_main(void)
{
	struct fail fail = {.code = FAIL_INTERNAL,
			    .message = "the worker failed without a word"};
	AUTO_JSON json_t *report = NULL, *answer = NULL;
	char *text = NULL;    /* it lives as long as the process, too */
	static struct work w; /* all of it lives as long as the process */
	int r;

	umask(077);
	r = run(&w, &report, &fail);
	if (r < 0) {
		answer = fail_to_json(&fail);
		if (answer && w.engine.log && w.engine.log[0])
			json_object_set_new(answer, "log", log_text(w.engine.log));
	} else {
		answer = json_pack("{s:O?}", "report", report);
	}
	text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	if (!text)
		return 1;
	/* Descriptors go with the first byte. */
	if (w.n_fds && wire_send(WORK_FD_ANSWER, text++, 1, w.fds, w.n_fds) < 0)
		return 1;
	return io_write_all(WORK_FD_ANSWER, text, strlen(text)) < 0;
}
