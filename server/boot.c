// SPDX-License-Identifier: BSD-2-Clause
#include "server/boot.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/plain.h"

#define RECORD_BYTES_MAX (4U << 20)
#define RECORDS_MAX	 64

bool boot_has_crashed(const struct store_boot *last, bool change_open, uint64_t now_ms)
{
	if (last->stopped)
		return false;
	/* A clock that went back says nothing about the age. */
	return change_open || now_ms < last->started_ms ||
	       now_ms - last->started_ms < BOOT_YOUNG_MS;
}

bool boot_is_held(bool crashed, uint64_t older_crash_ms, uint64_t now_ms)
{
	return crashed && older_crash_ms &&
	       (now_ms < older_crash_ms || now_ms - older_crash_ms < BOOT_YOUNG_MS);
}

/* ---- what the database knows -------------------------------------------------------- */

struct past {
	struct store_boot this, last;
	uint64_t older_crash_ms;
};

static int take_boot(const struct store_boot *b, void *cookie)
{
	struct past *p = cookie;

	if (strcmp(b->boot_id, clock_boot_id()) == 0)
		p->this = *b;
	else if (!p->last.boot_id[0])
		p->last = *b;
	else if (!p->older_crash_ms)
		p->older_crash_ms = b->crash_seen_ms;
	return 0;
}

static int take_open(const struct store_change *c, void *cookie)
{
	bool *open = cookie;

	*open |= c->name[0] && strcmp(c->boot_id, clock_boot_id()) != 0;
	return 0;
}

static enum policy_boot kill_switch(const char *state_dir)
{
	char path[512], cmdline[4096] = "";
	enum policy_boot boot;

	io_read_line("/proc/cmdline", cmdline, sizeof(cmdline));
	boot = policy_boot_of(cmdline);
	snprintf(path, sizeof(path), "%s/no-apply", state_dir);
	if (boot == POLICY_BOOT_NORMAL && access(path, F_OK) == 0)
		boot = POLICY_BOOT_NO_APPLY;
	return boot;
}

static int put_boots(struct store *s, const struct past *p, bool crashed)
{
	int r = store_begin(s);

	if (r == 0 && crashed)
		r = store_put_boot(s, &p->last);
	if (r == 0)
		r = store_put_boot(s, &p->this);
	if (r == 0)
		r = store_commit(s);
	if (r < 0)
		store_rollback(s);
	return r;
}

int boot_begin(struct store *s, const char *state_dir, uint64_t now_ms, struct boot *ret_boot)
{
	struct past p = {0};
	bool change_open = false;
	int r;

	*ret_boot = (struct boot){.state = kill_switch(state_dir)};
	r = store_each_boot(s, take_boot, &p);
	if (r == 0)
		r = store_each_change(s, NULL, true, UINT32_MAX, take_open, &change_open);
	if (r < 0)
		return r;
	if (!p.this.boot_id[0]) { /* hotfixd's first start in it */
		ret_boot->crashed =
			p.last.boot_id[0] && boot_has_crashed(&p.last, change_open, now_ms);
		snprintf(p.this.boot_id, sizeof(p.this.boot_id), "%s", clock_boot_id());
		p.this.started_ms = now_ms;
		p.this.held = boot_is_held(ret_boot->crashed, p.older_crash_ms, now_ms);
	}
	ret_boot->last_ms = p.last.started_ms;
	if (ret_boot->crashed)
		p.last.crash_seen_ms = now_ms;
	if (p.this.held && ret_boot->state == POLICY_BOOT_NORMAL)
		ret_boot->state = POLICY_BOOT_HELD;
	p.this.stopped = false;
	return put_boots(s, &p, ret_boot->crashed);
}

int boot_stop(struct store *s)
{
	struct past p = {0};
	int r = store_each_boot(s, take_boot, &p);

	p.this.stopped = true;
	return r < 0 ? r : store_put_boot(s, &p.this);
}

static int forgive(const struct store_boot *b, void *cookie)
{
	struct store_boot now = *b;

	now.crash_seen_ms = 0;
	now.held = false;
	return store_put_boot(cookie, &now);
}

int boot_resume(struct store *s)
{
	return store_each_boot(s, forgive, s);
}

/* ---- what the kernel left behind --------------------------------------------------------- */

static bool says_why(const char *line)
{
	static const char *const words[] = {
		"Kernel panic",
		"BUG:",
		"Oops",
		"general protection fault",
		"soft lockup",
		"hard LOCKUP",
		"Unable to handle",
		"rcu_sched self-detected stall",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strstr(line, words[i]))
			return true;
	return false;
}

static bool find_line(char *text, char ret_cause[BOOT_CAUSE_BYTES])
{
	char *save, *line;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!says_why(line))
			continue;
		/* "<0>[  12.345678] Kernel panic - ..." */
		if (strchr(line, ']') && (line[0] == '<' || line[0] == '['))
			line = strchr(line, ']') + 1;
		line += strspn(line, " ");
		snprintf(ret_cause, BOOT_CAUSE_BYTES, "%s", line);
		plain_make(ret_cause, false); /* after the cut: it may have split a character */
		return true;
	}
	return false;
}

static void read_record(const char *path, json_t *records)
{
	char cause[BOOT_CAUSE_BYTES];
	AUTO_FREE uint8_t *text = NULL;
	struct stat st;
	size_t len;

	if (json_array_size(records) == RECORDS_MAX || stat(path, &st) < 0 ||
	    io_read_file(path, RECORD_BYTES_MAX, &text, &len) < 0)
		return;
	if (find_line((char *)text, cause))
		json_array_append_new(records, json_pack("{s:I, s:s}", "ms",
							 (json_int_t)st.st_mtime * 1000 + 999,
							 "cause", cause));
}

json_t *boot_records(const char *root)
{
	static const char *const places[] = {
		"/sys/fs/pstore/dmesg-*",
		"/var/lib/systemd/pstore/*/dmesg.txt",
		"/var/lib/systemd/pstore/*/*/dmesg.txt",
	};
	json_t *records = json_array();
	char pattern[512];
	glob_t g;

	for (size_t i = 0; records && i < ARRAY_SIZE(places); i++) {
		snprintf(pattern, sizeof(pattern), "%s%s", root, places[i]);
		if (glob(pattern, 0, NULL, &g) != 0)
			continue;
		for (size_t k = 0; k < g.gl_pathc; k++)
			read_record(g.gl_pathv[k], records);
		globfree(&g);
	}
	return records;
}

bool boot_cause(const json_t *records, uint64_t since_ms, char ret_cause[BOOT_CAUSE_BYTES])
{
	const json_t *record;
	size_t i;

	ret_cause[0] = 0;
	json_array_foreach(records, i, record) {
		const char *cause = json_string_value(json_object_get(record, "cause"));

		if (!cause ||
		    json_integer_value(json_object_get(record, "ms")) < (json_int_t)since_ms)
			continue;
		snprintf(ret_cause, BOOT_CAUSE_BYTES, "%s", cause);
		return true;
	}
	return false;
}
