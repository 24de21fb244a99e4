// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <zlib.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"

/* Facts of newer kernel headers: uapi linux/lsm.h, linux/bpf.h (BPF_F_LINK). */
#define LSM_ID_BPF_ 110
#define OPS_F_LINK  (1U << 13)
#ifndef __NR_lsm_list_modules
#define __NR_lsm_list_modules 461 /* the same on every architecture, since Linux 6.8 */
#endif

/*
 * Opens a file of a kernel file system. When the system has not mounted it (minimal
 * containers, early boot), a mount of our own that is never attached to the tree does:
 * nothing is changed for anyone else and it goes away with the descriptor.
 */
static int open_kernel_file(const char *fstype, const char *mountpoint, const char *name)
{
	AUTO_CLOSE int context = -1;
	AUTO_CLOSE int tree = -1;
	char path[PATH_MAX];
	int fd, saved;

	snprintf(path, sizeof(path), "%s/%s", mountpoint, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	saved = errno;
	if (saved != ENOENT)
		return -saved;
	context = fsopen(fstype, FSOPEN_CLOEXEC);
	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -saved;
	tree = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (tree < 0)
		return -saved;
	fd = openat(tree, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_kernel_line(const char *fstype, const char *mountpoint, const char *name,
			    char *ret_line, size_t len)
{
	AUTO_CLOSE int fd = open_kernel_file(fstype, mountpoint, name);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, ret_line, len - 1);
	if (n < 0)
		return -errno;
	ret_line[n] = 0;
	ret_line[strcspn(ret_line, "\n")] = 0;
	for (n = (ssize_t)strlen(ret_line); n > 0 && ret_line[n - 1] == ' '; n--)
		ret_line[n - 1] = 0;
	return 0;
}

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

	if (read_kernel_line("securityfs", "/sys/kernel/security", "lsm", ret_list, len) == 0) {
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
	if (read_kernel_line("debugfs", "/sys/kernel/debug", "sched/preempt", line,
			     sizeof(line)) == 0) {
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

/* --- probing by loading --------------------------------------------------------------- */

#define LOG_BYTES 16384

struct host {
	struct btf *btf; /* of vmlinux; NULL: none */
	uint64_t caps;	 /* CapEff */
	bool namespaced; /* in a user namespace of its own: capabilities reach no BPF */
	int lsm;	 /* 1 bpf is in the list, 0 not, negative unknown */
	char lsms[256];
	const char *lsm_how;
	enum doctor_preempt preempt;
	char mode[32], preempt_how[512];
	char log[LOG_BYTES];
};

static bool has_cap(const struct host *h, int cap)
{
	return h->caps >> cap & 1;
}

/* What the kernel asks of whoever loads tracing, LSM or struct_ops programs. */
static bool may_load(const struct host *h)
{
	return (has_cap(h, CAP_BPF) && has_cap(h, CAP_PERFMON)) || has_cap(h, CAP_SYS_ADMIN);
}

static int host_open(struct host *h)
{
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	char line[256];
	AUTO_FILE FILE *f = fopen("/proc/self/status", "re");

	memset(h, 0, sizeof(*h));
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &h->caps) == 1)
			break;
	if (io_read_line("/proc/self/uid_map", line, sizeof(line)) == 0) {
		unsigned int inside, outside, count;

		h->namespaced = sscanf(line, "%u %u %u", &inside, &outside, &count) == 3 &&
				count != UINT32_MAX;
	}
	h->lsm = lsm_list(h->lsms, sizeof(h->lsms), &h->lsm_how);
	h->preempt = preempt_mode(h->mode, h->preempt_how, sizeof(h->preempt_how));
	h->btf = btf__load_vmlinux_btf();
	libbpf_set_print(print);
	return h->btf || errno != ENOMEM ? 0 : -ENOMEM;
}

static void host_close(struct host *h)
{
	btf__free(h->btf);
}

/* "return 0", for any of these program types. 0 or -errno with the verifier's log. */
static int load_program(struct host *h, enum bpf_prog_type type, enum bpf_attach_type attach,
			uint32_t btf_id, int btf_fd, uint32_t flags)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach,
		    .attach_btf_id = btf_id, .attach_btf_obj_fd = btf_fd, .prog_flags = flags,
		    .log_buf = h->log, .log_size = sizeof(h->log));
	int fd;

	h->log[0] = 0;
	/* With log level 0 libbpf asks again with a log when the first try fails. */
	fd = bpf_prog_load(type, "hotfix_doctor", "Dual BSD/GPL", insns, ARRAY_SIZE(insns),
			   &opts);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* The line of a verifier log that says why: the last one that is not statistics. */
static const char *log_reason(char *log)
{
	static const char *const statistics[] = {"processed ", "verification time ",
						 "stack depth "};
	const char *reason = NULL;

	for (char *save, *line = strtok_r(log, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool counted = false;

		for (size_t i = 0; i < ARRAY_SIZE(statistics); i++)
			counted |= strncmp(line, statistics[i], strlen(statistics[i])) == 0;
		if (!counted)
			reason = line;
	}
	return reason;
}

struct reason {
	char why[512], hint[256];
};

static void say(struct reason *r, const char *hint, const char *why, ...)
	__attribute__((format(printf, 3, 4)));
static void say(struct reason *r, const char *hint, const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	vsnprintf(r->why, sizeof(r->why), why, ap);
	va_end(ap);
	snprintf(r->hint, sizeof(r->hint), "%s", hint);
}

#define HINT_BTF                                                   \
	"use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the " \
	"distributions' are"
#define HINT_REFUSED                                                        \
	"a sandbox, hypervisor or hardening policy forbids it: nothing on " \
	"this host can lift it; use another kernel, or a guest"

/* Why load_program() ended with err (negative). */
static void explain_load(struct host *h, const char *what, int err, struct reason *ret_reason)
{
	const char *said;

	if (err == -ENOENT || err == -ESRCH) {
		say(ret_reason, HINT_BTF, "%s: the kernel's BTF has no function to try it on",
		    what);
		return;
	}
	if ((err == -EPERM || err == -EACCES) && !h->log[0]) {
		if (!may_load(h))
			say(ret_reason, "run as root, or with CAP_BPF and CAP_PERFMON",
			    "%s: this process may not load BPF programs", what);
		else if (h->namespaced)
			say(ret_reason, "run it outside of the container",
			    "%s: the capabilities are those of a user namespace, which count "
			    "for nothing here",
			    what);
		else
			say(ret_reason, HINT_REFUSED,
			    "%s: this kernel refuses tracing programs: EPERM with an empty "
			    "verifier log, although this process has the capabilities",
			    what);
		return;
	}
	said = log_reason(h->log);
	if (said)
		say(ret_reason, "", "%s: %s", what, said);
	else if (err == -ENOTSUP || err == -524) /* ENOTSUPP, which only the kernel has */
		say(ret_reason, "needs CONFIG_BPF_JIT=y and net.core.bpf_jit_enable=1",
		    "%s: this kernel has no BPF trampolines", what);
	else
		say(ret_reason, "", "%s: the kernel answers %s", what, strerror(-err));
}

static int btf_func(const struct btf *btf, const char *name)
{
	int id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) : -ENOENT;

	return id > 0 ? id : -ENOENT;
}

/* --- the report ----------------------------------------------------------------------- */

static json_t *text_or_null(const char *s)
{
	json_t *j = s && s[0] ? json_string(s) : NULL;

	return j ? j : json_null();
}

static void add_check(json_t *checks, const char *name, const char *status, const char *value,
		      const char *how, const struct reason *reason)
{
	json_array_append_new(checks,
			      json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "name", name,
					"status", status, "value", text_or_null(value), "how",
					text_or_null(how), "why",
					text_or_null(reason ? reason->why : NULL), "hint",
					text_or_null(reason ? reason->hint : NULL)));
}

