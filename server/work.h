// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/work.h -- the worker's side of server/worker.h: gives up what its operation does not
 * need, verifies the bundle again, from the very bytes that are then loaded and under the root
 * of trust that the parent opened, does one thing to the kernel, answers, exits.
 *
 *	fd 0   /dev/null	fd 3   request of the parent, JSON (sealed memfd)
 *	fd 1   answer		fd 4   bundle or root, or nothing (sealed memfd)
 *	fd 2   our stderr	fd 5   the root of trust in force, or nothing
 *				fd 6   the state lock: as long as a worker lives, no other
 *				       daemon takes over this state
 *				fd 7   the folder in bpffs, or nothing
 *				fd 8   op "trust": where the root is kept
 *				fd 9   op "trust": whose wish the first root is, or nothing
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	WORK_FD_ANSWER = 1,
	WORK_FD_REQUEST = 3,
	WORK_FD_BUNDLE,
	WORK_FD_ROOT,
	WORK_FD_LOCK,
	WORK_FD_FOLDER,
	WORK_FD_TRUST,
	WORK_FD_PEER,
};

#define WORK_FOLDER    "." /* once work_enter_folder() was called */
#define WORK_ROOT_FILE "root"

struct work;
struct fail;
struct json_t;

struct work_op {
	const char *op;
	int (*fn)(struct work *w, struct json_t **ret_report, struct fail *reterr_fail);
	uint64_t keep;	   /* capabilities */
	bool takes_name;   /* of a hot-fix */
	bool changes;	   /* pins: the folder must be there and held */
	bool leads;	   /* a session of its own; its answer is what it prints */
	bool writes_trust; /* stays root, without any capability */
};

/* NULL: there is none of that name. */
const struct work_op *work_op_of(const char *op);
/* The folder in bpffs that the parent holds becomes the current one, whatever its path leads
 * through. False: none was given. */
bool work_enter_folder(void);
/* Has whoever started this process given it a request? */
bool work_is_worker(void);
/* Exit status: 0 when an answer was written. */
int work_main(void);
