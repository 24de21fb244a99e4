// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/agent.h -- a host's side of its fleet: keeps asking a controller what the host is to do, tells
 * it how the host is, fetches what is needed for that. What the words mean and whether they are
 * obeyed is its engine's affair; 10,000 agents fit into one process. agent*.c are the only owners
 * of libcurl in a server, and of the host's certificate.
 *
 *	                no certificate            certificate
 *	(start) --> STRANGER --> ENROLLING --> CONNECTING --> CONNECTED
 *	                ^  token refused |         ^ |            |
 *	                '----------------'         | v  failure   |
 *	                                         WAITING <--------'
 *
 * CONNECTED: a report, the documents that are missing, then "desired" (server/controller parks
 * it), over one connection. No question is parked while the engine sees something coming to its
 * end, so that the report of it has that connection; what changes otherwise is reported over a second
 * one. Both are agent_changed() and 100 ms away. A failure ends in WAITING: full jitter, from nothing to the
 * back-off, which doubles to its maximum; a Retry-After is waited for, and a bit.
 *
 * A controller is believed nothing but what its TLS certificate says. TLS 1.3, HTTP/1.1, no
 * redirect, no proxy, no compression; each answer has a size and an absolute time.
 *
 * Context    loop thread; names are resolved by evdns (DNS and /etc/hosts), nothing blocks.
 * Errors     what becomes of requests is in agent_status().
 * Ownership  engine functions come from the loop, never from within agent_new(), agent_free() or
 *            agent_changed(); they may call agent_changed(), not agent_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "lib/hook.h"

#define AGENT_ID_BYTES	     65 /* of a host, of a rollout */
#define AGENT_URL_BYTES	     256
#define AGENT_URLS_MAX	     8
#define AGENT_WORDS_MAX	     256
#define AGENT_COALESCE_MS    100
#define AGENT_BACKOFF_MS     1000
#define AGENT_BACKOFF_MAX_MS 300000
#define AGENT_ANSWER_MS	     30000 /* absolute, and what a question is parked for */

struct agent_net; /* one of a process */
struct agent;

enum agent_action { AGENT_APPLY, AGENT_WITHDRAW, AGENT_END_TRIAL, AGENT_ROLLBACK };

/* What the controller says about one hot-fix. Strings are good during the call. */
struct agent_word {
	char name[HOOK_NAME_MAX + 1];
	char rollout[AGENT_ID_BYTES];
	uint64_t generation; /* "word" in reports */
	enum agent_action action;
	uint64_t from, to; /* serials, 0 none */
	bool retry;
	uint64_t trial_ms, min_calls; /* 0: the manifest's */
	const char *directive;	      /* envelope; NULL */
	bool has_bundle;
	uint8_t bundle_sha256[32];
	uint64_t bundle_bytes;
};

const char *agent_action_name(enum agent_action action);
int agent_word_parse(const json_t *doc, struct agent_word *ret_word, struct fail *reterr_fail);

enum agent_document { AGENT_ROOT, AGENT_CATALOG, AGENT_REVOCATION };

/* The newest that the host has, in numbers of documents. */
struct agent_versions {
	uint64_t root, catalog;
};

/* What outlasts a restart. Strings are borrowed. */
struct agent_kept {
	uint64_t seq;		 /* of reports: up to there they may have been used */
	uint64_t revocation;	 /* documents of that kind, counted by the controller */
	const char *certificate; /* PEM, "" none yet; and what stands between it and the CA */
	const char *ca;		 /* PEM: one or more authorities of the controllers */
	const char *url;	 /* of the controllers, as enrolment said; "" */
};

