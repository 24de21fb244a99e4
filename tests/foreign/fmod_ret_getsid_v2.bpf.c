// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The second version of fmod_ret_getsid: refuses one uid only. */
#define REFUSE(uid) ((uid) == 65534)
#include "tests/foreign/fmod_ret_getsid.bpf.c"
