// SPDX-License-Identifier: BSD-2-Clause
#include "server/vitals.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/io.h"
#include "lib/plain.h"

/* CONSOLE_EXT_LOG_MAX of the kernel: no record is longer. */
#define RECORD_BYTES 8192
#define SEQS_KEPT    64
/* Bad page, oops, warning, soft lockup (Documentation/admin-guide/tainted-kernels.rst). */
#define TAINTS (1U << 5 | 1U << 7 | 1U << 9 | 1U << 14)
/* Trouble that follows closer than this is the echo of the one before. */
#define BURST_US 1000000
/* Readings are doubles: a larger number would not be the one that was read. */
#define EXACT_MAX (1ULL << 53)

struct vitals {
	char root[256];
	int log_fd, log_errno;
	uint64_t seq;	  /* of the newest record read */
	uint64_t trouble; /* records that matched */
	uint64_t trouble_seq[SEQS_KEPT], trouble_us;
	uint64_t lost; /* times records were overwritten before they were read */
	char evidence[HEALTH_NOTE_BYTES]; /* what began the newest burst */
};

static void unknown(struct health_reading *r, const char *what, int err)
{
	r->state = HEALTH_UNKNOWN;
	snprintf(r->note, sizeof(r->note), "%s: %s", what, strerror(-err));
}

static void known(struct health_reading *r, double value, double base)
{
	*r = (struct health_reading){.state = HEALTH_KNOWN, .value = value, .base = base};
}

/* ---- the kernel's log -------------------------------------------------------- */

/*
 * Texts of the kernel that mean trouble: begin at the start of a message and, where there is
 * a second half, hold that as well. Warnings are the business of the check "warn".
 */
static const struct {
	const char *begins, *holds;
} troubles[] = {
	{"BUG: ", ""},
	{"BUG ", "): "}, /* slab: "BUG kmalloc-64 (Not tainted): Poison overwritten" */
	{"watchdog: BUG: soft lockup", ""},
	{"watchdog: ", "hard LOCKUP"},
	{"Watchdog detected hard LOCKUP", ""},
	{"Oops", ""},
	{"Internal error: Oops", ""},
	{"Unable to handle kernel", ""},
	{"general protection fault", ""},
	{"rcu: INFO: ", "stall"},
	{"INFO: rcu", "stall"},
	{"INFO: task ", " blocked for more than "},
	{"list_add ", "corruption"},
	{"list_del ", "corruption"},
};

/*
 * "comm[pid]: segfault at ..." is the kernel speaking too, but a process chose its first
 * 15 bytes: a message that begins like that is nobody's trouble.
 */
static bool names_process(const char *text)
{
	const char *open = strchr(text, '[');
	size_t digits = open && open - text < 16 ? strspn(open + 1, "0123456789") : 0;

	return digits && strncmp(open + 1 + digits, "]:", 2) == 0;
}

static bool is_trouble(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(troubles); i++)
		if (strncmp(text, troubles[i].begins, strlen(troubles[i].begins)) == 0 &&
		    strstr(text, troubles[i].holds))
			return !names_process(text);
	return false;
}

/*
 * "<facility << 3 | level>,<sequence>,<us>,<flags>;text" (Documentation/ABI/testing/dev-kmsg).
 * A facility other than 0 is a process that wrote into the log. Lines that continue a
 * record begin with a blank.
 */
static void take_line(struct vitals *v, const char *line)
{
	const char *text = strchr(line, ';');
	unsigned int prefix;
	uint64_t seq, us;

	if (!text || sscanf(line, "%u,%" SCNu64 ",%" SCNu64, &prefix, &seq, &us) != 3)
		return;
	v->seq = seq;
	if (prefix >> 3 || !is_trouble(text + 1))
		return;
	v->trouble_seq[v->trouble++ % SEQS_KEPT] = seq;
	if (!v->evidence[0] || us - v->trouble_us > BURST_US) {
		snprintf(v->evidence, sizeof(v->evidence), "%s", text + 1);
		plain_make(v->evidence, false);
	}
	v->trouble_us = us;
}

