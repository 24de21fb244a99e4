// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/tls.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lib/clock.h"

#define CLIENT_CHAIN_BYTES_MAX 16384

/* What the files held: replaced as a whole, kept by the connections that came under it. */
struct side {
	SSL_CTX *context;
	struct ca_bundle *trust; /* NULL: none */
};

struct tls {
	struct tls_opts opts; /* strings are ours */
	struct side side;
	unsigned int generation; /* of side */
};

/* Of one connection: what SSL_get_ex_data() holds. */
struct session {
	struct tls *tls;
	const struct tls_events *events;
	void *owner;
	unsigned int generation; /* under which the peer was checked last */
	bool opened, refused;
	struct ca_peer
		*peer; /* between the check of the certificate and the end of the handshake */
};

static int session_index = -1;

static struct session *session_of(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, session_index);
}

static void on_freed(void *ssl, void *at, CRYPTO_EX_DATA *data, int index, long argl,
		     void *argp)
{
	struct session *s = at;

	(void)ssl, (void)data, (void)index, (void)argl, (void)argp;
	if (!s)
		return;
	s->events->closed(s->owner);
	free(s->peer);
	free(s);
}

static void refuse(struct session *s, const struct fail *why)
{
	if (s->refused || s->opened)
		return;
	s->refused = true;
	s->events->refused(s->owner, why);
}

/* ---- the handshake ------------------------------------------------------------------------ */

/* In the place of OpenSSL's own check of the chain: 1 good. */
static int on_certificate(X509_STORE_CTX *context, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct session *s = session_of(ssl);
	struct tls *t = s->tls;
	struct ca_peer peer;
	struct fail why;
	int r;

	(void)unused;
	r = ca_verify_x509(t->side.trust, t->opts.kind, X509_STORE_CTX_get0_cert(context),
			   X509_STORE_CTX_get0_untrusted(context), clock_real_ms() / 1000,
			   &peer, &why);
	if (r == 0) {
		r = s->events->permit(s->owner, &peer, &why);
		X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REVOKED);
	} else {
		X509_STORE_CTX_set_error(
			context, why.code == FAIL_EXPIRED	  ? X509_V_ERR_CERT_HAS_EXPIRED
				 : why.code == FAIL_BAD_SIGNATURE ? X509_V_ERR_CERT_UNTRUSTED
								  : X509_V_ERR_CERT_REJECTED);
	}
	if (r < 0) {
		refuse(s, &why);
		return 0;
	}
	free(s->peer);
	s->peer = malloc(sizeof(peer));
	if (!s->peer) {
		X509_STORE_CTX_set_error(context, X509_V_ERR_OUT_OF_MEM);
		return 0;
	}
	*s->peer = peer;
	X509_STORE_CTX_set_error(context, X509_V_OK);
	return 1;
}

static void on_info(const SSL *ssl, int where, int value)
{
	struct session *s = session_of(ssl);
	const char *reason;
	struct fail why;

	(void)value;
	if (!s)
		return;
	if ((where & SSL_CB_HANDSHAKE_DONE) && !s->opened) {
		s->opened = true;
		s->events->opened(s->owner, s->peer);
		free(take_ptr(s->peer));
	} else if (where & SSL_CB_ALERT) {
		reason = where & SSL_CB_WRITE ? ERR_reason_error_string(ERR_peek_last_error())
					      : SSL_alert_desc_string_long(value);
		fail_set(&why, FAIL_PERMISSION, "TLS: %s%s",
			 where & SSL_CB_WRITE ? "" : "the peer says: ",
			 reason ? reason : SSL_alert_desc_string_long(value));
		refuse(s, &why);
	}
}

/* ---- what the files hold -------------------------------------------------------------------- */

static void side_clear(struct side *side)
{
	SSL_CTX_free(side->context);
	ca_bundle_free(side->trust);
	memset(side, 0, sizeof(*side));
}

static int fail_file(struct fail *reterr_fail, const char *path, const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: %s: %s", path, what, why ? why : "unknown");
	ERR_clear_error();
	return -fail_errno(FAIL_BAD_FORMAT);
}

