// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "store/key.h"

#define FILE_BYTES_MAX 262144
#define SERIAL_BITS    159 /* RFC 5280: at most 20 bytes, positive */
#define SERVER_NAMES   16

struct ca {
	X509 *certificate;
	EVP_PKEY *key;
	char *pem;
};

struct ca_bundle {
	X509_STORE *store;
	X509 *ca[CA_BUNDLE_MAX];
	size_t n;
};

DEFINE_AUTO(BIO, BIO_free)
DEFINE_AUTO(BIGNUM, BN_free)
DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
DEFINE_AUTO(X509, X509_free)
DEFINE_AUTO(X509_REQ, X509_REQ_free)
DEFINE_AUTO(X509_STORE_CTX, X509_STORE_CTX_free)

static void chain_freep(STACK_OF(X509) * *chain)
{
	sk_X509_pop_free(*chain, X509_free);
}

/* What OpenSSL could not do; it has no failure but this for memory and randomness. */
static int fail_openssl(struct fail *reterr_fail, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	fail_set(reterr_fail, FAIL_INTERNAL, "cannot %s: %s", what,
		 why ? why : "out of memory");
	ERR_clear_error();
	return -fail_errno(FAIL_INTERNAL);
}

/* Keys with a passphrase are refused: OpenSSL would ask for it on a terminal. */
static int no_passphrase(char *buf, int len, int writing, void *cookie)
{
	(void)buf, (void)len, (void)writing, (void)cookie;
	return -1;
}

/* ---- names ------------------------------------------------------------------------------ */

static bool is_host_id(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

bool ca_name_valid(enum ca_kind kind, const char *name)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._@-";
	size_t len = strlen(name);

	if (kind == CA_HOST)
		return is_host_id(name);
	return len > 0 && len < CA_NAME_BYTES && strspn(name, good) == len && name[0] != '-' &&
	       !is_host_id(name);
}

bool ca_name_reserved(const char *name)
{
	static const char *const words[] = {
		"engine", "controller", "director", "breaker",
		"fleet",  "init",	"hotfixd",  "hotfix-controller"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(name, words[i]) == 0)
			return true;
	return false;
}

static const char *fingerprint(const X509 *certificate, char out[CA_NAME_BYTES])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	out[0] = 0;
	if (X509_digest(certificate, EVP_sha256(), digest, &len))
		for (unsigned int i = 0; i < len; i++)
			snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
	return out;
}

/* The one CN of a certificate, if it is a name of that kind. */
static int peer_of(const X509 *certificate, enum ca_kind kind, struct ca_peer *ret_peer,
		   struct fail *reterr_fail)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	struct ca_peer peer = {.name = ""};
	struct tm tm;
	const ASN1_STRING *cn;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return fail_set(reterr_fail, FAIL_POLICY,
				"the certificate must have exactly one CN");
	cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	if (ASN1_STRING_length(cn) > 0 && ASN1_STRING_length(cn) < CA_NAME_BYTES)
		memcpy(peer.name, ASN1_STRING_get0_data(cn), (size_t)ASN1_STRING_length(cn));
	if ((int)strlen(peer.name) != ASN1_STRING_length(cn) || !ca_name_valid(kind, peer.name))
		return fail_set(reterr_fail, FAIL_POLICY,
				"the certificate's CN \"%s\" is not %s", peer.name,
				kind == CA_HOST ? "a host id (64 hex digits)"
						: "the name of a user");
	if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm))
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "the certificate has no end");
	peer.not_after_s = (uint64_t)timegm(&tm);
	fingerprint(certificate, peer.fingerprint);
	*ret_peer = peer;
	return 0;
}

/* ---- files ------------------------------------------------------------------------------ */

static int path_of(const char *prefix, const char *suffix, char out[PATH_MAX],
		   struct fail *reterr_fail)
{
	if (snprintf(out, PATH_MAX, "%s%s", prefix, suffix) >= PATH_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "%.80s...: the path is too long",
				prefix);
	return 0;
}

