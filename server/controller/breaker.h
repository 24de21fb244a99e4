// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/breaker.h -- stops the line when the whole fleet does badly (losses.h) while
 * something is rolled out: a guard, an audit row, an alarm. It never lifts what it put; when an
 * operator does, what happened until then counts no more.
 *
 * Every controller has one, and sees all hosts by the database; whoever is first puts the guard.
 *
 * Context    loop thread; reads what changed each second, the silent ones every 2 s.
 */
#pragma once

#include "lib/cleanup.h"
#include "lib/fail.h"

struct breaker;
struct controller;

int breaker_new(struct controller *c, struct breaker **ret_breaker, struct fail *reterr_fail);
struct breaker *breaker_free(struct breaker *b);
void breaker_on_wake(struct breaker *b, const char *topic);
int breaker_reload(struct breaker *b, struct fail *reterr_fail);

DEFINE_AUTO(struct breaker, breaker_free)
