// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of cc_reno_link: grows faster. */
#define INCREASE    3
#define OPS_SECTION ".struct_ops.link"
#define OPS_NAME    "fgn_reno_link"
#define ACKS	    reno_link_acks
#include "tests/foreign/cc_reno.bpf.c"
