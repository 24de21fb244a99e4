#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# README.md: its commands run as they are written, in their order, and the files it names exist.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	one_cc_run_at_a_time
	use shared
	trusting
	stored one 1 cc_reno
}

# The lines of a section's commands, without their comments.
commands_of() {
	awk -v s="## $1" '/^## / { on = $0 == s } on && /^    hotfix/' README.md |
		sed 's/^    //; s/[[:space:]]*#.*//'
}

# tour [FROM TO]: the commands of the tour, one by one in a folder as a clone is; with FROM,
# on the hot-fix TO.  What all printed is left in $said.
tour() {
	local top=$PWD from=${1:-} to=${2:-} line ran=0 rc

	said=$T/$instance.tour/said
	mkdir "$T/$instance.tour"
	ln -s "$top/patches" "$T/$instance.tour/patches"
	cd "$T/$instance.tour"
	export HOTFIXD_SOCKET=$sock PATH=$bin:$PATH
	unset -f hotfixctl
	while read -r line; do
		ran=$((ran + 1))
		line=${line//"${from:-none}"/$to}
		case $line in
		hotfixd*) continue ;; # runs, with a state directory of its own
		'hotfixctl key new '*) line+=' --no-passphrase' ;;
		*--follow*) line="timeout 1 $line" ;;
		esac
		rc=0
		bash -c "$line" </dev/null >"$out" 2>"$err" || rc=$?
		cat "$out" "$err" >>"$said"
		case $line in
		*' doctor '* | *' apply '*) [ -n "$to" ] || trampolines || rc=$((rc == 5 ? 0 : rc + 1)) ;;
		*--follow*) rc=$((rc == 124 ? 0 : rc + 1)) ;;
		*' rollback '* | *' disable '*) [ -n "$to" ] || trampolines || rc=$((rc == 3 ? 0 : rc + 1)) ;;
		esac
		[ $rc = 0 ] || fail "'$line' ended with $rc: $(cat "$err")"
	done < <(cd "$top" && commands_of 'Five minutes')
	cd "$top"
	[ $ran -ge 12 ] || fail "only $ran commands found"
}

test_five_minutes_go_as_written() {
	use written
	hotfixd
	tour
}

# Where trampolines are refused, the tour ends at apply: this one goes through everywhere.
test_five_minutes_go_with_a_hot_fix_that_every_kernel_takes() {
	use anywhere
	hotfixd
	tour cve-2026-31431-copyfail tcp-cubic-idle
	grep -q 'live, on trial' "$said" || fail "apply: $(cat "$said")"
	grep -q 'tcp-cubic-idle.* trial ' "$said" || fail "status shows no trial"
	grep -q 'rolled back by hand' "$said" || fail "no rollback"
	grep -q 'the audit log is whole' "$said" || fail "no audit"
	[ -z "$(ls "$bpffs" 2>/dev/null)" ] || fail "left in the kernel: $(ls "$bpffs")"
	same '' "$(grep -o hf_cubic /proc/sys/net/ipv4/tcp_available_congestion_control)" "still registered:"
}

test_what_reads_takes_j() {
	local words

	for words in status list 'show one' history events audit 'audit --verify' 'trust show' 'doctor one' \
		"inspect $T/one@1.hotfix" "verify $T/one@1.hotfix"; do
		# shellcheck disable=SC2086	# words
		expect 0 hotfixctl -j $words
		jq -e . "$out" >/dev/null || fail "$words: $(cat "$out")"
	done
}

test_the_api_answers_curl() {
	api /status
	same 200 "$status" 'status:'
}

test_every_target_it_names_is_one() {
	local target

	while read -r target; do
		grep -qE "^$target:" Makefile || fail "there is no make $target"
	done < <(grep -ohE '(`|^    )make [a-z-]+' README.md DESIGN.md STYLE.md | sed 's/.*make //' | sort -u)
}

# Every hot-fix and every folder has its line, and no other.
test_its_tables_are_those_of_the_repository() {
	local words

	same "$(cd patches && printf '%s\n' */ | tr -d / | sort)" \
		"$(sed -n 's/^| `\([a-z0-9-]*\)` | .*/\1/p' README.md | sort)" "hot-fixes:"
	same "$(git ls-files | sed -n 's,/.*,,p' | sort -u | grep -v '^\.')" \
		"$(sed -n 's/^| `\([a-z]*\)\/` | .*/\1/p' README.md | sort)" "folders:"
	while read -r words; do
		grep -qF -- "$words" <(git ls-files tests) || fail "README.md lacks or invents tests/$words"
	done < <(sed -n 's/^| `tests\/` | //p' README.md | grep -o '`[a-z]*`' | tr -d '`' | sed 's,^,tests/,')
}

test_every_command_it_names_is_one() {
	local words

	while read -r words; do
		"$bin/hotfixctl" $words --help >"$out" 2>&1 || fail "hotfixctl $words: $(cat "$out")"
	done < <(grep -ohE 'hotfixctl (key new|trust (init|rotate|revoke|import|show)|(context|rollout|host|enroll|stock|freeze|operator|store) [a-z]+|stop-the-line|[a-z]+)' README.md DESIGN.md |
		sed 's/hotfixctl //' | sort -u)
}

test_every_file_it_names_is_there() {
	local path

	while read -r path; do
		case $path in
		build/* | /* | *NAME* | *FILE*) continue ;;
		esac
		# Hooks are written with a slash as well.
		[[ $path != */* || -d ${path%%/*} ]] || continue
		[ -e "$path" ] || fail "there is no $path"
	done < <(grep -ohE '`[a-zA-Z0-9_.-]+/[a-zA-Z0-9_./-]*`|`[A-Z]+\.md`' README.md DESIGN.md STYLE.md | tr -d '`' | sort -u)
}

test_the_exit_codes_are_those_of_the_program() {
	local code

	"$bin/hotfixctl" --help >"$out"
	for code in 0 1 2 3 4 5 6 7 8 9 10 11 130; do
		grep -qE "\| $code \|" README.md || fail "README.md does not explain $code"
		tr '\n' ' ' <"$out" | grep -qE "[ :,]$code [a-z-]" || fail "hotfixctl --help does not explain $code"
	done
}

run_tests "$@"