static int read_file(const char *path, bool secret, BIO **ret_bio, uint8_t **ret_buf,
		     struct fail *reterr_fail)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	AUTO_FREE uint8_t *buf = NULL;
	struct stat st;
	size_t len;
	int r;

	r = fd < 0 || fstat(fd, &st) < 0 ? -errno : io_read_fd(fd, FILE_BYTES_MAX, &buf, &len);
	if (r < 0)
		return fail_set(reterr_fail,
				r == -ENOENT   ? FAIL_NOT_FOUND
				: r == -EACCES ? FAIL_PERMISSION
					       : FAIL_STORAGE,
				"cannot read %s: %s", path, strerror(-r));
	if (secret && (st.st_mode & 077)) {
		fail_set(reterr_fail, FAIL_PERMISSION, "%s: others can read this key", path);
		return fail_hint(reterr_fail, "chmod 600 %s, if nobody did", path);
	}
	*ret_bio = BIO_new_mem_buf(buf, (int)len);
	if (!*ret_bio)
		return fail_openssl(reterr_fail, "read a file");
	*ret_buf = take_ptr(buf);
	return 0;
}

int ca_load_key(const char *path, EVP_PKEY **ret_key, struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *buf = NULL;
	AUTO(BIO_freep) BIO *bio = NULL;
	int r;

	r = read_file(path, true, &bio, &buf, reterr_fail);
	if (r < 0)
		return r;
	*ret_key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	explicit_bzero(buf, strlen((char *)buf));
	if (*ret_key)
		return 0;
	ERR_clear_error();
	fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: not a private key in PEM", path);
	return fail_hint(reterr_fail, "keys with a passphrase are not taken");
}

