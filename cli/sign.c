// SPDX-License-Identifier: BSD-2-Clause
#include "cli/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/inspect.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/catalog.h"
#include "store/directive.h"
#include "store/key.h"
#include "store/revocation.h"

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

int sign_check_output(const char *path, const char *magic, struct fail *reterr_fail)
{
	AUTO_FILE FILE *f = NULL;
	char begin[16] = "";
	struct stat st;
	size_t n;

	/* What is written takes the name over: of a device, a FIFO or a link that is never meant. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		fail_set(reterr_fail, FAIL_CONFLICT,
			 "%s is there already and not a file: not overwritten", path);
		return fail_hint(reterr_fail, "name another file");
	}
	f = fopen(path, "re");
	if (f && fstat(fileno(f), &st) == 0 && st.st_size > 0) {
		n = fread(begin, 1, sizeof(begin), f);
		if (!magic || n < strlen(magic) || memcmp(begin, magic, strlen(magic)) != 0) {
			fail_set(reterr_fail, FAIL_CONFLICT,
				 "%s is there already%s: not overwritten", path,
				 magic ? " and something else" : "");
			return fail_hint(reterr_fail, "name another file");
		}
	}
	return 0;
}

int sign_write_output(const char *path, const char *magic, const void *buf, size_t len,
		      struct fail *reterr_fail)
{
	int r = sign_check_output(path, magic, reterr_fail);

	if (r < 0)
		return r;
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

/* --- what a root says ------------------------------------------------------------------- */

static int load_role(const struct args *a, const char *keys, const char *threshold,
		     struct trust_role *ret_role, struct fail *f)
{
	const char *paths[ARGS_MAX], *value = threshold ? args_value(a, threshold) : NULL;
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

/* --key and --root-key replace a role, a threshold alone changes it. */
static int load_roles(const struct args *a, struct trust *t, struct fail *f)
{
	static const struct {
		const char *keys, *threshold;
		size_t role;
	} options[] = {
		{"--key", "--threshold", offsetof(struct trust, release)},
		{"--root-key", "--root-threshold", offsetof(struct trust, root)},
		{"--director", NULL, offsetof(struct trust, director)},
		{"--status-key", NULL, offsetof(struct trust, status)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct trust_role *role = (void *)((char *)t + options[i].role);
		const char *threshold =
			options[i].threshold ? args_value(a, options[i].threshold) : NULL;
		uint64_t n;
		int r = 0;

		if (args_given(a, options[i].keys)) {
			*role = (struct trust_role){0};
			r = load_role(a, options[i].keys, options[i].threshold, role, f);
		} else if (threshold) {
			r = cli_parse_u64(options[i].threshold, threshold, 1, role->n_keys, &n,
					  f);
			role->threshold = (unsigned int)n;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_expiry(const struct args *a, struct trust *t, struct fail *f)
{
	const char *value = args_value(a, "--expires");
	int r;

	if (!value)
		return 0;
	if (strcmp(value, "never") == 0) {
		t->expires_ms = 0;
		return 0;
	}
	if (clock_parse_timestamp(value, &t->expires_ms) == 0)
		return 0;
	r = fail_set(f, FAIL_USAGE, "--expires: \"%s\" is no time", value);
	fail_hint(f, "write it as 2027-05-04T10:11:12Z, or never");
	return r;
}

/* NAME@SERIAL; those of other names stay. */
static int load_floors(const struct args *a, struct trust *t, struct fail *f)
{
	const char *values[ARGS_MAX];
	size_t n = args_list(a, "--floor", values);

	for (size_t i = 0; i < n; i++) {
		char name[HOOK_NAME_MAX + 1];
		uint64_t serial;
		int r = cli_parse_version(values[i], name, &serial, f);

		if (r < 0)
			return r;
		if (!serial)
			return fail_set(f, FAIL_USAGE, "--floor takes NAME@SERIAL, not %s",
					values[i]);
		if (!t->floors)
			t->floors = json_object();
		if (json_object_set_new(t->floors, name, json_integer((json_int_t)serial)) < 0)
			return fail_set(f, FAIL_INTERNAL, "out of memory");
	}
	return 0;
}

/* PUB:NAME:HOOK */
static int load_scope(const char *value, struct trust_scope *ret_scope, struct fail *f)
{
	AUTO_FREE char *copy = strdup(value);
	char *hook = copy ? strrchr(copy, ':') : NULL, *name = NULL;

	if (hook) {
		*hook++ = 0;
		name = strrchr(copy, ':');
	}
	if (name)
		*name++ = 0;
	if (!name || trust_scope_parse(name, hook, ret_scope) < 0) {
		int r = fail_set(f, FAIL_USAGE, "--scope takes PUB:NAME:HOOK, not %s", value);

		fail_hint(f, "as in release.pub:tcp-*:struct_ops; HOOK may be * for all types");
		return r;
	}
	return key_public_load(copy, &ret_scope->key, f);
}

/* Given ones replace all; those of keys that are no release keys any more are dropped. */
static int load_scopes(const struct args *a, struct trust *t, struct fail *f)
{
	const char *values[ARGS_MAX];
	size_t n = args_list(a, "--scope", values), kept = 0;

	if (n > TRUST_SCOPES_MAX)
		return fail_set(f, FAIL_USAGE, "--scope: more than %d", TRUST_SCOPES_MAX);
	if (n > 0)
		t->n_scopes = n;
	for (size_t i = 0; i < n; i++) {
		int r = load_scope(values[i], &t->scopes[i], f);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; n == 0 && i < t->n_scopes; i++)
		for (size_t k = 0; k < t->release.n_keys; k++)
			if (memcmp(&t->release.keys[k], &t->scopes[i].key,
				   sizeof(t->scopes[i].key)) == 0) {
				t->scopes[kept++] = t->scopes[i];
				break;
			}
	if (n == 0)
		t->n_scopes = kept;
	return 0;
}

static int load_fleet(const struct args *a, struct trust *t, struct fail *f)
{
	const char *fleet = args_value(a, "--fleet");

	if (!fleet)
		return 0;
	if (!hook_name_valid(fleet))
		return fail_set(f, FAIL_USAGE,
				"--fleet: must be lower-case letters, digits and '-'");
	snprintf(t->fleet, sizeof(t->fleet), "%s", fleet);
	return 0;
}

static int load_terms(const struct args *a, struct trust *t, struct fail *f)
{
	int r = load_roles(a, t, f);

	if (r == 0)
		r = load_fleet(a, t, f);

	if (r == 0)
		r = load_expiry(a, t, f);
	if (r == 0)
		r = load_floors(a, t, f);
	return r < 0 ? r : load_scopes(a, t, f);
}

/*
 * Signs and writes the root that t describes; current is the one it is to follow, or NULL.
 * Signatures that are missing yet are no failure: they may come from elsewhere.
 */
static int write_root(struct cli *c, const struct args *a, const struct trust *t,
		      const struct trust *current, struct fail *f)
{
	AUTO(sign_keys_clear) struct sign_keys signers = {.n = 0};
	AUTO(trust_freep) struct trust *made = NULL;
	const char *out = args_value(a, "--out");
	AUTO_FREE char *text = NULL;
	struct fail missing = {0};
	int r;

	r = sign_load_keys(a, "--sign", &signers, f);
	if (r == 0)
		r = trust_sign(t, signers.key, signers.n, &text, f);
	if (r == 0) /* what a host would say to it */
		r = current ? trust_open_next(text, strlen(text), current, &made, &missing)
			    : trust_open(text, strlen(text), &made, &missing);
	if (r < 0 && missing.code == FAIL_BAD_SIGNATURE)
		r = 0;
	else if (r < 0 && missing.code)
		*f = missing;
	if (r == 0)
		r = sign_write_output(out, NULL, text, strlen(text), f);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc = json_pack(
			"{s:s, s:I, s:o, s:o}", "file", out, "version", (json_int_t)t->version,
			"root", made ? trust_to_json(made) : json_null(), "missing",
			made ? json_null() : json_string(missing.message));

		return cli_print_json(doc, f);
	}
	printf("%s: hot-fixes need %u of %s, the next root %u of %s\n", text_safe(out),
	       t->release.threshold, text_n(t->release.n_keys, "release key"),
	       t->root.threshold, text_n(t->root.n_keys, "root key"));
	if (made)
		printf("on each host: hotfixctl trust import %s\n", text_safe(out));
	else
		printf("no host takes it yet: %s\n"
		       "more signatures: hotfixctl sign %s --key SEC --out FILE\n",
		       text_safe(missing.message), text_safe(out));
	return 0;
}

/* --- trust init, trust rotate ------------------------------------------------------------- */

int sign_trust_init(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (args_given(a, "--root-threshold") && !args_given(a, "--root-key"))
		return fail_set(reterr_fail, FAIL_USAGE, "--root-threshold needs --root-key");
	t->version = 1;
	t->created_ms = clock_real_ms();
	r = load_terms(a, t, reterr_fail);
	if (r < 0)
		return r;
	if (!args_given(a, "--root-key"))
		t->root = t->release;
	return write_root(c, a, t, NULL, reterr_fail);
}

static int load_resets(const struct args *a, struct trust *t, struct fail *f)
{
	const char *names[ARGS_MAX];
	size_t n = args_list(a, "--reset", names);

	if (n > 0)
		t->resets = json_array();
	for (size_t i = 0; i < n; i++) {
		if (!hook_name_valid(names[i]) || !trust_floor(t, names[i])) {
			int r = fail_set(f, FAIL_USAGE, "--reset: %s has no floor", names[i]);

			fail_hint(f, "from which serial on? --floor %s@SERIAL", names[i]);
			return r;
		}
		if (json_array_append_new(t->resets, json_string(names[i])) < 0)
			return fail_set(f, FAIL_INTERNAL, "out of memory");
	}
	return 0;
}

int sign_trust_rotate(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *current = NULL, *next = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r;

	r = inspect_read_bundle(args_at(a, 0), &buf, &len, reterr_fail);
	if (r == 0)
		r = trust_open(buf, len, &current, reterr_fail);
	if (r == 0)
		r = trust_open(buf, len, &next, reterr_fail);
	if (r < 0)
		return r;
	next->version++;
	next->created_ms = clock_real_ms();
	json_decref(next->resets); /* once is enough */
	next->resets = NULL;
	r = load_terms(a, next, reterr_fail);
	if (r == 0)
		r = load_resets(a, next, reterr_fail);
	return r < 0 ? r : write_root(c, a, next, current, reterr_fail);
}

/* --- trust revoke ------------------------------------------------------------------------- */

int sign_trust_revoke(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	struct revocation v = {.created_ms = clock_real_ms(),
			       .rollback = args_given(a, "--force-rollback")};
	const char *out = args_value(a, "--out"), *reason = args_value(a, "--reason");
	const char *through = args_value(a, "--through");
	AUTO_FREE char *text = NULL;
	int r;

	r = cli_parse_version(args_at(a, 0), v.name, &v.from, reterr_fail);
	if (r == 0 && !v.from)
		r = fail_set(reterr_fail, FAIL_USAGE, "trust revoke takes NAME@SERIAL");
	if (r == 0 && strlen(reason) >= sizeof(v.reason))
		r = fail_set(reterr_fail, FAIL_USAGE, "--reason: more than %zu bytes",
			     sizeof(v.reason) - 1);
	v.to = v.from;
	if (r == 0 && through)
		r = cli_parse_u64("--through", through, v.from, MANIFEST_SERIAL_MAX, &v.to,
				  reterr_fail);
	if (r < 0)
		return r;
	snprintf(v.reason, sizeof(v.reason), "%s", reason);
	r = sign_load_keys(a, "--key", &keys, reterr_fail);
	if (r == 0)
		r = revocation_sign(&v, keys.key, keys.n, &text, reterr_fail);
	if (r == 0)
		r = sign_write_output(out, NULL, text, strlen(text), reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:s, s:s, s:I, s:I, s:b}", "file", out, "name", v.name,
				  "from", (json_int_t)v.from, "to", (json_int_t)v.to,
				  "force_rollback", v.rollback);

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: %s of %s, serials %" PRIu64 " to %" PRIu64 "\n"
	       "on each host: hotfixctl trust import %s\n",
	       text_safe(out), v.rollback ? "force-rollback" : "no-new-apply", v.name, v.from,
	       v.to, text_safe(out));
	return 0;
}

/* --- trust direct, trust status --------------------------------------------------------------- */

static int load_validity(const struct args *a, uint64_t created_ms, uint64_t *ret_expires_ms,
			 struct fail *f)
{
	const char *value = args_value(a, "--valid");
	uint64_t ms = 86400000;

	if (value && (clock_parse_duration(value, &ms) < 0 || ms == 0))
		return fail_set(f, FAIL_USAGE, "--valid: \"%s\" is not a duration like 12h, 1d",
				value);
	*ret_expires_ms = created_ms + ms;
	return 0;
}

/* Copies a value of an option that the charset of names binds. */
static int load_word(const struct args *a, const char *option, char *out, size_t room,
		     struct fail *f)
{
	const char *value = args_value(a, option);

	if (value && (!hook_name_valid(value) || strlen(value) >= room))
		return fail_set(f, FAIL_USAGE, "%s: must be lower-case letters, digits and '-'",
				option);
	snprintf(out, room, "%s", value ? value : "");
	return 0;
}

static int load_directive(const struct args *a, struct directive *d, struct fail *f)
{
	const char *host = args_value(a, "--host"), *reason = args_value(a, "--reason");
	int r = cli_parse_version(args_at(a, 0), d->name, &d->to, f);

	if (r == 0 && !d->to)
		r = fail_set(f, FAIL_USAGE, "trust direct takes NAME@SERIAL");
	if (r == 0)
		r = cli_parse_u64("--from", args_value(a, "--from"), 1, MANIFEST_SERIAL_MAX,
				  &d->from, f);
	if (r == 0)
		r = load_word(a, "--fleet", d->fleet, sizeof(d->fleet), f);
	if (r == 0)
		r = load_word(a, "--group", d->group, sizeof(d->group), f);
	if (r == 0)
		r = load_validity(a, d->created_ms, &d->expires_ms, f);
	if (r == 0 && (strlen(host ? host : "") >= sizeof(d->host) ||
		       strlen(reason ? reason : "") >= sizeof(d->reason)))
		r = fail_set(f, FAIL_USAGE, "--host or --reason is too long");
	snprintf(d->host, sizeof(d->host), "%s", host ? host : "");
	snprintf(d->reason, sizeof(d->reason), "%s", reason ? reason : "");
	return r;
}

int sign_trust_direct(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	struct directive d = {.action = DIRECTIVE_ROLLBACK, .created_ms = clock_real_ms()};
	const char *out = args_value(a, "--out");
	AUTO_FREE char *text = NULL;
	int r;

	r = load_directive(a, &d, reterr_fail);
	if (r == 0)
		r = sign_load_keys(a, "--key", &keys, reterr_fail);
	if (r == 0)
		r = directive_sign(&d, keys.key, keys.n, &text, reterr_fail);
	if (r == 0)
		r = sign_write_output(out, NULL, text, strlen(text), reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc = json_pack("{s:s, s:o}", "file", out, "directive",
						  directive_to_json(&d));

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: %s back from %" PRIu64 " to %" PRIu64 "\n"
	       "on each host: hotfixctl rollback %s --directive %s\n",
	       text_safe(out), d.name, d.from, d.to, d.name, text_safe(out));
	return 0;
}

static int load_entry(const char *path, struct catalog_entry *e, struct fail *f)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = inspect_read_bundle(path, &buf, &len, f);

	if (r == 0)
		r = bundle_open_unverified(buf, len, &b, f);
	if (r < 0)
		return r;
	snprintf(e->name, sizeof(e->name), "%s", b->manifest->name);
	e->serial = b->manifest->serial;
	e->bundle_bytes = len;
	memcpy(e->manifest_sha256, b->manifest_sha256, sizeof(e->manifest_sha256));
	memcpy(e->bundle_sha256, b->digest, sizeof(e->bundle_sha256));
	return 0;
}

int sign_trust_status(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	AUTO(catalog_freep) struct catalog *status = calloc(1, sizeof(*status));
	const char *out = args_value(a, "--out");
	AUTO_FREE char *text = NULL;
	int r;

	if (status)
		status->entries = calloc(args_count(a), sizeof(*status->entries));
	if (!status || !status->entries)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	status->created_ms = clock_real_ms();
	r = load_word(a, "--fleet", status->fleet, sizeof(status->fleet), reterr_fail);
	if (r == 0)
		r = cli_parse_u64("--number", args_value(a, "--number"), 1, TRUST_VERSION_MAX,
				  &status->version, reterr_fail);
	if (r == 0)
		r = load_validity(a, status->created_ms, &status->expires_ms, reterr_fail);
	for (size_t i = 0; r == 0 && i < args_count(a); i++) {
		r = load_entry(args_at(a, i), &status->entries[i], reterr_fail);
		status->n_entries = i + 1;
	}
	if (r == 0)
		r = sign_load_keys(a, "--key", &keys, reterr_fail);
	if (r == 0)
		r = catalog_sign(status, keys.key, keys.n, &text, reterr_fail);
	if (r == 0)
		r = sign_write_output(out, NULL, text, strlen(text), reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:s, s:o}", "file", out, "status", catalog_to_json(status));

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: status %" PRIu64 " of the fleet %s, %s\n"
	       "on each host: hotfixctl trust import %s\n",
	       text_safe(out), status->version, status->fleet,
	       text_n(status->n_entries, "hot-fix"), text_safe(out));
	return 0;
}

/* --- sign --------------------------------------------------------------------------------- */

/* What can be signed: a document, or a bundle with its envelope inside. */
struct document {
	uint8_t *buf;
	struct dsse *plain;
	struct bundle *bundle;
	struct dsse *envelope; /* of either */
};

static void document_clear(struct document *d)
{
	dsse_free(d->plain);
	bundle_free(d->bundle);
	free(d->buf);
}

static int document_open(const char *path, struct document *d, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	size_t len;
	int r = inspect_read_bundle(path, &d->buf, &len, f);

	if (r < 0)
		return r;
	if (len > 0 && d->buf[0] == '{') {
		r = dsse_parse("document", d->buf, len, &d->plain, f);
		if (r == 0)
			r = inspect_document_json(d->plain, &doc, f);
		d->envelope = d->plain;
		return r;
	}
	r = bundle_open_unverified(d->buf, len, &d->bundle, f);
	if (r == 0)
		d->envelope = d->bundle->envelope;
	return r;
}

static int document_write(const struct document *d, const char *out, struct fail *f)
{
	AUTO_FREE uint8_t *bundle = NULL;
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = d->plain ? dsse_format(d->plain, &text, f)
			 : bundle_format(d->bundle, &bundle, &len, f);

	if (r < 0)
		return r;
	return text ? sign_write_output(out, NULL, text, strlen(text), f)
		    : sign_write_output(out, NULL, bundle, len, f);
}

static int export_bytes(struct cli *c, const struct document *d, const char *out,
			struct fail *f)
{
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len;
	int r;

	if (dsse_to_sign(d->envelope, &bytes, &len) < 0)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	r = sign_write_output(out, NULL, bytes, len, f);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:s, s:I}", "file", out, "bytes", (json_int_t)len);

		return cli_print_json(doc, f);
	}
	printf("%s: %zu bytes for Ed25519 to sign as they are\n"
	       "then: hotfixctl sign FILE --attach SIG --pub PUB --out SIGNED\n",
	       text_safe(out), len);
	return 0;
}

