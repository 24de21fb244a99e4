// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/guards.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/plain.h"
#include "server/controller/spec.h"
#include "store/bytes.h"
#include "store/fleet.h"

struct guards {
	struct guards_one line; /* actor NULL: it is not stopped */
	struct guards_one *freeze;
	size_t n;
	json_t *quarantined; /* digests in hex, as keys */
};

static void one_clear(struct guards_one *one)
{
	free((char *)(uintptr_t)one->name);
	free((char *)(uintptr_t)one->actor);
	free((char *)(uintptr_t)one->reason);
	json_decref((json_t *)(uintptr_t)one->scope);
	*one = (struct guards_one){0};
}

struct guards *guards_free(struct guards *g)
{
	if (!g)
		return NULL;
	for (size_t i = 0; i < g->n; i++)
		one_clear(&g->freeze[i]);
	one_clear(&g->line);
	json_decref(g->quarantined);
	free(g->freeze);
	free(g);
	return NULL;
}

static int take_one(const struct fleet_guard *row, struct guards_one *ret_one)
{
	*ret_one = (struct guards_one){.name = strdup(row->name),
				       .actor = strdup(row->actor),
				       .reason = strdup(row->reason),
				       .from_ms = row->from_ms,
				       .until_ms = row->until_ms,
				       .scope = json_loads(row->scope, 0, NULL)};
	return ret_one->name && ret_one->actor && ret_one->reason ? 0 : -ENOMEM;
}

static int take_freeze(struct guards *g, const struct fleet_guard *row)
{
	struct guards_one *grown = realloc(g->freeze, (g->n + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	g->freeze = grown;
	return take_one(row, &g->freeze[g->n++]);
}

struct guards *guards_new(struct fleet_answer *a)
{
	AUTO(guards_freep) struct guards *g = calloc(1, sizeof(*g));
	struct fleet_guard row;
	int r = 0;

	if (!g || !(g->quarantined = json_object()))
		return NULL;
	while (r == 0 && fleet_next_guard(a, &row)) {
		if (strcmp(row.kind, "stop") == 0)
			r = take_one(&row, &g->line);
		else if (strcmp(row.kind, "quarantine") == 0)
			r = json_object_set_new(g->quarantined, row.name, json_true());
		else if (strcmp(row.kind, "freeze") == 0)
			r = take_freeze(g, &row);
	}
	return r == 0 ? take_ptr(g) : NULL;
}

const struct guards_one *guards_line(const struct guards *g)
{
	return g->line.actor ? &g->line : NULL;
}

static bool has_ended(const struct guards_one *f, uint64_t now_ms)
{
	return f->until_ms && now_ms >= f->until_ms;
}

static bool in_force(const struct guards_one *f, uint64_t now_ms)
{
	return now_ms >= f->from_ms && !has_ended(f, now_ms);
}

static bool concerns(const struct guards_one *f, const char *hotfix)
{
	const char *name = json_string_value(json_object_get(f->scope, "hotfix"));

	return !name || strcmp(name, hotfix) == 0;
}

const struct guards_one *guards_next(const struct guards *g, const char *hotfix,
				     uint64_t now_ms, size_t *at)
{
	while (*at < g->n) {
		const struct guards_one *f = &g->freeze[(*at)++];

		if (!has_ended(f, now_ms) && concerns(f, hotfix))
			return f;
	}
	return NULL;
}

const struct guards_one *guards_frozen(const struct guards *g, const char *hotfix,
				       uint64_t now_ms)
{
	const struct guards_one *f, *last = NULL;
	size_t at = 0;

	while ((f = guards_next(g, hotfix, now_ms, &at))) {
		if (!in_force(f, now_ms) || json_object_get(f->scope, "target"))
			continue;
		if (!last || !f->until_ms || (last->until_ms && f->until_ms > last->until_ms))
			last = f;
	}
	return last;
}

void guards_describe(const struct guards_one *one, char ret_text[GUARDS_WHY_BYTES])
{
	char from[CLOCK_TIMESTAMP_BYTES] = "", until[CLOCK_TIMESTAMP_BYTES] = "";

	if (one->from_ms)
		clock_format_timestamp(one->from_ms, from);
	if (one->until_ms)
		clock_format_timestamp(one->until_ms, until);
	if (one->name[0])
		snprintf(ret_text, GUARDS_WHY_BYTES, "freeze %.64s by %.64s%s%s%s%s", one->name,
			 one->actor, from[0] ? " from " : "", from, until[0] ? " until " : "",
			 until);
	else
		snprintf(ret_text, GUARDS_WHY_BYTES, "the line is stopped by %.64s",
			 one->actor);
	snprintf(ret_text + strlen(ret_text), GUARDS_WHY_BYTES - strlen(ret_text), ": %s",
		 one->reason);
	plain_make(ret_text, false);
}

const struct guards_one *guards_hold(const struct guards *g, const char *hotfix,
				     const json_t *labels, uint64_t now_ms)
{
	const struct guards_one *f;
	size_t at = 0;

	while ((f = guards_next(g, hotfix, now_ms, &at))) {
		const json_t *target = json_object_get(f->scope, "target");

		if (target && in_force(f, now_ms) && spec_selects(target, labels))
			return f;
	}
	return NULL;
}

const char *guards_name(const struct guards_one *one, char ret_text[GUARDS_NAME_BYTES])
{
	snprintf(ret_text, GUARDS_NAME_BYTES, "freeze %.40s", one->name);
	return ret_text;
}

uint64_t guards_targets(const struct guards *g, uint64_t now_ms)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < g->n; i++) {
		AUTO_FREE char *text = NULL;
		uint64_t hash = 14695981039346656037ULL; /* FNV-1a */

		if (!in_force(&g->freeze[i], now_ms) ||
		    !json_object_get(g->freeze[i].scope, "target"))
			continue;
		text = json_dumps(g->freeze[i].scope, JSON_COMPACT | JSON_SORT_KEYS);
		for (const char *c = text; c && *c; c++)
			hash = (hash ^ (uint8_t)*c) * 1099511628211ULL;
		sum += hash;
	}
	return sum;
}

bool guards_quarantined(const struct guards *g, const uint8_t sha256[32])
{
	char hex[BYTES_SHA256_HEX];

	return json_object_get(g->quarantined, bytes_to_hex(sha256, BYTES_SHA256, hex));
}
