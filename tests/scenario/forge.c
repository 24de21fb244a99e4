// SPDX-License-Identifier: BSD-2-Clause
/*
 * forge MANIFEST OBJECT KEY.sec OUT -- signs any manifest that parses, for any
 * bytes: what a careless or hostile holder of a release key could send. hotfixctl
 * refuses to make such bundles, so the daemon's own checks need this to be seen.
 *
 * object.sha256 and object.size are filled in when the manifest lacks them.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bundle.h"

#define OBJECT_BYTES_MAX (64U << 20)

static int forge(char **argv, struct fail *f)
{
	AUTO_FREE uint8_t *text = NULL;
	AUTO_FREE uint8_t *object = NULL;
	AUTO_FREE uint8_t *out = NULL;
	AUTO_FREE char *payload = NULL;
	AUTO_JSON json_t *manifest = NULL;
	AUTO(key_freep) struct key *key = NULL;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];
	size_t text_len, object_len, out_len;
	int r;

	r = io_read_file(argv[0], MANIFEST_BYTES_MAX, &text, &text_len);
	if (r < 0)
		return fail_set(f, FAIL_USAGE, "%s: %s", argv[0], strerror(-r));
	r = io_read_file(argv[1], OBJECT_BYTES_MAX, &object, &object_len);
	if (r < 0)
		return fail_set(f, FAIL_USAGE, "%s: %s", argv[1], strerror(-r));
	r = json_parse("manifest", text, text_len, &manifest, f);
	if (r < 0)
		return r;
	r = key_load(argv[2], NULL, NULL, &key, f);
	if (r < 0)
		return r;
	if (!json_object_get(manifest, "object")) {
		crypto_hash_sha256(hash, object, object_len);
		sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
		json_object_set_new(
			manifest, "object",
			json_pack("{s:s,s:I}", "sha256", hex, "size", (json_int_t)object_len));
	}
	payload = json_dumps(manifest, JSON_COMPACT);
	if (!payload)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	r = bundle_build(payload, strlen(payload), object, object_len, &key, 1, &out, &out_len,
			 f);
	if (r < 0)
		return r;
	r = io_write_file(argv[3], out, out_len, 0644);
	return r < 0 ? fail_set(f, FAIL_STORAGE, "%s: %s", argv[3], strerror(-r)) : 0;
}

int main(int argc, char **argv)
{
	struct fail f = {0};

	if (argc != 5) {
		fputs("usage: forge MANIFEST OBJECT KEY.sec OUT\n", stderr);
		return 2;
	}
	if (sodium_init() < 0 || forge(argv + 1, &f) < 0) {
		fprintf(stderr, "forge: %s\n", f.message);
		return f.code ? fail_exit(f.code) : 1;
	}
	return 0;
}
