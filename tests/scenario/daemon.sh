#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# hotfixd itself: starting, refusing to start, who may do what, stopping; and a state
# directory that is read-only, full, damaged or of a later time.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
}

refuses() { # refuses STATUS REGEX...: to start, with these words
	local want=$1 rc=0
	shift

	hotfixd "${flags[@]}" || rc=$?
	same "$want" "$rc" "exit status of hotfixd"
	: >"$out"
	says "$@"
}
flags=()

# --- start and stop --------------------------------------------------------------------------

test_a_fresh_daemon_says_what_it_is_and_runs_nothing() {
	use fresh
	hotfixd
	expect 0 hotfixctl status -j
	json .schema_version 1
	json '.hotfixes | length' 0
	json .daemon.pid "$(daemon_pid)"
	json .daemon.state_dir "$state"
	json .kernel.release "$(uname -r)"
	json .kernel.btf "$([ -e /sys/kernel/btf/vmlinux ] && echo true || echo false)"
}

test_what_it_makes_is_for_itself_alone() {
	use modes
	hotfixd
	same 700 "$(stat -c %a "$state")" "mode of the state directory"
	same 600 "$(stat -c %a "$state/state.db")" "mode of the database"
	same 660 "$(stat -c %a "$sock")" "mode of the socket"
	same 700 "$(stat -c %a "$bpffs")" "mode of the folder in bpffs"
}

test_the_loop_runs_without_any_privilege() {
	local loop field
	use bare
	trusting
	expect 0 hotfixctl status -j
	json .daemon.user "$user"
	loop=$(jq .daemon.loop_pid "$out")
	for field in "Uid:$user" "Gid:$user" CapEff:0000000000000000 CapPrm:0000000000000000 \
		CapBnd:0000000000000000 CapAmb:0000000000000000 NoNewPrivs:1 Seccomp:2; do
		same "${field#*:}" "$(awk -v k="${field%%:*}:" '$1 == k { print $2 }' "/proc/$loop/status")" "$field"
	done
	same '' "$(awk '$1 == "Groups:" { print $2 }' "/proc/$loop/status")" groups
	same "$user" "$(stat -c %u "$state/state.db")" "owner of the database"
	same "$user" "$(stat -c %u "$bpffs")" "owner of the folder in bpffs"
	same 0 "$(stat -c %u "$state-trust/root")" "owner of the root of trust"
}

test_when_the_loop_dies_all_of_it_ends_and_the_other_way_round() {
	local loop
	use ends
	hotfixd
	loop=$(hotfixctl status -j | jq .daemon.loop_pid)
	kill -9 "$loop"
	"$act" wait "$((LIMIT * 1000))" "$(daemon_pid)" || fail "the parent outlived its loop"
	rm "$T/ends/pid"
	hotfixd
	loop=$(hotfixctl status -j | jq .daemon.loop_pid)
	kill -9 "$(daemon_pid)"
	"$act" wait "$((LIMIT * 1000))" "$loop" || fail "the loop outlived its parent"
	rm "$T/ends/pid"
	hotfixd
	serves
}

test_a_user_that_does_not_exist_is_refused_and_the_default_one_is_warned_of() {
	use nouser
	user=hotfixx
	refuses 2 'no such user' hotfixx
	getent passwd hotfix >/dev/null && return
	user=hotfix
	hotfixd
	grep -q 'there is no user hotfix' "$log" || fail "no warning: $(cat "$log")"
	expect 0 hotfixctl status -j
	json .daemon.user 0
}

test_what_root_had_before_is_given_to_the_user() {
	use given
	user=0
	trusting
	stored given 1 cc_reno
	stop TERM
	user=64242
	hotfixd
	same 64242 "$(stat -c %u "$state/state.db")" "owner of the database"
	same 64242 "$(stat -c %u "$state/host.key")" "owner of the host key"
	expect 0 hotfixctl audit --verify
	expect 0 hotfixctl list -j
	json '.versions | length' 1
	stored given 2 cc_reno_v2
}

test_sigterm_ends_it_cleanly_and_takes_the_socket_away() {
	use term
	hotfixd
	local pid
	pid=$(daemon_pid)
	kill -TERM "$pid"
	wait "$pid" || fail "exit status $?"
	[ ! -e "$sock" ] || fail "the socket is still there"
	grep -q stopping "$log" || fail "no line about stopping"
	expect 10 hotfixctl status
}

