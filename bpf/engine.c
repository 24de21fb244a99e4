// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/gate.h"
#include "bpf/load.h"
#include "bpf/overlap.h"
#include "bpf/pin.h"
#include "bpf/slot.h"
#include "bpf/survey.h"
#include "bpf/tcp_cc.h"
#include "lib/clock.h"
#include "lib/json.h"

/* A worker that was killed may still be on its way out of the kernel (detaching). */
#define LOCK_WAIT_NS 15000000000ULL

/* --- the folder of one hot-fix ------------------------------------------------------------ */

static int internal(const char *what, int err, struct fail *reterr_fail)
{
	return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", what, strerror(-err));
}

static int gate_failed(const char *name, int err, struct fail *reterr_fail)
{
	if (err != -EUCLEAN)
		return internal("gate", err, reterr_fail);
	fail_set(reterr_fail, FAIL_CONFLICT,
		 "what is pinned as the gate of %s is none of this version of hotfixd", name);
	return fail_hint(reterr_fail, "remove the hot-fix and apply it again");
}

/*
 * One worker per hot-fix. The lock is on the folder itself and ends with the process,
 * however that ends; a worker that waits for it finds a finished or a half-made state,
 * never one that is still moving.
 */
static int lock(const struct engine *e, const char *name, bool make, int *ret_fd,
		struct fail *reterr_fail)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t end = clock_mono_ns() + LOCK_WAIT_NS;
	struct stat opened, named;
	char path[PATH_MAX];
	int r;

	r = pin_check_root(e->bpffs, reterr_fail);
	if (r < 0)
		return r;
	if (!hook_name_valid(name))
		return fail_set(reterr_fail, FAIL_USAGE, "'%s' cannot be a hot-fix's name",
				name);
	r = pin_path(path, e->bpffs, name, NULL);
	if (r < 0)
		return internal(name, r, reterr_fail);
	for (;;) {
		AUTO_CLOSE int fd = -1;

		r = make ? pin_make_folder(path) : 0;
		if (r < 0)
			return internal(path, r, reterr_fail);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && !make)
			return -ENOENT;
		if (fd < 0 && errno != ENOENT)
			return internal(path, -errno, reterr_fail);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 &&
		    stat(path, &named) == 0 && opened.st_ino == named.st_ino) {
			*ret_fd = take_fd(&fd);
			return 0;
		}
		/* Held, or removed by the one who held it. */
		if (clock_mono_ns() > end)
			return fail_set(reterr_fail, FAIL_CONFLICT,
					"another process changes the hot-fix %s", name);
		nanosleep(&pause, NULL);
	}
}

static int version_folder(const struct engine *e, const char *name, uint32_t index,
			  char ret_path[PATH_MAX])
{
	char v[16];

	snprintf(v, sizeof(v), "v%u", index);
	return pin_path(ret_path, e->bpffs, name, v, NULL);
}

static int slot_names(const struct engine *e, const char *name, char ***ret_names)
{
	char path[PATH_MAX];
	int r = pin_path(path, e->bpffs, name, "slots", NULL);

	return r < 0 ? r : pin_names(path, ret_names);
}

/* --- taking things out -------------------------------------------------------------------- */

/* Everything of one index, complete or half made. Only sockets may still run it. */
static int clear_index(const struct engine *e, const char *name, struct gate *g, uint32_t index,
		       struct cc_left *left)
{
	AUTO_NAMES char **slots = NULL;
	char path[PATH_MAX];
	int r;

	r = tcp_cc_leave_version(e->bpffs, name, g, index, left);
	gate_set_version(g, index, NULL);
	if (r == 0)
		r = slot_names(e, name, &slots);
	for (char **s = slots; r == 0 && *s; s++)
		r = strcmp(*s, TCP_CC_SLOT) == 0 ? tcp_cc_clear(e->bpffs, name, index)
						 : slot_clear(e->bpffs, name, *s, index);
	if (r == 0)
		r = overlap_detach(e->bpffs, name, index);
	if (r == 0)
		r = version_folder(e, name, index, path);
	return r < 0 ? r : pin_remove_folder(path);
}

