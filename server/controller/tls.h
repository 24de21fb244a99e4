// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/tls.h -- TLS 1.3 for one listener, and who the peer is. Certificates,
 * key and trusted authorities are files that can be read again without ending a connection.
 *
 * There are no session tickets and no cache: an agent connects once and stays for weeks, and a
 * ticket would carry a certificate past its revocation. Buffers are given back when a connection
 * is idle.
 *
 * Context    loop thread; a handshake is the dearest thing that it does.
 * Errors     of ca.h; FAIL_PERMISSION a peer that may not, or no longer, come in.
 * Ownership  the callbacks are given what tls_accept() was given.
 */
#pragma once

#include "server/controller/ca.h"

struct ssl_st; /* of OpenSSL */
struct tls;

enum tls_client { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

struct tls_opts {
	const char *certificate; /* PEM: the listener's own, and those behind it */
	const char *key;	 /* PEM, 0600 */
	const char *trust;	 /* PEM: authorities of clients; unused with TLS_CLIENT_NONE */
	enum tls_client client;
	enum ca_kind kind; /* whom a client's certificate must name */
};

/* Strings are copied. */
int tls_new(const struct tls_opts *opts, struct tls **ret_tls, struct fail *reterr_fail);
/* New connections use what the files hold now; when they hold nothing good, what was. */
int tls_reload(struct tls *t, struct fail *reterr_fail);
struct tls *tls_free(struct tls *t);

/* What happens to one connection. */
struct tls_events {
	/* May this peer come in? It holds a good certificate. */
	int (*permit)(void *owner, const struct ca_peer *peer, struct fail *reterr_fail);
	/* The handshake is over; no certificate was shown if NULL. */
	void (*opened)(void *owner, const struct ca_peer *peer_or_null);
	/* The handshake failed, and why; the peer has been told what TLS has an alert for. */
	void (*refused)(void *owner, const struct fail *why);
	/* The connection is gone, whatever became of it. */
	void (*closed)(void *owner);
};

/* A server's end. From here on events->closed() will come, in SSL_free(). NULL: out of memory, and
 * nothing will come. */
struct ssl_st *tls_accept(struct tls *t, const struct tls_events *events, void *owner);
void *tls_owner(const struct ssl_st *ssl);
/* Checks anew whom the certificate names: 0 while nothing has changed since the handshake. After
 * a reload the authority may be gone; a certificate can end while the connection lasts. */
int tls_check(struct ssl_st *ssl, const struct ca_peer *peer, uint64_t now_s,
	      struct fail *reterr_fail);

DEFINE_AUTO(struct tls, tls_free)
