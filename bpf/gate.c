// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/gate.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "bpf/pin.h"

struct gate {
	int fd;
	struct gate_value *value; /* mapped, shared with the kernel and other processes */
};

_Static_assert(sizeof(struct gate_version) == 64, "the layout is shared with BPF");
_Static_assert(offsetof(struct gate_value, version) == 24, "the layout is shared with BPF");

#define INDEX(i) ((i) & (GATE_VERSIONS - 1))

static uint64_t load(const gate_u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* On every architecture with 64-bit BPF this is one store instruction. */
static void store(gate_u64 *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int check_map(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	if (bpf_map_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.key_size != sizeof(uint32_t) ||
	    info.value_size != sizeof(struct gate_value) || info.max_entries != 1 ||
	    info.map_flags != BPF_F_MMAPABLE)
		return -EUCLEAN;
	return 0;
}

static int gate_from_fd(int fd, struct gate **ret_gate)
{
	AUTO(gate_freep) struct gate *g = NULL;
	void *p;
	int r;

	g = calloc(1, sizeof(*g));
	if (!g) {
		close(fd);
		return -ENOMEM;
	}
	g->fd = fd;
	r = check_map(fd);
	if (r < 0)
		return r;
	p = mmap(NULL, sizeof(*g->value), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	g->value = p;

	*ret_gate = take_ptr(g);
	return 0;
}

int gate_open(const char *bpffs, const char *name, struct gate **ret_gate)
{
	AUTO(gate_freep) struct gate *g = NULL;
	char path[PATH_MAX];
	int fd;
	int r;

	r = pin_path(path, bpffs, name, "gate", NULL);
	if (r < 0)
		return r;
	r = pin_open(PIN_MAP, path, &fd);
	if (r < 0)
		return r;
	r = gate_from_fd(fd, &g);
	if (r < 0)
		return r;
	if (load(&g->value->magic) != GATE_MAGIC)
		return -EUCLEAN;

	*ret_gate = take_ptr(g);
	return 0;
}

int gate_map_make(int *ret_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "hotfix_gate", sizeof(uint32_t),
			    sizeof(struct gate_value), 1, &opts);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int gate_make(const char *bpffs, const char *name, struct gate **ret_gate)
{
	AUTO(gate_freep) struct gate *g = NULL;
	char path[PATH_MAX];
	int fd;
	int r;

	r = gate_open(bpffs, name, ret_gate);
	if (r != -ENOENT)
		return r;
	r = pin_path(path, bpffs, name, "gate", NULL);
	if (r < 0)
		return r;
	r = gate_map_make(&fd);
	if (r < 0)
		return r;
	r = gate_from_fd(fd, &g);
	if (r < 0)
		return r;
	store(&g->value->magic, GATE_MAGIC);
	if (bpf_obj_pin(g->fd, path) < 0)
		return -errno;

	*ret_gate = take_ptr(g);
	return 0;
}

struct gate *gate_free(struct gate *g)
{
	if (!g)
		return NULL;
	if (g->value)
		munmap(g->value, sizeof(*g->value));
	close(g->fd);
	free(g);
	return NULL;
}

int gate_fd(const struct gate *g)
{
	return g->fd;
}

uint32_t gate_committed(const struct gate *g)
{
	return INDEX((uint32_t)load(&g->value->word));
}

uint32_t gate_trial(const struct gate *g)
{
	return INDEX(load(&g->value->word) >> 32);
}

uint64_t gate_deadline_ns(const struct gate *g)
{
	return load(&g->value->trial_deadline_ns);
}

uint32_t gate_live(const struct gate *g, uint64_t now_ns)
{
	uint64_t word = load(&g->value->word);
	uint32_t trial = INDEX(word >> 32);

	return trial && now_ns < gate_deadline_ns(g) ? trial : INDEX((uint32_t)word);
}

struct gate_version gate_version(const struct gate *g, uint32_t index)
{
	struct gate_version v = {0};

	if (index > 0 && index < GATE_VERSIONS && load(&g->value->version[index].serial))
		v = g->value->version[index];
	v.cc_name[GATE_CC_BYTES - 1] = 0;
	return v;
}

uint32_t gate_index_of(const struct gate *g, uint64_t serial)
{
	for (uint32_t i = 1; serial && i < GATE_VERSIONS; i++)
		if (load(&g->value->version[i].serial) == serial)
			return i;
	return 0;
}

uint32_t gate_pick_index(const struct gate *g, uint32_t keep)
{
	uint32_t used = 0;

	keep |= 1U << gate_committed(g) | 1U << gate_trial(g) | 1U;
	for (uint32_t i = 1; i < GATE_VERSIONS; i++) {
		if (keep & 1U << i)
			continue;
		if (!load(&g->value->version[i].serial))
			return i;
		if (!used)
			used = i;
	}
	return used;
}

void gate_begin_trial(struct gate *g, uint32_t index, uint64_t deadline_ns)
{
	uint32_t committed = gate_committed(g);

	store(&g->value->word, committed);
	store(&g->value->trial_deadline_ns, deadline_ns);
	store(&g->value->word, (uint64_t)INDEX(index) << 32 | committed);
}

int gate_renew(struct gate *g, uint64_t now_ns, uint64_t margin_ns, uint64_t deadline_ns)
{
	uint64_t current = gate_deadline_ns(g);

	if (!gate_trial(g) || current < margin_ns || now_ns >= current - margin_ns)
		return -ETIME;
	store(&g->value->trial_deadline_ns, deadline_ns);
	return 0;
}

void gate_commit(struct gate *g, uint32_t index)
{
	store(&g->value->word, INDEX(index));
}

void gate_set_version(struct gate *g, uint32_t index, const struct gate_version *v)
{
	struct gate_version *to = &g->value->version[INDEX(index)];

	if (INDEX(index) == 0)
		return;
	store(&to->serial, 0);
	if (!v)
		return;
	memcpy(to->digest, v->digest, sizeof(to->digest));
	to->flags = v->flags;
	memcpy(to->cc_name, v->cc_name, sizeof(to->cc_name));
	store(&to->serial, v->serial);
}

void gate_cc_previous(const struct gate *g, char ret_cc[GATE_CC_BYTES])
{
	memcpy(ret_cc, g->value->cc_previous, GATE_CC_BYTES);
	ret_cc[GATE_CC_BYTES - 1] = 0;
}

void gate_set_cc_previous(struct gate *g, const char *cc)
{
	char padded[GATE_CC_BYTES] = "";

	/* Cut, not refused: names come from the kernel, which has the same limit. */
	strncpy(padded, cc, sizeof(padded) - 1);
	memcpy(g->value->cc_previous, padded, sizeof(padded));
}
