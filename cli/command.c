// SPDX-License-Identifier: BSD-2-Clause
#include "cli/command.h"

#include <string.h>

#include "cli/build.h"
#include "cli/change.h"
#include "cli/client.h"
#include "cli/context.h"
#include "cli/remote.h"
#include "cli/inspect.h"
#include "cli/roll.h"
#include "cli/show.h"
#include "cli/sign.h"
#include "cli/view.h"
#include "lib/json.h"

/* clang-format off */
#define OPT_END { NULL, 0, OPT_FLAG, NULL, NULL }
#define OPT_PASSPHRASE \
	{ "--passphrase-fd", 0, OPT_VALUE, "N", "read passphrases from descriptor N, one a line" }
#define OPT_SIGN \
	{ "--key", 0, OPT_NEEDED_LIST, "SEC", "secret keys to sign with" }, OPT_PASSPHRASE
#define OPT_TERMS \
	{ "--expires", 0, OPT_VALUE, "TS", "no first attach after 2027-05-04T10:11:12Z, or never" }, \
	{ "--floor", 0, OPT_LIST, "NAME@SERIAL", "nothing older is applied" }, \
	{ "--scope", 0, OPT_LIST, "PUB:NAME:HOOK", "all that a release key may sign; NAME with *" }, \
	{ "--fleet", 0, OPT_VALUE, "ID", "the fleet whose hosts trust this root" }, \
	{ "--director", 0, OPT_LIST, "PUB", "keys on line that may choose among signed versions" }, \
	{ "--status-key", 0, OPT_LIST, "PUB", "keys on line that sign the status of the fleet" }
#define OPT_REASON \
	{ "--reason", 0, OPT_VALUE, "TEXT", "why, for the history" }

static const struct opt key_new_opts[] = {
	{ "--out", 0, OPT_NEEDED, "PREFIX", "writes PREFIX.sec (0600) and PREFIX.pub" },
	{ "--no-passphrase", 0, OPT_FLAG, NULL, "leave the secret key readable, for automation" },
	OPT_PASSPHRASE,
	OPT_END,
};

static const struct opt trust_init_opts[] = {
	{ "--key", 0, OPT_NEEDED_LIST, "PUB", "public keys that may sign hot-fixes" },
	{ "--threshold", 0, OPT_VALUE, "N", "how many of them must sign each (1)" },
	{ "--root-key", 0, OPT_LIST, "PUB", "keys that sign the next root (those of --key)" },
	{ "--root-threshold", 0, OPT_VALUE, "N", "how many of those must (as --threshold, or 1)" },
	OPT_TERMS,
	{ "--sign", 0, OPT_LIST, "SEC", "sign the root itself with these" },
	OPT_PASSPHRASE,
	{ "--out", 0, OPT_NEEDED, "ROOT", "the file to write" },
	OPT_END,
};

static const struct opt trust_rotate_opts[] = {
	{ "--key", 0, OPT_LIST, "PUB", "the keys that may sign hot-fixes from now on" },
	{ "--threshold", 0, OPT_VALUE, "N", "how many of them must sign each" },
	{ "--root-key", 0, OPT_LIST, "PUB", "the keys that sign the next root" },
	{ "--root-threshold", 0, OPT_VALUE, "N", "how many of those must" },
	OPT_TERMS,
	{ "--reset", 0, OPT_LIST, "NAME", "serials above the floor of NAME that ran count no more" },
	{ "--sign", 0, OPT_LIST, "SEC", "sign the new root with these" },
	OPT_PASSPHRASE,
	{ "--out", 0, OPT_NEEDED, "NEXT", "the file to write" },
	OPT_END,
};

static const struct opt trust_revoke_opts[] = {
	{ "--through", 0, OPT_VALUE, "SERIAL", "all serials up to this one (only the one named)" },
	{ "--force-rollback", 0, OPT_FLAG, NULL, "take it back where it runs; else it only is not applied anew" },
	{ "--reason", 0, OPT_NEEDED, "TEXT", "why, for the history" },
	OPT_SIGN,
	{ "--out", 0, OPT_NEEDED, "FILE", "the file to write" },
	OPT_END,
};

static const struct opt trust_direct_opts[] = {
	{ "--from", 0, OPT_NEEDED, "SERIAL", "what is committed on the hosts it is for" },
	{ "--fleet", 0, OPT_NEEDED, "ID", "their fleet" },
	{ "--host", 0, OPT_VALUE, "ID", "for this host alone: the host_id of its status" },
	{ "--group", 0, OPT_VALUE, "NAME", "for the hosts of this group" },
	{ "--valid", 0, OPT_VALUE, "DURATION", "how long it may be carried out (1d)" },
	OPT_REASON,
	OPT_SIGN,
	{ "--out", 0, OPT_NEEDED, "FILE", "the file to write" },
	OPT_END,
};

static const struct opt trust_status_opts[] = {
	{ "--fleet", 0, OPT_NEEDED, "ID", "the fleet" },
	{ "--number", 0, OPT_NEEDED, "N", "its version: higher than that of the one before" },
	{ "--valid", 0, OPT_VALUE, "DURATION", "until it is stale (1d)" },
	OPT_SIGN,
	{ "--out", 0, OPT_NEEDED, "FILE", "the file to write" },
	OPT_END,
};

static const struct opt sign_opts[] = {
	{ "--key", 0, OPT_LIST, "SEC", "secret keys to sign with" },
	OPT_PASSPHRASE,
	{ "--export", 0, OPT_VALUE, "BYTES", "write the exact bytes to sign, for a key elsewhere" },
	{ "--attach", 0, OPT_VALUE, "SIG", "add the signature that was made of them" },
	{ "--pub", 0, OPT_VALUE, "PUB", "by whose key it is" },
	{ "--out", 0, OPT_VALUE, "FILE", "the file to write" },
	OPT_END,
};

static const struct opt build_opts[] = {
	{ "--serial", 0, OPT_VALUE, "N", "which version (the highest in manifest.json)" },
	{ "--include", 0, OPT_VALUE, "DIR", "headers for hot-fixes (../include/hotfixd from hotfixctl)" },
	OPT_SIGN,
	{ "--out", 0, OPT_NEEDED, "FILE", "the bundle to write" },
	OPT_END,
};

static const struct opt pack_opts[] = {
	{ "--object", 0, OPT_NEEDED, "FILE.o", "the compiled BPF object" },
	{ "--name", 0, OPT_VALUE, "N", "name of the hot-fix: a-z, 0-9 and '-'" },
	{ "--serial", 0, OPT_VALUE, "S", "grows with each version" },
	{ "--label", 0, OPT_VALUE, "L", "what people call this version" },
	{ "--title", 0, OPT_VALUE, "T", "one line" },
	{ "--cve", 0, OPT_LIST, "C", "CVE-YYYY-NNNN that it closes" },
	{ "--severity", 0, OPT_VALUE, "S", "low, medium, high or critical" },
	{ "--default", 0, OPT_FLAG, NULL, "its congestion control becomes the host's default" },
	{ "--state", 0, OPT_VALUE, "own|compatible", "what live sockets do on a switch of version" },
	{ "--accept-preemption-leak", 0, OPT_FLAG, NULL, "may run as fmod_ret where calls can slip by" },
	{ "--expires", 0, OPT_VALUE, "TS", "no first attach after 2026-05-04T10:11:12Z" },
	{ "--manifest", 0, OPT_VALUE, "BASE.json", "further fields; options come first" },
	OPT_SIGN,
	{ "--out", 0, OPT_NEEDED, "FILE", "the bundle to write" },
	OPT_END,
};

