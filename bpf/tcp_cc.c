// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/tcp_cc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "bpf/dispatch.h"
#include "bpf/pin.h"
#include "bpf/slot.h"
#include "bpf/vmlinux.h"
#include "lib/io.h"

extern const uint8_t tcp_cc_bpf_o[], tcp_cc_bpf_o_end[];

#define SYSCTL_DEFAULT	 "/proc/sys/net/ipv4/tcp_congestion_control"
#define SYSCTL_AVAILABLE "/proc/sys/net/ipv4/tcp_available_congestion_control"
#define AVAILABLE_BYTES	 4096

/* The name of the ops map carries its shape: it is there exactly as long as the map is. */
#define MAP_NAME "hotfix_cc_%02x"

/* enum bpf_struct_ops_state of the kernel. */
#define STATE_INUSE 1

/*
 * Members that a dispatcher stands for. Those without a flag are always there: for the
 * void ones an empty slot means what NULL means, and the kernel demands the others.
 */
static const struct {
	const char *name;
	uint32_t flag;
} members[] = {
	{"init", 0},
	{"release", 0},
	{"set_state", 0},
	{"cwnd_event", 0},
	{"cwnd_event_tx_start", 0}, /* since Linux 7.2 */
	{"in_ack_event", 0},
	{"pkts_acked", 0},
	{"ssthresh", 0},
	{"cong_avoid", 0},
	{"undo_cwnd", 0},
	{"cong_control", GATE_CC_CONTROL},
	{"min_tso_segs", GATE_CC_MIN_TSO},
	{"sndbuf_expand", GATE_CC_SNDBUF},
};
#define MEMBERS ARRAY_SIZE(members)

/* One hot-fix's slot and what this kernel's ops look like. */
struct cc {
	char folder[PATH_MAX]; /* "": nothing is pinned, for trying things out */
	struct gate *gate;     /* NULL then */
	uint32_t value_size, name_at;
	bool learned; /* what follows is known */
	uint32_t ops_type, value_type;
	uint32_t data_off, flags_off;
	uint32_t kfuncs[DISPATCH_KFUNCS];
	int index_of[MEMBERS]; /* in the kernel's struct, -1 not there */
	uint32_t offset_of[MEMBERS];
};

/* Asks the kernel's BTF: only who makes ops needs to, not who registers or removes them. */
static int cc_learn(struct cc *c)
{
	struct vmlinux_name names[] = {
		{OPS_TYPE_TCP_CC, BTF_KIND_STRUCT, 0},
		{"bpf_struct_ops_" OPS_TYPE_TCP_CC, BTF_KIND_STRUCT, 0},
		{"tcp_reno_ssthresh", BTF_KIND_FUNC, 0},
		{"tcp_reno_cong_avoid", BTF_KIND_FUNC, 0},
		{"tcp_reno_undo_cwnd", BTF_KIND_FUNC, 0},
	};
	const struct vmlinux *v;
	uint32_t name_off;
	int r;

	if (c->learned)
		return 0;
	r = vmlinux_get(&v);
	if (r < 0)
		return r;
	vmlinux_find(v, names, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!names[i].id)
			return -EOPNOTSUPP;
	c->ops_type = names[0].id;
	c->value_type = names[1].id;
	for (size_t i = 0; i < DISPATCH_KFUNCS; i++)
		c->kfuncs[i] = names[2 + i].id;
	if (vmlinux_member(v, c->value_type, "data", &c->data_off) < 0 ||
	    vmlinux_member(v, c->ops_type, "name", &name_off) < 0 ||
	    vmlinux_member(v, c->ops_type, "flags", &c->flags_off) < 0)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < MEMBERS; i++)
		c->index_of[i] =
			vmlinux_member(v, c->ops_type, members[i].name, &c->offset_of[i]);
	c->value_size = vmlinux_type(v, c->value_type)->size;
	c->name_at = c->data_off + name_off;
	if (c->gate)
		gate_set_cc_layout(c->gate, c->value_size, c->name_at);
	c->learned = true;
	return 0;
}

