// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/rollout.h -- one version of one hot-fix on its way through a fleet: a pure
 * function of (state, event, time) -> (state, effects). Owns what a rollout may do when.
 *
 *	DRAFT -> PENDING_APPROVAL -> SCHEDULED -> STARTING -> ATTACHING -> BAKING -> JUDGING -> SUCCEEDED
 *	                                 |           ^                                 |    \-> FAILED
 *	                                 v           +---------- next wave ------------+
 *	                               FAILED    each of the four <-> PAUSED
 *
 *	the four, PAUSED -> ABORTING -> ABORTED
 *	                            \-> ROLLING_BACK <-> ROLLBACK_INCOMPLETE -> ROLLED_BACK
 *	SUCCEEDED -> ROLLING_BACK by undo; all before their end -> SUPERSEDED
 *
 * Waves    Wave 0 is one host of each stratum (kernel build): its canary. No host has its turn
 *          before a canary of its stratum was committed, baked and judged. A stratum that appears
 *          later begins with a canary of its own, whatever the wave.
 * Words    What a host shall do; the newest counts. Who sends them puts generation into them, and
 *          hosts echo it in their reports (rollout_report.word).
 * Time     Bakes and deadlines run on a clock of the rollout's own: it stands while paused, does
 *          not go back, and takes no step longer than ROLLOUT_STEP_MAX_MS, for nobody watched
 *          that time. So ask for a TICK at effects.wake_ms at the latest.
 * Signing  Applies and rollbacks need a signature. While nobody can give one, none is sent: it pauses,
 *          and a way back goes on with those for whom the end of a trial is enough.
 * Fencing  Each step that changes anything raises the generation by one; a step that changes
 *          nothing leaves every byte of the JSON as it was. Write the header where the stored
 *          generation is the one before, with the rows of effects.host, in one transaction.
 *
 * Context    any; no clock, no I/O. A step about one host costs O(log hosts); those that change
 *            every host's lot (a wave starts, pause, a rollback begins, retry) O(hosts) or a sort.
 * Errors     FAIL_CONFLICT not in this state; FAIL_PERMISSION not by this user; FAIL_USAGE:
 *            refused, nothing has changed. -ENOMEM: drop the rollout and load it again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "lib/hook.h"
#include "server/controller/host.h"
#include "server/controller/judge.h"
#include "server/controller/spec.h"

#define ROLLOUT_ID_BYTES    65 /* of a rollout, a host, a user; with NUL */
#define ROLLOUT_CODE_BYTES  48
#define ROLLOUT_TEXT_BYTES  240
#define ROLLOUT_WAITS_BYTES 96
#define ROLLOUT_WHY_BYTES   200
#define ROLLOUT_ENGINE	    "engine" /* the actor of what nobody asked for */
#define ROLLOUT_STEP_MS	    60000    /* the clock is written down so often */
#define ROLLOUT_STEP_MAX_MS 120000

#define ROLLOUT_STATES(X)                             \
	X(DRAFT, "draft")                             \
	X(PENDING_APPROVAL, "pending_approval")       \
	X(SCHEDULED, "scheduled")                     \
	X(WAVE_STARTING, "wave_starting")             \
	X(WAVE_ATTACHING, "wave_attaching")           \
	X(WAVE_BAKING, "wave_baking")                 \
	X(WAVE_JUDGING, "wave_judging")               \
	X(PAUSED, "paused")                           \
	X(ABORTING, "aborting")                       \
	X(ROLLING_BACK, "rolling_back")               \
	X(ROLLBACK_INCOMPLETE, "rollback_incomplete") \
	X(SUCCEEDED, "succeeded")                     \
	X(ROLLED_BACK, "rolled_back")                 \
	X(ABORTED, "aborted")                         \
	X(SUPERSEDED, "superseded")                   \
	X(FAILED, "failed")

enum rollout_state {
#define X(name, text) ROLLOUT_##name,
	ROLLOUT_STATES(X)
#undef X
		ROLLOUT_STATES_
};

