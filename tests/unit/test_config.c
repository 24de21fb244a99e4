// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "server/access.h"
#include "server/config.h"

static char path[128];

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int load(char **argv, struct config *ret_config, struct fail *reterr_fail)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return config_load(argc, argv, ret_config, reterr_fail);
}

#define ARGV(...) ((char *[]){(char[]){"hotfixd"}, __VA_ARGS__, NULL})
#define ARG(s)	  ((char[]){s})

static void flags_win_over_the_file_and_the_file_over_the_defaults(void **state)
{
	struct config c;
	struct fail fail;

	(void)state;
	write_file(
		"[daemon]\nsocket = /run/a.sock\nbpffs = /sys/fs/bpf/a\n[trial]\nlease = 5s\n");
	assert_int_equal(load(ARGV(ARG("--config"), path, ARG("--bpffs"), ARG("/sys/fs/bpf/b")),
			      &c, &fail),
			 0);
	assert_string_equal(c.socket, "/run/a.sock");
	assert_string_equal(c.bpffs, "/sys/fs/bpf/b");
	assert_string_equal(c.state_dir, "/var/lib/hotfixd");
	assert_int_equal(c.lease_ms, 5000);
}

static void who_names_a_controller_or_an_enrolment_is_a_member_of_a_fleet(void **state)
{
	struct config c;
	struct fail fail;

	(void)state;
	write_file("[fleet]\ngroups = web\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	assert_false(config_is_member(&c));
	assert_int_equal(c.min_interval_ms, 60000);
	assert_int_equal(c.undo_window_ms, 86400000);
	write_file("[fleet]\ncontroller = https://a.example:7443 https://[::1]:1/\n"
		   "labels = role=web  tier=1\nhold = one two\ntoken_file =\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	assert_true(config_is_member(&c));
	write_file("[fleet]\nenroll = https://a.example:7444\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	assert_true(config_is_member(&c));
}

static void a_wrong_file_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{"[daemon]\nsockett = /x\n", "line 2"},
		{"[daemon]\n\nsocket = x\n", "absolute"},
		{"[trial]\nlease = soon\n", "duration"},
		{"[trial]\nlease = 1s\n", "bounds"},
		{"[trial]\nhealth_off = psi\n", "health check"},
		{"[fleet]\ncontroller = http://a:1\n", "https://host:port"},
		{"[fleet]\nenroll = https://a:1/x\n", "https://host:port"},
		{"[fleet]\nlabels = role\n", "KEY=VALUE"},
		{"[fleet]\nlabels = role=\n", "KEY=VALUE"},
		{"[fleet]\nhold = One\n", "words"},
		{"[fleet]\ntoken_file = token\n", "absolute"},
		{"[fleet]\nundo_window = 32d\n", "bounds"},
		{"[daemon]\nlog_level = loud\n", "debug"},
		{"[roles]\napply = all\n", "only"},
		{"[roles]\ntrust = @\n", "@groups"},
		{"[roles]\ncommit = a,b\n", "@groups"},
		{"[roles]\ndelete = a\n", "not a setting"},
		{"what is this\n", "line 1"},
	};
	struct config c;
	struct fail fail;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		write_file(wrong[i].text);
		assert_true(load(ARGV(ARG("--config"), path), &c, &fail) < 0);
		assert_int_equal(fail.code, FAIL_USAGE);
		if (!strstr(fail.message, wrong[i].says))
			fail_msg("\"%s\" does not say \"%s\"", fail.message, wrong[i].says);
	}
}

