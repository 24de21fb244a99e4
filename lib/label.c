// SPDX-License-Identifier: BSD-2-Clause
#include "lib/label.h"

#include <string.h>

#include "lib/plain.h"

#define SMALL  "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define ALNUM  SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS

/* The first len characters are of ends, and between the first and the last others may be. */
static bool is_word(const char *s, size_t len, const char *ends, const char *between)
{
	size_t i = 0;

	while (i < len && (strchr(ends, s[i]) || strchr(between, s[i])))
		i++;
	return len && i == len && strchr(ends, s[0]) && strchr(ends, s[len - 1]);
}

static bool is_domain(const char *s, size_t len)
{
	for (size_t part; len; s += part + 1, len -= part + 1) {
		for (part = 0; part < len && s[part] != '.'; part++)
			;
		if (!is_word(s, part, SMALL DIGITS, "-"))
			return false;
		if (part == len)
			return true;
	}
	return false;
}

bool label_name_valid(const char *name)
{
	const char *slash = strchr(name, '/'), *rest = slash ? slash + 1 : name;

	return strlen(name) <= LABEL_MAX &&
	       (!slash || is_domain(name, (size_t)(slash - name))) &&
	       is_word(rest, strlen(rest), ALNUM, "-_.");
}

bool label_value_valid(const char *value)
{
	return strlen(value) <= LABEL_MAX && is_word(value, strlen(value), ALNUM, "-_.");
}

int label_check(const char *name, const char *value, struct fail *reterr_fail)
{
	bool good_name = label_name_valid(name);
	char shown[LABEL_MAX + 1];

	if (good_name && label_value_valid(value))
		return 0;
	snprintf(shown, sizeof(shown), "%s", good_name ? value : name);
	plain_make(shown, false);
	if (good_name)
		fail_set(reterr_fail, FAIL_USAGE, "label %s: \"%s\" cannot be its value", name,
			 shown);
	else
		fail_set(reterr_fail, FAIL_USAGE, "\"%s\" cannot be the name of a label",
			 shown);
	return fail_hint(
		reterr_fail,
		"1 to %d letters, digits, '-', '_' and '.', a letter or digit first and "
		"last%s",
		LABEL_MAX, good_name ? "" : "; a domain and '/' may come before a name");
}
