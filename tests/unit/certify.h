// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/certify.h -- what the tests of certificates and of TLS share: keys, requests of
 * every kind, authorities, and files with them in the scratch folder.
 */
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "server/controller/ca.h"
#include "tests/unit/unit.h"

#define DAY_S	 86400ULL
#define SOME_DAY 1800000000ULL

static const char host_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char host_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static char *certify_text(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = strndup(data, (size_t)len);
	BIO_free(bio);
	assert_non_null(text);
	return text;
}

/* A request for key, signed by signer, that asks for more than it may have. */
static char *certify_request(EVP_PKEY *key, EVP_PKEY *signer, const EVP_MD *md)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());

	sk_X509_EXTENSION_push(
		extensions,
		X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE"));
	sk_X509_EXTENSION_push(
		extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "serverAuth"));
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
							       "DNS:controller.example"));
	X509_REQ_set_version(req, 0);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
				   (const unsigned char *)"somebody else", -1, -1, 0);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "O", MBSTRING_ASC,
				   (const unsigned char *)"admins", -1, -1, 0);
	assert_int_equal(X509_REQ_add_extensions(req, extensions), 1);
	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	assert_true(X509_REQ_sign(req, signer, md) > 0);
	assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(req);
	return certify_text(bio);
}

__attribute__((unused)) static struct ca *certify_ca(const char *name, uint64_t now_s,
						     uint64_t valid_s)
{
	struct ca *ca;

	assert_ok(ca_new(unit_path(name), name, now_s, valid_s, NULL));
	assert_ok(ca_load(unit_path(name), &ca, NULL));
	return ca;
}

__attribute__((unused)) static X509 *certify_parse(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *c = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(c);
	return c;
}

__attribute__((unused)) static void certify_write(const char *name, const char *a,
						  const char *b)
{
	AUTO_FREE char *text = NULL;

	assert_true(asprintf(&text, "%s%s", a, b) > 0);
	assert_ok(io_write_file(unit_path(name), text, strlen(text), 0644));
}

/* NAME.key and NAME.crt of a client. */
__attribute__((unused)) static void certify_client(const struct ca *ca, const char *file,
						   enum ca_kind kind, const char *name,
						   uint64_t now_s, uint64_t valid_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *request = certify_request(key, key, EVP_sha256()), *pem = NULL,
		       *secret = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	char path[64];

	assert_ok(
		ca_sign(ca, kind, name, request, strlen(request), now_s, valid_s, &pem, NULL));
	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	secret = certify_text(bio);
	snprintf(path, sizeof(path), "%s.crt", file);
	certify_write(path, pem, "");
	snprintf(path, sizeof(path), "%s.key", file);
	assert_ok(io_write_file(unit_path(path), secret, strlen(secret), 0600));
	EVP_PKEY_free(key);
}