static const struct opt verify_opts[] = {
	{ "--root", 0, OPT_VALUE, "ROOT", "the root whose keys count" },
	OPT_END,
};

static const struct opt apply_opts[] = {
	{ "--trial", 0, OPT_VALUE, "DURATION", "length of the trial (the manifest's)" },
	{ "--commit", 0, OPT_FLAG, NULL, "commit at once, without a trial" },
	{ "--observe", 0, OPT_FLAG, NULL, "count what it would deny, deny nothing" },
	{ "--dry-run", 0, OPT_FLAG, NULL, "load through the verifier, attach nothing" },
	{ "--wait", 0, OPT_MAYBE, "DURATION", "until the trial has ended" },
	OPT_END,
};

static const struct opt rollback_opts[] = {
	{ "--to", 0, OPT_VALUE, "SERIAL", "not to the version before, but to this one" },
	{ "--directive", 0, OPT_VALUE, "FILE", "as a director of the fleet says" },
	OPT_REASON,
	OPT_END,
};

static const struct opt reason_opts[] = { OPT_REASON, OPT_END };

static const struct opt disable_opts[] = {
	{ "--all", 0, OPT_FLAG, NULL, "whatever runs, or would come again by itself" },
	OPT_REASON,
	OPT_END,
};

static const struct opt history_opts[] = {
	{ "--change", 0, OPT_VALUE, "ID", "one change, with evidence and verifier log" },
	{ "--limit", 0, OPT_VALUE, "N", "at most this many, newest first (100)" },
	OPT_END,
};

static const struct opt events_opts[] = {
	{ "--follow", 'f', OPT_FLAG, NULL, "go on as they come" },
	OPT_END,
};

static const struct opt audit_opts[] = {
	{ "--verify", 0, OPT_FLAG, NULL, "check the chain of hashes, and what the host key signed" },
	{ "--head", 0, OPT_VALUE, "FILE", "with --verify: that this head is in it, and none cut off" },
	{ "--save-head", 0, OPT_VALUE, "FILE", "write the head, signed, to be kept elsewhere" },
	{ "--lines", 0, OPT_FLAG, NULL, "all rows, one JSON document a line" },
	{ "--after", 0, OPT_VALUE, "ROW", "from the row after this one" },
	{ "--limit", 0, OPT_VALUE, "N", "at most this many (1000)" },
	OPT_END,
};

static const struct opt context_set_opts[] = {
	{ "--url", 0, OPT_VALUE, "URL", "of a controller: https://HOST:7445" },
	{ "--ca", 0, OPT_VALUE, "FILE", "the authority of its certificate" },
	{ "--cert", 0, OPT_VALUE, "FILE", "your certificate" },
	{ "--key", 0, OPT_VALUE, "FILE", "and its key" },
	{ "--token-file", 0, OPT_VALUE, "FILE", "or a file that holds your token" },
	OPT_END,
};

static const struct opt host_list_opts[] = {
	{ "--selector", 0, OPT_VALUE, "LABELS", "only those: zone=a,role=web|db" },
	{ "--runs", 0, OPT_VALUE, "NAME[@SERIAL]", "only those that run it" },
	{ "--lacks", 0, OPT_VALUE, "NAME[@SERIAL]", "only those without it or a later one" },
	OPT_END,
};

static const struct opt host_pin_opts[] = {
	{ "--none", 0, OPT_FLAG, NULL, "any serial may go there again" },
	OPT_REASON,
	OPT_END,
};

#define OPT_SPEC \
	{ "--spec", 0, OPT_VALUE, "FILE", "the rollout's knobs, YAML or JSON" }, \
	{ "--target", 0, OPT_LIST, "LABEL=VALUE", "only hosts with these labels" }, \
	{ "--severity", 0, OPT_VALUE, "S", "low, moderate, high or critical: how fast" }
#define OPT_WATCH \
	{ "--wait", 0, OPT_VALUE, "DURATION", "no longer than this (status 8)" }, \
	{ "--until-paused", 0, OPT_FLAG, NULL, "also end when somebody has to decide (status 9)" }

static const struct opt rollout_plan_opts[] = {
	OPT_SPEC,
	{ "--hosts", 0, OPT_FLAG, NULL, "name all of them" },
	OPT_END,
};

static const struct opt rollout_start_opts[] = {
	OPT_SPEC,
	{ "--draft", 0, OPT_FLAG, NULL, "store it; rollout submit begins it" },
	{ "--watch", 0, OPT_FLAG, NULL, "and then as rollout watch" },
	OPT_WATCH,
	OPT_END,
};

static const struct opt rollout_watch_opts[] = { OPT_WATCH, OPT_END };

static const struct opt rollout_list_opts[] = {
	{ "--active", 0, OPT_FLAG, NULL, "those that have not ended" },
	OPT_END,
};

static const struct opt rollout_abort_opts[] = {
	{ "--rollback", 0, OPT_MAYBE, "all|wave", "take it back, from all hosts or those of this wave" },
	OPT_REASON,
	OPT_END,
};

static const struct opt rollout_retry_opts[] = {
	{ "--host", 0, OPT_VALUE, "HOST", "this one (all that failed)" },
	OPT_REASON,
	OPT_END,
};

static const struct opt freeze_add_opts[] = {
	{ "--from", 0, OPT_VALUE, "TIME", "2027-12-24T00:00:00Z, or 2h from now (now)" },
	{ "--until", 0, OPT_VALUE, "TIME", "the same (until freeze remove)" },
	{ "--hotfix", 0, OPT_VALUE, "NAME", "of this hot-fix only" },
	{ "--target", 0, OPT_LIST, "LABEL=VALUE", "on hosts with these labels only" },
	{ "--reason", 0, OPT_NEEDED, "TEXT", "why: others will ask" },
	OPT_END,
};

static const struct opt line_opts[] = {
	{ "--clear", 0, OPT_FLAG, NULL, "it runs again" },
	OPT_REASON,
	OPT_END,
};

static const struct opt token_opts[] = {
	{ "--ttl", 0, OPT_VALUE, "DURATION", "how long it may be used (1h)" },
	{ "--label", 0, OPT_LIST, "LABEL=VALUE", "of the host that uses it" },
	OPT_END,
};