test_after_kill_9_it_starts_again_over_the_old_socket() {
	use killed
	hotfixd
	stop KILL
	[ -S "$sock" ] || fail "kill -9 should have left the socket"
	expect 10 hotfixctl status
	hotfixd
	expect 0 hotfixctl status
}

test_it_tells_the_service_manager_when_it_is_ready_and_when_it_stops() {
	use notify
	local told=$T/notify/told
	"$act" notified 60000 "$T/notify/notify" >"$told" &
	local listener=$!
	eventually test -S "$T/notify/notify"
	chmod 666 "$T/notify/notify"	# as the service manager's own
	export NOTIFY_SOCKET=$T/notify/notify
	hotfixd
	stop TERM
	wait "$listener"
	grep -q '^READY=1$' "$told" || fail "told: $(cat "$told")"
	grep -q '^STOPPING=1$' "$told" || fail "told: $(cat "$told")"
}

test_a_second_daemon_on_the_same_state_is_refused_and_the_first_serves_on() {
	local first
	use twice
	hotfixd
	first=$(daemon_pid)
	sock=$T/twice/other-sock
	refuses 9 "$first" state-dir
	sock=$T/twice/sock
	echo "$first" >"$T/twice/pid"
	serves
}

test_a_second_daemon_on_the_same_socket_is_refused_and_the_first_serves_on() {
	local first
	use twice
	hotfixd
	first=$(daemon_pid)
	state=$T/twice/other-state bpffs=$pins/other
	refuses 9 "$sock" socket
	echo "$first" >"$T/twice/pid"
	serves
}

test_a_second_daemon_on_the_same_bpffs_folder_is_refused_and_the_first_serves_on() {
	local first
	use twice
	hotfixd
	first=$(daemon_pid)
	state=$T/twice/other-state sock=$T/twice/other-sock
	refuses 9 "$bpffs" --bpffs
	[ ! -e "$state/state.db" ] || fail "a database was made"
	echo "$first" >"$T/twice/pid"
	sock=$T/twice/sock
	serves
	stop KILL
	hotfixd
	serves
}

test_a_folder_that_was_taken_away_is_made_and_held_again() {
	local first
	one_cc_run_at_a_time
	use away
	trusting
	first=$(daemon_pid)
	rmdir "$bpffs"
	stored away 1 cc_reno
	expect 0 hotfixctl apply away --commit
	expect 0 hotfixctl disable away
	state=$T/away/other-state sock=$T/away/other-sock
	refuses 9 "$bpffs" --bpffs
	echo "$first" >"$T/away/pid"
}

# clients N: so many connections are open
clients() { [ "$(find "/proc/$loop/fd" -lname 'socket:*' | wc -l)" = "$1" ]; }

test_who_goes_away_while_he_waits_is_forgotten_at_once() {
	local loop before path follower waiter
	one_cc_run_at_a_time
	use gone
	trusting
	stored gone 1 cc_reno
	loop=$(loop_pid)
	expect 0 hotfixctl -j apply gone --trial 600s
	path="/v1/changes/$("$act" field "$out" .id)?wait=600"
	before=$(find "/proc/$loop/fd" -lname 'socket:*' | wc -l)
	curl -sSN --unix-socket "$sock" 'http://hotfixd/v1/events?follow=1' >/dev/null &
	follower=$!
	curl -sS --unix-socket "$sock" "http://hotfixd$path" &
	waiter=$!
	eventually clients $((before + 2))
	kill "$follower" "$waiter"
	eventually clients "$before"
	expect 0 hotfixctl rollback gone
}

test_a_bpffs_folder_of_somebody_else_is_refused() {
	use foreign-folder
	mkdir "$bpffs"
	chown 4242 "$bpffs"
	refuses 11 "$bpffs" 'not ours alone' chown
	chown 0 "$bpffs"
	chmod 777 "$bpffs"
	refuses 11 "$bpffs" 'not ours alone'
	bpffs=$T/foreign-folder
	refuses 5 "$bpffs" 'not in a bpffs' mount
}

test_without_a_bpffs_it_starts_and_says_so() {
	use nobpffs
	bpffs=$T/nobpffs/none
	trusting
	grep -q 'not in a bpffs' "$log" || fail "not a word: $(cat "$log")"
	stored nobpffs 1 cc_reno
	expect 5 hotfixctl apply nobpffs --commit
	says 'not in a bpffs'
	serves
}

test_a_file_in_place_of_the_socket_is_left_alone() {
	use occupied
	echo precious >"$sock"
	refuses 9 "$sock"
	same precious "$(cat "$sock")"
}