static void check_capabilities(struct host *h, json_t *checks)
{
	static const struct {
		int cap;
		const char *name;
	} wanted[] = {{CAP_BPF, "bpf"},
		      {CAP_PERFMON, "perfmon"},
		      {CAP_NET_ADMIN, "net_admin"},
		      {CAP_SYS_ADMIN, "sys_admin"}};
	const char *status = "ok";
	struct reason why = {"", ""};
	char value[128] = "";

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (has_cap(h, wanted[i].cap))
			snprintf(value + strlen(value), sizeof(value) - strlen(value), "%s%s",
				 value[0] ? "," : "", wanted[i].name);
	if (!may_load(h)) {
		status = "fail";
		say(&why, "run as root, or with CAP_BPF and CAP_PERFMON",
		    "loading and attaching need CAP_BPF and CAP_PERFMON");
	} else if (h->namespaced) {
		status = "fail";
		say(&why, "run hotfixd outside of the container",
		    "this is a user namespace: its capabilities do not reach BPF");
	} else if (!has_cap(h, CAP_NET_ADMIN) && !has_cap(h, CAP_SYS_ADMIN)) {
		status = "warn";
		say(&why, "",
		    "without CAP_NET_ADMIN no congestion control can become the default");
	}
	add_check(checks, "capabilities", status, value[0] ? value : "none",
		  "CapEff of this process", &why);
}

