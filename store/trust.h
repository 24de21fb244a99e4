// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/trust.h -- the root document: who may sign hot-fixes for this host.
 *
 * Payload (DSSE_TYPE_ROOT):
 * {"format":1,"version":N,"created":ts,"expires":ts|absent,"fleet":id|absent,
 *   "roles":{"root":{"threshold":M,"keys":[base64...]},
 *     "release":{"threshold":M,"keys":[base64...],"scopes":[scope...]|absent},
 *     "director":role|absent,"status":role|absent},
 *   "floors":{name:serial,...}|absent,"resets":[name,...]|absent}
 *
 * director and status are the online keys of a fleet (store/directive.h, store/catalog.h): they
 * are neither root nor release keys. A name in resets has a floor too: with this root
 * the high-water mark of hosts becomes that floor, once; so a serial that a stolen key drove up
 * is forgotten.
 *
 * A scope is {"key":base64,"name":pattern,"hook":type}: a release key that has any signs only
 * for hooks that fit one of them. "*" in a pattern stands for any characters, as the
 * hook for any type.
 *
 * The first root is trusted because an administrator imports it (its sha256 is what two people
 * compare by telephone); each that follows has the next version and is signed by the root
 * thresholds of both. An expired root warns and stops first attaches, never what runs.
 *
 * Errors     FAIL_BAD_FORMAT (threshold < 1, above the number of distinct keys, small-order key
 *            ...); FAIL_BAD_SIGNATURE a signed root that its own root keys do not support.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/hook.h"
#include "store/dsse.h"
#include "store/key.h"

#define TRUST_KEYS_MAX	  32
#define TRUST_VERSION_MAX 9007199254740991ULL /* 2^53 - 1, as every number of a document */
#define TRUST_FLOORS_MAX  4096
#define TRUST_SCOPES_MAX  128
#define TRUST_WARN_DAYS	  30 /* before a root expires */

struct trust_role {
	struct key_public keys[TRUST_KEYS_MAX]; /* distinct */
	size_t n_keys;
	unsigned int threshold;
};

struct trust_scope {
	struct key_public key;
	char name[HOOK_NAME_MAX + 1]; /* pattern */
	char hook[16];		      /* type, or "*" */
};

struct trust {
	uint64_t version;
	uint64_t created_ms;
	uint64_t expires_ms; /* 0: never */
	char fleet[65];	     /* "" none */
	uint8_t sha256[32];  /* of the payload: two envelopes of one root have the same */
	struct trust_role root, release, director, status; /* the last two may have no keys */
	struct trust_scope scopes[TRUST_SCOPES_MAX];	   /* of release keys */
	size_t n_scopes;
	json_t *floors; /* object name -> serial; NULL: none */
	json_t *resets; /* array of names; NULL: none */
};

/*
 * Text of the envelope of a root that says what t does (sha256 aside), signed by keys: by none
 * for a first root, or by some of those that must; others may follow (store/dsse.h).
 */
int trust_sign(const struct trust *t, struct key *const *keys, size_t n_keys, char **ret_text,
	       struct fail *reterr_fail);
/*
 * Parses an envelope that an administrator hands in or that the store kept. Without any
 * signature it is a first root; with signatures they must reach its own root threshold.
 */
int trust_open(const void *envelope, size_t len, struct trust **ret_trust,
	       struct fail *reterr_fail);
/*
 * The same for the first root that an administrator hands in here: one that follows another must be
 * signed, since who has that other one would never take it.
 */
int trust_open_first(const void *envelope, size_t len, struct trust **ret_trust,
		     struct fail *reterr_fail);
/*
 * The same for a root that is to replace current: version current + 1, signed by the root
 * thresholds of both.
 *
 * Errors     -EALREADY (FAIL_CONFLICT) it is the one in force; FAIL_EQUIVOCATION the keys in force
 *            signed another one of this version; FAIL_DOWNGRADE older; FAIL_POLICY a version
 *            in between is missing.
 */
int trust_open_next(const void *envelope, size_t len, const struct trust *current,
		    struct trust **ret_trust, struct fail *reterr_fail);
/* For showing, and for signing by those who have not yet: no signature is checked. */
int trust_open_unverified(const struct dsse *d, struct trust **ret_trust,
			  struct fail *reterr_fail);
struct trust *trust_free(struct trust *t);
uint64_t trust_floor(const struct trust *t, const char *name); /* 0: none */
/* The release role without the keys whose scopes leave out this name or one of these hooks. */
struct trust_role trust_release_for(const struct trust *t, const char *name,
				    const struct hook *hooks, size_t n_hooks);
/* Name and hook of a scope; -EINVAL. */
int trust_scope_parse(const char *name, const char *hook, struct trust_scope *ret_scope);
/* What is to be said about its expiry, from TRUST_WARN_DAYS before on; else "". */
const char *trust_warning(const struct trust *t, uint64_t now_ms, char *out, size_t room);
/* For trust show: version, expiry, sha256, roles with key ids and scopes, floors. NULL: out of memory. */
json_t *trust_to_json(const struct trust *t);

DEFINE_AUTO(struct trust, trust_free)
