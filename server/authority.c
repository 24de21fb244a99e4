// SPDX-License-Identifier: BSD-2-Clause
#include "server/authority.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "store/bundle.h"
#include "store/bytes.h"

struct walk {
	struct trust *trust; /* of the root walked to last */
	json_t *chain;	     /* NULL: nobody wants it */
	struct fail fail;
	int r;
};

static json_t *link_json(const struct trust *t, const struct store_root *root)
{
	char created[CLOCK_TIMESTAMP_BYTES], imported[CLOCK_TIMESTAMP_BYTES];
	char sha256[BYTES_SHA256_HEX];

	return json_pack("{s:I, s:s, s:s, s:s, s:I}", "version", (json_int_t)t->version,
			 "sha256", bytes_to_hex(t->sha256, sizeof(t->sha256), sha256),
			 "created", clock_format_timestamp(t->created_ms, created), "imported",
			 clock_format_timestamp(root->imported_ms, imported), "imported_uid",
			 (json_int_t)root->actor_uid);
}

static int on_root(const struct store_root *root, void *cookie)
{
	struct walk *w = cookie;
	struct trust *next = NULL;

	if (w->trust)
		w->r = trust_open_next(root->envelope, root->len, w->trust, &next, &w->fail);
	else
		w->r = trust_open(root->envelope, root->len, &next, &w->fail);
	if (w->r < 0)
		return 1;
	trust_free(w->trust);
	w->trust = next;
	if (w->chain)
		json_array_append_new(w->chain, link_json(next, root));
	return 0;
}

static int walk_chain(struct store *s, json_t *chain, struct trust **ret_trust,
		      struct fail *reterr_fail)
{
	struct walk w = {.chain = chain};
	AUTO(trust_freep) struct trust *newest = NULL;
	int r = store_each_root(s, on_root, &w);

	newest = w.trust;
	if (r < 0)
		return store_error(s, r, reterr_fail);
	if (w.r < 0 && w.fail.code == FAIL_INTERNAL)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s", w.fail.message);
	if (w.r < 0) {
		fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
			 "the stored roots do not follow each other, the database was changed "
			 "by hand: %s",
			 w.fail.message);
		return fail_hint(reterr_fail, "What runs goes on. Find out who wrote to the "
					      "state directory (hotfixctl audit --verify).");
	}
	if (!newest) {
		fail_set(reterr_fail, FAIL_NO_TRUST,
			 "this host trusts nobody yet: no root has been imported");
		return fail_hint(reterr_fail, "hotfixctl trust import ROOT");
	}
	*ret_trust = take_ptr(newest);
	return 0;
}

int authority_trust(struct store *s, struct trust **ret_trust, struct fail *reterr_fail)
{
	return walk_chain(s, NULL, ret_trust, reterr_fail);
}

/* ---- the root with what its release keys revoke ---------------------------------------- */

struct collect {
	struct authority *into;
	int r;
};

static int on_revocation(const void *envelope, size_t len, void *cookie)
{
	struct collect *c = cookie;
	struct authority *a = c->into;
	struct revocation v, *more;
	struct fail f = {.code = FAIL_NONE};

	if (revocation_open(envelope, len, a->trust, &v, &f) < 0 && f.code != FAIL_INTERNAL)
		return 0; /* of keys that count no more */
	more = f.code ? NULL : realloc(a->revocations, (a->n_revocations + 1) * sizeof(v));
	if (!more) {
		c->r = -ENOMEM; /* one that is left out would not count */
		return 1;
	}
	a->revocations = more;
	a->revocations[a->n_revocations++] = v;
	return 0;
}

/* One by keys that count no more says nothing. */
static int open_catalog(struct store *s, const struct trust *t, struct catalog **ret_catalog)
{
	AUTO_FREE uint8_t *envelope = NULL;
	struct fail f = {.code = FAIL_NONE};
	size_t len;
	int r = store_get_catalog(s, &envelope, &len);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = catalog_open(envelope, len, t, ret_catalog, &f);
	return r < 0 && f.code == FAIL_INTERNAL ? -ENOMEM : 0;
}

