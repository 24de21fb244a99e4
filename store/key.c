// SPDX-License-Identifier: BSD-2-Clause
#include "store/key.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>
#include <sodium.h>

#include "lib/io.h"
#include "lib/json.h"
#include "store/bytes.h"

#define PUBLIC_WORD    "hotfix-ed25519"
#define SECRET_FORMAT  "hotfix-ed25519-secret-1"
#define KDF_NONE       "none"
#define KDF_ARGON2ID   "argon2id13"
#define FILE_BYTES_MAX 4096
#define KDF_OPS	       crypto_pwhash_argon2id_OPSLIMIT_MODERATE
#define KDF_BYTES      crypto_pwhash_argon2id_MEMLIMIT_MODERATE
#define KDF_BYTES_MAX  (1ULL << 30) /* a key file must not take the machine down */
#define SEALED_BYTES   (crypto_sign_SEEDBYTES + crypto_secretbox_MACBYTES)

struct key {
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	struct key_public public;
};

/*
 * The five y coordinates of points whose order divides 8, and the two other spellings of
 * 0 and 1 (p and p + 1); bit 255 is the sign of x. A signature under such a key can be made
 * without a secret. libsodium refuses them too; this list does not depend on its version.
 */
static const uint8_t small_order[][KEY_PUBLIC_BYTES] = {
	{0x00},
	{0x01},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
	 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
	 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
	 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
	 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

static bool is_small_order(const uint8_t raw[KEY_PUBLIC_BYTES])
{
	uint8_t y[KEY_PUBLIC_BYTES];

	memcpy(y, raw, sizeof(y));
	y[KEY_PUBLIC_BYTES - 1] &= 0x7f;
	for (size_t i = 0; i < ARRAY_SIZE(small_order); i++)
		if (memcmp(y, small_order[i], sizeof(y)) == 0)
			return true;
	return false;
}

static bool key_is_sound(const uint8_t raw[KEY_PUBLIC_BYTES])
{
	return !is_small_order(raw) && crypto_core_ed25519_is_valid_point(raw) == 1;
}

int key_public_parse(const char *base64, struct key_public *ret_public,
		     struct fail *reterr_fail)
{
	struct key_public p;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (bytes_from_base64_exact(base64, p.raw, sizeof(p.raw)) < 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"public key: not the base64 of %d bytes", KEY_PUBLIC_BYTES);
	if (!key_is_sound(p.raw))
		return fail_set(
			reterr_fail, FAIL_BAD_FORMAT,
			"public key %.44s: not a usable Ed25519 point (small order, zero "
			"or another spelling); anyone could sign for it",
			base64);
	*ret_public = p;
	return 0;
}

const char *key_public_format(const struct key_public *p, char out[64])
{
	return sodium_bin2base64(out, 64, p->raw, sizeof(p->raw),
				 sodium_base64_VARIANT_ORIGINAL);
}

const char *key_id(const struct key_public *p, char out[KEY_ID_BYTES])
{
	uint8_t digest[BYTES_SHA256];

	bytes_sha256(p->raw, sizeof(p->raw), digest);
	return bytes_to_hex(digest, sizeof(digest), out);
}

/* ---- files ------------------------------------------------------------------ */

static int fail_file(struct fail *f, const char *path, const char *doing, int r)
{
	enum fail_code code = FAIL_STORAGE;

	if (r == -ENOENT)
		code = FAIL_NOT_FOUND;
	else if (r == -EACCES || r == -EPERM)
		code = FAIL_PERMISSION;
	else if (r == -EEXIST)
		code = FAIL_CONFLICT;
	else if (r == -EFBIG || r == -EISDIR || r == -EINVAL)
		code = FAIL_BAD_FORMAT;
	fail_set(f, code, "%s: cannot %s: %s", path, doing,
		 r == -EFBIG ? "too large for a key file" : strerror(-r));
	if (r == -EEXIST)
		fail_hint(f, "A key is never overwritten: choose another name.");
	return -fail_errno(code);
}

int key_public_load(const char *path, struct key_public *ret_public, struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *buf = NULL;
	char *word, *rest, *end;
	struct fail why = {0};
	size_t len;
	int r;

	r = io_read_file(path, FILE_BYTES_MAX, &buf, &len);
	if (r < 0)
		return fail_file(reterr_fail, path, "read", r);
	word = (char *)buf;
	end = word + len;
	if (len > 0 && end[-1] == '\n')
		*--end = 0;
	for (const char *c = word; c < end; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			goto malformed;
	if (strncmp(word, PUBLIC_WORD " ", sizeof(PUBLIC_WORD)) != 0)
		goto malformed;
	word += sizeof(PUBLIC_WORD);
	rest = strchr(word, ' ');
	if (rest)
		*rest = 0;
	r = key_public_parse(word, ret_public, &why);
	if (r < 0)
		return fail_set(reterr_fail, why.code, "%s: %s", path, why.message);
	return 0;

malformed:
	fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: not a public key of hotfixctl", path);
	if (key_is_secret_file(buf, len))
		fail_hint(reterr_fail, "This is the secret key: name the .pub file beside it.");
	else
		fail_hint(reterr_fail,
			  "A .pub file is one line: " PUBLIC_WORD " <base64> <comment>.");
	return -fail_errno(FAIL_BAD_FORMAT);
}

/* Never follows, never overwrites. */
static int create(const char *path, mode_t mode, int *ret_fd)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int fill(int fd, const char *text)
{
	int r = io_write_all(fd, text, strlen(text));

	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

/* A guarded allocation: locked, not in core dumps, wiped when freed. */
static void guarded_freep(void *p)
{
	sodium_free(*(void **)p);
}
#define AUTO_GUARDED AUTO(guarded_freep)

static int derive(const char *passphrase, const uint8_t *salt, uint64_t ops, uint64_t bytes,
		  uint8_t **ret_key)
{
	AUTO_GUARDED uint8_t *key = sodium_malloc(crypto_secretbox_KEYBYTES);

	if (!key)
		return -ENOMEM;
	if (crypto_pwhash(key, crypto_secretbox_KEYBYTES, passphrase, strlen(passphrase), salt,
			  ops, (size_t)bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return -ENOMEM;
	*ret_key = take_ptr(key);
	return 0;
}

/* The text of a .sec file in guarded memory. */
static int secret_text(const uint8_t seed[crypto_sign_SEEDBYTES], const struct key_public *p,
		       const char *passphrase, char **ret_text)
{
	uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES];
	AUTO_GUARDED char *text = sodium_malloc(FILE_BYTES_MAX);
	AUTO_GUARDED char *secret = sodium_malloc(BYTES_BASE64(SEALED_BYTES));
	char salt64[BYTES_BASE64(sizeof(salt))], nonce64[BYTES_BASE64(sizeof(nonce))];
	char public64[64];
	uint8_t sealed[SEALED_BYTES];
	int r;

	if (!text || !secret)
		return -ENOMEM;
	key_public_format(p, public64);
	if (!passphrase) {
		sodium_bin2base64(secret, BYTES_BASE64(SEALED_BYTES), seed,
				  crypto_sign_SEEDBYTES, sodium_base64_VARIANT_ORIGINAL);
		snprintf(text, FILE_BYTES_MAX,
			 "{\"format\":\"" SECRET_FORMAT "\",\"kdf\":\"" KDF_NONE
			 "\",\"public\":\"%s\",\"secret\":\"%s\"}\n",
			 public64, secret);
	} else {
		AUTO_GUARDED uint8_t *key = NULL;

		randombytes_buf(salt, sizeof(salt));
		randombytes_buf(nonce, sizeof(nonce));
		r = derive(passphrase, salt, KDF_OPS, KDF_BYTES, &key);
		if (r < 0)
			return r;
		crypto_secretbox_easy(sealed, seed, crypto_sign_SEEDBYTES, nonce, key);
		sodium_bin2base64(secret, BYTES_BASE64(SEALED_BYTES), sealed, sizeof(sealed),
				  sodium_base64_VARIANT_ORIGINAL);
		sodium_bin2base64(salt64, sizeof(salt64), salt, sizeof(salt),
				  sodium_base64_VARIANT_ORIGINAL);
		sodium_bin2base64(nonce64, sizeof(nonce64), nonce, sizeof(nonce),
				  sodium_base64_VARIANT_ORIGINAL);
		snprintf(text, FILE_BYTES_MAX,
			 "{\"format\":\"" SECRET_FORMAT "\",\"kdf\":\"" KDF_ARGON2ID
			 "\",\"ops\":%llu,\"bytes\":%llu,\"salt\":\"%s\",\"nonce\":\"%s\","
			 "\"public\":\"%s\",\"secret\":\"%s\"}\n",
			 (unsigned long long)KDF_OPS, (unsigned long long)KDF_BYTES, salt64,
			 nonce64, public64, secret);
	}
	*ret_text = take_ptr(text);
	return 0;
}

int key_new(const char *prefix, const char *passphrase_or_null, struct key_public *ret_public,
	    struct fail *reterr_fail)
{
	AUTO_GUARDED uint8_t *seed = NULL, *secret = NULL;
	AUTO_GUARDED char *text = NULL;
	AUTO_CLOSE int sec = -1, pub = -1;
	char sec_path[PATH_MAX], pub_path[PATH_MAX], line[256], public64[64];
	const char *comment = strrchr(prefix, '/');
	struct key_public p;
	int r;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (passphrase_or_null && !passphrase_or_null[0])
		return fail_set(reterr_fail, FAIL_USAGE, "the passphrase is empty");
	if (snprintf(sec_path, sizeof(sec_path), "%s.sec", prefix) >= (int)sizeof(sec_path) ||
	    snprintf(pub_path, sizeof(pub_path), "%s.pub", prefix) >= (int)sizeof(pub_path))
		return fail_set(reterr_fail, FAIL_USAGE, "the path is too long");
	comment = comment ? comment + 1 : prefix;
	seed = sodium_malloc(crypto_sign_SEEDBYTES);
	secret = sodium_malloc(crypto_sign_SECRETKEYBYTES);
	if (!seed || !secret)
		return fail_set(reterr_fail, FAIL_INTERNAL, "no locked memory for a key");
	randombytes_buf(seed, crypto_sign_SEEDBYTES);
	crypto_sign_seed_keypair(p.raw, secret, seed);
	if (secret_text(seed, &p, passphrase_or_null, &text) < 0)
		return fail_set(
			reterr_fail, FAIL_INTERNAL,
			"not enough memory to derive a key from the passphrase (256 MiB)");

	snprintf(line, sizeof(line), PUBLIC_WORD " %s %.100s", key_public_format(&p, public64),
		 comment);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	strcat(line, "\n");
	/* Both names are ours before either is filled. */
	r = create(sec_path, 0600, &sec);
	if (r < 0)
		return fail_file(reterr_fail, sec_path, "create", r);
	r = create(pub_path, 0644, &pub);
	if (r < 0) {
		unlink(sec_path);
		return fail_file(reterr_fail, pub_path, "create", r);
	}
	r = fill(sec, text);
	if (r == 0)
		r = fill(pub, line);
	if (r < 0) {
		unlink(sec_path);
		unlink(pub_path);
		return fail_file(reterr_fail, sec_path, "write", r);
	}
	*ret_public = p;
	return 0;
}

/* ---- loading ---------------------------------------------------------------- */

static void wiping_free(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

static void wipe_bytes(uint8_t **buf)
{
	wiping_free(*buf);
}

/* What a .sec file says; strings point into doc. */
struct secret_file {
	json_t *doc;
	const char *kdf, *salt, *nonce, *public, *secret;
	uint64_t ops, bytes;
};

static int secret_parse(const char *path, const uint8_t *buf, size_t len,
			struct secret_file *ret_file, struct fail *reterr_fail)
{
	struct secret_file s = {0};
	struct json_fields f;
	int r;

	/* What a parser says of a place that it does not understand has a piece of it. */
	if (json_parse(path, buf, len, &s.doc, NULL) < 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: damaged: the file of a secret key is one JSON document",
				path);
	f = json_fields(path, s.doc, reterr_fail);
	if (strcmp(json_str(&f, "format", 64), SECRET_FORMAT) != 0)
		json_bad(&f, "format", "must be \"" SECRET_FORMAT "\"");
	s.kdf = json_str(&f, "kdf", 32);
	s.public = json_str(&f, "public", 64);
	s.secret = json_str(&f, "secret", 128);
	if (strcmp(s.kdf, KDF_ARGON2ID) == 0) {
		s.ops = json_u64(&f, "ops", crypto_pwhash_argon2id_OPSLIMIT_MIN, 64);
		s.bytes = json_u64(&f, "bytes", crypto_pwhash_argon2id_MEMLIMIT_MIN,
				   KDF_BYTES_MAX);
		s.salt = json_str(&f, "salt", 64);
		s.nonce = json_str(&f, "nonce", 64);
	} else if (strcmp(s.kdf, KDF_NONE) != 0) {
		json_bad(&f, "kdf", "must be \"" KDF_NONE "\" or \"" KDF_ARGON2ID "\"");
	}
	r = json_fields_end(&f);
	if (r < 0) {
		json_decref(s.doc);
		return r;
	}
	*ret_file = s;
	return 0;
}

static int bad_key_file(struct fail *f, const char *path, const char *why)
{
	return fail_set(f, FAIL_BAD_FORMAT, "%s: %s", path, why);
}

static int unseal(const char *path, const struct secret_file *s, const struct key_public *p,
		  key_ask_fn ask, void *cookie, uint8_t seed[crypto_sign_SEEDBYTES],
		  struct fail *reterr_fail)
{
	uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES];
	AUTO_GUARDED uint8_t *key = NULL;
	uint8_t sealed[SEALED_BYTES];
	const char *passphrase;
	char prompt[PATH_MAX + 64], id[KEY_ID_BYTES];

	if (strcmp(s->kdf, KDF_NONE) == 0)
		return bytes_from_base64_exact(s->secret, seed, crypto_sign_SEEDBYTES) < 0
			       ? bad_key_file(reterr_fail, path, "\"secret\" is not 32 bytes")
			       : 0;
	if (bytes_from_base64_exact(s->salt, salt, sizeof(salt)) < 0 ||
	    bytes_from_base64_exact(s->nonce, nonce, sizeof(nonce)) < 0 ||
	    bytes_from_base64_exact(s->secret, sealed, sizeof(sealed)) < 0)
		return bad_key_file(reterr_fail, path,
				    "\"salt\", \"nonce\" or \"secret\" has the wrong length");
	snprintf(prompt, sizeof(prompt), "Passphrase of %s (key %.16s): ", path, key_id(p, id));
	passphrase = ask ? ask(prompt, cookie) : NULL;
	if (!passphrase)
		return fail_set(reterr_fail, FAIL_USAGE,
				"%s: protected by a passphrase, and none was given", path);
	if (derive(passphrase, salt, s->ops, s->bytes, &key) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"%s: not enough memory to derive the key (%" PRIu64 " MiB)",
				path, s->bytes >> 20);
	if (crypto_secretbox_open_easy(seed, sealed, sizeof(sealed), nonce, key) != 0)
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
				"%s: wrong passphrase, or the file is damaged", path);
	return 0;
}

static int key_from_file(const char *path, const struct secret_file *s, key_ask_fn ask,
			 void *cookie, struct key **ret_key, struct fail *reterr_fail)
{
	AUTO_GUARDED uint8_t *seed = sodium_malloc(crypto_sign_SEEDBYTES);
	AUTO(key_freep) struct key *k = sodium_malloc(sizeof(*k));
	struct key_public p;
	int r;

	if (!seed || !k)
		return fail_set(reterr_fail, FAIL_INTERNAL, "no locked memory for a key");
	if (bytes_from_base64_exact(s->public, p.raw, sizeof(p.raw)) < 0 ||
	    !key_is_sound(p.raw))
		return bad_key_file(reterr_fail, path, "\"public\" is not a usable public key");
	r = unseal(path, s, &p, ask, cookie, seed, reterr_fail);
	if (r < 0)
		return r;
	crypto_sign_seed_keypair(k->public.raw, k->secret, seed);
	if (memcmp(k->public.raw, p.raw, sizeof(p.raw)) != 0)
		return bad_key_file(reterr_fail, path,
				    "\"public\" does not belong to \"secret\"");
	*ret_key = take_ptr(k);
	return 0;
}

static bool is_public(int fd)
{
	char word[sizeof(PUBLIC_WORD)] = "";

	return pread(fd, word, sizeof(word) - 1, 0) > 0 && strcmp(word, PUBLIC_WORD) == 0;
}

static int secret_read(const char *path, uint8_t **ret_buf, size_t *ret_len,
		       struct fail *reterr_fail)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_file(reterr_fail, path, "read", -errno);
	if (!S_ISREG(st.st_mode))
		return bad_key_file(reterr_fail, path, "not a regular file");
	if (is_public(fd)) { /* before its mode, which is right for what it is */
		bad_key_file(reterr_fail, path, "this is a public key");
		return fail_hint(reterr_fail, "To sign, name the .sec file beside it.");
	}
	if (st.st_mode & 077) {
		fail_set(reterr_fail, FAIL_PERMISSION,
			 "%s: others may use this secret key (mode %04o)", path,
			 (unsigned int)(st.st_mode & 07777));
		fail_hint(reterr_fail,
			  "If nobody did: chmod 600 %s. Otherwise make a new key and revoke "
			  "this one.",
			  path);
		return -fail_errno(FAIL_PERMISSION);
	}
	r = io_read_fd(fd, FILE_BYTES_MAX, ret_buf, ret_len);
	return r < 0 ? fail_file(reterr_fail, path, "read", r) : 0;
}

int key_load(const char *path, key_ask_fn ask, void *cookie, struct key **ret_key,
	     struct fail *reterr_fail)
{
	AUTO(wipe_bytes) uint8_t *buf = NULL;
	struct secret_file s = {0};
	json_malloc_t old_malloc;
	json_free_t old_free;
	size_t len;
	int r;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	r = secret_read(path, &buf, &len, reterr_fail);
	if (r < 0)
		return r;
	/* jansson copies the secret while it reads: let it wipe what it frees. */
	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(malloc, wiping_free);
	r = secret_parse(path, buf, len, &s, reterr_fail);
	if (r == 0)
		r = key_from_file(path, &s, ask, cookie, ret_key, reterr_fail);
	json_decref(s.doc);
	json_set_alloc_funcs(old_malloc, old_free);
	return r;
}

/* White space may come first, as it may for who reads it. */
bool key_is_secret_file(const void *buf, size_t len)
{
	const char *p = buf, *end = p + len;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p < end && *p == '{' && memmem(p, end - p, SECRET_FORMAT, strlen(SECRET_FORMAT));
}

bool key_is_public_file(const void *buf, size_t len)
{
	return len > strlen(PUBLIC_WORD) &&
	       memcmp(buf, PUBLIC_WORD " ", strlen(PUBLIC_WORD) + 1) == 0;
}

int key_about(const char *path, const void *buf, size_t len, struct key_about *ret_about,
	      struct fail *reterr_fail)
{
	struct key_about about = {0};
	struct secret_file s = {0};
	json_malloc_t old_malloc;
	json_free_t old_free;
	int r;

	json_get_alloc_funcs(&old_malloc, &old_free);
	json_set_alloc_funcs(malloc, wiping_free);
	r = secret_parse(path, buf, len, &s, reterr_fail);
	if (r == 0 && (bytes_from_base64_exact(s.public, about.public.raw,
					       sizeof(about.public.raw)) < 0 ||
		       !key_is_sound(about.public.raw)))
		r = bad_key_file(reterr_fail, path, "\"public\" is not a usable public key");
	if (r == 0) {
		about.sealed = strcmp(s.kdf, KDF_NONE) != 0;
		*ret_about = about;
	}
	json_decref(s.doc);
	json_set_alloc_funcs(old_malloc, old_free);
	return r;
}

struct key *key_free(struct key *k)
{
	sodium_free(k);
	return NULL;
}

const struct key_public *key_public(const struct key *k)
{
	return &k->public;
}

int key_sign(const struct key *k, const void *msg, size_t len, uint8_t ret_sig[64])
{
	return crypto_sign_detached(ret_sig, NULL, msg, len, k->secret) == 0 ? 0 : -EIO;
}

char *key_pem(const struct key *k)
{
	/* RFC 8410: a version, the algorithm, and the seed in an octet string in another. */
	uint8_t der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
			   0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
	char *text, *pem = NULL;

	crypto_sign_ed25519_sk_to_seed(der + 16, k->secret);
	text = bytes_to_base64(der, sizeof(der));
	if (text && asprintf(&pem,
			     "-----BEGIN PRIVATE KEY-----\n%s\n"
			     "-----END PRIVATE KEY-----\n",
			     text) < 0)
		pem = NULL;
	sodium_memzero(der, sizeof(der));
	key_pem_free(text);
	return pem;
}

char *key_pem_free(char *pem)
{
	if (pem)
		sodium_memzero(pem, strlen(pem));
	free(pem);
	return NULL;
}
