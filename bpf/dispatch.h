// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/dispatch.h -- loads dispatchers (bpf/dispatcher.bpf.c, bpf/tcp_cc.bpf.c) for a target
 * whose BTF id is known already.
 *
 * Context    worker process; a few ms.
 * Errors     FAIL_LOAD with the verifier's reason (a bug of ours or a kernel that differs).
 * Ownership  the file descriptors in ret_fd are the caller's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>

#include "lib/fail.h"

/* Calls in tcp_cc.bpf.c that become calls of the kernel's functions of these BTF ids. */
#define DISPATCH_RENO_SSTHRESH	 0x68660001
#define DISPATCH_RENO_CONG_AVOID 0x68660002
#define DISPATCH_RENO_UNDO_CWND	 0x68660003
#define DISPATCH_KFUNCS		 3

struct dispatch_program {
	const char *name; /* in the object */
	enum bpf_prog_type type;
	enum bpf_attach_type attach_type;
	uint32_t btf_id;
	int btf_fd; /* 0: vmlinux; else the module's BTF */
	int ret_fd; /* -1 until loaded */
};

struct dispatch_map {
	const char *name;
	int fd; /* -1: made by loading; the caller's afterwards */
};

struct dispatch_object {
	const uint8_t *elf;
	size_t len;
	struct dispatch_map *maps; /* every map that the programs use */
	size_t n_maps;
	const uint32_t *kfuncs; /* DISPATCH_KFUNCS ids, or NULL */
	bool own_state;
};

int dispatch_load(const struct dispatch_object *o, struct dispatch_program *programs, size_t n,
		  struct fail *reterr_fail);