int authority_open(struct store *s, struct authority **ret_authority, struct fail *reterr_fail)
{
	AUTO(authority_freep) struct authority *a = calloc(1, sizeof(*a));
	struct collect c = {.into = a};
	int r;

	if (!a)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = authority_trust(s, &a->trust, reterr_fail);
	if (r < 0)
		return r;
	r = store_each_revocation(s, on_revocation, &c);
	if (r < 0)
		return store_error(s, r, reterr_fail);
	if (c.r == 0)
		c.r = open_catalog(s, a->trust, &a->catalog);
	if (c.r < 0)
		return store_error(s, c.r, reterr_fail);
	*ret_authority = take_ptr(a);
	return 0;
}

struct authority *authority_free(struct authority *a)
{
	if (a) {
		trust_free(a->trust);
		catalog_free(a->catalog);
		free(a->revocations);
	}
	free(a);
	return NULL;
}

const struct revocation *authority_revoked(const struct authority *a, const char *name,
					   uint64_t serial)
{
	const struct revocation *found = NULL;

	for (size_t i = 0; i < a->n_revocations; i++)
		if (revocation_covers(&a->revocations[i], name, serial) &&
		    (!found || a->revocations[i].rollback))
			found = &a->revocations[i];
	return found;
}

bool authority_pins_other(const struct authority *a, const char *name, uint64_t serial,
			  const uint8_t manifest_sha256[32])
{
	const struct catalog_entry *e = catalog_find(a->catalog, name, serial);

	return e && memcmp(e->manifest_sha256, manifest_sha256, BYTES_SHA256) != 0;
}

static struct store_clock host_clock(void)
{
	return (struct store_clock){
		.real_ms = clock_real_ms(), .up_ms = clock_up_ms(), .boot_id = clock_boot_id()};
}

uint64_t authority_now_ms(struct store *s, bool keep)
{
	struct store_clock now = host_clock();
	uint64_t ms;

	return store_trusted_ms(s, &now, keep, &ms) < 0 ? now.real_ms : ms;
}

/* ---- what is stored, under all that ---------------------------------------------------- */

static int verify(struct store *s, const struct trust *t, const char *name, uint64_t serial,
		  char *why, size_t room)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f;
	size_t len;
	int r = store_get_bundle(s, name, serial, &buf, &len);

	if (r == 0 && bundle_open(buf, len, t, &bundle, &f) < 0)
		snprintf(why, room, "%s", f.message);
	return r;
}

int authority_review(struct store *s, const struct authority *a, const char *name,
		     uint64_t serial, bool verified, uint32_t actor_uid)
{
	const struct revocation *revoked = authority_revoked(a, name, serial);
	char why[FAIL_MESSAGE_BYTES] = "", subject[HOOK_NAME_MAX + 24];
	uint64_t floor = trust_floor(a->trust, name);
	AUTO_JSON json_t *detail = NULL;
	struct store_version v;
	int r = store_get_version(s, name, serial, &v);

	if (revoked)
		snprintf(why, sizeof(why), "revoked: %s", revoked->reason);
	else if (serial < floor)
		snprintf(why, sizeof(why), "it is below the floor %" PRIu64 " of root %" PRIu64,
			 floor, a->trust->version);
	else if (r == 0 && authority_pins_other(a, name, serial, v.manifest_sha256))
		snprintf(why, sizeof(why),
			 "the status of the fleet names other contents for it");
	else if (r == 0 && !verified)
		r = verify(s, a->trust, name, serial, why, sizeof(why));
	if (r < 0 || (!why[0] && !v.barred[0]))
		return r;
	r = store_bar(s, name, serial, why);
	if (r < 0 || (why[0] && v.barred[0]))
		return r;
	snprintf(subject, sizeof(subject), "%s@%" PRIu64, name, serial);
	detail = json_pack("{s:s}", "message", why);
	return store_audit(s, clock_real_ms(), actor_uid, "review", subject,
			   why[0] ? "barred" : "allowed", why[0] ? detail : NULL);
}

static int add_version(const struct store_version *v, void *cookie)
{
	return json_array_append_new(cookie, json_pack("{s:s, s:I}", "name", v->name, "serial",
						       (json_int_t)v->serial));
}

/* Within the commit that changed whom this host trusts. */
static int review_all(struct store *s, uint32_t actor_uid)
{
	AUTO(authority_freep) struct authority *a = NULL;
	AUTO_JSON json_t *versions = json_array();
	const json_t *v;
	size_t i;
	int r = authority_open(s, &a, NULL);

	if (r == 0)
		r = store_each_version(s, NULL, add_version, versions);
	json_array_foreach(versions, i, v)
		if (r == 0)
			r = authority_review(
				s, a, json_string_value(json_object_get(v, "name")),
				(uint64_t)json_integer_value(json_object_get(v, "serial")),
				false, actor_uid);
	return r;
}

