# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in a test guest, typed into its shell by in-host.sh: reads and writes its disk and reports what the machine
# looks like. Every line for in-host.sh and boot.sh begins with @.
# guest-check.sh work DISK [SUM]: fio writes to a file and to that disk, trims and flushes, reads back and compares, until /tmp/rest is there; with
# a network a file of that sum comes from the host meanwhile, and one goes there, again and again.
# guest-check.sh look [DISK]: everything else; that disk has no room.
# Of many processors only the first is up (in-host.sh).
for cpu in /sys/devices/system/cpu/cpu*/online; do
    [ ! -e "$cpu" ] || [ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu" || echo "@failed $cpu"
done
# guest-check.sh fill MIB: so much memory gets contents; forget: they are given up; again MIB: as fill, and read back.
if [ "$1" = fill ] || [ "$1" = again ]; then
    n=0
    while [ $n -lt $(($2 / 4)) ]; do
        head -c 1048576 /dev/urandom >/tmp/piece
        cat /tmp/piece /tmp/piece /tmp/piece /tmp/piece >/tmp/fill.$n || printf '\n@failed to fill memory\n'
        sha256sum /tmp/fill.$n >>/tmp/sums
        n=$((n + 1))
    done
    if [ "$1" = again ]; then
        sha256sum -c /tmp/sums >/dev/null 2>&1 || printf '\n@failed memory is not what was written\n'
    fi
    printf '\n@%s-done\n' "$1"
    exit
fi
if [ "$1" = forget ]; then
    rm -f /tmp/fill.* /tmp/piece /tmp/sums
    printf '\n@forget-done\n'
    exit
fi
dir=/
if ! grep -q ' / ext4 ' /proc/mounts; then
    dir=/mnt
    mount -t ext4 /dev/vda $dir || echo "@failed mount of /dev/vda"
fi
# verify N DISK: fio writes all blocks of a file and of a disk, many at a time: in any order with reads and flushes in between, and in turn, each
# trimmed before. Then it reads them back, past the cache, and compares. Every other time by another system call.
verify() {
    engine=libaio
    [ $(($1 % 2)) = 0 ] || engine=io_uring
    /fio/ld.so --library-path /fio /fio/fio --thread --randseed="$1" --ioengine=$engine --iodepth=16 --direct=1 --fsync=32 --bsrange=4k-64k \
        --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 --rwmixread=30 \
        --name=file --filename=$dir/work --size=1m --rw=randrw \
        --name=disk --filename="$2" --size=2m --rw=randrw --verify_backlog=64 \
        --name=trimmed --filename="$2" --size=2m --rw=trimwrite --offset=4m >/tmp/fio 2>&1 || return 1
    # One that has nothing to compare is content, too.
    [ "$(grep -cE 'issued rwts: total=[1-9][0-9]*,[1-9]' /tmp/fio)" = 3 ] && grep -qE 'issued rwts: total=([1-9][0-9]*,){2}[1-9]' /tmp/fio
}

# The host is at its other end (in-host.sh). Of no network: 1.
network_up() {
    for card in /sys/bus/virtio/drivers/virtio_net/virtio*/net/*; do
        [ -e "$card" ] || return 1
        ip link set lo up
        ip addr show dev "${card##*/}" | grep -q 192.168.64.2 || ip addr add 192.168.64.2/24 dev "${card##*/}"
        ip link set "${card##*/}" up
    done
    [ -e /tmp/silence ] || mkfifo /tmp/silence
    exec 4<>/tmp/silence # nc ends when either side has nothing more to say
}

# SUM
transfer() {
    head -c 1048576 /dev/urandom >/tmp/up
    sent=$(sha256sum </tmp/up | cut -d' ' -f1)
    while [ ! -e /tmp/rest ]; do
        got=$(nc 192.168.64.1 5003 <&4 | sha256sum | cut -d' ' -f1)
        [ "$got" = "$1" ] || { printf '\n@failed: what came over the network is something else\n' && return; }
        told=$(nc 192.168.64.1 5004 </tmp/up | cut -d' ' -f1)
        [ "$told" = "$sent" ] || { printf '\n@failed: the host got something else over the network: %s\n' "$told" && return; }
        echo there and back >>/tmp/transfers
    done
}

if [ "$1" = work ]; then
    : >/tmp/transfers
    [ -z "$3" ] || { network_up && transfer "$3" & }
    printf '\n@working\n'
    n=0
    while [ ! -e /tmp/rest ]; do
        n=$((n + 1))
        verify $n "$2" && continue
        cat /tmp/fio
        printf '\n@failed: fio\n'
        break
    done
    rm -f $dir/work
    [ $dir = / ] || umount $dir
    wait
    printf '\n@transfers %s\n@worked %s times\n' "$(wc -l </tmp/transfers)" $n
    exit
fi
echo "@kernel $(uname -r)"
echo "@cpus $(grep -c ^processor /proc/cpuinfo)"
echo "@memory $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
echo "@root $(awk '$2 == "/" { t = $3 } END { print t }' /proc/mounts)"

echo "@disk $(readlink -f /sys/block/vda/device)"
# A digit a device: bit 34 is VIRTIO_F_RING_PACKED (VIRTIO 1.2, 6).
echo "@rings $(cut -c35 /sys/bus/virtio/devices/*/features | tr -d '\n')"
echo "@pci $(find /sys/bus/pci/devices/ -type l 2>/dev/null | wc -l)"

# A connection from either side: the host's comes while the rest is checked (in-host.sh).
if [ -n "$(find /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/ -name 'virtio*' 2>/dev/null)" ]; then
    vsock echo 52 &
    head -c 1048576 /dev/urandom >/tmp/sent
    vsock send 1024 </tmp/sent >/tmp/back
    [ "$(sha256sum </tmp/sent)" = "$(sha256sum </tmp/back)" ] && echo "@vsock ok" || echo "@failed: the host's echo is another"
    rm /tmp/sent /tmp/back
fi

[ ! -x /vsock-cases ] || /vsock-cases guest || echo "@failed: vsock-cases"

# A network with the host at its other end: a file comes from it, and it takes one, while the rest is checked (in-host.sh).
if network_up; then
    ping -c 3 -w 30 192.168.64.1 >/dev/null 2>&1 || echo "@failed: no answer to a ping"
    nc 192.168.64.1 5001 <&4 >/tmp/data
    echo "@fetched $(sha256sum </tmp/data)"
    head -c 4194304 /dev/urandom >/tmp/up
    nc -l -p 5002 </tmp/up >/dev/null &
    echo "@serves $(sha256sum </tmp/up)"
    rm /tmp/data
fi

# Linux's own test of AF_VSOCK, the other side of which in-host.sh runs; each as server and as client. Who connects may come before who listens.
if [ -x /vsock_test ]; then
    echo "@vsock-test"
    /vsock_test --mode=server --control-port=1234 --peer-cid=2 >/tmp/vsock-test 2>&1 || echo "@failed: vsock_test as server: $(cat /tmp/vsock-test)"
    n=0
    until /vsock_test --mode=client --control-host=192.168.64.1 --control-port=1235 --peer-cid=2 >/tmp/vsock-test 2>&1 ||
        ! grep -q 'Control socket initialization failed' /tmp/vsock-test || [ $((n += 1)) = 100 ]; do
        sleep 0.1
    done
    sed -n 's/^\([0-9].*\)/@vsock-test \1/p' /tmp/vsock-test
    echo "@vsock-test over"
fi

# Linux finds a 16550 behind each port that is there, and has a PL011 for each.
if grep -q '^3: uart:16550A' /proc/tty/driver/serial 2>/dev/null; then
    echo "over the fourth port" >/dev/ttyS3
elif [ -c /dev/ttyAMA3 ]; then
    echo "over the fourth port" >/dev/ttyAMA3
fi

# A named port, with a line from either side, and consoles: one that is nobody's cannot be opened.
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name" 2>/dev/null)" = org.vmm.test ] || continue
    for console in /dev/hvc*; do
        (echo "over a console" >"$console") 2>/dev/null
    done
    exec 5<>"/dev/${port##*/}"
    echo "@port waits"
    until read -r line <&5; do sleep 0.1; done # nobody is at the other side yet
    echo "from the guest" >&5
    exec 5>&-
    [ "$line" = "from the host" ] && echo "@port ok" || echo "@failed: the port said $line"
