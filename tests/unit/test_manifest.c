// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/json.h"
#include "store/manifest.h"

#define SHA256 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static const char minimal[] =
	"{\"format\":1,\"name\":\"fix\",\"serial\":1,\"object\":{\"sha256\":\"" SHA256
	"\",\"size\":10},\"hooks\":[{\"type\":\"lsm\",\"target\":\"socket_bind\","
	"\"program\":\"deny\"}]}";

static const char full[] =
	"{\"format\":1,\"name\":\"cve-2026-31431-copyfail\",\"serial\":9007199254740991,"
	"\"label\":\"2.0\",\"title\":\"deny \xc3\xa4lles\",\"description\":\"one\\ntwo\\tthree\","
	"\"cves\":[\"CVE-2026-31431\",\"CVE-2026-1234567\"],\"severity\":\"critical\","
	"\"created\":\"2026-05-04T10:11:12Z\",\"expires\":\"2027-05-04T10:11:12.5"
	"00Z\",\"object\":{\"sha256\":\"" SHA256 "\",\"size\":16777216},"
	"\"hooks\":[{\"type\":\"fmod_ret\",\"target\":\"security_socket_bind\",\"program\":\"a\","
	"\"sleepable\":true},{\"type\":\"struct_ops\",\"target\":\"tcp_congestion_ops\","
	"\"program\":\"cubic\",\"cc_name\":\"hf_cubic.1\"}],"
	"\"kernels\":{\"ranges\":[{\"from\":\"6.1\",\"below\":\"6.13\"},{}],"
	"\"arch\":[\"x86_64\",\"aarch64\"],\"fixed_in\":[\"6.12.31\",\"6.15\"]},"
	"\"requires\":[\"a\"],\"conflicts\":[\"b\",\"c\"],"
	"\"trial\":{\"default_s\":30,\"min_s\":10,\"max_s\":600,\"min_calls\":100},"
	"\"health\":{\"off\":[\"psi_io\"],\"limits\":{\"denials_per_s\":12.5,\"warn\":0},"
	"\"probes\":[{\"name\":\"web\",\"type\":\"exec\",\"command\":[\"/bin/true\",\"-x\"],"
	"\"timeout_s\":2,\"memory_mib\":32,\"output_bytes\":100},{\"name\":\"ssh\",\"type\":\"tcp\","
	"\"address\":\"[::1]:22\",\"every_s\":5,\"failures\":2},{\"name\":\"dns\",\"type\":\"unit\","
	"\"unit\":\"systemd-resolved.service\"}]},"
	"\"impact\":\"none\",\"accept\":{\"preemption_leak\":true},"
	"\"struct_ops\":{\"state\":\"own\",\"default\":true},\"critical\":true}";

static struct manifest *parsed(const char *text)
{
	struct manifest *m = NULL;
	struct fail f = {0};

	if (manifest_parse(text, strlen(text), &m, &f) < 0)
		fail_msg("refused: %s", f.message);
	return m;
}

static void refuse_text(const char *text, const char *word)
{
	struct manifest *m = NULL;
	struct fail f = {0};

	if (manifest_parse(text, strlen(text), &m, &f) >= 0)
		fail_msg("accepted %s", text);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	if (!strstr(f.message, word))
		fail_msg("\"%s\" is not in: %s", word, f.message);
	assert_null(m);
}

/* The minimal manifest with the value (JSON) of one field added or replaced; NULL: removed. */
static char *with(const char *key, const char *value)
{
	AUTO_JSON json_t *doc = json_loads(minimal, 0, NULL);
	char *text;

	assert_non_null(doc);
	if (value) {
		json_t *v = json_loads(value, JSON_DECODE_ANY, NULL);

		if (!v)
			fail_msg("a mistake in this test: %s", value);
		json_object_set_new(doc, key, v);
	} else {
		json_object_del(doc, key);
	}
	text = json_dumps(doc, JSON_COMPACT);
	assert_non_null(text);
	return text;
}

static void refuse(const char *key, const char *value, const char *word)
{
	AUTO_FREE char *text = with(key, value);

	refuse_text(text, word);
}

static void accept_value(const char *key, const char *value)
{
	AUTO_FREE char *text = with(key, value);
	AUTO(manifest_freep) struct manifest *m = parsed(text);
}

