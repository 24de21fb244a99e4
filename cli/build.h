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

/*
 * The serial to build: wanted, or the highest of base's "versions" when that is 0, or
 * base's own "serial". FAIL_NOT_FOUND, FAIL_BAD_FORMAT.
 */
int build_choose_serial(const json_t *base, uint64_t wanted, uint64_t *ret_serial,
			struct fail *reterr_fail);
/*
 * The manifest of one version: base without "versions", over it the fields of that version,
 * then what is read from the object. name is used when base has none. Sorted, compact text.
 */
int build_manifest(const json_t *base, const char *name, uint64_t serial,
		   const struct audit *audit, const void *object, size_t object_len,
		   uint64_t created_ms, char **ret_text, struct fail *reterr_fail);
/* SOURCE_DATE_EPOCH, else now. */
int build_created_ms(uint64_t *ret_ms, struct fail *reterr_fail);
