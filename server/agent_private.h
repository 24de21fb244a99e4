// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/agent_private.h -- what agent*.c share: requests over HTTPS (agent_net.c), and what
 * certificates say (agent_cert.c).
 *
 * Context    loop thread.
 */
#pragma once

#include "server/agent.h"

/* ---- requests -------------------------------------------------------------------------------
 */

struct agent_call;
struct agent_answer;

/* From the loop, once; the call is gone then. Of a failure, body is what came so far. */
typedef void (*agent_done_fn)(const struct agent_answer *answer, void *cookie);

struct agent_request {
	const char *url;	  /* "https://host:port" */
	const char *path;	  /* "/v1/..." */
	const char *body;	  /* of a POST; NULL: GET */
	const char *certificate;  /* PEM, NULL: none is shown */
	const char *key;	  /* PEM */
	const char *ca;		  /* PEM; NULL: anybody may answer, who is not believed */
	const uint64_t *range_at; /* the first bytes are there; NULL: all are asked for */
	size_t bytes_max;	  /* of the answer */
	uint64_t deadline_ms;
	bool once; /* nothing follows over this connection */
	/* Each time that so much more has come: what came so far, as of a failure. It ends no call. */
	agent_done_fn progress; /* NULL */
	size_t progress_bytes;
};

struct agent_answer {
	int status; /* of a whole answer; 0: there was none, see fail */
	int begun;  /* the status also of one that broke off */
	const uint8_t *body;
	size_t len;
	bool has_range; /* 206: from range_at on */
	uint64_t range_at;
	uint64_t retry_after_ms; /* 0 none */
	struct fail fail;	 /* the transport's, FAIL_NONE */
};

/* -ENOMEM. The body is copied. */
int agent_call_start(struct agent_net *net, const struct agent_request *request,
		     agent_done_fn done, void *cookie, struct agent_call **ret_call);
/* NULL is fine. */
void agent_call_cancel(struct agent_call *call);
struct event_base *agent_net_base(struct agent_net *net);
/* "https://" and an authority, with nothing behind it but "/". */
int agent_url_parse(const char *text, char ret_url[AGENT_URL_BYTES], struct fail *reterr_fail);

/* ---- certificates ---------------------------------------------------------------------------
 */

struct agent_cert {
	char host[AGENT_ID_BYTES]; /* its CN */
	uint64_t not_before_s, not_after_s;
};

/* The first certificate of a PEM text; FAIL_BAD_FORMAT also when it is not key's. */
int agent_cert_read(const char *pem, const char *key, struct agent_cert *ret_cert,
		    struct fail *reterr_fail);
/* A request for a certificate, signed by key. */
int agent_cert_request(const char *key, char **ret_pem, struct fail *reterr_fail);
/* The id of the host that has this Ed25519 key; -EINVAL for other keys. */
int agent_cert_host(const char *key, char ret_host[AGENT_ID_BYTES], struct fail *reterr_fail);
/* The first certificate of a PEM text, alone, when its SHA-256 (of the DER) is pin (hex). */
int agent_cert_pinned(const char *pem, const char *pin, char **ret_pem,
		      struct fail *reterr_fail);
