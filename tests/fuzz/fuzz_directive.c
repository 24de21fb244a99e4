// SPDX-License-Identifier: BSD-2-Clause
/*
 * A directive. The bytes are its payload, signed here by the director that is trusted; a byte
 * other than '{' before them has them taken as the envelope.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/plain.h"
#include "store/directive.h"

static bool same(const struct directive *a, const struct directive *b)
{
	return strcmp(a->fleet, b->fleet) == 0 && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->group, b->group) == 0 && strcmp(a->name, b->name) == 0 &&
	       a->action == b->action && a->from == b->from && a->to == b->to &&
	       a->has_manifest == b->has_manifest &&
	       memcmp(a->manifest_sha256, b->manifest_sha256, sizeof(a->manifest_sha256)) ==
		       0 &&
	       memcmp(a->nonce, b->nonce, sizeof(a->nonce)) == 0 &&
	       a->created_ms == b->created_ms && a->expires_ms == b->expires_ms &&
	       strcmp(a->rollout, b->rollout) == 0 && strcmp(a->reason, b->reason) == 0;
}

FUZZ_TARGET(directive)
{
	static const uint8_t no_nonce[DIRECTIVE_NONCE_BYTES];
	struct key *key = fuzz_key(FUZZ_DIRECTOR);
	AUTO_FREE char *text = NULL, *again = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct directive d, other;
	struct fail f = {0};

	if (size && data[0] == '{')
		fuzz_must(dsse_sign(DSSE_TYPE_DIRECTIVE, data, size, &key, 1, &text, NULL) ==
			  0);
	else if (size)
		text = fuzz_text(data + 1, size - 1);
	if (!text || directive_open(text, strlen(text), fuzz_trust(), &d, &f) < 0) {
		fuzz_must(!text || (f.code != FAIL_NONE && plain_is(f.message, false)));
		return 0;
	}
	fuzz_must(strcmp(d.fleet, fuzz_trust()->fleet) == 0 && hook_name_valid(d.name));
	fuzz_must(d.to >= 1 && d.created_ms < d.expires_ms && plain_is(d.reason, false));
	fuzz_must(d.action != DIRECTIVE_APPLY || d.has_manifest);
	doc = directive_to_json(&d);
	fuzz_must(doc);
	/* What it says can be said again. */
	if (memcmp(d.nonce, no_nonce, sizeof(no_nonce)) == 0)
		return 0;
	fuzz_must(directive_sign(&d, &key, 1, &again, &f) == 0);
	fuzz_must(directive_open(again, strlen(again), fuzz_trust(), &other, &f) == 0);
	fuzz_must(same(&d, &other));
	return 0;
}
