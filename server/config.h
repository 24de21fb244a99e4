// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/config.h -- hotfixd's settings (lib/setting.h): their names, bounds and meaning.
 *
 * Context    at start, before the loop.
 * Errors     -EINVAL; reterr_fail names file and line or the flag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fail.h"
#include "lib/setting.h"

#define CONFIG_PATH_BYTES   256
#define CONFIG_FILE_DEFAULT "/etc/hotfixd/hotfixd.conf"
#define CONFIG_USER_DEFAULT "hotfix"
#define CONFIG_ROLE_BYTES   160
#define CONFIG_LABEL_BYTES  512

/* What each lets its holders do: server/access.h */
enum config_role { CONFIG_READ, CONFIG_APPLY, CONFIG_COMMIT, CONFIG_TRUST, CONFIG_ROLES };

struct config {
	char state_dir[CONFIG_PATH_BYTES];
	char socket[CONFIG_PATH_BYTES];
	char bpffs[CONFIG_PATH_BYTES];
	char parent_socket[CONFIG_PATH_BYTES];
	char trust_dir[CONFIG_PATH_BYTES]; /* "": beside state_dir */
	char user[64];			   /* of loop and workers: a name or a number */
	char admin_group[64];		   /* may change; root always may */
	char readers[64]; /* may read: a group name, or "all"; "" only the above */
	char roles[CONFIG_ROLES][CONFIG_ROLE_BYTES]; /* users and @groups, beside the above */
	uint64_t request_ms;			     /* from its first byte to its last */
	uint64_t lease_ms;
	char health_off[256]; /* names of health checks that this host does without */
	uint64_t boot_delay_ms;
	uint64_t drift_check_ms; /* 0: never */
	char drift_policy[8];	 /* repair | report */
	uint64_t worker_deadline_ms;
	char groups[256]; /* of its fleet, to which this host belongs; separated by blanks */
	char controller
		[512];	  /* URLs, separated by blanks; with enroll "": no member of a fleet */
	char enroll[256]; /* URL of the enrolment */
	char token_file[CONFIG_PATH_BYTES]; /* of the enrolment; "" none */
	/* Of an outside authority; "": the controllers' own is in the store. */
	char fleet_ca[CONFIG_PATH_BYTES], fleet_certificate[CONFIG_PATH_BYTES],
		fleet_key[CONFIG_PATH_BYTES];
	char zone[65];
	char labels[CONFIG_LABEL_BYTES]; /* KEY=VALUE, separated by blanks */
	char hold[256];			 /* hot-fixes that the fleet leaves alone, or "all" */
	uint64_t min_interval_ms, undo_window_ms;
	char log_level[16];
	struct setting_command command;
};

/* Defaults, then the file, then the flags. argv[0] is skipped. */
int config_load(int argc, char **argv, struct config *ret_config, struct fail *reterr_fail);
/* That users and groups exist which were set: asks whatever knows them, a network maybe. */
int config_check_groups(const struct config *c, struct fail *reterr_fail);
/* Zone and labels of the host, by the rule of lib/label.h: what breaks it is left out. */
int config_check_labels(const struct config *c, struct fail *reterr_fail);
/* Those of c->labels that keep the rule, from *at on; false: no more. */
bool config_next_label(const char **at, char ret_name[CONFIG_LABEL_BYTES],
		       char ret_value[CONFIG_LABEL_BYTES]);
/* It is to be an agent: of a controller it knows, or that it is to be made known to. */
bool config_is_member(const struct config *c);
const char *config_role_name(enum config_role role);
int config_log_priority(const struct config *c);
void config_usage(void);
/* Every setting with its value as in force, one "section.key = value" a line. */
void config_print(const struct config *c);
