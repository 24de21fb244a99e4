// SPDX-License-Identifier: BSD-2-Clause
/*
 * store/manifest.h -- everything a signer says about one version of a hot-fix.
 *
 * Payload of DSSE_TYPE_MANIFEST: one JSON object of at most MANIFEST_BYTES_MAX. A field that
 * is not in this table is refused, so is a value outside its bounds; * marks what must be there.
 *
 *	format		* 1
 *	name		* lower-case letters, digits, '-'; 1 to 64 bytes; starts with no '-'
 *	serial		* 1 to 2^53-1; grows with each version
 *	label		  what people call the version; text, 64 bytes; ""
 *	title		  one line; text, 200 bytes; the name
 *	description	  text with line breaks, 8192 bytes; ""
 *	cves		  up to 64 of CVE-YYYY-NNNN...; none
 *	severity	  low | medium | high | critical; medium
 *	created		  RFC 3339 time, UTC ("2026-05-04T10:11:12Z"); unknown
 *	expires		  time after which it is not attached for the first time; never
 *	object		* {"sha256": 64 hex digits, "size": 1 to 16 MiB}
 *	hooks		* 1 to 64 of:
 *	  type		  * fentry | fexit | fmod_ret | lsm | struct_ops
 *	  target	  * kernel function, LSM hook without "bpf_lsm_", or
 *			    "tcp_congestion_ops"
 *	  program	  * C function in the object (struct_ops: the ops variable); once each
 *	  sleepable	    bool; false; not for struct_ops
 *	  cc_name	    struct_ops only, and needed there: the algorithm's name, 1 to 15
 *			    bytes
 *	kernels		  where it may run; everywhere:
 *	  ranges	    up to 64 of {"from":release, "below":release}, either may be
 *			    absent; any fits
 *	  arch		    up to 8 of what uname -m says
 *	  fixed_in	    up to 64 releases whose own code has the fix: "6.12.31" speaks for
 *			    the later releases of 6.12, "6.15" for it and all that follow
 *	requires	  up to 64 names of hot-fixes that must be live when it is applied;
 *			  they may go later, with a warning
 *	conflicts	  up to 64 names that must not be
 *	trial		  {"default_s":60, "min_s":5, "max_s":86400, "min_calls":0}; seconds of
 *			  1 to 604800, min <= default <= max; calls that a trial must have seen
 *			  to count
 *	health		  see MANIFEST_CHECKS; {} judges by every signal with its default limit
 *	impact		  what users may notice; text with line breaks, 1024 bytes; ""
 *	accept		  {"preemption_leak":bool}: may run as fmod_ret where calls can slip by;
 *			  false
 *	struct_ops	  only with such a hook: {"state":"compatible"|"own" (compatible): what
 *			  sockets do on a switch, "default":bool (false): becomes the host's
 *			  default}
 *	critical	  bool: applied at boot before the network; false
 *
 * Text is plain (lib/plain.h): nothing that a terminal or browser obeys instead of showing.
 *
 * Errors     FAIL_BAD_FORMAT naming the field.
 * Ownership  strings and arrays belong to the manifest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "lib/hook.h"

#define MANIFEST_BYTES_MAX	 (256U << 10)
#define MANIFEST_LIST_MAX	 64
#define MANIFEST_SERIAL_MAX	 9007199254740991ULL /* 2^53 - 1: exact in every JSON reader */

#define MANIFEST_TRIAL_DEFAULT_S 60
#define MANIFEST_TRIAL_MIN_S	 5
#define MANIFEST_TRIAL_MAX_S	 86400
#define MANIFEST_TRIAL_LIMIT_S	 604800

/*
 * health: {"off":[check...], "limits":{check:number...}, "probes":[probe...]}
 *
 * off (each once) are not judged; limits replace a check's own, finite and >= 0. A value above
 * its limit ends the trial. The checks, X(name, limit, what it bounds), all of them since the
 * trial began:
 */
