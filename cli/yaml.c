// SPDX-License-Identifier: BSD-2-Clause
#include "cli/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "lib/cleanup.h"
#include "lib/json.h"

struct reading {
	const char *what;
	yaml_parser_t parser;
	size_t nodes;
	struct fail *fail;
};

static int refuse(struct reading *y, const yaml_mark_t *at, const char *why)
{
	return fail_set(y->fail, FAIL_BAD_FORMAT, "%s: line %zu, column %zu: %s", y->what,
			at->line + 1, at->column + 1, why);
}

static int next(struct reading *y, yaml_event_t *ev)
{
	const yaml_parser_t *p = &y->parser;

	if (!yaml_parser_parse(&y->parser, ev))
		return refuse(y, &p->problem_mark, p->problem ? p->problem : "cannot be read");
	if (++y->nodes > YAML_NODES_MAX) {
		int r = refuse(y, &ev->start_mark, "too much of it");

		yaml_event_delete(ev);
		return r;
	}
	return 0;
}

/* ---- scalars ----------------------------------------------------------------------------- */

/* Digits with a sign maybe; of JSON's size. */
static bool is_whole(const char *s)
{
	size_t n;

	s += *s == '-';
	n = strspn(s, "0123456789");
	return n && n <= 18 && !s[n] && (s[0] != '0' || n == 1);
}

static bool is_fraction(const char *s)
{
	size_t n;

	s += *s == '-';
	n = strspn(s, "0123456789");
	if (!n || n > 18 || s[n] != '.')
		return false;
	s += n + 1;
	n = strspn(s, "0123456789");
	return n && n <= 18 && !s[n];
}

static json_t *plain(const char *s)
{
	if (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0)
		return json_null();
	if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0)
		return json_boolean(*s == 't');
	if (is_whole(s))
		return json_integer(strtoll(s, NULL, 10));
	if (is_fraction(s))
		return json_real(strtod(s, NULL));
	return json_string(s);
}

static int scalar(struct reading *y, const yaml_event_t *ev, json_t **ret)
{
	const char *s = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;

	if (ev->data.scalar.anchor || ev->data.scalar.tag)
		return refuse(y, &ev->start_mark, "anchors and tags are not taken");
	if (strlen(s) != len)
		return refuse(y, &ev->start_mark, "this is no text");
	*ret = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain(s) : json_string(s);
	return *ret ? 0 : refuse(y, &ev->start_mark, "this is no text");
}

/* ---- nodes ------------------------------------------------------------------------------- */

static int node(struct reading *y, yaml_event_t *ev, int depth, json_t **ret);

static int sequence(struct reading *y, int depth, json_t *array)
{
	yaml_event_t ev;
	json_t *item;
	int r;

	while ((r = next(y, &ev)) == 0 && ev.type != YAML_SEQUENCE_END_EVENT) {
		r = node(y, &ev, depth + 1, &item);
		if (r == 0 && json_array_append_new(array, item) < 0)
			r = fail_set(y->fail, FAIL_INTERNAL, "out of memory");
		if (r < 0)
			return r;
	}
	if (r == 0)
		yaml_event_delete(&ev);
	return r;
}

static int mapping(struct reading *y, int depth, json_t *object)
{
	yaml_event_t ev;
	int r;

	while ((r = next(y, &ev)) == 0 && ev.type != YAML_MAPPING_END_EVENT) {
		AUTO_FREE char *key = NULL;
		yaml_mark_t at = ev.start_mark;
		json_t *value;

		if (ev.type != YAML_SCALAR_EVENT || ev.data.scalar.anchor ||
		    ev.data.scalar.tag ||
		    strlen((char *)ev.data.scalar.value) != ev.data.scalar.length)
			r = refuse(y, &at, "a key must be a text");
		else if (!(key = strdup((char *)ev.data.scalar.value)))
			r = fail_set(y->fail, FAIL_INTERNAL, "out of memory");
		else if (json_object_get(object, key))
			r = refuse(y, &at, "this key is there already");
		yaml_event_delete(&ev);
		if (r == 0)
			r = next(y, &ev);
		if (r == 0)
			r = node(y, &ev, depth + 1, &value);
		if (r == 0 && json_object_set_new(object, key, value) < 0)
			r = refuse(y, &at, "a key must be UTF-8");
		if (r < 0)
			return r;
	}
	if (r == 0)
		yaml_event_delete(&ev);
	return r;
}

/* Consumes ev, which is the node's first. */
static int node(struct reading *y, yaml_event_t *ev, int depth, json_t **ret)
{
	AUTO_JSON json_t *doc = NULL;
	int r;

	if (depth > JSON_DEPTH_MAX) {
		r = refuse(y, &ev->start_mark, "nested too deeply");
	} else if (ev->type == YAML_SCALAR_EVENT) {
		r = scalar(y, ev, &doc);
	} else if (ev->type == YAML_SEQUENCE_START_EVENT && !ev->data.sequence_start.anchor &&
		   !ev->data.sequence_start.tag) {
		doc = json_array();
		r = sequence(y, depth, doc);
	} else if (ev->type == YAML_MAPPING_START_EVENT && !ev->data.mapping_start.anchor &&
		   !ev->data.mapping_start.tag) {
		doc = json_object();
		r = mapping(y, depth, doc);
	} else {
		r = refuse(y, &ev->start_mark, "anchors, aliases and tags are not taken");
	}
	yaml_event_delete(ev);
	if (r == 0)
		*ret = take_ptr(doc);
	return r;
}

/* ---- the document ------------------------------------------------------------------------ */

static int document(struct reading *y, json_t **ret_doc)
{
	AUTO_JSON json_t *doc = NULL;
	yaml_event_t ev;
	int r = next(y, &ev); /* of the stream */

	if (r < 0)
		return r;
	yaml_event_delete(&ev);
	r = next(y, &ev);
	if (r < 0)
		return r;
	if (ev.type != YAML_DOCUMENT_START_EVENT || ev.data.document_start.version_directive ||
	    ev.data.document_start.tag_directives.start !=
		    ev.data.document_start.tag_directives.end)
		r = refuse(y, &ev.start_mark,
			   ev.type == YAML_STREAM_END_EVENT ? "there is nothing in it"
							    : "directives are not taken");
	yaml_event_delete(&ev);
	if (r == 0)
		r = next(y, &ev);
	if (r == 0)
		r = node(y, &ev, 1, &doc);
	if (r == 0)
		r = next(y, &ev); /* the document's end */
	if (r < 0)
		return r;
	yaml_event_delete(&ev);
	r = next(y, &ev);
	if (r < 0)
		return r;
	if (ev.type != YAML_STREAM_END_EVENT)
		r = refuse(y, &ev.start_mark, "there is more than one document");
	yaml_event_delete(&ev);
	if (r == 0)
		*ret_doc = take_ptr(doc);
	return r;
}

int yaml_parse(const char *what, const void *buf, size_t len, json_t **ret_doc,
	       struct fail *reterr_fail)
{
	struct reading y = {.what = what, .fail = reterr_fail};
	int r;

	if (len > YAML_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: longer than %u KiB", what,
				YAML_BYTES_MAX >> 10);
	if (memchr(buf, 0, len))
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: has a NUL in it", what);
	if (!yaml_parser_initialize(&y.parser))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y.parser, buf, len);
	r = document(&y, ret_doc);
	yaml_parser_delete(&y.parser);
	return r;
}
