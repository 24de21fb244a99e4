// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bpf/hotfix.bpf.h -- what a hot-fix may use to count, to tell who did what, and to be
 * switched between denying and only observing; and the layouts of that, for user space.
 *
 * An object carries only what its author asks for before the include, and an object that
 * asks for nothing (or does not include this) is a hot-fix all the same:
 *
 *	#define HOTFIX_COUNTERS		// hotfix_count(), and what hotfix_deny() counts
 *	#define HOTFIX_EVENTS		// hotfix_event(), and an event for every denial
 *	#define HOTFIX_CONTROL		// hotfix_deny() obeys observe and enforce
 *	#include "hotfix.bpf.h"
 *
 *	SEC("lsm/file_open")
 *	int BPF_PROG(no_such_file, struct file *file)
 *	{
 *		struct hotfix_what what = { .kind = 1, .text = "why" };
 *
 *		return is_bad(file) ? hotfix_deny(EPERM, &what) : 0;
 *	}
 *
 * The maps are hotfix_counters, hotfix_events and hotfix_control; the daemon pins and reads
 * them, a loader that knows nothing of them needs to do nothing: a fresh map enforces.
 *
 * Context    fentry, fexit, fmod_ret, lsm; hotfix_count() and hotfix_event_anon() also in
 *            struct_ops, where no task is to be named. Linux 6.1 or newer, clang 14 or newer.
 *            All is inlined, needs no kfunc and reads no kernel memory (lockdown allows it).
 * Cost       a denial is one array lookup, one atomic addition and, at most
 *            HOTFIX_EVENTS_PER_S times a second on each CPU, one ring buffer record; what
 *            is above that, or does not fit, is only counted in HOTFIX_EVENTS_LOST.
 */
#pragma once

#ifdef __bpf__
typedef unsigned char hotfix_u8;
typedef unsigned int hotfix_u32;
typedef unsigned long long hotfix_u64;
#else
#include <stdint.h>
typedef uint8_t hotfix_u8;
typedef uint32_t hotfix_u32;
typedef uint64_t hotfix_u64;
#endif

/* --- layouts shared with user space; they only ever grow at a reserved place ----------- */

#define HOTFIX_COMM_BYTES 16
#define HOTFIX_TEXT_BYTES 48
#define HOTFIX_ARGS	  4

/* Keys of hotfix_counters: PERCPU_ARRAY of HOTFIX_COUNTER_MAX u64, summed by the reader. */
enum hotfix_counter {
	HOTFIX_SEEN,	    /* calls the hot-fix looked at closely */
	HOTFIX_DENIED,	    /* calls it denied */
	HOTFIX_WOULD_DENY,  /* calls it would have denied, but for observe mode */
	HOTFIX_EVENTS_LOST, /* events above the rate, or that found the buffer full */
	HOTFIX_USER0,	    /* from here on the author's own: HOTFIX_USER0 + n */
	HOTFIX_COUNTER_MAX = 16
};

/* static const char *const names[HOTFIX_COUNTER_MAX] = { HOTFIX_COUNTER_NAMES }; */
#define HOTFIX_COUNTER_NAMES                                                                  \
	[HOTFIX_SEEN] = "seen", [HOTFIX_DENIED] = "denied",                                   \
	[HOTFIX_WOULD_DENY] = "would_deny", [HOTFIX_EVENTS_LOST] = "events_lost",             \
	[HOTFIX_USER0] = "user0", [HOTFIX_USER0 + 1] = "user1", [HOTFIX_USER0 + 2] = "user2", \
	[HOTFIX_USER0 + 3] = "user3", [HOTFIX_USER0 + 4] = "user4",                           \
	[HOTFIX_USER0 + 5] = "user5", [HOTFIX_USER0 + 6] = "user6",                           \
	[HOTFIX_USER0 + 7] = "user7", [HOTFIX_USER0 + 8] = "user8",                           \
	[HOTFIX_USER0 + 9] = "user9", [HOTFIX_USER0 + 10] = "user10",                         \
	[HOTFIX_USER0 + 11] = "user11"

