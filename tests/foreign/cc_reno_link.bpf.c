// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cc_reno in the section that asks for a link, which kernels below 6.4 do not have. */
#define OPS_SECTION ".struct_ops.link"
#define OPS_NAME    "fgn_reno_link"
#define ACKS	    reno_link_acks
#include "tests/foreign/cc_reno.bpf.c"