static const struct opt operator_add_opts[] = {
	{ "--role", 0, OPT_NEEDED, "ROLE", "viewer, operator, approver or admin" },
	{ "--valid", 0, OPT_VALUE, "DURATION", "how long (a token: for ever)" },
	{ "--request", 0, OPT_VALUE, "FILE", "a certificate request, to be signed" },
	{ "--certificate", 0, OPT_VALUE, "FILE", "a certificate that is there already" },
	{ "--out", 0, OPT_VALUE, "FILE", "write token or certificate there (0600)" },
	OPT_END,
};

static const struct opt migrate_opts[] = {
	{ "--from", 0, OPT_NEEDED, "FILE", "the controller's database" },
	{ "--to", 0, OPT_NEEDED, "URL", "an empty one: postgresql://..., or a file" },
	OPT_END,
};
/* clang-format on */

#define MANY ARGS_MAX

const struct command command_table[] = {
	{"key new", sign_key_new, COMMAND_AUTHOR, "", 0, 0, COMPLETE_NOTHING, key_new_opts,
	 "make a signing key",
	 "Without --no-passphrase the secret key is sealed under a passphrase, which is\n"
	 "asked for twice on the terminal or read from --passphrase-fd.",
	 "hotfixctl key new --out release\n"
	 "hotfixctl key new --out ci --no-passphrase\n"},
	{"build", build_run, COMMAND_AUTHOR, "DIR", 1, 1, COMPLETE_FILES, build_opts,
	 "compile the source of a hot-fix and sign it",
	 "DIR has hotfix.bpf.c and manifest.json. Each item of the manifest's \"versions\"\n"
	 "replaces fields of the whole; the source sees its number as HOTFIX_SERIAL.\n"
	 "Nothing is ever made unsigned: hotfixctl key new makes a key.\n"
	 "$CLANG, $LLVM_STRIP and $SOURCE_DATE_EPOCH are honoured.",
	 "hotfixctl build patches/cve-2026-31431-copyfail --key release.sec --out fix.hotfix\n"},
	{"pack", build_run_pack, COMMAND_AUTHOR, "", 0, 0, COMPLETE_NOTHING, pack_opts,
	 "sign an object that someone else compiled",
	 "The hooks are read from the object's sections.",
	 "hotfixctl pack --object deny.o --name deny-x --serial 1 --key release.sec \\\n"
	 "    --out deny.hotfix\n"},
	{"verify", inspect_run_verify, COMMAND_AUTHOR, "FILE", 1, 1, COMPLETE_FILES,
	 verify_opts, "check signatures, digest and hooks of a bundle",
	 "The root is that of --root, else $HOTFIX_ROOT, else /etc/hotfixd/root.json, else the\n"
	 "daemon's. Without any the bundle is refused.",
	 "hotfixctl verify fix.hotfix --root root.json\n"},
	{"inspect", inspect_run, COMMAND_AUTHOR, "FILE", 1, 1, COMPLETE_FILES, NULL,
	 "show what a bundle, a root or a key says, unverified",
	 "Of a secret key nothing that is secret, and whether a passphrase protects it.",
	 "hotfixctl inspect fix.hotfix\n"},
	{"sign", sign_run, COMMAND_AUTHOR, "FILE", 1, 1, COMPLETE_FILES, sign_opts,
	 "add signatures to a bundle, a root or another document",
	 "Each holder of a key adds one and hands the result on. A key that is elsewhere (a\n"
	 "token, a machine without network) signs what --export writes: Ed25519 over these\n"
	 "very bytes. --attach takes the 64 bytes it made, or their base64.",
	 "hotfixctl sign fix.hotfix --key second.sec --out fix-signed.hotfix\n"
	 "hotfixctl sign root2.json --export root2.bytes\n"
	 "openssl pkeyutl -sign -rawin -inkey offline.pem -in root2.bytes -out root2.sig\n"
	 "hotfixctl sign root2.json --attach root2.sig --pub offline.pub --out root2-signed.json\n"},

	{"trust init", sign_trust_init, COMMAND_TRUST, "", 0, 0, COMPLETE_NOTHING,
	 trust_init_opts, "make the root: which keys may sign hot-fixes",
	 "The first root needs no signature: a host trusts it because an administrator\n"
	 "imports it. Without --root-key the release keys also sign the next root.",
	 "hotfixctl trust init --key release.pub --out root.json\n"
	 "hotfixctl trust init --key a.pub b.pub c.pub --threshold 2 --out root.json\n"},
	{"trust rotate", sign_trust_rotate, COMMAND_TRUST, "ROOT", 1, 1, COMPLETE_FILES,
	 trust_rotate_opts, "make the root that follows a root",
	 "What no option names stays as it is. Hosts take the new root when the thresholds of\n"
	 "root keys of both have signed it; hotfixctl sign adds what --sign does not.",
	 "hotfixctl trust rotate root.json --key new.pub --sign release.sec --out root2.json\n"
	 "hotfixctl trust rotate root.json --floor my-cubic@3 --expires 2028-01-01T00:00:00Z \\\n"
	 "    --sign release.sec --out root2.json\n"},
	{"trust revoke", sign_trust_revoke, COMMAND_TRUST, "NAME@SERIAL", 1, 1, COMPLETE_NAMES,
	 trust_revoke_opts, "take a signed version back",
	 "Signed by the release threshold and imported as a root is. It holds as long as the\n"
	 "root in force names enough of the keys that signed it.",
	 "hotfixctl trust revoke my-cubic@3 --force-rollback --reason \"stalls under loss\" \\\n"
	 "    --key release.sec --out revocation.json\n"},
	{"trust direct", sign_trust_direct, COMMAND_TRUST, "NAME@SERIAL", 1, 1, COMPLETE_NAMES,
	 trust_direct_opts, "direct hosts of a fleet back to a version",
	 "Signed by the director of the root; hosts that never ran the version take it on trial.",
	 "hotfixctl trust direct my-cubic@2 --from 3 --fleet shop --group web --key director.sec \\\n"
	 "    --out back.json\n"},
	{"trust status", sign_trust_status, COMMAND_TRUST, "BUNDLE...", 1, MANY, COMPLETE_FILES,
	 trust_status_opts, "say what there is in a fleet, and for how long that holds",
	 "Hosts that import it refuse other contents under these serials, and warn when it is\n"
	 "stale: newer hot-fixes may be withheld from them.",
	 "hotfixctl trust status fix.hotfix --fleet shop --number 7 --key status.sec --out status.json\n"},
	{"trust import", change_run_trust_import, COMMAND_TRUST, "FILE", 1, 1, COMPLETE_FILES,
	 NULL, "make this host trust a root, or obey a revocation",
	 "The first root is taken as it is; a later one must have the next version, and be signed\n"
	 "by the thresholds of root keys of both.",
	 "hotfixctl trust import root.json\n"},
	{"trust show", show_run_trust, COMMAND_TRUST, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "the root that this host trusts, and those before it", NULL, "hotfixctl trust show\n"},

	{"import", change_run_import, COMMAND_CHANGE, "FILE...", 1, MANY, COMPLETE_FILES, NULL,
	 "verify bundles and store them on this host",
	 "Importing changes nothing that runs. Of several files each is tried; the exit\n"
	 "status is that of the first that was refused.",
	 "hotfixctl import fix.hotfix\n"},
	{"apply", change_run_apply, COMMAND_CHANGE, "NAME[@SERIAL]", 1, 1, COMPLETE_NAMES,
	 apply_opts, "make a stored version live, on trial",
	 "Returns when the version is live on trial, or with --wait when the trial has\n"
	 "ended: committed (exit 0) or rolled back (exit 7). Ctrl-C ends the waiting, not\n"
	 "the trial (exit 130). Without @SERIAL the newest stored version is meant.",
	 "hotfixctl apply cve-2026-31431-copyfail --dry-run\n"
	 "hotfixctl apply cve-2026-31431-copyfail@2 --wait\n"
	 "hotfixctl apply my-cubic --trial 10m --wait=15m\n"},
	{"commit", change_run_commit, COMMAND_CHANGE, "NAME", 1, 1, COMPLETE_NAMES, NULL,
	 "end a trial: the version stays", NULL, "hotfixctl commit cve-2026-31431-copyfail\n"},
	{"rollback", change_run_rollback, COMMAND_CHANGE, "NAME", 1, 1, COMPLETE_NAMES,
	 rollback_opts, "back to the version before",
	 "In a trial: ends it. Else back to the version committed before this one, or to\n"
	 "the one that --to names, which this host must have committed once.",
	 "hotfixctl rollback cve-2026-31431-copyfail --reason \"breaks backup\"\n"},
	{"disable", change_run_disable, COMMAND_CHANGE, "[NAME]", 0, 1, COMPLETE_NAMES,
	 disable_opts, "take a hot-fix off, or all of them; it stays stored",
	 "It stays off over restarts and reboots until enable or apply. --all takes one after the\n"
	 "other, those first that no other requires; the exit status is that of the first that\n"
	 "failed.",
	 "hotfixctl disable my-cubic --reason \"measuring without\"\n"
	 "hotfixctl disable --all --reason \"is it one of ours?\"\n"},
	{"enable", change_run_enable, COMMAND_CHANGE, "NAME", 1, 1, COMPLETE_NAMES, NULL,
	 "make a disabled hot-fix live again", NULL, "hotfixctl enable my-cubic\n"},
	{"enforce", change_run_enforce, COMMAND_CHANGE, "NAME", 1, 1, COMPLETE_NAMES, NULL,
	 "deny from now on what --observe only counted",
	 "Without a reload. In a trial its length begins anew: what the version does now was\n"
	 "not tried yet.",
	 "hotfixctl enforce cve-2026-31431-copyfail\n"},
	{"observe", change_run_observe, COMMAND_CHANGE, "NAME", 1, 1, COMPLETE_NAMES, NULL,
	 "only count from now on what would be denied", NULL,
	 "hotfixctl observe cve-2026-31431-copyfail\n"},
	{"retry", change_run_retry, COMMAND_CHANGE, "NAME@SERIAL", 1, 1, COMPLETE_NAMES,
	 reason_opts, "lift the quarantine of a version",
	 "A version that did harm here is not tried again until then.",
	 "hotfixctl retry my-cubic@3 --reason \"the driver was at fault\"\n"},
	{"resume", change_run_resume, COMMAND_CHANGE, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "apply again what is held back after two crashes",
	 "A host that goes down twice within an hour starts with nothing applied.",
	 "hotfixctl resume\n"},
	{"remove", change_run_remove, COMMAND_CHANGE, "NAME[@SERIAL]", 1, 1, COMPLETE_NAMES,
	 NULL, "take a hot-fix, or one stored version, off this host",
	 "History and audit log stay.",
	 "hotfixctl remove my-cubic\nhotfixctl remove my-cubic@1\n"},

	{"status", show_run_status, COMMAND_LOOK, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "what is live, on trial, off, and why", NULL,
	 "hotfixctl status\nhotfixctl -j status\n"},
	{"list", show_run_list, COMMAND_LOOK, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "stored versions; of a fleet, on how many hosts each is", NULL,
	 "hotfixctl list\nhotfixctl --context fleet list\n"},
	{"show", show_run_show, COMMAND_LOOK, "NAME", 1, 1, COMPLETE_NAMES, NULL,
	 "all about one hot-fix", NULL, "hotfixctl show my-cubic\n"},
	{"history", show_run_history, COMMAND_LOOK, "[NAME]", 0, 1, COMPLETE_NAMES,
	 history_opts, "changes and how they ended", NULL,
	 "hotfixctl history my-cubic\nhotfixctl history --change 12\n"},
	{"events", show_run_events, COMMAND_LOOK, "[NAME]", 0, 1, COMPLETE_NAMES, events_opts,
	 "what hot-fixes saw and what changed, line by line",
	 "With -j one JSON document a line.", "hotfixctl events --follow\n"},
	{"audit", show_run_audit, COMMAND_LOOK, "", 0, 0, COMPLETE_NOTHING, audit_opts,
	 "the hash-chained log of decisions",
	 "--verify exits 4 when a row was changed. That the end was cut off shows against a head\n"
	 "that was saved before.",
	 "hotfixctl audit --save-head head.json\n"
	 "hotfixctl audit --verify --head head.json\n"},
	{"doctor", show_run_doctor, COMMAND_LOOK, "[NAME | FILE]", 0, 1, COMPLETE_BOTH, NULL,
	 "what this host can, and whether a hot-fix can run here",
	 "Loads tiny programs and attaches none. A FILE's name has a dot or a slash in it.\n"
	 "Exit 5 when a check fails, or with NAME or FILE when that hot-fix cannot run.\n"
	 "Without a daemon hotfixctl looks itself.",
	 "hotfixctl doctor\nhotfixctl doctor ./fix.hotfix\n"},

	{"context list", context_run_list, COMMAND_CONTEXT, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "the controllers that you know", NULL, "hotfixctl context list\n"},
	{"context show", context_run_show, COMMAND_CONTEXT, "[CONTEXT]", 0, 1, COMPLETE_NOTHING,
	 NULL, "one of them, or the one in use", NULL, "hotfixctl context show\n"},
	{"context use", context_run_use, COMMAND_CONTEXT, "CONTEXT", 1, 1, COMPLETE_NOTHING,
	 NULL, "which one commands about a fleet speak to", NULL,
	 "hotfixctl context use fleet\n"},
	{"context set", context_run_set, COMMAND_CONTEXT, "CONTEXT", 1, 1, COMPLETE_FILES,
	 context_set_opts, "make a context, or change it",
	 "What no option names stays. The files of keys and tokens must be yours alone.",
	 "hotfixctl context set fleet --url https://ctl:7445 --ca operators-ca.crt \\\n"
	 "    --cert alice.crt --key alice.key\n"},
	{"context remove", context_run_remove, COMMAND_CONTEXT, "CONTEXT", 1, 1,
	 COMPLETE_NOTHING, NULL, "forget one", NULL, "hotfixctl context remove old\n"},

	{"rollout plan", roll_run_plan, COMMAND_ROLLOUT, "NAME[@SERIAL]", 1, 1, COMPLETE_FILES,
	 rollout_plan_opts, "what a rollout would do; nothing happens",
	 "The hosts of each wave by kernel build and zone, and who is left out for what.",
	 "hotfixctl rollout plan my-cubic@3 --spec careful.yaml\n"},
	{"rollout start", roll_run_start, COMMAND_ROLLOUT, "NAME[@SERIAL]", 1, 1,
	 COMPLETE_FILES, rollout_start_opts, "bring a version to the fleet, wave by wave",
	 "One host of each kernel build is first. Prints the id of the rollout. An active\n"
	 "rollout of another version gives way to it, or it is refused (on_newer).",
	 "hotfixctl rollout start my-cubic@3 --target role=web --watch\n"},
	{"rollout submit", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "begin a draft", NULL,
	 "hotfixctl rollout submit r20270504-101112-3f2a\n"},
	{"rollout list", roll_run_list, COMMAND_ROLLOUT, "", 0, 0, COMPLETE_NOTHING,
	 rollout_list_opts, "rollouts and their states", NULL,
	 "hotfixctl rollout list --active\n"},
	{"rollout status", roll_run_status, COMMAND_ROLLOUT, "[ID]", 0, 1, COMPLETE_NOTHING,
	 NULL, "waves, kernel builds, what went wrong; the newest one without ID", NULL,
	 "hotfixctl rollout status\n"},
	{"rollout show", roll_run_show, COMMAND_ROLLOUT, "[ID]", 0, 1, COMPLETE_NOTHING, NULL,
	 "the same with every host and the history", NULL,
	 "hotfixctl -j rollout show r20270504-101112-3f2a\n"},
	{"rollout watch", view_run, COMMAND_ROLLOUT, "[ID]", 0, 1, COMPLETE_NOTHING,
	 rollout_watch_opts, "the same while it goes, until it ends",
	 "Exit 0 succeeded, 1 failed, 7 rolled back, 9 aborted or superseded. Without a terminal\n"
	 "a line for each thing that happens. Ctrl-C leaves the rollout alone (exit 130).",
	 "hotfixctl rollout watch --until-paused --wait 2h\n"},
	{"rollout pause", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "nothing new begins; what is under way ends", NULL,
	 "hotfixctl rollout pause r20270504-101112-3f2a --reason \"looking at web-3\"\n"},
	{"rollout resume", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "go on; what failed until now is accepted", NULL,
	 "hotfixctl rollout resume r20270504-101112-3f2a\n"},
	{"rollout promote", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "end what it waits for: a bake, a gate, a verdict", NULL,
	 "hotfixctl rollout promote r20270504-101112-3f2a\n"},
	{"rollout approve", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "say yes to somebody else's", NULL,
	 "hotfixctl rollout approve r20270504-101112-3f2a\n"},
	{"rollout override", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "let a critical one go on outside its windows", NULL,
	 "hotfixctl rollout override r20270504-101112-3f2a --reason \"exploited since noon\"\n"},
	{"rollout abort", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 rollout_abort_opts, "end it for good, and go back if you say so", NULL,
	 "hotfixctl rollout abort r20270504-101112-3f2a --rollback --reason \"latency\"\n"},
	{"rollout retry", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 rollout_retry_opts, "try hosts that failed once more", NULL,
	 "hotfixctl rollout retry r20270504-101112-3f2a --host web-3\n"},
	{"rollout undo", roll_run_verb, COMMAND_ROLLOUT, "ID", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "take back one that succeeded, at once, without waves", NULL,
	 "hotfixctl rollout undo r20270504-101112-3f2a --reason \"tail latency\"\n"},

	{"host list", remote_run_host_list, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING,
	 host_list_opts, "hosts of the fleet, and what they run",
	 "By what they reported last: NAME@3 is committed, NAME@4? on trial, and NAME@3 (off)\n"
	 "committed but does not run, such as after hotfixctl disable on the host.",
	 "hotfixctl host list --selector zone=a\n"
	 "hotfixctl host list --lacks cve-2026-31431-copyfail@2\n"},
	{"host show", remote_run_host_show, COMMAND_FLEET, "HOST", 1, 1, COMPLETE_NOTHING, NULL,
	 "what one of them reported", "HOST is a name, an id, or the beginning of one.",
	 "hotfixctl host show web-3\n"},
	{"host label", remote_run_host_label, COMMAND_FLEET, "HOST LABEL=VALUE...", 2, MANY,
	 COMPLETE_NOTHING, reason_opts, "say what it is; LABEL= takes one off", NULL,
	 "hotfixctl host label web-3 role=web rack=17\n"},
	{"host hold", remote_run_host_hold, COMMAND_FLEET, "HOST", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "nothing is sent to it, not even a rollback", NULL,
	 "hotfixctl host hold web-3 --reason \"disk\"\n"},
	{"host unhold", remote_run_host_unhold, COMMAND_FLEET, "HOST", 1, 1, COMPLETE_NOTHING,
	 reason_opts, "it takes part again", NULL, "hotfixctl host unhold web-3\n"},
	{"host pin", remote_run_host_pin, COMMAND_FLEET, "HOST [SERIAL]", 1, 2,
	 COMPLETE_NOTHING, host_pin_opts, "no later serial goes there", NULL,
	 "hotfixctl host pin web-3 2\nhotfixctl host pin web-3 --none\n"},
	{"host forget", remote_run_host_forget, COMMAND_FLEET, "HOST", 1, 1, COMPLETE_NOTHING,
	 NULL, "it is gone; its certificates are revoked", NULL,
	 "hotfixctl host forget web-3\n"},
	{"enroll token", remote_run_token, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING,
	 token_opts, "a ticket for one new host, shown once", NULL,
	 "hotfixctl enroll token --ttl 2h --label role=web\n"},
	{"enroll tokens", remote_run_tokens, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "the tickets that are out", NULL, "hotfixctl enroll tokens\n"},
	{"enroll revoke", remote_run_drop_token, COMMAND_FLEET, "TOKEN", 1, 1, COMPLETE_NOTHING,
	 NULL, "take one back, by its hash", NULL, "hotfixctl enroll revoke 3f2a...\n"},
	{"stock add", change_run_import, COMMAND_FLEET, "FILE...", 1, MANY, COMPLETE_FILES,
	 NULL, "bring bundles to the controller, for rollouts",
	 "The same as import with --context. What the root in force does not vouch for is refused.",
	 "hotfixctl stock add fix.hotfix\n"},
	{"stock list", remote_run_stock_list, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "what the controller can hand out", NULL, "hotfixctl stock list\n"},
	{"stock drop", remote_run_stock_drop, COMMAND_FLEET, "NAME@SERIAL", 1, 1,
	 COMPLETE_NOTHING, NULL, "hand a version out no more", NULL,
	 "hotfixctl stock drop my-cubic@1\n"},
	{"freeze add", remote_run_freeze_add, COMMAND_FLEET, "FREEZE", 1, 1, COMPLETE_NOTHING,
	 freeze_add_opts, "nothing is rolled out meanwhile", NULL,
	 "hotfixctl freeze add holidays --from 2027-12-23T12:00:00Z \\\n"
	 "    --until 2028-01-02T06:00:00Z --reason \"nobody is there\"\n"},
	{"freeze list", remote_run_freeze_list, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING, NULL,
	 "freezes, and whether the line is stopped", NULL, "hotfixctl freeze list\n"},
	{"freeze remove", remote_run_freeze_remove, COMMAND_FLEET, "FREEZE", 1, 1,
	 COMPLETE_NOTHING, NULL, "lift one", NULL, "hotfixctl freeze remove holidays\n"},
	{"stop-the-line", remote_run_line, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING, line_opts,
	 "pause every rollout of the fleet", "Rollbacks go on.",
	 "hotfixctl stop-the-line --reason \"oopses in zone b\"\n"
	 "hotfixctl stop-the-line --clear\n"},
	{"operator add", remote_run_operator_add, COMMAND_FLEET, "NAME", 1, 1, COMPLETE_FILES,
	 operator_add_opts, "let somebody in, by certificate or token",
	 "Without --request and --certificate a token is made, which is shown once. viewer looks,\n"
	 "operator rolls out, approver says yes to others' and lifts freezes, admin lets in.",
	 "hotfixctl operator add ci --role operator --valid 90d --out ci.token\n"
	 "hotfixctl operator add alice --role approver --request alice.csr --out alice.crt\n"},
	{"operator list", remote_run_operator_list, COMMAND_FLEET, "", 0, 0, COMPLETE_NOTHING,
	 NULL, "who may ask for what", NULL, "hotfixctl operator list\n"},
	{"operator revoke", remote_run_operator_revoke, COMMAND_FLEET, "NAME", 1, 1,
	 COMPLETE_NOTHING, NULL, "nothing of theirs is good any more", NULL,
	 "hotfixctl operator revoke ci\n"},
	{"store migrate", remote_run_migrate, COMMAND_SELF, "", 0, 0, COMPLETE_FILES,
	 migrate_opts, "move a controller's database, and check the copy",
	 "No controller may run on either meanwhile. Both digests are compared at the end.",
	 "hotfixctl store migrate --from /var/lib/hotfix-controller/fleet.db \\\n"
	 "    --to postgresql://hotfix@db/fleet\n"},

	{"help", command_run_help, COMMAND_SELF, "[COMMAND]", 0, 2, COMPLETE_NOTHING, NULL,
	 "this list, or about one command", NULL, "hotfixctl help apply\n"},
	{"completion", command_run_completion, COMMAND_SELF, "bash|zsh", 1, 1, COMPLETE_NOTHING,
	 NULL, "completion for a shell",
	 "make install puts it where the shells look for it. \"completion names\" lists the stored\n"
	 "hot-fixes for them.",
	 "source <(hotfixctl completion bash)\nsource <(hotfixctl completion zsh)\n"},
};

