// SPDX-License-Identifier: BSD-2-Clause
#include "lib/route.h"

#include <errno.h>
#include <string.h>

int route_split(char *path, const char **segment, size_t max, size_t *ret_n)
{
	char *save = NULL, *word;
	size_t n = 0;

	if (strncmp(path, "/v1/", 4) != 0)
		return -ENOENT;
	for (word = strtok_r(path + 4, "/", &save); word; word = strtok_r(NULL, "/", &save)) {
		if (n == max)
			return -ENOENT;
		segment[n++] = word;
	}
	*ret_n = n;
	return n ? 0 : -ENOENT;
}

bool route_matches(const char *pattern, const char *const *segment, size_t n)
{
	for (size_t i = 0;; i++) {
		size_t len = strcspn(pattern, "/");

		if (i == n)
			return false;
		if (!(len == 1 && *pattern == '*') &&
		    (strncmp(pattern, segment[i], len) != 0 || segment[i][len]))
			return false;
		if (!pattern[len])
			return i + 1 == n;
		pattern += len + 1;
	}
}
