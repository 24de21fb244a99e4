// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a controller answers, as a host's agent (server/agent.h) takes it: real libcurl on a real loop,
 * over a Unix socket instead of TLS. The first byte says who asks: e a stranger with a token, n one
 * whose certificate is to be renewed, else a host that has a good one. Then answers follow, separated
 * by 0xff:
 *
 *	WHAT HOW BYTES	what they answer: C ca, E enroll, R report, O documents, D desired, N renew,
 *			B bundles; how: j a JSON body, b any body, p a part of one from where it was
 *			asked for on, else: all of the answer, from its status line on
 *
 * In the bytes of j, @X is something that nobody could guess (tokens below). What is not answered by
 * them stays unanswered, but for reports and documents. A directive that begins with '{' is signed
 * here by the director that is trusted, and must then say what its word says.
 *
 * Words have valid names and numbers, as many as there may be; a bundle that is handed on has its
 * digest; certificates that are kept are of this host's key; parts of bundles come in order.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#define AGENT_LIB_TABLE /* some of it is replaced here */
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/plain.h"
#include "server/agent_lib.h"
#include "server/agent_private.h"
#include "server/controller/ca.h"
#include "server/member.h"
#include "store/bundle.h"
#include "store/bytes.h"
#include "store/directive.h"

#define NUMBER_MAX 9007199254740991ULL
#define ANSWERS	   16
#define PEERS	   64
#define TURNS	   400
#define IDLE_TURNS 12 /* longer than the longest back-off */
#define IDLE_US	   250
#define BACKOFF_MS 2
#define DAY_S	   86400ULL

static struct event_base *base;
static struct agent_net *net;
static struct agent *agent;
static struct agent_lib real;
static char *key, *fresh, *due; /* PEM: its key, a certificate, one that is to be renewed */
static char host[AGENT_ID_BYTES], pin[CA_NAME_BYTES];
static struct ca *ca;
static const char bundle[] = "what is in a bundle is somebody else's affair";
static char bundle_hex[BYTES_SHA256_HEX];

static struct {
	const uint8_t *data; /* NULL: used */
	size_t len;
} answers[ANSWERS];
static size_t n_answers;

/* The other ends of connections. */
static struct peer {
	struct event *ev;
	int fd;
	char asked[8192];
	size_t len;
} peers[PEERS];
static size_t n_peers;
static bool moved;

static struct {
	uint8_t sha256[32];
	size_t len;
} part;

/* ---- tokens -------------------------------------------------------------------------------- */

static const char *host_text(void)
{
	return host;
}

static const char *ca_text(void)
{
	return ca_pem(ca);
}

static const char *certificate_text(void)
{
	return fresh;
}

static const char *bundle_text(void)
{
	return bundle_hex;
}

static const struct {
	char letter;
	const char *(*text)(void);
} tokens[] = {{'H', host_text},
	      {'C', ca_text},
	      {'P', certificate_text},
	      {'S', bundle_text},
	      {'T', fuzz_root}};

static const char *token(uint8_t letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		if (tokens[i].letter == letter)
			return tokens[i].text();
	return NULL;
}

/* As a string of JSON has it. */
static void print_escaped(FILE *f, const char *text)
{
	AUTO_JSON json_t *s = json_string(text);
	AUTO_FREE char *dumped = json_dumps(s, JSON_ENCODE_ANY);

	fuzz_must(dumped);
	fwrite(dumped + 1, strlen(dumped) - 2, 1, f);
}

static char *expand(const uint8_t *data, size_t size, size_t *ret_len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);
	const char *t;

	fuzz_must(f);
	for (size_t i = 0; i < size; i++) {
		t = data[i] == '@' && i + 1 < size ? token(data[i + 1]) : NULL;
		if (t) {
			print_escaped(f, t);
			i++;
		} else {
			fputc(data[i], f);
		}
	}
	fclose(f);
	return text;
}

/* ---- the controller ------------------------------------------------------------------------ */

static void send_all(int fd, const void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)n; /* what has no room in the socket did not come */
}

static void send_body(int fd, int status, const char *more, const void *body, size_t len)
{
	char head[256];

	snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status,
		 more, len);
	send_all(fd, head, strlen(head));
	send_all(fd, body, len);
}