const size_t command_count = ARRAY_SIZE(command_table);

/* --- finding -------------------------------------------------------------------------- */

enum command_place command_place(const struct command *c)
{
	static const char *const either[] = {"import", "trust import", "trust show",
					     "status", "list",	       "audit"};

	if (c->group == COMMAND_ROLLOUT || c->group == COMMAND_FLEET)
		return COMMAND_OF_FLEET;
	for (size_t i = 0; i < ARRAY_SIZE(either); i++)
		if (strcmp(c->words, either[i]) == 0)
			return COMMAND_OF_EITHER;
	return COMMAND_OF_HOST;
}

static const struct command *find_words(const char *words)
{
	for (size_t i = 0; i < command_count; i++)
		if (strcmp(command_table[i].words, words) == 0)
			return &command_table[i];
	return NULL;
}

const struct command *command_find(int argc, char *const *argv, int *ret_words)
{
	char words[128];
	const struct command *c = NULL;

	*ret_words = 2;
	if (argc > 1) {
		snprintf(words, sizeof(words), "%s %s", argv[0], argv[1]);
		c = find_words(words);
	}
	if (c)
		return c;
	*ret_words = 1;
	/* A word with a blank in it is not two words. */
	return argc > 0 && !strchr(argv[0], ' ') ? find_words(argv[0]) : NULL;
}

