// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ini.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

enum kind { FOLDER, PATH, PATH_OR_NONE, DATABASE, NAME, URL, LISTEN, DURATION, NUMBER, LEVEL };

#define SECOND 1000ULL
#define DAY    (86400 * SECOND)

static const struct {
	const char *section, *key, *flag;
	enum kind kind;
	size_t offset, size;
	const char *otherwise;
	uint64_t min_ms, max_ms; /* NUMBER: the numbers themselves */
	const char *help;
} settings[] = {
#define AT(member) offsetof(struct settings, member), sizeof(((struct settings *)0)->member)
	{"controller", "name", "--name", NAME, AT(name), "", 0, 0,
	 "of this process among the controllers; empty: name of the host and process id"},
	{"controller", "state_dir", "--state-dir", FOLDER, AT(state_dir),
	 "/var/lib/hotfix-controller", 0, 0, "folder of keys, certificates and database"},
	{"controller", "log_level", "--log-level", LEVEL, AT(log_level), "info", 0, 0,
	 "error, warning, notice, info or debug"},
	{"database", "where", "--database", DATABASE, AT(database), "fleet.db", 0, 0,
	 "a file, for one controller, or postgresql://..., for any number of them"},
	{"agents", "listen", NULL, LISTEN, AT(agents), "[::]:7443", 0, 0,
	 "address and port for the agents of hosts"},
	{"agents", "certificate", NULL, PATH, AT(agents_certificate), "agents.crt", 0, 0,
	 "what agents and hosts that enrol are shown"},
	{"agents", "key", NULL, PATH, AT(agents_key), "agents.key", 0, 0, "its key"},
	{"agents", "trust", NULL, PATH, AT(agents_trust), "agents-ca.crt", 0, 0,
	 "authorities of the certificates of hosts; two or more during a rollover"},
	{"agents", "heartbeat", NULL, DURATION, AT(heartbeat_ms), "30s", SECOND, 3600 * SECOND,
	 "how often a host is heard of when nothing happens"},
	{"enroll", "listen", NULL, LISTEN, AT(enroll), "[::]:7444", 0, 0,
	 "address and port for hosts that have no certificate yet; empty: off"},
	{"enroll", "agents_url", NULL, URL, AT(agents_url), "", 0, 0,
	 "where new agents are sent; empty: to the port of agents, under the name they asked"},
	{"enroll", "valid", NULL, DURATION, AT(enroll_valid_ms), "90d", 60 * SECOND, 3650 * DAY,
	 "how long a certificate of a host is good; agents renew it after two thirds"},
	{"operators", "listen", NULL, LISTEN, AT(operators), "[::]:7445", 0, 0,
	 "address and port for people and scripts"},
	{"operators", "certificate", NULL, PATH, AT(operators_certificate), "operators.crt", 0,
	 0, "what they are shown"},
	{"operators", "key", NULL, PATH, AT(operators_key), "operators.key", 0, 0, "its key"},
	{"operators", "trust", NULL, PATH, AT(operators_trust), "operators-ca.crt", 0, 0,
	 "authorities of the certificates of operators"},
	{"metrics", "listen", NULL, LISTEN, AT(metrics), "127.0.0.1:7446", 0, 0,
	 "address and port for Prometheus, with the certificate of operators; empty: off"},
	{"ca", "prefix", NULL, PATH_OR_NONE, AT(ca_prefix), "agents-ca", 0, 0,
	 "PREFIX.key and PREFIX.crt sign for hosts; empty: an outside authority does"},
	{"ca", "operators_prefix", NULL, PATH_OR_NONE, AT(ca_operators_prefix), "operators-ca",
	 0, 0, "the same for operators"},
	{"director", "key", NULL, PATH, AT(director_key), "director.sec", 0, 0,
	 "signs what hosts are told; the root of trust names it"},
	{"director", "valid", NULL, DURATION, AT(director_valid_ms), "24h", 60 * SECOND,
	 31 * DAY, "how long a word to a host is good"},
	{"status", "key", NULL, PATH, AT(status_key), "status.sec", 0, 0,
	 "signs the catalogue; the root of trust names it"},
	{"status", "valid", NULL, DURATION, AT(status_valid_ms), "24h", 60 * SECOND, 365 * DAY,
	 "how long a catalogue is good; it is renewed after half of it"},
	{"breaker", "oopses", NULL, NUMBER, AT(breaker_oopses), "3", 0, 1000000,
	 "more hosts whose kernel oopses within a minute stop the line; 0: never"},
	{"breaker", "silent_percent", NULL, NUMBER, AT(breaker_percent), "50", 0, 100,
	 "of a failure domain: more that fall silent within 10 minutes stop the line; 0: never"},
	{"breaker", "silent_hosts", NULL, NUMBER, AT(breaker_hosts), "3", 1, 1000000,
	 "and so many at least"},
	{"breaker", "domain", NULL, NAME, AT(breaker_domain), "zone", 0, 0,
	 "the label that names a host's failure domain"},
#undef AT
};