static void every_field_is_kept(void **state)
{
	AUTO(manifest_freep) struct manifest *m = parsed(full);
	uint8_t digest[32];

	(void)state;
	for (int i = 0; i < 32; i++)
		digest[i] = (uint8_t)i;
	assert_string_equal(m->name, "cve-2026-31431-copyfail");
	assert_int_equal(m->serial, MANIFEST_SERIAL_MAX);
	assert_string_equal(m->label, "2.0");
	assert_string_equal(m->title, "deny \xc3\xa4lles");
	assert_string_equal(m->description, "one\ntwo\tthree");
	assert_int_equal(m->n_cves, 2);
	assert_string_equal(m->cves[1], "CVE-2026-1234567");
	assert_string_equal(m->severity, "critical");
	assert_int_equal(m->created_ms, 1777889472000ULL);
	assert_int_equal(m->expires_ms, 1809425472500ULL);
	assert_memory_equal(m->object_sha256, digest, 32);
	assert_int_equal(m->object_bytes, 16777216);
	assert_int_equal(m->n_hooks, 2);
	assert_int_equal(m->hooks[0].type, HOOK_FMOD_RET);
	assert_true(m->hooks[0].sleepable);
	assert_string_equal(m->hooks[0].target, "security_socket_bind");
	assert_string_equal(m->hooks[0].program, "a");
	assert_string_equal(m->hooks[0].cc_name, "");
	assert_int_equal(m->hooks[1].type, HOOK_STRUCT_OPS);
	assert_string_equal(m->hooks[1].cc_name, "hf_cubic.1");
	assert_int_equal(m->n_ranges, 2);
	assert_string_equal(m->ranges[0].from, "6.1");
	assert_string_equal(m->ranges[0].below, "6.13");
	assert_string_equal(m->ranges[1].from, "");
	assert_int_equal(m->n_arch, 2);
	assert_int_equal(m->n_fixed_in, 2);
	assert_int_equal(m->n_requires, 1);
	assert_int_equal(m->n_conflicts, 2);
	assert_string_equal(m->conflicts[1], "c");
	assert_int_equal(m->trial_default_ms, 30000);
	assert_int_equal(m->trial_min_ms, 10000);
	assert_int_equal(m->trial_max_ms, 600000);
	assert_int_equal(m->trial_min_calls, 100);
	assert_int_equal(json_array_size(json_object_get(m->health, "probes")), 3);
	assert_string_equal(m->impact, "none");
	assert_true(m->accept_preemption_leak);
	assert_true(m->cc_own_state);
	assert_true(m->cc_default);
	assert_true(m->critical);
}

static void what_is_not_said_has_its_default(void **state)
{
	AUTO(manifest_freep) struct manifest *m = parsed(minimal);

	(void)state;
	assert_string_equal(m->label, "");
	assert_string_equal(m->title, "fix");
	assert_string_equal(m->severity, "medium");
	assert_int_equal(m->created_ms, 0);
	assert_int_equal(m->expires_ms, 0);
	assert_int_equal(m->n_cves + m->n_ranges + m->n_arch + m->n_fixed_in, 0);
	assert_int_equal(m->n_requires + m->n_conflicts, 0);
	assert_int_equal(m->trial_default_ms, 60000);
	assert_int_equal(m->trial_min_ms, 5000);
	assert_int_equal(m->trial_max_ms, 86400000);
	assert_int_equal(m->trial_min_calls, 0);
	assert_null(m->health);
	assert_false(m->accept_preemption_leak || m->critical || m->cc_own_state ||
		     m->cc_default || m->hooks[0].sleepable);
}

