#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# Bundles: making, looking at and verifying them without a daemon; and every way in which one
# can be wrong, refused by verify and by import, with nothing stored.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
}

verify() { hotfixctl verify --root "$T/root" "$@"; }

# refused STATUS REGEX...: $bundle, by verify and by import; nothing is stored
refused() {
	local want=$1 how
	shift

	for how in verify 'hotfixctl import'; do
		expect "$want" $how "$bundle"
		says "$@"
	done
	nothing_stored
}

nothing_stored() {
	expect 0 hotfixctl list -j
	json '[.versions[] | "\(.name)@\(.serial)"] | join(" ")' ''
	serves
}

# --- keys and roots ----------------------------------------------------------------------------

test_a_key_is_two_files_and_the_secret_one_is_private() {
	expect 0 hotfixctl key new --out "$T/fresh" --no-passphrase
	same 600 "$(stat -c %a "$T/fresh.sec")" "mode of the secret key"
	grep -q '^hotfix-ed25519 ' "$T/fresh.pub" || fail "the public key is $(cat "$T/fresh.pub")"
	expect 9 hotfixctl key new --out "$T/fresh" --no-passphrase
	chmod 640 "$T/fresh.sec"
	expect 11 hotfixctl pack --object "$foreign/twice.bpf.o" --name x --serial 1 --key "$T/fresh.sec" --out "$T/x"
	says fresh.sec
}

test_a_key_with_a_passphrase_signs_with_it_alone() {
	local fd

	exec {fd}<<<'a long enough passphrase'
	expect 0 hotfixctl key new --out "$T/sealed" --passphrase-fd "$fd"
	exec {fd}<&-
	! grep -q "$(base64 -d <<<"$(cut -d' ' -f2 "$T/sealed.pub")" | base64 -w0)" "$T/sealed.sec" || :
	exec {fd}<<<'another passphrase'
	expect 4 hotfixctl pack --object "$foreign/twice.bpf.o" --name x --serial 1 \
		--key "$T/sealed.sec" --passphrase-fd "$fd" --out "$T/x"
	exec {fd}<&-
	exec {fd}<<<'a long enough passphrase'
	expect 0 hotfixctl pack --object "$foreign/twice.bpf.o" --name x --serial 1 \
		--key "$T/sealed.sec" --passphrase-fd "$fd" --out "$T/x"
	exec {fd}<&-
}

test_a_root_needs_keys_and_a_threshold_they_can_reach() {
	expect 2 hotfixctl trust init --out "$T/r"
	for threshold in 0 2 x; do
		expect 2 hotfixctl trust init --key "$T/release.pub" --threshold $threshold --out "$T/r"
	done
	expect 2 hotfixctl trust init --key "$T/release.pub" "$T/release.pub" --threshold 2 --out "$T/r"
	[ ! -e "$T/r" ] || fail "a root was written"
	expect 0 hotfixctl inspect "$T/root"
}

# --- making and looking ------------------------------------------------------------------------

