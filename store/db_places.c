// SPDX-License-Identifier: BSD-2-Clause
#include "store/db_places.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>

#include <libpq-fe.h>

/* Libc writes here until it has its answer: it is given back when it has, or never. */
struct lookup {
	struct gaicb one, *list[1];
	struct addrinfo hints;
	char name[];
};

struct place {
	char *host, *hostaddr, *port; /* NULL: as libpq has it by itself */
	struct lookup *lookup;	      /* is asked for, or answered while it has its turn */
	struct addrinfo *address;     /* of its answer: the one that is tried */
	char text[NI_MAXHOST];	      /* the same */
	char words[DB_PLACES_WORDS_MAX];
};

struct db_places {
	PQconninfoOption *options;
	struct place *place;
	size_t n, at, first; /* first: with which the round began */
	char name[512];
};

/* ---- a connection string ----------------------------------------------------------- */

static const char *option(const struct db_places *p, const char *keyword)
{
	for (const PQconninfoOption *o = p->options; o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val ? o->val : o->envvar ? getenv(o->envvar) : NULL;
	return NULL;
}

static size_t n_of(const char *list)
{
	size_t n = list && list[0];

	for (; n && *list; list++)
		n += *list == ',';
	return n;
}

/* The one of that number, or the only one for all; "": NULL. */
static int one_of(const char *list, size_t i, char **ret)
{
	size_t n = n_of(list);

	*ret = NULL;
	if (!n)
		return 0;
	for (i = n == 1 ? 0 : i; i; i--)
		list = strchr(list, ',') + 1;
	n = strcspn(list, ",");
	if (n)
		*ret = strndup(list, n);
	return n && !*ret ? -ENOMEM : 0;
}

static int bad_list(struct fail *reterr_fail, const char *what)
{
	fail_set(reterr_fail, FAIL_USAGE, "the address of the database does not have %s", what);
	return fail_hint(reterr_fail, "postgresql://USER@HOST1:PORT1,HOST2:PORT2/DATABASE");
}

static int take_places(struct db_places *p, struct fail *reterr_fail)
{
	const char *host = option(p, "host"), *hostaddr = option(p, "hostaddr");
	const char *port = option(p, "port");

	p->n = n_of(hostaddr) ? n_of(hostaddr) : n_of(host);
	if (n_of(host) && n_of(host) != p->n)
		return bad_list(reterr_fail, "a host for each hostaddr");
	if (n_of(port) > 1 && n_of(port) != p->n)
		return bad_list(reterr_fail, "a port for each host");
	p->n = p->n ? p->n : 1;
	p->place = calloc(p->n, sizeof(*p->place));
	for (size_t i = 0; p->place && i < p->n; i++) {
		struct place *one = &p->place[i];

		if (one_of(host, i, &one->host) < 0 ||
		    one_of(hostaddr, i, &one->hostaddr) < 0 || one_of(port, i, &one->port) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	return p->place ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

int db_places_new(const char *where, struct db_places **ret_places, struct fail *reterr_fail)
{
	AUTO(db_places_freep) struct db_places *p = calloc(1, sizeof(*p));
	const char *host, *port;
	int r;

	if (!p)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	p->options = PQconninfoParse(where, NULL); /* its words would show the password */
	if (!p->options)
		return fail_set(reterr_fail, FAIL_USAGE,
				"the address of the database is not of the form "
				"postgresql://USER@HOST:PORT/DATABASE?...");
	r = take_places(p, reterr_fail);
	if (r < 0)
		return r;
	host = option(p, "host");
	host = host ? host : option(p, "hostaddr");
	port = or_empty(option(p, "port"));
	snprintf(p->name, sizeof(p->name), "%s%s%s/%s", or_empty(host), port[0] ? ":" : "",
		 port, or_empty(option(p, "dbname")));
	*ret_places = take_ptr(p);
	return 0;
}

const char *db_places_name(const struct db_places *p)
{
	return p->name;
}

/* ---- names ------------------------------------------------------------------------- */

/* Neither a socket nor an address already. */
static bool is_looked_up(const struct place *one)
{
	struct in_addr in;

	return one->host && !one->hostaddr && one->host[0] != '/' && one->host[0] != '@' &&
	       !strchr(one->host, ':') && inet_pton(AF_INET, one->host, &in) != 1;
}

static int look_up(struct place *one)
{
	struct lookup *l = calloc(1, sizeof(*l) + strlen(one->host) + 1);

	if (!l)
		return -ENOMEM;
	strcpy(l->name, one->host);
	l->hints.ai_socktype = SOCK_STREAM;
	l->one.ar_name = l->name;
	l->one.ar_request = &l->hints;
	l->list[0] = &l->one;
	if (getaddrinfo_a(GAI_NOWAIT, l->list, 1, NULL) != 0) {
		free(l);
		return -ENOMEM;
	}
	one->lookup = l;
	return 0;
}

/* But not while libc is at it: then the question is the next turn's as well. */
static void forget(struct place *one)
{
	if (!one->lookup || gai_error(&one->lookup->one) == EAI_INPROGRESS)
		return;
	if (one->lookup->one.ar_result)
		freeaddrinfo(one->lookup->one.ar_result);
	one->address = NULL;
	free(take_ptr(one->lookup));
}

/* The first line says it, and which server is meant is known. */
static void blame(struct place *one, const char *words)
{
	const char *why = strstr(words, " failed: ");
	FILE *out = fmemopen(one->words, sizeof(one->words), "w");

	if (!out)
		return;
	if (why && strncmp(words, "connection to server ", 21) == 0)
		words = why + strlen(" failed: ");
	if (one->address)
		fprintf(out, "%s: ", one->text);
	fprintf(out, "%.*s", (int)strcspn(words, "\n"), words);
	if (strstr(words, "session is read-only"))
		fprintf(out, ": it is a standby, or takes no writes");
	fclose(out);
	one->words[sizeof(one->words) - 1] = '\0';
}

/* 0: it has an address, to be tried now. */
static int find_address(struct place *one, const char **reterr_words)
{
	int r = one->lookup ? 0 : look_up(one);

	if (r < 0 || one->address)
		return r;
	r = gai_error(&one->lookup->one);
	if (r == EAI_INPROGRESS)
		return -EAGAIN;
	if (r == 0 && one->lookup->one.ar_result) {
		one->address = one->lookup->one.ar_result;
		return 0;
	}
	*reterr_words = gai_strerror(r ? r : EAI_NONAME);
	return -ENOENT;
}

/* ---- turns --------------------------------------------------------------------------- */

void db_params_add(struct db_params *params, const char *key, const char *value)
{
	for (size_t i = 0; i < params->n; i++)
		if (strcmp(params->key[i], key) == 0)
			return;
	if (!value || params->n + 1 >= DB_PLACES_PARAMS_MAX)
		return;
	params->key[params->n] = key;
	params->value[params->n++] = value;
	params->key[params->n] = params->value[params->n] = NULL;
}

int db_places_here(struct db_places *p, struct db_params *ret_params, const char **reterr_words)
{
	struct place *one = &p->place[p->at];
	const char *address = one->hostaddr;
	int r = is_looked_up(one) ? find_address(one, reterr_words) : 0;

	if (r < 0)
		return r;
	one->text[0] = '\0';
	if (one->address &&
	    getnameinfo(one->address->ai_addr, one->address->ai_addrlen, one->text,
			sizeof(one->text), NULL, 0, NI_NUMERICHOST) == 0)
		address = one->text;
	*ret_params = (struct db_params){.n = 0};
	/* The name goes with its address: certificates and passwords are looked for by it. */
	db_params_add(ret_params, "host", one->host);
	db_params_add(ret_params, "hostaddr", address);
	db_params_add(ret_params, "port", one->port);
	for (const PQconninfoOption *o = p->options; o->keyword; o++)
		if (strcmp(o->keyword, "host") != 0 && strcmp(o->keyword, "hostaddr") != 0 &&
		    strcmp(o->keyword, "port") != 0)
			db_params_add(ret_params, o->keyword, o->val);
	return 0;
}

bool db_places_next(struct db_places *p, const char *words)
{
	struct place *one = &p->place[p->at];

	blame(one, words);
	one->address = one->address ? one->address->ai_next : NULL;
	if (one->address)
		return true;
	forget(one);
	p->at = (p->at + 1) % p->n;
	return p->at != p->first;
}

void db_places_stay(struct db_places *p)
{
	for (size_t i = 0; i < p->n; i++)
		p->place[i].words[0] = '\0';
	forget(&p->place[p->at]); /* its name may have another address by then */
	p->first = p->at;
}

void db_places_why(const struct db_places *p, char *ret_words, size_t room)
{
	size_t len = 0;

	ret_words[0] = '\0';
	for (size_t i = 0; i < p->n && len < room; i++) {
		const struct place *one = &p->place[i];
		const char *host = or_empty(one->host ? one->host : one->hostaddr);

		if (!one->words[0])
			continue;
		len += (size_t)snprintf(
			ret_words + len, room - len, "%s%s%s%s%s%s", len ? "; " : "",
			p->n > 1 ? host : "", p->n > 1 && one->port ? ":" : "",
			p->n > 1 ? or_empty(one->port) : "", p->n > 1 ? ": " : "", one->words);
	}
}

struct db_places *db_places_free(struct db_places *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; p->place && i < p->n; i++) {
		struct place *one = &p->place[i];

		if (one->lookup && gai_error(&one->lookup->one) == EAI_INPROGRESS &&
		    gai_cancel(&one->lookup->one) == EAI_CANCELED)
			free(take_ptr(one->lookup));
		forget(one);
		free(one->host);
		free(one->hostaddr);
		free(one->port);
	}
	PQconninfoFree(p->options);
	free(p->place);
	free(p);
	return NULL;
}
