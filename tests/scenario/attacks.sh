#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 900
#
# What somebody tries who may write files, hand in documents, set the clock, or has stolen some of
# the keys. Each sentence begins with the row of the table of attacks (DESIGN.md); more of
# them are in bundle.sh, trust.sh, api.sh and daemon.sh, and rows of formats in tests/unit.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	local key

	one_cc_run_at_a_time
	for key in release root director status thief; do
		"$bin/hotfixctl" key new --out "$T/$key" --no-passphrase >/dev/null || fail "no keys"
	done
	"$bin/hotfixctl" trust init --key "$T/release.pub" --root-key "$T/root.pub" --fleet shop \
		--director "$T/director.pub" --status-key "$T/status.pub" --out "$T/root" >"$T/keys.log" ||
		fail "no root: $(cat "$T/keys.log")"
}

# changed FILE JQ-FILTER: a document with its envelope altered, in $altered
changed() {
	altered=$T/altered
	jq -c "$2" "$1" >"$altered"
}

# payload FILE JQ-FILTER: the same with its payload altered, and signatures as they were
payload() {
	local text

	text=$(jq -r .payload "$1" | base64 -d | jq -c "$2")
	altered=$T/altered
	jq -c --arg p "$(printf %s "$text" | base64 -w 0)" '.payload = $p' "$1" >"$altered"
}

le32() {
	printf '%b' "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) \
		$(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"
}

# resigned BUNDLE JQ-FILTER: the bundle with its envelope altered, in $altered
resigned() {
	local envelope

	envelope=$(od -An -tu4 -j 8 -N 4 "$1" | tr -d ' ')
	altered=$T/altered
	tail -c +17 "$1" | head -c "$envelope" | jq -c "$2" | tr -d '\n' >"$T/envelope"
	{
		head -c 8 "$1"
		le32 "$(stat -c %s "$T/envelope")"
		tail -c +13 "$1" | head -c 4
		cat "$T/envelope"
		tail -c +$((17 + envelope)) "$1"
	} >"$altered"
}

no_import() {
	expect 4 hotfixctl import "$altered"
	expect 0 hotfixctl list -j
	json '.versions | length' 0
}

# revocation_of NAME@SERIAL KEY
revocation_of() {
	rm -f "$T/revocation"
	expect 0 hotfixctl trust revoke "$1" --reason none --key "$T/$2.sec" --out "$T/revocation"
}

test_attack_2_without_signatures_nothing_is_taken() {
	use unsigned
	trusting
	pack one 1 several
	resigned "$bundle" '.signatures = []'
	no_import
	says_not 'internal'
	resigned "$bundle" 'del(.signatures)'
	no_import
	revocation_of one@1 release
	changed "$T/revocation" '.signatures = []'
	expect 4 hotfixctl trust import "$altered"
	use fresh
	hotfixd
	payload "$T/root" '.roles.release.threshold = 0'
	expect 4 hotfixctl trust import "$altered"
	says threshold
	expect 4 hotfixctl trust show
}

test_attack_4_one_signature_counts_once_however_it_is_listed() {
	use twice
	expect 0 hotfixctl trust init --key "$T/release.pub" "$T/root.pub" --threshold 2 --out "$T/two"
	hotfixd
	expect 0 hotfixctl trust import "$T/two"
	pack one 1 several
	resigned "$bundle" .
	no_import
	resigned "$bundle" '.signatures += .signatures'
	no_import
	resigned "$bundle" '.signatures += [.signatures[0] | del(.keyid)]'
	no_import
	resigned "$bundle" '.signatures += [.signatures[0] | .keyid = ("0" * 64)]'
	no_import
}

test_attack_5_a_signature_of_one_kind_of_document_is_worth_nothing_for_another() {
	local type

	use confused
	trusting
	revocation_of one@1 release
	for type in root manifest status directive checkpoint; do
		changed "$T/revocation" ".payloadType = \"application/vnd.hotfixd.$type+json\""
		expect 4 hotfixctl trust import "$altered"
	done
	pack one 1 several
	resigned "$bundle" '.payloadType = "application/vnd.hotfixd.revocation+json"'
	no_import
	# Nor does the director sign code, or revoke.
	resigned "$bundle" .
	expect 0 hotfixctl pack --object "$foreign/several.bpf.o" --name one --serial 1 \
		--key "$T/director.sec" --out "$T/by-director"
	altered=$T/by-director
	no_import
	revocation_of one@1 director
	expect 4 hotfixctl trust import "$T/revocation"
}