static int cc_open(struct cc *c, const char *bpffs, const char *name, struct gate *g)
{
	int r;

	*c = (struct cc){.gate = g};
	r = bpffs ? pin_path(c->folder, bpffs, name, "slots", TCP_CC_SLOT, NULL) : 0;
	if (r < 0)
		return r;
	return g && gate_cc_layout(g, &c->value_size, &c->name_at) ? 0 : cc_learn(c);
}

static int cc_fail(int err, struct fail *reterr_fail)
{
	if (err == -EOPNOTSUPP)
		return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				"this kernel takes no congestion control from BPF "
				"(CONFIG_BPF_JIT, CONFIG_BPF_SYSCALL, its BTF)");
	return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", TCP_CC_SLOT, strerror(-err));
}

static bool has_member(const struct cc *c, size_t i, uint32_t shape)
{
	return c->index_of[i] >= 0 && (!members[i].flag || shape & members[i].flag);
}

/* --- the default algorithm -------------------------------------------------------------- */

static int default_read(char ret_name[HOOK_CC_NAME_BYTES])
{
	return io_read_line(SYSCTL_DEFAULT, ret_name, HOOK_CC_NAME_BYTES);
}

static int default_write(const char *name)
{
	AUTO_CLOSE int fd = open(SYSCTL_DEFAULT, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, name, strlen(name)) < 0 ? -errno : 0;
}

static bool available(const char *name)
{
	char list[AVAILABLE_BYTES];

	if (io_read_line(SYSCTL_AVAILABLE, list, sizeof(list)) < 0)
		return false;
	for (char *save, *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (strcmp(w, name) == 0)
			return true;
	return false;
}

static bool is_version_of(const struct gate *g, const char *name)
{
	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		if (strcmp(gate_version(g, i).cc_name, name) == 0)
			return true;
	return false;
}

/*
 * What to write back when it was not recorded: our name may stand in the sysctl after its
 * registration is gone, because the kernel holds the ops there and not the name.
 */
static void other_default(const struct gate *g, const char *ours,
			  char ret_name[HOOK_CC_NAME_BYTES])
{
	static const char *const usual[] = {"cubic", "reno"};

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strcmp(usual[i], ours) != 0 && !is_version_of(g, usual[i]) &&
		    available(usual[i])) {
			strcpy(ret_name, usual[i]);
			return;
		}
	strcpy(ret_name, "reno");
}

/* Even when our name stands there already: only writing it takes the new registration. */
static int default_take(struct cc *c, const char *name)
{
	char current[HOOK_CC_NAME_BYTES], previous[GATE_CC_BYTES];
	int r;

	r = default_read(current);
	if (r < 0)
		return r;
	gate_cc_previous(c->gate, previous);
	if (!previous[0]) {
		if (strcmp(current, name) == 0 || is_version_of(c->gate, current))
			other_default(c->gate, name, current);
		gate_set_cc_previous(c->gate, current);
	}
	return default_write(name);
}

/* Somebody who chose a third algorithm meanwhile keeps it. */
static int default_give_back(struct cc *c, const char *registered)
{
	char current[HOOK_CC_NAME_BYTES], previous[GATE_CC_BYTES];
	int r;

	r = default_read(current);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	gate_cc_previous(c->gate, previous);
	if (strcmp(current, registered) == 0 || is_version_of(c->gate, current)) {
		if (!previous[0])
			other_default(c->gate, current, previous);
		r = default_write(previous);
		if (r == -ENOENT) { /* its module was unloaded meanwhile */
			other_default(c->gate, current, previous);
			r = default_write(previous);
		}
		if (r < 0)
			return r;
	}
	gate_set_cc_previous(c->gate, "");
	return 0;
}

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

