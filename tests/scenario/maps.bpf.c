// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * All maps of the kernel, for `act maps`, without opening one. Closing a PROG_ARRAY that was
 * opened by its id while it went makes the kernel keep it (DESIGN.md, facts found on the way).
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tests/scenario/maps.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_map {
	__u32 id;
	char name[MAPS_NAME_BYTES];
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __attribute__((preserve_access_index));

SEC("iter/bpf_map")
int each(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	struct maps_entry e = {0};

	if (!map)
		return 0;
	e.id = map->id;
	bpf_probe_read_kernel_str(e.name, sizeof(e.name), map->name);
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}
