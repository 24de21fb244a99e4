// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/store.h -- one host's durable state: trust, bundles, what should run,
 * every change with its intent and outcome, and the audit chain. The only owner
 * of the database (store.c, store_change.c, store_audit.c, store_boot.c, store_fleet.c over sql.c).
 *
 * Context    loop thread; a commit fsyncs (see bench). SQLite, WAL, synchronous=FULL,
 *            STRICT tables, foreign keys; quick_check and application_id at open.
 * Errors     -EBUSY  locked by another process past 500 ms
 *            -EUCLEAN damaged, or not a database of hotfixd
 *            -EPROTO schema newer than this program
 *            -ENOENT no such row;  -EEXIST already there, the same
 *            -EILSEQ already there with another digest (equivocation)
 *            -EROFS, -ENOSPC, -EIO, -EACCES as the file system says
 *            store_error() words the last one for an operator.
 * Ownership  struct results with pointers are freed by their own free function; the rest is
 * plain memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/fail.h"
#include "lib/hook.h"
#include "store/key.h"

struct store;

int store_open(const char *path, struct store **ret_store, struct fail *reterr_fail);
struct store *store_free(struct store *s);
/* Fills f from the last error of s: FAIL_STORAGE with path and what to do. Returns -errno. */
int store_error(struct store *s, int r, struct fail *f);

/* Several writes as one commit: begin; ...; commit. A failed one must be rolled back. Not
 * nested. */
int store_begin(struct store *s);
int store_commit(struct store *s);
void store_rollback(struct store *s);

/* ---- trust ---------------------------------------------------------------- */
/* Roots are kept for ever, for the chain. -EEXIST, -EILSEQ as below; -ESTALE older than ours.
 */
int store_put_root(struct store *s, uint64_t version, const void *envelope, size_t len,
		   uint64_t now_ms, uint32_t actor_uid);
int store_get_root(struct store *s, uint8_t **ret_envelope,
		   size_t *ret_len); /* newest; -ENOENT */

struct store_root {
	const void *envelope; /* borrowed while fn looks at it */
	size_t len;
	uint64_t imported_ms;
	uint32_t actor_uid;
};

/* Oldest first; fn returns non-zero to stop. */
int store_each_root(struct store *s, int (*fn)(const struct store_root *root, void *cookie),
		    void *cookie);

/* By the digest of its payload; the same with other signatures takes its place. */
int store_put_revocation(struct store *s, const uint8_t sha256[32], const void *envelope,
			 size_t len, uint64_t now_ms, uint32_t actor_uid);
/* Oldest first; fn returns non-zero to stop. */
int store_each_revocation(struct store *s,
			  int (*fn)(const void *envelope, size_t len, void *cookie),
			  void *cookie);

/* The status of the fleet (store/catalog.h) in force; -ENOENT. A new one takes its place. */
int store_put_catalog(struct store *s, const void *envelope, size_t len, uint64_t now_ms,
		      uint32_t actor_uid);
int store_get_catalog(struct store *s, uint8_t **ret_envelope, size_t *ret_len);
/* -EEXIST: a directive with this nonce was carried out before. Those past expiry by now_ms are
 * forgotten: they are refused for that. */
int store_use_nonce(struct store *s, const uint8_t nonce[16], const char *name,
		    uint64_t expires_ms, uint64_t now_ms);
int store_nonce_used(struct store *s, const uint8_t nonce[16], bool *ret_used);

/* ---- time ------------------------------------------------------------------- */
struct store_clock {
	uint64_t real_ms; /* the host's clock, which anybody may have set */
	uint64_t up_ms;	  /* since boot */
	const char *boot_id;
};

/*
 * The time by which expiry is judged: that of the host, but never earlier than what was trusted
 * before, nor by what has passed of this boot since. keep: writes it down, when a
 * minute has passed; a failure to write is none.
 */
int store_trusted_ms(struct store *s, const struct store_clock *now, bool keep,
		     uint64_t *ret_ms);
/* Whatever it was: a new root says so. */
int store_set_trusted_ms(struct store *s, const struct store_clock *now, uint64_t ms);

/* ---- a host's place in its fleet (server/member.h) ---------------------------- */
struct store_member {
	uint64_t seq, revocation;     /* struct agent_kept */
	uint64_t begun_ms;	      /* when the fleet last began an apply here; 0 never */
	char *certificate, *ca, *url; /* owned */
};

int store_put_member(struct store *s, const struct store_member *m);
/* -ENOENT */
int store_get_member(struct store *s, struct store_member *ret_member);
void store_member_clear(struct store_member *m);

/* The last word of one rollout on one hot-fix, and what came of it. */
struct store_word {
	char name[HOOK_NAME_MAX + 1], rollout[HOOK_NAME_MAX + 1];
	uint64_t word;	  /* generation */
	bool newest;	  /* of all about this hot-fix; putting one ends that of the others */
	const char *body; /* JSON; good within fn only */
	char state[24], code[32], text[256];
	bool transient;
	uint64_t change_id; /* 0: none yet */
};

