# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in a guest with several network devices, as its /run.sh: does what the console says, a line each, and answers with the line's number and
# how it ended (net-lib.sh, guest). Addresses are those of net-iperf.sh: 10.0.N.2 and fd05:0:0:N::2 for device N.
tty=$(sed -n 's/.*net.tty=\([a-zA-Z0-9]*\).*/\1/p' /proc/cmdline)
exec <"/dev/$tty"
stty -echo
ifconfig lo 127.0.0.1 up
for d in /proc/sys/net/ipv6/conf/*/accept_dad; do # the larger one of "all" and the interface's counts
    echo 0 >"$d"
done
mkfifo /tmp/silence && exec 3<>/tmp/silence # nc ends when either side has nothing more to say
dev=
use() { # device
    [ -z "$dev" ] || { ip addr flush dev "$dev" && ip link set "$dev" down; }
    mac=$(printf '52:54:00:12:34:%02x' "$1")
    for d in /sys/class/net/*; do
        [ "$(cat "$d/address")" != "$mac" ] || dev=${d##*/}
    done
    ip link set "$dev" up && ip addr add "10.0.$1.2/24" dev "$dev" && ip addr add "fd05:0:0:$1::2/64" dev "$dev" || return 1
    echo "@nic $1 mtu $(cat "/sys/class/net/$dev/mtu") features $(cat "/sys/class/net/$dev/device/features")"
}
# What comes from there goes back, by the other family.
file() { # device
    mkfifo /tmp/back
    nc "fd05:0:0:$1::1" 5002 </tmp/back &
    nc "10.0.$1.1" 5001 <&3 | tee /tmp/back | sha256sum >/tmp/sum
    wait $!
    rm /tmp/back
    echo "@file $(cut -d' ' -f1 </tmp/sum)"
}
# Packets whose checksums the kernel found wrong.
wrong() {
    for f in Tcp Udp Icmp; do
        awk -v f="$f:" '$1 == f && !n { for (i = 2; i <= NF; i++) if ($i == "InCsumErrors") n = i; next } $1 == f { s = $n } END { printf "%d ", s }' \
            /proc/net/snmp
    done >/tmp/wrong
    awk '/InCsumErrors/ { s += $2 } END { print s + 0 }' /proc/net/snmp6 >>/tmp/wrong
    echo "@wrong $(cat /tmp/wrong)"
}
/iperf/ld.so --library-path /iperf /iperf/iperf3 -s >/dev/null 2>&1 &
n=0
echo "@ready"
while read -r command; do
    [ "$command" != end ] || break
    n=$((n + 1))
    eval "$command"
    echo "@did $n $?"
done
