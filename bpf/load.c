// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/load.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/words.h"
#include "lib/clock.h"

/* With less the kernel's answer to a bad program would be "no space" instead of why. Only
 * what is written to is ever touched. */
#define KERNEL_LOG_BYTES (16U << 20)

/* --- why it failed ---------------------------------------------------------------------- */

struct failure {
	const struct load *l;
	const char *words; /* libbpf's */
	char *log;	   /* the verifier's; "" when the kernel said nothing */
	int err;	   /* positive errno */
	char program[HOOK_PROGRAM_BYTES];
};

static bool may_load_bpf(void)
{
	AUTO_FILE FILE *f = fopen("/proc/self/status", "re");
	uint64_t caps = UINT64_MAX;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	return caps & 1ULL << CAP_SYS_ADMIN ||
	       (caps & 1ULL << CAP_BPF && caps & 1ULL << CAP_PERFMON);
}

/* Copies what stands between the quotes (or spaces) around; false when open is not there. */
static bool between(const char *text, const char *open, const char *close, char *ret,
		    size_t len)
{
	const char *from = strstr(text, open);
	size_t n;

	if (!from)
		return false;
	from += strlen(open);
	n = strcspn(from, close);
	snprintf(ret, len, "%.*s", (int)n, from);
	return true;
}

/* "[6] struct task_struct___old.no_such_field (0:0 @ offset 0)" -> without the decoration */
static void tidy_core(char *text)
{
	char *p, *from;

	p = strstr(text, "] ");
	if (p)
		memmove(text, p + 2, strlen(p + 2) + 1);
	p = strstr(text, " (");
	if (p)
		*p = 0;
	p = strstr(text, "___");
	if (p) {
		from = p + strcspn(p, ". :");
		memmove(p, from, strlen(from) + 1);
	}
}

/*
 * The line of the verifier's log that says why: the last one that is neither statistics
 * nor a step of the walk ("12: (85) call ..." and "; source").
 */
static const char *verdict(char *log)
{
	static const char *const noise[] = {
		"processed ",	   "verification time ",
		"stack depth ",	   "cur state:",
		"old state:",	   "from ",
		"caller:",	   "callee:",
		"last_idx ",	   "regs=",
		"parent ",	   "mark_precise: ",
		"frame",	   "func#",
		"Live regs ",	   "arg#0 refer",
		"returning from ", "to caller",
		"-- END ",
	};
	const char *best = NULL;
	bool skip;

	for (char *save, *line = strtok_r(log, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		skip = line[0] == ';';
		for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
			skip |= strncmp(line, noise[i], strlen(noise[i])) == 0;
		if (line[strspn(line, "0123456789")] == ':' && line[0] != ':')
			skip = true;
		if (!skip)
			best = line;
	}
	return best;
}

/* libbpf's last sentence but "failed to load object", without its prefix. */
static void last_words(const char *words, char *ret, size_t len)
{
	static const char prefix[] = "libbpf: ";
	const char *line = words;
	size_t n;

	ret[0] = 0;
	for (; *line; line += n + (line[n] == '\n')) {
		n = strcspn(line, "\n");
		if (n == 0 || strncmp(line, "libbpf: failed to load object", 29) == 0)
			continue;
		if (strncmp(line, prefix, strlen(prefix)) == 0)
			snprintf(ret, len, "%.*s", (int)(n - strlen(prefix)),
				 line + strlen(prefix));
	}
}

static int explain_kernel(const struct failure *f, struct fail *reterr_fail)
{
	char name[192];

	if (between(f->words, "failed to find kernel BTF type ID of '", "'", name,
		    sizeof(name)) ||
	    (f->err == ESRCH && between(f->words, "prog '", "'", name, sizeof(name))))
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"this kernel has no function %s to hook: it is not in its BTF "
				"(not there, inlined, or in a module that is not loaded)",
				name);
	if (between(f->words, "extern (func ksym) '", "'", name, sizeof(name)))
		return fail_set(reterr_fail, FAIL_LOAD,
				"this kernel has no function %s that BPF programs may call",
				name);
	if (between(f->words, "extern (var ksym) '", "'", name, sizeof(name)) ||
	    between(f->words, "extern (ksym) '", "'", name, sizeof(name)))
		return fail_set(reterr_fail, FAIL_LOAD,
				"this kernel has no variable %s that BPF programs may read",
				name);
	if (between(f->words, "Cannot find member ", " ", name, sizeof(name)))
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"this kernel's " OPS_TYPE_TCP_CC " has no member %s", name);
	if (strstr(f->words, "vmlinux BTF is not found") ||
	    strstr(f->words, "failed to find valid kernel BTF"))
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"this kernel has no BTF (/sys/kernel/btf/vmlinux)");
	return 0;
}

