// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/vitals.h -- how the host is: the kernel's counters of oopses and warnings, its
 * taint bits and log, pressure, and TCP, as readings for server/health.h. Of the log only what
 * the kernel itself said counts, not what processes write into it.
 *
 * Context    loop thread; nothing blocks, at most VITALS_RECORDS_MAX log records a read.
 * Errors     -ENOMEM. What cannot be read is HEALTH_UNKNOWN in the sample, with the reason.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "server/health.h"

#define VITALS_RECORDS_MAX 4096

struct vitals;

/*
 * root stands before every path: "" for the real ones. log_fd: its /dev/kmsg, which takes a
 * capability to open, and is read from its beginning; -1: it is opened here.
 */
int vitals_new(const char *root, int log_fd, struct vitals **ret_vitals);
struct vitals *vitals_free(struct vitals *v);
/* Fills the checks it knows (oops warn taint kmsg psi_* tcp_*), no others. */
void vitals_read(struct vitals *v, uint64_t now_ns, struct health_sample *sample);
/* Sequence number of the newest record of the kernel's log that was read; 0 none. */
uint64_t vitals_log_seq(const struct vitals *v);
/* How many of the records read have a number above seq and are trouble (64 at most). */
uint64_t vitals_log_trouble_since(const struct vitals *v, uint64_t seq);

DEFINE_AUTO(struct vitals, vitals_free)
