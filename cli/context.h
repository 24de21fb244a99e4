// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/context.h -- which controller a command speaks to, and as whom: the file of contexts, and the
 * commands that look after it.
 *
 *	{"current":"fleet","contexts":{"fleet":{"url":"https://ctl:7445","ca":FILE,
 *	  "cert":FILE,"key":FILE | "token_file":FILE}}}
 *
 * in $HOTFIXCTL_CONTEXTS, else $XDG_CONFIG_HOME or ~/.config, hotfixctl/contexts.json. It is refused
 * when others can write it, or when it belongs to neither the user nor root; files that hold a secret,
 * when others can read them.
 *
 * Errors     FAIL_USAGE no such context, or one that lacks something; FAIL_BAD_FORMAT the file;
 *            FAIL_PERMISSION a secret that others can read, contexts that others can write.
 */
#pragma once

#include "cli/cli.h"
#include "lib/cleanup.h"

struct context {
	char *name, *url, *ca;
	char *cert, *key; /* or NULL */
	char *token;	  /* what token_file holds, or NULL */
};

/* name NULL: $HOTFIXCTL_CONTEXT, else the current one. */
int context_load(const char *name, struct context **ret_context, struct fail *reterr_fail);
struct context *context_free(struct context *x);

int context_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail);
int context_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail);
int context_run_use(struct cli *c, const struct args *a, struct fail *reterr_fail);
int context_run_set(struct cli *c, const struct args *a, struct fail *reterr_fail);
int context_run_remove(struct cli *c, const struct args *a, struct fail *reterr_fail);

DEFINE_AUTO(struct context, context_free)
