// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/overlap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/pin.h"
#include "bpf/slot.h"

static int folder_of(const char *bpffs, const char *name, uint32_t index,
		     char ret_folder[PATH_MAX])
{
	char v[16];

	snprintf(v, sizeof(v), "v%u", index);
	return pin_path(ret_folder, bpffs, name, v, "overlap", NULL);
}

int overlap_enter(const char *bpffs, const char *name, const struct load_hook *lh,
		  uint32_t index, struct fail *reterr_fail)
{
	char folder[PATH_MAX], slot[PATH_MAX];
	int r;

	r = folder_of(bpffs, name, index, folder);
	if (r == 0)
		r = pin_make_folder(folder);
	if (r == 0)
		r = pin_path(slot, folder, lh->slot, NULL);
	if (r == 0)
		r = pin_make_folder(slot);
	if (r == 0)
		r = pin_in(slot, "program", bpf_program__fd(lh->program));
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s cannot be pinned: %s", lh->slot,
				strerror(-r));
	return 0;
}

/* What the folder's name says of the target is enough to explain a failure. */
static void target_of(const char *slot, struct target *ret_target)
{
	const char *target = strchr(slot, ':');

	*ret_target = (struct target){.as = HOOK_FENTRY};
	for (enum hook_type t = HOOK_FENTRY; t <= HOOK_LSM; t++)
		if (strncmp(slot, hook_type_name(t), strcspn(slot, ":")) == 0)
			ret_target->as = t;
	snprintf(ret_target->func, sizeof(ret_target->func), "%s%.*s",
		 ret_target->as == HOOK_LSM ? "bpf_lsm_" : "",
		 target ? (int)strcspn(target + 1, ":") : 0, target ? target + 1 : "");
}

static int attach(const char *folder, const char *slot, struct fail *reterr_fail)
{
	AUTO_CLOSE int program = -1;
	AUTO_CLOSE int link = -1;
	char path[PATH_MAX];
	struct target t;
	int r;

	r = pin_path(path, folder, slot, "link", NULL);
	if (r == 0)
		r = pin_open(PIN_LINK, path, &link);
	if (r == 0)
		return 0; /* an earlier call came this far */
	if (r != -ENOENT)
		return fail_set(reterr_fail, FAIL_CONFLICT, "%s: %s", path, strerror(-r));
	r = pin_path(path, folder, slot, "program", NULL);
	if (r == 0)
		r = pin_open(PIN_PROGRAM, path, &program);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_CONFLICT, "%s: %s", path, strerror(-r));
	link = bpf_raw_tracepoint_open(NULL, program);
	if (link < 0) {
		target_of(slot, &t);
		return slot_explain_attach(&t, errno, reterr_fail);
	}
	r = pin_path(path, folder, slot, NULL);
	if (r == 0)
		r = pin_in(path, "link", link);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s cannot be pinned: %s", slot,
				strerror(-r));
	return 0;
}

int overlap_attach(const char *bpffs, const char *name, uint32_t index,
		   struct fail *reterr_fail)
{
	AUTO_NAMES char **slots = NULL;
	char folder[PATH_MAX];
	int r;

	if (index == 0)
		return 0;
	r = folder_of(bpffs, name, index, folder);
	if (r == 0)
		r = pin_names(folder, &slots);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", folder, strerror(-r));
	for (char **s = slots; *s; s++) {
		r = attach(folder, *s, reterr_fail);
		if (r < 0) {
			overlap_detach(bpffs, name, index);
			return r;
		}
	}
	return 0;
}

int overlap_detach(const char *bpffs, const char *name, uint32_t index)
{
	AUTO_NAMES char **slots = NULL;
	char folder[PATH_MAX], path[PATH_MAX];
	int result = 0;
	int r;

	r = folder_of(bpffs, name, index, folder);
	if (r == 0)
		r = pin_names(folder, &slots);
	if (r < 0)
		return r;
	for (char **s = slots; *s; s++) {
		r = pin_path(path, folder, *s, "link", NULL);
		if (r == 0)
			r = pin_remove_link(path);
		if (r < 0)
			result = r;
	}
	return result;
}
