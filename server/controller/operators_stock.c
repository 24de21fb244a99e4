// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/json.h"
#include "server/controller/operators_private.h"
#include "server/controller/roots.h"
#include "server/controller/serve.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/revocation.h"

#define LOOK_MS	  50 /* until a root that was stored is in force */
#define LOOKS_MAX 100

static const struct trust *trust_of(struct call *call)
{
	const struct trust *t = roots_trust(call->o->c->roots);

	if (!t) {
		oper_fail(call, FAIL_NO_TRUST, "this controller trusts nobody yet");
		oper_hint(call, "import the root of the release keys first: "
				"hotfixctl --context NAME trust import ROOT");
	}
	return t;
}

/* ---- bundles ----------------------------------------------------------------------------- */

static json_t *bundle_json(const struct fleet_bundle *b)
{
	char digest[BYTES_SHA256_HEX], manifest[BYTES_SHA256_HEX];

	bytes_to_hex(b->digest, BYTES_SHA256, digest);
	bytes_to_hex(b->manifest_sha256, BYTES_SHA256, manifest);
	return json_pack("{s:s, s:I, s:s, s:s, s:I, s:o, s:s}", "name", b->name, "serial",
			 (json_int_t)b->serial, "digest", digest, "manifest", manifest, "bytes",
			 (json_int_t)b->bytes, "imported", oper_time(b->imported_ms), "by",
			 b->actor);
}

static int on_bundles(struct call *call, struct fleet_answer *a)
{
	json_t *bundles = json_array();
	struct fleet_bundle b;

	while (fleet_next_bundle(a, &b))
		json_array_append_new(bundles, bundle_json(&b));
	return oper_answer(call, 200,
			   json_pack("{s:i, s:o}", "schema_version", 1, "bundles", bundles));
}

int operators_bundles(struct call *call)
{
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	return oper_wait(call, fleet_bundles(call->o->c->fleet, oper_done, call), on_bundles);
}

static void json_state_free(void *state)
{
	json_decref(state);
}

static int on_put(struct call *call, struct fleet_answer *a)
{
	json_t *doc = call->state;

	(void)a;
	call->state = NULL;
	return oper_answer(call, 200, doc);
}

/* What no root in force vouches for is not even stored. */
int operators_put_bundle(struct call *call)
{
	const struct trust *trust = trust_of(call);
	AUTO(bundle_freep) struct bundle *b = NULL;
	char digest[BYTES_SHA256_HEX], what[HOOK_NAME_MAX + 32];
	AUTO_JSON json_t *detail = NULL;
	AUTO_FREE char *detail_text = NULL;
	struct fleet_bundle row;
	struct fleet_entry entry;
	const uint8_t *buf;
	uint64_t floor;
	size_t len;
	int r;

	if (!trust || oper_knows(call, NULL) < 0)
		return -EINVAL;
	buf = serve_body(call->req, &len);
	r = bundle_open(buf, len, trust, &b, &call->fail);
	if (r < 0)
		return r;
	floor = trust_floor(trust, b->manifest->name);
	if (b->manifest->serial < floor)
		return oper_fail(call, FAIL_DOWNGRADE,
				 "serial %" PRIu64 " of %s is below the floor %" PRIu64
				 " of the root in force",
				 b->manifest->serial, b->manifest->name, floor);
	bytes_to_hex(b->digest, sizeof(b->digest), digest);
	snprintf(what, sizeof(what), "%s@%" PRIu64, b->manifest->name, b->manifest->serial);
	row = (struct fleet_bundle){.digest = b->digest,
				    .manifest_sha256 = b->manifest_sha256,
				    .name = b->manifest->name,
				    .serial = b->manifest->serial,
				    .bytes = len,
				    .imported_ms = call->now_ms,
				    .actor = call->user};
	detail = json_pack("{s:s, s:I}", "digest", digest, "bytes", (json_int_t)len);
	detail_text = detail ? json_text(detail) : NULL;
	call->state = bundle_json(&row);
	call->state_free = json_state_free;
	if (!detail_text || !call->state)
		return oper_no_memory(call);
	entry = oper_entry(call, "BUNDLE", what, detail_text);
	return oper_wait(
		call, fleet_put_bundle(call->o->c->fleet, &row, buf, &entry, oper_done, call),
		on_put);
}

