// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/fleet/simulate -- many hosts in one process: the agent of hotfixd (server/agent.h) as it is, over
 * real TLS, with an engine that only says what it did. Directives, roots and catalogues are
 * verified as on a host; what becomes of a version is as the script says.
 *
 *	simulate prepare --state-dir DIR --database WHERE --hosts FILE --count N
 *		keys, and certificates by the controllers' own authority (DIR/agents-ca), written down in
 *		the database as enrolment does
 *	simulate run --controllers "URL..." --ca FILE --hosts FILE [--count N] [--root FILE]
 *		[--kernels "A B C"] [--per-s N] [--backoff-max MS] [--journal FILE]
 *
 * The journal has a line of JSON for each word as a host heard it, when it is not the one that it
 * heard before: {"host","name","rollout","word","action","from","to","directive"}, the last as its
 * SHA-256.
 *
 * run takes commands from stdin, a line each, and answers each with a line of JSON:
 *
 *	stats				what all hosts are at
 *	hosts NAME			what each of them is at, and where it is with this hot-fix
 *	mark				begins to count anew
 *	load_failed NAME SERIAL KERNEL	hosts of this kernel cannot load it
 *	unhealthy NAME SERIAL PERCENT	so many get ill in its trial
 *	lost NAME SERIAL PERCENT	so many go down while they apply it, for good
 *	slow NAME SERIAL MS		each step takes so long
 *	join N KERNEL			so many more hosts of FILE, with this kernel
 *	trouble KIND PERCENT MS		on the way of so many requests (0: no more of it):
 *		late	they are sent up to MS later
 *		lost	they never arrive, which shows after MS
 *		mute	they arrive, and the answer does not
 *		twice	they arrive twice, whichever comes first
 *		stale	they arrive once more up to MS later, when others came after them
 *	quit
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/fail.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/agent_private.h"
#include "server/controller/ca.h"
#include "store/bytes.h"
#include "store/catalog.h"
#include "store/db.h"
#include "store/directive.h"
#include "store/fleet.h"
#include "store/trust.h"

#define FIXES_MAX 12 /* hot-fixes of a host */
#define BUNDLES_MAX \
	32 /* more than there are: who drops one that a word names fetches for ever */
#define SCRIPTS_MAX 32
#define STEP_MS	    50 /* of an engine that is not slow */
#define NET_AGENTS \
	64 /* of one libcurl multi, which looks at all of its connections each time */

#define STATES(X)                       \
	X(PENDING, "pending")           \
	X(STAGED, "staged")             \
	X(PREFLIGHT, "preflight")       \
	X(APPLYING, "applying")         \
	X(TRIAL, "trial")               \
	X(COMMITTED, "committed")       \
	X(REJECTED, "rejected")         \
	X(LOAD_FAILED, "load_failed")   \
	X(UNHEALTHY, "unhealthy")       \
	X(ROLLING_BACK, "rolling_back") \
	X(ROLLED_BACK, "rolled_back")

enum state {
#define X(name, text) name,
	STATES(X)
#undef X
		STATES_
};

static const char *const state_names[] = {
#define X(name, text) [name] = text,
	STATES(X)
#undef X
};

struct fix {
	char name[HOOK_NAME_MAX + 1];
	char rollout[AGENT_ID_BYTES];
	uint64_t word, serial; /* the newest word, and what it would bring */
	uint64_t committed, before, trial, high_water, quarantined;
	enum state state;
	const char *code;
	bool transient, retry;
	uint64_t trial_ms, to;
	uint8_t bundle[32];
	uint64_t next_ms;	     /* of the step that comes; 0 none */
	uint8_t heard[BYTES_SHA256]; /* the last line about it in the journal */
};

struct host {
	size_t n;
	char id[AGENT_ID_BYTES];
	const char *kernel; /* NULL: the next in turn */
	char *key, *certificate;
	struct agent *agent; /* NULL: down */
	struct event *timer;
	const struct trust *trust;
	const struct catalog *catalog;
	struct fix fix[FIXES_MAX];
	size_t n_fixes;
	uint8_t bundles[BUNDLES_MAX][32];
	size_t n_bundles;
	uint64_t marked_seq;
	uint64_t heard_ms, ended_ms; /* clock_up_ms(): the last word, and what came of it */
	uint64_t unacked_seq;	     /* acknowledged before what is to be acknowledged now */
	bool unacked;
	char boot_id[40];
};

static struct {
	const char *controllers, *hosts, *root, *kernels, *state_dir, *database, *ca_file,
		*journal;
	size_t count, per_s;
	uint64_t backoff_max_ms;
} opts = {.kernels = "6.1.0-30-amd64 6.12.30-amd64 7.2.1-amd64",
	  .count = SIZE_MAX,
	  .per_s = 400,
	  .backoff_max_ms = 30000};

static struct event_base *base;
static struct agent_net **nets;
static struct host *hosts;
static size_t n_hosts, n_started, n_known; /* of FILE */
static FILE *journal;
static struct event *more;
static char *ca_text, *kernels[8];
static size_t n_kernels;
static struct {
	uint64_t answers, words, directives, refused, bundles, bundle_failures, reports;
	uint64_t first_word_ms, last_ack_ms;	      /* CLOCK_REALTIME */
	uint64_t acks, word_to_end_ms, end_to_ack_ms; /* sums, since they were marked */
} stats;

