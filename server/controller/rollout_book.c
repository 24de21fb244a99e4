// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/rollout_private.h"

#include <errno.h>
#include <string.h>

#include "lib/plain.h"
#include "server/controller/wave.h"

/* ---- sorted tables ----------------------------------------------------------------- */

/* All three tables hold pointers to what begins with its name. */
static size_t seek(void *const *table, size_t n, const char *key, bool *ret_found)
{
	size_t low = 0, high = n;

	*ret_found = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(key, table[mid]);

		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* The one with this name, made and put in its place when there is none. */
static int obtain(void ***table, size_t *n, size_t *room, size_t size, const char *key,
		  void **ret_item)
{
	bool found;
	size_t at = seek(*table, *n, key, &found);
	void **grown, *item;

	if (found) {
		*ret_item = (*table)[at];
		return 0;
	}
	if (*n == *room) {
		size_t more = *room ? 2 * *room : 16;

		grown = realloc(*table, more * sizeof(void *));
		if (!grown)
			return -ENOMEM;
		*table = grown;
		*room = more;
	}
	item = calloc(1, size);
	if (!item)
		return -ENOMEM;
	memcpy(item, key, strlen(key) + 1);
	memmove(*table + at + 1, *table + at, (*n - at) * sizeof(void *));
	(*table)[at] = item;
	++*n;
	*ret_item = item;
	return 0;
}

_Static_assert(!offsetof(struct rollout_host, id) && !offsetof(struct stratum, key) &&
		       !offsetof(struct domain, key),
	       "the name comes first");

struct rollout_host *rollout_seek_host(const struct rollout *r, const char *host)
{
	bool found;
	size_t at = seek((void *const *)r->host, r->n_hosts, host, &found);

	return found ? r->host[at] : NULL;
}

int rollout_add_host(struct rollout *r, const char *id, struct rollout_host **ret_host)
{
	struct rollout_host *h;
	void *item;

	if (heap_reserve(&r->timers, r->n_hosts + 1) < 0 ||
	    heap_reserve(&r->back_ready, r->n_hosts + 1) < 0 ||
	    obtain((void ***)&r->host, &r->n_hosts, &r->room_hosts, sizeof(*h), id, &item) < 0)
		return -ENOMEM;
	h = item;
	h->order = wave_hash(r->id, id);
	h->wave = h->failed_in = ROLLOUT_NO_WAVE;
	*ret_host = h;
	return 0;
}

int rollout_add_stratum(struct rollout *r, const char *key, struct stratum **ret_stratum)
{
	void *item;

	if (heap_reserve(&r->fresh, r->n_strata + 1) < 0 ||
	    heap_reserve(&r->bakes, r->n_strata + 1) < 0 ||
	    obtain((void ***)&r->stratum, &r->n_strata, &r->room_strata, sizeof(struct stratum),
		   key, &item) < 0)
		return -ENOMEM;
	*ret_stratum = item;
	return 0;
}

int rollout_set_groups(struct rollout *r, struct rollout_host *h, const char *stratum,
		       const char *domain)
{
	struct stratum *s;
	struct domain *d;
	void *item;

	if (heap_reserve(&r->ready, r->n_domains + 1) < 0 ||
	    rollout_add_stratum(r, stratum, &s) < 0 ||
	    obtain((void ***)&r->domain, &r->n_domains, &r->room_domains, sizeof(*d), domain,
		   &item) < 0)
		return -ENOMEM;
	d = item;
	if (heap_reserve(&s->candidates, s->all + 1) < 0 ||
	    heap_reserve(&d->ready, d->all + 1) < 0)
		return -ENOMEM;
	if (h->stratum) {
		h->stratum->all--;
		h->domain->all--;
	}
	s->all++;
	d->all++;
	h->stratum = s;
	h->domain = d;
	return 0;
}

void rollout_group_key(const struct spec_words *by, const json_t *labels,
		       char ret_key[ROLLOUT_KEY_BYTES])
{
	size_t at = 0;

	ret_key[0] = 0;
	for (size_t i = 0; i < by->n && at < ROLLOUT_KEY_BYTES - 1; i++) {
		const char *value = json_string_value(json_object_get(labels, by->word[i]));
		int n = snprintf(ret_key + at, ROLLOUT_KEY_BYTES - at, "%s%.60s", i ? "/" : "",
				 value ? value : "");

		at += (size_t)n;
	}
	plain_make(ret_key, false); /* no half of a character */
}

/* ---- the books --------------------------------------------------------------------- */

bool rollout_is_canary(const struct rollout_host *h)
{
	return h->stratum && strcmp(h->stratum->canary, h->id) == 0;
}

bool rollout_available(const struct rollout_host *h)
{
	return !h->offline && !h->held && !h->left;
}

size_t rollout_max_in_flight(const struct rollout *r)
{
	size_t n = spec_at_least(r->spec.max_in_flight, r->eligible);

	return n ? n : 1;
}

static bool has_room(const struct rollout *r, const struct domain *d)
{
	size_t n = spec_at_least(r->spec.max_per_domain, d->hosts);

	return d->in_flight < (n ? n : 1);
}

/* A domain stands in line with its first host, as long as it has room for one. */
static void place_domain(struct rollout *r, struct domain *d)
{
	const struct heap_node *first = heap_first(&d->ready);

	heap_remove(&r->ready, &d->place);
	if (first && has_room(r, d))
		heap_add(&r->ready, &d->place, first->major, first->minor);
}

static void place_stratum(struct rollout *r, struct stratum *s)
{
	const struct heap_node *first = heap_first(&s->candidates);

	heap_remove(&r->bakes, &s->bake);
	if (s->state == STRATUM_BAKING)
		heap_add(&r->bakes, &s->bake, s->bake_end_ms, wave_hash(r->id, s->key));
	heap_remove(&r->fresh, &s->fresh);
	if (first && s->state == STRATUM_NEW)
		heap_add(&r->fresh, &s->fresh, first->major, first->minor);
}

static bool is_due(const struct rollout_host *h)
{
	return h->state == HOST_PENDING && h->wave != ROLLOUT_NO_WAVE &&
	       h->stratum->state != STRATUM_STOPPED;
}

/* Something is to be undone there; ROLLED_BACK and those that never had it are done. */
static bool owes_back(const struct rollout_host *h)
{
	return h->back && (host_is(h->state, HOST_BEGUN) || h->state == HOST_ROLLING_BACK ||
			   h->state == HOST_ROLLBACK_FAILED);
}

static void count(struct rollout *r, const struct rollout_host *h, size_t one)
{
	bool flies = host_is(h->state, HOST_FLIES), in = h->state != HOST_EXCLUDED;
	bool failed = host_is(h->state, HOST_FAILED) && host_is(h->state, HOST_BEGUN) &&
		      h->failed_in == r->wave;

	r->count[h->state] += one;
	r->eligible += in ? one : 0;
	r->in_flight += flies ? one : 0;
	r->due += is_due(h) ? one : 0;
	r->members += in && h->wave == r->wave ? one : 0;
	r->failed += failed && !h->canary ? one : 0;
	r->failed_canaries += failed && h->canary ? one : 0;
	r->back += owes_back(h) ? one : 0;
	r->back_in_flight += h->state == HOST_ROLLING_BACK ? one : 0;
	h->stratum->hosts += in ? one : 0;
	h->domain->hosts += in ? one : 0;
	h->domain->in_flight += flies ? one : 0;
}

static struct heap *queue_of(struct rollout *r, const struct rollout_host *h)
{
	if (owes_back(h) && host_is(h->state, HOST_BEGUN) && rollout_available(h))
		return r->director_lost && h->committed == r->serial ? NULL : &r->back_ready;
	if (h->state != HOST_PENDING || h->stratum->state == STRATUM_STOPPED)
		return NULL;
	if (h->stratum->state != STRATUM_PROVEN && !rollout_is_canary(h))
		return &h->stratum->candidates;
	return h->wave != ROLLOUT_NO_WAVE ? &h->domain->ready : NULL;
}

void rollout_lift(struct rollout *r, struct rollout_host *h)
{
	struct heap *queue = h->queue.at ? queue_of(r, h) : NULL;

	if (queue)
		heap_remove(queue, &h->queue);
	heap_remove(&r->timers, &h->timer);
	count(r, h, (size_t)-1);
	place_domain(r, h->domain);
	place_stratum(r, h->stratum);
}

void rollout_lay(struct rollout *r, struct rollout_host *h)
{
	struct heap *queue = queue_of(r, h);

	if (queue)
		heap_add(queue, &h->queue, queue == &h->domain->ready ? h->wave : 0, h->order);
	if (h->due_ms)
		heap_add(&r->timers, &h->timer, h->due_ms, h->order);
	count(r, h, 1);
	place_domain(r, h->domain);
	place_stratum(r, h->stratum);
}

static void lift_to(struct rollout *r, struct rollout_host *h, struct rollout_host **list)
{
	rollout_lift(r, h);
	h->next = *list;
	*list = h;
}

void rollout_stratum_enter(struct rollout *r, struct stratum *s, enum stratum_state next,
			   const char *canary)
{
	bool reopened = s->state == STRATUM_STOPPED, closed = next >= STRATUM_PROVEN;
	struct rollout_host *list = NULL, *h;
	const struct heap_node *node;

	/* Those whose line it changes: who was and who becomes its canary, and all that wait. */
	for (size_t i = 0; reopened && i < r->n_hosts; i++)
		if (r->host[i]->stratum == s)
			lift_to(r, r->host[i], &list);
	if (!reopened) {
		h = rollout_seek_host(r, s->canary);
		if (h && h->stratum == s)
			lift_to(r, h, &list);
		if (strcmp(s->canary, canary) != 0 && (h = rollout_seek_host(r, canary)))
			lift_to(r, h, &list);
	}
	while (closed && (node = heap_first(&s->candidates)))
		lift_to(r, heap_owner(node, struct rollout_host, queue), &list);

	s->state = next;
	if (canary != s->canary)
		snprintf(s->canary, sizeof(s->canary), "%s", canary);
	for (; (h = list); list = h->next)
		rollout_lay(r, h);
	place_stratum(r, s);
	r->changed = true;
}

void rollout_set_director_lost(struct rollout *r, bool lost)
{
	struct rollout_host *list = NULL, *h;

	for (size_t i = 0; i < r->n_hosts; i++)
		if (r->host[i]->back)
			lift_to(r, r->host[i], &list);
	r->director_lost = lost;
	for (; (h = list); list = h->next)
		rollout_lay(r, h);
	r->changed = true;
}

/* ---- what facts make of a host ----------------------------------------------------- */

enum host_state rollout_idle(const struct rollout *r, const struct rollout_host *h,
			     enum host_why *ret_why)
{
	const struct {
		bool holds;
		enum host_why why;
	} reasons[] = {
		{h->left, HOST_WHY_LEFT},
		{!(h->waves & 1), HOST_WHY_LABEL},
		{h->held, HOST_WHY_HELD},
		{h->incompatible, HOST_WHY_INCOMPATIBLE},
		{h->max_serial && h->max_serial < r->serial, HOST_WHY_PINNED},
		{h->committed > r->serial, HOST_WHY_AHEAD},
		{h->committed == r->serial, HOST_WHY_ALREADY},
		{h->quarantined && !h->retry, HOST_WHY_QUARANTINE},
		{h->late && !r->spec.dynamic, HOST_WHY_LATE},
		{h->offline, HOST_WHY_OFFLINE},
		{h->rebooting, HOST_WHY_REBOOT},
		{h->due_ms, HOST_WHY_BACKOFF},
		{true, HOST_WHY_NONE},
	};
	size_t i = 0;

	while (!reasons[i].holds)
		i++;
	*ret_why = reasons[i].why;
	if (*ret_why == HOST_WHY_NONE)
		return HOST_PENDING;
	return *ret_why >= HOST_WHY_OFFLINE ? HOST_DEFERRED : HOST_EXCLUDED;
}

/* ---- waves ------------------------------------------------------------------------- */

void rollout_new_wave(struct rollout *r, uint8_t wave)
{
	r->wave = wave; /* nobody is in it yet */
	r->members = r->failed = r->failed_canaries = 0;
	r->forgiven = r->forgiven_canaries = r->row = 0;
	r->bake_end_ms = 0;
	r->verdict = 0;
	r->changed = true;
}

size_t rollout_fill(struct rollout *r)
{
	const struct spec_wave *w = &r->spec.wave[r->wave];
	struct wave_candidate *c = calloc(r->n_hosts + 1, sizeof(*c));
	size_t n = 0, before = 0, reach;

	if (!c) {
		r->no_memory = true;
		return 0;
	}
	for (size_t i = 0; i < r->n_hosts; i++) {
		struct rollout_host *h = r->host[i];

		if (h->state == HOST_EXCLUDED || !(h->waves & (1U << r->wave)))
			continue;
		if (h->wave == ROLLOUT_NO_WAVE)
			c[n++] = (struct wave_candidate){
				.order = h->order, .domain = h->domain, .host = h};
		else
			before++;
	}
	wave_order(c, n);
	reach = spec_at_least(w->reach, before + n);
	reach = reach > before ? reach - before : 0;
	n = n < reach ? n : reach;
	for (size_t i = 0; i < n; i++) {
		struct rollout_host *h = c[i].host;

		rollout_lift(r, h);
		h->wave = r->wave;
		rollout_lay(r, h);
		rollout_touch(r, h);
	}
	free(c);
	return n;
}
