// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define CC_SECTION ".struct_ops.link"
#include "tests/vm/engine_cc.bpf.h"
