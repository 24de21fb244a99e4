// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of cc_reno: grows faster. */
#define INCREASE 3
#include "tests/foreign/cc_reno.bpf.c"
