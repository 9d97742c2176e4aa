# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host (busybox sh) as its /run.sh: one guest under the VMM, from boot to end, as /row says:
# KERNEL CPUS MEMORY CONSOLE ROOT END RESET_STATUS PATIENCE, see boot.sh. Answers with its exit status.
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

case $CONSOLE in
serial) set -- --serial tty --console off && tty=ttyS0 ;;
hvc0) set -- --serial off --console tty && tty=hvc0 ;;
esac
cmdline="console=$tty quiet panic=-1"
[ "$END" != reboot ] || cmdline="$cmdline bed.end=reboot"
[ "$ROOT" != disk ] || cmdline="$cmdline root=/dev/vda"

echo 1 >/proc/sys/vm/overcommit_memory # guests larger than this host
DEADLINE=$(($(cut -d. -f1 /proc/uptime) + PATIENCE))
mkfifo /in
exec 3<>/in
: >/out
{
    # shellcheck disable=SC2016 # expanded by the inner shell
    sh -c 'echo $$ >/pid; exec "$@"' sh /vmm run -m "$MEMORY" -c "$CPUS" "$@" --rng on \
        --disk path=/disk.img -p "$cmdline" -i /guest.cpio /kernel <&3 2>&1
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

# What the guest wrote must be in the image.
mkdir -p /mnt
mount -t ext4 -o loop,ro /disk.img /mnt || fail "the guest's disk is no file system any more"
sum=$(sha256sum </mnt/written | cut -d' ' -f1)
[ ${#sum} = 64 ] || fail "the disk has no file of the guest's"
grep -aq "^@written $sum" /out || fail "the disk does not hold what the guest wrote"
echo "@passed"
