// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/capability.h>
#include <zlib.h>

#include "bpf/kfile.h"
#include "bpf/pin.h"
#include "bpf/probe.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"

#define LSM_ID_BPF_ 110 /* uapi linux/lsm.h, which older headers lack */
#ifndef __NR_lsm_list_modules
#define __NR_lsm_list_modules 461 /* the same on every architecture, since Linux 6.8 */
#endif

/* Is word one of those in text, which any of seps separates? */
static bool has_word(const char *text, const char *word, const char *seps)
{
	size_t n;

	for (; *text; text += n) {
		text += strspn(text, seps);
		n = strcspn(text, seps);
		if (n == strlen(word) && strncmp(text, word, n) == 0)
			return true;
	}
	return false;
}

/* --- the LSM list --------------------------------------------------------------------- */

/* 1 bpf is in the list, 0 it is not, negative: nothing can be said. */
static int lsm_list(char *ret_list, size_t len, const char **ret_how)
{
	unsigned long long ids[64];
	unsigned int size = sizeof(ids);
	long n;

	if (kfile_line("securityfs", "/sys/kernel/security", "lsm", ret_list, len) == 0) {
		*ret_how = "lsm in securityfs";
		return has_word(ret_list, "bpf", ",");
	}
	n = syscall(__NR_lsm_list_modules, ids, &size, 0);
	if (n < 0) {
		*ret_how = "neither securityfs nor lsm_list_modules(2)";
		snprintf(ret_list, len, "%s", "");
		return -errno;
	}
	*ret_how = "lsm_list_modules(2)";
	for (long i = 0; i < n; i++)
		if (ids[i] == LSM_ID_BPF_) {
			snprintf(ret_list, len, "bpf");
			return 1;
		}
	snprintf(ret_list, len, "%ld without bpf", n);
	return 0;
}

bool doctor_lsm_has_bpf(char *ret_list, size_t len)
{
	char list[256];
	const char *how;
	int r = lsm_list(list, sizeof(list), &how);

	if (ret_list && len)
		snprintf(ret_list, len, "%s", list);
	return r > 0;
}

/* --- the release ---------------------------------------------------------------------- */

void doctor_upstream(const char *release, const char *version, const char *signature,
		     char ret_release[DOCTOR_RELEASE_BYTES])
{
	const char *debian = strstr(version, "Debian "), *last = strrchr(signature, ' ');
	const char *found = release;

	if (debian && debian[7] >= '0' && debian[7] <= '9')
		found = debian + 7; /* "6.1.153-1 (2025-09-20)" */
	else if (strncmp(signature, "Ubuntu ", 7) == 0 && last[1] >= '0' && last[1] <= '9')
		found = last + 1; /* "Ubuntu 6.8.0-45.45-generic 6.8.12" */
	snprintf(ret_release, DOCTOR_RELEASE_BYTES, "%.*s",
		 found == release ? DOCTOR_RELEASE_BYTES : (int)strspn(found, "0123456789."),
		 found);
}

void doctor_release(char ret_release[DOCTOR_RELEASE_BYTES])
{
	char signature[128];
	struct utsname u;

	uname(&u);
	if (io_read_line("/proc/version_signature", signature, sizeof(signature)) < 0)
		signature[0] = 0;
	doctor_upstream(u.release, u.version, signature, ret_release);
}

/* --- the preemption model ------------------------------------------------------------- */

/*
 * kernel/sched/core.c, sched_dynamic_show() and setup_preempt_mode(): the modes and the
 * kernel parameter share their names. Only none and voluntary never preempt kernel code.
 */
static enum doctor_preempt preempt_of(const char *mode)
{
	if (strcmp(mode, "none") == 0 || strcmp(mode, "voluntary") == 0)
		return DOCTOR_PREEMPT_NO;
	if (strcmp(mode, "full") == 0 || strcmp(mode, "lazy") == 0)
		return DOCTOR_PREEMPT_YES;
	return DOCTOR_PREEMPT_UNKNOWN;
}

