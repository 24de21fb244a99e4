// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/client.h -- TLS clients in the same loop as the server that they speak to, for tests of
 * listeners. They trust fleet.crt of the scratch folder and speak to client_port.
 */
#pragma once

#include "tests/unit/certify.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#define PATIENCE_MS 60000

static struct event_base *base;
static uint16_t client_port;
static const char *client_why = ""; /* what a test that waits in vain says */

static bool late, in_loop;

__attribute__((unused)) static void turn(int flags)
{
	in_loop = true;
	event_base_loop(base, flags);
	in_loop = false;
}

__attribute__((unused)) static void on_late(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what, (void)cookie;
	late = true;
}

/* Turns the loop until something is true; not for ever. */
#define until(condition)                                                               \
	do {                                                                           \
		static const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000}; \
		struct event *watchdog = evtimer_new(base, on_late, NULL);             \
                                                                                       \
		event_add(watchdog, &patience);                                        \
		for (late = false; !(condition);) {                                    \
			turn(EVLOOP_ONCE);                                             \
			if (late)                                                      \
				fail_msg("not in %d s: %s (%s)", PATIENCE_MS / 1000,   \
					 #condition, client_why);                      \
		}                                                                      \
		event_free(watchdog);                                                  \
	} while (0)

/* ---- clients --------------------------------------------------------------------------------- */

struct client {
	int fd;
	SSL *ssl;
	struct event *event;
	bool open, closed;
	char *in; /* what came */
	size_t len, room;
};

__attribute__((unused)) static void on_client(evutil_socket_t fd, short what, void *cookie)
{
	struct client *c = cookie;
	int r = 1;

	(void)fd, (void)what;
	if (c->ssl && !c->open) {
		r = SSL_do_handshake(c->ssl);
		c->open = r == 1;
	} else if (c->ssl) {
		if (c->room - c->len < 8192) {
			c->room = 2 * c->room + 16384;
			c->in = realloc(c->in, c->room);
			assert_non_null(c->in);
		}
		r = SSL_read(c->ssl, c->in + c->len, (int)(c->room - 1 - c->len));
		c->len += r > 0 ? (size_t)r : 0;
		c->in[c->len] = 0;
	} else {
		char byte;

		c->closed = recv(c->fd, &byte, 1, MSG_DONTWAIT) <= 0;
	}
	if (r <= 0 && SSL_get_error(c->ssl, r) != SSL_ERROR_WANT_READ)
		c->closed = true;
	if (c->closed)
		event_del(c->event);
	ERR_clear_error();
}

/* Connected, and nothing said; from 127.0.0.FROM. */
__attribute__((unused)) static struct client *dial(int from)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(client_port)},
			   me = {.sin_family = AF_INET};
	struct client *c = calloc(1, sizeof(*c));

	c->in = calloc(1, 1);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	me.sin_addr.s_addr = htonl(0x7f000000 + (uint32_t)from);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	assert_ok(bind(c->fd, (struct sockaddr *)&me, sizeof(me)));
	assert_ok(connect(c->fd, (struct sockaddr *)&to, sizeof(to)));
	evutil_make_socket_nonblocking(c->fd);
	c->event = event_new(base, c->fd, EV_READ | EV_PERSIST, on_client, c);
	event_add(c->event, NULL);
	return c;
}

__attribute__((unused)) static void begin_tls(struct client *c, const char *certificate_or_null,
					      int version_max)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char path[64];

	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_max_proto_version(context, version_max);
	assert_int_equal(SSL_CTX_load_verify_file(context, unit_path("fleet.crt")), 1);
	if (certificate_or_null) {
		snprintf(path, sizeof(path), "%s.crt", certificate_or_null);
		assert_int_equal(SSL_CTX_use_certificate_file(context, unit_path(path),
							      SSL_FILETYPE_PEM),
				 1);
		snprintf(path, sizeof(path), "%s.key", certificate_or_null);
		assert_int_equal(
			SSL_CTX_use_PrivateKey_file(context, unit_path(path), SSL_FILETYPE_PEM),
			1);
	}
	c->ssl = SSL_new(context);
	SSL_CTX_free(context);
	SSL_set_fd(c->ssl, c->fd);
	X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), "127.0.0.1");
	SSL_set_connect_state(c->ssl);
	on_client(c->fd, 0, c);
}

__attribute__((unused)) static struct client *begin(const char *certificate_or_null)
{
	struct client *c = dial(1);

	begin_tls(c, certificate_or_null, 0);
	return c;
}

/* A client whose handshake is over, as far as it can tell. */
__attribute__((unused)) static struct client *join(const char *certificate)
{
	struct client *c = begin(certificate);

	until(c->open || c->closed);
	assert_true(c->open);
	return c;
}

__attribute__((unused)) static void say(struct client *c, const char *text)
{
	assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), strlen(text));
}

__attribute__((unused)) static void get(struct client *c, const char *path)
{
	char text[256];

	c->len = 0;
	c->in[0] = 0;
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	say(c, text);
}

__attribute__((unused)) static const char *body_of(const struct client *c)
{
	const char *body = strstr(c->in, "\r\n\r\n");

	return body ? body + 4 : NULL;
}

__attribute__((unused)) static bool answered(const struct client *c)
{
	const char *body = body_of(c), *length = strstr(c->in, "Content-Length");

	return body && length &&
	       c->len - (size_t)(body - c->in) >= strtoul(length + 16, NULL, 10);
}

__attribute__((unused)) static int status_of(const struct client *c)
{
	return strncmp(c->in, "HTTP/1.1 ", 9) == 0 ? atoi(c->in + 9) : 0;
}

/* The status of the answer to GET path, or 0 if the connection ends without. */
__attribute__((unused)) static int ask(struct client *c, const char *path)
{
	get(c, path);
	until(answered(c) || c->closed);
	return status_of(c);
}

__attribute__((unused)) static struct client *hang_up(struct client *c)
{
	event_free(c->event);
	SSL_free(c->ssl);
	close(c->fd);
	free(c->in);
	free(c);
	return NULL;
}

DEFINE_AUTO(struct client, hang_up)
