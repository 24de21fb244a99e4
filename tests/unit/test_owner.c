// SPDX-License-Identifier: BSD-2-Clause
/*
 * The owner of rollouts, with real databases, keys and documents, and hosts that are a script: what
 * they are told is what the director signed, what they report is what a host would.
 * Every case runs on a file and on PostgreSQL.
 */

#include <event2/event.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "server/controller/catalogue.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/director.h"
#include "server/controller/owner.h"
#include "server/controller/park.h"
#include "server/controller/reports.h"
#include "server/controller/roots.h"
#include "store/bytes.h"
#include "store/directive.h"
#include "store/fleet.h"
#include "store/key.h"
#include "store/trust.h"
#include "tests/unit/impostor.h"
#include "tests/unit/pg_group.h"

#define FIX	  "cve-2026-1"
#define SERIAL	  7
#define BEFORE	  6
#define HOSTS_MAX 64
#define WAIT_MS	  90000

static bool on_server;
static uint64_t skew_ms; /* of the controllers' clock */

static uint64_t skewed_ms(void)
{
	return clock_real_ms() + skew_ms;
}

/* ---- controllers --------------------------------------------------------------------- */

static struct node {
	struct settings settings;
	struct controller c;
	bool runs;
} nodes[2];

static struct impostor impostor;
static char by_impostor[256]; /* how controllers reach the database, if not as tests do */

static struct key *release_key;
static struct trust *trust;
static char *root_text;

static const char *where(void)
{
	return on_server ? pg_url(&pg) : unit_path("fleet.db");
}

