// SPDX-License-Identifier: BSD-2-Clause
#include "cli/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/audit.h"
#include "cli/client.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "store/bytes.h"
#include "store/catalog.h"
#include "store/directive.h"
#include "store/key.h"
#include "store/revocation.h"

#define ROOT_DEFAULT "/etc/hotfixd/root.json"

static int inspect_read(const char *path, uint8_t **ret_buf, size_t *ret_len,
			struct fail *reterr_fail)
{
	int r = io_read_file(path, BUNDLE_BYTES_MAX, ret_buf, ret_len);

	if (r == -EFBIG)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: larger than any bundle (%u MiB)", path,
				BUNDLE_BYTES_MAX >> 20);
	if (r < 0)
		return fail_set(reterr_fail,
				r == -ENOENT   ? FAIL_NOT_FOUND
				: r == -EACCES ? FAIL_PERMISSION
				: r == -EISDIR ? FAIL_BAD_FORMAT
					       : FAIL_INTERNAL,
				"%s: %s", path, strerror(-r));
	return 0;
}

int inspect_refuse_secret(const char *path, void *buf, size_t len, struct fail *reterr_fail)
{
	if (!key_is_secret_file(buf, len))
		return 0;
	explicit_bzero(buf, len);
	fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: this is a secret key, and goes nowhere",
		 path);
	return fail_hint(reterr_fail, "hotfixctl inspect %s says which one", path);
}

int inspect_read_bundle(const char *path, uint8_t **ret_buf, size_t *ret_len,
			struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = inspect_read(path, &buf, &len, reterr_fail);

	if (r == 0)
		r = inspect_refuse_secret(path, buf, len, reterr_fail);
	if (r < 0)
		return r;
	*ret_buf = take_ptr(buf);
	*ret_len = len;
	return 0;
}

/* --- the root ------------------------------------------------------------------------- */

static int root_of_file(const char *path, struct trust **ret_trust, struct fail *f)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = io_read_file(path, DSSE_BYTES_MAX, &buf, &len);

	if (r < 0)
		return fail_set(f,
				r == -ENOENT   ? FAIL_NOT_FOUND
				: r == -EACCES ? FAIL_PERMISSION
					       : FAIL_BAD_FORMAT,
				"root %s: %s", path, strerror(-r));
	return trust_open(buf, len, ret_trust, f);
}

static int root_of_daemon(const struct cli *c, struct trust **ret_trust, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	const json_t *envelope;
	int r = client_get(c, &doc, f, "/v1/trust");

	if (r < 0)
		return r;
	envelope = json_object_get(doc, "envelope");
	if (!json_is_string(envelope))
		return fail_set(f, FAIL_NO_TRUST, "hotfixd has no root yet");
	return trust_open(json_string_value(envelope), json_string_length(envelope), ret_trust,
			  f);
}

/* In the order of the manual: --root, $HOTFIX_ROOT, /etc, the daemon's. */
static int find_root(const struct cli *c, const struct args *a, struct trust **ret_trust,
		     const char **ret_source, struct fail *f)
{
	const char *path = args_value(a, "--root");
	int r;

	if (!path)
		path = getenv("HOTFIX_ROOT");
	if (!path || !path[0])
		path = access(ROOT_DEFAULT, F_OK) == 0 ? ROOT_DEFAULT : NULL;
	if (path) {
		*ret_source = path;
		return root_of_file(path, ret_trust, f);
	}
	*ret_source = "hotfixd";
	r = root_of_daemon(c, ret_trust, f);
	if (r < 0 && (f->code == FAIL_UNREACHABLE || f->code == FAIL_PERMISSION ||
		      f->code == FAIL_NO_TRUST)) {
		char why[FAIL_MESSAGE_BYTES];

		snprintf(why, sizeof(why), "%s", f->message);
		r = fail_set(f, FAIL_NO_TRUST,
			     "no root says whose signatures count: no --root, no $HOTFIX_ROOT, "
			     "no " ROOT_DEFAULT ", and %s",
			     why);
		fail_hint(f, "hotfixctl verify FILE --root ROOT");
	}
	return r;
}

