// SPDX-License-Identifier: BSD-2-Clause
#include "lib/hook.h"

#include <errno.h>
#include <string.h>

static const char *const types[] = {
	[HOOK_FENTRY] = "fentry",	  [HOOK_FEXIT] = "fexit",
	[HOOK_FMOD_RET] = "fmod_ret",	  [HOOK_LSM] = "lsm",
	[HOOK_STRUCT_OPS] = "struct_ops",
};

const char *hook_type_name(enum hook_type type)
{
	return types[type];
}

int hook_type_parse(const char *name, enum hook_type *ret_type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], name) == 0) {
			*ret_type = i;
			return 0;
		}
	return -EINVAL;
}

bool hook_equal(const struct hook *a, const struct hook *b)
{
	return a->type == b->type && a->sleepable == b->sleepable &&
	       strcmp(a->target, b->target) == 0 && strcmp(a->program, b->program) == 0 &&
	       strcmp(a->cc_name, b->cc_name) == 0;
}

bool hook_name_valid(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= HOOK_NAME_MAX && !name[n] && name[0] != '-';
}

bool hook_symbol_valid(const char *symbol, size_t max)
{
	size_t n = strspn(symbol,
			  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");

	return n > 0 && n <= max && !symbol[n] && !(symbol[0] >= '0' && symbol[0] <= '9');
}
