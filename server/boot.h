// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/boot.h -- may hot-fixes be applied in this boot of the host? Not with a kill switch,
 * and not by themselves when the host crashed twice within an hour.
 *
 * A boot counts as crashed when the next one finds that hotfixd was never asked to stop in it,
 * and that a change was under way, or that it had begun less than BOOT_YOUNG_MS ago: a host that
 * loses its power after months of service has not crashed for hotfixd.
 *
 * Context    at start, before the loop; boot_stop() and boot_resume() from the loop: one commit.
 * Errors     as store/store.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "server/policy.h"
#include "store/store.h"

#define BOOT_YOUNG_MS	 3600000ULL
#define BOOT_CAUSE_BYTES 200

struct boot {
	enum policy_boot state;
	bool crashed;		      /* the one before this */
	uint64_t last_ms;	      /* when that began */
	char cause[BOOT_CAUSE_BYTES]; /* what the kernel said when it went down; "" unknown */
};

/* Pure: last is the boot before this one, older_crash_ms the last crash seen before it (0: none).
 */
bool boot_has_crashed(const struct store_boot *last, bool change_open, uint64_t now_ms);
bool boot_is_held(bool crashed, uint64_t older_crash_ms, uint64_t now_ms);

/*
 * Records this boot. state_dir: the file "no-apply" in it is a kill switch. ret_boot is right
 * also when recording failed (full disk).
 */
int boot_begin(struct store *s, const char *state_dir, uint64_t now_ms, struct boot *ret_boot);
/* hotfixd was asked to stop: what comes after is no crash. */
int boot_stop(struct store *s);
/* An operator says so: crashes so far do not count any more. */
int boot_resume(struct store *s);

/*
 * The lines in which the kernel of earlier boots said why it went down, from pstore and from
 * where systemd-pstore keeps it, below root ("" on a host; tests have another). For a worker:
 * they are root's. [{"ms":N,"cause":TEXT}]; NULL out of memory.
 */
json_t *boot_records(const char *root);
/* The first of them that is no older than since_ms. false: there is none. */
bool boot_cause(const json_t *records, uint64_t since_ms, char ret_cause[BOOT_CAUSE_BYTES]);