static void labels_that_break_the_rule_are_named_and_the_others_count(void **state)
{
	static const char *const wrong[] = {"labels = role=web rack=-7", "labels = a..=b",
					    "labels = a=b/c", "labels = a=\x01", "zone = a b"};
	char name[CONFIG_LABEL_BYTES], value[CONFIG_LABEL_BYTES], text[128];
	struct config c;
	struct fail fail;
	const char *at;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), "[fleet]\n%s\n", wrong[i]);
		write_file(text);
		assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
		if (config_check_labels(&c, &fail) == 0)
			fail_msg("\"%s\" is good", wrong[i]);
		assert_non_null(strstr(fail.message, "[fleet] "));
	}
	write_file("[fleet]\nlabels =  role=web rack=-7  tier=1\nzone = berlin-2\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	at = c.labels;
	assert_true(config_next_label(&at, name, value));
	assert_string_equal(name, "role");
	assert_string_equal(value, "web");
	assert_true(config_next_label(&at, name, value));
	assert_string_equal(name, "tier");
	assert_false(config_next_label(&at, name, value));
	write_file("[fleet]\nlabels = role=web\nzone = berlin-2\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	assert_int_equal(config_check_labels(&c, &fail), 0);
}

static struct access_peer peer_of(uid_t uid, gid_t gid)
{
	return (struct access_peer){.uid = uid, .gid = gid};
}

static bool may(const struct config *c, uid_t uid, gid_t gid, enum config_role role)
{
	struct access_peer p = peer_of(uid, gid);

	return access_allowed(c, &p, role);
}

static void a_role_is_what_the_configuration_gives_and_reading_comes_with_it(void **state)
{
	struct config c;
	struct fail fail;

	(void)state;
	write_file(
		"[access]\nadmin_group =\n[roles]\napply = nobody\ncommit = root  @daemon\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	for (int role = 0; role < CONFIG_ROLES; role++) {
		assert_true(may(&c, 0, 0, role));
		assert_false(may(&c, 4242, 4242, role));
		assert_int_equal(may(&c, 65534, 4242, role),
				 role == CONFIG_READ || role == CONFIG_APPLY);
		assert_int_equal(may(&c, 4242, 1, role),
				 role == CONFIG_READ || role == CONFIG_COMMIT);
	}
}

static void who_lacks_a_role_is_told_which_and_where_it_is_given(void **state)
{
	struct access_peer p = peer_of(4242, 4242);
	struct config c;
	struct fail fail;

	(void)state;
	write_file("[roles]\ntrust = @wheel\n");
	assert_int_equal(load(ARGV(ARG("--config"), path), &c, &fail), 0);
	assert_true(access_refuse(&c, &p, CONFIG_TRUST, &fail) < 0);
	assert_int_equal(fail_exit(fail.code), 11);
	assert_non_null(strstr(fail.message, "\"trust\""));
	assert_non_null(strstr(fail.hint, path));
	assert_non_null(strstr(fail.hint, "[roles] trust"));
	assert_non_null(strstr(fail.hint, "hotfix and @wheel"));
}

static void wrong_flags_are_refused(void **state)
{
	struct config c;
	struct fail fail;

	(void)state;
	assert_true(load(ARGV(ARG("--nonsense")), &c, &fail) < 0);
	assert_true(load(ARGV(ARG("--socket")), &c, &fail) < 0);
	assert_true(load(ARGV(ARG("--socket"), ARG("relative")), &c, &fail) < 0);
	assert_true(load(ARGV(ARG("--bpffs"), ARG("/sys/fs/bpf/a.b")), &c, &fail) < 0);
	assert_non_null(strstr(fail.message, "dot"));
	assert_true(load(ARGV(ARG("--config"), ARG("/nonexistent/x")), &c, &fail) < 0);
	assert_int_equal(fail.code, FAIL_USAGE);
}

static int setup(void **state)
{
	int r = unit_setup(state);

	snprintf(path, sizeof(path), "%s", unit_path("hotfixd.conf"));
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_win_over_the_file_and_the_file_over_the_defaults),
		cmocka_unit_test(who_names_a_controller_or_an_enrolment_is_a_member_of_a_fleet),
		cmocka_unit_test(a_wrong_file_is_refused_with_its_line),
		cmocka_unit_test(labels_that_break_the_rule_are_named_and_the_others_count),
		cmocka_unit_test(
			a_role_is_what_the_configuration_gives_and_reading_comes_with_it),
		cmocka_unit_test(who_lacks_a_role_is_told_which_and_where_it_is_given),
		cmocka_unit_test(wrong_flags_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, unit_teardown);
}
