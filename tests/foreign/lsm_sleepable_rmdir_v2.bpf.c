// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of lsm_sleepable_rmdir: protects another name. */
#define SEALED "sealed-2"
#include "tests/foreign/lsm_sleepable_rmdir.bpf.c"
