// SPDX-License-Identifier: BSD-2-Clause
/*
 * The controller's authority: requests of strangers, and certificates they show. The bytes are
 * taken as both, as they are, or put into PEM if they look like DER. What is signed names the
 * host alone, and is believed.
 */
#include "tests/fuzz/fuzz.h"

#include <openssl/pem.h>

#include "server/controller/ca.h"

#define NOW_S 1800000000ULL

static const char host[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static struct ca *authority;
static struct ca_bundle *bundle;

static void begin(void)
{
	char prefix[96], path[128];

	snprintf(prefix, sizeof(prefix), "%s/ca", fuzz_folder());
	snprintf(path, sizeof(path), "%s.crt", prefix);
	fuzz_must(ca_new(prefix, "fuzz", NOW_S, 86400, NULL) == 0);
	fuzz_must(ca_load(prefix, &authority, NULL) == 0);
	fuzz_must(ca_bundle_load(path, &bundle, NULL) == 0);
}

/* The bytes as PEM of that name. */
static char *to_pem(const char *name, const uint8_t *data, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *at, *text;
	long len;

	if (size && data[0] == 0x30) /* a SEQUENCE */
		fuzz_must(PEM_write_bio(bio, name, "", data, (long)size) > 0);
	else if (size)
		fuzz_must(BIO_write(bio, data, (int)size) > 0);
	len = BIO_get_mem_data(bio, &at);
	text = fuzz_text((uint8_t *)at, (size_t)len);
	BIO_free(bio);
	return text;
}

FUZZ_TARGET(certificate)
{
	AUTO_FREE char *certificate = to_pem("CERTIFICATE", data, size),
		       *request = to_pem("CERTIFICATE REQUEST", data, size);
	AUTO_FREE char *pem = NULL;
	struct ca_peer peer;
	struct fail fail;

	if (!authority)
		begin();
	if (ca_verify(bundle, CA_HOST, certificate, strlen(certificate), NOW_S, &peer, &fail) ==
	    0)
		fuzz_must(ca_name_valid(CA_HOST, peer.name));
	if (ca_sign(authority, CA_HOST, host, request, strlen(request), NOW_S, 3600, &pem,
		    &fail) < 0)
		return 0;
	fuzz_must(ca_verify(bundle, CA_HOST, pem, strlen(pem), NOW_S, &peer, &fail) == 0);
	fuzz_must(strcmp(peer.name, host) == 0);
	fuzz_must(ca_verify(bundle, CA_USER, pem, strlen(pem), NOW_S, &peer, &fail) < 0);
	return 0;
}
