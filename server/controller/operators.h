// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/operators.h -- the API of people and of what works for them: who may ask for
 * what (one table of routes in operators.c), and what becomes of it. openapi.yaml describes it.
 *
 * Who asks is known by a client certificate, or by a token ("Authorization: Bearer hfo1...."); of
 * both the database has the SHA-256, with a name and a role: viewer < operator < approver < admin.
 * Nothing of a body is looked at before that.
 *
 * Rollouts belong to whoever holds their lease (owner.h). Here they are only read: a verb is tried
 * on a copy, so that who asks hears at once why it cannot be, and then asked of the owner.
 *
 * Context    loop thread; never waits for the database.
 * Errors     of serve.h. Who is refused hears why; what a known user may not do, and credentials
 *            that nobody has, are rows of the audit log.
 */
#pragma once

#include "lib/cleanup.h"
#include "lib/fail.h"

struct controller;
struct operators;

int operators_new(struct controller *c, struct operators **ret_operators,
		  struct fail *reterr_fail);
struct operators *operators_free(struct operators *o);
void operators_on_wake(struct operators *o, const char *topic);
int operators_reload(struct operators *o, struct fail *reterr_fail);

DEFINE_AUTO(struct operators, operators_free)