/* --- verify --------------------------------------------------------------------------- */

int inspect_run_verify(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_FREE struct audit *audit = calloc(1, sizeof(*audit));
	AUTO(trust_freep) struct trust *trust = NULL;
	AUTO(bundle_freep) struct bundle *b = NULL;
	char hex[BYTES_SHA256_HEX];
	AUTO_FREE uint8_t *buf = NULL;
	const char *source = "";
	size_t len;
	int r;

	if (!audit)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = inspect_read_bundle(args_at(a, 0), &buf, &len, reterr_fail);
	if (r == 0)
		r = find_root(c, a, &trust, &source, reterr_fail);
	if (r == 0)
		r = bundle_open(buf, len, trust, &b, reterr_fail);
	if (r == 0)
		r = audit_object(b->object, b->object_len, audit, reterr_fail);
	if (r == 0)
		r = audit_compare(audit, b->manifest->hooks, b->manifest->n_hooks, reterr_fail);
	if (r < 0)
		return r;
	bytes_to_hex(b->digest, sizeof(b->digest), hex);
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:b, s:s, s:s, s:I, s:s, s:s, s:I, s:i, s:I}", "ok", 1,
				  "file", args_at(a, 0), "name", b->manifest->name, "serial",
				  (json_int_t)b->manifest->serial, "digest", hex, "root",
				  source, "root_version", (json_int_t)trust->version,
				  "threshold", (int)trust->release.threshold, "signatures",
				  (json_int_t)dsse_n_signatures(b->envelope));

		return cli_print_json(doc, reterr_fail);
	}
	printf("%s: good: %s serial %" PRIu64 ", signed as root %" PRIu64
	       " of %s asks (%u of %s), object as declared\n",
	       text_safe(args_at(a, 0)), text_safe(b->manifest->name), b->manifest->serial,
	       trust->version, text_safe(source), trust->release.threshold,
	       text_n(trust->release.n_keys, "key"));
	return 0;
}

/* --- inspect -------------------------------------------------------------------------- */

static void print_field(const char *name, const char *value)
{
	if (value && value[0])
		printf("%-12s %s\n", name, value);
}

static void print_list(const char *name, const json_t *list)
{
	char line[1000] = "";
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s%s",
			 i ? ", " : "", text_safe(json_string_value(v)));
	print_field(name, line);
}

/* Paragraphs keep their lines, indented. */
static void print_text(const char *name, const char *value)
{
	AUTO_FREE char *copy = value && value[0] ? strdup(value) : NULL;

	if (!copy)
		return;
	plain_make(copy, true);
	for (char *save, *line = strtok_r(copy, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		printf("%-12s %s\n", name, line);
		name = "";
	}
}

static void print_kernels(const json_t *kernels)
{
	char line[1000] = "";
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(kernels, "ranges"), i, v) {
		const char *from = text_of(v, "from"), *below = text_of(v, "below");

		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s%s%s%s%s",
			 i ? "; " : "", from[0] ? "from " : "", from,
			 below[0] ? (from[0] ? " below " : "below ") : "", below);
	}
	print_field("kernels", line);
	print_list("arch", json_object_get(kernels, "arch"));
	print_list("fixed in", json_object_get(kernels, "fixed_in"));
}

static void print_signatures(const struct dsse *envelope)
{
	size_t n = dsse_n_signatures(envelope);

	for (size_t i = 0; i < n; i++)
		printf("%-12s key %.16s (not checked)\n", i ? "" : "signatures",
		       text_safe(dsse_keyid(envelope, i)));
	if (n == 0)
		print_field("signatures", "none");
}

