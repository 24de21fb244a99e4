// SPDX-License-Identifier: BSD-2-Clause
#include "lib/setting.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <ini.h>

#include "lib/cleanup.h"
#include "lib/clock.h"

#define DIGITS_MAX 18

static const struct {
	const char *name;
	int priority;
} levels[] = {{"error", LOG_ERR},
	      {"warning", LOG_WARNING},
	      {"notice", LOG_NOTICE},
	      {"info", LOG_INFO},
	      {"debug", LOG_DEBUG}};

int setting_log_priority(const char *level)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i].name, level) == 0)
			return levels[i].priority;
	return -EINVAL;
}

/* ---- one value ------------------------------------------------------------------------ */

static const char *set_duration(const struct setting *s, void *at, const char *value)
{
	static char why[2 * CLOCK_DURATION_BYTES + 32];
	char min[CLOCK_DURATION_BYTES], max[CLOCK_DURATION_BYTES];
	uint64_t ms;

	if (clock_parse_duration(value, &ms) < 0)
		return "must be a duration such as 10s, 5m or 500ms";
	if (ms < s->min || ms > s->max) {
		snprintf(why, sizeof(why), "is out of bounds: from %s to %s",
			 clock_format_duration(s->min, min),
			 clock_format_duration(s->max, max));
		return why;
	}
	memcpy(at, &ms, sizeof(ms));
	return NULL;
}

static const char *set_number(const struct setting *s, void *at, const char *value)
{
	static char why[80];
	size_t len = strlen(value);
	uint64_t n = 0;

	if (len && len <= DIGITS_MAX && strspn(value, "0123456789") == len)
		n = strtoull(value, NULL, 10);
	else
		len = 0;
	if (!len || n < s->min || n > s->max) {
		snprintf(why, sizeof(why), "must be a number from %" PRIu64 " to %" PRIu64,
			 s->min, s->max);
		return why;
	}
	memcpy(at, &n, sizeof(n));
	return NULL;
}

/* NULL when value was taken, else why not: good until the next call. */
static const char *set(const struct setting_table *t, const struct setting *s, void *values,
		       const char *value)
{
	char *at = (char *)values + s->offset;
	const char *problem = NULL;

	if (s->kind == SETTING_DURATION)
		return set_duration(s, at, value);
	if (s->kind == SETTING_NUMBER)
		return set_number(s, at, value);
	if (s->kind >= SETTING_OWN)
		problem = t->refuse(s, value);
	else if (setting_log_priority(value) < 0)
		problem = "must be error, warning, notice, info or debug";
	if (problem)
		return problem;
	if (strlen(value) >= s->size)
		return "is too long";
	memcpy(at, value, strlen(value) + 1);
	return NULL;
}

/* ---- the file --------------------------------------------------------------------------- */

struct file_cookie {
	const struct setting_table *t;
	void *values;
	const char *problem; /* NULL: none so far */
	char where[160], stranger[96];
};

static int on_ini(void *cookie, const char *section, const char *key, const char *value)
{
	struct file_cookie *f = cookie;

	if (f->problem)
		return 1;
	for (size_t i = 0; i < f->t->n; i++) {
		const struct setting *s = &f->t->setting[i];

		if (strcmp(s->section, section) != 0 || strcmp(s->key, key) != 0)
			continue;
		f->problem = set(f->t, s, f->values, value);
		if (f->problem)
			snprintf(f->where, sizeof(f->where), "[%s] %s = %.64s", section, key,
				 value);
		return !f->problem;
	}
	snprintf(f->stranger, sizeof(f->stranger), "is not a setting of %s", f->t->program);
	f->problem = f->stranger;
	snprintf(f->where, sizeof(f->where), "[%.64s] %.64s", section, key);
	return 0;
}

static int load_file(const struct setting_table *t, const struct setting_command *c,
		     void *values, struct fail *reterr_fail)
{
	struct file_cookie f = {.t = t, .values = values};
	struct stat st;
	int line;

	if (!c->file_given && access(c->file, F_OK) < 0)
		return 0;
	if (stat(c->file, &st) == 0 && S_ISDIR(st.st_mode)) /* reads as an empty file */
		return fail_set(reterr_fail, FAIL_USAGE, "%s is a folder, not a configuration",
				c->file);
	line = ini_parse(c->file, on_ini, &f);
	if (line == -1)
		return fail_set(reterr_fail, FAIL_USAGE,
				"cannot read configuration file %s: %s", c->file,
				strerror(errno));
	if (line < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory reading %s",
				c->file);
	if (!line)
		return 0;
	fail_set(reterr_fail, FAIL_USAGE, "%s, line %d: %s %s", c->file, line,
		 f.problem ? f.where : "the line",
		 f.problem ? f.problem : "is neither [section] nor key = value");
	return fail_hint(reterr_fail, "%s --help lists the settings; %s -n checks", t->program,
			 t->program);
}