static void send_answer(int fd, const uint8_t *data, size_t len, const char *asked)
{
	const char *range = strstr(asked, "\r\nRange: bytes=");
	AUTO_FREE char *text = NULL;
	uint8_t how = len ? *data : 0;
	char more[64] = "";
	size_t n;

	if (range)
		snprintf(more, sizeof(more), "Content-Range: bytes %lu-/*\r\n",
			 strtoul(range + 15, NULL, 10));
	if (how == 'j') {
		text = expand(data + 1, len - 1, &n);
		send_body(fd, 200, "", text, n);
	} else if (how == 'b' || how == 'p') {
		send_body(fd, range && how == 'p' ? 206 : 200, more, data + 1, len - 1);
	} else {
		send_all(fd, data, len);
	}
}

static uint8_t what_is_asked(const char *asked)
{
	static const struct {
		const char *path;
		uint8_t letter;
	} paths[] = {{" /v1/ca ", 'C'},
		     {" /v1/enroll ", 'E'},
		     {" /v1/agent/report ", 'R'},
		     {" /v1/agent/documents?", 'O'},
		     {" /v1/agent/desired?", 'D'},
		     {" /v1/agent/renew ", 'N'},
		     {" /v1/agent/bundles/", 'B'}};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (strstr(asked, paths[i].path))
			return paths[i].letter;
	return 0;
}

static void on_asked(evutil_socket_t fd, short what, void *cookie)
{
	struct peer *p = cookie;
	ssize_t n = recv(fd, p->asked + p->len, sizeof(p->asked) - 1 - p->len, MSG_DONTWAIT);
	uint8_t letter;

	(void)what;
	if (n <= 0 || p->len + (size_t)n == sizeof(p->asked) - 1) {
		event_del(p->ev);
		return;
	}
	moved = true;
	p->len += (size_t)n;
	p->asked[p->len] = 0;
	if (!strstr(p->asked, "\r\n\r\n"))
		return;
	letter = what_is_asked(p->asked);
	fuzz_must(letter);
	for (size_t i = 0; i < n_answers; i++)
		if (answers[i].data && answers[i].len && answers[i].data[0] == letter) {
			send_answer(p->fd, answers[i].data + 1, answers[i].len - 1, p->asked);
			answers[i].data = NULL;
			letter = 0;
			break;
		}
	if (letter == 'R')
		send_body(p->fd, 200, "", "{\"seq\":1}", 9);
	else if (letter == 'O')
		send_body(p->fd, 200, "", "{}", 2);
	else if (letter)
		return; /* for ever */
	/* It may ask once more over a connection of its own. */
	shutdown(p->fd, SHUT_WR);
	event_del(p->ev);
}

/* ---- libcurl, but for its connections ------------------------------------------------------ */

static struct sockaddr_un place = {.sun_family = AF_UNIX};
static int listener;

static bool accept_one(void)
{
	struct peer *p = &peers[n_peers];
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return false;
	if (n_peers == PEERS) {
		close(fd);
		return true;
	}
	n_peers++;
	p->fd = fd;
	p->len = 0;
	p->ev = event_new(base, fd, EV_READ | EV_PERSIST, on_asked, p);
	event_add(p->ev, NULL);
	return true;
}

static void on_connection(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what, (void)cookie;
	moved = true;
	accept_one();
}

static void start_listening(void)
{

	snprintf(place.sun_path, sizeof(place.sun_path), "%s/controller", fuzz_folder());
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_must(listener >= 0 &&
		  bind(listener, (struct sockaddr *)&place, sizeof(place)) == 0 &&
		  listen(listener, PEERS) == 0);
	event_add(event_new(base, listener, EV_READ | EV_PERSIST, on_connection, NULL), NULL);
}

static CURLcode set_option(CURL *easy, CURLoption option, ...)
{
	CURLcode code;
	char url[1024];
	va_list ap;

	va_start(ap, option);
	if (option == CURLOPT_URL) {
		snprintf(url, sizeof(url), "http://%s", va_arg(ap, const char *) + 8);
		real.curl_easy_setopt_(easy, CURLOPT_UNIX_SOCKET_PATH, place.sun_path);
		code = real.curl_easy_setopt_(easy, option, url);
	} else if (option == CURLOPT_PROTOCOLS_STR) {
		code = real.curl_easy_setopt_(easy, option, "http");
	} else if ((int)option < CURLOPTTYPE_OBJECTPOINT) {
		code = real.curl_easy_setopt_(easy, option, va_arg(ap, long));
	} else if ((int)option >= CURLOPTTYPE_OFF_T && (int)option < CURLOPTTYPE_BLOB) {
		code = real.curl_easy_setopt_(easy, option, va_arg(ap, curl_off_t));
	} else {
		code = real.curl_easy_setopt_(easy, option, va_arg(ap, void *));
	}
	va_end(ap);
	return code;
}

/* ---- the engine ------------------------------------------------------------------------------ */