static void check_btf(struct host *h, json_t *checks)
{
	struct reason why = {"", ""};
	char value[64] = "missing";

	if (h->btf)
		snprintf(value, sizeof(value), "%u types", btf__type_cnt(h->btf) - 1);
	else
		say(&why, HINT_BTF,
		    "hooks are found and objects are fitted to this kernel by "
		    "its BTF");
	add_check(checks, "btf", h->btf ? "ok" : "fail", value, "/sys/kernel/btf/vmlinux",
		  &why);
}

static void check_bpffs(const char *bpffs, json_t *checks)
{
	char path[PATH_MAX];
	struct reason why = {"", ""};
	struct statfs fs;

	/* The folder itself may not exist before hotfixd's first start. */
	snprintf(path, sizeof(path), "%s", bpffs);
	while (statfs(path, &fs) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path) {
			say(&why, "", "%s: %s", path, strerror(errno));
			add_check(checks, "bpffs", "unknown", bpffs, "statfs(2)", &why);
			return;
		}
		*slash = 0;
	}
	if ((unsigned long)fs.f_type == BPF_FS_MAGIC) {
		add_check(checks, "bpffs", "ok", bpffs, "statfs(2)", NULL);
		return;
	}
	say(&why, "mount -t bpf bpf /sys/fs/bpf",
	    "%s is not in a BPF file system: nothing "
	    "could stay in the kernel when hotfixd ends",
	    bpffs);
	add_check(checks, "bpffs", "fail", bpffs, "statfs(2)", &why);
}

static void check_lsm(struct host *h, json_t *checks)
{
	struct reason why = {"", ""};

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
static void check_trampolines(struct host *h, json_t *checks, json_t *can)
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
	struct reason why = {"", ""};
	char value[128] = "";
	size_t good = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int id = btf_func(h->btf, kinds[i].function);
		bool lsm = kinds[i].type == BPF_PROG_TYPE_LSM;
		int r;

		h->log[0] = 0;
		r = id > 0 ? load_program(h, kinds[i].type, kinds[i].attach, (uint32_t)id, 0, 0)
			   : id;
		/* Without bpf in the list an lsm program attaches and is never called. */
		json_object_set_new(can, kinds[i].name,
				    json_boolean(r == 0 && (!lsm || h->lsm > 0)));
		if (r == 0) {
			good++;
			snprintf(value + strlen(value), sizeof(value) - strlen(value), "%s%s",
				 value[0] ? "," : "", kinds[i].name);
		} else if (!why.why[0]) {
			explain_load(h, kinds[i].name, r, &why);
		}
	}
	add_check(checks, "trampolines", good == ARRAY_SIZE(kinds) ? "ok" : "fail",
		  good ? value : "refused", "loaded a program of each kind, attached none",
		  &why);
}

