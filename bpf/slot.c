// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/slot.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/dispatch.h"
#include "bpf/pin.h"

extern const uint8_t dispatcher_bpf_o[], dispatcher_bpf_o_end[];

/* BPF_MAX_TRAMP_LINKS of the kernel: fentry, fexit and fmod_ret of one function share it. */
#define TRAMPOLINE_PROGRAMS 38

/* --- the maps --------------------------------------------------------------------------- */

int slot_array_ids(int fd, uint32_t ret_ids[GATE_VERSIONS])
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_map_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_PROG_ARRAY || info.max_entries != GATE_VERSIONS)
		return -EUCLEAN;
	for (uint32_t i = 0; i < GATE_VERSIONS; i++)
		if (bpf_map_lookup_elem(fd, &i, &ret_ids[i]) < 0)
			ret_ids[i] = 0;
	return 0;
}

static int make_map(const char *path, enum bpf_map_type type, const char *name,
		    uint32_t value_size, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	int r;

	fd = bpf_map_create(type, name, sizeof(uint32_t), value_size, GATE_VERSIONS, NULL);
	if (fd < 0)
		return -errno;
	r = path ? pin_replace(fd, path) : 0;
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

int slot_array_make(const char *path, int *ret_fd)
{
	return make_map(path, BPF_MAP_TYPE_PROG_ARRAY, "hotfix_versions", sizeof(uint32_t),
			ret_fd);
}

int slot_calls_make(const char *path, int *ret_fd)
{
	return make_map(path, BPF_MAP_TYPE_PERCPU_ARRAY, "hotfix_calls", sizeof(uint64_t),
			ret_fd);
}

/* --- making a slot ---------------------------------------------------------------------- */

static int cannot_pin(const char *folder, int err, struct fail *reterr_fail)
{
	return fail_set(reterr_fail, FAIL_INTERNAL, "%s cannot be made: %s", folder,
			strerror(-err));
}

int slot_explain_attach(const struct target *t, int err, struct fail *reterr_fail)
{
	switch (err) {
	case EBUSY:
		if (target_traceable(t->func) == 0)
			return target_not_traceable(t, reterr_fail);
		fail_set(
			reterr_fail, FAIL_ATTACH,
			"%s cannot be hooked: its entry cannot be traced, or another tool has it",
			t->func);
		return fail_hint(reterr_fail, "hook a caller or a function it calls");
	case E2BIG:
		fail_set(
			reterr_fail, FAIL_ATTACH,
			"%s has no room for another program: the kernel attaches at most %d of "
			"fentry, fexit and fmod_ret together to one function (36 on newer ones)",
			t->func, TRAMPOLINE_PROGRAMS);
		return fail_hint(reterr_fail, "bpftool link shows whose they are");
	default:
		return fail_set(reterr_fail, FAIL_ATTACH, "%s cannot be hooked as %s: %s",
				t->func, hook_type_name(t->as), strerror(err));
	}
}

static int load_dispatcher(const struct gate *g, const struct load_hook *lh, int versions,
			   int calls, int *ret_fd, struct fail *reterr_fail)
{
	struct dispatch_map maps[] = {
		{".data.gate", gate_fd(g)},
		{"versions", versions},
		{"calls", calls},
	};
	const struct dispatch_object o = {
		.elf = dispatcher_bpf_o,
		.len = dispatcher_bpf_o_end - dispatcher_bpf_o,
		.maps = maps,
		.n_maps = ARRAY_SIZE(maps),
	};
	struct dispatch_program p = {
		.name = hook_type_name(lh->target.as),
		.type = lh->target.prog_type,
		.attach_type = lh->target.attach_type,
		.btf_id = lh->btf_id,
	};
	AUTO_CLOSE int btf = -1;
	int r;

	/* vmlinux needs no file; without CAP_SYS_ADMIN there is no other BTF to be had. */
	btf = bpf_btf_get_fd_by_id(lh->btf_obj_id);
	p.btf_fd = btf < 0 ? 0 : btf;
	r = dispatch_load(&o, &p, 1, reterr_fail);
	if (r < 0)
		return r;
	*ret_fd = p.ret_fd;
	return 0;
}

static bool is_calls(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_map_get_info_by_fd(fd, &info, &len) == 0 &&
	       info.type == BPF_MAP_TYPE_PERCPU_ARRAY && info.max_entries == GATE_VERSIONS &&
	       info.value_size == sizeof(uint64_t);
}

/* The arrays of a slot that lost its link hold the versions that are still warm. */
static int find_maps(const char *folder, int *ret_versions, int *ret_calls)
{
	AUTO_CLOSE int versions = -1;
	AUTO_CLOSE int calls = -1;
	uint32_t ids[GATE_VERSIONS];
	char path[PATH_MAX];
	int r;

	r = pin_path(path, folder, "versions", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &versions);
	if (r == 0)
		r = slot_array_ids(versions, ids);
	if (r == 0)
		r = pin_path(path, folder, "calls", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &calls);
	if (r < 0)
		return r;
	if (!is_calls(calls))
		return -EUCLEAN;
	*ret_versions = take_fd(&versions);
	*ret_calls = take_fd(&calls);
	return 0;
}

static int make_maps(const char *folder, int *ret_versions, int *ret_calls)
{
	AUTO_CLOSE int versions = -1;
	char path[PATH_MAX];
	int r;

	if (find_maps(folder, ret_versions, ret_calls) == 0)
		return 0;
	/* Whatever else is there was left by a worker that did not finish. */
	r = pin_remove_folder(folder);
	if (r == 0)
		r = pin_make_folder(folder);
	if (r == 0)
		r = pin_path(path, folder, "versions", NULL);
	if (r == 0)
		r = slot_array_make(path, &versions);
	if (r == 0)
		r = pin_path(path, folder, "calls", NULL);
	if (r == 0)
		r = slot_calls_make(path, ret_calls);
	if (r < 0)
		return r;
	*ret_versions = take_fd(&versions);
	return 0;
}

static int make(const char *folder, const struct gate *g, const struct load_hook *lh,
		int *ret_versions, struct fail *reterr_fail)
{
	AUTO_CLOSE int versions = -1;
	AUTO_CLOSE int calls = -1;
	AUTO_CLOSE int dispatcher = -1;
	AUTO_CLOSE int link = -1;
	int r;

	r = make_maps(folder, &versions, &calls);
	if (r < 0)
		return cannot_pin(folder, r, reterr_fail);
	r = load_dispatcher(g, lh, versions, calls, &dispatcher, reterr_fail);
	if (r < 0)
		return r;
	r = pin_in(folder, "dispatcher", dispatcher);
	if (r < 0)
		return cannot_pin(folder, r, reterr_fail);
	link = bpf_raw_tracepoint_open(NULL, dispatcher);
	if (link < 0)
		return slot_explain_attach(&lh->target, errno, reterr_fail);
	/* The commit point: until this pin is there, the link ends with this process. */
	r = pin_in(folder, "link", link);
	if (r < 0)
		return cannot_pin(folder, r, reterr_fail);
	*ret_versions = take_fd(&versions);
	return 0;
}

/* --- using it --------------------------------------------------------------------------- */

/* Is what is pinned attached to this hook, as this kind of program? */
static int check(const char *folder, const struct load_hook *lh, struct fail *reterr_fail)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];
	int r;

	r = pin_path(path, folder, "link", NULL);
	if (r == 0)
		r = pin_open(PIN_LINK, path, &fd);
	if (r == -ENOENT)
		return r;
	if (r == 0 && bpf_link_get_info_by_fd(fd, &info, &len) < 0)
		r = -errno;
	if (r == 0 && (info.type != BPF_LINK_TYPE_TRACING ||
		       info.tracing.attach_type != (uint32_t)lh->target.attach_type ||
		       info.tracing.target_btf_id != lh->btf_id ||
		       info.tracing.target_obj_id != lh->btf_obj_id))
		r = -EUCLEAN;
	if (r < 0) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "what is pinned as %s is not attached to %s", path, lh->target.func);
		fail_hint(reterr_fail, "remove the hot-fix and apply it again");
	}
	return r;
}

