// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/version.h -- what both programs call themselves.
 */
#pragma once

#define HOTFIX_VERSION "0.1.0"
