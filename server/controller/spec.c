// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/plain.h"

#define WHAT "rollout spec"

/* ---- the knobs --------------------------------------------------------------------- */

enum kind { NUMBER, AMOUNT, DURATION, CHOICE, FLAG, WORDS };

#define DAY_MS 86400000ULL

static const struct knob {
	const char *key;
	enum kind kind;
	size_t offset;
	const char *otherwise; /* as in a spec */
	const char *unit;      /* of CHOICE: the words, in the order of their enum */
	uint64_t min, max;
} knobs[] = {
#define AT(member) offsetof(struct spec, member)
	{"stratify_by", WORDS, AT(stratify_by), "[\"kernel_release\",\"arch\"]", "labels", 1,
	 4},
	{"spread_by", WORDS, AT(spread_by), "[\"zone\",\"rack\"]", "labels", 0, 4},
	{"max_per_domain", AMOUNT, AT(max_per_domain), "\"10%\"", "hosts", 1, 1000000},
	{"max_in_flight", AMOUNT, AT(max_in_flight), "{\"count\":50,\"percent\":5}", "hosts", 1,
	 1000000},
	{"consecutive", NUMBER, AT(consecutive), "5", "hosts", 0, 1000000},
	{"lost_after", NUMBER, AT(lost_after), "3", "heartbeats", 1, 1000},
	{"progress_deadline", DURATION, AT(progress_deadline_ms), "\"1h\"", "", 10000,
	 30 * DAY_MS},
	{"trial", DURATION, AT(trial_ms), "\"60s\"", "", 1000, DAY_MS},
	{"trial_calls", NUMBER, AT(trial_calls), "0", "calls", 0, INT64_MAX},
	{"on_failure", CHOICE, AT(on_failure), "\"pause\"", "pause rollback_wave rollback_all",
	 0, 0},
	{"on_oops", CHOICE, AT(on_oops), "\"rollback_all\"", "pause rollback_wave rollback_all",
	 0, 0},
	{"on_load_failure", CHOICE, AT(on_load_failure), "\"stop_stratum\"",
	 "stop_stratum pause", 0, 0},
	{"on_no_data", CHOICE, AT(on_no_data), "\"pause\"", "pause pass", 0, 0},
	{"on_newer", CHOICE, AT(on_newer), "\"supersede\"", "supersede refuse", 0, 0},
	{"auto_promote", FLAG, AT(auto_promote), "true", "", 0, 0},
	{"pause_after", WORDS, AT(pause_after), "[]", "waves", 0, SPEC_WORDS_MAX},
	{"approvals", NUMBER, AT(approvals), "0", "users", 0, 16},
	{"dynamic", FLAG, AT(dynamic), "true", "", 0, 0},
	{"retries", NUMBER, AT(retries), "1", "times", 0, 100},
	{"backoff", DURATION, AT(backoff_ms), "\"30s\"", "", 1000, DAY_MS},
	{"backoff_max", DURATION, AT(backoff_max_ms), "\"10m\"", "", 1000, DAY_MS},
	{"rollback_factor", NUMBER, AT(rollback_factor), "4", "x max_in_flight", 1, 1000},
	{"rollback_window", NUMBER, AT(rollback_window), "3", "rollouts", 0, 1000},
#undef AT
};

static const struct knob severity = {"severity",
				     CHOICE,
				     offsetof(struct spec, severity),
				     "\"moderate\"",
				     "low moderate high critical",
				     0,
				     0};

/* By severity: how long to look before going on, and how far at a time. */
static const char *const canary_otherwise[] = {"{\"bake\":\"15m\"}", "{\"bake\":\"2m\"}"};
static const char *const waves_otherwise[] = {
	"[{\"percent\":1,\"bake\":\"1h\"},{\"percent\":10,\"bake\":\"4h\"},"
	"{\"percent\":50,\"bake\":\"12h\"},{\"percent\":100,\"bake\":\"15m\"}]",
	"[{\"percent\":1,\"bake\":\"5m\"},{\"percent\":10,\"bake\":\"10m\"},"
	"{\"percent\":50,\"bake\":\"15m\"},{\"percent\":100,\"bake\":\"5m\"}]"};

static const struct knob wave_bake = {"bake", DURATION, 0, NULL, "", 0, 30 * DAY_MS};
static const struct knob wave_threshold = {
	"failure_threshold", AMOUNT, 0, NULL, "hosts", 0, 1000000};

/* ---- one value --------------------------------------------------------------------- */

