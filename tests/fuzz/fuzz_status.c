// SPDX-License-Identifier: BSD-2-Clause
/*
 * The status of a fleet. The bytes are its payload, signed here by the status key that is
 * trusted; a byte other than '{' before them has them taken as the envelope.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/plain.h"
#include "store/catalog.h"

FUZZ_TARGET(status)
{
	struct key *key = fuzz_key(FUZZ_STATUS);
	AUTO(catalog_freep) struct catalog *c = NULL, *next = NULL, *same = NULL;
	AUTO_FREE char *text = NULL, *again = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct fail f = {0};

	if (size && data[0] == '{')
		fuzz_must(dsse_sign(DSSE_TYPE_STATUS, data, size, &key, 1, &text, NULL) == 0);
	else if (size)
		text = fuzz_text(data + 1, size - 1);
	if (!text || catalog_open(text, strlen(text), fuzz_trust(), &c, &f) < 0) {
		fuzz_must(!text || (f.code != FAIL_NONE && plain_is(f.message, false)));
		return 0;
	}
	fuzz_must(strcmp(c->fleet, fuzz_trust()->fleet) == 0 && c->version >= 1 &&
		  c->n_entries <= CATALOG_ENTRIES_MAX && c->created_ms < c->expires_ms);
	for (size_t i = 0; i < c->n_entries; i++)
		fuzz_must(hook_name_valid(c->entries[i].name) && c->entries[i].serial >= 1 &&
			  catalog_find(c, c->entries[i].name, c->entries[i].serial) ==
				  &c->entries[i]);
	fuzz_must(!catalog_find(c, "", 1));
	doc = catalog_to_json(c);
	fuzz_must(doc);
	/* It is no successor of its own; what it says can be said again. */
	fuzz_must(catalog_open_next(text, strlen(text), fuzz_trust(), c, &next, &f) < 0);
	fuzz_must(catalog_sign(c, &key, 1, &again, &f) == 0);
	fuzz_must(catalog_open(again, strlen(again), fuzz_trust(), &same, &f) == 0);
	fuzz_must(same->version == c->version && same->n_entries == c->n_entries);
	for (size_t i = 0; i < c->n_entries; i++)
		fuzz_must(memcmp(&c->entries[i], &same->entries[i], sizeof(c->entries[i])) ==
			  0);
	return 0;
}
