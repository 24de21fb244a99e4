// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/losses.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/plural.h"
#include "server/controller/rollout.h"

#define MINUTE_MS 60000

struct domain {
	char name[LOSSES_DOMAIN_BYTES];
	size_t there, silent;
};

struct host {
	char id[ROLLOUT_ID_BYTES], boot_id[CLOCK_BOOT_ID_BYTES];
	struct domain *domain;
	uint64_t oopses;
	uint64_t bad_ms;  /* when it last oopsed, as far as we know; 0 never */
	uint64_t last_ms; /* heard of before it fell silent; 0: it is not */
};

struct losses {
	struct losses_opts opts;
	void *hosts, *domains; /* of search.h */
	uint64_t since_ms;
	/* of a verdict */
	uint64_t now_ms;
	size_t bad;
	const struct domain *worst;
};

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct host *)a)->id, ((const struct host *)b)->id);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct domain *)a)->name, ((const struct domain *)b)->name);
}

static struct host *find_host(struct losses *l, const char *id)
{
	struct host key;
	void *node;

	snprintf(key.id, sizeof(key.id), "%s", id);
	node = tfind(&key, &l->hosts, by_id);
	return node ? *(struct host **)node : NULL;
}

static void *add(void **tree, void *what, int (*order)(const void *, const void *))
{
	void *node = tsearch(what, tree, order);

	if (node)
		return what;
	free(what);
	return NULL;
}

static struct domain *domain_of(struct losses *l, const char *name)
{
	struct domain key = {.there = 0}, *d;
	void *node;

	snprintf(key.name, sizeof(key.name), "%s", name);
	node = tfind(&key, &l->domains, by_name);
	if (node)
		return *(struct domain **)node;
	d = malloc(sizeof(*d));
	if (!d)
		return NULL;
	*d = key;
	return add(&l->domains, d, by_name);
}

int losses_new(const struct losses_opts *opts, struct losses **ret_losses)
{
	struct losses *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->opts = *opts;
	*ret_losses = l;
	return 0;
}

struct losses *losses_free(struct losses *l)
{
	if (!l)
		return NULL;
	tdestroy(l->hosts, free);
	tdestroy(l->domains, free);
	free(l);
	return NULL;
}

int losses_report(struct losses *l, const struct losses_host *report, uint64_t now_ms)
{
	struct domain *domain = domain_of(l, report->domain);
	struct host *h = find_host(l, report->id);
	bool boots, is_new = !h;

	if (!domain)
		return -ENOMEM;
	if (is_new) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		snprintf(h->id, sizeof(h->id), "%s", report->id);
		h = add(&l->hosts, h, by_id);
		if (!h)
			return -ENOMEM;
	}
	boots = strncmp(h->boot_id, report->boot_id, sizeof(h->boot_id) - 1) != 0;
	if (!is_new &&
	    (boots ? report->oopses > 0 || report->crashed : report->oopses > h->oopses))
		h->bad_ms = now_ms;
	snprintf(h->boot_id, sizeof(h->boot_id), "%s", report->boot_id);
	h->oopses = report->oopses;
	h->domain = domain;
	return 0;
}

void losses_forget(struct losses *l, const char *id)
{
	struct host *h = find_host(l, id);

	if (!h)
		return;
	tdelete(h, &l->hosts, by_id);
	free(h);
}

void losses_silent(struct losses *l, const char *id, uint64_t silent_ms, uint64_t now_ms)
{
	struct host *h = find_host(l, id);

	if (h)
		h->last_ms = silent_ms < now_ms ? now_ms - silent_ms : 1;
}

void losses_forgive(struct losses *l, uint64_t now_ms)
{
	l->since_ms = now_ms;
}

static void reset_domain(const void *node, VISIT visit, void *cookie)
{
	struct domain *d = *(struct domain *const *)node;

	(void)cookie;
	if (visit == postorder || visit == leaf)
		d->there = d->silent = 0;
}

static void count_host(const void *node, VISIT visit, void *cookie)
{
	struct host *h = *(struct host *const *)node;
	struct losses *l = cookie;

	if (visit != postorder && visit != leaf)
		return;
	if (h->bad_ms > l->since_ms && h->bad_ms + MINUTE_MS > l->now_ms)
		l->bad++;
	if (!h->last_ms) {
		h->domain->there++;
	} else if (h->last_ms > l->since_ms && h->last_ms + LOSSES_RECENT_MS > l->now_ms) {
		h->domain->there++;
		h->domain->silent++;
	}
	h->last_ms = 0; /* unless somebody says so again */
}

static void find_worst(const void *node, VISIT visit, void *cookie)
{
	const struct domain *d = *(struct domain *const *)node;
	struct losses *l = cookie;

	if ((visit == postorder || visit == leaf) && d->silent >= l->opts.hosts &&
	    d->silent * 100 > d->there * l->opts.percent &&
	    (!l->worst || d->silent > l->worst->silent))
		l->worst = d;
}

bool losses_judge(struct losses *l, uint64_t now_ms, char ret_why[LOSSES_WHY_BYTES])
{
	l->now_ms = now_ms;
	l->bad = 0;
	l->worst = NULL;
	twalk_r(l->domains, reset_domain, NULL);
	twalk_r(l->hosts, count_host, l);
	if (l->opts.percent)
		twalk_r(l->domains, find_worst, l);
	if (l->opts.oopses && l->bad > l->opts.oopses) {
		snprintf(ret_why, LOSSES_WHY_BYTES,
			 "the kernels of %zu host%s oopsed within a minute, more than %" PRIu64,
			 l->bad, plural(l->bad), l->opts.oopses);
		return true;
	}
	if (l->worst)
		snprintf(
			ret_why, LOSSES_WHY_BYTES,
			"%zu of %zu host%s of the failure domain \"%s\" fell silent, more than "
			"%" PRIu64 " %%",
			l->worst->silent, l->worst->there, plural(l->worst->there),
			l->worst->name, l->opts.percent);
	return l->worst;
}