static bool number_of(const json_t *v, uint64_t min, uint64_t max, uint64_t *ret)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) < min || (uint64_t)json_integer_value(v) > max)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static bool percent_of(const char *text, uint64_t *ret)
{
	unsigned int n;
	int end = 0;

	if (!text || strspn(text, "0123456789") == 0 || strlen(text) > 4 ||
	    sscanf(text, "%3u%%%n", &n, &end) != 1 || !end || text[end] || n > 100)
		return false;
	*ret = n;
	return true;
}

static bool amount_of(const struct knob *k, const json_t *v, struct spec_amount *ret)
{
	const json_t *count = json_is_object(v) ? json_object_get(v, "count") : v;
	const json_t *percent = json_object_get(v, "percent");
	struct spec_amount a = {0};

	if (json_is_object(v)) {
		a.has_percent = percent && number_of(percent, k->min, 100, &a.percent);
		if (json_object_size(v) != (size_t) !!count + !!percent ||
		    (percent && !a.has_percent))
			return false;
	} else if (json_is_string(v)) {
		a.has_percent =
			percent_of(json_string_value(v), &a.percent) && a.percent >= k->min;
		count = NULL;
	}
	a.has_count = count && number_of(count, k->min, k->max, &a.count);
	if ((count && !a.has_count) || (!a.has_count && !a.has_percent))
		return false;
	*ret = a;
	return true;
}

static bool duration_of(const struct knob *k, const json_t *v, uint64_t *ret)
{
	uint64_t ms;

	if (json_is_integer(v)) {
		if (!number_of(v, 0, INT64_MAX / 1000, &ms))
			return false;
		ms *= 1000;
	} else if (!json_is_string(v) || clock_parse_duration(json_string_value(v), &ms) < 0) {
		return false;
	}
	if (ms < k->min || ms > k->max)
		return false;
	*ret = ms;
	return true;
}

/* The n-th word of a list with blanks between them; its length, 0: there are not so many. */
static size_t nth_word(const char *list, size_t n, const char **ret_word)
{
	for (; n; n--) {
		list += strcspn(list, " ");
		list += *list == ' ';
	}
	*ret_word = list;
	return strcspn(list, " ");
}

static bool choice_of(const struct knob *k, const json_t *v, uint64_t *ret)
{
	const char *word;
	size_t len;

	for (uint64_t i = 0; json_is_string(v) && (len = nth_word(k->unit, i, &word)); i++)
		if (json_string_length(v) == len &&
		    memcmp(json_string_value(v), word, len) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

static bool is_word(const json_t *v)
{
	return json_is_string(v) && json_string_length(v) &&
	       json_string_length(v) < SPEC_WORD_BYTES && plain_is(json_string_value(v), false);
}

static bool words_of(const struct knob *k, const json_t *v, struct spec_words *ret)
{
	struct spec_words words = {0};
	const json_t *one;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) < k->min || json_array_size(v) > k->max)
		return false;
	json_array_foreach(v, i, one) {
		if (!is_word(one))
			return false;
		snprintf(words.word[words.n++], SPEC_WORD_BYTES, "%s", json_string_value(one));
	}
	*ret = words;
	return true;
}

static bool take(const struct knob *k, const json_t *v, void *at)
{
	switch (k->kind) {
	case NUMBER:
		return number_of(v, k->min, k->max, at);
	case AMOUNT:
		return amount_of(k, v, at);
	case DURATION:
		return duration_of(k, v, at);
	case CHOICE:
		return choice_of(k, v, at);
	case FLAG:
		*(bool *)at = json_is_true(v);
		return json_is_boolean(v);
	case WORDS:
		return words_of(k, v, at);
	}
	return false;
}

static void say_allowed(struct json_fields *f, const struct knob *k)
{
	char why[256], min[CLOCK_DURATION_BYTES], max[CLOCK_DURATION_BYTES];

	switch (k->kind) {
	case NUMBER:
		snprintf(why, sizeof(why),
			 "must be a number of %s from %" PRIu64 " to %" PRIu64, k->unit, k->min,
			 k->max);
		break;
	case AMOUNT:
		snprintf(
			why, sizeof(why),
			"must be a number of %s from %" PRIu64 " to %" PRIu64
			", a text such as \"5%%\", or an object with \"count\" and \"percent\"",
			k->unit, k->min, k->max);
		break;
	case DURATION:
		snprintf(why, sizeof(why), "must be a duration such as \"15m\", from %s to %s",
			 clock_format_duration(k->min, min),
			 clock_format_duration(k->max, max));
		break;
	case CHOICE:
		snprintf(why, sizeof(why), "must be one of: %s", k->unit);
		break;
	case FLAG:
		snprintf(why, sizeof(why), "must be true or false");
		break;
	case WORDS:
		snprintf(why, sizeof(why),
			 "must be an array of %" PRIu64 " to %" PRIu64
			 " names of %s, each of 1 to %d bytes",
			 k->min, k->max, k->unit, SPEC_WORD_BYTES - 1);
		break;
	}
	json_bad(f, k->key, why);
}