/* All certificates of a PEM text, or as many as max. */
static int read_certificates(BIO *bio, size_t max, STACK_OF(X509) * *ret_certificates)
{
	AUTO(chain_freep) STACK_OF(X509) *all = sk_X509_new_null();
	X509 *one;

	while (all && (one = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
		if ((size_t)sk_X509_num(all) >= max || !sk_X509_push(all, one)) {
			X509_free(one);
			return -E2BIG;
		}
	if (!all)
		return -ENOMEM;
	/* The end is told as an error, "no start line"; others are errors indeed. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || !sk_X509_num(all)) {
		ERR_clear_error();
		return -EBADMSG;
	}
	ERR_clear_error();
	*ret_certificates = take_ptr(all);
	return 0;
}

static int write_bio(const char *path, BIO *bio, mode_t mode, struct fail *reterr_fail)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);
	int r = io_write_file(path, text, (size_t)len, mode);

	if (r < 0)
		return fail_set(reterr_fail, FAIL_STORAGE, "cannot write %s: %s", path,
				strerror(-r));
	return 0;
}

/* The key first: a certificate without one would be of no use. */
static int write_pair(const char *prefix, EVP_PKEY *key, X509 *certificate, X509 *issuer,
		      struct fail *reterr_fail)
{
	AUTO(BIO_freep) BIO *secret = BIO_new(BIO_s_secmem()), *open = BIO_new(BIO_s_mem());
	char path[PATH_MAX];
	int r;

	if (!secret || !open ||
	    !PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) ||
	    !PEM_write_bio_X509(open, certificate) ||
	    (issuer && !PEM_write_bio_X509(open, issuer)))
		return fail_openssl(reterr_fail, "write a key");
	r = path_of(prefix, ".key", path, reterr_fail);
	if (r == 0)
		r = write_bio(path, secret, 0600, reterr_fail);
	if (r == 0)
		r = path_of(prefix, ".crt", path, reterr_fail);
	return r < 0 ? r : write_bio(path, open, 0644, reterr_fail);
}

/* ---- making certificates ---------------------------------------------------------------- */

static const EVP_MD *digest_for(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	bool ok;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

/* All that certificates have in common; the caller adds what they are for, and signs. */
static X509 *new_certificate(const char *cn, EVP_PKEY *key, const X509_NAME *issuer,
			     uint64_t from_s, uint64_t until_s)
{
	AUTO(X509_freep) X509 *c = X509_new();
	AUTO(BN_freep) BIGNUM *serial = BN_new();
	time_t zero = 0;

	if (!c || !serial ||
	    !BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) ||
	    !BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(c)) ||
	    !X509_set_version(c, X509_VERSION_3) || !X509_set_pubkey(c, key) ||
	    !X509_NAME_add_entry_by_NID(X509_get_subject_name(c), NID_commonName, MBSTRING_UTF8,
					(const unsigned char *)cn, -1, -1, 0) ||
	    !X509_set_issuer_name(c, issuer ? issuer : X509_get_subject_name(c)) ||
	    !X509_time_adj_ex(X509_getm_notBefore(c), (int)(from_s / 86400),
			      (long)(from_s % 86400), &zero) ||
	    !X509_time_adj_ex(X509_getm_notAfter(c), (int)(until_s / 86400),
			      (long)(until_s % 86400), &zero))
		return NULL;
	return take_ptr(c);
}

static int refuse_existing(const char *prefix, const char *suffix, struct fail *reterr_fail)
{
	char path[PATH_MAX];
	int r = path_of(prefix, suffix, path, reterr_fail);

	if (r < 0 || access(path, F_OK) < 0)
		return r;
	fail_set(reterr_fail, FAIL_CONFLICT, "%s exists", path);
	return fail_hint(reterr_fail, "an authority is never overwritten: choose another name");
}

int ca_new(const char *prefix, const char *name, uint64_t now_s, uint64_t valid_s,
	   struct fail *reterr_fail)
{
	AUTO(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	AUTO(X509_freep) X509 *c = NULL;
	int r;

	r = refuse_existing(prefix, ".key", reterr_fail);
	if (r == 0)
		r = refuse_existing(prefix, ".crt", reterr_fail);
	if (r < 0)
		return r;
	if (!name[0] || strlen(name) >= CA_NAME_BYTES)
		return fail_set(reterr_fail, FAIL_USAGE,
				"an authority's name has 1 to %d bytes", CA_NAME_BYTES - 1);
	key = EVP_EC_gen("P-256");
	if (key)
		c = new_certificate(name, key, NULL, now_s - CA_SKEW_S, now_s + valid_s);
	if (!c || !add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_extension(c, c, NID_key_usage, "critical,keyCertSign") ||
	    !add_extension(c, c, NID_subject_key_identifier, "hash") ||
	    !X509_sign(c, key, EVP_sha256()))
		return fail_openssl(reterr_fail, "make an authority");
	return write_pair(prefix, key, c, NULL, reterr_fail);
}

int ca_load(const char *prefix, struct ca **ret_ca, struct fail *reterr_fail)
{
	AUTO(ca_freep) struct ca *ca = calloc(1, sizeof(*ca));
	AUTO(BIO_freep) BIO *bio = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	char path[PATH_MAX];
	int r;

	if (!ca)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = path_of(prefix, ".key", path, reterr_fail);
	if (r == 0)
		r = ca_load_key(path, &ca->key, reterr_fail);
	if (r == 0)
		r = path_of(prefix, ".crt", path, reterr_fail);
	if (r == 0)
		r = read_file(path, false, &bio, &buf, reterr_fail);
	if (r < 0)
		return r;
	ca->certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	ERR_clear_error();
	if (!ca->certificate)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: not a certificate in PEM",
				path);
	if (!X509_check_ca(ca->certificate) ||
	    !(X509_get_key_usage(ca->certificate) & KU_KEY_CERT_SIGN))
		return fail_set(reterr_fail, FAIL_POLICY,
				"%s: this certificate may not sign others", path);
	if (!X509_check_private_key(ca->certificate, ca->key)) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
				"%s: this certificate is for another key than %s.key", path,
				prefix);
	}
	ca->pem = (char *)take_ptr(buf);
	*ret_ca = take_ptr(ca);
	return 0;
}

struct ca *ca_free(struct ca *ca)
{
	if (!ca)
		return NULL;
	X509_free(ca->certificate);
	EVP_PKEY_free(ca->key);
	free(ca->pem);
	free(ca);
	return NULL;
}

const char *ca_fingerprint(const struct ca *ca, char out[CA_NAME_BYTES])
{
	return fingerprint(ca->certificate, out);
}

