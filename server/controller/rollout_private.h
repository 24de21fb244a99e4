// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/rollout_private.h -- what the files of the engine share, and nobody else.
 *
 *	rollout.c	its states, effects, what follows by itself; a step
 *	rollout_host.c	a host's state, facts and reports
 *	rollout_wave.c	canaries, offers, judgement: a wave from start to end
 *	rollout_user.c	what users ask for
 *	rollout_back.c	the way back
 *	rollout_book.c	hosts, strata and domains, counted and queued
 *	rollout_json.c	to JSON and back
 *	rollout_plan.c	plan and show
 *
 * Counters and queues are never written but by rollout_lift() and rollout_lay(): whoever changes
 * what is counted lifts the host out of the books, changes it, and lays it back. So they are the
 * same whether a rollout was lived through or loaded.
 */
#pragma once

#include "server/controller/heap.h"
#include "server/controller/rollout.h"

#define ROLLOUT_KEY_BYTES  256 /* label values with '/' between them */
#define ROLLOUT_NO_WAVE	   UINT8_MAX
#define ROLLOUT_BOOT_BYTES 40

/* On a wave. */
enum verdict {
	VERDICT_NONE,
	VERDICT_ACCEPTED, /* promoted: not judged again */
	VERDICT_GATE,	  /* it passed, and its gate is behind it */
};

enum stratum_state {
	STRATUM_NEW,	/* waits for a host that can be its canary */
	STRATUM_CANARY, /* has one, which is not committed */
	STRATUM_BAKING,
	STRATUM_PROVEN,
	STRATUM_STOPPED, /* the version does not load there */
	STRATUM_STATES_
};

struct stratum {
	char key[ROLLOUT_KEY_BYTES];
	enum stratum_state state;
	char canary[ROLLOUT_ID_BYTES];
	uint64_t bake_end_ms;	/* by the clock of the rollout */
	uint64_t refused;	/* hosts in a row where it did not load */
	size_t hosts, all;	/* not excluded; all of them */
	struct heap candidates; /* pending hosts, while it is not proven */
	struct heap_node fresh, bake;
};

struct domain {
	char key[ROLLOUT_KEY_BYTES];
	size_t hosts, all, in_flight;
	struct heap ready;	/* pending hosts whose turn it is */
	struct heap_node place; /* in rollout.ready, while it has room */
};

struct rollout_host {
	char id[ROLLOUT_ID_BYTES];
	uint64_t order;
	struct stratum *stratum;
	struct domain *domain;

	/* facts */
	uint32_t waves; /* whose selectors match; bit 0: the target's */
	uint64_t committed, max_serial;
	bool offline, held, incompatible, quarantined, rebooting, late, left;
	char held_by[ROLLOUT_CODE_BYTES], unfit[ROLLOUT_CODE_BYTES];
	struct judge_sample sample[SPEC_METRICS_MAX];

	/* what became of it here */
	enum host_state state;
	enum host_why why;
	uint8_t wave, failed_in;    /* the wave when it failed */
	bool canary;		    /* was ever one */
	enum rollout_action action; /* of its last word */
	bool retry, back;	    /* to be tried although it failed; to be rolled back */
	uint64_t seq;		    /* of the last report that changed anything */
	uint64_t word, offer;	    /* generation of its last word, of its last APPLY */
	uint64_t from;		    /* what was committed when it was offered */
	uint64_t tries, due_ms;
	char boot_id[ROLLOUT_BOOT_BYTES]; /* when it began */
	char code[ROLLOUT_CODE_BYTES];
	char waits[ROLLOUT_WAITS_BYTES]; /* code in words, as long as it waits */

	bool dirty; /* stands in effects.host */
	struct heap_node queue, timer;
	struct rollout_host *next; /* lifted together */
};

struct rollout {
	char id[ROLLOUT_ID_BYTES], name[HOOK_NAME_MAX + 1], author[ROLLOUT_ID_BYTES];
	uint64_t serial, floor;
	bool takes_off;
	struct spec spec;

	uint64_t generation;
	enum rollout_state state, resume; /* resume: of PAUSED */
	uint32_t pauses; /* bits of enum rollout_pause, without the facts below */
	bool window_closed, line_stopped, engine_lost, director_lost, overridden;
	uint64_t window_next_ms;
	char window_why[ROLLOUT_WHY_BYTES], line_why[ROLLOUT_WHY_BYTES],
		director_why[ROLLOUT_WHY_BYTES];
	char superseded_by[ROLLOUT_ID_BYTES];
	char approval[16][ROLLOUT_ID_BYTES];
	size_t n_approvals;
	enum rollout_scope scope;

	uint64_t clock_ms, anchor_ms;
	uint64_t progress_ms; /* when something last went on */
	uint8_t wave;
	uint64_t bake_end_ms;
	uint8_t verdict;			   /* VERDICT_* of rollout.c */
	uint64_t forgiven, forgiven_canaries, row; /* failures: before resume, in a row */
	struct judge_finding finding;		   /* the last one that decided */
	char finding_of[ROLLOUT_KEY_BYTES];	   /* stratum */

	struct rollout_host **host; /* by id */
	struct stratum **stratum;   /* by key */
	struct domain **domain;
	size_t n_hosts, n_strata, n_domains, room_hosts, room_strata, room_domains;

