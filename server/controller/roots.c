// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/roots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <event2/event.h>

#include "lib/io.h"
#include "lib/log.h"
#include "server/controller/controller.h"
#include "store/bytes.h"
#include "store/dsse.h"
#include "store/fleet.h"
#include "store/trust.h"

static const struct timeval poll_every = {.tv_sec = 2};

struct text {
	uint64_t version;
	char *text;
	bool known; /* of a root: its payload's */
	uint8_t sha256[32];
};

struct texts {
	struct text *item;
	size_t n;
};

struct roots {
	struct controller *c;
	struct event *timer;
	struct trust *trust; /* NULL: none */
	struct texts roots;  /* as stored; those up to trust->version */
	struct texts revocations;
	uint64_t refused; /* version that was complained about */
	bool busy, again;
	char path[SETTINGS_PATH_BYTES + 16];
};

/* ---- documents in memory ------------------------------------------------------------------- */

static void texts_clear(struct texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->item[i].text);
	free(t->item);
	memset(t, 0, sizeof(*t));
}

static uint64_t texts_last(const struct texts *t)
{
	return t->n ? t->item[t->n - 1].version : 0;
}

static int texts_add(struct texts *t, uint64_t version, const void *text, size_t len)
{
	struct text *item = reallocarray(t->item, t->n + 1, sizeof(*item));
	char *copy = strndup(text, len);

	if (item)
		t->item = item;
	if (!item || !copy) {
		free(copy);
		return -ENOMEM;
	}
	t->item[t->n++] = (struct text){.version = version, .text = copy};
	return 0;
}

static json_t *texts_after(const struct texts *t, uint64_t version)
{
	json_t *all = json_array();
	size_t bytes = 0;

	for (size_t i = 0; all && i < t->n; i++) {
		if (t->item[i].version <= version)
			continue;
		bytes += strlen(t->item[i].text);
		if (bytes > ROOTS_ANSWER_BYTES && json_array_size(all))
			break;
		json_array_append_new(all, json_string(t->item[i].text));
	}
	return all;
}

json_t *roots_after(const struct roots *r, uint64_t version)
{
	return texts_after(&r->roots, version);
}

json_t *roots_revocations_after(const struct roots *r, uint64_t version)
{
	return texts_after(&r->revocations, version);
}

uint64_t roots_revocation(const struct roots *r)
{
	return texts_last(&r->revocations);
}

/* Which one it is, whoever signed it. */
static void add_root(struct roots *r, const struct fleet_document *d)
{
	AUTO(dsse_freep) struct dsse *dsse = NULL;
	AUTO(trust_freep) struct trust *t = NULL;
	struct text *last;

	if (texts_add(&r->roots, d->version, d->envelope, d->len) < 0 ||
	    dsse_parse("root", d->envelope, d->len, &dsse, NULL) < 0 ||
	    trust_open_unverified(dsse, &t, NULL) < 0)
		return;
	last = &r->roots.item[r->roots.n - 1];
	last->known = true;
	memcpy(last->sha256, t->sha256, sizeof(last->sha256));
}

/* ---- the chain -------------------------------------------------------------------------------- */

const struct trust *roots_trust(const struct roots *r)
{
	return r->trust;
}

int roots_check(const struct roots *r, const void *envelope, size_t len,
		struct trust **ret_trust, struct fail *reterr_fail)
{
	return r->trust ? trust_open_next(envelope, len, r->trust, ret_trust, reterr_fail)
			: trust_open_first(envelope, len, ret_trust, reterr_fail);
}

static const struct text *find_root(const struct roots *r, uint64_t version)
{
	for (size_t i = 0; i < r->roots.n; i++)
		if (r->roots.item[i].version == version)
			return &r->roots.item[i];
	return NULL;
}

const char *roots_unfit(const struct roots *r, const struct roots_of_host *h,
			char ret_why[ROOTS_WHY_BYTES])
{
	const struct text *same = find_root(r, h->version);

	if (!h->known || !r->trust || h->version > r->trust->version)
		return NULL;
	if (!h->version)
		snprintf(ret_why, ROOTS_WHY_BYTES, "trusts no root");
	else if (same && same->known && memcmp(same->sha256, h->sha256, 32) != 0)
		snprintf(ret_why, ROOTS_WHY_BYTES, "trusts another root %" PRIu64, h->version);
	else if (h->version < r->trust->version && r->roots.n && !find_root(r, h->version + 1))
		snprintf(ret_why, ROOTS_WHY_BYTES,
			 "has root %" PRIu64 ", root %" PRIu64 " is missing", h->version,
			 h->version + 1);
	else
		return NULL;
	return ret_why;
}

