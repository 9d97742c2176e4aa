# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host (busybox sh) as its /run.sh: one guest under the VMM, from boot to end, as /row says:
# CPUS MEMORY CONSOLE ROOT END WORDS RESET_STATUS PATIENCE LEAST, see boot.sh. Answers with its exit status.
# shellcheck source=/dev/null
. /row
# shellcheck source=/dev/null
[ ! -e /setup.sh ] || . /setup.sh # the stand-in VMM's needs

fail() {
    echo "@failed $*"
    # What it said last may still be in the pipe.
    [ ! -e /status ] || { sleep 0.5 && tail -n 40 /out; }
    kill -KILL "$(cat /pid)" 2>/dev/null
    exit 1
}

# wait_for PATTERN: until a line of the guest's console matches; the guest's time is PATIENCE seconds in all.
wait_for() {
    while ! grep -aq "$1" /out; do
        [ ! -e /status ] || fail "the VMM ended with $(cat /status) before '$1'"
        ! grep -a '^@failed' /out || fail "by the guest, before '$1'"
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up, waiting for '$1'"
        sleep 0.1
    done
}

sum_of() { sha256sum <"$1" | cut -d' ' -f1; }

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

# What the VMM has of the host's, told as @vmm WHEN FDS KIB BELLS: memory of its own, for the guest's is shared. A device's bell is apart, for
# it is made when a doorbell first comes by us, as one does now and then that rings while its device moves.
measure() {
    find "/proc/$(cat /pid)/fd" -type l -exec readlink {} \; 2>/dev/null | sed 's/[0-9][0-9]*/N/g' | sort >"/fds.$1"
    echo "@vmm $1 $(grep -vc '^/memfd:bell' "/fds.$1") $(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(cat /pid)/status") $(
        grep -c '^/memfd:bell' "/fds.$1")" >>/measures
}

# processes CLASS: those that serve such a device.
processes() {
    ps -o pid,args | sed -n "s/^ *\([0-9]*\) vmm device $1,.*/\1/p"
}

# A connection that is just made has more of either: the least of some looks counts.
measure_before() {
    for _ in 1 2 3 4 5; do
        measure before
        sleep 0.2
    done
    : >/ends
    : >/measured
}

