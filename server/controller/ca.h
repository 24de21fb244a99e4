// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/ca.h -- the controller's own small certificate authority, and whom the
 * certificates of any authority name. The only owner of X.509.
 *
 * PREFIX.key (0600, PKCS #8 PEM) and PREFIX.crt. The key is P-256: Ed25519 is as fast and as
 * strong, but browsers, FIPS modules, TPMs and HSMs refuse it in certificates, and operators
 * come with those. Hosts may bring either.
 *
 * A certificate says one thing: whom it is for. CA_HOST has the host id as its CN (64 hex
 * digits), CA_USER the name of an operator, which cannot look like a host id; both are good for
 * TLS clients only, so that no host can pose as the controller. CA_SERVER is for the
 * controller's listeners. Nothing of a request but its key gets into a certificate.
 *
 * Context    loop thread; reads and writes the files that it is given, waits for nothing else.
 * Errors     FAIL_BAD_FORMAT not a request or certificate; FAIL_BAD_SIGNATURE not signed by its
 *            own key, or by no authority of the bundle; FAIL_EXPIRED past or before its time;
 *            FAIL_POLICY a key, name or time that is not allowed; FAIL_PERMISSION a key file
 *            that others can read; FAIL_CONFLICT a file that is there already.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"

struct ca;	  /* one authority, with its key */
struct ca_bundle; /* authorities that are trusted, two or more during a rollover */
struct x509_st;	  /* of OpenSSL */
struct stack_st_X509;
struct evp_pkey_st;

#define CA_NAME_BYTES	     65 /* a host id, a user's name, or a SHA-256 in hex; and NUL */
#define CA_REQUEST_BYTES_MAX 16384
#define CA_BUNDLE_MAX	     16
#define CA_SKEW_S	     300 /* certificates begin so long ago, for clocks that are behind */

enum ca_kind { CA_HOST, CA_USER, CA_SERVER };

/* Whom a certificate names. */
struct ca_peer {
	char name[CA_NAME_BYTES];
	char fingerprint[CA_NAME_BYTES]; /* SHA-256 of the certificate */
	uint64_t not_after_s;
};

struct ca_written {
	uint8_t fingerprint[32]; /* SHA-256 */
	char serial[48];	 /* hex */
	uint64_t not_after_s;
};

/* name is for people: the CN of the authority. */
int ca_new(const char *prefix, const char *name, uint64_t now_s, uint64_t valid_s,
	   struct fail *reterr_fail);
int ca_load(const char *prefix, struct ca **ret_ca, struct fail *reterr_fail);
struct ca *ca_free(struct ca *ca);
/* SHA-256 of the certificate, for people to compare and for enrolment tokens to pin. */
const char *ca_fingerprint(const struct ca *ca, char out[CA_NAME_BYTES]);
const char *ca_pem(const struct ca *ca); /* its certificate, borrowed */

bool ca_name_valid(enum ca_kind kind, const char *name);
/* What a history says of the program itself: no new user is called that, in any case of letters. */
bool ca_name_reserved(const char *name);
/*
 * A certificate for the key of a request (PEM, PKCS #10): for a host or a user, who proves by
 * the request's signature that the key is theirs. Ends with the authority at the latest. To
 * renew is to sign again: the old one stays good until it ends or is revoked.
 */
int ca_sign(const struct ca *ca, enum ca_kind kind, const char *name, const void *request,
	    size_t len, uint64_t now_s, uint64_t valid_s, char **ret_pem,
	    struct fail *reterr_fail);
/* The id of the host whose key (Ed25519, store/key.h) signed a request for itself. */
int ca_request_host(const void *request, size_t len, char ret_id[CA_NAME_BYTES],
		    struct fail *reterr_fail);
/* What is written down of a certificate (PEM) that this program made. */
int ca_describe(const char *pem, struct ca_written *ret_written, struct fail *reterr_fail);
/* A key and certificate for listeners, as PREFIX.key and PREFIX.crt; replaces what is there. Names
 * are DNS names and IP addresses. */
int ca_sign_server(const struct ca *ca, const char *const *names, size_t n, const char *prefix,
		   uint64_t now_s, uint64_t valid_s, struct fail *reterr_fail);
/* The same for a user who has no key yet: the first one. Nothing is replaced. */
int ca_sign_user(const struct ca *ca, const char *name, const char *prefix, uint64_t now_s,
		 uint64_t valid_s, struct fail *reterr_fail);

/* A private key from a file (PEM) that nobody else can read. */
int ca_load_key(const char *path, struct evp_pkey_st **ret_key, struct fail *reterr_fail);

/* All certificates of a PEM file, each of an authority that is to be trusted by itself: an
 * issuing authority can stand here without the one above it. */
int ca_bundle_load(const char *path, struct ca_bundle **ret_bundle, struct fail *reterr_fail);
struct ca_bundle *ca_bundle_free(struct ca_bundle *b);
size_t ca_bundle_count(const struct ca_bundle *b);
struct x509_st *ca_bundle_at(const struct ca_bundle *b, size_t i); /* borrowed */

/* A certificate (PEM) and, behind it, those between it and the authority. */
int ca_verify(const struct ca_bundle *b, enum ca_kind kind, const void *pem, size_t len,
	      uint64_t now_s, struct ca_peer *ret_peer, struct fail *reterr_fail);
/* The same of what TLS has parsed; chain may be NULL. */
int ca_verify_x509(const struct ca_bundle *b, enum ca_kind kind, struct x509_st *certificate,
		   struct stack_st_X509 *chain, uint64_t now_s, struct ca_peer *ret_peer,
		   struct fail *reterr_fail);

DEFINE_AUTO(struct ca, ca_free)
DEFINE_AUTO(struct ca_bundle, ca_bundle_free)