struct drop {
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	uint8_t digest[BYTES_SHA256];
};

static int on_dropped(struct call *call, struct fleet_answer *a)
{
	if (a->r < 0)
		return oper_failed(call, a, "there is no such bundle");
	return oper_answer(call, 200, json_pack("{s:s}", "dropped", call->segment[1]));
}

static int on_active(struct call *call, struct fleet_answer *a)
{
	const struct drop *d = call->state;
	struct fleet_entry entry = oper_entry(call, "BUNDLE_DROPPED", call->segment[1], NULL);
	struct fleet_rollout row;

	while (fleet_next_rollout(a, &row)) {
		AUTO_JSON json_t *state = json_loads(row.state, 0, NULL);

		if (strcmp(row.name, d->name) == 0 &&
		    (uint64_t)json_integer_value(json_object_get(state, "serial")) == d->serial)
			return oper_fail(call, FAIL_CONFLICT,
					 "rollout %s hands out %s@%" PRIu64 " just now", row.id,
					 d->name, d->serial);
	}
	return oper_try(
		call, fleet_drop_bundle(call->o->c->fleet, d->digest, &entry, oper_done, call),
		on_dropped);
}

static int on_bundle(struct call *call, struct fleet_answer *a)
{
	struct drop *d = call->state;
	struct fleet_bundle b;

	if (a->r < 0 || !fleet_next_bundle(a, &b))
		return oper_failed(call, a, "there is no such bundle");
	snprintf(d->name, sizeof(d->name), "%s", b.name);
	d->serial = b.serial;
	return oper_wait(call,
			 fleet_rollouts(call->o->c->fleet, true, "", 10000, oper_done, call),
			 on_active);
}

int operators_drop_bundle(struct call *call)
{
	struct drop *d = calloc(1, sizeof(*d));

	call->state = d;
	call->state_free = free;
	if (!d)
		return oper_no_memory(call);
	if (oper_knows(call, NULL) < 0 || oper_hash(call, 1, d->digest) < 0)
		return -EINVAL;
	return oper_try(call, fleet_bundle(call->o->c->fleet, d->digest, oper_done, call),
			on_bundle);
}

/* ---- trust and documents ----------------------------------------------------------------- */

int operators_trust(struct call *call)
{
	const struct trust *trust = trust_of(call);
	char warning[256];
	json_t *doc;

	if (!trust || oper_knows(call, NULL) < 0)
		return -EINVAL;
	doc = trust_to_json(trust);
	return oper_answer(
		call, 200,
		doc ? json_pack("{s:i, s:o, s:s}", "schema_version", 1, "root", doc, "warning",
				trust_warning(trust, call->now_ms, warning, sizeof(warning)))
		    : NULL);
}

struct document {
	json_t *doc;
	uint64_t root; /* its version; 0: it is none */
	int looks;
};

static void document_free(void *state)
{
	struct document *d = state;

	json_decref(d->doc);
	free(d);
}

/* Who hands in the next root right after this one does not have to wait for the loop. */
static int await_root(struct call *call)
{
	struct document *d = call->state;
	const struct trust *t = roots_trust(call->o->c->roots);
	json_t *doc;

	if (d->root && (!t || t->version < d->root) && d->looks++ < LOOKS_MAX)
		return oper_park(call, "-", LOOK_MS);
	doc = take_ptr(d->doc);
	return oper_answer(call, 200, doc);
}

