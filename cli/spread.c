// SPDX-License-Identifier: BSD-2-Clause
#include "cli/spread.h"

#include <string.h>

#include "cli/client.h"
#include "cli/remote.h"
#include "cli/text.h"
#include "lib/hook.h"
#include "lib/json.h"

/* ---- one host ---------------------------------------------------------------------------- */

static uint64_t serial_of(const json_t *hotfix, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(hotfix, key));
}

/* Serial 0 is any. */
static bool runs(const json_t *host, const char *name, uint64_t serial)
{
	const json_t *v = json_object_get(json_object_get(host, "hotfixes"), name);
	uint64_t live = serial_of(v, "live");

	return serial ? live == serial : live > 0;
}

static bool lacks(const json_t *host, const char *name, uint64_t serial)
{
	const json_t *v = json_object_get(json_object_get(host, "hotfixes"), name);

	return serial_of(v, "live") < (serial ? serial : 1);
}

int spread_filter(const json_t *hosts, const char *runs_or_null, const char *lacks_or_null,
		  json_t **ret_hosts, struct fail *reterr_fail)
{
	AUTO_JSON json_t *fitting = json_array();
	char running[HOOK_NAME_MAX + 1], lacking[HOOK_NAME_MAX + 1];
	uint64_t running_serial = 0, lacking_serial = 0;
	json_t *h;
	size_t i;
	int r = 0;

	if (!fitting)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (runs_or_null)
		r = cli_parse_version(runs_or_null, running, &running_serial, reterr_fail);
	if (r == 0 && lacks_or_null)
		r = cli_parse_version(lacks_or_null, lacking, &lacking_serial, reterr_fail);
	if (r < 0)
		return r;
	json_array_foreach(hosts, i, h)
		if ((!runs_or_null || runs(h, running, running_serial)) &&
		    (!lacks_or_null || lacks(h, lacking, lacking_serial)))
			json_array_append(fitting, h);
	*ret_hosts = take_ptr(fitting);
	return 0;
}

/* ---- all of them ------------------------------------------------------------------------- */

struct version {
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	size_t runs, trial, off, quarantined; /* hosts; trial is among runs */
	bool in_stock;
};

struct versions {
	struct version *v;
	size_t n;
};

/* One to count into, also when there is no memory or no such version: nobody looks at that. */
static struct version *version_of(struct versions *all, const char *name, uint64_t serial)
{
	static struct version none;
	struct version *v;

	if (!serial)
		return &none;
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].serial == serial && strcmp(all->v[i].name, name) == 0)
			return &all->v[i];
	v = realloc(all->v, (all->n + 1) * sizeof(*v));
	if (!v)
		return &none;
	all->v = v;
	v = &all->v[all->n++];
	*v = (struct version){.serial = serial};
	snprintf(v->name, sizeof(v->name), "%s", name);
	return v;
}

static void count_host(struct versions *all, const json_t *host)
{
	const char *name;
	json_t *h;

	json_object_foreach(json_object_get(host, "hotfixes"), name, h) {
		uint64_t live = serial_of(h, "live");
		const json_t *serial;
		size_t i;

		version_of(all, name, live)->runs++;
		version_of(all, name, serial_of(h, "trial"))->trial++;
		if (!live)
			version_of(all, name, serial_of(h, "committed"))->off++;
		json_array_foreach(json_object_get(h, "quarantined"), i, serial)
			version_of(all, name, (uint64_t)json_integer_value(serial))
				->quarantined++;
	}
}

static int by_name(const void *a, const void *b)
{
	const struct version *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : (x->serial > y->serial) - (x->serial < y->serial);
}

static int print_versions(struct cli *c, const struct versions *all, size_t n_hosts,
			  struct fail *f)
{
	static const struct text_column columns[] = {
		{"HOT-FIX", 0},	       {"SERIAL", TEXT_RIGHT}, {"RUNS ON", TEXT_RIGHT},
		{"TRIAL", TEXT_RIGHT}, {"OFF", TEXT_RIGHT},    {"QUARANTINED", TEXT_RIGHT},
		{"IN STOCK", 0}};
	AUTO_JSON json_t *doc = NULL;
	json_t *versions = json_array();
	struct text_table *t = NULL;

	if (!c->json)
		t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	for (size_t i = 0; i < all->n; i++) {
		const struct version *v = &all->v[i];

		if (t)
			text_table_line(t, text_safe(v->name), text_u64(v->serial),
					text_u64(v->runs), text_u64(v->trial), text_u64(v->off),
					text_u64(v->quarantined), v->in_stock ? "yes" : "no");
		json_array_append_new(versions,
				      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "name",
						v->name, "serial", (json_int_t)v->serial,
						"runs", (json_int_t)v->runs, "trial",
						(json_int_t)v->trial, "off", (json_int_t)v->off,
						"quarantined", (json_int_t)v->quarantined,
						"in_stock", (int)v->in_stock));
	}
	doc = json_pack("{s:I, s:o}", "hosts", (json_int_t)n_hosts, "versions", versions);
	if (!t)
		return cli_print_json(doc, f);
	printf("%s\n\n", text_n(n_hosts, "host"));
	if (all->n == 0)
		cli_note(c,
			 "no host has anything, and nothing is in stock; hotfixctl stock add "
			 "FILE brings a bundle");
	text_table_print(t);
	return 0;
}

int spread_list(struct cli *c, struct fail *reterr_fail)
{
	AUTO_JSON json_t *hosts = NULL, *stock = NULL;
	struct versions all = {0};
	const json_t *v;
	size_t i;
	int r = remote_hosts(c, NULL, &hosts, reterr_fail);

	if (r == 0)
		r = client_get(c, &stock, reterr_fail, "/v1/bundles");
	if (r < 0)
		return r;
	json_array_foreach(hosts, i, v)
		count_host(&all, v);
	json_array_foreach(json_object_get(stock, "bundles"), i, v)
		version_of(&all, json_string_value(json_object_get(v, "name")),
			   serial_of(v, "serial"))
			->in_stock = true;
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_name);
	r = print_versions(c, &all, json_array_size(hosts), reterr_fail);
	free(all.v);
	return r;
}