test_attack_6_documents_that_two_parsers_could_read_differently_are_refused() {
	local text deep

	use strict
	trusting
	revocation_of one@1 release
	text=$(cat "$T/revocation")
	deep=$(printf '[%.0s' $(seq 200))
	for text in "${text%\}},\"payloadType\":\"x\"}" "$text{}" "$text x" $'\xef\xbb\xbf'"$text" \
		"${text/\"payload\"/\"pay\\u0000load\"}" "${text%\}},\"more\":1}" "$deep" \
		"${text%\}},\"a\":1e400}" "${text/\{/\{\"a\":$'\xff'\",}" "" "[]" "1"; do
		printf %s "$text" >"$T/odd"
		expect 4 hotfixctl trust import "$T/odd"
	done
	truncate -s 100M "$T/odd"
	expect 4 hotfixctl trust import "$T/odd"
	serves
	expect 0 hotfixctl trust import "$T/revocation"
}

test_attack_7_keys_for_which_anybody_could_sign_are_refused() {
	local zero

	use weak
	hotfixd
	zero=$(head -c 32 /dev/zero | base64)
	echo "hotfix-ed25519 $zero none" >"$T/zero.pub"
	expect 4 hotfixctl trust init --key "$T/zero.pub" --out "$T/weak/root"
	payload "$T/root" ".roles.release.keys += [\"$zero\"]"
	expect 4 hotfixctl trust import "$altered"
	says 'small order'
}

test_attack_9_a_mark_and_a_bundle_changed_in_the_database_are_found_at_start() {
	use edited
	trusting
	stored one 1 cc_reno
	stored one 2 cc_reno_v2
	stored two 1 several
	expect 0 hotfixctl apply one@2 --commit
	expect 0 hotfixctl disable one
	stop TERM
	sqlite3 "$state/state.db" 'DROP TRIGGER hotfix_high_water;
		UPDATE hotfix SET committed_serial = 1, high_water = 1;
		UPDATE bundle SET bytes = zeroblob(length(bytes)) WHERE id = 3'
	hotfixd
	expect 0 hotfixctl list -j
	json '[.versions[] | [.name, .state]] | @json' '[["one","stored"],["one","stored"],["two","barred"]]'
	says 'changed by hand'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.result == "barred" or .result == "raised") | .subject] | @csv' '"two@1","one"'
	expect 0 hotfixctl enable one
	expect 0 hotfixctl disable one
	# Removed and stored anew, serial 1 is still older than what ran here.
	expect 4 hotfixctl apply one@1
	says 'older than serial 2'
	expect 4 hotfixctl apply two
}

test_attack_10_an_older_serial_is_not_applied() {
	use older
	trusting
	stored one 1 cc_reno
	stored one 2 cc_reno_v2
	expect 0 hotfixctl apply one@2 --commit
	expect 4 hotfixctl apply one@1
	says 'downgrade|older than serial 2'
	expect 4 hotfixctl rollback one --to 1
	says 'never committed'
	expect 0 hotfixctl disable one
	expect 0 hotfixctl remove one
	stored one 1 cc_reno
	expect 4 hotfixctl apply one@1
	says 'older than serial 2'
}

# directed NAME@TO FROM OPTION...: a directive in $T/NAME-directive
directed() {
	local what=$1 from=$2
	shift 2

	directive=$T/directive
	rm -f "$directive"
	expect 0 hotfixctl trust direct "$what" --from "$from" --fleet shop --key "$T/director.sec" \
		--out "$directive" "$@"
}

# no_rollback REGEX...
no_rollback() {
	expect 4 hotfixctl rollback one --directive "$directive"
	says "$@"
	hotfix_is one live 2 2
}

