# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in a test guest, typed into its shell by in-host.sh: reads and writes its disk and reports what the machine
# looks like. Every line for in-host.sh and boot.sh begins with @.
# Of many processors only the first is up (in-host.sh).
for cpu in /sys/devices/system/cpu/cpu*/online; do
    [ ! -e "$cpu" ] || [ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu" || echo "@failed $cpu"
done
dir=/
if ! grep -q ' / ext4 ' /proc/mounts; then
    dir=/mnt
    mount -t ext4 /dev/vda $dir || echo "@failed mount of /dev/vda"
fi
echo "@kernel $(uname -r)"
echo "@cpus $(grep -c ^processor /proc/cpuinfo)"
echo "@memory $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
echo "@root $(awk '$2 == "/" { t = $3 } END { print t }' /proc/mounts)"

echo "@disk $(readlink -f /sys/block/vda/device)"
# A digit a device: bit 34 is VIRTIO_F_RING_PACKED (VIRTIO 1.2, 6).
echo "@rings $(cut -c35 /sys/bus/virtio/devices/*/features | tr -d '\n')"
echo "@pci $(find /sys/bus/pci/devices/ -type l 2>/dev/null | wc -l)"

# A second disk has no room for what is written to it.
if [ -b /dev/vdb ]; then
    head -c 65536 /dev/urandom >/tmp/block
    n=0
    while [ $n -lt 64 ] && error=$(dd if=/tmp/block of=/dev/vdb bs=64k seek=$n oflag=direct 2>&1); do
        n=$((n + 1))
    done
    case $error in
    *'Input/output error'*) echo "@room $n" ;;
    *) echo "@failed after $n blocks: $error" ;;
    esac
    dd if=/dev/vdb bs=64k count=1 2>/dev/null | cmp - /tmp/block || echo "@failed the first block of /dev/vdb"
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
