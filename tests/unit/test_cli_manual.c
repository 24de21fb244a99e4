// SPDX-License-Identifier: BSD-2-Clause
/*
 * The manual page and the completion say what the command table says. Runs in the
 * repository's top folder.
 */
#include "cli/command.h"
#include "lib/io.h"
#include "tests/unit/unit.h"

static char *page;

static int load_page(void **state)
{
	uint8_t *text;
	size_t len;
	int r = io_read_file("cli/hotfixctl.1", 1 << 20, &text, &len);

	page = (char *)text;
	return r < 0 ? r : unit_setup(state);
}

static int free_page(void **state)
{
	free(page);
	return unit_teardown(state);
}

/* The ".It Cm WORDS" line of a command; *ret_len is its length. */
static const char *find_item(const char *words, size_t *ret_len)
{
	size_t n = strlen(words);

	for (const char *line = page; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		*ret_len = strcspn(line, "\n");
		if (strncmp(line, ".It Cm ", 7) == 0 && strncmp(line + 7, words, n) == 0 &&
		    (line[7 + n] == ' ' || line[7 + n] == '\n'))
			return line;
	}
	return NULL;
}

/* "Fl -out" as a whole word of a line. */
static bool has_flag(const char *line, size_t len, const char *name)
{
	char flag[64];
	const char *p = line;

	snprintf(flag, sizeof(flag), "Fl %s", name + 1); /* "--out" is "Fl -out" */
	while ((p = strstr(p, flag)) && p < line + len) {
		p += strlen(flag);
		if (*p == ' ' || *p == '\n')
			return true;
	}
	return false;
}

static void the_manual_has_every_command_with_its_options_and_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &command_table[i];
		size_t len;
		const char *item = find_item(c->words, &len);

		if (!item)
			fail_msg("hotfixctl.1 has no item for \"%s\"", c->words);
		for (const struct opt *o = c->opts; o && o->name; o++) {
			char bracketed[64];

			if (!has_flag(item, len, o->name))
				fail_msg("hotfixctl.1: %s lacks %s", c->words, o->name);
			snprintf(bracketed, sizeof(bracketed), "Oo Fl %s ", o->name + 1);
			if (args_opt_is_needed(o) &&
			    memmem(item, len, bracketed, strlen(bracketed)))
				fail_msg("hotfixctl.1: %s does not go without %s", c->words,
					 o->name);
		}
		for (const char *p = c->args; *p; p += strcspn(p, "[]@.| ")) {
			p += strspn(p, "[]@.| ");
			if (*p && !memmem(item, len, p, strcspn(p, "[]@.| ")))
				fail_msg("hotfixctl.1: %s lacks %s", c->words, p);
		}
	}
	for (const struct opt *o = args_global; o->name; o++)
		if (!has_flag(page, strlen(page), o->name))
			fail_msg("hotfixctl.1 lacks %s", o->name);
}

static const struct opt *find_option(const struct command *c, const char *name, size_t len)
{
	for (const struct opt *o = c->opts; o && o->name; o++)
		if (strlen(o->name) == len + 1 && strncmp(o->name + 1, name, len) == 0)
			return o;
	return NULL;
}

static void the_manual_has_no_command_and_no_option_that_is_not_there(void **state)
{
	size_t items = 0;

	(void)state;
	for (char *line = page, *end; line && *line; line = end ? end + 1 : NULL) {
		const struct command *c = NULL;

		end = strchr(line, '\n');
		if (strncmp(line, ".It Cm ", 7) != 0)
			continue;
		items++;
		for (size_t i = 0; i < command_count; i++) {
			size_t len;

			if (find_item(command_table[i].words, &len) == line)
				c = &command_table[i];
		}
		if (!c)
			fail_msg("hotfixctl.1: no such command: %.40s", line);
		for (char *p = strstr(line, "Fl -"); p && p < end; p = strstr(p + 1, "Fl -"))
			if (!find_option(c, p + 3, strcspn(p + 3, " \n")))
				fail_msg("hotfixctl.1: %s has no %.20s", c->words, p + 3);
	}
	assert_int_equal(items, command_count);
}

static void the_manual_has_every_exit_status(void **state)
{
	const char *section = strstr(page, ".Sh EXIT STATUS"), *end;

	(void)state;
	assert_non_null(section);
	end = strstr(section + 1, ".Sh ");
	for (int code = 0; code < FAIL_CODES_; code++) {
		char item[32];
		const char *found;

		snprintf(item, sizeof(item), "\n.It %d\n", fail_exit((enum fail_code)code));
		found = strstr(section, item);
		assert_true(found && found < end);
	}
}

