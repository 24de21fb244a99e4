// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/watch.h -- the eyes on versions on trial: reads the host's facts once for all of
 * them, those of each hot-fix, and its probes, and has server/health.h judge them.
 *
 *	watch_new()	before the change touches the kernel: what the host was like
 *	watch_live()	it runs: from here on its own counters count
 *	watch_judge()	each tick, and once for "apply --commit"
 *
 * While nothing is watched the kernel's program statistics are off and nothing is open.
 *
 * Context    loop thread; nothing blocks but the start of a probe (a millisecond); the first
 *            watch reads the kernel's log once.
 * Errors     -ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/health.h"
#include "store/manifest.h"

struct watches; /* of one daemon */
struct watch;	/* of one trial */

struct crew; /* server/crew.h */

struct watches_opts {
	struct event_base *base;
	struct crew *crew;		/* starts probes */
	const char *root;		/* "" (see server/vitals.h) */
	const char *bpffs, *health_off; /* must outlive it */
	int log_fd;			/* of /dev/kmsg, or -1 */
};

int watches_new(const struct watches_opts *opts, struct watches **ret_watches);
struct watches *watches_free(struct watches *all);

/* began: NULL, or what watch_began() of a daemon before this one said. */
struct bundle; /* store/bundle.h */
int watch_new(struct watches *all, const struct bundle *bundle, const uint8_t *bytes,
	      size_t len, const json_t *began, struct watch **ret_watch);
struct watch *watch_free(struct watch *w);
/* The trial is over: only the findings are kept. */
void watch_stop(struct watch *w);
/* What a restarted daemon needs to judge by the same beginning. */
json_t *watch_began(const struct watch *w);
/* What the worker opened for bpf/meter.h: statistics first, then programs. Copied. */
void watch_take_fds(struct watch *w, const int *fds, size_t n);
void watch_live(struct watch *w, uint32_t index);
/* The loop was late by so much. */
void watch_stall(struct watch *w, uint64_t ms);

struct watch_verdict {
	enum health_verdict health;
	uint64_t calls;		      /* dispatched to the version, as far as known */
	char code[HEALTH_CODE_BYTES]; /* HEALTH_BAD */
	struct fail fail;	      /* HEALTH_BAD */
};
/* at_once: no probe runs, and what takes time is left out. */
void watch_judge(struct watch *w, bool at_once, bool lease_ended,
		 struct watch_verdict *ret_verdict);
/* Of the last watch_judge(): what was missing, in words; and all findings. */
void watch_explain_missing(const struct watch *w, char *ret_text, size_t len);
json_t *watch_findings(const struct watch *w);

DEFINE_AUTO(struct watches, watches_free)
DEFINE_AUTO(struct watch, watch_free)
