// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/vm/engine_trace.bpf.h"
