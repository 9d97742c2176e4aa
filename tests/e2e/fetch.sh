#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# fetch.sh [--update] [SUITE-FLAVOUR ...]    default: bookworm-cloud trixie-cloud
# fetch.sh [--update] --qemu | --qemu-arm64
#
# Debian's own kernels, unchanged, into $BED/kernels/VERSION/{vmlinuz,vmlinux,config,lib/modules},
# and a link $BED/kernels/SUITE-FLAVOUR to the version (flavours: cloud, standard). SUITE-FLAVOUR-arm64 are those for
# AArch64: vmlinuz (an Image), and the same as vmlinuz.gz and vmlinuz.zst; with them come busybox and e2fsck for it.
# --qemu: trixie's QEMU with all its libraries into $BED/qemu, for the emulated host (its SMP is steadier than bookworm's).
# --qemu-arm64: the one that runs on AArch64, into $BED/qemu-arm64, to compare with in the emulated Arm host.
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
    local name=$1 suite=${1%%-*} arch flavour meta package version new
    arch=$(arch_of "$name")
    flavour=${name#*-}
    case ${flavour%-arm64} in
    cloud) meta=linux-image-cloud-$arch ;;
    standard) meta=linux-image-$arch ;;
    *) die "$name: use SUITE-cloud or SUITE-standard, with -arm64 for AArch64" ;;
    esac
    [[ ! -e $KERNELS/$name/vmlinuz || -n $UPDATE ]] || return 0
    apt_private "$suite" "$arch"
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    version=${package#linux-image-}
    [[ -n $version ]] || die "$suite has no $meta"
    if [[ ! -e $KERNELS/$version/vmlinuz ]]; then
        say "$name: Linux $version"
        new=$(mktemp -d "$KERNELS/new.XXXXXX")
        chmod 755 "$new"
        unpack "$new" "$package"
        mv "$new/boot/vmlinuz-$version" "$new/vmlinuz"
        mv "$new/boot/config-$version" "$new/config"
        [[ -d $new/lib/modules ]] || mv "$new/usr/lib" "$new/lib" # trixie packs them below /usr
        rm -rf "${new:?}"/{usr,boot}
        depmod -b "$new" "$version"
        if [[ $arch = arm64 ]]; then
            gzip -k "$new/vmlinuz" && zstd -q "$new/vmlinuz"
        else
            "$ROOT/tests/e2e/extract-vmlinux.sh" "$new/vmlinuz" "$new/vmlinux"
        fi
        mv -T "$new" "$KERNELS/$version"
    fi
    ln -sfnT "$version" "$KERNELS/$name"
}

# busybox and, with all its libraries, e2fsck: into $BED/programs-arm64.
fetch_programs_arm64() {
    local new debs
    [[ ! -e $BED/programs-arm64/busybox || -n $UPDATE ]] || return 0
    apt_private bookworm arm64
    say "busybox and e2fsck for AArch64"
    mapfile -t debs < <(with_dependencies e2fsprogs busybox-static)
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new/all" "${debs[@]}"
    mkdir "$new/fsck"
    cp "$new/all/bin/busybox" "$new/busybox"
    cp "$new/all/sbin/e2fsck" "$new/fsck/"
    cp -L "$new"/all/{lib,usr/lib}/aarch64-linux-gnu/lib{ext2fs,com_err,blkid,uuid,e2p,c,pthread}.so.? "$new/fsck/" 2>/dev/null || true
    cp -L "$new/all/lib/ld-linux-aarch64.so.1" "$new/fsck/ld.so"
    rm -rf "$new/all" "$BED/programs-arm64"
    mv -T "$new" "$BED/programs-arm64"
}

# fetch_qemu DIR PROGRAM ARCH PACKAGE...
fetch_qemu() {
    local dir=$BED/$1 program=$2 arch=$3 new debs
    shift 3
    [[ ! -e $dir/usr/bin/$program || -n $UPDATE ]] || return 0
    apt_private trixie "$arch"
    say "QEMU of trixie ($arch)"
    mapfile -t debs < <(with_dependencies "$@")
    new=$(mktemp -d "$BED/new.XXXXXX")
    chmod 755 "$new"
    unpack "$new" "${debs[@]}"
    rm -rf "$dir" "$new"/usr/share/{doc,man,locale,perl,bash-completion}
    mv -T "$new" "$dir"
}

for arg in "$@"; do
    case $arg in
    --update) UPDATE=1 ;;
    --qemu | --qemu-arm64) WANT+=("$arg") ;;
    --*) die "unknown option $arg" ;;
    *) WANT+=("$arg") ;;
    esac
done
((${#WANT[@]})) || WANT=(bookworm-cloud trixie-cloud)
bed_lock
rm -rf "$KERNELS"/new.* "$BED"/{new,debs}.* # of a run that was interrupted
for name in "${WANT[@]}"; do
    case $name in
    --qemu) fetch_qemu qemu qemu-system-x86_64 amd64 qemu-system-x86 seabios ;;
    --qemu-arm64) fetch_qemu qemu-arm64 qemu-system-aarch64 arm64 qemu-system-arm ;;
    *)
        fetch_kernel "$name"
        [[ $(arch_of "$name") != arm64 ]] || fetch_programs_arm64
        ;;
    esac
done
