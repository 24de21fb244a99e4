// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/audit.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf/ops.h"
#include "bpf/words.h"
#include "lib/cleanup.h"

DEFINE_AUTO(struct bpf_object, bpf_object__close)
DEFINE_AUTO(struct btf, btf__free)

static const struct {
	const char *section;
	enum hook_type type;
	enum bpf_prog_type prog_type;
} sections[] = {
	{"fentry", HOOK_FENTRY, BPF_PROG_TYPE_TRACING},
	{"fexit", HOOK_FEXIT, BPF_PROG_TYPE_TRACING},
	{"fmod_ret", HOOK_FMOD_RET, BPF_PROG_TYPE_TRACING},
	{"lsm", HOOK_LSM, BPF_PROG_TYPE_LSM},
	{"struct_ops", HOOK_STRUCT_OPS, BPF_PROG_TYPE_STRUCT_OPS},
};

/* libbpf's own reasons for refusing a file are short and about sections; what it is for is
 * clearer when said here. */
static int check_header(const uint8_t *elf, size_t len, struct fail *reterr_fail)
{
	Elf64_Ehdr h;

	if (len > AUDIT_OBJECT_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the object is larger than %u bytes", AUDIT_OBJECT_BYTES_MAX);
	if (len < sizeof(h) || memcmp(elf, ELFMAG, SELFMAG) != 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "not an ELF file");
	memcpy(&h, elf, sizeof(h));
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_BPF || h.e_type != ET_REL)
		return fail_set(
			reterr_fail, FAIL_BAD_OBJECT,
			"not a BPF object: class %u, machine %u, type %u (wanted %u, %u, %u)",
			h.e_ident[EI_CLASS], h.e_machine, h.e_type, ELFCLASS64, EM_BPF, ET_REL);
	return 0;
}

/* The bytes of the only section of that name; NULL: none, several, or not inside the file. */
static const uint8_t *find_section(const uint8_t *elf, size_t len, const char *wanted,
				   size_t *ret_len)
{
	const uint8_t *found = NULL;
	size_t n = strlen(wanted) + 1;
	Elf64_Ehdr h;
	Elf64_Shdr names, s;

	memcpy(&h, elf, sizeof(h));
	if (h.e_shentsize != sizeof(s) || h.e_shoff > len ||
	    (len - h.e_shoff) / sizeof(s) < h.e_shnum || h.e_shstrndx >= h.e_shnum)
		return NULL;
	memcpy(&names, elf + h.e_shoff + h.e_shstrndx * sizeof(s), sizeof(names));
	if (names.sh_offset > len || names.sh_size > len - names.sh_offset)
		return NULL;
	for (size_t i = 0; i < h.e_shnum; i++) {
		memcpy(&s, elf + h.e_shoff + i * sizeof(s), sizeof(s));
		if (s.sh_name >= names.sh_size || names.sh_size - s.sh_name < n ||
		    memcmp(elf + names.sh_offset + s.sh_name, wanted, n) != 0)
			continue;
		if (found || s.sh_offset > len || s.sh_size > len - s.sh_offset)
			return NULL;
		found = elf + s.sh_offset;
		*ret_len = s.sh_size;
	}
	return found;
}

/* libbpf tells nobody the license. */
static void read_license(const uint8_t *elf, size_t len, char *ret_license, size_t size)
{
	size_t n = 0;
	const uint8_t *license = find_section(elf, len, "license", &n);

	if (n >= size)
		n = size - 1;
	if (license)
		memcpy(ret_license, license, n);
	ret_license[license ? n : 0] = 0;
}

/* Both as far inside the file as an addition of 32 bits can tell. */
static bool vars_fit(const struct btf *btf, const struct btf_type *section, size_t len)
{
	const struct btf_var_secinfo *v = btf_var_secinfos(section);
	const struct btf_type *var;
	int64_t size;

	for (size_t i = 0; i < btf_vlen(section); i++, v++) {
		var = btf__type_by_id(btf, v->type);
		size = var && btf_is_var(var) ? btf__resolve_size(btf, var->type) : -1;
		if (size < 0 || (uint64_t)size > len || v->offset > len)
			return false;
	}
	return true;
}

/* libbpf cuts a symbol's value to 32 bits before it takes it for an offset. */
static bool symbols_fit(const uint8_t *elf, size_t len)
{
	Elf64_Ehdr h;
	Elf64_Shdr s;
	Elf64_Sym sym;

	memcpy(&h, elf, sizeof(h));
	for (size_t i = 0; i < h.e_shnum; i++) {
		memcpy(&s, elf + h.e_shoff + i * sizeof(s), sizeof(s));
		if (s.sh_type != SHT_SYMTAB)
			continue;
		if (s.sh_offset > len || s.sh_size > len - s.sh_offset)
			return false;
		for (size_t k = 0; k < s.sh_size / sizeof(sym); k++) {
			memcpy(&sym, elf + s.sh_offset + k * sizeof(sym), sizeof(sym));
			if (sym.st_value > INT32_MAX)
				return false;
		}
	}
	return true;
}

