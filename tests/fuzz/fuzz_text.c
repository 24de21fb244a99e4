// SPDX-License-Identifier: BSD-2-Clause
/*
 * The small readers below everything: strict JSON, plain text, base64 and hex, key files, and
 * what the client makes of an answer. The first byte says which.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "cli/text.h"
#include "lib/hook.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "store/bytes.h"

static size_t depth_of(const json_t *v)
{
	size_t deepest = 0, d, i;
	const char *key;
	json_t *item;

	if (json_is_object(v))
		json_object_foreach((json_t *)(uintptr_t)v, key, item)
			deepest = (d = depth_of(item)) > deepest ? d : deepest;
	else if (json_is_array(v))
		json_array_foreach(v, i, item)
			deepest = (d = depth_of(item)) > deepest ? d : deepest;
	else
		return 0;
	return deepest + 1;
}

static void json(const uint8_t *data, size_t size)
{
	AUTO_JSON json_t *doc = NULL, *again = NULL;
	AUTO_FREE char *text = NULL;
	struct fail f = {0};

	if (json_parse("fuzz", data, size, &doc, &f) < 0) {
		fuzz_must(f.code == FAIL_BAD_FORMAT && plain_is(f.message, false));
		return;
	}
	fuzz_must(depth_of(doc) <= JSON_DEPTH_MAX);
	text = json_dumps(doc, JSON_COMPACT);
	fuzz_must(text && json_parse("again", text, strlen(text), &again, &f) == 0);
	fuzz_must(json_equal(doc, again));
	fail_from_json(doc, &f);
	fuzz_must(plain_is(f.message, false) && plain_is(f.hint, false));
	text_of(doc, "name");
	text_user(doc);
	text_hook(doc);
	text_number_or_dash(doc);
}

static void plain(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = fuzz_text(data, size), *copy = fuzz_text(data, size);
	bool was = plain_is(text, true);

	plain_make(text, true);
	fuzz_must(plain_is(text, true) && strlen(text) <= strlen(copy));
	fuzz_must(!was || strcmp(text, copy) == 0);
	fuzz_must(plain_is(text_safe(copy), false) && plain_is(text_short(copy), false) &&
		  plain_is(text_time(copy), false));
	plain_make(text, false);
	fuzz_must(plain_is(text, false));
	hook_name_valid(copy);
	hook_symbol_valid(copy, 32);
}

static void bytes(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = fuzz_text(data, size), *back = NULL;
	char hex[BYTES_SHA256_HEX], public64[64];
	uint8_t digest[BYTES_SHA256];
	AUTO_FREE uint8_t *buf = NULL;
	struct key_public p;
	size_t len;

	if (bytes_from_base64(text, size, &buf, &len) == 0) {
		back = bytes_to_base64(buf, len);
		fuzz_must(back && strlen(back) == size && memcmp(back, data, size) == 0);
	}
	if (bytes_from_hex(text, digest, sizeof(digest)) == 0)
		fuzz_must(strcmp(bytes_to_hex(digest, sizeof(digest), hex), text) == 0);
	if (key_public_parse(text, &p, NULL) == 0)
		fuzz_must(strcmp(key_public_format(&p, public64), text) == 0);
}

static void key_file(const uint8_t *data, size_t size)
{
	AUTO(key_freep) struct key *k = NULL;
	char path[128];
	struct key_public p;
	struct fail f = {0};

	fuzz_write("some.sec", data, size);
	snprintf(path, sizeof(path), "%s/some.sec", fuzz_folder());
	chmod(path, 0600);
	if (key_public_load(path, &p, &f) < 0)
		fuzz_must(f.code != FAIL_NONE && plain_is(f.message, false));
	if (key_load(path, NULL, NULL, &k, &f) < 0)
		fuzz_must(f.code != FAIL_NONE && plain_is(f.message, false));
}

FUZZ_TARGET(text)
{
	static void (*const readers[])(const uint8_t *data, size_t size) = {json, plain, bytes,
									    key_file};

	if (size)
		readers[data[0] % ARRAY_SIZE(readers)](data + 1, size - 1);
	return 0;
}