static struct script {
	char what[16], name[HOOK_NAME_MAX + 1], kernel[64];
	uint64_t serial, number;
} scripts[SCRIPTS_MAX];
static size_t n_scripts;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("simulate: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* ---- keys and certificates -------------------------------------------------------------------- */

static char *text_of(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *text = strndup(data, (size_t)len);

	BIO_free(bio);
	return text;
}

static json_t *new_host(const struct ca *ca, uint64_t now_s, struct ca_written *ret_written)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	AUTO_FREE char *request = NULL, *secret = NULL, *pem = NULL;
	X509_REQ *req = X509_REQ_new();
	char id[CA_NAME_BYTES];
	struct fail fail;

	if (!X509_REQ_set_pubkey(req, key) || !X509_REQ_sign(req, key, NULL) ||
	    !PEM_write_bio_X509_REQ(bio, req) ||
	    !PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL))
		die("no key");
	request = text_of(bio);
	secret = text_of(out);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	if (ca_request_host(request, strlen(request), id, &fail) < 0 ||
	    ca_sign(ca, CA_HOST, id, request, strlen(request), now_s, 90 * 86400, &pem, &fail) <
		    0 ||
	    ca_describe(pem, ret_written, &fail) < 0)
		die("%s", fail.message);
	return json_pack("{s:s, s:s, s:s}", "id", id, "key", secret, "certificate", pem);
}

static int prepare(void)
{
	AUTO(db_batch_freep) struct db_batch *b = db_batch_new();
	AUTO_JSON json_t *all = json_array();
	uint64_t now_ms = clock_real_ms();
	AUTO_FREE char *text = NULL;
	struct fleet *fleet;
	char prefix[512];
	struct fail fail;
	json_t *one;
	struct ca *ca;
	size_t i;
	struct ca_written *written = calloc(opts.count, sizeof(*written));

	snprintf(prefix, sizeof(prefix), "%s/agents-ca", opts.state_dir);
	if (ca_load(prefix, &ca, &fail) < 0 ||
	    fleet_open(opts.database, 0, 0, &fleet, &fail) < 0)
		die("%s", fail.message);
	for (i = 0; i < opts.count; i++)
		json_array_append_new(all, new_host(ca, now_ms / 1000, &written[i]));
	db_add_rows(b,
		    "INSERT INTO host(id, name, labels, enrolled_ms, change)"
		    " SELECT column1, column2, column3, column4, 1 FROM %v AS v",
		    "sssu");
	json_array_foreach(all, i, one) {
		char name[32], labels[64];

		snprintf(name, sizeof(name), "sim%05zu", i);
		snprintf(labels, sizeof(labels), "{\"tier\":\"%s\"}", i % 2 ? "web" : "db");
		db_row(b, json_string_value(json_object_get(one, "id")), name, labels, now_ms);
	}
	db_add_rows(
		b, "INSERT INTO seen(host, at_ms) SELECT column1, hotfix_now_ms() FROM %v AS v",
		"s");
	json_array_foreach(all, i, one)
		db_row(b, json_string_value(json_object_get(one, "id")));
	db_add_rows(b,
		    "INSERT INTO certificate(fingerprint, host, serial, issued_ms, expires_ms)"
		    " SELECT * FROM %v AS v",
		    "bssuu");
	json_array_foreach(all, i, one)
		db_row(b, (const void *)written[i].fingerprint, (size_t)32,
		       json_string_value(json_object_get(one, "id")), written[i].serial, now_ms,
		       written[i].not_after_s * 1000);
	if (db_run(fleet_db(fleet), b, &fail) < 0)
		die("%s", fail.message);
	text = json_dumps(all, JSON_COMPACT);
	if (io_write_file(opts.hosts, text, strlen(text), 0600) < 0)
		die("cannot write %s", opts.hosts);
	fleet_free(fleet);
	ca_free(ca);
	free(written);
	return 0;
}

/* ---- documents: verified once for each that comes from the same one before ---------------------- */

struct known {
	struct known *next;
	const void *before; /* the trust under which, or the catalogue after which it came */
	const struct trust *under;
	char *text;
	struct trust *trust;
	struct catalog *catalog;
};

static struct known *known;

static struct known *find_known(const void *before, const struct trust *under, const char *text)
{
	for (struct known *k = known; k; k = k->next)
		if (k->before == before && k->under == under && strcmp(k->text, text) == 0)
			return k;
	return NULL;
}

static struct known *add_known(const void *before, const struct trust *under, const char *text)
{
	struct known *k = calloc(1, sizeof(*k));

	k->before = before;
	k->under = under;
	k->text = strdup(text);
	k->next = known;
	known = k;
	return k;
}

static int take_root(struct host *h, const char *text, struct fail *reterr_fail)
{
	struct known *k = find_known(h->trust, NULL, text);
	struct trust *t = NULL;
	int r;

	if (!k) {
		r = h->trust ? trust_open_next(text, strlen(text), h->trust, &t, reterr_fail)
			     : trust_open(text, strlen(text), &t, reterr_fail);
		if (r < 0)
			return r == -EALREADY ? 0 : r;
		k = add_known(h->trust, NULL, text);
		k->trust = t;
	}
	h->trust = k->trust;
	return 0;
}