int store_put_word(struct store *s, const struct store_word *w);
int store_delete_word(struct store *s, const char *name, const char *rollout);
int store_each_word(struct store *s, int (*fn)(const struct store_word *w, void *cookie),
		    void *cookie);

/* What came so far of the bundle that is being fetched: of one, in order. That of others goes. */
int store_put_part(struct store *s, const uint8_t sha256[32], uint64_t at, const void *bytes,
		   size_t len);
/* From its first byte on, as far as there is no gap; -ENOENT */
int store_get_parts(struct store *s, const uint8_t sha256[32], uint8_t **ret_bytes,
		    size_t *ret_len);
int store_drop_parts(struct store *s);

/* By which rollout a version came to be committed, and what was committed before it. */
struct store_origin {
	char name[HOOK_NAME_MAX + 1], rollout[HOOK_NAME_MAX + 1];
	uint64_t serial, from_serial, at_ms;
};

int store_put_origin(struct store *s, const struct store_origin *o);
int store_get_origin(struct store *s, const char *name, struct store_origin *ret_origin);
bool store_has_digest(struct store *s, const uint8_t digest[32]); /* of a stored bundle */

/* ---- versions ------------------------------------------------------------- */
struct store_version {
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	char label[65];
	char title[201];
	uint8_t digest[32];	     /* of the bundle */
	uint8_t manifest_sha256[32]; /* of the signed manifest, see store_put_version */
	uint8_t object_sha256[32];
	uint64_t bundle_bytes;
	uint64_t imported_ms;
	uint32_t imported_uid;
	bool quarantined;
	char reason[256]; /* of the quarantine, else "" */
	/* Why those who are trusted now do not let it be applied, "": for showing; what decides
	 * is the bundle itself, at each use. */
	char barred[256];
};

/*
 * -EEXIST: this very bundle is stored already; -EILSEQ: another manifest under the same serial.
 * The same manifest with other signatures takes the place of the bundle that is stored.
 */
int store_put_version(struct store *s, const struct store_version *v, const void *bundle,
		      size_t len);
int store_get_version(struct store *s, const char *name, uint64_t serial,
		      struct store_version *ret_version);
int store_newest_serial(struct store *s, const char *name, uint64_t *ret_serial);
int store_get_bundle(struct store *s, const char *name, uint64_t serial, uint8_t **ret_bundle,
		     size_t *ret_len);
int store_delete_version(struct store *s, const char *name, uint64_t serial);
int store_quarantine(struct store *s, const char *name, uint64_t serial, bool on,
		     const char *reason);
int store_bar(struct store *s, const char *name, uint64_t serial, const char *why);
/* In order of name and serial; name NULL: all. fn returns non-zero to stop. */
int store_each_version(struct store *s, const char *name,
		       int (*fn)(const struct store_version *v, void *cookie), void *cookie);
/*
 * Hashes every bundle that is stored, in threads of its own: they read what is committed when
 * they begin, and write nothing. Made before the process confines itself, which holds for them
 * too; they begin when path was opened, which is not closed before they have ended.
 */
struct store_hashing;
int store_hashing_new(const char *path, struct store_hashing **ret_hashing);
void store_hashing_begin(struct store_hashing *h); /* NULL is fine */
/*
 * Waits until they have ended. fn is told of each version that has other bytes than were stored.
 * h NULL, or they could not: it is done here and now, over s.
 */
int store_hashing_end(struct store_hashing *h, struct store *s,
		      void (*fn)(const char *name, uint64_t serial, void *cookie),
		      void *cookie);
struct store_hashing *store_hashing_free(struct store_hashing *h); /* does not wait for more */

/* ---- what should run ------------------------------------------------------ */
struct store_hotfix {
	char name[HOOK_NAME_MAX + 1];
	uint64_t committed_serial; /* 0: none */
	uint64_t high_water;	   /* highest serial ever committed here */
	bool disabled;
	bool observe; /* it counts what it would deny, and denies nothing */
	char boot_id[CLOCK_BOOT_ID_BYTES]; /* boot in which it was last applied */
};

int store_get_hotfix(struct store *s, const char *name, struct store_hotfix *ret_hotfix);
/* Insert or update; high_water only ever rises. A new committed_serial is remembered. */
int store_put_hotfix(struct store *s, const struct store_hotfix *h);
/* With its versions; history, high-water mark and what was committed stay. */
int store_delete_hotfix(struct store *s, const char *name);
/* Also after removal; 0: nothing of that name was ever committed here. */
int store_high_water(struct store *s, const char *name, uint64_t *ret_serial);
/* From now on the mark is floor, or what is committed later. */
int store_reset_high_water(struct store *s, const char *name, uint64_t floor,
			   uint64_t root_version);
/*
 * Raises each mark that is below what the audit log says was committed: somebody wrote to the
 * database. fn is told of each.
 */