/* The last preempt= of the kernel command line. */
static bool preempt_parameter(char ret_mode[32])
{
	char line[4096];
	bool found = false;
	size_t n;

	if (io_read_line("/proc/cmdline", line, sizeof(line)) < 0)
		return false;
	for (const char *p = line; *p; p += n) {
		p += strspn(p, " ");
		n = strcspn(p, " ");
		if (strncmp(p, "preempt=", 8) != 0)
			continue;
		snprintf(ret_mode, 32, "%.*s", (int)(n - 8), p + 8);
		found = true;
	}
	return found;
}

/* What a PREEMPT_DYNAMIC kernel starts with, as it was configured. */
static bool preempt_config(char ret_path[PATH_MAX], char ret_mode[32])
{
	static const char *const modes[][2] = {
		{"CONFIG_PREEMPT_NONE=y\n", "none"},
		{"CONFIG_PREEMPT_VOLUNTARY=y\n", "voluntary"},
		{"CONFIG_PREEMPT=y\n", "full"},
		{"CONFIG_PREEMPT_LAZY=y\n", "lazy"},
	};
	char line[256];
	struct utsname u;
	bool found = false;
	gzFile f;

	uname(&u);
	snprintf(ret_path, PATH_MAX, "/boot/config-%s", u.release);
	f = gzopen(ret_path, "re"); /* reads plain files as they are */
	if (!f) {
		snprintf(ret_path, PATH_MAX, "/proc/config.gz");
		f = gzopen(ret_path, "re");
	}
	if (!f)
		return false;
	while (!found && gzgets(f, line, sizeof(line)))
		for (size_t i = 0; i < ARRAY_SIZE(modes) && !found; i++)
			if (strcmp(line, modes[i][0]) == 0) {
				snprintf(ret_mode, 32, "%s", modes[i][1]);
				found = true;
			}
	gzclose(f);
	return found;
}

/* ret_mode: full, lazy, voluntary, none, rt or "". */
static enum doctor_preempt preempt_mode(char ret_mode[32], char *ret_how, size_t len)
{
	char line[512], path[PATH_MAX], *open, *close;
	enum doctor_preempt p;

	ret_mode[0] = 0;
	if (io_read_line("/proc/version", line, sizeof(line)) < 0)
		line[0] = 0;
	if (has_word(line, "PREEMPT_RT", " ")) {
		snprintf(ret_mode, 32, "rt");
		snprintf(ret_how, len, "/proc/version says PREEMPT_RT");
		return DOCTOR_PREEMPT_YES;
	}
	if (!has_word(line, "PREEMPT_DYNAMIC", " ") && line[0]) {
		bool full = has_word(line, "PREEMPT", " ");

		snprintf(ret_mode, 32, "%s", full ? "full" : "none");
		snprintf(ret_how, len, "/proc/version says %s",
			 full ? "PREEMPT" : "nothing of PREEMPT");
		return full ? DOCTOR_PREEMPT_YES : DOCTOR_PREEMPT_NO;
	}
	/* PREEMPT_DYNAMIC: the mode is chosen at boot and may be changed since. */
	if (kfile_line("debugfs", "/sys/kernel/debug", "sched/preempt", line, sizeof(line)) ==
	    0) {
		open = strchr(line, '(');
		close = open ? strchr(open, ')') : NULL;
		if (close) {
			snprintf(ret_mode, 32, "%.*s", (int)(close - open - 1), open + 1);
			p = preempt_of(ret_mode);
			snprintf(ret_how, len, "sched/preempt in debugfs says %s", line);
			if (p != DOCTOR_PREEMPT_UNKNOWN)
				return p;
		}
	}
	if (preempt_parameter(ret_mode)) {
		p = preempt_of(ret_mode);
		snprintf(ret_how, len, "preempt=%s on the kernel command line", ret_mode);
		if (p != DOCTOR_PREEMPT_UNKNOWN)
			return p;
	}
	if (preempt_config(path, ret_mode)) {
		snprintf(ret_how, len, "%.200s has the default, the command line no other",
			 path);
		return preempt_of(ret_mode);
	}
	ret_mode[0] = 0;
	snprintf(ret_how, len,
		 "PREEMPT_DYNAMIC kernel; debugfs, the kernel command line and "
		 "/boot/config do not tell the mode");
	return DOCTOR_PREEMPT_UNKNOWN;
}

enum doctor_preempt doctor_preempt(char *ret_how, size_t len)
{
	char mode[32], how[512];
	enum doctor_preempt p = preempt_mode(mode, how, sizeof(how));