/*
 * Why it is paused; it goes on when none is left. The first three and the last one end by themselves.
 * Their numbers are stored: a new one comes last.
 */
#define ROLLOUT_PAUSES(X)                 \
	X(WINDOW, "window")               \
	X(STOP_THE_LINE, "stop_the_line") \
	X(ENGINE_LOST, "engine_lost")     \
	X(MANUAL, "manual")               \
	X(GATE, "gate")                   \
	X(INCONCLUSIVE, "inconclusive")   \
	X(BUDGET, "budget")               \
	X(PROGRESS, "progress")           \
	X(DIRECTOR_LOST, "director_lost")

enum rollout_pause {
#define X(name, text) ROLLOUT_PAUSE_##name,
	ROLLOUT_PAUSES(X)
#undef X
		ROLLOUT_PAUSES_
};

enum rollout_scope { ROLLOUT_NOTHING, ROLLOUT_WAVE, ROLLOUT_ALL }; /* to roll back */

/* ---- events ------------------------------------------------------------------------ */

enum rollout_event_type {
	/* of users: actor is theirs, and reason */
	ROLLOUT_SUBMIT,
	ROLLOUT_APPROVE,
	ROLLOUT_OVERRIDE, /* a critical one goes on outside its windows */
	ROLLOUT_PAUSE,
	ROLLOUT_RESUME,
	ROLLOUT_PROMOTE,   /* ends what it waits for: a bake, a gate, a verdict */
	ROLLOUT_ABORT,	   /* scope */
	ROLLOUT_RETRY,	   /* host, or NULL: all that failed */
	ROLLOUT_UNDO,	   /* newer: rollouts of this hot-fix since */
	ROLLOUT_SUPERSEDE, /* by: id of the newer one */
	/* of the fleet */
	ROLLOUT_HOST,	   /* host, facts: it joined, or something about it changed */
	ROLLOUT_HOST_LEFT, /* host */
	ROLLOUT_HEARTBEAT, /* host, missed: so many in a row; 0: it came */
	ROLLOUT_REPORT,	   /* host, report */
	/* of the controller */
	ROLLOUT_WINDOW, /* on: open; else reason; next_ms: when that may change, 0 unknown */
	ROLLOUT_STOP_THE_LINE, /* on; reason */
	ROLLOUT_ENGINE_LOST,   /* on: nobody could write what happened */
	ROLLOUT_DIRECTOR_LOST, /* on: nobody can sign what hosts are told; reason */
	ROLLOUT_FLOOR,	       /* serial: nothing below is applied or gone back to */
	ROLLOUT_TICK,
	ROLLOUT_EVENTS_
};

struct rollout_facts {
	const json_t *labels; /* texts: kernel_release, arch, zone, rack, ... */
	uint64_t committed;   /* serial of this hot-fix there, 0 none */
	uint64_t max_serial;  /* a pin, 0 none */
	uint64_t missed;      /* heartbeats */
	const char *held_by;  /* who wants nothing sent there, for people; NULL: nobody */
	const char *unfit; /* why it cannot take it, for people: incompatible; NULL: it can */
	bool incompatible, quarantined, rebooting;
};

struct rollout_metric {
	const char *name;
	double value, base;
};

struct rollout_report {
	uint64_t seq;  /* of the host's reports; grows */
	uint64_t word; /* generation of the newest word it knows */
	enum host_state state;
	uint64_t committed; /* serial */
	const char *boot_id, *code, *text;
	bool transient; /* REJECTED for a cause that passes: worth a retry */
	const struct rollout_metric *metrics;
	size_t n_metrics;
};

struct rollout_event {
	enum rollout_event_type type;
	const char *actor, *reason; /* NULL: the engine; none */
	const char *host, *by;
	const struct rollout_facts *facts;
	const struct rollout_report *report;
	enum rollout_scope scope;
	uint64_t missed, next_ms, serial, newer;
	bool on;
};

/* ---- effects ----------------------------------------------------------------------- */