static const struct {
	const char *name;
	int priority;
} levels[] = {{"error", LOG_ERR},
	      {"warning", LOG_WARNING},
	      {"notice", LOG_NOTICE},
	      {"info", LOG_INFO},
	      {"debug", LOG_DEBUG}};

static int level_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
			return levels[i].priority;
	return -EINVAL;
}

int settings_log_priority(const struct settings *s)
{
	return level_of(s->log_level);
}

static bool is_name(const char *word)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return strspn(word, good) == strlen(word);
}

static bool is_server(const char *where)
{
	return strncmp(where, "postgresql://", 13) == 0 ||
	       strncmp(where, "postgres://", 11) == 0;
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

static const char *format_listen(const struct settings_listen *l, char *out, size_t room)
{
	snprintf(out, room, strchr(l->address, ':') ? "[%s]:%u" : "%s:%u", l->address, l->port);
	return l->address[0] ? out : "";
}

/* NULL when value was taken, else why not: good until the next call. */
static const char *set(struct settings *s, size_t i, const char *value)
{
	static char bounds[2 * CLOCK_DURATION_BYTES + 32];
	char min[CLOCK_DURATION_BYTES], max[CLOCK_DURATION_BYTES];
	void *at = (char *)s + settings[i].offset;
	uint64_t ms;
	char *end;

	switch (settings[i].kind) {
	case FOLDER:
		if (value[0] != '/')
			return "must be an absolute path";
		break;
	case PATH:
	case DATABASE:
		if (!value[0])
			return "must not be empty";
		break;
	case PATH_OR_NONE:
		break;
	case NAME:
		if (!is_name(value))
			return "must be of letters, digits, '.', '_' and '-'";
		break;
	case URL:
		if (value[0] && strncmp(value, "https://", 8) != 0)
			return "must begin with https://";
		break;
	case LEVEL:
		if (level_of(value) < 0)
			return "must be error, warning, notice, info or debug";
		break;
	case LISTEN:
		if (parse_listen(value, at) < 0)
			return "must be an address in digits and a port, such as "
			       "127.0.0.1:7443 or [::]:7443";
		if (!value[0] && (at == &s->agents || at == &s->operators))
			return "must not be empty";
		return NULL;
	case DURATION:
		if (clock_parse_duration(value, &ms) < 0)
			return "must be a duration such as 10s, 5m or 500ms";
		if (ms < settings[i].min_ms || ms > settings[i].max_ms) {
			snprintf(bounds, sizeof(bounds), "is out of bounds: from %s to %s",
				 clock_format_duration(settings[i].min_ms, min),
				 clock_format_duration(settings[i].max_ms, max));
			return bounds;
		}
		memcpy(at, &ms, sizeof(ms));
		return NULL;
	case NUMBER:
		ms = strtoull(value, &end, 10);
		if (strspn(value, "0123456789") != strlen(value) || !value[0] || *end ||
		    strlen(value) > 18 || ms < settings[i].min_ms || ms > settings[i].max_ms) {
			snprintf(bounds, sizeof(bounds),
				 "must be a number from %" PRIu64 " to %" PRIu64,
				 settings[i].min_ms, settings[i].max_ms);
			return bounds;
		}
		memcpy(at, &ms, sizeof(ms));
		return NULL;
	}
	if (strlen(value) >= settings[i].size)
		return "is too long";
	snprintf(at, settings[i].size, "%s", value);
	return NULL;
}

struct file_cookie {
	struct settings *s;
	const char *problem;
	char where[160];
};

static int on_ini(void *cookie, const char *section, const char *key, const char *value)
{
	struct file_cookie *f = cookie;

	if (f->problem)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (strcmp(settings[i].section, section) != 0 ||
		    strcmp(settings[i].key, key) != 0)
			continue;
		f->problem = set(f->s, i, value);
		if (f->problem)
			snprintf(f->where, sizeof(f->where), "[%s] %s = %.64s", section, key,
				 value);
		return !f->problem;
	}
	f->problem = "is not a setting of hotfix-controller";
	snprintf(f->where, sizeof(f->where), "[%.64s] %.64s", section, key);
	return 0;
}

static int load_file(struct settings *s, struct fail *reterr_fail)
{
	struct file_cookie f = {.s = s};
	struct stat st;
	int line;

	if (!s->file_given && access(s->file, F_OK) < 0)
		return 0; /* the default file need not exist */
	if (stat(s->file, &st) == 0 && S_ISDIR(st.st_mode)) /* reads as an empty file */
		return fail_set(reterr_fail, FAIL_USAGE, "%s is a folder, not a configuration",
				s->file);
	line = ini_parse(s->file, on_ini, &f);
	if (line == -1)
		return fail_set(reterr_fail, FAIL_USAGE,
				"cannot read configuration file %s: %s", s->file,
				strerror(errno));
	if (line < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory reading %s",
				s->file);
	if (line > 0) {
		fail_set(reterr_fail, FAIL_USAGE, "%s, line %d: %s %s", s->file, line,
			 f.problem ? f.where : "the line",
			 f.problem ? f.problem : "is neither [section] nor key = value");
		return fail_hint(reterr_fail, "hotfix-controller --help lists the settings; "
					      "hotfix-controller -n checks");
	}
	return 0;
}