	if (ret_how && len)
		snprintf(ret_how, len, "%s", how);
	return p;
}

/* --- the report ----------------------------------------------------------------------- */

struct facts {
	struct probe *probe;
	int lsm; /* 1 bpf is in the list, 0 not, negative unknown */
	char lsms[256];
	const char *lsm_how;
	enum doctor_preempt preempt;
	char mode[32], preempt_how[512];
};

static void say(struct fail *f, const char *hint, const char *why, ...)
	__attribute__((format(printf, 3, 4)));
static void say(struct fail *f, const char *hint, const char *why, ...)
{
	char text[FAIL_MESSAGE_BYTES];
	va_list ap;

	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	fail_set(f, FAIL_INCOMPATIBLE, "%s", text);
	fail_hint(f, "%s", hint);
}

static json_t *text_or_null(const char *s)
{
	json_t *j = s && s[0] ? json_string(s) : NULL;

	return j ? j : json_null();
}

static void add_check(json_t *checks, const char *name, const char *status, const char *value,
		      const char *how, const struct fail *reason)
{
	json_array_append_new(checks,
			      json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name", name,
					"status", status, "value", text_or_null(value), "how",
					text_or_null(how), "why",
					text_or_null(reason ? reason->message : NULL), "hint",
					text_or_null(reason ? reason->hint : NULL)));
}

static void check_capabilities(struct facts *h, json_t *checks)
{
	static const struct {
		int cap;
		const char *name;
	} wanted[] = {{CAP_BPF, "bpf"},
		      {CAP_PERFMON, "perfmon"},
		      {CAP_NET_ADMIN, "net_admin"},
		      {CAP_SYS_ADMIN, "sys_admin"}};
	const char *status = "ok";
	struct fail why = {0};
	char value[128] = "";

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (probe_has_cap(h->probe, wanted[i].cap))
			snprintf(value + strlen(value), sizeof(value) - strlen(value), "%s%s",
				 value[0] ? "," : "", wanted[i].name);
	if (!probe_may_load(h->probe)) {
		status = "fail";
		say(&why, "run as root, or with CAP_BPF and CAP_PERFMON",
		    "loading and attaching need CAP_BPF and CAP_PERFMON");
	} else if (h->probe->namespaced) {
		status = "fail";
		say(&why, "run hotfixd outside of the container",
		    "this is a user namespace: its capabilities do not reach BPF");
	} else if (!probe_has_cap(h->probe, CAP_NET_ADMIN) &&
		   !probe_has_cap(h->probe, CAP_SYS_ADMIN)) {
		status = "warn";
		say(&why, "",
		    "without CAP_NET_ADMIN no congestion control can become the default");
	}
	add_check(checks, "capabilities", status, value[0] ? value : "none",
		  "CapEff of this process", &why);
}

static void check_btf(struct facts *h, json_t *checks)
{
	bool there = h->probe->vmlinux != NULL;
	struct fail why = {0};

	if (!there)
		say(&why,
		    "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' "
		    "are",
		    "hooks are found and objects are fitted to this kernel by its BTF");
	add_check(checks, "btf", there ? "ok" : "fail", there ? "there" : "missing",
		  "/sys/kernel/btf/vmlinux", &why);
}

static void check_bpffs(const char *bpffs, json_t *checks)
{
	struct fail why = {0};
	int r = pin_look_root(bpffs);

	/* The folder itself may not exist before hotfixd's first start. */
	if (r < 0 && r != -ENOENT)
		pin_root_error(bpffs, r, &why);
	add_check(checks, "bpffs",
		  why.code == FAIL_NONE		     ? "ok"
		  : r == -EMEDIUMTYPE || r == -EPERM ? "fail"
						     : "unknown",
		  bpffs, "statfs(2), stat(2)", &why);
}

