// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define LSM
#define VERSION 1
#include "tests/bench/hit.bpf.h"
