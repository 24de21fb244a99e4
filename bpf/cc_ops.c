// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/cc_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "bpf/ops.h"
#include "bpf/pin.h"
#include "bpf/slot.h"

extern const uint8_t tcp_cc_bpf_o[], tcp_cc_bpf_o_end[];

/* enum bpf_struct_ops_state of the kernel. */
#define STATE_INUSE 1

DEFINE_AUTO(struct btf, btf__free)

/* --- the maps of the dispatchers -------------------------------------------------------- */

void cc_maps_close(struct cc_maps *m)
{
	for (size_t i = m->borrows_gate; i < m->n; i++)
		if (m->maps[i].fd >= 0)
			close(take_fd(&m->maps[i].fd));
}

static int open_map(const struct cc_place *c, const char *name,
		    int (*make)(const char *, int *), int *ret_fd)
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

/* Made by loading (its value has BTF) and pinned then; later registrations share it. */
static int open_sockets(const struct cc_place *c, int *ret_fd)
{
	char path[PATH_MAX];
	int r;

	if (!c->folder[0])
		return 0;
	r = pin_path(path, c->folder, "sockets", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, ret_fd);
	return r == -ENOENT ? 0 : r;
}

int cc_maps_open(const struct cc_place *c, struct cc_maps *m)
{
	int r;

	*m = (struct cc_maps){.borrows_gate = c->gate != NULL};
	m->maps[m->n++] = (struct dispatch_map){".data.gate", c->gate ? gate_fd(c->gate) : -1};
	r = c->gate ? 0 : gate_map_make(&m->maps[0].fd);
	if (r < 0)
		return r;
	m->maps[m->n] = (struct dispatch_map){"calls", -1};
	r = open_map(c, "calls", slot_calls_make, &m->maps[m->n++].fd);
	for (size_t i = 0; r == 0 && i < CC_MEMBERS; i++) {
		if (c->layout.index_of[i] < 0)
			continue;
		snprintf(m->names[i], sizeof(m->names[i]), "versions_%s", cc_members[i].name);
		m->maps[m->n] = (struct dispatch_map){m->names[i], -1};
		r = open_map(c, m->names[i], slot_array_make, &m->maps[m->n++].fd);
	}
	if (r < 0)
		return r;
	m->maps[m->n] = (struct dispatch_map){"sockets", -1};
	return open_sockets(c, &m->maps[m->n++].fd);
}

/* --- the ops ---------------------------------------------------------------------------- */

void cc_ops_close(struct cc_ops *o)
{
	if (o->map >= 0)
		close(take_fd(&o->map));
	for (size_t i = 0; i < o->n_programs; i++)
		if (o->programs[i].ret_fd >= 0)
			close(take_fd(&o->programs[i].ret_fd));
	free(o->value);
	o->value = NULL;
}

static void name_programs(const struct cc_place *c, uint32_t shape, struct cc_ops *o)
{
	o->n_programs = 0;
	for (size_t i = 0; i < CC_MEMBERS; i++)
		if (cc_layout_has(&c->layout, i, shape))
			o->programs[o->n_programs++] = (struct dispatch_program){
				.name = cc_members[i].name,
				.type = BPF_PROG_TYPE_STRUCT_OPS,
				.attach_type = (enum bpf_attach_type)c->layout.index_of[i],
				.btf_id = c->layout.ops_type,
				.ret_fd = -1,
			};
}

static int load_programs(const struct cc_place *c, uint32_t shape, struct cc_ops *o,
			 struct fail *reterr_fail)
{
	AUTO_CC_MAPS struct cc_maps maps = {0};
	struct dispatch_object object;
	bool new_sockets;
	int *sockets;
	int r;

	r = cc_maps_open(c, &maps);
	if (r < 0)
		return r;
	sockets = &maps.maps[maps.n - 1].fd;
	new_sockets = *sockets < 0;
	name_programs(c, shape, o);
	object = (struct dispatch_object){
		.elf = tcp_cc_bpf_o,
		.len = tcp_cc_bpf_o_end - tcp_cc_bpf_o,
		.maps = maps.maps,
		.n_maps = maps.n,
		.kfuncs = c->layout.kfuncs,
		.own_state = shape & GATE_CC_OWN,
	};
	r = dispatch_load(&object, o->programs, o->n_programs, reterr_fail);
	if (r < 0)
		return r;
	return new_sockets && c->folder[0] ? pin_in(c->folder, "sockets", *sockets) : 0;
}

static int create_map(const struct cc_place *c, uint32_t shape, struct cc_ops *o)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = OPS_F_LINK,
		    .btf_vmlinux_value_type_id = c->layout.value_type);
	AUTO(btf__freep) struct btf *btf = btf__new_empty();
	char name[BPF_OBJ_NAME_LEN];
	int r;

	/* A map whose value is the kernel's own type must come with some BTF of its maker. */
	r = btf ? btf__add_int(btf, "int", sizeof(int), BTF_INT_SIGNED) : -errno;
	if (r > 0)
		r = btf__load_into_kernel(btf);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), CC_OPS_NAME, shape);
	opts.btf_fd = btf__fd(btf);
	o->is_link = true;
	o->map = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, name, sizeof(uint32_t),
				c->layout.value_size, 1, &opts);
	if (o->map < 0 && errno == EINVAL) { /* before Linux 6.4 */
		o->is_link = false;
		opts.map_flags = 0;
		o->map = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, name, sizeof(uint32_t),
					c->layout.value_size, 1, &opts);
	}
	return o->map < 0 ? -errno : 0;
}