static void check_lsm(struct facts *h, json_t *checks)
{
	struct fail why = {0};

	if (h->lsm > 0) {
		add_check(checks, "lsm", "ok", h->lsms, h->lsm_how, NULL);
	} else if (h->lsm == 0) {
		say(&why, "add bpf to the lsm= list of the kernel command line",
		    "without BPF LSM deny hooks are attached as fmod_ret, which a preemptible "
		    "kernel skips now and then");
		add_check(checks, "lsm", "warn", h->lsms, h->lsm_how, &why);
	} else {
		say(&why, "mount -t securityfs securityfs /sys/kernel/security",
		    "the list of security modules cannot be read; it is taken as without bpf");
		add_check(checks, "lsm", "unknown", NULL, h->lsm_how, &why);
	}
}

/* The four kinds; a refusal of all is one finding. */
static void check_trampolines(struct facts *h, json_t *checks, json_t *can)
{
	static const struct {
		const char *name, *function;
		enum bpf_prog_type type;
		enum bpf_attach_type attach;
	} kinds[] = {
		{"fentry", "security_task_getpgid", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY},
		{"fexit", "security_task_getpgid", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT},
		{"fmod_ret", "security_task_getpgid", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN},
		{"lsm", "bpf_lsm_task_getpgid", BPF_PROG_TYPE_LSM, BPF_LSM_MAC},
	};
	struct fail why = {0};
	char value[128] = "";
	size_t good = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint32_t id = probe_function(h->probe, kinds[i].function);
		bool lsm = kinds[i].type == BPF_PROG_TYPE_LSM;
		int r = id ? probe_program(h->probe, kinds[i].type, kinds[i].attach, id, 0, 0)
			   : -ENOENT;

		/* Without bpf in the list an lsm program attaches and is never called. */
		json_object_set_new(can, kinds[i].name,
				    json_boolean(r == 0 && (!lsm || h->lsm > 0)));
		if (r == 0) {
			good++;
			snprintf(value + strlen(value), sizeof(value) - strlen(value), "%s%s",
				 value[0] ? "," : "", kinds[i].name);
		} else if (!why.code) {
			probe_explain(h->probe, kinds[i].name, r, &why);
		}
	}
	add_check(checks, "trampolines", good == ARRAY_SIZE(kinds) ? "ok" : "fail",
		  good ? value : "refused", "loaded a program of each kind, attached none",
		  &why);
}

static void check_struct_ops(struct facts *h, json_t *checks, json_t *can)
{
	struct fail why = {0};
	bool links;
	int r = probe_ops(h->probe, &links);

	if (r < 0)
		probe_explain(h->probe, "struct_ops", r, &why);
	json_object_set_new(can, "struct_ops", json_boolean(r == 0));
	add_check(checks, "struct_ops", r == 0 ? "ok" : "fail",
		  r < 0	  ? "refused"
		  : links ? "tcp_congestion_ops, with links"
			  : "tcp_congestion_ops, without links (before Linux 6.4)",
		  "loaded a member program and created an ops map, registered none", &why);
}

static void check_jit(json_t *checks)
{
	static const char path[] = "/proc/sys/net/core/bpf_jit_enable";
	struct fail why = {0};
	char value[16];
	int r = io_read_line(path, value, sizeof(value));

	if (r < 0) {
		say(&why, "", "cannot be read: %s", strerror(-r));
		add_check(checks, "jit", "unknown", NULL, path, &why);
		return;
	}
	if (value[0] == '0')
		say(&why, "sysctl -w net.core.bpf_jit_enable=1",
		    "trampolines and struct_ops exist only as compiled code");
	add_check(checks, "jit", value[0] == '0' ? "fail" : "ok",
		  value[0] == '0' ? "off" : "on", path, &why);
}

static void check_lockdown(json_t *checks)
{
	static const char how[] = "lockdown in securityfs";
	struct fail why = {0};
	char line[128], value[32] = "";
	int r = kfile_line("securityfs", "/sys/kernel/security", "lockdown", line,
			   sizeof(line));
	char *open = r == 0 ? strchr(line, '[') : NULL;

	if (open)
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(open + 1, "]"), open + 1);
	if (r == -ENOENT) {
		add_check(checks, "lockdown", "ok", "not in this kernel", how, NULL);
	} else if (!value[0]) {
		say(&why, "", "cannot be read: %s", strerror(r < 0 ? -r : EPROTO));
		add_check(checks, "lockdown", "unknown", NULL, how, &why);
	} else if (strcmp(value, "confidentiality") == 0) {
		say(&why, "boot with lockdown=integrity or none",
		    "programs that read kernel memory with bpf_probe_read_kernel() are "
		    "refused");
		add_check(checks, "lockdown", "warn", value, how, &why);
	} else {
		add_check(checks, "lockdown", "ok", value, how, NULL);
	}
}