test_attack_11_a_directive_is_carried_out_once_in_time_and_from_where_it_says() {
	use directed
	trusting
	stored one 1 cc_reno '{"trial":{"min_s":1,"default_s":600,"max_s":600},"health":{}}'
	stored one 2 cc_reno_v2
	expect 0 hotfixctl apply one@2 --commit
	directed one@1 3
	no_rollback 'from serial 3, but 2'
	directed one@1 2 --valid 1ms
	no_rollback 'expired'
	directed one@1 2
	rm -f "$T/thief-directive"
	payload "$directive" '.reason = "later"'
	directive=$altered
	no_rollback 'altered'
	expect 0 hotfixctl trust direct one@1 --from 2 --fleet shop --key "$T/thief.sec" --out "$T/thief-directive"
	directive=$T/thief-directive
	no_rollback 'signed by'
	directed one@1 2
	expect 0 hotfixctl inspect "$directive"
	says 'action +rollback'
	cp "$directive" "$T/replayed"
	# To a version that never ran here, which no operator could ask for; so it is on trial.
	expect 0 hotfixctl rollback one --directive "$directive"
	hotfix_is one trial 1 2 1
	expect 0 hotfixctl commit one
	expect 0 hotfixctl apply one@2 --commit
	stop KILL
	hotfixd
	hotfix_is one live 2 2
	directive=$T/replayed
	no_rollback 'carried out before'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "directive") | .result] | unique | @csv' '"bad_signature","expired","policy"'
	expect 0 hotfixctl disable one
}

test_attack_12_a_directive_for_others_is_not_for_this_host() {
	local id

	use others
	mkdir -p "$state"
	printf '[fleet]\ngroups = web berlin\n' >"$T/others/conf"
	trusting --config "$T/others/conf"
	stored one 1 cc_reno
	stored one 2 cc_reno_v2
	expect 0 hotfixctl apply one@1 --commit
	expect 0 hotfixctl apply one@2 --commit
	directed one@1 2 --host "$(printf '0%.0s' $(seq 64))"
	no_rollback 'for the host 0000'
	directed one@1 2 --group we
	no_rollback 'group we'
	expect 0 hotfixctl trust direct one@1 --from 2 --fleet farm --key "$T/director.sec" --out "$T/farm"
	directive=$T/farm
	no_rollback 'fleet farm'
	expect 0 hotfixctl trust direct two@1 --from 2 --fleet shop --key "$T/director.sec" --out "$T/two-directive"
	directive=$T/two-directive
	no_rollback 'about two'
	directed one@1 2 --group berlin
	expect 0 hotfixctl rollback one --directive "$directive"
	eventually idle one
	hotfix_is one live 1 1
	expect 0 hotfixctl apply one@2 --commit
	expect 0 hotfixctl status -j
	id=$(jq -r .host_id "$out")
	directed one@1 2 --host "$id"
	expect 0 hotfixctl rollback one --directive "$directive"
	eventually idle one
	hotfix_is one live 1 1
	expect 0 hotfixctl disable one
}

# status_of VERSION VALID BUNDLE...: signed, and maybe taken
status_of() {
	local version=$1 valid=$2
	shift 2

	rm -f "$T/status-doc"
	expect 0 hotfixctl trust status "$@" --fleet shop --number "$version" --valid "$valid" \
		--key "$T/status.sec" --out "$T/status-doc"
}

test_attack_13_an_old_status_of_the_fleet_is_refused_and_a_stale_one_warns() {
	use frozen
	trusting
	stored one 1 cc_reno
	expect 0 hotfixctl apply one --commit
	status_of 4 1d "$bundle"
	cp "$T/status-doc" "$T/status-4"
	status_of 5 1d "$bundle"
	expect 0 hotfixctl trust import "$T/status-doc"
	expect 0 hotfixctl trust import "$T/status-doc"
	expect 4 hotfixctl trust import "$T/status-4"
	says 'older than version 5'
	status_of 6 1ms "$bundle"
	expect 4 hotfixctl trust import "$T/status-doc"
	says 'expired'
	expect 0 hotfixctl status
	says_not warning
	# A day later.
	stop TERM
	sqlite3 "$state/state.db" "UPDATE clock SET trusted_ms = trusted_ms + 2 * 86400000"
	hotfixd
	hotfix_is one live 1 1
	expect 0 hotfixctl status
	says 'warning: the status 5 of the fleet shop is stale'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "status") | .result] | @csv' '"stale"'
	expect 0 hotfixctl events
	says stale
	expect 0 hotfixctl disable one
	expect 0 hotfixctl enable one
	expect 0 hotfixctl disable one
}