static int take_catalog(struct host *h, const char *text, struct fail *reterr_fail)
{
	struct known *k = find_known(h->catalog, h->trust, text);
	struct catalog *c = NULL;
	int r;

	if (!h->trust)
		return fail_set(reterr_fail, FAIL_NO_TRUST, "no root");
	if (!k) {
		r = catalog_open_next(text, strlen(text), h->trust, h->catalog, &c,
				      reterr_fail);
		if (r < 0)
			return r == -EALREADY ? 0 : r;
		k = add_known(h->catalog, h->trust, text);
		k->catalog = c;
	}
	h->catalog = k->catalog;
	return 0;
}

static int on_document(enum agent_document kind, const char *envelope, size_t len,
		       struct fail *reterr_fail, void *cookie)
{
	(void)len;
	switch (kind) {
	case AGENT_ROOT:
		return take_root(cookie, envelope, reterr_fail);
	case AGENT_CATALOG:
		return take_catalog(cookie, envelope, reterr_fail);
	case AGENT_REVOCATION:
		return 0;
	}
	return 0;
}

static void on_versions(struct agent_versions *ret_versions, void *cookie)
{
	const struct host *h = cookie;

	ret_versions->root = h->trust ? h->trust->version : 0;
	ret_versions->catalog = h->catalog ? h->catalog->version : 0;
}

/* ---- the script ----------------------------------------------------------------------------------- */

static const char *kernel_of(const struct host *h)
{
	return h->kernel ? h->kernel : kernels[h->n % n_kernels];
}

static const struct script *find_script(const char *what, const struct fix *f)
{
	for (size_t i = n_scripts; i-- > 0;)
		if (strcmp(scripts[i].what, what) == 0 && scripts[i].serial == f->to &&
		    strcmp(scripts[i].name, f->name) == 0)
			return &scripts[i];
	return NULL;
}

/* The same hosts each time. */
static bool is_chosen(const struct host *h, const struct script *s)
{
	return s && strtoul(h->id + 56, NULL, 16) % 100 < s->number;
}

/* ---- the engine --------------------------------------------------------------------------------------- */

static void arm(struct host *h)
{
	uint64_t next = UINT64_MAX, now = clock_up_ms();
	struct timeval tv;

	for (size_t i = 0; i < h->n_fixes; i++)
		if (h->fix[i].next_ms && h->fix[i].next_ms < next)
			next = h->fix[i].next_ms;
	event_del(h->timer);
	if (next == UINT64_MAX)
		return;
	next = next > now ? next - now : 0;
	tv = (struct timeval){.tv_sec = (time_t)(next / 1000),
			      .tv_usec = (suseconds_t)(next % 1000 * 1000)};
	event_add(h->timer, &tv);
}

static void enter(struct host *h, struct fix *f, enum state state, const char *code,
		  uint64_t then_ms)
{
	struct agent_status s;

	f->state = state;
	f->code = code;
	f->transient = false;
	f->next_ms = then_ms ? clock_up_ms() + then_ms : 0;
	if (!then_ms && h->agent) {
		agent_status(h->agent, &s);
		h->unacked_seq = s.seq;
		h->unacked = true;
		h->ended_ms = clock_up_ms();
	}
	if (h->agent)
		agent_changed(h->agent);
}

static void go_down(struct host *h)
{
	event_del(h->timer);
	for (size_t i = 0; i < h->n_fixes; i++)
		h->fix[i].next_ms = 0;
	h->unacked = false;
	h->agent = agent_free(h->agent);
}

static void step(struct host *h, struct fix *f)
{
	const struct script *s = find_script("slow", f);
	uint64_t ms = s ? s->number : STEP_MS;

	f->next_ms = 0;
	if (f->state == STAGED) {
		enter(h, f, PREFLIGHT, "", ms);
	} else if (f->state == PREFLIGHT) {
		s = find_script("load_failed", f);
		if (s && strcmp(s->kernel, kernel_of(h)) == 0)
			enter(h, f, LOAD_FAILED, "LOAD", 0);
		else
			enter(h, f, APPLYING, "", ms);
	} else if (f->state == APPLYING) {
		if (is_chosen(h, find_script("lost", f))) {
			go_down(h);
			return;
		}
		f->trial = f->to;
		s = find_script("unhealthy", f);
		enter(h, f, TRIAL, "", is_chosen(h, s) ? f->trial_ms / 2 + 1 : f->trial_ms);
	} else if (f->state == TRIAL) {
		f->trial = 0;
		if (is_chosen(h, find_script("unhealthy", f))) {
			f->quarantined = f->to;
			enter(h, f, UNHEALTHY, "HEALTH:probe", 0);
			return;
		}
		f->before = f->committed;
		f->committed = f->high_water = f->to;
		enter(h, f, COMMITTED, "", 0);
	} else if (f->state == ROLLING_BACK) {
		f->committed = f->to;
		enter(h, f, ROLLED_BACK, "DIRECTIVE", 0);
	}
}

static void on_step(evutil_socket_t fd, short what, void *cookie)
{
	uint64_t now = clock_up_ms();
	struct host *h = cookie;

	(void)fd, (void)what;
	for (size_t i = 0; i < h->n_fixes && h->agent; i++)
		if (h->fix[i].next_ms && h->fix[i].next_ms <= now)
			step(h, &h->fix[i]);
	if (h->agent)
		arm(h);
}

static bool has_bundle(const struct host *h, const uint8_t sha256[32])
{
	for (size_t i = 0; i < h->n_bundles; i++)
		if (memcmp(h->bundles[i], sha256, 32) == 0)
			return true;
	return false;
}

static bool on_has_bundle(const uint8_t sha256[32], void *cookie)
{
	return has_bundle(cookie, sha256);
}

