// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/live.h -- watches what runs: slots and their calls, and the counters,
 * events and control of objects that use hotfix.bpf.h. Reads pins only.
 *
 * Context    loop thread; nothing blocks, no capability beyond reading the pins.
 * Errors     -ENOENT the hot-fix, version or map is not there (not every object has one);
 *            -EUCLEAN a pin of another kind.
 * Ownership  live_events_open's result is freed with live_events_free.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/gate.h"
#include "lib/cleanup.h"
#include "lib/hook.h"

struct live_slot {
	char folder[256]; /* as engine_calls() takes it */
	char type[16];	  /* as attached: lsm or fmod_ret for a deny hook */
	char target[HOOK_TARGET_BYTES];
	bool struct_ops;
	uint64_t calls[GATE_VERSIONS]; /* per index; [0]: calls that met the kernel's own
					  behaviour */
};

/* Slots of one hot-fix in the order of their folder names; fn returns non-zero to stop. */
int live_slots(const char *bpffs, const char *name,
	       int (*fn)(const struct live_slot *s, void *cookie), void *cookie);

#define LIVE_COUNTERS_MAX 16
/* Sums over CPUs; ret_n is how many the object has. */
int live_counters(const char *bpffs, const char *name, uint32_t index,
		  uint64_t ret_counters[LIVE_COUNTERS_MAX], size_t *ret_n);

/* The observe/enforce switch of hotfix.bpf.h. */
int live_set_enforce(const char *bpffs, const char *name, uint32_t index, bool enforce);
int live_get_enforce(const char *bpffs, const char *name, uint32_t index, bool *ret_enforce);

/* The registration of a congestion control: ready for reading once it is gone (Linux 6.11). */
int live_cc_link(const char *bpffs, const char *name, int *ret_fd);

struct hotfix_event; /* bpf/hotfix.bpf.h */
struct live_events;
typedef void (*live_event_fn)(const struct hotfix_event *e, void *cookie);

int live_events_open(const char *bpffs, const char *name, uint32_t index, live_event_fn fn,
		     void *cookie, struct live_events **ret_events);
struct live_events *live_events_free(struct live_events *e);
int live_events_fd(const struct live_events *e); /* readable when events wait */
int live_events_read(struct live_events *e);	 /* calls fn for each; count or -errno */

DEFINE_AUTO(struct live_events, live_events_free)
