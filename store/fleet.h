// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/fleet.h -- the controllers' durable state, of one controller on a file or of many on PostgreSQL:
 * hosts and their reports, rollouts and who owns them, what each host is told, what is handed
 * out, who may come in, and the audit chain. The only owner of these tables (fleet.c,
 * fleet_host.c, fleet_rollout.c, fleet_stock.c, fleet_access.c, fleet_audit.c over store/db.h).
 *
 * Each operation is one transaction. It returns 0, and done gets an answer from the loop, or
 * -ENOMEM, and nothing comes. What waits for what, and who works: store/db.h, with fleet_db().
 *
 * Time       Leases, tokens and heartbeats go by the clock of the database, the same for all
 *            controllers; what is written down for people is the caller's at_ms.
 * Context    loop thread; as store/db.h.
 * Errors     of an answer: those of store/db.h, and
 *            -ENOENT  no such row
 *            -ESTALE  somebody was first: the rollout is no longer yours, the token was used
 *            -EILSEQ  the same version with another manifest (equivocation)
 * Ownership  done owns the answer; what is read from it lives as long. Arguments are copied.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "store/db.h"

#define FLEET_CHUNK_BYTES 65536 /* of a bundle, as it is stored */

/* Topics of db_on_wake(): what may have changed. */
#define FLEET_TOPIC_HOSTS    "hosts"
#define FLEET_TOPIC_ROLLOUTS "rollouts"
#define FLEET_TOPIC_WORDS    "words"
#define FLEET_TOPIC_STOCK    "stock"
#define FLEET_TOPIC_GUARDS   "guards"
#define FLEET_TOPIC_ACCESS   "access" /* who may come in: certificates, operators */
#define FLEET_TOPIC_STEPS    "steps"  /* rollouts went on: for those who watch them */

struct fleet;

/* where, statement_ms and answer_ms as in struct db_opts. */
int fleet_open(const char *where, uint32_t statement_ms, uint32_t answer_ms,
	       struct fleet **ret_fleet, struct fail *reterr_fail);
struct fleet *fleet_free(struct fleet *f);
struct db *fleet_db(struct fleet *f);

struct fleet_answer {
	int r;
	struct fail fail; /* of r */
	/* The rest is fleet*.c's own. */
	struct fleet *fleet;
	struct db_batch *batch;
	int on_stale; /* what -ESTALE means here */
	int on_none;  /* what an answer without rows means, 0: that there are none */
	size_t rows;  /* the statement that answers */
	size_t next[2];
	uint64_t offset, len; /* of a bundle */
	struct fleet_audit_list *audit;
	void (*done)(struct fleet_answer *a, void *cookie);
	void *cookie;
};

typedef void (*fleet_done_fn)(struct fleet_answer *a, void *cookie);
struct fleet_answer *fleet_answer_free(struct fleet_answer *a);
/* For a CLI and for tests: `r = fleet_wait(f, fleet_hosts(f, ..., fleet_keep, &a), &a)`. */
void fleet_keep(struct fleet_answer *a, void *cookie);
int fleet_wait(struct fleet *f, int r, struct fleet_answer *const *a);
/* Rows that the answer's question changed, where its operation says that they count. */
uint64_t fleet_count(const struct fleet_answer *a);

/* A row of the audit log, written with what it tells of; every operation that changes a thing has one. */
struct fleet_entry {
	uint64_t at_ms;
	const char *actor;  /* an operator, a host, a controller */
	const char *action; /* a verb, or the reason code of a transition */
	const char *subject;
	const char *result;
	const char *detail; /* JSON text, or NULL */
};

/* ---- hosts --------------------------------------------------------------------- */

struct fleet_enrolment {
	const uint8_t *token_hash;  /* of 32 bytes; NULL: somebody else vouched for it */
	const char *id;		    /* of the host's key */
	const char *name;	    /* for people */
	const uint8_t *fingerprint; /* SHA-256 of its certificate */
	const char *certificate;    /* its serial number, as text */
	uint64_t expires_ms;	    /* of the certificate */
};

/* A token counts once. A host that comes again keeps its row, and starts with report 1 again. */
int fleet_enrol(struct fleet *f, const struct fleet_enrolment *e,
		const struct fleet_entry *entry, fleet_done_fn done, void *cookie);

