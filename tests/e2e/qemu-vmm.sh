#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Stands in for vmm in the emulated host: understands the options in-host.sh uses and runs QEMU with them. The
# reference that the guests' kernel logs are compared with, and the proof that the test bed itself is sound.
# QEMU_MACHINE: q35, microvm, or microvm-pcie (with ECAM). QEMU's image is mounted on /q.
# What is told apart by its exit status elsewhere is told by QEMU's monitor here: SIGTERM = power button.
machine=${QEMU_MACHINE:-q35}
[ "$1" = run ] && shift
bus=pci
[ "$machine" != microvm ] || bus=device
set -- "$@" --end
# Each option is taken from the front, QEMU's arguments are put at the back.
while [ "$1" != --end ]; do
    a=$1 b=$2
    shift
    case $a in
    -m | -c | -i | -p | --serial | --console | --rng | --disk) shift ;;
    esac
    case $a=$b in
    -m=*) set -- "$@" -m "$b" ;;
    -c=*) set -- "$@" -smp "$b" ;;
    -i=*) set -- "$@" -initrd "$b" ;;
    -p=*) set -- "$@" -append "$b" ;;
    --serial=tty) set -- "$@" -serial chardev:tty ;;
    --console=tty) set -- "$@" -device virtio-serial-$bus -device virtconsole,chardev=tty ;;
    --rng=on) set -- "$@" -device virtio-rng-$bus ;;
    --disk=*)
        file=${b#path=}
        set -- "$@" -drive "if=none,id=d,format=raw,file=${file%%,*}" -device virtio-blk-$bus,drive=d
        ;;
    -*) ;;
    *) set -- "$@" -kernel "$a" ;;
    esac
done
shift
case $machine in
microvm) machine=microvm,acpi=on,pit=off,pic=off,rtc=on ;;
microvm-pcie) machine=microvm,acpi=on,pit=off,pic=off,rtc=on,pcie=on ;;
esac
mkfifo /tmp/monitor.in /tmp/monitor.out
exec 4<&0 # a background process would read /dev/null
LD_LIBRARY_PATH=/q/usr/lib/x86_64-linux-gnu /q/usr/bin/qemu-system-x86_64 -L /q/usr/share/qemu -L /q/usr/share/seabios \
    -M "$machine" -accel kvm -cpu host -nodefaults -no-user-config -display none -no-reboot \
    -chardev stdio,id=tty,signal=off -monitor pipe:/tmp/monitor "$@" <&4 &
pid=$!
cat /tmp/monitor.out >/dev/null &
trap 'echo system_powerdown >/tmp/monitor.in' TERM
while kill -0 $pid 2>/dev/null; do
    wait $pid
    status=$?
done
exit "$status"
