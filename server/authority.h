// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/authority.h -- whom this host trusts: the chain of roots from the first one, which an
 * administrator imported, to the one in force. It is walked whenever it is used: a root that
 * was put into the database by hand is found at once.
 *
 * Whenever trust changes, all that is stored is judged anew: what may not be applied any more
 * is barred, and says why. What runs stays.
 *
 * Context    loop thread; two signature checks a root, a review hashes every stored bundle.
 * Errors     FAIL_NO_TRUST; FAIL_BAD_SIGNATURE the stored roots do not follow each other;
 *            those of trust_open_next().
 */
#pragma once

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "store/catalog.h"
#include "store/directive.h"
#include "store/revocation.h"
#include "store/store.h"
#include "store/trust.h"

struct authority {
	struct trust *trust;
	struct revocation *revocations; /* those that the release keys of trust signed */
	size_t n_revocations;
	struct catalog *catalog; /* what the fleet says there is; NULL: nobody says */
};

/* The root in force, alone. */
int authority_trust(struct store *s, struct trust **ret_trust, struct fail *reterr_fail);
int authority_open(struct store *s, struct authority **ret_authority, struct fail *reterr_fail);
struct authority *authority_free(struct authority *a);
/* What revokes this version, force-rollback before no-new-apply; NULL. */
const struct revocation *authority_revoked(const struct authority *a, const char *name,
					   uint64_t serial);

/* Its catalog names this version with another manifest. */
bool authority_pins_other(const struct authority *a, const char *name, uint64_t serial,
			  const uint8_t manifest_sha256[32]);
/*
 * The time by which expiry is judged (store_trusted_ms); when the store cannot be read, the
 * host's. keep: for decisions, not for looking.
 */
uint64_t authority_now_ms(struct store *s, bool keep);

/*
 * Takes the first root as it is, later ones when they follow the one in force, which may be
 * handed in again.
 */
int authority_import(struct store *s, const void *envelope, size_t len, uint32_t actor_uid,
		     struct trust **ret_trust, struct fail *reterr_fail);
int authority_import_revocation(struct store *s, const void *envelope, size_t len,
				uint32_t actor_uid, struct revocation *ret_revocation,
				struct fail *reterr_fail);
/* One that is in force already may be handed in again. */
int authority_import_catalog(struct store *s, const void *envelope, size_t len,
			     uint32_t actor_uid, struct catalog **ret_catalog,
			     struct fail *reterr_fail);
/*
 * At start: that the bytes of each bundle are those that were stored, that what is committed is
 * still signed, and that no mark is lower than the audit log says. What is not gets barred or
 * raised, and is told in log and audit log; nothing is taken off. Signatures are looked at when
 * it begins, while others hash and survey; what became committed since, when it ends. That waits
 * for hashing, which may be NULL. NULL: out of memory.
 */
struct authority_check *authority_check_new(struct store *s);
void authority_check_end(struct authority_check *c, struct store_hashing *hashing);
struct authority_check *authority_check_free(struct authority_check *c);
/*
 * Bars a stored version that a does not let be applied, or lifts that. Within a commit.
 * verified: its bundle was opened under a->trust just now.
 */
int authority_review(struct store *s, const struct authority *a, const char *name,
		     uint64_t serial, bool verified, uint32_t actor_uid);
/* {"root","envelope","warning":text|null,"chain":[{"version","sha256","created","imported",
 *  "imported_uid"}, oldest first]} */
int authority_report(struct store *s, json_t **ret_doc, struct fail *reterr_fail);
/* What is to be said about the expiry of the root or the catalog in force; "". */
const char *authority_warning(struct store *s, char *out, size_t room);

DEFINE_AUTO(struct authority, authority_free)
DEFINE_AUTO(struct authority_check, authority_check_free)
