// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <errno.h>

#include "lib/json.h"

/* ---- looking at it ----------------------------------------------------------------- */

enum rollout_state rollout_state(const struct rollout *r)
{
	return r->state;
}

uint64_t rollout_generation(const struct rollout *r)
{
	return r->generation;
}

const struct spec *rollout_spec(const struct rollout *r)
{
	return &r->spec;
}

size_t rollout_count(const struct rollout *r, enum host_state state)
{
	return r->count[state];
}

const struct rollout_host *rollout_find(const struct rollout *r, const char *host)
{
	return rollout_seek_host(r, host);
}

size_t rollout_n_hosts(const struct rollout *r)
{
	return r->n_hosts;
}

const struct rollout_host *rollout_host_at(const struct rollout *r, size_t i)
{
	return r->host[i];
}

const char *rollout_host_id(const struct rollout_host *h)
{
	return h->id;
}

enum host_state rollout_host_state(const struct rollout_host *h)
{
	return h->state;
}

static void add_one(json_t *counts, const char *key)
{
	json_object_set_new(counts, key,
			    json_integer(json_integer_value(json_object_get(counts, key)) + 1));
}

static json_t *pauses_json(const struct rollout *r)
{
	json_t *array = json_array();

	for (int i = 0; i < ROLLOUT_PAUSES_; i++)
		if (rollout_pauses(r) & (1U << i))
			json_array_append_new(
				array, json_string(rollout_pause_name((enum rollout_pause)i)));
	return array;
}

/* Of those that end by themselves: what they are, for people. */
static json_t *whys_json(const struct rollout *r)
{
	const struct {
		enum rollout_pause pause;
		const char *why;
	} whys[] = {{ROLLOUT_PAUSE_WINDOW, r->window_why},
		    {ROLLOUT_PAUSE_STOP_THE_LINE, r->line_why},
		    {ROLLOUT_PAUSE_DIRECTOR_LOST, r->director_why}};
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(whys); i++)
		if (whys[i].why[0])
			json_object_set_new(o, rollout_pause_name(whys[i].pause),
					    json_string(whys[i].why));
	return o;
}

static json_t *waves_json(const struct rollout *r)
{
	json_t *array = json_array();

	for (size_t i = 0; i < r->spec.n_waves; i++)
		json_array_append_new(
			array, json_pack("{s:s, s:{}}", "name", r->spec.wave[i].name, "hosts"));
	for (size_t i = 0; i < r->n_hosts; i++) {
		const json_t *wave = json_array_get(array, r->host[i]->wave);

		if (wave)
			add_one(json_object_get(wave, "hosts"),
				host_state_name(r->host[i]->state));
	}
	return array;
}

#define WHY_BYTES (ROLLOUT_CODE_BYTES + 16)

/* "offline", "hold (operator ann)", "incompatible (trusts no root)" */
static const char *why_text(const struct rollout_host *h, char ret_text[WHY_BYTES])
{
	const char *more = h->why == HOST_WHY_HELD	     ? h->held_by
			   : h->why == HOST_WHY_INCOMPATIBLE ? h->unfit
							     : "";

	if (!more[0])
		return host_why_name(h->why);
	snprintf(ret_text, WHY_BYTES, "%s (%s)", host_why_name(h->why), more);
	return ret_text;
}

/* Hosts for which it is not the turn, or never will be, by the reason. */
static json_t *left_out_counts(const struct rollout *r, enum host_state state)
{
	json_t *o = json_object();
	char text[WHY_BYTES];

	for (size_t i = 0; i < r->n_hosts; i++)
		if (r->host[i]->state == state)
			add_one(o, why_text(r->host[i], text));
	return o;
}