/* What may stand behind a first word: "new" behind "key". */
static size_t second_words(const char *first, const char *ret_words[], size_t max)
{
	size_t n = 0, len = strlen(first);

	for (size_t i = 0; i < command_count && n < max; i++)
		if (strncmp(command_table[i].words, first, len) == 0 &&
		    command_table[i].words[len] == ' ')
			ret_words[n++] = command_table[i].words + len + 1;
	return n;
}

int command_unknown(int argc, char *const *argv, struct fail *f)
{
	const char *words[128], *nearest;
	char list[256] = "", both[128];
	size_t n = second_words(argv[0], words, ARRAY_SIZE(words));
	int r;

	for (size_t i = 0; i < n; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 i ? ", " : "", words[i]);
	if (n && (argc < 2 || argv[1][0] == '-')) {
		r = fail_set(f, FAIL_USAGE, "%s is not a whole command", argv[0]);
		fail_hint(f, "behind %s comes one of: %s", argv[0], list);
		return r;
	}
	if (n) {
		r = fail_set(f, FAIL_USAGE, "there is no command %s %s", argv[0], argv[1]);
		nearest = args_nearest(argv[1], words, n);
		if (nearest)
			fail_hint(f, "did you mean %s %s?", argv[0], nearest);
		else
			fail_hint(f, "behind %s comes one of: %s", argv[0], list);
		return r;
	}
	r = fail_set(f, FAIL_USAGE, "there is no command %s", argv[0]);
	for (n = 0; n < command_count && n < ARRAY_SIZE(words); n++)
		words[n] = command_table[n].words;
	nearest = args_nearest(argv[0], words, n);
	if (!nearest && argc > 1) {
		snprintf(both, sizeof(both), "%s %s", argv[0], argv[1]);
		nearest = args_nearest(both, words, n);
	}
	if (nearest)
		fail_hint(f, "did you mean %s?", nearest);
	else
		fail_hint(f, "hotfixctl help lists them all");
	return r;
}