/* The map and its value, of programs that are there. */
static int fill(const struct cc_place *c, const struct gate_version *facts, struct cc_ops *o)
{
	uint32_t shape = facts->flags & GATE_CC_SHAPE;
	uint32_t flags = OPS_NON_RESTRICTED | (shape & GATE_CC_NEEDS_ECN ? OPS_NEEDS_ECN : 0);
	unsigned long fd;
	uint32_t zero = 0;
	size_t k = 0;
	int r;

	o->value = calloc(1, c->layout.value_size);
	if (!o->value)
		return -ENOMEM;
	memcpy(o->value + c->layout.name_at, facts->cc_name, GATE_CC_BYTES);
	memcpy(o->value + c->layout.flags_at, &flags, sizeof(flags));
	for (size_t i = 0; i < CC_MEMBERS; i++) {
		if (!cc_layout_has(&c->layout, i, shape))
			continue;
		fd = o->programs[k++].ret_fd;
		memcpy(o->value + c->layout.member_at[i], &fd, sizeof(fd));
	}
	r = create_map(c, shape, o);
	if (r < 0)
		return r;
	return o->is_link && bpf_map_update_elem(o->map, &zero, o->value, 0) < 0 ? -errno : 0;
}

int cc_ops_make(const struct cc_place *c, const struct gate_version *facts,
		struct cc_ops *ret_ops, struct fail *reterr_fail)
{
	AUTO_CC_OPS struct cc_ops o = CC_OPS_NONE;
	struct fail fail = {0};
	int r;

	r = load_programs(c, facts->flags & GATE_CC_SHAPE, &o, &fail);
	if (r < 0 && fail.code) {
		if (reterr_fail)
			*reterr_fail = fail;
		return r;
	}
	if (r == 0)
		r = fill(c, facts, &o);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_ATTACH, "the ops of %s cannot be made: %s",
				facts->cc_name, strerror(-r));
	*ret_ops = o;
	o = (struct cc_ops)CC_OPS_NONE;
	return 0;
}

/* --- kept ones -------------------------------------------------------------------------- */

/*
 * Where there are links, the map itself: it can be linked again and again. Before, a map
 * that was registered once never can again: there its programs are what saves the time.
 */
int cc_ops_keep(const struct cc_place *c, const struct cc_ops *o, const char *folder)
{
	int r;

	(void)c;
	r = pin_remove_folder(folder);
	if (r == 0)
		r = pin_make_folder(folder);
	if (r == 0 && o->is_link)
		return pin_in(folder, "ops", o->map);
	for (size_t i = 0; r == 0 && i < o->n_programs; i++)
		r = pin_in(folder, o->programs[i].name, o->programs[i].ret_fd);
	return r;
}

int cc_ops_take(const struct cc_place *c, const struct gate_version *facts, const char *folder,
		struct cc_ops *ret_ops)
{
	AUTO_CC_OPS struct cc_ops o = CC_OPS_NONE;
	uint32_t shape = facts->flags & GATE_CC_SHAPE;
	struct cc_ops_facts kept;
	char path[PATH_MAX];
	int r;

	r = pin_path(path, folder, "ops", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &o.map);
	if (r == 0) {
		r = cc_ops_read(c, o.map, &kept);
		if (r < 0 || !kept.for_link || kept.shape != shape ||
		    strcmp(kept.cc_name, facts->cc_name) != 0)
			return -ENOENT;
		o.is_link = true;
	} else {
		name_programs(c, shape, &o);
		r = 0;
		for (size_t i = 0; r == 0 && i < o.n_programs; i++) {
			r = pin_path(path, folder, o.programs[i].name, NULL);
			if (r == 0)
				r = pin_open(PIN_PROGRAM, path, &o.programs[i].ret_fd);
		}
		if (r == 0)
			r = fill(c, facts, &o);
		if (r < 0)
			return -ENOENT;
	}
	*ret_ops = o;
	o = (struct cc_ops)CC_OPS_NONE;
	return 0;
}

int cc_ops_read(const struct cc_place *c, int map, struct cc_ops_facts *ret_facts)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	struct cc_ops_facts f = {0};
	AUTO_FREE uint8_t *value = NULL;
	uint32_t zero = 0, state;

	if (bpf_map_get_info_by_fd(map, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_STRUCT_OPS || info.value_size != c->layout.value_size ||
	    c->layout.name_at + GATE_CC_BYTES > info.value_size ||
	    sscanf(info.name, CC_OPS_NAME, &f.shape) != 1)
		return -EUCLEAN;
	value = calloc(1, info.value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map, &zero, value) < 0)
		return -errno;
	/* struct bpf_struct_ops_common_value: a refcount, then the state. */
	memcpy(&state, value + sizeof(uint32_t), sizeof(state));
	f.id = info.id;
	f.for_link = info.map_flags & OPS_F_LINK;
	f.in_use = !f.for_link && state == STATE_INUSE;
	memcpy(f.cc_name, value + c->layout.name_at, sizeof(f.cc_name));
	f.cc_name[sizeof(f.cc_name) - 1] = 0;
	*ret_facts = f;
	return 0;
}
