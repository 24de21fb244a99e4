// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/setting.h"
#include "store/db.h"

/* Kinds of text, beside those of lib/setting.h. */
enum kind {
	FOLDER = SETTING_OWN,
	PATH,
	PATH_OR_NONE,
	DATABASE,
	NAME,
	URL,
	LISTEN,
	LISTEN_OR_NOT
};

#define SECOND 1000ULL
#define DAY    (86400 * SECOND)

static const struct setting settings[] = {
#define AT(member) offsetof(struct settings, member), sizeof(((struct settings *)0)->member)
	{"controller", "name", "--name", NAME, AT(name), "", 0, 0,
	 "of this process among the controllers; empty: name of the host and process id"},
	{"controller", "state_dir", "--state-dir", FOLDER, AT(state_dir),
	 "/var/lib/hotfix-controller", 0, 0, "folder of keys, certificates and database"},
	{"controller", "log_level", "--log-level", SETTING_LEVEL, AT(log_level), "info", 0, 0,
	 "error, warning, notice, info or debug"},
	{"database", "where", "--database", DATABASE, AT(database), "fleet.db", 0, 0,
	 "a file, for one controller, or postgresql://..., for any number of them"},
	{"agents", "listen", NULL, LISTEN, AT(agents_at), "[::]:7443", 0, 0,
	 "address and port for the agents of hosts"},
	{"agents", "certificate", NULL, PATH, AT(agents_certificate), "agents.crt", 0, 0,
	 "what agents and hosts that enrol are shown"},
	{"agents", "key", NULL, PATH, AT(agents_key), "agents.key", 0, 0, "its key"},
	{"agents", "trust", NULL, PATH, AT(agents_trust), "agents-ca.crt", 0, 0,
	 "authorities of the certificates of hosts; two or more during a rollover"},
	{"agents", "heartbeat", NULL, SETTING_DURATION, AT(heartbeat_ms), "30s", SECOND,
	 3600 * SECOND, "how often a host is heard of when nothing happens"},
	{"enroll", "listen", NULL, LISTEN_OR_NOT, AT(enroll_at), "[::]:7444", 0, 0,
	 "address and port for hosts that have no certificate yet; empty: off"},
	{"enroll", "agents_url", NULL, URL, AT(agents_url), "", 0, 0,
	 "where new agents are sent; empty: to the port of agents, under the name they asked"},
	{"enroll", "valid", NULL, SETTING_DURATION, AT(enroll_valid_ms), "90d", 60 * SECOND,
	 3650 * DAY,
	 "how long a certificate of a host is good; agents renew it after two thirds"},
	{"operators", "listen", NULL, LISTEN, AT(operators_at), "[::]:7445", 0, 0,
	 "address and port for people and scripts"},
	{"operators", "certificate", NULL, PATH, AT(operators_certificate), "operators.crt", 0,
	 0, "what they are shown"},
	{"operators", "key", NULL, PATH, AT(operators_key), "operators.key", 0, 0, "its key"},
	{"operators", "trust", NULL, PATH, AT(operators_trust), "operators-ca.crt", 0, 0,
	 "authorities of the certificates of operators"},
	{"metrics", "listen", NULL, LISTEN_OR_NOT, AT(metrics_at), "127.0.0.1:7446", 0, 0,
	 "address and port for Prometheus, with the certificate of operators; empty: off"},
	{"ca", "prefix", NULL, PATH_OR_NONE, AT(ca_prefix), "agents-ca", 0, 0,
	 "PREFIX.key and PREFIX.crt sign for hosts; empty: an outside authority does"},
	{"ca", "operators_prefix", NULL, PATH_OR_NONE, AT(ca_operators_prefix), "operators-ca",
	 0, 0, "the same for operators"},
	{"director", "key", NULL, PATH, AT(director_key), "director.sec", 0, 0,
	 "signs what hosts are told; the root of trust names it"},
	{"director", "valid", NULL, SETTING_DURATION, AT(director_valid_ms), "24h", 60 * SECOND,
	 31 * DAY, "how long a word to a host is good"},
	{"status", "key", NULL, PATH, AT(status_key), "status.sec", 0, 0,
	 "signs the catalogue; the root of trust names it"},
	{"status", "valid", NULL, SETTING_DURATION, AT(status_valid_ms), "24h", 60 * SECOND,
	 365 * DAY, "how long a catalogue is good; it is renewed after half of it"},
	{"breaker", "oopses", NULL, SETTING_NUMBER, AT(breaker_oopses), "3", 0, 1000000,
	 "more hosts whose kernel oopses within a minute stop the line; 0: never"},
	{"breaker", "silent_percent", NULL, SETTING_NUMBER, AT(breaker_percent), "50", 0, 100,
	 "of a failure domain: more that fall silent within 10 minutes stop the line; 0: never"},
	{"breaker", "silent_hosts", NULL, SETTING_NUMBER, AT(breaker_hosts), "3", 1, 1000000,
	 "and so many at least"},
	{"breaker", "domain", NULL, NAME, AT(breaker_domain), "zone", 0, 0,
	 "the label that names a host's failure domain"},
#undef AT
};

