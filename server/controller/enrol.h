// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/enrol.h -- how a machine becomes a host of the fleet: the listener for those who
 * have no certificate yet, tokens, and certificates for hosts, first ones and renewed ones.
 *
 *	GET  /v1/ca		{"ca": PEM}; first the authority whose SHA-256 tokens pin
 *	POST /v1/enroll		{"token", "request", "name"} -> {"host", "certificate", "ca", "agents"}
 *
 * A token is "hfe1.", 64 hex digits that are the secret, ".", and the SHA-256 of the authority's
 * certificate in hex. The database knows it by the SHA-256 of the 32 bytes that the digits
 * stand for. It is good for one host, whose id follows from the key that signed the request.
 * Whatever is wrong with a token, the answer is the same.
 *
 * Context    loop thread.
 * Errors     of ca.h; FAIL_POLICY certificates come from an outside authority.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/fail.h"
#include "server/controller/ca.h"

#define ENROL_TOKEN_BYTES (5 + 64 + 1 + 64 + 1)
#define ENROL_AT_ONCE_MAX 64

struct controller;
struct enrol;

struct enrol_stats {
	uint64_t enrolled, refused;
};

int enrol_new(struct controller *c, struct enrol **ret_enrol, struct fail *reterr_fail);
struct enrol *enrol_free(struct enrol *e);
void enrol_on_wake(struct enrol *e, const char *topic);
int enrol_reload(struct enrol *e, struct fail *reterr_fail);

/* A new token: its text for one machine, its hash for fleet_add_token(). */
int enrol_token(const struct enrol *e, char ret_text[ENROL_TOKEN_BYTES], uint8_t ret_hash[32],
		struct fail *reterr_fail);
/* A certificate for a host whose own key signed the request. */
int enrol_sign(const struct enrol *e, const char *host, const char *request, char **ret_pem,
	       struct ca_written *ret_written, struct fail *reterr_fail);
/* Authorities that agents are to trust, PEM. */
const char *enrol_ca_text(const struct enrol *e);
struct enrol_stats enrol_stats(const struct enrol *e);

DEFINE_AUTO(struct enrol, enrol_free)
