// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/facts.h"

#include <string.h>

#include "lib/json.h"
#include "store/bytes.h"
#include "store/fleet.h"

#define SEQ_BITS 31 /* for reports since the host enrolled; the seconds of that above */

void facts_clear(struct facts *f)
{
	json_decref(f->labels);
	json_decref(f->doc);
	*f = (struct facts){0};
}

/* Objects; "" is an empty one. */
static int parse(const char *what, const char *text, json_t **ret_doc, struct fail *reterr_fail)
{
	int r;

	if (!text || !text[0]) {
		*ret_doc = json_object();
		return 0;
	}
	r = json_parse(what, text, strlen(text), ret_doc, reterr_fail);
	if (r == 0 && !json_is_object(*ret_doc)) {
		json_decref(*ret_doc);
		r = fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: must be an object", what);
	}
	return r;
}

static void add_labels(json_t *labels, json_t *more)
{
	const char *key;
	json_t *value;

	json_object_foreach(more, key, value) {
		if (json_is_string(value))
			json_object_set(labels, key, value);
	}
}

static void add_label(json_t *labels, const char *key, const char *value)
{
	if (value && value[0])
		json_object_set_new(labels, key, json_string(value));
}

static int read_labels(const struct fleet_host *h, json_t **ret_labels,
		       struct fail *reterr_fail)
{
	AUTO_JSON json_t *labels = NULL, *own = NULL;
	int r = parse("labels of the host's own", h->facts, &labels, reterr_fail);

	if (r == 0)
		r = parse("labels", h->labels, &own, reterr_fail);
	if (r < 0)
		return r;
	add_label(labels, "zone", h->zone);
	add_labels(labels, own);
	add_label(labels, "kernel_release", h->kernel);
	add_label(labels, "arch", h->arch);
	add_label(labels, "host", h->id);
	add_label(labels, "name", h->name);
	*ret_labels = take_ptr(labels);
	return 0;
}

static uint64_t number(const json_t *doc, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(doc, key));

	return v > 0 ? (uint64_t)v : 0;
}

static const char *text(const json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

static bool has_number(const json_t *array, uint64_t wanted)
{
	const json_t *one;
	size_t i;

	json_array_foreach(array, i, one) {
		if ((uint64_t)json_integer_value(one) == wanted)
			return true;
	}
	return false;
}

static void read_metrics(struct facts *f, json_t *metrics)
{
	const char *key;
	json_t *value;

	json_object_foreach(metrics, key, value) {
		if (f->report.n_metrics == SPEC_METRICS_MAX)
			break;
		f->metrics[f->report.n_metrics++] = (struct rollout_metric){
			.name = key,
			.value = json_number_value(json_array_get(value, 0)),
			.base = json_number_value(json_array_get(value, 1)),
		};
	}
	f->report.metrics = f->metrics;
}

static uint64_t seq_of(const struct fleet_host *h)
{
	const uint64_t max = (1ULL << SEQ_BITS) - 1;
	uint64_t enrolled_s = h->enrolled_ms / 1000;

	return (enrolled_s & UINT32_MAX) << SEQ_BITS | (h->seq < max ? h->seq : max);
}

/* What the host says of its newest word, if that is one of this rollout. */
static int read_report(const struct fleet_host *h, const struct facts_query *q, json_t *one,
		       struct facts *f, struct fail *reterr_fail)
{
	const char *state = text(one, "state");

	f->report = (struct rollout_report){
		.seq = seq_of(h),
		.state = HOST_PENDING,
		.committed = f->facts.committed,
		.boot_id = h->boot_id,
		.code = "",
		.text = "",
	};
	f->has_report = true;
	read_metrics(f, json_object_get(one, "metrics"));
	if (!q->rollout[0] || strcmp(text(one, "rollout"), q->rollout) != 0)
		return 0;
	f->report.word = number(one, "word");
	f->report.code = text(one, "code");
	f->report.text = text(one, "text");
	f->report.transient = json_is_true(json_object_get(one, "transient"));
	if (strcmp(f->report.code, "HEALTH:oops") == 0)
		f->report.code = "OOPS"; /* the engine's name for the worst of them */
	if (!state[0])
		return 0;
	if (host_state_parse(state, &f->report.state) < 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "report: no host is %.32s",
				state);
	return 0;
}

static const char *held_by(const struct fleet_host *h, const json_t *health, const json_t *one,
			   char holder[FACTS_HOLDER_BYTES])
{
	if (h->held && h->held_by && h->held_by[0])
		snprintf(holder, FACTS_HOLDER_BYTES, "operator %s", h->held_by);
	if (h->held)
		return holder[0] ? holder : "an operator";
	if (json_is_true(json_object_get(health, "hold")))
		return "[fleet] hold of the host";
	if (json_is_true(json_object_get(health, "freeze")))
		return "freeze file of the host";
	return json_is_true(json_object_get(one, "held")) ? "hold or disable on the host"
							  : NULL;
}

/* What cannot be one is not known. */
static void read_root(const json_t *root, struct roots_of_host *ret_root)
{
	json_int_t version = json_integer_value(json_object_get(root, "version"));

	*ret_root = (struct roots_of_host){.version = version > 0 ? (uint64_t)version : 0};
	ret_root->known =
		json_is_integer(json_object_get(root, "version")) && version >= 0 &&
		(version == 0 || bytes_from_hex(text(root, "sha256"), ret_root->sha256,
						sizeof(ret_root->sha256)) == 0);
}

int facts_read(const struct fleet_host *h, const struct facts_query *q, struct facts *ret_facts,
	       struct fail *reterr_fail)
{
	AUTO(facts_clear) struct facts f = {.facts = {.max_serial = h->max_serial}};
	AUTO_JSON json_t *health = NULL;
	json_t *one;
	int r = read_labels(h, &f.labels, reterr_fail);

	if (r == 0)
		r = parse("report", h->hotfixes, &f.doc, reterr_fail);
	if (r == 0)
		r = parse("health", h->health, &health, reterr_fail);
	if (r < 0)
		return r;
	one = json_object_get(f.doc, q->hotfix);
	f.facts.labels = f.labels;
	f.facts.committed = number(one, "committed");
	f.facts.quarantined = has_number(json_object_get(one, "quarantined"), q->serial);
	f.facts.held_by = held_by(h, health, one, f.holder);
	read_root(json_object_get(health, "root"), &f.root);
	f.facts.missed = q->heartbeat_ms ? h->silent_ms / q->heartbeat_ms : 0;
	f.live = number(one, "live");
	f.trial = number(one, "trial");
	f.high_water = number(one, "high_water");
	r = h->seq ? read_report(h, q, one, &f, reterr_fail) : 0;
	if (r < 0)
		return r;
	*ret_facts = f;
	if (f.facts.held_by == f.holder)
		ret_facts->facts.held_by = ret_facts->holder;
	if (f.report.metrics)
		ret_facts->report.metrics = ret_facts->metrics;
	f = (struct facts){0};
	return 0;
}