hooks_of() { # hooks_of OBJECT: as pack found them
	pack "looked-at" 1 "$1"
	expect 0 hotfixctl inspect -j "$bundle"
	json "[.manifest.hooks[] | [.type, .target, .program, (.sleepable // false), .cc_name // \"\"] |
		map(tostring) | join(\" \")] | join(\", \")" "$2"
}

test_pack_reads_the_hooks_from_the_object() {
	hooks_of fentry_tcp_state 'fentry tcp_set_state count_state false '
	hooks_of several 'fentry security_task_getpgid on_getpgid false , fexit security_sb_statfs on_statfs false , lsm task_getscheduler on_getscheduler false , fexit security_task_getpgid on_getpgid_done false '
	hooks_of lsm_sleepable_rmdir 'lsm inode_rmdir keep_sealed true '
	hooks_of cc_reno_link 'struct_ops tcp_congestion_ops reno false fgn_reno_link'
}

test_pack_and_build_give_the_same_bytes_for_the_same_input() {
	local patch=patches/cve-2026-31431-copyfail sum

	export SOURCE_DATE_EPOCH=1700000000
	pack same 1 several
	sum=$(sha256sum <"$bundle")
	pack same 1 several
	same "$sum" "$(sha256sum <"$bundle")"
	for i in 1 2; do
		expect 0 hotfixctl build "$patch" --serial 1 --key "$T/release.sec" --out "$T/built.$i"
	done
	cmp "$T/built.1" "$T/built.2" || fail "two builds differ"
	expect 0 verify "$T/built.1"
}

test_build_takes_the_highest_serial_and_says_what_it_lacks() {
	expect 0 hotfixctl build patches/cve-2026-31431-copyfail --key "$T/release.sec" --out "$T/built"
	expect 0 hotfixctl inspect -j "$T/built"
	json '.manifest.serial' 2
	expect 3 hotfixctl build patches/cve-2026-31431-copyfail --serial 77 --key "$T/release.sec" --out "$T/x"
	expect 3 hotfixctl build patches/nosuch --key "$T/release.sec" --out "$T/x"
	expect 2 hotfixctl build patches/cve-2026-31431-copyfail --out "$T/x"
	says 'build needs --key SEC'
}

test_an_output_that_is_no_bundle_is_not_overwritten() {
	cp "$T/release.sec" "$T/precious"
	expect 9 hotfixctl pack --object "$foreign/twice.bpf.o" --name x --serial 1 --key "$T/release.sec" --out "$T/precious"
	cmp "$T/release.sec" "$T/precious" || fail "the key was overwritten"
}

test_an_output_that_is_no_file_is_left_as_it_is() {
	pack out 1 several
	mkfifo "$T/fifo"
	ln -s /dev/null "$T/null"
	for out_file in "$T/fifo" "$T/null"; do
		expect 9 hotfixctl pack --object "$foreign/several.bpf.o" --name out --serial 1 \
			--key "$T/release.sec" --out "$out_file"
		says 'not a file'
	done
	[ -p "$T/fifo" ] || fail "the FIFO is gone"
	[ -L "$T/null" ] || fail "the link is gone"
}

test_a_public_key_in_place_of_the_secret_one_is_called_so() {
	expect 4 hotfixctl pack --object "$foreign/several.bpf.o" --name out --serial 1 \
		--key "$T/release.pub" --out "$T/never"
	says 'public key' '\.sec'
}

test_a_good_bundle_verifies_and_imports() {
	pack good 1 several
	expect 0 verify "$bundle"
	says good
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl import "$bundle"
	says already
	expect 0 hotfixctl remove good
	nothing_stored
}

test_without_any_root_nothing_is_good() {
	use rootless
	hotfixd
	pack early 1 several
	expect 4 hotfixctl verify "$bundle"
	expect 4 hotfixctl import "$bundle"
	says 'root' 'trust import'
	nothing_stored
}

# --- damaged -----------------------------------------------------------------------------------

test_truncated_bundles_are_refused_wherever_they_end() {
	local whole size n

	pack cut 1 several
	whole=$bundle size=$(stat -c %s "$bundle")
	bundle=$T/cut
	for n in 1 7 8 15 16 17 100 $((size / 4)) $((size / 2)) $((size - 1)); do
		head -c "$n" "$whole" >"$bundle"
		refused 4 'bundle|byte|truncat|short'
	done
}

test_an_empty_bundle_is_refused() {
	bundle=$T/empty
	: >"$bundle"
	refused 4 'empty|bundle'
}

test_bytes_behind_the_end_are_refused() {
	pack tail 1 several
	printf x >>"$bundle"
	refused 4 'byte|bundle'
}

test_a_manifest_of_another_format_is_not_signed() {
	keys
	echo '{"format":2}' >"$T/fields"
	expect 4 hotfixctl pack --object "$foreign/several.bpf.o" --name later --serial 1 --manifest "$T/fields" \
		--key "$T/release.sec" --out "$T/later.hotfix"
	says '"format" must be 1'
}

test_a_bundle_in_place_of_a_root_is_told_from_one() {
	pack misplaced 1 several
	expect 4 hotfixctl trust import "$bundle"
	says 'not a root' "hotfixctl import $bundle"
}

test_a_gigabyte_is_refused_without_reading_it() {
	local before

	bundle=$T/huge
	pack grown 1 several
	cp "$bundle" "$T/huge"
	bundle=$T/huge
	truncate -s 1G "$bundle"
	before=$(rss)
	refused 4 'larger'
	[ "$(rss)" -lt $((before + 4096)) ] || fail "the daemon grew from $before to $(rss) KiB"
}

rss() {
	sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$(daemon_pid)/status"
}

test_attack_1_one_flipped_bit_anywhere_is_refused() {
	local whole size envelope n

	pack flipped 1 several
	whole=$bundle size=$(stat -c %s "$bundle")
	envelope=$(od -An -tu4 -j 8 -N 4 "$whole" | tr -d ' ')
	bundle=$T/flipped
	# the header, places in the envelope, places in the object
	for n in 0 7 8 11 12 15 16 40 $((16 + envelope / 3)) $((16 + envelope / 2)) \
		$((16 + envelope - 20)) $((16 + envelope - 90)) $((15 + envelope)) $((16 + envelope)) \
		$((16 + envelope + 20)) $(((16 + envelope + size) / 2)) $((size - 1)); do
		cp "$whole" "$bundle"
		flip "$bundle" "$n"
		refused 4 .
	done
}

test_attack_1_an_object_that_is_not_the_signed_one_is_refused() {
	local size

	pack exchanged 1 several
	size=$(stat -c %s "$bundle")
	flip "$bundle" $((size - 1000))
	refused 4 'digest|sha-?256'
	expect 4 hotfixctl -j import "$bundle"
	jq -e '.error.code == "bad_digest"' "$err" >/dev/null || fail "the error is $(cat "$err")"
}

# --- signed by the wrong people ----------------------------------------------------------------

test_attack_3_a_key_that_nobody_trusts_does_not_count() {
	expect 0 hotfixctl key new --out "$T/unknown" --no-passphrase
	bundle=$T/unknown.hotfix
	expect 0 hotfixctl pack --object "$foreign/several.bpf.o" --name unknown --serial 1 \
		--key "$T/unknown.sec" --out "$bundle"
	refused 4 'sign'
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "import" and .result == "bad_signature")] | length > 0' true
}

