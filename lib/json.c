// SPDX-License-Identifier: BSD-2-Clause
#include "lib/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/clock.h"

/* jansson bounds depth only at 2048 levels; ours is counted before it recurses. */
static int check_depth(const char *s, size_t len)
{
	bool string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (string) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				string = false;
		} else if (s[i] == '"') {
			string = true;
		} else if (s[i] == '{' || s[i] == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return -EBADMSG;
		} else if (s[i] == '}' || s[i] == ']') {
			depth--;
		}
	}
	return 0;
}

int json_parse(const char *what, const void *buf, size_t len, json_t **ret_doc,
	       struct fail *reterr_fail)
{
	json_error_t e;
	json_t *doc;

	if (check_depth(buf, len) < 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: nested deeper than %d levels", what, JSON_DEPTH_MAX);
	doc = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &e);
	if (!doc)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: not valid JSON at line %d, column %d: %s", what, e.line,
				e.column, e.text);
	*ret_doc = doc;
	return 0;
}

struct json_fields json_fields(const char *what, const json_t *obj, struct fail *reterr_fail)
{
	struct json_fields f = {.what = what, .obj = obj, .fail = reterr_fail};

	if (!json_is_object(obj))
		f.r = fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: not a JSON object", what);
	return f;
}

void json_bad(struct json_fields *f, const char *key, const char *why)
{
	if (f->r == 0)
		f->r = fail_set(f->fail, FAIL_BAD_FORMAT, "%s: \"%s\" %s", f->what, key, why);
}

bool json_has(struct json_fields *f, const char *key)
{
	return f->r == 0 && json_object_get(f->obj, key);
}

/* NULL when absent or after an error. */
static const json_t *field(struct json_fields *f, const char *key)
{
	if (f->r < 0)
		return NULL;
	if (f->n_seen == ARRAY_SIZE(f->seen)) {
		json_bad(f, key, "is one field more than this parser counts");
		return NULL;
	}
	f->seen[f->n_seen++] = key;
	return json_object_get(f->obj, key);
}

static const json_t *needed(struct json_fields *f, const char *key)
{
	const json_t *v = field(f, key);

	if (!v)
		json_bad(f, key, "is missing");
	return v;
}

static uint64_t u64_of(struct json_fields *f, const char *key, const json_t *v, uint64_t min,
		       uint64_t max, uint64_t otherwise)
{
	char why[96];

	if (!v)
		return otherwise;
	if (json_is_integer(v) && json_integer_value(v) >= 0 &&
	    (uint64_t)json_integer_value(v) >= min && (uint64_t)json_integer_value(v) <= max)
		return (uint64_t)json_integer_value(v);
	snprintf(why, sizeof(why), "must be an integer from %" PRIu64 " to %" PRIu64, min, max);
	json_bad(f, key, why);
	return otherwise;
}

uint64_t json_u64(struct json_fields *f, const char *key, uint64_t min, uint64_t max)
{
	return u64_of(f, key, needed(f, key), min, max, min);
}

uint64_t json_u64_or(struct json_fields *f, const char *key, uint64_t min, uint64_t max,
		     uint64_t otherwise)
{
	return u64_of(f, key, field(f, key), min, max, otherwise);
}

bool json_bool_or(struct json_fields *f, const char *key, bool otherwise)
{
	const json_t *v = field(f, key);

	if (!v)
		return otherwise;
	if (!json_is_boolean(v))
		json_bad(f, key, "must be true or false");
	return json_is_true(v);
}

static const char *str_of(struct json_fields *f, const char *key, const json_t *v,
			  size_t max_bytes, const char *otherwise)
{
	char why[64];

	if (!v)
		return otherwise;
	if (json_is_string(v) && json_string_length(v) <= max_bytes)
		return json_string_value(v);
	snprintf(why, sizeof(why), "must be a string of at most %zu bytes", max_bytes);
	json_bad(f, key, why);
	return otherwise;
}

const char *json_str(struct json_fields *f, const char *key, size_t max_bytes)
{
	return str_of(f, key, needed(f, key), max_bytes, "");
}

const char *json_str_or(struct json_fields *f, const char *key, size_t max_bytes,
			const char *otherwise)
{
	return str_of(f, key, field(f, key), max_bytes, otherwise);
}

static uint64_t time_of(struct json_fields *f, const char *key, const char *text)
{
	uint64_t ms = 0;

	if (f->r == 0 && text && clock_parse_timestamp(text, &ms) < 0)
		json_bad(f, key, "must be a time such as \"2026-05-04T10:11:12Z\"");
	return ms;
}

uint64_t json_time(struct json_fields *f, const char *key)
{
	return time_of(f, key, json_str(f, key, CLOCK_TIMESTAMP_BYTES));
}

uint64_t json_time_or_zero(struct json_fields *f, const char *key)
{
	uint64_t ms = time_of(f, key, json_str_or(f, key, CLOCK_TIMESTAMP_BYTES, NULL));

	if (f->r == 0 && ms == 0 && json_has(f, key))
		json_bad(f, key, "must be after 1970");
	return ms;
}

const json_t *json_arr_or_null(struct json_fields *f, const char *key, size_t max_items)
{
	const json_t *v = field(f, key);
	char why[64];

	if (!v || (json_is_array(v) && json_array_size(v) <= max_items))
		return v;
	snprintf(why, sizeof(why), "must be an array of at most %zu items", max_items);
	json_bad(f, key, why);
	return NULL;
}

const json_t *json_obj_or_null(struct json_fields *f, const char *key)
{
	const json_t *v = field(f, key);

	if (!v || json_is_object(v))
		return v;
	json_bad(f, key, "must be an object");
	return NULL;
}

int json_fields_end(struct json_fields *f)
{
	const char *key;
	json_t *v;

	if (f->r < 0)
		return f->r;
	/* jansson's iterator takes a non-const object but does not change it. */
	json_object_foreach((json_t *)(uintptr_t)f->obj, key, v) {
		size_t i = 0;

		while (i < f->n_seen && strcmp(f->seen[i], key) != 0)
			i++;
		if (i == f->n_seen) {
			json_bad(f, key, "is not a known field");
			break;
		}
	}
	return f->r;
}

char *json_text(const json_t *doc)
{
	AUTO_FREE char *text = json_dumps(doc, JSON_COMPACT | JSON_ENSURE_ASCII);
	char *out, *to;
	size_t n = 0;

	for (const char *p = text; p && *p; p++)
		n += strchr("<>&'\x7f", *p) ? 6 : 1;
	out = text ? malloc(n + 1) : NULL;
	if (!out)
		return NULL;
	to = out;
	/* Outside of strings JSON has none of these. */
	for (const char *p = text; *p; p++)
		if (strchr("<>&'\x7f", *p))
			to += sprintf(to, "\\u%04x", (unsigned int)*p);
		else
			*to++ = *p;
	*to = 0;
	return out;
}