#define MANIFEST_CHECKS(X)                                                              \
	X(oops, 0, "new kernel oopses")                                                 \
	X(warn, 0, "new kernel warnings")                                               \
	X(taint, 0, "new taint bits: bad page, oops, warning, soft lockup")             \
	X(kmsg, 0, "kernel messages of trouble: BUG, lockup, stall, hung task")         \
	X(lease, 0, "leases that ran out; cannot be turned off")                        \
	X(loop_stall_ms, 5000, "longest stall of the daemon's loop")                    \
	X(recursion_misses, 0, "calls of deny hooks skipped by the recursion guard")    \
	X(ns_per_call, 50000, "mean ns a call spends in the hot-fix, of 100 or more")   \
	X(cpu_percent, 25, "share of all CPUs' time")                                   \
	X(denials_per_s, 1000, "denials that the hot-fix itself counts")                \
	X(psi_cpu, 80, "rise of PSI cpu some avg10, in points")                         \
	X(psi_io, 80, "rise of PSI io full avg10, in points")                           \
	X(psi_memory, 40, "rise of PSI memory full avg10, in points")                   \
	X(tcp_retrans_percent, 10, "TCP segments sent again; congestion controls only") \
	X(tcp_resets_per_s, 100, "TCP connections reset; congestion controls only")

/*
 * A probe (up to 16) asks the host: {"name" (as a hot-fix's, each once), "type",
 * "timeout_s":1 to 60 (5), "every_s":1 to 3600 (10), "failures":1 to 100 (1; in a row)} and
 *	exec	"command":[absolute path, arguments...] up to 32 of 1024 bytes, run
 *		unprivileged, "memory_mib":1 to 4096 (64), "output_bytes":0 to 65536 (4096)
 *	tcp	"address":"host:port", 255 bytes
 *	unit	"unit":name of a systemd unit, 255 bytes
 */
#define MANIFEST_PROBES_MAX 16

struct manifest_range { /* kernel releases "6.1" <= r < "6.13"; "" means open */
	char from[32], below[32];
};

struct manifest {
	json_t *doc; /* the parsed payload; the char * below point into it */
	const char *name, *label, *title, *description, *severity, *impact;
	uint64_t serial, created_ms, expires_ms; /* 0: none */
	const char *cves[MANIFEST_LIST_MAX];
	size_t n_cves;
	uint8_t object_sha256[32];
	uint64_t object_bytes;
	struct hook hooks[HOOK_MAX];
	size_t n_hooks;
	struct manifest_range ranges[MANIFEST_LIST_MAX];
	size_t n_ranges;
	const char *arch[8];
	size_t n_arch;
	const char *fixed_in[MANIFEST_LIST_MAX];
	size_t n_fixed_in;
	const char *requires[MANIFEST_LIST_MAX], *conflicts[MANIFEST_LIST_MAX];
	size_t n_requires, n_conflicts;
	uint64_t trial_default_ms, trial_min_ms, trial_max_ms, trial_min_calls;
	const json_t *health; /* NULL or object; its checks are read by server/health */
	bool accept_preemption_leak, critical;
	bool cc_own_state, cc_default;
};

int manifest_parse(const void *payload, size_t len, struct manifest **ret_manifest,
		   struct fail *reterr_fail);
struct manifest *manifest_free(struct manifest *m);
/* Compares "6.12.107" style releases by their leading numbers, ignoring "-cloud-amd64". */
int manifest_release_cmp(const char *a, const char *b);
/*
 * 0, or FAIL_INCOMPATIBLE with the reason: arch, range, or fixed_in (retired here). release is
 * the upstream one: on Debian 12 uname -r says only "6.1.0-40", the truth is in uname -v.
 */
int manifest_fits_kernel(const struct manifest *m, const char *release, const char *machine,
			 struct fail *reterr_fail);

DEFINE_AUTO(struct manifest, manifest_free)