/* The verifier's sentences about the target rather than the program. */
static bool about_target(const char *line)
{
	static const char *const sentences[] = {
		" is not modifiable",
		" is not sleepable",
		" disabled hook",
		"tracing programs to function",
		"with variable args is unsupported",
		"is not supported",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sentences); i++)
		if (strstr(line, sentences[i]))
			return true;
	return false;
}

static int explain_refusal(const struct failure *f, struct fail *reterr_fail)
{
	if (!may_load_bpf()) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE,
			 "this process may not load BPF programs");
		return fail_hint(reterr_fail, "run hotfixd as root, or with CAP_BPF and "
					      "CAP_PERFMON");
	}
	fail_set(
		reterr_fail, FAIL_INCOMPATIBLE,
		"this kernel refuses BPF trampolines (fentry, fexit, fmod_ret, lsm): it answers "
		"%s to %s without a word of its verifier, although this process has the "
		"capabilities",
		strerror(f->err), f->program[0] ? f->program : "the program");
	return fail_hint(reterr_fail,
			 "a sandbox, hypervisor or hardening policy forbids it: see "
			 "hotfixctl doctor");
}

static int explain(struct failure *f, struct fail *reterr_fail)
{
	char text[512];
	const char *line;
	int r;

	r = explain_kernel(f, reterr_fail);
	if (r < 0)
		return r;
	between(f->words, "prog '", "'", f->program, sizeof(f->program));
	if ((f->err == EPERM || f->err == EACCES) && !f->log[0] &&
	    (f->program[0] || !may_load_bpf()))
		return explain_refusal(f, reterr_fail);
	if (between(f->log, "failed to resolve CO-RE relocation <", "\n", text, sizeof(text))) {
		tidy_core(text);
		fail_set(reterr_fail, FAIL_LOAD,
			 "%s: %s does not exist in this kernel (CO-RE relocation)", f->program,
			 text);
		return fail_hint(reterr_fail,
				 "guard it with bpf_core_field_exists(), or restrict "
				 "the manifest's kernels");
	}
	if (between(f->log, "BPF program is too large. ", "\n", text, sizeof(text)))
		return fail_set(
			reterr_fail, FAIL_LOAD,
			"%s: the verifier gave up: the program is too large or never ends "
			"(%s)",
			f->program, text);
	/* Before Linux 6.4 a log that does not fit loses its end, which says why. */
	if (f->err == ENOSPC)
		return fail_set(
			reterr_fail, FAIL_LOAD,
			"%s: the verifier gave up: the program is too large or never ends "
			"(its log alone is more than %u MiB)",
			f->program, KERNEL_LOG_BYTES >> 20);
	/* The first program that failed is the last that was tried. */
	line = f->log[0] ? verdict(f->log) : NULL;
	if (line && about_target(line))
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"%s: this kernel does not allow it on this target: %s",
				f->program, line);
	if (line)
		return fail_set(reterr_fail, FAIL_LOAD, "%s: the verifier refuses it: %s",
				f->program[0] ? f->program : "object", line);
	last_words(f->words, text, sizeof(text));
	return fail_set(reterr_fail, FAIL_LOAD, "%s: %s",
			f->program[0] ? f->program : "the object cannot be loaded",
			text[0] ? text : strerror(f->err));
}

/* libbpf blames a limit where there is none: this process has the capabilities. */
static void drop_false_trail(char *words)
{
	char *line = strstr(words, "libbpf: permission error while running as root;"), *end;

	if (!line)
		return;
	end = line + strcspn(line, "\n");
	end += *end == '\n';
	memmove(line, end, strlen(end) + 1);
}

/* Keeps both texts for the operator; of a long verifier log the end says why. */
static void keep_log(const struct engine *e, const char *words, const char *log)
{
	size_t room = ENGINE_LOG_BYTES;
	size_t n, len;

	if (!e->log)
		return;
	len = strlen(log);
	n = snprintf(e->log, room, "%s", words);
	if (n >= room - 1)
		return;
	room -= n;
	if (len >= room) {
		log += len - (room - 1);
		log = strchr(log, '\n') ? strchr(log, '\n') + 1 : log;
	}
	snprintf(e->log + n, room, "%s", log);
}

