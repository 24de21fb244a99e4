#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# Who may sign for a host, and how that changes: roots one after the other, signatures of
# several people and from elsewhere, scopes, expiry.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	local key

	for key in a b c d; do
		"$bin/hotfixctl" key new --out "$T/$key" --no-passphrase >/dev/null || fail "no keys"
	done
}

# first OPTION...: root 1, whose release and root key is a unless options say otherwise
first() {
	expect 0 hotfixctl trust init --key "$T/a.pub" --out "$T/$instance/1" "$@"
	hotfixd
	expect 0 hotfixctl trust import "$T/$instance/1"
}

# rotate FROM TO OPTION...
rotate() {
	local from=$T/$instance/$1 to=$T/$instance/$2
	shift 2

	expect 0 hotfixctl trust rotate "$from" --out "$to" "$@"
}

import() {
	hotfixctl trust import "$T/$instance/$1"
}

# made NAME SERIAL OBJECT KEY...: a bundle of that name in $bundle, signed by the keys
made() {
	local name=$1 serial=$2 object=$3 key keys=()
	shift 3

	for key; do keys+=(--key "$T/$key.sec"); done
	bundle=$T/$instance/$name@$serial
	expect 0 hotfixctl pack --object "$foreign/$object.bpf.o" --name "$name" --serial "$serial" \
		"${keys[@]}" --out "$bundle"
}

root_version() {
	expect 0 hotfixctl trust show -j
	field "$1" .root.version
}

test_a_root_hands_over_to_new_keys() {
	use handover
	first
	rotate 1 2 --key "$T/b.pub" --root-key "$T/b.pub" --sign "$T/a.sec" "$T/b.sec"
	expect 0 import 2
	root_version 2
	json '[.chain[].version] | @csv' 1,2
	json '.chain[1].sha256 == .root.sha256' true
	expect 0 hotfixctl trust show
	says 'chain +1 ' ' 2 .*imported'
	made one 1 several a
	expect 4 hotfixctl import "$bundle"
	made two 1 several b
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "trust import" and .result == "done") | .subject] | @csv' \
		'"root@1","root@2"'
}

test_attack_23_only_the_next_root_signed_by_both_is_taken() {
	use refusing
	first
	rotate 1 2 --key "$T/b.pub" --root-key "$T/b.pub" --sign "$T/a.sec" "$T/b.sec"
	rotate 1 2-old --key "$T/b.pub" --root-key "$T/b.pub" --sign "$T/a.sec"
	says 'no host takes it yet'
	rotate 1 2-new --key "$T/b.pub" --root-key "$T/b.pub" --sign "$T/b.sec"
	rotate 1 2-none
	rotate 1 2-other --threshold 1 --expires 2099-01-01T00:00:00Z --sign "$T/a.sec"
	rotate 2 3 --sign "$T/b.sec"
	for refused in 2-old 2-new 2-none; do
		expect 4 import $refused
		says 'must sign|signed by'
	done
	expect 4 import 3
	says 'signed by|cannot follow'
	expect 0 import 2
	expect 4 import 1
	expect 4 import 2-other
	expect 0 import 2
	rotate 2 3-first --sign "$T/b.sec"
	rotate 2 3-second --expires 2099-01-01T00:00:00Z --sign "$T/b.sec"
	rotate 3 4 --sign "$T/b.sec"
	expect 4 import 4
	says 'version 4 cannot follow version 2' 'version 3 next'
	expect 0 import 3-first
	expect 4 import 3-second
	says 'two different roots of version 3'
	expect 4 import 2
	says 'older than version 3'
	root_version 3
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "trust import" and .result != "done") | .result] | unique | @csv' \
		'"bad_signature","downgrade","equivocation","policy"'
}

test_several_people_sign_one_after_the_other() {
	use several
	expect 0 hotfixctl trust init --key "$T/a.pub" "$T/b.pub" --threshold 2 --out "$T/several/1"
	hotfixd
	expect 0 import 1
	made one 1 several a
	expect 4 hotfixctl import "$bundle"
	expect 2 hotfixctl sign "$bundle"
	expect 0 hotfixctl sign "$bundle" --key "$T/b.sec" --out "$bundle-2"
	says '2 signatures'
	# One more, of whom nobody trusts.
	expect 0 hotfixctl sign "$bundle-2" --key "$T/c.sec" --out "$bundle-3"
	expect 0 hotfixctl import "$bundle-3"
	expect 0 hotfixctl show one -j
	json '.signed_by | length' 2
	expect 0 hotfixctl show one
	says "signed by +key $(hotfixctl -j show one | jq -r '.signed_by[0][:16]'), for serial 1"
	rotate 1 2 --threshold 1 --sign "$T/a.sec"
	expect 4 import 2
	expect 0 hotfixctl sign "$T/several/2" --key "$T/b.sec" --out "$T/several/2-both"
	expect 0 hotfixctl inspect "$T/several/2"
	expect 0 import 2-both
}

