// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/policy.h -- may this version be applied on this host now? Pure: the
 * facts come in, a refusal with its reason comes out, before anything is touched.
 *
 * Errors     FAIL_DOWNGRADE, FAIL_EXPIRED, FAIL_POLICY, FAIL_INCOMPATIBLE, FAIL_USAGE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/fail.h"
#include "store/directive.h"
#include "store/manifest.h"
#include "store/revocation.h"

/*
 * One signature moves a high-water mark no further than this, so that no stolen key drives it to
 * the end of all serials. Wide enough to begin with a date and a number (2026112201) or the seconds
 * since 1970.
 */
#define POLICY_SERIAL_JUMP_MAX (1ULL << 32)

enum policy_boot {
	POLICY_BOOT_NORMAL,
	POLICY_BOOT_NO_APPLY,
	POLICY_BOOT_OFF,
	POLICY_BOOT_HELD, /* after two crashes, until an operator says so */
};

struct policy_facts {
	const struct manifest *manifest;
	uint64_t now_ms;		  /* authority_now_ms() */
	uint64_t high_water;		  /* highest serial ever committed here */
	uint64_t floor;			  /* of the root, 0 none */
	uint64_t root_expires_ms;	  /* 0: never */
	const struct revocation *revoked; /* or NULL */
	bool pinned_other;     /* the fleet's status names another manifest for this serial */
	bool committed_before; /* this very serial, on this host */
	bool removed;	       /* nothing of it is committed now */
	bool back; /* a rollback or a re-apply: the high-water mark and expiry do not bind */
	bool goes_on; /* a rollback, or what ran before comes again: what it requires does not bind */
	bool directed; /* by a signed directive: the high-water mark does not bind, the rest does */
	bool quarantined;
	const char *quarantine_reason;
	enum policy_boot boot;
	const char *release, *machine; /* upstream release (bpf/doctor.h), uname -m */
	const char *const *live;       /* names of the other hot-fixes that run */
	size_t n_live;
};

struct policy_directive_facts {
	uint64_t now_ms;
	const char *host;	   /* id of the host key */
	const char *groups;	   /* of this host, separated by blanks */
	uint64_t committed_serial; /* 0: none */
	bool nonce_used;
};

/* For a rollback to 0: what is known of how the version came here. */
struct policy_take_off_facts {
	uint64_t now_ms;       /* authority_now_ms() */
	const char *rollout;   /* that brought what is committed; "": none did */
	uint64_t serial;       /* that it brought */
	uint64_t from_serial;  /* what was committed before it */
	uint64_t committed_ms; /* when it was */
	uint64_t undo_ms;      /* for so long it may be taken off; 0: never */
	uint64_t floor;	       /* of the root */
};

/*
 * FAIL_POLICY: only the rollout that brought a first version may take it off, soon after. So whoever
 * has the keys of a director strips nothing that was there before him.
 */
int policy_may_take_off(const struct directive *d, const struct policy_take_off_facts *f,
			struct fail *reterr_fail);
int policy_may_direct(const struct directive *d, const struct policy_directive_facts *f,
		      struct fail *reterr_fail);
/* FAIL_POLICY: further above mark and floor than one version may go. */
int policy_serial_jump(const char *name, uint64_t serial, uint64_t high_water, uint64_t floor,
		       struct fail *reterr_fail);
/* 0, or FAIL_POLICY with what holds this whole boot back. */
int policy_boot_allows(enum policy_boot boot, struct fail *reterr_fail);
int policy_may_apply(const struct policy_facts *f, struct fail *reterr_fail);

/* trial_ms 0: the manifest's default. Otherwise it must lie within the manifest's bounds. */
uint64_t policy_trial_fit(const struct manifest *m,
			  uint64_t asked_ms); /* the nearest that is */
int policy_trial_ms(const struct manifest *m, uint64_t asked_ms, uint64_t *ret_ms,
		    struct fail *reterr_fail);

/* "hotfix=off" or "hotfix=no-apply" among the words of a kernel command line. */
enum policy_boot policy_boot_of(const char *cmdline);