json_t *rollout_show(const struct rollout *r)
{
	json_t *o = rollout_to_json(r), *hosts = json_object(), *strata = json_object();

	for (int i = 0; i < HOST_STATES_; i++)
		if (r->count[i])
			json_object_set_new(hosts, host_state_name((enum host_state)i),
					    json_integer((json_int_t)r->count[i]));
	for (size_t i = 0; i < r->n_strata; i++)
		json_object_set_new(
			strata, r->stratum[i]->key,
			json_pack(
				"{s:s, s:s, s:I, s:{}}", "state",
				stratum_state_name(r->stratum[i]->state), "canary",
				r->stratum[i]->canary, "bake_left_ms",
				r->stratum[i]->state == STRATUM_BAKING &&
						r->stratum[i]->bake_end_ms > r->clock_ms
					? (json_int_t)(r->stratum[i]->bake_end_ms - r->clock_ms)
					: (json_int_t)0,
				"hosts"));
	for (size_t i = 0; i < r->n_hosts; i++)
		add_one(json_object_get(json_object_get(strata, r->host[i]->stratum->key),
					"hosts"),
			host_state_name(r->host[i]->state));
	json_object_set_new(o, "pauses", pauses_json(r));
	json_object_set_new(o, "whys", whys_json(r));
	json_object_set_new(o, "excluded", left_out_counts(r, HOST_EXCLUDED));
	json_object_set_new(o, "deferred", left_out_counts(r, HOST_DEFERRED));
	json_object_set_new(o, "hosts", hosts);
	json_object_set_new(o, "strata", strata);
	json_object_set_new(o, "waves", waves_json(r));
	json_object_set_new(o, "eligible", json_integer((json_int_t)r->eligible));
	json_object_set_new(o, "in_flight", json_integer((json_int_t)r->in_flight));
	json_object_set_new(o, "max_in_flight",
			    json_integer((json_int_t)rollout_max_in_flight(r)));
	json_object_set_new(o, "failed",
			    json_integer((json_int_t)(r->failed + r->failed_canaries)));
	json_object_set_new(
		o, "bake_left_ms",
		json_integer(r->state == ROLLOUT_WAVE_BAKING && r->bake_end_ms > r->clock_ms
				     ? (json_int_t)(r->bake_end_ms - r->clock_ms)
				     : 0));
	return o;
}

/* ---- plan -------------------------------------------------------------------------- */

static int copy(const struct rollout *r, struct rollout **ret_copy, struct fail *reterr_fail)
{
	AUTO_JSON json_t *header = rollout_to_json(r);
	AUTO(rollout_freep) struct rollout *c = NULL;
	int res = rollout_load(header, &c, reterr_fail);

	for (size_t i = 0; res == 0 && i < r->n_hosts; i++) {
		AUTO_JSON json_t *host = rollout_host_to_json(r->host[i]);

		res = rollout_load_host(c, host, reterr_fail);
	}
	if (res == 0)
		*ret_copy = take_ptr(c);
	return res;
}

static json_t *wave_plan(const struct rollout *r, uint8_t wave)
{
	json_t *strata = json_object(), *domains = json_object(), *members = json_array();

	for (size_t i = 0; i < r->n_hosts; i++) {
		const struct rollout_host *h = r->host[i];

		if (h->wave != wave)
			continue;
		add_one(strata, h->stratum->key);
		add_one(domains, h->domain->key);
		json_array_append_new(members, json_string(h->id));
	}
	return json_pack("{s:s, s:I, s:o, s:o, s:I, s:o}", "name", r->spec.wave[wave].name,
			 "hosts", (json_int_t)json_array_size(members), "strata", strata,
			 "domains", domains, "bake_ms", (json_int_t)r->spec.wave[wave].bake_ms,
			 "members", members);
}

static json_t *left_out(const struct rollout *r, enum host_state state)
{
	json_t *o = json_object();
	char text[WHY_BYTES];

	for (size_t i = 0; i < r->n_hosts; i++)
		if (r->host[i]->state == state)
			json_object_set_new(o, r->host[i]->id,
					    json_string(why_text(r->host[i], text)));
	return o;
}

int rollout_plan(const struct rollout *r, json_t **ret_plan, struct fail *reterr_fail)
{
	AUTO(rollout_freep) struct rollout *c = NULL;
	json_t *waves, *without = json_array();
	int res = copy(r, &c, reterr_fail);

	if (res < 0) {
		json_decref(without);
		return res;
	}
	waves = json_array();
	rollout_pick_canaries(c);
	for (uint8_t i = 0; i < c->spec.n_waves; i++) {
		if (i > c->wave) {
			rollout_new_wave(c, i);
			rollout_fill(c);
		}
		json_array_append_new(waves, wave_plan(c, i));
	}
	for (size_t i = 0; i < c->n_strata; i++)
		if (c->stratum[i]->state == STRATUM_NEW && c->stratum[i]->hosts)
			json_array_append_new(without, json_string(c->stratum[i]->key));
	*ret_plan =
		json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "eligible", (json_int_t)c->eligible,
			  "max_in_flight", (json_int_t)rollout_max_in_flight(c), "waves", waves,
			  "excluded", left_out(c, HOST_EXCLUDED), "deferred",
			  left_out(c, HOST_DEFERRED), "without_canary", without);
	return *ret_plan ? 0 : -ENOMEM;
}
