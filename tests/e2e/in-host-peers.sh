# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host (busybox sh) as its /run.sh, for peers.sh: a guest whose disks and files Debian's back ends serve, which are
# killed, stopped and started again under it. /row: DOWN, the seconds that a back end is away.
# shellcheck source=/dev/null
. /row
: "${DOWN?}" "${PATIENCE?}"

fail() {
    echo "@failed $*"
    timeout 5 /vmm info /sock
    cat /daemon.log
    kill -KILL "$(cat /pid)" 2>/dev/null
    exit 1
}

# wait_for PATTERN: until a line of the guest's console matches.
wait_for() {
    while ! grep -aqE "$1" /out; do
        ! grep -a '@failed' /out || fail "by the guest"
        [ ! -e /status ] || fail "the VMM ended with $(cat /status) before '$1'"
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up, waiting for '$1'"
        sleep 0.1
    done
}

# more_of WORD: until the guest has done three rounds more.
more_of() {
    wait_for "@$1 $(($(grep -ac "@$1 [0-9]" /out) + 3))"
}

peer() {
    program=$1
    shift
    echo "/peers/ld.so --library-path /peers /peers/$program $*"
}

# The back end of /dev/vdc, which is started by hand.
daemon() {
    # shellcheck disable=SC2046 # words
    exec $(peer qemu-storage-daemon --blockdev driver=file,filename=/c.img,node-name=d \
        --export type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=/c.sock,writable=on)
}

daemon_start() {
    rm -f /c.sock
    daemon >>/daemon.log 2>&1 &
    DAEMON=$!
}

daemon_kill() {
    kill -KILL $DAEMON
    wait $DAEMON
}

# back_end WORD: the process of a back end that has this word in its command line; nothing: there is none.
back_end() {
    for p in /proc/[0-9]*; do
        ! tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q -- "^/peers/ld.so.*$1" || { echo "${p#/proc/}" && return; }
    done
}

kill_program() {
    pid=$(back_end "$1")
    [ -n "$pid" ] || fail "no program '$1' runs"
    kill -KILL "$pid"
}

# tell COMMAND: to the guest's shell.
tell() {
    echo "$*" >&3
}

echo 1 >/proc/sys/kernel/printk
mkdir /share /tmp 2>/dev/null
mkfifo /in
exec 3<>/in
: >/out
DEADLINE=$(($(cut -d. -f1 /proc/uptime) + PATIENCE))
daemon_start
qcow2=$(peer qemu-storage-daemon --blockdev driver=file,filename=/b.qcow2,node-name=f --blockdev driver=qcow2,file=f,node-name=d \
    --export "type=vhost-user-blk,id=e,node-name=d,addr.type=fd,addr.str={listen},writable=on")
files=$(peer virtiofsd "--fd={listen}" -o source=/share -o sandbox=chroot)
tty=ttyS0
[ "$(uname -m)" != aarch64 ] || tty=ttyAMA0
{
    # shellcheck disable=SC2016 # expanded by the inner shell
    sh -c 'echo $$ >/pid; exec "$@"' sh /vmm run -m 256 -c 1 -s /sock --serial tty --console off --log-level error \
        --disk path=/a.img "vhost_user=on,program=\"$qcow2\"" --fs "tag=share,program=\"$files\"" \
        --vhost-user block,socket=/c.sock -p "console=$tty quiet panic=-1" -i /guest.cpio /kernel <&3 2>&1
    echo $? >/status
} | tee /out &

wait_for '^guest:.*#'
# qcow2 keeps its tables in memory until it is told to flush: what was written before would be gone with the process.
tell "sh /peers.sh through vdb"
wait_for '@vdb through'
for disk in vda vdb vdc; do
    tell "sh /peers.sh disk $disk &"
done
tell "sh /peers.sh files &"
for word in vda vdb vdc files; do
    more_of $word
done

# Killed and away: the other devices go on, and so does this one afterwards.
for down in 0 "$DOWN"; do
    daemon_kill
    [ "$down" = 0 ] || more_of vda
    sleep "$down"
    daemon_start
    more_of vdc
done
echo "@killed by hand"

# Killed, and started again by the VMM; qcow2 keeps what it said to have.
for round in 1 2 3; do
    kill_program b.qcow2
    more_of vdb
done
echo "@killed program $round times"

# Stopped: neither processors nor the VMM wait for it.
kill -STOP $DAEMON
timeout 10 /vmm info /sock >/info || fail "vmm info does not answer while a back end stands still"
grep -q '"state": "running"' /info || fail "vmm info: $(cat /info)"
more_of vda
more_of vdb
kill -CONT $DAEMON
more_of vdc
echo "@stopped and continued"

# Away, however often the VMM starts it: the other devices go on. A FUSE session lives in its server: who mounts again finds all files.
mv /peers/virtiofsd /peers/away
kill_program virtiofsd
sleep "$DOWN"
more_of vda
timeout 10 /vmm info /sock >/info || fail "vmm info does not answer while virtiofsd is away"
[ -z "$(back_end virtiofsd)" ] || fail "virtiofsd is back without its program"
mv /peers/away /peers/virtiofsd
wait_for '@files lost'
tell "sh /peers.sh kept"
wait_for '@files sound'

for disk in vda vdb vdc; do
    tell ": >/tmp/rest.$disk"
    wait_for "@$disk rests"
    tell "sh /peers.sh sound $disk"
    wait_for "@$disk sound"
done
tell "sh /peers.sh log"
wait_for '@log read'

# Without its back end a machine powers off like any other.
daemon_kill
tell exit
while [ ! -e /status ]; do
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up, waiting for the VMM to end"
    sleep 0.1
done
! grep -a '@failed' /out || fail "by the guest"
[ "$(cat /status)" = 0 ] || fail "the VMM left with $(cat /status)"
# They die when it does, if not before it.
while [ -n "$(back_end .)" ]; do
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "a program has outlived the VMM"
    sleep 0.1
done
! grep -a "refused the system call" /out || fail "a filter lacks a row"
echo "@passed"
