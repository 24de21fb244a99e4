// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "lib/json.h"

const char *stratum_state_name(enum stratum_state state)
{
	static const char *const names[] = {[STRATUM_NEW] = "new",
					    [STRATUM_CANARY] = "canary",
					    [STRATUM_BAKING] = "baking",
					    [STRATUM_PROVEN] = "proven",
					    [STRATUM_STOPPED] = "stopped"};

	return names[state];
}

/* ---- what is written, in one table per struct -------------------------------------- */

enum kind { TEXT, NEW_TEXT /* not in those of before */, U64, U32, U8, FLAG, NAME };

struct field {
	const char *key;
	enum kind kind;
	size_t offset, size; /* size: of a TEXT; so many names */
	const char *(*name)(int i);
};

#define NAMES(type, function)                    \
	static const char *name_of_##type(int i) \
	{                                        \
		return function((enum type)i);   \
	}

NAMES(rollout_state, rollout_state_name)
NAMES(rollout_action, rollout_action_name)
NAMES(stratum_state, stratum_state_name)
NAMES(host_state, host_state_name)
NAMES(host_why, host_why_name)

static const char *name_of_rollout_scope(int i)
{
	static const char *const names[] = {
		[ROLLOUT_NOTHING] = "nothing", [ROLLOUT_WAVE] = "wave", [ROLLOUT_ALL] = "all"};

	return names[i];
}

/* The keys are the members' own names. */
#define ROLLOUT(kind, member)                                       \
	{                                                           \
#member, kind, offsetof(struct rollout, member),    \
			sizeof(((struct rollout *)0)->member), NULL \
	}
#define STRATUM(kind, member)                                       \
	{                                                           \
#member, kind, offsetof(struct stratum, member),    \
			sizeof(((struct stratum *)0)->member), NULL \
	}
#define HOST(kind, member)                                               \
	{                                                                \
#member, kind, offsetof(struct rollout_host, member),    \
			sizeof(((struct rollout_host *)0)->member), NULL \
	}

static const struct field rollout_fields[] = {
	ROLLOUT(TEXT, id),
	ROLLOUT(TEXT, name),
	ROLLOUT(TEXT, author),
	ROLLOUT(U64, serial),
	ROLLOUT(U64, floor),
	ROLLOUT(FLAG, takes_off),
	ROLLOUT(U64, generation),
	{"state", NAME, offsetof(struct rollout, state), ROLLOUT_STATES_,
	 name_of_rollout_state},
	{"resume", NAME, offsetof(struct rollout, resume), ROLLOUT_STATES_,
	 name_of_rollout_state},
	{"scope", NAME, offsetof(struct rollout, scope), 3, name_of_rollout_scope},
	ROLLOUT(U32, pauses),
	ROLLOUT(FLAG, window_closed),
	ROLLOUT(FLAG, line_stopped),
	ROLLOUT(FLAG, engine_lost),
	ROLLOUT(FLAG, director_lost),
	ROLLOUT(NEW_TEXT, window_why),
	ROLLOUT(NEW_TEXT, line_why),
	ROLLOUT(NEW_TEXT, director_why),
	ROLLOUT(FLAG, overridden),
	ROLLOUT(U64, window_next_ms),
	ROLLOUT(TEXT, superseded_by),
	ROLLOUT(U64, clock_ms),
	ROLLOUT(U64, anchor_ms),
	ROLLOUT(U64, progress_ms),
	ROLLOUT(U8, wave),
	ROLLOUT(U64, bake_end_ms),
	ROLLOUT(U8, verdict),
	ROLLOUT(U64, forgiven),
	ROLLOUT(U64, forgiven_canaries),
	ROLLOUT(U64, row),
	ROLLOUT(TEXT, finding_of),
};

static const struct field stratum_fields[] = {
	STRATUM(TEXT, key),
	{"state", NAME, offsetof(struct stratum, state), STRATUM_STATES_,
	 name_of_stratum_state},
	STRATUM(TEXT, canary),
	STRATUM(U64, bake_end_ms),
	STRATUM(U64, refused),
};

