// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/catalogue.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/event.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "server/controller/controller.h"
#include "server/controller/director.h"
#include "server/controller/roots.h"
#include "store/catalog.h"
#include "store/fleet.h"

static const struct timeval poll_every = {.tv_sec = 2};

struct catalogue {
	struct controller *c;
	struct event *timer;
	struct catalog *current;
	char *text;	     /* of current */
	uint64_t stored;     /* newest version in the database, good or not */
	uint64_t under;	     /* version of the root that current was checked with */
	uint64_t complained; /* about a version */
	bool busy, again;
	char *proposed; /* text that was offered to the database */
};

uint64_t catalogue_version(const struct catalogue *g)
{
	return g->current ? g->current->version : 0;
}

const char *catalogue_text(const struct catalogue *g)
{
	return g->text;
}

const struct catalog_entry *catalogue_find(const struct catalogue *g, const char *name,
					   uint64_t serial)
{
	return catalog_find(g->current, name, serial);
}

static void complain(struct catalogue *g, uint64_t version, const struct fail *why)
{
	if (g->complained != version)
		log_event(LOG_ERR,
			  "the status of the fleet is not taken version=%" PRIu64
			  " reason=\"%s\"",
			  version, why->message);
	g->complained = version;
}

/* ---- what is in force ------------------------------------------------------------------------ */

static void drop_current(struct catalogue *g)
{
	g->current = catalog_free(g->current);
	free(take_ptr(g->text));
}

static void take(struct catalogue *g, const void *envelope, size_t len)
{
	const struct trust *trust = roots_trust(g->c->roots);
	struct catalog *next = NULL;
	struct fail fail;
	char *text = strndup(envelope, len);
	int r;

	r = text ? catalog_open_next(text, len, trust, g->current, &next, &fail)
		 : fail_set(&fail, FAIL_INTERNAL, "out of memory");
	if (r == -EALREADY) {
		free(text);
		return;
	}
	if (r < 0) {
		free(text);
		complain(g, g->stored, &fail);
		return;
	}
	drop_current(g);
	g->current = next;
	g->text = text;
	g->under = trust->version;
}

/* With another root other keys sign. */
static void check_again(struct catalogue *g, const struct trust *trust)
{
	struct catalog *same = NULL;
	struct fail fail;

	if (!g->current || g->under == trust->version)
		return;
	if (catalog_open(g->text, strlen(g->text), trust, &same, &fail) < 0)
		drop_current(g);
	catalog_free(same);
	g->under = trust->version;
}

/* ---- the next one -------------------------------------------------------------------------------- */

/* Of two bundles of one version, which differ in signatures, the one that came last. */
static int collect(struct fleet_answer *a, struct catalog *c)
{
	uint64_t imported_ms = 0;
	struct fleet_bundle b;

	c->entries = calloc(CATALOG_ENTRIES_MAX + 1, sizeof(*c->entries));
	if (!c->entries)
		return -ENOMEM;
	while (fleet_next_bundle(a, &b)) {
		struct catalog_entry *e = c->n_entries ? &c->entries[c->n_entries - 1] : NULL;
		bool same = e && e->serial == b.serial && strcmp(e->name, b.name) == 0;

		if (!b.digest || !b.manifest_sha256 || strlen(b.name) >= sizeof(e->name) ||
		    (same && b.imported_ms < imported_ms))
			continue;
		if (!same) {
			if (c->n_entries == CATALOG_ENTRIES_MAX)
				return -E2BIG;
			e = &c->entries[c->n_entries++];
		}
		memset(e, 0, sizeof(*e));
		memcpy(e->name, b.name, strlen(b.name));
		e->serial = b.serial;
		e->bundle_bytes = b.bytes;
		memcpy(e->manifest_sha256, b.manifest_sha256, sizeof(e->manifest_sha256));
		memcpy(e->bundle_sha256, b.digest, sizeof(e->bundle_sha256));
		imported_ms = b.imported_ms;
	}
	return 0;
}

/* Both were written by collect(), or parsed into zeroed memory. */
static bool same_stock(const struct catalog *one, const struct catalog *other)
{
	if (one->n_entries != other->n_entries)
		return false;
	for (size_t i = 0; i < one->n_entries; i++) {
		const struct catalog_entry *a = &one->entries[i], *b = &other->entries[i];

		if (strcmp(a->name, b->name) != 0 || a->serial != b->serial ||
		    a->bundle_bytes != b->bundle_bytes ||
		    memcmp(a->manifest_sha256, b->manifest_sha256, 32) != 0 ||
		    memcmp(a->bundle_sha256, b->bundle_sha256, 32) != 0)
			return false;
	}
	return true;
}

static bool is_due(const struct catalogue *g, const struct catalog *wanted, uint64_t now_ms)
{
	const struct catalog *c = g->current;

	return !c || !same_stock(c, wanted) ||
	       now_ms >= c->created_ms + (c->expires_ms - c->created_ms) / 2;
}