test_attack_14_a_clock_set_back_or_forward_extends_nothing_and_strips_nothing() {
	local day=86400000

	use clock
	trusting
	stored one 1 cc_reno
	expect 0 hotfixctl apply one --commit
	stored late 1 several '{"expires":"2031-01-01T00:00:00Z"}'
	# As if the host had seen 2032 before its clock was set back to now.
	stop TERM
	sqlite3 "$state/state.db" "UPDATE clock SET trusted_ms = 1956528000000"
	hotfixd
	hotfix_is one live 1 1
	expect 4 hotfixctl apply late
	says 'for the first time after 2031'
	stop KILL
	hotfixd
	expect 4 hotfixctl apply late
	hotfix_is one live 1 1
	# The way out of a time that ran ahead: the root keys say what year it is.
	expect 0 hotfixctl trust rotate "$T/root" --sign "$T/root.sec" --out "$T/clock/2"
	expect 0 hotfixctl trust import "$T/clock/2"
	hotfixctl apply late --dry-run >"$out" 2>"$err" || :
	hotfixctl apply late >"$out" 2>"$err" || :
	says_not 'first time'
	same 1 "$(sqlite3 "$state/state.db" "SELECT trusted_ms < 1956528000000 - $day FROM clock")" 'time put right: '
	eventually idle
	hotfixctl rollback late >"$out" 2>&1 || :
	hotfixctl disable late >"$out" 2>&1 || :
	expect 0 hotfixctl disable one
}

test_attack_16_other_contents_than_the_fleet_has_under_a_serial_raise_an_alarm() {
	use pinned
	trusting
	pack one 1 several
	cp "$bundle" "$T/elsewhere"
	# The same serial, signed by the same key, with other contents.
	stored one 1 cc_reno
	status_of 1 1d "$T/elsewhere"
	expect 0 hotfixctl trust import "$T/status-doc"
	expect 0 hotfixctl events
	says 'alarm' 'equivocation'
	expect 4 hotfixctl apply one
	says 'status of the fleet names'
	expect 0 hotfixctl list -j
	json '.versions[0].state' barred
	expect 0 hotfixctl remove one
	expect 4 hotfixctl import "$bundle"
	says 'status of the fleet names'
	expect 0 hotfixctl import "$T/elsewhere"
	# And two statuses of one version.
	status_of 1 2d "$T/elsewhere"
	expect 4 hotfixctl trust import "$T/status-doc"
	says 'signed two'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.result == "equivocation")] | length' 3
}

test_attack_17_serials_cannot_be_driven_to_their_end_and_a_root_brings_them_back() {
	use driven
	trusting
	stored one 5 cc_reno
	expect 0 hotfixctl apply one --commit
	pack one 9007199254740991 cc_reno
	expect 4 hotfixctl import "$bundle"
	says 'further above serial 5'
	# As far as a stolen key gets with one signature.
	stored one 4294967301 cc_reno_v2
	expect 0 hotfixctl apply one --commit
	stored one 6 cc_reno
	expect 4 hotfixctl apply one@6
	says 'older than'
	expect 2 hotfixctl trust rotate "$T/root" --reset one --sign "$T/root.sec" --out "$T/driven/2"
	expect 0 hotfixctl trust rotate "$T/root" --floor one@6 --reset one --sign "$T/root.sec" --out "$T/driven/2"
	expect 0 hotfixctl trust import "$T/driven/2"
	hotfix_is one live 4294967301 4294967301
	expect 0 hotfixctl apply one@6 --commit
	hotfix_is one live 6 6
	stop TERM
	hotfixd
	hotfix_is one live 6 6
	stored one 7 cc_reno_v2
	expect 0 hotfixctl apply one@7 --commit
	expect 4 hotfixctl apply one@6
	# A root after that resets no more.
	expect 0 hotfixctl trust rotate "$T/driven/2" --sign "$T/root.sec" --out "$T/driven/3"
	expect 0 hotfixctl inspect "$T/driven/3"
	says_not reset
	expect 0 hotfixctl disable one
}