int slot_enter(const char *bpffs, const char *name, const struct gate *g,
	       const struct load_hook *lh, uint32_t index, struct fail *reterr_fail)
{
	int program = bpf_program__fd(lh->program);
	AUTO_CLOSE int versions = -1;
	char folder[PATH_MAX], path[PATH_MAX];
	int r;

	r = pin_path(folder, bpffs, name, "slots", lh->slot, NULL);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", lh->slot, strerror(-r));
	r = check(folder, lh, reterr_fail);
	if (r == 0) {
		r = pin_path(path, folder, "versions", NULL);
		if (r == 0)
			r = pin_open(PIN_MAP, path, &versions);
		if (r < 0)
			return fail_set(reterr_fail, FAIL_CONFLICT, "%s: %s", path,
					strerror(-r));
	} else if (r == -ENOENT) {
		r = make(folder, g, lh, &versions, reterr_fail);
		if (r < 0)
			return r;
	} else {
		return -fail_errno(FAIL_CONFLICT);
	}
	if (bpf_map_update_elem(versions, &index, &program, BPF_ANY) < 0)
		return fail_set(reterr_fail, FAIL_ATTACH,
				"%s cannot be called by a dispatcher: %s", lh->hook->program,
				strerror(errno));
	return 0;
}

int slot_clear(const char *bpffs, const char *name, const char *slot, uint32_t index)
{
	AUTO_CLOSE int versions = -1;
	char path[PATH_MAX];
	int r;

	r = pin_path(path, bpffs, name, "slots", slot, "versions", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &versions);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return bpf_map_delete_elem(versions, &index) < 0 && errno != ENOENT ? -errno : 0;
}

int slot_remove(const char *bpffs, const char *name, const char *slot)
{
	char path[PATH_MAX];
	int r;

	/* The link first: a dispatcher is never attached to a slot without its arrays. */
	r = pin_path(path, bpffs, name, "slots", slot, "link", NULL);
	if (r == 0)
		r = pin_remove_link(path);
	if (r == 0)
		r = pin_path(path, bpffs, name, "slots", slot, NULL);
	return r < 0 ? r : pin_remove_folder(path);
}
