// SPDX-License-Identifier: BSD-2-Clause
#include "lib/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/plain.h"

static const struct {
	const char *name;
	int exit, http, err;
} codes[FAIL_CODES_] = {
	/* clang-format off */
	[FAIL_NONE]	     = { "ok",		   0, 200, 0 },
	[FAIL_INTERNAL]	     = { "internal",	   1, 500, EIO },
	[FAIL_STORAGE]	     = { "storage",	   1, 507, ENOSPC },
	[FAIL_USAGE]	     = { "usage",	   2, 400, EINVAL },
	[FAIL_NOT_FOUND]     = { "not_found",	   3, 404, ENOENT },
	[FAIL_BAD_FORMAT]    = { "bad_format",	   4, 422, EBADMSG },
	[FAIL_BAD_SIGNATURE] = { "bad_signature",  4, 422, EKEYREJECTED },
	[FAIL_BAD_DIGEST]    = { "bad_digest",	   4, 422, EBADMSG },
	[FAIL_BAD_OBJECT]    = { "bad_object",	   4, 422, ENOEXEC },
	[FAIL_NO_TRUST]	     = { "no_trust",	   4, 422, ENOKEY },
	[FAIL_DOWNGRADE]     = { "downgrade",	   4, 422, ESTALE },
	[FAIL_EQUIVOCATION]  = { "equivocation",   4, 422, EEXIST },
	[FAIL_EXPIRED]	     = { "expired",	   4, 422, EKEYEXPIRED },
	[FAIL_POLICY]	     = { "policy",	   4, 422, EPERM },
	[FAIL_INCOMPATIBLE]  = { "incompatible",   5, 422, EOPNOTSUPP },
	[FAIL_LOAD]	     = { "load_failed",	   6, 422, ENOTSUP },
	[FAIL_ATTACH]	     = { "attach_failed",  6, 422, EADDRINUSE },
	[FAIL_UNHEALTHY]     = { "unhealthy",	   7, 422, ECANCELED },
	[FAIL_TIMEOUT]	     = { "timeout",	   8, 504, ETIMEDOUT },
	[FAIL_CONFLICT]	     = { "conflict",	   9, 409, EBUSY },
	[FAIL_UNREACHABLE]   = { "unreachable",	  10, 503, ECONNREFUSED },
	[FAIL_PERMISSION]    = { "permission",	  11, 403, EACCES },
	[FAIL_REVOKED]	     = { "revoked",	  11, 403, EKEYREVOKED },
	/* clang-format on */
};

const char *fail_name(enum fail_code code)
{
	return codes[code].name;
}

int fail_exit(enum fail_code code)
{
	return codes[code].exit;
}

int fail_http(enum fail_code code)
{
	return codes[code].http;
}

int fail_errno(enum fail_code code)
{
	return codes[code].err;
}

enum fail_code fail_by_name(const char *name)
{
	for (int i = 0; i < FAIL_CODES_; i++)
		if (name && strcmp(codes[i].name, name) == 0)
			return i;
	return FAIL_INTERNAL;
}

/* For fail_hint() without a struct fail: a caller who wants no words still gets the errno. */
static __thread enum fail_code last_code = FAIL_INTERNAL;

int fail_set(struct fail *f, enum fail_code code, const char *fmt, ...)
{
	va_list ap;

	last_code = code;
	if (f) {
		f->code = code;
		f->hint[0] = 0;
		va_start(ap, fmt);
		vsnprintf(f->message, sizeof(f->message), fmt, ap);
		va_end(ap);
		plain_make(f->message, false); /* it may quote anybody */
	}
	return -fail_errno(code);
}

int fail_hint(struct fail *f, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return -fail_errno(last_code);
	va_start(ap, fmt);
	vsnprintf(f->hint, sizeof(f->hint), fmt, ap);
	va_end(ap);
	plain_make(f->hint, false);
	return -fail_errno(f->code);
}

int fail_report(const struct fail *f, const char *program)
{
	fprintf(stderr, "%s: %s\n", program, f->message);
	if (f->hint[0])
		fprintf(stderr, "%s: %s\n", program, f->hint);
	return fail_exit(f->code);
}

int fail_flush_stdout(const char *program)
{
	struct fail fail;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fail_set(&fail, FAIL_INTERNAL, "writing to stdout: %s", strerror(errno));
	return fail_report(&fail, program);
}

json_t *fail_to_json(const struct fail *f)
{
	return json_pack("{s:{s:s, s:s, s:s}}", "error", "code", fail_name(f->code), "message",
			 f->message, "hint", f->hint);
}

void fail_from_json(const json_t *doc, struct fail *ret_fail)
{
	const json_t *e = json_object_get(doc, "error");
	const char *message = json_string_value(json_object_get(e, "message"));
	const char *hint = json_string_value(json_object_get(e, "hint"));

	fail_set(ret_fail, fail_by_name(json_string_value(json_object_get(e, "code"))), "%s",
		 message ? message : "the answer carries no message");
	if (hint)
		fail_hint(ret_fail, "%s", hint);
}