/* ---- the parser -------------------------------------------------------------------- */

static const json_t *field_of(struct json_fields *f, const char *key, const json_t **ret_value)
{
	if (f->r == 0 && f->n_seen < ARRAY_SIZE(f->seen))
		f->seen[f->n_seen++] = key;
	*ret_value = f->r == 0 ? json_object_get(f->obj, key) : NULL;
	return *ret_value;
}

static void take_knob(struct json_fields *f, const struct knob *k, void *at)
{
	AUTO_JSON json_t *otherwise = NULL;
	const json_t *v;

	if (!field_of(f, k->key, &v) && k->otherwise)
		v = otherwise = json_loads(k->otherwise, JSON_DECODE_ANY, NULL);
	if (f->r == 0 && v && !take(k, v, at))
		say_allowed(f, k);
}

static const json_t *take_selector(struct json_fields *f, const char *key)
{
	const json_t *selector = json_obj_or_null(f, key), *one;
	const char *label;
	json_t *v;
	size_t i;

	if (!selector)
		return NULL;
	if (!json_object_size(selector) || json_object_size(selector) > SPEC_LABELS_MAX)
		json_bad(f, key, "must name 1 to 16 labels");
	json_object_foreach((json_t *)(uintptr_t)selector, label, v) {
		bool good = is_word(v) || (json_is_array(v) && json_array_size(v));

		if (json_is_array(v))
			json_array_foreach(v, i, one)
				good = good && is_word(one);
		if (!good)
			json_bad(f, key, "must give each label a text or an array of texts");
	}
	return selector;
}

/* "tier":"db" is "selector":{"tier":"db"}: in the document from here on. */
static void spell_out_tier(json_t *wave)
{
	json_t *tier = json_object_get(wave, "tier");

	if (!tier || json_object_get(wave, "selector"))
		return; /* with both, "tier" is left for a key that nobody knows */
	json_object_set_new(wave, "selector", json_pack("{s:O}", "tier", tier));
	json_object_del(wave, "tier");
}

static void take_wave(struct json_fields *f, struct spec_wave *w)
{
	take_knob(f, &wave_bake, &w->bake_ms);
	take_knob(f, &wave_threshold, &w->threshold);
}

static int parse_canary(const json_t *doc, struct spec_wave *w, struct fail *reterr_fail)
{
	struct json_fields f = json_fields(WHAT ": canary", doc, reterr_fail);

	*w = (struct spec_wave){.name = "canary", .threshold = {.has_count = true}};
	take_wave(&f, w);
	return json_fields_end(&f);
}

static int parse_wave(json_t *doc, size_t i, struct spec_wave *w, struct fail *reterr_fail)
{
	char what[48], name[32];
	struct json_fields f;

	spell_out_tier(doc);
	snprintf(what, sizeof(what), WHAT ": waves[%zu]", i);
	snprintf(name, sizeof(name), "wave-%zu", i + 1);
	f = json_fields(what, doc, reterr_fail);
	*w = (struct spec_wave){.threshold = {.has_percent = true, .percent = 2}};
	snprintf(w->name, sizeof(w->name), "%s",
		 json_str_or(&f, "name", SPEC_WORD_BYTES - 1, name));
	w->selector = take_selector(&f, "selector");
	w->reach.has_count = json_has(&f, "count");
	w->reach.has_percent = json_has(&f, "percent") || (w->selector && !w->reach.has_count);
	w->reach.count = json_u64_or(&f, "count", 1, 1000000, 0);
	w->reach.percent = json_u64_or(&f, "percent", 1, 100, 100);
	if (!w->reach.has_count && !w->reach.has_percent)
		json_bad(&f, "percent", "or \"count\" or \"selector\" must be there");
	if (w->reach.has_count && w->reach.has_percent)
		json_bad(&f, "count", "and \"percent\" cannot both be there");
	if (!w->name[0] || !plain_is(w->name, false))
		json_bad(&f, "name", "must be a text");
	take_wave(&f, w);
	return json_fields_end(&f);
}

