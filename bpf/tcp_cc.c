// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/tcp_cc.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "bpf/cc_default.h"
#include "bpf/cc_ops.h"
#include "bpf/pin.h"
#include "bpf/slot.h"

static int cc_open(struct cc_place *c, const char *bpffs, const char *name, struct gate *g)
{
	int r;

	*c = (struct cc_place){.gate = g};
	r = pin_path(c->folder, bpffs, name, "slots", TCP_CC_SLOT, NULL);
	return r < 0 ? r : cc_layout_read(c->folder, &c->layout);
}

static int cc_fail(int err, struct fail *reterr_fail)
{
	if (err == -EOPNOTSUPP)
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"this kernel takes no congestion control from BPF "
				"(CONFIG_BPF_JIT, CONFIG_BPF_SYSCALL, its BTF)");
	return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", TCP_CC_SLOT, strerror(-err));
}

/* Pinned beside "ops": the ones before, until nothing uses them any more. */
#define OPS_OLD "ops_old"

/* --- registrations ---------------------------------------------------------------------- */

struct registration {
	bool registered;
	int ops, link; /* -1: none */
	uint32_t shape;
	char cc_name[HOOK_CC_NAME_BYTES];
};

static void registration_closep(struct registration *r)
{
	if (r->ops >= 0)
		close(take_fd(&r->ops));
	if (r->link >= 0)
		close(take_fd(&r->link));
}
#define AUTO_REGISTRATION AUTO(registration_closep)
#define NO_REGISTRATION               \
	{                             \
		.ops = -1, .link = -1 \
	}

static int path_of(const struct cc_place *c, const char *what, const char *suffix,
		   char ret_path[PATH_MAX])
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", what, suffix);
	return pin_path(ret_path, c->folder, name, NULL);
}

static int map_info(int fd, struct bpf_map_info *ret_info)
{
	uint32_t len = sizeof(*ret_info);

	memset(ret_info, 0, sizeof(*ret_info));
	return bpf_map_get_info_by_fd(fd, ret_info, &len) < 0 ? -errno : 0;
}

/* Which ops map a link registers; 0 after somebody detached it. */
static int link_map_id(int fd, uint32_t *ret_id)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_link_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.type != OPS_LINK_TYPE)
		return -EUCLEAN;
	/* struct_ops.map_id, which headers before 6.4 lack: the union's first number. */
	*ret_id = info.netns.netns_ino;
	return 0;
}

/* suffix: "" or "_new". Nothing pinned: not registered, and no error. */
static int registration_read(const struct cc_place *c, const char *suffix,
			     struct registration *ret)
{
	AUTO_REGISTRATION struct registration reg = NO_REGISTRATION;
	struct cc_ops_facts facts;
	char path[PATH_MAX];
	uint32_t id = 0;
	int r;

	*ret = (struct registration)NO_REGISTRATION;
	r = path_of(c, "ops", suffix, path);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &reg.ops);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = cc_ops_read(c, reg.ops, &facts);
	if (r < 0)
		return r;
	reg.shape = facts.shape;
	reg.registered = facts.in_use;
	memcpy(reg.cc_name, facts.cc_name, sizeof(reg.cc_name));

	r = path_of(c, "link", suffix, path);
	if (r == 0)
		r = pin_open(PIN_LINK, path, &reg.link);
	if (r == 0) {
		r = link_map_id(reg.link, &id);
		reg.registered = r == 0 && id == facts.id;
	}
	if (r < 0 && r != -ENOENT)
		return r;

	*ret = reg;
	reg = (struct registration)NO_REGISTRATION;
	return 0;
}

static bool registers(const struct registration *have, const struct gate_version *facts)
{
	return have->registered && strcmp(have->cc_name, facts->cc_name) == 0 &&
	       have->shape == (facts->flags & GATE_CC_SHAPE);
}

/*
 * Ends it. Sockets and defaults go on using the ops until leave_old() took them away; that
 * there are such ops, and their name, stays pinned until then.
 */
