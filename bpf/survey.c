// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/survey.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/gate.h"
#include "bpf/load.h"
#include "bpf/pin.h"
#include "bpf/slot.h"
#include "bpf/tcp_cc.h"
#include "bpf/vmlinux.h"
#include "lib/clock.h"

#define VMLINUX_BTF_ID 1 /* the first BTF of every boot */
#define IDS_MAX	       512

struct survey {
	const char *bpffs, *name;
	struct gate *gate; /* NULL: none */
	uint32_t gate_id;
	uint32_t live;
	uint32_t half_made; /* an index without a serial that has pins; 0 none */
	json_t *slots, *problems;
	bool settled;
	/* Ids of the programs pinned for each index, and whether a slot calls them. */
	uint32_t ids[GATE_VERSIONS][IDS_MAX];
	bool entered[GATE_VERSIONS][IDS_MAX];
	size_t n_ids[GATE_VERSIONS];
};

static void problem(struct survey *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void problem(struct survey *s, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(s->problems, json_string(text));
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_map_get_info_by_fd(fd, &info, &len) < 0 ? 0 : info.id;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_prog_get_info_by_fd(fd, &info, &len) < 0 ? 0 : info.id;
}

/* --- versions ----------------------------------------------------------------------------- */

static int read_version(struct survey *s, uint32_t index)
{
	AUTO_NAMES char **names = NULL;
	char folder[PATH_MAX], path[PATH_MAX], v[16];
	enum pin_kind kind;
	int r;

	snprintf(v, sizeof(v), "v%u", index);
	r = pin_path(folder, s->bpffs, s->name, v, NULL);
	if (r == 0)
		r = pin_names(folder, &names);
	if (r < 0)
		return r;
	if (names[0] && (!s->gate || !gate_version(s->gate, index).serial)) {
		problem(s, "index %u is half made", index);
		s->half_made = index;
	}
	for (char **n = names; *n; n++) {
		AUTO_CLOSE int fd = -1;

		if (strcmp(*n, "overlap") == 0)
			continue;
		r = pin_path(path, folder, *n, NULL);
		if (r < 0)
			return r;
		fd = bpf_obj_get(path);
		if (fd < 0 || pin_kind_of(fd, &kind) < 0) {
			problem(s, "%s/%s is no BPF object", v, *n);
			continue;
		}
		if (kind == PIN_PROGRAM && s->n_ids[index] < IDS_MAX)
			s->ids[index][s->n_ids[index]++] = program_id(fd);
	}
	return 0;
}

static json_t *versions(const struct survey *s)
{
	static const char hex[] = "0123456789abcdef";
	json_t *list = json_array();
	struct gate_version v;
	char digest[65] = "";

	for (uint32_t i = 1; s->gate && i < GATE_VERSIONS; i++) {
		v = gate_version(s->gate, i);
		if (!v.serial)
			continue;
		for (size_t k = 0; k < sizeof(v.digest); k++) {
			digest[2 * k] = hex[v.digest[k] >> 4];
			digest[2 * k + 1] = hex[v.digest[k] & 15];
		}
		json_array_append_new(list, json_pack("{s:i, s:I, s:s, s:s*}", "index", (int)i,
						      "serial", (json_int_t)v.serial, "digest",
						      digest, "cc_name",
						      v.cc_name[0] ? v.cc_name : NULL));
	}
	return list;
}

/* The programs that an array calls, against those pinned for its indexes. */
static void check_array(struct survey *s, const char *slot, int fd, json_t *indexes)
{
	uint32_t ids[GATE_VERSIONS];
	size_t k;
	int r;

	r = slot_array_ids(fd, ids);
	if (r < 0) {
		problem(s, "%s: its array of versions is another map", slot);
		return;
	}
	if (ids[0])
		problem(s, "%s: index 0, which must be empty, calls program %u", slot, ids[0]);
	for (uint32_t i = 1; i < GATE_VERSIONS; i++) {
		if (!ids[i])
			continue;
		for (k = 0; k < s->n_ids[i]; k++)
			if (s->ids[i][k] == ids[i])
				break;
		if (k == s->n_ids[i])
			problem(s, "%s: index %u calls program %u, which is not the version's",
				slot, i, ids[i]);
		else
			s->entered[i][k] = true;
		for (k = 0; k < json_array_size(indexes); k++)
			if (json_integer_value(json_array_get(indexes, k)) == i)
				break;
		if (k == json_array_size(indexes))
			json_array_append_new(indexes, json_integer(i));
	}
}

/* --- slots -------------------------------------------------------------------------------- */

/* "<type>:<target>[:n]" */
static bool parse_slot(const char *slot, enum hook_type *ret_type,
		       char ret_target[HOOK_TARGET_BYTES])
{
	char type[16];
	const char *rest;
	size_t n = strcspn(slot, ":");

	if (n >= sizeof(type) || !slot[n])
		return false;
	snprintf(type, sizeof(type), "%.*s", (int)n, slot);
	rest = slot + n + 1;
	n = strcspn(rest, ":");
	if (n == 0 || n >= HOOK_TARGET_BYTES || hook_type_parse(type, ret_type) < 0)
		return false;
	snprintf(ret_target, HOOK_TARGET_BYTES, "%.*s", (int)n, rest);
	return true;
}

/* The kernel function that a slot of this name is attached to as this attach type. */
static void function_of(enum hook_type type, const char *target, uint32_t attach_type,
			char ret_func[TARGET_FUNC_BYTES])
{
	static const char security[] = "security_";
	const char *prefix = "";

	if (attach_type == BPF_LSM_MAC) {
		prefix = "bpf_lsm_";
		if (type != HOOK_LSM && strncmp(target, security, strlen(security)) == 0)
			target += strlen(security);
	} else if (type == HOOK_LSM) {
		prefix = security;
	}
	snprintf(ret_func, TARGET_FUNC_BYTES, "%s%s", prefix, target);
}

/* Is the link what its place says? Gives the id of the program it runs. */
static bool check_link(struct survey *s, const char *slot, int fd, uint32_t *ret_program)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	char target[HOOK_TARGET_BYTES], func[TARGET_FUNC_BYTES];
	const struct vmlinux *v;
	enum hook_type type;
	const char *is;

	*ret_program = 0;
	if (bpf_link_get_info_by_fd(fd, &info, &len) < 0 ||
	    info.type != BPF_LINK_TYPE_TRACING || !parse_slot(slot, &type, target)) {
		problem(s, "%s: its link is of another kind", slot);
		return false;
	}
	*ret_program = info.prog_id;
	function_of(type, target, info.tracing.attach_type, func);
	if (info.tracing.target_obj_id != VMLINUX_BTF_ID)
		is = func; /* a module's: its BTF takes CAP_SYS_ADMIN */
	else
		is = vmlinux_get(&v) < 0 ? NULL : vmlinux_name(v, info.tracing.target_btf_id);
	if (!is || strcmp(is, func) != 0) {
		problem(s, "%s: its link is attached to %s", slot, is ? is : "nothing known");
		return false;
	}
	return true;
}