struct fleet_report {
	const char *host;
	uint64_t seq; /* of the host; what is not newer than what is stored changes nothing */
	const char *boot_id, *kernel, *arch, *zone;
	const char *facts;    /* labels of the host's own, as JSON */
	const char *hotfixes; /* JSON; NULL: a heartbeat, all but host is ignored */
	const char *health;   /* JSON */
	uint64_t audit_seq;
	const uint8_t *audit_head; /* of 32 bytes; NULL: none */
};

/* Heartbeats and reports, of any number of hosts at once. Unknown hosts are passed over. */
int fleet_reports(struct fleet *f, const struct fleet_report *reports, size_t n,
		  fleet_done_fn done, void *cookie);

struct fleet_host {
	const char *id, *name;
	const char *labels; /* JSON, of operators */
	bool held;
	const char *held_by, *held_for; /* an operator and what he said; "" nobody, nothing */
	uint64_t held_ms;		/* since then; 0: nobody knows */
	uint64_t max_serial;		/* 0: none */
	bool gone; /* forgotten; the row is there for those who follow changes */
	uint64_t enrolled_ms, seen_ms;
	uint64_t silent_ms; /* since then, by the clock of the database */
	uint64_t change;    /* grows over all hosts */
	uint64_t seq;	    /* of the report; 0: none yet, the rest is "" */
	const char *boot_id, *kernel, *arch, *zone, *facts, *hotfixes, *health;
	uint64_t audit_seq;
	const uint8_t *audit_head; /* or NULL */
};

int fleet_host(struct fleet *f, const char *id, fleet_done_fn done, void *cookie);
/* By id, after one ("": from the first); those that are gone are left out. */
int fleet_hosts(struct fleet *f, const char *after, uint32_t limit, fleet_done_fn done,
		void *cookie);
/*
 * In the order of their changes, after the host and change that were read last (0, ""). A
 * heartbeat is none. Whoever has read up to here misses nothing by going on from here.
 */
int fleet_hosts_changed(struct fleet *f, uint64_t change, const char *host, uint32_t limit,
			fleet_done_fn done, void *cookie);
/* Not heard of for so long. */
int fleet_hosts_silent(struct fleet *f, uint64_t ms, uint32_t limit, fleet_done_fn done,
		       void *cookie);
/* All of them, by id: nothing else is said of them but silent_ms. */
int fleet_silent(struct fleet *f, uint64_t ms, fleet_done_fn done, void *cookie);
bool fleet_next_host(struct fleet_answer *a, struct fleet_host *ret_host);
/* For how long no controller has heard of any host. */
int fleet_heard(struct fleet *f, fleet_done_fn done, void *cookie);
uint64_t fleet_heard_ms(const struct fleet_answer *a); /* 0: there is none, too */

/*
 * labels NULL: as they are. held_for: why it is held, by the actor of entry since then; NULL: who
 * holds it and why stay as they are.
 */
int fleet_set_host(struct fleet *f, const char *id, const char *labels, bool held,
		   const char *held_for, uint64_t max_serial, const struct fleet_entry *entry,
		   fleet_done_fn done, void *cookie);
/* It is gone, its certificates revoked, its words withdrawn. */
int fleet_forget_host(struct fleet *f, const char *id, const struct fleet_entry *entry,
		      fleet_done_fn done, void *cookie);

struct fleet_certificate {
	const uint8_t *fingerprint;
	const char *host, *serial;
	uint64_t issued_ms, expires_ms;
	uint64_t revoked_ms; /* 0: good */
	const char *reason;
};

