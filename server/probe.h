// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/probe.h -- the probes of one trial (store/manifest.h): a command, a TCP connect or
 * a unit is asked in a process of its own, which the parent starts (server/crew.h). It verifies
 * the bundle, takes the probe from its manifest, becomes "hotfixd probe" and gives up everything:
 *
 *	user and groups nobody (65534), no new privileges, no file but its pipe, stdin /dev/null
 *	own session and process namespace: whatever it starts ends when it does
 *	memory, processes, file size bounded; killed at its timeout, and when hotfixd dies
 *
 * Context    loop thread; starting a run blocks for about a millisecond.
 * Errors     -ENOMEM. A run that cannot be started is one that failed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "server/health.h"

#define PROBE_USER	65534
#define PROBE_PROCESSES 64 /* of that user, as the kernel counts them */

struct probes;

struct crew; /* server/crew.h */

struct probes_of {
	const char *name;
	const json_t *health;  /* NULL, or checked by manifest_parse() */
	const uint8_t *bundle; /* in which it stands */
	size_t bundle_len;
};

int probes_new(struct event_base *base, struct crew *crew, const struct probes_of *of,
	       struct probes **ret_probes);
/* Ends what runs. */
struct probes *probes_free(struct probes *p);
/* Starts what is due; never a second run of one probe. */
void probes_tick(struct probes *p, uint64_t now_ms);
/* Their last results; the strings are good until the next one. Returns how many there are. */
size_t probes_read(const struct probes *p, struct health_probe ret[MANIFEST_PROBES_MAX]);

#define PROBE_WORDS_MAX 40
/* The command line of "hotfixd probe" for one probe of a manifest; -EINVAL: it is none. */
int probe_words(const json_t *probe, char *ret_argv[PROBE_WORDS_MAX]);
/* "hotfixd probe exec MEMORY_MIB COMMAND..." and "hotfixd probe tcp HOST:PORT" */
int probe_main(int argc, char **argv);

DEFINE_AUTO(struct probes, probes_free)
