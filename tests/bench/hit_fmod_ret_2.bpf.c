// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define FMOD_RET
#define VERSION 2
#include "tests/bench/hit.bpf.h"