static int parse_metric(const json_t *doc, size_t i, struct judge_metric *m,
			struct fail *reterr_fail)
{
	static const struct {
		const char *key, *why;
		double otherwise, min;
		size_t offset;
	} numbers[] = {
		{"ratio", "must be a number of at least 1", 1.5, 1,
		 offsetof(struct judge_metric, ratio)},
		{"guard", "must be a number of at least 0", 0, 0,
		 offsetof(struct judge_metric, guard)},
		{"samples", "must be a number of at least 1", 100, 1,
		 offsetof(struct judge_metric, samples)},
	};
	struct json_fields f;
	const json_t *v;
	char what[48];

	snprintf(what, sizeof(what), WHAT ": metrics[%zu]", i);
	f = json_fields(what, doc, reterr_fail);
	snprintf(m->name, sizeof(m->name), "%s", json_str(&f, "name", JUDGE_NAME_BYTES - 1));
	if (f.r == 0 && (!m->name[0] || !plain_is(m->name, false)))
		json_bad(&f, "name", "must be a text");
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		double n = field_of(&f, numbers[i].key, &v) ? json_number_value(v)
							    : numbers[i].otherwise;

		if (v && (!json_is_number(v) || !(n >= numbers[i].min)))
			json_bad(&f, numbers[i].key, numbers[i].why);
		memcpy((char *)m + numbers[i].offset, &n, sizeof(n));
	}
	return json_fields_end(&f);
}

static void check_sense(struct json_fields *f, const struct spec *s)
{
	const struct spec_wave *last = &s->wave[s->n_waves - 1];

	if (s->n_waves < 2 || last->selector || last->reach.has_count ||
	    last->reach.percent != 100)
		json_bad(f, "waves", "must end with {\"percent\":100} without a selector");
	for (size_t i = 0; i < s->n_waves; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(s->wave[i].name, s->wave[k].name) == 0)
				json_bad(f, "waves",
					 "must have names that differ (\"canary\" is taken)");
	for (size_t i = 0; i < s->pause_after.n; i++) {
		size_t k = 0;

		while (k < s->n_waves && strcmp(s->pause_after.word[i], s->wave[k].name) != 0)
			k++;
		if (k == s->n_waves)
			json_bad(f, "pause_after",
				 "must name waves (\"canary\", \"wave-1\", ...)");
	}
	if (s->backoff_max_ms < s->backoff_ms)
		json_bad(f, "backoff_max", "must not be shorter than \"backoff\"");
}

static const json_t *take_windows(struct json_fields *f)
{
	const json_t *windows = json_obj_or_null(f, "windows");
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)windows, key, v)
		if ((strcmp(key, "allow") != 0 && strcmp(key, "deny") != 0) ||
		    !json_is_array(v))
			json_bad(f, "windows",
				 "must have the arrays \"allow\" and \"deny\" only");
	return windows;
}

/* The defaults become part of the document, so that selectors have one owner. */
static const json_t *section(struct json_fields *f, json_t *doc, const char *key,
			     const char *otherwise)
{
	const json_t *v;

	if (!field_of(f, key, &v) && f->r == 0) {
		json_object_set_new(doc, key, json_loads(otherwise, 0, NULL));
		v = json_object_get(doc, key);
	}
	return v;
}

int spec_parse(const json_t *doc, struct spec *ret_spec, struct fail *reterr_fail)
{
	struct spec s = {.doc = json_deep_copy(doc)};
	struct json_fields f = json_fields(WHAT, s.doc, reterr_fail);
	const json_t *canary, *waves, *metrics;
	json_t *one;
	bool critical;
	size_t i;
	int r;

	take_knob(&f, &severity, &s.severity);
	for (i = 0; i < ARRAY_SIZE(knobs); i++)
		take_knob(&f, &knobs[i], (char *)&s + knobs[i].offset);
	critical = s.severity == SPEC_CRITICAL;
	s.target = take_selector(&f, "target");
	s.windows = take_windows(&f);
	canary = section(&f, s.doc, "canary", canary_otherwise[critical]);
	waves = section(&f, s.doc, "waves", waves_otherwise[critical]);
	metrics = json_arr_or_null(&f, "metrics", SPEC_METRICS_MAX);
	if (f.r == 0 && (!json_is_array(waves) || !json_array_size(waves) ||
			 json_array_size(waves) > SPEC_WAVES_MAX))
		json_bad(&f, "waves", "must be an array of 1 to 31 waves");
	r = f.r < 0 ? f.r : parse_canary(canary, &s.wave[s.n_waves++], reterr_fail);
	json_array_foreach(waves, i, one)
		r = r < 0 ? r : parse_wave(one, i, &s.wave[s.n_waves++], reterr_fail);
	json_array_foreach(metrics, i, one)
		r = r < 0 ? r : parse_metric(one, i, &s.metric[s.n_metrics++], reterr_fail);
	if (r == 0)
		check_sense(&f, &s);
	r = r < 0 ? r : json_fields_end(&f);
	if (r < 0) {
		spec_clear(&s);
		return r;
	}
	*ret_spec = s;
	return 0;
}

