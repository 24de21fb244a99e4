// SPDX-License-Identifier: BSD-2-Clause
#include "server/require.h"

#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "store/bundle.h"

#define NAMED_MAX    4
#define ASK_AGAIN_MS 10000 /* what could not be read */

void require_keep(struct hotfix *h, const struct manifest *m)
{
	json_t *names = json_array();

	for (size_t i = 0; names && i < m->n_requires; i++)
		json_array_append_new(names, json_string(m->requires[i]));
	json_decref(h->needs);
	h->needs = names;
	h->needs_serial = m->serial;
}

/* Borrowed; NULL: nothing, as far as can be told. */
static const json_t *required(struct hotfix *h, uint64_t serial)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	uint64_t now_ms = clock_mono_ns() / 1000000;
	struct fail fail;
	size_t len;

	if (!serial)
		return NULL;
	if (h->needs_serial == serial &&
	    (h->needs || now_ms < h->needs_asked_ms + ASK_AGAIN_MS))
		return h->needs;
	json_decref(h->needs);
	h->needs = NULL;
	h->needs_serial = serial;
	h->needs_asked_ms = now_ms;
	if (hotfix_open_bundle(h->all, h->name, serial, &buf, &len, &bundle, &fail) == 0)
		require_keep(h, bundle->manifest);
	return h->needs;
}

static bool has_name(const json_t *names, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(names, i, one)
		if (strcmp(json_string_value(one), name) == 0)
			return true;
	return false;
}

json_t *require_by(struct hotfixes *all, const char *name)
{
	json_t *names = json_array();
	struct hotfix *h;

	TAILQ_FOREACH(h, &all->list, link)
		if (names && has_name(required(h, hotfix_live_serial(h)), name))
			json_array_append_new(names, json_string(h->name));
	return names;
}

json_t *require_missing(struct hotfix *h, uint64_t serial)
{
	const json_t *names = required(h, serial), *one;
	json_t *missing = json_array();
	size_t i;

	json_array_foreach(names, i, one) {
		const struct hotfix *other = hotfix_find(h->all, json_string_value(one));

		if (missing && (!other || !hotfix_live_serial(other)))
			json_array_append(missing, (json_t *)(uintptr_t)one);
	}
	return missing;
}

const char *require_names(const json_t *names, char *out, size_t room)
{
	size_t n = json_array_size(names), named = n > NAMED_MAX ? NAMED_MAX - 1 : n, len = 0;

	out[0] = 0;
	for (size_t i = 0; i < named && len < room; i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s",
					!i	    ? ""
					: i + 1 < n ? ", "
						    : " and ",
					json_string_value(json_array_get(names, i)));
	if (n > named && len < room)
		snprintf(out + len, room - len, " and %zu more", n - named);
	return out;
}

const char *require_left_behind(struct hotfix *h, char *out, size_t room)
{
	AUTO_JSON json_t *by = require_by(h->all, h->name);
	bool one = json_array_size(by) == 1;
	char names[NAMED_MAX * (HOOK_NAME_MAX + 8)];

	out[0] = 0;
	if (json_array_size(by))
		snprintf(out, room, "%s require%s %s, and run%s on without it",
			 require_names(by, names, sizeof(names)), one ? "s" : "", h->name,
			 one ? "s" : "");
	return out;
}

const char *require_complaint(struct hotfix *h, uint64_t serial, char *out, size_t room)
{
	AUTO_JSON json_t *missing = require_missing(h, serial);
	char names[NAMED_MAX * (HOOK_NAME_MAX + 8)];

	out[0] = 0;
	if (json_array_size(missing))
		snprintf(out, room, "requires %s, which %s not live",
			 require_names(missing, names, sizeof(names)),
			 json_array_size(missing) == 1 ? "is" : "are");
	return out;
}