enum hotfix_verdict { HOTFIX_NOTED, HOTFIX_VERDICT_DENIED, HOTFIX_VERDICT_WOULD_DENY };
#define HOTFIX_VERDICT_NAMES                                          \
	[HOTFIX_NOTED] = "noted", [HOTFIX_VERDICT_DENIED] = "denied", \
	[HOTFIX_VERDICT_WOULD_DENY] = "would_deny"

/* One record of the ring buffer hotfix_events. */
struct hotfix_event {
	hotfix_u64 time_ns; /* CLOCK_MONOTONIC */
	hotfix_u64 args[HOTFIX_ARGS];
	hotfix_u32 pid, tgid; /* of the host's pid namespace; tgid is what ps calls PID */
	hotfix_u32 uid, gid;  /* of the host's user namespace */
	hotfix_u32 verdict;   /* enum hotfix_verdict */
	hotfix_u32 kind;      /* the hot-fix's own, named in its README */
	char comm[HOTFIX_COMM_BYTES];
	char text[HOTFIX_TEXT_BYTES]; /* "" or ends in NUL */
};

/* The only element of hotfix_control, an mmap-able array: user space stores, no reload. */
enum hotfix_mode { HOTFIX_ENFORCE, HOTFIX_OBSERVE }; /* what is in fresh memory enforces */
struct hotfix_control {
	hotfix_u32 mode;
	hotfix_u32 reserved[15];
};

#ifdef __bpf__

/* bpf_helpers.h wants these and names no header; the same types as vmlinux.h has. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

#include <bpf/bpf_helpers.h>

/* Numbers of the kernel's ABI, not its names: those may come from vmlinux.h or <linux/bpf.h>.
 */
#define HOTFIX_MAP_ARRAY	2
#define HOTFIX_MAP_PERCPU_ARRAY 6
#define HOTFIX_MAP_RINGBUF	27
#define HOTFIX_MAP_F_MMAPABLE	(1U << 10)

#ifndef HOTFIX_EVENTS_BYTES
#define HOTFIX_EVENTS_BYTES (64U << 10) /* a power of two */
#endif
#ifndef HOTFIX_EVENTS_PER_S
#define HOTFIX_EVENTS_PER_S 100
#endif

/* What a program has to say about a call: kind, args and text of the event. */
struct hotfix_what {
	hotfix_u32 kind;
	hotfix_u64 args[HOTFIX_ARGS];
	char text[HOTFIX_TEXT_BYTES];
};

#ifdef HOTFIX_COUNTERS
struct {
	__uint(type, HOTFIX_MAP_PERCPU_ARRAY);
	__uint(max_entries, HOTFIX_COUNTER_MAX);
	__type(key, hotfix_u32);
	__type(value, hotfix_u64);
} hotfix_counters SEC(".maps");

/* Atomic although per CPU: a program of a preemptible kernel may be preempted by itself. */
static __always_inline void hotfix_add(hotfix_u32 counter, hotfix_u64 n)
{
	hotfix_u64 *value = bpf_map_lookup_elem(&hotfix_counters, &counter);

	if (value)
		__sync_fetch_and_add(value, n);
}

static __always_inline void hotfix_count(hotfix_u32 counter)
{
	hotfix_add(counter, 1);
}
#define HOTFIX_COUNT_(counter) hotfix_count(counter)
#else
#define HOTFIX_COUNT_(counter) ((void)0)
#endif

#ifdef HOTFIX_CONTROL
struct {
	__uint(type, HOTFIX_MAP_ARRAY);
	__uint(map_flags, HOTFIX_MAP_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, hotfix_u32);
	__type(value, struct hotfix_control);
} hotfix_control SEC(".maps");

static __always_inline _Bool hotfix_observing(void)
{
	hotfix_u32 zero = 0;
	struct hotfix_control *control = bpf_map_lookup_elem(&hotfix_control, &zero);

	return control && *(volatile hotfix_u32 *)&control->mode == HOTFIX_OBSERVE;
}
#else
static __always_inline _Bool hotfix_observing(void)
{
	return 0;
}
#endif

