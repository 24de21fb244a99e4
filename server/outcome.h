// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/outcome.h -- writes how a change ended, with what should run from then on.
 *
 * A way back must not depend on a writable disk: it is done first, and what could not be written
 * is owed. Owed outcomes are written in their order, every few seconds and before the next change
 * begins; what is still owed when hotfixd ends is settled at its next start (server/reconcile.h).
 *
 * Context    loop thread; one fsync each.
 */
#pragma once

#include <stdbool.h>

#include "server/hotfix.h"

/*
 * The outcome of h->change, now; with the row of what should run, and with what c->forget
 * says, in one transaction. outcome is done, failed or rolled_back.
 */
int outcome_write(struct hotfix *h, const char *outcome, const char *code, const char *detail,
		  const struct store_hotfix *row_or_null);
/* The same, later. */
void outcome_owe(struct hotfix *h, const char *outcome, const char *code, const char *detail,
		 const struct store_hotfix *row_or_null);

/* A version that did harm is not applied again. */
int outcome_quarantine(struct store *s, const char *name, uint64_t serial, const char *code,
		       const char *detail);

/* What should run is not in the store yet: the store is what is wrong. */
bool outcome_is_owed(const struct hotfix *h);
/* The row of a change whose outcome is owed has it in c from here. */
void outcome_recall(const struct hotfixes *all, struct store_change *c);
/* Tries to write what is owed. */
void outcome_settle(struct hotfixes *all);

/* The record a restarted daemon needs, and history shows: how it was asked for, what it found. */
json_t *outcome_plan(const struct hotfix_change *c);
json_t *outcome_evidence(const struct hotfix_change *c);

struct outcomes *outcomes_free(struct outcomes *all);