# An ordinary tool in place of a token: it sees nothing but the bytes.
test_a_signature_made_by_another_tool_is_attached() {
	use elsewhere
	cd "$T/elsewhere"
	openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null || skip 'openssl knows no ed25519'
	echo "hotfix-ed25519 $(openssl pkey -in key.pem -pubout -outform DER | tail -c 32 | base64) token" >token.pub
	expect 0 hotfixctl trust init --key token.pub --out 1
	hotfixd
	expect 0 import 1
	made one 1 several d
	expect 0 hotfixctl sign "$bundle" --export bytes
	openssl pkeyutl -sign -rawin -inkey key.pem -in bytes -out sig || fail 'openssl does not sign'
	expect 4 hotfixctl sign "$bundle" --attach sig --pub "$T/a.pub" --out signed
	expect 0 hotfixctl sign "$bundle" --attach sig --pub token.pub --out signed
	expect 0 hotfixctl import signed
	rotate 1 2 --key "$T/a.pub" --root-key "$T/a.pub" --sign "$T/a.sec"
	expect 0 hotfixctl sign 2 --export bytes2
	openssl pkeyutl -sign -rawin -inkey key.pem -in bytes2 -out sig2
	base64 -w 0 sig2 >sig2.txt
	expect 0 hotfixctl sign 2 --attach sig2.txt --pub token.pub --out 2-signed
	expect 0 import 2-signed
	root_version 2
}

test_a_key_signs_only_within_its_scopes() {
	use scoped
	first --key "$T/b.pub" --scope "$T/b.pub:tcp-*:struct_ops"
	made tcp-one 1 cc_reno b
	expect 0 hotfixctl import "$bundle"
	made one 1 cc_reno b
	expect 4 hotfixctl import "$bundle"
	says 'may sign one'
	made tcp-two 1 several b
	expect 4 hotfixctl import "$bundle"
	expect 4 hotfixctl verify "$bundle" --root "$T/scoped/1"
	made two 1 several a
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl trust show
	says 'only tcp-\*, hooks struct_ops'
	rotate 1 2-kept --sign "$T/a.sec"
	expect 0 hotfixctl inspect "$T/scoped/2-kept"
	says 'only tcp-\*, hooks struct_ops'
	rotate 1 2-gone --key "$T/a.pub" --sign "$T/a.sec"
	expect 0 hotfixctl inspect "$T/scoped/2-gone"
	says_not 'only'
	expect 2 hotfixctl trust rotate "$T/scoped/1" --scope "$T/b.pub:tcp-*" --out "$T/scoped/none"
	expect 4 hotfixctl trust rotate "$T/scoped/1" --scope "$T/c.pub:*:*" --out "$T/scoped/none"
	says 'no release key'
	rotate 1 2 --scope "$T/b.pub:*:*" --sign "$T/a.sec"
	expect 0 import 2
	expect 0 hotfixctl import "$T/scoped/tcp-two@1"
}

test_attack_27_an_expired_root_stops_first_attaches_and_strips_nothing() {
	use expired
	one_cc_run_at_a_time
	first
	made one 1 cc_reno a
	expect 0 hotfixctl import "$bundle"
	made one 2 cc_reno a
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl apply one@1 --commit
	rotate 1 2 --expires 2020-01-01T00:00:00Z --sign "$T/a.sec"
	expect 0 import 2
	hotfix_is one live 1 1
	expect 0 hotfixctl status
	says 'warning: root 2 expired'
	hotfixctl doctor >"$out" 2>"$err" || : # 5 where something else is missing
	says 'root 2 expired'
	expect 4 hotfixctl apply one@2
	says 'the root expired'
	expect 0 hotfixctl disable one
	expect 0 hotfixctl enable one
	rotate 2 3 --expires never --sign "$T/a.sec"
	expect 0 import 3
	expect 0 hotfixctl status
	says_not warning
	expect 0 hotfixctl apply one@2 --commit
	expect 0 hotfixctl disable one
}

