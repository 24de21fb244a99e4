// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/cc_layout.h"
#include "bpf/pin.h"
#include "bpf/tcp_cc.h"
#include "lib/hook.h"

#define PROGRAMS_MAX (HOOK_MAX + CC_MEMBERS)

struct meter {
	uint32_t index;
	const int *ops; /* while it is opened */
	size_t n_ops;
	int cpus;
	size_t n_programs, n_slots;
	struct {
		int fd;
		bool deny;
	} programs[PROGRAMS_MAX];
	int calls[HOOK_MAX]; /* of each slot: per CPU array, index -> calls */
};

int meter_on(int *ret_fd)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* Consumes fd. */
static int add_program(struct meter *m, int fd, bool deny)
{
	if (fd < 0)
		return -errno;
	if (m->n_programs == ARRAY_SIZE(m->programs)) {
		close(fd);
		return -E2BIG;
	}
	m->programs[m->n_programs].fd = fd;
	m->programs[m->n_programs++].deny = deny;
	return 0;
}

static int add_pinned(struct meter *m, const char *folder, const char *pin, bool deny)
{
	char path[PATH_MAX];
	int fd = -1, r;

	r = pin_path(path, folder, pin, NULL);
	if (r == 0)
		r = pin_open(PIN_PROGRAM, path, &fd);
	return r < 0 ? r : add_program(m, fd, deny);
}

/* The value of an ops map names the program of each member by its id. */
static int open_ops(const char *folder, int ret_fds[METER_OPS_MAX], size_t *ret_n)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), zero = 0;
	AUTO_FREE uint8_t *value = NULL;
	struct cc_layout layout;
	AUTO_CLOSE int ops = -1;
	char path[PATH_MAX];
	int r;

	r = pin_path(path, folder, "ops", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &ops);
	if (r == 0)
		r = cc_layout_read(folder, &layout);
	if (r < 0)
		return r;
	if (bpf_map_get_info_by_fd(ops, &info, &len) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_STRUCT_OPS || info.value_size != layout.value_size)
		return -EUCLEAN;
	value = calloc(1, info.value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(ops, &zero, value) < 0)
		return -errno;
	for (size_t i = 0; i < CC_MEMBERS && *ret_n < METER_OPS_MAX; i++) {
		unsigned long id;
		int fd;

		if (layout.index_of[i] < 0)
			continue;
		memcpy(&id, value + layout.member_at[i], sizeof(id));
		if (!id)
			continue;
		fd = bpf_prog_get_fd_by_id((uint32_t)id);
		if (fd < 0)
			return -errno;
		ret_fds[(*ret_n)++] = fd;
	}
	return 0;
}

int meter_ops(const char *bpffs, const char *name, int ret_fds[METER_OPS_MAX], size_t *ret_n)
{
	char folder[PATH_MAX];
	int r;

	*ret_n = 0;
	r = pin_path(folder, bpffs, name, "slots", TCP_CC_SLOT, NULL);
	if (r == 0)
		r = open_ops(folder, ret_fds, ret_n);
	if (r == 0 || r == -ENOENT)
		return 0;
	while (*ret_n)
		close(ret_fds[--*ret_n]);
	return r;
}

static int add_ops(struct meter *m)
{
	int r = m->n_ops ? 0 : -ENODATA;

	for (size_t i = 0; r == 0 && i < m->n_ops; i++)
		r = add_program(m, fcntl(m->ops[i], F_DUPFD_CLOEXEC, 0), false);
	return r;
}

/* "<type>:<target>[:n]" */
static bool is_of(const char *slot, enum hook_type type)
{
	size_t len = strlen(hook_type_name(type));

	return strncmp(slot, hook_type_name(type), len) == 0 && slot[len] == ':';
}

static int add_slot(struct meter *m, const char *slots, const char *slot)
{
	char folder[PATH_MAX], path[PATH_MAX];
	int r;

	if (m->n_slots == ARRAY_SIZE(m->calls))
		return -E2BIG;
	r = pin_path(folder, slots, slot, NULL);
	if (r == 0)
		r = pin_path(path, folder, "calls", NULL);
	if (r == 0)
		r = pin_open(PIN_MAP, path, &m->calls[m->n_slots]);
	if (r < 0)
		return r;
	m->n_slots++;
	return is_of(slot, HOOK_STRUCT_OPS)
		       ? add_ops(m)
		       : add_pinned(m, folder, "dispatcher", is_of(slot, HOOK_FMOD_RET));
}

static int add_overlap(struct meter *m, const char *overlap, const char *slot)
{
	char folder[PATH_MAX];
	int r = pin_path(folder, overlap, slot, NULL);

	return r < 0 ? r : add_pinned(m, folder, "program", is_of(slot, HOOK_FMOD_RET));
}

static int each_name(struct meter *m, const char *folder,
		     int (*add)(struct meter *m, const char *folder, const char *name))
{
	AUTO_NAMES char **names = NULL;
	int r = pin_names(folder, &names);

	for (size_t i = 0; r == 0 && names[i]; i++)
		r = add(m, folder, names[i]);
	return r;
}

int meter_open(const char *bpffs, const char *name, uint32_t index, const int *ops,
	       size_t n_ops, struct meter **ret_meter)
{
	AUTO(meter_freep) struct meter *m = calloc(1, sizeof(*m));
	char path[PATH_MAX], version[16];
	int r;

	if (!m)
		return -ENOMEM;
	m->index = index;
	m->ops = ops;
	m->n_ops = n_ops;
	m->cpus = libbpf_num_possible_cpus();
	snprintf(version, sizeof(version), "v%u", index);
	r = pin_path(path, bpffs, name, "slots", NULL);
	if (r == 0)
		r = each_name(m, path, add_slot);
	if (r == 0)
		r = pin_path(path, bpffs, name, version, "overlap", NULL);
	if (r == 0)
		r = each_name(m, path, add_overlap);
	if (r == 0 && m->n_programs == 0)
		r = -ENOENT;
	if (r < 0)
		return r;
	*ret_meter = take_ptr(m);
	return 0;
}

struct meter *meter_free(struct meter *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < m->n_programs; i++)
		close(m->programs[i].fd);
	for (size_t i = 0; i < m->n_slots; i++)
		close(m->calls[i]);
	free(m);
	return NULL;
}

int meter_read(const struct meter *m, struct meter_reading *ret_reading)
{
	struct meter_reading reading = {0};
	AUTO_FREE uint64_t *calls = calloc((size_t)m->cpus, sizeof(*calls));

	if (!calls)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_slots; i++) {
		if (bpf_map_lookup_elem(m->calls[i], &m->index, calls) < 0)
			return -errno;
		for (int cpu = 0; cpu < m->cpus; cpu++)
			reading.dispatched += calls[cpu];
	}
	for (size_t i = 0; i < m->n_programs; i++) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		if (bpf_prog_get_info_by_fd(m->programs[i].fd, &info, &len) < 0)
			return -errno;
		reading.calls += info.run_cnt;
		reading.run_ns += info.run_time_ns;
		reading.programs += info.id;
		if (!m->programs[i].deny)
			continue;
		reading.deny_hooks++;
		reading.misses += info.recursion_misses;
	}
	*ret_reading = reading;
	return 0;
}
