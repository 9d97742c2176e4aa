# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in the emulated host as its /run.sh: every measurement of /sections with every VMM of /vmms. Prints lines for
# run.sh: "@cost NAME VALUE" and the like (measure.c), "@exit NAME WHERE COUNT". A name is SECTION/VMM/WHAT.
# shellcheck source=/dev/null
[ ! -e /setup.sh ] || . /setup.sh

# What differs: the serial port's name, what tells a kernel that there is no PCI (one without a device tree would look for
# some), what else its line needs (Arm's KASLR, with a seed of the VMM's, would make two runs differ), and the machine with
# the fewest exits.
if [ "$(uname -m)" = aarch64 ]; then
    tty=ttyAMA0 no_pci='' always=nokaslr least_options="--rtc off"
else
    tty=ttyS0 no_pci=pci=off always=reboot=t least_options="--irqchip kernel --rtc off"
fi

# The machine that the next command starts; set by defaults() and changed before each measurement.
defaults() {
    memory=256 kernel=/bookworm/kernel initramfs=/bookworm/init.cpio
    words="bench=off" uart=on pci=on disk='' socket='' disks=1 net='' vhost='' vsock='' least='' sandbox=process
}

# Without cryptomgr.notests the kernel tests its own ciphers for 750 M instructions, under any VMM.
line() {
    text="quiet panic=-1 $always cryptomgr.notests"
    [ "$uart" = off ] || text="$text console=$tty"
    [ "$pci" = on ] || text="$text $no_pci"
    echo "$text $words"
}

# One function per VMM: "NAME COMMAND..." runs COMMAND with the VMM's program and arguments behind it. Ours more than once: as it is (devices in
# processes), with devices on threads, with no filters either, and with a disk that `vmm device` serves.
vmm() {
    set -- "$@" /vmm run -m "$memory" --sandbox "$sandbox"
    [ "$uart" = on ] || set -- "$@" --serial off
    [ "$pci" = on ] || set -- "$@" --pci off --no-rng
    # shellcheck disable=SC2086 # words
    [ -z "$least" ] || set -- "$@" $least_options
    [ -z "$socket" ] || set -- "$@" --disk "vhost_user=on,socket=$socket"
    i=0
    while [ -n "$disk" ] && [ $((i += 1)) -le "$disks" ]; do set -- "$@" --disk "path=$disk,readonly=on"; done
    [ -z "$net" ] || set -- "$@" --net "tap=$net,ip=10.0.0.1,mask=255.255.255.0${vhost:+,vhost=on}"
    [ -z "$vsock" ] || set -- "$@" --vsock "cid=3,$vsock"
    [ -z "$initramfs" ] || set -- "$@" -i "$initramfs" --cmdline "$(line)"
    "$@" "$kernel"
}

vmm_thread() {
    sandbox=thread
    vmm "$@"
}

vmm_off() {
    sandbox=off
    vmm "$@"
}

vmm_socket() {
    socket=/tmp/bench.socket
    set -- "$@" /bin/sh /served.sh "$socket" "$disk"
    disk=''
    vmm "$@"
}

# served.sh SOCKET DISK COMMAND...: runs COMMAND while `vmm device` serves DISK, in the same control group.
cat >/served.sh <<"END"
/vmm device virtio-blk "path=$2" readonly=on --socket "$1" &
until [ -S "$1" ]; do sleep 0.01; done
shift 2
"$@"
status=$?
kill $!
wait
exit $status
END

floor() {
    set -- "$@" /floor "$memory" "$kernel"
    [ -z "$initramfs" ] || set -- "$@" "$initramfs" "$(line) bench_end=reboot"
    "$@"
}