static void print_bundle(const struct cli *c, const struct bundle *b, const struct audit *audit,
			 const struct fail *audit_fail)
{
	static const struct text_column columns[] = {
		{"HOOK", 0}, {"PROGRAM", 0}, {"SLEEPABLE", 0}, {"NAME", 0}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const struct manifest *m = b->manifest;
	char hex[BYTES_SHA256_HEX], hook[300];

	print_field("name", text_safe(m->name));
	print_field("serial", text_u64(m->serial));
	print_field("label", text_safe(m->label));
	print_field("title", text_safe(m->title));
	print_text("description", m->description);
	print_list("cves", json_object_get(m->doc, "cves"));
	print_field("severity", text_safe(m->severity));
	print_field("created", text_of(m->doc, "created"));
	print_field("expires", text_of(m->doc, "expires"));
	print_kernels(json_object_get(m->doc, "kernels"));
	print_list("requires", json_object_get(m->doc, "requires"));
	print_list("conflicts", json_object_get(m->doc, "conflicts"));
	print_text("impact", m->impact);
	printf("%-12s %s (at least %s, at most %s)\n", "trial",
	       text_seconds(m->trial_default_ms), text_seconds(m->trial_min_ms),
	       text_seconds(m->trial_max_ms));
	if (m->accept_preemption_leak)
		print_field("accepts", "preemption leak");
	if (m->critical)
		print_field("critical", "yes: applied before the network");
	if (json_object_get(m->doc, "struct_ops"))
		printf("%-12s state %s%s\n", "struct_ops",
		       m->cc_own_state ? "own" : "compatible",
		       m->cc_default ? ", becomes the default" : "");
	print_field("object", text_bytes(b->object_len));
	if (!audit_fail)
		printf("%-12s %s, license %s%s\n", "", text_n(audit->n_maps, "map"),
		       text_safe(audit->license),
		       audit->uses_hotfix_header ? ", uses hotfix.bpf.h" : "");
	bytes_to_hex(b->digest, sizeof(b->digest), hex);
	print_field("digest", hex);
	print_signatures(b->envelope);
	putchar('\n');
	for (size_t i = 0; i < m->n_hooks; i++) {
		snprintf(hook, sizeof(hook), "%s/%s", hook_type_name(m->hooks[i].type),
			 m->hooks[i].target);
		text_table_line(t, hook, m->hooks[i].program,
				m->hooks[i].sleepable ? "sleepable" : "", m->hooks[i].cc_name);
	}
	text_table_print(t);
	if (audit_fail)
		printf("\nThe object is not what its manifest says: %s\n",
		       text_safe(audit_fail->message));
}

static void print_revocation(const json_t *revocation)
{
	static const char *const fields[] = {"name",   "from",	 "to",
					     "action", "reason", "created"};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		print_field(fields[i], text_of(revocation, fields[i]));
}

static void print_key(const json_t *key, const json_t *scopes)
{
	const json_t *scope;
	size_t i;

	printf("%-12s %.16s  %s\n", "", text_of(key, "keyid"), text_of(key, "public"));
	json_array_foreach(scopes, i, scope)
		if (strcmp(text_of(scope, "key"), text_of(key, "public")) == 0)
			printf("%-12s %-16s  only %s, hooks %s\n", "", "",
			       text_of(scope, "name"), text_of(scope, "hook"));
}

void inspect_print_root(const json_t *root)
{
	static const char *const roles[] = {"root", "release", "director", "status"};
	const json_t *key, *role;
	const char *name;
	json_t *floor;
	size_t k;

	print_field("root", text_of(root, "version"));
	print_field("created", text_of(root, "created"));
	print_field("expires", text_of(root, "expires"));
	print_field("sha256", text_of(root, "sha256"));
	print_field("fleet", text_of(root, "fleet"));
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		role = json_object_get(json_object_get(root, "roles"), roles[i]);
		if (!role)
			continue;
		printf("%-12s %s of %s\n", roles[i], text_of(role, "threshold"),
		       text_n(json_array_size(json_object_get(role, "keys")), "key"));
		json_array_foreach(json_object_get(role, "keys"), k, key)
			print_key(key, json_object_get(role, "scopes"));
	}
	json_object_foreach(json_object_get(root, "floors"), name, floor)
		printf("%-12s %s@%" JSON_INTEGER_FORMAT " and newer\n", "floor",
		       text_safe(name), json_integer_value(floor));
}