#ifdef HOTFIX_EVENTS
struct {
	__uint(type, HOTFIX_MAP_RINGBUF);
	__uint(max_entries, HOTFIX_EVENTS_BYTES);
} hotfix_events SEC(".maps");

struct hotfix_budget {
	hotfix_u64 second_ns; /* when this second began */
	hotfix_u64 used;
};

struct {
	__uint(type, HOTFIX_MAP_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, hotfix_u32);
	__type(value, struct hotfix_budget);
} hotfix_budgets SEC(".maps");

/* NULL: above the rate, or the buffer is full. A preempted program may make the rate a
 * little more or less exact, nothing else. */
static __always_inline struct hotfix_event *hotfix_event_begin_(hotfix_u32 verdict,
								const struct hotfix_what *what)
{
	hotfix_u32 zero = 0;
	hotfix_u64 now = bpf_ktime_get_ns();
	struct hotfix_budget *b = bpf_map_lookup_elem(&hotfix_budgets, &zero);
	struct hotfix_event *e = 0;

	if (!b)
		return 0;
	if (now - b->second_ns >= 1000000000ULL) {
		b->second_ns = now;
		b->used = 0;
	}
	if (b->used < HOTFIX_EVENTS_PER_S) {
		b->used++;
		e = bpf_ringbuf_reserve(&hotfix_events, sizeof(*e), 0);
	}
	if (!e) {
		HOTFIX_COUNT_(HOTFIX_EVENTS_LOST);
		return 0;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = now;
	e->verdict = verdict;
	if (what) {
		e->kind = what->kind;
		__builtin_memcpy(e->args, what->args, sizeof(e->args));
		__builtin_memcpy(e->text, what->text, sizeof(e->text));
		e->text[HOTFIX_TEXT_BYTES - 1] = 0;
	}
	return e;
}

/* An event that names the current task. what may be NULL. */
static __always_inline void hotfix_event(hotfix_u32 verdict, const struct hotfix_what *what)
{
	struct hotfix_event *e = hotfix_event_begin_(verdict, what);
	hotfix_u64 id;

	if (!e)
		return;
	id = bpf_get_current_pid_tgid();
	e->pid = (hotfix_u32)id;
	e->tgid = id >> 32;
	id = bpf_get_current_uid_gid();
	e->uid = (hotfix_u32)id;
	e->gid = id >> 32;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
}

/* For programs that run on nobody's behalf (struct_ops, interrupts): the task stays 0. */
static __always_inline void hotfix_event_anon(hotfix_u32 verdict,
					      const struct hotfix_what *what)
{
	struct hotfix_event *e = hotfix_event_begin_(verdict, what);

	if (e)
		bpf_ringbuf_submit(e, 0);
}
#define HOTFIX_EVENT_(verdict, what) hotfix_event(verdict, what)
#else
#define HOTFIX_EVENT_(verdict, what) ((void)(what))
#endif

/* Counts and tells; true when the call is to be denied, false in observe mode. */
static __always_inline _Bool hotfix_denies(const struct hotfix_what *what)
{
	if (hotfix_observing()) {
		HOTFIX_COUNT_(HOTFIX_WOULD_DENY);
		HOTFIX_EVENT_(HOTFIX_VERDICT_WOULD_DENY, what);
		return 0;
	}
	HOTFIX_COUNT_(HOTFIX_DENIED);
	HOTFIX_EVENT_(HOTFIX_VERDICT_DENIED, what);
	return 1;
}

/*
 * The value for a deny hook (lsm, fmod_ret) to return: -err, or 0 in observe mode. err is a
 * constant from 1 to 4095, because Linux 6.12 and newer load an lsm program only when the
 * verifier can prove its value to be in [-4095, 0].
 */
#define hotfix_deny(err, what)                                                           \
	({                                                                               \
		_Static_assert((err) > 0 && (err) <= 4095, "hotfix_deny: not an errno"); \
		hotfix_denies(what) ? -(err) : 0;                                        \
	})

#endif /* __bpf__ */
