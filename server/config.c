// SPDX-License-Identifier: BSD-2-Clause
#include "server/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "lib/cleanup.h"
#include "lib/hook.h"
#include "lib/label.h"
#include "lib/setting.h"
#include "server/health.h"

/* Kinds of text, beside those of lib/setting.h. */
enum kind { PATH = SETTING_OWN, NAME, GROUP, NAMES, POLICY, CHECKS, WORDS, URLS, LABELS };

static const struct setting settings[] = {
#define AT(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
	{"daemon", "state_dir", "--state-dir", PATH, AT(state_dir), "/var/lib/hotfixd", 0, 0,
	 "folder of the database and the lock"},
	{"daemon", "socket", "--socket", PATH, AT(socket), "/run/hotfixd.sock", 0, 0,
	 "Unix socket of the API"},
	{"daemon", "bpffs", "--bpffs", PATH, AT(bpffs), "/sys/fs/bpf/hotfix", 0, 0,
	 "folder in a bpffs that holds the pins"},
	{"daemon", "trust_dir", "--trust-dir", PATH, AT(trust_dir), "", 0, 0,
	 "folder of the root of trust, root's alone; empty: the state directory's name with -trust"},
	{"daemon", "user", "--user", NAME, AT(user), CONFIG_USER_DEFAULT, 0, 0,
	 "user, or number, as whom all runs that need not be root"},
	{"daemon", "parent_socket", "--parent-socket", PATH, AT(parent_socket),
	 "/run/hotfixd-parent.sock", 0, 0,
	 "where the loop finds a parent, when the service manager starts both"},
	{"daemon", "log_level", "--log-level", SETTING_LEVEL, AT(log_level), "info", 0, 0,
	 "error, warning, notice, info or debug"},
	{"access", "request_deadline", NULL, SETTING_DURATION, AT(request_ms), "30s", 1000,
	 3600000, "a request that takes longer to come in is hung up on"},
	{"access", "admin_group", NULL, GROUP, AT(admin_group), "hotfix", 0, 0,
	 "group whose members may change hot-fixes"},
	{"access", "readers", NULL, GROUP, AT(readers), "", 0, 0,
	 "group that may read, or \"all\"; empty: only root and admin_group"},
	{"roles", "read", NULL, NAMES, AT(roles[CONFIG_READ]), "", 0, 0,
	 "users and @groups that may look, or \"all\""},
	{"roles", "apply", NULL, NAMES, AT(roles[CONFIG_APPLY]), "", 0, 0,
	 "users and @groups that may store bundles and put them on trial"},
	{"roles", "commit", NULL, NAMES, AT(roles[CONFIG_COMMIT]), "", 0, 0,
	 "users and @groups that may decide what stays: commit, roll back, disable, remove"},
	{"roles", "trust", NULL, NAMES, AT(roles[CONFIG_TRUST]), "", 0, 0,
	 "users and @groups that may hand in roots and revocations"},
	{"trial", "lease", NULL, SETTING_DURATION, AT(lease_ms), "10s", 2000, 600000,
	 "how long the kernel lets a trial run without word from hotfixd"},
	{"trial", "health_off", NULL, CHECKS, AT(health_off), "", 0, 0,
	 "health checks that this host does without, such as \"psi_cpu psi_io\""},
	{"boot", "delay", NULL, SETTING_DURATION, AT(boot_delay_ms), "30s", 0, 3600000,
	 "after a boot, hot-fixes that are not critical come when the host has been up so long"},
	{"drift", "check", NULL, SETTING_DURATION, AT(drift_check_ms), "60s", 0, 86400000,
	 "how often the kernel is compared with what should run; 0s: never"},
	{"drift", "policy", NULL, POLICY, AT(drift_policy), "repair", 0, 0,
	 "repair or report: what others changed in the kernel"},
	{"worker", "deadline", NULL, SETTING_DURATION, AT(worker_deadline_ms), "120s", 1000,
	 3600000, "a worker that takes longer is killed and its change undone"},
	{"fleet", "groups", NULL, WORDS, AT(groups), "", 0, 0,
	 "groups of its fleet to which this host belongs, such as \"web berlin\""},
	{"fleet", "controller", NULL, URLS, AT(controller), "", 0, 0,
	 "https://host:port of each controller of its fleet; empty: as enrolment said"},
	{"fleet", "enroll", NULL, URLS, AT(enroll), "", 0, 0,
	 "https://host:port where a host with a token gets its certificate"},
	{"fleet", "token_file", NULL, PATH, AT(token_file), "", 0, 0,
	 "file with that token, which counts once"},
	{"fleet", "ca", NULL, PATH, AT(fleet_ca), "", 0, 0,
	 "authorities of the controllers, in PEM, for a certificate of an outside authority"},
	{"fleet", "certificate", NULL, PATH, AT(fleet_certificate), "", 0, 0,
	 "certificate of an outside authority, in PEM; its CN is the host's id"},
	{"fleet", "key", NULL, PATH, AT(fleet_key), "", 0, 0, "its key, in PEM"},
	{"fleet", "zone", NULL, WORDS, AT(zone), "", 0, 0,
	 "failure domain of this host, such as \"berlin-2\""},
	{"fleet", "labels", NULL, LABELS, AT(labels), "", 0, 0,
	 "labels of this host, such as \"role=web tier=1\""},
	{"fleet", "hold", NULL, WORDS, AT(hold), "", 0, 0,
	 "hot-fixes that the fleet leaves as they are on this host, or \"all\""},
	{"fleet", "min_interval", NULL, SETTING_DURATION, AT(min_interval_ms), "60s", 0,
	 86400000, "between two hot-fixes that the fleet applies here passes at least this"},
	{"fleet", "undo_window", NULL, SETTING_DURATION, AT(undo_window_ms), "24h", 0,
	 31 * 86400000ULL,
	 "so long a rollout may take off again what it brought as the first; 0s: never"},
#undef AT
};

