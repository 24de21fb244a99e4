// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/move.h"

#include <errno.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/words.h"

extern const uint8_t move_bpf_o[], move_bpf_o_end[];

/* Sockets may come and go meanwhile; those that came by the old name are few. */
#define PASSES_MAX 16

struct move {
	struct bpf_object *obj;
	struct bpf_link *link;
	int job;
};

static int load(struct move *m, const char *program, int owners)
{
	struct bpf_program *p;
	int r;

	m->obj = bpf_object__open_mem(move_bpf_o, move_bpf_o_end - move_bpf_o, NULL);
	if (!m->obj)
		return -errno;
	r = bpf_map__reuse_fd(bpf_object__find_map_by_name(m->obj, "sockets"), owners);
	bpf_object__for_each_program(p, m->obj)
		if (r == 0)
			r = bpf_program__set_autoload(
				p, strcmp(bpf_program__name(p), program) == 0);
	if (r == 0)
		r = bpf_object__load(m->obj);
	if (r < 0)
		return r;
	m->link = bpf_program__attach_iter(bpf_object__find_program_by_name(m->obj, program),
					   NULL);
	if (!m->link)
		return -errno;
	m->job = bpf_map__fd(bpf_object__find_map_by_name(m->obj, ".data.job"));
	return 0;
}

int move_open(int owners, bool reenter, struct move **ret_move)
{
	AUTO(move_freep) struct move *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	words_quiet();
	r = load(m, reenter ? "reenter" : "move", owners);
	if (r < 0)
		return r;
	*ret_move = take_ptr(m);
	return 0;
}

struct move *move_free(struct move *m)
{
	if (!m)
		return NULL;
	bpf_link__destroy(m->link);
	bpf_object__close(m->obj);
	free(m);
	return NULL;
}

/* The program writes nothing: reading only makes it run, to the end of all sockets. */
static int pass(struct move *m)
{
	AUTO_CLOSE int fd = bpf_iter_create(bpf_link__fd(m->link));
	char buf[64];
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	return n < 0 ? -errno : 0;
}

int move_sockets(struct move *m, struct move_job *job)
{
	uint64_t before;
	uint32_t zero = 0;
	int r;

	for (int i = 0; i < PASSES_MAX; i++) {
		before = job->moved;
		job->left = 0;
		if (bpf_map_update_elem(m->job, &zero, job, 0) < 0)
			return -errno;
		r = pass(m);
		if (r == 0 && bpf_map_lookup_elem(m->job, &zero, job) < 0)
			r = -errno;
		if (r < 0 || job->moved == before)
			return r;
	}
	return 0;
}
