// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tests/scenario/maps.bpf.h -- what the iterator of maps.bpf.c says of each map, one after another.
 */
#pragma once

#define MAPS_NAME_BYTES 16

struct maps_entry {
	unsigned int id;
	char name[MAPS_NAME_BYTES];
};