/* 64 bytes, or their base64 in a line. */
static int read_signature(const char *path, uint8_t ret_sig[64], struct fail *f)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = io_read_file(path, 256, &buf, &len);

	if (r < 0 && r != -EFBIG)
		return fail_set(f, r == -ENOENT ? FAIL_NOT_FOUND : FAIL_INTERNAL, "%s: %s",
				path, strerror(-r));
	if (r == 0 && len == 64) {
		memcpy(ret_sig, buf, 64);
		return 0;
	}
	if (r == 0) {
		buf[strcspn((char *)buf, "\r\n")] = 0;
		if (bytes_from_base64_exact((char *)buf, ret_sig, 64) == 0)
			return 0;
	}
	return fail_set(f, FAIL_BAD_FORMAT, "%s: neither 64 bytes nor their base64", path);
}

static int attach(const struct args *a, struct dsse *envelope, struct fail *f)
{
	struct key_public by;
	uint8_t sig[64];
	int r;

	if (!args_given(a, "--attach"))
		return 0;
	r = read_signature(args_value(a, "--attach"), sig, f);
	if (r == 0)
		r = key_public_load(args_value(a, "--pub"), &by, f);
	return r < 0 ? r : dsse_attach(envelope, &by, sig, f);
}

static int check_options(const struct args *a, struct fail *f)
{
	bool adds = args_given(a, "--key") || args_given(a, "--attach");

	if (args_given(a, "--attach") != args_given(a, "--pub"))
		return fail_set(f, FAIL_USAGE, "--attach SIG and --pub PUB belong together");
	if (args_given(a, "--export") && (adds || args_given(a, "--out")))
		return fail_set(f, FAIL_USAGE, "--export only writes the bytes to sign");
	if (!args_given(a, "--export") && (!adds || !args_given(a, "--out")))
		return fail_set(f, FAIL_USAGE,
				"sign needs --export BYTES, or --out FILE and --key SEC or "
				"--attach SIG");
	return 0;
}