static const struct field host_fields[] = {
	HOST(TEXT, id),
	HOST(U32, waves),
	HOST(U64, committed),
	HOST(U64, max_serial),
	HOST(FLAG, offline),
	HOST(FLAG, held),
	HOST(NEW_TEXT, held_by),
	HOST(FLAG, incompatible),
	HOST(NEW_TEXT, unfit),
	HOST(FLAG, quarantined),
	HOST(FLAG, rebooting),
	HOST(FLAG, late),
	HOST(FLAG, left),
	{"state", NAME, offsetof(struct rollout_host, state), HOST_STATES_, name_of_host_state},
	{"why", NAME, offsetof(struct rollout_host, why), HOST_WHYS_, name_of_host_why},
	{"action", NAME, offsetof(struct rollout_host, action), 4, name_of_rollout_action},
	HOST(U8, wave),
	HOST(U8, failed_in),
	HOST(FLAG, canary),
	HOST(FLAG, retry),
	HOST(FLAG, back),
	HOST(U64, seq),
	HOST(U64, word),
	HOST(U64, offer),
	HOST(U64, from),
	HOST(U64, tries),
	HOST(U64, due_ms),
	HOST(TEXT, boot_id),
	HOST(TEXT, code),
	HOST(NEW_TEXT, waits),
};

/* All enums of these tables are as wide as this one. */
_Static_assert(sizeof(enum host_state) == sizeof(int) &&
		       sizeof(enum stratum_state) == sizeof(int),
	       "enums are read as int");

static json_t *field_json(const struct field *f, const void *base)
{
	const void *at = (const char *)base + f->offset;

	switch (f->kind) {
	case TEXT:
	case NEW_TEXT:
		return json_string(at);
	case U64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case U32:
		return json_integer(*(const uint32_t *)at);
	case U8:
		return json_integer(*(const uint8_t *)at);
	case FLAG:
		return json_boolean(*(const bool *)at);
	case NAME:
		return json_string(f->name(*(const int *)at));
	}
	return NULL;
}

static void put_fields(json_t *o, const struct field *f, size_t n, const void *base)
{
	for (size_t i = 0; i < n; i++) /* who is older knows no new ones: not without need */
		if (f[i].kind != NEW_TEXT || *((const char *)base + f[i].offset))
			json_object_set_new(o, f[i].key, field_json(&f[i], base));
}

static void take_name(struct json_fields *doc, const struct field *f, int *at)
{
	const char *word = json_str(doc, f->key, 64);

	for (int i = 0; doc->r == 0 && i < (int)f->size; i++)
		if (strcmp(f->name(i), word) == 0) {
			*at = i;
			return;
		}
	json_bad(doc, f->key, "is no word that this program knows");
}

static void take_fields(struct json_fields *doc, const struct field *f, size_t n, void *base)
{
	for (size_t i = 0; i < n; i++, f++) {
		void *at = (char *)base + f->offset;

		switch (f->kind) {
		case TEXT:
			snprintf(at, f->size, "%s", json_str(doc, f->key, f->size - 1));
			break;
		case NEW_TEXT:
			snprintf(at, f->size, "%s", json_str_or(doc, f->key, f->size - 1, ""));
			break;
		case U64:
			*(uint64_t *)at = json_u64(doc, f->key, 0, INT64_MAX);
			break;
		case U32:
			*(uint32_t *)at = (uint32_t)json_u64(doc, f->key, 0, UINT32_MAX);
			break;
		case U8:
			*(uint8_t *)at = (uint8_t)json_u64(doc, f->key, 0, UINT8_MAX);
			break;
		case FLAG:
			*(bool *)at = json_bool_or(doc, f->key, false);
			break;
		case NAME:
			take_name(doc, f, at);
			break;
		}
	}
}

/* ---- samples and findings ---------------------------------------------------------- */

static json_t *number_json(double value) /* what is none, is null */
{
	return isfinite(value) ? json_real(value) : json_null();
}

static double number_of(const json_t *v)
{
	return json_is_number(v) ? json_number_value(v) : NAN;
}

static json_t *finding_json(const struct judge_finding *f)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s}", "verdict",
			 judge_verdict_name(f->verdict), "metric", f->metric, "value",
			 number_json(f->value), "control", number_json(f->control), "limit",
			 number_json(f->limit), "note", f->note);
}