static bool slot_unused(const struct engine *e, const char *name, const char *slot)
{
	uint32_t ids[GATE_VERSIONS];
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];

	if (pin_path(path, e->bpffs, name, "slots", slot, "versions", NULL) < 0 ||
	    pin_open(PIN_MAP, path, &fd) < 0 || slot_array_ids(fd, ids) < 0)
		return true; /* half made */
	for (uint32_t i = 0; i < GATE_VERSIONS; i++)
		if (ids[i])
			return false;
	return true;
}

/* Slots that no version uses any more. */
static int sweep(const struct engine *e, const char *name, struct gate *g, struct cc_left *left,
		 struct fail *reterr_fail)
{
	AUTO_NAMES char **slots = NULL;
	bool has_cc = false;
	int r;

	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		has_cc |= (gate_version(g, i).flags & GATE_CC) != 0;
	r = slot_names(e, name, &slots);
	for (char **s = slots; r == 0 && *s; s++) {
		if (strcmp(*s, TCP_CC_SLOT) == 0) {
			if (has_cc)
				continue;
			r = tcp_cc_remove(e->bpffs, name, g, left, reterr_fail);
			if (r < 0)
				return r;
		} else if (slot_unused(e, name, *s)) {
			r = slot_remove(e->bpffs, name, *s);
		}
	}
	return r < 0 ? internal(name, r, reterr_fail) : 0;
}

/* The gate to work with; a damaged one is replaced, for taking the hot-fix out with it. */
static int open_gate(const struct engine *e, const char *name, struct gate **ret_gate)
{
	char path[PATH_MAX];
	int r;

	r = gate_make(e->bpffs, name, ret_gate);
	if (r != -EUCLEAN)
		return r;
	r = pin_path(path, e->bpffs, name, "gate", NULL);
	if (r == 0)
		r = pin_remove(path);
	return r < 0 ? r : gate_make(e->bpffs, name, ret_gate);
}

/* The gate last but the folder: until then the hot-fix can be found and removed again. */
static int remove_all(const struct engine *e, const char *name, struct gate *g,
		      struct cc_left *left, struct fail *reterr_fail)
{
	AUTO_NAMES char **slots = NULL;
	char path[PATH_MAX];
	int r;

	gate_commit(g, 0);
	r = tcp_cc_remove(e->bpffs, name, g, left, reterr_fail);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i < GATE_VERSIONS; i++) {
		r = overlap_detach(e->bpffs, name, i);
		if (r < 0)
			return internal(name, r, reterr_fail);
	}
	r = slot_names(e, name, &slots);
	for (char **s = slots; r == 0 && *s; s++)
		r = slot_remove(e->bpffs, name, *s);
	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++) {
		r = version_folder(e, name, i, path);
		if (r == 0)
			r = pin_remove_folder(path);
	}
	if (r == 0)
		r = pin_path(path, e->bpffs, name, NULL);
	if (r == 0)
		r = pin_remove_folder(path);
	return r < 0 ? internal(name, r, reterr_fail) : 0;
}

/* --- putting a version in ----------------------------------------------------------------- */

/* Programs and the maps of hotfix.bpf.h, by which the loop and a restart find them. */
static int pin_version(const struct engine *e, const char *name, uint32_t index,
		       const struct load *l)
{
	static const char *const maps[] = {"hotfix_counters", "hotfix_events",
					   "hotfix_control"};
	char folder[PATH_MAX];
	struct bpf_map *m;
	int r;

	r = version_folder(e, name, index, folder);
	if (r == 0)
		r = pin_make_folder(folder);
	for (size_t i = 0; r == 0 && i < l->n_hooks; i++)
		if (l->hooks[i].target.kind == TARGET_DISPATCHER)
			r = pin_in(folder, l->hooks[i].hook->program,
				   bpf_program__fd(l->hooks[i].program));
	for (size_t i = 0; r == 0 && i < l->ops.n_members; i++)
		r = pin_in(folder, bpf_program__name(l->ops.members[i].program),
			   bpf_program__fd(l->ops.members[i].program));
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(maps); i++) {
		m = bpf_object__find_map_by_name(l->obj, maps[i]);
		if (m)
			r = pin_in(folder, maps[i], bpf_map__fd(m));
	}
	return r;
}

