#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# The HTTP API as any client sees it: curl on the Unix socket.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
	stored one 1 cc_reno '{"title":"the first"}'
	stored one 2 cc_reno_v2 '{"title":"the second"}'
	stored two 7 several
}

answers() { # answers STATUS PATH [CURL-ARGUMENT...]
	local want=$1
	shift
	api "$@"
	same "$want" "$status" "HTTP status of $1 ($(head -c 300 "$out"))"
}

is_error() { # is_error CODE: the body says so in the form all errors have
	json '.error.code' "$1"
	json '.error | (.message | length > 0) and (.hint | type == "string")' true
}

post() { # post STATUS PATH JSON
	answers "$1" "$2" -X POST -H 'Content-Type: application/json' -d "$3"
}

test_status_names_daemon_kernel_and_hot_fixes() {
	answers 200 /status
	json '.schema_version' 1
	json '[.hotfixes[].name] | sort | join(" ")' 'one two'
	json '.hotfixes[] | select(.name == "one") | [.state, .committed_serial, .trial_serial, .live_serial] | @csv' \
		'"stored",,,'
	json '.kernel.release' "$(uname -r)"
	json '.daemon | has("pid") and has("version") and has("boot_id")' true
}

test_list_names_every_version() {
	answers 200 /hotfixes
	json '[.versions[] | "\(.name)@\(.serial) \(.title)"] | join(", ")' \
		'one@1 the first, one@2 the second, two@7 two'
	json '[.versions[] | (.digest | length) == 64 and (.object_sha256 | length) == 64] | all' true
	json '[.versions[].imported | test("^20..-..-..T.*Z$")] | all' true
}

test_show_has_versions_and_manifest() {
	answers 200 /hotfixes/one
	json .name one
	json '.versions | length' 2
	json .manifest.serial 2
	json '.manifest.hooks[0] | [.type, .target, .cc_name] | @csv' '"struct_ops","tcp_congestion_ops","fgn_reno"'
	answers 404 /hotfixes/three
	is_error not_found
}

test_history_knows_changes_and_changes_have_an_address() {
	local id

	answers 200 '/history?limit=10'
	json '.changes | type' array
	answers 404 '/history?name=nosuch'
	is_error not_found
	answers 400 '/history?limit=many'
	is_error usage
	answers 404 /changes/999999
	is_error not_found
	answers 400 /changes/x
	is_error usage
	answers 200 /hotfixes/one -X DELETE
	id=$(jq .change "$out")
	answers 200 "/changes/$id?wait=30"
	json '[.name, .verb, .outcome] | @csv' '"one","remove","done"'
	json 'has("log")' true
	answers 200 '/history?name=one'
	json '.changes[0].verb' remove
}

test_the_audit_log_is_there_and_holds() {
	answers 200 /audit
	json '.rows[0].action' 'host key'
	json '.rows[1].action' 'trust import'
	json '[.rows[].seq] == [range(1; (.rows | length) + 1)]' true
	answers 200 '/audit?after=1&limit=1'
	json '[.rows[].seq] | join(" ")' 2
	answers 200 /audit/verify
	json .ok true
	json '.head | length' 64
}

test_trust_shows_root_and_envelope() {
	answers 200 /trust
	json '.root.roles.release.threshold // .root.release.threshold' 1
	jq -r .envelope "$out" | tr -d '\n' >"$T/envelope"
	tr -d '\n' <"$T/root" | cmp - "$T/envelope" || fail "the envelope is not what was imported"
}

test_the_same_root_again_is_fine_another_is_refused() {
	answers 200 /trust -X POST --data-binary "@$T/root"
	"$bin/hotfixctl" key new --out "$T/stranger" --no-passphrase >/dev/null
	"$bin/hotfixctl" trust init --key "$T/stranger.pub" --out "$T/stranger-root" >/dev/null
	answers 422 /trust -X POST --data-binary "@$T/stranger-root"
	is_error bad_signature
	answers 422 /trust -X POST -d '{}'
	is_error bad_format
}