done

# A disk that has no room for what is written to it.
if [ -n "$2" ]; then
    head -c 65536 /dev/urandom >/tmp/block
    n=0
    while [ $n -lt 64 ] && error=$(dd if=/tmp/block of="$2" bs=64k seek=$n oflag=direct 2>&1); do
        n=$((n + 1))
    done
    case $error in
    *'Input/output error'*) echo "@room $n" ;;
    *) echo "@failed after $n blocks: $error" ;;
    esac
    dd if="$2" bs=64k count=1 2>/dev/null | cmp - /tmp/block || echo "@failed the first block of $2"
fi

cd $dir || exit
sha256sum -c data.sha256 >/dev/null 2>&1 && echo "@read ok" || echo "@failed the disk's data is not what was put there"
head -c 2097152 /dev/urandom >written
sync
# Read it from the disk, not from memory.
echo 3 >/proc/sys/vm/drop_caches
echo "@written $(sha256sum <written | cut -d' ' -f1)"
cd /
[ $dir = / ] || umount $dir

mkdir -p /tmp/report/pci
dmesg -r >/tmp/report/dmesg
for f in cmdline interrupts iomem ioports cpuinfo; do
    cat /proc/$f >/tmp/report/$f
done
for d in /sys/bus/pci/devices/*; do
    [ ! -e "$d" ] || cat "$d/config" >"/tmp/report/pci/${d##*/}"
done
# Nothing of the kernel's in between: 1 leaves only what is said before it dies.
echo 1 >/proc/sys/kernel/printk
echo "@report-begin"
tar -c -C /tmp/report . | gzip | base64
echo "@report-end"
echo "@checks-done"