/* The kernel wants some BTF of the program's side with an ops map, whatever it says. */
static int any_btf(void)
{
	LIBBPF_OPTS(bpf_btf_load_opts, opts);
	struct btf *btf = btf__new_empty();
	const void *raw;
	uint32_t size;
	int fd = -ENOMEM;

	if (btf && btf__add_int(btf, "int", 4, BTF_INT_SIGNED) > 0) {
		raw = btf__raw_data(btf, &size);
		fd = raw ? bpf_btf_load(raw, size, &opts) : -ENOMEM;
	}
	btf__free(btf);
	return fd;
}

/* An ops map without a member; creating it registers nothing. */
static int create_ops_map(const struct btf *btf, uint32_t flags)
{
	int id = btf__find_by_name_kind(btf, "bpf_struct_ops_tcp_congestion_ops",
					BTF_KIND_STRUCT);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	AUTO_CLOSE int btf_fd = -1;
	AUTO_CLOSE int fd = -1;
	long long size;

	if (id <= 0)
		return -ENOENT;
	btf_fd = any_btf();
	if (btf_fd < 0)
		return btf_fd;
	size = btf__resolve_size(btf, (uint32_t)id);
	opts.btf_vmlinux_value_type_id = (uint32_t)id;
	opts.btf_fd = (uint32_t)btf_fd;
	fd = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, "hotfix_doctor", 4, (uint32_t)size, 1,
			    &opts);
	return fd < 0 ? fd : 0;
}

/* 0 or -errno; *ret_links: registrations can be links (>= 6.4). */
static int load_ops(struct host *h, bool *ret_links)
{
	const struct btf_type *ops;
	int id, r;

	*ret_links = false;
	h->log[0] = 0;
	id = h->btf ? btf__find_by_name_kind(h->btf, "tcp_congestion_ops", BTF_KIND_STRUCT)
		    : -ENOENT;
	if (id <= 0)
		return -ENOENT;
	ops = btf__type_by_id(h->btf, (uint32_t)id);
	for (uint32_t i = 0; i < btf_vlen(ops); i++) {
		const char *member = btf__name_by_offset(h->btf, btf_members(ops)[i].name_off);

		if (strcmp(member, "ssthresh") != 0)
			continue;
		/* For struct_ops the attach type is the member's index. */
		r = load_program(h, BPF_PROG_TYPE_STRUCT_OPS, i, (uint32_t)id, 0, 0);
		if (r < 0)
			return r;
		*ret_links = create_ops_map(h->btf, OPS_F_LINK) == 0;
		return *ret_links ? 0 : create_ops_map(h->btf, 0);
	}
	return -ENOENT;
}