test_doctor_tells_about_the_host_a_stored_hot_fix_and_a_bundle() {
	answers 200 /doctor
	json '.host.kernel.release' "$(uname -r)"
	json '.hooks' null
	answers 200 '/doctor?name=two'
	json '.hooks | length' 4
	json '[.hooks[] | has("ok") and has("attach_as") and has("why")] | all' true
	json '.bundle | [.name, .serial, .fits] | @csv' '"two",7,true'
	pack three 1 cc_reno
	answers 200 /doctor -X POST --data-binary "@$bundle"
	json .bundle.name three
	answers 404 '/doctor?name=nosuch'
	is_error not_found
	answers 200 /hotfixes
	json '[.versions[] | select(.name == "three")] | length' 0
}

test_import_answers_what_was_stored_and_again_that_it_was() {
	pack imported 3 cc_reno
	answers 200 /bundles -X POST --data-binary "@$bundle"
	json '[.name, .serial, .already] | @csv' '"imported",3,false'
	answers 200 /bundles -X POST --data-binary "@$bundle"
	json .already true
	json .digest "$(sha256sum <"$bundle" | cut -d' ' -f1)"
}

test_attack_16_two_bundles_under_one_serial_are_an_equivocation() {
	pack twofold 1 cc_reno
	answers 200 /bundles -X POST --data-binary "@$bundle"
	pack twofold 1 cc_reno_v2
	answers 422 /bundles -X POST --data-binary "@$bundle"
	is_error equivocation
	answers 200 /hotfixes/twofold
	json '.versions | length' 1
	answers 200 /events
	grep -q '"kind":"alarm","code":"equivocation"' "$out" || fail "no alarm: $(cat "$out")"
}

test_events_are_one_json_document_a_line() {
	local follower line

	coproc EVENTS { exec curl -sSN --unix-socket "$sock" 'http://hotfixd/v1/events?follow=1&name=evented'; }
	follower=$EVENTS_PID line=${EVENTS[0]}
	pack evented 1 cc_reno
	answers 200 /bundles -X POST --data-binary "@$bundle"
	answers 200 /hotfixes/evented -X DELETE
	read -r -t "$LIMIT" -u "$line" line || fail "no event came"
	kill "$follower"
	jq -e '.hotfix == "evented" and .serial == null and .verb == "remove" and .kind == "change"' <<<"$line" >/dev/null ||
		fail "the event was $line"
}

test_an_answer_is_nothing_that_a_browser_would_run() {
	pack marked 1 cc_reno '{"title":"<script>alert(1)</script> & more"}'
	answers 200 /bundles -X POST --data-binary "@$bundle"
	answers 200 /hotfixes -D "$T/headers"
	! grep -q '[<>&]' "$out" || fail "markup: $(cat "$out")"
	json '.versions[] | select(.name == "marked") | .title' '<script>alert(1)</script> & more'
	grep -qi '^x-content-type-options: nosniff' "$T/headers" || fail "$(cat "$T/headers")"
}

test_a_title_is_no_formula_in_a_table() {
	stored formula 1 cc_reno '{"title":"=1+cmd|calc"}'
	expect 0 hotfixctl list
	says " '=1\\+cmd"
}

# --- bad requests ------------------------------------------------------------------------------

test_unknown_paths_and_methods_are_refused() {
	local path method

	for path in /nosuch /audit/verify/x /hotfixes/one/apply/x/y/z /changes; do
		answers 404 "$path"
		is_error not_found
	done
	answers 405 /hotfixes/one/apply
	is_error usage
	for method in POST PUT DELETE OPTIONS TRACE PATCH NOSUCH; do
		answers 405 /status -X $method -D "$T/headers"
		is_error usage
		grep -qi '^allow: GET' "$T/headers" || fail "$method: $(cat "$T/headers")"
	done
	answers 405 /status --head
	api /../../etc/passwd --path-as-is && same 404 "$status"
	serves
}

test_names_that_are_none_are_refused() {
	local name

	for name in UPPER under_score dot.dot %2e%2e a%2fb "$(printf '%065d' 0)" -dash 'semi;colon' 'q%27uote'; do
		post 400 "/hotfixes/$name/apply" '{}'
		is_error usage
	done
	post 404 /hotfixes/fine-but-not-there/apply '{}'
	is_error not_found
}