static void on_bundle(const struct agent_word *word, const uint8_t *bytes, size_t len,
		      const struct fail *why_not, void *cookie)
{
	struct host *h = cookie;

	(void)len, (void)why_not;
	if (!bytes) {
		stats.bundle_failures++;
		return;
	}
	stats.bundles++;
	if (h->n_bundles == BUNDLES_MAX)
		die("%.8s has more bundles than it has room for", h->id);
	memcpy(h->bundles[h->n_bundles++], word->bundle_sha256, 32);
	for (size_t i = 0; i < h->n_fixes; i++)
		if (h->fix[i].state == PENDING && h->fix[i].to &&
		    memcmp(h->fix[i].bundle, word->bundle_sha256, 32) == 0)
			enter(h, &h->fix[i], STAGED, "", STEP_MS);
	arm(h);
}

static void reject(struct host *h, struct fix *f, const char *code, const char *why)
{
	stats.refused++;
	fprintf(stderr, "simulate: %.8s: %s: %s\n", h->id, f->name, why);
	f->to = 0;
	enter(h, f, REJECTED, code, 0);
}

/* As hotfixd: for this host, from what is committed here, signed by the director of the root. */
static bool is_covered(struct host *h, struct fix *f, const struct agent_word *w)
{
	struct directive d;
	struct fail fail = {.message = "no directive, or no root"};

	stats.directives++;
	if (!w->directive || !h->trust ||
	    directive_open(w->directive, strlen(w->directive), h->trust, &d, &fail) < 0) {
		reject(h, f, "SIGNATURE", fail.message);
		return false;
	}
	if (strcmp(d.host, h->id) != 0 || strcmp(d.name, w->name) != 0 || d.from != w->from ||
	    d.to != w->to || (d.action == DIRECTIVE_APPLY) != (w->action == AGENT_APPLY)) {
		reject(h, f, "POLICY", "the directive says something else");
		return false;
	}
	if (d.expires_ms < clock_real_ms()) {
		reject(h, f, "EXPIRED", "too late");
		f->transient = true;
		return false;
	}
	return true;
}

static void begin_apply(struct host *h, struct fix *f, const struct agent_word *w)
{
	if (!is_covered(h, f, w))
		return;
	if (w->to == f->committed) { /* as in hotfixd: it is there already */
		f->serial = w->to;
		enter(h, f, COMMITTED, "", 0);
		return;
	}
	if (w->from != f->committed) {
		reject(h, f, "FROM", "another version is committed here");
		return;
	}
	if (f->quarantined == w->to && !w->retry) {
		reject(h, f, "QUARANTINED", "it did harm here");
		return;
	}
	if (!h->catalog || !catalog_find(h->catalog, w->name, w->to)) {
		reject(h, f, "CATALOG", "the catalogue does not name it");
		f->transient = true;
		return;
	}
	f->to = f->serial = w->to;
	f->trial_ms = w->trial_ms ? w->trial_ms : 1000;
	memcpy(f->bundle, w->bundle_sha256, 32);
	if (has_bundle(h, f->bundle))
		enter(h, f, STAGED, "", STEP_MS);
	else
		enter(h, f, PENDING, "", 0);
	h->unacked = false;
}

static void hear(struct host *h, struct fix *f, const struct agent_word *w)
{
	stats.words++;
	h->heard_ms = clock_up_ms();
	if (!stats.first_word_ms)
		stats.first_word_ms = clock_real_ms();
	snprintf(f->rollout, sizeof(f->rollout), "%s", w->rollout);
	f->word = w->generation;
	switch (w->action) {
	case AGENT_APPLY:
		begin_apply(h, f, w);
		break;
	case AGENT_WITHDRAW:
		if (f->state == PENDING || f->state == STAGED || f->state == PREFLIGHT) {
			f->to = 0;
			enter(h, f, PENDING, "", 0);
		}
		agent_changed(h->agent);
		break;
	case AGENT_END_TRIAL:
		if (f->state == TRIAL || f->state == APPLYING) {
			f->trial = 0;
			enter(h, f, ROLLED_BACK, "DIRECTIVE", 0);
		}
		agent_changed(h->agent);
		break;
	case AGENT_ROLLBACK:
		if (!is_covered(h, f, w))
			break;
		if (f->state == TRIAL)
			f->trial = 0;
		if (w->from != f->committed && f->committed != w->to) {
			reject(h, f, "FROM", "another version is committed here");
			break;
		}
		f->to = w->to;
		enter(h, f, ROLLING_BACK, "", STEP_MS);
		break;
	}
	arm(h);
}

static void write_down(const struct host *h, struct fix *f, const struct agent_word *w)
{
	char line[1024], directive[BYTES_SHA256_HEX] = "";
	uint8_t digest[BYTES_SHA256];
	int len;

	if (!journal)
		return;
	if (w->directive) {
		bytes_sha256(w->directive, strlen(w->directive), digest);
		bytes_to_hex(digest, sizeof(digest), directive);
	}
	len = snprintf(line, sizeof(line),
		       "{\"host\":\"%s\",\"name\":\"%s\",\"rollout\":\"%s\",\"word\":%" PRIu64
		       ",\"action\":\"%s\",\"from\":%" PRIu64 ",\"to\":%" PRIu64
		       ",\"directive\":\"%s\"}\n",
		       h->id, w->name, w->rollout, w->generation, agent_action_name(w->action),
		       w->from, w->to, directive);
	bytes_sha256(line, (size_t)len, digest);
	if (memcmp(digest, f->heard, sizeof(digest)) == 0)
		return;
	memcpy(f->heard, digest, sizeof(digest));
	fputs(line, journal);
	fflush(journal);
}