/* The dispatcher must be the program of the link and use this gate and this array. */
static void check_dispatcher(struct survey *s, const char *slot, int fd, uint32_t linked,
			     int versions_fd, uint64_t *ret_misses)
{
	uint32_t maps[16] = {0};
	struct bpf_prog_info info = {
		.nr_map_ids = ARRAY_SIZE(maps),
		.map_ids = (uintptr_t)maps,
	};
	uint32_t len = sizeof(info);
	uint32_t versions_id = map_id(versions_fd);
	bool gate = false, array = false;

	if (bpf_prog_get_info_by_fd(fd, &info, &len) < 0) {
		problem(s, "%s: its dispatcher cannot be read", slot);
		return;
	}
	*ret_misses = info.recursion_misses;
	for (size_t i = 0; i < ARRAY_SIZE(maps) && i < info.nr_map_ids; i++) {
		gate |= maps[i] && maps[i] == s->gate_id;
		array |= maps[i] && maps[i] == versions_id;
	}
	if (linked && linked != info.id)
		problem(s, "%s: its link runs program %u, not the dispatcher", slot, linked);
	if (!gate)
		problem(s, "%s: its dispatcher obeys another gate", slot);
	if (!array)
		problem(s, "%s: its dispatcher calls another array", slot);
}

static int open_in(const char *folder, enum pin_kind kind, const char *name, int *ret_fd)
{
	char path[PATH_MAX];
	int r = pin_path(path, folder, name, NULL);

	return r < 0 ? r : pin_open(kind, path, ret_fd);
}

