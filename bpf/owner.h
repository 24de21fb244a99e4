// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf/owner.h -- the socket storage and what it says of a socket; bpf/tcp_cc.bpf.c writes it,
 * bpf/move.bpf.c looks for it. After <linux/bpf.h> and <bpf/bpf_helpers.h>.
 */
#pragma once

/*
 * In place of a serial: the socket had to leave for the kernel's Reno, because what was live
 * could not serve its registration. It is to come back when the registrations have changed.
 */
#define OWNER_AWAY (~0ULL)

/* Of "state": "own": the version that initialised the socket. */
struct owner {
	unsigned long long serial; /* an index may have got another version since */
	unsigned int index;
	unsigned int reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct owner);
} sockets SEC(".maps");
