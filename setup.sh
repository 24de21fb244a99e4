#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# setup.sh [build] [test] [guests] [bench] -- have what each purpose needs (packages.txt).
#
# As root the missing system packages are installed; otherwise they are named, and that is
# all.  What comes from another suite (a newer libbpf and QEMU, the guests' kernels) is
# fetched with a private apt state under $DEPS (build/deps) and unpacked there: signatures
# are checked and the system's mirror, proxy and keys are used, but its apt state is never
# written.  An interrupted run is simply started again.  With everything there, it takes a
# fraction of a second and no network.

set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C

DEPS=$(realpath -m "${DEPS:-build/deps}")
LIBBPF_MIN=1.4
PKGS="libevent libsodium sqlite3 jansson libcurl libssl libcrypto inih smartcols libsystemd libcap cmocka libelf zlib"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# table PURPOSE -> "package source as" of this Debian release
table() {
	awk -v p="$1" -v col="$col" '$1 == p { print $2, $col, ($5 == "" ? $2 : $5) }' packages.txt
}

detect_release() {
	local id=unknown version=0

	. /etc/os-release
	id=${ID:-$id} version=${VERSION_ID:-99}
	[ "$id" = debian ] || [[ " ${ID_LIKE:-} " == *" debian "* ]] || id=other
	distro=$id
	if [ "$version" = 12 ]; then col=3; else col=4; fi
}

# --- the machine's own packages ------------------------------------------------------

need_system() {
	local want missing

	want=$(for p in "$@"; do table "$p"; done | awk '$2 == "system" { print $1 }')
	if [ "$distro" = other ] || ! command -v dpkg-query >/dev/null; then
		need_tools "$want"
		return
	fi
	missing=$(
		# shellcheck disable=SC2086
		{ dpkg-query -W -f '${db:Status-Status} ${Package}\n' $want 2>/dev/null || :; } |
			awk -v want="$want" '$1 == "installed" { have[$2] = 1 }
				END { n = split(want, w, /[ \n]+/)
				      for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }'
	)
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		say "these packages are missing; as root, please run"
		printf '    apt-get install --no-install-recommends %s\n' "$missing" >&2
		exit 1
	fi
	say "installing $missing"
	# Several gigabytes of configuration are not touched by this: only these packages and
	# what they depend on.
	DEBIAN_FRONTEND=noninteractive apt-get -q -o APT::Update::Error-Mode=any update >&2 ||
		die "the package mirror cannot be reached or a list is broken (see above)"
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >&2 ||
		die "apt-get could not install: $missing"
}

# Not Debian: nothing can be installed, but what the libraries say is still checked.
need_tools() {
	local p bad=

	for p in $PKGS "libbpf >= $LIBBPF_MIN"; do
		pkg-config --exists "$p" 2>/dev/null || bad+=" '$p'"
	done
	[ -z "$bad" ] || die "not a Debian system; pkg-config does not find$bad. The Debian names" \
		"of what is needed:" $1
}

# --- packages of other suites, unpacked under $DEPS ------------------------------------

# The private apt state: all of the system's configuration except where things are kept,
# what is subscribed to, and hooks that would run on the system's own cache.
apt_private() {
	APT_CONFIG=$DEPS/apt/apt.conf "$@"
}

apt_prepare() {
	local apt=$DEPS/apt key= mirror= uri release origin label component entry f suites s

	mkdir -p "$apt"/{conf.d,lists/partial,cache,none} "$DEPS"/debs/partial
	find "$apt/conf.d" -mindepth 1 -delete
	for f in /etc/apt/apt.conf.d/*; do
		[ -f "$f" ] && ln -s "$f" "$apt/conf.d/"
	done
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::Parts "$apt/conf.d";
	END
	cat >"$apt/conf.d/zz-private" <<-END
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		#clear DPkg::Pre-Install-Pkgs;
		APT::Sandbox::User "$(id -un)";
		APT::Install-Recommends "false";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Debug::NoLocking "true";
		Dir::State::Lists "$apt/lists";
		Dir::State::extended_states "$apt/extended_states";
		Dir::Cache "$apt/cache";
		Dir::Cache::Archives "$DEPS/debs";
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "$apt/none";
		Dir::Etc::Preferences "$apt/none/preferences";
		Dir::Etc::PreferencesParts "$apt/none";
	END

	# The mirror of Debian proper that the system uses, and the key file it names for it.
	while IFS='|' read -r uri release origin label component entry; do
		[ "$component" = main ] || continue
		case $release in *-security | */*) continue ;; esac
		case $origin in
		Debian) [ "$label" = Debian ] || continue ;;
		*) [[ $uri = */debian/ ]] || continue ;;	# no lists yet: not known
		esac
		mirror=$uri
		break
	done < <(apt-get indextargets --format \
		'$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(SOURCESENTRY)' \
		'Identifier: Packages' 2>/dev/null)
	[ -n "$mirror" ] || die "no mirror of the Debian archive in the system's apt sources"
	f=${entry%:*}
	[ -f "$f" ] && key=$(sed -n 's/^Signed-By:[[:space:]]*\(\/[^[:space:]]*\).*/\1/Ip;
		s/^deb .*\[.*signed-by=\([^] ]*\).*/\1/p' "$f" | head -n 1)
	suites=$(awk -v c="$col" '/^[a-z]/ && $c != "system" { print $c; sub(/-.*/, "", $c); print $c }' \
		packages.txt | sort -u)
	for s in $suites; do
		echo "deb ${key:+[signed-by=$key] }$mirror $s main"
	done >"$apt/sources.list.new"
	if ! cmp -s "$apt/sources.list.new" "$apt/sources.list"; then
		rm -f "$apt/updated"
		mv "$apt/sources.list.new" "$apt/sources.list"
	fi
}

