#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Our network device as a vhost-user back end of Debian's QEMU (docs/vhost-user.md), on a real tap interface: a Debian guest pings the
# host's side, fetches a file and sends one. Native, without KVM and without privilege: in user and network namespaces of its own.
#
#   net-qemu.sh [PROGRAM]     the program to test; default build/release/vmm
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=tests/e2e/net-lib.sh
. "$(dirname "$0")/net-lib.sh"

net_begin "${1:-$ROOT/build/release/vmm}" "$@"
mkfifo "$work/silence"
exec 3<>"$work/silence" # nc ends when either side has nothing more to say
guest_begin x86_64 "$HERE/guest-net.sh" net.bytes=16777216
base=("${qemu[@]}")

boot() { # words for our device; for QEMU's; how many pairs of queues QEMU asks for: 1
    "$vmm" device virtio-net,tap=vt0,ip=10.0.0.1,mac="$(mac_of 0)$1" --socket "$work/net0" &
    started=($!)
    await "the back end" test -S "$work/net0"
    head -c 16M /dev/urandom >"$work/down"
    busybox nc -l -p 5001 <"$work/down" >/dev/null &
    started+=($!)
    busybox nc -l -p 5002 <&3 >"$work/up" &
    started+=($!)
    qemu=("${base[@]}" -smp "${3:-1},maxcpus=2")
    nic_of 0 "${3:-1}" "$2"
    timeout 300 "${qemu[@]}" </dev/null >"$work/log" 2>&1 || true
    cat "$work/log"
    for line in "net $(mac_of 0) mtu 1500 up" "ping ok" "ping large ok" \
        "fetched 16777216 $(sha256sum <"$work/down" | cut -d' ' -f1)" "sent 16777216 $(sha256sum <"$work/up" | cut -d' ' -f1)" "exit 0"; do
        grep -q "^@$line" "$work/log" || { echo "missing: @$line; $(wc -c <"$work/up") bytes came" && exit 1; }
    done
    kill "${started[0]}"
    wait "${started[0]}" || { echo "the back end ended with $?" && exit 1; }
    started=()
    [[ ! -e $work/net0 ]] || { echo "a socket is left" && exit 1; }
}

boot "" ""
boot "" "mrg_rxbuf=off"
boot ",num_queues=4" "csum=off,guest_csum=off,packed=on"
boot ",num_queues=4" "mq=on" 2
echo "vhost-user: QEMU's guest has a network"
