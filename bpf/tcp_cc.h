// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/tcp_cc.h -- the slot of a congestion control: one tcp_congestion_ops per hot-fix,
 * whose members are dispatchers (bpf/tcp_cc.bpf.c), its registration with the kernel
 * and the default algorithm. <bpffs>/<name>/slots/struct_ops:tcp_congestion_ops/ has
 *
 *	versions_<member>	PROG_ARRAY, index -> version's member program
 *	calls			per CPU array, index -> calls dispatched to it
 *	sockets			socket storage of "state": "own"
 *	ops			the registered ops (a struct_ops map)
 *	link			its registration; before Linux 6.4 the ops map itself is it
 *	ops_new, link_new	while one registration replaces another
 *	ops_old			what was registered before, until nothing uses it any more
 *	ready_<index>/		ops made when index was staged, or the programs for them
 *	layout			what this kernel's ops look like
 *
 * Live and new sockets follow the gate. A registration changes only when a version needs
 * other members, another name or other flags than the one before.
 *
 * Context    worker process; 10 to 100 ms, more with many live sockets (bpf/cc_leave.h).
 * Errors     FAIL_CONFLICT the name is taken; FAIL_ATTACH, FAIL_LOAD, FAIL_INCOMPATIBLE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/cc_leave.h"
#include "bpf/gate.h"
#include "bpf/load.h"
#include "lib/fail.h"

#define TCP_CC_SLOT "struct_ops:" OPS_TYPE_TCP_CC

/* What settling must know of this version; refuses members that no dispatcher knows. */
int tcp_cc_describe(const struct load *l, const struct engine_version *v,
		    struct gate_version *ret_facts, struct fail *reterr_fail);
/* Is the name free? Loads dispatchers of this shape and drops them. */
int tcp_cc_try(const char *bpffs, const char *name, const struct gate_version *facts,
	       struct fail *reterr_fail);

int tcp_cc_enter(const char *bpffs, const char *name, struct gate *g, const struct load *l,
		 const struct gate_version *facts, uint32_t index, struct fail *reterr_fail);
int tcp_cc_clear(const char *bpffs, const char *name, uint32_t index);
/*
 * Registered as index needs it, default taken or given back, live sockets moved from a
 * registration that was to the one that is; index 0: not registered.
 */
int tcp_cc_settle(const char *bpffs, const char *name, struct gate *g, uint32_t index,
		  struct cc_left *left, struct fail *reterr_fail);
/* Before a version with state of its own goes: its sockets become the live one's. */
int tcp_cc_leave_version(const char *bpffs, const char *name, struct gate *g, uint32_t index,
			 struct cc_left *left);
/* Default given back, not registered, no socket left on it, no pins. */
int tcp_cc_remove(const char *bpffs, const char *name, struct gate *g, struct cc_left *left,
		  struct fail *reterr_fail);

/* For the survey: what the pins say is registered. */
struct tcp_cc_state {
	bool registered, is_link, is_default;
	bool unfinished; /* something may use the registration before */
	char cc_name[HOOK_CC_NAME_BYTES];
	uint32_t shape;
};
int tcp_cc_state(const char *bpffs, const char *name, struct gate *g,
		 struct tcp_cc_state *ret_state); /* g may be NULL */