# --- configuration ---------------------------------------------------------------------------

test_minus_n_checks_and_prints_the_configuration_and_starts_nothing() {
	use config
	printf '[trial]\nlease = 5s\n[access]\nadmin_group = daemon\n' >"$T/conf"
	expect 0 "$bin/hotfixd" -n --config "$T/conf" --state-dir "$state"
	says '^trial.lease = 5000ms$' '^access.admin_group = daemon$' "^daemon.state_dir = $state$"
	[ ! -e "$state" ] || fail "-n made a state directory"
}

test_flags_win_over_the_file_and_the_file_over_defaults() {
	printf '[daemon]\nsocket = /run/a.sock\nlog_level = error\n' >"$T/conf"
	expect 0 "$bin/hotfixd" -n --config "$T/conf" --socket /run/b.sock
	says '^daemon.socket = /run/b.sock$' '^daemon.log_level = error$' '^daemon.bpffs = /sys/fs/bpf/hotfix$'
}

test_flags_take_their_value_behind_a_blank_or_an_equals_sign() {
	expect 0 "$bin/hotfixd" -n --socket /one --state-dir=/two=2
	says 'daemon.socket = /one' 'daemon.state_dir = /two=2'
	expect 2 "$bin/hotfixd" -n --socket
	says '--socket needs a value'
	expect 0 "$bin/hotfixd" --version
	says '^hotfixd [0-9]'
}

test_a_bad_configuration_is_named_with_file_and_line() {
	local line

	for line in 'leese = 5s' 'lease = 5x' 'lease = 1ms' '= 5' 'lease'; do
		printf '[trial]\n%s\n' "$line" >"$T/conf"
		expect 2 "$bin/hotfixd" -n --config "$T/conf"
		says "$T/conf.*line 2"
	done
	printf '[trial]\nlease = 1ms\n' >"$T/conf"
	expect 2 "$bin/hotfixd" -n --config "$T/conf"
	says 'from 2 s to 10 min'
	expect 2 "$bin/hotfixd" -n --config "$T/no-such-file"
	says no-such-file
	expect 2 "$bin/hotfixd" -n --config "$T"
	says folder
	expect 2 "$bin/hotfixd" --no-such-flag
	says no-such-flag
	expect 2 "$bin/hotfixd" -n --socket "/$(printf '%0200d' 0)"
	says socket
}

# --- who may ------------------------------------------------------------------------------------

# as UID GID [GROUP...]: hotfixctl as somebody else.  The group hotfix is played by daemon (1),
# which every Debian has.
as() {
	local uid=$1 gid=$2
	shift 2
	setpriv --reuid "$uid" --regid "$gid" --clear-groups "$bin/hotfixctl" --socket "$sock" "$@"
}

as_member() {
	setpriv --reuid 4242 --regid 4242 --groups 1 "$bin/hotfixctl" --socket "$sock" "$@"
}

guarded() { # guarded [READERS]: a daemon whose admin group is daemon
	printf '[access]\nadmin_group = daemon\n%s\n' "${1:+readers = $1}" >"$T/conf"
	use guarded
	trusting --config "$T/conf"
}

test_a_group_that_does_not_exist_is_an_error_for_minus_n_and_a_warning_at_start() {
	local line
	use nogroup
	for line in 'admin_group = hotfixx' 'readers = hotfixx'; do
		printf '[access]\n%s\n' "$line" >"$T/conf"
		expect 2 "$bin/hotfixd" -n --config "$T/conf"
		says "$line" 'no such group'
	done
	printf '[access]\nreaders = all\n' >"$T/conf2"
	expect 0 "$bin/hotfixd" -n --config "$T/conf2"
	hotfixd --config "$T/conf"
	grep -q 'readers = hotfixx: there is no such group' "$log" || fail "no warning: $(cat "$log")"
}

test_parts_of_it_that_it_starts_itself_refuse_to_be_started_by_hand() {
	local words

	for words in worker guard "guard $bpffs x" probe 'probe exec' 'probe exec /bin/true'; do
		# shellcheck disable=SC2086	# words
		expect 2 "$bin/hotfixd" $words
		says "not by hand|$words|unknown"
	done
	expect 2 "$bin/hotfixd" worker 3</dev/null # whoever started the shell left it open
	says 'not by hand'
}

