// SPDX-License-Identifier: BSD-2-Clause
/*
 * bpf/survey.h -- what the pins of one hot-fix really are: each is opened, its kind,
 * identity and connections are compared with what its place says. Reads only, and
 * only through pins: no capability is needed but to open them.
 *
 * Context    worker process or a test; some ms.
 * Errors     -ENOMEM; what is wrong with a pin is a sentence in "problems".
 */
#pragma once

#include <jansson.h>

int survey_hotfix(const char *bpffs, const char *name, json_t **ret_hotfix);