enum rollout_action {
	ROLLOUT_APPLY,	   /* from -> to, as a signed directive */
	ROLLOUT_WITHDRAW,  /* what has not begun does not begin */
	ROLLOUT_END_TRIAL, /* back to what is committed, as when the lease ends */
	ROLLOUT_ROLLBACK, /* from -> to, as a signed directive; to 0: nothing was there before */
};

/* Takes the place of the host's word of this rollout before. */
struct rollout_word {
	char host[ROLLOUT_ID_BYTES];
	enum rollout_action action;
	uint64_t generation, from, to;
	bool retry; /* although it is quarantined there */
};

struct rollout_audit {
	char actor[ROLLOUT_ID_BYTES], host[ROLLOUT_ID_BYTES]; /* host "": the rollout */
	char asked_by[ROLLOUT_ID_BYTES]; /* the engine did it because this user asked; or "" */
	char code[ROLLOUT_CODE_BYTES], text[ROLLOUT_TEXT_BYTES];
	enum rollout_state from, to; /* the same: no transition */
	uint64_t generation;
	bool alarm;
};

struct rollout_host;

struct rollout_effects {
	bool changed; /* the header, if nothing else */
	struct rollout_word *word;
	struct rollout_audit *audit;
	const struct rollout_host **host; /* whose row changed */
	size_t n_words, n_audits, n_hosts;
	size_t room_words, room_audits, room_hosts;
	uint64_t wake_ms; /* UINT64_MAX: only events wake it */
};

void rollout_effects_clear(struct rollout_effects *fx);

/* ---- life -------------------------------------------------------------------------- */

struct rollout;

struct rollout_opts {
	const char *id, *name; /* of the rollout, of the hot-fix */
	const char *author;
	uint64_t serial, floor;
	bool takes_off; /* the director may take off a first version again (ROLLBACK to 0) */
	const json_t *spec;
};

int rollout_new(const struct rollout_opts *opts, struct rollout **ret_rollout,
		struct fail *reterr_fail);
/* Fills ret_fx anew; it may be used again and again. */
int rollout_step(struct rollout *r, const struct rollout_event *ev, uint64_t now_ms,
		 struct rollout_effects *ret_fx, struct fail *reterr_fail);
struct rollout *rollout_free(struct rollout *r);

/* The header, then each host in any order: goes on exactly as the one that was written. */
int rollout_load(const json_t *header, struct rollout **ret_rollout, struct fail *reterr_fail);
int rollout_load_host(struct rollout *r, const json_t *host, struct fail *reterr_fail);
json_t *rollout_to_json(const struct rollout *r);	    /* NULL: no memory */
json_t *rollout_host_to_json(const struct rollout_host *h); /* NULL: no memory */

/* ---- looking at it ----------------------------------------------------------------- */

const char *rollout_state_name(enum rollout_state state);
const char *rollout_action_name(enum rollout_action action);
enum rollout_state rollout_state(const struct rollout *r);
bool rollout_is_over(enum rollout_state state);
uint64_t rollout_generation(const struct rollout *r);
const struct spec *rollout_spec(const struct rollout *r);
bool rollout_paused_for(const struct rollout *r, enum rollout_pause pause);
size_t rollout_count(const struct rollout *r, enum host_state state);
const struct rollout_host *rollout_find(const struct rollout *r, const char *host);
size_t rollout_n_hosts(const struct rollout *r);
const struct rollout_host *rollout_host_at(const struct rollout *r, size_t i); /* by id */
const char *rollout_host_id(const struct rollout_host *h);
enum host_state rollout_host_state(const struct rollout_host *h);
/* It is taken for silent, or what it said last for lost: to be told when it is heard of. */
bool rollout_misses(const struct rollout *r, const struct rollout_host *h);

/* For people: where it stands, by wave and stratum, with the figures that decide. */
json_t *rollout_show(const struct rollout *r);
/*
 * What would happen: hosts of each wave by stratum and domain, who is left out and why. By the
 * very code that will do it, on a copy. Before the start, for later only the present is known.
 */
int rollout_plan(const struct rollout *r, json_t **ret_plan, struct fail *reterr_fail);

DEFINE_AUTO(struct rollout, rollout_free)
