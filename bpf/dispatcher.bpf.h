// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf/dispatcher.bpf.h -- the decision that every dispatcher makes, once per call:
 * which version runs (bpf/gate.h).
 *
 * The gate is a global variable of its own section, so that reading it is one load
 * and no lookup; bpf/dispatch.c puts the hot-fix's pinned gate in that map's place.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/gate.h"

/* A tail call into this array replaces the dispatcher; an empty entry falls through. */
#define DISPATCHER_VERSIONS(name)                      \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, GATE_VERSIONS);    \
		__type(key, __u32);                    \
		__type(value, __u32);                  \
	} name SEC(".maps")

volatile struct gate_value gate SEC(".data.gate");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GATE_VERSIONS);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

static __always_inline __u32 dispatcher_index(void)
{
	/* One load of the word: a call that sees the new trial never mixes it with the
	 * old committed index. The clock is read only while there is a trial. */
	__u64 word = gate.word;
	__u32 index = (__u32)word;
	__u32 trial = word >> 32;

	if (trial && bpf_ktime_get_ns() < gate.trial_deadline_ns)
		index = trial;
	/* Nonsense in the gate switches the hot-fix off rather than some version on. */
	return index < GATE_VERSIONS ? index : 0;
}

/* Not atomic: an interrupt or a preemption in between may lose one, a call costs less. */
static __always_inline void dispatcher_count(__u32 index)
{
	__u64 *n = bpf_map_lookup_elem(&calls, &index);

	if (n)
		(*n)++;
}
