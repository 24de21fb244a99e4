// SPDX-License-Identifier: BSD-2-Clause
/*
 * cli/yaml.h -- YAML as JSON, for documents that people write: the part of it that JSON can say, and
 * nothing that surprises. The only user of libyaml.
 *
 * One document of mappings, sequences and scalars. Plain scalars are what YAML 1.2's core says: null,
 * true, false, whole numbers, decimal fractions; so "no", "12:30" and "0x10" are texts. Aliases,
 * tags, and keys that come twice are refused, and so are depth and size beyond bounds.
 *
 * Errors     FAIL_BAD_FORMAT with line and column.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

#include "lib/fail.h"

#define YAML_BYTES_MAX (1U << 18)
#define YAML_NODES_MAX 20000

/* JSON is YAML, too. what names the document in messages. */
int yaml_parse(const char *what, const void *buf, size_t len, json_t **ret_doc,
	       struct fail *reterr_fail);
