#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# fetch.sh [--update] [SUITE-FLAVOUR ...]    default: bookworm-cloud trixie-cloud
# fetch.sh [--update] --qemu
#
# Debian's own kernels, unchanged, into $BED/kernels/VERSION/{vmlinuz,vmlinux,config,lib/modules},
# and a link $BED/kernels/SUITE-FLAVOUR to the version (flavours: cloud, standard). --qemu: trixie's QEMU
# with all its libraries into $BED/qemu, for the emulated host (its SMP is steadier than bookworm's).
# What is there is not looked for again, so that it works offline; --update asks the archive.
# The machine's own apt is only read: lists and packages live in a private directory.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

UPDATE=
WANT=()

# The archive this machine uses already: the first URI that serves its own release.
mirror() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } | awk -v suite="$codename" '
        $1 == "deb" { sub(/\[[^]]*\]/, ""); if ($3 == suite) { print $2; exit } }
        $1 == "Types:" { uri = "" }
        $1 == "URIs:" { uri = $2 }
        $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }'
}

# apt_private SUITE: makes apt-get and apt-cache work on SUITE alone, with no package installed.
# /etc/apt/apt.conf.d still counts (proxies); sources and preferences of the machine do not.
apt_private() {
    local suite=$1 dir=$BED/apt-$1 uri
    export APT_CONFIG=$dir/apt.conf
    [[ ! -e $dir/ok || -n $UPDATE ]] || return 0
    uri=$(mirror)
    [[ -n $uri ]] || die "no Debian archive found in /etc/apt: add one for this release"
    mkdir -p "$dir"/{lists/partial,cache/archives/partial,none}
    : >"$dir/status"
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
        >"$dir/sources.list"
    cat >"$APT_CONFIG" <<CONF
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$dir/none";
Dir::Etc::preferences "$dir/none/preferences";
Dir::Etc::preferencesparts "$dir/none";
CONF
    apt-get -qq update || die "cannot read $suite from $uri: is the network there?"
    touch "$dir/ok"
}

# unpack DIR PACKAGE...: downloads and unpacks, maintainer scripts are not run.
unpack() {
    local dir=$1 debs deb
    shift
    debs=$(mktemp -d "$BED/debs.XXXXXX")
    (cd "$debs" && apt-get -qq download "$@") || die "cannot download $*"
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$dir"
    done
    rm -rf "$debs"
}

fetch_kernel() {
    local name=$1 suite=${1%-*} meta package version new
    case ${name##*-} in
    cloud) meta=linux-image-cloud-amd64 ;;
    standard) meta=linux-image-amd64 ;;
    *) die "$name: use SUITE-cloud or SUITE-standard" ;;
    esac
    [[ ! -e $KERNELS/$name/vmlinux || -n $UPDATE ]] || return 0
    apt_private "$suite"
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    version=${package#linux-image-}
    [[ -n $version ]] || die "$suite has no $meta"
    if [[ ! -e $KERNELS/$version/vmlinux ]]; then
        say "$name: Linux $version"
        new=$(mktemp -d "$KERNELS/new.XXXXXX")
        chmod 755 "$new"
        unpack "$new" "$package"
        mv "$new/boot/vmlinuz-$version" "$new/vmlinuz"
        mv "$new/boot/config-$version" "$new/config"
        [[ -d $new/lib/modules ]] || mv "$new/usr/lib" "$new/lib" # trixie packs them below /usr
        rm -rf "${new:?}"/{usr,boot}
        depmod -b "$new" "$version"
        "$ROOT/tests/e2e/extract-vmlinux.sh" "$new/vmlinuz" "$new/vmlinux"
        mv -T "$new" "$KERNELS/$version"
    fi
    ln -sfnT "$version" "$KERNELS/$name"
}

fetch_qemu() {
    local new debs
    [[ ! -e $BED/qemu/usr/bin/qemu-system-x86_64 || -n $UPDATE ]] || return 0
    apt_private trixie
    say "QEMU of trixie"
    mapfile -t debs < <(apt-get -qq -s install qemu-system-x86 seabios | awk '$1 == "Inst" { print $2 }')
    new=$(mktemp -d "$BED/qemu.XXXXXX")
    chmod 755 "$new"
    unpack "$new" "${debs[@]}"
    rm -rf "$BED/qemu" "$new"/usr/share/{doc,man,locale,perl,bash-completion}
    mv -T "$new" "$BED/qemu"
}

for arg in "$@"; do
    case $arg in
    --update) UPDATE=1 ;;
    --*) [[ $arg = --qemu ]] || die "unknown option $arg"; WANT+=("$arg") ;;
    *) WANT+=("$arg") ;;
    esac
done
((${#WANT[@]})) || WANT=(bookworm-cloud trixie-cloud)
bed_lock
rm -rf "$KERNELS"/new.* "$BED"/{qemu,debs}.* # of a run that was interrupted
for name in "${WANT[@]}"; do
    if [[ $name = --qemu ]]; then
        fetch_qemu
    else
        fetch_kernel "$name"
    fi
done
