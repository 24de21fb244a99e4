// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/cleanup.h -- scope-bound ownership: AUTO() frees, take_ptr() hands over.
 *
 * Context    any
 * Ownership  AUTO(x_freep) struct x *p = NULL;  frees p when the scope ends;
 *            return take_ptr(p) or *ret_x = take_ptr(p) keeps it alive.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(fn) __attribute__((cleanup(fn), unused))

/* Defines fn##p() for AUTO(); fn is the type's NULL-tolerant free function. */
#define DEFINE_AUTO(type, fn)              \
	static inline void fn##p(type **p) \
	{                                  \
		if (*p)                    \
			fn(*p);            \
	}

#define take_ptr(p)                       \
	({                                \
		__auto_type taken_ = (p); \
		(p) = NULL;               \
		taken_;                   \
	})

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}
#define AUTO_FREE AUTO(mem_freep)

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define AUTO_CLOSE AUTO(fd_closep)

static inline void file_closep(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define AUTO_FILE     AUTO(file_closep)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