static void bar_damaged(struct store *s, const struct store_version *v)
{
	static const char why[] =
		"its bytes are not those that were stored: the database was changed by hand";
	char subject[HOOK_NAME_MAX + 24];
	AUTO_JSON json_t *detail = json_pack("{s:s}", "message", why);

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, v->name, v->serial);
	log_event(LOG_ALERT,
		  "stored version is damaged hotfix=%s serial=%" PRIu64 " why=\"%s\"", v->name,
		  v->serial, why);
	if (strcmp(v->barred, why) == 0)
		return; /* said already */
	if (store_bar(s, v->name, v->serial, why) < 0 ||
	    store_audit(s, clock_real_ms(), 0, "review", subject, "barred", detail) < 0)
		log_event(LOG_ERR, "not recorded hotfix=%s verb=review", v->name);
}

struct authority_check {
	struct store *store;
	struct authority *authority; /* NULL: nobody is trusted */
	json_t *verified;	     /* NAME@SERIAL -> null: signed, when the check began */
	json_t *committed;	     /* name -> serial */
	json_t *damaged;	     /* NAME@SERIAL -> null */
	json_t *review;		     /* as add_version() has them */
};

static int add_committed(const struct store_hotfix *h, void *cookie)
{
	return json_object_set_new(cookie, h->name,
				   json_integer((json_int_t)h->committed_serial));
}

static void on_damaged(const char *name, uint64_t serial, void *cookie)
{
	struct authority_check *c = cookie;
	char subject[HOOK_NAME_MAX + 24];
	struct store_version v;

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, name, serial);
	json_object_set_new(c->damaged, subject, json_null());
	if (store_get_version(c->store, name, serial, &v) == 0)
		bar_damaged(c->store, &v);
}

static int check_one(const struct store_version *v, void *cookie)
{
	struct authority_check *c = cookie;

	if (v->barred[0] ||
	    (uint64_t)json_integer_value(json_object_get(c->committed, v->name)) == v->serial)
		return add_version(v, c->review);
	return 0;
}

static void review_one(const struct authority_check *c, const json_t *one)
{
	const char *name = json_string_value(json_object_get(one, "name"));
	uint64_t serial = (uint64_t)json_integer_value(json_object_get(one, "serial"));
	char subject[HOOK_NAME_MAX + 24];

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, name, serial);
	if (c->authority && !json_object_get(c->damaged, subject))
		authority_review(c->store, c->authority, name, serial,
				 json_object_get(c->verified, subject), 0);
}

static void on_mended(const char *name, uint64_t was, uint64_t is, void *cookie)
{
	AUTO_JSON json_t *detail =
		json_pack("{s:I, s:I}", "was", (json_int_t)was, "is", (json_int_t)is);

	log_event(LOG_ALERT,
		  "high-water mark was lowered by hand hotfix=%s was=%" PRIu64 " is=%" PRIu64,
		  name, was, is);
	if (store_audit(cookie, clock_real_ms(), 0, "mark", name, "raised", detail) < 0)
		log_event(LOG_ERR, "not recorded hotfix=%s verb=mark", name);
}

static void verify_committed(struct authority_check *c)
{
	char subject[HOOK_NAME_MAX + 24], why[FAIL_MESSAGE_BYTES];
	const char *name;
	json_t *serial;

	json_object_foreach(c->committed, name, serial) {
		uint64_t n = (uint64_t)json_integer_value(serial);

		why[0] = 0;
		snprintf(subject, sizeof(subject), "%s@%" PRIu64, name, n);
		if (n &&
		    verify(c->store, c->authority->trust, name, n, why, sizeof(why)) == 0 &&
		    !why[0])
			json_object_set_new(c->verified, subject, json_null());
	}
}

struct authority_check *authority_check_new(struct store *s)
{
	AUTO(authority_check_freep) struct authority_check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct authority_check){.store = s,
				      .verified = json_object(),
				      .committed = json_object(),
				      .damaged = json_object(),
				      .review = json_array()};
	if (authority_open(s, &c->authority, NULL) == 0 &&
	    store_each_hotfix(s, add_committed, c->committed) == 0)
		verify_committed(c);
	return take_ptr(c);
}

