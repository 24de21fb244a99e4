// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "lib/hook.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "server/controller/agents_private.h"
#include "server/controller/host.h"
#include "store/bytes.h"
#include "store/manifest.h"

#define SERIAL_MAX	 MANIFEST_SERIAL_MAX
#define SEQ_MAX		 SERIAL_MAX
#define HOTFIXES_MAX	 512
#define LABELS_MAX	 64
#define METRICS_MAX	 32
#define HEALTH_BYTES_MAX 8192

struct texts {
	json_t *doc;
	char *facts, *hotfixes, *health;
	uint8_t head[32];
};

void agents_report_free(void *texts)
{
	struct texts *t = texts;

	if (!t)
		return;
	json_decref(t->doc);
	free(t->facts);
	free(t->hotfixes);
	free(t->health);
	free(t);
}

static void texts_freep(struct texts **t)
{
	agents_report_free(*t);
}

static const char *plain(struct json_fields *f, const char *key, size_t max)
{
	const char *s = json_str_or(f, key, max, "");

	if (f->r == 0 && !plain_is(s, false))
		json_bad(f, key, "must be plain text");
	return s;
}

/*
 * The host checks its labels by lib/label.h. What others say, and those of before, is taken where a
 * person can read it; the rest is left out, and counted: the host is heard all the same.
 */
static int take_labels(const json_t *labels, json_t **ret_kept, size_t *ret_left_out,
		       struct fail *reterr_fail)
{
	AUTO_JSON json_t *kept = json_object();
	size_t left_out = 0;
	const char *key;
	json_t *value;

	if (!kept)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
		const char *text = json_string_value(value);

		if (!text)
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"report: labels are texts");
		if (!*key || strlen(key) > 63 || strlen(text) > 128 || !plain_is(key, false) ||
		    !plain_is(text, false) || json_object_size(kept) == LABELS_MAX)
			left_out++;
		else
			json_object_set(kept, key, value);
	}
	*ret_kept = take_ptr(kept);
	*ret_left_out = left_out;
	return 0;
}

static int check_metrics(const json_t *metrics, struct fail *reterr_fail)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)metrics, key, value) {
		if (!*key || strlen(key) > 63 || !plain_is(key, false) ||
		    json_array_size(value) != 2 || !json_is_number(json_array_get(value, 0)) ||
		    !json_is_number(json_array_get(value, 1)))
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"report: a metric is a name and two numbers");
	}
	if (json_object_size(metrics) > METRICS_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "report: more than %d metrics",
				METRICS_MAX);
	return 0;
}

static int check_hotfix(const char *name, const json_t *obj, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("report: hot-fix", obj, reterr_fail);
	const json_t *quarantined, *metrics, *serial;
	enum host_state state;
	const char *text;
	size_t i;

	json_u64_or(&f, "committed", 0, SERIAL_MAX, 0);
	json_u64_or(&f, "trial", 0, SERIAL_MAX, 0);
	json_u64_or(&f, "live", 0, SERIAL_MAX, 0);
	json_u64_or(&f, "high_water", 0, SERIAL_MAX, 0);
	json_u64_or(&f, "word", 0, SEQ_MAX, 0);
	json_u64_or(&f, "serial", 0, SERIAL_MAX, 0);
	json_bool_or(&f, "transient", false);
	json_bool_or(&f, "held", false);
	plain(&f, "rollout", 64);
	plain(&f, "code", 47);
	plain(&f, "text", 480);
	quarantined = json_arr_or_null(&f, "quarantined", 256);
	metrics = json_obj_or_null(&f, "metrics");
	/* Of what came without the fleet there is no word, and nothing to say of it. */
	text = json_str_or(&f, "state", 32, "pending");
	if (f.r == 0 && (host_state_parse(text, &state) < 0 || host_is(state, HOST_OURS)))
		json_bad(&f, "state", "is none that a host has");
	if (json_fields_end(&f) < 0)
		return f.r;
	if (!hook_name_valid(name))
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"report: \"%.64s\" is not the name of a hot-fix", name);
	json_array_foreach(quarantined, i, serial)
		if (!json_is_integer(serial) || json_integer_value(serial) < 1)
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"report: quarantined are serial numbers");
	return check_metrics(metrics, reterr_fail);
}