const char *ca_pem(const struct ca *ca)
{
	return ca->pem;
}

/* Until when a certificate may last. */
static int until(const struct ca *ca, uint64_t now_s, uint64_t valid_s, uint64_t *ret_until_s,
		 struct fail *reterr_fail)
{
	uint64_t end_s;
	struct tm tm;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(ca->certificate), &tm))
		return fail_openssl(reterr_fail, "read the authority's end");
	end_s = (uint64_t)timegm(&tm);
	if (end_s <= now_s) {
		fail_set(reterr_fail, FAIL_EXPIRED, "the authority itself has ended");
		return fail_hint(reterr_fail,
				 "make another one; trust both until all hosts have renewed");
	}
	*ret_until_s = valid_s > end_s - now_s ? end_s : now_s + valid_s;
	return 0;
}

/* ---- requests ---------------------------------------------------------------------------- */

/* As store/key.h says: what anybody could sign for is no key. */
static int check_ed25519(const EVP_PKEY *key, struct fail *reterr_fail)
{
	char base64[48];
	uint8_t raw[KEY_PUBLIC_BYTES];
	size_t len = sizeof(raw);
	struct key_public unused;

	if (!EVP_PKEY_get_raw_public_key(key, raw, &len) || len != sizeof(raw))
		return fail_openssl(reterr_fail, "read the request's key");
	EVP_EncodeBlock((unsigned char *)base64, raw, (int)len);
	return key_public_parse(base64, &unused, reterr_fail);
}

static int check_ec(EVP_PKEY *key, struct fail *reterr_fail)
{
	AUTO(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	char group[32] = "";
	int parameters = 0;
	size_t len;

	/* Parameters spelled out may be those of a curve on which keys can be forged. */
	EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
			       &parameters);
	EVP_PKEY_get_group_name(key, group, sizeof(group), &len);
	if (parameters ||
	    (strcmp(group, SN_X9_62_prime256v1) != 0 && strcmp(group, SN_secp384r1) != 0)) {
		fail_set(reterr_fail, FAIL_POLICY,
			 "the request's key is of a curve that is not taken");
		return fail_hint(reterr_fail, "take Ed25519, P-256 or P-384");
	}
	if (!context || EVP_PKEY_public_check(context) != 1) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the request's key is no point of its curve");
	}
	return 0;
}

static int open_request(const void *buf, size_t len, X509_REQ **ret_request,
			struct fail *reterr_fail)
{
	AUTO(X509_REQ_freep) X509_REQ *request = NULL;
	AUTO(BIO_freep) BIO *bio = NULL;
	EVP_PKEY *key;
	int r;

	if (len > CA_REQUEST_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"a certificate request has at most %d bytes",
				CA_REQUEST_BYTES_MAX);
	bio = BIO_new_mem_buf(buf, (int)len);
	if (bio)
		request = PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL);
	key = request ? X509_REQ_get0_pubkey(request) : NULL;
	ERR_clear_error();
	if (!key)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"not a certificate request (PKCS #10 in PEM)");
	if (EVP_PKEY_is_a(key, "ED25519")) {
		r = check_ed25519(key, reterr_fail);
	} else if (EVP_PKEY_is_a(key, "EC")) {
		r = check_ec(key, reterr_fail);
	} else {
		fail_set(reterr_fail, FAIL_POLICY,
			 "the request's key is of a type that is not taken");
		r = fail_hint(reterr_fail, "take Ed25519, P-256 or P-384");
	}
	if (r < 0)
		return r;
	switch (X509_REQ_get_signature_nid(request)) {
	case NID_ED25519:
	case NID_ecdsa_with_SHA256:
	case NID_ecdsa_with_SHA384:
		break;
	default:
		return fail_set(reterr_fail, FAIL_POLICY,
				"the request is signed by a digest that is not taken");
	}
	if (X509_REQ_verify(request, key) != 1) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
				"the request is not signed by the key it is for");
	}
	*ret_request = take_ptr(request);
	return 0;
}