/* --- help ----------------------------------------------------------------------------- */

static const char *const group_titles[COMMAND_GROUPS_] = {
	[COMMAND_AUTHOR] = "Make and check bundles (no daemon needed)",
	[COMMAND_TRUST] = "Trust",
	[COMMAND_CHANGE] = "Change what runs on this host",
	[COMMAND_LOOK] = "Look",
	[COMMAND_CONTEXT] = "Which fleet",
	[COMMAND_ROLLOUT] = "Rollouts of a fleet",
	[COMMAND_FLEET] = "A fleet: hosts, stock, who may and when",
	[COMMAND_SELF] = "hotfixctl itself",
};

void command_usage(FILE *out)
{
	fprintf(out,
		"usage: hotfixctl [--socket PATH | --context NAME] [-j] COMMAND [OPTION...] [ARGUMENT...]\n"
		"Keeps this host's kernel fixed while it runs, or those of a fleet.\n");
	for (int g = 0; g < COMMAND_GROUPS_; g++) {
		fprintf(out, "\n%s\n", group_titles[g]);
		for (size_t i = 0; i < command_count; i++) {
			const struct command *c = &command_table[i];
			char left[64];

			if ((int)c->group != g)
				continue;
			snprintf(left, sizeof(left), "%s %s", c->words, c->args);
			fprintf(out, "  %-28s %s\n", left, c->brief);
		}
	}
	fprintf(out,
		"\n"
		"Exit status: 0 ok, 1 failed, 2 usage, 3 not found, 4 refused (signature,\n"
		"policy, downgrade), 5 this host cannot, 6 load or attach failed, 7 unhealthy:\n"
		"rolled back, 8 --wait timed out, 9 conflict, 10 hotfixd or controller unreachable,\n"
		"11 permission, 130 interrupted.\n"
		"hotfixctl COMMAND --help tells more; so does man hotfixctl.\n");
}