static int load_trust(const struct tls_opts *o, struct side *side, struct fail *reterr_fail)
{
	int r = ca_bundle_load(o->trust, &side->trust, reterr_fail);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ca_bundle_count(side->trust); i++)
		if (!SSL_CTX_add_client_CA(side->context, ca_bundle_at(side->trust, i)))
			return fail_file(reterr_fail, o->trust, "authority");
	SSL_CTX_set_verify(side->context,
			   SSL_VERIFY_PEER | (o->client == TLS_CLIENT_REQUIRED
						      ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
						      : 0),
			   NULL);
	SSL_CTX_set_cert_verify_callback(side->context, on_certificate, NULL);
	SSL_CTX_set_max_cert_list(side->context, CLIENT_CHAIN_BYTES_MAX);
	return 0;
}

static int load(const struct tls_opts *o, struct side *side, struct fail *reterr_fail)
{
	SSL_CTX *c = side->context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = NULL;
	int r;

	if (!c || !SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) ||
	    !SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384"))
		return fail_set(reterr_fail, FAIL_INTERNAL, "OpenSSL cannot do TLS 1.3");
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(c, 0);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_info_callback(c, on_info);
	if (SSL_CTX_use_certificate_chain_file(c, o->certificate) != 1)
		return fail_file(reterr_fail, o->certificate, "certificate");
	r = ca_load_key(o->key, &key, reterr_fail);
	if (r < 0)
		return r;
	r = SSL_CTX_use_PrivateKey(c, key);
	EVP_PKEY_free(key);
	if (r != 1)
		return fail_file(reterr_fail, o->key, "key");
	return o->client == TLS_CLIENT_NONE ? 0 : load_trust(o, side, reterr_fail);
}

int tls_reload(struct tls *t, struct fail *reterr_fail)
{
	struct side side = {.context = NULL};
	int r = load(&t->opts, &side, reterr_fail);

	if (r < 0) {
		side_clear(&side);
		return r;
	}
	side_clear(&t->side); /* connections hold on to its context */
	t->side = side;
	t->generation++;
	return 0;
}

int tls_new(const struct tls_opts *opts, struct tls **ret_tls, struct fail *reterr_fail)
{
	AUTO(tls_freep) struct tls *t = calloc(1, sizeof(*t));
	int r;

	if (session_index < 0)
		session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_freed);
	if (!t || session_index < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	t->opts = (struct tls_opts){.client = opts->client, .kind = opts->kind};
	t->opts.certificate = strdup(opts->certificate);
	t->opts.key = strdup(opts->key);
	t->opts.trust = opts->trust ? strdup(opts->trust) : NULL;
	if (!t->opts.certificate || !t->opts.key || (opts->trust && !t->opts.trust))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = tls_reload(t, reterr_fail);
	if (r < 0)
		return r;
	*ret_tls = take_ptr(t);
	return 0;
}

struct tls *tls_free(struct tls *t)
{
	if (!t)
		return NULL;
	side_clear(&t->side);
	free((char *)(uintptr_t)t->opts.certificate);
	free((char *)(uintptr_t)t->opts.key);
	free((char *)(uintptr_t)t->opts.trust);
	free(t);
	return NULL;
}

/* ---- connections ---------------------------------------------------------------------------- */

SSL *tls_accept(struct tls *t, const struct tls_events *events, void *owner)
{
	SSL *ssl = SSL_new(t->side.context);
	struct session *s = ssl ? calloc(1, sizeof(*s)) : NULL;

	if (!s || !SSL_set_ex_data(ssl, session_index, s)) {
		free(s);
		SSL_free(ssl);
		return NULL;
	}
	*s = (struct session){
		.tls = t, .events = events, .owner = owner, .generation = t->generation};
	SSL_set_accept_state(ssl);
	return ssl;
}

void *tls_owner(const SSL *ssl)
{
	return session_of(ssl)->owner;
}

int tls_check(SSL *ssl, const struct ca_peer *peer, uint64_t now_s, struct fail *reterr_fail)
{
	struct session *s = session_of(ssl);
	struct tls *t = s->tls;
	struct ca_peer unused;
	int r;

	if (peer->not_after_s <= now_s) {
		fail_set(reterr_fail, FAIL_PERMISSION, "the certificate of %s has ended",
			 peer->name);
		return fail_hint(reterr_fail, "renew it before its end, or enrol again");
	}
	if (s->generation == t->generation)
		return 0;
	r = ca_verify_x509(t->side.trust, t->opts.kind, SSL_get0_peer_certificate(ssl),
			   SSL_get_peer_cert_chain(ssl), now_s, &unused, reterr_fail);
	if (r == 0)
		s->generation = t->generation;
	else if (reterr_fail)
		reterr_fail->code = FAIL_PERMISSION;
	return r < 0 ? -fail_errno(FAIL_PERMISSION) : 0;
}