int ca_request_host(const void *buf, size_t len, char ret_id[CA_NAME_BYTES],
		    struct fail *reterr_fail)
{
	AUTO(X509_REQ_freep) X509_REQ *request = NULL;
	struct key_public key;
	size_t room = sizeof(key.raw);
	int r = open_request(buf, len, &request, reterr_fail);

	if (r < 0)
		return r;
	if (!EVP_PKEY_is_a(X509_REQ_get0_pubkey(request), "ED25519"))
		return fail_set(reterr_fail, FAIL_POLICY,
				"the request must be for the host key, which is Ed25519");
	if (!EVP_PKEY_get_raw_public_key(X509_REQ_get0_pubkey(request), key.raw, &room))
		return fail_openssl(reterr_fail, "read the request's key");
	key_id(&key, ret_id);
	return 0;
}

int ca_describe(const char *pem, struct ca_written *ret_written, struct fail *reterr_fail)
{
	AUTO(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	AUTO(X509_freep)
	X509 *c = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
	AUTO(BN_freep)
	BIGNUM *serial = c ? ASN1_INTEGER_to_BN(X509_get0_serialNumber(c), NULL) : NULL;
	char *hex = serial ? BN_bn2hex(serial) : NULL;
	struct ca_written written;
	unsigned int len = 0;
	struct tm tm;

	if (!hex || !X509_digest(c, EVP_sha256(), written.fingerprint, &len) ||
	    !ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm)) {
		OPENSSL_free(hex);
		return fail_openssl(reterr_fail, "read a certificate");
	}
	snprintf(written.serial, sizeof(written.serial), "%s", hex);
	OPENSSL_free(hex);
	written.not_after_s = (uint64_t)timegm(&tm);
	*ret_written = written;
	return 0;
}

