// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of lsm_setnice: allows more. */
#define LIMIT 12
#include "tests/foreign/lsm_setnice.bpf.c"