static void on_words(const struct agent_word *words, size_t n, void *cookie)
{
	struct host *h = cookie;

	stats.answers++;
	for (size_t i = 0; i < n && h->agent; i++) {
		const struct agent_word *w = &words[i];
		struct fix *f = NULL;

		for (size_t k = 0; k < h->n_fixes && !f; k++)
			if (strcmp(h->fix[k].name, w->name) == 0)
				f = &h->fix[k];
		if (!f && h->n_fixes < FIXES_MAX) {
			f = &h->fix[h->n_fixes++];
			snprintf(f->name, sizeof(f->name), "%s", w->name);
			f->code = "";
		}
		if (f)
			write_down(h, f, w);
		if (f && (strcmp(f->rollout, w->rollout) != 0 || w->generation > f->word))
			hear(h, f, w);
	}
}

static json_t *on_report(void *cookie)
{
	static const char *const zones[] = {"zone-a", "zone-b", "zone-c"};
	struct host *h = cookie;
	json_t *fixes = json_object();

	stats.reports++;
	for (size_t i = 0; i < h->n_fixes; i++) {
		const struct fix *f = &h->fix[i];
		json_t *quarantined = json_array();

		if (f->quarantined)
			json_array_append_new(quarantined,
					      json_integer((json_int_t)f->quarantined));
		json_object_set_new(
			fixes, f->name,
			json_pack(
				"{s:I, s:I, s:I, s:I, s:o, s:s, s:I, s:I, s:s, s:s, s:s, s:b, "
				"s:{s:[f,f]}}",
				"committed", (json_int_t)f->committed, "trial",
				(json_int_t)f->trial, "live",
				(json_int_t)(f->trial ? f->trial : f->committed), "high_water",
				(json_int_t)f->high_water, "quarantined", quarantined,
				"rollout", f->rollout, "word", (json_int_t)f->word, "serial",
				(json_int_t)f->serial, "state", state_names[f->state], "code",
				f->code, "text", "", "transient", f->transient, "metrics",
				"errors", 0.0, 1000.0));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:{}, s:s, s:o, s:{s:i, s:i}}", "boot_id",
			 h->boot_id, "kernel", kernel_of(h), "arch", "x86_64", "zone",
			 zones[h->n % 3], "labels", "hotfixd", "simulated", "hotfixes", fixes,
			 "health", "oops", 0, "warn", 0);
}

static uint64_t on_ends(void *cookie)
{
	const struct host *h = cookie;
	uint64_t now = clock_up_ms(), ends = UINT64_MAX;

	for (size_t i = 0; i < h->n_fixes; i++) {
		uint64_t next = h->fix[i].next_ms;

		if (next && next < now)
			next = now;
		if (next && next - now < ends)
			ends = next - now;
	}
	return ends;
}

static int on_keep(const struct agent_kept *kept, void *cookie)
{
	(void)kept, (void)cookie;
	return 0;
}

static const struct agent_engine engine = {.report = on_report,
					   .words = on_words,
					   .versions = on_versions,
					   .document = on_document,
					   .has_bundle = on_has_bundle,
					   .bundle = on_bundle,
					   .ends_ms = on_ends,
					   .keep = on_keep};

/* ---- trouble on the way -------------------------------------------------------------------------- */

enum trouble { LATE, LOST, MUTE, TWICE, STALE, TROUBLES };
static const char *const trouble_names[] = {[LATE] = "late",
					    [LOST] = "lost",
					    [MUTE] = "mute",
					    [TWICE] = "twice",
					    [STALE] = "stale"};
static struct {
	unsigned int percent;
	uint64_t ms, met;
} troubles[TROUBLES];

/* A request of an agent that met trouble, or the copy of one, for which nobody waits. */
struct parcel {
	TAILQ_ENTRY(parcel) link;
	struct agent_net *net;
	struct agent_request rq;
	uint64_t range_at;
	struct event *timer;
	struct agent_call *call;
	agent_done_fn done; /* NULL: a copy */
	void *cookie;
	bool lost, mute;
};
static TAILQ_HEAD(, parcel) parcels = TAILQ_HEAD_INITIALIZER(parcels);

/* tests/fleet/simulate is linked with --wrap: the agent's requests come here. */
int __real_agent_call_start(struct agent_net *net, const struct agent_request *rq,
			    agent_done_fn done, void *cookie, struct agent_call **ret_call);
int __wrap_agent_call_start(struct agent_net *net, const struct agent_request *rq,
			    agent_done_fn done, void *cookie, struct agent_call **ret_call);
void __real_agent_call_cancel(struct agent_call *call);
void __wrap_agent_call_cancel(struct agent_call *call);

static void parcel_free(struct parcel *p)
{
	TAILQ_REMOVE(&parcels, p, link);
	if (p->timer)
		event_free(p->timer);
	__real_agent_call_cancel(p->call);
	free((char *)(uintptr_t)p->rq.url);
	free((char *)(uintptr_t)p->rq.path);
	free((char *)(uintptr_t)p->rq.body);
	free((char *)(uintptr_t)p->rq.certificate);
	free((char *)(uintptr_t)p->rq.key);
	free((char *)(uintptr_t)p->rq.ca);
	free(p);
}

