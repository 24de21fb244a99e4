// SPDX-License-Identifier: BSD-2-Clause
#include "cli/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/key.h"

static void pass_closep(struct pass *p)
{
	pass_close(p);
}

void sign_keys_clear(struct sign_keys *k)
{
	while (k->n > 0)
		key_free(k->key[--k->n]);
}

int sign_load_keys(const struct args *a, const char *option, struct sign_keys *ret_keys,
		   struct fail *reterr_fail)
{
	AUTO(pass_closep) struct pass pass;
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	const char *paths[ARGS_MAX];
	size_t n = args_list(a, option, paths);
	int r;

	r = pass_open(&pass, a, reterr_fail);
	if (r < 0)
		return r;
	if (n > TRUST_KEYS_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "%s: more than %d keys", option,
				TRUST_KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		r = key_load(paths[i], pass_ask, &pass, &keys.key[i], reterr_fail);
		if (r < 0 && pass.fail.code) {
			*reterr_fail = pass.fail;
			return -fail_errno(pass.fail.code);
		}
		if (r < 0)
			return r;
		keys.n = i + 1;
	}
	*ret_keys = keys;
	keys.n = 0;
	return 0;
}

int sign_write_output(const char *path, const char *magic, const void *buf, size_t len,
		      struct fail *reterr_fail)
{
	AUTO_FILE FILE *f = NULL;
	char begin[16] = "";
	struct stat st;
	size_t n;
	int r;

	/* What is written takes the name over: of a device, a FIFO or a link that is never meant. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		r = fail_set(reterr_fail, FAIL_CONFLICT,
			     "%s is there already and not a file: not overwritten", path);
		fail_hint(reterr_fail, "name another file with --out");
		return r;
	}
	f = fopen(path, "re");
	if (f && fstat(fileno(f), &st) == 0 && st.st_size > 0) {
		n = fread(begin, 1, sizeof(begin), f);
		if (!magic || n < strlen(magic) || memcmp(begin, magic, strlen(magic)) != 0) {
			r = fail_set(reterr_fail, FAIL_CONFLICT,
				     "%s is there already%s: not overwritten", path,
				     magic ? " and something else" : "");
			fail_hint(reterr_fail, "name another file with --out");
			return r;
		}
	}
	r = io_write_file(path, buf, len, 0644);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: cannot be written: %s", path,
				strerror(-r));
	return 0;
}

/* --- key new -------------------------------------------------------------------------- */

int sign_key_new(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *prefix = args_value(a, "--out"), *passphrase = NULL;
	AUTO(pass_closep) struct pass pass;
	struct key_public pub;
	char id[KEY_ID_BYTES];
	int r;

	if (!prefix)
		return fail_set(reterr_fail, FAIL_USAGE,
				"key new needs --out PREFIX, for PREFIX.sec and PREFIX.pub");
	if (args_given(a, "--no-passphrase") && args_given(a, "--passphrase-fd"))
		return fail_set(reterr_fail, FAIL_USAGE,
				"--no-passphrase and --passphrase-fd contradict each other");
	r = pass_open(&pass, a, reterr_fail);
	if (r < 0)
		return r;
	if (!args_given(a, "--no-passphrase")) {
		passphrase = pass_ask_new(&pass);
		if (!passphrase) {
			*reterr_fail = pass.fail;
			return -fail_errno(pass.fail.code);
		}
	}
	r = key_new(prefix, passphrase, &pub, reterr_fail);
	if (r < 0)
		return r;
	key_id(&pub, id);
	if (c->json) {
		AUTO_JSON json_t *doc = json_pack("{s:o, s:o, s:s, s:b}", "public",
						  json_sprintf("%s.pub", prefix), "secret",
						  json_sprintf("%s.sec", prefix), "key_id", id,
						  "passphrase", passphrase != NULL);

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s.sec  the secret key, %s: whoever signs needs it\n"
	       "%s.pub  the public key, for: hotfixctl trust init --key %s.pub\n"
	       "key %.16s\n",
	       text_safe(prefix), passphrase ? "under its passphrase" : "without a passphrase",
	       text_safe(prefix), text_safe(prefix), id);
	return 0;
}

/* --- trust init ----------------------------------------------------------------------- */

static int load_role(const struct args *a, const char *keys, const char *threshold,
		     struct trust_role *ret_role, struct fail *f)
{
	const char *paths[ARGS_MAX], *value = args_value(a, threshold);
	size_t n = args_list(a, keys, paths);
	uint64_t t = 1;
	int r;

	if (n > TRUST_KEYS_MAX)
		return fail_set(f, FAIL_USAGE, "%s: more than %d keys", keys, TRUST_KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		r = key_public_load(paths[i], &ret_role->keys[i], f);
		if (r < 0)
			return r;
		for (size_t j = 0; j < i; j++)
			if (memcmp(&ret_role->keys[i], &ret_role->keys[j],
				   sizeof(ret_role->keys[0])) == 0)
				return fail_set(f, FAIL_USAGE, "%s: %s and %s are the same key",
						keys, paths[j], paths[i]);
	}
	if (value) {
		r = cli_parse_u64(threshold, value, 1, n ? n : 1, &t, f);
		if (r < 0) {
			fail_hint(f, "of %zu keys at least 1 and at most all can be asked for",
				  n);
			return r;
		}
	}
	ret_role->n_keys = n;
	ret_role->threshold = (unsigned int)t;
	return 0;
}

int sign_trust_init(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(sign_keys_clear) struct sign_keys signers = {.n = 0};
	AUTO(trust_freep) struct trust *trust = NULL;
	struct trust_role root = {0}, release = {0};
	const char *out = args_value(a, "--out");
	AUTO_FREE char *text = NULL;
	int r;

	if (!out || !args_given(a, "--key"))
		return fail_set(reterr_fail, FAIL_USAGE,
				"trust init needs --key PUB... (who may sign) and --out ROOT");
	r = load_role(a, "--key", "--threshold", &release, reterr_fail);
	if (r == 0 && args_given(a, "--root-key"))
		r = load_role(a, "--root-key", "--root-threshold", &root, reterr_fail);
	else if (r == 0 && args_given(a, "--root-threshold"))
		r = fail_set(reterr_fail, FAIL_USAGE, "--root-threshold needs --root-key");
	else
		root = release;
	if (r == 0)
		r = sign_load_keys(a, "--sign", &signers, reterr_fail);
	if (r == 0)
		r = trust_init(&root, &release, 1, clock_real_ms(), signers.key, signers.n,
			       &text, reterr_fail);
	if (r == 0) /* what a host would say to it */
		r = trust_open(text, strlen(text), &trust, reterr_fail);
	if (r == 0)
		r = sign_write_output(out, NULL, text, strlen(text), reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:s, s:o}", "file", out, "root", trust_to_json(trust));

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: hot-fixes need %u of %zu release keys, the next root %u of %zu root keys\n"
	       "on each host: hotfixctl trust import %s\n",
	       text_safe(out), release.threshold, release.n_keys, root.threshold, root.n_keys,
	       text_safe(out));
	return 0;
}
