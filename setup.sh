#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# setup.sh [build] [test] [guests] [bench] [fuzz] -- have what each purpose needs (packages.txt).
#
# As root the missing system packages are installed; otherwise they are named, and that is
# all.  What comes from another suite (a newer libbpf and QEMU, the guests' kernels) is
# fetched with a private apt state under $DEPS (build/deps) and unpacked there: signatures
# are checked and the system's mirror, proxy and keys are used, but its apt state is never
# written.  An interrupted run is simply started again.  With everything there it takes a
# fraction of a second and no network.

set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

DEPS=$(realpath -m "${DEPS:-build/deps}")
LIBBPF_MIN=1.4
LIBS="libevent libevent_openssl libsodium sqlite3 jansson libcurl libssl libcrypto inih smartcols
	libsystemd libcap libseccomp libical cmocka libelf zlib libpq yaml-0.1"

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}

detect_release() {
	local ID=unknown ID_LIKE='' VERSION_ID=99

	# shellcheck disable=SC1091
	. /etc/os-release
	distro=$ID
	case " $ID_LIKE " in *" debian "*) distro=debian ;; esac
	if [ "$VERSION_ID" = 12 ]; then column=3; else column=4; fi
}

# table PURPOSE: lines of "package source name" as packages.txt has them for this release
table() {
	awk -v p="$1" -v c="$column" '$1 == p { print $2, $c, ($5 == "" ? $2 : $5) }' packages.txt
}

# --- the machine's own packages --------------------------------------------------------

# missing PURPOSE...: which of their system packages are not installed
missing() {
	local want

	want=$(for p in "$@"; do table "$p"; done | awk '$2 == "system" && !seen[$1]++ { print $1 }')
	{ dpkg-query -W -f '${db:Status-Status} ${Package}\n' $want 2>/dev/null || :; } |
		awk -v want="$want" '$1 == "installed" { have[$2] }
			END { n = split(want, w)
			      for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }'
}

need_system() {
	local need all

	if [ "$distro" != debian ] || ! command -v dpkg-query >/dev/null; then
		check_elsewhere "$1"
		return
	fi
	need=$(missing "$1")
	[ -n "$need" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		all=$(missing build test guests)
		say "packages are missing, and only root can install them:"
		printf '    apt-get install --no-install-recommends %s\n' "$need" >&2
		[ "$need" = "$all" ] || printf '  or, for make check and make demo as well:\n    %s\n' \
			"apt-get install --no-install-recommends $all" >&2
		exit 1
	fi
	say "installing $need"
	apt-get -qq -o APT::Update::Error-Mode=any update >&2 ||
		say "the lists of packages are not complete; trying all the same"
	without_cluster apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install $need >&2 ||
		die "apt-get could not install $need(see above);" \
			"once the mirror is in reach, run this again"
}

# without_cluster COMMAND...: if it installs PostgreSQL, there is no server of the system's
without_cluster() {
	local status=0 conf=/etc/postgresql-common/createcluster.d/hotfixd.conf

	if [[ " $* " != *' postgresql '* ]]; then
		"$@"
		return
	fi
	mkdir -p "${conf%/*}"
	echo 'create_main_cluster = false' >"$conf"
	"$@" || status=$?
	rm -f "$conf"
	return $status
}

# Not Debian: nothing is installed, but a clear word beats a compiler's error.
check_elsewhere() {
	local lib bad=

	for lib in $LIBS "libbpf >= $LIBBPF_MIN"; do
		pkg-config --exists "$lib" 2>/dev/null || bad+=" '$lib'"
	done
	[ -z "$bad" ] || die "this is not Debian, and pkg-config does not find$bad." \
		"Debian's names of what is needed: $(table "$1" | awk '{ printf "%s ", $1 }')"
}

# --- packages of other suites, unpacked under $DEPS --------------------------------------

# private PACKAGE SUITE NAME: $DEPS/NAME becomes the unpacked package
private() {
	local pkg=$1 suite=$2 name=$3 new=$DEPS/.new

	[ -e "$DEPS/$name/.complete" ] && return 0
	apt_subscribe "$suite"
	[ -n "$(find "$apt/updated" -mtime -1 2>/dev/null)" ] || apt_update
	if ! fetch "$pkg" "$suite" "$new"; then
		say "trying again with fresh lists"	# the mirror may have moved on
		apt_update
		fetch "$pkg" "$suite" "$new" || die "could not fetch $pkg of $suite (see above)"
	fi
	touch "$new/.complete"
	rm -rf "${DEPS:?}/$name"
	mkdir -p "$(dirname "$DEPS/$name")"
	mv "$new" "$DEPS/$name"
}

# An apt state for one suite: the system's configuration except where things are kept, what
# is subscribed to, and the hooks that would work on the system's own files.  A mirror may lag
# or be a snapshot: the signature counts, not how old it is.
apt_subscribe() {
	local suite=$1 line f

	apt=$DEPS/apt/$suite
	mkdir -p "$apt"/{conf.d,lists/partial,cache,none} "$DEPS/debs/partial"
	find_mirror
	find "$apt/conf.d" -mindepth 1 -delete
	for f in /etc/apt/apt.conf.d/*; do
		[ ! -f "$f" ] || ln -s "$f" "$apt/conf.d/"
	done
	cat >"$apt/conf.d/zz-private" <<-END
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		APT::Default-Release "$suite";
		APT::Install-Recommends "false";
		APT::Sandbox::User "";
		APT::Update::Error-Mode "any";
		Acquire::Check-Valid-Until "false";
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
	echo "Dir::Etc::Parts \"$apt/conf.d\";" >"$apt/apt.conf"
	for line in "$suite" ${suite%-*}; do
		echo "deb ${mirror_key:+[signed-by=$mirror_key] }$mirror $line main"
	done | sort -u >"$apt/sources.new"
	if ! cmp -s "$apt/sources.new" "$apt/sources.list"; then
		mv "$apt/sources.new" "$apt/sources.list"
		rm -f "$apt/updated"
	fi
}

# The mirror of Debian proper that the system uses, and the key file it names for it.
find_mirror() {
	local uri release origin label component entry

	[ -z "${mirror:-}" ] || return 0
	mirror='' mirror_key=''
	# shellcheck disable=SC2016
	while IFS='|' read -r uri release origin label component entry; do
		case $component:$release in
		main:*-security | main:*/*) continue ;;
		main:*) ;;
		*) continue ;;
		esac
		case $origin:$label in
		Debian:Debian) ;;
		'$('*) [[ $uri = */debian/ ]] || continue ;; # not known: no lists fetched yet
		*) continue ;;
		esac
		mirror=$uri
		mirror_key=$(sed -n 's/^Signed-By:[[:space:]]*\(\/[^[:space:]]*\).*/\1/Ip
			s/^deb .*\[.*signed-by=\(\/[^] ]*\).*/\1/p' "${entry%:*}" 2>/dev/null | head -n 1)
		return 0
	done < <(apt-get indextargets 'Identifier: Packages' --format \
		'$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(SOURCESENTRY)' 2>/dev/null)
	die "apt's sources name no mirror of the Debian archive (apt-get indextargets)"
}