static void parcel_end(struct parcel *p, const struct agent_answer *answer)
{
	static const struct agent_answer none = {
		.body = (const uint8_t *)"",
		.fail = {.code = FAIL_UNREACHABLE, .message = "trouble on the way"}};
	agent_done_fn done = p->done;
	void *cookie = p->cookie;

	answer = p->lost || p->mute ? &none : answer;
	parcel_free(p);
	if (done)
		done(answer, cookie);
}

static void on_parcel_answer(const struct agent_answer *answer, void *cookie)
{
	struct parcel *p = cookie;

	p->call = NULL;
	parcel_end(p, answer);
}

static void on_parcel(evutil_socket_t fd, short what, void *cookie)
{
	struct parcel *p = cookie;

	(void)fd, (void)what;
	if (p->lost)
		parcel_end(p, NULL);
	else if (__real_agent_call_start(p->net, &p->rq, on_parcel_answer, p, &p->call) < 0)
		die("out of memory");
}

static char *copy_of(const char *text)
{
	return text ? strdup(text) : NULL;
}

static struct parcel *parcel_new(struct agent_net *net, const struct agent_request *rq,
				 uint64_t after_ms)
{
	struct timeval tv = {.tv_sec = (time_t)(after_ms / 1000),
			     .tv_usec = (suseconds_t)(after_ms % 1000 * 1000)};
	struct parcel *p = calloc(1, sizeof(*p));

	p->net = net;
	p->rq = *rq;
	p->rq.url = copy_of(rq->url);
	p->rq.path = copy_of(rq->path);
	p->rq.body = copy_of(rq->body);
	p->rq.certificate = copy_of(rq->certificate);
	p->rq.key = copy_of(rq->key);
	p->rq.ca = copy_of(rq->ca);
	if (rq->range_at) {
		p->range_at = *rq->range_at;
		p->rq.range_at = &p->range_at;
	}
	p->timer = evtimer_new(base, on_parcel, p);
	event_add(p->timer, &tv);
	TAILQ_INSERT_TAIL(&parcels, p, link);
	return p;
}

static bool meets(enum trouble t)
{
	bool does = troubles[t].percent && (unsigned int)rand() % 100 < troubles[t].percent;

	troubles[t].met += does;
	return does;
}

static uint64_t some_ms(enum trouble t)
{
	return (uint64_t)rand() % (troubles[t].ms + 1);
}

int __wrap_agent_call_start(struct agent_net *net, const struct agent_request *rq,
			    agent_done_fn done, void *cookie, struct agent_call **ret_call)
{
	bool late = meets(LATE), lost = meets(LOST), mute = meets(MUTE);
	struct agent_request alone = *rq;
	struct parcel *p;

	alone.once = true; /* it has a connection of its own */
	if (meets(TWICE))
		parcel_new(net, &alone, 0);
	if (meets(STALE))
		parcel_new(net, &alone, some_ms(STALE));
	if (!late && !lost && !mute)
		return __real_agent_call_start(net, rq, done, cookie, ret_call);
	p = parcel_new(net, &alone, lost ? troubles[LOST].ms : late ? some_ms(LATE) : 0);
	p->done = done;
	p->cookie = cookie;
	p->lost = lost;
	p->mute = mute;
	*ret_call = (struct agent_call *)p;
	return 0;
}

void __wrap_agent_call_cancel(struct agent_call *call)
{
	struct parcel *p;

	TAILQ_FOREACH(p, &parcels, link)
		if ((struct agent_call *)p == call) {
			parcel_free(p);
			return;
		}
	__real_agent_call_cancel(call);
}

static json_t *troubles_json(void)
{
	json_t *doc = json_object();

	for (size_t i = 0; i < TROUBLES; i++)
		json_object_set_new(doc, trouble_names[i],
				    json_integer((json_int_t)troubles[i].met));
	return doc;
}

/* ---- starting, watching ------------------------------------------------------------------------------ */

static void start_host(struct host *h)
{
	struct agent_opts o = {
		.controllers = opts.controllers,
		.key = h->key,
		.name = h->id,
		.kept = {.certificate = h->certificate, .ca = ca_text, .url = "", .seq = 0},
		.backoff_max_ms = opts.backoff_max_ms,
		.engine = &engine,
		.cookie = h};
	struct fail fail;

	h->timer = evtimer_new(base, on_step, h);
	if (!h->timer || agent_new(nets[h->n / NET_AGENTS], &o, &h->agent, &fail) < 0)
		die("%s", fail.message);
}

static void on_more(evutil_socket_t fd, short what, void *cookie)
{
	size_t n = opts.per_s / 20 + 1;

	(void)fd, (void)what, (void)cookie;
	while (n-- && n_started < n_hosts)
		start_host(&hosts[n_started++]);
	if (n_started == n_hosts)
		event_del(more);
}

/* When was the last thing that came to an end acknowledged? */
static void on_watch(evutil_socket_t fd, short what, void *cookie)
{
	struct agent_status s;

	(void)fd, (void)what, (void)cookie;
	for (size_t i = 0; i < n_started; i++) {
		struct host *h = &hosts[i];

		if (!h->unacked || !h->agent)
			continue;
		agent_status(h->agent, &s);
		if (s.seq <= h->unacked_seq)
			continue;
		h->unacked = false;
		stats.last_ack_ms = clock_real_ms();
		stats.acks++;
		stats.word_to_end_ms += h->ended_ms - h->heard_ms;
		stats.end_to_ack_ms += clock_up_ms() - h->ended_ms;
	}
}

