// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/deadline.h -- how long a request may take to come in, from its first byte to its last:
 * evhttp's own time limits start anew with each byte. Who takes longer is hung up on.
 *
 * Context    loop thread; one timer for each connection on which a request has begun.
 * Ownership  to be freed after its evhttp.
 */
#pragma once

#include <stdint.h>

#include <event2/http.h>

#include "lib/cleanup.h"

struct deadlines;

/* For all connections that http takes from now on. */
int deadlines_new(struct evhttp *http, uint64_t ms, struct deadlines **ret_deadlines);
struct deadlines *deadlines_free(struct deadlines *d);
/* req is there as a whole; sets its on_complete function. */
void deadlines_met(struct deadlines *d, struct evhttp_request *req);

DEFINE_AUTO(struct deadlines, deadlines_free)
