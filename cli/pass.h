// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/pass.h -- passphrases: asked for on /dev/tty without echo, or read from a file
 * descriptor (--passphrase-fd), never from the command line or the environment.
 *
 * From a descriptor each passphrase is one line; when there are fewer lines than keys, the
 * last line serves the rest. Memory is locked, and wiped by pass_close(). Core dumps are off
 * from pass_open() on.
 */
#pragma once

#include <stddef.h>

#include "cli/args.h"
#include "lib/fail.h"

#define PASS_BYTES_MAX 1024

struct pass {
	int fd;	    /* -1: the terminal */
	size_t n;   /* in lines */
	char *next; /* line that comes next */
	char lines[4 * PASS_BYTES_MAX];
	char one[PASS_BYTES_MAX]; /* from the terminal */
	struct fail fail;	  /* why the last answer was NULL */
};

/* Reads --passphrase-fd of a, when given. */
int pass_open(struct pass *p, const struct args *a, struct fail *reterr_fail);
void pass_close(struct pass *p);

/* A key_ask_fn (store/key.h); cookie is the struct pass. NULL: pass->fail says why. */
const char *pass_ask(const char *prompt, void *cookie);
/* A new one, asked for twice on a terminal; empty is refused. */
const char *pass_ask_new(struct pass *p);
