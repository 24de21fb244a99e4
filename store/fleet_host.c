// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/fleet_private.h"

/* ---- coming and going ---------------------------------------------------------- */

static void add_certificate(struct fleet_answer *a, const uint8_t *fingerprint,
			    const char *host, const char *serial, uint64_t issued_ms,
			    uint64_t expires_ms)
{
	db_add(a->batch,
	       "INSERT INTO certificate(fingerprint, host, serial, issued_ms, expires_ms)"
	       " VALUES ($1, $2, $3, $4, $5)",
	       "bssuu", FLEET_ANY_BYTES(fingerprint), host, serial, issued_ms, expires_ms);
}

int fleet_enrol(struct fleet *f, const struct fleet_enrolment *e,
		const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_count_up(a, "host");
	if (e->token_hash) {
		db_add(a->batch,
		       "UPDATE token SET used_ms = $2, used_by = $3 WHERE hash = $1"
		       " AND used_ms = 0 AND expires_ms > hotfix_now_ms()",
		       "bus", FLEET_ANY_BYTES(e->token_hash), entry->at_ms, e->id);
		db_demand(a->batch, 1);
	}
	/* Reports are numbered anew: it may be another installation with the same key. */
	db_add(a->batch,
	       "INSERT INTO host(id, name, labels, enrolled_ms, change) SELECT $1, $2,"
	       " coalesce((SELECT labels FROM token WHERE hash = $3), '{}'), $4,"
	       " " FLEET_HOST_CHANGE " WHERE true ON CONFLICT(id) DO UPDATE SET"
	       " name = excluded.name, labels = excluded.labels,"
	       " enrolled_ms = excluded.enrolled_ms, change = excluded.change, gone_ms = 0,"
	       " seq = 0, audit_seq = 0, audit_head = NULL",
	       "ssbu", e->id, e->name, FLEET_ANY_BYTES(e->token_hash), entry->at_ms);
	db_add(a->batch,
	       "INSERT INTO seen(host, at_ms) VALUES ($1, hotfix_now_ms())"
	       " ON CONFLICT(host) DO UPDATE SET at_ms = excluded.at_ms",
	       "s", e->id);
	add_certificate(a, e->fingerprint, e->id, e->certificate, entry->at_ms, e->expires_ms);
	db_wake(a->batch, FLEET_TOPIC_HOSTS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_set_host(struct fleet *f, const char *id, const char *labels, bool held,
		   const char *held_for, uint64_t max_serial, const struct fleet_entry *entry,
		   fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_count_up(a, "host");
	db_add(a->batch,
	       "UPDATE host SET labels = coalesce($2, labels), held = $3, max_serial = $4,"
	       " held_for = CASE WHEN $3 = 0 THEN '' ELSE coalesce($5, held_for) END,"
	       " held_by = CASE WHEN $3 = 0 THEN '' ELSE coalesce($6, held_by) END,"
	       " held_ms = CASE WHEN $3 = 0 THEN 0 WHEN $5 IS NULL THEN held_ms ELSE $7 END,"
	       " change = " FLEET_HOST_CHANGE " WHERE id = $1 AND gone_ms = 0",
	       "ssuussu", id, labels, (uint64_t)held, max_serial, held_for,
	       held_for ? entry->actor : NULL, entry->at_ms);
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	db_wake(a->batch, FLEET_TOPIC_HOSTS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_forget_host(struct fleet *f, const char *id, const struct fleet_entry *entry,
		      fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	fleet_count_up(a, "host");
	fleet_count_up(a, "desired");
	db_add(a->batch,
	       "UPDATE host SET gone_ms = $2, change = " FLEET_HOST_CHANGE
	       " WHERE id = $1 AND gone_ms = 0",
	       "su", id, entry->at_ms);
	db_demand(a->batch, 1);
	a->on_stale = -ENOENT;
	db_add(a->batch,
	       "UPDATE certificate SET revoked_ms = $2, reason = $3 WHERE host = $1"
	       " AND revoked_ms = 0",
	       "sus", id, entry->at_ms, "the host was forgotten");
	db_add(a->batch, "DELETE FROM word WHERE host = $1", "s", id);
	db_add(a->batch,
	       "UPDATE desired SET generation = generation + 1, change = " FLEET_DESIRED_CHANGE
	       " WHERE host = $1",
	       "s", id);
	db_wake(a->batch, FLEET_TOPIC_HOSTS);
	db_wake(a->batch, FLEET_TOPIC_WORDS);
	db_wake(a->batch, FLEET_TOPIC_ACCESS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

/* ---- reports --------------------------------------------------------------------- */

static int compare(const void *one, const void *other)
{
	const struct fleet_report *const *x = one, *const *y = other;
	int order = strcmp((*x)->host, (*y)->host);

	if (order == 0) /* a heartbeat first, then by number */
		order = ((*x)->hotfixes != NULL) - ((*y)->hotfixes != NULL);
	return order ? order : ((*x)->seq > (*y)->seq) - ((*x)->seq < (*y)->seq);
}

/* In the order of hosts, so that two controllers never wait for each other; the last of each. */
static const struct fleet_report **newest(const struct fleet_report *reports, size_t *n)
{
	const struct fleet_report **sorted = calloc(*n + 1, sizeof(struct fleet_report *));
	size_t kept = 0;

	for (size_t i = 0; sorted && i < *n; i++)
		sorted[i] = &reports[i];
	if (sorted)
		qsort(sorted, *n, sizeof(sorted[0]), compare);
	for (size_t i = 0; sorted && i < *n; i++)
		if (i + 1 == *n || strcmp(sorted[i]->host, sorted[i + 1]->host) != 0)
			sorted[kept++] = sorted[i];
	*n = kept;
	return sorted;
}

static const char *text(const char *s)
{
	return s ? s : "";
}

static void add_reports(struct fleet_answer *a, const struct fleet_report *const *reports,
			size_t n)
{
	db_add_rows(a->batch,
		    "UPDATE host SET seq = column2, boot_id = column3, kernel = column4,"
		    " arch = column5, zone = column6, facts = column7, hotfixes = column8,"
		    " health = column9, audit_seq = column10, audit_head = column11,"
		    " change = " FLEET_HOST_CHANGE " FROM %v AS v"
		    " WHERE host.id = column1 AND column2 > host.seq AND host.gone_ms = 0",
		    "susssssssub");
	for (size_t i = 0; i < n; i++) {
		const struct fleet_report *r = reports[i];

		if (r->hotfixes)
			db_row(a->batch, r->host, r->seq, text(r->boot_id), text(r->kernel),
			       text(r->arch), text(r->zone), text(r->facts), r->hotfixes,
			       text(r->health), r->audit_seq, FLEET_ANY_BYTES(r->audit_head));
	}
}

int fleet_reports(struct fleet *f, const struct fleet_report *reports, size_t n,
		  fleet_done_fn done, void *cookie)
{
	AUTO_FREE const struct fleet_report **sorted = newest(reports, &n);
	AUTO(fleet_answer_freep) struct fleet_answer *a = fleet_begin(f, done, cookie);
	bool news = false;

	if (!sorted || !a)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		news = news || sorted[i]->hotfixes;
	if (news) {
		fleet_count_up(a, "host");
		add_reports(a, sorted, n);
		db_wake(a->batch, FLEET_TOPIC_HOSTS);
	}
	db_add_rows(a->batch,
		    "UPDATE seen SET at_ms = hotfix_now_ms() FROM %v AS v WHERE host = column1",
		    "s");
	for (size_t i = 0; i < n; i++)
		db_row(a->batch, sorted[i]->host);
	a->rows = db_n_statements(a->batch) ? db_n_statements(a->batch) - 1 : 0;
	return fleet_submit(take_ptr(a));
}

/* ---- visits ------------------------------------------------------------------------ */

static int by_host(const void *one, const void *other)
{
	const struct fleet_visit *x = one, *y = other;

	return strcmp(x->host, y->host);
}

int fleet_visits(struct fleet *f, const struct fleet_visit *visits, size_t n,
		 fleet_done_fn done, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = fleet_begin(f, done, cookie);
	AUTO_FREE struct fleet_visit *sorted = calloc(n + 1, sizeof(*sorted));

	if (!a || !sorted)
		return -ENOMEM;
	memcpy(sorted, visits, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_host);
	db_add_rows(a->batch,
		    "SELECT column1,"
		    " (SELECT count(*) FROM host WHERE id = column1 AND gone_ms = 0),"
		    " (SELECT generation FROM desired WHERE host = column1),"
		    " (SELECT revoked_ms FROM certificate WHERE fingerprint = column2"
		    " AND host = column1),"
		    " (SELECT seq FROM host WHERE id = column1),"
		    " (SELECT audit_seq FROM host WHERE id = column1),"
		    " (SELECT audit_head FROM host WHERE id = column1)"
		    " FROM %v AS v ORDER BY column1",
		    "sb");
	for (size_t i = 0; i < n; i++)
		db_row(a->batch, sorted[i].host, FLEET_ANY_BYTES(sorted[i].fingerprint));
	db_add_rows(a->batch,
		    "SELECT host, name, rollout, body FROM word"
		    " WHERE host IN (SELECT column1 FROM %v AS v) ORDER BY host, name",
		    "s");
	for (size_t i = 0; i < n; i++)
		db_row(a->batch, sorted[i].host);
	return fleet_submit(take_ptr(a));
}

bool fleet_next_visitor(struct fleet_answer *a, struct fleet_visitor *ret_visitor)
{
	struct db_row row;

	if (!fleet_next(a, 0, 0, &row))
		return false;
	*ret_visitor = (struct fleet_visitor){
		.host = db_text(row, 0),
		.known = db_u64(row, 1) != 0,
		.generation = db_u64(row, 2),
		.certified = !db_is_null(row, 3),
		.revoked = db_u64(row, 3) != 0,
		.seq = db_u64(row, 4),
		.audit_seq = db_u64(row, 5),
		.audit_head = fleet_hash(row, 6),
	};
	return true;
}

/* ---- looking at them --------------------------------------------------------------- */

#define HOSTS                                                                                  \
	"SELECT id, name, labels, held, max_serial, CASE WHEN gone_ms > 0 THEN 1 ELSE 0 END,"  \
	" enrolled_ms, at_ms, (SELECT hotfix_now_ms()) - at_ms, change, seq, boot_id, kernel," \
	" arch, zone, facts, hotfixes, health, audit_seq, audit_head,"                         \
	" held_by, held_for, held_ms"                                                          \
	" FROM host JOIN seen ON seen.host = host.id"

int fleet_host(struct fleet *f, const char *id, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, -ENOENT, HOSTS " WHERE id = $1 AND gone_ms = 0", "s",
			 id);
}

int fleet_hosts(struct fleet *f, const char *after, uint32_t limit, fleet_done_fn done,
		void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 HOSTS " WHERE id > $1 AND gone_ms = 0 ORDER BY id LIMIT $2", "su",
			 after, (uint64_t)limit);
}

int fleet_hosts_changed(struct fleet *f, uint64_t change, const char *host, uint32_t limit,
			fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 HOSTS " WHERE (change, id) > ($1, $2) ORDER BY change, id LIMIT $3",
			 "usu", change, host, (uint64_t)limit);
}

int fleet_hosts_silent(struct fleet *f, uint64_t ms, uint32_t limit, fleet_done_fn done,
		       void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 HOSTS " WHERE gone_ms = 0 AND at_ms <= (SELECT hotfix_now_ms()) - $1"
			       " ORDER BY at_ms, id LIMIT $2",
			 "uu", ms, (uint64_t)limit);
}

int fleet_silent(struct fleet *f, uint64_t ms, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(
		f, done, cookie, 0,
		"SELECT id, '', '', 0, 0, 0, 0, at_ms, (SELECT hotfix_now_ms()) - at_ms"
		" FROM host JOIN seen ON seen.host = host.id"
		" WHERE gone_ms = 0 AND at_ms <= (SELECT hotfix_now_ms()) - $1 ORDER BY id",
		"u", ms);
}

int fleet_heard(struct fleet *f, fleet_done_fn done, void *cookie)
{
	return FLEET_ASK(f, done, cookie, 0,
			 "SELECT (SELECT hotfix_now_ms()) - MAX(at_ms) FROM seen", "");
}

uint64_t fleet_heard_ms(const struct fleet_answer *a)
{
	uint64_t ms = a->r < 0 ? 0 : db_u64(db_get(a->batch, 0, 0), 0);

	return ms > INT64_MAX ? 0 : ms; /* a clock that was set back */
}

bool fleet_next_host(struct fleet_answer *a, struct fleet_host *ret_host)
{
	struct db_row row;

	if (!fleet_next(a, 0, a->rows, &row))
		return false;
	*ret_host = (struct fleet_host){
		.id = db_text(row, 0),
		.name = db_text(row, 1),
		.labels = db_text(row, 2),
		.held = db_u64(row, 3) != 0,
		.max_serial = db_u64(row, 4),
		.gone = db_u64(row, 5) != 0,
		.enrolled_ms = db_u64(row, 6),
		.seen_ms = db_u64(row, 7),
		.silent_ms = (int64_t)db_u64(row, 8) < 0 ? 0 : db_u64(row, 8),
		.change = db_u64(row, 9),
		.seq = db_u64(row, 10),
		.boot_id = db_text(row, 11),
		.kernel = db_text(row, 12),
		.arch = db_text(row, 13),
		.zone = db_text(row, 14),
		.facts = db_text(row, 15),
		.hotfixes = db_text(row, 16),
		.health = db_text(row, 17),
		.audit_seq = db_u64(row, 18),
		.audit_head = fleet_hash(row, 19),
		.held_by = db_text(row, 20),
		.held_for = db_text(row, 21),
		.held_ms = db_u64(row, 22),
	};
	return true;
}

/* ---- certificates ------------------------------------------------------------------ */

int fleet_add_certificate(struct fleet *f, const struct fleet_certificate *c,
			  const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	add_certificate(a, c->fingerprint, c->host, c->serial, c->issued_ms, c->expires_ms);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

int fleet_revoke_certificate(struct fleet *f, const char *host, const uint8_t *fingerprint,
			     const struct fleet_entry *entry, fleet_done_fn done, void *cookie)
{
	struct fleet_answer *a = fleet_begin(f, done, cookie);

	if (!a)
		return -ENOMEM;
	db_add(a->batch,
	       "UPDATE certificate SET revoked_ms = $3, reason = $4 WHERE host = $1"
	       " AND ($2 IS NULL OR fingerprint = $2) AND revoked_ms = 0",
	       "sbus", host, FLEET_ANY_BYTES(fingerprint), entry->at_ms, text(entry->result));
	db_wake(a->batch, FLEET_TOPIC_HOSTS);
	db_wake(a->batch, FLEET_TOPIC_ACCESS);
	fleet_write_down(a, entry);
	return fleet_submit(a);
}

#define CERTIFICATES                                                                  \
	"SELECT fingerprint, host, serial, issued_ms, expires_ms, revoked_ms, reason" \
	" FROM certificate"

int fleet_certificate(struct fleet *f, const uint8_t *fingerprint, fleet_done_fn done,
		      void *cookie)
{
	return FLEET_ASK(f, done, cookie, -ENOENT, CERTIFICATES " WHERE fingerprint = $1", "b",
			 FLEET_ANY_BYTES(fingerprint));
}

int fleet_certificates(struct fleet *f, const char *host, fleet_done_fn done, void *cookie)
{
	if (!host)
		return FLEET_ASK(f, done, cookie, 0,
				 CERTIFICATES " WHERE revoked_ms > 0 ORDER BY fingerprint", "");
	return FLEET_ASK(f, done, cookie, 0,
			 CERTIFICATES " WHERE host = $1 ORDER BY issued_ms, fingerprint", "s",
			 host);
}

bool fleet_next_certificate(struct fleet_answer *a, struct fleet_certificate *ret_certificate)
{
	struct db_row row;

	if (!fleet_next(a, 0, a->rows, &row))
		return false;
	*ret_certificate = (struct fleet_certificate){
		.fingerprint = fleet_hash(row, 0),
		.host = db_text(row, 1),
		.serial = db_text(row, 2),
		.issued_ms = db_u64(row, 3),
		.expires_ms = db_u64(row, 4),
		.revoked_ms = db_u64(row, 5),
		.reason = db_text(row, 6),
	};
	return true;
}
