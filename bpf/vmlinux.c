// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/vmlinux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"

#define PATH	      "/sys/kernel/btf/vmlinux"
#define BTF_BYTES_MAX (64U << 20)
#define TYPES_GUESS   (1U << 17)

struct vmlinux {
	uint8_t *data;
	const char *strings;
	size_t strings_len;
	const uint8_t *types;
	uint32_t *offsets; /* by type id, into types; id 0 is void */
	uint32_t n;
};

/* What follows a struct btf_type, by kind; include/uapi/linux/btf.h. */
static size_t tail_of(const struct btf_type *t)
{
	size_t n = btf_vlen(t);

	switch (btf_kind(t)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return sizeof(uint32_t);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	default:
		return 0;
	}
}

static int index_types(struct vmlinux *v, size_t types_len)
{
	const struct btf_type *t;
	uint32_t room = 0;
	uint32_t *grown;
	size_t size;

	v->n = 1;
	for (size_t at = 0; at < types_len; at += size) {
		t = (const void *)(v->types + at);
		if (types_len - at < sizeof(*t))
			return -EBADMSG;
		size = sizeof(*t) + tail_of(t);
		if (types_len - at < size || btf_kind(t) > BTF_KIND_ENUM64)
			return -EBADMSG;
		if (v->n >= room) {
			room = room ? room * 2 : TYPES_GUESS;
			grown = realloc(v->offsets, room * sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			v->offsets = grown;
		}
		v->offsets[v->n++] = at;
	}
	return 0;
}

int vmlinux_open(struct vmlinux **ret_v)
{
	AUTO(vmlinux_freep) struct vmlinux *v = NULL;
	struct btf_header h;
	size_t len;
	int r;

	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	r = io_read_file(PATH, BTF_BYTES_MAX, &v->data, &len);
	if (r < 0)
		return r;
	if (len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, v->data, sizeof(h));
	if (h.magic != BTF_MAGIC || h.hdr_len > len || h.type_off > len - h.hdr_len ||
	    h.type_len > len - h.hdr_len - h.type_off || h.str_off > len - h.hdr_len ||
	    h.str_len > len - h.hdr_len - h.str_off || h.str_len == 0)
		return -EBADMSG;
	v->types = v->data + h.hdr_len + h.type_off;
	v->strings = (const char *)v->data + h.hdr_len + h.str_off;
	v->strings_len = h.str_len;
	if (v->strings[v->strings_len - 1] != 0)
		return -EBADMSG;
	r = index_types(v, h.type_len);
	if (r < 0)
		return r;

	*ret_v = take_ptr(v);
	return 0;
}

struct vmlinux *vmlinux_free(struct vmlinux *v)
{
	if (!v)
		return NULL;
	free(v->offsets);
	free(v->data);
	free(v);
	return NULL;
}

const struct btf_type *vmlinux_type(const struct vmlinux *v, uint32_t id)
{
	if (id == 0 || id >= v->n)
		return NULL;
	return (const void *)(v->types + v->offsets[id]);
}

static const char *string(const struct vmlinux *v, uint32_t off)
{
	return off < v->strings_len ? v->strings + off : "";
}

const char *vmlinux_name(const struct vmlinux *v, uint32_t id)
{
	const struct btf_type *t = vmlinux_type(v, id);

	return t ? string(v, t->name_off) : NULL;
}

/*
 * Every string stands in BTF once, so the name is looked up first, as bytes between two
 * NULs, and the types are compared by its offset.
 */
uint32_t vmlinux_find(const struct vmlinux *v, const char *name, uint32_t kind)
{
	size_t len = strlen(name) + 1;
	const struct btf_type *t;
	const char *at = v->strings;
	const char *end = v->strings + v->strings_len;
	uint32_t off;

	for (;; at++) {
		at = memmem(at, end - at, name, len);
		if (!at)
			return 0;
		if (at > v->strings && at[-1] == 0)
			break;
	}
	off = at - v->strings;
	for (uint32_t id = 1; id < v->n; id++) {
		t = (const void *)(v->types + v->offsets[id]);
		if (t->name_off == off && btf_kind(t) == kind)
			return id;
	}
	return 0;
}

bool vmlinux_same_prototype(const struct vmlinux *v, uint32_t func_a, uint32_t func_b)
{
	const struct btf_type *a = vmlinux_type(v, func_a);
	const struct btf_type *b = vmlinux_type(v, func_b);
	const struct btf_param *pa, *pb;

	if (!a || !b || !btf_is_func(a) || !btf_is_func(b))
		return false;
	if (a->type == b->type)
		return true;
	a = vmlinux_type(v, a->type);
	b = vmlinux_type(v, b->type);
	if (!a || !b || !btf_is_func_proto(a) || !btf_is_func_proto(b) || a->type != b->type ||
	    btf_vlen(a) != btf_vlen(b))
		return false;
	/* Equal types have equal ids: the kernel's BTF is deduplicated when it is built. */
	pa = (const void *)(a + 1);
	pb = (const void *)(b + 1);
	for (size_t i = 0; i < btf_vlen(a); i++)
		if (pa[i].type != pb[i].type)
			return false;
	return true;
}

int vmlinux_member(const struct vmlinux *v, uint32_t struct_id, const char *member,
		   uint32_t *ret_offset)
{
	const struct btf_type *t = vmlinux_type(v, struct_id);
	const struct btf_member *m;

	if (!t || !btf_is_struct(t))
		return -1;
	m = (const void *)(t + 1);
	for (size_t i = 0; i < btf_vlen(t); i++, m++) {
		if (strcmp(string(v, m->name_off), member) != 0)
			continue;
		if (ret_offset)
			*ret_offset = BTF_MEMBER_BIT_OFFSET(m->offset) / 8;
		return i;
	}
	return -1;
}