static void each_needed_field_is_missed_by_name(void **state)
{
	static const char *const needed[] = {"format", "name", "serial", "object", "hooks"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		refuse(needed[i], NULL, needed[i]);
}

static void unknown_fields_are_refused_at_every_level(void **state)
{
	(void)state;
	refuse("more", "1", "\"more\" is not a known field");
	refuse("object", "{\"sha256\":\"" SHA256 "\",\"size\":1,\"url\":\"x\"}", "url");
	refuse("hooks", "[{\"type\":\"lsm\",\"target\":\"a\",\"program\":\"b\",\"x\":1}]",
	       "\"x\"");
	refuse("kernels", "{\"x\":1}", "\"x\"");
	refuse("kernels", "{\"ranges\":[{\"x\":1}]}", "\"x\"");
	refuse("trial", "{\"x\":1}", "\"x\"");
	refuse("health", "{\"x\":1}", "\"x\"");
	refuse("health",
	       "{\"probes\":[{\"name\":\"a\",\"type\":\"tcp\",\"address\":\"a:1\",\"x\":1}]}",
	       "\"x\"");
	refuse("accept", "{\"x\":true}", "\"x\"");
}

static void a_wrong_type_is_refused_for_every_field(void **state)
{
	static const char *const values[] = {"null",	    "true", "-1",      "1.5",
					     "\"\\u0001\"", "[1]",  "{\"\":1}"};
	AUTO_JSON json_t *doc = json_loads(full, 0, NULL);
	const char *key;
	json_t *v;

	(void)state;
	json_object_foreach(doc, key, v) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			AUTO_JSON json_t *copy = json_copy(doc);
			AUTO_FREE char *text = NULL;

			if (strcmp(key, "critical") == 0 && strcmp(values[i], "true") == 0)
				continue;
			json_object_set_new(copy, key,
					    json_loads(values[i], JSON_DECODE_ANY, NULL));
			text = json_dumps(copy, 0);
			refuse_text(text, "manifest");
		}
	}
}

