#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Our network device as a vhost-user back end of Debian's QEMU (docs/vhost-user.md), on a real tap interface: a Debian guest pings the
# host's side, fetches a file and sends one. Native, without KVM and without privilege: in user and network namespaces of its own.
#
#   net-qemu.sh [PROGRAM]     the program to test; default build/release/vmm
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
vmm=$(readlink -f "${1:-$ROOT/build/release/vmm}")
[[ -x $vmm ]] || { echo "$vmm is not built" && exit 1; }
[[ -n ${IN_NETNS-} ]] || IN_NETNS=1 exec unshare -Urn "$0" "$vmm"
work=$(mktemp -d)
started=()
cleanup() {
    [[ ${#started[@]} = 0 ]] || kill "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

ip link set lo up
mkfifo "$work/silence"
exec 3<>"$work/silence" # nc ends when either side has nothing more to say
kernel=bookworm-cloud
"$HERE/fetch.sh" "$kernel"
"$HERE/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
mkdir "$work/add"
cp "$HERE/guest-net.sh" "$work/add/run.sh"
cat "$BED/guest-$kernel.cpio" >"$work/initramfs"
cpio_of "$work/add" >>"$work/initramfs"

# maxcpus=2: docs/vhost-user.md, "In TCG". vectors=0: without KVM QEMU 7.2 crashes when a guest switches the MSI-X vectors of a vhost network device on.
boot() { # words for our device; for QEMU's; how many pairs of queues QEMU asks for: 1
    "$vmm" device virtio-net,tap=vt0,ip=10.0.0.1,mac=52:54:00:12:34:56"$1" --socket "$work/net" &
    started=($!)
    for _ in $(seq 100); do
        [[ ! -S $work/net ]] || break
        sleep 0.1
    done
    head -c 16M /dev/urandom >"$work/down"
    busybox nc -l -p 5001 <"$work/down" >/dev/null &
    started+=($!)
    busybox nc -l -p 5002 <&3 >"$work/up" &
    started+=($!)
    timeout 300 qemu-system-x86_64 -M q35,memory-backend=m -cpu max -accel tcg -m 256 -nodefaults -no-user-config \
        -display none -no-reboot -object memory-backend-memfd,id=m,size=256M,share=on -serial stdio \
        -smp "${3:-1},maxcpus=2" -chardev socket,id=net,path="$work/net" -netdev vhost-user,id=n,chardev=net,queues="${3:-1}" \
        -device virtio-net-pci,netdev=n,vectors=0,mac=52:54:00:12:34:56"$2" \
        -kernel "$BED/kernels/$kernel/vmlinuz" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet panic=-1 net.bytes=16777216" </dev/null >"$work/log" 2>&1 || true
    cat "$work/log"
    for line in "net 52:54:00:12:34:56 mtu 1500 up" "ping ok" "ping large ok" \
        "fetched 16777216 $(sha256sum <"$work/down" | cut -d' ' -f1)" "sent 16777216 $(sha256sum <"$work/up" | cut -d' ' -f1)" "exit 0"; do
        grep -q "^@$line" "$work/log" || { echo "missing: @$line; $(wc -c <"$work/up") bytes came" && exit 1; }
    done
    kill "${started[0]}"
    wait "${started[0]}" || { echo "the back end ended with $?" && exit 1; }
    started=()
    [[ ! -e $work/net ]] || { echo "a socket is left" && exit 1; }
}

boot "" ""
boot "" ",mrg_rxbuf=off"
boot ",num_queues=4" ",csum=off,guest_csum=off,packed=on"
boot ",num_queues=4" ",mq=on" 2
echo "vhost-user: QEMU's guest has a network"