static void take_finding(struct json_fields *doc, struct judge_finding *f)
{
	const json_t *o = json_obj_or_null(doc, "finding");
	const char *verdict = json_string_value(json_object_get(o, "verdict"));
	const char *metric = json_string_value(json_object_get(o, "metric"));
	const char *note = json_string_value(json_object_get(o, "note"));

	if (!verdict || !metric || !note) {
		json_bad(doc, "finding", "is not one");
		return;
	}
	f->verdict = strcmp(verdict, "pass") == 0   ? JUDGE_PASS
		     : strcmp(verdict, "fail") == 0 ? JUDGE_FAIL
						    : JUDGE_INCONCLUSIVE;
	snprintf(f->metric, sizeof(f->metric), "%s", metric);
	snprintf(f->note, sizeof(f->note), "%s", note);
	f->value = number_of(json_object_get(o, "value"));
	f->control = number_of(json_object_get(o, "control"));
	f->limit = number_of(json_object_get(o, "limit"));
}

static json_t *samples_json(const struct rollout_host *h)
{
	json_t *array = json_array();

	for (size_t i = 0; i < SPEC_METRICS_MAX; i++)
		if (h->sample[i].known)
			json_array_append_new(array, json_pack("[i, o, o]", (int)i,
							       number_json(h->sample[i].value),
							       number_json(h->sample[i].base)));
	return array;
}

static void take_samples(struct json_fields *doc, struct rollout_host *h)
{
	const json_t *array = json_arr_or_null(doc, "samples", SPEC_METRICS_MAX), *one;
	size_t i;

	json_array_foreach(array, i, one) {
		json_int_t k = json_integer_value(json_array_get(one, 0));

		if (k >= 0 && k < SPEC_METRICS_MAX)
			h->sample[k] =
				(struct judge_sample){true, number_of(json_array_get(one, 1)),
						      number_of(json_array_get(one, 2))};
	}
}

/* ---- a host ------------------------------------------------------------------------ */

json_t *rollout_host_to_json(const struct rollout_host *h)
{
	json_t *o = json_object();

	put_fields(o, host_fields, ARRAY_SIZE(host_fields), h);
	json_object_set_new(o, "stratum", json_string(h->stratum->key));
	json_object_set_new(o, "domain", json_string(h->domain->key));
	json_object_set_new(o, "samples", samples_json(h));
	return o;
}

int rollout_load_host(struct rollout *r, const json_t *host, struct fail *reterr_fail)
{
	struct json_fields doc = json_fields("stored host", host, reterr_fail);
	char stratum[ROLLOUT_KEY_BYTES], domain[ROLLOUT_KEY_BYTES];
	struct rollout_host row = {0}, *h;

	take_fields(&doc, host_fields, ARRAY_SIZE(host_fields), &row);
	snprintf(stratum, sizeof(stratum), "%s",
		 json_str(&doc, "stratum", sizeof(stratum) - 1));
	snprintf(domain, sizeof(domain), "%s", json_str(&doc, "domain", sizeof(domain) - 1));
	take_samples(&doc, &row);
	if (doc.r == 0 && row.wave >= r->spec.n_waves && row.wave != ROLLOUT_NO_WAVE)
		json_bad(&doc, "wave", "is none of this rollout");
	if (doc.r == 0 && rollout_seek_host(r, row.id))
		json_bad(&doc, "id", "is there twice");
	if (json_fields_end(&doc) < 0)
		return doc.r;
	if (rollout_add_host(r, row.id, &h) < 0)
		return -ENOMEM;
	row.order = h->order;
	*h = row;
	if (rollout_set_groups(r, h, stratum, domain) < 0)
		return -ENOMEM;
	rollout_lay(r, h);
	return 0;
}

/* ---- the header -------------------------------------------------------------------- */

json_t *rollout_to_json(const struct rollout *r)
{
	json_t *o = json_object(), *strata = json_array(), *approvals = json_array();

	json_object_set_new(o, "format", json_integer(1));
	put_fields(o, rollout_fields, ARRAY_SIZE(rollout_fields), r);
	for (size_t i = 0; i < r->n_approvals; i++)
		json_array_append_new(approvals, json_string(r->approval[i]));
	for (size_t i = 0; i < r->n_strata; i++) {
		json_t *s = json_object();

		put_fields(s, stratum_fields, ARRAY_SIZE(stratum_fields), r->stratum[i]);
		json_array_append_new(strata, s);
	}
	json_object_set_new(o, "approvals", approvals);
	json_object_set_new(o, "strata", strata);
	json_object_set_new(o, "finding", finding_json(&r->finding));
	json_object_set_new(o, "spec", spec_to_json(&r->spec));
	return o;
}

