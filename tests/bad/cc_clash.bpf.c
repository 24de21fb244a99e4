// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A congestion control that calls itself as one that the kernel has already. */
#define OPS_NAME    "cubic"
#define OPS_SECTION ".struct_ops"
#define ACKS	    clash_acks
#include "tests/foreign/cc_reno.bpf.c"
