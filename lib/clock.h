// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/clock.h -- time: reading the clocks, durations ("90s", "5m", "2h", "1d"),
 * RFC 3339 UTC timestamps, and the id of this boot.
 *
 * Context    any
 * Errors     -EINVAL not a duration or timestamp; -ERANGE out of bounds.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CLOCK_TIMESTAMP_BYTES 25 /* "2026-05-04T10:11:12.123Z" + NUL */
#define CLOCK_DURATION_BYTES  64
#define CLOCK_BOOT_ID_BYTES   37 /* uuid + NUL */

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns() */
uint64_t clock_real_ms(void);
uint64_t clock_up_ms(void); /* since boot, suspended or not */

/* A plain number means seconds; "ms" is a unit too. */
int clock_parse_duration(const char *s, uint64_t *ret_ms);
/* Exact: "500 ms", "1 min 30 s", "1 d". */
const char *clock_format_duration(uint64_t ms, char out[CLOCK_DURATION_BYTES]);
int clock_parse_timestamp(const char *s, uint64_t *ret_ms); /* "...Z" only, ms optional */
const char *clock_format_timestamp(uint64_t real_ms, char out[CLOCK_TIMESTAMP_BYTES]);

/* /proc/sys/kernel/random/boot_id; read once. */
const char *clock_boot_id(void);