microvm() {
    set -- "$@" /q/usr/bin/qemu-system-x86_64 -L /q/usr/share/qemu -L /q/usr/share/seabios \
        -M microvm,acpi=on,rtc=on -accel kvm -cpu host -nodefaults -no-user-config -display none \
        -no-reboot -m "$memory" -kernel "$kernel"
    [ "$uart" = off ] || set -- "$@" -chardev stdio,id=tty,signal=off -serial chardev:tty
    [ -z "$disk" ] || set -- "$@" -device virtio-blk-device,drive=d \
        -drive "if=none,id=d,format=raw,readonly=on,file=$disk"
    [ -z "$net" ] || set -- "$@" -device virtio-net-device,netdev=n -netdev "tap,id=n,ifname=$net,script=/ifup.sh,downscript=no"
    [ -z "$initramfs" ] || set -- "$@" -initrd "$initramfs" -append "$(line) earlyprintk=ttyS0"
    LD_LIBRARY_PATH=/q/usr/lib/x86_64-linux-gnu "$@"
}

# For the network alone, where microvm's guest does not come up.
q35() {
    set -- "$@" /q/usr/bin/qemu-system-x86_64 -L /q/usr/share/qemu -L /q/usr/share/seabios \
        -M q35 -accel kvm -cpu host -nodefaults -no-user-config -display none \
        -no-reboot -m "$memory" -kernel "$kernel" -chardev stdio,id=tty,signal=off -serial chardev:tty \
        -initrd "$initramfs" -append "$(line)"
    [ -z "$net" ] || set -- "$@" -device virtio-net-pci,netdev=n,romfile= \
        -netdev "tap,id=n,ifname=$net,script=/ifup.sh,downscript=no${vhost:+,vhost=on}"
    [ -z "$vsock" ] || set -- "$@" -device vhost-vsock-pci,guest-cid=3
    LD_LIBRARY_PATH=/q/usr/lib/x86_64-linux-gnu "$@"
}

virt() {
    set -- "$@" /q/usr/bin/qemu-system-aarch64 -L /q/usr/share/qemu -M virt,gic-version=3,its=on,dtb-randomness=off \
        -accel kvm -cpu host -nodefaults -no-user-config -display none -no-reboot -m "$memory" -kernel "$kernel"
    [ "$uart" = off ] || set -- "$@" -chardev stdio,id=tty,signal=off -serial chardev:tty
    [ -z "$disk" ] || set -- "$@" -device virtio-blk-pci,drive=d \
        -drive "if=none,id=d,format=raw,readonly=on,file=$disk"
    [ -z "$net" ] || set -- "$@" -device virtio-net-pci,netdev=n,romfile= \
        -netdev "tap,id=n,ifname=$net,script=/ifup.sh,downscript=no${vhost:+,vhost=on}"
    [ -z "$vsock" ] || set -- "$@" -device vhost-vsock-pci,guest-cid=3
    [ -z "$initramfs" ] || set -- "$@" -initrd "$initramfs" -append "$(line)"
    LD_LIBRARY_PATH=/q/usr/lib/aarch64-linux-gnu "$@"
}

lkvm() {
    set -- "$@" /peers/lkvm run --name bench -m "$memory" -c 1 -k "$kernel" --no-dhcp --network mode=none
    [ -z "$disk" ] || set -- "$@" -d "$disk,ro"
    [ -z "$initramfs" ] || set -- "$@" -i "$initramfs" -p "$(line) bench_end=reboot"
    "$@"
}

cloud_hypervisor() {
    set -- "$@" /peers/cloud-hypervisor --memory "size=${memory}M" --kernel "$kernel" --console off
    if [ "$uart" = on ]; then set -- "$@" --serial tty; else set -- "$@" --serial off; fi
    [ -z "$disk" ] || set -- "$@" --disk "path=$disk,readonly=on"
    [ -z "$initramfs" ] || set -- "$@" --initramfs "$initramfs" --cmdline "$(line)"
    "$@"
}