int fleet_add_certificate(struct fleet *f, const struct fleet_certificate *c,
			  const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
/* Of a host (fingerprint NULL: all that it has), or one. */
int fleet_revoke_certificate(struct fleet *f, const char *host, const uint8_t *fingerprint,
			     const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_certificate(struct fleet *f, const uint8_t *fingerprint, fleet_done_fn done,
		      void *cookie);
/* host NULL: those that were revoked, of all hosts. */
int fleet_certificates(struct fleet *f, const char *host, fleet_done_fn done, void *cookie);
bool fleet_next_certificate(struct fleet_answer *a, struct fleet_certificate *ret_certificate);

/* What is to be known of a host that speaks; of any number of them at once, each id once. */
struct fleet_visit {
	const char *host;
	const uint8_t *fingerprint; /* of the certificate it comes with */
};

struct fleet_visitor {
	const char *host;
	bool known;		 /* enrolled, and not forgotten */
	bool certified;		 /* the certificate is written down, */
	bool revoked;		 /* and revoked */
	uint64_t generation;	 /* of its words, which fleet_next_word() gives: 0 none yet */
	uint64_t seq, audit_seq; /* of its last report */
	const uint8_t *audit_head;
};

int fleet_visits(struct fleet *f, const struct fleet_visit *visits, size_t n,
		 fleet_done_fn done, void *cookie);
bool fleet_next_visitor(struct fleet_answer *a, struct fleet_visitor *ret_visitor);

/* ---- rollouts ------------------------------------------------------------------ */

struct fleet_rollout {
	const char *id, *name; /* of the hot-fix */
	const char *state;     /* the engine's, JSON */
	uint64_t generation;   /* of state; grows with each step */
	uint64_t epoch;	       /* of the owner: each claim begins another */
	const char *owner;     /* "" before the first claim */
	uint64_t lease_ms;     /* left, by the clock of the database */
	bool active;
	uint64_t created_ms, ended_ms;
};

int fleet_new_rollout(struct fleet *f, const struct fleet_rollout *r,
		      const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
/*
 * One active rollout whose lease is over becomes the owner's, a process's own name, in a new
 * epoch. -ENOENT: none is free. All ask for leases of about the same length: one that ends much later
 * is over as well, for the clock was set back since.
 */
int fleet_claim(struct fleet *f, const char *owner, uint64_t lease_ms, fleet_done_fn done,
		void *cookie);
/* All that the owner has still; rollouts with another epoch than it knows are not its own. */
int fleet_renew(struct fleet *f, const char *owner, uint64_t lease_ms, fleet_done_fn done,
		void *cookie);
/* Others may claim them at once. */
int fleet_release(struct fleet *f, const char *owner, fleet_done_fn done, void *cookie);

/* The rollout, its hosts and what was asked of it. */
int fleet_rollout(struct fleet *f, const char *id, fleet_done_fn done, void *cookie);
/* The same without hosts. */
int fleet_rollout_header(struct fleet *f, const char *id, fleet_done_fn done, void *cookie);
/* By id, without hosts. */
int fleet_rollouts(struct fleet *f, bool active_only, const char *after, uint32_t limit,
		   fleet_done_fn done, void *cookie);
bool fleet_next_rollout(struct fleet_answer *a, struct fleet_rollout *ret_rollout);

struct fleet_rollout_host {
	const char *host;
	const char *state; /* the engine's, JSON */
	bool held; /* no other rollout of this hot-fix may hold this host meanwhile: -EEXIST */
};

bool fleet_next_rollout_host(struct fleet_answer *a, struct fleet_rollout_host *ret_host);

/* What an operator wants of a rollout, for whoever owns it; JSON. */
struct fleet_request {
	uint64_t seq;
	const char *rollout, *text;
};

int fleet_ask(struct fleet *f, const char *rollout, const char *text,
	      const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
/* The same of one that has ended, which is active again with it; -ENOENT: it has not. */
int fleet_reopen(struct fleet *f, const char *rollout, const char *text,
		 const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
/* After seq, of all rollouts; what was done is gone. */
int fleet_requests(struct fleet *f, uint64_t seq, uint32_t limit, fleet_done_fn done,
		   void *cookie);
bool fleet_next_request(struct fleet_answer *a, struct fleet_request *ret_request);

/* What a host is told about a hot-fix. */
struct fleet_word {
	const char *host, *name;
	const char *rollout; /* "" none */
	const void *body;    /* NULL: it is withdrawn */
	size_t len;
};

/*
 * One step of the engine or several, all of it or nothing: the rollout has the epoch and the
 * generation from which they began (-ESTALE: drop it, it is somebody else's), each host and each
 * word at most once. After -ECONNABORTED read the generation: it says whether they were stored.
 */
struct fleet_step {
	const char *id, *name;
	uint64_t epoch, generation; /* of what is stored now */
	uint64_t next; /* generation of state, not below; 0: one more than what is stored */
	const char *state;
	bool active;
	uint64_t at_ms;
	uint64_t requests_done; /* up to this one, of this rollout */
	const struct fleet_rollout_host *hosts;
	const struct fleet_word *words; /* those of name */
	const struct fleet_entry *entries;
	size_t n_hosts, n_words, n_entries;
};

int fleet_step(struct fleet *f, const struct fleet_step *s, fleet_done_fn done, void *cookie);

/* All words of a host; those of fleet_visits() come by host and name. */
int fleet_words(struct fleet *f, const char *host, fleet_done_fn done, void *cookie);
bool fleet_next_word(struct fleet_answer *a, struct fleet_word *ret_word);

/* A host's words have changed: its generation grew. */
struct fleet_desired {
	const char *host;
	uint64_t generation, change;
};

/* After the change and host that were read last (0, ""); the first row of fleet_words() too. */
int fleet_desired_changed(struct fleet *f, uint64_t change, const char *host, uint32_t limit,
			  fleet_done_fn done, void *cookie);
bool fleet_next_desired(struct fleet_answer *a, struct fleet_desired *ret_desired);

/* ---- what is handed out ---------------------------------------------------------- */

struct fleet_bundle {
	const uint8_t *digest, *manifest_sha256; /* of 32 bytes */
	const char *name;
	uint64_t serial, bytes, imported_ms;
	const char *actor;
};

/* Again: nothing changes. -EILSEQ: another manifest under this serial is known. */
int fleet_put_bundle(struct fleet *f, const struct fleet_bundle *b, const void *bytes,
		     const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_bundle(struct fleet *f, const uint8_t *digest, fleet_done_fn done, void *cookie);
int fleet_bundles(struct fleet *f, fleet_done_fn done, void *cookie);
bool fleet_next_bundle(struct fleet_answer *a, struct fleet_bundle *ret_bundle);
int fleet_drop_bundle(struct fleet *f, const uint8_t *digest, const struct fleet_entry *entry,
		      fleet_done_fn done, void *cookie);
/* Part of it, in pieces of at most FLEET_CHUNK_BYTES; past its end there is none. */
int fleet_read_bundle(struct fleet *f, const uint8_t *digest, uint64_t offset, uint64_t len,
		      fleet_done_fn done, void *cookie);
bool fleet_next_bytes(struct fleet_answer *a, const void **ret_bytes, size_t *ret_len);
uint64_t fleet_bundle_bytes(const struct fleet_answer *a); /* of all of it */

/* Signed documents by kind: "root" (name: its version), "catalog" (""), "revocation" (digest). */
struct fleet_document {
	const char *kind, *name;
	uint64_t version, imported_ms;
	const char *actor;
	const void *envelope;
	size_t len;
};

/*
 * Takes the place of the one with this kind and name, if its version is newer; else -ESTALE. Version 0: the
 * one after all of this kind, if there is none of this name yet.
 */
int fleet_put_document(struct fleet *f, const struct fleet_document *d,
		       const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
/* Of a kind, those after a version, the oldest first. */
int fleet_documents(struct fleet *f, const char *kind, uint64_t after, fleet_done_fn done,
		    void *cookie);
bool fleet_next_document(struct fleet_answer *a, struct fleet_document *ret_document);

/* ---- who may come in, and what holds everybody ------------------------------------- */

/* A ticket for one host; the database has its hash only. */
struct fleet_token {
	const uint8_t *hash;
	const char *labels; /* JSON, of the host that uses it */
	const char *actor;
	uint64_t created_ms, expires_ms;
	uint64_t used_ms; /* 0: not yet */
	const char *used_by;
};

int fleet_add_token(struct fleet *f, const struct fleet_token *t,
		    const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_drop_token(struct fleet *f, const uint8_t *hash, const struct fleet_entry *entry,
		     fleet_done_fn done, void *cookie);
int fleet_tokens(struct fleet *f, fleet_done_fn done, void *cookie);
bool fleet_next_token(struct fleet_answer *a, struct fleet_token *ret_token);

/* Whoever shows a token or certificate of this hash is this user. */
struct fleet_operator {
	const uint8_t *credential; /* SHA-256 */
	const char *name;
	const char *role;		 /* viewer | operator | approver | admin */
	uint64_t created_ms, expires_ms; /* 0: never */
	uint64_t revoked_ms;		 /* 0: not */
};

int fleet_add_operator(struct fleet *f, const struct fleet_operator *o,
		       const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_revoke_operator(struct fleet *f, const char *name, const struct fleet_entry *entry,
			  fleet_done_fn done, void *cookie);
/* Who that is now; -ENOENT: nobody, or no more. */
int fleet_operator(struct fleet *f, const uint8_t *credential, fleet_done_fn done,
		   void *cookie);
int fleet_operators(struct fleet *f, fleet_done_fn done, void *cookie);
bool fleet_next_operator(struct fleet_answer *a, struct fleet_operator *ret_operator);

/* "stop" (the line, name ""), "freeze" (name: its own), "quarantine" (name: digest). */
struct fleet_guard {
	const char *kind, *name;
	uint64_t from_ms, until_ms; /* 0: open */
	const char *scope;	    /* JSON */
	const char *reason, *actor;
	uint64_t at_ms;
};

int fleet_put_guard(struct fleet *f, const struct fleet_guard *g,
		    const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_drop_guard(struct fleet *f, const char *kind, const char *name,
		     const struct fleet_entry *entry, fleet_done_fn done, void *cookie);
int fleet_guards(struct fleet *f, fleet_done_fn done, void *cookie);
bool fleet_next_guard(struct fleet_answer *a, struct fleet_guard *ret_guard);

/* ---- audit: hash-chained (store/chain.h), append-only, kept for ever ---------------- */

struct fleet_audit {
	uint64_t seq;
	struct fleet_entry entry;
	const uint8_t *hash;
};

int fleet_audit(struct fleet *f, const struct fleet_entry *entry, fleet_done_fn done,
		void *cookie);
/* After seq; subject NULL: of all. The history of a rollout is that of its id. */
int fleet_audits(struct fleet *f, const char *subject, uint64_t seq, uint32_t limit,
		 fleet_done_fn done, void *cookie);
bool fleet_next_audit(struct fleet_answer *a, struct fleet_audit *ret_audit);
/*
 * For those who may not block: from {0}, page after page of fleet_audits(f, NULL, c->seq, ...) until
 * one is empty, and then the head of the log.
 */
struct fleet_chain {
	uint64_t seq;
	uint8_t hash[32];
};

/* -EUCLEAN: row c->seq + 1 is not what follows; so many rows did. */
int fleet_chain_follow(struct fleet_chain *c, struct fleet_answer *a, uint64_t *ret_rows);
/* Is that where the log ends? -EUCLEAN in its answer: it is not. */
int fleet_chain_end(struct fleet *f, const struct fleet_chain *c, fleet_done_fn done,
		    void *cookie);
/* Blocks. 0 and the head; -EUCLEAN and the first bad row. */
int fleet_audit_verify(struct fleet *f, uint64_t *ret_rows, char ret_head_hex[65],
		       uint64_t *reterr_bad_seq, struct fail *reterr_fail);

/* ---- housekeeping --------------------------------------------------------------------- */

/* Can anything be stored? It writes, and changes nothing. */
int fleet_probe(struct fleet *f, fleet_done_fn done, void *cookie);

/*
 * What ended before: rollouts (a few at a time; fleet_count() 0: no more), tokens, certificates, guards
 * and hosts that are gone. The audit log stays.
 */
int fleet_trim(struct fleet *f, uint64_t before_ms, fleet_done_fn done, void *cookie);

/*
 * Blocks. All of one database, to which nobody writes meanwhile, into another that is empty (-EEXIST),
 * as one transaction which ends with a check: of each table as many rows, and the same digest
 * over all of them; else -EUCLEAN.
 */
int fleet_migrate(struct fleet *from, struct fleet *to, uint64_t *ret_rows,
		  struct fail *reterr_fail);
/* Blocks. A digest over all rows of all tables, without what goes by the database's clock. */
int fleet_digest(struct fleet *f, uint8_t ret_sha256[32], struct fail *reterr_fail);

DEFINE_AUTO(struct fleet, fleet_free)
DEFINE_AUTO(struct fleet_answer, fleet_answer_free)
