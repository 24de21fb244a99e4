// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/json.h -- strict JSON for documents of strangers, on top of jansson:
 * one value and nothing after it, no duplicate keys, no NUL, valid UTF-8, no
 * byte order mark, bounded depth and size; and typed access to the fields of an
 * object that refuses unknown keys.
 *
 * Context    any
 * Errors     -EBADMSG not such a document, field missing, of the wrong type,
 *            out of bounds or unknown; reterr_fail says which, code FAIL_BAD_FORMAT.
 * Ownership  json_parse's result is a new reference; field values are borrowed
 *            from the object they were read from.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

#define JSON_DEPTH_MAX 16

#define AUTO_JSON      AUTO(json_decrefp) /* json_decrefp is jansson's own */

/* what names the document in messages ("manifest", "request"). */
int json_parse(const char *what, const void *buf, size_t len, json_t **ret_doc,
	       struct fail *reterr_fail);

/*
 * For a stranger's eyes: on one line, ASCII alone, and '<', '>', '&' and '\'' escaped, so that
 * neither a terminal nor a browser finds in its strings what it would obey. NULL: no memory.
 */
char *json_text(const json_t *doc);

/*
 * Reading the fields of one object. After the first error the rest do nothing
 * and return their default, so that a parser reads its fields in a row and asks
 * once, in json_fields_end(), which also refuses keys that were never asked for.
 *
 *	struct json_fields f = json_fields("manifest", obj, reterr_fail);
 *	m->serial = json_u64(&f, "serial", 1, UINT64_MAX);
 *	m->label = json_str_or(&f, "label", 64, "");
 *	r = json_fields_end(&f);
 */
struct json_fields {
	const char *what;
	const json_t *obj;
	struct fail *fail;
	const char *seen[48];
	size_t n_seen;
	int r;
};

struct json_fields json_fields(const char *what, const json_t *obj, struct fail *reterr_fail);
bool json_has(struct json_fields *f, const char *key); /* does not mark the key as asked for */
/* JSON integers are 64-bit signed (jansson): max is at most INT64_MAX. */
uint64_t json_u64(struct json_fields *f, const char *key, uint64_t min, uint64_t max);
uint64_t json_u64_or(struct json_fields *f, const char *key, uint64_t min, uint64_t max,
		     uint64_t otherwise);
bool json_bool_or(struct json_fields *f, const char *key, bool otherwise);
const char *json_str(struct json_fields *f, const char *key, size_t max_bytes);
const char *json_str_or(struct json_fields *f, const char *key, size_t max_bytes,
			const char *otherwise);
/* Milliseconds since 1970 of "2026-05-04T10:11:12Z". */
uint64_t json_time(struct json_fields *f, const char *key);
/* Zero is what stands for absent: the first millisecond of 1970 is refused. */
uint64_t json_time_or_zero(struct json_fields *f, const char *key);
/* NULL when absent; arrays have at most max_items. */
const json_t *json_arr_or_null(struct json_fields *f, const char *key, size_t max_items);
const json_t *json_obj_or_null(struct json_fields *f, const char *key);
/* Records an error of the caller's own about a field. */
void json_bad(struct json_fields *f, const char *key, const char *why);
int json_fields_end(struct json_fields *f);
