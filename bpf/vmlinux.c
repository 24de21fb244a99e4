// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/vmlinux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/cleanup.h"

#define PATH		"/sys/kernel/btf/vmlinux"
#define BTF_BYTES_MAX	(64L << 20)
#define TYPES_GUESS	(1U << 17)
#define HUGE_PAGE_BYTES (2L << 20)

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

/*
 * Linux 6.16 and newer let the file be mapped. From older ones it is copied, page by page;
 * into huge pages where there are some, because the faults cost as much as the copying.
 */
static int map_file(const char *path, uint8_t **ret_data, size_t *ret_len)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	size_t len = 0;
	uint8_t *data;
	ssize_t n;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size > BTF_BYTES_MAX)
		return -EBADMSG;
	data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data != MAP_FAILED) {
		*ret_data = data;
		*ret_len = st.st_size;
		return 0;
	}
	data = aligned_alloc(HUGE_PAGE_BYTES, (st.st_size | (HUGE_PAGE_BYTES - 1)) + 1);
	if (!data)
		return -ENOMEM;
	madvise(data, st.st_size, MADV_HUGEPAGE);
	do {
		n = read(fd, data + len, st.st_size - len);
		len += n > 0 ? n : 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0) {
		free(data);
		return -errno;
	}
	*ret_data = data;
	*ret_len = len;
	return 0;
}

static int open_file(struct vmlinux *v)
{
	struct btf_header h;
	size_t len = 0;
	int r;

	r = map_file(PATH, &v->data, &len);
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
	return index_types(v, h.type_len);
}

int vmlinux_get(const struct vmlinux **ret_v)
{
	static struct vmlinux v;
	static int opened = 1; /* not tried yet */

	if (opened > 0)
		opened = open_file(&v);
	if (opened == 0)
		*ret_v = &v;
	return opened;
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

/* Every string stands in BTF once, between two NULs; 0 when it is not there. */
static uint32_t find_string(const struct vmlinux *v, const char *name)
{
	size_t len = strlen(name) + 1;
	const char *at = v->strings + 1;
	const char *end = v->strings + v->strings_len;

	for (; at < end; at++) {
		at = memmem(at, end - at, name, len);
		if (!at)
			return 0;
		if (at[-1] == 0)
			return at - v->strings;
	}
	return 0;
}

/* Types are compared by the offset of their name, not by the name. */
void vmlinux_find(const struct vmlinux *v, struct vmlinux_name *names, size_t n)
{
	uint32_t offs[VMLINUX_NAMES_MAX];
	const struct btf_type *t;
	size_t left = 0;

	if (n > VMLINUX_NAMES_MAX)
		n = VMLINUX_NAMES_MAX;
	for (size_t i = 0; i < n; i++) {
		names[i].id = 0;
		offs[i] = find_string(v, names[i].name);
		left += offs[i] != 0;
	}
	for (uint32_t id = 1; left && id < v->n; id++) {
		t = (const void *)(v->types + v->offsets[id]);
		for (size_t i = 0; t->name_off && i < n; i++)
			if (offs[i] == t->name_off && btf_kind(t) == names[i].kind) {
				names[i].id = id;
				offs[i] = 0;
				left--;
			}
	}
}

uint32_t vmlinux_id(const struct vmlinux *v, const char *name, uint32_t kind)
{
	struct vmlinux_name n = {name, kind, 0};

	vmlinux_find(v, &n, 1);
	return n.id;
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