const char *config_role_name(enum config_role role)
{
	static const char *const names[CONFIG_ROLES] = {[CONFIG_READ] = "read",
							[CONFIG_APPLY] = "apply",
							[CONFIG_COMMIT] = "commit",
							[CONFIG_TRUST] = "trust"};

	return names[role];
}

/* Words of [roles]: the next one into ret_word, from *at on. */
static bool next_name(const char **at, char ret_word[CONFIG_ROLE_BYTES])
{
	size_t len;

	*at += strspn(*at, " ");
	len = strcspn(*at, " ");
	snprintf(ret_word, CONFIG_ROLE_BYTES, "%.*s", (int)len, *at);
	*at += len;
	return len > 0;
}

static bool is_name(const char *word)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	word += word[0] == '@';
	return word[0] && word[0] != '-' && strspn(word, good) == strlen(word);
}

/* As server/agent.h takes it. */
static bool is_url(const char *url)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
	size_t len = strlen(url);

	len -= len && url[len - 1] == '/';
	return strncmp(url, "https://", 8) == 0 && len > 8 && strspn(url + 8, good) >= len - 8;
}

/* The next NAME=VALUE, from *at on; 0: there is none, -EINVAL: that is none. */
static int next_label(const char **at, char ret_name[CONFIG_LABEL_BYTES],
		      char ret_value[CONFIG_LABEL_BYTES])
{
	const char *word = *at + strspn(*at, " ");
	size_t len = strcspn(word, " "), name = strcspn(word, "=");

	*at = word + len;
	if (!len)
		return 0;
	if (!name || name + 1 >= len || len >= CONFIG_LABEL_BYTES)
		return -EINVAL;
	snprintf(ret_name, CONFIG_LABEL_BYTES, "%.*s", (int)name, word);
	snprintf(ret_value, CONFIG_LABEL_BYTES, "%.*s", (int)(len - name - 1), word + name + 1);
	return 1;
}

bool config_next_label(const char **at, char ret_name[CONFIG_LABEL_BYTES],
		       char ret_value[CONFIG_LABEL_BYTES])
{
	int r;

	do
		r = next_label(at, ret_name, ret_value);
	while (r < 0 || (r > 0 && label_check(ret_name, ret_value, NULL) < 0));
	return r;
}

static bool are_labels(const char *text)
{
	char name[CONFIG_LABEL_BYTES], value[CONFIG_LABEL_BYTES];
	int r;

	do
		r = next_label(&text, name, value);
	while (r > 0);
	return r == 0;
}

bool config_is_member(const struct config *c)
{
	return c->controller[0] || c->enroll[0];
}

static bool is(const struct setting *s, size_t offset)
{
	return s->offset == offset;
}