firecracker() {
    {
        printf '{"boot-source":{"kernel_image_path":"%s"' "$kernel"
        [ -z "$initramfs" ] || printf ',"initrd_path":"%s","boot_args":"%s bench_end=reboot"' "$initramfs" "$(line)"
        printf '},"drives":['
        [ -z "$disk" ] ||
            printf '{"drive_id":"d","path_on_host":"%s","is_root_device":false,"is_read_only":true}' "$disk"
        printf '],"machine-config":{"vcpu_count":1,"mem_size_mib":%s}}' "$memory"
    } >/tmp/firecracker.json
    "$@" /peers/firecracker --no-api --config-file /tmp/firecracker.json
}

crosvm() {
    set -- "$@" /peers/crosvm run --disable-sandbox -m "$memory"
    if [ "$uart" = on ]; then set -- "$@" --serial type=stdout,hardware=serial,console; fi
    [ -z "$disk" ] || set -- "$@" --block "path=$disk,ro=true"
    [ -z "$initramfs" ] || set -- "$@" -i "$initramfs" -p "$(line)"
    "$@" "$kernel"
}

payload() {
    defaults
    memory=128 kernel=/tiny/$1 initramfs=
}

section_null() {
    [ "$1" != vmm_socket ] || return 0
    payload off
    "$1" /measure cost "null/$1/off" /tmp/out
    "$1" /measure calls "null/$1/calls" /tmp/out
}

section_pio() {
    [ "$1" != vmm_socket ] || return 0
    for n in 1000 21000; do
        payload unclaimed-$n && "$1" /measure cost "pio/$1/unclaimed-$n" /tmp/out
        payload scratch-$n && "$1" /measure cost "pio/$1/uart-$n" /tmp/out
    done
}

section_uart() {
    case $1 in vmm_*) return 0 ;; esac
    for n in 1600 17600; do
        payload polled-$n && "$1" /measure cost "uart/$1/polled-$n" /tmp/out
        payload fifo-$n && "$1" /measure cost "uart/$1/fifo-$n" /tmp/out
    done
    for n in 1600 17600; do
        [ "$1" = floor ] || { defaults && words="bench=tty:$n" && "$1" /measure cost "uart/$1/tty-$n" /tmp/out; }
    done
}

# The floor has no PCI: its kernel is told so, or it would look for some. Three times: a timer tick more or less in the
# wrong place is 0.7 M instructions.
section_boot() {
    [ "$1" != vmm_socket ] || return 0
    for n in 1 2 3; do
        [ "$1" = floor ] || { defaults && "$1" /measure cost "boot/$1/full" /tmp/out; }
        [ "$1" != floor ] || { defaults && pci=off uart=off && "$1" /measure cost "boot/$1/nopci-nouart" /tmp/out; }
        [ "$1" = vmm ] || continue
        defaults && pci=off && "$1" /measure cost "boot/$1/nopci" /tmp/out
        defaults && pci=off uart=off && "$1" /measure cost "boot/$1/nopci-nouart" /tmp/out
        defaults && pci=off least=yes && "$1" /measure cost "boot/$1/least" /tmp/out
    done
}

