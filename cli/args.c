// SPDX-License-Identifier: BSD-2-Clause
#include "cli/args.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "cli/command.h"

const struct opt args_global[] = {
	{"--socket", 0, OPT_VALUE, "PATH",
	 "of the daemon (or $HOTFIXD_SOCKET; " CLI_SOCKET_DEFAULT ")"},
	{"--context", 0, OPT_VALUE, "NAME", "a fleet, not this host (or $HOTFIXCTL_CONTEXT)"},
	{"--json", 'j', OPT_FLAG, NULL, "one JSON document on stdout, errors too as JSON"},
	{"--help", 'h', OPT_FLAG, NULL, "about this command"},
	{"--version", 'V', OPT_FLAG, NULL, "of hotfixctl"},
	{NULL, 0, OPT_FLAG, NULL, NULL},
};

struct given {
	const struct opt *opt;
	const char *value; /* NULL: none */
	bool soft;	   /* a word behind a list's first value */
};

struct args {
	const struct command *command;
	const char *pos[ARGS_MAX];
	size_t n_pos;
	struct given given[ARGS_MAX];
	size_t n_given;
	char *copies[ARGS_MAX]; /* of values with commas */
	size_t n_copies;
};

struct args *args_free(struct args *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->n_copies; i++)
		free(a->copies[i]);
	free(a);
	return NULL;
}

/* --- the nearest word ----------------------------------------------------------------- */

#define WORD_MAX 40

/* Edits (insert, delete, replace, swap of neighbours) between two short words. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), d[WORD_MAX + 1][WORD_MAX + 1];

	if (n > WORD_MAX || m > WORD_MAX)
		return SIZE_MAX;
	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			size_t best;

			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[n][m];
}

const char *args_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t best = SIZE_MAX, len = strlen(word);
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, candidates[i]);

		/* What was typed is the beginning of it: as good as a slip of one key. */
		if (len >= 2 && strncmp(word, candidates[i], len) == 0)
			d = 1;
		if (d < best) {
			best = d;
			nearest = candidates[i];
		}
	}
	return best <= 1 || (best == 2 && len > 4) ? nearest : NULL;
}

/* --- parsing -------------------------------------------------------------------------- */

