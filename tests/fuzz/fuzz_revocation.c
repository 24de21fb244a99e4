// SPDX-License-Identifier: BSD-2-Clause
/*
 * A revocation. The bytes are its payload, signed here by a key that is trusted; a byte other
 * than '{' before them has them taken as the envelope.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/plain.h"
#include "store/revocation.h"

FUZZ_TARGET(revocation)
{
	struct key *key = fuzz_key(0);
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *text = NULL, *again = NULL;
	struct revocation v, same;
	struct fail f = {0};

	if (size && data[0] == '{')
		fuzz_must(dsse_sign(DSSE_TYPE_REVOCATION, data, size, &key, 1, &text, NULL) ==
			  0);
	else if (size)
		text = fuzz_text(data + 1, size - 1);
	if (!text || revocation_open(text, strlen(text), fuzz_trust(), &v, &f) < 0) {
		fuzz_must(!text || (f.code != FAIL_NONE && plain_is(f.message, false)));
		return 0;
	}
	fuzz_must(hook_name_valid(v.name) && v.from >= 1 && v.from <= v.to);
	fuzz_must(plain_is(v.reason, false));
	fuzz_must(revocation_covers(&v, v.name, v.from) &&
		  revocation_covers(&v, v.name, v.to) &&
		  !revocation_covers(&v, v.name, v.to + 1) &&
		  !revocation_covers(&v, v.name, v.from - 1) &&
		  !revocation_covers(&v, "", v.from));
	doc = revocation_to_json(&v);
	fuzz_must(doc);
	fuzz_must(dsse_parse("fuzz", text, strlen(text), &d, NULL) == 0 &&
		  revocation_open_unverified(d, &same, NULL) == 0 &&
		  memcmp(v.sha256, same.sha256, sizeof(v.sha256)) == 0);
	/* What it says can be said again. */
	fuzz_must(revocation_sign(&v, &key, 1, &again, &f) == 0);
	fuzz_must(revocation_open(again, strlen(again), fuzz_trust(), &same, &f) == 0);
	fuzz_must(same.from == v.from && same.to == v.to && same.rollback == v.rollback &&
		  strcmp(same.reason, v.reason) == 0 && strcmp(same.name, v.name) == 0);
	return 0;
}
