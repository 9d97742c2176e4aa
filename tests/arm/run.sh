#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# run.sh SYSROOT PROGRAM [ARGUMENT...]: runs a program for AArch64 on this machine, with the libraries below SYSROOT.
# Tests start programs in their turn, so that a call of the emulator is not enough: the kernel has to know it. What it is
# told here holds in a namespace of its own and changes nothing on the machine. VMM_USER_EMULATOR=1 tells the tests.
set -euo pipefail
EMULATOR=/usr/bin/qemu-aarch64-static
# The first 20 bytes of an ELF file: 64 bits, little endian, a program or a shared object, machine 183 (ELF for the Arm
# 64-bit Architecture, 5.1). F: the kernel opens the emulator now, so that a jail does not need it.
MAGIC='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
FORMATS=/proc/sys/fs/binfmt_misc

die() {
    echo "run.sh: $*" >&2
    exit 1
}

if [[ ${1:-} = --registered ]]; then
    shift
else
    (($# >= 2)) || die "usage: run.sh SYSROOT PROGRAM [ARGUMENT...]"
    export QEMU_LD_PREFIX=$1
    shift
    [[ $(uname -m) = aarch64 ]] || export VMM_USER_EMULATOR=1
    # An Arm machine, or one that knows the emulator already.
    ! "$QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1" --version >/dev/null 2>&1 || exec "$@"
    [[ -x $EMULATOR ]] || die "$EMULATOR is missing: install qemu-user-static"
    unshare --user true 2>/dev/null ||
        die "no user namespace can be made here (in a chroot, or user.max_user_namespaces is 0), and the kernel does not know the" \
            "emulator for AArch64 either: let binfmt_misc know it (package binfmt-support)"
    exec unshare --user --map-root-user --mount "$0" --registered "$@"
fi
mount -t binfmt_misc binfmt_misc "$FORMATS" ||
    die "a user namespace cannot have its own binfmt_misc here (Linux 6.7 or later can)"
printf '%s' ":vmm-aarch64:M::$MAGIC:$MASK:$EMULATOR:F" >"$FORMATS/register" || die "binfmt_misc refuses the emulator"
exec "$@"
