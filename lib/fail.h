// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/fail.h -- one failure as the operator will read it: a stable code, what
 * happened and why, and what to do.  The only table that maps a code to the
 * CLI's exit status and to the HTTP status.
 *
 * Context    any
 * Errors     fail_set() returns the negative errno of its code, so that a
 *            function may end with  return fail_set(reterr_fail, ...);
 * Ownership  a struct fail is plain memory of the caller; functions write
 *            their reterr_fail on failure only and accept NULL.
 */
#pragma once

#include <jansson.h>

enum fail_code {
	FAIL_NONE,
	FAIL_INTERNAL,	    /* a bug or an exhausted resource of ours */
	FAIL_STORAGE,	    /* state directory or database: full, read-only, damaged */
	FAIL_USAGE,	    /* the request itself is malformed */
	FAIL_NOT_FOUND,	    /* no such hot-fix, serial, file */
	FAIL_BAD_FORMAT,    /* not a bundle, manifest, root, ELF as specified */
	FAIL_BAD_SIGNATURE, /* fewer good signatures by trusted keys than the threshold */
	FAIL_BAD_DIGEST,    /* object bytes are not those the manifest signs */
	FAIL_BAD_OBJECT,    /* hooks, program or map types differ from the manifest, no BTF */
	FAIL_NO_TRUST,	    /* no root imported yet */
	FAIL_DOWNGRADE,	    /* serial below the high-water mark or floor */
	FAIL_EQUIVOCATION,  /* same name and serial, other digest */
	FAIL_EXPIRED,	    /* first attach after the manifest's expiry */
	FAIL_POLICY,	    /* quarantined, kill switch, requires/conflicts */
	FAIL_INCOMPATIBLE,  /* this host cannot: kernel, BTF, hook, trampolines */
	FAIL_LOAD,	    /* libbpf or the verifier refused; log kept */
	FAIL_ATTACH,	    /* loaded, but attach or registration failed */
	FAIL_UNHEALTHY,	    /* trial ended by health: rolled back */
	FAIL_TIMEOUT,	    /* --wait ran out, or a worker's deadline */
	FAIL_CONFLICT, /* another change of this hot-fix is under way, or its state forbids */
	FAIL_UNREACHABLE, /* daemon not there */
	FAIL_PERMISSION,  /* peer may not do this */
	FAIL_REVOKED,	  /* its certificate was revoked */
	FAIL_CODES_
};

#define FAIL_MESSAGE_BYTES 1024
#define FAIL_HINT_BYTES	   512

struct fail {
	enum fail_code code;
	char message[FAIL_MESSAGE_BYTES]; /* what and why, one sentence, no newline */
	char hint[FAIL_HINT_BYTES];	  /* what to do; may be empty */
};

const char *fail_name(enum fail_code code);    /* "bad_signature" */
int fail_exit(enum fail_code code);	       /* 0..11, see README "Exit codes" */
int fail_http(enum fail_code code);	       /* 200, 400, 404, ... */
int fail_errno(enum fail_code code);	       /* positive errno */
enum fail_code fail_by_name(const char *name); /* FAIL_INTERNAL when unknown */

/* Both return -fail_errno(code); a hint follows its fail_set(). What is not plain
 * (lib/plain.h) in the result becomes '?'. */
int fail_set(struct fail *f, enum fail_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int fail_hint(struct fail *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* On stderr, for the end of a program; returns its exit status. */
int fail_report(const struct fail *f, const char *program);
/* What was printed is out, as far as can be known: 0, or that it is not is reported. */
int fail_flush_stdout(const char *program);

/* {"error":{"code","message","hint"}}; NULL when out of memory. */
json_t *fail_to_json(const struct fail *f);
void fail_from_json(const json_t *doc, struct fail *ret_fail);
