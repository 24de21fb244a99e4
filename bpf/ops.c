// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/ops.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

/* The type id is that of the variable's struct: libbpf has resolved it at open. */
static const struct btf_type *struct_of(const struct bpf_object *obj, const struct bpf_map *map)
{
	const struct btf_type *t =
		btf__type_by_id(bpf_object__btf(obj), bpf_map__btf_value_type_id(map));

	return t && btf_is_struct(t) ? t : NULL;
}

const char *ops_type(const struct bpf_object *obj, const struct bpf_map *map)
{
	const struct btf_type *t = struct_of(obj, map);

	return t ? btf__name_by_offset(bpf_object__btf(obj), t->name_off) : NULL;
}

/* A pointer member may hold any constant that a stranger's compiler wrote there. */
static bool is_program(const struct bpf_object *obj, const struct bpf_program *wanted)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, obj)
		if (p == wanted)
			return true;
	return false;
}

static bool is_pointer(const struct btf *btf, uint32_t type_id)
{
	int id = btf__resolve_type(btf, type_id);

	return id > 0 && btf_is_ptr(btf__type_by_id(btf, id));
}

static bool cc_name_valid(const char *name)
{
	size_t n = strnlen(name, HOOK_CC_NAME_BYTES);

	if (n == 0 || n == HOOK_CC_NAME_BYTES)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

int ops_read(const struct bpf_object *obj, const struct bpf_map *map, struct ops *ret_ops,
	     const char **reterr_why)
{
	const struct btf *btf = bpf_object__btf(obj);
	const struct btf_type *t = struct_of(obj, map);
	const struct btf_member *m;
	struct bpf_program *p;
	struct ops ops = {0};
	const char *name;
	const char *data;
	size_t size, off;
	int64_t len;

	/* A program's address stands where the C source wrote &function ("shadow type"). */
	data = bpf_map__initial_value(map, &size);
	if (!t || !data || size < t->size) {
		*reterr_why = "its type is not in the object's BTF";
		return -EINVAL;
	}
	m = btf_members(t);
	for (size_t i = 0; i < btf_vlen(t); i++, m++) {
		name = btf__name_by_offset(btf, m->name_off);
		off = btf_member_bit_offset(t, i) / 8;
		len = btf__resolve_size(btf, m->type);
		if (len < 0 || off + len > t->size) {
			*reterr_why = "a member lies outside its type";
			return -EINVAL;
		}
		if (strcmp(name, "name") == 0 && len == HOOK_CC_NAME_BYTES) {
			memcpy(ops.cc_name, data + off, HOOK_CC_NAME_BYTES);
		} else if (strcmp(name, "flags") == 0 && len == sizeof(ops.cc_flags)) {
			memcpy(&ops.cc_flags, data + off, sizeof(ops.cc_flags));
		} else if (len == sizeof(p) && is_pointer(btf, m->type)) {
			memcpy(&p, data + off, sizeof(p));
			if (!p)
				continue;
			if (!is_program(obj, p)) {
				*reterr_why = "a pointer in it is not a program";
				return -EINVAL;
			}
			if (ops.n_members == OPS_MEMBERS_MAX ||
			    strlen(name) >= OPS_MEMBER_BYTES) {
				*reterr_why = "it has more members than hotfixd knows";
				return -EINVAL;
			}
			strcpy(ops.members[ops.n_members].name, name);
			ops.members[ops.n_members++].program = p;
		}
	}
	if (!cc_name_valid(ops.cc_name)) {
		*reterr_why = "its .name must be 1 to 15 letters, digits, '.', '_' or '-'";
		return -EINVAL;
	}
	if (ops.n_members == 0) {
		*reterr_why = "no member of it is a program";
		return -EINVAL;
	}

	*ret_ops = ops;
	return 0;
}
