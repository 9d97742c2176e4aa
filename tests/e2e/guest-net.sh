# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in a guest with a network device, as its /run.sh: an address, pings, and files there and back over TCP, whose sums the other side
# (net.sh) compares. Words of the command line: net.bytes=N, the size of the file that it sends.
ifconfig lo 127.0.0.1 up
ip link set eth0 up && ip addr add 10.0.0.2/24 dev eth0
bytes=$(sed -n 's/.*net.bytes=\([0-9]*\).*/\1/p' /proc/cmdline)
ping -c 5 -i 0.2 -w 30 10.0.0.1 | grep -q ' 0% packet loss' && echo "@ping ok"
n=0
while [ "$(cat /sys/class/net/eth0/operstate)" != up ] && [ $n -lt 100 ]; do # the kernel says so a second late at times
    n=$((n + 1))
    sleep 0.1
done
echo "@net $(cat /sys/class/net/eth0/address) mtu $(cat /sys/class/net/eth0/mtu) $(cat /sys/class/net/eth0/operstate)"
ping -c 3 -i 0.2 -w 30 -s 8000 10.0.0.1 | grep -q ' 0% packet loss' && echo "@ping large ok"
mkfifo /tmp/silence && exec 3<>/tmp/silence # nc ends when either side has nothing more to say
nc 10.0.0.1 5001 <&3 >/tmp/down
echo "@fetched $(wc -c </tmp/down) $(sha256sum </tmp/down | cut -d' ' -f1)"
head -c "$bytes" /dev/urandom >/tmp/up
nc 10.0.0.1 5002 </tmp/up
echo "@sent $(wc -c </tmp/up) $(sha256sum </tmp/up | cut -d' ' -f1)"
