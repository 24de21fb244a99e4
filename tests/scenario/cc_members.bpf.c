// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cc_control under the name of cc_reno_link: a next version that has other members. */
#define OPS_NAME "fgn_reno_link"
#include "tests/foreign/cc_control.bpf.c"