static void check_struct_ops(struct host *h, json_t *checks, json_t *can)
{
	struct reason why = {"", ""};
	bool links;
	int r = load_ops(h, &links);

	if (r < 0)
		explain_load(h, "struct_ops", r, &why);
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
	struct reason why = {"", ""};
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
	struct reason why = {"", ""};
	char line[128], value[32] = "";
	int r = read_kernel_line("securityfs", "/sys/kernel/security", "lockdown", line,
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

static void check_preemption(struct host *h, json_t *checks)
{
	struct reason why = {"", ""};
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
	struct reason why = {"", ""};
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
	AUTO_FREE struct host *h = calloc(1, sizeof(*h));
	json_t *checks = json_array(), *can = json_object(), *report;
	char upstream[DOCTOR_RELEASE_BYTES];
	struct utsname u;

	if (!h || !checks || !can || host_open(h) < 0) {
		json_decref(checks);
		json_decref(can);
		return -ENOMEM;
	}
	uname(&u);
	check_capabilities(h, checks);
	check_btf(h, checks);
	check_bpffs(bpffs, checks);
	check_trampolines(h, checks, can);
	check_struct_ops(h, checks, can);
	check_lsm(h, checks);
	check_preemption(h, checks);
	check_jit(checks);
	check_lockdown(checks);
	check_settings(checks);
	host_close(h);
	doctor_release(upstream);
	report = json_pack("{s:{s:s, s:s, s:s, s:s}, s:o, s:o}", "kernel", "release", u.release,
			   "upstream", upstream, "arch", u.machine, "version", u.version,
			   "checks", checks, "can", can);
	if (!report)
		return -ENOMEM;
	*ret_report = report;
	return 0;
}

/* --- hooks ---------------------------------------------------------------------------- */

/* Where a hook would be attached. */
struct place {
	enum hook_type as;
	char function[HOOK_TARGET_BYTES + 16];
	int btf_id;	 /* <= 0: not there */
	uint32_t obj_id; /* BTF object of the function; 0 unknown */
	int obj_fd;	 /* module's BTF, -1 vmlinux */
	char module[64]; /* "" vmlinux */
	bool traceable;	 /* in available_filter_functions */
	int used;	 /* programs on it */
};

/* Module functions are hooked by their plain name; which module it is must be searched. */
static void find_in_modules(struct host *h, struct place *p)
{
	uint32_t id = 0;

	while (bpf_btf_get_next_id(id, &id) == 0) {
		struct bpf_btf_info info = {0};
		uint32_t len = sizeof(info);
		char name[64] = "";
		struct btf *btf;
		int fd = bpf_btf_get_fd_by_id(id), found;

		if (fd < 0)
			continue;
		info.name = (uintptr_t)name;
		info.name_len = sizeof(name);
		if (bpf_btf_get_info_by_fd(fd, &info, &len) < 0 || !info.kernel_btf ||
		    strcmp(name, "vmlinux") == 0) {
			close(fd);
			continue;
		}
		btf = btf__load_from_kernel_by_id_split(id, h->btf);
		found = btf_func(btf, p->function);
		btf__free(btf);
		if (found > 0) {
			p->btf_id = found;
			p->obj_id = id;
			p->obj_fd = fd;
			snprintf(p->module, sizeof(p->module), "%s", name);
			return;
		}
		close(fd);
	}
}

static bool has_lsm_hook(const struct host *h, const char *hook)
{
	char function[HOOK_TARGET_BYTES + 16];

	snprintf(function, sizeof(function), "bpf_lsm_%s", hook);
	return btf_func(h->btf, function) > 0;
}

static void find_place(struct host *h, const struct hook *hook, struct place *p)
{
	const char *lsm = NULL;

	*p = (struct place){.as = hook->type, .obj_fd = -1, .traceable = true};
	if (hook->type == HOOK_LSM)
		lsm = hook->target;
	else if (hook->type == HOOK_FMOD_RET && strncmp(hook->target, "security_", 9) == 0 &&
		 has_lsm_hook(h, hook->target + 9))
		lsm = hook->target + 9;
	/* A deny hook has two ways in: lsm where BPF LSM is on, else fmod_ret. */
	if (lsm)
		p->as = h->lsm > 0 || hook->sleepable ? HOOK_LSM : HOOK_FMOD_RET;
	if (lsm)
		snprintf(p->function, sizeof(p->function), "%s%s",
			 p->as == HOOK_LSM ? "bpf_lsm_" : "security_", lsm);
	else
		snprintf(p->function, sizeof(p->function), "%s", hook->target);
	if (hook->type == HOOK_STRUCT_OPS)
		return;
	p->btf_id = btf_func(h->btf, p->function);
	if (p->btf_id <= 0 && h->btf)
		find_in_modules(h, p);
}

/* A function that ftrace does not know is refused at attach, not at load. */
static bool mark_traceable(struct place *places, size_t n)
{
	AUTO_CLOSE int fd = open_kernel_file("tracefs", "/sys/kernel/tracing",
					     "available_filter_functions");
	AUTO_FILE FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	bool any = false;
	char line[512];

	if (!f)
		return false;
	take_fd(&fd);
	for (size_t i = 0; i < n; i++)
		places[i].traceable = false;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\n")] = 0;
		any = true;
		for (size_t i = 0; i < n; i++)
			if (strcmp(places[i].function, line) == 0)
				places[i].traceable = true;
	}
	for (size_t i = 0; i < n && !any; i++)
		places[i].traceable = true; /* empty: ftrace is off, nothing is known */
	return any;
}

/* How many programs each place has; false when links may not be listed. */
static bool count_used(struct place *places, size_t n)
{
	uint32_t id = 0;
	int r;

	while ((r = bpf_link_get_next_id(id, &id)) == 0) {
		struct bpf_link_info info = {0};
		uint32_t len = sizeof(info);
		AUTO_CLOSE int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0 || bpf_link_get_info_by_fd(fd, &info, &len) < 0 ||
		    info.type != BPF_LINK_TYPE_TRACING)
			continue;
		for (size_t i = 0; i < n; i++) {
			/* vmlinux is the first BTF object of every kernel */
			uint32_t obj = places[i].obj_id ? places[i].obj_id : 1;

			if ((int)info.tracing.target_btf_id == places[i].btf_id &&
			    info.tracing.target_obj_id == obj)
				places[i].used++;
		}
	}
	return r == -ENOENT;
}

