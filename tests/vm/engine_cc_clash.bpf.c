// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A name that the kernel has itself. */
#define CC_NAME "reno"
#include "tests/vm/engine_cc.bpf.h"
