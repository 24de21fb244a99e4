// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/doctor_hooks.c -- of bpf/doctor.h: will each hook of a hot-fix attach here. The decision
 * is that of bpf/target.h, which the engine follows; the rest is what attaching would say.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "bpf/doctor.h"
#include "bpf/kfile.h"
#include "bpf/ops.h"
#include "bpf/probe.h"
#include "bpf/target.h"
#include "lib/cleanup.h"
#include "lib/io.h"

/* One hook and where it goes. */
struct place {
	const struct hook *hook;
	struct target target;
	uint32_t btf_id;   /* of the function; 0: not there */
	uint32_t obj_id;   /* its BTF object; 0: that of vmlinux */
	int obj_fd;	   /* of a module's BTF, 0 vmlinux */
	bool untraceable;  /* known not to be in available_filter_functions */
	int used;	   /* programs on it, -1 unknown */
	bool needs_accept; /* works, but for the leak that nobody accepted */
	bool warned;
	struct fail fail; /* why not */
};

/* The next BTF object of the kernel itself after id, open; negative: there is none. */
static int next_kernel_btf(uint32_t *id, char ret_name[64])
{
	while (bpf_btf_get_next_id(*id, id) == 0) {
		AUTO_CLOSE int fd = bpf_btf_get_fd_by_id(*id);
		struct bpf_btf_info info = {.name = (uintptr_t)ret_name, .name_len = 64};
		uint32_t len = sizeof(info);

		ret_name[0] = 0;
		if (fd >= 0 && bpf_btf_get_info_by_fd(fd, &info, &len) == 0 && info.kernel_btf)
			return take_fd(&fd);
	}
	return -1;
}

/* Mostly 1, unless somebody loaded BTF before the kernel first needed its own. */
static uint32_t vmlinux_obj_id(void)
{
	char name[64];
	uint32_t id = 0;
	int fd;

	while ((fd = next_kernel_btf(&id, name)) >= 0) {
		close(fd);
		if (strcmp(name, "vmlinux") == 0)
			return id;
	}
	return 1;
}

/* Module functions are hooked by their plain name; which module it is must be searched. */
static void find_in_modules(struct place *p)
{
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	struct btf *base = btf__load_vmlinux_btf();
	char name[64];
	uint32_t id = 0;

	while (base && !p->btf_id) {
		AUTO_CLOSE int fd = next_kernel_btf(&id, name);
		struct btf *btf;
		int found;

		if (fd < 0)
			break;
		if (strcmp(name, "vmlinux") == 0)
			continue;
		btf = btf__load_from_kernel_by_id_split(id, base);
		found = btf ? btf__find_by_name_kind(btf, p->target.func, BTF_KIND_FUNC) : -1;
		btf__free(btf);
		if (found > 0) {
			p->btf_id = (uint32_t)found;
			p->obj_id = id;
			p->obj_fd = take_fd(&fd);
		}
	}
	btf__free(base);
	libbpf_set_print(print);
}

static void find_place(const struct probe *probe, const struct target_host *host,
		       const struct hook *hook, bool accept, struct place *p)
{
	int r;

	*p = (struct place){.hook = hook, .used = -1};
	p->target.as = hook->type;
	if (!probe->vmlinux) {
		fail_set(&p->fail, FAIL_INCOMPATIBLE, "this kernel has no BTF");
		fail_hint(&p->fail, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y");
		return;
	}
	r = target_decide(host, hook, accept, &p->target, &p->fail);
	if (r < 0 && !accept) {
		struct fail other;

		/* Is the leak all that speaks against it? */
		p->needs_accept = target_decide(host, hook, true, &p->target, &other) == 0;
	}
	if ((r < 0 && !p->needs_accept) || hook->type == HOOK_STRUCT_OPS)
		return;
	p->btf_id = probe_function(probe, p->target.func);
	if (!p->btf_id)
		find_in_modules(p);
}

/* A function that ftrace does not know is refused at attach, not at load. */
static void mark_untraceable(struct place *places, size_t n)
{
	AUTO_CLOSE int fd =
		kfile_open("tracefs", "/sys/kernel/tracing", "available_filter_functions");
	AUTO_FILE FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	bool *found = calloc(n + 1, sizeof(*found)), any = false;
	char line[512];

	if (f)
		take_fd(&fd);
	while (f && found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\n")] = 0;
		any = true;
		for (size_t i = 0; i < n; i++)
			found[i] |= strcmp(places[i].target.func, line) == 0;
	}
	/* An empty list says nothing: ftrace is off. */
	for (size_t i = 0; i < n && any; i++)
		places[i].untraceable = !found[i];
	free(found);
}

/* How many programs each function has. Listing links takes CAP_SYS_ADMIN. */
static void count_used(struct place *places, size_t n)
{
	uint32_t id = 0, vmlinux = vmlinux_obj_id();
	int r;

	for (size_t i = 0; i < n; i++)
		places[i].used = 0;
	while ((r = bpf_link_get_next_id(id, &id)) == 0) {
		AUTO_CLOSE int fd = bpf_link_get_fd_by_id(id);
		struct bpf_link_info info = {0};
		uint32_t len = sizeof(info);

		if (fd < 0 || bpf_link_get_info_by_fd(fd, &info, &len) < 0 ||
		    info.type != BPF_LINK_TYPE_TRACING)
			continue;
		for (size_t i = 0; i < n; i++)
			places[i].used +=
				info.tracing.target_btf_id == places[i].btf_id &&
				info.tracing.target_obj_id ==
					(places[i].obj_id ? places[i].obj_id : vmlinux);
	}
	for (size_t i = 0; i < n && r != -ENOENT; i++)
		places[i].used = -1;
}

/* How many the kernel takes on one function; measured. */
static int trampoline_room(void)
{
	struct utsname u;
	int major = 0;

	uname(&u);
	sscanf(u.release, "%d", &major);
	return major >= 7 ? 36 : 38;
}

/* The kernel's own and those of other tools; and ours: the caller knows which is whose. */
static bool cc_registered(const char *name)
{
	char line[4096], *save;

	if (!name[0] || io_read_line("/proc/sys/net/ipv4/tcp_available_congestion_control",
				     line, sizeof(line)) < 0)
		return false;
	for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strcmp(word, name) == 0)
			return true;
	return false;
}

