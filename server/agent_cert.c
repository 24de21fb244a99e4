// SPDX-License-Identifier: BSD-2-Clause
/*
 * What certificates say, and requests for them: the only user of OpenSSL on a host.
 */
#include "server/agent_private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "server/agent_lib.h"
#include "store/bytes.h"

static inline void bio_freep(BIO **bio)
{
	BIO_free(*bio);
}

static inline void pkey_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static inline void cert_freep(X509 **cert)
{
	X509_free(*cert);
}

static inline void req_freep(X509_REQ **req)
{
	X509_REQ_free(*req);
}

/* A file that wants a passphrase is none of ours: nobody is there to be asked. */
static int no_passphrase(char *buf, int size, int rwflag, void *cookie)
{
	(void)buf, (void)size, (void)rwflag, (void)cookie;
	return 0;
}

static EVP_PKEY *read_key(const char *pem)
{
	AUTO(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	ERR_clear_error();
	return key;
}

static X509 *read_first(const char *pem)
{
	AUTO(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

	ERR_clear_error();
	return cert;
}

static char *text_of(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return len > 0 ? strndup(data, (size_t)len) : NULL;
}

static int refuse_key(struct fail *reterr_fail)
{
	return fail_set(reterr_fail, FAIL_BAD_FORMAT, "the key is no private key in PEM");
}

static uint64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;
	time_t s;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	s = timegm(&tm);
	return s > 0 ? (uint64_t)s : 0;
}

int agent_cert_read(const char *pem, const char *key_pem, struct agent_cert *ret_cert,
		    struct fail *reterr_fail)
{
	AUTO(pkey_freep) EVP_PKEY *key = read_key(key_pem);
	AUTO(cert_freep) X509 *cert = read_first(pem);
	struct agent_cert c = {0};
	int len;

	if (!key)
		return refuse_key(reterr_fail);
	if (!cert)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the certificate is none (PEM is expected)");
	if (X509_check_private_key(cert, key) != 1) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the certificate is for another key");
	}
	len = X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, c.host,
					sizeof(c.host));
	c.not_before_s = seconds_of(X509_get0_notBefore(cert));
	c.not_after_s = seconds_of(X509_get0_notAfter(cert));
	if (len != AGENT_ID_BYTES - 1 ||
	    strspn(c.host, "0123456789abcdef") != AGENT_ID_BYTES - 1)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the certificate names no host: its CN must be the host's id, "
				"64 hex digits");
	if (!c.not_after_s || c.not_after_s <= c.not_before_s)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the certificate is for no time at all");
	*ret_cert = c;
	return 0;
}

int agent_cert_host(const char *key_pem, char ret_host[AGENT_ID_BYTES],
		    struct fail *reterr_fail)
{
	AUTO(pkey_freep) EVP_PKEY *key = read_key(key_pem);
	uint8_t raw[32], digest[BYTES_SHA256];
	size_t len = sizeof(raw);

	if (!key)
		return refuse_key(reterr_fail);
	if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
	    EVP_PKEY_get_raw_public_key(key, raw, &len) != 1 || len != sizeof(raw)) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_USAGE, "the host's key is not Ed25519");
	}
	bytes_sha256(raw, len, digest);
	bytes_to_hex(digest, sizeof(digest), ret_host);
	return 0;
}

int agent_cert_request(const char *key_pem, char **ret_pem, struct fail *reterr_fail)
{
	AUTO(pkey_freep) EVP_PKEY *key = read_key(key_pem);
	AUTO(req_freep) X509_REQ *req = X509_REQ_new();
	AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	char host[AGENT_ID_BYTES];
	char *pem;
	int r = agent_cert_host(key_pem, host, reterr_fail);

	if (r < 0)
		return r;
	if (!key || !req || !bio || X509_REQ_set_version(req, 0) != 1 ||
	    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
				       (const unsigned char *)host, -1, -1, 0) != 1 ||
	    X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, NULL) <= 0 ||
	    PEM_write_bio_X509_REQ(bio, req) != 1 || !(pem = text_of(bio))) {
		ERR_clear_error();
		return fail_set(reterr_fail, FAIL_INTERNAL,
				"a certificate request could not be made");
	}
	*ret_pem = pem;
	return 0;
}

int agent_cert_pinned(const char *pem, const char *pin, char **ret_pem,
		      struct fail *reterr_fail)
{
	AUTO(cert_freep) X509 *cert = read_first(pem);
	AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	uint8_t digest[EVP_MAX_MD_SIZE];
	char hex[BYTES_SHA256_HEX];
	unsigned int len = 0;
	char *first;

	if (!cert || X509_digest(cert, EVP_sha256(), digest, &len) != 1 || len != BYTES_SHA256)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"what answers at the enrolment shows no authority");
	if (strcmp(bytes_to_hex(digest, len, hex), pin) != 0) {
		fail_set(reterr_fail, FAIL_PERMISSION,
			 "the authority of the enrolment is not the one that the token names");
		return fail_hint(reterr_fail, "another controller, or somebody in between; a "
					      "token from the right one names its authority");
	}
	if (!bio || PEM_write_bio_X509(bio, cert) != 1 || !(first = text_of(bio)))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	*ret_pem = first;
	return 0;
}