static json_t *on_report(void *cookie)
{
	(void)cookie;
	return json_object();
}

static void judge(const struct agent_word *w)
{
	struct key *director = fuzz_key(FUZZ_DIRECTOR);
	AUTO_FREE char *text = NULL;
	struct directive d;
	struct fail f = {0};

	if (w->directive[0] == '{')
		fuzz_must(dsse_sign(DSSE_TYPE_DIRECTIVE, (const uint8_t *)w->directive,
				    strlen(w->directive), &director, 1, &text, NULL) == 0);
	if (!text || directive_open(text, strlen(text), fuzz_trust(), &d, &f) < 0 ||
	    member_check(w, &d, host, &f) < 0)
		return;
	fuzz_must(strcmp(d.host, host) == 0 && strcmp(d.name, w->name) == 0);
	fuzz_must(d.from == w->from && d.to == w->to);
	fuzz_must((d.action == DIRECTIVE_ROLLBACK) == (w->action == AGENT_ROLLBACK));
}

static void on_words(const struct agent_word *words, size_t n, void *cookie)
{
	(void)cookie;
	fuzz_must(n <= AGENT_WORDS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct agent_word *w = &words[i];

		fuzz_must(hook_name_valid(w->name));
		fuzz_must(!w->rollout[0] || hook_name_valid(w->rollout));
		fuzz_must(w->generation <= NUMBER_MAX && w->from <= NUMBER_MAX &&
			  w->to <= NUMBER_MAX && w->min_calls <= NUMBER_MAX);
		fuzz_must(agent_action_name(w->action));
		fuzz_must(!w->has_bundle ||
			  (w->bundle_bytes && w->bundle_bytes <= BUNDLE_BYTES_MAX));
		if (w->directive)
			judge(w);
	}
}

static void on_versions(struct agent_versions *ret_versions, void *cookie)
{
	(void)cookie;
	*ret_versions = (struct agent_versions){.root = 1};
}

static void on_later(evutil_socket_t fd, short what, void *cookie)
{
	struct fail why = {.code = FAIL_POLICY, .message = "no"};

	(void)fd, (void)what, (void)cookie;
	agent_document_done(agent, -EPERM, &why);
}

static struct event *later;

static int on_document(enum agent_document kind, const char *envelope, size_t len,
		       struct fail *reterr_fail, void *cookie)
{
	(void)cookie;
	fuzz_must(strlen(envelope) == len);
	if (kind == AGENT_ROOT && len % 2) {
		event_add(later, &(struct timeval){0});
		return -EINPROGRESS;
	}
	return len % 3 ? 0 : fail_set(reterr_fail, FAIL_POLICY, "it is not wanted");
}

static bool on_has_bundle(const uint8_t sha256[32], void *cookie)
{
	(void)cookie;
	return sha256[0] == 0;
}

static void on_bundle(const struct agent_word *word, const uint8_t *bytes, size_t len,
		      const struct fail *why_not, void *cookie)
{
	uint8_t digest[32];

	(void)cookie;
	fuzz_must(word->has_bundle && !word->directive);
	if (!bytes) {
		fuzz_must(why_not->code != FAIL_NONE);
		return;
	}
	bytes_sha256(bytes, len, digest);
	fuzz_must(len == word->bundle_bytes && memcmp(digest, word->bundle_sha256, 32) == 0);
}

static int on_keep_part(const uint8_t sha256[32], uint64_t at, const uint8_t *bytes, size_t len,
			void *cookie)
{
	(void)bytes, (void)cookie;
	fuzz_must(len && (at == 0 || (at == part.len && memcmp(part.sha256, sha256, 32) == 0)));
	memcpy(part.sha256, sha256, 32);
	part.len = at + len;
	return 0;
}

/* Of what is wanted, as if it had come before. */
static int on_kept_part(const uint8_t sha256[32], uint8_t **ret_bytes, size_t *ret_len,
			void *cookie)
{
	(void)cookie;
	if (sha256[1] & 1)
		return -ENOENT;
	*ret_bytes = malloc(10);
	memcpy(*ret_bytes, bundle, 10);
	*ret_len = 10;
	memcpy(part.sha256, sha256, 32);
	part.len = 10;
	return 0;
}

static void on_drop_parts(void *cookie)
{
	(void)cookie;
	part.len = 0;
}

static int on_keep(const struct agent_kept *kept, void *cookie)
{
	struct agent_cert cert;
	char url[AGENT_URL_BYTES];

	(void)cookie;
	fuzz_must(!kept->certificate[0] ||
		  (agent_cert_read(kept->certificate, key, &cert, NULL) == 0 &&
		   strcmp(cert.host, host) == 0));
	fuzz_must(!kept->url[0] || agent_url_parse(kept->url, url, NULL) == 0);
	return 0;
}