static int enter_hooks(const struct engine *e, const char *name, struct gate *g,
		       const struct load *l, const struct gate_version *facts, uint32_t index,
		       struct fail *reterr_fail)
{
	char path[PATH_MAX];
	int r;

	r = pin_version(e, name, index, l);
	if (r == 0)
		r = pin_path(path, e->bpffs, name, "slots", NULL);
	if (r == 0)
		r = pin_make_folder(path);
	if (r < 0)
		return internal("the version cannot be pinned", r, reterr_fail);
	for (size_t i = 0; r == 0 && i < l->n_hooks; i++)
		switch (l->hooks[i].target.kind) {
		case TARGET_DISPATCHER:
			r = slot_enter(e->bpffs, name, g, &l->hooks[i], index, reterr_fail);
			break;
		case TARGET_OVERLAP:
			r = overlap_enter(e->bpffs, name, &l->hooks[i], index, reterr_fail);
			break;
		case TARGET_STRUCT_OPS:
			r = tcp_cc_enter(e->bpffs, name, g, l, facts, index, reterr_fail);
			break;
		}
	return r;
}

static int describe(const struct load *l, const struct engine_version *v,
		    struct gate_version *ret_facts, struct fail *reterr_fail)
{
	*ret_facts = (struct gate_version){.serial = v->serial};
	memcpy(ret_facts->digest, v->digest, sizeof(ret_facts->digest));
	for (size_t i = 0; i < l->n_hooks; i++)
		if (l->hooks[i].target.kind == TARGET_OVERLAP)
			ret_facts->flags |= GATE_OVERLAP;
	return l->ops.n_members ? tcp_cc_describe(l, v, ret_facts, reterr_fail) : 0;
}

static int report_of(const struct load *l, bool needs_settle, const struct cc_left *left,
		     json_t **ret_report, struct fail *reterr_fail)
{
	json_t *report = load_report(l);

	if (!report ||
	    json_object_set_new(report, "needs_settle", json_boolean(needs_settle)) < 0) {
		json_decref(report);
		return internal("report", -ENOMEM, reterr_fail);
	}
	json_object_set_new(report, "sockets", cc_left_report(left));
	*ret_report = report;
	return 0;
}

static bool runs(const struct gate *g, uint32_t index)
{
	return gate_committed(g) == index || gate_live(g, clock_mono_ns()) == index;
}

static int stage(struct engine *e, const struct engine_version *v, struct gate *g,
		 uint32_t index, struct load *l, struct cc_left *left, struct fail *reterr_fail)
{
	struct gate_version facts;
	int r;

	r = describe(l, v, &facts, reterr_fail);
	if (r < 0)
		return r;
	r = clear_index(e, v->name, g, index, left);
	if (r < 0)
		return internal("what held the index before cannot be removed", r, reterr_fail);
	r = enter_hooks(e, v->name, g, l, &facts, index, reterr_fail);
	if (r < 0)
		return r;
	gate_set_version(g, index, &facts);
	return 0;
}

/* On the way out of a failed stage() its own failure is what counts. */
static void undo(struct engine *e, const char *name, struct gate *g, uint32_t index)
{
	bool others = gate_committed(g) != 0;
	struct cc_left left = {0};

	clear_index(e, name, g, index, &left);
	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		others |= gate_version(g, i).serial != 0;
	if (others)
		sweep(e, name, g, &left, NULL);
	else
		remove_all(e, name, g, &left, NULL);
}