static const struct opt *find_in(const struct opt *table, const char *name, size_t len,
				 char letter)
{
	for (const struct opt *o = table; o && o->name; o++)
		if (letter ? o->letter == letter
			   : strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static const struct opt *find_opt(const struct args *a, const char *name, size_t len,
				  char letter)
{
	const struct opt *o = a->command ? find_in(a->command->opts, name, len, letter) : NULL;

	return o ? o : find_in(args_global, name, len, letter);
}

static int unknown_opt(const struct args *a, const char *arg, size_t len, struct fail *f)
{
	const char *names[64], *nearest;
	char word[WORD_MAX + 1];
	size_t n = 0;
	int r;

	if (a->command)
		r = fail_set(f, FAIL_USAGE, "%s has no option %.*s", a->command->words,
			     (int)len, arg);
	else
		r = fail_set(f, FAIL_USAGE,
			     "%.*s is not an option of all commands; those of one command come "
			     "after it",
			     (int)len, arg);
	for (const struct opt *o = a->command ? a->command->opts : NULL;
	     o && o->name && n < ARRAY_SIZE(names); o++)
		names[n++] = o->name;
	for (const struct opt *o = args_global; o->name && n < ARRAY_SIZE(names); o++)
		names[n++] = o->name;
	snprintf(word, sizeof(word), "%.*s", (int)len, arg);
	nearest = args_nearest(word, names, n);
	if (nearest)
		fail_hint(f, "did you mean %s?", nearest);
	else if (a->command)
		fail_hint(f, "hotfixctl %s --help lists its options", a->command->words);
	return r;
}

bool args_opt_is_list(const struct opt *o)
{
	return o->kind == OPT_LIST || o->kind == OPT_NEEDED_LIST;
}

bool args_opt_is_needed(const struct opt *o)
{
	return o->kind == OPT_NEEDED || o->kind == OPT_NEEDED_LIST;
}

static int give(struct args *a, const struct opt *o, const char *value, bool soft,
		struct fail *f)
{
	if (a->n_given == ARGS_MAX)
		return fail_set(f, FAIL_USAGE, "more than %d options", ARGS_MAX);
	if (!args_opt_is_list(o) && o->kind != OPT_FLAG)
		for (size_t i = 0; i < a->n_given; i++)
			if (a->given[i].opt == o)
				return fail_set(f, FAIL_USAGE, "%s is given twice", o->name);
	a->given[a->n_given++] = (struct given){o, value, soft};
	return 0;
}

/* One word of a list, with or without commas. */
static int give_list(struct args *a, const struct opt *o, const char *word, bool soft,
		     struct fail *f)
{
	char *copy, *save, *item;
	int r;

	if (!strchr(word, ','))
		return word[0] ? give(a, o, word, soft, f)
			       : fail_set(f, FAIL_USAGE, "%s: a value is empty", o->name);
	if (a->n_copies == ARGS_MAX || !(copy = strdup(word)))
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	a->copies[a->n_copies++] = copy;
	for (item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		r = give(a, o, item, false, f);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1];
}

/* Takes argv[*i] and what belongs to it. */
static int parse_option(struct args *a, int argc, char *const *argv, int *i, struct fail *f)
{
	const char *arg = argv[*i], *value = NULL;
	const struct opt *o;
	size_t len;
	int r;

	if (arg[1] == '-') {
		len = strcspn(arg, "=");
		value = arg[len] ? arg + len + 1 : NULL;
		o = find_opt(a, arg, len, 0);
	} else {
		len = strlen(arg);
		o = len == 2 ? find_opt(a, NULL, 0, arg[1]) : NULL;
	}
	if (!o)
		return unknown_opt(a, arg, len, f);
	if (o->kind == OPT_FLAG && value)
		return fail_set(f, FAIL_USAGE, "%s takes no value", o->name);
	if (o->kind == OPT_FLAG || o->kind == OPT_MAYBE)
		return give(a, o, value, false, f);
	if (!value) {
		if (*i + 1 >= argc || (is_option(argv[*i + 1]) && argv[*i + 1][1] == '-'))
			return fail_set(f, FAIL_USAGE, "%s needs a value: %s %s", o->name,
					o->name, o->value);
		value = argv[++*i];
	}
	if (!args_opt_is_list(o))
		return give(a, o, value, false, f);
	r = give_list(a, o, value, false, f);
	while (r == 0 && *i + 1 < argc && !is_option(argv[*i + 1]))
		r = give_list(a, o, argv[++*i], true, f);
	return r;
}

static int add_pos(struct args *a, const char *word, struct fail *f)
{
	if (a->n_pos == ARGS_MAX)
		return fail_set(f, FAIL_USAGE, "more than %d arguments", ARGS_MAX);
	a->pos[a->n_pos++] = word;
	return 0;
}

/* `build --key SEC DIR`: DIR looked like one more key, but it is needed elsewhere. */
static void take_soft(struct args *a)
{
	while (a->n_pos < a->command->min_args) {
		size_t i = a->n_given;

		while (i > 0 && !a->given[i - 1].soft)
			i--;
		if (i == 0)
			return;
		memmove(&a->pos[1], &a->pos[0], a->n_pos * sizeof(a->pos[0]));
		a->pos[0] = a->given[i - 1].value;
		a->n_pos++;
		memmove(&a->given[i - 1], &a->given[i], (a->n_given - i) * sizeof(a->given[0]));
		a->n_given--;
	}
}

static int check_count(const struct args *a, struct fail *f)
{
	const struct command *c = a->command;
	int r;

	if (a->n_pos >= c->min_args && a->n_pos <= c->max_args)
		return 0;
	if (a->n_pos < c->min_args)
		r = fail_set(f, FAIL_USAGE, "%s needs %s", c->words, c->args);
	else
		r = fail_set(f, FAIL_USAGE, "%s: \"%s\" is one argument too many", c->words,
			     a->pos[c->max_args]);
	/* The value of an option that may go without one does not stand behind a blank. */
	for (size_t i = 0; i < a->n_given && a->n_pos > c->max_args; i++)
		if (a->given[i].opt->kind == OPT_MAYBE && !a->given[i].value)
			return fail_hint(f, "if it belongs to %s: %s=%s", a->given[i].opt->name,
					 a->given[i].opt->name, a->pos[c->max_args]);
	fail_hint(f, "hotfixctl %s --help", c->words);
	return r;
}

/* All that is missing at once: nobody wants to be told one after the other. */
static int check_needed(const struct args *a, struct fail *f)
{
	char missing[256] = "";

	for (const struct opt *o = a->command->opts; o && o->name; o++) {
		size_t len = strlen(missing);

		if (args_opt_is_needed(o) && !args_given(a, o->name))
			snprintf(missing + len, sizeof(missing) - len, "%s%s %s%s",
				 len ? ", " : "", o->name, o->value,
				 args_opt_is_list(o) ? "..." : "");
	}
	if (!missing[0])
		return 0;
	fail_set(f, FAIL_USAGE, "%s needs %s", a->command->words, missing);
	return fail_hint(f, "hotfixctl %s --help", a->command->words);
}

int args_parse(int argc, char *const *argv, struct args **ret_args, struct fail *reterr_fail)
{
	AUTO(args_freep) struct args *a = calloc(1, sizeof(*a));
	int i, words, r;

	if (!a)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (i = 0; i < argc && is_option(argv[i]); i++) {
		r = parse_option(a, argc, argv, &i, reterr_fail);
		if (r < 0)
			return r;
	}
	if (i == argc) {
		*ret_args = take_ptr(a);
		return 0;
	}
	a->command = command_find(argc - i, argv + i, &words);
	if (!a->command)
		return command_unknown(argc - i, argv + i, reterr_fail);
	for (i += words; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (++i < argc) {
				r = add_pos(a, argv[i], reterr_fail);
				if (r < 0)
					return r;
			}
			break;
		}
		r = is_option(argv[i]) ? parse_option(a, argc, argv, &i, reterr_fail)
				       : add_pos(a, argv[i], reterr_fail);
		if (r < 0)
			return r;
	}
	take_soft(a);
	if (!args_given(a, "--help") && !args_given(a, "--version")) {
		r = check_count(a, reterr_fail);
		if (r == 0)
			r = check_needed(a, reterr_fail);
		if (r < 0)
			return r;
	}
	*ret_args = take_ptr(a);
	return 0;
}

/* --- asking --------------------------------------------------------------------------- */

const struct command *args_command(const struct args *a)
{
	return a->command;
}

size_t args_count(const struct args *a)
{
	return a->n_pos;
}

const char *args_at(const struct args *a, size_t i)
{
	return i < a->n_pos ? a->pos[i] : NULL;
}

static const struct given *find_given(const struct args *a, const char *name)
{
	if (!find_opt(a, name, strlen(name), 0))
		abort(); /* a handler asks for what the table does not have */
	for (size_t i = 0; i < a->n_given; i++)
		if (strcmp(a->given[i].opt->name, name) == 0)
			return &a->given[i];
	return NULL;
}

bool args_given(const struct args *a, const char *name)
{
	return find_given(a, name) != NULL;
}

const char *args_value(const struct args *a, const char *name)
{
	const struct given *g = find_given(a, name);

	return g ? g->value : NULL;
}

size_t args_list(const struct args *a, const char *name, const char *ret_values[ARGS_MAX])
{
	size_t n = 0;

	if (!find_given(a, name))
		return 0;
	for (size_t i = 0; i < a->n_given; i++)
		if (strcmp(a->given[i].opt->name, name) == 0)
			ret_values[n++] = a->given[i].value;
	return n;
}