static int survey_slot(struct survey *s, const char *slot)
{
	AUTO_CLOSE int link = -1;
	AUTO_CLOSE int dispatcher = -1;
	AUTO_CLOSE int array = -1;
	json_t *indexes = json_array();
	char folder[PATH_MAX], target[HOOK_TARGET_BYTES] = "";
	enum hook_type type = HOOK_FENTRY;
	uint64_t misses = 0;
	uint32_t linked = 0;
	bool attached;
	int r;

	if (!parse_slot(slot, &type, target))
		problem(s, "slots/%s is not a slot", slot);
	r = pin_path(folder, s->bpffs, s->name, "slots", slot, NULL);
	if (r < 0) {
		json_decref(indexes);
		return r;
	}
	attached = open_in(folder, PIN_LINK, "link", &link) == 0 &&
		   check_link(s, slot, link, &linked);
	if (link < 0)
		problem(s, "%s is not attached", slot);
	if (open_in(folder, PIN_MAP, "versions", &array) < 0)
		problem(s, "%s has no array of versions", slot);
	else
		check_array(s, slot, array, indexes);
	if (open_in(folder, PIN_PROGRAM, "dispatcher", &dispatcher) < 0)
		problem(s, "%s has no dispatcher", slot);
	else
		check_dispatcher(s, slot, dispatcher, linked, array, &misses);
	return json_array_append_new(
		s->slots, json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:I}", "slot", slot, "type",
				    hook_type_name(type), "target", target, "kind",
				    "dispatcher", "attached", attached, "indexes", indexes,
				    "recursion_misses", (json_int_t)misses));
}

static int survey_cc(struct survey *s)
{
	struct tcp_cc_state state = {0};
	AUTO_NAMES char **names = NULL;
	json_t *indexes = json_array();
	struct gate_version live = {0};
	char folder[PATH_MAX];
	bool wanted;
	int r;

	r = pin_path(folder, s->bpffs, s->name, "slots", TCP_CC_SLOT, NULL);
	if (r == 0)
		r = pin_names(folder, &names);
	if (r < 0) {
		json_decref(indexes);
		return r;
	}
	for (char **n = names; *n; n++) {
		AUTO_CLOSE int fd = -1;

		if (strncmp(*n, "versions_", strlen("versions_")) != 0)
			continue;
		if (open_in(folder, PIN_MAP, *n, &fd) < 0)
			problem(s, TCP_CC_SLOT "/%s is no map", *n);
		else
			check_array(s, TCP_CC_SLOT, fd, indexes);
	}
	r = tcp_cc_state(s->bpffs, s->name, s->gate, &state);
	if (r < 0)
		problem(s,
			TCP_CC_SLOT ": what is pinned as its registration is something else");
	if (s->gate)
		live = gate_version(s->gate, s->live);
	wanted = live.flags & GATE_CC;
	if (wanted != state.registered || state.unfinished ||
	    (wanted && (strcmp(live.cc_name, state.cc_name) != 0 ||
			state.shape != (live.flags & GATE_CC_SHAPE) ||
			(live.flags & GATE_CC_DEFAULT && !state.is_default))))
		s->settled = false;
	return json_array_append_new(
		s->slots,
		json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:i, s:s*, s:b}", "slot", TCP_CC_SLOT,
			  "type", "struct_ops", "target", OPS_TYPE_TCP_CC, "kind", "struct_ops",
			  "attached", state.registered, "indexes", indexes, "recursion_misses",
			  0, "cc_name", state.cc_name[0] ? state.cc_name : NULL, "default",
			  state.is_default));
}

/* --- sleepable programs ------------------------------------------------------------------- */

static json_t *overlap_entry(struct survey *s, const char *slot)
{
	char target[HOOK_TARGET_BYTES] = "";
	enum hook_type type = HOOK_FENTRY;
	json_t *entry;
	size_t i;

	json_array_foreach(s->slots, i, entry)
		if (strcmp(json_string_value(json_object_get(entry, "slot")), slot) == 0 &&
		    strcmp(json_string_value(json_object_get(entry, "kind")), "overlap") == 0)
			return entry;
	if (!parse_slot(slot, &type, target))
		problem(s, "overlap/%s is not a slot", slot);
	entry = json_pack("{s:s, s:s, s:s, s:s, s:b, s:[], s:i}", "slot", slot, "type",
			  hook_type_name(type), "target", target, "kind", "overlap", "attached",
			  false, "indexes", "recursion_misses", 0);
	return json_array_append_new(s->slots, entry) < 0 ? NULL : entry;
}

