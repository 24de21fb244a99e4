// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of cc_control: a larger window. */
#define WINDOW 40
#include "tests/foreign/cc_control.bpf.c"
