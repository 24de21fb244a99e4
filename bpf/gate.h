// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf/gate.h -- the gate of one hot-fix: which version runs, on every CPU and in
 * every slot, decided by one 8-byte store. Shared by the dispatchers (BPF) and
 * the loop (user space, mmap).
 *
 * A gate is the only element of a BPF_F_MMAPABLE array, pinned as
 * <bpffs>/<name>/gate. The word holds two indexes into every slot's PROG_ARRAY:
 *
 *	63            32 31             0
 *	| trial index   | committed index |
 *
 *	live = trial && now < trial_deadline_ns ? trial : committed
 *
 * Index 0 is always empty: the kernel's own behaviour. The dispatcher loads the
 * word once per call, so a call sees exactly one version.
 *
 * Context    loop thread; nothing blocks, no capability is needed once the pin
 *            is readable.
 * Errors     -ENOENT no such gate; -EUCLEAN a map that is not a gate of this
 *            format; -ETIME the lease ran out (or is about to): do not renew.
 * Ownership  gate_open's result is freed with gate_free, which unmaps and drops
 *            the last reference this process holds.
 */
#pragma once

#ifdef __bpf__
typedef unsigned long long gate_u64;
typedef unsigned int gate_u32;
typedef unsigned char gate_u8;
#else
#include <stdbool.h>
#include <stdint.h>
typedef uint64_t gate_u64;
typedef uint32_t gate_u32;
typedef uint8_t gate_u8;
#endif

#define GATE_MAGIC    0x32657461676668ULL /* "hfgate2": changes when the layout does */
#define GATE_VERSIONS 8			  /* indexes 0..7, 0 is always empty */
#define GATE_CC_BYTES 16		  /* TCP_CA_NAME_MAX */

/* What the gate does not switch by itself and engine_settle() must know of a version. */
#define GATE_OVERLAP	  0x01U /* has sleepable programs */
#define GATE_CC		  0x02U /* is a congestion control */
#define GATE_CC_DEFAULT	  0x04U /* wants to be the default one */
#define GATE_CC_OWN	  0x08U /* each socket stays with the version that initialised it */
#define GATE_CC_CONTROL	  0x10U /* has cong_control */
#define GATE_CC_MIN_TSO	  0x20U /* has min_tso_segs */
#define GATE_CC_SNDBUF	  0x40U /* has sndbuf_expand */
#define GATE_CC_NEEDS_ECN 0x80U /* .flags has TCP_CONG_NEEDS_ECN */

/* Versions that differ in one of these or in cc_name need a registration of their own. */
#define GATE_CC_SHAPE \
	(GATE_CC_OWN | GATE_CC_CONTROL | GATE_CC_MIN_TSO | GATE_CC_SNDBUF | GATE_CC_NEEDS_ECN)

struct gate_version {
	gate_u64 serial;    /* 0: this index is free */
	gate_u8 digest[32]; /* SHA-256 of the object that was loaded */
	gate_u32 flags;	    /* GATE_... above */
	gate_u32 reserved;
	char cc_name[GATE_CC_BYTES];
};

struct gate_value {
	gate_u64 word;
	gate_u64 trial_deadline_ns; /* CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns() */
	gate_u64 magic;
	struct gate_version version[GATE_VERSIONS];
	char cc_previous[GATE_CC_BYTES]; /* default congestion control before ours; "" not taken
					  */
};

#ifndef __bpf__
#include "lib/cleanup.h"

struct gate;

int gate_open(const char *bpffs, const char *name, struct gate **ret_gate);
struct gate *gate_free(struct gate *g);

uint32_t gate_committed(const struct gate *g);
uint32_t gate_trial(const struct gate *g); /* as stored, even when its lease is over */
uint64_t gate_deadline_ns(const struct gate *g);
uint32_t gate_live(const struct gate *g, uint64_t now_ns);
/* {0} for index 0 and free indexes. */
struct gate_version gate_version(const struct gate *g, uint32_t index);
/* 0 when no index holds this serial. */
uint32_t gate_index_of(const struct gate *g, uint64_t serial);
/*
 * Lowest index that is neither committed, on trial, nor in keep (bit i: index i); prefers
 * empty ones. 0 when there is none.
 */
uint32_t gate_pick_index(const struct gate *g, uint32_t keep);

/*
 * Deadline first, then the word: no call ever sees the trial without its lease. An earlier
 * trial is ended before, so that the new deadline does not revive it.
 */
void gate_begin_trial(struct gate *g, uint32_t index, uint64_t deadline_ns);
/* -ETIME when now is past deadline minus margin: an ended trial is never revived. */
int gate_renew(struct gate *g, uint64_t now_ns, uint64_t margin_ns, uint64_t deadline_ns);
/* Commit, rollback and switching off are this one store. */
void gate_commit(struct gate *g, uint32_t index);

/* For the engine's worker: makes the gate, or opens the one that is there. */
int gate_make(const char *bpffs, const char *name, struct gate **ret_gate);
int gate_fd(const struct gate *g); /* borrowed */
/* A map that could become a gate, pinned nowhere: for trying out what needs one. */
int gate_map_make(int *ret_fd);
/* The serial is stored last: an index that has one is complete. NULL frees the index. */
void gate_set_version(struct gate *g, uint32_t index, const struct gate_version *v);
void gate_cc_previous(const struct gate *g, char ret_cc[GATE_CC_BYTES]);
void gate_set_cc_previous(struct gate *g, const char *cc);

DEFINE_AUTO(struct gate, gate_free)
#endif
