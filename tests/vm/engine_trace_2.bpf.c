// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The same code as version 1, with counters of its own. */
#include "tests/vm/engine_trace.bpf.h"
