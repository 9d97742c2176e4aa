#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Network without privilege (mode=user, docs/network.md) by Debian's passt: a Debian guest of QEMU's, over vhost-user, gets its addresses
# by DHCP and router advertisement, asks a resolver, fetches over IPv4 and IPv6, answers at forwarded ports, and keeps its link and
# its addresses when passt is killed. Native, without KVM, privilege and outside network: in namespaces of its own.
#
#   net-user.sh [PROGRAM [SANDBOX]]     the program to test, default build/release/vmm; process or off
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=tests/e2e/net-lib.sh
. "$(dirname "$0")/net-lib.sh"

sandbox=${2:-process}
net_begin "${1:-$ROOT/build/release/vmm}" "$@"

# The world outside: a namespace with a resolver and files, which the host's default route leads to.
outside_begin
ip link add h0 type veth peer name o0
ip link set o0 netns "$outside"
ip addr add 10.5.0.2/24 dev h0
ip addr add fd05::2/64 dev h0 nodad
ip link set h0 up
out ip addr add 10.5.0.1/24 dev o0
out ip addr add 10.5.0.9/24 dev o0 # passt leads the gateway's address to the host itself
out ip addr add fd05::1/64 dev o0 nodad
out ip addr add fd05::9/64 dev o0 nodad
out ip link set o0 up
ip route add default via 10.5.0.1
ip -6 route add default via fd05::1
echo "nameserver 10.5.0.9" >"$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf

# RFC 1035, 4.1: the question back with one answer, 10.77.7.7 for 60 s.
cat >"$work/resolver.pl" <<'END'
use Socket;
socket(my $s, PF_INET, SOCK_DGRAM, 0) or die;
bind($s, sockaddr_in(53, inet_aton("10.5.0.9"))) or die "bind: $!";
while (my $from = recv($s, my $q, 1500, 0)) {
    my $head = substr($q, 0, 2) . pack("n5", 0x8580, 1, 1, 0, 0);
    my $end = index($q, "\0", 12) + 5;
    send($s, $head . substr($q, 12, $end - 12) . pack("nnnNn", 0xc00c, 1, 1, 60, 4) . inet_aton("10.77.7.7"), 0, $from);
}
END
nsenter -t "$outside" -n perl "$work/resolver.pl" &
started+=($!)
head -c 4M /dev/urandom >"$work/down"
sum=$(sha256sum <"$work/down" | cut -d' ' -f1)
nsenter -t "$outside" -n busybox nc -ll -p 5001 -e cat "$work/down" &
started+=($!)

guest_begin x86_64 "$HERE/guest-user.sh" ""

# A port that is taken is told by one line.
busybox nc -l -p 2222 </dev/null >/dev/null &
taken=$!
await "a listener" grep -q ':08AE ' /proc/net/tcp /proc/net/tcp6
"$vmm" device virtio-net,mode=user,forward=tcp:2222:22 --socket "$work/net0" 2>"$work/taken" && { echo "a taken port is no error"; exit 1; }
if [[ $(wc -l <"$work/taken") != 1 ]] || ! grep -q "forward=tcp:2222: that port of the host is taken" "$work/taken"; then
    cat "$work/taken" && exit 1
fi
kill "$taken"
wait "$taken" || true

"$vmm" device 'virtio-net,mode=user,forward=[tcp:2222:22,"tcp:[::1]:2223:22"],mac='"$(mac_of 0)" --sandbox "$sandbox" \
    --socket "$work/net0" 2>"$work/vmm" &
device=$!
started+=("$device")
await "the back end" test -S "$work/net0"
mkfifo "$work/keys"
exec 4<>"$work/keys"
qemu+=(-smp "1,maxcpus=2")
nic_of 0 1 ""
timeout 500 "${qemu[@]}" <&4 >"$work/log" 2>&1 &
running=$!
started+=("$running")

await "@listening" line listening
head -c 256K /dev/urandom >"$work/echo"
# Sends FILE to HOST PORT and compares what comes back; the guest's cat ends when we have nothing more to say.
cat >"$work/echo.pl" <<'END'
use Socket;
my ($file, $host, $port) = @ARGV;
my $six = $host =~ /:/;
my $to = $six ? pack_sockaddr_in6($port, Socket::inet_pton(AF_INET6, $host)) : sockaddr_in($port, inet_aton($host));
socket(my $s, $six ? PF_INET6 : PF_INET, SOCK_STREAM, 0) or die;
connect($s, $to) or die "connect: $!";
open(my $in, "<", $file) or die;
local $/;
my ($data, $got) = (<$in>, "");
if (!fork) {
    for (my $at = 0; $at < length $data;) {
        $at += syswrite($s, $data, 16384, $at) // die "write: $!";
    }
    shutdown($s, 1);
    exit;
}
while (length $got < length $data && sysread($s, my $piece, 65536)) {
    $got .= $piece;
}
print $got eq $data ? "same\n" : "other\n";
END
echo_by() { timeout 60 perl "$work/echo.pl" "$work/echo" "$1" "$2" || true; }
[[ $(echo_by 127.0.0.1 2222) = same ]] || missing "an echo by the forwarded port"
[[ $(echo_by 10.5.0.2 2222) = same ]] || missing "an echo by the forwarded port, the host's address"
[[ $(echo_by ::1 2223) = same ]] || missing "an echo by the forwarded port, IPv6"

# passt dies: one line, another one, and the guest goes on.
passt_of() { # the one process of this namespace that is called so
    for p in /proc/[0-9]*; do
        [[ $(readlink "$p/exe" 2>/dev/null) != */passt* || ! "$p/ns/net" -ef /proc/self/ns/net ]] || echo "${p#/proc/}"
    done
}
first=$(passt_of)
[[ -n $first ]] || missing "a passt"
grep -q '^CapEff:[[:space:]]*0*$' "/proc/$first/status" || missing "a passt without capabilities"
grep -q '^Seccomp:[[:space:]]*2' "/proc/$first/status" || missing "a passt with a filter"
kill -9 "$first"
another() { local now; now=$(passt_of) && [[ -n $now && $now != "$first" ]]; }
await "another passt" another
grep -q "^warning: virtio-net0: passt ended: killed by signal 9 (Killed): it is started again" "$work/vmm" || missing "a line of its end"
echo killed >&4
await "@over" line over
[[ $(echo_by 127.0.0.1 2222) = same ]] || missing "an echo by the next passt"
echo end >&4
wait "$running" || missing "QEMU's end"

for want in "net $(mac_of 0) 1" "dhcp 10.5.0.2/24 router 10.5.0.1 dns 10.5.0.9 mtu 65520" "resolv nameserver 10.5.0.9" "ipv6 fd05" \
    "name first 10.77.7.7" "ipv4-fetched 4194304 $sum" "ipv6-fetched 4194304 $sum" "name second 10.77.7.7" "ipv4-again 4194304 $sum" \
    "carrier 1 kept" "exit 0"; do
    line "$want" || missing "@$want"
done
kill "$device"
wait "$device" || { echo "the back end ended with $?" && exit 1; }
gone() { [[ -z $(passt_of) ]]; }
await "passt's end" gone
[[ ! -e $work/net0 ]] || { echo "a socket is left" && exit 1; }
echo "user networking ($sandbox): addresses, names, forwarded ports, and another passt"
