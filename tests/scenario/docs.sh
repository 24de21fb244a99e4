#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# README.md: its commands run as they are written, in their order, and the files it names exist.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	hotfixd
}

# The lines of a section's commands, without their comments.
commands_of() {
	awk -v s="## $1" '/^## / { on = $0 == s } on && /^    hotfix/' README.md |
		sed 's/^    //; s/[[:space:]]*#.*//'
}

test_five_minutes_go_as_written() {
	local top=$PWD line ran=0 rc

	mkdir "$T/tour"
	ln -s "$top/patches" "$T/tour/patches"
	cd "$T/tour"
	export HOTFIXD_SOCKET=$sock PATH=$bin:$PATH
	unset -f hotfixctl
	while read -r line; do
		ran=$((ran + 1))
		case $line in
		hotfixd*) continue ;; # runs, with a state directory of its own
		'hotfixctl key new '*) line+=' --no-passphrase' ;;
		*--follow*) line="timeout 1 $line" ;;
		esac
		rc=0
		bash -c "$line" </dev/null >"$out" 2>"$err" || rc=$?
		case $line in
		*' doctor '* | *' apply '*) trampolines || rc=$((rc == 5 ? 0 : rc + 1)) ;;
		*--follow*) rc=$((rc == 124 ? 0 : rc + 1)) ;;
		# Of a first trial there is nothing to take off once it has been rolled back.
		*' rollback '* | *' disable '*) [ $rc != 3 ] || rc=0 ;;
		esac
		[ $rc = 0 ] || fail "'$line' ended with $rc: $(cat "$err")"
	done < <(cd "$top" && commands_of 'Five minutes')
	[ $ran -ge 12 ] || fail "only $ran commands found"
}

test_every_command_it_names_is_one() {
	local words

	while read -r words; do
		"$bin/hotfixctl" $words --help >"$out" 2>&1 || fail "hotfixctl $words: $(cat "$out")"
	done < <(grep -ohE 'hotfixctl (key new|trust (init|import|show)|[a-z]+)' README.md DESIGN.md |
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