static bool is_name(const char *word)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return strspn(word, good) == strlen(word);
}

/* "[::]:7443", "127.0.0.1:7443"; "" is off. */
static int parse_listen(const char *value, struct settings_listen *ret)
{
	struct settings_listen l = {.port = 0};
	const char *colon = strrchr(value, ':');
	const char *from = value + (value[0] == '['), *end;
	unsigned long port;
	uint8_t raw[16];
	char *rest;

	if (!value[0]) {
		*ret = l;
		return 0;
	}
	if (!colon || !strchr("0123456789", colon[1]) || !colon[1])
		return -EINVAL;
	end = colon - (value[0] == '[');
	if (end <= from || (value[0] == '[' && *end != ']') ||
	    (size_t)(end - from) >= sizeof(l.address))
		return -EINVAL;
	memcpy(l.address, from, (size_t)(end - from));
	if (inet_pton(value[0] == '[' ? AF_INET6 : AF_INET, l.address, raw) != 1)
		return -EINVAL;
	port = strtoul(colon + 1, &rest, 10);
	if (*rest || port > UINT16_MAX)
		return -EINVAL;
	l.port = (uint16_t)port;
	*ret = l;
	return 0;
}

static const char *refuse(const struct setting *s, const char *value)
{
	struct settings_listen listen;

	switch ((enum kind)s->kind) {
	case FOLDER:
		return value[0] == '/' ? NULL : "must be an absolute path";
	case PATH:
	case DATABASE:
		return value[0] ? NULL : "must not be empty";
	case NAME:
		return is_name(value) ? NULL : "must be of letters, digits, '.', '_' and '-'";
	case URL:
		return !value[0] || strncmp(value, "https://", 8) == 0
			       ? NULL
			       : "must begin with https://";
	case LISTEN:
		if (!value[0])
			return "must not be empty";
		/* fall through */
	case LISTEN_OR_NOT:
		return parse_listen(value, &listen) == 0
			       ? NULL
			       : "must be an address in digits and a port, such as "
				 "127.0.0.1:7443 or [::]:7443";
	case PATH_OR_NONE:
		break;
	}
	return NULL;
}

static const struct setting_table table = {.program = "hotfix-controller",
					   .file = SETTINGS_FILE_DEFAULT,
					   .setting = settings,
					   .n = ARRAY_SIZE(settings),
					   .refuse = refuse};

/* What was left to be made of other settings. */
static int complete(struct settings *s, struct fail *reterr_fail)
{
	char host[24] = "";

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char *at = (char *)s + settings[i].offset;
		AUTO_FREE char *path = NULL;
		int kind = settings[i].kind;

		if ((kind != PATH && kind != PATH_OR_NONE && kind != DATABASE) || !at[0] ||
		    at[0] == '/' || (kind == DATABASE && db_names_server(at)))
			continue;
		if (asprintf(&path, "%s/%s", s->state_dir, at) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		if (strlen(path) >= settings[i].size)
			return fail_set(reterr_fail, FAIL_USAGE, "[%s] %s: %s is too long",
					settings[i].section, settings[i].key, path);
		memcpy(at, path, strlen(path) + 1);
	}
	parse_listen(s->agents_at, &s->agents);
	parse_listen(s->enroll_at, &s->enroll);
	parse_listen(s->operators_at, &s->operators);
	parse_listen(s->metrics_at, &s->metrics);
	if (s->name[0])
		return 0;
	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = '\0';
	snprintf(s->name, sizeof(s->name), "%s-%d", is_name(host) ? host : "controller",
		 getpid());
	return 0;
}

int settings_load(int argc, char **argv, struct settings *ret_settings,
		  struct fail *reterr_fail)
{
	struct settings s = {0};
	int r = setting_load(&table, argc, argv, &s, &s.command, reterr_fail);

	if (r == 0)
		r = complete(&s, reterr_fail);
	if (r == 0)
		*ret_settings = s;
	return r;
}

int settings_log_priority(const struct settings *s)
{
	return setting_log_priority(s->log_level);
}

void settings_usage(void)
{
	setting_usage(
		&table,
		"hotfix-controller -- brings hot-fixes to a fleet of hosts, a few at a time\n\n"
		"usage: hotfix-controller [--config FILE] [-n] [FLAG VALUE]...\n"
		"       hotfix-controller init --state-dir DIR --name NAME...\n"
		"       hotfix-controller --help | --version\n");
}

void settings_print(const struct settings *s)
{
	setting_print(&table, s);
}