static const struct agent_engine engine = {.report = on_report,
					   .words = on_words,
					   .versions = on_versions,
					   .document = on_document,
					   .has_bundle = on_has_bundle,
					   .bundle = on_bundle,
					   .keep_part = on_keep_part,
					   .kept_part = on_kept_part,
					   .drop_parts = on_drop_parts,
					   .keep = on_keep};

/* ---- the world ------------------------------------------------------------------------------ */

static char *certify(uint64_t now_s)
{
	AUTO_FREE char *request = NULL;
	char *pem;

	fuzz_must(agent_cert_request(key, &request, NULL) == 0);
	fuzz_must(ca_sign(ca, CA_HOST, host, request, strlen(request), now_s, 90 * DAY_S, &pem,
			  NULL) == 0);
	return pem;
}

static void set_up(void)
{
	uint64_t now_s = clock_real_ms() / 1000;
	uint8_t digest[32];
	char prefix[128];

	if (base)
		return;
	base = event_base_new();
	fuzz_must(base && agent_net_new(base, 4, &net, NULL) == 0);
	real = agent_lib;
	agent_lib.curl_easy_setopt_ = set_option;
	start_listening();
	later = evtimer_new(base, on_later, NULL);
	snprintf(prefix, sizeof(prefix), "%s/answer-ca", fuzz_folder());
	fuzz_must(ca_new(prefix, "fuzz", now_s - 100 * DAY_S, 900 * DAY_S, NULL) == 0);
	fuzz_must(ca_load(prefix, &ca, NULL) == 0);
	ca_fingerprint(ca, pin);
	key = key_pem(fuzz_key(0));
	fuzz_must(key && agent_cert_host(key, host, NULL) == 0);
	fresh = certify(now_s);
	due = certify(now_s - 70 * DAY_S);
	bytes_sha256(bundle, sizeof(bundle) - 1, digest);
	bytes_to_hex(digest, sizeof(digest), bundle_hex);
}

static void start(uint8_t who)
{
	static const char url[] = "https://127.0.0.1:7";
	char secret[160];
	struct agent_opts o = {.controllers = who == 'e' ? "" : url,
			       .enroll = who == 'e' ? url : "",
			       .key = key,
			       .name = "fuzz",
			       .backoff_ms = 1,
			       .backoff_max_ms = BACKOFF_MS,
			       .engine = &engine};
	struct fail f;

	snprintf(secret, sizeof(secret), "hfe1.%064d.%s", 7, pin);
	if (who == 'e')
		o.token = secret;
	else
		o.kept = (struct agent_kept){
			.certificate = who == 'n' ? due : fresh, .ca = ca_pem(ca), .url = ""};
	fuzz_must(agent_new(net, &o, &agent, &f) == 0);
}

static bool is_left(void)
{
	for (size_t i = 0; i < n_answers; i++)
		if (answers[i].data)
			return true;
	return false;
}

/* Somebody answers, or the agent is about to ask. */
static bool goes_on(unsigned int idle)
{
	struct agent_status s;

	agent_status(agent, &s);
	return s.retry_in_ms <= BACKOFF_MS && idle < (is_left() ? IDLE_TURNS : 2);
}

static void run(void)
{
	unsigned int idle = 0;

	for (unsigned int i = 0; i < TURNS && goes_on(idle); i++) {
		moved = false;
		event_base_loop(base, EVLOOP_NONBLOCK);
		idle = moved ? 0 : idle + 1;
		if (!moved && is_left())
			usleep(IDLE_US);
	}
}

FUZZ_TARGET(answer)
{
	struct agent_status s;

	set_up();
	if (!size)
		return 0;
	start(*data++);
	size--;
	for (n_answers = 0; n_answers < ANSWERS && size; n_answers++) {
		const uint8_t *end = memchr(data, 0xff, size);
		size_t len = end ? (size_t)(end - data) : size;

		answers[n_answers].data = data;
		answers[n_answers].len = len;
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	part.len = 0;
	run();
	agent_status(agent, &s);
	fuzz_must(agent_state_name(s.state) && strlen(s.why->message) < FAIL_MESSAGE_BYTES);
	fuzz_must(plain_is(s.why->message, false));
	event_del(later);
	agent = agent_free(agent);
	/* Connections that are left end now, and not in the next input. */
	while (accept_one())
		;
	while (n_peers > 0) {
		event_free(peers[--n_peers].ev);
		close(peers[n_peers].fd);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	return 0;
}
