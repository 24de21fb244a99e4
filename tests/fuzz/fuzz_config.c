// SPDX-License-Identifier: BSD-2-Clause
/* hotfixd's command line, one argument a line up to an empty one, then the file it names. */
#include "tests/fuzz/fuzz.h"

#include "lib/plain.h"
#include "server/config.h"
#include "server/health.h"

#define ARGS 16

FUZZ_TARGET(config)
{
	char program[] = "hotfixd", flag[] = "--config", path[128];
	char *argv[ARGS + 4] = {program, flag, path};
	struct config c;
	struct fail f = {0};
	int argc = 3, n = 0;
	char *s;

	while (n < ARGS && (s = fuzz_part(&data, &size, '\n', NULL))) {
		if (!*s) {
			free(s);
			break;
		}
		argv[argc + n++] = s;
	}
	fuzz_write("hotfixd.conf", data, size);
	snprintf(path, sizeof(path), "%s/hotfixd.conf", fuzz_folder());
	if (config_load(argc + n, argv, &c, &f) < 0) {
		fuzz_must(f.code != FAIL_NONE && f.message[0] && plain_is(f.message, false));
	} else {
		fuzz_must(c.state_dir[0] == '/' && c.socket[0] == '/' && c.bpffs[0] == '/');
		fuzz_must(c.lease_ms >= 2000 && c.lease_ms <= 600000);
		fuzz_must(c.worker_deadline_ms >= 1000 && c.boot_delay_ms <= 3600000);
		fuzz_must(health_off_valid(c.health_off) && config_log_priority(&c) >= 0);
		fuzz_must(!strcmp(c.drift_policy, "repair") ||
			  !strcmp(c.drift_policy, "report"));
		health_rules_read(NULL, c.health_off);
	}
	while (n > 0)
		free(argv[argc + --n]);
	return 0;
}
