#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# host.sh [OPTION...] [SCRIPT [FILE:DESTINATION ...]] [-- QEMU-ARGUMENT ...]
#
# Boots the emulated host: QEMU without acceleration, an AMD processor with SVM, Debian's 6.12 kernel, so that
# KVM runs for real in it on any machine. SCRIPT becomes its /run.sh; FILEs are put where they are wanted. Without
# SCRIPT there is a shell. The output is the host's console; leaves with the script's status (0-15), or
#   100  the host died or hung (not the script's doing as far as one can tell): tried again, at most twice
#   101  QEMU did not start
# A failed script is never tried again. Options:
#   --arch A       x86_64, or aarch64: an Arm host, a Neoverse N1 with EL2, GICv3 and ITS (default: this machine's)
#   --gic 2        with --arch aarch64: GICv2 instead
#   --cpu MODEL    with --arch aarch64: another processor of QEMU's instead
#   --new          with --arch aarch64: Debian's 6.12 kernel on QEMU's processor "max": dirty rings, SVE, pointer authentication
#   --smp N        processors of the host (default 1; 2 for guests with several: QEMU is steadiest with 1)
#   --memory MIB   its memory (default 1500)
#   --timeout SEC  for one attempt (default 120); more than the script needs with its own time-outs
#   --initramfs F  other than the stock one      --append "..."  more kernel command line
#   --interactive  the terminal is the host's console, keys included; no time-out
#   --raw          leave the console's bytes as they are
#   --count        one instruction is one nanosecond of its time, and two runs are the same to the last instruction
#                  (QEMU 7.2 or older; twice as slow; one processor). A host that died is tried again with another seed: it
#                  would die again in the same place
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HOST_KERNEL=trixie-cloud
ARCH=$NATIVE GIC=3 ARM_CPU=neoverse-n1 NEW=''
SMP=1 MEMORY=1500 TIMEOUT=120 INITRAMFS='' APPEND='' INTERACTIVE='' RAW='' COUNT='' SCRIPT='' FILES=()
ATTEMPTS=3
# -cx16: QEMU 7.2 leaves garbage in the flags after cmpxchg16b and hosts and guests die of it at random. The others QEMU
# cannot emulate and would warn about.
CPU=EPYC,+svm,-cx16,-fxsr-opt,-misalignsse,-osvw,-topoext,-nrip-save,-xsavec

while (($#)); do
    case $1 in
    --arch) ARCH=$2 && shift ;;
    --gic) GIC=$2 && shift ;;
    --cpu) ARM_CPU=$2 && shift ;;
    # Its own pointer authentication would be computed: four times slower.
    --new) NEW=-new ARM_CPU=max,pauth-impdef=on ;;
    --smp) SMP=$2 && shift ;;
    --memory) MEMORY=$2 && shift ;;
    --timeout) TIMEOUT=$2 && shift ;;
    --initramfs) INITRAMFS=$2 && shift ;;
    --append) APPEND=$2 && shift ;;
    --interactive) INTERACTIVE=1 RAW=1 ;;
    --raw) RAW=1 ;;
    --count) COUNT=1 ;;
    --) shift && break ;;
    -*) die "unknown option $1" ;;
    *) if [[ -z $SCRIPT ]]; then SCRIPT=$1; else FILES+=("$1"); fi ;;
    esac
    shift
done
EXTRA=("$@")
case $ARCH in
x86_64) [[ $NATIVE = x86_64 ]] || die "--arch x86_64: nothing is built for it here; this machine is $NATIVE" ;;
# 6.1 starts a VMM seconds faster than 6.12 there.
aarch64) HOST_KERNEL=bookworm-cloud-arm64 && [[ -z $NEW ]] || HOST_KERNEL=trixie-cloud-arm64 ;;
*) die "--arch $ARCH: x86_64 or aarch64" ;;
esac

if [[ -z $INITRAMFS ]]; then
    INITRAMFS=$BED/host.cpio
    [[ $ARCH = x86_64 ]] || INITRAMFS=$BED/host-$ARCH$NEW.cpio
    "$ROOT/tests/e2e/initramfs.sh" host "$HOST_KERNEL" "$INITRAMFS"
fi

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir "$WORK/root"
[[ -z $SCRIPT ]] || install -m 755 "$SCRIPT" "$WORK/root/run.sh"
for f in ${FILES[@]+"${FILES[@]}"}; do
    install -D -m 755 "${f%%:*}" "$WORK/root/${f#*:}"
done
# Other times of files would be other bytes in memory, and a count a little different.
[[ -z $COUNT ]] || find "$WORK/root" -exec touch -hd @0 {} +
{ cat "$INITRAMFS" && cpio_of "$WORK/root"; } >"$WORK/initramfs"
rm -rf "$WORK/root"