static int on_document(struct call *call, struct fleet_answer *a)
{
	struct document *d = call->state;

	if (a->r == -ESTALE && !d->root) { /* the very same is there */
		json_object_set_new(d->doc, "known", json_true());
		return await_root(call);
	}
	if (a->r == -ESTALE)
		return oper_fail(call, FAIL_CONFLICT,
				 "a root of this version was stored just now");
	if (a->r < 0)
		return oper_failed(call, a, NULL);
	return await_root(call);
}

static int put_document(struct call *call, const struct fleet_document *d, const char *action,
			const char *subject)
{
	const struct document *state = call->state;
	AUTO_FREE char *detail = state->doc ? json_text(state->doc) : NULL;
	struct fleet_entry entry = oper_entry(call, action, subject, detail);

	if (!detail)
		return oper_no_memory(call);
	return oper_try(call, fleet_put_document(call->o->c->fleet, d, &entry, oper_done, call),
			on_document);
}

static int put_root(struct call *call, const uint8_t *buf, size_t len)
{
	struct document *state = call->state;
	AUTO(trust_freep) struct trust *t = NULL;
	char name[24], subject[32], sha256[BYTES_SHA256_HEX];
	struct fleet_document d;
	int r;

	r = roots_check(call->o->c->roots, buf, len, &t, &call->fail);
	if (r == -EALREADY)
		return oper_answer(call, 200,
				   json_pack("{s:s, s:b}", "type", "root", "known", 1));
	if (r < 0)
		return r;
	state->root = t->version;
	snprintf(name, sizeof(name), "%" PRIu64, t->version);
	snprintf(subject, sizeof(subject), "root %s", name);
	bytes_to_hex(t->sha256, sizeof(t->sha256), sha256);
	state->doc = json_pack("{s:s, s:I, s:s}", "type", "root", "version",
			       (json_int_t)t->version, "sha256", sha256);
	d = (struct fleet_document){.kind = "root",
				    .name = name,
				    .version = t->version,
				    .imported_ms = call->now_ms,
				    .actor = call->user,
				    .envelope = buf,
				    .len = len};
	return put_document(call, &d, "ROOT", subject);
}

static int put_revocation(struct call *call, const uint8_t *buf, size_t len)
{
	const struct trust *trust = trust_of(call);
	struct document *state = call->state;
	char sha256[BYTES_SHA256_HEX];
	struct fleet_document d;
	struct revocation v;
	json_t *says;
	int r;

	if (!trust)
		return -ENOKEY;
	r = revocation_open(buf, len, trust, &v, &call->fail);
	if (r < 0)
		return r;
	bytes_to_hex(v.sha256, sizeof(v.sha256), sha256);
	says = revocation_to_json(&v);
	state->doc =
		says ? json_pack("{s:s, s:o}", "type", "revocation", "revocation", says) : NULL;
	d = (struct fleet_document){.kind = "revocation",
				    .name = sha256,
				    .imported_ms = call->now_ms,
				    .actor = call->user,
				    .envelope = buf,
				    .len = len};
	return put_document(call, &d, "REVOCATION", v.name);
}

int operators_put_document(struct call *call)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	const uint8_t *buf;
	size_t len, n;
	int r;

	if (call->woken)
		return await_root(call);
	call->state = calloc(1, sizeof(struct document));
	call->state_free = document_free;
	if (!call->state)
		return oper_no_memory(call);
	buf = serve_body(call->req, &len);
	if (oper_knows(call, NULL) < 0)
		return -EINVAL;
	r = dsse_parse("document", buf, len, &d, &call->fail);
	if (r < 0)
		return r;
	if (dsse_unverified_payload(d, DSSE_TYPE_ROOT, &n))
		return put_root(call, buf, len);
	if (dsse_unverified_payload(d, DSSE_TYPE_REVOCATION, &n))
		return put_revocation(call, buf, len);
	oper_fail(call, FAIL_BAD_FORMAT, "this is neither a root nor a revocation");
	return oper_hint(call, "the controller signs directives and the status of the fleet "
			       "itself; bundles go to /v1/bundles");
}