static void read_log(struct vitals *v)
{
	char buf[RECORD_BYTES + 1], *next;
	ssize_t n;

	for (int i = 0; i < VITALS_RECORDS_MAX; i++) {
		n = read(v->log_fd, buf, RECORD_BYTES);
		if (n < 0 && errno == EPIPE) {
			v->lost++;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		buf[n] = 0;
		for (char *line = buf; line; line = next) {
			next = strchr(line, '\n');
			if (next)
				*next++ = 0;
			take_line(v, line);
		}
	}
}

static int open_log(struct vitals *v, int log_fd)
{
	char path[PATH_MAX];
	uint64_t seq;

	snprintf(path, sizeof(path), "%s/dev/kmsg", v->root);
	v->log_fd = log_fd < 0 ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
			       : fcntl(log_fd, F_DUPFD_CLOEXEC, 0);
	if (log_fd >= 0 && v->log_fd >= 0)
		lseek(v->log_fd, 0, SEEK_SET);
	if (v->log_fd < 0)
		return -errno;
	do { /* what is there already is over before a first sample */
		seq = v->seq;
		read_log(v);
	} while (v->seq != seq);
	return 0;
}

uint64_t vitals_log_seq(const struct vitals *v)
{
	return v->seq;
}

uint64_t vitals_log_trouble_since(const struct vitals *v, uint64_t seq)
{
	uint64_t n = 0;

	for (size_t i = 0; i < SEQS_KEPT && i < v->trouble; i++)
		n += v->trouble_seq[i] > seq;
	return n;
}

/* ---- the rest ---------------------------------------------------------------- */

static void read_number(const struct vitals *v, const char *path, struct health_reading *r)
{
	char full[PATH_MAX], line[64];
	uint64_t value;
	int err;

	snprintf(full, sizeof(full), "%s%s", v->root, path);
	err = io_read_line(full, line, sizeof(line));
	if (err == 0 && (sscanf(line, "%" SCNu64, &value) != 1 || value > EXACT_MAX))
		err = -EBADMSG;
	if (err < 0)
		unknown(r, "not readable", err);
	else
		known(r, (double)value, 0);
}

/* "some avg10=0.00 avg60=..." and "full avg10=..." (Documentation/accounting/psi.rst) */
static void read_pressure(const struct vitals *v, const char *path, const char *line,
			  struct health_reading *r)
{
	AUTO_FREE uint8_t *text = NULL;
	char full[PATH_MAX], *at;
	double avg10;
	size_t len;
	int err;

	snprintf(full, sizeof(full), "%s%s", v->root, path);
	err = io_read_file(full, 4096, &text, &len);
	if (err < 0) {
		unknown(r, "not readable", err);
		return;
	}
	at = strstr((char *)text, line);
	if (!at || sscanf(at + strlen(line), " avg10=%lf", &avg10) != 1)
		unknown(r, "not understood", -EBADMSG);
	else
		known(r, avg10, 0);
}

/* One value of the two "Tcp:" lines: names, then numbers. */
static bool tcp_value(const char *names, const char *numbers, const char *name,
		      double *ret_value)
{
	size_t len = strlen(name);

	while (*names && *names != '\n' && *numbers && *numbers != '\n') {
		size_t n = strcspn(names, " \n"), m = strcspn(numbers, " \n");

		if (n == len && memcmp(names, name, n) == 0) {
			*ret_value = strtod(numbers, NULL);
			return isdigit((unsigned char)*numbers);
		}
		names += n;
		names += strspn(names, " ");
		numbers += m;
		numbers += strspn(numbers, " ");
	}
	return false;
}

static void read_tcp(const struct vitals *v, double now_s, struct health_sample *s)
{
	struct health_reading *retrans = &s->check[HEALTH_tcp_retrans_percent];
	struct health_reading *resets = &s->check[HEALTH_tcp_resets_per_s];
	double again, sent, reset_by_peer, reset_by_us;
	AUTO_FREE uint8_t *text = NULL;
	char path[PATH_MAX], *names, *numbers = NULL;
	size_t len;
	int err;

	snprintf(path, sizeof(path), "%s/proc/net/snmp", v->root);
	err = io_read_file(path, 65536, &text, &len);
	if (err < 0) {
		unknown(retrans, "not readable", err);
		unknown(resets, "not readable", err);
		return;
	}
	names = strstr((char *)text, "Tcp: ");
	if (names)
		numbers = strstr(names + 1, "Tcp: ");
	if (!numbers || !tcp_value(names, numbers, "RetransSegs", &again) ||
	    !tcp_value(names, numbers, "OutSegs", &sent) ||
	    !tcp_value(names, numbers, "EstabResets", &reset_by_peer) ||
	    !tcp_value(names, numbers, "OutRsts", &reset_by_us)) {
		unknown(retrans, "not understood", -EBADMSG);
		unknown(resets, "not understood", -EBADMSG);
		return;
	}
	known(retrans, again, sent);
	known(resets, reset_by_peer + reset_by_us, now_s);
}

void vitals_read(struct vitals *v, uint64_t now_ns, struct health_sample *s)
{
	read_number(v, "/sys/kernel/oops_count", &s->check[HEALTH_oops]);
	read_number(v, "/sys/kernel/warn_count", &s->check[HEALTH_warn]);
	read_number(v, "/proc/sys/kernel/tainted", &s->check[HEALTH_taint]);
	s->check[HEALTH_taint].value =
		(double)((uint64_t)s->check[HEALTH_taint].value & TAINTS);
	read_pressure(v, "/proc/pressure/cpu", "some", &s->check[HEALTH_psi_cpu]);
	read_pressure(v, "/proc/pressure/io", "full", &s->check[HEALTH_psi_io]);
	read_pressure(v, "/proc/pressure/memory", "full", &s->check[HEALTH_psi_memory]);
	read_tcp(v, (double)now_ns / 1e9, s);
	if (v->log_fd < 0) {
		unknown(&s->check[HEALTH_kmsg], "not readable", v->log_errno);
		return;
	}
	read_log(v);
	known(&s->check[HEALTH_kmsg], (double)v->trouble, (double)v->lost);
	memcpy(s->check[HEALTH_kmsg].note, v->evidence, sizeof(v->evidence));
}

/* ---- life -------------------------------------------------------------------- */

int vitals_new(const char *root, int log_fd, struct vitals **ret_vitals)
{
	struct vitals *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	snprintf(v->root, sizeof(v->root), "%s", root);
	v->log_errno = open_log(v, log_fd);
	*ret_vitals = v;
	return 0;
}

struct vitals *vitals_free(struct vitals *v)
{
	if (v)
		fd_closep(&v->log_fd);
	free(v);
	return NULL;
}
