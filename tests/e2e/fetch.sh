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
# The machine's own apt is only read: apt.sh.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/apt.sh
. "$(dirname "$0")/apt.sh"

UPDATE=
WANT=()

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
    mapfile -t debs < <(with_dependencies qemu-system-x86 seabios)
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