static const char *refuse(const struct setting *s, const char *value)
{
	char word[CONFIG_ROLE_BYTES];
	const char *rest = value;

	switch ((enum kind)s->kind) {
	case NAME:
		if (!is_name(value) || value[0] == '@')
			return "must be a user's name or number";
		break;
	case PATH:
		if (!s->otherwise[0] && !value[0])
			break;
		if (value[0] != '/')
			return "must be an absolute path";
		if ((is(s, offsetof(struct config, socket)) ||
		     is(s, offsetof(struct config, parent_socket))) &&
		    strlen(value) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return "is longer than a Unix socket path may be (107 bytes)";
		if (is(s, offsetof(struct config, bpffs)) && strchr(strrchr(value, '/'), '.'))
			return "must not end in a name with a dot: a bpffs refuses those";
		break;
	case POLICY:
		if (strcmp(value, "repair") != 0 && strcmp(value, "report") != 0)
			return "must be repair or report";
		break;
	case CHECKS:
		if (!health_off_valid(value))
			return "names no health check; hotfixd(8) lists them";
		break;
	case WORDS:
		for (rest += strspn(rest, " "); *rest; rest += strspn(rest, " ")) {
			size_t n = strcspn(rest, " ");

			if (n >= sizeof(word))
				return "is too long";
			snprintf(word, n + 1, "%s", rest);
			if (!hook_name_valid(word))
				return "must be words of a-z, 0-9 and '-' with blanks between them";
			rest += n;
		}
		break;
	case URLS:
		for (rest += strspn(rest, " "); *rest; rest += strspn(rest, " ")) {
			size_t n = strcspn(rest, " ");
			char url[256];

			snprintf(url, sizeof(url), "%.*s", (int)n, rest);
			if (n >= sizeof(url) || !is_url(url))
				return "must be https://host:port";
			rest += n;
		}
		break;
	case LABELS:
		if (!are_labels(value))
			return "must be KEY=VALUE with blanks between them";
		break;
	case NAMES:
		if (strlen(value) >= sizeof(word))
			return "is too long";
		while (next_name(&rest, word)) {
			if (!is_name(word))
				return "must be users and @groups with blanks between them";
			if (strcmp(word, "all") == 0 &&
			    !is(s, offsetof(struct config, roles[CONFIG_READ])))
				return "cannot be all: that much is for some only";
		}
		break;
	case GROUP:
		break;
	}
	return NULL;
}

static const struct setting_table table = {.program = "hotfixd",
					   .file = CONFIG_FILE_DEFAULT,
					   .setting = settings,
					   .n = ARRAY_SIZE(settings),
					   .refuse = refuse};

int config_load(int argc, char **argv, struct config *ret_config, struct fail *reterr_fail)
{
	struct config c = {0};
	int r = setting_load(&table, argc, argv, &c, &c.command, reterr_fail);

	if (r == 0)
		*ret_config = c;
	return r;
}

int config_log_priority(const struct config *c)
{
	return setting_log_priority(c->log_level);
}

/* Each of them, as a role has them: the first that nobody knows into ret_word. */
static bool has_stranger(const char *names, char ret_word[CONFIG_ROLE_BYTES])
{
	while (next_name(&names, ret_word))
		if (ret_word[0] == '@'		   ? !getgrnam(ret_word + 1)
		    : strcmp(ret_word, "all") != 0 ? !getpwnam(ret_word)
						   : false)
			return true;
	return false;
}

int config_check_groups(const struct config *c, struct fail *reterr_fail)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *at = (const char *)c + settings[i].offset;
		char word[CONFIG_ROLE_BYTES];

		if (settings[i].kind == NAMES && has_stranger(at, word)) {
			fail_set(reterr_fail, FAIL_USAGE, "[%s] %s: there is no such %s: %s",
				 settings[i].section, settings[i].key,
				 word[0] == '@' ? "group" : "user", word);
			return fail_hint(reterr_fail, "until there is, it lets nobody in");
		}
		if (settings[i].kind != GROUP || strcmp(at, settings[i].otherwise) == 0 ||
		    (at == c->readers && strcmp(at, "all") == 0) || getgrnam(at))
			continue;
		fail_set(reterr_fail, FAIL_USAGE, "[%s] %s = %s: there is no such group",
			 settings[i].section, settings[i].key, at);
		return fail_hint(reterr_fail, "until there is, it lets nobody in");
	}
	return 0;
}

int config_check_labels(const struct config *c, struct fail *reterr_fail)
{
	char name[CONFIG_LABEL_BYTES], value[CONFIG_LABEL_BYTES], why[FAIL_MESSAGE_BYTES];
	const char *at = c->labels;
	int r = c->zone[0] ? label_check("zone", c->zone, reterr_fail) : 0;

	while (r == 0 && next_label(&at, name, value) > 0)
		r = label_check(name, value, reterr_fail);
	if (r < 0 && reterr_fail) {
		snprintf(why, sizeof(why), "%s", reterr_fail->message);
		snprintf(reterr_fail->message, sizeof(reterr_fail->message), "[fleet] %.200s",
			 why);
	}
	return r;
}

void config_usage(void)
{
	setting_usage(&table, "hotfixd -- keeps this kernel fixed while it runs\n\n"
			      "usage: hotfixd [--config FILE] [-n] [FLAG VALUE]...\n"
			      "       hotfixd --help | --version\n");
}

void config_print(const struct config *c)
{
	setting_print(&table, c);
}