/* Another controller may have another state directory: a file that cannot be written is no end. */
static void keep(struct roots *r, const void *envelope, size_t len)
{
	int e = io_write_file(r->path, envelope, len, 0644);
	char hex[BYTES_SHA256_HEX];

	log_event(LOG_NOTICE, "a root is in force version=%" PRIu64 " sha256=%s",
		  r->trust->version, bytes_to_hex(r->trust->sha256, 32, hex));
	if (e < 0)
		log_event(LOG_WARNING,
			  "the root cannot be kept, so the database is trusted with it path=%s "
			  "reason=\"%s\"",
			  r->path, strerror(-e));
}

static void take_root(struct roots *r, const struct fleet_document *d)
{
	struct trust *next = NULL;
	struct fail fail;
	int e;

	if (r->trust && d->version < r->trust->version) {
		add_root(r, d);
		return;
	}
	e = r->trust ? trust_open_next(d->envelope, d->len, r->trust, &next, &fail)
		     : trust_open(d->envelope, d->len, &next, &fail);
	if (e == -EALREADY) {
		if (texts_last(&r->roots) < d->version)
			add_root(r, d);
		return;
	}
	if (e == 0 && next->version != d->version)
		e = fail_set(&fail, FAIL_BAD_FORMAT, "its row has another version");
	if (e < 0) {
		trust_free(next);
		if (r->refused != d->version)
			log_event(LOG_ERR,
				  "a root in the database is not taken version=%" PRIu64
				  " reason=\"%s\"",
				  d->version, fail.message);
		r->refused = d->version;
		return;
	}
	trust_free(r->trust);
	r->trust = next;
	add_root(r, d);
	keep(r, d->envelope, d->len);
}

static int load_kept(struct roots *r, struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int e = io_read_file(r->path, DSSE_BYTES_MAX, &buf, &len);

	if (e == -ENOENT)
		return 0;
	if (e < 0)
		return fail_set(reterr_fail, FAIL_STORAGE, "cannot read %s: %s", r->path,
				strerror(-e));
	return trust_open(buf, len, &r->trust, reterr_fail);
}

/* ---- following the database --------------------------------------------------------------------- */

static void ask(struct roots *r);

static void on_revocations(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct roots *r = cookie;
	struct fleet_document d;

	while (fleet_next_document(answer, &d))
		texts_add(&r->revocations, d.version, d.envelope, d.len);
	r->busy = false;
	if (r->again && answer->r == 0) {
		r->again = false;
		ask(r);
	}
}

static void on_roots(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *answer = a;
	struct roots *r = cookie;
	struct fleet_document d;

	while (fleet_next_document(answer, &d))
		take_root(r, &d);
	if (answer->r < 0 ||
	    fleet_documents(r->c->fleet, "revocation", texts_last(&r->revocations),
			    on_revocations, r) < 0)
		r->busy = false;
}

static void ask(struct roots *r)
{
	if (r->busy) {
		r->again = true;
		return;
	}
	r->busy = fleet_documents(r->c->fleet, "root", texts_last(&r->roots), on_roots, r) == 0;
}

void roots_on_wake(struct roots *r, const char *topic)
{
	if (!*topic || strcmp(topic, FLEET_TOPIC_STOCK) == 0)
		ask(r);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	ask(cookie);
}

/* ---- life ------------------------------------------------------------------------------------------ */

int roots_new(struct controller *c, struct roots **ret_roots, struct fail *reterr_fail)
{
	AUTO(roots_freep) struct roots *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r->c = c;
	snprintf(r->path, sizeof(r->path), "%s/root.json", c->settings->state_dir);
	e = load_kept(r, reterr_fail);
	if (e < 0)
		return e;
	r->timer = event_new(c->base, -1, EV_PERSIST, on_timer, r);
	if (!r->timer || event_add(r->timer, &poll_every) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	ask(r);
	*ret_roots = take_ptr(r);
	return 0;
}

int roots_reload(struct roots *r, struct fail *reterr_fail)
{
	(void)r, (void)reterr_fail;
	return 0;
}

struct roots *roots_free(struct roots *r)
{
	if (!r)
		return NULL;
	if (r->timer)
		event_free(r->timer);
	texts_clear(&r->roots);
	texts_clear(&r->revocations);
	trust_free(r->trust);
	free(r);
	return NULL;
}
