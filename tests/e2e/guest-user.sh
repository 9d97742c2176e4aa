# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh disable=SC3045 # busybox's read has -t
#
# Runs in a guest whose network is passt's, as its /run.sh: addresses by DHCP and router advertisement, a name, files over IPv4 and IPv6,
# an echo at port 22 for who comes in by a forwarded port; net-user.sh is the other side, and kills passt when told to.
ifconfig lo 127.0.0.1 up
cat >/bin/leased <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip link set "$interface" mtu "${mtu:-1500}"
for r in $router; do ip route add default via "$r" dev "$interface" || ip route add default dev "$interface"; done
for d in $dns; do echo "nameserver $d"; done >/etc/resolv.conf
echo "@dhcp $ip/$mask router $router dns $dns mtu ${mtu:-1500}" >/dev/console
END
chmod +x /bin/leased
ip link set eth0 up
udhcpc -f -i eth0 -n -q -t 20 -T 1 -s /bin/leased >/dev/null 2>&1 || echo "@dhcp none"
echo "@net $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/carrier)"
sed -n 's/^/@resolv /p' /etc/resolv.conf

for _ in $(seq 100); do
    ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6 && break
    sleep 0.2
done
echo "@ipv6 $(ip -6 addr show dev eth0 scope global | sed -n 's/.*inet6 \(fd05:[^ ]*\).*/\1/p' | head -n 1 | cut -d: -f1-4)"

names() {
    nslookup -type=a name.test | sed -n 's/^Address: /@name '"$1"' /p'
}
names first
mkfifo /tmp/silence && exec 3<>/tmp/silence # nc ends when either side has nothing more to say
fetch() { # word; address
    nc "$2" 5001 <&3 >/tmp/down
    echo "@$1 $(wc -c </tmp/down) $(sha256sum </tmp/down | cut -d' ' -f1)"
}
fetch ipv4-fetched 10.5.0.9
fetch ipv6-fetched fd05::9
nc -ll -p 22 -e cat &
changes=$(cat /sys/class/net/eth0/carrier_changes)
echo "@listening"
for _ in $(seq 600); do
    read -r -t 1 word </dev/ttyS0 && [ "$word" = killed ] && break
done
names second
fetch ipv4-again 10.5.0.9
[ "$changes" != "$(cat /sys/class/net/eth0/carrier_changes)" ] || kept=kept
echo "@carrier $(cat /sys/class/net/eth0/carrier) ${kept-lost}"
echo "@over"
read -r -t 60 word </dev/ttyS0
