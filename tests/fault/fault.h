// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/fault/fault.h -- what fault.so, which is loaded into hotfixd and its workers, and the
 * program that plays with them tell each other: one page of shared memory, $FAULT_FILE.
 *
 * A step is a call that changed the kernel, bpffs or the disk, or a store into a gate; it has
 * a name that says who did it, and to what:
 *
 *	daemon: fdatasync state.db-wal		the first of this play
 *	daemon: fdatasync state.db-wal #2	the second
 *	daemon: gate word			a store; seen at the next call of that process
 *	worker stage: pin slots/fmod_ret:security_task_getsid/link
 *
 * Equal calls in a row are one step. Death strikes right after a step; that is right before
 * the next one, since nothing that outlives a process happens in between. What stays untested
 * by construction lies between two stores into one gate without a call between them:
 * gate_begin_trial() (a deadline without its trial means nothing) and gate_set_version() (an
 * index without its serial does not exist).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULT_STEPS_MAX	 400
#define FAULT_STEP_BYTES 128

enum fault_death {
	FAULT_NONE,
	FAULT_ONE, /* the process that did the step dies */
	FAULT_ALL, /* the daemon dies, and with it its workers */
};

/* Calls that can be made to fail, by kind. */
enum fault_kind {
	FAULT_SPACE = 1,  /* of the state directory: what needs space, and syncs */
	FAULT_DISK = 2,	  /* other changes of files */
	FAULT_KERNEL = 4, /* bpf(2) and bpffs */
	FAULT_MEMORY = 8, /* malloc, calloc, realloc */
};

struct fault {
	_Atomic unsigned int play; /* changes with each; steps are numbered anew */
	_Atomic unsigned int n_steps;
	_Atomic unsigned int death; /* enum fault_death */
	_Atomic bool struck;
	_Atomic bool answers; /* answers to a client are steps, too */
	/* The nth call of these kinds fails: */
	_Atomic unsigned int kinds;
	_Atomic unsigned int nth; /* 0: none */
	_Atomic unsigned int calls;
	_Atomic int error;	/* errno */
	_Atomic bool lasting;	/* and all after it */
	_Atomic bool in_worker; /* else in the daemon */
	_Atomic int loop;	/* its pid: with it, all of the daemon dies */
	char at[FAULT_STEP_BYTES];
	char steps[FAULT_STEPS_MAX][FAULT_STEP_BYTES];
};