# As many fds and as much memory as then, once all is at rest. Of memory the heap may keep holes, and a thread's stack what it once took.
KIB_MORE=512
BELLS_MOST=4 # as there are devices that processes serve
measure_after() {
    fds=$(least before 3) kib=$(least before 4)
    [ "${fds:-0}" -gt 0 ] || fail "the VMM's fds were not counted"
    [ "${kib:-0}" -gt 0 ] || fail "the VMM's memory was not measured"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        measure after
        fds_after=$(least after 3) kib_after=$(least after 4)
        [ "$fds_after" -gt "$fds" ] || [ "$kib_after" -gt $((kib + KIB_MORE)) ] || break
        sleep 0.5
    done
    echo "@vmm fds $fds then $fds_after, KiB of its own memory $kib then $kib_after"
    [ "$fds_after" -le "$fds" ] || diff /fds.before /fds.after
    [ "$(least after 5)" -le $BELLS_MOST ] || fail "the VMM has $(least after 5) bells"
    [ "$fds_after" -le "$fds" ] || fail "the VMM has $fds_after fds instead of $fds"
    [ "$kib_after" -le $((kib + KIB_MORE)) ] || {
        awk '/^[0-9a-f]*-/ { name = $1 " " $6 } /^Anonymous:/ && $2 > 200 { print name, $2, "KiB" }' "/proc/$(cat /pid)/smaps"
        grep -a . /proc/"$(cat /pid)"/task/*/comm
    }
    [ "$kib_after" -le $((kib + KIB_MORE)) ] || fail "the VMM has $kib_after KiB instead of $kib"
}

# least WHEN FIELD: of what was measured then.
least() {
    awk -v when="$1" -v n="$2" '$2 == when && (least == "" || $n + 0 < least) { least = $n + 0 } END { print least }' /measures
}

# The disk's own process, from now on: killed every few seconds (an emulated Arm host does less in them), its successor comes at
# once.
serve_disk() {
    life=2
    [ "$(uname -m)" != aarch64 ] || life=3
    while [ ! -e /status ]; do
        /vmm device virtio-blk path=/disk.img --socket /disk.sock >>/device.log 2>&1 &
        echo $! >/device.pid
        sleep $life
        # The one in the jail: the other one, which ends with it, has told it what to open.
        kill -KILL "$(tr -d " " </proc/$!/task/$!/children)" || kill -KILL $!
        wait $!
        echo killed >>/device.kills
    done
}

# Whether somebody ends the processes of devices all the time.
restless() { has killed || has upgraded || has moved; }

# How often.
ends() { if [ -e /ends ]; then wc -l </ends; else echo 0; fi; }

# Reads of all disks, as far as vmm info answers. They are never fewer than before: what a process had counted outlives it.
count_reads() {
    n=$(/vmm info /control 2>/dev/null | sed -n 's/^ *"reads": \([0-9]*\),*$/\1/p' | awk '{ n += $1 } END { if (NR) print n }')
    [ -n "$n" ] || return 0
    last=$(cat /reads 2>/dev/null)
    [ "$n" -ge "${last:-0}" ] || echo "$n after $last" >>/reads.fewer
    echo "$n" >/reads
}

# restless_by COMMAND: it does so again and again until /calm is there; /ends has a line for each time since the guest works (/begin), when the
# VMM is measured.
restless_by() {
    while [ ! -e /status ] && [ ! -e /calm ]; do
        [ ! -e /begin ] || [ -e /measured ] || measure_before
        "$@"
        count_reads
    done
    : >/calm.reached
}

# pause SECONDS: so long and under two seconds more: no two ends come at the same moment of what a process does.
# shellcheck disable=SC3028 # busybox has RANDOM
pause() { sleep "$(($1 + RANDOM % 2)).$((RANDOM % 10))"; }

# The processes of the machine's devices, all at a time, from when the guest works. The disks' are counted.
kill_devices() {
    [ -e /measured ] || { sleep 0.1 && return; }
    for p in $(processes virtio-rng) $(processes virtio-net); do
        kill -KILL "$p"
    done
    for p in $(processes virtio-blk); do
        kill -KILL "$p" && echo killed >>/ends
    done
    pause 1 # or the guest gets little done: who has not lived for a second is started later each time
}

# ... and those of the disks and the network are replaced by ones of the same program, whose file the VMM keeps open for each that it has
# replaced. The disks' upgrades are counted.
upgrade_devices() {
    for id in $DISKS $NET; do
        until /vmm upgrade /control "$id" >>/ends.log 2>&1; do
            [ ! -e /status ] || return 0
            sleep 0.2 # the machine has just begun
        done
        [ "${id%?}" != virtio-blk ] || echo upgraded >>/ends
    done
}

# ... and the devices move to a thread of the VMM and back, from the guest's first moment. The disks' moves are counted.
move_devices() {
    for to in thread process; do
        for id in virtio-rng0 $NET $DISKS; do
            until /vmm move /control "$id" --placement $to >>/ends.log 2>&1; do
                [ ! -e /status ] || return 0
                sleep 0.2 # the machine has just begun
            done
            [ "${id%?}" != virtio-blk ] || echo moved >>/ends
        done
        pause 0
    done
}

set -- "$@" --rng "$rng"
! has thread || set -- "$@" --sandbox thread
NET='' # the network, where it is one of ours
DISKS=virtio-blk0 # those of the machine that guests write to all the time
if has vhost; then
    # Each loss is a warning, which would stand in the middle of the guest's report.
    set -- "$@" --vhost-user "block,socket=/disk.sock$where$packed" --log-level error
    serve_disk 2>/dev/null &
else
    set -- "$@" --disk "path=/disk.img$where$packed"
fi
inkernel=''
! has inkernel || inkernel=,vhost=on
if has vsock; then
    end=,socket=/vsock here=/vsock_1024
    ! has inkernel || { end=$inkernel here=1024; }
    if [ -e /vsock-cases ]; then
        # Its warnings, of what is tried there, would stand in the middle of the guest's report.
        end=$end,seqpacket=/messages
        set -- "$@" --log-level error
        { /vsock-cases host /vsock /messages 250 "/vmm info /control" >/vsock-cases.log 2>&1 && echo "@over" || echo "@failed"; } >>/vsock-cases.log &
    fi
    set -- "$@" --vsock "cid=3$end$packed"
    vsock echo $here >/vsock.log &
fi
! has serials || set -- "$@" --serial3 file=/serial3
if has ports; then
    set -- "$@" --device "virtio-console,file=/hvc,also=[file=/hvc.also],ports=[[name=org.vmm.test,socket=/port]]$packed"
fi
if has net; then
    if has vhost; then
        /vmm device virtio-net tap=guest0,ip=192.168.64.1 --socket /net.sock >/net.log 2>&1 &
        set -- "$@" --net "vhost_user=on,socket=/net.sock$packed"
    else
        set -- "$@" --net "tap=guest0,ip=192.168.64.1${inkernel:+$inkernel,num_queues=4}$packed"
    fi
    head -c 4194304 /dev/urandom >/data
    nc -l -p 5001 </data >/dev/null &
    head -c 1048576 /dev/urandom >/piece
    nc -ll -p 5003 -e cat /piece >/dev/null &
    nc -ll -p 5004 -e sha256sum >/dev/null &
    has inkernel || has vhost || NET=virtio-net0
fi
room='' # the disk that has none
! has full || room=/dev/vdb
if restless; then
    # Each end is a warning, which would stand in the middle of the guest's report.
    truncate -s 8M /work.img
    set -- "$@" --disk "path=/work.img$where$packed" --log-level error -s /control
    has vhost || DISKS="virtio-blk0 virtio-blk1"
    ! has full || room=/dev/vdc
fi
if has balloon || has reporting; then
    back=size=0
    ! has reporting || back=$back,free_page_reporting=on
    set -- "$@" --balloon "$back$packed"
    restless || set -- "$@" -s /control
fi
[ ! -e /vsock-cases ] || has balloon || has reporting || set -- "$@" -s /control
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

if has killed; then
    restless_by kill_devices 2>/dev/null &
elif has upgraded; then
    restless_by upgrade_devices &
elif has moved; then
    restless_by move_devices &
fi
# MiB of the guest's memory that the host has had to give: what the VMM maps of it.
resident() {
    awk '/^Rss(Anon|File|Shmem):/ { n += $2 } END { print int(n / 1024) }' "/proc/$(cat /pid)/status"
}

# actual MiB in the balloon, as the guest says.
actual() { /vmm balloon /control --json | sed -n 's/^ *"actual": \([0-9]*\).*/\1/p' | awk '{ print int($1 / 1048576) }'; }

metric() { /vmm info /control | sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p" | head -1; }

in_time() {
    [ ! -e /status ] || fail "the VMM ended with $(cat /status)"
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up: $*"
    sleep 0.3
}

wait_actual() {
    until [ "$(actual)" = "$1" ]; do in_time "the balloon holds $(actual) MiB, not $1"; done
}

wait_resident() {
    until [ "$(resident)" -le "$1" ]; do in_time "the VMM has $(resident) MiB, not $1"; done
}

# A part of the guest's memory, MiB.
part=96
[ "$MEMORY" -ge 256 ] || part=24

# The guest uses as much and gives them up: that alone does not make the VMM smaller. In the balloon they do; then the guest has them again.
use_balloon() {
    echo "sh /check.sh fill $part" >&3
    wait_for '^@fill-done'
    full=$(resident)
    echo "sh /check.sh forget" >&3
    wait_for '^@forget-done'
    [ "$(resident)" -ge $((full - part / 4)) ] || fail "the VMM shrinks by itself"
    /vmm balloon /control ${part}M || fail "vmm balloon"
    wait_actual $part
    wait_resident $((full - part * 3 / 4))
    echo "@balloon $full MiB, with $part MiB in the balloon $(resident)"
    /vmm balloon /control --json | grep -q '"free_memory": [1-9]' || fail "the guest tells no statistics"
    /vmm balloon /control 0 || fail "vmm balloon"
    wait_actual 0
    /vmm set /control virtio-balloon0 free_page_hinting=on || fail "vmm set"
    until [ "$(metric hints)" = 1 ]; do in_time "the session of hints does not end"; done
    [ "$(metric hinted_bytes)" -gt 0 ] || fail "the guest hints nothing"
    echo "@hinted $(($(metric hinted_bytes) >> 20)) MiB"
    echo "sh /check.sh again $part" >&3
    wait_for '^@again-done'
    echo "@balloon $(resident) MiB when it is used again"
}

# What it gives up goes back within a few seconds of its own time.
use_reporting() {
    echo "sh /check.sh fill $part" >&3
    wait_for '^@fill-done'
    full=$(resident)
    echo "sh /check.sh forget" >&3
    wait_for '^@forget-done'
    wait_resident $((full - part / 2)) # blocks of 2 MiB are told, and what is left of them is not
    echo "@reporting $full MiB, given up $(resident)"
    echo "sh /check.sh again $part" >&3
    wait_for '^@again-done'
}

# Each side says "N - NAME...ok" of each case.
check_vsock_test() {
    cases=$(/vsock_test --list 2>&1 | grep -c '^[0-9]') ok=$(grep -c '^[0-9].*\.\.\.ok' "$1")
    if [ "$cases" -lt 5 ] || [ "$ok" != "$cases" ]; then
        cat "$1"
        fail "vsock_test: $ok of $cases cases passed, the guest as $2"
    fi
    echo "@vsock-test $ok of $cases, the guest as $2"
}

use_vsock_test() {
    wait_for '^@vsock-test'
    until /vsock_test --mode=client --control-host=192.168.64.2 --control-port=1234 --peer-cid=3 >/vsock-test 2>&1; do
        grep -q 'Control socket initialization failed' /vsock-test || break # the guest's does not listen yet
        in_time "nobody listens for vsock_test"
    done
    check_vsock_test /vsock-test server
    /vsock_test --mode=server --control-port=1235 --peer-cid=3 >/vsock-test 2>&1
    wait_for '^@vsock-test over'
    check_vsock_test /vsock-test client
    sed -n 's/^@vsock-test \([0-9].*\)/\1/p' /out >/vsock-test # and what the guest itself says of it
    check_vsock_test /vsock-test "client, by its own words"
}

# The guest's side says what it failed by on its console, the host's in its file.
use_vsock_cases() {
    until grep -q '^@over\|^@failed' /vsock-cases.log; do in_time "the cases of vsock-cases.c do not end"; done
    ! grep -q '^@failed' /vsock-cases.log || { cat /vsock-cases.log && fail "by the host's side of vsock-cases.c"; }
    wait_for '^@cases [1-9]'
}

wait_for '^guest:.*#'
if restless; then
    echo "sh /check.sh work /dev/vdb ${NET:+$(sum_of /piece)} &" >&3
    wait_for '^@working'
    : >/begin
    until [ -e /measured ] && [ "$(ends)" -ge "$LEAST" ]; do
        [ ! -e /status ] || fail "the VMM ended with $(cat /status) while its devices' processes were ended"
        ! grep -a '^@failed' /out || fail "by the guest"
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "time is up after $(ends) ends of processes: $(tail -n 2 /ends.log)"
        sleep 0.2
    done
    echo "touch /tmp/rest; wait" >&3
    : >/calm # what is in flight now and was written until now is compared in any case
    wait_for '^@worked'
    [ -z "$NET" ] || grep -aq '^@transfers [1-9]' /out || fail "nothing went over the network while devices' processes were ended"
fi
! has balloon || use_balloon
! has reporting || use_reporting
echo "sh /check.sh look $room" >&3
both='' # what is to be said later: a line in the middle of the guest's report would break it
if has net; then
    wait_for '^@serves'
    grep -aq "^@fetched $(sum_of /data)" /out || fail "what the guest fetched is something else"
    mkfifo /silence && exec 4<>/silence # nc ends when either side has nothing more to say
    until nc 192.168.64.2 5002 <&4 >/up && [ -s /up ]; do # it is about to listen
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "nobody listens in the guest"
        sleep 0.1
    done
    grep -aq "^@serves $(sum_of /up)" /out || fail "what came from the guest is something else"
    both=net
fi
if has vsock; then
    wait_for '^@listens 52'
    head -c 1048576 /dev/urandom >/sent
    if has inkernel; then
        vsock send 3:52 </sent >/back || fail "no connection to the guest"
    else
        /vmm vsock connect /vsock 52 </sent >/back || fail "no connection to the guest"
    fi
    [ "$(sha256sum </sent)" = "$(sha256sum </back)" ] || fail "the guest's echo is another"
    wait_for '^@vsock ok'
    ! grep -a '^@failed' /vsock.log || fail "by the host's echo"
    [ ! -e /vsock_test ] || use_vsock_test
    [ ! -e /vsock-cases ] || use_vsock_cases
    both="$both vsock"
fi
if has ports; then
    wait_for '^@port waits'
    echo "from the host" | vsock send /port >/port.back &
    wait_for '^@port ok'
    until grep -q '^from the guest' /port.back; do # or the guest's time is over
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$DEADLINE" ] || fail "nothing came by the guest's port"
        sleep 0.1
    done
    both="$both ports"
fi
wait_for '^@checks-done'
[ -z "$both" ] || echo "@both ways: $both"
[ ! -e /vsock-cases ] || grep '^@skipped\|^@at-once\|^@metrics\|^@cases' /vsock-cases.log
! has serials || grep -q '^over the fourth port' /serial3 || fail "nothing came by the fourth serial port"
if has ports; then
    for file in /hvc /hvc.also; do
        grep -q '^over a console' $file || fail "nothing of the console is in $file"
    done
fi
if restless; then
    until [ -e /calm.reached ]; do sleep 0.1; done
    measure_after
    [ ! -e /ends.log ] || ! grep -e "new program did not" -e "move: virtio-" /ends.log || fail "a device could not"
    echo "@ends $(ends)"
fi
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

if restless; then
    [ ! -e /reads.fewer ] || fail "reads of disks were counted twice or not at all: $(head -1 /reads.fewer)"
    [ "$(cat /reads)" -gt 0 ] || fail "no read of a disk was counted"
    echo "@reads $(cat /reads)"
fi

if has vhost; then
    kills=$(wc -l </device.kills)
    [ "$kills" -ge 2 ] || fail "the disk's process was killed only $kills times"
    ! grep -av -e "^warning" -e "its process ended: killed by signal 9" /device.log || fail "by the disk's process"
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
