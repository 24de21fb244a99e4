// SPDX-License-Identifier: BSD-2-Clause
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/context.h"
#include "lib/json.h"
#include "lib/version.h"

#define ANSWER_BYTES_MAX (64U << 20)
#define LINE_BYTES_MAX	 (1U << 20)

/* One for all calls: a controller is connected to once. */
static CURL *handle(void)
{
	static CURL *h;

	if (!h)
		h = curl_easy_init();
	else
		curl_easy_reset(h);
	return h;
}

/* Who answers, for messages. */
static const char *who(const struct cli *c)
{
	return c->context ? "the controller" : "hotfixd";
}

static void headers_freep(struct curl_slist **l)
{
	curl_slist_free_all(*l);
}

struct answer {
	char *buf;
	size_t len;
	bool too_large;
	/* client_stream() */
	CURL *curl;
	int (*fn)(const char *line, size_t len, void *cookie);
	void *cookie;
	bool stopped;
};

static bool is_ok(CURL *curl)
{
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static size_t on_data(char *data, size_t size, size_t n, void *cookie)
{
	struct answer *a = cookie;
	size_t len = size * n, limit = a->fn ? LINE_BYTES_MAX : ANSWER_BYTES_MAX;
	char *grown, *end;

	if (a->len + len > limit) {
		a->too_large = true;
		return 0;
	}
	grown = realloc(a->buf, a->len + len + 1);
	if (!grown)
		return 0;
	a->buf = grown;
	memcpy(a->buf + a->len, data, len);
	a->len += len;
	a->buf[a->len] = 0;
	if (!a->fn || !is_ok(a->curl))
		return len;
	while ((end = memchr(a->buf, '\n', a->len))) {
		size_t line = (size_t)(end - a->buf);

		*end = 0;
		if (line && a->fn(a->buf, line, a->cookie)) {
			a->stopped = true;
			return 0;
		}
		memmove(a->buf, end + 1, a->len - line); /* with the NUL */
		a->len -= line + 1;
	}
	return len;
}

/* libcurl calls it at least once a second. */
static int on_progress(void *cookie, curl_off_t total_down, curl_off_t down,
		       curl_off_t total_up, curl_off_t up)
{
	struct pollfd out = {.fd = STDOUT_FILENO};
	struct answer *a = cookie;

	(void)total_down, (void)down, (void)total_up, (void)up;
	/* Nobody reads what a stream prints (| head): POLLERR of a pipe. */
	if (a->fn && poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)))
		a->stopped = true;
	return cli_interrupted() || a->stopped;
}

/* libcurl says only "couldn't connect"; the reason decides what to do about it. */
static int explain_connect(const struct cli *c, struct fail *f)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = 0, r;

	memcpy(sun.sun_path, c->socket, strlen(c->socket) + 1); /* length checked before */
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		err = errno;
	if (err == EACCES || err == EPERM) {
		r = fail_set(f, FAIL_PERMISSION, "%s: you may not talk to hotfixd", c->socket);
		fail_hint(f, "be root or a member of the group hotfix");
		return r;
	}
	r = fail_set(f, FAIL_UNREACHABLE, "hotfixd cannot be reached at %s: %s", c->socket,
		     err == ENOENT	   ? "no such socket"
		     : err == ECONNREFUSED ? "nobody listens on it"
		     : err		   ? strerror(err)
					   : "it does not answer");
	fail_hint(f, err == ENOENT || err == ECONNREFUSED
			     ? "is it running (systemctl status hotfixd)? another place is "
			       "named by --socket or $HOTFIXD_SOCKET"
			     : "see hotfixd's own messages (journalctl -u hotfixd)");
	return r;
}

static int explain_controller(const struct cli *c, CURLcode code, const char *words,
			      struct fail *f)
{
	const struct context *x = c->context;

	switch ((int)code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		fail_set(f, FAIL_UNREACHABLE, "%s is not who context %s trusts: %s", x->url,
			 x->name, words);
		return fail_hint(f,
				 "its certificate must be of the authority in %s and for the "
				 "name in this URL (hotfix-controller init --name)",
				 x->ca);
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
		fail_set(f, FAIL_USAGE, "context %s: %s", x->name, words);
		return fail_hint(f, "hotfixctl context show %s", x->name);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_RECV_ERROR: /* TLS 1.3: the client is ready before the server has looked */
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		fail_set(f, FAIL_UNREACHABLE, "%s broke the connection off: %s", x->url, words);
		return fail_hint(f,
				 x->cert ? "is %s still good, and of an authority of its "
					   "operators? The controller's log says why"
					 : "the controller's log says why",
				 x->cert);
	default:
		fail_set(f, FAIL_UNREACHABLE, "%s cannot be reached: %s", x->url, words);
		return fail_hint(f, "hotfixctl context list shows other controllers");
	}
}

static void aim_at_daemon(const struct cli *c, CURL *curl, const char *path)
{
	char url[1024];

	snprintf(url, sizeof(url), "http://hotfixd%s", path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
}

static void aim_at_controller(const struct context *x, CURL *curl, const char *path)
{
	char url[2048];

	snprintf(url, sizeof(url), "%s%s", x->url, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_CAINFO, x->ca);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	if (x->cert) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, x->cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, x->key);
	}
}

