# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host (busybox sh) as its /run.sh: one guest under the VMM, from boot to end, as /row says:
# CPUS MEMORY CONSOLE ROOT END WORDS RESET_STATUS PATIENCE, see boot.sh. Answers with its exit status.
# shellcheck source=/dev/null
. /row
# shellcheck source=/dev/null
[ ! -e /setup.sh ] || . /setup.sh # the stand-in VMM's needs

fail() {
    echo "@failed $*"
    kill -KILL "$(cat /pid)" 2>/dev/null
    exit 1
}

# wait_for PATTERN: until a line of the guest's console matches; the guest's time is PATIENCE seconds in all.
wait_for() {
    while ! grep -aq "$1" /out; do
        [ ! -e /status ] || fail "the VMM ended with $(cat /status) before '$1'"
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up, waiting for '$1'"
        sleep 0.1
    done
}

wait_end() {
    while [ ! -e /status ]; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up, waiting for the VMM to end"
        sleep 0.1
    done
}

has() {
    case ,$WORDS, in
    *",$1,"*) ;;
    *) return 1 ;;
    esac
}

# Of a kernel that does not run at EL2, KVM says nothing of VHE.
if has nvhe; then
    dmesg | grep -q 'kvm.*: Hyp mode initialized successfully' || fail "KVM is not without VHE"
fi

packed='' where='' rng=on
! has split || { packed=,packed=off && rng=packed=off; }
! has segment1 || where=,pci_segment=1
! has mmio || where=,bus=mmio
case $CONSOLE in
serial)
    set -- --serial tty --console off && tty=ttyS0
    [ "$(uname -m)" != aarch64 ] || tty=ttyAMA0
    ;;
hvc0) set -- --serial off --console "tty$packed" && tty=hvc0 ;;
esac

# The disk's own process, from now on: killed every few seconds (an emulated Arm host does less in them), its successor comes at
# once.
serve_disk() {
    life=2
    [ "$(uname -m)" != aarch64 ] || life=3
    while [ ! -e /status ]; do
        /vmm device virtio-blk path=/disk.img --socket /disk.sock >>/device.log 2>&1 &
        echo $! >/device.pid
        sleep $life
        kill -KILL $!
        wait $!
        echo killed >>/device.kills
    done
}

# The processes of the machine's devices, all at a time, from now on.
kill_devices() {
    life=2
    [ "$(uname -m)" != aarch64 ] || life=3
    while [ ! -e /status ]; do
        sleep $life
        for p in /proc/[0-9]*; do
            ! tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q '^vmm device virtio-' || {
                kill -KILL "${p#/proc/}" && echo killed >>/device.kills
            }
        done
    done
}

set -- "$@" --rng "$rng"
if has thread; then
    set -- "$@" --sandbox thread
elif has killed; then
    set -- "$@" --log-level error
    kill_devices 2>/dev/null &
fi
if has vhost; then
    # Each loss is a warning, which would stand in the middle of the guest's report.
    set -- "$@" --vhost-user "block,socket=/disk.sock$where$packed" --log-level error
    serve_disk 2>/dev/null &
else
    set -- "$@" --disk "path=/disk.img$where$packed"
fi
! has segment1 || set -- "$@" --platform num_pci_segments=2
! has nopci || set -- "$@" --pci off
! has kernelirq || set -- "$@" --irqchip kernel
! has gicv2 || set -- "$@" --irqchip gicv2
if has full; then
    mkdir /small
    mount -t tmpfs -o size=1m small /small || fail "no small file system"
    truncate -s 4M /small/disk.img
    set -- "$@" --disk "path=/small/disk.img$where$packed"
fi
cmdline="console=$tty quiet panic=-1"
[ "$END" != reboot ] || cmdline="$cmdline bed.end=reboot"
[ "$ROOT" != disk ] || cmdline="$cmdline root=/dev/vda"
# Until its kernel can stop the tick of an idle processor, 250 ticks a second of each of many are more than the emulated host gets
# done: guest-check.sh brings up all but the first.
[ "$CPUS" -le 16 ] || cmdline="$cmdline maxcpus=1"

echo 1 >/proc/sys/kernel/printk # the console is the guest's; a dying kernel speaks all the same
echo 1 >/proc/sys/vm/overcommit_memory # guests larger than this host
DEADLINE=$(($(cut -d. -f1 /proc/uptime) + PATIENCE))
mkfifo /in
exec 3<>/in
: >/out
{
    # shellcheck disable=SC2016 # expanded by the inner shell
    sh -c 'echo $$ >/pid; exec "$@"' sh /vmm run -m "$MEMORY" -c "$CPUS" "$@" \
        -p "$cmdline" -i /guest.cpio /kernel <&3 2>&1
    echo $? >/status
} | tee /out &

wait_for '^guest:.*#'
echo "sh /check.sh" >&3
wait_for '^@checks-done'
! grep -a '^@failed' /out || fail "by the guest"
case $END in
button) kill -TERM "$(cat /pid)" ;;
*) echo exit >&3 ;;
esac
wait_end
[ "$END" != button ] || grep -aq '^@power-button' /out || fail "the guest saw no power button"
expected=0
[ "$END" != reboot ] || expected=$RESET_STATUS
[ "$(cat /status)" = "$expected" ] || fail "$END: the VMM left with $(cat /status), not $expected"

if has vhost || has killed; then
    kills=$(wc -l </device.kills)
    [ "$kills" -ge 2 ] || fail "processes of devices were killed only $kills times"
    [ ! -e /device.log ] || ! grep -av "^warning" /device.log || fail "by the disk's process"
    echo "@kills $kills"
fi

! grep -a "refused the system call" /out || fail "a filter lacks a row"

# What the guest wrote must be in the image, and the file system sound: a look before anything repairs it.
/fsck/ld.so --library-path /fsck /fsck/e2fsck -fn /disk.img || fail "e2fsck: the file system is damaged"
mkdir -p /mnt
mount -t ext4 -o loop,ro /disk.img /mnt || fail "the guest's disk is no file system any more"
sum=$(sha256sum </mnt/written | cut -d' ' -f1)
[ ${#sum} = 64 ] || fail "the disk has no file of the guest's"
grep -aq "^@written $sum" /out || fail "the disk does not hold what the guest wrote"
echo "@passed"