static int path_of(const struct cc *c, const char *what, const char *suffix,
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

/* What an ops map of ours registers, or would. */
struct ops_facts {
	uint32_t id;
	uint32_t shape;
	bool for_link; /* else the map itself is registered, and */
	bool in_use;
	char cc_name[HOOK_CC_NAME_BYTES];
};

static int ops_read_facts(const struct cc *c, int fd, struct ops_facts *ret)
{
	AUTO_FREE uint8_t *value = NULL;
	struct bpf_map_info info;
	uint32_t zero = 0, state;
	int r;

	*ret = (struct ops_facts){0};
	r = map_info(fd, &info);
	if (r < 0)
		return r;
	if (info.type != BPF_MAP_TYPE_STRUCT_OPS || info.value_size != c->value_size ||
	    c->name_at + HOOK_CC_NAME_BYTES > c->value_size ||
	    sscanf(info.name, MAP_NAME, &ret->shape) != 1)
		return -EUCLEAN;
	value = calloc(1, c->value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &zero, value) < 0)
		return -errno;
	/* struct bpf_struct_ops_common_value: a refcount, then the state. */
	memcpy(&state, value + sizeof(uint32_t), sizeof(state));
	ret->id = info.id;
	ret->for_link = info.map_flags & OPS_F_LINK;
	ret->in_use = !ret->for_link && state == STATE_INUSE;
	memcpy(ret->cc_name, value + c->name_at, sizeof(ret->cc_name));
	ret->cc_name[sizeof(ret->cc_name) - 1] = 0;
	return 0;
}