/* BPF_MAX_TRAMP_LINKS less what the kernel keeps; measured. */
static int trampoline_room(void)
{
	struct utsname u;
	int major = 0;

	uname(&u);
	sscanf(u.release, "%d", &major);
	return major >= 7 ? 36 : 38;
}

/* The names known to the kernel, ours among them: the caller knows which is whose. */
static bool cc_registered(const char *name)
{
	char line[4096];

	return name[0] &&
	       io_read_line("/proc/sys/net/ipv4/tcp_available_congestion_control", line,
			    sizeof(line)) == 0 &&
	       has_word(line, name, " ");
}

static const char *judge_struct_ops(struct host *h, const struct hook *hook,
				    struct reason *ret_reason)
{
	bool links;
	int r;

	if (strcmp(hook->target, "tcp_congestion_ops") != 0) {
		say(ret_reason, "",
		    "struct_ops of type %s are not supported, only "
		    "tcp_congestion_ops",
		    hook->target);
		return "fail";
	}
	r = load_ops(h, &links);
	if (r < 0) {
		explain_load(h, "struct_ops", r, ret_reason);
		return "fail";
	}
	if (cc_registered(hook->cc_name)) {
		say(ret_reason, "",
		    "a congestion control \"%s\" is registered: unless it is "
		    "this hot-fix's own, the name clashes",
		    hook->cc_name);
		return "warn";
	}
	return "ok";
}

static const char *judge_function(struct host *h, const struct hook *hook,
				  const struct place *p, int room, bool counted,
				  struct reason *ret_reason)
{
	static const enum bpf_attach_type attach[] = {[HOOK_FENTRY] = BPF_TRACE_FENTRY,
						      [HOOK_FEXIT] = BPF_TRACE_FEXIT,
						      [HOOK_FMOD_RET] = BPF_MODIFY_RETURN,
						      [HOOK_LSM] = BPF_LSM_MAC};
	char what[HOOK_TARGET_BYTES + 32];
	int r;

