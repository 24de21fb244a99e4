// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/client.h -- speaks HTTP: to the daemon on its Unix socket, or with a context (cli/context.h) to
 * a fleet's controller, by TLS 1.3. The only user of libcurl.
 *
 * Context    blocking; Ctrl-C (cli_catch_interrupt) ends a call within a second.
 * Errors     FAIL_UNREACHABLE no daemon behind the socket; FAIL_PERMISSION the socket may
 *            not be opened; FAIL_TIMEOUT no answer in time; -EINTR interrupted (code
 *            FAIL_INTERNAL); else what the daemon's error document says.
 * Ownership  *ret_doc is a new reference.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "cli/cli.h"

#define CLIENT_TIMEOUT_MS 60000

struct client_call {
	const char *method; /* "GET" */
	const char *path;   /* "/v1/status" */
	const void *body;   /* or NULL */
	size_t body_len;
	const char *content_type; /* of the body; NULL: application/json */
	uint64_t timeout_ms;	  /* 0: CLIENT_TIMEOUT_MS */
	json_t **reterr_doc;	  /* or NULL: the daemon's error document, whole */
};

int client_call(const struct cli *c, const struct client_call *call, json_t **ret_doc,
		struct fail *reterr_fail);
/* Short form. */
int client_get(const struct cli *c, json_t **ret_doc, struct fail *reterr_fail,
	       const char *path_fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * A GET whose answer comes line by line. fn returns non-zero to stop (0 is then returned).
 * Also ends, with 0, when interrupted or when stdout has no reader any more.
 */
int client_stream(const struct cli *c, const char *path,
		  int (*fn)(const char *line, size_t len, void *cookie), void *cookie,
		  struct fail *reterr_fail);
