#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What may happen to a network: a guest that floods it with ARP replies and neighbour advertisements in others' names, such a flood from
# outside, a tap interface that is deleted, a network namespace that nobody is in any more. The device lives, serves, says one clear line and
# does not spin. A Debian guest, as in net-iperf.sh.
#
#   net-mishaps.sh [PROGRAM]     the program to test, default build/release/vmm
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/net-lib.sh
. "$(dirname "$0")/net-lib.sh"

[[ -n ${IN_NETNS-} ]] || "$HERE/fetch.sh" --iperf
net_begin "${1:-$ROOT/build/release/vmm}" "$@"
wire_begin x86_64
guest_begin x86_64 "$HERE/guest-iperf.sh" "" "$BED/iperf:iperf" "$work/send-guest:bin/net-send"
qemu+=(-smp 2)
devices=()
for n in 0 1; do
    devices+=("virtio-net,tap=vt$n,mac=$(mac_of "$n"),antispoof=on" --socket "$work/net$n" --)
    outside_has "$n" 1500
    nic_of "$n" 1 ""
done
"$vmm" device "${devices[@]:0:3}" 2>"$work/vmm" &
device=$!
started+=("$device")
"$vmm" device "${devices[@]:4:3}" 2>"$work/gone" &
other=$!
started+=("$other")
# An interface of a namespace that nobody is in: a descriptor is all that is left of it.
# shellcheck disable=SC2016 # perl's variables
nsenter -t "$outside" -n unshare -n perl -e '
    $^F = 255;
    open(my $tap, "+<", "/dev/net/tun") or die;
    my $r = pack("a16Sx22", "vt2", 0x5002);
    ioctl($tap, 0x400454ca, $r) or die "TUNSETIFF: $!"; # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    exec("nsenter", "-t", $ARGV[0], "-n", "--", $ARGV[1], "device", "virtio-net,fd=" . fileno($tap) . ",mac=" . $ARGV[2], "--socket", $ARGV[3])' \
    "$outside" "$vmm" "$(mac_of 2)" "$work/net2" 2>"$work/alone" &
alone=$!
started+=("$alone")
await "a back end whose namespace is gone" test -S "$work/net2"
nic_of 2 1 ""
plugged 0 1
guest_start 600

lines() { wc -l <"$work/$1"; }
# wakes PROCESS: how often it and those that it has started have gone to sleep.
wakes() {
    local p all=("$1")
    mapfile -t -O 1 all < <(ps -o pid= --ppid "$1" | tr -d ' ')
    for p in "${all[@]}"; do
        cat "/proc/$p"/task/*/status
    done | awk '$1 == "voluntary_ctxt_switches:" || $1 == "nonvoluntary_ctxt_switches:" { n += $2 } END { print n }'
}
# rests WHAT PROCESS: it is woken up seldom in two seconds, and uses no processor.
rests() {
    local before after
    before=$(wakes "$2")
    sleep 2
    after=$(wakes "$2")
    ((after - before <= 20)) || missing "rest: $1 was woken up $((after - before)) times in two seconds"
}
from_guest() { ip -s -o link show "$1" | sed -n 's/.*RX: [^\\]*\\ *[0-9]* *\([0-9]*\) .*/\1/p'; }

guest "use 0"
echoes guest 10.0.0.1 100 84
came=$(from_guest vt0)
for kind in arp nd; do
    guest "net-send $kind \$dev 20000"
    line "flood $kind 20000" || missing "a flood"
done
said=$(lines vmm)
((said >= 1 && said <= 60)) || missing "few lines of it: $said"
! grep -v -e "antispoof: it is in another's name" -e "lines like the next one were dropped" "$work/vmm" || missing "nothing else"
passed=$(($(from_guest vt0) - came))
((passed < 1000)) || missing "that they were dropped: $passed frames came through"
echoes guest 10.0.0.1 500 84
echoes out fd05:0:0:0::2 500 84
echo "floods from the guest: $(lines vmm) lines, $passed other frames passed"

said=$(lines vmm)
for kind in arp nd; do
    out "$work/send" $kind o0 20000
done
echoes out 10.0.0.2 500 84
[[ $(lines vmm) = "$said" ]] || missing "silence about what comes from outside"

guest "use 1"
echoes out 10.0.1.2 100 84
echoes guest fd05:0:0:1::1 100 84
rests "a device without traffic" "$other"
ip link del vt1
await "a line" grep -q 'its interface is gone: the link is down' "$work/gone"
rests "a device whose interface is gone" "$other"
guest "net-send arp \$dev 2000"
rests "a device whose interface is gone and whose guest has sent" "$other"
grep -v -e "lines like the next one" -e antispoof "$work/gone" >"$work/said"
[[ $(wc -l <"$work/said") = 1 ]] || { cat "$work/gone" && missing "one line"; }
echo "an interface that is deleted: $(cat "$work/said")"

guest "use 2"
guest "net-send arp \$dev 2000"
rests "a device whose namespace is gone" "$alone"
[[ ! -s $work/alone ]] || { cat "$work/alone" && missing "silence of a device whose namespace is gone"; }

guest "use 0"
echoes guest 10.0.0.1 500 84
guest_end
for p in "$device" "$other" "$alone"; do
    kill "$p"
    wait "$p" || missing "the back ends' end: $?"
done
echo "networks: floods, a deleted interface and a lost namespace are survived"
