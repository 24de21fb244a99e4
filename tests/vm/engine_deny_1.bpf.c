// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define DENY_SECTION "fmod_ret/security_task_getpgid"
#define VERDICT	     EACCES
#include "tests/vm/engine_deny.bpf.h"