struct agent_engine {
	/* REPORT without "seq"; a new reference, NULL: out of memory. */
	json_t *(*report)(void *cookie);
	/* All that the controller wants now: again at each heartbeat, changed or not. Documents came
	 * before, as far as they could be had. */
	void (*words)(const struct agent_word *words, size_t n, void *cookie);
	void (*versions)(struct agent_versions *ret_versions, void *cookie);
	/* 0 also when it was there already; -EINPROGRESS: agent_document_done() follows. A revocation
	 * that was refused is not asked for again, but after -ENOMEM, -ENOSPC, -EIO, -EROFS, -EBUSY. */
	int (*document)(enum agent_document kind, const char *envelope, size_t len,
			struct fail *reterr_fail, void *cookie);
	bool (*has_bundle)(const uint8_t sha256[32], void *cookie);
	/* Its bytes, which have that digest; or NULL and why they could not be had (so far). */
	void (*bundle)(const struct agent_word *word, const uint8_t *bytes, size_t len,
		       const struct fail *why_not, void *cookie);
	/* So soon, or earlier, something comes to an end that agent_changed() will tell of; 0: any moment,
	 * UINT64_MAX: nothing that is known of. May be NULL. */
	uint64_t (*ends_ms)(void *cookie);
	/* What came so far of the bundle that is being fetched, durably: it is gone on with after a
	 * restart. Of one bundle, in order; begun anew at 0. NULL: nothing is kept. */
	int (*keep_part)(const uint8_t sha256[32], uint64_t at, const uint8_t *bytes,
			 size_t len, void *cookie);
	int (*kept_part)(const uint8_t sha256[32], uint8_t **ret_bytes, size_t *ret_len,
			 void *cookie);
	void (*drop_parts)(void *cookie); /* of any bundle */
	/* Durably; a failure is tried again with the next change. */
	int (*keep)(const struct agent_kept *kept, void *cookie);
};

struct agent_opts {		 /* strings are copied */
	const char *controllers; /* "https://host:port ...", asked in turn; "": see kept.url */
	const char *enroll;	 /* "https://host:port" of the enrolment, "" */
	const char *token;	 /* "hfe1.SECRET.PIN", "" */
	const char *no_token;	 /* why there is none; NULL */
	const char *key;	 /* PEM: the host's; Ed25519, or of any type with outside */
	const char *name;	 /* of the host, for people */
	bool outside; /* the certificate is an outside authority's: not renewed here */
	struct agent_kept kept;
	uint64_t backoff_ms, backoff_max_ms, answer_ms; /* 0: AGENT_..._MS */
	const struct agent_engine *engine;		/* must outlive it */
	void *cookie;
};

enum agent_state {
	AGENT_STRANGER,
	AGENT_ENROLLING,
	AGENT_CONNECTING,
	AGENT_CONNECTED,
	AGENT_WAITING,
};

struct agent_status {
	enum agent_state state;
	const char *host;    /* its id; "" unknown: no key that has one, no certificate */
	const char *url;     /* the controller that is asked, "" */
	uint64_t since_ms;   /* CLOCK_REALTIME of the last answer that was good; 0 none */
	unsigned int failed; /* in a row */
	uint64_t retry_in_ms;
	uint64_t not_after_s;	/* of the certificate, 0 none */
	uint64_t heartbeat_ms;	/* as the controller has it; 0 unknown */
	uint64_t generation;	/* of what the controller wants */
	uint64_t seq;		/* of the last report that was acknowledged */
	const struct fail *why; /* the last failure; FAIL_NONE */
};

/* connections: how many may be open and idle; twice the number of agents. */
int agent_net_new(struct event_base *base, size_t connections, struct agent_net **ret_net,
		  struct fail *reterr_fail);
/* After its agents. */
struct agent_net *agent_net_free(struct agent_net *net);

/* Errors: FAIL_USAGE, FAIL_BAD_FORMAT what cannot be a URL, token, key or certificate. */
int agent_new(struct agent_net *net, const struct agent_opts *opts, struct agent **ret_agent,
	      struct fail *reterr_fail);
struct agent *agent_free(struct agent *a);
/* What report() says has changed: it will be asked soon. */
void agent_changed(struct agent *a);
void agent_document_done(struct agent *a, int r, const struct fail *why);
void agent_status(const struct agent *a, struct agent_status *ret_status);
const char *agent_state_name(enum agent_state state);

/* Pure: how long after so many failures in a row (from 1). random: any 64 bits. */
uint64_t agent_backoff_ms(unsigned int failed, uint64_t base_ms, uint64_t max_ms,
			  uint64_t random);
/* Pure: how long to let the next question be parked, so that the heartbeats of hosts spread. */
uint64_t agent_phase_ms(const char *host, uint64_t heartbeat_ms, uint64_t now_ms);

DEFINE_AUTO(struct agent_net, agent_net_free)
DEFINE_AUTO(struct agent, agent_free)