static int load_stratum(struct rollout *r, const json_t *o, struct fail *reterr_fail)
{
	struct json_fields doc = json_fields("stored stratum", o, reterr_fail);
	struct stratum row = {0}, *s;

	take_fields(&doc, stratum_fields, ARRAY_SIZE(stratum_fields), &row);
	if (json_fields_end(&doc) < 0)
		return doc.r;
	if (rollout_add_stratum(r, row.key, &s) < 0)
		return -ENOMEM;
	s->bake_end_ms = row.bake_end_ms;
	s->refused = row.refused;
	rollout_stratum_enter(r, s, row.state, row.canary);
	return 0;
}

int rollout_load(const json_t *header, struct rollout **ret_rollout, struct fail *reterr_fail)
{
	struct json_fields doc = json_fields("stored rollout", header, reterr_fail);
	AUTO(rollout_freep) struct rollout *r = calloc(1, sizeof(*r));
	const json_t *approvals, *strata, *spec, *one;
	size_t i;
	int res;

	if (!r)
		return -ENOMEM;
	json_u64(&doc, "format", 1, 1);
	take_fields(&doc, rollout_fields, ARRAY_SIZE(rollout_fields), r);
	approvals = json_arr_or_null(&doc, "approvals", ARRAY_SIZE(r->approval));
	strata = json_arr_or_null(&doc, "strata", SIZE_MAX);
	spec = json_obj_or_null(&doc, "spec");
	take_finding(&doc, &r->finding);
	json_array_foreach(approvals, i, one)
		if (json_is_string(one))
			snprintf(r->approval[r->n_approvals++], ROLLOUT_ID_BYTES, "%s",
				 json_string_value(one));
	res = json_fields_end(&doc);
	if (res == 0)
		res = spec_parse(spec, &r->spec, reterr_fail);
	if (res == 0 && r->wave >= r->spec.n_waves)
		res = fail_set(reterr_fail, FAIL_BAD_FORMAT,
			       "stored rollout: there is no wave %d", r->wave);
	if (res == 0 && r->state == ROLLOUT_PAUSED && !rollout_runs(r->resume))
		res = fail_set(reterr_fail, FAIL_BAD_FORMAT,
			       "stored rollout: paused in no wave");
	json_array_foreach(strata, i, one)
		if (res == 0)
			res = load_stratum(r, one, reterr_fail);
	if (res == 0)
		*ret_rollout = take_ptr(r);
	return res;
}

/* ---- life -------------------------------------------------------------------------- */

int rollout_new(const struct rollout_opts *opts, struct rollout **ret_rollout,
		struct fail *reterr_fail)
{
	AUTO(rollout_freep) struct rollout *r = calloc(1, sizeof(*r));
	int res;

	if (!r)
		return -ENOMEM;
	if (!hook_name_valid(opts->id) || !hook_name_valid(opts->name))
		return fail_set(reterr_fail, FAIL_USAGE,
				"rollouts and hot-fixes have names of a-z, 0-9 and '-'");
	if (!rollout_id_is_good(opts->author))
		return fail_set(reterr_fail, FAIL_USAGE, "a rollout needs an author");
	if (!opts->serial || opts->serial < opts->floor)
		return fail_set(
			reterr_fail, FAIL_DOWNGRADE, "serial %llu is below the floor %llu",
			(unsigned long long)opts->serial, (unsigned long long)opts->floor);
	res = spec_parse(opts->spec, &r->spec, reterr_fail);
	if (res < 0)
		return res;
	snprintf(r->id, sizeof(r->id), "%s", opts->id);
	snprintf(r->name, sizeof(r->name), "%s", opts->name);
	snprintf(r->author, sizeof(r->author), "%s", opts->author);
	r->serial = opts->serial;
	r->floor = opts->floor;
	r->takes_off = opts->takes_off;
	*ret_rollout = take_ptr(r);
	return 0;
}

struct rollout *rollout_free(struct rollout *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i < r->n_hosts; i++)
		free(r->host[i]);
	for (size_t i = 0; i < r->n_strata; i++) {
		heap_clear(&r->stratum[i]->candidates);
		free(r->stratum[i]);
	}
	for (size_t i = 0; i < r->n_domains; i++) {
		heap_clear(&r->domain[i]->ready);
		free(r->domain[i]);
	}
	free(r->host);
	free(r->stratum);
	free(r->domain);
	heap_clear(&r->ready);
	heap_clear(&r->fresh);
	heap_clear(&r->bakes);
	heap_clear(&r->timers);
	heap_clear(&r->back_ready);
	spec_clear(&r->spec);
	free(r);
	return NULL;
}
