// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/controller/ca.h"
#include "server/controller/settings.h"
#include "store/bytes.h"
#include "store/fleet.h"
#include "store/key.h"

#define DAY_S	    86400ULL
#define CA_DAYS	    3650 /* of an authority; a rollover takes two of them */
#define SERVER_DAYS 825
#define ADMIN_DAYS  365
#define NAMES_MAX   16
#define ANSWER_MS   10000

struct init {
	const char *dir, *database, *admin;
	const char *names[NAMES_MAX];
	size_t n_names;
	char path[SETTINGS_URL_BYTES];
	struct key_public director, status;
};

void init_usage(void)
{
	printf("usage: hotfix-controller init --state-dir DIR --name NAME_OR_ADDRESS...\n"
	       "                              [--database WHERE] [--admin USER]\n\n"
	       "Makes in DIR what a fleet begins with, and overwrites nothing.\n\n"
	       "  --name      what agents and operators call this controller, or its balancer\n"
	       "  --database  postgresql://..., when there are to be several controllers\n"
	       "  --admin     the first user (admin)\n");
}

static int parse(int argc, char **argv, struct init *i, struct fail *reterr_fail)
{
	for (int k = 1; k < argc; k++) {
		const char *flag = argv[k];
		const char **value = strcmp(flag, "--state-dir") == 0  ? &i->dir
				     : strcmp(flag, "--database") == 0 ? &i->database
				     : strcmp(flag, "--admin") == 0    ? &i->admin
								       : NULL;

		if (value && k + 1 < argc) {
			*value = argv[++k];
			continue;
		}
		if (strcmp(flag, "--name") != 0 || k + 1 == argc || argv[k + 1][0] == '-')
			return fail_set(reterr_fail, FAIL_USAGE, "init: %s %s", flag,
					value || strcmp(flag, "--name") == 0
						? "needs a value"
						: "is not one of its flags");
		while (k + 1 < argc && argv[k + 1][0] != '-') {
			if (i->n_names == NAMES_MAX)
				return fail_set(reterr_fail, FAIL_USAGE,
						"init: at most %d names", NAMES_MAX);
			i->names[i->n_names++] = argv[++k];
		}
	}
	if (!i->dir || !i->n_names) {
		fail_set(reterr_fail, FAIL_USAGE, "init needs --state-dir and --name");
		return fail_hint(reterr_fail, "hotfix-controller init --help");
	}
	if (i->dir[0] != '/' || strlen(i->dir) > SETTINGS_PATH_BYTES - 32)
		return fail_set(reterr_fail, FAIL_USAGE,
				"init: --state-dir must be an absolute path, and not too long");
	if (!ca_name_valid(CA_USER, i->admin))
		return fail_set(reterr_fail, FAIL_USAGE, "init: %.64s is no name of a user",
				i->admin);
	if (ca_name_reserved(i->admin))
		return fail_set(reterr_fail, FAIL_USAGE,
				"init: --admin %s is reserved: a history would read as if the "
				"controller had done it",
				i->admin);
	return 0;
}

/* Good until the next call. */
static const char *below(struct init *i, const char *name)
{
	snprintf(i->path, sizeof(i->path), "%s/%s", i->dir, name);
	return i->path;
}

static int refuse_existing(struct init *i, struct fail *reterr_fail)
{
	static const char *const made[] = {
		"agents-ca.key", "agents-ca.crt", "operators-ca.key", "operators-ca.crt",
		"agents.key",	 "agents.crt",	  "operators.key",    "operators.crt",
		"director.sec",	 "director.pub",  "status.sec",	      "status.pub",
		"fleet.db",
	};

	for (size_t k = 0; k < ARRAY_SIZE(made); k++)
		if (access(below(i, made[k]), F_OK) == 0) {
			fail_set(reterr_fail, FAIL_CONFLICT, "%s exists: nothing was changed",
				 i->path);
			return fail_hint(reterr_fail,
					 "another controller of the same fleet gets a copy of "
					 "the folder; a new fleet, a new folder");
		}
	return 0;
}

/* This program's umask hides all that it makes; these are for others to read. */
static int show_public(struct init *i, struct fail *reterr_fail)
{
	char admin[CA_NAME_BYTES + 8];
	const char *const shown[] = {
		"agents-ca.crt", "operators-ca.crt", "agents.crt", "operators.crt",
		"director.pub",	 "status.pub",	     admin};

	snprintf(admin, sizeof(admin), "%s.crt", i->admin);
	for (size_t k = 0; k < ARRAY_SIZE(shown); k++)
		if (chmod(below(i, shown[k]), 0644) < 0)
			return fail_set(reterr_fail, FAIL_STORAGE, "cannot change %s: %s",
					i->path, strerror(errno));
	return 0;
}

static int make_authority(struct init *i, const char *who, struct ca **ret_ca,
			  struct fail *reterr_fail)
{
	uint64_t now_s = clock_real_ms() / 1000;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "%s-ca", who);
	r = ca_new(below(i, name), name, now_s, CA_DAYS * DAY_S, reterr_fail);
	if (r == 0)
		r = ca_load(below(i, name), ret_ca, reterr_fail);
	if (r == 0)
		r = ca_sign_server(*ret_ca, i->names, i->n_names, below(i, who), now_s,
				   SERVER_DAYS * DAY_S, reterr_fail);
	return r;
}