int engine_stage(struct engine *e, const struct engine_version *v, uint32_t index,
		 json_t **ret_report, struct fail *reterr_fail)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO(load_freep) struct load *l = NULL;
	AUTO_CLOSE int locked = -1;
	struct cc_left left = {0};
	bool needs_settle = false;
	int r;

	if (index == 0 || index >= GATE_VERSIONS)
		return fail_set(reterr_fail, FAIL_USAGE, "there is no index %u", index);
	/* First what changes nothing: a bad object leaves not even a folder. */
	r = pin_check_root(e->bpffs, reterr_fail);
	if (r == 0)
		r = load_version(e, v, &l, reterr_fail);
	if (r == 0)
		r = lock(e, v->name, true, &locked, reterr_fail);
	if (r < 0)
		return r;
	r = gate_make(e->bpffs, v->name, &g);
	if (r < 0)
		return gate_failed(v->name, r, reterr_fail);
	if (runs(g, index))
		return fail_set(reterr_fail, FAIL_CONFLICT, "index %u of %s is live", index,
				v->name);
	r = stage(e, v, g, index, l, &left, reterr_fail);
	if (r < 0) {
		undo(e, v->name, g, index);
		return r;
	}
	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		needs_settle |= (gate_version(g, i).flags & (GATE_OVERLAP | GATE_CC)) != 0;
	return report_of(l, needs_settle, &left, ret_report, reterr_fail);
}

/* What would only come out when attaching, as far as it can be known before. */
static int foresee(const struct load *l, struct fail *reterr_fail)
{
	for (size_t i = 0; i < l->n_hooks; i++) {
		const struct target *t = &l->hooks[i].target;

		if (t->kind != TARGET_STRUCT_OPS && target_traceable(t->func) == 0)
			return target_not_traceable(t, reterr_fail);
	}
	return 0;
}

int engine_check(struct engine *e, const struct engine_version *v, json_t **ret_report,
		 struct fail *reterr_fail)
{
	AUTO(load_freep) struct load *l = NULL;
	const struct cc_left left = {0};
	struct gate_version facts;
	int r;

	r = load_version(e, v, &l, reterr_fail);
	if (r == 0)
		r = describe(l, v, &facts, reterr_fail);
	if (r == 0 && facts.flags & GATE_CC)
		r = tcp_cc_try(e->bpffs, v->name, &facts, reterr_fail);
	if (r == 0)
		r = foresee(l, reterr_fail);
	return r < 0 ? r
		     : report_of(l, (facts.flags & (GATE_OVERLAP | GATE_CC)) != 0, &left,
				 ret_report, reterr_fail);
}

/* {"sockets":...}, where there were sockets or defaults to take along. */
static int report_left(const struct cc_left *left, json_t **ret_report,
		       struct fail *reterr_fail)
{
	json_t *report = json_pack("{s:o*}", "sockets", cc_left_report(left));

	if (!report)
		return internal("report", -ENOMEM, reterr_fail);
	*ret_report = report;
	return 0;
}

/* What the kernel holds under that name, locked. -ENOENT: nothing. */
static int enter(const struct engine *e, const char *name, int *ret_locked,
		 struct gate **ret_gate, struct fail *reterr_fail)
{
	int r = lock(e, name, false, ret_locked, reterr_fail);

	if (r < 0)
		return r;
	r = gate_open(e->bpffs, name, ret_gate);
	return r < 0 && r != -ENOENT ? gate_failed(name, r, reterr_fail) : r;
}

int engine_settle(struct engine *e, const char *name, json_t **ret_report,
		  struct fail *reterr_fail)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_CLOSE int locked = -1;
	struct cc_left left = {0};
	uint32_t index;
	int r;

	r = enter(e, name, &locked, &g, reterr_fail);
	if (r == -ENOENT)
		return report_left(&left, ret_report, reterr_fail);
	if (r < 0)
		return r;
	index = gate_live(g, clock_mono_ns());
	if (index && !gate_version(g, index).serial)
		return fail_set(reterr_fail, FAIL_NOT_FOUND, "%s has no version at index %u",
				name, index);
	/* Make before break. */
	r = overlap_attach(e->bpffs, name, index, reterr_fail);
	if (r == 0)
		r = tcp_cc_settle(e->bpffs, name, g, index, &left, reterr_fail);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i < GATE_VERSIONS; i++) {
		if (i == index)
			continue;
		r = overlap_detach(e->bpffs, name, i);
		if (r < 0)
			return internal("an older version cannot be detached", r, reterr_fail);
	}
	return report_left(&left, ret_report, reterr_fail);
}