# Package lists are fetched once a day at most, and only when something is to be fetched.
apt_update() {
	if [ "${1:-}" != now ] && [ -n "$(find "$DEPS/apt/updated" -mtime -1 2>/dev/null)" ]; then
		return 0
	fi
	say "fetching package lists"
	apt_private apt-get -qq update >&2 ||
		die "the package mirror cannot be reached or a list is broken (see above)." \
			"What is needed is fetched once: run this again when there is a network"
	touch "$DEPS/apt/updated"
}

# private PACKAGE SUITE NAME: $DEPS/NAME holds the unpacked package
private() {
	local pkg=$1 suite=$2 name=$3 try

	[ -e "$DEPS/$name/.complete" ] && return 0
	apt_prepare
	for try in cached now; do
		apt_update $try
		rm -rf "$DEPS/.new"
		mkdir -p "$DEPS/.new"
		fetch "$pkg" "$suite" "$DEPS/.new" && break
		[ $try = cached ] || die "could not fetch $pkg of $suite"
		say "trying again with fresh package lists"
	done
	touch "$DEPS/.new/.complete"
	rm -rf "${DEPS:?}/$name"
	mkdir -p "$(dirname "$DEPS/$name")"
	mv "$DEPS/.new" "$DEPS/$name"
}

fetch() {
	local pkg=$1 suite=$2 dest=$3

	say "fetching $pkg ($suite)"
	unpack "$suite" "$dest" "$pkg"
}

# unpack SUITE DEST PACKAGE...
unpack() {
	local suite=$1 dest=$2 debs d
	shift 2

	debs=$(cd "$DEPS/debs" && apt_private apt-get -q -t "$suite" --print-uris download "$@" |
		awk '/^\047/ { print $2 }') || return 1
	(cd "$DEPS/debs" && apt_private apt-get -qq -t "$suite" download "$@" >&2) || return 1
	for d in $debs; do
		dpkg-deb -x "$DEPS/debs/$d" "$dest" || return 1
	done
}

# --- purposes --------------------------------------------------------------------------

need_build() {
	local libs cflags arch triplet headers bpf

	need_system build
	while read -r pkg suite as; do
		[ "$suite" = system ] || private "$pkg" "$suite" "$as"
	done < <(table build)

	triplet=$(gcc -print-multiarch)
	if [ -e "$DEPS/libbpf-dev/.complete" ]; then
		headers=$DEPS/libbpf-dev/usr/include
		bpf=$DEPS/libbpf-dev/usr/lib/$triplet/libbpf.a
	else
		pkg-config --atleast-version=$LIBBPF_MIN libbpf || die "libbpf >= $LIBBPF_MIN is needed"
		headers=$(pkg-config --variable=includedir libbpf)
		bpf=$(pkg-config --variable=libdir libbpf)/libbpf.a
	fi
	[ -e "$bpf" ] || die "no $bpf: libbpf is linked statically"
	# shellcheck disable=SC2086
	libs=$(pkg-config --libs $PKGS) cflags=$(pkg-config --cflags $PKGS)
	case $(uname -m) in
	x86_64) arch=x86 ;;
	aarch64) arch=arm64 ;;
	*) die "no support for $(uname -m) yet" ;;
	esac
	mkdir -p "$DEPS"
	cat >"$DEPS/build.mk.new" <<-END
		# Written by setup.sh: what this machine offers.
		DEPS_CFLAGS := -isystem $headers $cflags
		DEPS_LIBS := $bpf $libs
		LIBBPF_HEADERS := $headers
		BPF_CFLAGS := -D__TARGET_ARCH_$arch -idirafter /usr/include/$triplet
	END
	mv "$DEPS/build.mk.new" "$DEPS/build.mk"
}

need_test() { need_system test; }
need_guests() { need_system guests; }
need_bench() { need_system bench; }

detect_release
mkdir -p "$DEPS"
exec 9>"$DEPS/.lock"
flock 9			# two runs that share $DEPS take turns
[ $# -gt 0 ] || set -- build
for purpose in "$@"; do
	case $purpose in
	build | test | guests | bench) "need_$purpose" ;;
	*) die "usage: setup.sh [build] [test] [guests] [bench]" ;;
	esac
done