struct authority_check *authority_check_free(struct authority_check *c)
{
	if (!c)
		return NULL;
	authority_free(c->authority);
	json_decref(c->verified);
	json_decref(c->committed);
	json_decref(c->damaged);
	json_decref(c->review);
	free(c);
	return NULL;
}

void authority_check_end(struct authority_check *c, struct store_hashing *hashing)
{
	const json_t *one;
	size_t i;

	json_object_clear(c->committed); /* the kernel may have corrected it since */
	if (store_each_hotfix(c->store, add_committed, c->committed) < 0 ||
	    store_each_version(c->store, NULL, check_one, c) < 0 ||
	    store_hashing_end(hashing, c->store, on_damaged, c) < 0)
		log_event(LOG_ERR, "what is stored could not be checked");
	json_array_foreach(c->review, i, one)
		review_one(c, one);
	if (store_mend_high_water(c->store, on_mended, c->store) < 0)
		log_event(LOG_ERR, "the high-water marks could not be checked");
}

/* ---- roots --------------------------------------------------------------------------- */

static int apply_resets(struct store *s, const struct trust *t)
{
	const json_t *name;
	size_t i;
	int r = 0;

	json_array_foreach(t->resets, i, name)
		if (r == 0)
			r = store_reset_high_water(s, json_string_value(name),
						   trust_floor(t, json_string_value(name)),
						   t->version);
	return r;
}

/* It is at least as late as the root is, and no later than the clock says: the way out of a time
 * that ran ahead. */
static int set_time(struct store *s, uint64_t created_ms)
{
	struct store_clock now = host_clock();

	return store_set_trusted_ms(s, &now,
				    created_ms > now.real_ms ? created_ms : now.real_ms);
}

/* The document is in, or r says why not: what it changes is judged, and all of it is one commit. */
static int end_import(struct store *s, int r, const char *subject, const json_t *detail_or_null,
		      uint64_t now_ms, uint32_t actor_uid)
{
	if (r == 0)
		r = store_audit(s, now_ms, actor_uid, "trust import", subject, "done",
				detail_or_null);
	if (r == 0)
		r = review_all(s, actor_uid);
	if (r == 0)
		r = store_commit(s);
	if (r < 0)
		store_rollback(s);
	return r;
}

static int put_root(struct store *s, const struct trust *t, const void *envelope, size_t len,
		    bool follows, uint32_t actor_uid)
{
	char subject[32], sha256[BYTES_SHA256_HEX];
	AUTO_JSON json_t *detail = json_pack(
		"{s:s}", "sha256", bytes_to_hex(t->sha256, sizeof(t->sha256), sha256));
	uint64_t now_ms = clock_real_ms();
	int r = store_begin(s);

	snprintf(subject, sizeof(subject), "root@%" PRIu64, t->version);
	if (r == 0)
		r = store_put_root(s, t->version, envelope, len, now_ms, actor_uid);
	if (r == 0)
		r = apply_resets(s, t);
	if (r == 0 && follows)
		r = set_time(s, t->created_ms);
	return end_import(s, r, subject, detail, now_ms, actor_uid);
}

int authority_import(struct store *s, const void *envelope, size_t len, uint32_t actor_uid,
		     struct trust **ret_trust, struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *current = NULL, *next = NULL;
	struct fail none;
	int r = authority_trust(s, &current, &none);

	if (r < 0 && none.code != FAIL_NO_TRUST) {
		*reterr_fail = none;
		return r;
	}
	r = current ? trust_open_next(envelope, len, current, &next, reterr_fail)
		    : trust_open_first(envelope, len, &next, reterr_fail);
	if (r == -EALREADY) {
		*ret_trust = take_ptr(current);
		return 0;
	}
	if (r < 0)
		return r;
	r = put_root(s, next, envelope, len, current != NULL, actor_uid);
	if (r < 0)
		return store_error(s, r, reterr_fail);
	log_event(LOG_NOTICE, "root imported version=%" PRIu64 " uid=%u", next->version,
		  actor_uid);
	*ret_trust = take_ptr(next);
	return 0;
}

int authority_import_revocation(struct store *s, const void *envelope, size_t len,
				uint32_t actor_uid, struct revocation *ret_revocation,
				struct fail *reterr_fail)
{
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_JSON json_t *detail = NULL;
	uint64_t now_ms = clock_real_ms();
	int r = authority_trust(s, &t, reterr_fail);

