# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in a test guest, typed into its shell by in-host.sh: reads and writes its disk and reports what the machine
# looks like. Every line for in-host.sh and boot.sh begins with @.
dir=/
if ! grep -q ' / ext4 ' /proc/mounts; then
    dir=/mnt
    mount -t ext4 /dev/vda $dir || echo "@failed mount of /dev/vda"
fi
echo "@kernel $(uname -r)"
echo "@cpus $(grep -c ^processor /proc/cpuinfo)"
echo "@memory $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
echo "@root $(awk '$2 == "/" { t = $3 } END { print t }' /proc/mounts)"

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
echo "@report-begin"
tar -c -C /tmp/report . | gzip | base64
echo "@report-end"
echo "@checks-done"
