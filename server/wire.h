// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/wire.h -- what loop and parent say to each other, over a SOCK_SEQPACKET connection:
 * fixed records, descriptors beside them. The parent believes nothing that the loop says.
 *
 *	loop to parent				parent to loop
 *						HELLO uid gid pid (+ what is open), first of
 *						  all; or HELLO fail, and that is all
 *	START id op name index	-->
 *	  + bundle (sealed memfd), peer		STARTED id fail (+ answer)
 *						EXITED id wait-status
 *	KILL id			-->
 *						FOLDER (+ the folder in bpffs), before its STARTED
 *						STOP: somebody wants an end
 *
 * Context    any; wire_recv() blocks as its descriptor does.
 * Errors     -EBADMSG not a record of that size; -EPIPE nobody at the other end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fail.h"
#include "lib/hook.h"

#define WIRE_FDS_MAX  16
#define WIRE_OP_BYTES 16

/* Descriptors of the loop: its connection, and what comes with HELLO. */
enum {
	WIRE_FD = 3,
	WIRE_LISTEN_FD, /* bound, and not listening */
	WIRE_KMSG_FD,
	WIRE_FOLDER_FD,
	WIRE_LOCK_FD,
	WIRE_FDS_END
};

#define WIRE_GIVEN (WIRE_FDS_END - WIRE_LISTEN_FD)

enum wire_ask { WIRE_START = 1, WIRE_KILL };
enum wire_tell { WIRE_HELLO = 1, WIRE_FOLDER, WIRE_STARTED, WIRE_EXITED, WIRE_STOP };

#define WIRE_HAS_BUNDLE 1U
#define WIRE_HAS_PEER	2U

struct wire_request {
	uint32_t ask;
	uint32_t id; /* the loop's own name for a process, not 0 */
	uint32_t index;
	uint32_t has;
	char op[WIRE_OP_BYTES];
	char name[HOOK_NAME_MAX + 1]; /* "" none */
};

struct wire_event {
	uint32_t tell;
	uint32_t id;
	int32_t status; /* EXITED: as waitpid() has it */
	uint32_t uid, gid, pid;
	uint32_t given;	  /* HELLO: bit i for WIRE_LISTEN_FD + i, in that order */
	struct fail fail; /* HELLO, STARTED: why not; FAIL_NONE */
};

int wire_send(int fd, const void *record, size_t len, const int *fds, size_t n_fds);
/* Room for WIRE_FDS_MAX in ret_fds, which are close-on-exec and the caller's. 0 or -errno. */
int wire_recv(int fd, void *ret_record, size_t len, int *ret_fds, size_t *ret_n_fds);
/* read(2) of a stream with what comes along; what there is no room for is closed. */
ssize_t wire_read(int fd, void *ret_buf, size_t len, int *ret_fds, size_t *n_fds);