static void print_synopsis(const struct command *c, FILE *out)
{
	fprintf(out, "hotfixctl %s", c->words);
	if (c->args[0])
		fprintf(out, " %s", c->args);
	for (const struct opt *o = c->opts; o && o->name; o++)
		switch (o->kind) {
		case OPT_FLAG:
			fprintf(out, " [%s]", o->name);
			break;
		case OPT_VALUE:
			fprintf(out, " [%s %s]", o->name, o->value);
			break;
		case OPT_MAYBE:
			fprintf(out, " [%s[=%s]]", o->name, o->value);
			break;
		case OPT_LIST:
			fprintf(out, " [%s %s...]", o->name, o->value);
			break;
		case OPT_NEEDED:
			fprintf(out, " %s %s", o->name, o->value);
			break;
		case OPT_NEEDED_LIST:
			fprintf(out, " %s %s...", o->name, o->value);
			break;
		}
	fputc('\n', out);
}

static void print_options(const struct opt *opts, FILE *out)
{
	for (const struct opt *o = opts; o && o->name; o++) {
		char left[64], letter[8] = "    ";

		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(left, sizeof(left), "%s%s%s%s%s", o->name,
			 o->kind == OPT_MAYBE ? "[="
			 : o->value	      ? " "
					      : "",
			 o->value ? o->value : "",
			 args_opt_is_list(o)	? "..."
			 : o->kind == OPT_MAYBE ? "]"
						: "",
			 "");
		fprintf(out, "  %s%-28s %s\n", letter, left, o->help);
	}
}

void command_help(const struct command *c, FILE *out)
{
	fprintf(out, "usage: ");
	print_synopsis(c, out);
	fprintf(out, "\n%s\n", c->brief);
	if (c->text)
		fprintf(out, "\n%s\n", c->text);
	if (c->opts) {
		fprintf(out, "\nOptions\n");
		print_options(c->opts, out);
	}
	fprintf(out, "\nOptions of all commands\n");
	print_options(args_global, out);
	if (c->examples)
		fprintf(out, "\nExamples\n");
	for (const char *line = c->examples; line && *line;) {
		size_t n = strcspn(line, "\n");

		fprintf(out, "  %.*s\n", (int)n, line);
		line += n + (line[n] == '\n');
	}
}

int command_run_help(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	char *words[2] = {(char *)(uintptr_t)args_at(a, 0), (char *)(uintptr_t)args_at(a, 1)};
	int n = (int)args_count(a), used;
	const struct command *command;

	(void)c;
	if (n == 0) {
		command_usage(stdout);
		return 0;
	}
	command = command_find(n, words, &used);
	if (!command || used != n)
		return command_unknown(n, words, reterr_fail);
	command_help(command, stdout);
	return 0;
}

/* --- completion ----------------------------------------------------------------------- */

/* The words that may come after word number `after` ("" at the start). */
static void print_first_words(FILE *out)
{
	const char *last = "";
	size_t last_len = 0;

	for (size_t i = 0; i < command_count; i++) {
		const char *words = command_table[i].words;
		size_t n = strcspn(words, " ");

		if (n == last_len && strncmp(words, last, n) == 0)
			continue;
		fprintf(out, "%s%.*s", i ? " " : "", (int)n, words);
		last = words;
		last_len = n;
	}
}

static void print_opt_words(const struct opt *opts, FILE *out)
{
	for (const struct opt *o = opts; o && o->name; o++)
		fprintf(out, " %s", o->name);
}

/* Options whose value is a file. */
static bool takes_file(const struct opt *o)
{
	static const char *const values[] = {"FILE",	  "FILE.o", "ROOT",  "PUB",
					     "SEC",	  "PREFIX", "DIR",   "PATH",
					     "BASE.json", "NEXT",   "BYTES", "SIG"};

	for (size_t i = 0; o->value && i < ARRAY_SIZE(values); i++)
		if (strcmp(o->value, values[i]) == 0)
			return true;
	return false;
}

/* What its words may be, and the end of its case. */
static void print_takes(const struct command *c, FILE *out)
{
	bool both = c->complete == COMPLETE_BOTH;

	fprintf(out, "%s%s ;;\n", both || c->complete == COMPLETE_FILES ? " files=1" : "",
		both || c->complete == COMPLETE_NAMES ? " names=1" : "");
}

static void print_file_options(FILE *out)
{
	fprintf(out, "--socket");
	for (size_t i = 0; i < command_count; i++)
		for (const struct opt *o = command_table[i].opts; o && o->name; o++)
			if (takes_file(o))
				fprintf(out, "|%s", o->name);
}