/* suffix: "" or "_new". Nothing pinned: not registered, and no error. */
static int registration_read(const struct cc *c, const char *suffix, struct registration *ret)
{
	AUTO_REGISTRATION struct registration reg = NO_REGISTRATION;
	struct ops_facts facts;
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
		r = ops_read_facts(c, reg.ops, &facts);
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

/* The pins and with them the registration; live sockets keep the ops until they end. */
static int registration_remove(const struct cc *c, const char *suffix)
{
	AUTO_REGISTRATION struct registration reg = NO_REGISTRATION;
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r;

	r = registration_read(c, suffix, &reg);
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

static int rename_pin(const struct cc *c, const char *what)
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
static int registration_promote(const struct cc *c)
{
	int r = rename_pin(c, "ops");

	return r < 0 ? r : rename_pin(c, "link");
}

/* Id of the ops map that is pinned, or that a pinned link registers; 0 there is none. */
static uint32_t pinned_id(const struct cc *c, enum pin_kind kind, const char *what,
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
static int recover(const struct cc *c)
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
	return registration_remove(c, "_new");
}

/* --- making one ------------------------------------------------------------------------- */

struct made {
	int ops;
	bool is_link;
	uint8_t *value; /* what registers it where there are no links */
	struct dispatch_program programs[MEMBERS];
	size_t n_programs;
};

static void made_closep(struct made *m)
{
	if (m->ops >= 0)
		close(m->ops);
	for (size_t i = 0; i < m->n_programs; i++)
		if (m->programs[i].ret_fd >= 0)
			close(m->programs[i].ret_fd);
	free(m->value);
}
#define AUTO_MADE AUTO(made_closep)

struct maps {
	struct dispatch_map maps[MEMBERS + 3];
	char names[MEMBERS][64];
	size_t n;
	bool borrows_gate; /* maps[0] is not ours to close */
};

static void maps_closep(struct maps *m)
{
	for (size_t i = m->borrows_gate; i < m->n; i++)
		if (m->maps[i].fd >= 0)
			close(m->maps[i].fd);
}
#define AUTO_MAPS AUTO(maps_closep)

/* Opens what is pinned, makes and pins what is not. c->folder "": nothing is pinned. */
static int open_map(const struct cc *c, const char *name, int (*make)(const char *, int *),
		    int *ret_fd)
{
	char path[PATH_MAX];
	int r;

	if (!c->folder[0])
		return make(NULL, ret_fd);
	r = pin_path(path, c->folder, name, NULL);
	if (r < 0)
		return r;
	r = pin_open(PIN_MAP, path, ret_fd);
	return r == -ENOENT ? make(path, ret_fd) : r;
}

static int open_maps(const struct cc *c, struct maps *m)
{
	char path[PATH_MAX];
	int r;

	m->n = 0;
	m->borrows_gate = c->gate != NULL;
	m->maps[m->n] = (struct dispatch_map){".data.gate", c->gate ? gate_fd(c->gate) : -1};
	r = c->gate ? 0 : gate_map_make(&m->maps[m->n].fd);
	if (r < 0)
		return r;
	m->n++;
	m->maps[m->n] = (struct dispatch_map){"calls", -1};
	r = open_map(c, "calls", slot_calls_make, &m->maps[m->n++].fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < MEMBERS; i++) {
		if (c->index_of[i] < 0)
			continue;
		snprintf(m->names[i], sizeof(m->names[i]), "versions_%s", members[i].name);
		m->maps[m->n] = (struct dispatch_map){m->names[i], -1};
		r = open_map(c, m->names[i], slot_array_make, &m->maps[m->n++].fd);
		if (r < 0)
			return r;
	}
	/* Made by loading (its value has BTF) and pinned then; later registrations share it. */
	m->maps[m->n] = (struct dispatch_map){"sockets", -1};
	r = 0;
	if (c->folder[0]) {
		r = pin_path(path, c->folder, "sockets", NULL);
		if (r == 0)
			r = pin_open(PIN_MAP, path, &m->maps[m->n].fd);
	}
	m->n++;
	return r == -ENOENT ? 0 : r;
}

static int load_members(const struct cc *c, uint32_t shape, struct made *m,
			struct fail *reterr_fail)
{
	AUTO_MAPS struct maps maps = {0};
	struct dispatch_object o;
	bool keep_sockets;
	int *sockets;
	int r;

	r = open_maps(c, &maps);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	sockets = &maps.maps[maps.n - 1].fd;
	keep_sockets = *sockets < 0 && c->folder[0];
	for (size_t i = 0; i < MEMBERS; i++)
		if (has_member(c, i, shape))
			m->programs[m->n_programs++] = (struct dispatch_program){
				.name = members[i].name,
				.type = BPF_PROG_TYPE_STRUCT_OPS,
				.attach_type = (enum bpf_attach_type)c->index_of[i],
				.btf_id = c->ops_type,
				.ret_fd = -1,
			};
	o = (struct dispatch_object){
		.elf = tcp_cc_bpf_o,
		.len = tcp_cc_bpf_o_end - tcp_cc_bpf_o,
		.maps = maps.maps,
		.n_maps = maps.n,
		.kfuncs = c->kfuncs,
		.own_state = shape & GATE_CC_OWN,
	};
	r = dispatch_load(&o, m->programs, m->n_programs, reterr_fail);
	if (r < 0)
		return r;
	if (keep_sockets) {
		r = pin_in(c->folder, "sockets", *sockets);
		if (r < 0)
			return cc_fail(r, reterr_fail);
	}
	return 0;
}

DEFINE_AUTO(struct btf, btf__free)

static int make_ops(const struct cc *c, uint32_t shape, struct made *m)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = OPS_F_LINK,
		    .btf_vmlinux_value_type_id = c->value_type);
	AUTO(btf__freep) struct btf *btf = btf__new_empty();
	char name[BPF_OBJ_NAME_LEN];
	int r;

	/* A map whose value is the kernel's own type must come with some BTF of its maker. */
	r = btf ? btf__add_int(btf, "int", sizeof(int), BTF_INT_SIGNED) : -errno;
	if (r > 0)
		r = btf__load_into_kernel(btf);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), MAP_NAME, shape);
	opts.btf_fd = btf__fd(btf);
	m->is_link = true;
	m->ops = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, name, sizeof(uint32_t), c->value_size,
				1, &opts);
	if (m->ops < 0 && errno == EINVAL) { /* before Linux 6.4 */
		m->is_link = false;
		opts.map_flags = 0;
		m->ops = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, name, sizeof(uint32_t),
					c->value_size, 1, &opts);
	}
	return m->ops < 0 ? -errno : 0;
}