	if (r == 0)
		r = revocation_open(envelope, len, t, ret_revocation, reterr_fail);
	if (r < 0)
		return r;
	detail = revocation_to_json(ret_revocation);
	r = store_begin(s);
	if (r == 0)
		r = store_put_revocation(s, ret_revocation->sha256, envelope, len, now_ms,
					 actor_uid);
	r = end_import(s, r, ret_revocation->name, detail, now_ms, actor_uid);
	if (r < 0)
		return store_error(s, r, reterr_fail);
	log_event(LOG_NOTICE,
		  "revocation imported hotfix=%s from=%" PRIu64 " to=%" PRIu64 " uid=%u",
		  ret_revocation->name, ret_revocation->from, ret_revocation->to, actor_uid);
	return 0;
}

static int put_catalog(struct store *s, const struct catalog *c, const void *envelope,
		       size_t len, uint32_t actor_uid)
{
	uint64_t now_ms = clock_real_ms();
	char subject[32];
	int r = store_begin(s);

	snprintf(subject, sizeof(subject), "status@%" PRIu64, c->version);
	if (r == 0)
		r = store_put_catalog(s, envelope, len, now_ms, actor_uid);
	return end_import(s, r, subject, NULL, now_ms, actor_uid);
}

int authority_import_catalog(struct store *s, const void *envelope, size_t len,
			     uint32_t actor_uid, struct catalog **ret_catalog,
			     struct fail *reterr_fail)
{
	AUTO(authority_freep) struct authority *a = NULL;
	AUTO(catalog_freep) struct catalog *next = NULL;
	int r = authority_open(s, &a, reterr_fail);

	if (r < 0)
		return r;
	r = catalog_open_next(envelope, len, a->trust, a->catalog, &next, reterr_fail);
	if (r == -EALREADY) {
		*ret_catalog = take_ptr(a->catalog);
		return 0;
	}
	if (r < 0)
		return r;
	if (authority_now_ms(s, true) > next->expires_ms)
		return fail_set(reterr_fail, FAIL_EXPIRED,
				"status: version %" PRIu64
				" has expired: somebody shows an old one",
				next->version);
	r = put_catalog(s, next, envelope, len, actor_uid);
	if (r < 0)
		return store_error(s, r, reterr_fail);
	log_event(LOG_INFO, "status of the fleet imported version=%" PRIu64 " uid=%u",
		  next->version, actor_uid);
	*ret_catalog = take_ptr(next);
	return 0;
}

/* Frozen: whoever is between the host and its fleet may withhold what is newer. */
static const char *catalog_warning(const struct catalog *c, uint64_t now_ms, char *out,
				   size_t room)
{
	char stamp[CLOCK_TIMESTAMP_BYTES];

	if (c && now_ms > c->expires_ms)
		snprintf(out, room,
			 "the status %" PRIu64 " of the fleet %s is stale since %s: what runs "
			 "goes on, newer hot-fixes may be withheld",
			 c->version, c->fleet, clock_format_timestamp(c->expires_ms, stamp));
	return out;
}

const char *authority_warning(struct store *s, char *out, size_t room)
{
	uint64_t now_ms = authority_now_ms(s, false);
	AUTO(catalog_freep) struct catalog *c = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	struct fail f;

	out[0] = 0;
	if (authority_trust(s, &t, &f) < 0) {
		if (f.code != FAIL_NO_TRUST)
			snprintf(out, room, "%s", f.message);
		return out;
	}
	trust_warning(t, now_ms, out, room);
	if (!out[0] && open_catalog(s, t, &c) == 0)
		catalog_warning(c, now_ms, out, room);
	return out;
}

int authority_report(struct store *s, json_t **ret_doc, struct fail *reterr_fail)
{
	AUTO_JSON json_t *chain = json_array();
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE uint8_t *envelope = NULL;
	char warning[256];
	size_t len;
	int r = walk_chain(s, chain, &t, reterr_fail);

	if (r < 0)
		return r;
	r = store_get_root(s, &envelope, &len);
	if (r < 0)
		return store_error(s, r, reterr_fail);
	trust_warning(t, authority_now_ms(s, false), warning, sizeof(warning));
	*ret_doc = json_pack("{s:o, s:s%, s:O, s:o}", "root", trust_to_json(t), "envelope",
			     envelope, len, "chain", chain, "warning",
			     warning[0] ? json_string(warning) : json_null());
	return 0;
}
