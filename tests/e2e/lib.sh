# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash
#
# Sourced by every script of the test bed: where things are, messages, packages, locks.
# All artefacts live in $BED; a file there is complete if it exists (written aside, then renamed).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BED=${VMM_TESTBED:-$ROOT/build/testbed}
KERNELS=$BED/kernels
# What this machine is, as uname says it: x86_64 or aarch64. On AArch64 nothing is built or booted for x86_64.
NATIVE=$(uname -m)
export ROOT BED KERNELS NATIVE
mkdir -p "$KERNELS"
# With set -e a script ends at the first failure: say where.
set -E
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: failed: $BASH_COMMAND" >&2' ERR

say() { echo "${0##*/}: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# packages_ensure PACKAGE...: installs what is missing; touches no network when nothing is.
packages_ensure() {
    local p missing=()
    for p in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) == ii* ]] || missing+=("$p")
    done
    ((${#missing[@]})) || return 0
    [[ $(id -u) = 0 ]] || die "packages are missing, run this as root or install them: ${missing[*]}"
    say "installing ${missing[*]}"
    {
        apt-get -qq update || say "apt-get update failed, trying with the lists there are"
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}"
    } >"$BED/apt.log" 2>&1 || { cat "$BED/apt.log" >&2; die "cannot install ${missing[*]}"; }
}

# What the build needs, what the tests need beside it, and what the emulated host and its guests are made with.
# shellcheck disable=SC2034 # for those who source this file
BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libfdt-dev libjansson-dev libseccomp-dev libcap-dev
    liburing-dev zlib1g-dev libzstd-dev libcriterion-dev acpica-tools device-tree-compiler)
# shellcheck disable=SC2034
TEST_PACKAGES=(g++ make clang clang-format clang-tidy libclang-rt-14-dev llvm git shellcheck pciutils
    zsh fish dt-schema qemu-utils)
# shellcheck disable=SC2034
BED_PACKAGES=(qemu-system-x86 seabios busybox-static cpio kmod xz-utils lz4 zstd gcc libc6-dev e2fsprogs pciutils
    util-linux debian-archive-keyring passt)
# What builds for AArch64 on another machine, and runs its tests there. An Arm machine's own compiler has the cross
# compiler's name, too.
# shellcheck disable=SC2034
ARM_PACKAGES=(gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static util-linux
    debian-archive-keyring)
# shellcheck disable=SC2034
[[ $NATIVE != aarch64 ]] || ARM_PACKAGES=(util-linux debian-archive-keyring)

# What the emulated Arm host and its guests are made with, beside BED_PACKAGES and ARM_PACKAGES.
# shellcheck disable=SC2034
BED_ARM_PACKAGES=(qemu-system-arm device-tree-compiler)

# arch_of KERNEL: amd64, or arm64 for a name like bookworm-cloud-arm64.
arch_of() {
    case $1 in
    *-arm64) echo arm64 ;;
    *) echo amd64 ;;
    esac
}

# bed_lock: one script at a time changes $BED; released when the calling script ends.
bed_lock() {
    exec {BED_LOCK_FD}>"$BED/lock"
    flock "$BED_LOCK_FD"
}

# newer OUTPUT INPUT...: true if OUTPUT exists and no input is newer.
newer() {
    local out=$1 in
    [[ -e $out ]] || return 1
    shift
    for in in "$@"; do
        [[ ! $in -nt $out ]] || return 1
    done
}

# cpio_of DIR: a newc archive of DIR on stdout, padded so that another may follow: the kernel looks
# for the next archive at a multiple of 4 bytes (cpio itself pads to 512).
cpio_of() {
    (cd "$1" && find . -print0 | LC_ALL=C sort -z | cpio --null -o -H newc -R 0:0 --reproducible --quiet)
}

# vsock_cases COMPILER OUTPUT: the program of vsock-cases.c.
vsock_cases() {
    "$1" -O2 -static -s -Wall -Wextra -Werror -D_GNU_SOURCE -o "$2" "$ROOT"/tests/e2e/vsock-{cases,messages,linux,stress}.c
}

# preset_of [amd64|arm64]: the build tree for that architecture: release for this machine's own, which is meant without a
# word, else the cross build.
preset_of() {
    case ${1:-$NATIVE}-$NATIVE in
    amd64-x86_64 | arm64-aarch64 | "$NATIVE-$NATIVE") echo release ;;
    arm64-*) echo aarch64 ;;
    *) die "there is no cross build for $1; this machine is $NATIVE" ;;
    esac
}

# vmm_program [amd64|arm64]: the program to test: the one of preset_of, if nothing else is asked for.
vmm_program() {
    local p preset given=${VMM_UNDER_TEST:-}
    preset=$(preset_of "$@")
    [[ $preset = release ]] || given=${VMM_ARM_UNDER_TEST:-}
    for p in "$given" "$ROOT/build/$preset/vmm"; do
        [[ -z $p || ! -f $p || ! -x $p ]] || { echo "$p" && return; }
    done
    die "vmm is not built: cmake --preset $preset && cmake --build --preset $preset"
}

# libraries_of PROGRAM: FILE:DESTINATION of each shared library of a program and of its loader, as host.sh wants them; nothing for a
# static one. Those of AArch64 are in the sysroot that it was built with.
libraries_of() {
    local triplet=x86_64-linux-gnu root='' loader=lib64/ld-linux-x86-64.so.2 todo=("$1") file name
    if [[ $(LC_ALL=C readelf -h "$1") = *AArch64* ]]; then
        triplet=aarch64-linux-gnu root=$BED/sysroot-arm64 loader=lib/ld-linux-aarch64.so.1
        [[ $NATIVE != aarch64 ]] || root=''
    fi
    local -A seen=()
    while ((${#todo[@]})); do
        file=${todo[0]} todo=("${todo[@]:1}")
        while read -r name; do
            [[ -z ${seen[$name]-} && $name != ld-linux-* ]] || continue
            seen[$name]=$root/usr/lib/$triplet/$name
            [[ -e ${seen[$name]} ]] || seen[$name]=$root/lib/$triplet/$name
            todo+=("${seen[$name]}")
            echo "${seen[$name]}:lib/$triplet/$name"
        done < <(LC_ALL=C readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    done
    ((${#seen[@]} == 0)) || echo "$root/$loader:$loader"
}

# vmm_in_host VMM DIR: sets VMM_FILES and VMM_QEMU, arguments of host.sh that bring a VMM into the emulated host as
# /vmm. VMM is a program, or qemu-q35 or qemu-microvm: trixie's QEMU, for comparison; DIR is for a helper file.
vmm_in_host() {
    VMM_FILES=("$1:vmm") VMM_QEMU=()
    if [[ $1 != qemu-* ]]; then
        mapfile -t -O 1 VMM_FILES < <(libraries_of "$1")
        return
    fi
    "$ROOT/tests/e2e/initramfs.sh" qemu "$BED/qemu.img"
    cat >"$2/setup.sh" <<SETUP
export QEMU_MACHINE=${1#qemu-}
mkdir -p /q /lib64 && mount -t ext4 -o ro /dev/vda /q && ln -s /q/usr/lib64/* /lib64/
SETUP
    # shellcheck disable=SC2034
    VMM_FILES=("$ROOT/tests/e2e/qemu-vmm.sh:vmm" "$2/setup.sh:setup.sh")
    # shellcheck disable=SC2034
    VMM_QEMU=(-drive "if=none,id=q,format=raw,readonly=on,file=$BED/qemu.img" -device "virtio-blk-pci,drive=q")
}
