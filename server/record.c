// SPDX-License-Identifier: BSD-2-Clause
#include "server/record.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/authority.h"
#include "store/checkpoint.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define HOUR_S	       3600
#define ROWS_AT_ONCE   100
#define KEY_PATH_BYTES 512

struct record {
	struct store *store;
	struct events *events;
	struct key *host;
	char host_id[KEY_ID_BYTES];
	struct event *hourly;
	bool journal;
	uint64_t mirrored; /* rows up to this one */
	bool stale;	   /* told already */
};

/* ---- the host key ---------------------------------------------------------------- */

/* Under another name first: a key file is there whole, or not at all. */
static int make_key(const char *state_dir, const char *path, struct fail *reterr_fail)
{
	char prefix[KEY_PATH_BYTES], sec[KEY_PATH_BYTES + 8], pub[KEY_PATH_BYTES + 8];
	struct key_public p;
	int r;

	snprintf(prefix, sizeof(prefix), "%s/host-new", state_dir);
	snprintf(sec, sizeof(sec), "%s.sec", prefix);
	snprintf(pub, sizeof(pub), "%s.pub", prefix);
	unlink(sec);
	unlink(pub);
	r = key_new(prefix, NULL, &p, reterr_fail);
	if (r < 0)
		return r;
	unlink(pub);
	if (rename(sec, path) < 0) {
		r = -errno;
		fail_set(reterr_fail, FAIL_STORAGE, "%s: %s", path, strerror(-r));
		return r;
	}
	return 0;
}

static void note_key(struct record *r)
{
	AUTO_JSON json_t *detail = NULL;
	char public[64];

	detail = json_pack("{s:s}", "public", key_public_format(key_public(r->host), public));
	if (store_audit(r->store, clock_real_ms(), 0, "host key", r->host_id, "made", detail) <
	    0)
		log_event(LOG_ERR, "not recorded host_key=%s", r->host_id);
}

/* true: it was made just now. */
static bool take_key(struct record *r, const char *state_dir)
{
	char path[KEY_PATH_BYTES];
	bool make;
	struct fail f;
	int e = 0;

	snprintf(path, sizeof(path), "%s/host.key", state_dir);
	make = access(path, F_OK) < 0 && errno == ENOENT;
	if (make)
		e = make_key(state_dir, path, &f);
	if (e == 0)
		e = key_load(path, NULL, NULL, &r->host, &f);
	if (e < 0) {
		log_event(LOG_ERR, "the audit log is not signed: %s%s%s", f.message,
			  f.hint[0] ? "; " : "", f.hint);
		return false;
	}
	key_id(key_public(r->host), r->host_id);
	return make;
}

/* ---- the journal ------------------------------------------------------------------ */

static const char *text(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s ? s : "";
}

