#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 900
#
# A host as a member of a fleet: what the words of a controller lead to here, and what they do not.
# The controller is tests/scenario/herald.c, which says what the test wants, also what no honest
# one would, and holds the director's key where a sentence says "stolen".

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

shopt -s extglob
herald=$PWD/$B/tests/scenario/herald
quick='{"trial":{"min_s":1,"default_s":1,"max_s":600},"health":{}}'

setup() {
	local key

	one_cc_run_at_a_time
	for key in release root director status thief; do
		"$bin/hotfixctl" key new --out "$T/$key" --no-passphrase >/dev/null || fail "no keys"
	done
	"$bin/hotfixctl" trust init --key "$T/release.pub" --root-key "$T/root.pub" --fleet shop \
		--director "$T/director.pub" --status-key "$T/status.pub" --out "$T/root" >"$T/keys.log" ||
		fail "no root: $(cat "$T/keys.log")"
	mkdir "$T/sealed"
	pack one 1 cc_reno "$quick"
	cp "$bundle" "$T/sealed/"
	pack one 2 cc_reno_v2 "$quick"
	cp "$bundle" "$T/sealed/"
	pack one 3 cc_reno "$quick"
	cp "$bundle" "$T/sealed/"
}

# controller: a herald for this instance, in $h; what it says at first is nothing
controller() {
	h=$T/$instance/herald
	mkdir -p "$h/bundles"
	for bundle in "$T"/sealed/*; do
		cp "$bundle" "$h/bundles/$(sha256sum "$bundle" | cut -d ' ' -f 1)"
	done
	expect 0 hotfixctl status -j
	host=$(jq -r .host_id "$out")
	generation=0
	words=()
	heralded
}

# heralded: it begins, or goes on under the same ports
heralded() {
	local fifo=$h/ready line

	rm -f "$fifo"
	mkfifo "$fifo"
	HERALD_HOST=$host "$herald" serve "$h" >"$fifo" 2>"$h/log" {cc_lock}>&- &
	herald_pid=$!
	read -r -t "$LIMIT" line <"$fifo" || fail "no herald: $(cat "$h/log")"
	read -r agents enroll token <<<"${line//[a-z]*([a-z])=/}"
}

silence() {
	kill -9 "$herald_pid"
	wait "$herald_pid" 2>/dev/null || :
}

# member [SETTING...]: this instance, trusting, and a member of the fleet of its own herald
member() {
	trusting
	controller
	stop TERM
	printf %s "$token" >"$T/$instance/token"
	chmod 644 "$T/$instance/token"
	{
		echo '[trial]'
		echo 'health_off = tcp_retrans_percent tcp_resets_per_s ns_per_call cpu_percent loop_stall_ms psi_cpu psi_io psi_memory'
		echo '[fleet]'
		echo "enroll = https://127.0.0.1:$enroll"
		echo "token_file = $T/$instance/token"
		echo 'zone = here'
		echo 'labels = role=web tier=1 rack=-17'
		[[ " $* " == *' min_interval='* ]] || echo 'min_interval = 0s'
		printf '%s\n' "$@"
	} >"$T/$instance/conf"
	hotfixd --config "$T/$instance/conf"
	eventually reported '.hotfixes'
}

# again [SIGNAL]: the daemon ends, and goes on
again() {
	stop "${1:-TERM}"
	hotfixd --config "$T/$instance/conf" || fail "hotfixd did not start: $(cat "$err")"
}

# word JSON-FIELDS [KEY]: one more word; serials, rollout and number of it are in the fields
word() {
	words+=("$("$herald" word "${2:-$T/director.sec}" \
		"{\"fleet\":\"shop\",\"host\":\"$host\",\"name\":\"one\",$1}" 2>"$err")") ||
		fail "no word: $(cat "$err")"
}

# say [FIELDS]: these words are all that the controller wants from now on
say() {
	generation=$((generation + 1))
	(
		IFS=,
		echo "{\"generation\":$generation,\"heartbeat_ms\":60000,${1:-}\"words\":[${words[*]}]}"
	) >"$h/new"
	mv "$h/new" "$h/desired"
	kill -HUP "$herald_pid"
}

# apply_word SERIAL FROM NUMBER ROLLOUT [FIELDS]
apply_word() {
	word "\"action\":\"apply\",\"to\":$1,\"from\":$2,\"word\":$3,\"rollout\":\"$4\",\"trial_ms\":1000,\"bundle\":\"$T/sealed/one@$1.hotfix\"${5:+,$5}"
}

back_word() { # back_word TO FROM NUMBER ROLLOUT [FIELDS] [KEY]
	word "\"action\":\"rollback\",\"to\":$1,\"from\":$2,\"word\":$3,\"rollout\":\"$4\"${5:+,$5}" "${6:-}"
}

# reported JQ-CONDITION: of the newest report
reported() {
	jq -e "$1" "$h/report" || { jq -c '.hotfixes, .health' "$h/report" && return 1; }
}

# becomes STATE [CODE] [NUMBER]: what the host says of its newest word
becomes() {
	eventually reported ".hotfixes.one | .state == \"$1\"${2:+ and .code == \"$2\"}${3:+ and .word == $3}"
}

# brought SERIAL FROM NUMBER ROLLOUT: by the fleet, and committed
brought() {
	words=()
	apply_word "$@"
	say
	becomes committed '' "$3"
}

settled() {
	eventually idle one
	expect 0 hotfixctl disable one
}

test_a_host_enrols_with_its_token_and_says_how_it_is() {
	use enrolled
	member
	reported ".boot_id == \"$(cat /proc/sys/kernel/random/boot_id)\"" || fail 'boot id'
	reported ".kernel == \"$(uname -r)\" and .arch == \"$(uname -m)\" and .zone == \"here\" and .labels == {role: \"web\", tier: \"1\"}" || fail 'labels'
	reported ".health.root == {version: 1, sha256: \"$(jq -r .root.sha256 < <(hotfixctl -j trust show))\"}" || fail 'root'
	reported '.audit.seq > 0 and (.audit.head | length == 64) and (.health | .oops >= 0 and .hold == false and .freeze == false)' || fail 'health'
	expect 0 hotfixctl status
	says "fleet: connected, controller https://127.0.0.1:$agents"
	expect 0 hotfixctl status -j
	json '.fleet | .state + .host' "connected$host"
	# Its token is used up; what it got for it is kept.
	rm "$T/enrolled/token"
	again
	eventually reported '.hotfixes'
	silence
	again
	expect 0 hotfixctl status
	says 'fleet: (connecting|waiting)'
	expect 0 hotfixctl status -j
	json '.fleet.certificate_ends | length' 24
}

test_a_host_that_cannot_enrol_says_why() {
	use stranger
	trusting
	printf '[fleet]\nenroll = https://127.0.0.1:1\ntoken_file = %s\n' "$T/stranger/none" >"$T/stranger/conf"
	again
	expect 0 hotfixctl status
	says "fleet: stranger, .*$T/stranger/none is not there"
	echo 'hfe1.nonsense' >"$T/stranger/none"
	again
	expect 0 hotfixctl status
	says 'fleet: off: .*token_file has is no enrolment token'
	# The loop is another user than who wrote it.
	chmod 600 "$T/stranger/none"
	again
	expect 0 hotfixctl status
	says 'fleet: off: .*token_file: .*Permission denied: for user'
	hotfixctl doctor >"$out" 2>"$err" || :
	says 'it is no member: .*Permission denied'
}

test_a_version_is_fetched_tried_and_committed_and_the_next_one_after_it() {
	use applied
	member
	apply_word 1 0 1 r1
	say
	becomes committed '' 1
	hotfix_is one live 1 1
	reported '.hotfixes.one | .committed == 1 and .live == 1 and .trial == 0 and .high_water == 1 and .rollout == "r1"' || fail "report: $(cat "$h/report")"
	# What happened on the way was told as well.
	jq -r '.hotfixes.one.state' "$h/reports" | grep -q trial || fail 'no word of the trial'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "fleet") | .detail.rollout + .result] | @csv' '"r1begun"'
	expect 0 hotfixctl history one
	says 'fleet r1|apply'
	words=()
	apply_word 2 1 2 r2
	say
	becomes committed '' 2
	hotfix_is one live 2 2
	# The same word again is the same word.
	say
	eventually reported ".hotfixes.one.rollout == \"r2\""
	expect 0 hotfixctl history one -j
	json '[.changes[] | select(.verb == "apply")] | length' 2
	# And back, as the director says.
	words=()
	back_word 1 2 3 r2
	say
	becomes rolled_back '' 3
	hotfix_is one live 1 1
	settled
}

test_a_trial_that_goes_on_says_what_it_waits_for() {
	use waiting
	member
	apply_word 1 0 1 r1 '"min_calls":1000000000'
	say
	becomes trial CALLS 1
	reported '.hotfixes.one.text == "waits for calls: 1000000000 are demanded"' || fail "$(jq -c .hotfixes "$h/report")"
	words=()
	word '"action":"end_trial","rollout":"r1","word":2'
	say
	becomes rolled_back MANUAL 2
	eventually idle one
}

# Longer than what is kept at a time, for nothing else would be lost.
test_what_has_come_of_a_bundle_is_not_fetched_again_after_a_restart() {
	local from

	use resumed
	member
	head -c 150000 /dev/urandom >"$T/resumed/pad"
	llvm-objcopy --add-section .pad="$T/resumed/pad" "$foreign/cc_reno.bpf.o" "$T/resumed/long.o"
	pack one 4 "$T/resumed/long.o" "$quick"
	mv "$bundle" "$T/sealed/"
	cp "$T/sealed/one@4.hotfix" "$h/bundles/$(sha256sum "$T/sealed/one@4.hotfix" | cut -d ' ' -f 1)"
	echo 100000 >"$h/stall"
	apply_word 4 0 1 r1
	say
	eventually part_is '>= 65536'
	stop KILL
	rm "$h/stall"
	hotfixd --config "$T/resumed/conf"
	becomes committed '' 1
	hotfix_is one live 4 4
	from=$(tail -n 1 "$h/ranges")
	[ "$from" -ge 65536 ] && [ "$from" -le 100000 ] || fail "asked for it from byte $from on"
	# Nothing of it stays, nor of one that nobody wants any more.
	part_is '= 0' || fail 'something is left of it'
	pack one 5 "$T/resumed/long.o" "$quick"
	cp "$bundle" "$T/sealed/"
	cp "$bundle" "$h/bundles/$(sha256sum "$bundle" | cut -d ' ' -f 1)"
	echo 100000 >"$h/stall"
	words=()
	apply_word 5 4 2 r2
	say
	eventually part_is '>= 65536'
	words=()
	say
	again
	eventually part_is '= 0'
	settled
}

# part_is CONDITION: so many bytes are kept of a bundle
part_is() {
	[ "$(sqlite3 "$state/state.db" "SELECT total(length(bytes)) $1 FROM part")" = 1 ]
}

test_what_is_held_or_frozen_here_waits_and_says_so() {
	use held
	member hold=one
	reported '.hotfixes.one.held == true' || fail 'not held'
	apply_word 1 0 1 r1
	say
	becomes staged HOLD 1
	sed -i '/^hold/d' "$T/held/conf"
	touch "$state/freeze"
	again
	eventually reported '.health.freeze == true'
	becomes staged FREEZE 1
	hotfix_is one stored - -
	expect 0 hotfixctl status
	says 'frozen here'
	rm "$state/freeze"
	becomes committed '' 1
	settled
	# Disabled by hand: no director brings it back.
	words=()
	apply_word 2 0 2 r2
	say
	becomes rejected POLICY 2
	hotfix_is one disabled - 1
	reported '.hotfixes.one | .held == true and .committed == 1' || fail 'not held'
}

test_between_two_versions_passes_the_interval() {
	use interval
	member min_interval=12s
	apply_word 1 0 1 r1
	say
	becomes committed '' 1
	words=()
	apply_word 2 1 2 r2
	say
	becomes staged INTERVAL 2
	becomes committed '' 2
	jq -c '.hotfixes.one | select(.rollout == "r2") | [.state, .code, .transient]' "$h/reports" | head -n 3 | grep -q '\["staged","INTERVAL",true\]' || fail "$(cat "$h/reports")"
	settled
}

test_a_word_that_is_withdrawn_does_not_begin_and_a_trial_can_be_ended() {
	use stalled
	member
	touch "$state/freeze"
	apply_word 1 0 1 r1
	say
	becomes staged FREEZE 1
	words=()
	word '"action":"withdraw","rollout":"r1","word":2'
	say
	becomes pending '' 2
	rm "$state/freeze"
	words=()
	apply_word 1 0 3 r1 '"trial_ms":500000'
	say
	becomes trial '' 3
	hotfix_is one trial 1 - 1
	words=()
	word '"action":"withdraw","rollout":"r1","word":4'
	say
	becomes trial '' 4
	words=()
	word '"action":"end_trial","rollout":"r1","word":5'
	say
	becomes rolled_back MANUAL 5
	eventually idle one
	hotfix_is one stored - -
}

test_a_trial_goes_on_over_a_restart_and_commits_without_any_controller() {
	use alone
	member
	apply_word 1 0 1 r1 '"trial_ms":4000'
	say
	becomes trial '' 1
	silence
	again KILL
	eventually committed_here 1
	# It is told when somebody listens again.
	heralded
	becomes committed '' 1
	settled
}

committed_here() {
	[ "$(hotfixctl status -j | jq -r '.hotfixes[] | select(.name == "one") | .committed_serial')" = "$1" ]
}

test_a_word_that_was_not_begun_waits_for_its_controller_after_a_restart() {
	use confirmed
	member
	touch "$state/freeze"
	apply_word 1 0 1 r1
	say
	becomes staged FREEZE 1
	silence
	stop KILL
	rm "$state/freeze"
	hotfixd --config "$T/confirmed/conf"
	serves
	hotfix_is one stored - -
	heralded
	becomes committed '' 1
	settled
}

test_roots_revocations_and_the_status_come_with_the_words() {
	use documents
	member
	expect 0 hotfixctl trust rotate "$T/root" --sign "$T/root.sec" --out "$h/root2"
	expect 0 hotfixctl trust rotate "$h/root2" --sign "$T/root.sec" --out "$h/root3"
	brought 1 0 1 r1
	expect 0 hotfixctl trust status "$T/sealed/one@1.hotfix" "$T/sealed/one@2.hotfix" --fleet shop --number 7 --valid 1d \
		--key "$T/status.sec" --out "$h/status"
	jq -n --rawfile a "$h/root2" --rawfile b "$h/root3" --rawfile s "$h/status" \
		'{roots: [$a, $b], catalog: $s, revocations: []}' >"$h/documents"
	words=()
	apply_word 2 1 2 r2
	say '"root":3,"catalog":7,'
	becomes committed '' 2
	expect 0 hotfixctl trust show -j
	json '.root.version' 3
	expect 0 hotfixctl trust revoke one@2 --key "$T/release.sec" --force-rollback --reason 'leaks' --out "$h/revocation"
	jq -n --rawfile r "$h/revocation" '{roots: [], catalog: null, revocations: [$r]}' >"$h/documents"
	words=()
	say '"root":3,"catalog":7,"revocation":1,'
	eventually committed_here 1
	settled
}

# ---- taking off a first version --------------------------------------------------------------

# stays CODE NUMBER REGEX: refused, and what ran runs
stays() {
	becomes rollback_failed "$1" "$2"
	reported ".hotfixes.one.text | test(\"$3\")" || fail "$(jq -c .hotfixes "$h/report")"
	hotfix_is one live 1 1
}

test_a_first_version_is_taken_off_by_the_rollout_that_brought_it() {
	use undone
	member
	brought 1 0 1 r1
	back_word 0 1 2 r1
	words=("${words[1]}")
	say
	becomes rolled_back '' 2
	eventually idle one
	hotfix_is one stored - -
	reported '.hotfixes.one | .committed == 0 and .live == 0' || fail "$(cat "$h/report")"
	# It may come again.
	again
	brought 1 0 3 r2
	hotfix_is one live 1 1
	expect 0 hotfixctl history one -j
	json '[.changes[] | select(.verb == "take_off")] | length' 1
	settled
}

test_attack_25_a_stolen_director_takes_off_nothing_that_was_there_before_him() {
	use stripped
	member undo_window=2s
	# What an operator brought.
	expect 0 hotfixctl import "$T/sealed/one@1.hotfix" "$T/sealed/one@2.hotfix"
	expect 0 hotfixctl apply one@1 --commit
	back_word 0 1 1 r1
	say
	stays POLICY 1 'did not come here by the rollout'
	# What another rollout brought, above another version.
	brought 2 1 2 r2
	words=()
	back_word 0 2 3 r2
	say
	becomes rollback_failed POLICY 3
	reported '.hotfixes.one.text | test("serial 1 of one was committed here before")' || fail "$(cat "$h/report")"
	hotfix_is one live 2 2
	words=()
	back_word 0 2 4 r3
	say
	becomes rollback_failed POLICY 4
	reported '.hotfixes.one.text | test("by the rollout")' || fail "$(cat "$h/report")"
	# A directive for nobody in particular cannot even be signed.
	expect 4 "$herald" word "$T/director.sec" '{"fleet":"shop","name":"one","action":"rollback","from":2,"to":0,"word":5,"rollout":"r2"}'
	settled
	expect 0 hotfixctl remove one
	# Too late.
	brought 3 0 6 r4
	sleep 2.1
	words=()
	back_word 0 3 7 r4
	say
	becomes rollback_failed POLICY 7
	reported '.hotfixes.one.text | test("undo_window")' || fail "$(cat "$h/report")"
	hotfix_is one live 3 3
	expect 0 hotfixctl audit --verify
	settled
}

test_attack_25_a_floor_of_the_root_keeps_what_a_director_would_take_off() {
	use floored
	member
	brought 1 0 1 r1
	expect 0 hotfixctl trust rotate "$T/root" --floor one@1 --sign "$T/root.sec" --out "$h/root2"
	expect 0 hotfixctl trust import "$h/root2"
	words=()
	back_word 0 1 2 r1
	say
	stays POLICY 2 'floor'
	settled
}

test_attack_25_a_stolen_controller_brings_in_no_code_and_no_older_serial() {
	use stolen
	member min_interval=1s
	# Without the director's key: words of its own.
	apply_word 1 0 1 r1
	words=("$(jq -c 'del(.directive)' <<<"${words[0]}")")
	say
	becomes rejected POLICY 1
	words=()
	word "\"action\":\"apply\",\"to\":1,\"from\":0,\"word\":2,\"rollout\":\"r1\",\"bundle\":\"$T/sealed/one@1.hotfix\"" "$T/thief.sec"
	say
	becomes rejected BAD_SIGNATURE 2
	# With it: a bundle that no release key signed.
	words=()
	jq -n '{}' >"$T/fields"
	expect 0 hotfixctl pack --object "$foreign/cc_reno_v2.bpf.o" --name one --serial 9 --manifest "$T/fields" --key "$T/thief.sec" --out "$T/one@9.hotfix"
	cp "$T/one@9.hotfix" "$h/bundles/$(sha256sum "$T/one@9.hotfix" | cut -d ' ' -f 1)"
	word "\"action\":\"apply\",\"to\":9,\"from\":0,\"word\":3,\"rollout\":\"r1\",\"bundle\":\"$T/one@9.hotfix\""
	say
	becomes rejected BAD_SIGNATURE 3
	hotfix_is_none
	# Other bytes than it named.
	words=()
	apply_word 3 0 4 r1
	cp "$T/one@9.hotfix" "$h/bundles/$(sha256sum "$T/sealed/one@3.hotfix" | cut -d ' ' -f 1)"
	say
	becomes rejected FETCH 4
	reported '.hotfixes.one.transient' || fail 'it would be over'
	hotfix_is_none
	brought 2 0 5 r2
	# Down, as if it were an apply.
	words=()
	apply_word 1 2 6 r3
	say
	becomes rejected DOWNGRADE 6
	hotfix_is one live 2 2
	settled
}

hotfix_is_none() {
	expect 0 hotfixctl status -j
	json '[.hotfixes[] | select(.live_serial or .committed_serial)] | length' 0
}

test_attack_12_words_with_the_directive_of_another_host_or_fleet_are_refused() {
	use others
	member
	host_kept=$host
	host=$(printf '0%.0s' $(seq 64))
	apply_word 1 0 1 r1
	host=$host_kept
	say
	becomes rejected POLICY 1
	reported '.hotfixes.one.text | test("for the host 0000")' || fail "$(cat "$h/report")"
	words=("$("$herald" word "$T/director.sec" "{\"fleet\":\"farm\",\"host\":\"$host\",\"name\":\"one\",\"action\":\"apply\",\"to\":1,\"from\":0,\"word\":2,\"rollout\":\"r1\",\"bundle\":\"$T/sealed/one@1.hotfix\"}")")
	say
	becomes rejected POLICY 2
	# For all hosts of the fleet: no word to one host.
	words=("$("$herald" word "$T/director.sec" "{\"fleet\":\"shop\",\"name\":\"one\",\"action\":\"apply\",\"to\":1,\"from\":0,\"word\":3,\"rollout\":\"r1\",\"bundle\":\"$T/sealed/one@1.hotfix\"}")")
	say
	becomes rejected POLICY 3
	# A word that says something else than its directive does.
	words=()
	apply_word 1 0 4 r1 '"said":{"rollout":"r2"}'
	say
	becomes rejected POLICY 4
	words=()
	apply_word 1 0 5 r1 '"valid_ms":1'
	say
	becomes rejected EXPIRED 5
	reported '.hotfixes.one.transient' || fail 'a new one would do'
	words=()
	apply_word 1 2 6 r1
	say
	becomes rejected POLICY 6
	hotfix_is_none
}

test_attack_11_a_word_that_comes_again_under_another_number_is_refused() {
	local first

	use replayed
	member
	apply_word 1 0 1 r1
	first=${words[0]}
	say
	becomes committed '' 1
	expect 0 hotfixctl disable one
	expect 0 hotfixctl remove one
	words=("$(jq -c '.word = 2' <<<"$first")")
	say
	becomes rejected REPLAYED 2
	hotfix_is_none
}

test_attack_13_an_old_status_that_a_controller_shows_is_not_taken() {
	use stale
	member
	brought 1 0 1 r1
	for n in 4 5; do
		expect 0 hotfixctl trust status "$T/sealed/one@1.hotfix" --fleet shop --number $n --valid 1d --key "$T/status.sec" --out "$h/status$n"
	done
	expect 0 hotfixctl trust import "$h/status5"
	jq -n --rawfile s "$h/status4" '{roots: [], catalog: $s, revocations: []}' >"$h/documents"
	words=()
	say '"catalog":6,'
	eventually grep -q 'fleet catalog not taken in.*older than version 5' "$log"
	expect 0 hotfixctl status -j
	hotfix_is one live 1 1
	settled
}

test_attack_15_a_bundle_that_the_status_does_not_name_under_its_serial_is_not_taken() {
	use mixed
	member
	pack one 1 several
	expect 0 hotfixctl trust status "$bundle" --fleet shop --number 1 --valid 1d --key "$T/status.sec" --out "$h/status"
	jq -n --rawfile s "$h/status" '{roots: [], catalog: $s, revocations: []}' >"$h/documents"
	apply_word 1 0 1 r1
	say '"catalog":1,'
	becomes rejected EQUIVOCATION 1
	hotfix_is_none
	expect 0 hotfixctl events
	says alarm
}

run_tests "$@"
