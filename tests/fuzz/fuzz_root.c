// SPDX-License-Identifier: BSD-2-Clause
/*
 * A root. The bytes are its payload; 'S' before them has it signed by all keys, 'N' makes it
 * the successor of the one in force. Anything else is the envelope itself.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"

static char *wrap(const void *payload, size_t len, size_t n_keys)
{
	struct key *keys[FUZZ_KEYS] = {0};
	char *text = NULL;

	for (size_t i = 0; i < n_keys; i++)
		keys[i] = fuzz_key(i);
	fuzz_must(dsse_sign(DSSE_TYPE_ROOT, payload, len, keys, n_keys, &text, NULL) == 0);
	return text;
}

static void check_role(const struct trust_role *role)
{
	fuzz_must(role->threshold >= 1 && role->threshold <= role->n_keys &&
		  role->n_keys <= TRUST_KEYS_MAX);
	for (size_t i = 0; i < role->n_keys; i++)
		for (size_t j = 0; j < i; j++)
			fuzz_must(memcmp(&role->keys[i], &role->keys[j],
					 sizeof(role->keys[i])) != 0);
}

static void open_root(const char *text, size_t len)
{
	AUTO(trust_freep) struct trust *t = NULL, *next = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct fail f = {0};

	if (trust_open_next(text, len, fuzz_trust(), &next, &f) == 0)
		fuzz_must(next->version == fuzz_trust()->version + 1);
	if (trust_open(text, len, &t, &f) < 0) {
		fuzz_must(f.code != FAIL_NONE && f.message[0] && !next);
		return;
	}
	fuzz_must(t->version >= 1 && t->version <= TRUST_VERSION_MAX);
	check_role(&t->root);
	check_role(&t->release);
	trust_floor(t, "a");
	doc = trust_to_json(t);
	fuzz_must(doc);
}

FUZZ_TARGET(root)
{
	AUTO_FREE char *text = NULL;

	if (size && data[0] == '{')
		text = wrap(data, size, 0);
	else if (size && data[0] == 'S')
		text = wrap(data + 1, size - 1, FUZZ_KEYS);
	else if (size && data[0] == 'N')
		text = wrap(data + 1, size - 1, 1);
	if (text)
		open_root(text, strlen(text));
	else if (size)
		open_root((const char *)data + 1, size - 1);
	return 0;
}