int store_mend_high_water(struct store *s,
			  void (*fn)(const char *name, uint64_t was, uint64_t is, void *cookie),
			  void *cookie);
int store_each_hotfix(struct store *s, int (*fn)(const struct store_hotfix *h, void *cookie),
		      void *cookie);
/*
 * Where a rollback from current goes: the serial that was in force before current took over,
 * skipping what is no longer stored, quarantined or barred; -ENOENT. Commits form a stack: a new
 * serial is put on top, one that is in it is gone back to (after 1, 2, 3 and back to 2,
 * the previous of 2 is 1).
 */
int store_previous_serial(struct store *s, const char *name, uint64_t current,
			  uint64_t *ret_serial);
/* Was this serial ever committed on this host. */
int store_was_committed(struct store *s, const char *name, uint64_t serial, bool *ret_was);

/* ---- changes: the intent is durable before the kernel is touched ----------- */
#define STORE_LOG_BYTES_MAX (1U << 20)

struct store_change {
	uint64_t id;
	char name[HOOK_NAME_MAX + 1];
	char verb[16];	      /* of hotfixctl, or restore (by hotfixd itself) */
	uint64_t serial;      /* asked for; 0 none */
	uint64_t from_serial; /* live before */
	char boot_id[CLOCK_BOOT_ID_BYTES];
	uint32_t actor_uid;
	uint64_t started_ms;
	uint64_t finished_ms; /* 0: no outcome yet */
	char outcome[24];     /* "" | done | trial | failed | rolled_back */
	char code[32];	      /* fail_name() or reason code */
	char detail[1024];    /* message for an operator */
	char *log;	      /* verifier log or NULL, its last STORE_LOG_BYTES_MAX; owned */
	json_t *evidence;     /* or NULL; owned */
};

void store_change_clear(struct store_change *c);
/* The intent; c->evidence is kept with it: what a restarted daemon needs to go on. */
int store_begin_change(struct store *s, const struct store_change *c, uint64_t *ret_id);
/* An outcome is final (-EEXIST), but "trial" may become another one. */
int store_end_change(struct store *s, uint64_t id, uint64_t now_ms, const char *outcome,
		     const char *code, const char *detail, const char *log_or_null,
		     const json_t *evidence_or_null);
/* Of a change that has its outcome: what was learned while tidying up after it. */
int store_set_evidence(struct store *s, uint64_t id, const json_t *evidence);
int store_get_change(struct store *s, uint64_t id, struct store_change *ret_change);
/* Newest first; name NULL: all; open_only: those without an outcome, oldest first. */
int store_each_change(struct store *s, const char *name, bool open_only, unsigned int limit,
		      int (*fn)(const struct store_change *c, void *cookie), void *cookie);

/* ---- boots: did the host go down without being asked to --------------------- */
struct store_boot {
	char boot_id[CLOCK_BOOT_ID_BYTES];
	uint64_t started_ms;	/* hotfixd's first start in it */
	bool stopped;		/* hotfixd was asked to stop and has not started again since */
	uint64_t crash_seen_ms; /* when a later boot found that it had crashed; 0: it had not */
	bool held; /* after crashes nothing is applied in it until an operator says so */
};

/* Insert or update. */
int store_put_boot(struct store *s, const struct store_boot *b);
/* Newest first; fn returns non-zero to stop. */
int store_each_boot(struct store *s, int (*fn)(const struct store_boot *b, void *cookie),
		    void *cookie);

/* ---- audit: hash-chained, append-only ------------------------------------- */
/* row hash = SHA-256(previous hash || row bytes); see store_audit.c for the encoding. */
int store_audit(struct store *s, uint64_t now_ms, uint32_t actor_uid, const char *action,
		const char *subject, const char *result, const json_t *detail_or_null);
int store_audit_list(struct store *s, uint64_t after_seq, unsigned int limit,
		     json_t **ret_rows);
/* 0 and the head; -EUCLEAN and the first bad row. */
int store_audit_verify(struct store *s, uint64_t *ret_rows, char ret_head_hex[65],
		       uint64_t *reterr_bad_seq);
int store_audit_head(struct store *s, uint64_t *ret_seq, uint8_t ret_hash[32]);
/* fn comes after each commit that wrote rows. */
void store_on_audit(struct store *s, void (*fn)(void *cookie), void *cookie);
/* Signs the head (store/checkpoint.h) when at least min_rows came since the last time. */
int store_checkpoint(struct store *s, struct key *host, uint64_t min_rows, uint64_t now_ms);
/* 0 and how many there are; -EUCLEAN and the first that is not the host's, or not of the row. */
int store_checkpoint_verify(struct store *s, const struct key_public *host, uint64_t *ret_count,
			    uint64_t *reterr_bad_seq);

DEFINE_AUTO(struct store, store_free)
DEFINE_AUTO(struct store_hashing, store_hashing_free)
