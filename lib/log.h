// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/log.h -- one line per event on stderr: "<3>what happened key=value ...".
 * Under systemd (JOURNAL_STREAM is set) lines carry the "<N>" priority that
 * sd-daemon(3) describes; on a terminal they carry the time instead.
 *
 * Context    any thread, no allocation. Only server and cli call it: lib, store
 *            and bpf return errors (lib/fail.h).
 */
#pragma once

#include <syslog.h> /* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */

void log_open(int max_priority);
void log_event(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