static void send_row(const json_t *row)
{
	const json_t *detail = json_object_get(row, "detail");
	AUTO_FREE char *more =
		detail ? json_dumps(detail, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	bool good = strcmp(text(row, "result"), "done") == 0 ||
		    strcmp(text(row, "result"), "begun") == 0;

	sd_journal_send(
		"MESSAGE=audit: %s %s: %s", text(row, "action"), text(row, "subject"),
		text(row, "result"), "PRIORITY=%d", good ? LOG_NOTICE : LOG_WARNING,
		"SYSLOG_IDENTIFIER=hotfixd", "HOTFIXD_SEQ=%" JSON_INTEGER_FORMAT,
		json_integer_value(json_object_get(row, "seq")), "HOTFIXD_ACTION=%s",
		text(row, "action"), "HOTFIXD_SUBJECT=%s", text(row, "subject"),
		"HOTFIXD_RESULT=%s", text(row, "result"), "HOTFIXD_UID=%" JSON_INTEGER_FORMAT,
		json_integer_value(json_object_get(row, "actor_uid")), "HOTFIXD_HASH=%s",
		text(row, "hash"), "HOTFIXD_DETAIL=%s", more ? more : "", NULL);
}

static void mirror(struct record *r)
{
	size_t n, i;

	do {
		AUTO_JSON json_t *rows = NULL;
		const json_t *row;

		if (store_audit_list(r->store, r->mirrored, ROWS_AT_ONCE, &rows) < 0) {
			log_event(LOG_ERR, "the audit log is not mirrored");
			return;
		}
		n = json_array_size(rows);
		json_array_foreach(rows, i, row) {
			send_row(row);
			r->mirrored = (uint64_t)json_integer_value(json_object_get(row, "seq"));
		}
	} while (n == ROWS_AT_ONCE);
}

/* ---- checkpoints ------------------------------------------------------------------- */

static void sign(struct record *r, uint64_t min_rows)
{
	if (r->host && store_checkpoint(r->store, r->host, min_rows, clock_real_ms()) < 0)
		log_event(LOG_ERR, "no checkpoint of the audit log could be written");
}

static void on_audit(void *cookie)
{
	struct record *r = cookie;

	sign(r, RECORD_CHECKPOINT_ROWS);
	if (r->journal)
		mirror(r);
}

char *record_head(struct record *r)
{
	struct checkpoint c = {.at_ms = clock_real_ms()};
	char *out = NULL;

	if (!r || !r->host || store_audit_head(r->store, &c.seq, c.head) < 0 ||
	    checkpoint_sign(&c, r->host, &out, NULL) < 0)
		return NULL;
	return out;
}

/* ---- by the hour ------------------------------------------------------------------- */

static void look_at_status(struct record *r)
{
	AUTO(authority_freep) struct authority *a = NULL;
	AUTO_JSON json_t *detail = NULL;
	char warning[256], subject[32];
	bool stale;

	if (authority_open(r->store, &a, NULL) < 0)
		return;
	stale = a->catalog && authority_now_ms(r->store, true) > a->catalog->expires_ms;
	if (stale && !r->stale) {
		authority_warning(r->store, warning, sizeof(warning));
		snprintf(subject, sizeof(subject), "status@%" PRIu64, a->catalog->version);
		detail = json_pack("{s:s}", "message", warning);
		log_event(LOG_ALERT, "stale: %s", warning);
		store_audit(r->store, clock_real_ms(), 0, "status", subject, "stale", detail);
		events_emit(r->events, json_pack("{s:s, s:s, s:s}", "kind", "alarm", "code",
						 "stale", "text", warning));
	}
	r->stale = stale;
}

static void on_hour(evutil_socket_t fd, short what, void *cookie)
{
	struct record *r = cookie;

	(void)fd;
	(void)what;
	authority_now_ms(r->store, true);
	look_at_status(r);
	sign(r, 1);
}

/* ---- life ---------------------------------------------------------------------------- */

int record_new(struct event_base *base, struct store *s, struct events *events,
	       const char *state_dir, struct record **ret_record)
{
	static const struct timeval every = {HOUR_S, 0};
	AUTO(record_freep) struct record *r = calloc(1, sizeof(*r));
	uint8_t hash[32];
	bool made;

	if (!r)
		return -ENOMEM;
	r->store = s;
	r->events = events;
	r->journal = access(JOURNAL_SOCKET, W_OK) == 0;
	store_audit_head(s, &r->mirrored, hash);
	r->hourly = event_new(base, -1, EV_PERSIST, on_hour, r);
	if (!r->hourly)
		return -ENOMEM;
	event_add(r->hourly, &every);
	made = take_key(r, state_dir);
	store_on_audit(s, on_audit, r);
	if (made)
		note_key(r);
	*ret_record = take_ptr(r);
	return 0;
}

void record_start(struct record *r)
{
	on_hour(-1, 0, r);
}

struct record *record_free(struct record *r)
{
	if (!r)
		return NULL;
	sign(r, 1);
	authority_now_ms(r->store, true);
	store_on_audit(r->store, NULL, NULL);
	if (r->hourly)
		event_free(r->hourly);
	key_free(r->host);
	free(r);
	return NULL;
}

const struct key *record_host(const struct record *r)
{
	return r ? r->host : NULL;
}

const char *record_host_id(const struct record *r)
{
	return r ? r->host_id : "";
}