/* --- loading ---------------------------------------------------------------------------- */

static const struct hook *declared(const struct engine_version *v, const char *program,
				   bool struct_ops)
{
	for (size_t i = 0; i < v->n_hooks; i++)
		if ((v->hooks[i].type == HOOK_STRUCT_OPS) == struct_ops &&
		    strcmp(v->hooks[i].program, program) == 0)
			return &v->hooks[i];
	return NULL;
}

static int add_hook(struct load *l, const struct engine_version *v, const char *program,
		    bool struct_ops, struct load_hook **ret_hook, struct fail *reterr_fail)
{
	const struct hook *h = declared(v, program, struct_ops);
	struct load_hook *lh = &l->hooks[l->n_hooks];
	size_t nth = 1;

	if (!h || l->n_hooks == HOOK_MAX)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the object's %s is not among the declared hooks", program);
	*lh = (struct load_hook){.hook = h};
	for (size_t i = 0; i < l->n_hooks; i++)
		nth += l->hooks[i].hook->type == h->type &&
		       strcmp(l->hooks[i].hook->target, h->target) == 0;
	snprintf(lh->slot, sizeof(lh->slot), "%s:%s", hook_type_name(h->type), h->target);
	if (nth > 1)
		snprintf(lh->slot + strlen(lh->slot), sizeof(lh->slot) - strlen(lh->slot),
			 ":%zu", nth);
	l->n_hooks++;
	*ret_hook = lh;
	return target_decide(&l->host, h, v->accept_preemption_leak, &lh->target, reterr_fail);
}

/* fmod_ret/security_X and lsm/X are one program for libbpf but for these four settings. */
static int aim(struct load_hook *lh)
{
	const struct target *t = &lh->target;
	struct bpf_program *p = lh->program;
	uint32_t flags = bpf_program__flags(p);
	int r;

	if (t->as == lh->hook->type)
		return 0;
	r = bpf_program__set_type(p, t->prog_type);
	if (r == 0)
		r = bpf_program__set_expected_attach_type(p, t->attach_type);
	if (r == 0)
		r = bpf_program__set_flags(p,
					   flags | (lh->hook->sleepable ? BPF_F_SLEEPABLE : 0));
	return r < 0 ? r : bpf_program__set_attach_target(p, 0, t->name);
}

static int open_ops(struct load *l, const struct engine_version *v, struct bpf_map *m,
		    struct fail *reterr_fail)
{
	struct load_hook *lh;
	const char *why;
	int r;

	if (ops_read(l->obj, m, &l->ops, &why) < 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "%s: %s", bpf_map__name(m), why);
	r = add_hook(l, v, bpf_map__name(m), true, &lh, reterr_fail);
	if (r < 0)
		return r;
	/* Only its programs are wanted: the map itself is never registered, and as a map of
	 * the old kind every kernel takes it. */
	r = bpf_map__set_map_flags(m, bpf_map__map_flags(m) & ~OPS_F_LINK);
	return r < 0 ? fail_set(reterr_fail, FAIL_INTERNAL, "libbpf: %s", strerror(-r)) : 0;
}

static int open_object(struct load *l, const struct engine_version *v, char *log,
		       const char *words, struct fail *reterr_fail)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "hotfix", .kernel_log_buf = log,
		    .kernel_log_size = KERNEL_LOG_BYTES);
	struct load_hook *lh;
	struct bpf_program *p;
	struct bpf_map *m;
	char text[512];
	int r;

	l->obj = bpf_object__open_mem(v->object, v->object_len, &opts);
	if (!l->obj) {
		r = errno;
		last_words(words, text, sizeof(text));
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"libbpf cannot read the object: %s",
				text[0] ? text : strerror(r));
	}
	bpf_object__for_each_map(m, l->obj) {
		if (bpf_map__type(m) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		r = open_ops(l, v, m, reterr_fail);
		if (r < 0)
			return r;
	}
	bpf_object__for_each_program(p, l->obj) {
		if (bpf_program__type(p) == BPF_PROG_TYPE_STRUCT_OPS)
			continue;
		r = add_hook(l, v, bpf_program__name(p), false, &lh, reterr_fail);
		if (r < 0)
			return r;
		lh->program = p;
	}
	if (l->n_hooks != v->n_hooks)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"%zu hooks are declared, the object has %zu", v->n_hooks,
				l->n_hooks);
	return 0;
}