/* Whatever its fields are called: they are few, and flat. */
static void print_flat(const json_t *doc)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)doc, key, value)
		if (!json_is_array(value))
			print_field(key, text_of(doc, key));
}

static void print_status(const json_t *status)
{
	const json_t *one;
	size_t i;

	print_flat(status);
	json_array_foreach(json_object_get(status, "hotfixes"), i, one)
		printf("%-12s %s@%s  manifest %.16s  %s bytes\n", i ? "" : "hot-fixes",
		       text_of(one, "name"), text_of(one, "serial"), text_of(one, "manifest"),
		       text_of(one, "bytes"));
}

static int revocation_doc(const struct dsse *d, json_t **ret_doc, struct fail *f)
{
	struct revocation v;
	int r = revocation_open_unverified(d, &v, f);

	if (r == 0)
		*ret_doc = revocation_to_json(&v);
	return r;
}

static int directive_doc(const struct dsse *d, json_t **ret_doc, struct fail *f)
{
	struct directive v;
	int r = directive_open_unverified(d, &v, f);

	if (r == 0)
		*ret_doc = directive_to_json(&v);
	return r;
}

static int status_doc(const struct dsse *d, json_t **ret_doc, struct fail *f)
{
	AUTO(catalog_freep) struct catalog *c = NULL;
	int r = catalog_open_unverified(d, &c, f);

	if (r == 0)
		*ret_doc = catalog_to_json(c);
	return r;
}

static int root_doc(const struct dsse *d, json_t **ret_doc, struct fail *f)
{
	AUTO(trust_freep) struct trust *t = NULL;
	int r = trust_open_unverified(d, &t, f);

	if (r == 0)
		*ret_doc = trust_to_json(t);
	return r;
}

static const struct {
	const char *type;
	int (*to_json)(const struct dsse *d, json_t **ret_doc, struct fail *f);
	void (*print)(const json_t *doc);
} documents[] = {
	{DSSE_TYPE_REVOCATION, revocation_doc, print_revocation},
	{DSSE_TYPE_DIRECTIVE, directive_doc, print_flat},
	{DSSE_TYPE_STATUS, status_doc, print_status},
	{NULL, root_doc, inspect_print_root},
};

static size_t kind_of(const struct dsse *d)
{
	size_t i = 0, len;

	while (documents[i].type && !dsse_unverified_payload(d, documents[i].type, &len))
		i++;
	return i;
}

int inspect_document_json(const struct dsse *d, json_t **ret_doc, struct fail *reterr_fail)
{
	int r = documents[kind_of(d)].to_json(d, ret_doc, reterr_fail);

	return r == 0 && !*ret_doc ? fail_set(reterr_fail, FAIL_INTERNAL, "out of memory") : r;
}

static int inspect_document(const struct cli *c, const struct dsse *d, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	int r = inspect_document_json(d, &doc, f);

	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, f);
	documents[kind_of(d)].print(doc);
	print_signatures(d);
	return 0;
}

/* --- keys ----------------------------------------------------------------------------- */