/* Attack 31. */
static void names_cannot_walk_out_of_a_folder_or_a_statement(void **state)
{
	static const char *const bad[] = {
		"\"\"",
		"\"..\"",
		"\"../x\"",
		"\"a/b\"",
		"\"/a\"",
		"\"a.b\"",
		"\"-a\"",
		"\"A\"",
		"\"a b\"",
		"\"a'--\"",
		"\"a\\\"b\"",
		"\"a;drop table version\"",
		"\"a\\n\"",
		"\"\xc3\xa4\"",
		"\"a%00\"",
		"\"a_b\"",
		"7",
		"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse("name", bad[i], "name");
	accept_value("name",
		     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
	accept_value("name", "\"0-x\"");
}

/* Attack 30. */
static void text_that_a_terminal_obeys_is_refused(void **state)
{
	static const char *const bad[] = {
		"\"\\u001b[2J\"", /* ESC */
		"\"a\\u0007\"",	  /* bell */
		"\"a\\rb\"",	  /* back to the start of the line */
		"\"a\\u007f\"",	  /* DEL */
		"\"a\\u009b2J\"", /* CSI in one character */
		"\"a\\u202eb\"",  /* right to left */
		"\"a\\u2066b\"",  "\"a\\u2028b\"", "\"a\\u200bb\"", "\"a\\ufeffb\"",
	};
	static const char *const fields[] = {"label", "title", "description", "impact"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t j = 0; j < ARRAY_SIZE(fields); j++)
			refuse(fields[j], bad[i], fields[j]);
	refuse("title", "\"a\\nb\"", "title");
	refuse("label", "\"a\\tb\"", "label");
	accept_value("description", "\"a\\nb\\tc\"");
	/* Shown as text by everybody, neutralised by who writes HTML or CSV. */
	accept_value("title", "\"=1+1 <b>\xe2\x82\xac \xf0\x9f\x90\xa7\"");
}

static void texts_are_bounded_in_bytes(void **state)
{
	static const struct {
		const char *key;
		size_t max;
	} fields[] = {{"label", 64}, {"title", 200}, {"description", 8192}, {"impact", 1024}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		AUTO_FREE char *text = calloc(1, fields[i].max + 4);

		memset(text, 'x', fields[i].max + 2);
		text[0] = text[fields[i].max + 1] = '"';
		accept_value(fields[i].key, text);
		text[fields[i].max + 1] = 'x';
		text[fields[i].max + 2] = '"';
		refuse(fields[i].key, text, fields[i].key);
	}
}

/* Attack 17 begins with a serial beyond what counters can hold. */
static void serials_are_exact_in_every_json_reader(void **state)
{
	(void)state;
	refuse("serial", "0", "serial");
	refuse("serial", "-1", "serial");
	refuse("serial", "9007199254740992", "serial");
	refuse("serial", "9223372036854775807", "serial");
	refuse("serial", "1.0", "serial");
	refuse("serial", "\"1\"", "serial");
	refuse_text("{\"serial\":18446744073709551616}", "too big");
	refuse_text("{\"serial\":1e400}", "overflow");
	accept_value("serial", "9007199254740991");
}

static void objects_have_a_digest_and_a_size(void **state)
{
	(void)state;
	refuse("object", "{\"sha256\":\"" SHA256 "\",\"size\":0}", "size");
	refuse("object", "{\"sha256\":\"" SHA256 "\",\"size\":16777217}", "size");
	refuse("object", "{\"sha256\":\"" SHA256 "\"}", "size");
	refuse("object", "{\"size\":1}", "sha256");
	refuse("object", "{\"sha256\":\"00\",\"size\":1}", "sha256");
	refuse("object", "{\"sha256\":\"" SHA256 "00\",\"size\":1}", "sha256");
	refuse("object",
	       "{\"sha256\":\"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\","
	       "\"size\":1}",
	       "sha256");
}

static void hooks_are_checked_one_by_one(void **state)
{
#define HOOK(type, target, program, more)                                                    \
	"[{\"type\":\"" type "\",\"target\":\"" target "\",\"program\":\"" program "\"" more \
	"}]"
	(void)state;
	refuse("hooks", "[]", "hooks");
	refuse("hooks", HOOK("kprobe", "a", "b", ""), "type");
	refuse("hooks", HOOK("LSM", "a", "b", ""), "type");
	refuse("hooks", HOOK("lsm", "", "b", ""), "target");
	refuse("hooks", HOOK("lsm", "a b", "b", ""), "target");
	refuse("hooks", HOOK("lsm", "../a", "b", ""), "target");
	refuse("hooks", HOOK("lsm", "9a", "b", ""), "target");
	refuse("hooks", HOOK("lsm", "a", "b-c", ""), "program");
	refuse("hooks", HOOK("lsm", "a", "", ""), "program");
	refuse("hooks", HOOK("lsm", "a", "b", ",\"sleepable\":1"), "sleepable");
	refuse("hooks", HOOK("lsm", "a", "b", ",\"cc_name\":\"x\""), "cc_name");
	refuse("hooks", HOOK("struct_ops", "tcp_congestion_ops", "b", ""), "cc_name");
	refuse("hooks", HOOK("struct_ops", "tcp_congestion_ops", "b", ",\"cc_name\":\"\""),
	       "cc_name");
	refuse("hooks", HOOK("struct_ops", "tcp_congestion_ops", "b", ",\"cc_name\":\"a b\""),
	       "cc_name");
	refuse("hooks",
	       HOOK("struct_ops", "tcp_congestion_ops", "b",
		    ",\"cc_name\":\"0123456789abcdef\""),
	       "cc_name");
	refuse("hooks", HOOK("struct_ops", "sched_ext_ops", "b", ",\"cc_name\":\"x\""),
	       "target");
	refuse("hooks",
	       HOOK("struct_ops", "tcp_congestion_ops", "b",
		    ",\"cc_name\":\"x\",\"sleepable\":true"),
	       "sleepable");
	refuse("hooks",
	       "[{\"type\":\"lsm\",\"target\":\"a\",\"program\":\"p\"},"
	       "{\"type\":\"fentry\",\"target\":\"b\",\"program\":\"p\"}]",
	       "program twice");
	accept_value("hooks", "[{\"type\":\"lsm\",\"target\":\"a\",\"program\":\"p\"},"
			      "{\"type\":\"fentry\",\"target\":\"a\",\"program\":\"q\"}]");
}

static void at_most_64_hooks(void **state)
{
	AUTO_JSON json_t *hooks = json_array();
	AUTO_FREE char *most = NULL, *more = NULL;

	(void)state;
	for (int i = 0; i < HOOK_MAX + 1; i++) {
		char program[16];

		if (i == HOOK_MAX)
			most = json_dumps(hooks, 0);
		snprintf(program, sizeof(program), "p%d", i);
		json_array_append_new(hooks, json_pack("{s:s, s:s, s:s}", "type", "fentry",
						       "target", "f", "program", program));
	}
	more = json_dumps(hooks, 0);
	accept_value("hooks", most);
	refuse("hooks", more, "hooks");
}

static void lists_have_patterns_bounds_and_no_repeats(void **state)
{
	(void)state;
	refuse("cves", "[\"CVE-26-1\"]", "cves");
	refuse("cves", "[\"CVE-2026-123\"]", "cves");
	refuse("cves", "[\"cve-2026-1234\"]", "cves");
	refuse("cves", "[\"CVE-2026-1234x\"]", "cves");
	refuse("cves", "[1]", "cves");
	refuse("cves", "[\"CVE-2026-1234\",\"CVE-2026-1234\"]", "twice");
	refuse("severity", "\"terrible\"", "severity");
	refuse("kernels", "{\"arch\":[\"x86-64\"]}", "arch");
	refuse("kernels", "{\"arch\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}",
	       "arch");
	refuse("kernels", "{\"fixed_in\":[\"6.12.x\"]}", "fixed_in");
	refuse("kernels", "{\"fixed_in\":[\"6..1\"]}", "fixed_in");
	refuse("kernels", "{\"ranges\":[{\"from\":\"v6\"}]}", "from");
	refuse("kernels", "{\"ranges\":[{\"from\":\"6.12\",\"below\":\"6.1\"}]}", "below");
	refuse("kernels", "{\"ranges\":[{\"from\":\"6.12\",\"below\":\"6.12.0\"}]}", "below");
	refuse("requires", "[\"../x\"]", "requires");
	refuse("requires", "[\"fix\"]", "itself");
	refuse("conflicts", "[\"fix\"]", "itself");
}

static void what_is_required_cannot_be_in_conflict(void **state)
{
	AUTO_JSON json_t *doc = json_loads(minimal, 0, NULL);
	AUTO_FREE char *text = NULL;

	(void)state;
	json_object_set_new(doc, "requires", json_pack("[s, s]", "a", "b"));
	json_object_set_new(doc, "conflicts", json_pack("[s]", "b"));
	text = json_dumps(doc, 0);
	refuse_text(text, "conflicts");
}

static void times_are_utc_and_expiry_follows_creation(void **state)
{
	AUTO_JSON json_t *doc = json_loads(minimal, 0, NULL);
	AUTO_FREE char *text = NULL;

	(void)state;
	refuse("created", "\"2026-05-04\"", "created");
	refuse("created", "\"2026-05-04T10:11:12+02:00\"", "created");
	refuse("created", "\"2026-02-30T10:11:12Z\"", "created");
	refuse("expires", "\"\"", "expires");
	json_object_set_new(doc, "created", json_string("2026-05-04T10:11:12Z"));
	json_object_set_new(doc, "expires", json_string("2026-05-04T10:11:12Z"));
	text = json_dumps(doc, 0);
	refuse_text(text, "expires");
}

static void trial_is(const char *value, uint64_t wanted_s, uint64_t min_s, uint64_t max_s)
{
	AUTO_FREE char *text = with("trial", value);
	AUTO(manifest_freep) struct manifest *m = parsed(text);

	assert_int_equal(m->trial_default_ms, wanted_s * 1000);
	assert_int_equal(m->trial_min_ms, min_s * 1000);
	assert_int_equal(m->trial_max_ms, max_s * 1000);
}

static void trial_defaults_make_room_for_what_is_given(void **state)
{
	(void)state;
	trial_is("{}", 60, 5, 86400);
	trial_is("{\"default_s\":2}", 2, 2, 86400);
	trial_is("{\"default_s\":100000}", 100000, 5, 100000);
	trial_is("{\"min_s\":300}", 300, 300, 86400);
	trial_is("{\"min_s\":100000}", 100000, 100000, 100000);
	trial_is("{\"max_s\":30}", 30, 5, 30);
	trial_is("{\"max_s\":3}", 3, 3, 3);
	refuse("trial", "{\"default_s\":10,\"min_s\":20}", "default_s");
	refuse("trial", "{\"default_s\":20,\"max_s\":10}", "default_s");
	refuse("trial", "{\"min_s\":20,\"max_s\":10}", "default_s");
	refuse("trial", "{\"default_s\":0}", "default_s");
	refuse("trial", "{\"max_s\":604801}", "max_s");
}

static void health_has_a_shape(void **state)
{
#define PROBE(fields) "{\"probes\":[{\"name\":\"p\"," fields "}]}"
	(void)state;
	accept_value("health", "{}");
	refuse("health", "{\"off\":[\"nonsense\"]}", "off");
	refuse("health", "{\"off\":[\"warn\",\"warn\"]}", "off");
	refuse("health", "{\"off\":\"warn\"}", "off");
	refuse("health", "{\"limits\":{\"nonsense\":1}}", "nonsense");
	refuse("health", "{\"limits\":{\"warn\":-1}}", "limits");
	refuse("health", "{\"limits\":{\"warn\":\"1\"}}", "limits");
	refuse("health", "{\"limits\":[]}", "limits");
	refuse("health", "{\"probes\":[1]}", "probe");
	refuse("health", "{\"probes\":[{\"type\":\"tcp\",\"address\":\"a:1\"}]}", "name");
	refuse("health", PROBE("\"type\":\"http\""), "type");
	refuse("health", PROBE("\"type\":\"tcp\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\"host\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\":22\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\"a:0\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\"a:65536\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\"a b:1\""), "address");
	refuse("health", PROBE("\"type\":\"tcp\",\"address\":\"a:1\",\"timeout_s\":61"),
	       "timeout_s");
	refuse("health", PROBE("\"type\":\"exec\""), "command");
	refuse("health", PROBE("\"type\":\"exec\",\"command\":[]"), "command");
	refuse("health", PROBE("\"type\":\"exec\",\"command\":[\"true\"]"), "command");
	refuse("health", PROBE("\"type\":\"exec\",\"command\":[\"/bin/true\",1]"), "command");
	refuse("health", PROBE("\"type\":\"exec\",\"command\":[\"/bin/true\",\"\\u001b\"]"),
	       "command");
	refuse("health", PROBE("\"type\":\"unit\",\"unit\":\"\""), "unit");
	refuse("health", PROBE("\"type\":\"unit\",\"unit\":\"../x\""), "unit");
	refuse("health", PROBE("\"type\":\"unit\",\"unit\":\"--root=x\""), "unit");
	refuse("health",
	       "{\"probes\":[{\"name\":\"p\",\"type\":\"unit\",\"unit\":\"a\"},"
	       "{\"name\":\"p\",\"type\":\"unit\",\"unit\":\"b\"}]}",
	       "twice");
}

static void struct_ops_needs_its_hook(void **state)
{
	(void)state;
	refuse("struct_ops", "{}", "struct_ops");
	refuse("struct_ops", "{\"state\":\"shared\"}", "state");
}

static void a_manifest_is_bounded(void **state)
{
	AUTO_FREE char *text = malloc(MANIFEST_BYTES_MAX + 2);

	(void)state;
	memset(text, ' ', MANIFEST_BYTES_MAX + 1);
	text[MANIFEST_BYTES_MAX + 1] = 0;
	memcpy(text, minimal, strlen(minimal));
	refuse_text(text, "262145 bytes");
	text[MANIFEST_BYTES_MAX] = 0;
	manifest_free(parsed(text));
}

static void a_manifest_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t n = 0; n < strlen(full); n++) {
		AUTO_FREE char *cut = malloc(n ? n : 1); /* its exact size, for sanitizers */
		struct manifest *m = NULL;
		struct fail f = {0};

		memcpy(cut, full, n);
		assert_int_equal(manifest_parse(cut, n, &m, &f), -EBADMSG);
		assert_null(m);
	}
}

