// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/fault/world.h -- one hotfixd with fault.so in it, the hot-fix it changes, and what can
 * be said of both from outside: by what runs, by what the kernel holds, by what is pinned, by
 * what the database says and by what status tells.
 *
 * Errors     false, with the reason in w->why
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "tests/fault/fault.h"

#define WORLD_IDS_MAX  1024
#define WORLD_TRIAL_MS 61000 /* of a trial that is meant to go on; no manifest asks for it */

struct ids {
	uint32_t ids[WORLD_IDS_MAX];
	size_t n;
};

struct census {
	struct ids programs, maps, links;
};

struct world {
	const char *hotfixd; /* program */
	const char *library; /* fault.so */
	const char *folder;  /* of everything below */
	const char *bpffs;   /* folder for pins */
	const char *bundles; /* NAME@1.hotfix, NAME@2.hotfix, root */
	const char *name;    /* of the hot-fix; also says how to see what runs */
	bool alone;	     /* nobody else loads programs here */
	char state[200], sock[200], log[200], file[200];
	off_t log_at_start, log_at_mark;
	pid_t pid; /* of the daemon; 0 none */
	struct fault *fault;
	struct census before;
	char why[600];
};

bool world_open(struct world *w);
/* The daemon ended, nothing in the kernel, no state directory. */
void world_wipe(struct world *w);
/* What a power cycle does to a kernel: no pin, no registration. The daemon must have ended. */
void world_wipe_kernel(struct world *w);

/* Returns when it is ready; false when it ended before (w->pid is 0 then). */
bool world_start(struct world *w);
void world_kill(struct world *w);
/* Did it say anything since the mark? */
void world_mark(struct world *w);
bool world_said_why(struct world *w);
/* Has it died? */
bool world_is_dead(struct world *w);

enum answer { ANSWER_OK, ANSWER_REFUSED, ANSWER_NONE, ANSWER_LATE };
/* POST (or DELETE) PATH; body may be NULL. why has the words of a refusal. */
enum answer world_ask(struct world *w, const char *method, const char *path, const char *body);
enum answer world_import(struct world *w); /* both versions */
bool world_trust(struct world *w);

/* Which serial runs, judged by what it does; -1 it behaves like neither. */
int world_runs(struct world *w);
/* "state" of status, as soon as no change is under way (a trial is one that may go on). */
bool world_status(struct world *w, char ret_state[24]);
/* Everything that must hold whenever nothing is under way. */
bool world_holds(struct world *w, int *ret_runs, char ret_state[24]);