static int inspect_secret_key(const struct cli *c, const char *path, const void *buf,
			      size_t len, struct fail *f)
{
	struct key_about about;
	char id[KEY_ID_BYTES], public[64];
	AUTO_JSON json_t *doc = NULL;
	struct stat st = {0};
	int r = key_about(path, buf, len, &about, f);

	if (r < 0)
		return r;
	key_id(&about.public, id);
	key_public_format(&about.public, public);
	stat(path, &st);
	if (c->json) {
		doc = json_pack("{s:s, s:b, s:s, s:s}", "kind", "secret key", "encrypted",
				(int)about.sealed, "keyid", id, "public", public);
		return cli_print_json(doc, f);
	}
	print_field("secret key",
		    about.sealed ? "encrypted: its passphrase is asked for when it signs"
				 : "not encrypted: whoever reads this file can sign");
	print_field("key id", id);
	print_field("public", public);
	if (st.st_mode & 077)
		cli_note(c, "others may read or change this file (mode %04o): chmod 600 %s",
			 (unsigned int)(st.st_mode & 07777), path);
	return 0;
}

static int inspect_public_key(const struct cli *c, const char *path, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	char id[KEY_ID_BYTES], text[64];
	struct key_public p;
	int r = key_public_load(path, &p, f);

	if (r < 0)
		return r;
	key_id(&p, id);
	key_public_format(&p, text);
	if (c->json) {
		doc = json_pack("{s:s, s:s, s:s}", "kind", "public key", "keyid", id, "public",
				text);
		return cli_print_json(doc, f);
	}
	print_field("public key", text);
	print_field("key id", id);
	return 0;
}

int inspect_run(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_FREE struct audit *audit = calloc(1, sizeof(*audit));
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO(dsse_freep) struct dsse *document = NULL;
	AUTO_JSON json_t *doc = NULL, *object = NULL;
	struct fail audit_fail = {0};
	AUTO_FREE uint8_t *buf = NULL;
	char hex[BYTES_SHA256_HEX];
	size_t len;
	int r;

	if (!audit)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = inspect_read(args_at(a, 0), &buf, &len, reterr_fail);
	if (r < 0)
		return r;
	if (key_is_secret_file(buf, len)) {
		r = inspect_secret_key(c, args_at(a, 0), buf, len, reterr_fail);
		explicit_bzero(buf, len);
		return r;
	}
	if (key_is_public_file(buf, len))
		return inspect_public_key(c, args_at(a, 0), reterr_fail);
	if (len > 0 && buf[0] == '{') { /* a root or a revocation, then */
		r = dsse_parse("document", buf, len, &document, reterr_fail);
		return r < 0 ? r : inspect_document(c, document, reterr_fail);
	}
	r = bundle_open_unverified(buf, len, &b, reterr_fail);
	if (r < 0)
		return r;
	r = audit_object(b->object, b->object_len, audit, &audit_fail);
	if (r == 0)
		r = audit_compare(audit, b->manifest->hooks, b->manifest->n_hooks, &audit_fail);
	if (!c->json) {
		print_bundle(c, b, audit, r < 0 ? &audit_fail : NULL);
		cli_note(c, "nothing of this was checked against keys: hotfixctl verify does");
		return 0;
	}
	bytes_to_hex(b->digest, sizeof(b->digest), hex);
	doc = json_pack("{s:b, s:s, s:I, s:O, s:o, s:o}", "verified", 0, "digest", hex, "bytes",
			(json_int_t)len, "manifest", b->manifest->doc, "key_ids", json_array(),
			"object", json_object());
	for (size_t i = 0; i < dsse_n_signatures(b->envelope); i++)
		json_array_append_new(json_object_get(doc, "key_ids"),
				      json_string(dsse_keyid(b->envelope, i)));
	json_object_set_new(json_object_get(doc, "object"), "as_declared",
			    json_boolean(r == 0));
	object = r < 0 ? fail_to_json(&audit_fail)
		       : json_pack("{s:s, s:I, s:b}", "license", audit->license, "maps",
				   (json_int_t)audit->n_maps, "uses_hotfix_header",
				   audit->uses_hotfix_header);
	json_object_update(json_object_get(doc, "object"), object);
	return cli_print_json(doc, reterr_fail);
}