static void ask(struct catalogue *g);

static void finish(struct catalogue *g, int r)
{
	g->busy = false;
	if (g->again && r != -ECANCELED) {
		g->again = false;
		ask(g);
	}
}

static void on_stored(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct catalogue *g = cookie;
	AUTO_FREE char *text = take_ptr(g->proposed);

	if (answer->r == 0) {
		take(g, text, strlen(text));
		if (g->current)
			log_event(LOG_INFO,
				  "the status of the fleet was signed version=%" PRIu64
				  " hotfixes=%zu",
				  g->current->version, g->current->n_entries);
	} else if (answer->r == -ESTALE) {
		g->again = true; /* another controller was first */
	}
	finish(g, answer->r);
}

static int propose(struct catalogue *g, struct catalog *next, uint64_t now_ms)
{
	const struct trust *trust = roots_trust(g->c->roots);
	struct fleet_entry entry = {.at_ms = now_ms,
				    .actor = g->c->actor,
				    .action = "STATUS_SIGNED",
				    .subject = trust->fleet,
				    .result = "ok"};
	struct fleet_document d = {
		.kind = "catalog", .name = "", .imported_ms = now_ms, .actor = g->c->actor};
	struct catalog *check = NULL;
	struct fail fail;
	int r;

	snprintf(next->fleet, sizeof(next->fleet), "%s", trust->fleet);
	next->version =
		(g->stored > catalogue_version(g) ? g->stored : catalogue_version(g)) + 1;
	next->created_ms = now_ms / 1000 * 1000;
	next->expires_ms = next->created_ms + g->c->settings->status_valid_ms;
	r = director_catalog(g->c->director, next, &g->proposed, &fail);
	if (r == 0)
		r = catalog_open(g->proposed, strlen(g->proposed), trust, &check, &fail);
	catalog_free(check);
	if (r < 0) {
		free(take_ptr(g->proposed));
		complain(g, next->version, &fail);
		return r;
	}
	d.version = next->version;
	d.envelope = g->proposed;
	d.len = strlen(g->proposed);
	r = fleet_put_document(g->c->fleet, &d, &entry, on_stored, g);
	if (r < 0)
		free(take_ptr(g->proposed));
	return r;
}

static void on_bundles(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	AUTO(catalog_freep) struct catalog *next = calloc(1, sizeof(*next));
	struct catalogue *g = cookie;
	uint64_t now_ms = clock_real_ms();
	int r = answer->r;

	if (r == 0)
		r = next ? collect(answer, next) : -ENOMEM;
	if (r == -E2BIG && g->complained != UINT64_MAX) {
		log_event(LOG_ERR, "more bundles in stock than a status can name max=%d",
			  CATALOG_ENTRIES_MAX);
		g->complained = UINT64_MAX;
	}
	if (r < 0 || !is_due(g, next, now_ms) || propose(g, next, now_ms) < 0)
		finish(g, answer->r);
}

static void on_catalogs(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct catalogue *g = cookie;
	struct fleet_document d;

	while (fleet_next_document(answer, &d)) {
		g->stored = d.version;
		take(g, d.envelope, d.len);
	}
	if (answer->r < 0 || fleet_bundles(g->c->fleet, on_bundles, g) < 0)
		finish(g, answer->r);
}

static void ask(struct catalogue *g)
{
	const struct trust *trust = roots_trust(g->c->roots);

	if (g->busy) {
		g->again = true;
		return;
	}
	if (!trust || !trust->status.n_keys)
		return;
	check_again(g, trust);
	g->busy = fleet_documents(g->c->fleet, "catalog", catalogue_version(g), on_catalogs,
				  g) == 0;
}

void catalogue_on_wake(struct catalogue *g, const char *topic)
{
	if (!*topic || strcmp(topic, FLEET_TOPIC_STOCK) == 0)
		ask(g);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	ask(cookie);
}

/* ---- life ------------------------------------------------------------------------------------------ */

int catalogue_reload(struct catalogue *g, struct fail *reterr_fail)
{
	(void)g, (void)reterr_fail;
	return 0;
}

int catalogue_new(struct controller *c, struct catalogue **ret_catalogue,
		  struct fail *reterr_fail)
{
	AUTO(catalogue_freep) struct catalogue *g = calloc(1, sizeof(*g));

	if (!g)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	g->c = c;
	g->timer = event_new(c->base, -1, EV_PERSIST, on_timer, g);
	if (!g->timer || event_add(g->timer, &poll_every) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	ask(g);
	*ret_catalogue = take_ptr(g);
	return 0;
}

struct catalogue *catalogue_free(struct catalogue *g)
{
	if (!g)
		return NULL;
	if (g->timer)
		event_free(g->timer);
	drop_current(g);
	free(g->proposed);
	free(g);
	return NULL;
}
