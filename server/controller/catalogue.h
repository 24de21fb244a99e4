// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/catalogue.h -- the status of the fleet (store/catalog.h), signed by the
 * director (director.h): anew when the stock has changed, and at half of its life. Any of the controllers does
 * it: the first to store the next version wins, the others take that one.
 *
 * Context    loop thread; signing 2,000 entries takes a few ms.
 * Ownership  what is looked up is borrowed, until the loop runs again.
 */
#pragma once

#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct catalogue;
struct catalog;
struct catalog_entry;
struct controller;

int catalogue_new(struct controller *c, struct catalogue **ret_catalogue,
		  struct fail *reterr_fail);
struct catalogue *catalogue_free(struct catalogue *g);
void catalogue_on_wake(struct catalogue *g, const char *topic);
int catalogue_reload(struct catalogue *g, struct fail *reterr_fail);

uint64_t catalogue_version(const struct catalogue *g); /* 0: none is in force */
const char *catalogue_text(const struct catalogue *g); /* its envelope; NULL */
/* Which bundle stands for a version of a hot-fix; NULL: it is not in stock. */
const struct catalog_entry *catalogue_find(const struct catalogue *g, const char *name,
					   uint64_t serial);

DEFINE_AUTO(struct catalogue, catalogue_free)