test_attack_3_a_threshold_of_two_wants_two_different_keys() {
	use two
	for key in a b; do
		expect 0 hotfixctl key new --out "$T/$key" --no-passphrase
	done
	expect 0 hotfixctl trust init --key "$T/a.pub" "$T/b.pub" --threshold 2 --out "$T/root2"
	hotfixd
	expect 0 hotfixctl trust import "$T/root2"
	signed() {
		rm -f "$T/two.hotfix"
		hotfixctl pack --object "$foreign/several.bpf.o" --name two --serial 1 --out "$T/two.hotfix" "$@"
	}
	expect 0 signed --key "$T/a.sec"
	expect 4 hotfixctl import "$T/two.hotfix"
	# The same key again, if it can be named twice at all.
	cp -p "$T/a.sec" "$T/a-again.sec"
	if hotfixctl pack --object "$foreign/several.bpf.o" --name two --serial 1 --out "$T/two2.hotfix" \
		--key "$T/a.sec" --key "$T/a-again.sec"; then
		expect 4 hotfixctl import "$T/two2.hotfix"
	fi
	nothing_stored
	expect 0 signed --key "$T/a.sec" --key "$T/b.sec"
	expect 0 hotfixctl import "$T/two.hotfix"
}

# --- objects -----------------------------------------------------------------------------------

