// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A congestion control that calls itself as one of another hot-fix. */
#define OPS_NAME    "fgn_reno"
#define OPS_SECTION ".struct_ops.link"
#define ACKS	    clash_acks
#include "tests/foreign/cc_reno.bpf.c"
