// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/cc_layout.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/gate.h"
#include "bpf/ops.h"
#include "bpf/pin.h"
#include "bpf/vmlinux.h"

/*
 * Those without a flag are always there: for the void ones an empty slot means what NULL
 * means, and the kernel demands the others.
 */
const struct cc_member cc_members[CC_MEMBERS] = {
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

bool cc_layout_has(const struct cc_layout *l, size_t i, uint32_t shape)
{
	return l->index_of[i] >= 0 && (!cc_members[i].flag || shape & cc_members[i].flag);
}

static int ask_btf(struct cc_layout *l)
{
	struct vmlinux_name names[] = {
		{OPS_TYPE_TCP_CC, BTF_KIND_STRUCT, 0},
		{"bpf_struct_ops_" OPS_TYPE_TCP_CC, BTF_KIND_STRUCT, 0},
		{"tcp_reno_ssthresh", BTF_KIND_FUNC, 0},
		{"tcp_reno_cong_avoid", BTF_KIND_FUNC, 0},
		{"tcp_reno_undo_cwnd", BTF_KIND_FUNC, 0},
	};
	const struct vmlinux *v;
	uint32_t data, at;
	int r;

	r = vmlinux_get(&v);
	if (r < 0)
		return r;
	vmlinux_find(v, names, ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!names[i].id)
			return -EOPNOTSUPP;
	*l = (struct cc_layout){.ops_type = names[0].id, .value_type = names[1].id};
	for (size_t i = 0; i < DISPATCH_KFUNCS; i++)
		l->kfuncs[i] = names[2 + i].id;
	l->value_size = vmlinux_type(v, l->value_type)->size;
	if (vmlinux_member(v, l->value_type, "data", &data) < 0 ||
	    vmlinux_member(v, l->ops_type, "name", &l->name_at) < 0 ||
	    vmlinux_member(v, l->ops_type, "flags", &l->flags_at) < 0)
		return -EOPNOTSUPP;
	l->name_at += data;
	l->flags_at += data;
	for (size_t i = 0; i < CC_MEMBERS; i++) {
		l->index_of[i] = vmlinux_member(v, l->ops_type, cc_members[i].name, &at);
		if (l->index_of[i] >= 0)
			l->member_at[i] = data + at;
	}
	return 0;
}

static int read_pin(const char *path, struct cc_layout *l)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	AUTO_CLOSE int fd = -1;
	uint32_t zero = 0;
	int r;

	r = pin_open(PIN_MAP, path, &fd);
	if (r < 0)
		return r;
	if (bpf_map_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(*l))
		return -EUCLEAN;
	return bpf_map_lookup_elem(fd, &zero, l) < 0 ? -errno : 0;
}

/* Not kept: asked again. */
static void keep_pin(const char *path, const struct cc_layout *l)
{
	AUTO_CLOSE int fd = -1;
	uint32_t zero = 0;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "hotfix_layout", sizeof(zero), sizeof(*l), 1,
			    NULL);
	if (fd >= 0 && bpf_map_update_elem(fd, &zero, l, 0) == 0)
		pin_replace(fd, path);
}

int cc_layout_read(const char *folder, struct cc_layout *ret_layout)
{
	char path[PATH_MAX];
	int r;

	if (!folder)
		return ask_btf(ret_layout);
	r = pin_path(path, folder, "layout", NULL);
	if (r < 0 || read_pin(path, ret_layout) == 0)
		return r;
	r = ask_btf(ret_layout);
	if (r == 0)
		keep_pin(path, ret_layout);
	return r;
}
