// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/losses.h -- what has gone wrong in the whole fleet lately, whoever rolls out what:
 * the judge of the breaker. A pure function of what hosts reported, silence, and time.
 *
 * Oopses   A host whose kernel oopsed, or that crashed in a rollout, counts once a minute: one
 *          broken machine stops nobody.
 * Silence  Of a failure domain, the share of hosts that fell silent within LOSSES_RECENT_MS. Who was
 *          silent before is not there, and belongs to no share.
 *
 * Context    any; no clock, no I/O. A host costs O(log hosts), the verdict O(hosts).
 * Errors     -ENOMEM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define LOSSES_RECENT_MS    600000
#define LOSSES_DOMAIN_BYTES 64
#define LOSSES_WHY_BYTES    200

struct losses_opts {
	uint64_t oopses; /* hosts a minute that are one too many with one more; 0: not judged */
	uint64_t percent; /* of a domain that may fall silent; 0: not judged */
	uint64_t hosts;	  /* and so many at least */
};

struct losses_host {
	const char *id, *domain, *boot_id;
	uint64_t oopses; /* since it booted */
	bool crashed;	 /* and says so itself */
};

struct losses;

int losses_new(const struct losses_opts *opts, struct losses **ret_losses);
struct losses *losses_free(struct losses *l);
/* What it says now; the first time is what all that follows is compared with. */
int losses_report(struct losses *l, const struct losses_host *h, uint64_t now_ms);
void losses_forget(struct losses *l, const char *id);
/* All who are silent now, one after the other, between two verdicts. */
void losses_silent(struct losses *l, const char *id, uint64_t silent_ms, uint64_t now_ms);
/* What happened until now counts no more: somebody has looked at it, or nobody could see. */
void losses_forgive(struct losses *l, uint64_t now_ms);
/* true: too much. Silence is to be told anew afterwards. */
bool losses_judge(struct losses *l, uint64_t now_ms, char ret_why[LOSSES_WHY_BYTES]);

DEFINE_AUTO(struct losses, losses_free)