one_hook='[{"type":"fentry","target":"security_task_getpgid","program":"open_part"}]'

# not_packed OBJECT HOOKS REGEX...: neither does pack sign it, nor is it taken when it is signed
not_packed() {
	local object=$1 hooks=$2
	shift 2

	expect 4 hotfixctl pack --object "$object" --name rejected --serial 1 --key "$T/release.sec" \
		--out "$T/rejected"
	says "$@"
	[ ! -e "$T/rejected" ] || fail "pack wrote a bundle"
	forged rejected 1 "$object" "$hooks"
	refused 4 "$@"
}

test_a_kprobe_is_refused() {
	not_packed "$bad/kprobe.bpf.o" '[{"type":"fentry","target":"do_unlinkat","program":"on_unlink"}]' kprobe
}

test_a_kprobe_that_hides_behind_a_hook_is_refused() {
	not_packed "$bad/hidden_kprobe.bpf.o" "$one_hook" kprobe
}

test_an_optional_program_is_refused() {
	not_packed "$bad/optional.bpf.o" "$one_hook" optional
}

test_freplace_is_refused() {
	not_packed "$bad/freplace.bpf.o" "$one_hook" freplace
}

test_a_map_that_would_be_pinned_elsewhere_is_refused() {
	not_packed "$bad/pinned_map.bpf.o" '[{"type":"fentry","target":"security_task_getpgid","program":"use"}]' shared_by_name
}

test_struct_ops_of_another_type_are_refused() {
	not_packed "$bad/other_struct_ops.bpf.o" "$one_hook" bpf_dummy_ops
}

test_an_object_without_a_program_is_refused() {
	not_packed "$bad/no_program.bpf.o" "$one_hook" program
}

test_what_is_no_elf_is_refused() {
	echo 'int main(void) { return 0; }' >"$T/text"
	not_packed "$T/text" "$one_hook" ELF
}

test_an_elf_for_a_processor_is_refused() {
	not_packed "$bin/hotfixctl" "$one_hook" 'BPF'
}

test_an_object_without_btf_is_refused() {
	LC_ALL=C sed 's/\.BTF/.BTX/g' "$foreign/several.bpf.o" >"$T/nobtf"
	not_packed "$T/nobtf" "$one_hook" BTF
}

test_a_mangled_elf_is_refused_and_breaks_nobody() {
	local n size

	size=$(stat -c %s "$foreign/maps.bpf.o")
	for n in $(seq 20); do
		cp "$foreign/maps.bpf.o" "$T/mangled"
		# section headers, string tables, symbols: everywhere
		dd if=/dev/urandom of="$T/mangled" bs=1 count=16 conv=notrunc \
			seek=$((64 + (size - 80) * n / 20)) 2>/dev/null
		forged mangled "$n" "$T/mangled" '[{"type":"fentry","target":"no_such","program":"no_such"}]'
		expect 4 hotfixctl import "$bundle"
	done
	head -c 2000 "$foreign/maps.bpf.o" >"$T/mangled"
	not_packed "$T/mangled" "$one_hook" .
}

test_an_object_of_17_mib_is_refused() {
	cp "$foreign/several.bpf.o" "$T/large"
	truncate -s 17M "$T/large"
	expect 4 hotfixctl pack --object "$T/large" --name large --serial 1 --key "$T/release.sec" --out "$T/x"
	says 'larger|16'
	# A header that announces it, by hand.
	bundle=$T/large.hotfix
	{
		printf 'HOTFIX1\n\x02\0\0\0\0\0\x10\x01{}'
		cat "$T/large"
	} >"$bundle"
	refused 4 .
}

# --- manifests ---------------------------------------------------------------------------------

hooks() { # hooks OBJECT: as pack declares them
	pack declared 1 "$1"
	hotfixctl inspect -j "$bundle" | jq -c .manifest.hooks
}