with_apt() { APT_CONFIG=$apt/apt.conf "$@"; }

apt_update() {
	say "fetching the lists of $(basename "$apt")"
	with_apt apt-get -qq update >&2 ||
		die "the package mirror is out of reach, or a list is broken (see above)." \
			"Run this again when it is back; what was fetched is kept"
	touch "$apt/updated"
}

# fetch PACKAGE SUITE FOLDER: download, and unpack what is used of it.  (Called where the
# shell ignores `set -e`: every step says what its failure means.)
fetch() {
	local pkg=$1 suite=$2 dest=$3 list

	say "fetching $pkg ($suite)"
	rm -rf "$dest" && mkdir -p "$dest" || return 1
	case $pkg in
	qemu-*) # and the libraries that this machine lacks
		list=$(with_apt apt-get -s install "$pkg" |
			sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\?(\([^ ]*\) .*/\1=\3/p') &&
			unpack "$dest" $list && use_qemu "$dest"
		;;
	linux-image-*)
		list=$(kernel_packages "$pkg") && unpack "$dest" $list && use_kernel "$dest"
		;;
	linux-headers-*) # those of exactly the kernel that is there
		list=$(kernel_packages "linux-headers-$(cat "$DEPS/kernel/${name##*/}/release")") &&
			unpack "$dest" $list && use_headers "$dest"
		;;
	*)
		unpack "$dest" "$pkg"
		;;
	esac
}

# unpack FOLDER PACKAGE[=VERSION]...
unpack() {
	local dest=$1 deb
	shift

	[ $# -gt 0 ] || return 1
	(cd "$DEPS/debs" && with_apt apt-get -qq download "$@" >&2) || return 1
	for deb in $(with_apt apt-get -q --print-uris download "$@" | awk '/^\047/ { print $2 }'); do
		dpkg-deb -x "$DEPS/debs/$deb" "$dest" || return 1
	done
}

# kernel_packages PACKAGE: what a linux-image package stands for; newer suites split it
kernel_packages() {
	local todo=$1 all=''

	while [ -n "$todo" ]; do
		case $todo in *[0-9]*) all+=" $todo" ;; esac
		todo=$(with_apt apt-cache show --no-all-versions $todo 2>/dev/null | sed -n 's/^Depends: //p' |
			grep -o -E 'linux-[a-z]+-[0-9][^ ,]*' | sort -u | grep -v -x -F "${all// /$'\n'}") || :
	done
	printf '%s\n' $all | sort -u | grep .
}

