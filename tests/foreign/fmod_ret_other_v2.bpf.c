// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of fmod_ret_other: another answer. */
#define ANSWER -1002
#include "tests/foreign/fmod_ret_other.bpf.c"