static char *to_pem(X509 *certificate)
{
	AUTO(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	if (!bio || !PEM_write_bio_X509(bio, certificate))
		return NULL;
	len = BIO_get_mem_data(bio, &text);
	return strndup(text, (size_t)len);
}

/* What it is for, who made it, and the signature. */
static bool finish(const struct ca *ca, X509 *certificate, const char *purpose,
		   const char *names_or_null)
{
	return add_extension(certificate, ca->certificate, NID_basic_constraints,
			     "critical,CA:FALSE") &&
	       add_extension(certificate, ca->certificate, NID_key_usage,
			     "critical,digitalSignature") &&
	       add_extension(certificate, ca->certificate, NID_ext_key_usage, purpose) &&
	       (!names_or_null || add_extension(certificate, ca->certificate,
						NID_subject_alt_name, names_or_null)) &&
	       add_extension(certificate, ca->certificate, NID_subject_key_identifier,
			     "hash") &&
	       add_extension(certificate, ca->certificate, NID_authority_key_identifier,
			     "keyid:always") &&
	       X509_sign(certificate, ca->key, digest_for(ca->key));
}

int ca_sign(const struct ca *ca, enum ca_kind kind, const char *name, const void *request,
	    size_t len, uint64_t now_s, uint64_t valid_s, char **ret_pem,
	    struct fail *reterr_fail)
{
	AUTO(X509_REQ_freep) X509_REQ *req = NULL;
	AUTO(X509_freep) X509 *c = NULL;
	uint64_t until_s;
	char *pem;
	int r;

	if (kind == CA_SERVER || !ca_name_valid(kind, name))
		return fail_set(reterr_fail, FAIL_USAGE, "\"%.80s\" is not %s", name,
				kind == CA_HOST ? "a host id (64 hex digits)"
						: "the name of a user");
	r = open_request(request, len, &req, reterr_fail);
	if (r == 0)
		r = until(ca, now_s, valid_s, &until_s, reterr_fail);
	if (r < 0)
		return r;
	c = new_certificate(name, X509_REQ_get0_pubkey(req),
			    X509_get_subject_name(ca->certificate), now_s - CA_SKEW_S, until_s);
	if (!c || !finish(ca, c, "clientAuth", NULL))
		return fail_openssl(reterr_fail, "make a certificate");
	pem = to_pem(c);
	if (!pem)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	*ret_pem = pem;
	return 0;
}

/* "DNS:a.example,IP:192.0.2.1"; what is no name would be read as more of OpenSSL's language. */
static int name_list(const char *const *names, size_t n, char *out, size_t len,
		     struct fail *reterr_fail)
{
	uint8_t address[16];
	size_t at = 0;

	if (n == 0 || n > SERVER_NAMES)
		return fail_set(reterr_fail, FAIL_USAGE, "a server has 1 to %d names",
				SERVER_NAMES);
	for (size_t i = 0; i < n; i++) {
		bool ip = inet_pton(AF_INET, names[i], address) == 1 ||
			  inet_pton(AF_INET6, names[i], address) == 1;

		if (!ip && (!names[i][0] || strlen(names[i]) > 253 ||
			    strspn(names[i], "abcdefghijklmnopqrstuvwxyz"
					     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
				    strlen(names[i])))
			return fail_set(reterr_fail, FAIL_USAGE,
					"\"%.80s\" is neither a DNS name nor an IP address",
					names[i]);
		at += (size_t)snprintf(out + at, len - at, "%s%s:%s", i ? "," : "",
				       ip ? "IP" : "DNS", names[i]);
	}
	return 0;
}

int ca_sign_server(const struct ca *ca, const char *const *names, size_t n, const char *prefix,
		   uint64_t now_s, uint64_t valid_s, struct fail *reterr_fail)
{
	AUTO(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	AUTO(X509_freep) X509 *c = NULL;
	char list[SERVER_NAMES * 260];
	uint64_t until_s;
	int r;

	r = name_list(names, n, list, sizeof(list), reterr_fail);
	if (r == 0)
		r = until(ca, now_s, valid_s, &until_s, reterr_fail);
	if (r < 0)
		return r;
	key = EVP_EC_gen("P-256");
	if (key)
		c = new_certificate("hotfix-controller", key,
				    X509_get_subject_name(ca->certificate), now_s - CA_SKEW_S,
				    until_s);
	if (!c || !finish(ca, c, "serverAuth", list))
		return fail_openssl(reterr_fail, "make a certificate");
	return write_pair(prefix, key, c, ca->certificate, reterr_fail);
}

int ca_sign_user(const struct ca *ca, const char *name, const char *prefix, uint64_t now_s,
		 uint64_t valid_s, struct fail *reterr_fail)
{
	AUTO(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	AUTO(X509_freep) X509 *c = NULL;
	uint64_t until_s;
	int r;

	if (!ca_name_valid(CA_USER, name))
		return fail_set(reterr_fail, FAIL_USAGE, "\"%.80s\" is not the name of a user",
				name);
	r = refuse_existing(prefix, ".key", reterr_fail);
	if (r == 0)
		r = until(ca, now_s, valid_s, &until_s, reterr_fail);
	if (r < 0)
		return r;
	key = EVP_EC_gen("P-256");
	if (key)
		c = new_certificate(name, key, X509_get_subject_name(ca->certificate),
				    now_s - CA_SKEW_S, until_s);
	if (!c || !finish(ca, c, "clientAuth", NULL))
		return fail_openssl(reterr_fail, "make a certificate");
	return write_pair(prefix, key, c, NULL, reterr_fail);
}

/* ---- trusting ---------------------------------------------------------------------------- */

static int bundle_add(struct ca_bundle *b, X509 *ca, const char *path, struct fail *reterr_fail)
{
	char print[CA_NAME_BYTES];

	if (!X509_check_ca(ca)) {
		fail_set(reterr_fail, FAIL_POLICY,
			 "%s: certificate %.16s... is not of an authority", path,
			 fingerprint(ca, print));
		return fail_hint(reterr_fail, "a bundle holds those who sign, not their hosts");
	}
	for (size_t i = 0; i < b->n; i++)
		if (X509_cmp(b->ca[i], ca) == 0)
			return 0;
	if (!X509_STORE_add_cert(b->store, ca) || !X509_up_ref(ca))
		return fail_openssl(reterr_fail, "add an authority");
	b->ca[b->n++] = ca;
	return 0;
}

int ca_bundle_load(const char *path, struct ca_bundle **ret_bundle, struct fail *reterr_fail)
{
	AUTO(ca_bundle_freep) struct ca_bundle *b = calloc(1, sizeof(*b));
	AUTO(chain_freep) STACK_OF(X509) *all = NULL;
	AUTO(BIO_freep) BIO *bio = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	int r;

	if (b)
		b->store = X509_STORE_new();
	if (!b || !b->store || !X509_STORE_set_flags(b->store, X509_V_FLAG_PARTIAL_CHAIN) ||
	    !X509_STORE_set_purpose(b->store, X509_PURPOSE_SSL_CLIENT))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = read_file(path, false, &bio, &buf, reterr_fail);
	if (r < 0)
		return r;
	r = read_certificates(bio, CA_BUNDLE_MAX, &all);
	if (r == -E2BIG)
		return fail_set(reterr_fail, FAIL_POLICY, "%s: more than %d authorities", path,
				CA_BUNDLE_MAX);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: not certificates in PEM, or none at all", path);
	for (int i = 0; i < sk_X509_num(all) && r == 0; i++)
		r = bundle_add(b, sk_X509_value(all, i), path, reterr_fail);
	if (r < 0)
		return r;
	*ret_bundle = take_ptr(b);
	return 0;
}

struct ca_bundle *ca_bundle_free(struct ca_bundle *b)
{
	if (!b)
		return NULL;
	for (size_t i = 0; i < b->n; i++)
		X509_free(b->ca[i]);
	X509_STORE_free(b->store);
	free(b);
	return NULL;
}

size_t ca_bundle_count(const struct ca_bundle *b)
{
	return b->n;
}

X509 *ca_bundle_at(const struct ca_bundle *b, size_t i)
{
	return b->ca[i];
}

static int refuse(X509 *certificate, int error, struct fail *reterr_fail)
{
	AUTO_FREE char *subject =
		X509_NAME_oneline(X509_get_subject_name(certificate), NULL, 0);
	enum fail_code code = FAIL_BAD_SIGNATURE;

	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		code = FAIL_EXPIRED;
		break;
	case X509_V_ERR_INVALID_PURPOSE:
	case X509_V_ERR_EE_KEY_TOO_SMALL:
	case X509_V_ERR_CA_KEY_TOO_SMALL:
	case X509_V_ERR_CA_MD_TOO_WEAK:
		code = FAIL_POLICY;
		break;
	default:
		break;
	}
	return fail_set(reterr_fail, code, "certificate %.200s: %s", subject ? subject : "",
			X509_verify_cert_error_string(error));
}

int ca_verify_x509(const struct ca_bundle *b, enum ca_kind kind, X509 *certificate,
		   STACK_OF(X509) * chain, uint64_t now_s, struct ca_peer *ret_peer,
		   struct fail *reterr_fail)
{
	AUTO(X509_STORE_CTX_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();

	if (!context || !X509_STORE_CTX_init(context, b->store, certificate, chain))
		return fail_openssl(reterr_fail, "check a certificate");
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context), 2); /* 112 bits */
	X509_STORE_CTX_set_time(context, 0, (time_t)now_s);
	if (X509_verify_cert(context) != 1) {
		int error = X509_STORE_CTX_get_error(context);

		ERR_clear_error();
		return refuse(certificate, error, reterr_fail);
	}
	return peer_of(certificate, kind, ret_peer, reterr_fail);
}

int ca_verify(const struct ca_bundle *b, enum ca_kind kind, const void *pem, size_t len,
	      uint64_t now_s, struct ca_peer *ret_peer, struct fail *reterr_fail)
{
	AUTO(chain_freep) STACK_OF(X509) *chain = NULL;
	AUTO(BIO_freep) BIO *bio = NULL;

	if (len <= FILE_BYTES_MAX)
		bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio || read_certificates(bio, CA_BUNDLE_MAX, &chain) < 0) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "not certificates in PEM");
	}
	return ca_verify_x509(b, kind, sk_X509_value(chain, 0), chain, now_s, ret_peer,
			      reterr_fail);
}
