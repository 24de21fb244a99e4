// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/live.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/engine.h"
#include "bpf/hotfix.bpf.h"
#include "bpf/pin.h"
#include "bpf/tcp_cc.h"

/* "<type>:<target>[:n]" */
static int parse_folder(const char *folder, struct live_slot *s)
{
	const char *colon = strchr(folder, ':'), *end;

	if (!colon || (size_t)(colon - folder) >= sizeof(s->type))
		return -EINVAL;
	end = strchrnul(colon + 1, ':');
	if ((size_t)(end - colon) > sizeof(s->target))
		return -EINVAL;
	snprintf(s->folder, sizeof(s->folder), "%s", folder);
	memcpy(s->type, folder, (size_t)(colon - folder));
	memcpy(s->target, colon + 1, (size_t)(end - colon - 1));
	s->struct_ops = strcmp(s->type, hook_type_name(HOOK_STRUCT_OPS)) == 0;
	return 0;
}

int live_slots(const char *bpffs, const char *name,
	       int (*fn)(const struct live_slot *s, void *cookie), void *cookie)
{
	struct dirent **entries = NULL;
	char path[PATH_MAX];
	int n, r = 0;

	snprintf(path, sizeof(path), "%s/%s/slots", bpffs, name);
	n = scandir(path, &entries, NULL, alphasort);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct live_slot s = {0};

		if (r == 0 && entries[i]->d_name[0] != '.' &&
		    parse_folder(entries[i]->d_name, &s) == 0) {
			engine_calls(bpffs, name, s.folder, s.calls);
			r = fn(&s, cookie);
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int open_map(const char *bpffs, const char *name, uint32_t index, const char *map,
		    enum bpf_map_type type, struct bpf_map_info *ret_info, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	char path[PATH_MAX];
	uint32_t len = sizeof(*ret_info);

	snprintf(path, sizeof(path), "%s/%s/v%u/%s", bpffs, name, index, map);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	memset(ret_info, 0, sizeof(*ret_info));
	if (bpf_map_get_info_by_fd(fd, ret_info, &len) < 0)
		return -EUCLEAN;
	if (ret_info->type != type)
		return -EUCLEAN;
	*ret_fd = take_fd(&fd);
	return 0;
}

int live_counters(const char *bpffs, const char *name, uint32_t index,
		  uint64_t ret_counters[LIVE_COUNTERS_MAX], size_t *ret_n)
{
	int cpus = libbpf_num_possible_cpus(), r;
	AUTO_FREE uint64_t *per_cpu = NULL;
	AUTO_CLOSE int fd = -1;
	struct bpf_map_info info;

	r = open_map(bpffs, name, index, "hotfix_counters", BPF_MAP_TYPE_PERCPU_ARRAY, &info,
		     &fd);
	if (r < 0)
		return r;
	if (info.key_size != sizeof(uint32_t) || info.value_size != sizeof(uint64_t))
		return -EUCLEAN;
	per_cpu = calloc((size_t)cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	*ret_n = info.max_entries < LIVE_COUNTERS_MAX ? info.max_entries : LIVE_COUNTERS_MAX;
	for (uint32_t key = 0; key < *ret_n; key++) {
		ret_counters[key] = 0;
		if (bpf_map_lookup_elem(fd, &key, per_cpu) < 0)
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			ret_counters[key] += per_cpu[cpu];
	}
	return 0;
}

static int open_control(const char *bpffs, const char *name, uint32_t index, int *ret_fd)
{
	AUTO_CLOSE int fd = -1;
	struct bpf_map_info info;
	int r = open_map(bpffs, name, index, "hotfix_control", BPF_MAP_TYPE_ARRAY, &info, &fd);

	if (r < 0)
		return r;
	if (info.value_size != sizeof(struct hotfix_control))
		return -EUCLEAN;
	*ret_fd = take_fd(&fd);
	return 0;
}

int live_set_enforce(const char *bpffs, const char *name, uint32_t index, bool enforce)
{
	struct hotfix_control control = {.mode = enforce ? HOTFIX_ENFORCE : HOTFIX_OBSERVE};
	AUTO_CLOSE int fd = -1;
	uint32_t key = 0;
	int r = open_control(bpffs, name, index, &fd);

	return r < 0 ? r : bpf_map_update_elem(fd, &key, &control, BPF_ANY);
}

int live_get_enforce(const char *bpffs, const char *name, uint32_t index, bool *ret_enforce)
{
	struct hotfix_control control;
	AUTO_CLOSE int fd = -1;
	uint32_t key = 0;
	int r = open_control(bpffs, name, index, &fd);

	if (r == 0)
		r = bpf_map_lookup_elem(fd, &key, &control);
	if (r < 0)
		return r;
	*ret_enforce = control.mode != HOTFIX_OBSERVE;
	return 0;
}

int live_cc_link(const char *bpffs, const char *name, int *ret_fd)
{
	char path[PATH_MAX];
	int r = pin_path(path, bpffs, name, "slots", TCP_CC_SLOT, "link", NULL);

	return r < 0 ? r : pin_open(PIN_LINK, path, ret_fd);
}

struct live_events {
	struct ring_buffer *ring;
	live_event_fn fn;
	void *cookie;
};

static int on_sample(void *cookie, void *data, size_t len)
{
	struct live_events *e = cookie;

	if (len >= sizeof(struct hotfix_event))
		e->fn(data, e->cookie);
	return 0;
}

int live_events_open(const char *bpffs, const char *name, uint32_t index, live_event_fn fn,
		     void *cookie, struct live_events **ret_events)
{
	AUTO(live_events_freep) struct live_events *e = NULL;
	AUTO_CLOSE int fd = -1;
	struct bpf_map_info info;
	int r;

	r = open_map(bpffs, name, index, "hotfix_events", BPF_MAP_TYPE_RINGBUF, &info, &fd);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->fn = fn;
	e->cookie = cookie;
	e->ring = ring_buffer__new(fd, on_sample, e, NULL);
	if (!e->ring)
		return -errno;
	*ret_events = take_ptr(e);
	return 0;
}

struct live_events *live_events_free(struct live_events *e)
{
	if (e)
		ring_buffer__free(e->ring);
	free(e);
	return NULL;
}

int live_events_fd(const struct live_events *e)
{
	return ring_buffer__epoll_fd(e->ring);
}

int live_events_read(struct live_events *e)
{
	return ring_buffer__consume(e->ring);
}