	snprintf(what, sizeof(what), "%s/%s", hook_type_name(hook->type), hook->target);
	if (!h->btf) {
		say(ret_reason, HINT_BTF, "%s: this kernel has no BTF", what);
		return "fail";
	}
	if (p->btf_id <= 0) {
		say(ret_reason,
		    p->as == HOOK_LSM ? ""
				      : "is its module loaded, and the function not inlined?",
		    "%s: no function %s in this kernel or its loaded modules", what,
		    p->function);
		return "fail";
	}
	r = load_program(h, p->as == HOOK_LSM ? BPF_PROG_TYPE_LSM : BPF_PROG_TYPE_TRACING,
			 attach[p->as], (uint32_t)p->btf_id, p->obj_fd < 0 ? 0 : p->obj_fd,
			 hook->sleepable ? BPF_F_SLEEPABLE : 0);
	if (r < 0) {
		explain_load(h, what, r, ret_reason);
		return "fail";
	}
	if (!p->traceable) {
		say(ret_reason, "",
		    "%s: %s is notrace (not in available_filter_functions): loading works, "
		    "attaching does not",
		    what, p->function);
		return "fail";
	}
	if (p->as == HOOK_LSM && h->lsm <= 0) {
		say(ret_reason, "add bpf to the lsm= list of the kernel command line",
		    "%s: a sleepable lsm program needs BPF LSM, which this kernel did not "
		    "start",
		    what);
		return "fail";
	}
	if (counted && p->used >= room) {
		say(ret_reason, "detach programs of other tools from it",
		    "%s: %s has %d programs already, the kernel takes %d", what, p->function,
		    p->used, room);
		return "fail";
	}
	if (p->as == HOOK_FMOD_RET && h->preempt != DOCTOR_PREEMPT_NO) {
		say(ret_reason,
		    "boot with bpf in lsm=, or let the manifest accept preemption_leak",
		    "%s: attached as fmod_ret on a kernel that %s preemptible, it would let "
		    "calls through while a task is preempted inside it",
		    what, h->preempt == DOCTOR_PREEMPT_YES ? "is" : "may be");
		return "leak";
	}
	return "ok";
}

int doctor_hooks(const char *bpffs, const struct hook *hooks, size_t n_hooks,
		 json_t **ret_report)
{
	AUTO_FREE struct host *h = calloc(1, sizeof(*h));
	AUTO_FREE struct place *places = calloc(n_hooks + 1, sizeof(*places));
	json_t *report = json_array();
	int room = trampoline_room();
	bool counted;

	(void)bpffs;
	if (!h || !places || !report || host_open(h) < 0) {
		json_decref(report);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_hooks; i++)
		find_place(h, &hooks[i], &places[i]);
	mark_traceable(places, n_hooks);
	counted = count_used(places, n_hooks);
	for (size_t i = 0; i < n_hooks; i++) {
		const struct place *p = &places[i];
		struct reason why = {"", ""};
		bool ops = hooks[i].type == HOOK_STRUCT_OPS;
		const char *status = ops ? judge_struct_ops(h, &hooks[i], &why)
					 : judge_function(h, &hooks[i], p, room, counted, &why);
		bool leak = strcmp(status, "leak") == 0;
		bool known = !ops && counted && p->btf_id > 0;

		json_array_append_new(
			report,
			json_pack(
				"{s:s, s:s, s:s, s:b, s:s, s:b, s:s, s:s, s:s, s:o, s:o, s:o}",
				"type", hook_type_name(hooks[i].type), "target",
				hooks[i].target, "program", hooks[i].program, "ok",
				strcmp(status, "ok") == 0 || strcmp(status, "warn") == 0,
				"status", leak ? "fail" : status, "needs_accept", leak,
				"attach_as", hook_type_name(p->as), "attach_target",
				ops ? hooks[i].target : p->function, "kind",
				ops		     ? "struct_ops"
				: hooks[i].sleepable ? "overlap"
						     : "dispatcher",
				"why", text_or_null(why.why), "hint", text_or_null(why.hint),
				"free_slots",
				known ? json_integer(room > p->used ? room - p->used : 0)
				      : json_null()));
	}
	for (size_t i = 0; i < n_hooks; i++)
		if (places[i].obj_fd >= 0)
			close(places[i].obj_fd);
	host_close(h);
	*ret_report = report;
	return 0;
}