static int survey_overlap(struct survey *s, uint32_t index)
{
	AUTO_NAMES char **names = NULL;
	char folder[PATH_MAX], slot[PATH_MAX], v[16];
	struct bpf_prog_info info;
	json_int_t misses;
	uint32_t linked, len;
	json_t *entry;
	int r;

	snprintf(v, sizeof(v), "v%u", index);
	r = pin_path(folder, s->bpffs, s->name, v, "overlap", NULL);
	if (r == 0)
		r = pin_names(folder, &names);
	if (r < 0)
		return r;
	for (char **n = names; *n; n++) {
		AUTO_CLOSE int link = -1;
		AUTO_CLOSE int program = -1;

		entry = overlap_entry(s, *n);
		r = pin_path(slot, folder, *n, NULL);
		if (!entry || r < 0)
			return entry ? r : -ENOMEM;
		json_array_append_new(json_object_get(entry, "indexes"), json_integer(index));
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		if (open_in(slot, PIN_PROGRAM, "program", &program) < 0 ||
		    bpf_prog_get_info_by_fd(program, &info, &len) < 0)
			problem(s, "%s/overlap/%s has no program", v, *n);
		misses = json_integer_value(json_object_get(entry, "recursion_misses"));
		json_object_set_new(entry, "recursion_misses",
				    json_integer(misses + (json_int_t)info.recursion_misses));
		r = open_in(slot, PIN_LINK, "link", &link);
		if (r == 0 && check_link(s, *n, link, &linked)) {
			json_object_set_new(entry, "attached", json_true());
			if (linked != info.id)
				problem(s, "%s/overlap/%s: its link runs program %u", v, *n,
					linked);
		}
		if ((r == 0) != (index == s->live))
			s->settled = false;
	}
	return 0;
}

/* --- all of it ---------------------------------------------------------------------------- */

/* Which indexes have a folder. */
static int find_versions(const struct survey *s, bool ret_there[GATE_VERSIONS])
{
	AUTO_NAMES char **names = NULL;
	char path[PATH_MAX], v[16];
	int r = pin_path(path, s->bpffs, s->name, NULL);

	if (r == 0)
		r = pin_names(path, &names);
	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++) {
		snprintf(v, sizeof(v), "v%u", i);
		ret_there[i] = false;
		for (char **n = names; *n; n++)
			ret_there[i] |= strcmp(*n, v) == 0;
	}
	return r;
}

static int survey_all(struct survey *s)
{
	AUTO_NAMES char **slots = NULL;
	bool there[GATE_VERSIONS];
	char path[PATH_MAX];
	int r = find_versions(s, there);

	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++)
		r = there[i] ? read_version(s, i) : 0;
	if (r == 0)
		r = pin_path(path, s->bpffs, s->name, "slots", NULL);
	if (r == 0)
		r = pin_names(path, &slots);
	for (char **n = slots; r == 0 && *n; n++)
		r = strcmp(*n, TCP_CC_SLOT) == 0 ? survey_cc(s) : survey_slot(s, *n);
	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++)
		r = there[i] ? survey_overlap(s, i) : 0;
	for (uint32_t i = 1; r == 0 && i < GATE_VERSIONS; i++)
		for (size_t k = 0; k < s->n_ids[i]; k++)
			if (!s->entered[i][k])
				problem(s, "program %u of index %u is in no slot", s->ids[i][k],
					i);
	return r;
}

int survey_hotfix(const char *bpffs, const char *name, json_t **ret_hotfix)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_FREE struct survey *s = NULL;
	char cc[GATE_CC_BYTES] = "";
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct survey){.bpffs = bpffs, .name = name, .settled = true};
	s->slots = json_array();
	s->problems = json_array();
	r = gate_open(bpffs, name, &g);
	if (r == 0) {
		s->gate = g;
		s->gate_id = map_id(gate_fd(g));
		s->live = gate_live(g, clock_mono_ns());
		gate_cc_previous(g, cc);
	} else {
		problem(s, "%s",
			r == -ENOENT ? "the gate is missing"
				     : "what is pinned as the gate is something else");
	}
	r = survey_all(s);
	if (r < 0) {
		json_decref(s->slots);
		json_decref(s->problems);
		return r;
	}
	*ret_hotfix =
		json_pack("{s:s, s:i, s:i, s:i, s:I, s:s, s:o, s:o, s:o, s:b, s:i}", "name",
			  name, "committed", g ? (int)gate_committed(g) : 0, "trial",
			  g ? (int)gate_trial(g) : 0, "live", (int)s->live, "deadline_ns",
			  g ? (json_int_t)gate_deadline_ns(g) : 0, "cc_previous", cc,
			  "versions", versions(s), "slots", s->slots, "problems", s->problems,
			  "settled", s->settled, "half_made", (int)s->half_made);
	return *ret_hotfix ? 0 : -ENOMEM;
}