test_attack_29_a_log_that_was_cut_off_or_made_anew_differs_from_the_head_saved_before() {
	use cut
	trusting
	stored one 1 several
	stored two 1 several
	expect 0 hotfixctl audit --save-head "$T/cut/head"
	says 'host key'
	stored three 1 several
	expect 0 hotfixctl audit --verify --head "$T/cut/head"
	expect 0 hotfixctl audit --lines
	same "$(wc -l <"$out")" "$(jq -s '.[-1].seq' "$out")" 'lines: '
	same 600 "$(stat -c %a "$state/host.key")" 'mode of the host key: '
	stop KILL
	cp "$state/state.db" "$T/cut/whole"
	[ ! -e "$state/state.db-wal" ] || sqlite3 "$state/state.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	# Cut with care: the chain holds in itself, and so does what was signed of it.
	sqlite3 "$state/state.db" "$(sqlite3 "$state/state.db" "SELECT 'DROP TRIGGER ' || name || ';'
		FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('audit', 'checkpoint')")
		DELETE FROM audit WHERE seq > 3; DELETE FROM checkpoint WHERE seq > 3;
		UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'"
	hotfixd
	expect 0 hotfixctl audit --verify
	expect 4 hotfixctl audit --verify --head "$T/cut/head"
	says 'cut off|another one'
	# Made anew, with a key of its own.
	stop TERM
	rm -rf "$state"
	trusting
	stored one 1 several
	stored two 1 several
	stored three 1 several
	expect 4 hotfixctl audit --verify --head "$T/cut/head"
	says 'signed by'
}

test_attack_29_what_the_host_key_signed_of_the_log_cannot_be_made_anew_without_it() {
	use forged
	trusting
	stored one 1 several
	stop TERM
	sqlite3 "$state/state.db" "DROP TRIGGER checkpoint_no_update;
		UPDATE checkpoint SET envelope = (SELECT envelope FROM checkpoint ORDER BY seq LIMIT 1)"
	hotfixd
	expect 4 hotfixctl audit --verify
	says 'not what the host key signed'
}

# A journal of our own, in a mount namespace of the daemon's own.
test_attack_29_the_journal_has_a_copy_of_each_row_with_its_fields() {
	use journal
	mkdir "$T/journal/socket.d" "$T/journal/bin"
	cat >"$T/journal/bin/hotfixd" <<-END
		#!/bin/sh
		mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal &&
			mount --bind "$T/journal/socket.d" /run/systemd/journal && exec "$bin/hotfixd" "\$@"
	END
	ln -s "$bin/hotfixctl" "$T/journal/bin/"
	cat >"$T/journal/bin/in-namespace" <<-END
		#!/bin/sh
		exec unshare -m --propagation private "$T/journal/bin/hotfixd" "\$@"
	END
	chmod +x "$T/journal/bin/"*
	unshare -m true 2>/dev/null || skip 'no mount namespaces here'
	"$act" notified 60000 "$T/journal/socket.d/socket" >"$T/journal/rows" &
	eventually test -S "$T/journal/socket.d/socket"
	chmod 666 "$T/journal/socket.d/socket"	# as the journal's own: the loop is not root
	mkdir "$T/journal/b2"
	ln -s "$T/journal/bin/in-namespace" "$T/journal/b2/hotfixd"
	bin=$T/journal/b2 hotfixd
	expect 0 hotfixctl trust import "$T/root"
	eventually grep -q '^HOTFIXD_SUBJECT=root@1$' "$T/journal/rows"
	grep -q '^HOTFIXD_ACTION=trust import$' "$T/journal/rows" || fail "$(cat "$T/journal/rows")"
	grep -qE '^HOTFIXD_HASH=[0-9a-f]{64}$' "$T/journal/rows" || fail "$(cat "$T/journal/rows")"
	grep -q '^MESSAGE=audit: trust import root@1: done$' "$T/journal/rows" || fail "$(cat "$T/journal/rows")"
}

