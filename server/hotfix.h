// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/hotfix.h -- the hot-fixes of this host at run time: each with its gate and at
 * most one change under way (server/change.h carries it out).
 *
 * Context    loop thread; database commits fsync, nothing else blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <jansson.h>

#include "bpf/gate.h"
#include "bpf/live.h"
#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/boot.h"
#include "server/config.h"
#include "server/events.h"
#include "server/watch.h"
#include "server/worker.h"
#include "store/store.h"

enum hotfix_phase {
	HOTFIX_IDLE,
	HOTFIX_STAGE,
	HOTFIX_SETTLE,
	HOTFIX_TRIAL,
	HOTFIX_REVERT,
	HOTFIX_UNSTAGE,
	HOTFIX_REMOVE,
	HOTFIX_PHASES_
};

enum hotfix_wait { HOTFIX_WAIT_LIVE, HOTFIX_WAIT_END };

/* fail is NULL when the change did what it was asked for (so far, for HOTFIX_WAIT_LIVE). */
typedef void (*hotfix_wait_fn)(uint64_t change_id, const struct fail *fail, void *cookie);

struct hotfix_waiter {
	TAILQ_ENTRY(hotfix_waiter) link;
	enum hotfix_wait until;
	hotfix_wait_fn fn;
	void *cookie;
};

/* The change under way. */
struct hotfix_change {
	uint64_t id; /* 0: could not be written (full disk), done all the same */
	char verb[16];
	uint64_t serial, from_serial;
	uint32_t index, old_index;
	bool commit_now; /* no trial */
	bool committed_before;
	bool disable, forget; /* after REMOVE: mark as disabled; delete the rows */
	bool take_off;	      /* after REMOVE: nothing is committed any more */
	bool live;	      /* reached its aim; HOTFIX_WAIT_LIVE is over */
	bool observe;
	bool harmful; /* to be quarantined: it goes back for what it did, or did not prove */
	bool sweep;   /* tidies up after a change that has its outcome already */
	uint64_t trial_ms, trial_max_ms, min_calls, started_mono_ms;
	uint64_t calls;	     /* dispatched to it, when last looked */
	struct watch *watch; /* NULL: it proved itself before, and is not judged again */
	struct fail fail;    /* why it goes back */
	char code[32];
	char reason[256];  /* the operator's */
	char warning[512]; /* for who asked: what it leaves behind, or goes without; "" */
	char *log;
	json_t *reports; /* what the workers have to say: of stage "report", else by phase */
	TAILQ_HEAD(, hotfix_waiter) waiters;
};

struct hotfix {
	TAILQ_ENTRY(hotfix) link;
	struct hotfixes *all;
	char name[HOOK_NAME_MAX + 1];
	enum hotfix_phase phase;
	struct gate *gate; /* NULL: nothing in the kernel */
	bool needs_settle; /* something of it is not controlled by the gate alone */
	bool adopted;	   /* found in the kernel at start */
	char problem[256]; /* "" or why its state is not as it should be */
	char restore[256]; /* why it is to be applied again (server/restore.h), "" */
	bool retired;	   /* committed, but this kernel does not need it */
	json_t *needs;	   /* names, of needs_serial (server/require.h); NULL: not known */
	uint64_t needs_serial, needs_asked_ms;
	char drift[256];		     /* what others changed, as found last; "" */
	unsigned int repairs, surveys;	     /* of that: put right so often; seen again since */
	uint64_t changes, changes_at_survey; /* begun so far, from 1; 0: was busy */
	int link_fd;			     /* of a congestion control, -1 */
	struct event *link_gone;
	struct hotfix_change change; /* when phase is not IDLE */
	struct worker *worker;
	struct event *tick; /* renews the lease in TRIAL */
	uint64_t ticked_ns;
	struct live_events *events;
	uint32_t events_index;
	struct event *events_readable;
};

struct hotfixes {
	struct event_base *base;
	struct store *store;
	struct workers *workers;
	struct events *events;
	struct watches *watches;
	const struct config *config;
	const char *bpffs;
	const char *host_id; /* of the host key, "" */
	enum policy_boot boot;
	char crash_cause[BOOT_CAUSE_BYTES]; /* of the boot before, "" */
	struct restore *restore;
	struct drift *drift;
	struct outcomes *outcomes; /* that are owed; NULL: none was so far */
	struct member *member;	   /* of a fleet; NULL */
	struct fail no_member;	   /* why it is none, although [fleet] names a controller */
	void (*changed)(
		void *cookie); /* told of each step of a change, and of a new root; NULL */
	void *changed_cookie;
	TAILQ_HEAD(, hotfix) list;
};

struct hotfixes_opts { /* all of it outlives the hot-fixes */
	struct event_base *base;
	const struct config *config;
	const char *bpffs; /* as this process finds the folder */
	struct store *store;
	struct crew *crew;
	struct workers *workers;
	struct events *events;
	const struct boot *boot;
	int log_fd; /* of /dev/kmsg, or -1 */
};

int hotfixes_new(const struct hotfixes_opts *opts, struct hotfixes **ret_all);
struct hotfixes *hotfixes_free(struct hotfixes *all);
struct hotfix *hotfix_find(struct hotfixes *all, const char *name);
/* Finds it or makes it, IDLE and without a gate. */
int hotfix_get(struct hotfixes *all, const char *name, struct hotfix **ret_hotfix);

/*
 * fn comes once, from the loop, when the change under way with this id gets that far.
 * NULL: no such change is under way (its outcome is in the store).
 */
struct hotfix_waiter *hotfix_wait(struct hotfixes *all, uint64_t change_id,
				  enum hotfix_wait until, hotfix_wait_fn fn, void *cookie);
void hotfix_wait_cancel(struct hotfixes *all, struct hotfix_waiter *w);

/* The bundle of a stored version, verified under the root in force. buf must outlive the
 * bundle. */
struct bundle;
int hotfix_open_bundle(struct hotfixes *all, const char *name, uint64_t serial,
		       uint8_t **ret_buf, size_t *ret_len, struct bundle **ret_bundle,
		       struct fail *reterr_fail);

/* (Re)opens the gate and the events of what is live; problem "" clears it. */
void hotfix_attach_gate(struct hotfix *h);
void hotfix_close_gate(struct hotfix *h);
/* Listens to the version that is live now and no other. */
void hotfix_follow_live(struct hotfix *h);
/* Something of a loaded version is not switched by the gate alone: settle after each store. */
bool hotfix_needs_settle(const struct hotfix *h);
uint64_t hotfix_live_serial(const struct hotfix *h); /* 0: the kernel's own behaviour */

DEFINE_AUTO(struct hotfixes, hotfixes_free)