void spec_clear(struct spec *s)
{
	json_decref(s->doc);
	*s = (struct spec){0};
}

/* ---- and back ---------------------------------------------------------------------- */

static json_t *amount_json(struct spec_amount a)
{
	json_t *o = json_object();

	if (a.has_count)
		json_object_set_new(o, "count", json_integer((json_int_t)a.count));
	if (a.has_percent)
		json_object_set_new(o, "percent", json_integer((json_int_t)a.percent));
	return o;
}

static json_t *duration_json(uint64_t ms)
{
	return json_sprintf("%" PRIu64 "ms", ms);
}

static json_t *words_json(const struct spec_words *words)
{
	json_t *array = json_array();

	for (size_t i = 0; i < words->n; i++)
		json_array_append_new(array, json_string(words->word[i]));
	return array;
}

static json_t *knob_json(const struct knob *k, const void *at)
{
	const char *word;
	size_t len;

	switch (k->kind) {
	case NUMBER:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case AMOUNT:
		return amount_json(*(const struct spec_amount *)at);
	case DURATION:
		return duration_json(*(const uint64_t *)at);
	case CHOICE:
		len = nth_word(k->unit, *(const uint64_t *)at, &word);
		return json_stringn(word, len);
	case FLAG:
		return json_boolean(*(const bool *)at);
	case WORDS:
		return words_json(at);
	}
	return NULL;
}

static json_t *wave_json(const struct spec_wave *w)
{
	json_t *o = json_pack("{s:o, s:o}", "bake", duration_json(w->bake_ms),
			      "failure_threshold", amount_json(w->threshold));

	if (w->reach.has_count || w->reach.has_percent) { /* the canaries have neither */
		json_object_set_new(o, "name", json_string(w->name));
		json_object_update_new(o, amount_json(w->reach));
	}
	if (w->selector)
		json_object_set_new(o, "selector", json_deep_copy(w->selector));
	return o;
}

json_t *spec_to_json(const struct spec *s)
{
	json_t *o = json_object(), *waves = json_array(), *metrics = json_array();

	json_object_set_new(o, severity.key, knob_json(&severity, &s->severity));
	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++)
		json_object_set_new(o, knobs[i].key,
				    knob_json(&knobs[i], (const char *)s + knobs[i].offset));
	if (s->target)
		json_object_set_new(o, "target", json_deep_copy(s->target));
	if (s->windows)
		json_object_set_new(o, "windows", json_deep_copy(s->windows));
	json_object_set_new(o, "canary", wave_json(&s->wave[0]));
	for (size_t i = 1; i < s->n_waves; i++)
		json_array_append_new(waves, wave_json(&s->wave[i]));
	json_object_set_new(o, "waves", waves);
	for (size_t i = 0; i < s->n_metrics; i++) {
		const struct judge_metric *m = &s->metric[i];

		json_array_append_new(metrics, json_pack("{s:s, s:f, s:f, s:f}", "name",
							 m->name, "ratio", m->ratio, "guard",
							 m->guard, "samples", m->samples));
	}
	json_object_set_new(o, "metrics", metrics);
	return o;
}

/* ---- reading it -------------------------------------------------------------------- */

uint64_t spec_at_least(struct spec_amount a, uint64_t of)
{
	uint64_t share = (a.percent * of + 99) / 100;

	return a.has_count && (!a.has_percent || a.count < share) ? a.count : share;
}

uint64_t spec_at_most(struct spec_amount a, uint64_t of)
{
	uint64_t share = a.percent * of / 100;

	return a.has_count && (!a.has_percent || a.count < share) ? a.count : share;
}

bool spec_has_word(const struct spec_words *words, const char *word)
{
	for (size_t i = 0; i < words->n; i++)
		if (strcmp(words->word[i], word) == 0)
			return true;
	return false;
}

bool spec_selects(const json_t *selector, const json_t *labels)
{
	const char *label;
	const json_t *one;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)selector, label, v) {
		const json_t *has = json_object_get(labels, label);
		bool hit = has && json_equal(has, v);

		json_array_foreach(v, i, one)
			hit = hit || (has && json_equal(has, one));
		if (!hit)
			return false;
	}
	return true;
}
