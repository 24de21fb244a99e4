// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/cc_default.h -- the host's default congestion control while a hot-fix is it: taken,
 * written again after a registration was replaced, given back. What was the default
 * before is kept in the gate.
 *
 * Context    worker process in the network namespace that is meant; CAP_NET_ADMIN.
 * Errors     -errno of reading or writing net.ipv4.tcp_congestion_control.
 */
#pragma once

#include <stdbool.h>

#include "bpf/gate.h"

#define CC_DEFAULT_SYSCTL "/proc/sys/net/ipv4/tcp_congestion_control"

/* Can sockets choose this algorithm? */
bool cc_default_available(const char *cc_name);
bool cc_default_is(const char *cc_name);

/*
 * As a version wants it. anew: cc_name was registered anew: the kernel holds the ops that
 * were there when the name was written, not the name.
 */
int cc_default_settle(struct gate *g, const char *cc_name, bool wanted, bool anew);
/* registered: the name of ours that is about to go, or "". */
int cc_default_give_back(struct gate *g, const char *registered);
