// SPDX-License-Identifier: BSD-2-Clause
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "lib/hook.h"
#include "lib/json.h"
#include "lib/plain.h"

int cli_flush(struct fail *reterr_fail)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return fail_set(reterr_fail, FAIL_INTERNAL, "writing to stdout: %s", strerror(errno));
}

int cli_print_json(const json_t *doc, struct fail *reterr_fail)
{
	AUTO_JSON json_t *whole = NULL;

	/* Others' text is ASCII here too: a terminal may be at the other end. */
	if (json_is_object(doc) && !json_object_get(doc, "schema_version")) {
		whole = json_pack("{s:i}", "schema_version", 1);
		if (!whole || json_object_update(whole, (json_t *)(uintptr_t)doc) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		doc = whole;
	}
	if (json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "writing to stdout: %s",
				strerror(errno));
	putchar('\n');
	return cli_flush(reterr_fail);
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	if (c->json)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	plain_make(line, false);
	fflush(stdout);
	fprintf(stderr, "hotfixctl: %s\n", line);
}

void cli_print_fail(const struct cli *c, const struct fail *f)
{
	fflush(stdout);
	if (c->json) {
		AUTO_JSON json_t *doc = fail_to_json(f);

		json_dumpf(doc, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
		fputc('\n', stderr);
		return;
	}
	fprintf(stderr, "hotfixctl: %s\n", text_safe(f->message));
	if (f->hint[0])
		fprintf(stderr, "  hint: %s\n", text_safe(f->hint));
}

/* --- interruption --------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

void cli_catch_interrupt(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt}; /* no SA_RESTART */

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool cli_interrupted(void)
{
	return interrupted;
}

/* --- arguments ------------------------------------------------------------------------ */

int cli_parse_u64(const char *what, const char *s, uint64_t min, uint64_t max,
		  uint64_t *ret_value, struct fail *reterr_fail)
{
	size_t digits = strspn(s, "0123456789");
	unsigned long long n = 0;

	errno = 0;
	if (digits && !s[digits])
		n = strtoull(s, NULL, 10);
	if (!digits || s[digits] || errno || n < min || n > max)
		return fail_set(reterr_fail, FAIL_USAGE,
				"%s: \"%s\" is not a number from %" PRIu64 " to %" PRIu64, what,
				s, min, max);
	*ret_value = n;
	return 0;
}

int cli_parse_version(const char *arg, char ret_name[65], uint64_t *ret_serial,
		      struct fail *reterr_fail)
{
	const char *at = strchr(arg, '@');
	size_t len = at ? (size_t)(at - arg) : strlen(arg);
	uint64_t serial = 0;
	int r;

	if (len <= HOOK_NAME_MAX)
		snprintf(ret_name, HOOK_NAME_MAX + 1, "%.*s", (int)len, arg);
	if (len > HOOK_NAME_MAX || !hook_name_valid(ret_name)) {
		r = fail_set(reterr_fail, FAIL_USAGE, "\"%s\" cannot be the name of a hot-fix",
			     arg);
		fail_hint(reterr_fail, "NAME or NAME@SERIAL; hotfixctl list shows the names");
		return r;
	}
	if (at) {
		r = cli_parse_u64("the serial behind @", at + 1, 1, INT64_MAX, &serial,
				  reterr_fail);
		if (r < 0)
			return r;
	}
	*ret_serial = serial;
	return 0;
}