static void add_one(json_t *doc, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(doc, key));

	json_object_set_new(doc, key, json_integer(n + 1));
}

static json_t *stats_json(void)
{
	json_t *agents = json_object(), *states = json_object(), *committed = json_object();
	size_t down = 0, unacked = 0, answered = 0, since = 0;
	const char *why = "";
	char key[128];

	for (size_t i = 0; i < n_started; i++) {
		struct host *h = &hosts[i];
		static char words[FAIL_MESSAGE_BYTES];
		struct agent_status s;

		if (!h->agent) {
			down++;
			continue;
		}
		agent_status(h->agent, &s);
		add_one(agents, agent_state_name(s.state));
		answered += s.seq > 0;
		since += s.seq > h->marked_seq;
		if (s.state == AGENT_WAITING) {
			snprintf(words, sizeof(words), "%s", s.why->message);
			why = words;
		}
		unacked += h->unacked;
		for (size_t k = 0; k < h->n_fixes; k++) {
			struct fix *f = &h->fix[k];

			snprintf(key, sizeof(key), "%s %s", f->name, state_names[f->state]);
			add_one(states, key);
			snprintf(key, sizeof(key), "%s@%" PRIu64, f->name, f->committed);
			add_one(committed, key);
		}
	}
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"hosts", (json_int_t)n_hosts, "answers", (json_int_t)stats.answers, "started",
		(json_int_t)n_started, "down", (json_int_t)down, "unacked", (json_int_t)unacked,
		"reported", (json_int_t)answered, "reported_since", (json_int_t)since, "agents",
		agents, "why", why, "states", states, "committed", committed, "words",
		(json_int_t)stats.words, "directives", (json_int_t)stats.directives, "refused",
		(json_int_t)stats.refused, "bundles", (json_int_t)stats.bundles,
		"bundle_failures", (json_int_t)stats.bundle_failures, "reports",
		(json_int_t)stats.reports, "first_word_ms", (json_int_t)stats.first_word_ms,
		"last_ack_ms", (json_int_t)stats.last_ack_ms, "acks", (json_int_t)stats.acks,
		"word_to_end_ms", (json_int_t)stats.word_to_end_ms, "end_to_ack_ms",
		(json_int_t)stats.end_to_ack_ms, "troubles", troubles_json());
}

/* A text for each: "ID STATE of its agent, URL, what of NAME it was told and where it is with that". */
static json_t *hosts_json(const char *name)
{
	json_t *all = json_array();
	struct agent_status s;

	for (size_t i = 0; i < n_started; i++) {
		struct host *h = &hosts[i];
		const struct fix *f = NULL;

		for (size_t k = 0; k < h->n_fixes; k++)
			if (strcmp(h->fix[k].name, name) == 0)
				f = &h->fix[k];
		if (!h->agent) {
			json_array_append_new(all, json_sprintf("%.8s down", h->id));
			continue;
		}
		agent_status(h->agent, &s);
		json_array_append_new(
			all,
			json_sprintf("%.8s %s %s heard=%" PRIu64 "ms-ago generation=%" PRIu64
				     " seq=%" PRIu64 " word=%" PRIu64 " %s committed=%" PRIu64
				     " failed=%u %s",
				     h->id, agent_state_name(s.state), s.url,
				     s.since_ms ? clock_real_ms() - s.since_ms : 0,
				     s.generation, s.seq, f ? f->word : 0,
				     f ? state_names[f->state] : "-", f ? f->committed : 0,
				     s.failed, s.why->message));
	}
	return all;
}

/* ---- commands ------------------------------------------------------------------------------------------- */

