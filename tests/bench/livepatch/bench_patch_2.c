// SPDX-License-Identifier: BSD-2-Clause
#define BENCH_ERR EACCES
#include "bench_patch.h"