int engine_unstage(struct engine *e, const char *name, uint32_t index, json_t **ret_report,
		   struct fail *reterr_fail)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_CLOSE int locked = -1;
	struct cc_left left = {0};
	int r;

	if (index == 0 || index >= GATE_VERSIONS)
		return fail_set(reterr_fail, FAIL_USAGE, "there is no index %u", index);
	r = enter(e, name, &locked, &g, reterr_fail);
	if (r == -ENOENT)
		return report_left(&left, ret_report, reterr_fail);
	if (r < 0)
		return r;
	if (runs(g, index))
		return fail_set(reterr_fail, FAIL_CONFLICT, "index %u of %s is live", index,
				name);
	r = clear_index(e, name, g, index, &left);
	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++)
		if (!gate_version(g, i).serial)
			r = clear_index(e, name, g, i, &left);
	if (r < 0)
		return internal(name, r, reterr_fail);
	r = sweep(e, name, g, &left, reterr_fail);
	return r < 0 ? r : report_left(&left, ret_report, reterr_fail);
}

int engine_remove(struct engine *e, const char *name, json_t **ret_report,
		  struct fail *reterr_fail)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_CLOSE int locked = -1;
	struct cc_left left = {0};
	int r;

	r = lock(e, name, false, &locked, reterr_fail);
	if (r == -ENOENT)
		return report_left(&left, ret_report, reterr_fail);
	if (r < 0)
		return r;
	r = open_gate(e, name, &g);
	if (r < 0)
		return internal("gate", r, reterr_fail);
	r = remove_all(e, name, g, &left, reterr_fail);
	return r < 0 ? r : report_left(&left, ret_report, reterr_fail);
}

static bool is_empty(const struct engine *e, const char *name)
{
	AUTO_NAMES char **names = NULL;
	char path[PATH_MAX];

	return pin_path(path, e->bpffs, name, NULL) == 0 && pin_names(path, &names) == 0 &&
	       !names[0];
}

int engine_survey(struct engine *e, json_t **ret_survey, struct fail *reterr_fail)
{
	AUTO_NAMES char **names = NULL;
	AUTO_JSON json_t *list = json_array();
	json_t *hotfix;
	int r;

	r = pin_check_root(e->bpffs, reterr_fail);
	if (r < 0)
		return r;
	r = pin_names(e->bpffs, &names);
	for (char **n = names; r == 0 && *n; n++) {
		if (!hook_name_valid(*n) || is_empty(e, *n))
			continue; /* not ours; a worker was killed before it made anything */
		r = survey_hotfix(e->bpffs, *n, &hotfix);
		if (r == 0 && json_array_append_new(list, hotfix) < 0)
			r = -ENOMEM;
	}
	if (r < 0)
		return internal("survey", r, reterr_fail);
	*ret_survey = json_pack("{s:O}", "hotfixes", list);
	return *ret_survey ? 0 : internal("survey", -ENOMEM, reterr_fail);
}

int engine_calls(const char *bpffs, const char *name, const char *slot, uint64_t ret_calls[8])
{
	int cpus = libbpf_num_possible_cpus();
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	AUTO_FREE uint64_t *per_cpu = NULL;
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];
	uint64_t sums[GATE_VERSIONS] = {0};
	int r;

	if (cpus < 0)
		return cpus;
	r = pin_path(path, bpffs, name, "slots", slot, "calls", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &fd);
	if (r < 0)
		return r;
	if (bpf_map_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != sizeof(uint64_t) ||
	    info.max_entries != GATE_VERSIONS)
		return -EUCLEAN;
	per_cpu = calloc(cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t i = 0; i < GATE_VERSIONS; i++) {
		if (bpf_map_lookup_elem(fd, &i, per_cpu) < 0)
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[i] += per_cpu[cpu];
	}
	memcpy(ret_calls, sums, sizeof(sums));
	return 0;
}
