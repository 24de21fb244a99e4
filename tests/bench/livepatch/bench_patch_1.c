// SPDX-License-Identifier: BSD-2-Clause
#define BENCH_ERR EPERM
#include "bench_patch.h"