static int registration_retire(const struct cc_place *c, const char *suffix)
{
	AUTO_REGISTRATION struct registration reg = NO_REGISTRATION;
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r;

	r = registration_read(c, suffix, &reg);
	if (r == 0 && reg.ops >= 0)
		r = pin_in(c->folder, OPS_OLD, reg.ops);
	if (r < 0 && r != -EUCLEAN)
		return r;
	if (reg.registered && reg.link < 0 && bpf_map_delete_elem(reg.ops, &zero) < 0)
		return -errno;
	registration_closep(&reg);
	r = path_of(c, "link", suffix, path);
	if (r == 0)
		r = pin_remove_link(path);
	if (r == 0)
		r = path_of(c, "ops", suffix, path);
	return r < 0 ? r : pin_remove(path);
}

static int rename_pin(const struct cc_place *c, const char *what)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r;

	r = path_of(c, what, "_new", from);
	if (r == 0)
		r = path_of(c, what, "", to);
	if (r < 0)
		return r;
	return rename(from, to) < 0 && errno != ENOENT ? -errno : 0;
}

/* ops_new (and link_new) become the registration. */
static int registration_promote(const struct cc_place *c)
{
	int r = rename_pin(c, "ops");

	return r < 0 ? r : rename_pin(c, "link");
}

/* Id of the ops map that is pinned, or that a pinned link registers; 0 there is none. */
static uint32_t pinned_id(const struct cc_place *c, enum pin_kind kind, const char *what,
			  const char *suffix)
{
	struct bpf_map_info info;
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];
	uint32_t id = 0;

	if (path_of(c, what, suffix, path) < 0 || pin_open(kind, path, &fd) < 0)
		return 0;
	if (kind == PIN_LINK)
		return link_map_id(fd, &id) < 0 ? 0 : id;
	return map_info(fd, &info) < 0 ? 0 : info.id;
}

/*
 * A worker may have died between replacing one registration by another and saying so.
 * Afterwards there is one registration, "ops" and "link", or none.
 */
static int recover(const struct cc_place *c)
{
	AUTO_REGISTRATION struct registration old = NO_REGISTRATION;
	AUTO_REGISTRATION struct registration new = NO_REGISTRATION;
	uint32_t ops = pinned_id(c, PIN_MAP, "ops", "");
	uint32_t ops_new = pinned_id(c, PIN_MAP, "ops", "_new");
	uint32_t link = pinned_id(c, PIN_LINK, "link", "");
	uint32_t link_new = pinned_id(c, PIN_LINK, "link", "_new");
	int r;

	/* An update of the link went through. */
	if (link && link == ops_new)
		return rename_pin(c, "ops");
	/* The old one is gone, and the new one has not got its place. */
	if (!link && link_new && (link_new == ops_new || link_new == ops))
		return registration_promote(c);
	if (!link && !link_new && ops_new) {
		r = registration_read(c, "", &old);
		if (r == 0)
			r = registration_read(c, "_new", &new);
		if (r == 0 && new.registered && !old.registered)
			return registration_promote(c);
	}
	return registration_retire(c, "_new");
}

/* --- replacing one ---------------------------------------------------------------------- */

static int explain_register(const char *cc_name, int err, struct fail *reterr_fail)
{
	if (err == EEXIST) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "a congestion control named %s is registered already", cc_name);
		return fail_hint(reterr_fail, "disable what has the name, or build the hot-fix "
					      "with another one");
	}
	return fail_set(reterr_fail, FAIL_ATTACH, "%s cannot be registered: %s", cc_name,
			strerror(err));
}

