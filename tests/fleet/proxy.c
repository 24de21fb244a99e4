// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/fleet/proxy -- a stretch of network that can be stopped: hands on what comes, both ways.
 *
 *	proxy LISTEN TARGET	a port of 127.0.0.1 (0: any), or the path of a Unix socket
 *
 * Says "port=N" when it listens. A partition is SIGSTOP: connections stay and nothing comes
 * through, new ones are taken by the kernel and nobody answers. With SIGCONT all that was on its
 * way arrives, late.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

static struct event_base *base;

struct place {
	struct sockaddr_storage address;
	socklen_t len;
};

static struct place target;

static struct place place_of(const char *text)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(text)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct place p = {.len = sizeof(in)};

	if (text[0] == '/') {
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", text);
		memcpy(&p.address, &un, sizeof(un));
		p.len = sizeof(un);
	} else {
		memcpy(&p.address, &in, sizeof(in));
	}
	return p;
}

static void on_data(struct bufferevent *from, void *to)
{
	bufferevent_write_buffer(to, bufferevent_get_input(from));
}

static void on_sent(struct bufferevent *bev, void *cookie)
{
	(void)cookie;
	bufferevent_free(bev);
}

/* What came before the end is handed on before it. */
static void on_end(struct bufferevent *bev, short what, void *other)
{
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	bufferevent_free(bev);
	bufferevent_disable(other, EV_READ);
	bufferevent_setcb(other, NULL, on_sent, NULL, NULL);
	if (evbuffer_get_length(bufferevent_get_output(other)) == 0)
		bufferevent_free(other);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
			  struct sockaddr *address, int len, void *cookie)
{
	struct bufferevent *near = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE),
			   *far = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	(void)listener, (void)address, (void)len, (void)cookie;
	if (!near || !far ||
	    bufferevent_socket_connect(far, (struct sockaddr *)&target.address,
				       (int)target.len) < 0) {
		if (near)
			bufferevent_free(near);
		if (far)
			bufferevent_free(far);
		return;
	}
	bufferevent_setcb(near, on_data, NULL, on_end, far);
	bufferevent_setcb(far, on_data, NULL, on_end, near);
	bufferevent_enable(near, EV_READ | EV_WRITE);
	bufferevent_enable(far, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
	struct evconnlistener *listener;
	struct sockaddr_in at = {0};
	socklen_t len = sizeof(at);
	struct place place;

	if (argc != 3)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	place = place_of(argv[1]);
	target = place_of(argv[2]);
	base = event_base_new();
	listener = base ? evconnlistener_new_bind(base, on_connection, NULL,
						  LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
						  128, (struct sockaddr *)&place.address,
						  (int)place.len)
			: NULL;
	if (!listener) {
		perror(argv[1]);
		return 1;
	}
	if (argv[1][0] != '/')
		getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&at, &len);
	printf("port=%u\n", ntohs(at.sin_port));
	fflush(stdout);
	return event_base_dispatch(base);
}
