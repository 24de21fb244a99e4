// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/enrol.h"

#include <errno.h>
#include <string.h>

#include <event2/event.h>
#include <event2/http.h>

#include <openssl/rand.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/controller.h"
#include "server/controller/park.h"
#include "server/controller/serve.h"
#include "store/bytes.h"
#include "store/fleet.h"

#define TOKEN_PREFIX  "hfe1."
#define CA_TEXT_BYTES 262144
#define NAME_BYTES    254
#define WAIT_MS	      60000

struct enrol {
	struct controller *c;
	struct serve *serve; /* NULL: nobody is enrolled here */
	struct ca *ca;	     /* NULL: an outside authority */
	char *ca_text;
	struct enrol_stats stats;
	size_t n; /* enrolments under way */
	uint64_t next;
};

/* One enrolment that waits for the database: the request is parked meanwhile. */
struct arrival {
	struct enrol *e;
	bool parked, stored;
	int r;
	struct fail fail;
	char host[CA_NAME_BYTES], topic[32];
	char *pem;
};

/* ---- certificates ---------------------------------------------------------------------------- */

const char *enrol_ca_text(const struct enrol *e)
{
	return e->ca_text;
}

struct enrol_stats enrol_stats(const struct enrol *e)
{
	return e->stats;
}

static int no_authority(struct fail *reterr_fail)
{
	fail_set(reterr_fail, FAIL_POLICY,
		 "certificates of this fleet come from an outside authority");
	return fail_hint(reterr_fail, "its CN is the host id; see [fleet] certificate");
}

int enrol_sign(const struct enrol *e, const char *host, const char *request, char **ret_pem,
	       struct ca_written *ret_written, struct fail *reterr_fail)
{
	uint64_t valid_s = e->c->settings->enroll_valid_ms / 1000;
	char id[CA_NAME_BYTES];
	char *pem;
	int r;

	if (!e->ca)
		return no_authority(reterr_fail);
	r = ca_request_host(request, strlen(request), id, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp(id, host) != 0)
		return fail_set(reterr_fail, FAIL_PERMISSION,
				"the request is for the key of another host");
	r = ca_sign(e->ca, CA_HOST, host, request, strlen(request), clock_real_ms() / 1000,
		    valid_s, &pem, reterr_fail);
	if (r < 0)
		return r;
	r = ca_describe(pem, ret_written, reterr_fail);
	if (r < 0) {
		free(pem);
		return r;
	}
	*ret_pem = pem;
	return 0;
}

/* ---- tokens ------------------------------------------------------------------------------------ */

int enrol_token(const struct enrol *e, char ret_text[ENROL_TOKEN_BYTES], uint8_t ret_hash[32],
		struct fail *reterr_fail)
{
	char hex[BYTES_SHA256_HEX], print[CA_NAME_BYTES];
	uint8_t secret[32];

	if (!e->ca)
		return no_authority(reterr_fail);
	if (RAND_bytes(secret, sizeof(secret)) != 1)
		return fail_set(reterr_fail, FAIL_INTERNAL, "no randomness");
	bytes_sha256(secret, sizeof(secret), ret_hash);
	snprintf(ret_text, ENROL_TOKEN_BYTES, TOKEN_PREFIX "%s.%s",
		 bytes_to_hex(secret, sizeof(secret), hex), ca_fingerprint(e->ca, print));
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(hex, sizeof(hex));
	return 0;
}