test_root_and_the_group_may_change_and_read() {
	guarded
	pack granted 1 cc_reno
	chmod 644 "$bundle"
	expect 0 as_member import "$bundle"
	expect 0 as_member status -j
	json '.hotfixes[0].name' granted
	expect 0 as 4242 1 remove granted
}

test_each_role_lets_its_holders_do_that_and_no_more() {
	printf '[access]\nadmin_group =\n[roles]\n%s\n' 'apply = nobody @daemon' 'commit = @bin' 'trust = @sys' >"$T/conf"
	use roles
	trusting --config "$T/conf"
	pack granted 1 cc_reno
	chmod 644 "$bundle" "$T/root"
	as 4242 1 import "$bundle" || fail "apply does not let import"
	expect 0 as 4242 1 status
	expect 11 as 4242 1 remove granted
	says 'uid 4242 lacks the role "commit"' "\[roles\] commit in $T/conf" '@bin'
	expect 11 as 4242 1 apply granted --commit
	says 'role "commit"'
	expect 11 as 4242 1 trust import "$T/root"
	says 'role "trust"' '@sys'
	expect 11 as 4242 2 import "$bundle"
	says 'role "apply"' 'nobody @daemon'
	expect 0 as 4242 3 trust import "$T/root"
	expect 11 as 4242 3 import "$bundle"
	expect 11 as 4242 4242 status
	says 'role "read"'
	expect 0 as 4242 2 remove granted
	expect 0 as 65534 65534 import "$bundle"
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.result == "permission") | .action] | unique | join(", ")' \
		'denied apply, denied commit, denied read, denied trust'
}

test_others_may_not_and_that_is_written_down() {
	guarded
	pack denied 1 cc_reno
	chmod 644 "$bundle"
	chmod 666 "$sock"	# even if the file mode let them in
	expect 11 as 4242 4242 status
	says 4242 daemon
	expect 11 as 4242 4242 import "$bundle"
	expect 0 hotfixctl list -j
	json '.versions | length' 0
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.result == "permission")] | length' 2
}

test_many_denied_requests_leave_one_row_a_minute() {
	local i
	guarded
	chmod 666 "$sock"
	for i in $(seq 20); do
		expect 11 as 4242 4242 status
	done
	expect 11 as 4343 4343 status
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "denied read") | .actor_uid] | join(" ")' '4242 4343'
	expect 0 hotfixctl audit --verify
}

test_a_refused_root_leaves_a_row() {
	use stranger
	trusting
	"$bin/hotfixctl" key new --out "$T/other" --no-passphrase >/dev/null
	"$bin/hotfixctl" trust init --key "$T/other.pub" --out "$T/other-root" >/dev/null
	expect 4 hotfixctl trust import "$T/other-root"
	expect 0 hotfixctl audit -j
	json '.rows[-1] | [.action, .subject, .result] | @csv' '"trust import","root","bad_signature"'
}

test_an_apply_that_policy_refuses_leaves_a_row() {
	use policy
	trusting
	stored elsewhere 1 cc_reno '{"kernels":{"ranges":[{"from":"99.1"}]}}'
	expect 5 hotfixctl apply elsewhere
	expect 5 hotfixctl apply elsewhere
	touch "$state/no-apply"
	stop TERM
	hotfixd
	expect 4 hotfixctl apply elsewhere
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "apply") | "\(.subject) \(.result)"] | join(", ")' \
		'elsewhere incompatible, elsewhere policy'
}

test_the_file_mode_alone_keeps_others_out() {
	guarded
	expect 11 as 4242 4242 status
}

test_readers_may_read_and_no_more() {
	guarded all
	expect 0 as 4242 4242 status -j
	expect 0 as 4242 4242 audit -j
	expect 11 as 4242 4242 disable anything
	expect 11 as 4242 4242 trust import "$T/root"
}

# --- no daemon ----------------------------------------------------------------------------------

test_without_a_daemon_every_command_says_so() {
	use absent
	for command in status list 'show x' history events audit 'trust show' 'apply x' 'commit x' \
		'rollback x' 'disable x' 'enable x' 'remove x'; do
		# shellcheck disable=SC2086	# words
		expect 10 hotfixctl $command
		says "$sock"
	done
}

test_a_socket_that_nobody_serves_counts_as_unreachable() {
	use stale
	hotfixd
	stop KILL
	expect 10 hotfixctl status
	expect 10 hotfixctl -j status
	same '' "$(cat "$out")" stdout
	jq -e '.error | .code == "unreachable" and .message != "" and .hint != ""' "$err" >/dev/null ||
		fail "no JSON error: $(cat "$err")"
}

