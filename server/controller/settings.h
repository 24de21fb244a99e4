// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/settings.h -- the controller's settings (lib/setting.h): their names, bounds and
 * meaning.
 *
 * A path that does not begin with '/' is one below state_dir.
 *
 * Context    at start, before the loop.
 * Errors     -EINVAL; reterr_fail names file and line or the flag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fail.h"
#include "lib/setting.h"

#define SETTINGS_PATH_BYTES    256
#define SETTINGS_URL_BYTES     512
#define SETTINGS_ADDRESS_BYTES 64
#define SETTINGS_AT_BYTES      (SETTINGS_ADDRESS_BYTES + 16)
#define SETTINGS_NAME_BYTES    49 /* "controller:" before it is an actor of the audit log */
#define SETTINGS_FILE_DEFAULT  "/etc/hotfixd/hotfix-controller.conf"

struct settings_listen {
	char address[SETTINGS_ADDRESS_BYTES]; /* numeric; "": off */
	uint16_t port;			      /* 0: any */
};

struct settings {
	char name[SETTINGS_NAME_BYTES];
	char state_dir[SETTINGS_PATH_BYTES];
	char log_level[16];

	char database[SETTINGS_URL_BYTES]; /* of a file, or postgresql://... */

	struct settings_listen agents, enroll, operators, metrics; /* of the texts below */
	char agents_at[SETTINGS_AT_BYTES], enroll_at[SETTINGS_AT_BYTES];
	char operators_at[SETTINGS_AT_BYTES], metrics_at[SETTINGS_AT_BYTES];

	/* enrolment has the certificate and key of agents, metrics those of operators */
	char agents_certificate[SETTINGS_PATH_BYTES], agents_key[SETTINGS_PATH_BYTES];
	char agents_trust[SETTINGS_PATH_BYTES]; /* authorities of hosts */
	uint64_t heartbeat_ms;

	char agents_url[SETTINGS_URL_BYTES]; /* what new agents are told; "": made of a name */
	uint64_t enroll_valid_ms;

	char operators_certificate[SETTINGS_PATH_BYTES], operators_key[SETTINGS_PATH_BYTES];
	char operators_trust[SETTINGS_PATH_BYTES];

	char ca_prefix[SETTINGS_PATH_BYTES]; /* of ca.h; "": an outside authority */
	char ca_operators_prefix[SETTINGS_PATH_BYTES];

	char director_key[SETTINGS_PATH_BYTES], status_key[SETTINGS_PATH_BYTES];
	uint64_t director_valid_ms, status_valid_ms;

	uint64_t breaker_oopses, breaker_percent, breaker_hosts;
	char breaker_domain[SETTINGS_NAME_BYTES];

	struct setting_command command;
};

/* Defaults, then the file, then the flags. argv[0] is skipped. */
int settings_load(int argc, char **argv, struct settings *ret_settings,
		  struct fail *reterr_fail);
int settings_log_priority(const struct settings *s);
void settings_usage(void);
/* Every setting with its value as in force, one "section.key = value" a line. */
void settings_print(const struct settings *s);