/* ---- the command line ------------------------------------------------------------------- */

/* arg, of which the first len bytes stand before a '=', is this flag. */
static bool is_flag(const char *flag, const char *arg, size_t len)
{
	return strlen(flag) == len && strncmp(flag, arg, len) == 0;
}

static int take_file(struct setting_command *c, const char *value, struct fail *reterr_fail)
{
	if (strlen(value) >= sizeof(c->file))
		return fail_set(reterr_fail, FAIL_USAGE, "--config: the path is too long");
	snprintf(c->file, sizeof(c->file), "%s", value);
	c->file_given = true;
	return 0;
}

/* Twice: without values it finds --config, with them it overrides the file. */
static int load_flags(const struct setting_table *t, int argc, char **argv, void *values,
		      struct setting_command *c, struct fail *reterr_fail)
{
	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i], *value = strchr(flag, '='), *problem;
		size_t k, len = value ? (size_t)(value - flag) : strlen(flag);
		bool config;

		if (strcmp(flag, "-n") == 0) {
			c->check_only = true;
			continue;
		}
		config = is_flag("--config", flag, len);
		for (k = 0; k < t->n; k++)
			if (t->setting[k].flag && is_flag(t->setting[k].flag, flag, len))
				break;
		if (!config && k == t->n) {
			fail_set(reterr_fail, FAIL_USAGE, "unknown argument %s", flag);
			return fail_hint(reterr_fail, "%s --help lists the flags", t->program);
		}
		value = value ? value + 1 : argv[++i];
		if (!value)
			return fail_set(reterr_fail, FAIL_USAGE, "%s needs a value", flag);
		if (config) {
			int r = take_file(c, value, reterr_fail);

			if (r < 0)
				return r;
			continue;
		}
		problem = values ? set(t, &t->setting[k], values, value) : NULL;
		if (problem)
			return fail_set(reterr_fail, FAIL_USAGE, "%s %s %s", t->setting[k].flag,
					value, problem);
	}
	return 0;
}

int setting_load(const struct setting_table *t, int argc, char **argv, void *values,
		 struct setting_command *ret_command, struct fail *reterr_fail)
{
	struct setting_command c = {0};
	int r;

	snprintf(c.file, sizeof(c.file), "%s", t->file);
	for (size_t i = 0; i < t->n; i++)
		set(t, &t->setting[i], values, t->setting[i].otherwise);
	r = load_flags(t, argc, argv, NULL, &c, reterr_fail);
	if (r == 0)
		r = load_file(t, &c, values, reterr_fail);
	if (r == 0)
		r = load_flags(t, argc, argv, values, &c, reterr_fail);
	if (r == 0)
		*ret_command = c;
	return r;
}

/* ---- for people --------------------------------------------------------------------------- */

void setting_usage(const struct setting_table *t, const char *head)
{
	int flags = (int)strlen("--config FILE"), names = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct setting *s = &t->setting[i];
		int name = (int)(strlen(s->section) + strlen(s->key)) + 3;

		flags = s->flag && (int)strlen(s->flag) > flags ? (int)strlen(s->flag) : flags;
		names = name > names ? name : names;
	}
	printf("%s\n"
	       "  %-*s  configuration file (default %s)\n"
	       "  %-*s  check the configuration, print it, and exit\n\n"
	       "Settings: flag, or [section] key in the configuration file\n\n",
	       head, flags, "--config FILE", t->file, flags, "-n");
	for (size_t i = 0; i < t->n; i++) {
		const struct setting *s = &t->setting[i];
		int name = printf("  %-*s  [%s] %s", flags, s->flag ? s->flag : "", s->section,
				  s->key);

		printf("%*s  %s (default \"%s\")\n", names + flags + 4 - name, "", s->help,
		       s->otherwise);
	}
}

void setting_print(const struct setting_table *t, const void *values)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct setting *s = &t->setting[i];
		const char *at = (const char *)values + s->offset;
		uint64_t n;

		printf("%s.%s = ", s->section, s->key);
		if (s->kind == SETTING_DURATION || s->kind == SETTING_NUMBER) {
			memcpy(&n, at, sizeof(n));
			printf("%" PRIu64 "%s\n", n, s->kind == SETTING_DURATION ? "ms" : "");
		} else {
			printf("%s\n", at);
		}
	}
}
