// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/probe.h -- asks the kernel by loading: two instructions of any program type, an ops
 * map without members. Nothing is attached or registered. And what its answer means.
 *
 * Context    worker process or CLI; a program takes below 1 ms.
 * Errors     what bpf(2) said; probe_explain() words it, FAIL_INCOMPATIBLE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <bpf/bpf.h>

#include "bpf/vmlinux.h"
#include "lib/cleanup.h"
#include "lib/fail.h"

#define PROBE_LOG_BYTES 16384

struct probe {
	const struct vmlinux *vmlinux; /* NULL: no BTF */
	uint64_t caps;		       /* CapEff */
	bool namespaced; /* in a user namespace of its own: capabilities reach no BPF */
	char log[PROBE_LOG_BYTES];
};

int probe_new(struct probe **ret_probe); /* -ENOMEM */
struct probe *probe_free(struct probe *p);

bool probe_has_cap(const struct probe *p, int cap);
/* What the kernel asks of whoever loads tracing, LSM or struct_ops programs. */
bool probe_may_load(const struct probe *p);
/* Id of a function of vmlinux; 0: none. */
uint32_t probe_function(const struct probe *p, const char *name);

/* "return 0" as a program of this kind. btf_fd: of a module's BTF, 0 for vmlinux. */
int probe_program(struct probe *p, enum bpf_prog_type type, enum bpf_attach_type attach,
		  uint32_t btf_id, int btf_fd, uint32_t flags);
/* tcp_congestion_ops; *ret_links: a registration can be a link (Linux >= 6.4). */
int probe_ops(struct probe *p, bool *ret_links);
/* Why the last probe ended with err; what: the hook or kind in question. Returns -errno. */
int probe_explain(struct probe *p, const char *what, int err, struct fail *reterr_fail);

DEFINE_AUTO(struct probe, probe_free)