static int read_info(struct load_hook *lh)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_prog_get_info_by_fd(bpf_program__fd(lh->program), &info, &len) < 0)
		return -errno;
	lh->btf_id = info.attach_btf_id;
	lh->btf_obj_id = info.attach_btf_obj_id;
	lh->insns = info.verified_insns;
	lh->jited_bytes = info.jited_prog_len;
	return 0;
}

/* A congestion control is as long as its members together. */
static int read_ops_info(struct load *l, struct load_hook *lh)
{
	struct load_hook member;
	int r;

	for (size_t i = 0; i < l->ops.n_members; i++) {
		member = (struct load_hook){.program = l->ops.members[i].program};
		r = read_info(&member);
		if (r < 0)
			return r;
		lh->insns += member.insns;
		lh->jited_bytes += member.jited_bytes;
		lh->btf_id = member.btf_id;
	}
	return 0;
}

int load_version(const struct engine *e, const struct engine_version *v, struct load **ret_load,
		 struct fail *reterr_fail)
{
	AUTO(load_freep) struct load *l = NULL;
	AUTO_WORDS struct words words = {0};
	AUTO_FREE char *log = NULL;
	AUTO_FREE char *text = NULL;
	struct failure f = {0};
	uint64_t start;
	int r;

	l = calloc(1, sizeof(*l));
	log = calloc(1, KERNEL_LOG_BYTES);
	text = calloc(1, ENGINE_LOG_BYTES / 4);
	if (!l || !log || !text)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (e->log)
		e->log[0] = 0;
	if (access("/sys/kernel/btf/vmlinux", F_OK) < 0) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE,
			 "this kernel has no BTF (/sys/kernel/btf/vmlinux)");
		return fail_hint(reterr_fail, "it needs CONFIG_DEBUG_INFO_BTF=y");
	}
	for (size_t i = 0; i < v->n_hooks; i++)
		if (v->hooks[i].type == HOOK_FMOD_RET || v->hooks[i].type == HOOK_LSM) {
			target_host(&l->host);
			break;
		}

	words_begin(&words, text, ENGINE_LOG_BYTES / 4);
	r = open_object(l, v, log, text, reterr_fail);
	if (r < 0)
		return r;
	start = clock_mono_ns();
	for (size_t i = 0; i < l->n_hooks && r == 0; i++)
		if (l->hooks[i].program)
			r = aim(&l->hooks[i]);
	if (r == 0)
		r = bpf_object__load(l->obj);
	if (r < 0) {
		if (r == -EPERM && may_load_bpf())
			drop_false_trail(text);
		f = (struct failure){.l = l, .words = text, .log = log, .err = -r};
		keep_log(e, text, log);
		return explain(&f, reterr_fail);
	}
	l->load_ms = (clock_mono_ns() - start) / 1000000;
	for (size_t i = 0; i < l->n_hooks; i++) {
		r = l->hooks[i].program ? read_info(&l->hooks[i])
					: read_ops_info(l, &l->hooks[i]);
		if (r < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL,
					"the loaded programs cannot be read: %s", strerror(-r));
	}
	keep_log(e, text, "");

	*ret_load = take_ptr(l);
	return 0;
}

struct load *load_free(struct load *l)
{
	if (!l)
		return NULL;
	bpf_object__close(l->obj);
	free(l);
	return NULL;
}

json_t *load_report(const struct load *l)
{
	json_t *hooks = json_array();

	for (size_t i = 0; hooks && i < l->n_hooks; i++) {
		const struct load_hook *lh = &l->hooks[i];

		json_array_append_new(
			hooks,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:n}",
				  "type", hook_type_name(lh->hook->type), "target",
				  lh->hook->target, "program", lh->hook->program, "slot",
				  lh->slot, "attach_as", hook_type_name(lh->target.as),
				  "attach_target", lh->target.func, "kind",
				  target_kind_name(lh->target.kind), "insns",
				  (json_int_t)lh->insns, "jited_bytes",
				  (json_int_t)lh->jited_bytes, "ok", true, "why"));
	}
	return json_pack("{s:o, s:I}", "hooks", hooks, "load_ms", (json_int_t)l->load_ms);
}
