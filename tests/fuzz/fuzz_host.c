// SPDX-License-Identifier: BSD-2-Clause
/*
 * What is read of the host: the kernel's log, its counters, pressure, TCP, what it left in
 * pstore, its command line. The first byte says which file the rest is; the others are well.
 * Then a version is judged by it.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/plain.h"
#include "server/boot.h"
#include "server/vitals.h"

static const struct {
	const char *name, *text;
} files[] = {
	{"dev/kmsg", "6,1,10,-;hello\n"},
	{"sys/kernel/oops_count", "0\n"},
	{"sys/kernel/warn_count", "1\n"},
	{"proc/sys/kernel/tainted", "512\n"},
	{"proc/pressure/cpu", "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n"},
	{"proc/pressure/io", "some avg10=0.00\nfull avg10=2.00 avg60=0.00\n"},
	{"proc/pressure/memory", "some avg10=0.00\nfull avg10=0.50 avg60=0.00\n"},
	{"proc/net/snmp", "Tcp: RetransSegs OutSegs EstabResets OutRsts\nTcp: 1 2 3 4\n"},
	{"sys/fs/pstore/dmesg-efi-1", "<0>[ 1.0] Kernel panic - not syncing\n"},
};

static void start(void)
{
	static bool started;

	for (size_t i = 0; !started && i < ARRAY_SIZE(files); i++)
		fuzz_write(files[i].name, files[i].text, strlen(files[i].text));
	started = true;
}

static void judge(const struct health_sample *first, const struct health_sample *now)
{
	struct health_rules rules = health_rules_read(NULL, "");
	struct health_finding findings[HEALTH_FINDINGS_MAX];
	struct health_sample window = *first;
	AUTO(json_decrefp) json_t *doc = NULL;
	char code[HEALTH_CODE_BYTES], text[64];
	struct fail f = {0};
	size_t n;

	health_roll(&window, now);
	if (health_judge(
		    &(struct health_facts){
			    .rules = &rules, .first = first, .window = &window, .now = now},
		    findings, &n) == HEALTH_BAD) {
		health_explain_bad(findings, n, code, &f);
		fuzz_must(f.code != FAIL_NONE && plain_is(f.message, false));
	}
	health_explain_missing(findings, n, text, sizeof(text));
	doc = health_to_json(findings, n);
	fuzz_must(doc);
}

FUZZ_TARGET(host)
{
	AUTO(vitals_freep) struct vitals *v = NULL;
	static struct health_sample first, now;
	char cause[BOOT_CAUSE_BYTES];
	AUTO_JSON json_t *records = NULL;
	AUTO_FREE char *text = NULL;
	size_t which;

	if (!size)
		return 0;
	start();
	which = data[0] % ARRAY_SIZE(files);
	text = fuzz_text(data + 1, size - 1);
	policy_boot_of(text);

	memset(&first, 0, sizeof(first));
	memset(&now, 0, sizeof(now));
	fuzz_must(vitals_new(fuzz_folder(), -1, &v) == 0);
	vitals_read(v, 1000000000, &first);
	v = vitals_free(v);
	fuzz_write(files[which].name, data + 1, size - 1);
	fuzz_must(vitals_new(fuzz_folder(), -1, &v) == 0);
	vitals_read(v, 3000000000, &now);
	fuzz_must(vitals_log_trouble_since(v, 0) <= 64);
	fuzz_must(plain_is(now.check[HEALTH_kmsg].note, false));
	judge(&first, &now);
	records = boot_records(fuzz_folder());
	fuzz_must(records);
	if (boot_cause(records, 0, cause))
		fuzz_must(plain_is(cause, false));
	fuzz_write(files[which].name, files[which].text, strlen(files[which].text));
	return 0;
}
