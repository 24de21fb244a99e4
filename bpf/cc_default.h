// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/cc_default.h -- the default congestion control of the network namespace we are in
 * while a hot-fix is it: taken, and given back. What was the default before is kept in the
 * gate.
 *
 * Context    worker process; CAP_NET_ADMIN.
 * Errors     -errno of reading or writing net.ipv4.tcp_congestion_control.
 */
#pragma once

#include <stdbool.h>

#include "bpf/gate.h"

#define CC_DEFAULT_SYSCTL "/proc/sys/net/ipv4/tcp_congestion_control"

/* Can sockets choose this algorithm? */
bool cc_default_available(const char *cc_name);
int cc_default_get(char ret_name[GATE_CC_BYTES]);
bool cc_default_is(const char *cc_name);

/*
 * Makes cc_name the default and keeps what was it before. To be done again when cc_name was
 * registered anew: the kernel holds the ops that were there when the name was written.
 */
int cc_default_take(struct gate *g, const char *cc_name);
/*
 * A default that is ours, by this name or a version's, becomes to; "": what was it before.
 * Any other one is somebody's choice and stays. own: the namespace of hotfixd. 1: changed.
 */
int cc_default_leave(const struct gate *g, const char *ours, const char *to, bool own);