static void check_preemption(struct facts *h, json_t *checks)
{
	struct fail why = {0};
	const char *status = "ok";

	if (h->preempt == DOCTOR_PREEMPT_UNKNOWN) {
		status = h->lsm > 0 ? "ok" : "unknown";
		say(&why, "boot with preempt=none or voluntary, or with bpf in lsm=",
		    "on a preemptible kernel fentry, fexit and fmod_ret programs miss calls "
		    "while a task is preempted inside them");
	} else if (h->preempt == DOCTOR_PREEMPT_YES) {
		status = h->lsm > 0 ? "ok" : "warn";
		say(&why,
		    h->lsm > 0 ? ""
			       : "boot with bpf in lsm=, or with preempt=none or voluntary "
				 "where the kernel has it",
		    "fentry, fexit and fmod_ret programs miss calls while a task is preempted "
		    "inside them%s",
		    h->lsm > 0 ? "; deny hooks run as lsm, which misses none" : "");
	}
	add_check(checks, "preemption", status, h->mode[0] ? h->mode : NULL, h->preempt_how,
		  &why);
}

static void check_settings(json_t *checks)
{
	static const char unprivileged[] = "/proc/sys/kernel/unprivileged_bpf_disabled";
	static const char stats[] = "/proc/sys/kernel/bpf_stats_enabled";
	struct fail why = {0};
	char value[4096];

	if (io_read_line(unprivileged, value, sizeof(value)) < 0) {
		add_check(checks, "unprivileged_bpf", "unknown", NULL, unprivileged, NULL);
	} else {
		if (value[0] == '0')
			say(&why, "sysctl -w kernel.unprivileged_bpf_disabled=2",
			    "every user may load BPF programs");
		add_check(checks, "unprivileged_bpf", value[0] == '0' ? "warn" : "ok",
			  value[0] == '0' ? "allowed" : "disabled", unprivileged, &why);
	}
	if (io_read_line(stats, value, sizeof(value)) == 0)
		add_check(checks, "bpf_stats", "ok", value[0] == '0' ? "off" : "on", stats,
			  NULL);
	if (io_read_line("/proc/cmdline", value, sizeof(value)) == 0 &&
	    (has_word(value, "hotfix=off", " ") || has_word(value, "hotfix=no-apply", " "))) {
		say(&why, "boot without hotfix=",
		    "the kernel command line forbids applying hot-fixes");
		add_check(checks, "kill_switch", "warn",
			  has_word(value, "hotfix=off", " ") ? "hotfix=off" : "hotfix=no-apply",
			  "/proc/cmdline", &why);
	}
}

int doctor_host(const char *bpffs, json_t **ret_report)
{
	AUTO(probe_freep) struct probe *probe = NULL;
	json_t *checks = json_array(), *can = json_object(), *report;
	char upstream[DOCTOR_RELEASE_BYTES];
	struct facts h = {0};
	struct utsname u;

	if (!checks || !can || probe_new(&probe) < 0) {
		json_decref(checks);
		json_decref(can);
		return -ENOMEM;
	}
	uname(&u);
	doctor_release(upstream);
	h.probe = probe;
	h.lsm = lsm_list(h.lsms, sizeof(h.lsms), &h.lsm_how);
	h.preempt = preempt_mode(h.mode, h.preempt_how, sizeof(h.preempt_how));
	check_capabilities(&h, checks);
	check_btf(&h, checks);
	check_bpffs(bpffs, checks);
	check_trampolines(&h, checks, can);
	check_struct_ops(&h, checks, can);
	check_lsm(&h, checks);
	check_preemption(&h, checks);
	check_jit(checks);
	check_lockdown(checks);
	check_settings(checks);
	report = json_pack("{s:{s:s, s:s, s:s, s:s}, s:o, s:o}", "kernel", "release", u.release,
			   "upstream", upstream, "arch", u.machine, "version", u.version,
			   "checks", checks, "can", can);
	if (!report)
		return -ENOMEM;
	*ret_report = report;
	return 0;
}
