# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash
#
# Sourced after lib.sh by tests of networks that run natively, without privilege: in user and network namespaces that they make, with
# Debian's QEMU around a Debian guest and our device as its vhost-user back end. $vmm is the program to test, $work a directory of the
# test's own with QEMU's log in it, $started all that is ended with the test.

HERE=$ROOT/tests/e2e
started=()
work=
net_cleanup() {
    [[ ${#started[@]} = 0 ]] || kill "${started[@]}" 2>/dev/null || true
    [[ -z $work ]] || rm -rf "$work"
}

# net_begin PROGRAM WORD...: goes on as $0 WORD... in namespaces of its own; root of them.
net_begin() {
    vmm=$(readlink -f "$1")
    [[ -x $vmm ]] || { echo "$1 is not built" && exit 1; }
    shift
    [[ -n ${IN_NETNS-} ]] || IN_NETNS=1 exec unshare -Urnm "$0" "$@"
    work=$(mktemp -d)
    trap net_cleanup EXIT
    ip link set lo up
}

missing() {
    cat "$work"/{log,vmm} 2>/dev/null | grep -av 'supports VHOST_USER_PROTOCOL_F_CONFIG but QEMU does not' | tail -n 60
    echo "missing: $*"
    exit 1
}

# await WHAT COMMAND...: within five minutes of an idle machine, at most.
await() {
    local what=$1
    shift
    for _ in $(seq "${AWAIT:-3000}"); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    missing "$what"
}

# outside_begin: another network namespace, the world; `out COMMAND...` runs there.
outside_begin() {
    unshare -n sleep 10000 &
    outside=$!
    started+=("$outside")
    await "a namespace" test ! "/proc/$outside/ns/net" -ef /proc/self/ns/net
    out ip link set lo up
}
out() { nsenter -t "$outside" -n -- "$@"; }

# wire_begin ARCH: a wire, and $work/wire and $work/send, and $work/send-guest for a guest of that architecture. The guest's taps and h0 are on a
# bridge, o0 is outside. What leaves h0 has been made whole by the kernel; what o0 sends has all offloads, which the device shall see.
wire_begin() {
    local compiler=gcc at
    [[ $1 = x86_64 ]] || compiler=aarch64-linux-gnu-gcc
    gcc -O2 -o "$work/wire" "$HERE/net-wire.c"
    gcc -O2 -o "$work/send" "$HERE/net-send.c"
    "$compiler" -Os -static -s -o "$work/send-guest" "$HERE/net-send.c"
    outside_begin
    for at in all default; do
        echo 1 >"/proc/sys/net/ipv6/conf/$at/disable_ipv6"
    done
    ip link add br0 type bridge mcast_snooping 0
    ip link add h0 mtu 9000 type veth peer name o0 mtu 9000 netns "$outside"
    ip link set h0 master br0 up
    ip link set br0 up
    out ip link set o0 up
    "$work/wire" plain h0
}

# outside_has N MTU: what is outside reaches device N; a bridge cuts nothing to pieces.
outside_has() {
    out ip addr add "10.0.$1.1/24" dev o0 noprefixroute
    out ip addr add "fd05:0:0:$1::1/64" dev o0 nodad noprefixroute
    out ip route add "10.0.$1.0/24" dev o0 src "10.0.$1.1" mtu "$2"
    out ip route add "fd05:0:0:$1::/64" dev o0 mtu "$2"
}

# plugged N...: the back ends of these devices are there, and their taps on the wire.
plugged() {
    local n
    for n in "$@"; do
        await "back end $n" test -S "$work/net$n"
        await "the interface vt$n" ip link set "vt$n" master br0
    done
}

# echoes WHO ADDRESS COUNT BYTES: the guest, or what is outside, sends echo requests; all come back, and whole.
echoes() {
    local said
    if [[ $1 = guest ]]; then
        guest "net-send echo $2 $3 $4 df"
        said=$(grep -a '^@echo' "$work/log" | tail -n 1)
    else
        said=$(out "$work/send" echo "$2" "$3" "$4" df)
    fi
    [[ ${said%$'\r'} = "@echo $2 bytes $4 sent $3 back $3 other 0" ]] || missing "$3 echoes of $4 bytes, $1 to $2: $said"
}

# guest_begin ARCH SCRIPT WORD FILE:PLACE...: sets the start of QEMU's command, qemu, for a guest of x86_64 or aarch64 that runs SCRIPT, has
# these files and WORD on its command line.
guest_begin() {
    local arch=$1 script=$2 word=$3 kernel tty pair
    shift 3
    # maxcpus=2: docs/vhost-user.md, "In TCG".
    case $arch in
    x86_64)
        kernel=bookworm-cloud tty=ttyS0
        qemu=(qemu-system-x86_64 -M "q35,memory-backend=m" -cpu max)
        ;;
    aarch64)
        kernel=bookworm-cloud-arm64 tty=ttyAMA0
        qemu=(qemu-system-aarch64 -M "virt,memory-backend=m" -cpu cortex-a57)
        ;;
    *) die "--arch $arch: x86_64 or aarch64" ;;
    esac
    "$HERE/fetch.sh" "$kernel"
    "$HERE/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
    mkdir "$work/add"
    cp "$script" "$work/add/run.sh"
    for pair in "$@"; do
        mkdir -p "$(dirname "$work/add/${pair#*:}")"
        cp -rT "${pair%%:*}" "$work/add/${pair#*:}"
    done
    cat "$BED/guest-$kernel.cpio" >"$work/initramfs"
    cpio_of "$work/add" >>"$work/initramfs"
    qemu+=(-accel tcg -m 512 -nodefaults -no-user-config -display none -no-reboot -serial stdio
        -object "memory-backend-memfd,id=m,size=512M,share=on" -kernel "$BED/kernels/$kernel/vmlinuz" -initrd "$work/initramfs"
        -append "console=$tty quiet panic=-1 net.tty=$tty $word")
}

# nic_of NUMBER QUEUES WORD: adds device N, whose back end is at $work/netN, to $qemu; MAC address as mac_of says. vectors=0: without KVM QEMU 7.2 crashes when a guest switches the MSI-X vectors
# of a vhost network device on.
nic_of() {
    qemu+=(-chardev "socket,id=c$1,path=$work/net$1" -netdev "vhost-user,id=n$1,chardev=c$1,queues=$2"
        -device "virtio-net-pci,netdev=n$1,vectors=0,romfile=,mac=$(mac_of "$1"),$3")
}
mac_of() { printf '52:54:00:12:34:%02x' "$1"; }

line() { grep -aq "^@$1" "$work/log"; }

# guest_start: QEMU runs, and its guest takes commands: guest COMMAND waits for its end, which has to be a good one. The script is guest-iperf.sh.
guest_start() {
    mkfifo "$work/keys"
    exec 4<>"$work/keys"
    told=0
    timeout "${1:-900}" "${qemu[@]}" <&4 >"$work/log" 2>&1 &
    running=$!
    started+=("$running")
    await "the guest" line ready
}
guest() {
    told=$((told + 1))
    echo "$*" >&4
    await "the guest's answer to: $*" line "did $told "
    line "did $told 0" || missing "a good end of: $*"
}
guest_end() {
    echo end >&4
    wait "$running" || missing "QEMU's end"
    line "exit 0" || missing "the guest's end"
}