/* The whole text, or the secret alone. */
static int token_hash(const char *token, uint8_t ret_hash[32])
{
	char hex[65] = "";
	uint8_t secret[32];

	if (strncmp(token, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0)
		token += strlen(TOKEN_PREFIX);
	snprintf(hex, sizeof(hex), "%s", token);
	if ((token[strnlen(token, 64)] != 0 && token[64] != '.') ||
	    bytes_from_hex(hex, secret, sizeof(secret)) < 0)
		return -EBADMSG;
	bytes_sha256(secret, sizeof(secret), ret_hash);
	explicit_bzero(secret, sizeof(secret));
	return 0;
}

static int bad_token(struct fail *reterr_fail)
{
	fail_set(reterr_fail, FAIL_PERMISSION,
		 "this token is not known, was used, or has expired");
	return fail_hint(reterr_fail, "ask for another one: hotfixctl enroll token");
}

/* ---- enrolment ----------------------------------------------------------------------------------- */

static struct arrival *arrival_free(struct arrival *v)
{
	if (v) {
		v->e->n--;
		free(v->pem);
	}
	free(v);
	return NULL;
}

DEFINE_AUTO(struct arrival, arrival_free)

/* Where it goes from here: under the name by which it came, if nobody says otherwise. */
static const char *url_of(const struct enrol *e, struct evhttp_request *req,
			  char out[SETTINGS_URL_BYTES])
{
	const char *host = evhttp_request_get_host(req);

	if (e->c->settings->agents_url[0])
		snprintf(out, SETTINGS_URL_BYTES, "%s", e->c->settings->agents_url);
	else
		snprintf(out, SETTINGS_URL_BYTES, "https://%s:%u", host ? host : "localhost",
			 e->c->port.agents);
	return out;
}

static void answer(struct arrival *v, struct evhttp_request *req)
{
	char url[SETTINGS_URL_BYTES];
	struct enrol *e = v->e;

	if (v->r < 0) {
		e->stats.refused++;
		serve_refuse(req, &v->fail);
		return;
	}
	e->stats.enrolled++;
	serve_answer(req, 200,
		     json_pack("{s:s, s:s, s:s, s:s}", "host", v->host, "certificate", v->pem,
			       "ca", e->ca_text, "agents", url_of(e, req, url)));
}

static void on_parked(struct evhttp_request *req, enum park_end why, void *cookie)
{
	struct arrival *v = cookie;

	v->parked = false;
	if (req && why != PARK_WOKEN) {
		v->r = -EAGAIN;
		fail_set(&v->fail, FAIL_UNREACHABLE, "the database does not answer");
	}
	if (req)
		answer(v, req);
	if (v->stored)
		arrival_free(v);
}

static void on_stored(struct fleet_answer *a, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *stored = a;
	struct arrival *v = cookie;

	v->stored = true;
	v->r = stored->r;
	v->fail = stored->fail;
	if (stored->r == -ESTALE)
		bad_token(&v->fail);
	else if (stored->r < 0) /* why is not for strangers */
		fail_set(&v->fail, FAIL_UNREACHABLE, "the database does not answer");
	else
		log_event(LOG_NOTICE, "a host was enrolled host=%s", v->host);
	if (v->parked)
		park_wake(v->e->c->park, v->topic);
	else
		arrival_free(v);
}

static bool name_is_good(const char *name)
{
	return *name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789.-_:") == strlen(name);
}

/* What somebody shows who wants to be a host; its texts are borrowed from doc. */
struct shown {
	json_t *doc;
	const char *request, *name;
	uint8_t token_hash[32];
};

static int take_shown(struct evhttp_request *req, struct shown *ret_shown,
		      struct fail *reterr_fail)
{
	size_t len;
	const uint8_t *body = serve_body(req, &len);
	struct json_fields f;
	const char *token;
	int r = json_parse("request", body, len, &ret_shown->doc, reterr_fail);

	if (r < 0)
		return r;
	f = json_fields("request", ret_shown->doc, reterr_fail);
	token = json_str(&f, "token", ENROL_TOKEN_BYTES);
	ret_shown->request = json_str(&f, "request", CA_REQUEST_BYTES_MAX);
	ret_shown->name = json_str(&f, "name", NAME_BYTES);
	if (f.r == 0 && !name_is_good(ret_shown->name))
		json_bad(&f, "name", "must be a host name");
	if (json_fields_end(&f) < 0)
		return f.r;
	return token_hash(token, ret_shown->token_hash) < 0 ? bad_token(reterr_fail) : 0;
}

/* The token is used up with it; on_stored() hears of it. */
static int store(struct arrival *v, const struct shown *s, const struct ca_written *written)
{
	struct fleet_entry entry = {.at_ms = clock_real_ms(),
				    .actor = v->host,
				    .action = "ENROLLED",
				    .subject = v->host,
				    .result = "ok"};
	struct fleet_enrolment row = {.token_hash = s->token_hash,
				      .id = v->host,
				      .name = s->name,
				      .fingerprint = written->fingerprint,
				      .certificate = written->serial,
				      .expires_ms = written->not_after_s * 1000};

	return fleet_enrol(v->e->c->fleet, &row, &entry, on_stored, v);
}

static int arrive(struct enrol *e, struct evhttp_request *req, const struct shown *s,
		  struct fail *reterr_fail)
{
	AUTO(arrival_freep) struct arrival *v = NULL;
	struct ca_written written;
	int r;

	if (e->n >= ENROL_AT_ONCE_MAX)
		return fail_set(reterr_fail, FAIL_UNREACHABLE,
				"too many hosts are being enrolled at once");
	v = calloc(1, sizeof(*v));
	if (!v)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	v->e = e;
	e->n++;
	r = e->ca ? ca_request_host(s->request, strlen(s->request), v->host, reterr_fail)
		  : no_authority(reterr_fail);
	if (r == 0)
		r = enrol_sign(e, v->host, s->request, &v->pem, &written, reterr_fail);
	if (r < 0)
		return r;
	snprintf(v->topic, sizeof(v->topic), "enrol:%llu", (unsigned long long)e->next++);
	r = park_wait(e->c->park, req, v->topic, WAIT_MS, on_parked, v, reterr_fail);
	if (r < 0)
		return r;
	v->parked = true;
	if (store(v, s, &written) < 0) {
		v->stored = true;
		v->r = fail_set(&v->fail, FAIL_UNREACHABLE, "out of memory");
		park_wake(e->c->park, v->topic);
	}
	take_ptr(v);
	return 0;
}

static int begin(struct enrol *e, struct evhttp_request *req, struct fail *reterr_fail)
{
	struct shown s = {.doc = NULL};
	int r = take_shown(req, &s, reterr_fail);

	if (r == 0)
		r = arrive(e, req, &s, reterr_fail);
	json_decref(s.doc);
	return r;
}

static void on_request(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	enum evhttp_cmd_type verb = evhttp_request_get_command(req);
	struct enrol *e = cookie;
	struct fail fail;

	(void)peer;
	if (verb == EVHTTP_REQ_GET && strcmp(path, "/v1/ca") == 0) {
		serve_answer(req, 200, json_pack("{s:s}", "ca", e->ca_text));
	} else if (verb == EVHTTP_REQ_POST && strcmp(path, "/v1/enroll") == 0) {
		if (begin(e, req, &fail) < 0) {
			e->stats.refused++;
			serve_refuse(req, &fail);
		}
	} else {
		fail_set(&fail, FAIL_NOT_FOUND, "there is nothing here");
		serve_refuse(req, &fail);
	}
}

/* ---- life ---------------------------------------------------------------------------------------- */

/* The authority that signs comes first, then the others that agents trust. */
static int read_trust(const struct settings *s, const struct ca *ca, char **ret_text,
		      struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *buf = NULL;
	const char *all, *ours;
	size_t len;
	char *text;
	int r = io_read_file(s->agents_trust, CA_TEXT_BYTES, &buf, &len);

	if (r < 0)
		return fail_set(reterr_fail, r == -ENOENT ? FAIL_NOT_FOUND : FAIL_STORAGE,
				"cannot read %s: %s", s->agents_trust, strerror(-r));
	all = (const char *)buf;
	ours = ca ? strstr(all, ca_pem(ca)) : NULL;
	if (asprintf(&text, "%s%.*s%s", ca ? ca_pem(ca) : "", ours ? (int)(ours - all) : 0, all,
		     ours ? ours + strlen(ca_pem(ca)) : all) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	*ret_text = text;
	return 0;
}

int enrol_reload(struct enrol *e, struct fail *reterr_fail)
{
	const struct settings *s = e->c->settings;
	AUTO(ca_freep) struct ca *ca = NULL;
	char *text = NULL;
	int r = 0;

	if (s->ca_prefix[0])
		r = ca_load(s->ca_prefix, &ca, reterr_fail);
	if (r == 0)
		r = read_trust(s, ca, &text, reterr_fail);
	if (r < 0)
		return r;
	ca_free(e->ca);
	e->ca = take_ptr(ca);
	free(e->ca_text);
	e->ca_text = text;
	return e->serve ? serve_reload(e->serve, reterr_fail) : 0;
}

int enrol_new(struct controller *c, struct enrol **ret_enrol, struct fail *reterr_fail)
{
	const struct settings *s = c->settings;
	const struct serve_opts opts = {.name = "enroll",
					.address = s->enroll.address,
					.port = s->enroll.port,
					.tls = {.certificate = s->agents_certificate,
						.key = s->agents_key,
						.client = TLS_CLIENT_NONE},
					.limits = SERVE_LIMITS_FEW,
					.request = on_request};
	AUTO(enrol_freep) struct enrol *e = calloc(1, sizeof(*e));
	struct serve_opts mine = opts;
	int r;

	if (!e)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	e->c = c;
	mine.cookie = e;
	r = enrol_reload(e, reterr_fail);
	if (r == 0 && s->enroll.address[0])
		r = serve_new(c->base, &mine, &e->serve, reterr_fail);
	if (r < 0)
		return r;
	if (e->serve)
		c->port.enroll = serve_port(e->serve);
	*ret_enrol = take_ptr(e);
	return 0;
}

void enrol_on_wake(struct enrol *e, const char *topic)
{
	(void)e, (void)topic;
}

struct enrol *enrol_free(struct enrol *e)
{
	if (!e)
		return NULL;
	serve_free(e->serve);
	ca_free(e->ca);
	free(e->ca_text);
	free(e);
	return NULL;
}