/* arg, of which the first len bytes stand before a '=', is this flag. */
static bool is_flag(const char *flag, const char *arg, size_t len)
{
	return strlen(flag) == len && strncmp(flag, arg, len) == 0;
}

/* Flags of both passes: the first finds --config, the second overrides the file. */
static int load_flags(int argc, char **argv, bool settings_pass, struct settings *s,
		      struct fail *reterr_fail)
{
	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i], *value = strchr(flag, '='), *problem;
		size_t k, len = value ? (size_t)(value - flag) : strlen(flag);
		bool config;

		if (strcmp(flag, "-n") == 0) {
			s->check_only = true;
			continue;
		}
		config = is_flag("--config", flag, len);
		for (k = 0; k < ARRAY_SIZE(settings); k++)
			if (settings[k].flag && is_flag(settings[k].flag, flag, len))
				break;
		if (!config && k == ARRAY_SIZE(settings)) {
			fail_set(reterr_fail, FAIL_USAGE, "unknown argument %s", flag);
			return fail_hint(reterr_fail,
					 "hotfix-controller --help lists the flags");
		}
		value = value ? value + 1 : argv[++i];
		if (!value)
			return fail_set(reterr_fail, FAIL_USAGE, "%s needs a value", flag);
		if (config) {
			if (strlen(value) >= sizeof(s->file))
				return fail_set(reterr_fail, FAIL_USAGE,
						"--config: the path is too long");
			snprintf(s->file, sizeof(s->file), "%s", value);
			s->file_given = true;
			continue;
		}
		problem = settings_pass ? set(s, k, value) : NULL;
		if (problem)
			return fail_set(reterr_fail, FAIL_USAGE, "%s %s %s", settings[k].flag,
					value, problem);
	}
	return 0;
}

/* What was left to be made of other settings. */
static int complete(struct settings *s, struct fail *reterr_fail)
{
	char host[24] = "";

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char *at = (char *)s + settings[i].offset;
		AUTO_FREE char *path = NULL;
		enum kind kind = settings[i].kind;

		if ((kind != PATH && kind != PATH_OR_NONE && kind != DATABASE) || !at[0] ||
		    at[0] == '/' || (kind == DATABASE && is_server(at)))
			continue;
		if (asprintf(&path, "%s/%s", s->state_dir, at) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		if (strlen(path) >= settings[i].size)
			return fail_set(reterr_fail, FAIL_USAGE, "[%s] %s: %s is too long",
					settings[i].section, settings[i].key, path);
		memcpy(at, path, strlen(path) + 1);
	}
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
	struct settings s = {.file = SETTINGS_FILE_DEFAULT};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		set(&s, i, settings[i].otherwise);
	r = load_flags(argc, argv, false, &s, reterr_fail);
	if (r < 0)
		return r;
	r = load_file(&s, reterr_fail);
	if (r < 0)
		return r;
	r = load_flags(argc, argv, true, &s, reterr_fail);
	if (r < 0)
		return r;
	r = complete(&s, reterr_fail);
	if (r < 0)
		return r;
	*ret_settings = s;
	return 0;
}

void settings_usage(void)
{
	printf("hotfix-controller -- brings hot-fixes to a fleet of hosts, a few at a time\n\n"
	       "usage: hotfix-controller [--config FILE] [-n] [FLAG VALUE]...\n"
	       "       hotfix-controller init --state-dir DIR --name NAME...\n"
	       "       hotfix-controller --help | --version\n\n"
	       "  %-22s %s (default %s)\n"
	       "  %-22s check the configuration, print it, and exit\n\n"
	       "Settings: flag, or [section] key in the configuration file\n\n",
	       "--config FILE", "configuration file", SETTINGS_FILE_DEFAULT, "-n");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		printf("  %-12s [%s] %-12s %s (default \"%s\")\n",
		       settings[i].flag ? settings[i].flag : "", settings[i].section,
		       settings[i].key, settings[i].help, settings[i].otherwise);
}

void settings_print(const struct settings *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *at = (const char *)s + settings[i].offset;
		char listen[SETTINGS_ADDRESS_BYTES + 16];
		uint64_t ms;

		printf("%s.%s = ", settings[i].section, settings[i].key);
		if (settings[i].kind == DURATION) {
			memcpy(&ms, at, sizeof(ms));
			printf("%" PRIu64 "ms\n", ms);
		} else if (settings[i].kind == NUMBER) {
			memcpy(&ms, at, sizeof(ms));
			printf("%" PRIu64 "\n", ms);
		} else if (settings[i].kind == LISTEN) {
			printf("%s\n", format_listen((const void *)at, listen, sizeof(listen)));
		} else {
			printf("%s\n", at);
		}
	}
}