#define must(call)                                                \
	do {                                                      \
		struct fail fail_ = {.message = "?"};             \
                                                                  \
		if ((call) < 0)                                   \
			fail_msg("%s: %s", #call, fail_.message); \
	} while (0)

static void on_wake(const char *topic, void *cookie)
{
	struct controller *c = cookie;

	if (c->roots)
		roots_on_wake(c->roots, topic);
	if (c->catalogue)
		catalogue_on_wake(c->catalogue, topic);
	if (c->owner)
		owner_on_wake(c->owner, topic);
}

static void start(struct node *n, const char *name)
{
	struct controller *c = &n->c;

	memset(n, 0, sizeof(*n));
	snprintf(n->settings.name, sizeof(n->settings.name), "%s", name);
	snprintf(n->settings.state_dir, sizeof(n->settings.state_dir), "%s", unit_path(name));
	snprintf(n->settings.director_key, sizeof(n->settings.director_key), "%s",
		 unit_path("director.sec"));
	snprintf(n->settings.status_key, sizeof(n->settings.status_key), "%s",
		 unit_path("status.sec"));
	n->settings.director_valid_ms = n->settings.status_valid_ms = 86400000;
	n->settings.heartbeat_ms = 1000;
	mkdir(n->settings.state_dir, 0700);
	c->settings = &n->settings;
	c->real_ms = skewed_ms;
	snprintf(c->actor, sizeof(c->actor), "controller:%s", name);
	c->base = event_base_new();
	must(park_new(c->base, 8, &c->park));
	must(database_new(c->base, by_impostor[0] ? by_impostor : where(), on_wake, c,
			  &c->database, &c->fleet, &fail_));
	must(roots_new(c, &c->roots, &fail_));
	must(director_new(c, &c->director, &fail_));
	must(catalogue_new(c, &c->catalogue, &fail_));
	must(reports_new(c, &c->reports, &fail_));
	must(owner_new(c, &c->owner, &fail_));
	n->runs = true;
}

/* As after kill -9: nothing is given back. */
static void kill_9(struct node *n)
{
	struct controller *c = &n->c;

	if (!c->base)
		return;
	c->database = database_free(c->database);
	c->park = park_free(c->park);
	c->owner = owner_free(c->owner);
	c->reports = reports_free(c->reports);
	c->catalogue = catalogue_free(c->catalogue);
	c->director = director_free(c->director);
	c->roots = roots_free(c->roots);
	event_base_free(c->base);
	memset(n, 0, sizeof(*n));
}

/* ---- what tests say to the database themselves ------------------------------------------ */

static struct fleet *f;
static struct fleet_answer *a;

#define ASK(op, ...)                       \
	(fleet_answer_free(a), (a = NULL), \
	 fleet_wait(f, op(f, __VA_ARGS__, fleet_keep, &a), &a))

#define good(call)                                                             \
	do {                                                                   \
		int good_ = (call);                                            \
                                                                               \
		if (good_ < 0)                                                 \
			fail_msg("%s: %d: %s", #call, good_, a->fail.message); \
	} while (0)

static void by_hand(const char *statement)
{
	sqlite3 *db;

	if (on_server) {
		PGconn *c = PQconnectdb(pg_url(&pg));

		PQclear(PQexec(c, "SET client_min_messages = warning"));
		PQclear(PQexec(c, statement));
		PQfinish(c);
		return;
	}
	assert_int_equal(sqlite3_open(unit_path("fleet.db"), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static const struct fleet_entry *entry(const char *subject)
{
	static struct fleet_entry e;

	e = (struct fleet_entry){.at_ms = 1,
				 .actor = "anna",
				 .action = "TEST",
				 .subject = subject,
				 .result = "ok"};
	return &e;
}

/* ---- hosts -------------------------------------------------------------------------------- */

struct sim {
	char id[65], kernel[32], zone[8], boot[40];
	uint64_t committed, seq, generation;
	uint64_t word;
	char rollout[65], state[24], code[32];
	const char *then; /* the state to report next; NULL: none */
	/* what it is like */
	const char *fails; /* state instead of committed */
	const char *why;
	char health[200];   /* "": all is well */
	bool silent, stays; /* says nothing; goes no further than trial */
	size_t applies, withdrawals, rollbacks;
	uint64_t last_word; /* generations only grow */
	uint64_t went_back_to;
};

static struct sim sims[HOSTS_MAX];
static size_t n_sims;
static uint64_t desired_change;
static char desired_host[65];

static void say(struct sim *s)
{
	char hotfixes[1024];
	struct fleet_report r = {.host = s->id,
				 .seq = ++s->seq,
				 .boot_id = s->boot,
				 .kernel = s->kernel,
				 .arch = "x86_64",
				 .zone = s->zone,
				 .facts = "{}",
				 .hotfixes = hotfixes,
				 .health = s->health[0] ? s->health
							: "{\"hold\":false,\"freeze\":false}"};

	snprintf(hotfixes, sizeof(hotfixes),
		 "{\"" FIX "\":{\"committed\":%llu,\"quarantined\":[],\"rollout\":\"%s\","
		 "\"word\":%llu,\"state\":\"%s\",\"code\":\"%s\",\"text\":\"\","
		 "\"transient\":false,\"metrics\":{}}}",
		 (unsigned long long)s->committed, s->rollout, (unsigned long long)s->word,
		 s->state, s->code);
	good(ASK(fleet_reports, &r, 1));
}

static struct sim *join(const char *kernel, uint64_t committed)
{
	struct sim *s = &sims[n_sims++];
	uint8_t print[32] = {0};
	struct fleet_enrolment e = {.fingerprint = print, .certificate = "01", .expires_ms = 1};

	memset(s, 0, sizeof(*s));
	memcpy(print, &n_sims, sizeof(n_sims));
	snprintf(s->id, sizeof(s->id), "%064zx", n_sims);
	snprintf(s->kernel, sizeof(s->kernel), "%s", kernel);
	snprintf(s->zone, sizeof(s->zone), "z%zu", n_sims % 3);
	snprintf(s->boot, sizeof(s->boot), "boot-1");
	snprintf(s->state, sizeof(s->state), "pending");
	s->committed = committed;
	e.id = e.name = s->id;
	good(ASK(fleet_enrol, &e, entry(s->id)));
	say(s);
	return s;
}

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t ? t : "";
}

/* What a host would check. */
static void check_directive(const struct sim *s, const json_t *word)
{
	const char *envelope = text(word, "directive");
	struct directive d;
	struct fail fail = {.message = ""};

	if (directive_open(envelope, strlen(envelope), trust, &d, &fail) < 0)
		fail_msg("directive: %s: %s", fail.message, envelope);
	assert_string_equal(d.host, s->id);
	assert_string_equal(d.fleet, "shop");
	assert_string_equal(d.name, FIX);
	assert_string_equal(d.rollout, text(word, "rollout"));
	assert_int_equal(d.from, number(word, "from"));
	assert_int_equal(d.to, number(word, "to"));
}

static void obey(struct sim *s, const json_t *word)
{
	const char *action = text(word, "action");
	bool same = strcmp(s->rollout, text(word, "rollout")) == 0;

	if (same && number(word, "word") == s->word)
		return;
	/* The newest word counts, and it is newer than any before. */
	assert_true(!same || number(word, "word") > s->word);
	snprintf(s->rollout, sizeof(s->rollout), "%s", text(word, "rollout"));
	s->word = number(word, "word");
	s->code[0] = '\0';
	s->then = NULL;
	if (strcmp(action, "apply") == 0) {
		check_directive(s, word);
		assert_int_equal(number(word, "from"), s->committed);
		assert_int_equal(number(word, "to"), SERIAL);
		assert_int_equal(number(json_object_get(word, "bundle"), "bytes"), 5);
		s->applies++;
		snprintf(s->state, sizeof(s->state),
			 s->fails && strcmp(s->fails, "load_failed") == 0 ? "staged" : "trial");
		s->then = s->stays ? NULL : s->fails ? s->fails : "committed";
	} else if (strcmp(action, "rollback") == 0) {
		check_directive(s, word);
		assert_int_equal(number(word, "from"), s->committed);
		s->rollbacks++;
		s->committed = s->went_back_to = number(word, "to");
		snprintf(s->state, sizeof(s->state), "rolled_back");
	} else if (strcmp(action, "end_trial") == 0) {
		snprintf(s->state, sizeof(s->state), "rolled_back");
	} else {
		s->withdrawals++;
		snprintf(s->state, sizeof(s->state), "pending");
	}
	say(s);
}

static void go_on(struct sim *s)
{
	if (!s->then)
		return;
	snprintf(s->state, sizeof(s->state), "%s", s->then);
	if (strcmp(s->then, "committed") == 0)
		s->committed = SERIAL;
	else
		snprintf(s->code, sizeof(s->code), "%s", s->why ? s->why : "");
	s->then = NULL;
	say(s);
}

static struct sim *sim_of(const char *id)
{
	for (size_t i = 0; i < n_sims; i++)
		if (strcmp(sims[i].id, id) == 0)
			return &sims[i];
	fail_msg("a word for a stranger: %s", id);
	return NULL;
}

static void read_words(struct sim *s)
{
	json_t *words[8];
	struct fleet_word w;
	size_t n = 0;

	good(ASK(fleet_words, s->id));
	while (n < ARRAY_SIZE(words) && fleet_next_word(a, &w)) {
		words[n] = json_loadb(w.body, w.len, 0, NULL);
		assert_non_null(words[n]);
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		obey(s, words[i]);
		json_decref(words[i]);
	}
}

/* Those whose words changed look; all that are there are heard of. */
static void hosts_live(void)
{
	char changed[HOSTS_MAX][65];
	struct fleet_report beats[HOSTS_MAX];
	struct fleet_desired d;
	size_t n = 0, b = 0;

	for (size_t i = 0; i < n_sims; i++)
		if (!sims[i].silent) {
			go_on(&sims[i]);
			beats[b++] = (struct fleet_report){.host = sims[i].id};
		}
	good(ASK(fleet_reports, beats, b));
	good(ASK(fleet_desired_changed, desired_change, desired_host, HOSTS_MAX));
	while (fleet_next_desired(a, &d)) {
		snprintf(changed[n++], 65, "%s", d.host);
		desired_change = d.change;
		snprintf(desired_host, sizeof(desired_host), "%s", d.host);
	}
	for (size_t i = 0; i < n; i++)
		if (!sim_of(changed[i])->silent)
			read_words(sim_of(changed[i]));
}

/* ---- time ---------------------------------------------------------------------------------- */

static void turn(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		for (int k = 0; nodes[i].runs && k < 3; k++)
			event_base_loop(nodes[i].c.base, EVLOOP_NONBLOCK);
	usleep(2000);
}

static json_t *header(const char *id)
{
	struct fleet_rollout r;

	good(ASK(fleet_rollout, id));
	assert_true(fleet_next_rollout(a, &r));
	return json_loads(r.state, 0, NULL);
}

static bool is_in(const char *id, const char *state)
{
	AUTO_JSON json_t *h = header(id);

	return strcmp(text(h, "state"), state) == 0;
}

static bool host_is_in(const char *id, const struct sim *s, const char *state)
{
	struct fleet_rollout_host row;

	good(ASK(fleet_rollout, id));
	while (fleet_next_rollout_host(a, &row)) {
		AUTO_JSON json_t *h = json_loads(row.state, 0, NULL);

		if (strcmp(row.host, s->id) == 0)
			return strcmp(text(h, "state"), state) == 0;
	}
	return false;
}

/* A host that has it, of that wave. */
static struct sim *find_in_wave(const char *id, uint64_t wave)
{
	struct fleet_rollout_host row;

	good(ASK(fleet_rollout, id));
	while (fleet_next_rollout_host(a, &row)) {
		AUTO_JSON json_t *h = json_loads(row.state, 0, NULL);

		for (size_t i = 0; i < n_sims; i++)
			if (strcmp(row.host, sims[i].id) == 0 && sims[i].committed == SERIAL &&
			    number(h, "wave") == wave)
				return &sims[i];
	}
	fail_msg("no host of wave %llu has it", (unsigned long long)wave);
	return NULL;
}

/* Was there such a row in its history? */
static bool was(const char *id, const char *action)
{
	struct fleet_audit row;

	good(ASK(fleet_audits, id, 0, 10000));
	while (fleet_next_audit(a, &row))
		if (strcmp(row.entry.action, action) == 0)
			return true;
	return false;
}

static void print_history(const char *id)
{
	struct fleet_audit row;

	good(ASK(fleet_audits, id, 0, 10000));
	while (fleet_next_audit(a, &row))
		print_error("  %s %s %s %s\n", row.entry.actor, row.entry.action,
			    row.entry.result, row.entry.detail ? row.entry.detail : "");
}

/* What came in came in through one of them, as it would from agents and operators. */
static void wake_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (nodes[i].runs)
			on_wake("", &nodes[i].c);
}

static uint64_t lived_ms;

#define UNTIL(condition)                                                               \
	do {                                                                           \
		uint64_t until_ = clock_up_ms() + WAIT_MS;                             \
                                                                                       \
		while (!(condition)) {                                                 \
			turn();                                                        \
			if (clock_up_ms() - lived_ms > 20) {                           \
				hosts_live();                                          \
				wake_all();                                            \
				lived_ms = clock_up_ms();                              \
			}                                                              \
			if (clock_up_ms() > until_) {                                  \
				print_history("r1");                                   \
				fail_msg("%s:%d: not in time: %s", __FILE__, __LINE__, \
					 #condition);                                  \
			}                                                              \
		}                                                                      \
	} while (0)

/* ---- rollouts -------------------------------------------------------------------------------- */

static void ask_of(const char *id, const char *request)
{
	char doc[512];

	snprintf(doc, sizeof(doc), "%s", request);
	for (char *p = doc; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	good(ASK(fleet_ask, id, doc, entry(id)));
}

static void create(const char *id, const char *spec)
{
	char doc[1024];
	AUTO_JSON json_t *parsed = NULL, *o = NULL;
	AUTO_FREE char *state = NULL;
	AUTO(rollout_freep) struct rollout *r = NULL;
	struct fleet_rollout row = {.id = id, .name = FIX, .active = true, .created_ms = 5};

	snprintf(doc, sizeof(doc), "%s", spec);
	for (char *p = doc; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	parsed = json_loads(doc, 0, NULL);
	assert_non_null(parsed);
	must(rollout_new(&(struct rollout_opts){.id = id,
						.name = FIX,
						.author = "ann",
						.serial = SERIAL,
						.takes_off = true,
						.spec = parsed},
			 &r, &fail_));
	o = rollout_to_json(r);
	state = json_dumps(o, JSON_COMPACT);
	row.state = state;
	good(ASK(fleet_new_rollout, &row, entry(id)));
}

static void submit(const char *id, const char *spec)
{
	create(id, spec);
	ask_of(id, "{'verb':'submit','actor':'ann'}");
}

#define QUICK                                                                   \
	"{'canary':{'bake':0},'waves':[{'percent':50,'bake':0},{'percent':100," \
	"'bake':0}],'max_in_flight':100,'max_per_domain':100,'on_no_data':'pass'}"
#define CAREFUL                                                                     \
	"{'canary':{'bake':0},'waves':[{'percent':50,'bake':'10m'},{'percent':100," \
	"'bake':0}],'max_in_flight':100,'max_per_domain':100,'on_no_data':'pass'}"

/* ---- the world --------------------------------------------------------------------------------- */

static void make_keys(void)
{
	struct key_public director, status, release;
	struct trust t = {.version = 1, .created_ms = 1000};
	AUTO(key_freep) struct key *k = NULL;

	must(key_new(unit_path("director"), NULL, &director, &fail_));
	must(key_new(unit_path("status"), NULL, &status, &fail_));
	must(key_new(unit_path("release"), NULL, &release, &fail_));
	must(key_load(unit_path("release.sec"), NULL, NULL, &release_key, &fail_));
	snprintf(t.fleet, sizeof(t.fleet), "shop");
	t.root = t.release =
		(struct trust_role){.n_keys = 1, .threshold = 1, .keys = {release}};
	t.director = (struct trust_role){.n_keys = 1, .threshold = 1, .keys = {director}};
	t.status = (struct trust_role){.n_keys = 1, .threshold = 1, .keys = {status}};
	must(trust_sign(&t, &release_key, 1, &root_text, &fail_));
	must(trust_open(root_text, strlen(root_text), &trust, &fail_));
}

static int group_setup(void **state)
{
	char path[128];

	if (pg_group_setup(state) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", pg.folder);
	if (impostor_new(&impostor, path))
		return -1;
	make_keys();
	return 0;
}

static int group_teardown(void **state)
{
	release_key = key_free(release_key);
	trust = trust_free(trust);
	free(root_text);
	impostor_free(&impostor);
	return pg_group_teardown(state);
}

static void put_stock(void)
{
	uint8_t digest[32] = {1}, manifest[32] = {2};
	struct fleet_document root = {.kind = "root",
				      .name = "1",
				      .version = 1,
				      .actor = "ann",
				      .envelope = root_text,
				      .len = strlen(root_text)};
	struct fleet_bundle b = {.digest = digest,
				 .manifest_sha256 = manifest,
				 .name = FIX,
				 .serial = SERIAL,
				 .bytes = 5,
				 .imported_ms = 1,
				 .actor = "ann"};

	good(ASK(fleet_put_document, &root, entry("root")));
	good(ASK(fleet_put_bundle, &b, "bytes", entry(FIX)));
}

static int world(bool server)
{
	struct fail fail = {.message = ""};

	on_server = server;
	skew_ms = 0;
	n_sims = 0;
	desired_change = 0;
	desired_host[0] = '\0';
	if (fleet_open(where(), 0, 0, &f, &fail) < 0)
		fail_msg("%s", fail.message);
	put_stock();
	start(&nodes[0], "one");
	return 0;
}

static int on_file(void **state)
{
	(void)state;
	return world(false);
}

static int on_postgres(void **state)
{
	(void)state;
	return world(true);
}

/* By way of a balancer, or around it. */
static int on_impostor(void **state)
{
	snprintf(by_impostor, sizeof(by_impostor),
		 "postgresql://test@/postgres?host=127.0.0.1,%s&port=%u,5432", pg.folder,
		 impostor.port);
	return on_postgres(state);
}

static int end_world(void **state)
{
	static const char *const files[] = {"fleet.db", "fleet.db-wal", "fleet.db-shm",
					    "one/root.json", "two/root.json"};

	(void)state;
	kill_9(&nodes[0]);
	kill_9(&nodes[1]);
	a = fleet_answer_free(a);
	f = fleet_free(f);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(unit_path(files[i]));
	by_impostor[0] = '\0';
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	if (on_server)
		by_hand("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	return 0;
}

static void join_many(size_t n)
{
	for (size_t i = 0; i < n; i++)
		join(i % 2 ? "6.12" : "6.1", BEFORE);
}

static size_t count_committed(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_sims; i++)
		n += sims[i].committed == SERIAL;
	return n;
}

/* ---- cases --------------------------------------------------------------------------------------- */

static void a_rollout_reaches_every_host(void **state)
{
	struct fleet_rollout r;

	(void)state;
	join_many(12);
	submit("r1", QUICK);
	UNTIL(is_in("r1", "succeeded"));
	assert_int_equal(count_committed(), 12);
	for (size_t i = 0; i < n_sims; i++) {
		assert_int_equal(sims[i].applies, 1);
		assert_int_equal(sims[i].withdrawals + sims[i].rollbacks, 0);
	}
	good(ASK(fleet_rollout, "r1"));
	assert_true(fleet_next_rollout(a, &r));
	assert_false(r.active);
}

static void a_second_controller_goes_on_where_the_first_was_killed(void **state)
{
	(void)state;
	join_many(12);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	kill_9(&nodes[0]);
	start(&nodes[1], "two");
	by_hand("UPDATE rollout SET lease_until_ms = 0");
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, 1);
}

static void who_lost_a_rollout_writes_nothing_more(void **state)
{
	struct owner_stats stats;
	struct fleet_rollout r;
	uint64_t generation;

	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	/* The first one sleeps; its lease ends; a second one has it. */
	nodes[0].runs = false;
	start(&nodes[1], "two");
	by_hand("UPDATE rollout SET lease_until_ms = 0");
	owner_stats(nodes[1].c.owner, &stats);
	while (!stats.rollouts) {
		turn();
		owner_stats(nodes[1].c.owner, &stats);
	}
	nodes[1].runs = false;
	good(ASK(fleet_rollout, "r1"));
	assert_true(fleet_next_rollout(a, &r));
	generation = r.generation;
	assert_int_equal(r.epoch, 2);
	/* It wakes up, hears news, and its write is refused. */
	snprintf(sims[0].kernel, sizeof(sims[0].kernel), "6.18");
	say(&sims[0]);
	nodes[0].runs = true;
	owner_stats(nodes[0].c.owner, &stats);
	assert_int_equal(stats.rollouts, 1);
	while (stats.rollouts) {
		turn();
		owner_stats(nodes[0].c.owner, &stats);
	}
	good(ASK(fleet_rollout, "r1"));
	assert_true(fleet_next_rollout(a, &r));
	assert_int_equal(r.generation, generation);
	assert_int_equal(r.epoch, 2);
}

static void operators_are_heeded_or_told_why_not(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	ask_of("r1", "{'verb':'approve','actor':'bob'}");
	UNTIL(was("r1", "REFUSED"));
	ask_of("r1", "{'verb':'pause','actor':'bob','reason':'lunch'}");
	UNTIL(is_in("r1", "paused"));
	ask_of("r1", "{'verb':'dance','actor':'bob'}");
	ask_of("r1", "{'verb':'resume','actor':'bob'}");
	UNTIL(is_in("r1", "wave_baking"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	good(ASK(fleet_requests, 0, 10));
	assert_false(fleet_next_request(a, &(struct fleet_request){0}));
}

static void an_abort_takes_back_what_was_there(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	assert_true(count_committed() > 2);
	ask_of("r1", "{'verb':'abort','actor':'bob','scope':'all','reason':'no'}");
	UNTIL(is_in("r1", "rolled_back"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].committed, BEFORE);
}

static void a_first_version_is_taken_off_again_by_itself(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		join("6.1", 0);
	for (size_t i = 0; i < n_sims; i++)
		sims[i].went_back_to = UINT64_MAX;
	submit("r1", "{'canary':{'bake':0},'waves':[{'percent':50,'bake':'10m'},"
		     "{'percent':100}],'on_failure':'rollback_all','max_in_flight':100,"
		     "'max_per_domain':100,'on_no_data':'pass'}");
	UNTIL(is_in("r1", "wave_baking"));
	/* Who is next does harm. */
	for (size_t i = 0; i < n_sims; i++)
		if (sims[i].committed == 0) {
			sims[i].fails = "unhealthy";
			sims[i].why = "HEALTH:oops";
		}
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "rolled_back"));
	assert_int_equal(count_committed(), 0);
	for (size_t i = 0; i < n_sims; i++)
		if (sims[i].rollbacks)
			assert_int_equal(sims[i].went_back_to, 0);
	assert_true(was("r1", "OOPS"));
}

static void trusts(struct sim *s, uint64_t version)
{
	char hex[BYTES_SHA256_HEX];

	snprintf(s->health, sizeof(s->health),
		 "{\"root\":{\"version\":%llu,\"sha256\":\"%s\"}}", (unsigned long long)version,
		 bytes_to_hex(trust->sha256, 32, hex));
	say(s);
}

static void a_host_without_a_root_gets_no_word_until_it_has_one(void **state)
{
	(void)state;
	join_many(4);
	trusts(&sims[1], 0);
	trusts(&sims[2], trust->version);
	submit("r1", "{'canary':{'bake':0},'waves':[{'percent':100,'bake':'10m'}],"
		     "'on_no_data':'pass','max_in_flight':100,'max_per_domain':100}");
	UNTIL(is_in("r1", "wave_baking"));
	assert_int_equal(count_committed(), 3);
	assert_int_equal(sims[1].applies, 0);
	trusts(&sims[1], trust->version);
	UNTIL(count_committed() == 4);
}

static void a_version_that_was_undone_is_gone_from_all(void **state)
{
	(void)state;
	join_many(4);
	submit("r1", QUICK);
	UNTIL(is_in("r1", "succeeded"));
	good(ASK(fleet_reopen, "r1", "{\"verb\":\"undo\",\"actor\":\"bob\"}", entry("r1")));
	UNTIL(is_in("r1", "rolled_back"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].committed, BEFORE);
	/* A second time there is nothing to undo, and it is closed again. */
	good(ASK(fleet_reopen, "r1", "{\"verb\":\"undo\",\"actor\":\"bob\"}", entry("r1")));
	UNTIL(was("r1", "REFUSED"));
	assert_true(is_in("r1", "rolled_back"));
}

static void stopping_the_line_stops_within_five_seconds(void **state)
{
	struct fleet_guard g = {.kind = "stop",
				.name = "",
				.scope = "{}",
				.reason = "smoke",
				.actor = "bob",
				.at_ms = 1};
	uint64_t asked_ms;

	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	asked_ms = clock_up_ms();
	good(ASK(fleet_put_guard, &g, entry("line")));
	UNTIL(is_in("r1", "paused"));
	assert_true(clock_up_ms() - asked_ms < 5000);
	good(ASK(fleet_drop_guard, "stop", "", entry("line")));
	UNTIL(is_in("r1", "wave_baking"));
}

static void a_freeze_holds_what_it_names(void **state)
{
	struct fleet_guard g = {.kind = "freeze",
				.name = "x",
				.reason = "fair",
				.actor = "bob",
				.scope = "{\"hotfix\":\"other\"}",
				.at_ms = 1};

	(void)state;
	join_many(6);
	good(ASK(fleet_put_guard, &g, entry("x")));
	/* All hosts of a kernel are held, and one freeze is about another hot-fix. */
	g.name = "y";
	g.scope = "{\"hotfix\":\"" FIX "\",\"target\":{\"kernel_release\":\"6.1\"}}";
	good(ASK(fleet_put_guard, &g, entry("y")));
	submit("r1", QUICK);
	UNTIL(count_committed() == 3);
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, strcmp(sims[i].kernel, "6.12") == 0);
	UNTIL(is_in("r1", "succeeded"));
	g.name = "x";
	g.scope = "{}";
	good(ASK(fleet_put_guard, &g, entry("x")));
	create("r2", QUICK);
	UNTIL(was("r2", "WAITS"));
	ask_of("r2", "{'verb':'submit','actor':'ann'}");
	UNTIL(is_in("r2", "scheduled"));
	good(ASK(fleet_drop_guard, "freeze", "x", entry("x")));
	good(ASK(fleet_drop_guard, "freeze", "y", entry("y")));
	UNTIL(count_committed() == 6);
}

static void outside_of_its_windows_a_rollout_waits(void **state)
{
	char start_[CLOCK_TIMESTAMP_BYTES], spec[512];

	(void)state;
	join_many(4);
	clock_format_timestamp(clock_real_ms() + 3600000, start_);
	snprintf(spec, sizeof(spec),
		 "%.*s,'windows':{'allow':[{'start':'%.19s','duration':'2h'}]}}",
		 (int)strlen(QUICK) - 1, QUICK, start_);
	submit("r1", spec);
	UNTIL(was("r1", "WAITS") && is_in("r1", "scheduled"));
	assert_int_equal(count_committed(), 0);
	skew_ms = 3660000;
	UNTIL(is_in("r1", "succeeded"));
}

static bool waits_for(const char *id, const char *key, const char *words)
{
	AUTO_JSON json_t *h = header(id);

	return strstr(text(h, key), words);
}

/* Written where time zones were known that are not known here. */
static void windows_that_cannot_be_told_are_closed_and_the_way_back_is_open(void **state)
{
	char spec[512];

	(void)state;
	join_many(6);
	snprintf(spec, sizeof(spec),
		 "%.*s,'windows':{'allow':[{'start':'2020-01-01T00:00:00','duration':'24h',"
		 "'rrule':'FREQ=DAILY','tz':'UTC'}]}}",
		 (int)strlen(CAREFUL) - 1, CAREFUL);
	submit("r1", spec);
	UNTIL(is_in("r1", "wave_baking"));
	kill_9(&nodes[0]);
	by_hand("UPDATE rollout SET lease_until_ms = 0,"
		" state = replace(state, '\"tz\":\"UTC\"', '\"tz\":\"Mars/Olympus\"')");
	start(&nodes[1], "two");
	UNTIL(is_in("r1", "paused"));
	assert_true(waits_for("r1", "window_why", "time zone"));
	ask_of("r1", "{'verb':'abort','actor':'bob','scope':'all','reason':'no'}");
	UNTIL(is_in("r1", "rolled_back"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].committed, BEFORE);
}

/* A root whose director is another key than the one of the controllers, or theirs. */
static void put_root(uint64_t version, const char *director)
{
	struct trust t = {.version = version, .created_ms = 1000};
	struct key_public key;
	AUTO_FREE char *text_ = NULL;
	char name[8];
	struct fleet_document d = {.kind = "root", .name = name, .version = version};

	must(key_public_load(unit_path(director), &key, &fail_));
	t.root = trust->root;
	t.release = trust->release;
	t.status = trust->status;
	t.director = (struct trust_role){.n_keys = 1, .threshold = 1, .keys = {key}};
	snprintf(t.fleet, sizeof(t.fleet), "shop");
	must(trust_sign(&t, &release_key, 1, &text_, &fail_));
	snprintf(name, sizeof(name), "%llu", (unsigned long long)version);
	d.actor = "ann";
	d.envelope = text_;
	d.len = strlen(text_);
	good(ASK(fleet_put_document, &d, entry("root")));
}

static void what_is_asked_while_nothing_can_be_signed_is_done_when_it_can(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	put_root(2, "status.pub");
	UNTIL(is_in("r1", "paused"));
	assert_true(waits_for("r1", "director_why", "does not let"));
	ask_of("r1", "{'verb':'abort','actor':'bob','scope':'all','reason':'no'}");
	UNTIL(is_in("r1", "rollback_incomplete"));
	good(ASK(fleet_requests, 0, 10));
	assert_false(fleet_next_request(a, &(struct fleet_request){0}));
	put_root(3, "director.pub");
	UNTIL(is_in("r1", "rolled_back"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].committed, BEFORE);
}

static void who_is_silent_before_he_began_is_not_waited_for(void **state)
{
	struct sim *s;

	(void)state;
	for (int i = 0; i < 4; i++)
		join("6.1", BEFORE);
	s = join("6.12", BEFORE);
	s->silent = true;
	submit("r1", CAREFUL);
	UNTIL(host_is_in("r1", s, "deferred"));
	UNTIL(count_committed() >= 2 && is_in("r1", "wave_baking"));
	s->silent = false;
	UNTIL(s->committed == SERIAL);
	assert_true(s->withdrawals <= 1);
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	assert_int_equal(count_committed(), 5);
}

static void who_is_lost_in_his_trial_counts_as_failed(void **state)
{
	struct sim *s;

	(void)state;
	for (int i = 0; i < 4; i++)
		join("6.1", BEFORE);
	for (size_t i = 0; i < n_sims; i++)
		sims[i].stays = true;
	submit("r1", QUICK);
	UNTIL(sims[0].applies + sims[1].applies + sims[2].applies + sims[3].applies == 1);
	s = sims[0].applies   ? &sims[0]
	    : sims[1].applies ? &sims[1]
	    : sims[2].applies ? &sims[2]
			      : &sims[3];
	UNTIL(host_is_in("r1", s, "trial"));
	s->silent = true;
	UNTIL(host_is_in("r1", s, "lost"));
	assert_true(is_in("r1", "paused"));
	s->silent = false;
	s->then = "committed";
	UNTIL(host_is_in("r1", s, "committed"));
}

/* Its connection outlived the silence: it has nothing new to report. */
static void who_is_heard_of_again_has_what_he_had(void **state)
{
	struct sim *s;

	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	s = find_in_wave("r1", 1);
	s->silent = true;
	UNTIL(host_is_in("r1", s, "lost"));
	s->silent = false;
	UNTIL(host_is_in("r1", s, "committed"));
	ask_of("r1", "{'verb':'resume','actor':'bob'}");
	UNTIL(is_in("r1", "wave_baking"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
}

/* The claim was stored, and its answer lost. */
static void what_was_claimed_without_knowing_is_gone_on_with(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	nodes[0].runs = false;
	create("r2", CAREFUL);
	by_hand("UPDATE rollout SET epoch = 1, owner = (SELECT owner FROM rollout WHERE id = 'r1'),"
		" lease_until_ms = (SELECT lease_until_ms FROM rollout WHERE id = 'r1')"
		" WHERE id = 'r2'");
	nodes[0].runs = true;
	ask_of("r2", "{'verb':'abort','actor':'ann'}");
	UNTIL(is_in("r2", "aborted"));
}

static void turn_for(uint64_t ms)
{
	for (uint64_t until = clock_up_ms() + ms; clock_up_ms() < until;)
		turn();
}

static void room_on_disk(rlim_t bytes)
{
	struct rlimit l = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

	assert_ok(setrlimit(RLIMIT_FSIZE, &l));
}

static void on_put(int r, const struct fail *why, void *cookie)
{
	(void)why;
	*(int *)cookie = r;
}

/* Hosts whose reports were refused wait, much longer than three heartbeats. */
static void who_comes_late_after_a_full_disk_was_not_silent(void **state)
{
	struct fleet_report r = {.host = sims[0].id, .seq = 99, .hotfixes = "{}"};
	int answer = 1;

	(void)state;
	for (int i = 0; i < 4; i++)
		join("6.1", BEFORE)->stays = true;
	submit("r1", QUICK);
	UNTIL(host_is_in("r1", &sims[0], "trial") || host_is_in("r1", &sims[1], "trial") ||
	      host_is_in("r1", &sims[2], "trial") || host_is_in("r1", &sims[3], "trial"));
	signal(SIGXFSZ, SIG_IGN);
	room_on_disk(0);
	must(reports_put(nodes[0].c.reports, &r, on_put, &answer, &fail_));
	while (answer > 0)
		turn();
	room_on_disk(RLIM_INFINITY);
	assert_true(answer < 0);
	turn_for(6000);
	assert_false(was("r1", "LOST"));
	for (size_t i = 0; i < n_sims; i++) {
		sims[i].stays = false;
		if (strcmp(sims[i].state, "trial") == 0)
			sims[i].then = "committed";
	}
	UNTIL(is_in("r1", "succeeded"));
}

/* Nor who has found no controller for long, and asks less often now. */
static void who_comes_late_after_a_time_without_controllers_was_not_silent(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		join("6.1", BEFORE);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	kill_9(&nodes[0]);
	by_hand("UPDATE seen SET at_ms = at_ms - 600000");
	by_hand("UPDATE rollout SET lease_until_ms = 0");
	start(&nodes[1], "two");
	turn_for(4500);
	assert_false(was("r1", "LOST"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
}

static void an_older_report_changes_nothing(void **state)
{
	struct sim *s, old;

	(void)state;
	join_many(2);
	s = &sims[0];
	submit("r1", CAREFUL);
	UNTIL(count_committed() == 2);
	UNTIL(host_is_in("r1", s, "committed"));
	old = *s;
	old.seq -= 2;
	snprintf(old.state, sizeof(old.state), "unhealthy");
	say(&old);
	snprintf(sims[1].kernel, sizeof(sims[1].kernel), "6.18"); /* newer: heeded */
	say(&sims[1]);
	UNTIL(was("r1", "SUBMITTED"));
	UNTIL(is_in("r1", "wave_baking") || is_in("r1", "succeeded"));
	assert_true(host_is_in("r1", s, "committed"));
	assert_false(was("r1", "unhealthy"));
}

static void a_newer_rollout_takes_over_what_the_older_one_had_not_begun(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	submit("r2", QUICK);
	UNTIL(is_in("r1", "superseded"));
	UNTIL(is_in("r2", "succeeded"));
	assert_int_equal(count_committed(), 6);
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, 1);
}

static void a_newer_rollout_waits_for_one_that_does_not_give_way(void **state)
{
	(void)state;
	join_many(6);
	submit("r1", "{'canary':{'bake':0},'waves':[{'percent':50,'bake':'10m'},"
		     "{'percent':100,'bake':0}],'on_newer':'refuse','max_in_flight':100,"
		     "'max_per_domain':100,'on_no_data':'pass'}");
	UNTIL(is_in("r1", "wave_baking"));
	submit("r2", QUICK);
	UNTIL(was("r2", "WAITS"));
	UNTIL(is_in("r2", "scheduled"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	/* All have it by now. */
	UNTIL(is_in("r2", "failed") || is_in("r2", "succeeded"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, 1);
}

/* What happened, without times and without who did it. */
static char *trace(const char *id)
{
	struct fleet_audit row;
	char *out = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&out, &len);

	good(ASK(fleet_audits, id, 0, 10000));
	while (fleet_next_audit(a, &row)) {
		AUTO_JSON json_t *d =
			json_loads(row.entry.detail ? row.entry.detail : "{}", 0, NULL);

		if (strcmp(row.entry.action, "TEST") != 0)
			fprintf(file, "%s %s->%s %.20s\n", row.entry.action, text(d, "from"),
				text(d, "to"), text(d, "host"));
	}
	for (size_t i = 0; i < n_sims; i++)
		fprintf(file, "%zu: %zu %zu %zu %llu\n", i, sims[i].applies,
			sims[i].withdrawals, sims[i].rollbacks,
			(unsigned long long)sims[i].committed);
	fclose(file);
	return out;
}

/* On both, one after the other. */
static void both_engines_give_the_same_trace(void **state)
{
	AUTO_FREE char *traces[2] = {NULL, NULL};

	for (int k = 0; k < 2; k++) {
		world(k == 1);
		join_many(8);
		for (size_t i = 0; i < n_sims; i++)
			if (strcmp(sims[i].kernel, "6.12") == 0)
				sims[i].fails = "load_failed";
		submit("r1", CAREFUL);
		UNTIL(is_in("r1", "wave_baking"));
		ask_of("r1", "{'verb':'pause','actor':'bob','reason':'lunch'}");
		UNTIL(is_in("r1", "paused"));
		ask_of("r1", "{'verb':'abort','actor':'bob','scope':'all','reason':'no'}");
		UNTIL(is_in("r1", "rolled_back"));
		traces[k] = trace("r1");
		end_world(state);
	}
	assert_string_equal(traces[0], traces[1]);
	free(traces[1]);
}

static void without_its_database_a_rollout_pauses_and_goes_on_later(void **state)
{
	struct owner_stats stats;
	struct fail why = {.message = ""};

	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	pg_stop(&pg, SIGKILL); /* the balancer still takes connections, and closes them */
	turn_for(12000);
	owner_stats(nodes[0].c.owner, &stats);
	assert_true(stats.engine_lost);
	assert_true(database_away_ms(nodes[0].c.database, &why) > 10000);
	assert_non_null(strstr(why.message, "server closed the connection"));
	impostor_is(&impostor, IMPOSTOR_CLOSES);
	assert_null(pg_start(&pg));
	while (db_state(fleet_db(f), NULL) < 0)
		db_turn(fleet_db(f), 100);
	UNTIL(was("r1", "ENGINE_LOST"));
	UNTIL(was("r1", "PAUSED"));
	UNTIL(is_in("r1", "wave_baking"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, 1);
}

/* Each step is in doubt, and has been stored: it is read again, not made again. */
static void steps_whose_answers_are_lost_are_made_once(void **state)
{
	int came;

	(void)state;
	join_many(6);
	UNTIL(db_state(fleet_db(nodes[0].c.fleet), NULL) == 0);
	submit("r1", CAREFUL);
	came = impostor_came(&impostor);
	impostor_is(&impostor, IMPOSTOR_LOSES);
	UNTIL(was("r1", "STARTED") || was("r1", "ENGINE_LOST"));
	impostor_is(&impostor, IMPOSTOR_RELAYS);
	UNTIL(is_in("r1", "wave_baking"));
	assert_true(impostor_came(&impostor) > came); /* was cut off, and came again */
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	for (size_t i = 0; i < n_sims; i++)
		assert_int_equal(sims[i].applies, 1);
}

static void a_clock_that_jumps_bakes_nothing(void **state)
{
	const uint64_t hour_ms = 3600000;

	(void)state;
	join_many(6);
	submit("r1", CAREFUL);
	UNTIL(is_in("r1", "wave_baking"));
	skew_ms += 3 * hour_ms;
	snprintf(sims[0].kernel, sizeof(sims[0].kernel), "6.18"); /* something happens then */
	say(&sims[0]);
	UNTIL(host_is_in("r1", &sims[0], "committed") || host_is_in("r1", &sims[0], "pending"));
	assert_true(is_in("r1", "wave_baking"));
	skew_ms -= 5 * hour_ms;
	snprintf(sims[1].kernel, sizeof(sims[1].kernel), "6.18");
	say(&sims[1]);
	ask_of("r1", "{'verb':'pause','actor':'bob'}");
	UNTIL(is_in("r1", "paused"));
	ask_of("r1", "{'verb':'resume','actor':'bob'}");
	UNTIL(is_in("r1", "wave_baking"));
	ask_of("r1", "{'verb':'promote','actor':'bob'}");
	UNTIL(is_in("r1", "succeeded"));
	assert_int_equal(count_committed(), 6);
}

static void two_controllers_in_turn_never_contradict_each_other(void **state)
{
	static const char *const states[] = {"wave_attaching", "wave_baking", "paused",
					     "rolling_back"};
	size_t seen = 0;

	(void)state;
	join_many(10);
	for (size_t i = 0; i < n_sims; i++)
		sims[i].stays = true;
	submit("r1", CAREFUL);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct node *from = &nodes[i % 2], *to = &nodes[(i + 1) % 2];

		if (strcmp(states[i], "paused") == 0)
			ask_of("r1", "{'verb':'pause','actor':'bob'}");
		if (strcmp(states[i], "rolling_back") == 0)
			ask_of("r1", "{'verb':'abort','actor':'bob','scope':'all'}");
		UNTIL(is_in("r1", states[i]) || is_in("r1", "rolled_back"));
		seen++;
		kill_9(from);
		start(to, i % 2 ? "one" : "two");
		by_hand("UPDATE rollout SET lease_until_ms = 0");
		for (size_t k = 0; k < n_sims; k++) {
			sims[k].stays = false;
			if (strcmp(sims[k].state, "trial") == 0)
				sims[k].then = "committed";
		}
	}
	assert_int_equal(seen, ARRAY_SIZE(states));
	UNTIL(is_in("r1", "rolled_back"));
	for (size_t i = 0; i < n_sims; i++) {
		assert_true(sims[i].applies <= 1);
		assert_int_equal(sims[i].committed, BEFORE);
	}
}

int main(void)
{
#define EACH(test)                                                         \
	{#test " on file", test, on_file, end_world, NULL},                \
	{                                                                  \
#test " on PostgreSQL", test, on_postgres, end_world, NULL \
	}
	const struct CMUnitTest tests[] = {
		EACH(a_rollout_reaches_every_host),
		EACH(a_second_controller_goes_on_where_the_first_was_killed),
		EACH(who_lost_a_rollout_writes_nothing_more),
		EACH(operators_are_heeded_or_told_why_not),
		EACH(an_abort_takes_back_what_was_there),
		EACH(a_first_version_is_taken_off_again_by_itself),
		EACH(a_host_without_a_root_gets_no_word_until_it_has_one),
		EACH(a_version_that_was_undone_is_gone_from_all),
		EACH(a_clock_that_jumps_bakes_nothing),
		EACH(stopping_the_line_stops_within_five_seconds),
		EACH(a_freeze_holds_what_it_names),
		EACH(outside_of_its_windows_a_rollout_waits),
		EACH(windows_that_cannot_be_told_are_closed_and_the_way_back_is_open),
		EACH(what_is_asked_while_nothing_can_be_signed_is_done_when_it_can),
		EACH(who_is_silent_before_he_began_is_not_waited_for),
		EACH(who_is_lost_in_his_trial_counts_as_failed),
		EACH(who_is_heard_of_again_has_what_he_had),
		EACH(what_was_claimed_without_knowing_is_gone_on_with),
		{"who comes late after a full disk was not silent",
		 who_comes_late_after_a_full_disk_was_not_silent, on_file, end_world, NULL},
		EACH(who_comes_late_after_a_time_without_controllers_was_not_silent),
		EACH(an_older_report_changes_nothing),
		EACH(a_newer_rollout_takes_over_what_the_older_one_had_not_begun),
		EACH(a_newer_rollout_waits_for_one_that_does_not_give_way),
		EACH(two_controllers_in_turn_never_contradict_each_other),
		{"without its database a rollout pauses and goes on later",
		 without_its_database_a_rollout_pauses_and_goes_on_later, on_impostor,
		 end_world, NULL},
		{"steps whose answers are lost are made once",
		 steps_whose_answers_are_lost_are_made_once, on_impostor, end_world, NULL},
		cmocka_unit_test(both_engines_give_the_same_trace),
	};

	return cmocka_run_group_tests_name("owner", tests, group_setup, group_teardown);
}
