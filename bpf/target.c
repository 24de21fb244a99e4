// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/target.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "bpf/doctor.h"
#include "bpf/vmlinux.h"
#include "lib/cleanup.h"
#include "lib/io.h"

/*
 * What every trampoline itself runs through, or what runs where a BPF program must not.
 * Attaching to __rcu_read_lock hung Linux 6.1 at once; later kernels refuse some of these
 * themselves, but not all.
 */
static const struct {
	const char *name;
	bool prefix;
	const char *why;
} forbidden[] = {
	{"__rcu_read_", true, "every BPF program runs through it"},
	{"rcu_read_", true, "every BPF program runs through it"},
	{"rcu_lock_", true, "every BPF program runs through it"},
	{"rcu_nmi_", true, "it runs while RCU does not watch"},
	{"rcu_irq_", true, "it runs while RCU does not watch"},
	{"ct_idle_", true, "it runs while RCU does not watch"},
	{"ct_irq_", true, "it runs while RCU does not watch"},
	{"ct_kernel_", true, "it runs while RCU does not watch"},
	{"ct_nmi_", true, "it runs while RCU does not watch"},
	{"ct_user_", true, "it runs while RCU does not watch"},
	{"__ct_user_", true, "it runs while RCU does not watch"},
	{"__srcu_read_", true, "every trampoline runs through it"},
	{"preempt_count_", true, "every BPF program runs through it"},
	{"preempt_schedule", true, "it runs inside BPF programs"},
	{"migrate_disable", false, "every BPF program runs through it"},
	{"migrate_enable", false, "every BPF program runs through it"},
	{"__migrate_", true, "every BPF program runs through it"},
	{"__bpf_prog_", true, "every BPF program runs through it"},
	{"__bpf_tramp_", true, "every trampoline runs through it"},
	{"bpf_trampoline_", true, "it changes trampolines"},
	{"text_poke", true, "it changes the code that is being hooked"},
	{"smp_text_poke", true, "it changes the code that is being hooked"},
	{"ftrace_", true, "it changes the code that is being hooked"},
	{"exc_", true, "it runs on exception entry"},
	{"nmi_", true, "it runs in non-maskable interrupts"},
};

/* Why attaching to this function could take the host down; NULL when it may be tried. */
static const char *forbidden_because(const char *func)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (forbidden[i].prefix
			    ? strncmp(func, forbidden[i].name, strlen(forbidden[i].name)) == 0
			    : strcmp(func, forbidden[i].name) == 0)
			return forbidden[i].why;
	return NULL;
}

const char *target_kind_name(enum target_kind kind)
{
	static const char *const names[] = {
		[TARGET_DISPATCHER] = "dispatcher",
		[TARGET_OVERLAP] = "overlap",
		[TARGET_STRUCT_OPS] = "struct_ops",
	};

	return names[kind];
}

int target_traceable(const char *func)
{
	static const char *const paths[] = {
		"/sys/kernel/tracing/available_filter_functions",
		"/sys/kernel/debug/tracing/available_filter_functions",
	};
	size_t len = strlen(func);
	char line[512];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		AUTO_FILE FILE *f = fopen(paths[i], "re");

		if (!f)
			continue;
		while (fgets(line, sizeof(line), f))
			if (strncmp(line, func, len) == 0 &&
			    (line[len] == '\n' || line[len] == ' '))
				return 1;
		return 0;
	}
	return -ENOENT;
}

int target_not_traceable(const struct target *t, struct fail *reterr_fail)
{
	fail_set(reterr_fail, FAIL_INCOMPATIBLE,
		 "%s cannot be hooked: this kernel marks it notrace (the program verified and "
		 "loaded)",
		 t->func);
	return fail_hint(reterr_fail, "hook a caller or a function it calls");
}

void target_host(struct target_host *ret_host)
{
	char list[256];

	*ret_host = (struct target_host){0};
	ret_host->lsm_bpf = doctor_lsm_has_bpf(list, sizeof(list));
	ret_host->preemptible =
		doctor_preempt(ret_host->preempt_how, sizeof(ret_host->preempt_how)) ==
		DOCTOR_PREEMPT_YES;
}

