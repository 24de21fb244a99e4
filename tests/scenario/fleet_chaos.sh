#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 400
#
# Controllers that are killed, and a PostgreSQL that goes away or is replaced by its standby, in the
# middle of rollouts: others go on, nothing is lost, and no host is told two things. Every word that
# is ever stored is kept by a trigger, and looked at in the end.

if [ -z "${PG_URL:-}" ]; then
	exec "$(dirname "$0")/../pg/run" -- bash "$0" "$@"
fi
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/fleet/lib.sh
. "$PWD/tests/fleet/lib.sh"

HOSTS=24

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

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
}

setup() {
	heartbeat=10s
	: >"$T/servers"
	fleet_new "${PG_URL/$PGHOST/$PGHOST,$T/standby}"
	sim_prepare $HOSTS
	controller_start one
	controller_start two
	expect 0 fleet trust import "$F/root"
	keep_words
	sim_start $HOSTS
	for name in a b c d e; do fleet_stock $name 1; done
	eventually sim_is ".reported == $HOSTS"
	cat >"$F/spec.json" <<-'EOF'
		{"canary": {"bake": "0s"}, "waves": [{"percent": 50, "bake": "10m"}, {"percent": 100, "bake": "0s"}],
		"trial": "1s", "max_in_flight": "100%", "max_per_domain": "100%", "retries": 0, "dynamic": false}
	EOF
}

begin() { # begin NAME -> id
	fleet -j rollout start "$1@1" --spec "$F/spec.json" | jq -r .id
}

state() { sql -c "SELECT state::jsonb->>'state' FROM rollout WHERE id = '$1'"; }
is() { [ "$(state "$1")" = "$2" ]; }
owner() { sql -c "SELECT split_part(owner, '/', 1) FROM rollout WHERE id = '$1'"; }
owned_by() { [ "$(owner "$1")" = "$2" ]; }
noted() { [ "$(sql -c "SELECT count(*) FROM audit WHERE subject = '$1' AND action = '$2'")" -gt 0 ]; }
ask() { eventually fleet rollout "$@"; }
not_owned_by() { ! owned_by "$@"; }

# The rollouts of all states are driven by whoever is left.
test_a_controller_that_is_killed_is_followed_by_another_in_every_state() {
	local attaching baking paused back draft name id

	sim slow a 1 2000
	draft=$(fleet -j rollout start e@1 --spec "$F/spec.json" --draft | jq -r .id)
	baking=$(begin b) paused=$(begin c) back=$(begin d)
	eventually is "$baking" wave_baking
	eventually is "$paused" wave_baking
	ask pause "$paused"
	eventually is "$paused" paused
	eventually is "$back" wave_baking
	attaching=$(begin a)
	eventually is "$attaching" wave_attaching
	kill -STOP "$sim_pid" # so that nobody goes back yet
	ask abort "$back" --rollback=all
	eventually is "$back" rolling_back
	for name in one two; do
		controller_end $name KILL || :
		for id in "$attaching" "$baking" "$paused" "$back" "$draft"; do
			eventually not_owned_by "$id" $name
		done
		kill -CONT "$sim_pid"
		controller_start $name
	done
	ask resume "$paused"
	for id in "$baking" "$paused" "$attaching"; do
		eventually is "$id" wave_baking
		ask promote "$id"
	done
	for id in "$baking" "$paused" "$attaching"; do eventually is "$id" succeeded; done
	eventually is "$back" rolled_back
	is "$draft" draft || fail "the draft is $(state "$draft")"
	ask abort "$draft"
	eventually is "$draft" aborted
	for name in a b c; do eventually sim_is ".committed[\"$name@1\"] == $HOSTS"; done
	sim_is '(.committed["d@1"] // 0) == 0 and .refused == 0' || fail "$answer"
	words_agree
	expect 0 fleet audit --verify
}

# middle NAME SERIAL: a rollout of it, in the middle of its first large wave; id
middle() {
	sim slow "$1" "$2" 1000
	fleet_stock "$1" "$2"
	id=$(fleet -j rollout start "$1@$2" --spec "$F/spec.json" | jq -r .id)
	eventually is "$id" wave_attaching
	eventually sql_is "SELECT count(*) > 3 FROM kept_word WHERE rollout = '$id'" # canaries first
}

goes_on() {
	eventually noted "$id" ENGINE_LOST
	eventually noted "$id" RESUMED
	eventually is "$id" wave_baking
	ask promote "$id"
	eventually is "$id" succeeded
	eventually sim_is ".committed[\"$1@$2\"] == $HOSTS and .refused == 0"
	words_agree
	expect 0 fleet audit --verify
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

test_a_database_that_went_away_pauses_rollouts_and_nothing_is_lost() {
	local id

	middle a 2
	kill -INT "$PG_PID"
	eventually gone "$PGHOST"
	sleep 12 # rollouts pause after ten seconds
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
	sleep 12
	export PGHOST=$T/standby
	sql -c "SELECT pg_promote()"
	goes_on b 2
}

sql_is() { [ "$(sql -c "$1")" = t ]; }

# With a database that stays: the rest is for make check-fleet-long.
[ -n "${LONG:-}" ] || unset -f test_a_database_that_went_away_pauses_rollouts_and_nothing_is_lost \
	test_a_standby_takes_over_in_the_middle_of_a_wave

eval "$(declare -f end_all | sed '1s/end_all/end_daemons/')"
end_all() {
	fleet_end
	while read -r pid; do kill -QUIT "$pid" 2>/dev/null; done <"$T/servers"
	end_daemons
}
run_tests "$@"