/*
 * libbpf 1.4.6 copies an ops variable after it has added its offset and size in 32 bits, and
 * allocates that size before: such sums must not wrap round.
 */
static int check_ops(const uint8_t *elf, size_t len, struct fail *reterr_fail)
{
	AUTO(btf__freep) struct btf *btf = NULL;
	const struct btf_type *t;
	const uint8_t *bytes;
	const char *name;
	size_t n;

	bytes = find_section(elf, len, ".BTF", &n);
	if (!bytes) {
		fail_set(reterr_fail, FAIL_BAD_OBJECT, "the object has no BTF");
		return fail_hint(reterr_fail, "compile with clang -g");
	}
	if (!symbols_fit(elf, len))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the symbol table points outside of its sections");
	btf = btf__new(bytes, (uint32_t)n);
	if (!btf)
		return 0; /* libbpf will say why */
	for (uint32_t i = 1; i < btf__type_cnt(btf); i++) {
		t = btf__type_by_id(btf, i);
		if (!btf_is_datasec(t))
			continue;
		name = btf__name_by_offset(btf, t->name_off);
		if (name && strstr(name, ".struct_ops") && !vars_fit(btf, t, len))
			return fail_set(reterr_fail, FAIL_BAD_OBJECT,
					"section %s: a variable does not fit in the file",
					name);
	}
	return 0;
}

/* "fentry.s/target" -> type, sleepable, target ("" when the section names none). */
static int parse_section(const char *section, enum bpf_prog_type prog_type,
			 struct hook *ret_hook)
{
	const char *rest;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		n = strlen(sections[i].section);
		if (strncmp(section, sections[i].section, n) != 0 ||
		    sections[i].prog_type != prog_type)
			continue;
		rest = section + n;
		*ret_hook = (struct hook){.type = sections[i].type};
		if (strncmp(rest, ".s", 2) == 0) {
			ret_hook->sleepable = true;
			rest += 2;
		}
		if (*rest == 0)
			return 0;
		if (*rest != '/')
			continue;
		if (strlen(++rest) >= sizeof(ret_hook->target))
			return -EINVAL;
		strcpy(ret_hook->target, rest);
		return 0;
	}
	return -EINVAL;
}

static int add_hook(struct audit *a, const struct hook *h, struct fail *reterr_fail)
{
	if (a->n_hooks == HOOK_MAX)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the object has more than %d hooks", HOOK_MAX);
	a->hooks[a->n_hooks++] = *h;
	return 0;
}

static int audit_map(const struct bpf_object *obj, const struct bpf_map *m, struct audit *a,
		     struct ops *ops, struct fail *reterr_fail)
{
	const char *name = bpf_map__name(m);
	struct hook h = {.type = HOOK_STRUCT_OPS};
	const char *type;
	const char *why;

	a->n_maps++;
	if (!libbpf_bpf_map_type_str(bpf_map__type(m)))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "map %s has the unknown type %d",
				name, bpf_map__type(m));
	if (bpf_map__pin_path(m))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"map %s wants to be pinned by its name, outside of the hot-fix",
				name);
	if (strcmp(name, "hotfix_counters") == 0 || strcmp(name, "hotfix_events") == 0 ||
	    strcmp(name, "hotfix_control") == 0)
		a->uses_hotfix_header = true;
	if (bpf_map__type(m) != BPF_MAP_TYPE_STRUCT_OPS)
		return 0;

	if (!bpf_map__autocreate(m))
		return fail_set(
			reterr_fail, FAIL_BAD_OBJECT,
			"%s is in an optional section (\"?\"): what a hot-fix hooks must "
			"be certain",
			name);
	type = ops_type(obj, m);
	if (!type || strcmp(type, OPS_TYPE_TCP_CC) != 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"%s is a struct %s: only " OPS_TYPE_TCP_CC " can be replaced",
				name, type ? type : "?");
	if (ops->n_members)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"%s is a second congestion control: one hot-fix has one", name);
	if (ops_read(obj, m, ops, &why) < 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "%s: %s", name, why);
	if (!hook_symbol_valid(name, sizeof(h.program) - 1))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "%s: not a C identifier", name);
	strcpy(h.target, OPS_TYPE_TCP_CC);
	strcpy(h.program, name);
	strcpy(h.cc_name, ops->cc_name);
	return add_hook(a, &h, reterr_fail);
}

