// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/catalog.h -- the status of a fleet: signed, short-lived, what there is in it. Pins the
 * contents of each version (mix-and-match, two versions under one serial) and gives
 * the length of each bundle before it is fetched; its expiry shows that nobody withholds newer ones.
 *
 * Payload (DSSE_TYPE_STATUS):
 * {"format":1,"fleet":id,"version":N,"created":ts,"expires":ts,"hotfixes":[
 *   {"name":name,"serial":N,"manifest":sha256,"bundle":sha256,"bytes":N},...]}
 *
 * Versions only grow. An expired one warns; what runs goes on, and what it pins stays pinned.
 *
 * Errors     FAIL_BAD_FORMAT, FAIL_BAD_SIGNATURE; FAIL_POLICY another fleet, or a root that
 *            names no status keys; of catalog_open_next() FAIL_DOWNGRADE, FAIL_EQUIVOCATION, and
 *            -EALREADY (FAIL_CONFLICT) it is the one in force.
 */
#pragma once

#include <stdint.h>

#include "store/trust.h"

#define CATALOG_ENTRIES_MAX 2048

struct catalog_entry {
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	uint8_t manifest_sha256[32], bundle_sha256[32];
	uint64_t bundle_bytes;
};

struct catalog {
	char fleet[65];
	uint64_t version;
	uint64_t created_ms, expires_ms;
	uint8_t sha256[32]; /* of the payload */
	struct catalog_entry *entries;
	size_t n_entries;
};

/* n_keys may be 0: others sign then. sha256 is not looked at. */
int catalog_sign(const struct catalog *c, struct key *const *keys, size_t n_keys,
		 char **ret_text, struct fail *reterr_fail);
int catalog_open(const void *envelope, size_t len, const struct trust *trust,
		 struct catalog **ret_catalog, struct fail *reterr_fail);
/* The same for one that is to replace current (NULL: none). */
int catalog_open_next(const void *envelope, size_t len, const struct trust *trust,
		      const struct catalog *current, struct catalog **ret_catalog,
		      struct fail *reterr_fail);
/* For showing, and for signing by those who have not yet: no signature is checked. */
int catalog_open_unverified(const struct dsse *d, struct catalog **ret_catalog,
			    struct fail *reterr_fail);
struct catalog *catalog_free(struct catalog *c);
/* NULL: it does not name this version. */
const struct catalog_entry *catalog_find(const struct catalog *c, const char *name,
					 uint64_t serial);
/* The fields of the payload and sha256. NULL: out of memory. */
json_t *catalog_to_json(const struct catalog *c);

DEFINE_AUTO(struct catalog, catalog_free)