# Trixie's QEMU from $BED where it was fetched, else the machine's; that one for counting: 10 is not exact.
qemu() {
    local q=$BED/qemu/usr
    if [[ -z $COUNT && -x $q/bin/qemu-system-x86_64 ]]; then
        "$q/lib64/ld-linux-x86-64.so.2" --library-path "$q/lib/x86_64-linux-gnu" "$q/bin/qemu-system-x86_64" \
            -L "$q/share/qemu" -L "$q/share/seabios" "$@"
    else
        qemu-system-x86_64 "$@"
    fi
}

# A hung host shall die soon; a shell for a person never.
append="console=ttyS0 panic=-1 reboot=t quiet bed.end=exit $APPEND"
# There is no port to leave by: the console says @exit N.
[[ $ARCH = x86_64 ]] || append="console=ttyAMA0 panic=-1 quiet $APPEND"
[[ -n $INTERACTIVE ]] || append+=" sysctl.kernel.hung_task_timeout_secs=20 sysctl.kernel.hung_task_panic=1"
[[ -n $INTERACTIVE ]] || append+=" sysctl.kernel.softlockup_panic=1"

ACCEL="tcg,thread=multi" CONSOLE="stdio,id=console,signal=off"
if [[ -n $COUNT ]]; then
    ACCEL="tcg,thread=single"
    # A pipe that is full for a moment can stop a host whose time stands still meanwhile.
    CONSOLE="file,id=console,path=$WORK/console"
    append+=" nokaslr mitigations=off"
    EXTRA+=(-icount "shift=0,sleep=off" -rtc "base=2026-01-01T00:00:00,clock=vm")
fi

if [[ $ARCH = x86_64 ]]; then
    MACHINE=(-cpu "$CPU" -device "isa-debug-exit,iobase=0xf4,iosize=1")
else
    its=,its=on
    [[ $GIC = 3 ]] || its=
    MACHINE=(-M "virt,virtualization=on,gic-version=$GIC$its" -cpu "$ARM_CPU")
    # This machine's QEMU: what it runs is steady with several processors, too.
    qemu() { qemu-system-aarch64 "$@"; }
fi

host_once() {
    local args=("${MACHINE[@]}" -accel "$ACCEL" -m "$MEMORY" -smp "$SMP" -nodefaults
        -display none -no-reboot
        -chardev "$CONSOLE" -serial chardev:console
        ${COUNT:+-seed "$attempt"} -kernel "$KERNELS/$HOST_KERNEL/vmlinuz" -initrd "$WORK/initramfs" -append "$append"
        ${EXTRA[@]+"${EXTRA[@]}"})
    if [[ -n $INTERACTIVE ]]; then
        qemu "${args[@]}"
    else
        export -f qemu
        export COUNT
        timeout -k 5 "$TIMEOUT" bash -c 'qemu "$@"' qemu "${args[@]}" </dev/null
    fi
}

# Only text: no carriage returns, no cursor movements.
clean() {
    if [[ -n $RAW ]]; then
        cat
    else
        tr -d '\r' | sed -u -e 's/\x1b\[[0-9;?=]*[a-zA-Z]//g' -e 's/\x1bc//g'
    fi
}

# The status of an Arm host: what its console said last. 0 from QEMU and nothing said: it died.
arm_status() {
    local said
    said=$(tr -d '\r' <"$WORK/said" | sed -n 's/^@exit \([0-9]*\)$/\1/p' | tail -1)
    [[ -n $said ]] && echo $((said > 15 ? 15 : said))
}

# isa-debug-exit gives 2 * value + 1 and the value is 16 + status (so that 0 cannot be mistaken): 33, 35 ... 63.
for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    code=0
    if [[ -n $INTERACTIVE ]]; then
        host_once || code=$?
    else
        { host_once 2>"$WORK/stderr" || echo $? >"$WORK/code"; [[ -z $COUNT ]] || cat "$WORK/console" || true; } |
            clean | tee "$WORK/said"
        [[ ! -e $WORK/code ]] || code=$(<"$WORK/code")
        rm -f "$WORK/code"
        grep -v "doesn't support requested feature" "$WORK/stderr" >&2 || true
    fi
    if [[ $ARCH = aarch64 && -z $INTERACTIVE ]]; then
        ! status=$(arm_status) || exit "$status"
    fi
    ((code % 2 == 0 || code < 33 || code > 63)) || exit $(((code - 33) / 2))
    ((code != 1)) || { say "QEMU did not start"; exit 101; }
    [[ -z $INTERACTIVE ]] || exit 0 # the person ended it
    say "the emulated host died (QEMU left with $code, attempt $attempt of $ATTEMPTS)"
done
exit 100