static int perform(const struct cli *c, CURL *curl, struct answer *a, const char *path,
		   uint64_t timeout_ms, struct fail *f)
{
	char words[CURL_ERROR_SIZE] = "";
	CURLcode code;
	int r;

	if (!c->context && strlen(c->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return fail_set(f, FAIL_USAGE, "%s: too long for the path of a socket",
				c->socket);
	a->curl = curl;
	if (c->context)
		aim_at_controller(c->context, curl, path);
	else
		aim_at_daemon(c, curl, path);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "hotfixctl/" HOTFIX_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, a);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(curl);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK || a->stopped)
		return 0;
	if (cli_interrupted()) {
		fail_set(f, FAIL_INTERNAL, "interrupted");
		return -EINTR;
	}
	if (a->too_large)
		return fail_set(f, FAIL_INTERNAL, "the answer of %s is longer than %u MiB",
				who(c), (a->fn ? LINE_BYTES_MAX : ANSWER_BYTES_MAX) >> 20);
	if (code == CURLE_OPERATION_TIMEDOUT) {
		r = fail_set(f, FAIL_TIMEOUT, "%s did not answer within %llu s", who(c),
			     (unsigned long long)timeout_ms / 1000);
		fail_hint(f,
			  c->context
				  ? "what was asked for may still happen: hotfixctl audit"
				  : "what was asked for may still happen: hotfixctl history");
		return r;
	}
	if (c->context)
		return explain_controller(c, code, words[0] ? words : curl_easy_strerror(code),
					  f);
	if (code == CURLE_COULDNT_CONNECT)
		return explain_connect(c, f);
	r = fail_set(f, FAIL_UNREACHABLE, "the connection to hotfixd at %s broke: %s",
		     c->socket, curl_easy_strerror(code));
	fail_hint(f, "what was asked for may have happened: hotfixctl history, once hotfixd is "
		     "there again (journalctl -u hotfixd)");
	return r;
}

/* An answer of 400 and up as a failure; fails too when it is no error document. */
static int read_error(const struct cli *c, long status, const struct answer *a,
		      json_t **reterr_doc, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;

	if (!a->buf || json_parse("the answer", a->buf, a->len, &doc, NULL) < 0 ||
	    !json_object_get(doc, "error"))
		return fail_set(f,
				status == 404			 ? FAIL_NOT_FOUND
				: status == 403 || status == 401 ? FAIL_PERMISSION
								 : FAIL_INTERNAL,
				"%s answers HTTP status %ld", who(c), status);
	fail_from_json(doc, f);
	if (f->code == FAIL_NONE)
		f->code = FAIL_INTERNAL;
	if (reterr_doc)
		*reterr_doc = take_ptr(doc);
	return -fail_errno(f->code);
}

int client_call(const struct cli *c, const struct client_call *call, json_t **ret_doc,
		struct fail *reterr_fail)
{
	AUTO(headers_freep) struct curl_slist *headers = NULL;
	CURL *curl = handle();
	struct answer a = {0};
	AUTO_FREE char *owned = NULL;
	char type[128], bearer[160];
	long status = 0;
	int r;

	snprintf(type, sizeof(type), "Content-Type: %s",
		 call->content_type ? call->content_type : "application/json");
	/* "Expect: 100-continue" would only cost a round trip. */
	headers = curl_slist_append(NULL, "Expect:");
	if (!curl || !headers || !curl_slist_append(headers, type))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (c->context && c->context->token) {
		snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", c->context->token);
		if (!curl_slist_append(headers, bearer))
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (call->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	r = perform(c, curl, &a, call->path,
		    call->timeout_ms ? call->timeout_ms : CLIENT_TIMEOUT_MS, reterr_fail);
	owned = a.buf;
	if (r < 0)
		return r;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status >= 300)
		return read_error(c, status, &a, call->reterr_doc, reterr_fail);
	r = json_parse(c->context ? "the controller's answer" : "hotfixd's answer",
		       a.buf ? a.buf : "", a.len, ret_doc, reterr_fail);
	if (r < 0 && reterr_fail)
		reterr_fail->code = FAIL_INTERNAL; /* not the operator's input */
	return r;
}

int client_get(const struct cli *c, json_t **ret_doc, struct fail *reterr_fail,
	       const char *path_fmt, ...)
{
	char path[512];
	va_list ap;

	va_start(ap, path_fmt);
	vsnprintf(path, sizeof(path), path_fmt, ap);
	va_end(ap);
	return client_call(c, &(struct client_call){.method = "GET", .path = path}, ret_doc,
			   reterr_fail);
}

int client_stream(const struct cli *c, const char *path,
		  int (*fn)(const char *line, size_t len, void *cookie), void *cookie,
		  struct fail *reterr_fail)
{
	CURL *curl = handle();
	struct answer a = {.fn = fn, .cookie = cookie};
	AUTO_FREE char *owned = NULL;
	long status = 0;
	int r;

	if (!curl)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = perform(c, curl, &a, path, 0, reterr_fail);
	owned = a.buf;
	if (r == -EINTR)
		return 0;
	if (r < 0)
		return r;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (a.stopped || (status >= 200 && status < 300))
		return 0;
	return read_error(c, status, &a, NULL, reterr_fail);
}