test_a_hook_that_the_manifest_does_not_declare_is_refused() {
	local all

	all=$(hooks several)
	for n in 0 1 2 3; do
		forged undeclared 1 "$foreign/several.bpf.o" "$(jq -c "del(.[$n])" <<<"$all")"
		refused 4 'does not declare' "$(jq -r ".[$n].program" <<<"$all")"
	done
}

test_a_hook_that_the_object_does_not_have_is_refused() {
	local all

	all=$(hooks several)
	forged promised 1 "$foreign/several.bpf.o" \
		"$(jq -c '. + [{type: "lsm", target: "file_open", program: "phantom"}]' <<<"$all")"
	refused 4 phantom
	forged promised 1 "$foreign/several.bpf.o" "$(jq -c '.[0].target = "security_task_getsid"' <<<"$all")"
	refused 4 security_task_getpgid
	forged promised 1 "$foreign/lsm_setnice.bpf.o" \
		'[{"type":"lsm","target":"task_setnice","program":"limit_nice","sleepable":true}]'
	refused 4 task_setnice
	forged promised 1 "$foreign/cc_reno.bpf.o" \
		'[{"type":"struct_ops","target":"tcp_congestion_ops","program":"reno","cc_name":"innocent"}]'
	refused 4 fgn_reno
}

test_pack_refuses_a_manifest_that_no_host_would_take() {
	local fields

	rm -f "$T/x"
	for fields in '{"nosuch":1}' '{"severity":"awful"}' '{"title":"\u001b[2Jgone"}' '{"title":1}' \
		'{"cves":["CVE-1"]}' '{"expires":"tomorrow"}' '{"kernels":{"ranges":[{"from":"six"}]}}' \
		'{"trial":{"default_s":0}}' '{"hooks":[]}' '{"serial":1,"serial":2}' '[]' '{'; do
		printf '%s' "$fields" >"$T/fields"
		expect 4 hotfixctl pack --object "$foreign/several.bpf.o" --name x --serial 1 \
			--manifest "$T/fields" --key "$T/release.sec" --out "$T/x"
	done
	[ ! -e "$T/x" ] || fail "pack wrote a bundle"
}

test_names_and_serials_that_are_none_are_usage_errors() {
	rm -f "$T/x"
	for name in UP under_score ../up '' "$(printf 'a%.0s' $(seq 65))"; do
		expect_one_of '2 4' hotfixctl pack --object "$foreign/several.bpf.o" --name "$name" --serial 1 \
			--key "$T/release.sec" --out "$T/x"
	done
	for serial in 0 -1 x 1.5 99999999999999999999; do
		expect_one_of '2 4' hotfixctl pack --object "$foreign/several.bpf.o" --name x --serial "$serial" \
			--key "$T/release.sec" --out "$T/x"
	done
	[ ! -e "$T/x" ] || fail "pack wrote a bundle"
}

expect_one_of() {
	local want=" $1 " rc=0
	shift

	"$@" >"$out" 2>"$err" || rc=$?
	[[ $want = *" $rc "* ]] || fail "exit status $rc instead of one of$want: $*"
}

# --- requests about what is not there ------------------------------------------------------------

test_a_file_that_is_not_there_is_not_found() {
	expect 3 verify "$T/nosuch"
	expect 3 hotfixctl import "$T/nosuch"
	expect 3 hotfixctl inspect "$T/nosuch"
	says nosuch
}

test_of_several_files_the_good_ones_are_stored_and_the_bad_one_is_named() {
	pack several-a 1 several
	pack several-b 1 twice
	flip "$T/several-a@1.hotfix" 400
	expect 4 hotfixctl import "$T/several-a@1.hotfix" "$T/several-b@1.hotfix"
	says 'several-a@1'
	expect 0 hotfixctl list -j
	json '[.versions[].name] | join(" ")' several-b
	expect 0 hotfixctl remove several-b
}

run_tests "$@"