/* Registers what was made and pins it; the map first, by which it can be found again. */
static int register_made(const struct cc_place *c, const struct cc_ops *m, const char *cc_name,
			 const char *suffix, struct fail *reterr_fail)
{
	AUTO_CLOSE int link = -1;
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r, err;

	r = path_of(c, "ops", suffix, path);
	if (r == 0)
		r = pin_replace(m->map, path);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (m->is_link) {
		link = bpf_link_create(m->map, 0, (enum bpf_attach_type)OPS_ATTACH_TYPE, NULL);
		r = link < 0 ? -errno : 0;
	} else {
		r = bpf_map_update_elem(m->map, &zero, m->value, 0) < 0 ? -errno : 0;
	}
	if (r < 0) {
		err = -r;
		pin_remove(path);
		return explain_register(cc_name, err, reterr_fail);
	}
	if (!m->is_link)
		return 0;
	r = path_of(c, "link", suffix, path);
	if (r == 0)
		r = pin_replace(link, path);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

/*
 * Another shape under the same name. With links the kernel exchanges the ops in one step,
 * and only if the ones that are there are those we think. Without, the name is gone for
 * the 10 ms that unregistering takes; live sockets notice neither, and are moved next.
 */
static int replace(const struct cc_place *c, const struct registration *have,
		   const struct cc_ops *m, const char *cc_name, struct fail *reterr_fail)
{
	LIBBPF_OPTS(bpf_link_update_opts, opts, .flags = BPF_F_REPLACE,
		    .old_map_fd = have->ops);
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r;

	r = pin_in(c->folder, OPS_OLD, have->ops);
	if (r == 0)
		r = path_of(c, "ops", "_new", path);
	if (r == 0)
		r = pin_replace(m->map, path);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (m->is_link) {
		r = bpf_link_update(have->link, m->map, &opts) < 0 ? -errno : 0;
	} else {
		r = bpf_map_delete_elem(have->ops, &zero) < 0 ? -errno : 0;
		if (r == 0 && bpf_map_update_elem(m->map, &zero, m->value, 0) < 0)
			r = -errno;
	}
	if (r < 0) {
		pin_remove(path);
		return explain_register(cc_name, -r, reterr_fail);
	}
	r = rename_pin(c, "ops");
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

static int ready_path(const struct cc_place *c, uint32_t index, char ret_path[PATH_MAX])
{
	char suffix[16];

	snprintf(suffix, sizeof(suffix), "_%u", index);
	return path_of(c, "ready", suffix, ret_path);
}

/*
 * Staging makes the ops of a version that the registration cannot serve as it is, so that
 * settling, with the version live already, only registers them. They stay for the next
 * time, as versions do.
 */
static int make_ready(const struct cc_place *c, const struct gate_version *facts,
		      uint32_t index, struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	AUTO_CC_OPS struct cc_ops o = CC_OPS_NONE;
	char path[PATH_MAX];
	int r;

	r = registration_read(c, "", &have);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (registers(&have, facts))
		return 0;
	r = cc_ops_make(c, facts, &o, reterr_fail);
	if (r < 0)
		return r;
	r = ready_path(c, index, path);
	if (r == 0)
		r = cc_ops_keep(c, &o, path);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

static int take_or_make(const struct cc_place *c, const struct gate_version *facts,
			uint32_t index, struct cc_ops *ret_ops, struct fail *reterr_fail)
{
	char path[PATH_MAX];

	if (ready_path(c, index, path) == 0 && cc_ops_take(c, facts, path, ret_ops) == 0)
		return 0;
	return cc_ops_make(c, facts, ret_ops, reterr_fail);
}

/* Registers what index needs; *ret_anew when the default has to be written again. */
static int settle_registration(struct cc_place *c, const struct gate_version *facts,
			       uint32_t index, bool *ret_anew, struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	AUTO_CC_OPS struct cc_ops m = CC_OPS_NONE;
	int r;

	*ret_anew = false;
	r = registration_read(c, "", &have);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (registers(&have, facts))
		return 0;
	r = take_or_make(c, facts, index, &m, reterr_fail);
	if (r < 0)
		return r;
	*ret_anew = true;
	if (have.registered && strcmp(have.cc_name, facts->cc_name) == 0)
		return replace(c, &have, &m, facts->cc_name, reterr_fail);
	if (!have.registered) {
		registration_closep(&have);
		r = registration_retire(c, "");
		return r < 0 ? cc_fail(r, reterr_fail)
			     : register_made(c, &m, facts->cc_name, "", reterr_fail);
	}
	/* Two names do not clash: the new one is there before the old one goes. */
	registration_closep(&have); /* or ending it would wait for ourselves */
	r = register_made(c, &m, facts->cc_name, "_new", reterr_fail);
	if (r < 0)
		return r;
	r = registration_retire(c, "");
	if (r == 0)
		r = registration_promote(c);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

/* The name of what was registered before and may be in use; "" when nothing is. */
static int old_name(const struct cc_place *c, char ret_name[HOOK_CC_NAME_BYTES])
{
	struct cc_ops_facts facts;
	AUTO_CLOSE int ops = -1;
	char path[PATH_MAX];
	int r;

	ret_name[0] = 0;
	r = pin_path(path, c->folder, OPS_OLD, NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &ops);
	if (r == 0)
		r = cc_ops_read(c, ops, &facts);
	if (r == -EUCLEAN)
		return pin_remove(path);
	if (r == 0)
		memcpy(ret_name, facts.cc_name, sizeof(facts.cc_name));
	return r == -ENOENT ? 0 : r;
}

static int open_owners(const struct cc_place *c, int *ret_fd)
{
	char path[PATH_MAX];
	int r = pin_path(path, c->folder, "sockets", NULL);

	return r < 0 ? r : pin_open(PIN_MAP, path, ret_fd);
}

/*
 * Takes sockets and defaults from what was registered before to what is now (cc_name, ""
 * nothing), and a default that is not wanted any more back to what it was.
 */
static int leave_old(const struct cc_place *c, const char *cc_name, bool give_back,
		     struct cc_left *left)
{
	char old[HOOK_CC_NAME_BYTES], path[PATH_MAX];
	AUTO_CLOSE int owners = -1;
	int r;

	r = old_name(c, old);
	if (r < 0 || (!old[0] && !give_back))
		return r;
	if (old[0])
		left->move_error = open_owners(c, &owners);
	r = cc_leave(&(struct cc_leave){.gate = c->gate,
					.from = old[0] ? old : cc_name,
					.default_to = give_back ? "" : cc_name,
					.sockets_to = cc_name,
					.owners = owners},
		     left);
	if (r == 0 && give_back)
		gate_set_cc_previous(c->gate, "");
	if (r == 0)
		r = pin_path(path, c->folder, OPS_OLD, NULL);
	return r < 0 ? r : pin_remove(path);
}

/* A worker was killed before it had taken all from the old registration to this one. */
static int leave_unfinished(const struct cc_place *c, struct cc_left *left)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	int r;

	r = recover(c);
	if (r == 0)
		r = registration_read(c, "", &have);
	return r < 0 ? r : leave_old(c, have.registered ? have.cc_name : "", false, left);
}

/* --- what the engine calls -------------------------------------------------------------- */

static bool implements(const struct ops *ops, const char *member)
{
	for (size_t i = 0; i < ops->n_members; i++)
		if (strcmp(ops->members[i].name, member) == 0)
			return true;
	return false;
}

int tcp_cc_describe(const struct load *l, const struct engine_version *v,
		    struct gate_version *ret_facts, struct fail *reterr_fail)
{
	static const char *const required[] = {"ssthresh", "undo_cwnd"};
	const struct ops *ops = &l->ops;
	size_t k;

	/* tcp_validate_congestion_control() of the kernel; our dispatchers would pass it. */
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (!implements(ops, required[i]))
			return fail_set(reterr_fail, FAIL_ATTACH,
					"%s has no %s: the kernel registers no such algorithm",
					ops->cc_name, required[i]);
	if (!implements(ops, "cong_avoid") && !implements(ops, "cong_control"))
		return fail_set(
			reterr_fail, FAIL_ATTACH,
			"%s has neither cong_avoid nor cong_control: the kernel registers "
			"no such algorithm",
			ops->cc_name);
	ret_facts->flags |= GATE_CC;
	if (v->cc_default)
		ret_facts->flags |= GATE_CC_DEFAULT;
	if (v->cc_own_state)
		ret_facts->flags |= GATE_CC_OWN;
	if (ops->cc_flags & OPS_NEEDS_ECN)
		ret_facts->flags |= GATE_CC_NEEDS_ECN;
	memcpy(ret_facts->cc_name, ops->cc_name, sizeof(ret_facts->cc_name));
	for (size_t i = 0; i < ops->n_members; i++) {
		for (k = 0; k < CC_MEMBERS; k++)
			if (strcmp(cc_members[k].name, ops->members[i].name) == 0)
				break;
		if (k == CC_MEMBERS)
			return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
					"%s has a %s, which hotfixd cannot switch",
					ops->cc_name, ops->members[i].name);
		ret_facts->flags |= cc_members[k].flag;
	}
	return 0;
}

/* The name must be free, or ours. */
static int check_name(const struct cc_place *c, const char *cc_name, struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	int r;

	r = registration_read(c, "", &have);
	if (r < 0 && r != -EUCLEAN)
		return cc_fail(r, reterr_fail);
	if (have.registered && strcmp(have.cc_name, cc_name) == 0)
		return 0;
	return cc_default_available(cc_name) ? explain_register(cc_name, EEXIST, reterr_fail)
					     : 0;
}

int tcp_cc_try(const char *bpffs, const char *name, const struct gate_version *facts,
	       struct fail *reterr_fail)
{
	AUTO_CC_OPS struct cc_ops m = CC_OPS_NONE;
	AUTO_FREE struct cc_place *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, NULL) : -ENOMEM;
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = check_name(c, facts->cc_name, reterr_fail);
	if (r < 0)
		return r;
	c->folder[0] = 0;
	return cc_ops_make(c, facts, &m, reterr_fail);
}

static int enter_members(const struct cc_maps *maps, const struct ops *ops, uint32_t index,
			 struct fail *reterr_fail)
{
	char array[64];
	int program;
	size_t k;

	for (size_t i = 0; i < ops->n_members; i++) {
		snprintf(array, sizeof(array), "versions_%s", ops->members[i].name);
		for (k = 0; k < maps->n; k++)
			if (strcmp(maps->maps[k].name, array) == 0)
				break;
		program = bpf_program__fd(ops->members[i].program);
		if (k == maps->n ||
		    bpf_map_update_elem(maps->maps[k].fd, &index, &program, BPF_ANY) < 0)
			return fail_set(reterr_fail, FAIL_ATTACH,
					"%s cannot be called by a dispatcher: %s",
					ops->members[i].name,
					strerror(k == maps->n ? ENOENT : errno));
	}
	return 0;
}

int tcp_cc_enter(const char *bpffs, const char *name, struct gate *g, const struct load *l,
		 const struct gate_version *facts, uint32_t index, struct fail *reterr_fail)
{
	AUTO_CC_MAPS struct cc_maps maps = {0};
	AUTO_FREE struct cc_place *c = NULL;
	char folder[PATH_MAX];
	int r;

	/* First, so that what is learned of this kernel's ops can be kept in it. */
	r = pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL);
	if (r == 0)
		r = pin_make_folder(folder);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = check_name(c, facts->cc_name, reterr_fail);
	if (r < 0)
		return r;
	r = cc_maps_open(c, &maps);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = enter_members(&maps, &l->ops, index, reterr_fail);
	return r < 0 ? r : make_ready(c, facts, index, reterr_fail);
}