void command_completion_bash(FILE *out)
{
	fprintf(out, "# bash completion for hotfixctl; made by: hotfixctl completion bash\n"
		     "_hotfixctl() {\n"
		     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		     "\tlocal words=() w skip= i socket=()\n"
		     "\tCOMPREPLY=()\n"
		     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		     "\t\tw=${COMP_WORDS[i]}\n"
		     "\t\tif [[ $skip ]]; then socket=(--socket \"$w\"); skip=; continue; fi\n"
		     "\t\t[[ $w == --context ]] && { ((i++)); continue; }\n"
		     "\t\t[[ $w == --socket ]] && skip=1\n"
		     "\t\t[[ $w == -* ]] || words+=(\"$w\")\n"
		     "\tdone\n"
		     "\tcase $prev in\n\t");
	print_file_options(out);
	fprintf(out, ")\n"
		     "\t\tcompopt -o filenames\n"
		     "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
		     "\t\treturn ;;\n"
		     "\tesac\n"
		     "\tlocal options=\"\" names= files= next=\"\"\n"
		     "\tcase \"${words[0]-} ${words[1]-}\" in\n");
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &command_table[i];

		fprintf(out, "\t\"%s\"%s)\n\t\toptions=\"", c->words,
			strchr(c->words, ' ') ? "" : "\\ *");
		print_opt_words(c->opts, out);
		fprintf(out, "\"");
		print_takes(c, out);
	}
	/* The second word of "key new"; a lone first word. */
	for (size_t i = 0; i < command_count; i++) {
		const char *words = command_table[i].words, *seconds[32];
		size_t len = strcspn(words, " "), n;
		char first[32];

		if (!words[len] ||
		    (i && strncmp(command_table[i - 1].words, words, len + 1) == 0))
			continue;
		snprintf(first, sizeof(first), "%.*s", (int)len, words);
		n = second_words(first, seconds, ARRAY_SIZE(seconds));
		fprintf(out, "\t%s\\ *)\n\t\tnext=\"", first);
		for (size_t j = 0; j < n; j++)
			fprintf(out, "%s%s", j ? " " : "", seconds[j]);
		fprintf(out, "\" ;;\n");
	}
	fprintf(out, "\t\" \")\n\t\tnext=\"");
	print_first_words(out);
	fprintf(out, "\" ;;\n\tesac\n"
		     "\tif [[ $cur == -* ]]; then\n\t\tnext=\"$options");
	print_opt_words(args_global, out);
	fprintf(out, "\"\n"
		     "\telif [[ ${words[0]-} == help ]]; then\n\t\tnext=\"");
	print_first_words(out);
	fprintf(out,
		"\"\n"
		"\telif [[ ${words[0]-} == completion ]]; then\n\t\tnext='bash zsh'\n"
		"\telif [[ $names ]]; then\n"
		"\t\tnext=$(hotfixctl \"${socket[@]}\" completion names 2>/dev/null)\n"
		"\tfi\n"
		"\tmapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$cur\")\n"
		"\tif [[ $files && $cur != -* ]]; then\n"
		"\t\tcompopt -o filenames\n"
		"\t\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\")\n"
		"\tfi\n"
		"}\n"
		"complete -F _hotfixctl hotfixctl\n");
}

/* As one word between apostrophes: "WORD:TEXT", of which _describe shows the text. */
static void print_described(const char *word, size_t len, const char *text, FILE *out)
{
	fprintf(out, " '%.*s%s", (int)len, word, text ? ":" : "");
	for (; text && *text; text++)
		fputs(*text == '\'' ? "'\\''" : (char[]){*text, 0}, out);
	fputc('\'', out);
}

static void describe_opts(const struct opt *opts, FILE *out)
{
	for (const struct opt *o = opts; o && o->name; o++)
		print_described(o->name, strlen(o->name), o->help, out);
}

/* Commands of one word with what they do, of several with the first of them. */
static void describe_first_words(FILE *out)
{
	const char *last = "";

	for (size_t i = 0; i < command_count; i++) {
		const char *words = command_table[i].words;
		size_t n = strcspn(words, " ");

		if (strncmp(words, last, n) != 0 || last[n] != words[n])
			print_described(words, n, words[n] ? NULL : command_table[i].brief,
					out);
		last = words;
	}
}

void command_completion_zsh(FILE *out)
{
	fprintf(out, "#compdef hotfixctl\n"
		     "# zsh completion for hotfixctl; made by: hotfixctl completion zsh\n"
		     "_hotfixctl() {\n"
		     "\tlocal -a plain place opts next\n"
		     "\tlocal i names files\n"
		     "\tfor ((i = 2; i < CURRENT; i++)); do\n"
		     "\t\tcase $words[i] in\n"
		     "\t\t--socket) place=(--socket \"$words[i+1]\"); ((i++)) ;;\n"
		     "\t\t--context) ((i++)) ;;\n"
		     "\t\t-*) ;;\n"
		     "\t\t*) plain+=(\"$words[i]\") ;;\n"
		     "\t\tesac\n"
		     "\tdone\n"
		     "\tcase $words[CURRENT-1] in\n\t");
	print_file_options(out);
	fprintf(out, ") _files; return ;;\n"
		     "\tesac\n"
		     "\tcase \"${plain[1]-} ${plain[2]-}\" in\n");
	for (size_t i = 0; i < command_count; i++) {
		const struct command *c = &command_table[i];

		fprintf(out, "\t\"%s\"%s)\n\t\topts=(", c->words,
			strchr(c->words, ' ') ? "" : "\\ *");
		describe_opts(c->opts, out);
		fprintf(out, ")");
		print_takes(c, out);
	}
	for (size_t i = 0; i < command_count; i++) {
		const char *words = command_table[i].words;
		size_t len = strcspn(words, " ");

		if (!words[len])
			continue;
		if (!i || strncmp(command_table[i - 1].words, words, len + 1) != 0)
			fprintf(out, "\t%.*s\\ *)\n\t\tnext=(", (int)len, words);
		print_described(words + len + 1, strlen(words + len + 1),
				command_table[i].brief, out);
		if (i + 1 == command_count ||
		    strncmp(command_table[i + 1].words, words, len + 1) != 0)
			fprintf(out, ") ;;\n");
	}
	fprintf(out, "\t\" \")\n\t\tnext=(");
	describe_first_words(out);
	fprintf(out, ") ;;\n\tesac\n"
		     "\tcase ${plain[1]-} in\n"
		     "\thelp) next=(");
	describe_first_words(out);
	fprintf(out, ") ;;\n"
		     "\tcompletion) next=(bash zsh) ;;\n"
		     "\tesac\n"
		     "\tif [[ $PREFIX == -* ]]; then\n"
		     "\t\topts+=(");
	describe_opts(args_global, out);
	fprintf(out,
		")\n"
		"\t\t_describe -o option opts\n"
		"\t\treturn\n"
		"\tfi\n"
		"\t[[ -n $names ]] && next=(${(f)\"$(hotfixctl $place completion names 2>/dev/null)\"})\n"
		"\t(($#next)) && _describe -t words word next\n"
		"\t[[ -n $files ]] && _files\n"
		"\treturn 0\n"
		"}\n"
		"if [[ ${zsh_eval_context[-1]-} == loadautofunc ]]; then\n"
		"\t_hotfixctl \"$@\"\n"
		"else\n"
		"\tcompdef _hotfixctl hotfixctl\n"
		"fi\n");
}

static int print_names(struct cli *c, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	const char *last = "";
	const json_t *v;
	size_t i;
	int r = client_get(c, &doc, f, "/v1/hotfixes");

	if (r < 0)
		return r;
	json_array_foreach(json_object_get(doc, "versions"), i, v) {
		const char *name = json_string_value(json_object_get(v, "name"));

		if (name && strcmp(name, last) != 0)
			puts(last = name);
	}
	return 0;
}

int command_run_completion(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	if (strcmp(args_at(a, 0), "bash") == 0) {
		command_completion_bash(stdout);
		return 0;
	}
	if (strcmp(args_at(a, 0), "zsh") == 0) {
		command_completion_zsh(stdout);
		return 0;
	}
	if (strcmp(args_at(a, 0), "names") == 0)
		return print_names(c, reterr_fail);
	return fail_set(reterr_fail, FAIL_USAGE, "completion is there for bash and zsh only");
}