static void judge_struct_ops(struct probe *probe, struct place *p)
{
	const struct hook *hook = p->hook;
	bool links;
	int r;

	if (strcmp(hook->target, OPS_TYPE_TCP_CC) != 0) {
		fail_set(&p->fail, FAIL_INCOMPATIBLE,
			 "struct_ops of type %s are not supported, only " OPS_TYPE_TCP_CC,
			 hook->target);
		return;
	}
	r = probe_ops(probe, &links);
	if (r < 0) {
		probe_explain(probe, "struct_ops", r, &p->fail);
	} else if (cc_registered(hook->cc_name)) {
		p->warned = true;
		fail_set(&p->fail, FAIL_INCOMPATIBLE,
			 "a congestion control \"%s\" is registered: unless it is this "
			 "hot-fix's own, the name clashes",
			 hook->cc_name);
	}
}

static void judge_function(struct probe *probe, struct place *p, int room)
{
	const struct target *t = &p->target;
	char what[HOOK_TARGET_BYTES + 32];
	struct fail why = {0};
	int r;

	snprintf(what, sizeof(what), "%s/%s", hook_type_name(p->hook->type), p->hook->target);
	if (!p->btf_id) {
		fail_set(&why, FAIL_INCOMPATIBLE,
			 "%s: no function %s in this kernel or its loaded modules", what,
			 t->func);
		if (t->as != HOOK_LSM)
			fail_hint(&why, "is its module loaded, and the function not inlined?");
	} else if ((r = probe_program(probe, t->prog_type, t->attach_type, p->btf_id, p->obj_fd,
				      p->hook->sleepable ? BPF_F_SLEEPABLE : 0)) < 0) {
		probe_explain(probe, what, r, &why);
	} else if (p->untraceable) {
		fail_set(
			&why, FAIL_INCOMPATIBLE,
			"%s: %s is notrace (not in available_filter_functions): loading works, "
			"attaching does not",
			what, t->func);
	} else if (p->used >= room) {
		fail_set(&why, FAIL_INCOMPATIBLE,
			 "%s: %s has %d programs already, the kernel takes %d", what, t->func,
			 p->used, room);
		fail_hint(&why, "detach programs of other tools from it");
	}
	if (why.code) {
		p->fail = why;
		p->needs_accept = false;
	}
}

static json_t *text_or_null(const char *s)
{
	json_t *j = s[0] ? json_string(s) : NULL;

	return j ? j : json_null();
}

static json_t *place_to_json(const struct place *p, int room)
{
	bool ok = !p->fail.code || p->warned;
	bool counted = p->used >= 0 && p->btf_id;
	const char *kind = target_kind_name(p->target.kind);

	return json_pack(
		"{s:s, s:s, s:s, s:b, s:s, s:b, s:s, s:o, s:s, s:o, s:o, s:o}", "type",
		hook_type_name(p->hook->type), "target", p->hook->target, "program",
		p->hook->program, "ok", ok, "status",
		!p->fail.code ? "ok"
		: p->warned   ? "warn"
			      : "fail",
		"needs_accept", p->needs_accept, "attach_as", hook_type_name(p->target.as),
		"attach_target", text_or_null(p->target.func), "kind", kind, "why",
		text_or_null(p->fail.message), "hint", text_or_null(p->fail.hint), "free_slots",
		counted ? json_integer(room > p->used ? room - p->used : 0) : json_null());
}

int doctor_hooks(const struct hook *hooks, size_t n_hooks, bool accept_preemption_leak,
		 json_t **ret_report)
{
	AUTO_FREE struct place *places = calloc(n_hooks + 1, sizeof(*places));
	AUTO(probe_freep) struct probe *probe = NULL;
	json_t *report = json_array();
	int room = trampoline_room();
	struct target_host host;

	if (!places || !report || probe_new(&probe) < 0) {
		json_decref(report);
		return -ENOMEM;
	}
	target_host(&host);
	for (size_t i = 0; i < n_hooks; i++)
		find_place(probe, &host, &hooks[i], accept_preemption_leak, &places[i]);
	mark_untraceable(places, n_hooks);
	count_used(places, n_hooks);
	for (size_t i = 0; i < n_hooks; i++) {
		struct place *p = &places[i];

		if (p->fail.code && !p->needs_accept)
			; /* decided */
		else if (p->hook->type == HOOK_STRUCT_OPS)
			judge_struct_ops(probe, p);
		else
			judge_function(probe, p, room);
		json_array_append_new(report, place_to_json(p, room));
		if (p->obj_fd > 0)
			close(p->obj_fd);
	}
	*ret_report = report;
	return 0;
}