# Where the guest left for user space until its init wrote to port 0x5e1 or to address 0x9800000. A write is told by KVM before
# the exit to user space, a port read after it, a memory read before it as "unsatisfied-read".
count_exits() {
    trace=/sys/kernel/tracing
    [ -e $trace/trace ] || mount -t tracefs tracefs $trace
    echo 8192 >$trace/buffer_size_kb
    echo >$trace/trace
    events=$(ls -d $trace/events/kvm/kvm_entry $trace/events/kvm/kvm_pio $trace/events/kvm/kvm_mmio \
        $trace/events/kvm/kvm_userspace_exit 2>/dev/null)
    for e in $events; do echo 1 >"$e/enable"; done
    words="bench=mark"
    "$1" /measure cost "$2" /tmp/out >/dev/null
    for e in $events; do echo 0 >"$e/enable"; done
    awk -v name="$2" '
        function hit(where) { count[where]++; total++ }
        / kvm_pio: pio_write at 0x5e1 / || / kvm_mmio: mmio write .* gpa 0x9800000 / { exit }
        / kvm_entry: / { write = memory = "" } # KVM answered by itself
        / kvm_pio: pio_write/ { match($0, /at 0x[0-9a-f]+/); write = "out " substr($0, RSTART + 3, RLENGTH - 3) }
        / kvm_pio: pio_read/ && reading {
            match($0, /at 0x[0-9a-f]+/); hit("in " substr($0, RSTART + 3, RLENGTH - 3)); reading = 0
        }
        / kvm_mmio: mmio (write|unsatisfied-read)/ {
            match($0, /gpa 0x[0-9a-f]+/)
            memory = ($0 ~ /mmio write/ ? "write " : "read ") substr($0, RSTART + 4, RLENGTH - 4)
        }
        / kvm_userspace_exit: / {
            if (reading) { hit("in ?"); reading = 0 }
            if ($0 ~ /KVM_EXIT_IO /) { if (write) hit(write); else reading = 1; write = "" }
            else if ($0 ~ /KVM_EXIT_MMIO/) { hit(memory) }
            else { match($0, /reason [A-Z_a-z0-9]+/); hit(substr($0, RSTART + 7, RLENGTH - 7)) }
        }
        END {
            print "@exits " name " " total + 0
            for (w in count) print "@exit " name " " count[w] " " w
        }' $trace/trace
}

section_exits() {
    case $1 in vmm_*) return 0 ;; esac # the same
    [ "$1" = floor ] || { defaults && count_exits "$1" "exits/$1/full"; }
    [ "$1" != floor ] || { defaults && pci=off uart=off && count_exits "$1" "exits/$1/nopci-nouart"; }
    [ "$1" = vmm ] || return 0
    defaults && pci=off && count_exits "$1" "exits/$1/nopci"
    defaults && pci=off uart=off && count_exits "$1" "exits/$1/nopci-nouart"
    defaults && pci=off least=yes && count_exits "$1" "exits/$1/least"
    defaults && pci=off uart=off least=yes && count_exits "$1" "exits/$1/least-nouart"
}

section_memory() {
    case $1 in floor | vmm_socket) return 0 ;; esac # no console, nothing to wait for
    defaults && memory=128 words="bench=idle" && "$1" /measure memory "memory/$1/idle" /tmp/out 128
}

# A guest with each kind of device that waits for nothing but its clock.
section_idle() {
    defaults
    initramfs=/bookworm/net.cpio disk=/disk.img net=bench0 words="bench=idle"
    echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 # the host's own solicitations would wake the device
    "$1" /measure wakes "idle/$1/10s" /tmp/out 10
}

section_blk() {
    [ "$1" != floor ] || return 0
    for kernel_of in bookworm trixie; do
        for n in 100 1100; do
            defaults
            kernel=/$kernel_of/kernel initramfs=/$kernel_of/blk.cpio disk=/disk.img words="bench=read:$n"
            "$1" /measure cost "blk/$1/$kernel_of-$n" /tmp/out
            ! grep -a @failed /tmp/out
        done
    done
}

# VMM NAME: a guest that waits often stands still now and then in a host that counts, QEMU's as ours (docs/benchmarks.md).
cost_of() {
    for n in 1 2 3; do
        "$1" /measure cost "$2" /tmp/out >/tmp/line
        grep -q status= /tmp/line || break
        echo "again: $(tr -d @ </tmp/line)"
    done
    cat /tmp/line
    ! grep -a @failed /tmp/out
}

# The peer's work is not counted.
peer() {
    [ -e /tmp/peer ] || { /net_peer >/tmp/peer & }
    until grep -q @ready /tmp/peer; do sleep 0.1; done
}

section_net() {
    case $1 in floor | vmm_socket) return 0 ;; esac
    peer
    for words_of in udp:1000 udp:11000 rr:100 rr:2100 out:1024 out:17408 in:1024 in:17408; do
        defaults
        initramfs=/bookworm/net.cpio net=bench0 words="bench=$words_of"
        cost_of "$1" "net/$1/$(echo "$words_of" | tr : -)"
    done
}

