// SPDX-License-Identifier: BSD-2-Clause
#include "server/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/audit.h"
#include "bpf/doctor.h"
#include "bpf/engine.h"
#include "bpf/gate.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/guard.h"
#include "store/bundle.h"
#include "store/trust.h"

enum { FD_ANSWER = 1, FD_REQUEST = 3, FD_BUNDLE = 4, FD_ROOT = 5 };

#define REQUEST_BYTES_MAX 65536

struct work {
	const char *op, *name;
	uint32_t index;
	struct engine engine;
	struct trust *trust;
	struct bundle *bundle;
	struct engine_version version;
	json_t *request; /* names point into it */
	uint8_t *root, *bytes;
};

/*
 * The bytes are read once into memory of our own: what is hashed, audited and loaded
 * is one buffer that nobody else can write.
 */
static int take_bundle(struct work *w, struct fail *reterr_fail)
{
	size_t root_len, len;
	struct audit audit;
	int r;

	r = io_read_fd(FD_ROOT, DSSE_BYTES_MAX, &w->root, &root_len);
	if (r == 0)
		r = io_read_fd(FD_BUNDLE, BUNDLE_BYTES_MAX, &w->bytes, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no bundle or root: %s",
				strerror(-r));
	r = trust_open(w->root, root_len, &w->trust, reterr_fail);
	if (r < 0)
		return r;
	r = bundle_open(w->bytes, len, w->trust, &w->bundle, reterr_fail);
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
	if (w->name && strcmp(w->name, w->version.name) != 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"worker: asked for %s, but the bundle is %s", w->name,
				w->version.name);
	return 0;
}

static int do_check(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = take_bundle(w, reterr_fail);

	return r < 0 ? r : engine_check(&w->engine, &w->version, ret_report, reterr_fail);
}

static int do_stage(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = take_bundle(w, reterr_fail);

	return r < 0 ? r
		     : engine_stage(&w->engine, &w->version, w->index, ret_report, reterr_fail);
}

static int do_settle(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	int r = guard_start(w->engine.bpffs, w->name);

	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"no guard could be started for the trial: %s", strerror(-r));
	return engine_settle(&w->engine, w->name, ret_report, reterr_fail);
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
	if (fstat(FD_BUNDLE, &st) == 0) {
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

static const struct {
	const char *op;
	int (*fn)(struct work *w, json_t **ret_report, struct fail *reterr_fail);
} ops[] = {
	{"check", do_check},	 {"stage", do_stage},	{"settle", do_settle},
	{"unstage", do_unstage}, {"remove", do_remove}, {"survey", do_survey},
	{"doctor", do_doctor},
};

static int run(struct work *w, json_t **ret_report, struct fail *reterr_fail)
{
	static char log[ENGINE_LOG_BYTES];
	AUTO_FREE uint8_t *text = NULL;
	struct json_fields f;
	size_t len;
	int r;

	r = io_read_fd(FD_REQUEST, REQUEST_BYTES_MAX, &text, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "worker: no request: %s",
				strerror(-r));
	r = json_parse("worker request", text, len, &w->request, reterr_fail);
	if (r < 0)
		return r;
	f = json_fields("worker request", w->request, reterr_fail);
	w->op = json_str(&f, "op", 32);
	w->name = json_str_or(&f, "name", HOOK_NAME_MAX, NULL);
	w->index = (uint32_t)json_u64_or(&f, "index", 0, GATE_VERSIONS - 1, 0);
	w->engine.bpffs = json_str(&f, "bpffs", 255);
	w->engine.log = log;
	r = json_fields_end(&f);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].op, w->op) == 0)
			return ops[i].fn(w, ret_report, reterr_fail);
	return fail_set(reterr_fail, FAIL_USAGE, "worker: no operation \"%s\"", w->op);
}

/* Verifier logs may quote any bytes; JSON wants UTF-8. */
static json_t *log_text(char *log)
{
	for (char *p = log; *p; p++)
		if ((signed char)*p < 0 || (*p < 0x20 && *p != '\n' && *p != '\t'))
			*p = '?';
	return json_string(log);
}

bool work_is_worker(void)
{
	return fcntl(FD_REQUEST, F_GETFD) >= 0;
}

int work_main(void)
{
	struct fail fail = {.code = FAIL_INTERNAL,
			    .message = "the worker failed without a word"};
	AUTO_JSON json_t *report = NULL, *answer = NULL;
	AUTO_FREE char *text = NULL;
	static struct work w; /* all of it lives as long as the process */
	int r;

	/*
	 * If the daemon dies, this half-done change must not go on behind the next one's back.
	 * Should the daemon be gone already, the state lock (fd 6) keeps the next one waiting.
	 */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
	return io_write_all(FD_ANSWER, text, strlen(text)) < 0;
}
