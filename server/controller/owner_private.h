// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/owner_private.h -- what the files of the owner share, and nobody else.
 *
 *	owner.c		claims, leases, guards, silence; the loop's turn
 *	owner_charge.c	a rollout that is ours: read it, feed it, step it
 *	owner_write.c	what steps left to be written, as one transaction
 *	owner_request.c	what operators ask of it
 */
#pragma once

#include <sys/queue.h>

#include "server/controller/calendar.h"
#include "server/controller/controller.h"
#include "server/controller/director.h"
#include "server/controller/guards.h"
#include "server/controller/owner.h"
#include "store/fleet.h"

#define OWNER_LEASE_MS	  10000
#define OWNER_RENEW_MS	  3000
#define OWNER_TICK_MS	  500
#define OWNER_GUARDS_MS	  2000
#define OWNER_RETRY_MS	  1000
#define OWNER_BLOCKED_MS  5000
#define OWNER_AGAIN_MS	  40000 /* who was told to come again (503) has come: serve.c, agent.c */
#define OWNER_ABSENT_MS	  300000 /* and who found nobody: AGENT_BACKOFF_MAX_MS */
#define OWNER_SIGN_MS	  5000
#define OWNER_SIGN_MAX_MS 300000
#define OWNER_WINDOWS_MS  60000
#define OWNER_RELEASE_MS  3000
#define OWNER_PAGE	  256 /* hosts */
#define OWNER_ROWS	  512 /* of a rollout, read in one turn */
#define OWNER_SIGNATURES  64  /* made in one turn */
#define OWNER_REQUESTS	  256
#define OWNER_LIST	  500 /* headers of rollouts */
#define OWNER_LEASE_BYTES (SETTINGS_NAME_BYTES + 20)

struct charge;

struct owner {
	struct controller *c;
	char lease[OWNER_LEASE_BYTES]; /* the name behind the leases */
	struct event *timer, *work;
	LIST_HEAD(, charge) charges;
	struct guards *guards; /* NULL: not read yet, nothing runs */
	size_t n_silent;

	/* a question is under way; it is to be asked again */
	bool claiming, renewing, asking, guarding, looking, listening;
	bool ask_again, guard_again;
	uint64_t ticked_up_ms, renewed_up_ms, renewal_up_ms, guarded_up_ms, looked_up_ms;
	uint64_t watching_up_ms; /* since then all who are there have been heard of */
	bool heard_known;	 /* how long nobody was heard of before this process began */
	bool away, lost;
	uint64_t back_up_ms;
	/* What could not be kept, when it was looked at last. */
	uint64_t failed_up_ms,
		put_off; /* put_off: reports, whose hosts were told to come again */
	uint64_t started_up_ms;
	uint64_t targets; /* guards_targets() */

	bool releasing;
	uint64_t release_up_ms;
	void (*released)(void *cookie);
	void *released_cookie;

	struct owner_stats stats; /* the counters of it */
};

enum charge_phase {
	CHARGE_ASKED, /* for header and rows */
	CHARGE_FILLS, /* reads them */
	CHARGE_RUNS,
	CHARGE_BLOCKED, /* asks who holds its hosts */
	CHARGE_WAITS,	/* to be read again */
};

/* What steps left, until it is written. */
struct pending {
	const struct rollout_host **host;
	struct rollout_word *word;
	struct rollout_audit *audit;
	size_t n_hosts, n_words, n_audits;
	size_t room_hosts, room_words, room_audits;
	uint64_t requests_done;
	bool touched;
};

struct write;

struct charge {
	LIST_ENTRY(charge) next;
	struct owner *o;
	char id[ROLLOUT_ID_BYTES], name[HOOK_NAME_MAX + 1];
	uint64_t serial, epoch, stored; /* generation in the database */
	uint64_t claimed_up_ms;
	enum charge_phase phase;
	size_t questions; /* whose answers have not come */
	bool dropped;
	uint64_t retry_up_ms;

	struct fleet_answer *rows;
	struct rollout *r;
	struct calendar *windows; /* NULL: they cannot be read here */
	char windows_why[ROLLOUT_WHY_BYTES];
	uint64_t windows_up_ms; /* they are tried again */
	struct rollout_effects fx;
	uint64_t wake_ms, stepped_ms;
	uint64_t frozen_ms; /* the time, until all hosts were read: meanwhile nothing bakes */
	struct director_rollout words; /* what its words have in common, with has_bundle */

	uint64_t change; /* read up to here */
	char change_host[ROLLOUT_ID_BYTES];
	struct fleet_answer *page;
	bool reading, more, caught_up;
	bool rewind; /* what is being read comes too late: from the first again */

	bool told; /* the facts below, since it was read */
	bool told_lost, told_window, told_open;
	char told_line[GUARDS_WHY_BYTES];
	uint64_t told_floor, told_next_ms, told_targets, told_root;
	bool told_quarantine;
	char closed_for[ROLLOUT_WHY_BYTES], unsigned_for[ROLLOUT_WHY_BYTES];

	/* A word could not be signed: it is tried again then, after a while that grows. */
	char sign_why[ROLLOUT_WHY_BYTES];
	uint64_t sign_up_ms, sign_wait_ms;

	struct pending pending;
	struct write *write;

	uint64_t request; /* the last one that was heeded */
	bool asked;	  /* requests were read since it caught up */
	bool newer_known, newer_asked;
	uint64_t newer;

	bool blocked; /* another rollout holds its hosts */
	uint64_t blocked_up_ms;
	size_t holders; /* still to be looked at */
};

/* ---- owner.c ---- */
void owner_go(struct owner *o); /* the charges have work */
void owner_ask_requests(struct owner *o);
/* So many heartbeats of a host, silent for so long by the database, were missed by somebody who
 * listened, and kept what he heard. */
uint64_t owner_missed(struct owner *o, uint64_t silent_ms);

/* ---- owner_charge.c ---- */
int charge_new(struct owner *o, const char *id, uint64_t epoch);
struct charge *charge_find(struct owner *o, const char *id);
/* It is no longer ours, or over; the last act. */
void charge_drop(struct charge *ch, const char *why);
/* All that is known of it is read anew, after a while. */
void charge_again(struct charge *ch, uint64_t wait_ms);
/* A slice of its work; true: there is more at once. */
bool charge_go(struct charge *ch);
/* An answer came for it: false, and the answer and maybe the charge are gone. */
bool charge_answered(struct charge *ch, struct fleet_answer *a);
/* r of a question that was asked for it. */
void charge_wait(struct charge *ch, int r);
int charge_step(struct charge *ch, const struct rollout_event *ev, struct fail *reterr_fail);
/* Facts of the fleet cannot be refused. */
void charge_tell(struct charge *ch, const struct rollout_event *ev);
void charge_free(struct charge *ch);

/* ---- owner_write.c ---- */
int pending_take(struct charge *ch, const struct rollout_effects *fx);
int pending_all_hosts(struct charge *ch);
int pending_note(struct charge *ch, const struct rollout_audit *audit);
void pending_clear(struct pending *p);
void write_begin(struct charge *ch); /* if there is something to write */
bool write_go(struct charge *ch);    /* true: there is more to be signed */
struct write *write_free(struct write *w);
bool owner_is_started(enum rollout_state state);

/* ---- owner_request.c ---- */
void request_heed(struct charge *ch, const struct fleet_request *q);
