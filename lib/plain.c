// SPDX-License-Identifier: BSD-2-Clause
#include "lib/plain.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the character at s, which is not the end; 0: not UTF-8. */
static size_t decode(const unsigned char *s, uint32_t *ret_c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c;
	size_t n;

	if (s[0] < 0x80) {
		*ret_c = s[0];
		return 1;
	}
	n = s[0] >= 0xf8 ? 0 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
	if (n == 0)
		return 0;
	c = s[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0; /* the final NUL too */
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_c = c;
	return n;
}

static bool is_obeyed(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x061c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

bool plain_is(const char *s, bool lines)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c;

	while (*p) {
		size_t n = decode(p, &c);

		if (n == 0 || (is_obeyed(c) && !(lines && (c == '\n' || c == '\t'))))
			return false;
		p += n;
	}
	return true;
}

void plain_make(char *s, bool lines)
{
	unsigned char *from = (unsigned char *)s, *to = from;
	uint32_t c = 0;

	while (*from) {
		size_t n = decode(from, &c);

		if (n == 0 || is_obeyed(c)) {
			bool space = n == 1 && (c == '\n' || c == '\t');

			*to++ = !space ? '?' : lines ? *from : ' ';
			from += n ? n : 1;
			continue;
		}
		while (n-- > 0)
			*to++ = *from++;
	}
	*to = 0;
}

bool plain_is_formula(const char *s)
{
	char *end;

	s += strspn(s, " \t");
	if (!*s || !strchr("=+-@", *s))
		return false;
	if (s[0] == '-' && s[1] == 0)
		return false;
	strtod(s, &end);
	return *end != 0;
}