static void releases_compare_by_their_leading_numbers(void **state)
{
	(void)state;
	assert_int_equal(manifest_release_cmp("6.1", "6.1"), 0);
	assert_int_equal(manifest_release_cmp("6.1", "6.1.0"), 0);
	assert_int_equal(manifest_release_cmp("6.12.107+deb13-cloud-amd64", "6.12.107"), 0);
	assert_int_equal(manifest_release_cmp("6.9", "6.12"), -1);
	assert_int_equal(manifest_release_cmp("6.12.9-x", "6.12.10"), -1);
	assert_int_equal(manifest_release_cmp("7.0", "6.99.99"), 1);
	assert_int_equal(manifest_release_cmp("6.1.0-40-amd64", "6.1.40"), -1);
	assert_int_equal(manifest_release_cmp("", "0"), 0);
	assert_int_equal(manifest_release_cmp("99999999999999999999999", "6"), 1);
}

static int fits(const char *kernels, const char *release, const char *machine)
{
	AUTO_FREE char *text = with("kernels", kernels);
	AUTO(manifest_freep) struct manifest *m = parsed(text);
	struct fail f = {0};
	int r = manifest_fits_kernel(m, release, machine, &f);

	assert_true(r == 0 ? f.code == FAIL_NONE
			   : f.code == FAIL_INCOMPATIBLE && r == -EOPNOTSUPP && f.hint[0]);
	return r;
}