int tcp_cc_clear(const char *bpffs, const char *name, uint32_t index)
{
	AUTO_NAMES char **names = NULL;
	char folder[PATH_MAX], path[PATH_MAX], ready[16];
	int r;

	r = pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL);
	if (r == 0)
		r = pin_names(folder, &names);
	if (r < 0)
		return r;
	for (char **n = names; *n; n++) {
		AUTO_CLOSE int fd = -1;

		if (strncmp(*n, "versions_", strlen("versions_")) != 0)
			continue;
		r = pin_path(path, folder, *n, NULL);
		if (r == 0)
			r = pin_open(PIN_MAP, path, &fd);
		if (r < 0)
			return r;
		if (bpf_map_delete_elem(fd, &index) < 0 && errno != ENOENT)
			return -errno;
	}
	snprintf(ready, sizeof(ready), "ready_%u", index);
	r = pin_path(path, folder, ready, NULL);
	return r < 0 ? r : pin_remove_folder(path);
}

static bool is_there(const char *bpffs, const char *name)
{
	char folder[PATH_MAX];

	return pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL) == 0 &&
	       access(folder, F_OK) == 0;
}

static int settle_default(struct cc_place *c, const struct gate_version *facts, bool anew,
			  struct cc_left *left)
{
	bool wanted = facts->flags & GATE_CC_DEFAULT;
	char previous[GATE_CC_BYTES];
	int r = 0;