# vmlinuz, config, release and lib/modules, whatever the package's own layout
use_kernel() {
	local dest=$1 new=$1.kernel dir

	rm -rf "$new" && mkdir -p "$new/lib" || return 1
	for dir in "$dest"/usr/lib/modules "$dest"/lib/modules; do
		[ ! -d "$dir" ] || mv "$dir" "$new/lib/" || return 1
	done
	ln -s . "$new/usr"
	ls "$new/lib/modules" >"$new/release" || return 1
	mv "$dest"/boot/vmlinuz-* "$new/vmlinuz" 2>/dev/null ||
		mv "$new"/lib/modules/*/vmlinuz "$new/vmlinuz" || return 1
	mv "$dest"/boot/config-* "$new/config" 2>/dev/null ||
		mv "$new"/lib/modules/*/config "$new/config" || return 1
	PATH=$PATH:/sbin:/usr/sbin depmod -b "$new" "$(cat "$new/release")" || return 1
	rm -rf "$dest" && mv "$new" "$dest"
}

# build/ is where `make -C` finds what a module is built with.  The packages name each other by
# their installed place.
use_headers() {
	local dest=$1 final=$DEPS/$name src

	for src in "$dest"/usr/src/linux-headers-*-amd64; do
		ln -s "usr/src/${src##*/}" "$dest/build" || return 1
	done
	grep -r -l -I -E '/usr/(src|lib)/linux-' "$dest"/usr/src/linux-headers-*/{Makefile,.kernelvariables} 2>/dev/null |
		xargs -r sed -i -E "s|(^\|[^.a-z])/usr/(src\|lib)/linux-|\1$final/usr/\2/linux-|g"
	[ -e "$dest/build/" ]
}

# A command that finds its libraries, modules and firmware in its own folder.
use_qemu() {
	cat >"$1/run" <<-'END' && chmod +x "$1/run" && "$1/run" --version >&2
		#!/bin/sh
		d=$(dirname "$(readlink -f "$0")")
		l=lib/x86_64-linux-gnu
		LD_LIBRARY_PATH=$d/usr/$l:$d/$l QEMU_MODULE_DIR=$d/usr/$l/qemu exec \
			"$d/usr/bin/qemu-system-x86_64" -L "$d/usr/share/seabios" \
			-L "$d/usr/lib/ipxe/qemu" -L "$d/usr/share/qemu" "$@"
	END
}

private_all() {
	local rows row pkg suite name

	mapfile -t rows < <(table "$1")
	for row in "${rows[@]}"; do
		read -r pkg suite name <<<"$row"
		[ "$suite" = system ] || private "$pkg" "$suite" "$name"
	done
}

# --- purposes ------------------------------------------------------------------------------

need_build() {
	local libs cflags arch triplet headers bpf

	need_system build
	private_all build
	triplet=$(gcc -print-multiarch)
	if [ -e "$DEPS/libbpf-dev/.complete" ]; then
		headers=$DEPS/libbpf-dev/usr/include
		bpf=$DEPS/libbpf-dev/usr/lib/$triplet/libbpf.a
	else
		pkg-config --atleast-version=$LIBBPF_MIN libbpf || die "libbpf >= $LIBBPF_MIN is needed"
		headers=$(pkg-config --variable=includedir libbpf)
		bpf=$(pkg-config --variable=libdir libbpf)/libbpf.a
	fi
	[ -e "$bpf" ] || die "$bpf is missing; libbpf is linked statically"
	libs=$(pkg-config --libs $LIBS)
	cflags=$(pkg-config --cflags $LIBS)
	case $(uname -m) in
	x86_64) arch=x86 ;;
	aarch64) arch=arm64 ;;
	*) die "no support for $(uname -m) yet" ;;
	esac
	cat >"$DEPS/build.mk.new" <<-END
		# Written by setup.sh: what this machine offers.
		DEPS_CFLAGS := -isystem $headers $cflags
		DEPS_LIBS := $bpf $libs
		LIBBPF_HEADERS := $headers
		BPF_CFLAGS := -D__TARGET_ARCH_$arch -idirafter /usr/include/$triplet
	END
	mv "$DEPS/build.mk.new" "$DEPS/build.mk"
}

need_test() {
	need_system test
}

need_guests() {
	[ "$(uname -m)" = x86_64 ] || die "guests are for x86_64 only, so far"
	need_system guests
	private_all guests
}

need_fuzz() {
	need_system fuzz
}

need_bench() {
	need_guests
	need_system bench
	private_all bench
}

detect_release
mkdir -p "$DEPS"
exec 9>"$DEPS/.lock"
flock 9 # two runs that share $DEPS take turns
[ $# -gt 0 ] || set -- build
for purpose in "$@"; do
	case $purpose in
	build | test | guests | bench | fuzz) "need_$purpose" ;;
	*) die "usage: setup.sh [build] [test] [guests] [bench] [fuzz]" ;;
	esac
done
