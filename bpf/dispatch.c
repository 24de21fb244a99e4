// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/dispatch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/words.h"
#include "lib/cleanup.h"

#define LOG_BYTES (64U << 10)

DEFINE_AUTO(struct bpf_object, bpf_object__close)

struct loading {
	const struct dispatch_object *o;
	struct dispatch_program *programs;
	size_t n;
};

static struct dispatch_program *program_of(struct loading *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->programs[i].name, name) == 0)
			return &l->programs[i];
	return NULL;
}

static int patch_kfuncs(const struct dispatch_object *o, struct bpf_program *p)
{
	AUTO_FREE struct bpf_insn *insns = NULL;
	size_t n = bpf_program__insn_cnt(p);

	insns = malloc(n * sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	memcpy(insns, bpf_program__insns(p), n * sizeof(*insns));
	for (size_t i = 0; i < n; i++) {
		uint32_t k = (uint32_t)insns[i].imm - DISPATCH_RENO_SSTHRESH;

		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg != 0 ||
		    k >= DISPATCH_KFUNCS)
			continue;
		insns[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
		insns[i].imm = o->kfuncs[k];
		insns[i].off = 0; /* vmlinux, not a module */
	}
	return bpf_program__set_insns(p, insns, n);
}

/*
 * libbpf parses the kernel's BTF for a program of these types before it loads any. Ours
 * come as socket filters and get their type here, when libbpf is about to load them.
 */
static int on_prepare(struct bpf_program *p, struct bpf_prog_load_opts *opts, long cookie)
{
	struct loading *l = (struct loading *)cookie;
	const struct dispatch_program *d = program_of(l, bpf_program__name(p));
	int r;

	if (!d)
		return -ENOENT;
	if (l->o->kfuncs) {
		r = patch_kfuncs(l->o, p);
		if (r < 0)
			return r;
	}
	opts->attach_btf_id = d->btf_id;
	opts->attach_btf_obj_fd = d->btf_fd;
	r = bpf_program__set_type(p, d->type);
	return r < 0 ? r : bpf_program__set_expected_attach_type(p, d->attach_type);
}

static struct dispatch_map *map_of(const struct dispatch_object *o, const char *name)
{
	for (size_t i = 0; i < o->n_maps; i++)
		if (strcmp(o->maps[i].name, name) == 0)
			return &o->maps[i];
	return NULL;
}

static int set_maps(const struct dispatch_object *o, struct bpf_object *obj)
{
	const struct dispatch_map *d;
	struct bpf_map *m;
	size_t size;
	void *value;
	int r;

	bpf_object__for_each_map(m, obj) {
		d = map_of(o, bpf_map__name(m));
		if (d) {
			r = d->fd >= 0 ? bpf_map__reuse_fd(m, d->fd) : 0;
		} else if (strcmp(bpf_map__name(m), ".rodata.own") == 0) {
			value = bpf_map__initial_value(m, &size);
			if (!value || size != sizeof(uint32_t))
				return -EINVAL;
			*(uint32_t *)value = o->own_state;
			r = 0;
		} else {
			r = bpf_map__set_autocreate(m, false);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int keep_fd(int fd, int *ret_fd)
{
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? -errno : 0;
}

/* The object is closed afterwards; what the caller wants of it stays. */
static int keep(struct loading *l, struct bpf_object *obj)
{
	struct dispatch_program *d;
	struct dispatch_map *dm;
	struct bpf_program *p;
	struct bpf_map *m;
	int r = 0;

	bpf_object__for_each_program(p, obj) {
		d = program_of(l, bpf_program__name(p));
		if (d && r == 0)
			r = keep_fd(bpf_program__fd(p), &d->ret_fd);
	}
	bpf_object__for_each_map(m, obj) {
		dm = map_of(l->o, bpf_map__name(m));
		if (dm && dm->fd < 0 && r == 0)
			r = keep_fd(bpf_map__fd(m), &dm->fd);
	}
	return r;
}

static int load(struct loading *l, char *log)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "hotfix", .kernel_log_buf = log,
		    .kernel_log_size = LOG_BYTES);
	AUTO(bpf_object__closep) struct bpf_object *obj = NULL;
	struct dispatch_program *d;
	struct bpf_program *p;
	size_t found = 0;
	int r;

	obj = bpf_object__open_mem(l->o->elf, l->o->len, &opts);
	if (!obj)
		return -errno;
	bpf_object__for_each_program(p, obj) {
		d = program_of(l, bpf_program__name(p));
		found += d != NULL;
		r = bpf_program__set_autoload(p, d != NULL);
		if (r < 0)
			return r;
	}
	if (found != l->n)
		return -ENOENT;
	r = set_maps(l->o, obj);
	if (r < 0)
		return r;
	r = bpf_object__load(obj);
	if (r < 0)
		return r;
	return keep(l, obj);
}

int dispatch_load(const struct dispatch_object *o, struct dispatch_program *programs, size_t n,
		  struct fail *reterr_fail)
{
	struct loading l = {.o = o, .programs = programs, .n = n};
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .cookie = (long)&l,
		    .prog_prepare_load_fn = on_prepare);
	AUTO_WORDS struct words words = {0};
	AUTO_FREE char *log = NULL;
	char text[1024];
	int handler;
	int r;

	for (size_t i = 0; i < n; i++)
		programs[i].ret_fd = -1;
	log = calloc(1, LOG_BYTES);
	if (!log)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	words_begin(&words, text, sizeof(text));
	handler =
		libbpf_register_prog_handler("hotfix+", BPF_PROG_TYPE_SOCKET_FILTER, 0, &opts);
	if (handler < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"libbpf takes no section handler: %s", strerror(-handler));
	r = load(&l, log);
	libbpf_unregister_prog_handler(handler);
	if (r == 0)
		return 0;

	for (size_t i = 0; i < n; i++)
		if (programs[i].ret_fd >= 0)
			close(take_fd(&programs[i].ret_fd));
	return fail_set(reterr_fail, FAIL_LOAD,
			"the dispatcher for %s cannot be loaded: %s: %s", programs[0].name,
			strerror(-r), log[0] ? log : text);
}