static bool is_member(const struct ops *ops, const struct bpf_program *p)
{
	for (size_t i = 0; i < ops->n_members; i++)
		if (ops->members[i].program == p)
			return true;
	return false;
}

static int audit_program(const struct bpf_program *p, const struct ops *ops, struct audit *a,
			 struct fail *reterr_fail)
{
	const char *section = bpf_program__section_name(p);
	const char *name = bpf_program__name(p);
	struct hook h;

	if (!bpf_program__autoload(p) || section[0] == '?')
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"section %s is optional (\"?\"): what a hot-fix hooks must be "
				"certain",
				section);
	if (parse_section(section, bpf_program__type(p), &h) < 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"section %s: only fentry, fexit, fmod_ret, lsm and struct_ops "
				"programs can be switched without a gap",
				section);
	if (!hook_symbol_valid(name, sizeof(h.program) - 1))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"section %s: the program's name is not a C identifier",
				section);
	if (h.type == HOOK_STRUCT_OPS) {
		if (!is_member(ops, p))
			return fail_set(reterr_fail, FAIL_BAD_OBJECT,
					"section %s: no ops variable uses the program %s",
					section, name);
		return 0; /* its ops variable is the hook */
	}
	if (!hook_symbol_valid(h.target, sizeof(h.target) - 1))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"section %s names no kernel function", section);
	strcpy(h.program, name);
	return add_hook(a, &h, reterr_fail);
}

int audit_object(const void *elf, size_t len, struct audit *ret_audit, struct fail *reterr_fail)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "audit");
	AUTO(bpf_object__closep) struct bpf_object *obj = NULL;
	AUTO_WORDS struct words words = {0};
	AUTO_FREE struct audit *a = NULL;
	AUTO_FREE struct ops *ops = NULL;
	struct bpf_program *p;
	struct bpf_map *m;
	char text[512];
	int r;

	r = check_header(elf, len, reterr_fail);
	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	ops = calloc(1, sizeof(*ops));
	if (!a || !ops)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");

	words_begin(&words, text, sizeof(text));
	r = check_ops(elf, len, reterr_fail);
	if (r < 0)
		return r;
	obj = bpf_object__open_mem(elf, len, &opts);
	if (!obj)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"libbpf cannot read the object: %s",
				text[0] ? text : strerror(errno));
	if (!bpf_object__btf(obj))
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"libbpf finds no BTF in the object");

	/* Maps first: they say which struct_ops programs are in use. */
	bpf_object__for_each_map(m, obj) {
		r = audit_map(obj, m, a, ops, reterr_fail);
		if (r < 0)
			return r;
	}
	bpf_object__for_each_program(p, obj) {
		r = audit_program(p, ops, a, reterr_fail);
		if (r < 0)
			return r;
	}
	if (a->n_hooks == 0)
		return fail_set(reterr_fail, FAIL_BAD_OBJECT, "the object has no program");
	read_license(elf, len, a->license, sizeof(a->license));

	*ret_audit = *a;
	return 0;
}

static void describe(const struct hook *h, char *out, size_t size)
{
	snprintf(out, size, "%s%s/%s by %s%s%s", hook_type_name(h->type),
		 h->sleepable ? ".s" : "", h->target, h->program,
		 h->cc_name[0] ? " named " : "", h->cc_name);
}

/* First of a that is not (as often) in b. */
static const struct hook *missing(const struct hook *a, size_t n_a, const struct hook *b,
				  size_t n_b)
{
	size_t in_a, in_b;

	for (size_t i = 0; i < n_a; i++) {
		in_a = in_b = 0;
		for (size_t k = 0; k < n_a; k++)
			in_a += hook_equal(&a[i], &a[k]);
		for (size_t k = 0; k < n_b; k++)
			in_b += hook_equal(&a[i], &b[k]);
		if (in_a > in_b)
			return &a[i];
	}
	return NULL;
}

int audit_compare(const struct audit *a, const struct hook *declared, size_t n_declared,
		  struct fail *reterr_fail)
{
	const struct hook *h;
	char text[512];

	h = missing(a->hooks, a->n_hooks, declared, n_declared);
	if (h) {
		describe(h, text, sizeof(text));
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the object hooks %s, which the manifest does not declare",
				text);
	}
	h = missing(declared, n_declared, a->hooks, a->n_hooks);
	if (h) {
		describe(h, text, sizeof(text));
		return fail_set(reterr_fail, FAIL_BAD_OBJECT,
				"the manifest declares %s, which the object does not have",
				text);
	}
	return 0;
}
