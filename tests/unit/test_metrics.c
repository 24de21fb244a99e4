// SPDX-License-Identifier: BSD-2-Clause
/* What the controller counts, and whether its manual says so. */
#include "tests/unit/unit.h"

#include "lib/clock.h"
#include "lib/io.h"
#include "server/controller/controller.h"
#include "server/controller/metrics.h"

static char *written(void)
{
	const struct settings settings = {.name = "one"};
	struct controller c = {.settings = &settings, .started_ms = 1500};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	metrics_write(&c, out);
	fclose(out);
	return text;
}

static void every_metric_is_in_the_manual(void **state)
{
	AUTO_FREE char *text = written();
	AUTO_FREE uint8_t *manual = NULL;
	static const char mark[] = "# TYPE hotfix_controller_";
	size_t len, n = 0;

	(void)state;
	assert_ok(
		io_read_file("server/controller/hotfix-controller.8", 1 << 20, &manual, &len));
	for (const char *at = text; (at = strstr(at, mark)); n++) {
		char line[128];

		at += sizeof(mark) - 1;
		snprintf(line, sizeof(line), "\n.It Cm %.*s Ta", (int)strcspn(at, " "), at);
		if (!strstr((char *)manual, line))
			fail_msg("the manual lacks%s", line);
	}
	assert_true(n > 20);
}

static void times_are_seconds_and_labels_are_quoted(void **state)
{
	AUTO_FREE char *text = written();

	(void)state;
	assert_non_null(strstr(text, "\nhotfix_controller_start_time_seconds 1.500\n"));
	assert_non_null(strstr(text, "\nhotfix_controller_rollouts{state=\"paused\"} 0\n"));
	assert_non_null(strstr(text, "name=\"one\"} 1\n"));
	/* One head for all lines of a name. */
	assert_null(strstr(strstr(text, "# TYPE hotfix_controller_writes_total") + 1,
			   "# TYPE hotfix_controller_writes_total"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_is_in_the_manual),
		cmocka_unit_test(times_are_seconds_and_labels_are_quoted),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