static int check_hotfixes(const json_t *hotfixes, struct fail *reterr_fail)
{
	const char *name;
	json_t *one;
	int r;

	if (json_object_size(hotfixes) > HOTFIXES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "report: more than %d hot-fixes",
				HOTFIXES_MAX);
	json_object_foreach((json_t *)(uintptr_t)hotfixes, name, one) {
		r = check_hotfix(name, one, reterr_fail);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_audit(const json_t *audit, struct fleet_report *r, struct texts *t,
		       struct fail *reterr_fail)
{
	struct json_fields f = json_fields("report: audit", audit, reterr_fail);
	const char *head;

	if (!audit)
		return 0;
	r->audit_seq = json_u64(&f, "seq", 0, SEQ_MAX);
	head = json_str(&f, "head", 64);
	if (f.r == 0 && bytes_from_hex(head, t->head, sizeof(t->head)) < 0)
		json_bad(&f, "head", "must be 64 hex digits");
	if (json_fields_end(&f) < 0)
		return f.r;
	r->audit_head = t->head;
	return 0;
}

int agents_report_parse(const char *host, const void *buf, size_t len,
			struct fleet_report *ret_report, void **ret_texts,
			struct fail *reterr_fail)
{
	AUTO(texts_freep) struct texts *t = calloc(1, sizeof(*t));
	AUTO_JSON json_t *kept = NULL;
	size_t left_out = 0;
	const json_t *labels, *hotfixes, *health, *audit;
	struct fleet_report r = {.host = host};
	const char *version;
	struct json_fields f;
	int e;

	if (!t)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	e = json_parse("report", buf, len, &t->doc, reterr_fail);
	if (e < 0)
		return e;
	f = json_fields("report", t->doc, reterr_fail);
	r.seq = json_u64(&f, "seq", 1, SEQ_MAX);
	r.boot_id = plain(&f, "boot_id", 64);
	r.kernel = plain(&f, "kernel", 64);
	r.arch = plain(&f, "arch", 32);
	r.zone = plain(&f, "zone", 64);
	version = plain(&f, "hotfixd", 64);
	labels = json_obj_or_null(&f, "labels");
	hotfixes = json_obj_or_null(&f, "hotfixes");
	health = json_obj_or_null(&f, "health");
	audit = json_obj_or_null(&f, "audit");
	e = json_fields_end(&f);
	if (e == 0)
		e = take_labels(labels, &kept, &left_out, reterr_fail);
	if (e == 0 && hotfixes)
		e = check_hotfixes(hotfixes, reterr_fail);
	if (e == 0)
		e = parse_audit(audit, &r, t, reterr_fail);
	if (e < 0)
		return e;
	t->facts = json_text(kept);
	t->hotfixes = hotfixes ? json_text(hotfixes) : strdup("{}");
	if (!health) {
		json_object_set_new(t->doc, "health", json_object());
		health = json_object_get(t->doc, "health");
	}
	json_object_set_new((json_t *)(uintptr_t)health, "hotfixd", json_string(version));
	if (left_out)
		json_object_set_new((json_t *)(uintptr_t)health, "labels_left_out",
				    json_integer((json_int_t)left_out));
	t->health = json_text(health);
	if (!t->facts || !t->hotfixes || !t->health)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (strlen(t->health) > HEALTH_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"report: health has at most %d bytes", HEALTH_BYTES_MAX);
	r.facts = t->facts;
	r.hotfixes = t->hotfixes;
	r.health = t->health;
	*ret_report = r;
	*ret_texts = take_ptr(t);
	return 0;
}