int sign_run(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	AUTO(document_clear) struct document d = {0};
	const char *out = args_value(a, "--out");
	AUTO_JSON json_t *ids = json_array();
	int r;

	r = check_options(a, reterr_fail);
	if (r == 0)
		r = document_open(args_at(a, 0), &d, reterr_fail);
	if (r == 0 && args_given(a, "--export"))
		return export_bytes(c, &d, args_value(a, "--export"), reterr_fail);
	if (r == 0)
		r = sign_load_keys(a, "--key", &keys, reterr_fail);
	for (size_t i = 0; r == 0 && i < keys.n; i++)
		r = dsse_add(d.envelope, keys.key[i], reterr_fail);
	if (r == 0)
		r = attach(a, d.envelope, reterr_fail);
	if (r == 0)
		r = document_write(&d, out, reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		AUTO_JSON json_t *doc = NULL;

		for (size_t i = 0; i < dsse_n_signatures(d.envelope); i++)
			json_array_append_new(ids, json_string(dsse_keyid(d.envelope, i)));
		doc = json_pack("{s:s, s:O}", "file", out, "key_ids", ids);
		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: now with %s\n", text_safe(out),
	       text_n(dsse_n_signatures(d.envelope), "signature"));
	for (size_t i = 0; i < dsse_n_signatures(d.envelope); i++)
		printf("  %.16s\n", text_safe(dsse_keyid(d.envelope, i)));
	return 0;
}
