// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/label.h -- what a label of a host may be, the one rule for hosts and operators who set it. As in
 * Kubernetes: name and value begin and end with a letter or digit and have letters, digits, '-', '_' and
 * '.' between; before a name there may be a domain in small letters and '/'. A name has 63
 * characters at most, domain and all, and so has a value; none is empty.
 *
 * Labels that are there already are left as they are: this is asked of new ones.
 *
 * Context    any
 * Errors     FAIL_USAGE
 */
#pragma once

#include <stdbool.h>

#include "lib/fail.h"

#define LABEL_MAX 63

bool label_name_valid(const char *name);
bool label_value_valid(const char *value);
int label_check(const char *name, const char *value, struct fail *reterr_fail);