test_a_name_that_nobody_stored_is_not_found_whatever_was_asked_before() {
	post 404 /hotfixes/nobody/apply '{"serial":5}'
	post 404 /hotfixes/nobody/commit '{}'
	is_error not_found
	post 409 /hotfixes/two/commit '{}'
	is_error conflict
	answers 404 '/history?name=nobody'
	is_error not_found
}

test_numbers_that_no_row_can_have_are_refused() {
	answers 400 /changes/18446744073709551615
	is_error usage
	answers 400 /hotfixes/one/9223372036854775808 -X DELETE
	is_error usage
}

test_request_bodies_are_parsed_strictly() {
	local body

	for body in '{' '[]' '"x"' '{"commit":1}' '{"commit":true,"commit":false}' '{"nosuch":true}' '{} {}' \
		'{"trial_ms":-1}' '{"trial_ms":1e3}' '{"serial":0}' '{"serial":99999999999999999999}' \
		'{"serial":"1"}' $'{"commit":\x01}' '{"commit":true,}' "$(printf '[%.0s' $(seq 100))"; do
		post 400 /hotfixes/two/apply "$body"
		is_error usage
	done
	answers 200 /hotfixes/two
	json .live_serial null
	serves
}

test_a_body_larger_than_any_bundle_is_refused_unread() {
	timeout "$LIMIT" curl -sS --unix-socket "$sock" -o "$out" -w '%{http_code}' -X POST \
		-H 'Expect:' --data-binary "@/dev/null" -H 'Content-Length: 1073741824' \
		http://hotfixd/v1/bundles >"$T/code" 2>"$err" || :
	[ "$(cat "$T/code")" = 413 ] || [ "$(cat "$T/code")" = 000 ] || fail "got $(cat "$T/code")"
	serves
}

test_endless_headers_are_refused() {
	api /status -H "X-Long: $(printf '%020000d' 0)" || :
	[ "$status" -ge 400 ] || [ "$status" = 000 ] || fail "got $status"
	serves
}

test_a_client_that_goes_away_while_it_waits_harms_nobody() {
	timeout 1 curl -sS --unix-socket "$sock" 'http://hotfixd/v1/events?follow=1' >/dev/null 2>&1 || :
	timeout 0.2 curl -sS --unix-socket "$sock" http://hotfixd/v1/doctor >/dev/null 2>&1 || :
	serves
	answers 200 /doctor
}

test_many_idle_connections_do_not_keep_others_out() {
	local line

	coproc IDLE { exec "$act" idle 200 "$sock"; }
	read -r -t "$LIMIT" -u "${IDLE[0]}" line || fail "200 connections were not taken"
	same ready "$line"
	serves
	answers 200 /status
	kill "$IDLE_PID"
}

drip() { # drip TEXT: byte by byte, and on without an end
	printf '%s' "$1"
	while printf a; do sleep 0.1; done
}

test_a_request_that_drips_in_is_hung_up_on() {
	local begin head
	use drips
	printf '[access]\nrequest_deadline = 1s\n' >"$T/drips/conf"
	hotfixd --config "$T/drips/conf"
	head=$'POST /v1/bundles HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n'
	for begin in $'GET /v1/status HTTP/1.1\r\nX: ' "$head"; do
		drip "$begin" 2>/dev/null | timeout "$LIMIT" "$act" pour "$sock" >"$out" || fail "it may drip on"
	done
	# Who waits for an answer, or says nothing in between, is not meant.
	timeout 3 curl -sS --unix-socket "$sock" 'http://hotfixd/v1/events?follow=1' >"$out" 2>"$err" || same 124 $?
	{
		printf 'GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n' && sleep 2
		printf 'GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
	} | "$act" pour "$sock" >"$out"
	same 2 "$(grep -c '^HTTP/1.1 200' "$out")" "answers on one connection"
	serves
}

test_garbage_instead_of_http_is_survived() {
	head -c 100000 /dev/urandom | "$act" pour "$sock" >/dev/null || :
	printf 'GET / HTTP/9.9\r\n\r\n' | "$act" pour "$sock" >/dev/null || :
	printf '\0\0\0\0' | "$act" pour "$sock" >/dev/null || :
	serves
}

run_tests "$@"