	gate_cc_previous(c->gate, previous);
	if (wanted && (anew || !previous[0] || !cc_default_is(facts->cc_name)))
		r = cc_default_take(c->gate, facts->cc_name);
	return r < 0 ? r : leave_old(c, facts->cc_name, !wanted && previous[0], left);
}

int tcp_cc_settle(const char *bpffs, const char *name, struct gate *g, uint32_t index,
		  struct cc_left *left, struct fail *reterr_fail)
{
	struct gate_version facts = gate_version(g, index);
	AUTO_FREE struct cc_place *c = NULL;
	bool anew = false;
	int r;

	if (!is_there(bpffs, name))
		return 0;
	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = leave_unfinished(c, left);
	if (r == 0 && !(facts.flags & GATE_CC))
		r = registration_retire(c, "");
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (facts.flags & GATE_CC) {
		r = settle_registration(c, &facts, index, &anew, reterr_fail);
		if (r < 0)
			return r;
	}
	r = settle_default(c, &facts, anew, left);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_ATTACH,
				"the default algorithm (" CC_DEFAULT_SYSCTL
				") or the sockets of %s cannot be changed: %s",
				facts.cc_name[0] ? facts.cc_name : name, strerror(-r));
	return 0;
}

int tcp_cc_leave_version(const char *bpffs, const char *name, struct gate *g, uint32_t index,
			 struct cc_left *left)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	struct gate_version v = gate_version(g, index);
	AUTO_FREE struct cc_place *c = NULL;
	AUTO_CLOSE int owners = -1;
	int r;

	if (!(v.flags & GATE_CC_OWN) || !is_there(bpffs, name))
		return 0;
	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = registration_read(c, "", &have);
	if (r < 0 || !registers(&have, &v))
		return r; /* of another registration: all its sockets were moved */
	r = open_owners(c, &owners);
	return r < 0 ? r : cc_reenter(v.cc_name, owners, v.serial, left);
}

int tcp_cc_remove(const char *bpffs, const char *name, struct gate *g, struct cc_left *left,
		  struct fail *reterr_fail)
{
	char folder[PATH_MAX];
	int r;

	if (!is_there(bpffs, name))
		return 0;
	r = tcp_cc_settle(bpffs, name, g, 0, left, reterr_fail);
	if (r < 0)
		return r;
	r = pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL);
	if (r == 0)
		r = pin_remove_folder(folder);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

int tcp_cc_state(const char *bpffs, const char *name, struct gate *g,
		 struct tcp_cc_state *ret_state)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	AUTO_FREE struct cc_place *c = NULL;
	char old[HOOK_CC_NAME_BYTES];
	int r;

	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = registration_read(c, "", &have);
	if (r == 0)
		r = old_name(c, old);
	if (r < 0)
		return r;
	*ret_state = (struct tcp_cc_state){
		.registered = have.registered,
		.is_link = have.link >= 0,
		.shape = have.shape,
		.is_default = have.registered && cc_default_is(have.cc_name),
		.unfinished = old[0],
	};
	memcpy(ret_state->cc_name, have.cc_name, sizeof(ret_state->cc_name));
	return 0;
}