static void set(struct target *t, enum hook_type as, const char *prefix, const char *name)
{
	static const struct {
		enum bpf_prog_type prog;
		enum bpf_attach_type attach;
	} types[] = {
		[HOOK_FENTRY] = {BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY},
		[HOOK_FEXIT] = {BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT},
		[HOOK_FMOD_RET] = {BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN},
		[HOOK_LSM] = {BPF_PROG_TYPE_LSM, BPF_LSM_MAC},
	};

	t->as = as;
	t->prog_type = types[as].prog;
	t->attach_type = types[as].attach;
	snprintf(t->name, sizeof(t->name), "%s%s", prefix, name);
	snprintf(t->func, sizeof(t->func), "%s%s", as == HOOK_LSM ? "bpf_lsm_" : "", t->name);
}

/* The two functions of one LSM hook, as far as this kernel has both with one prototype. */
static bool twins(const char *hook)
{
	char security[TARGET_FUNC_BYTES], lsm[TARGET_FUNC_BYTES];
	struct vmlinux_name names[] = {
		{security, BTF_KIND_FUNC, 0},
		{lsm, BTF_KIND_FUNC, 0},
	};
	const struct vmlinux *v;

	snprintf(security, sizeof(security), "security_%s", hook);
	snprintf(lsm, sizeof(lsm), "bpf_lsm_%s", hook);
	if (vmlinux_get(&v) < 0)
		return false;
	vmlinux_find(v, names, ARRAY_SIZE(names));
	return names[0].id && names[1].id &&
	       vmlinux_same_prototype(v, names[0].id, names[1].id);
}

static int decide_lsm(const struct target_host *host, const struct hook *h, struct target *t,
		      struct fail *reterr_fail)
{
	set(t, HOOK_LSM, "", h->target);
	if (host->lsm_bpf)
		return 0;
	/* It would load, attach, and never be called. */
	if (h->sleepable) {
		fail_set(
			reterr_fail, FAIL_INCOMPATIBLE,
			"lsm.s/%s: bpf is not in this kernel's LSM list, and a sleepable program "
			"has no other way in",
			h->target);
		return fail_hint(reterr_fail, "boot with lsm=...,bpf");
	}
	if (!twins(h->target)) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE,
			 "lsm/%s: bpf is not in this kernel's LSM list, and there is no "
			 "security_%s with the same arguments to attach to instead",
			 h->target, h->target);
		return fail_hint(reterr_fail, "boot with lsm=...,bpf");
	}
	set(t, HOOK_FMOD_RET, "security_", h->target);
	return 0;
}

int target_decide(const struct target_host *host, const struct hook *h,
		  bool accept_preemption_leak, struct target *ret_target,
		  struct fail *reterr_fail)
{
	static const char security[] = "security_";
	struct target t = {0};
	const char *hook;
	const char *why;
	int r;

	switch (h->type) {
	case HOOK_FENTRY:
	case HOOK_FEXIT:
		set(&t, h->type, "", h->target);
		break;
	case HOOK_FMOD_RET:
		set(&t, HOOK_FMOD_RET, "", h->target);
		hook = h->target + strlen(security);
		if (host->lsm_bpf && strncmp(h->target, security, strlen(security)) == 0 &&
		    twins(hook))
			set(&t, HOOK_LSM, "", hook);
		break;
	case HOOK_LSM:
		r = decide_lsm(host, h, &t, reterr_fail);
		if (r < 0)
			return r;
		break;
	case HOOK_STRUCT_OPS:
		t.as = HOOK_STRUCT_OPS;
		t.kind = TARGET_STRUCT_OPS;
		t.prog_type = BPF_PROG_TYPE_STRUCT_OPS;
		snprintf(t.name, sizeof(t.name), "%s", h->target);
		snprintf(t.func, sizeof(t.func), "%s", h->target);
		*ret_target = t;
		return 0;
	}
	if (h->sleepable)
		t.kind = TARGET_OVERLAP;

	why = forbidden_because(t.func);
	if (why) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s/%s is refused: %s",
			 hook_type_name(h->type), h->target, why);
		return fail_hint(reterr_fail,
				 "a program there can hang the host; hook a caller");
	}
	if (t.as == HOOK_FMOD_RET && host->preemptible && !accept_preemption_leak) {
		fail_set(
			reterr_fail, FAIL_INCOMPATIBLE,
			"%s/%s would let calls through: this kernel can preempt a task inside an "
			"fmod_ret program, which switches it off for others on that CPU (%s)",
			hook_type_name(h->type), h->target, host->preempt_how);
		return fail_hint(
			reterr_fail,
			"boot with lsm=...,bpf or a preempt= that is not full or lazy, "
			"or accept the leak in the manifest");
	}

	*ret_target = t;
	return 0;
}
