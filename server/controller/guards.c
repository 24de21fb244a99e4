// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/guards.h"

#include <string.h>

#include "server/controller/spec.h"
#include "store/bytes.h"
#include "store/fleet.h"

struct freeze {
	uint64_t from_ms, until_ms;
	json_t *scope; /* NULL: it cannot be read */
};

struct guards {
	bool line_stopped;
	struct freeze *freeze;
	size_t n;
	json_t *quarantined; /* digests in hex, as keys */
};

struct guards *guards_free(struct guards *g)
{
	if (!g)
		return NULL;
	for (size_t i = 0; i < g->n; i++)
		json_decref(g->freeze[i].scope);
	json_decref(g->quarantined);
	free(g->freeze);
	free(g);
	return NULL;
}

struct guards *guards_new(struct fleet_answer *a)
{
	AUTO(guards_freep) struct guards *g = calloc(1, sizeof(*g));
	struct fleet_guard row;

	if (!g || !(g->quarantined = json_object()))
		return NULL;
	while (fleet_next_guard(a, &row)) {
		struct freeze *grown;

		if (strcmp(row.kind, "stop") == 0) {
			g->line_stopped = true;
		} else if (strcmp(row.kind, "quarantine") == 0) {
			json_object_set_new(g->quarantined, row.name, json_true());
		} else if (strcmp(row.kind, "freeze") == 0) {
			grown = realloc(g->freeze, (g->n + 1) * sizeof(*grown));
			if (!grown)
				return NULL;
			g->freeze = grown;
			g->freeze[g->n++] = (struct freeze){
				.from_ms = row.from_ms,
				.until_ms = row.until_ms,
				.scope = json_loads(row.scope, 0, NULL),
			};
		}
	}
	return take_ptr(g);
}

bool guards_line_stopped(const struct guards *g)
{
	return g->line_stopped;
}

static bool in_force(const struct freeze *f, uint64_t now_ms)
{
	return now_ms >= f->from_ms && (!f->until_ms || now_ms < f->until_ms);
}

static bool concerns(const struct freeze *f, const char *hotfix)
{
	const char *name = json_string_value(json_object_get(f->scope, "hotfix"));

	return !name || strcmp(name, hotfix) == 0;
}

bool guards_frozen(const struct guards *g, const char *hotfix, uint64_t now_ms,
		   uint64_t *ret_next_ms)
{
	uint64_t next_ms = 0;
	bool frozen = false;

	for (size_t i = 0; i < g->n; i++) {
		const struct freeze *f = &g->freeze[i];

		if (!in_force(f, now_ms) || !concerns(f, hotfix) ||
		    json_object_get(f->scope, "target"))
			continue;
		frozen = true;
		if (f->until_ms > next_ms)
			next_ms = f->until_ms;
	}
	*ret_next_ms = next_ms;
	return frozen;
}

bool guards_hold(const struct guards *g, const char *hotfix, const json_t *labels,
		 uint64_t now_ms)
{
	for (size_t i = 0; i < g->n; i++) {
		const json_t *target = json_object_get(g->freeze[i].scope, "target");

		if (target && in_force(&g->freeze[i], now_ms) &&
		    concerns(&g->freeze[i], hotfix) && spec_selects(target, labels))
			return true;
	}
	return false;
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
