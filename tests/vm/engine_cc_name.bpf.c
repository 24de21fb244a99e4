// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Another name. */
#define CC_NAME "hf_test_cc2"
#include "tests/vm/engine_cc.bpf.h"
