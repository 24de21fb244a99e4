// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/build.h -- makes bundles: `build` compiles the source of a hot-fix, `pack` takes an
 * object that somebody else compiled.
 *
 * Equal sources, keys, compiler and SOURCE_DATE_EPOCH give equal bytes: no path of the
 * machine gets into the object, the manifest's keys are sorted.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "bpf/audit.h"
#include "cli/cli.h"

int build_run(struct cli *c, const struct args *a, struct fail *reterr_fail);
int build_run_pack(struct cli *c, const struct args *a, struct fail *reterr_fail);