# Where the host's kernel serves the packets.
section_vhost() {
    case $1 in vmm | q35 | virt) peer ;; *) return 0 ;; esac
    for words_of in udp:1000 udp:11000 rr:100 rr:2100 out:1024 out:17408 in:1024 in:17408; do
        defaults
        initramfs=/bookworm/net.cpio net=bench0 vhost=on words="bench=$words_of"
        cost_of "$1" "vhost/$1/$(echo "$words_of" | tr : -)"
    done
}

# To programs of the host: by Unix sockets, which is ours alone, and by its kernel's AF_VSOCK.
section_vsock() {
    case $1 in
    vmm) ends="socket=/vsock vhost=on" ;;
    q35 | virt) ends=vhost=on ;;
    *) return 0 ;;
    esac
    peer
    for end in $ends; do
        for words_of in vrr:100 vrr:2100 vout:1024 vout:17408 vin:1024 vin:17408; do
            defaults
            initramfs=/bookworm/net.cpio vsock=$end words="bench=$words_of"
            cost_of "$1" "vsock/$1/${end%=*}-$(echo "$words_of" | tr : -)"
        done
    done
}

# From the spawner's clone to the device's loop, with whatever runs meanwhile; and what a device costs from its first
# instruction to its last, its share of the VMM included: 4 more disks.
section_start() {
    [ "$1" = vmm ] || return 0
    trace=/sys/kernel/tracing
    [ -e $trace/trace ] || mount -t tracefs tracefs $trace
    for n in 1 5; do payload off && disk=/disk.img disks=$n && "$1" /measure cost "start/$1/disks-$n" /tmp/out; done
    echo >$trace/trace
    events="$trace/events/sched/sched_process_fork $trace/events/sched/sched_process_exec $trace/events/syscalls/sys_enter_seccomp"
    for e in $events; do echo 1 >"$e/enable"; done
    payload off && disk=/disk.img disks=5 && "$1" /measure cost "start/$1/traced" /tmp/out >/dev/null
    for e in $events; do echo 0 >"$e/enable"; done
    awk -v name="start/$1" '
        # "comm-pid [cpu] flags seconds: event"; a child loads two filters.
        { match($0, / [0-9]+\.[0-9]+: /); at = substr($0, RSTART + 1, RLENGTH - 3) * 1000000; split($1, who, "-"); pid = who[length(who)] }
        / sched_process_fork: comm=vmm-spawner/ { match($0, /child_pid=[0-9]+/); began[substr($0, RSTART + 10, RLENGTH - 10)] = at }
        / sched_process_exec: / && pid in began { print "@start " name "/exec " at - began[pid] }
        / sys_seccomp/ && pid in began && ++filters[pid] == 2 { print "@start " name "/loop " at - began[pid] }' $trace/trace
}

# What QEMU runs for its tap: script INTERFACE.
cat >/ifup.sh <<"END"
#!/bin/sh
ip addr add 10.0.0.1/24 dev "$1" && ip link set "$1" up
END
chmod +x /ifup.sh
mkdir -p /cg && mount -t cgroup2 cgroup2 /cg
# Everything comes into memory first: time does not pass while the processor waits for a disk, but jumps to the next timer,
# which would be the one that ends a run that takes too long.
for f in /bookworm/* /trixie/* /disk.img; do cat "$f" >/dev/null; done
[ ! -d /q ] || find /q -type f -exec cat {} + >/dev/null
while read -r vmm; do
    payload off && disk=/disk.img
    [ "$vmm" = q35 ] || $vmm /measure cost "warm/$vmm/off" /tmp/out || cat /tmp/out # everything is in memory from here on
    while read -r section; do
        "section_$section" "$vmm"
    done </sections
done </vmms
echo "@finished"