/* The ops map with its value; where there are links it is filled in, but not registered. */
static int make(struct cc *c, const struct gate_version *facts, struct made *m,
		struct fail *reterr_fail)
{
	uint32_t shape = facts->flags & GATE_CC_SHAPE;
	uint32_t flags = OPS_NON_RESTRICTED;
	unsigned long fd;
	uint32_t zero = 0;
	size_t k = 0;
	int r;

	r = cc_learn(c);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = load_members(c, shape, m, reterr_fail);
	if (r < 0)
		return r;
	m->value = calloc(1, c->value_size);
	if (!m->value)
		return cc_fail(-ENOMEM, reterr_fail);
	if (shape & GATE_CC_NEEDS_ECN)
		flags |= OPS_NEEDS_ECN;
	memcpy(m->value + c->name_at, facts->cc_name, HOOK_CC_NAME_BYTES);
	memcpy(m->value + c->data_off + c->flags_off, &flags, sizeof(flags));
	for (size_t i = 0; i < MEMBERS; i++) {
		if (!has_member(c, i, shape))
			continue;
		fd = m->programs[k++].ret_fd;
		memcpy(m->value + c->data_off + c->offset_of[i], &fd, sizeof(fd));
	}

	r = make_ops(c, shape, m);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (m->is_link && bpf_map_update_elem(m->ops, &zero, m->value, 0) < 0)
		return fail_set(reterr_fail, FAIL_ATTACH,
				"the kernel refuses the ops of %s: %s", facts->cc_name,
				strerror(errno));
	return 0;
}

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
static int register_made(const struct cc *c, const struct made *m, const char *cc_name,
			 const char *suffix, struct fail *reterr_fail)
{
	AUTO_CLOSE int link = -1;
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r, err;

	r = path_of(c, "ops", suffix, path);
	if (r == 0)
		r = pin_replace(m->ops, path);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (m->is_link) {
		link = bpf_link_create(m->ops, 0, (enum bpf_attach_type)OPS_ATTACH_TYPE, NULL);
		r = link < 0 ? -errno : 0;
	} else {
		r = bpf_map_update_elem(m->ops, &zero, m->value, 0) < 0 ? -errno : 0;
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
 * the 10 ms that unregistering takes; live sockets notice neither.
 */
static int replace(const struct cc *c, const struct registration *have, const struct made *m,
		   const char *cc_name, struct fail *reterr_fail)
{
	LIBBPF_OPTS(bpf_link_update_opts, opts, .flags = BPF_F_REPLACE,
		    .old_map_fd = have->ops);
	char path[PATH_MAX];
	uint32_t zero = 0;
	int r;

	r = path_of(c, "ops", "_new", path);
	if (r == 0)
		r = pin_replace(m->ops, path);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (m->is_link) {
		r = bpf_link_update(have->link, m->ops, &opts) < 0 ? -errno : 0;
	} else {
		r = bpf_map_delete_elem(have->ops, &zero) < 0 ? -errno : 0;
		if (r == 0 && bpf_map_update_elem(m->ops, &zero, m->value, 0) < 0)
			r = -errno;
	}
	if (r < 0) {
		pin_remove(path);
		return explain_register(cc_name, -r, reterr_fail);
	}
	r = rename_pin(c, "ops");
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

static int ready_path(const struct cc *c, uint32_t index, char ret_path[PATH_MAX])
{
	char suffix[16];

	snprintf(suffix, sizeof(suffix), "_%u", index);
	return path_of(c, "ready", suffix, ret_path);
}

/*
 * Where the kernel has links, staging makes the ops of a version that the registration
 * cannot serve as it is: settling, with the version live already, only has to link them.
 * They stay for the next time, as versions do.
 */
static int make_ready(struct cc *c, const struct gate_version *facts, uint32_t index,
		      struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	AUTO_MADE struct made m = {.ops = -1};
	char path[PATH_MAX];
	int r;

	r = registration_read(c, "", &have);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (registers(&have, facts))
		return 0;
	r = make(c, facts, &m, reterr_fail);
	if (r < 0 || !m.is_link)
		return r;
	r = ready_path(c, index, path);
	if (r == 0)
		r = pin_replace(m.ops, path);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

static int make_or_take(struct cc *c, const struct gate_version *facts, uint32_t index,
			struct made *m, struct fail *reterr_fail)
{
	struct ops_facts ready;
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];

	if (ready_path(c, index, path) == 0 && pin_open(PIN_MAP, path, &fd) == 0 &&
	    ops_read_facts(c, fd, &ready) == 0 && ready.for_link &&
	    ready.shape == (facts->flags & GATE_CC_SHAPE) &&
	    strcmp(ready.cc_name, facts->cc_name) == 0) {
		m->ops = take_fd(&fd);
		m->is_link = true;
		return 0;
	}
	return make(c, facts, m, reterr_fail);
}

/* Registers what index needs; *ret_anew when the default has to be written again. */
static int settle_registration(struct cc *c, const struct gate_version *facts, uint32_t index,
			       bool *ret_anew, struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	AUTO_MADE struct made m = {.ops = -1};
	int r;

	*ret_anew = false;
	r = registration_read(c, "", &have);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (registers(&have, facts))
		return 0;
	r = make_or_take(c, facts, index, &m, reterr_fail);
	if (r < 0)
		return r;
	*ret_anew = true;
	if (!have.registered) {
		registration_closep(&have);
		r = registration_remove(c, "");
		if (r < 0)
			return cc_fail(r, reterr_fail);
		return register_made(c, &m, facts->cc_name, "", reterr_fail);
	}
	if (strcmp(have.cc_name, facts->cc_name) == 0)
		return replace(c, &have, &m, facts->cc_name, reterr_fail);

	/* Two names do not clash: the new one is there before the old one goes. */
	r = register_made(c, &m, facts->cc_name, "_new", reterr_fail);
	if (r < 0)
		return r;
	r = facts->flags & GATE_CC_DEFAULT ? default_take(c, facts->cc_name)
					   : default_give_back(c, have.cc_name);
	registration_closep(&have); /* or removing would wait for ourselves */
	if (r == 0)
		r = registration_remove(c, "");
	if (r == 0)
		r = registration_promote(c);
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

static int settle_default(struct cc *c, const struct gate_version *facts, bool anew)
{
	char current[HOOK_CC_NAME_BYTES], previous[GATE_CC_BYTES];
	bool ours;
	int r;

	gate_cc_previous(c->gate, previous);
	if (!(facts->flags & GATE_CC_DEFAULT) && previous[0])
		return default_give_back(c, facts->cc_name);
	r = default_read(current);
	if (r < 0)
		return r;
	ours = strcmp(current, facts->cc_name) == 0;
	if (facts->flags & GATE_CC_DEFAULT)
		return !ours || anew || !previous[0] ? default_take(c, facts->cc_name) : 0;
	/* Somebody else made it the default: new sockets are to get the new ops as well. */
	return ours && anew ? default_write(facts->cc_name) : 0;
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
		for (k = 0; k < MEMBERS; k++)
			if (strcmp(members[k].name, ops->members[i].name) == 0)
				break;
		if (k == MEMBERS)
			return fail_set(reterr_fail, FAIL_INCOMPATIBLE,
					"%s has a %s, which hotfixd cannot switch",
					ops->cc_name, ops->members[i].name);
		ret_facts->flags |= members[k].flag;
	}
	return 0;
}

/* The name must be free, or ours. */
static int check_name(const struct cc *c, const char *cc_name, struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	int r;

	r = registration_read(c, "", &have);
	if (r < 0 && r != -EUCLEAN)
		return cc_fail(r, reterr_fail);
	if (have.registered && strcmp(have.cc_name, cc_name) == 0)
		return 0;
	return available(cc_name) ? explain_register(cc_name, EEXIST, reterr_fail) : 0;
}

int tcp_cc_try(const char *bpffs, const char *name, const struct gate_version *facts,
	       struct fail *reterr_fail)
{
	AUTO_MADE struct made m = {.ops = -1};
	AUTO_FREE struct cc *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, NULL) : -ENOMEM;
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = check_name(c, facts->cc_name, reterr_fail);
	if (r < 0)
		return r;
	c->folder[0] = 0;
	return make(c, facts, &m, reterr_fail);
}

static int enter_members(const struct maps *maps, const struct ops *ops, uint32_t index,
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
	AUTO_MAPS struct maps maps = {0};
	AUTO_FREE struct cc *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = cc_learn(c);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	r = check_name(c, facts->cc_name, reterr_fail);
	if (r < 0)
		return r;
	r = pin_make_folder(c->folder);
	if (r == 0)
		r = open_maps(c, &maps);
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
	return r < 0 ? r : pin_remove(path);
}

static bool is_there(const char *bpffs, const char *name)
{
	char folder[PATH_MAX];

	return pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL) == 0 &&
	       access(folder, F_OK) == 0;
}

int tcp_cc_settle(const char *bpffs, const char *name, struct gate *g, uint32_t index,
		  struct fail *reterr_fail)
{
	AUTO_REGISTRATION struct registration have = NO_REGISTRATION;
	struct gate_version facts = gate_version(g, index);
	AUTO_FREE struct cc *c = NULL;
	bool anew;
	int r;

	if (!is_there(bpffs, name))
		return 0;
	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = recover(c);
	if (r < 0)
		return cc_fail(r, reterr_fail);
	if (facts.flags & GATE_CC) {
		r = settle_registration(c, &facts, index, &anew, reterr_fail);
		if (r < 0)
			return r;
		r = settle_default(c, &facts, anew);
		if (r < 0)
			return fail_set(
				reterr_fail, FAIL_ATTACH,
				"%s is registered, but the default algorithm (" SYSCTL_DEFAULT
				") cannot be set: %s",
				facts.cc_name, strerror(-r));
	} else {
		r = registration_read(c, "", &have);
		if (r == 0)
			r = default_give_back(c, have.cc_name);
		registration_closep(&have);
		if (r == 0 || r == -EUCLEAN)
			r = registration_remove(c, "");
	}
	return r < 0 ? cc_fail(r, reterr_fail) : 0;
}

int tcp_cc_remove(const char *bpffs, const char *name, struct gate *g, struct fail *reterr_fail)
{
	char folder[PATH_MAX];
	int r;

	if (!is_there(bpffs, name))
		return 0;
	r = tcp_cc_settle(bpffs, name, g, 0, reterr_fail);
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
	char current[HOOK_CC_NAME_BYTES];
	AUTO_FREE struct cc *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	r = c ? cc_open(c, bpffs, name, g) : -ENOMEM;
	if (r == 0)
		r = registration_read(c, "", &have);
	if (r < 0)
		return r;
	*ret_state = (struct tcp_cc_state){
		.registered = have.registered,
		.is_link = have.link >= 0,
		.shape = have.shape,
		.is_default = have.registered && default_read(current) == 0 &&
			      strcmp(current, have.cc_name) == 0,
	};
	memcpy(ret_state->cc_name, have.cc_name, sizeof(ret_state->cc_name));
	return 0;
}