# --- the state directory ---------------------------------------------------------------------

test_a_state_directory_that_cannot_be_made_is_named() {
	use unmakable
	mkdir -p "$T/unmakable/ro"
	mount -t tmpfs -o ro,size=4k none "$T/unmakable/ro"
	state=$T/unmakable/ro/state
	refuses 1 "$state" 'read-only'
}

test_a_read_only_state_directory_is_refused_at_start() {
	use readonly
	hotfixd
	stop TERM
	mount --bind "$state" "$state"
	mount -o remount,bind,ro "$state"
	refuses 1 "$state" 'read-only'
}

full_state() { # a state directory with very little room left
	mkdir -p "$state"
	mount -t tmpfs -o size=4m none "$state"
	trusting
	head -c 16m /dev/zero >"$state/filler" 2>/dev/null || :
}

test_a_full_disk_refuses_imports_with_the_reason_and_serves_reads() {
	use full
	full_state
	pack big 1 cc_reno
	expect 1 hotfixctl import "$bundle"
	says 'full|no space'
	serves
	expect 0 hotfixctl list -j
	json '.versions | length' 0
	rm "$state/filler"
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl list -j
	json '.versions | length' 1
}

test_a_damaged_database_is_refused_and_not_touched() {
	local sum
	use damaged
	trusting
	stored kept 1 cc_reno
	stop TERM
	# Pages in the middle, behind the header.
	dd if=/dev/urandom of="$state/state.db" bs=4096 seek=2 count=6 conv=notrunc 2>/dev/null
	rm -f "$state"/state.db-wal
	sum=$(sha256sum <"$state/state.db")
	refuses 1 state.db 'damaged'
	same "$sum" "$(sha256sum <"$state/state.db")" "the damaged file's sum"
}

test_a_database_that_is_none_is_refused() {
	use nodb
	mkdir -p "$state"
	echo "this is no database, and somebody may want it back" >"$state/state.db"
	refuses 1 state.db
	grep -q 'want it back' "$state/state.db" || fail "the file was changed"
}

test_the_database_of_another_program_is_refused() {
	use otherdb
	mkdir -p "$state"
	sqlite3 "$state/state.db" 'CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)'
	refuses 1 state.db
	same 1 "$(sqlite3 "$state/state.db" 'SELECT count(*) FROM theirs')"
}

test_a_newer_schema_is_refused_with_advice() {
	use newer
	hotfixd
	stop TERM
	sqlite3 "$state/state.db" 'PRAGMA user_version = 9999'
	refuses 1 'newer' 9999
}

test_what_was_stored_survives_a_restart_and_kill_9() {
	use durable
	trusting
	stored durable 1 cc_reno
	stored durable 2 cc_reno_v2
	stop KILL
	hotfixd
	expect 0 hotfixctl list -j
	json '[.versions[] | "\(.name)@\(.serial)"] | join(" ")' 'durable@1 durable@2'
	expect 0 hotfixctl audit --verify
	stop TERM
	hotfixd
	expect 0 hotfixctl list -j
	json '.versions | length' 2
}

test_attack_29_an_edited_audit_row_is_found() {
	use edited
	trusting
	stored edited 1 cc_reno
	expect 0 hotfixctl audit --verify
	stop TERM
	sqlite3 "$state/state.db" "$(audit_edit)"
	hotfixd
	expect 4 hotfixctl audit --verify
	says "row 2"
}

# Row 2 of the chain; triggers that forbid it are what an attacker would drop first.
audit_edit() {
	sqlite3 "$state/state.db" "SELECT 'DROP TRIGGER ' || name || ';' FROM sqlite_master
		WHERE type = 'trigger' AND tbl_name = 'audit'"
	echo "UPDATE audit SET action = 'edited' WHERE seq = 2;"
}

test_a_bundle_edited_in_the_database_is_not_applied() {
	use swapped
	trusting
	stored swapped 1 cc_reno
	stop TERM
	sqlite3 "$state/state.db" "SELECT writefile('$T/bytes', bytes) FROM bundle" >/dev/null
	flip "$T/bytes" $(($(stat -c %s "$T/bytes") - 100))
	sqlite3 "$state/state.db" "UPDATE bundle SET bytes = readfile('$T/bytes')"
	hotfixd
	expect 4 hotfixctl apply swapped --commit
	hotfix_is swapped stored - -
	serves
}

run_tests "$@"