test_attack_30_signed_text_moves_no_terminal() {
	use terminal
	trusting
	expect 4 hotfixctl pack --object "$foreign/several.bpf.o" --name one --serial 1 \
		--title "$(printf 'a\033[2Jb')" --key "$T/release.sec" --out "$T/terminal/one"
	expect 4 hotfixctl trust revoke one@1 --reason "$(printf 'a\033]0;x\007')" --key "$T/release.sec" \
		--out "$T/terminal/revocation"
	stored one 1 several
	expect 3 hotfixctl rollback one --reason "$(printf 'a\033[2Jb')"
	expect 0 hotfixctl audit
	! grep -q $'\033' "$out" || fail "an escape sequence came through"
}

test_attack_31_names_are_neither_paths_nor_sql() {
	local name

	use names
	trusting
	for name in ../../etc/x 'a/b' "a'b" 'a;DROP TABLE audit' '' . A 'a b'; do
		jq -n --arg name "$name" '{format: 1, name: $name, serial: 1, hooks: [{type: "fentry",
			target: "security_task_getpgid", program: "open_part"}]}' >"$T/manifest"
		! "$forge" "$T/manifest" "$foreign/several.bpf.o" "$T/release.sec" "$T/odd.hotfix" >"$out" 2>&1 ||
			fail "\"$name\" was signed"
		api "/hotfixes/$(printf %s "$name" | jq -sRr @uri)/apply" -X POST
		[ "$status" -ge 400 ] || fail "\"$name\" was answered $status"
	done
	expect 0 hotfixctl audit --verify
	expect 0 hotfixctl list -j
	json '.versions | length' 0
}

test_attack_40_nothing_forces_past_a_signature_or_a_floor() {
	use force
	trusting
	expect 0 hotfixctl pack --object "$foreign/several.bpf.o" --name one --serial 1 \
		--key "$T/thief.sec" --out "$T/force/one"
	for option in --force -f --no-verify --unsigned; do
		expect 2 hotfixctl import $option "$T/force/one"
		expect 2 hotfixctl apply $option one
	done
	expect 4 hotfixctl import "$T/force/one"
	api '/bundles?force=1&unsigned=1' -X POST --data-binary "@$T/force/one"
	same 422 "$status"
	stored two 1 several
	expect 0 hotfixctl trust rotate "$T/root" --floor two@2 --sign "$T/root.sec" --out "$T/force/2"
	expect 0 hotfixctl trust import "$T/force/2"
	expect 4 hotfixctl apply two --commit
	says 'below the floor 2'
	api /hotfixes/two/apply -X POST -H 'Content-Type: application/json' --data '{"commit":true,"force":true}'
	same 400 "$status"
}

test_passphrase_and_secret_key_are_in_no_core_no_argument_and_nowhere_in_the_state() {
	local pid secret phrase=correct-horse-battery

	use secrets
	trusting
	mkfifo "$T/secrets/phrase"
	"$bin/hotfixctl" key new --out "$T/secrets/k" --passphrase-fd 3 3<>"$T/secrets/phrase" >"$out" 2>&1 &
	pid=$!
	limited() { grep -qE 'core file size +0 +0' "/proc/$pid/limits"; }
	eventually limited
	kill "$pid"
	wait "$pid" || :
	echo "$phrase" >"$T/secrets/phrase.txt"
	expect 0 hotfixctl key new --out "$T/secrets/k" --passphrase-fd 3 3<"$T/secrets/phrase.txt"
	same 600 "$(stat -c %a "$T/secrets/k.sec")" 'mode of the secret key: '
	! grep -q "$phrase" "$T/secrets/k.sec" || fail "the passphrase is in the key file"
	secret=$(jq -r .secret "$T/release.sec")
	stored one 1 several
	stop TERM
	! grep -rqF -e "$secret" -e "$phrase" "$state" "$log" || fail "a secret is in the state or the log"
}

run_tests "$@"