/* What a shell says to the script, whose arguments are the completion's file and the line. */
static void run_script(const char *shell, const char *script, const char *line, char *ret_words,
		       size_t len)
{
	char command[1024];
	FILE *p;
	size_t n;

	assert_ok(setenv("SCRIPT", script, 1));
	snprintf(command, sizeof(command), "%s \"$SCRIPT\" sh '%s' %s 2>&1", shell,
		 unit_path("completion"), line);
	p = popen(command, "r");
	assert_non_null(p);
	n = fread(ret_words, 1, len - 1, p);
	ret_words[n] = 0;
	assert_int_equal(pclose(p), 0);
}

/* What bash would offer for a line that ends in the word to be completed. */
static void complete(const char *line, char *ret_words, size_t len)
{
	static const char script[] =
		"compopt() { :; }; hotfixctl() { echo my-fix other-fix; }\n"
		"source \"$1\" || exit 1; shift\n"
		"COMP_WORDS=(hotfixctl \"$@\"); COMP_CWORD=$#; _hotfixctl; echo \"${COMPREPLY[*]}\"";

	run_script("bash -uc", script, line, ret_words, len);
}

static void completion_offers_commands_options_names_and_files(void **state)
{
	FILE *f = fopen(unit_path("completion"), "w");
	char words[4096];

	(void)state;
	assert_non_null(f);
	command_completion_bash(f);
	fclose(f);
	complete("rollb", words, sizeof(words));
	assert_string_equal(words, "rollback\n");
	complete("trust i", words, sizeof(words));
	assert_string_equal(words, "init import\n");
	complete("trust init --thr", words, sizeof(words));
	assert_string_equal(words, "--threshold\n");
	complete("apply --d", words, sizeof(words));
	assert_string_equal(words, "--dry-run\n");
	complete("apply my", words, sizeof(words));
	assert_string_equal(words, "my-fix\n");
	complete("--socket /x show ''", words, sizeof(words));
	assert_string_equal(words, "my-fix other-fix\n");
	complete("verify Makef", words, sizeof(words));
	assert_string_equal(words, "Makefile\n");
	complete("--context fleet rollout pl", words, sizeof(words));
	assert_string_equal(words, "plan\n");
	complete("help app", words, sizeof(words));
	assert_string_equal(words, "apply\n");
	complete("''", words, sizeof(words));
	assert_non_null(strstr(words, "status"));
	for (size_t i = 0; i < command_count; i++) {
		char first[32];

		snprintf(first, sizeof(first), "%.*s",
			 (int)strcspn(command_table[i].words, " "), command_table[i].words);
		assert_non_null(strstr(words, first));
	}
}

/* The same of zsh: the word to be completed is its prefix. */
static void complete_in_zsh(const char *line, char *ret_words, size_t len)
{
	static const char script[] =
		"compdef() { :; }; hotfixctl() { print -l my-fix other-fix; }\n"
		"_files() { print -l $PREFIX*(N); }\n"
		"_describe() { local w; for w in ${(P)@[-1]}; do w=${w%%:*}\n"
		"  [[ $w != $PREFIX* ]] || print -r -- $w; done; }\n"
		"setopt no_unset; source $1 || exit 1; shift\n"
		"complete() { local -a words=(hotfixctl \"$@\"); local CURRENT=$#words PREFIX=$words[-1]\n"
		"  _hotfixctl; }; complete \"$@\"";

	run_script("zsh -fc", script, line, ret_words, len);
}

static void zsh_is_offered_the_same_words_as_bash(void **state)
{
	static const struct {
		const char *line, *words;
	} lines[] = {
		{"rollb", "rollback\n"},
		{"trust i", "init\nimport\n"},
		{"trust init --thr", "--threshold\n"},
		{"apply --d", "--dry-run\n"},
		{"apply my", "my-fix\n"},
		{"--socket /x show ''", "my-fix\nother-fix\n"},
		{"verify Makef", "Makefile\n"},
		{"sign x --out Makef", "Makefile\n"},
		{"--context fleet rollout pl", "plan\n"},
		{"help app", "apply\n"},
		{"completion ''", "bash\nzsh\n"},
	};
	FILE *f = fopen(unit_path("completion"), "w");
	char words[8192];

	(void)state;
	assert_non_null(f);
	command_completion_zsh(f);
	fclose(f);
	if (system("command -v zsh >/dev/null") != 0)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		complete_in_zsh(lines[i].line, words, sizeof(words));
		assert_string_equal(words, lines[i].words);
	}
	complete_in_zsh("''", words, sizeof(words));
	for (size_t i = 0; i < command_count; i++) {
		char first[32];

		snprintf(first, sizeof(first), "%.*s",
			 (int)strcspn(command_table[i].words, " "), command_table[i].words);
		assert_non_null(strstr(words, first));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_manual_has_every_command_with_its_options_and_arguments),
		cmocka_unit_test(the_manual_has_no_command_and_no_option_that_is_not_there),
		cmocka_unit_test(the_manual_has_every_exit_status),
		cmocka_unit_test(completion_offers_commands_options_names_and_files),
		cmocka_unit_test(zsh_is_offered_the_same_words_as_bash),
	};

	return cmocka_run_group_tests(tests, load_page, free_page);
}