	/* the books */
	size_t count[HOST_STATES_];
	size_t eligible; /* not excluded */
	size_t in_flight;
	size_t due;			/* pending, in a wave that has started */
	size_t members;			/* of this wave */
	size_t failed, failed_canaries; /* in this wave */
	size_t back, back_in_flight;	/* to be rolled back, and with a word out */
	struct heap ready, fresh, bakes, timers, back_ready;

	/* of the step under way */
	struct rollout_effects *fx;
	const char *actor, *asked_by; /* asked_by NULL: no user did */
	uint64_t now_ms;
	bool changed, no_memory;
};

/* ---- rollout_book.c ---- */
void rollout_lift(struct rollout *r, struct rollout_host *h);
void rollout_lay(struct rollout *r, struct rollout_host *h);
int rollout_add_host(struct rollout *r, const char *id, struct rollout_host **ret_host);
/* Finds it or makes it; the host is lifted, or new. */
int rollout_set_groups(struct rollout *r, struct rollout_host *h, const char *stratum,
		       const char *domain);
int rollout_add_stratum(struct rollout *r, const char *key, struct stratum **ret_stratum);
void rollout_group_key(const struct spec_words *by, const json_t *labels,
		       char ret_key[ROLLOUT_KEY_BYTES]);
/* The only writer of a stratum's state; canary may be "". */
void rollout_stratum_enter(struct rollout *r, struct stratum *s, enum stratum_state next,
			   const char *canary);
bool rollout_is_canary(const struct rollout_host *h); /* the present one of its stratum */
size_t rollout_max_in_flight(const struct rollout *r);
bool rollout_available(const struct rollout_host *h); /* for words */
struct rollout_host *rollout_seek_host(const struct rollout *r,
				       const char *host); /* NULL: none */
/* What a host is that has nothing to do with this rollout yet, by its facts. */
enum host_state rollout_idle(const struct rollout *r, const struct rollout_host *h,
			     enum host_why *ret_why);
/* Hosts of this wave, chosen and laid; so many. */
size_t rollout_fill(struct rollout *r);
void rollout_new_wave(struct rollout *r, uint8_t wave);
/* Who needs a signature to go back is in line, or not. */
void rollout_set_director_lost(struct rollout *r, bool lost);

/* ---- rollout.c ---- */
bool rollout_may(enum rollout_state from, enum rollout_state to);
bool rollout_runs(enum rollout_state state);   /* one of the four states of a wave */
bool rollout_is_live(const struct rollout *r); /* or paused in one */
/* The only writer of the rollout's state: checks the move, writes it down. */
void rollout_enter(struct rollout *r, enum rollout_state next, const char *code,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void rollout_touch(struct rollout *r, struct rollout_host *h);
void rollout_note(struct rollout *r, const struct rollout_host *h, const char *code, bool alarm,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void rollout_send(struct rollout *r, struct rollout_host *h, enum rollout_action action,
		  uint64_t from, uint64_t to);
uint32_t rollout_pauses(const struct rollout *r); /* with the facts */
void rollout_pause_for(struct rollout *r, enum rollout_pause pause, const char *code,
		       const char *text);
void rollout_stop(struct rollout *r, uint64_t on_failure, const char *code, const char *text);
/* More failed than may of the canaries, of the wave, or in a row. */
bool rollout_over_budget(const struct rollout *r);
void rollout_forgive(struct rollout *r); /* what failed until now is accepted */
/* Who came back is no failure any more: there is nothing to forgive others in his place. */
void rollout_trim_forgiven(struct rollout *r);

typedef int rollout_handler(struct rollout *r, const struct rollout_event *ev,
			    struct fail *reterr_fail);

/* ---- rollout_host.c ---- */
rollout_handler rollout_on_host, rollout_on_host_left, rollout_on_heartbeat, rollout_on_report;
/* The only writer of a host's state. */
void rollout_host_enter(struct rollout *r, struct rollout_host *h, enum host_state next,
			const char *code);
void rollout_settle(struct rollout *r, struct rollout_host *h); /* as facts have it, if idle */
void rollout_make_idle(struct rollout *r, struct rollout_host *h); /* nothing is under way */
void rollout_recall(struct rollout *r, struct rollout_host *h);	   /* if it has not begun */
void rollout_recall_all(struct rollout *r);
bool rollout_id_is_good(const char *id);

/* ---- rollout_wave.c ---- */
void rollout_go_wave(struct rollout *r);
void rollout_pick_canaries(struct rollout *r); /* for every stratum that has none and can */
struct stratum *rollout_next_baked(const struct rollout *r); /* whose bake is over, or NULL */
void rollout_prove(struct rollout *r, struct stratum *s);

/* ---- rollout_user.c ---- */
rollout_handler rollout_on_submit, rollout_on_approve, rollout_on_override, rollout_on_pause,
	rollout_on_resume, rollout_on_promote, rollout_on_abort, rollout_on_retry,
	rollout_on_undo, rollout_on_supersede;

/* ---- rollout_back.c ---- */
void rollout_back_begin(struct rollout *r, enum rollout_scope scope, const char *code,
			const char *text);
void rollout_back_go(struct rollout *r); /* in ABORTING, ROLLING_BACK, ROLLBACK_INCOMPLETE */
bool rollout_has_it(const struct rollout *r, const struct rollout_host *h);

/* ---- words ---- */
const char *stratum_state_name(enum stratum_state state); /* rollout_json.c */
const char *rollout_pause_name(enum rollout_pause pause);