test_attack_24_what_a_new_root_does_not_allow_is_barred_and_what_runs_goes_on() {
	use barred
	one_cc_run_at_a_time
	first --root-key "$T/c.pub"
	made one 1 cc_reno a
	expect 0 hotfixctl import "$bundle"
	made one 2 cc_reno a
	expect 0 hotfixctl import "$bundle"
	made two 1 several a b
	expect 0 hotfixctl import "$bundle"
	made three 1 several a
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl apply one@1 --commit
	rotate 1 2 --key "$T/b.pub" --sign "$T/c.sec"
	expect 0 import 2
	expect 0 hotfixctl list -j
	json '[.versions[] | [.name, .serial, .state]] | @json' \
		'[["one",1,"barred"],["one",2,"barred"],["three",1,"barred"],["two",1,"stored"]]'
	hotfix_is one live 1 1
	says 'runs on, but may not be applied anew'
	expect 4 hotfixctl apply one@2
	expect 4 hotfixctl apply three
	# Signed anew by who is trusted now, it is the same version.
	expect 0 hotfixctl sign "$T/barred/one@2" --key "$T/b.sec" --out "$T/barred/again"
	expect 0 hotfixctl import "$T/barred/again"
	expect 0 hotfixctl apply one@2 --commit
	# Back would be to a version that nobody trusted signed.
	expect 9 hotfixctl rollback one
	expect 4 hotfixctl rollback one --to 1
	says 'signed by'
	rotate 2 3 --floor one@3 --sign "$T/c.sec"
	expect 0 import 3
	hotfix_is one live 2 2
	says 'below the floor 3'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "review") | .subject + " " + .result] | @csv' \
		'"one@1 barred","one@2 barred","three@1 barred","one@2 allowed","one@2 barred"'
	expect 0 hotfixctl disable one
}

# revoked FILE NAME@SERIAL OPTION...: made by key a, and imported
revoked() {
	local file=$T/$instance/$1
	shift

	expect 0 hotfixctl trust revoke "$@" --reason "stalls under loss" --key "$T/a.sec" --out "$file"
	expect 0 hotfixctl trust import "$file"
}

test_a_revocation_forbids_new_applies_or_takes_back_what_runs() {
	use revoking
	one_cc_run_at_a_time
	first --root-key "$T/c.pub"
	for serial in 1 2 3; do
		made one $serial cc_reno a
		expect 0 hotfixctl import "$bundle"
		expect 0 hotfixctl apply one@$serial --commit
	done
	made two 1 several a
	expect 0 hotfixctl import "$bundle"

	revoked soft one@3
	says 'no-new-apply of one, serials 3 to 3'
	expect 0 hotfixctl inspect "$T/revoking/soft"
	says 'stalls under loss'
	hotfix_is one live 3 3
	says 'revoked: stalls under loss'
	expect 0 hotfixctl disable one
	expect 0 hotfixctl enable one

	revoked hard one@2 --through 3 --force-rollback
	eventually idle one
	hotfix_is one live 1 1
	expect 0 hotfixctl history one -j
	json '.changes[0] | [.verb, .serial, .outcome] | @csv' '"rollback",1,"done"'
	expect 4 hotfixctl rollback one --to 2
	says 'one@2 is revoked'
	expect 4 hotfixctl apply one@3
	says 'one@3 is revoked'

	# Nothing to go back to: off.
	revoked all one@1 --force-rollback
	eventually idle one
	hotfix_is one disabled - 1
	says 'revoked: stalls under loss'
	expect 4 hotfixctl enable one
	serves

	# By stolen keys: they lose it with their place in the root.
	rotate 1 2 --key "$T/b.pub" --sign "$T/c.sec"
	expect 0 import 2
	expect 0 hotfixctl sign "$T/revoking/one@1" --key "$T/b.sec" --out "$T/revoking/again"
	expect 0 hotfixctl import "$T/revoking/again"
	expect 0 hotfixctl enable one
	hotfix_is one live 1 1
	expect 0 hotfixctl disable one
}

test_attack_27_only_the_release_threshold_revokes() {
	use unheard
	expect 0 hotfixctl trust init --key "$T/a.pub" "$T/b.pub" --threshold 2 --out "$T/unheard/1" \
		--scope "$T/b.pub:tcp-*:*"
	hotfixd
	expect 0 import 1
	expect 0 hotfixctl trust revoke tcp-one@1 --reason none --key "$T/a.sec" --out "$T/unheard/one"
	expect 4 import one
	says 'must sign'
	expect 0 hotfixctl sign "$T/unheard/one" --key "$T/b.sec" --out "$T/unheard/both"
	expect 0 import both
	expect 0 import both
	expect 0 hotfixctl trust revoke one@1 --reason none --key "$T/a.sec" "$T/b.sec" --out "$T/unheard/other"
	expect 4 import other
	says 'scopes fit one'
	# A root is no revocation, nor the other way round.
	expect 4 hotfixctl trust rotate "$T/unheard/both" --out "$T/unheard/2"
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "trust import" and .result == "bad_signature")] | length > 0' true
}

run_tests "$@"
