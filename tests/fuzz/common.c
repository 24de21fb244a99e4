// SPDX-License-Identifier: BSD-2-Clause
#include "tests/fuzz/fuzz.h"

#include <ftw.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "store/bundle.h"
#include "store/bytes.h"

char *fuzz_text(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	fuzz_must(s);
	if (size)
		memcpy(s, data, size);
	s[size] = 0;
	return s;
}

char *fuzz_part(const uint8_t **data, size_t *size, int separator, size_t *ret_len)
{
	const uint8_t *end;
	size_t len;
	char *s;

	if (!*data)
		return NULL;
	end = *size ? memchr(*data, separator, *size) : NULL;
	len = end ? (size_t)(end - *data) : *size;
	s = fuzz_text(*data, len);
	*data = end ? end + 1 : NULL;
	*size = end ? *size - len - 1 : 0;
	if (ret_len)
		*ret_len = len;
	return s;
}

/* ---- a folder ------------------------------------------------------------------------ */

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
	if (!folder[0]) {
		snprintf(folder, sizeof(folder), "%s/hotfixd-fuzz-XXXXXX",
			 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		fuzz_must(mkdtemp(folder));
		atexit(remove_folder);
	}
	return folder;
}

void fuzz_write(const char *name, const void *buf, size_t len)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
	slash = strrchr(path, '/');
	*slash = 0;
	fuzz_must(io_mkdir_p(path, 0700) == 0);
	*slash = '/';
	f = fopen(path, "we");
	fuzz_must(f && (!len || fwrite(buf, len, 1, f) == 1));
	fclose(f);
}

/* ---- keys and documents ---------------------------------------------------------------- */

/* Seeds of 32 times '0', '1' and '2', with their public keys. */
static const char *const secrets[FUZZ_KEYS] = {
	/* clang-format off */
	"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\",\"public\":\"G6QHW3fJ4/s+zeFc2vUiHzwQNz5iP3sOHvdjZrCvcTc=\",\"secret\":\"MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=\"}\n",
	"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\",\"public\":\"SAdaWX5yGhVuLgeZ3lzAxTJNxufq8c3UYlCGjsUyFd0=\",\"secret\":\"MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\"}\n",
	"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\",\"public\":\"XiEsCYDks5/AlyETSqAhCTdO39JgwNPQPLUByNZUV6k=\",\"secret\":\"MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI=\"}\n",
	/* clang-format on */
};

struct key *fuzz_key(size_t i)
{
	static struct key *keys[FUZZ_KEYS];
	char name[16], path[128];

	if (!keys[i]) {
		snprintf(name, sizeof(name), "key%zu.sec", i);
		fuzz_write(name, secrets[i], strlen(secrets[i]));
		snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
		chmod(path, 0600);
		fuzz_must(key_load(path, NULL, NULL, &keys[i], NULL) == 0);
	}
	return keys[i];
}

struct trust_role fuzz_role(size_t n, unsigned int threshold)
{
	struct trust_role role = {.n_keys = n, .threshold = threshold};

	for (size_t i = 0; i < n; i++)
		role.keys[i] = *key_public(fuzz_key(i));
	return role;
}

const char *fuzz_root(void)
{
	static char *text;

	if (!text) {
		struct trust t = {.version = 1,
				  .created_ms = 1000,
				  .root = fuzz_role(1, 1),
				  .fleet = "fleet",
				  .release = fuzz_role(1, 1),
				  .director = {.n_keys = 1, .threshold = 1},
				  .status = {.n_keys = 1, .threshold = 1}};

		t.director.keys[0] = *key_public(fuzz_key(FUZZ_DIRECTOR));
		t.status.keys[0] = *key_public(fuzz_key(FUZZ_STATUS));
		fuzz_must(trust_sign(&t, NULL, 0, &text, NULL) == 0);
	}
	return text;
}

const struct trust *fuzz_trust(void)
{
	static struct trust *trust;

	if (!trust)
		fuzz_must(trust_open(fuzz_root(), strlen(fuzz_root()), &trust, NULL) == 0);
	return trust;
}

uint8_t *fuzz_bundle(const char *name, uint64_t serial, const void *object, size_t object_len,
		     const char *hooks, const char *more, size_t *ret_len)
{
	struct key *key = fuzz_key(0);
	char hex[BYTES_SHA256_HEX];
	uint8_t digest[BYTES_SHA256], *buf = NULL;
	AUTO_FREE char *manifest = NULL;

	bytes_sha256(object, object_len, digest);
	fuzz_must(asprintf(&manifest,
			   "{\"format\":1,\"name\":\"%s\",\"serial\":%llu,\"object\":"
			   "{\"sha256\":\"%s\",\"size\":%zu},\"hooks\":%s%s}",
			   name, (unsigned long long)serial,
			   bytes_to_hex(digest, sizeof(digest), hex), object_len, hooks,
			   more) > 0);
	return bundle_build(manifest, strlen(manifest), object, object_len, &key, 1, &buf,
			    ret_len, NULL) == 0
		       ? buf
		       : NULL;
}

bool fuzz_answer_is_whole(const char *text, size_t len, size_t *ret_body, size_t *ret_body_len)
{
	const char *end = memmem(text, len, "\r\n\r\n", 4), *p;

	if (!end)
		return false;
	p = memmem(text, (size_t)(end - text), "Content-Length: ", 16);
	*ret_body = (size_t)(end - text) + 4;
	*ret_body_len = p ? strtoul(p + 16, NULL, 10) : 0;
	return p && len >= *ret_body + *ret_body_len;
}