static void a_version_runs_only_on_the_kernels_it_names(void **state)
{
	const char *ranges =
		"{\"ranges\":[{\"from\":\"6.1\",\"below\":\"6.6\"},{\"from\":\"6.12.5\"}]}";

	(void)state;
	assert_ok(fits("{}", "5.10.1", "riscv64"));
	assert_ok(fits(ranges, "6.1.0-40-amd64", "x86_64"));
	assert_ok(fits(ranges, "6.5.13", "x86_64"));
	assert_int_equal(fits(ranges, "6.6", "x86_64"), -EOPNOTSUPP);
	assert_int_equal(fits(ranges, "6.12.4", "x86_64"), -EOPNOTSUPP);
	assert_ok(fits(ranges, "6.12.5", "x86_64"));
	assert_ok(fits(ranges, "7.2.13", "x86_64"));
	assert_int_equal(fits(ranges, "5.15", "x86_64"), -EOPNOTSUPP);
	assert_ok(fits("{\"arch\":[\"x86_64\"]}", "6.1", "x86_64"));
	assert_int_equal(fits("{\"arch\":[\"x86_64\"]}", "6.1", "aarch64"), -EOPNOTSUPP);
}

static void a_kernel_with_the_fix_needs_no_hot_fix(void **state)
{
	const char *fixed = "{\"fixed_in\":[\"6.1.170\",\"6.12.31\",\"6.15\"]}";

	(void)state;
	assert_ok(fits(fixed, "6.1.169", "x86_64"));
	assert_int_equal(fits(fixed, "6.1.170", "x86_64"), -EOPNOTSUPP);
	assert_int_equal(fits(fixed, "6.1.192-cloud-amd64", "x86_64"), -EOPNOTSUPP);
	assert_ok(fits(fixed, "6.6.200", "x86_64")); /* a series of its own, never fixed */
	assert_ok(fits(fixed, "6.12.30", "x86_64"));
	assert_int_equal(fits(fixed, "6.12.31", "x86_64"), -EOPNOTSUPP);
	assert_ok(fits(fixed, "6.14.99", "x86_64"));
	assert_int_equal(fits(fixed, "6.15.0", "x86_64"), -EOPNOTSUPP);
	assert_int_equal(fits(fixed, "7.2.13", "x86_64"), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_kept),
		cmocka_unit_test(what_is_not_said_has_its_default),
		cmocka_unit_test(each_needed_field_is_missed_by_name),
		cmocka_unit_test(unknown_fields_are_refused_at_every_level),
		cmocka_unit_test(a_wrong_type_is_refused_for_every_field),
		cmocka_unit_test(names_cannot_walk_out_of_a_folder_or_a_statement),
		cmocka_unit_test(text_that_a_terminal_obeys_is_refused),
		cmocka_unit_test(texts_are_bounded_in_bytes),
		cmocka_unit_test(serials_are_exact_in_every_json_reader),
		cmocka_unit_test(objects_have_a_digest_and_a_size),
		cmocka_unit_test(hooks_are_checked_one_by_one),
		cmocka_unit_test(at_most_64_hooks),
		cmocka_unit_test(lists_have_patterns_bounds_and_no_repeats),
		cmocka_unit_test(what_is_required_cannot_be_in_conflict),
		cmocka_unit_test(times_are_utc_and_expiry_follows_creation),
		cmocka_unit_test(trial_defaults_make_room_for_what_is_given),
		cmocka_unit_test(health_has_a_shape),
		cmocka_unit_test(struct_ops_needs_its_hook),
		cmocka_unit_test(a_manifest_is_bounded),
		cmocka_unit_test(a_manifest_cut_anywhere_is_refused),
		cmocka_unit_test(releases_compare_by_their_leading_numbers),
		cmocka_unit_test(a_version_runs_only_on_the_kernels_it_names),
		cmocka_unit_test(a_kernel_with_the_fix_needs_no_hot_fix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
