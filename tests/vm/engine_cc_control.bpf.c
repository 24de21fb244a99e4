// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Another shape: cong_control in place of cong_avoid. */
#define CC_CONTROL
#include "tests/vm/engine_cc.bpf.h"