static int make_files(struct init *i, char ret_pin[CA_NAME_BYTES], struct fail *reterr_fail)
{
	AUTO(ca_freep) struct ca *agents = NULL;
	AUTO(ca_freep) struct ca *operators = NULL;
	int r;

	r = io_mkdir_p(i->dir, 0700);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_STORAGE, "cannot make %s: %s", i->dir,
				strerror(-r));
	r = refuse_existing(i, reterr_fail);
	if (r == 0)
		r = make_authority(i, "agents", &agents, reterr_fail);
	if (r == 0)
		r = make_authority(i, "operators", &operators, reterr_fail);
	if (r == 0)
		r = ca_sign_user(operators, i->admin, below(i, i->admin),
				 clock_real_ms() / 1000, ADMIN_DAYS * DAY_S, reterr_fail);
	if (r == 0)
		r = key_new(below(i, "director"), NULL, &i->director, reterr_fail);
	if (r == 0)
		r = key_new(below(i, "status"), NULL, &i->status, reterr_fail);
	if (r == 0)
		r = show_public(i, reterr_fail);
	if (r == 0)
		ca_fingerprint(agents, ret_pin);
	return r;
}

/* SHA-256 of the admin's certificate, as the listener will see it. */
static int admin_print(struct init *i, uint8_t ret_print[BYTES_SHA256],
		       struct fail *reterr_fail)
{
	AUTO(ca_bundle_freep) struct ca_bundle *bundle = NULL;
	AUTO_FREE uint8_t *pem = NULL;
	struct ca_peer peer;
	char name[CA_NAME_BYTES + 8];
	size_t len;
	int r;

	snprintf(name, sizeof(name), "%s.crt", i->admin);
	r = io_read_file(below(i, name), 1 << 16, &pem, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_STORAGE, "cannot read %s: %s", i->path,
				strerror(-r));
	r = ca_bundle_load(below(i, "operators-ca.crt"), &bundle, reterr_fail);
	if (r == 0)
		r = ca_verify(bundle, CA_USER, pem, len, clock_real_ms() / 1000, &peer,
			      reterr_fail);
	return r < 0 ? r : bytes_from_hex(peer.fingerprint, ret_print, BYTES_SHA256);
}

/* Before anything is made: a server that is not there is no reason to begin again. */
static int try_database(const struct init *i, struct fail *reterr_fail)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	AUTO(fleet_freep) struct fleet *f = NULL;
	int r;

	if (!i->database)
		return 0;
	r = fleet_open(i->database, 0, ANSWER_MS, &f, reterr_fail);
	if (r < 0)
		return r;
	r = fleet_wait(f, fleet_guards(f, fleet_keep, &a), &a);
	if (r < 0 && a)
		*reterr_fail = a->fail;
	return r;
}

static int make_database(struct init *i, struct fail *reterr_fail)
{
	AUTO(fleet_answer_freep) struct fleet_answer *a = NULL;
	AUTO(fleet_freep) struct fleet *f = NULL;
	uint8_t print[BYTES_SHA256];
	uint64_t now_ms = clock_real_ms();
	struct fleet_operator admin = {.credential = print,
				       .name = i->admin,
				       .role = "admin",
				       .created_ms = now_ms,
				       .expires_ms = now_ms + ADMIN_DAYS * DAY_S * 1000};
	int r = admin_print(i, print, reterr_fail);

	if (r == 0)
		r = fleet_open(i->database ? i->database : below(i, "fleet.db"), 0, ANSWER_MS,
			       &f, reterr_fail);
	if (r < 0)
		return r;
	r = fleet_wait(f,
		       fleet_add_operator(f, &admin,
					  &(struct fleet_entry){.at_ms = now_ms,
								.actor = "init",
								.action = "OPERATOR",
								.subject = i->admin,
								.result = "admin"},
					  fleet_keep, &a),
		       &a);
	if (r < 0 && a)
		*reterr_fail = a->fail;
	else if (r < 0)
		fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	return r;
}

static void print_all(struct init *i, const char *pin)
{
	char director[64], status[64];
	bool v6 = strchr(i->names[0], ':');

	printf("%s holds what this fleet begins with. Keep a copy of it in a safe place.\n\n"
	       "director %s\nstatus   %s\nagents-ca sha256 %s\n\n",
	       i->dir, key_public_format(&i->director, director),
	       key_public_format(&i->status, status), pin);
	printf("Hosts obey when their root of trust names both keys; with a root that is new\n\n"
	       "  hotfixctl trust init --key release.pub --fleet FLEET \\\n"
	       "    --director %s/director.pub --status-key %s/status.pub --out root.json\n\n"
	       "and with one that is in force, hotfixctl trust rotate ROOT with the same flags and\n"
	       "--sign release.sec, or another of its root keys.\n\n",
	       i->dir, i->dir);
	if (i->database)
		printf("Each controller has in %s\n\n  [controller]\n  state_dir = %s\n"
		       "  [database]\n  where = %s\n\n",
		       SETTINGS_FILE_DEFAULT, i->dir, i->database);
	printf("The first admin, for $HOTFIXCTL_CONTEXTS or ~/.config/hotfixctl/contexts.json:\n\n"
	       "  {\"current\": \"fleet\", \"contexts\": {\"fleet\": {\n"
	       "    \"url\": \"https://%s%s%s:7445\", \"ca\": \"%s/operators-ca.crt\",\n"
	       "    \"cert\": \"%s/%s.crt\", \"key\": \"%s/%s.key\"}}}\n",
	       v6 ? "[" : "", i->names[0], v6 ? "]" : "", i->dir, i->dir, i->admin, i->dir,
	       i->admin);
}

int init_main(int argc, char **argv, struct fail *reterr_fail)
{
	struct init i = {.admin = "admin"};
	char pin[CA_NAME_BYTES];
	int r = parse(argc, argv, &i, reterr_fail);

	if (r == 0)
		r = try_database(&i, reterr_fail);
	if (r == 0)
		r = make_files(&i, pin, reterr_fail);
	if (r == 0)
		r = make_database(&i, reterr_fail);
	if (r == 0)
		print_all(&i, pin);
	return r;
}
