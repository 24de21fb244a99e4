#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 400
#
# Controllers that are killed or cut off, requests that come twice, late or in another order, and a PostgreSQL
# that goes away or is replaced by its standby, in the middle of rollouts: others go on, nothing is
# lost, and no host is told two things. Every word that is ever stored is kept by a trigger, every
# word that a host ever hears by the simulator, and both are looked at in the end.

if [ -z "${PG_URL:-}" ]; then
	exec "$(dirname "$0")/../pg/run" -- bash "$0" "$@"
fi
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/fleet/lib.sh
. "$PWD/tests/fleet/lib.sh"

HOSTS=24
LATE=2 # who come later

lines_shown=100

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

# What can be seen when something does not come to pass: rollouts, their hosts that are not through by what
# controllers know and by what the hosts themselves do, the network, and what controllers said.
picture() {
	local name file pid hosts=$T/unfinished

	set +eE
	trap - ERR
	export PGCONNECT_TIMEOUT=5
	echo "rollouts: id, hot-fix, owner, its lease in ms, where it is, wave, clock, time of the last progress"
	timeout 10 psql -X -q -A -t -F ' ' -c "SELECT id, name, owner, lease_until_ms - hotfix_now_ms(), state::jsonb->>'state',
		state::jsonb->>'wave', state::jsonb->>'clock_ms', state::jsonb->>'progress_ms' FROM rollout WHERE active = 1"
	echo 'their hosts: host, hot-fix, where it is, wave, offline, its word, heard of ms ago, generation of words, seq of reports'
	timeout 10 psql -X -q -A -t -F ' ' -c "SELECT substr(h.host, 1, 8), h.name, h.state::jsonb->>'state', h.state::jsonb->>'wave',
		h.state::jsonb->>'offline', h.state::jsonb->>'word', hotfix_now_ms() - at_ms, desired.generation, seq FROM rollout_host h
		JOIN rollout ON rollout.id = rollout JOIN seen ON seen.host = h.host JOIN host ON host.id = h.host
		LEFT JOIN desired ON desired.host = h.host
		WHERE active = 1 AND h.state::jsonb->>'state' NOT IN ('committed', 'excluded') ORDER BY 2, 1" | tee "$hosts"
	kill -CONT "$sim_pid"
	echo 'by themselves:'
	cut -d " " -f 2 "$hosts" | sort -u | while read -r name; do
		echo "hosts $name" >&"$sim_in"
		read -r -t 10 answer <&"$sim_out"
		jq -r '.[]' <<<"$answer" | grep -F "$(grep -F " $name " "$hosts" | cut -d ' ' -f 1)" | sed "s/^/$name: /"
	done
	for file in "$T"/proxy-*.pid "$F"/*/pid; do
		pid=$(cat "$file") && echo "${file#"$T/"}: $(ps -o stat=,args= -p "$pid")"
	done
	for name in one two; do
		echo "what $name said:" && tail -n 15 "$F/$name/log"
	done
}

fail() {
	[ -z "${in_test:-}" ] || picture 2>&1
	printf '%s' "$*" >"$T/why"
	exit 1
}

# Each word, as a host could have been given it.
keep_words() {
	sql <<-'EOF'
		CREATE TABLE kept_word(n SERIAL, host TEXT, rollout TEXT, word BIGINT, action TEXT, body BYTEA);
		CREATE FUNCTION keep_word() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO kept_word(host, rollout, word, action, body) SELECT NEW.host, NEW.rollout,
				(doc->>'word')::bigint, doc->>'action', NEW.body FROM (SELECT convert_from(NEW.body, 'UTF8')::jsonb AS doc) d;
			RETURN NEW; END $$;
		CREATE TRIGGER keep_word AFTER INSERT OR UPDATE ON word FOR EACH ROW EXECUTE FUNCTION keep_word();
	EOF
}

# Words of a rollout to a host grow, one number is one word, and what went back does not come again.
words_agree() {
	local bad

	bad=$(sql -c "SELECT a.host, a.rollout, a.word, a.action, b.word, b.action FROM kept_word a JOIN kept_word b
		ON a.host = b.host AND a.rollout = b.rollout AND a.n < b.n
		WHERE a.word > b.word OR (a.word = b.word AND a.body <> b.body)
		OR (a.action IN ('rollback', 'end_trial') AND b.action = 'apply') LIMIT 5")
	[ -z "$bad" ] || fail "words contradict each other: $bad"
	hosts_agree "$F/journal"
}

# The same of what hosts heard, whoever told them; nor do two rollouts take turns at one hot-fix.
hosts_agree() {
	local bad

	[ -s "$F/journal" ] || fail 'no host has heard anything'
	bad=$(jq -c -s '[group_by([.host, .name])[] | . as $all | range(length) as $i | range($i) as $k |
		$all[$k] as $a | $all[$i] as $b | select($a.rollout == $b.rollout and ($a.word >= $b.word or
			($b.action == "apply" and ($a.action == "rollback" or $a.action == "end_trial")) or
			any($all[$k:$i][]; .rollout != $b.rollout))) | [$a, $b]][0] // empty' "$F/journal")
	[ -z "$bad" ] || fail "a host heard what contradicts itself: $bad"
}

# A wave is judged within one step, which is one transaction. So that a controller can be killed in it,
# that transaction waits as long as somebody holds the lock.
judging_waits() {
	sql <<-'EOF'
		CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF OLD.state::jsonb->>'state' = 'wave_baking' AND NEW.state::jsonb->>'state'
				IN ('wave_judging', 'wave_starting', 'wave_attaching', 'succeeded') THEN
				PERFORM pg_advisory_xact_lock(1);
			END IF;
			RETURN NEW; END $$;
		CREATE TRIGGER judge BEFORE UPDATE OF state ON rollout FOR EACH ROW EXECUTE FUNCTION judge();
	EOF
}

# judge ROLLOUT: its wave is being judged when this returns
judge() {
	PGAPPNAME=judge sql -c 'SELECT pg_advisory_lock(1)' -c 'SELECT pg_sleep(600)' >"$T/judge.log" 2>&1 &
	eventually sql_is "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
	fleet rollout promote "$1" >"$T/promote.log" 2>&1 & # who asks would wait as well
	eventually sql_is "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
	is "$1" wave_baking || fail "it is $(state "$1")"
}

# judged [lost]: that transaction goes on, as far as it came; or it is undone
judged() {
	[ -z "${1:-}" ] || sql -c "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
	sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'judge'"
}

# proxy NAME LISTEN TARGET: a stretch of network, which SIGSTOP interrupts
proxy() {
	"$B/tests/fleet/proxy" "$2" "$3" >"$T/proxy-$1" 2>&1 &
	echo $! >"$T/proxy-$1.pid"
	eventually grep -q port= "$T/proxy-$1"
}
by_proxy() { sed 's|port=|https://127.0.0.1:|' "$T/proxy-$1"; }
sever() { kill -STOP "$(cat "$T/proxy-$1.pid")"; }
mend() { kill -CONT "$(cat "$T/proxy-$1.pid")"; }

folder() { mkdir -p "$T/$1" && echo "$T/$1"; }

# start NAME: a controller, which reaches the database by a proxy of its own
start() {
	# shellcheck disable=SC2034 # it is for controller_start
	local database=$database
	[ -z "${LONG:-}" ] || database=${database/$PGHOST/$T/database-$1}
	controller_start "$1"
}

setup() {
	heartbeat=10s
	: >"$T/servers"
	fleet_new "${PG_URL/$PGHOST/$PGHOST,$T/standby}"
	sim_prepare $((HOSTS + LATE))
	for name in one two; do
		[ -z "${LONG:-}" ] || proxy database-$name "$(folder database-$name)/.s.PGSQL.$PGPORT" "$PGHOST/.s.PGSQL.$PGPORT"
		start $name
		[ -z "${LONG:-}" ] || proxy $name 0 "$(port_of $name agents)"
	done
	expect 0 fleet trust import "$F/root"
	keep_words
	judging_waits
	sim_start $HOSTS --journal "$F/journal" --backoff-max 2000 ${LONG:+--controllers "$(by_proxy one) $(by_proxy two)"}
	expect 0 fleet operator add approver --role approver --out "$F/approver.token"
	jq --arg token "$F/approver.token" '.contexts.sim |= (del(.cert, .key) | .token_file = $token)' "$F/contexts.json" >"$F/approver.json"
	for name in a b c d e f g h i j k l; do fleet_stock $name 1; done
	eventually sim_is ".reported == $HOSTS"
	cat >"$F/spec.json" <<-'EOF'
		{"canary": {"bake": "0s"}, "waves": [{"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "0s"}],
		"trial": "1s", "max_in_flight": "100%", "max_per_domain": "100%", "retries": 0, "dynamic": false}
	EOF
}

# begin NAME [JQ [OPTION...]]: a rollout, by the knobs of spec.json, changed by JQ; its id
begin() {
	jq "${2:-.}" "$F/spec.json" >"$F/$1.json"
	fleet -j rollout start "$1@1" --spec "$F/$1.json" "${@:3}" | jq -r .id
}

state() { sql -c "SELECT state::jsonb->>'state' FROM rollout WHERE id = '$1'"; }
is() { [ "$(state "$1")" = "$2" ]; }
owner() { sql -c "SELECT split_part(owner, '/', 1) FROM rollout WHERE id = '$1'"; }
owned_by() { [ "$(owner "$1")" = "$2" ]; }
noted() { [ "$(sql -c "SELECT count(*) FROM audit WHERE subject = '$1' AND action = '$2'")" -gt 0 ]; }
ask() { eventually fleet rollout "$@"; }
has_left() { sql_is "SELECT active = 0 OR split_part(owner, '/', 1) <> '$2' FROM rollout WHERE id = '$1'"; }

approve() { HOTFIXCTL_CONTEXTS=$F/approver.json timeout -k 5 "$LIMIT" "$bin/hotfixctl" --context sim rollout approve "$1"; }
came() { fleet host list -j | jq -e --arg kernel "$1" "[.hosts[] | select(.kernel == \$kernel)] | length == $LATE"; }

# A rollout in every state has one owner; it is killed, and then the one that followed it.
test_a_controller_that_is_killed_is_followed_by_another_in_every_state() {
	local -A at
	local state id first second

	controller_end two
	at[draft]=$(begin e . --draft)
	at[pending_approval]=$(begin f '.approvals = 1')
	at[wave_baking]=$(begin b) at[paused]=$(begin c) at[rolling_back]=$(begin d)
	at[wave_judging]=$(begin h '.pause_after = ["canary"] | .dynamic = true')
	first=$(begin i) second=$(begin j)
	for id in "${at[wave_baking]}" "${at[paused]}" "${at[rolling_back]}" "$first" "$second"; do
		eventually is "$id" wave_baking
	done
	ask pause "${at[paused]}"
	# Hosts that come while a gate is closed have their turn when the wave before was judged already.
	eventually is "${at[wave_judging]}" paused
	sim join $LATE 6.18.2-amd64
	eventually came 6.18.2-amd64
	sim slow a 1 2000
	at[wave_attaching]=$(begin a)
	eventually is "${at[wave_attaching]}" wave_attaching
	kill -STOP "$sim_pid" # so that nobody goes on
	ask promote "${at[wave_judging]}"
	ask abort "${at[rolling_back]}" --rollback=all
	at[scheduled]=$(begin g ".windows.allow = [{start: \"$(date -u -d '+25 seconds' +%Y-%m-%dT%H:%M:%S)\", duration: \"1h\"}]")
	start two
	for state in "${!at[@]}"; do eventually is "${at[$state]}" "$state"; done
	judge "$first"
	for state in "${!at[@]}"; do
		is "${at[$state]}" "$state" || fail "not $state any more: $(state "${at[$state]}")"
	done
	followed one "${at[@]}" "$first" "$second"
	is "${at[pending_approval]}" pending_approval || fail "not approved, and $(state "${at[pending_approval]}")"
	kill -CONT "$sim_pid"
	start one
	judge "$second"
	followed two "${at[@]}" "$first" "$second"
	start two

	eventually approve "${at[pending_approval]}"
	ask resume "${at[paused]}"
	for state in wave_baking paused wave_attaching wave_judging pending_approval scheduled; do
		eventually is "${at[$state]}" wave_baking
		ask promote "${at[$state]}"
	done
	for state in wave_baking paused wave_attaching wave_judging pending_approval scheduled; do
		eventually is "${at[$state]}" succeeded
	done
	for id in "$first" "$second"; do eventually is "$id" succeeded; done
	eventually is "${at[rolling_back]}" rolled_back
	is "${at[draft]}" draft || fail "the draft is $(state "${at[draft]}")"
	ask abort "${at[draft]}"
	eventually is "${at[draft]}" aborted
	for name in b c i j; do eventually sim_is ".committed[\"$name@1\"] == $HOSTS"; done
	for name in a f g h; do eventually sim_is ".committed[\"$name@1\"] == $HOSTS + $LATE"; done
	sim_is '(.committed["d@1"] // 0) == 0 and .refused == 0' || fail "$answer"
	words_agree
	expect 0 fleet audit --verify
}

# followed NAME ROLLOUT...: the first is killed while it judges a wave, and somebody else has all of them.
# What it had begun to write when one was killed goes on to its end, if it had come that far; of two it is lost.
followed() {
	local id

	for id in "${@:2}"; do owned_by "$id" "$1" || fail "$id is owned by $(owner "$id")"; done
	controller_end "$1" KILL
	judged "$([ "$1" = one ] || echo lost)"
	for id in "${@:2}"; do eventually has_left "$id" "$1"; done
}

# On top of TCP: a proxy that sends again, a controller that is slow, an answer that is lost with its
# connection. What a host said once more, or later than what came after it, is not news.
test_requests_that_come_twice_late_in_another_order_or_never_change_nothing() {
	local good bad

	sim trouble late 15 400
	sim trouble lost 3 200
	sim trouble mute 7 0
	sim trouble twice 20 0
	sim trouble stale 40 1500
	sim unhealthy l 1 60
	good=$(begin k '.waves[0].bake = "0s"')
	bad=$(begin l '.waves[0].bake = "0s" | .on_failure = "rollback_all" | .canary.failure_threshold = 0')
	eventually is "$good" succeeded
	eventually is "$bad" rolled_back
	eventually sim_is ".committed[\"k@1\"] == $HOSTS + $LATE"
	eventually sim_is '(.committed["l@1"] // 0) == 0 and (.states["l trial"] // 0) == 0'
	sim_is '.refused == 0 and ([.troubles[] | . > 0] | all)' || fail "$answer"
	# The last that each host says is what counts, whatever is still on its way.
	for kind in late lost mute twice stale; do sim trouble $kind 0 0; done
	eventually sql_is "SELECT bool_and((hotfixes::jsonb->'k'->>'committed')::int = 1) FROM host"
	words_agree
}

# middle NAME SERIAL: a rollout of it, in the middle of its first large wave: some have begun; id
middle() {
	sim slow "$1" "$2" 2000
	fleet_stock "$1" "$2"
	id=$(fleet -j rollout start "$1@$2" --spec "$F/spec.json" | jq -r .id)
	eventually sql_is "SELECT count(*) > 0 FROM rollout_host h JOIN rollout r ON r.id = h.rollout
		WHERE r.id = '$id' AND r.state::jsonb->>'state' = 'wave_attaching' AND h.state::jsonb->>'wave' = '1'
		AND h.state::jsonb->>'state' IN ('preflight', 'applying', 'trial')"
}

goes_on() {
	eventually noted "$id" ENGINE_LOST
	eventually noted "$id" RESUMED
	comes_to_its_end "$1" "$2"
}

comes_to_its_end() {
	eventually is "$id" wave_baking
	ask promote "$id"
	eventually is "$id" succeeded
	eventually sim_is ".committed[\"$1@$2\"] == .started and .refused == 0"
	words_agree
	expect 0 fleet audit --verify
}

# Half of the hosts cannot be heard for longer than a controller waits for them. What they said
# meanwhile arrives in the end, and by then they have said something else by another way.
test_hosts_that_are_cut_off_in_the_middle_of_a_wave_come_back() {
	local id cut_ms

	middle c 2
	sever one
	cut_ms=$(sql -c 'SELECT hotfix_now_ms()')
	eventually one_of "$id" paused wave_baking
	# What had come through by then is written down within half a second.
	eventually sql_is "SELECT bool_and(at_ms > $cut_ms + 2000) FROM seen"
	mend one
	eventually pushed "$id"
	comes_to_its_end c 2
}

# By hand: hosts in the middle of a trial have failed when they are not heard of, and if they are more
# than half of a zone, nothing goes on anywhere until somebody says so.
pushed() {
	! is "$1" wave_baking || return 0
	fleet stop-the-line --clear || :
	fleet rollout resume "$1" || :
	return 1
}

one_of() { [[ " ${*:2} " = *" $(state "$1") "* ]]; }

# What it was about to write arrives when somebody else has taken over.
test_a_controller_that_is_cut_off_from_its_database_is_followed_and_writes_no_more() {
	local id owner

	middle d 2
	owner=$(owner "$id")
	sever "database-$owner"
	eventually has_left "$id" "$owner"
	mend "database-$owner"
	eventually grep -q "$id.*somebody else" "$F/$owner/log"
	eventually pushed "$id"
	comes_to_its_end d 2
}

# Servers outlive the test that starts them, and end with the scenario.
server_start() { # server_start FOLDER [OPTION...]
	local words

	read -ra words <<<"${PG_START/--pdeathsig QUIT/}"
	"${words[@]//$PGHOST/$1}" "${@:2}" >>"$T/pg-log" 2>&1 </dev/null &
	echo $! >>"$T/servers"
	eventually ready "$1"
}

ready() { PGHOST=$1 sql -c 'SELECT 1'; }
gone() { ! ready "$1" 2>/dev/null; }

# Of those who are asked, nobody waits for an answer.
says_why() {
	fleet status >"$T/why" 2>&1 || :
	grep -q 'out of reach (.*server closed the connection' "$T/why" && grep -q engine_lost "$T/why"
}

test_a_database_that_went_away_pauses_rollouts_and_nothing_is_lost() {
	local id

	middle a 2
	kill -INT "$PG_PID"
	eventually gone "$PGHOST"
	eventually says_why
	sleep 2 # the other controller's ten seconds are over as well
	server_start "$PGHOST"
	goes_on a 2
}

# What the primary had acknowledged is on the standby.
test_a_standby_takes_over_in_the_middle_of_a_wave() {
	local id words programs

	read -ra words <<<"${PG_START/--pdeathsig QUIT/}"
	programs=$(dirname "$(printf '%s\n' "${words[@]}" | grep '/postgres$')")
	words=("${words[@]:0:$(printf '%s\n' "${words[@]}" | grep -n '/postgres$' | cut -d: -f1)-1}")
	install -d -o "$(stat -c %u "$PGHOST")" "$T/standby"
	(cd "$T/standby" && "${words[@]}" "$programs/pg_basebackup" -h "$PGHOST" -U test -D "$T/standby/data" -R -X stream -c fast)
	server_start "$T/standby" -c synchronous_standby_names=
	sql -c "ALTER SYSTEM SET synchronous_standby_names = '*'" -c "SELECT pg_reload_conf()"
	eventually sql_is "SELECT sync_state = 'sync' FROM pg_stat_replication"
	middle b 2
	kill -KILL "$(head -n 1 "$PGHOST/data/postmaster.pid")"
	eventually gone "$PGHOST"
	# The proxies stay: they take connections, and close them.
	eventually says_why
	sleep 2
	export PGHOST=$T/standby
	sql -c "SELECT pg_promote()"
	goes_on b 2
}

sql_is() { [ "$(sql -c "$1")" = t ]; }

# With a database that stays: the rest is for make check-fleet-long.
[ -n "${LONG:-}" ] || unset -f test_hosts_that_are_cut_off_in_the_middle_of_a_wave_come_back \
	test_a_controller_that_is_cut_off_from_its_database_is_followed_and_writes_no_more \
	test_a_database_that_went_away_pauses_rollouts_and_nothing_is_lost \
	test_a_standby_takes_over_in_the_middle_of_a_wave

eval "$(declare -f end_all | sed '1s/end_all/end_daemons/')"
end_all() {
	kill -CONT "$sim_pid"
	fleet_end
	[ -z "${LONG:-}" ] || for name in "$T"/proxy-*.pid; do kill -KILL "$(cat "$name")"; done
	while read -r pid; do kill -QUIT "$pid" 2>/dev/null; done <"$T/servers"
	end_daemons
}
run_tests "$@"
