// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/guard.h -- takes back, without any daemon, what the kernel cannot take back by
 * itself when the lease of a trial ends: a registration, the default congestion control,
 * sleepable hooks (all that engine_settle() does).
 *
 * The worker that settles a version on trial starts the guard first: "hotfixd guard BPFFS
 * NAME", in a session of its own, sharing nothing with the daemon but the pinned gate. It
 * sleeps, at most a second at a time, and looks at the gate:
 *
 *	no trial		ends: committed, or rolled back by the daemon
 *	lease not over		sleeps on: the daemon renews it, or a restarted one
 *	lease over		settles on the committed version, and ends
 *
 * A restarted daemon and the guard cannot be of two minds. An ended lease is never renewed
 * (gate_renew), so either the daemon goes on with the trial and the guard sees a later
 * deadline, or the trial is over for both. Both then settle on what the gate shows, one
 * after the other (the hot-fix's lock), and the second finds nothing to do. The word in the
 * gate stays as it is: by it the daemon knows what happened and says LEASE_EXPIRED.
 *
 * One guard watches all trials of a hot-fix; a second ends at once (flock on slots/).
 *
 * Context    guard_start: worker process, 1 ms. guard_main: a process of its own.
 * Errors     -errno of starting a process.
 */
#pragma once

/* Does nothing when no lease is running. shown: the folder's path, for whoever lists processes. */
int guard_start(const char *bpffs, const char *shown, const char *name);
/* Exit status. The folder is fd 7 of the worker (server/work.h), else what is shown. */
int guard_main(const char *shown, const char *name);