static void answer(json_t *doc)
{
	json_dumpf(doc, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(doc);
}

static const struct timeval twenty = {.tv_usec = 50000};

static bool join(const char *line)
{
	size_t n;
	char kernel[64];

	if (sscanf(line, "join %zu %63s", &n, kernel) != 2 || n > n_known - n_hosts)
		return false;
	while (n--)
		hosts[n_hosts++].kernel = strdup(kernel);
	event_add(more, &twenty);
	return true;
}

static bool trouble(const char *line)
{
	char kind[16];
	unsigned int percent;
	uint64_t ms;

	if (sscanf(line, "trouble %15s %u %" SCNu64, kind, &percent, &ms) != 3)
		return false;
	for (size_t i = 0; i < TROUBLES; i++)
		if (strcmp(kind, trouble_names[i]) == 0) {
			troubles[i].percent = percent;
			troubles[i].ms = ms;
			return true;
		}
	return false;
}

static void obey(char *line)
{
	struct script s = {.serial = 0};
	char last[64] = "";

	if (strcmp(line, "quit") == 0) {
		event_base_loopbreak(base);
		return;
	}
	if (strcmp(line, "stats") == 0) {
		answer(stats_json());
		return;
	}
	if (sscanf(line, "hosts %63s", last) == 1) {
		answer(hosts_json(last));
		return;
	}
	if (strcmp(line, "mark") == 0) {
		stats.first_word_ms = stats.last_ack_ms = 0;
		stats.acks = stats.word_to_end_ms = stats.end_to_ack_ms = 0;
		for (size_t i = 0; i < n_started; i++)
			if (hosts[i].agent) {
				struct agent_status status;

				agent_status(hosts[i].agent, &status);
				hosts[i].marked_seq = status.seq;
			}
		answer(json_pack("{s:I}", "now_ms", (json_int_t)clock_real_ms()));
		return;
	}
	if (join(line) || trouble(line)) {
		answer(json_object());
		return;
	}
	if (n_scripts == SCRIPTS_MAX ||
	    sscanf(line, "%15s %63s %" SCNu64 " %63s", s.what, s.name, &s.serial, last) != 4) {
		answer(json_pack("{s:s}", "error", line));
		return;
	}
	snprintf(s.kernel, sizeof(s.kernel), "%s", last);
	s.number = strtoull(last, NULL, 10);
	scripts[n_scripts++] = s;
	answer(json_object());
}

static void on_command(evutil_socket_t fd, short what, void *cookie)
{
	static char buf[4096];
	static size_t len;
	ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);
	char *end;

	(void)what, (void)cookie;
	if (n <= 0) {
		event_base_loopbreak(base);
		return;
	}
	len += (size_t)n;
	buf[len] = 0;
	while ((end = strchr(buf, '\n'))) {
		*end = 0;
		obey(buf);
		len -= (size_t)(end + 1 - buf);
		memmove(buf, end + 1, len + 1);
	}
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static char *read_text(const char *path)
{
	uint8_t *buf;
	size_t len;
	int r = io_read_file(path, 1U << 30, &buf, &len);

	if (r < 0)
		die("cannot read %s: %s", path, strerror(-r));
	return (char *)buf;
}

static void load_hosts(void)
{
	AUTO_FREE char *text = read_text(opts.hosts),
		       *root = opts.root ? read_text(opts.root) : NULL;
	AUTO_JSON json_t *all = json_loads(text, 0, NULL);
	struct fail fail;
	json_t *one;
	size_t i;

	n_known = json_array_size(all);
	n_hosts = n_known < opts.count ? n_known : opts.count;
	hosts = calloc(n_known + 1, sizeof(*hosts));
	if (!all || !hosts)
		die("no hosts in %s", opts.hosts);
	json_array_foreach(all, i, one) {
		struct host *h = &hosts[i];

		h->n = i;
		snprintf(h->id, sizeof(h->id), "%s",
			 json_string_value(json_object_get(one, "id")));
		snprintf(h->boot_id, sizeof(h->boot_id), "boot-%zu", i);
		h->key = strdup(json_string_value(json_object_get(one, "key")));
		h->certificate = strdup(json_string_value(json_object_get(one, "certificate")));
		if (root && take_root(h, root, &fail) < 0)
			die("%s", fail.message);
	}
}

static int run(void)
{
	struct event *watch, *command;
	AUTO_FREE char *list = strdup(opts.kernels);
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < 65536)
		files.rlim_max = 65536; /* root may */
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	ca_text = read_text(opts.ca_file);
	for (char *k = strtok(list, " "); k && n_kernels < ARRAY_SIZE(kernels);
	     k = strtok(NULL, " "))
		kernels[n_kernels++] = strdup(k);
	load_hosts();
	if (opts.journal && !(journal = fopen(opts.journal, "a")))
		die("cannot write %s", opts.journal);
	base = event_base_new();
	nets = calloc(n_known / NET_AGENTS + 1, sizeof(struct agent_net *));
	if (!base || !nets)
		die("out of memory");
	for (size_t i = 0; i <= n_known / NET_AGENTS; i++)
		if (agent_net_new(base, 2 * NET_AGENTS, &nets[i], NULL) < 0)
			die("out of memory");
	more = event_new(base, -1, EV_PERSIST, on_more, NULL);
	watch = event_new(base, -1, EV_PERSIST, on_watch, NULL);
	command = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_command, NULL);
	event_add(more, &twenty);
	event_add(watch, &twenty);
	event_add(command, NULL);
	event_base_dispatch(base);
	answer(stats_json());
	return 0; /* connections end with the process */
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name, **text;
		size_t *number;
	} flags[] = {
		{"--controllers", &opts.controllers, NULL},
		{"--ca", &opts.ca_file, NULL},
		{"--hosts", &opts.hosts, NULL},
		{"--root", &opts.root, NULL},
		{"--kernels", &opts.kernels, NULL},
		{"--state-dir", &opts.state_dir, NULL},
		{"--database", &opts.database, NULL},
		{"--count", NULL, &opts.count},
		{"--per-s", NULL, &opts.per_s},
		{"--journal", &opts.journal, NULL},
		{"--backoff-max", NULL, &opts.backoff_max_ms},
	};
	size_t i;

	for (int at = 2; at + 1 < argc; at += 2) {
		for (i = 0; i < ARRAY_SIZE(flags) && strcmp(flags[i].name, argv[at]) != 0; i++)
			;
		if (i == ARRAY_SIZE(flags))
			die("%s?", argv[at]);
		if (flags[i].text)
			*flags[i].text = argv[at + 1];
		else
			*flags[i].number = strtoul(argv[at + 1], NULL, 10);
	}
	if (argc > 2 && strcmp(argv[1], "prepare") == 0 && opts.state_dir && opts.database &&
	    opts.hosts && opts.count < SIZE_MAX)
		return prepare();
	if (argc > 2 && strcmp(argv[1], "run") == 0 && opts.controllers && opts.ca_file &&
	    opts.hosts)
		return run();
	die("usage: simulate prepare | run; see the head of simulate.c");
}
